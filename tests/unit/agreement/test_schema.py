"""The schema that editors complete and check by: made from the model, and true to what can be written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from jsonschema import Draft202012Validator

from shared.agreement import Agreement, check
from shared.agreement.conditions import Condition
from shared.agreement.dump import dump
from shared.agreement.properties import EXISTS, TESTS
from shared.agreement.schema import schema, text
from tests.any_agreement import agreements
from tests.unit.agreement import golden
from tests.unit.agreement.editor import SCHEMA_FILE, underlined

DEPLOY = SCHEMA_FILE.parent
SHIPPED = sorted([*DEPLOY.glob("agreement.yaml"), *DEPLOY.glob("agreements/*.yaml")])

# What takes more than one place of the file, or an eye for sense.
UNSEEN = {
    "cadence-that-does-not-fit", "calendar-that-there-is-not", "day-as-at-home", "default-missing",
    "definition-that-there-is-not", "domain-as-an-address", "offset-as-a-time-zone",
    "first-attempt-that-waits", "grade-called-as-a-priority", "grade-that-is-not-in-the-matrix",
    "grade-that-there-is-not", "grades-that-do-not-fall", "lead-by-its-grade", "manager-missing", "manager-misspelt",
    "matrix-without-a-row", "merge-key", "own-grades-that-do-not-fall",
    "period-the-wrong-way-round", "priority-that-there-is-not", "range-the-wrong-way-round",
    "reason-that-there-is-not", "route-that-leaves-leads-to-nobody", "shares-of-more-than-the-whole",
    "shares-that-do-not-add-up", "signal-of-any-property", "signal-of-which-nothing-can-be-asked",
    "signal-within-no-time",
    "team-that-there-is-not", "time-zone-as-at-home", "track-that-there-is-not", "word-that-is-not-spelt-right",
}  # fmt: skip


def keys(said: Any, at: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every key that the schema knows, with what it says of it."""
    if isinstance(said, dict):
        for name, one in said.get("properties", {}).items():
            yield f"{at}.{name}", one
        for name, one in said.items():
            yield from keys(one, f"{at}.{name}")
    elif isinstance(said, list):
        for one in said:
            yield from keys(one, at)


def test_the_file_that_ships_is_what_the_model_makes() -> None:
    """`leadpact agreement schema > deploy/agreement.schema.json` writes it."""
    assert SCHEMA_FILE.read_text("utf-8") == text()


def test_it_is_a_schema_of_draft_2020_12() -> None:
    Draft202012Validator.check_schema(schema())


def test_every_key_says_what_it_means() -> None:
    assert [at for at, one in keys(schema()) if not one.get("description")] == []


def test_it_knows_every_word_and_test_of_a_condition() -> None:
    condition = schema()["$defs"]["Condition"]
    words = set(condition["properties"])
    for word in words - {"all", "any", "not", "property", "definition"}:
        Condition.parse(
            {word: {"fit": "A", "interest": "1", "grade": "A1", "sales": "qualified"}.get(word, "decision")}
        )
    (_, tests) = condition["additionalProperties"]["anyOf"]
    assert set(tests["properties"]) == {*TESTS, EXISTS}
    assert {"grade", "fit", "interest", "journey", "deal_stage", "sales", "form_submitted", "form"} <= words


@pytest.mark.parametrize(("word", "first", "last"), [("grade", "A1", "D4"), ("fit", "A", "D"), ("interest", "1", "4")])
def test_an_editor_offers_the_usual_grades_alone_and_in_a_list(word: str, first: str, last: str) -> None:
    (alone, several) = schema()["$defs"]["Condition"]["properties"][word]["anyOf"]
    assert (alone["examples"][0], alone["examples"][-1]) == (first, last)
    assert several["items"] == alone


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_an_editor_underlines_nothing_in_what_ships(path: Path) -> None:
    assert underlined(path) == []


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_what_ships_names_the_schema_in_its_first_line(path: Path) -> None:
    mark, _, name = path.read_text("utf-8").splitlines()[0].partition("$schema=")
    assert mark == "# yaml-language-server: "
    assert (path.parent / name).resolve() == SCHEMA_FILE


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(agreement=agreements)
def test_an_editor_underlines_nothing_that_can_be_written(tmp_path: Path, agreement: Agreement) -> None:
    path = tmp_path / "agreement.yaml"
    path.write_text(dump(agreement), "utf-8")
    assert underlined(path) == []


def test_an_editor_underlines_each_mistake_that_can_be_seen_where_it_stands() -> None:
    errors = {file for file in golden.files() if {problem.severity for problem in check(file)} == {"error"}}
    assert {file.stem for file in errors if not underlined(file)} == UNSEEN


def test_the_schema_is_json() -> None:
    assert json.loads(text()) == schema()
