"""`leadpact scoring evaluate`, as its user calls it: with a file, without any database."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from services.__main__ import app
from shared.agreement import load
from shared.crm.simulator import truth
from shared.errors import LeadpactError
from shared.events import FormSubmitted, PageVisited
from tests.agreements import SHIPPED_FILE
from tests.unit.commands.past_month import Lead, month

PROPERTIES = ("jobtitle", "company.numberofemployees", "company.industry", "country", "email", "firstname", "lastname")
FLAT = SHIPPED_FILE.read_text("utf-8").replace("points: 40}", "points: 1}")


@cache
def some_leads() -> list[Lead]:
    return month(700, chance=lambda lead: truth.chance(-2.0, lead))


def acts(lead: Lead, kind: type[Any], name: str) -> str:
    return ";".join(f"{getattr(one, name)}@{one.at.isoformat()}" for one in lead.facts if isinstance(one, kind))


@pytest.fixture
def leads(tmp_path: Path) -> Path:
    path = tmp_path / "leads.csv"
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["lead", "date", "converted", *PROPERTIES, "forms", "pages"])
        for lead in some_leads():
            said = [lead.key, lead.at.isoformat(), "yes" if lead.converted else "no"]
            said += [lead.life.properties[name] for name in PROPERTIES]
            out.writerow([*said, acts(lead, FormSubmitted, "form"), acts(lead, PageVisited, "url")])
    return path


@pytest.fixture
def evaluate(leads: Path, tmp_path: Path) -> Callable[..., Result]:
    agreement = tmp_path / "agreement.yaml"
    agreement.write_text(FLAT, "utf-8")

    def run(*said: str) -> Result:
        given = ["scoring", "evaluate", "--csv", str(leads), "--agreement", str(agreement), "--window", "7d"]
        return CliRunner().invoke(app, [*given, *said], obj={})

    return run


def test_the_screen_tells_all_parts_and_names_nobody(evaluate: Callable[..., Result]) -> None:
    done = evaluate()
    parts = ("Does the score", "Separation", "Rule by rule", "Known only after", "Suggested points", "cannot tell")
    assert [part for part in parts if part not in done.output] == []
    assert "@" not in done.output
    assert not [name for name in ("Albrecht", "Yusuf", "brightwater") if name in done.output]


def test_the_exit_status_says_whether_a_rule_is_wrong(evaluate: Callable[..., Result]) -> None:
    found = json.loads(evaluate("--json").stdout)
    assert evaluate().exit_code == int(found["found"])
    wrong = [one["rule"] for one in found["rules"] if one["verdict"] == "contradicts the history"]
    assert found["found"] is bool(wrong)


def test_json_has_every_figure_with_its_interval(evaluate: Callable[..., Result]) -> None:
    found = json.loads(evaluate("--json").stdout)
    assert found["separation"]["points"].keys() == {"value", "low", "high"}
    assert sum(row["leads"] for row in found["grades"]) == found["leads"]
    assert {one["rule"] for one in found["rules"]} >= {"Right size", "Asked for us"}
    assert found["suggestion"]["learned_from"]["leads"] > found["suggestion"]["judged_on"]["leads"]


def test_the_suggestion_is_an_agreement_that_can_be_used(evaluate: Callable[..., Result], tmp_path: Path) -> None:
    out = tmp_path / "suggested.yaml"
    done = evaluate("--suggest", str(out))
    assert "leadpact agreement diff" in done.output
    assert load(out).qualification.fit.role["decision_maker"].points > 1
    assert (tmp_path / "agreement.yaml").read_text("utf-8") == FLAT


def test_the_page_needs_nothing_else_and_names_nobody(evaluate: Callable[..., Result], tmp_path: Path) -> None:
    out = tmp_path / "score.html"
    evaluate("--html", str(out))
    page = out.read_text("utf-8")
    assert page.count("<polyline") == 2
    assert "Rule by rule" in page
    assert not re.search(r"(https?:)?//|<script|<link|src=", page)
    assert "@example" not in page


def test_points_that_are_taken_are_drawn_to_the_left(evaluate: Callable[..., Result], tmp_path: Path) -> None:
    out = tmp_path / "score.html"
    evaluate("--html", str(out))
    rows = out.read_text("utf-8").partition("Suggested points")[2].split("<tr>")
    for rule, side in (("Free mailbox", "left"), ("Right size", "right")):
        row = next(row for row in rows if f">{rule}<" in row)
        nothing, left, width = (
            float(re.search(pattern, row)[1])  # type: ignore[index]
            for pattern in (r'x1="([\d.]+)%', r'rect class="old" x="([\d.]+)%', r'width="([\d.]+)%')
        )
        assert (left + width if side == "left" else left) == pytest.approx(nothing, abs=0.2)
        assert width > 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--window", "soon"), "--window: must be a duration"),
        (("--window", "0d"), "--window: must be longer than nothing"),
        (("--until", "today"), "--until: 'today' must be a duration, as 30d, or a date or time"),
        (("--window", "600d"), "try a shorter --window"),
        (("--html", "/nowhere/score.html"), "--html /nowhere/score.html cannot be written"),
    ],
)
def test_what_cannot_be_done_is_said(evaluate: Callable[..., Result], options: tuple[str, str], said: str) -> None:
    error = evaluate(*options).exception
    assert isinstance(error, LeadpactError)
    assert said in error.message


def test_a_folder_of_agreements_is_asked_which(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["scoring", "evaluate", "--agreement", str(tmp_path)], obj={})
    assert isinstance(done.exception, LeadpactError)
    assert "say --agreement FILE" in done.exception.message


def test_a_mapping_without_a_file_is_refused() -> None:
    done = CliRunner().invoke(app, ["scoring", "evaluate", "--mapping", "x.yaml"], obj={})
    assert isinstance(done.exception, LeadpactError)
    assert "--mapping goes with --csv" in done.exception.message
