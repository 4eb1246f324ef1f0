"""`leadpact goals`: what a meeting sees of the goals."""

from __future__ import annotations

import io
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from services import __main__ as command
from services.commands.goals import shown
from services.kpi.domain.counts import Counts, Judged, StageDay, Won
from services.kpi.domain.goals import report
from tests.agreements import SHIPPED_FILE, with_parts

NOW = datetime(2027, 2, 1, 12, tzinfo=UTC)
WEEK = date(2027, 1, 11), date(2027, 1, 17)


def invoke(folder: Path, *args: str, **environ: str) -> Any:
    environ = {"LEADPACT_AGREEMENT": str(SHIPPED_FILE), "LEADPACT_DATA": str(folder), **environ}
    return CliRunner().invoke(command.app, ["goals", *args], obj=environ)


def printed(counts: Counts, now: datetime = NOW) -> str:
    out = io.StringIO()
    Console(file=out, width=120, markup=False, highlight=False).print(shown(report(with_parts(), counts, now)))
    return out.getvalue()


def test_where_nothing_ever_ran_there_is_the_plan_alone(tmp_path: Path) -> None:
    done = invoke(tmp_path / "none")
    assert done.exit_code == 0
    assert "nothing was counted yet: the plan alone" in done.output
    assert "55,556" in done.output
    assert not (tmp_path / "none").exists()


def test_the_plan_can_be_had_as_json(tmp_path: Path) -> None:
    told = json.loads(invoke(tmp_path, "--json").output)
    needed = {one["stage"]: one["needed"] for one in told["goals"][0]["stages"]}
    assert needed == {"visitor": 55_556, "lead": 1_667, "mql": 500, "sql": 200, "customer": 50}
    assert told["goals"][0]["revenue"]["target"] == "1000000"


def test_business_time_that_ran_ahead_is_the_time_of_the_goals(tmp_path: Path) -> None:
    (tmp_path / "business-time").write_text("2199-05-04T00:00:00+00:00\n")
    assert json.loads(invoke(tmp_path, "--json").output)["goals"][0]["first"] == "2199-04-01"


def test_it_shows_what_is_reached_what_is_behind_and_on_what_that_rests() -> None:
    counts = Counts(
        days=[StageDay(day=date(2026, 11, 16), stage="lead", source="OFFLINE", entries=1_200, moved_on=300)],
        won=[Won(day=WEEK[0], currency="USD", deals=3, unpriced=1, amount=Decimal(40_000)),
             Won(day=WEEK[0], currency="EUR", deals=2, unpriced=0, amount=Decimal(9_000))],
    )  # fmt: skip
    text = printed(counts)
    assert "40,000 reached with 3 deals, 960,000 missing" in text
    assert "not added up: 2 deals of 9,000 EUR" in text
    assert "lead_to_mql: 30% expected, 25.0% measured: 300 of 1200" in text
    assert "visitors are not measured" in text
    assert "1,200 of 250" in text


@pytest.mark.parametrize(("corrected", "said"), [(None, "missed"), (NOW, "corrected")])
def test_it_shows_how_marketing_kept_its_side(corrected: datetime | None, said: str) -> None:
    judged = Judged(
        goal="New sales", commitment="as many MQLs as needed every week", stage="mql", grades=(), first=WEEK[0],
        last=WEEK[1], owed=39, counted=7, outcome="missed", agreement="a", corrected_at=corrected,
    )  # fmt: skip
    (line,) = [line for line in printed(Counts(judged=[judged])).splitlines() if "Sun 17 Jan" in line]
    assert line.split()[-3:] == ["39", "0", said]


def test_an_agreement_without_goals_says_so() -> None:
    out = io.StringIO()
    Console(file=out, width=120).print(shown(report(with_parts(goals=[]), Counts(), NOW)))
    assert "The agreement has no goals." in out.getvalue()
