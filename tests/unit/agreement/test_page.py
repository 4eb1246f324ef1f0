"""The page on fit, goals and follow-up: what it shows to copy is right, and what it works out is so."""

from __future__ import annotations

import io
import re
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from ruamel.yaml import YAML

from shared.agreement import check, load
from shared.agreement.follow_up import WorkingHours
from tests.agreements import SHIPPED_FILE, own_text
from tests.unit.agreement.editor import underlined

PAGE = (Path(__file__).parents[3] / "docs" / "agreement.md").read_text("utf-8")
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.M | re.S)
ADDED_TO = ("teams", "fit", "interest")
BUCHAREST = ZoneInfo("Europe/Bucharest")


def with_example(example: str, folder: Path) -> Path:
    """The shipped file with the example's keys in the place of its own; a calendar or team is one such key.

    A matrix is put where its names are known already.
    """
    yaml = YAML(typ="rt")
    whole = yaml.load(own_text(matrix="") if "matrix" in example else SHIPPED_FILE)
    if "matrix" in example:
        del whole["goals"]
    for part, said in yaml.load(example).items():
        if isinstance(said, dict):
            for key, value in said.items():
                whole[part][key] = {**whole[part][key], **value} if key in ADDED_TO else value
        else:
            whole[part] = said
    text = io.StringIO()
    yaml.dump(whole, text)
    path = folder / "agreement.yaml"
    path.write_text(text.getvalue(), "utf-8")
    return path


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_to_copy_is_right(example: str, tmp_path: Path) -> None:
    assert list(map(str, check(with_example(example, tmp_path)))) == []


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_editor_underlines_nothing_in_an_example(example: str, tmp_path: Path) -> None:
    assert underlined(with_example(example, tmp_path)) == []


def test_there_are_examples_to_copy() -> None:
    assert len(EXAMPLES) == 11


def test_the_lead_before_the_holidays_is_due_when_the_page_says() -> None:
    hours = WorkingHours.model_validate({"mon-fri": "09:00-18:00", "holidays": "RO"})
    came = datetime(2027, 4, 29, 17, 58, tzinfo=BUCHAREST)
    due = hours.calendar("Europe/Bucharest").add(came, timedelta(hours=1))
    assert due == datetime(2027, 5, 4, 9, 58, tzinfo=BUCHAREST)


def test_the_calendars_of_the_page_are_whose_the_page_says(tmp_path: Path) -> None:
    agreement = load(with_example(next(one for one in EXAMPLES if "munich" in one), tmp_path))
    office = agreement.calendar_for("inbound", "ioana@example.com")
    saturday = datetime(2027, 3, 20, tzinfo=BUCHAREST)
    assert office.between(saturday, saturday + timedelta(days=1)) == timedelta(hours=5)
    assert agreement.calendar_named("dach", "jonas@example.com") == "munich"
    assert agreement.calendar_named("inbound", "dan@example.com") == "nights"
