"""Marketing's side of the agreement: what it owes in each week or month, and how that is judged."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kpi.domain.commitments import Outcome, PartReport, due, due_at, met_after_all, parts_of
from services.kpi.domain.counts import Counts, Judged, StageDay
from services.kpi.domain.goals import report
from services.kpi.domain.spread import Days
from shared.agreement import Agreement
from shared.agreement.goals import DAY
from shared.agreement.values import Period
from tests.agreements import with_follow_up, with_parts

# 2027 begins on a Friday; leads of the first quarter are needed from 15 November to 12 February.
GOAL: dict[str, Any] = {
    "name": "New sales",
    "target": {"revenue": "1_000_000 USD"},
    "period": "2027-01-01..2027-03-31",
    "average_deal": "20_000 USD",
    "expected": {"lead_to_mql": "30%", "mql_to_sql": "40%", "sql_to_customer": "25%"},
}
MONDAY = date(2027, 1, 11)
SUNDAY = date(2027, 1, 17)
NEXT_MONDAY = datetime(2027, 1, 18, tzinfo=UTC)
LONG_AGO = StageDay(day=date(2026, 6, 1), stage="lead", source="unknown", entries=1)


def agreement(*owed: dict[str, Any], zone: str = "UTC", effective: date | None = None, **said: Any) -> Agreement:
    held = with_follow_up(calendars={"office": {"mon-fri": "08:00-18:00", "holidays": "RO"}}, calendar="office")
    return with_parts(held, goals=[GOAL | said | {"marketing_owes": owed}], timezone=zone, effective=effective)


def parts(held: Agreement) -> dict[date, tuple[date, int]]:
    """By the first day of each part: its last, and what is owed."""
    (goal,) = held.goals
    assert isinstance(goal.period, Period)
    found = parts_of(goal.marketing_owes[0], goal, goal.period, Days.of(held))
    return {part.first: (part.last, part.owed) for part in found}


def mqls(many: int, day: date = MONDAY, grade: str = "A1") -> StageDay:
    return StageDay(day=day, stage="mql", source="unknown", grade=grade, entries=many)


def judged(held: Agreement, *counted: StageDay, at: datetime = NEXT_MONDAY) -> list[Judged]:
    """What is judged of the hour before `at`."""
    return list(due(held, Counts(days=[LONG_AGO, *counted]), since=at - timedelta(hours=1), now=at))


# --- how much is owed ---


def test_a_number_is_owed_in_every_whole_week_and_its_share_in_one_that_is_cut() -> None:
    """1 January is a holiday; the last week has Monday to Wednesday."""
    found = parts(agreement({"mqls": 40, "every": "week"}))
    assert date(2027, 1, 1) not in found
    assert found[MONDAY] == (SUNDAY, 40)
    assert found[date(2027, 3, 29)] == (date(2027, 3, 31), 24)


def test_a_number_is_owed_also_in_a_week_with_holidays() -> None:
    assert parts(agreement({"mqls": 40, "every": "week"}))[date(2027, 1, 4)] == (date(2027, 1, 10), 40)


def test_as_many_as_needed_is_what_the_plan_shows_for_the_week() -> None:
    held = agreement({"mqls": "needed", "every": "week"})
    (shown,) = report(held, Counts(), NEXT_MONDAY).goals
    planned = {week.first: row.needed for week in shown.weeks for row in week.stages if row.stage == "mql"}
    assert {first: owed for first, (_, owed) in parts(held).items()} == {k: n for k, n in planned.items() if n}


@given(st.integers(1, 10**8), st.integers(1, 10**5), st.sampled_from(["week", "month"]))
def test_what_is_owed_as_needed_adds_up_to_what_the_target_needs(revenue: int, deal: int, every: str) -> None:
    held = agreement(
        {"leads": "needed", "every": every}, target={"revenue": f"{revenue} USD"}, average_deal=f"{deal} USD"
    )
    assert sum(owed for _, owed in parts(held).values()) == math.ceil(held.goals[0].needed["lead"])


def test_months_are_those_of_the_calendar_cut_by_the_window() -> None:
    held = agreement({"mqls": 60, "every": "month"}, lag={"sql_to_customer": "30d", "mql_to_sql": "7d"})
    firsts = [date(2026, 11, 25), date(2026, 12, 1), date(2027, 1, 1), date(2027, 2, 1)]
    assert list(parts(held)) == firsts
    assert parts(held)[date(2026, 12, 1)] == (date(2026, 12, 31), 60)


# --- how it ends ---


@pytest.mark.parametrize(("many", "outcome"), [(39, "missed"), (40, "met"), (41, "met")])
def test_a_week_is_met_or_missed_when_it_is_over(many: int, outcome: str) -> None:
    (one,) = judged(agreement({"mqls": 40, "every": "week"}), mqls(many))
    assert (one.first, one.last, one.owed, one.counted, one.outcome) == (MONDAY, SUNDAY, 40, many, outcome)


def test_nothing_is_judged_before_its_end() -> None:
    held = agreement({"mqls": 40, "every": "week"})
    assert not judged(held, mqls(1), at=NEXT_MONDAY - timedelta(seconds=1))


def test_a_week_ends_in_the_time_zone_of_the_agreement() -> None:
    held = agreement({"mqls": 40, "every": "week"}, zone="Europe/Bucharest")
    assert due_at(SUNDAY, Days.of(held)) == datetime(2027, 1, 17, 22, tzinfo=UTC)
    assert [one.last for one in judged(held, at=datetime(2027, 1, 17, 22, tzinfo=UTC))] == [SUNDAY]


def test_what_comes_too_early_or_too_late_helps_no_other_week() -> None:
    early, late = mqls(40, MONDAY - DAY), mqls(40, SUNDAY + DAY)
    assert [one.outcome for one in judged(agreement({"mqls": 40, "every": "week"}), early, late)] == ["missed"]


def test_only_the_agreed_quality_counts() -> None:
    held = agreement({"mqls": 40, "grade": ["A1", "A2"], "every": "week"})
    (one,) = judged(held, mqls(30, grade="A1"), mqls(9, grade="A2"), mqls(50, grade="B1"), mqls(5, grade=""))
    assert (one.counted, one.outcome) == (39, "missed")


def test_nobody_is_judged_by_a_week_that_began_before_anything_was_counted() -> None:
    held, counts = agreement({"mqls": 40, "every": "week"}), Counts(days=[mqls(1, MONDAY + DAY)])
    assert not list(due(held, counts, since=NEXT_MONDAY - DAY, now=NEXT_MONDAY))
    assert not list(due(held, Counts(), since=NEXT_MONDAY - DAY, now=NEXT_MONDAY))


def test_nobody_is_judged_by_a_week_that_began_before_the_agreement_held() -> None:
    assert not judged(agreement({"mqls": 40, "every": "week"}, effective=MONDAY + DAY))
    assert judged(agreement({"mqls": 40, "every": "week"}, effective=MONDAY))


def test_a_service_that_was_away_for_weeks_judges_each_of_them() -> None:
    held, counts = agreement({"mqls": 40, "every": "week"}), Counts(days=[LONG_AGO])
    found = list(due(held, counts, since=NEXT_MONDAY - 14 * DAY, now=NEXT_MONDAY))
    assert [one.last for one in found] == [SUNDAY - 7 * DAY, SUNDAY]


def test_what_came_in_time_and_was_heard_of_late_corrects_what_was_missed() -> None:
    (missed,) = judged(agreement({"mqls": 40, "every": "week"}), mqls(39))
    assert not met_after_all(Counts(days=[mqls(39)], judged=[missed]))
    assert met_after_all(Counts(days=[mqls(40)], judged=[missed])) == [missed]


# --- as it is shown ---


def shown(held: Agreement, counts: Counts, now: datetime) -> dict[str, dict[date, PartReport]]:
    (goal,) = report(held, counts, now).goals
    return {one.commitment: {part.first: part for part in one.parts} for one in goal.commitments}


def test_each_week_is_shown_with_how_it_stands() -> None:
    held, now = agreement({"mqls": 40, "every": "week"}), NEXT_MONDAY + timedelta(hours=9)
    (missed,) = judged(held, mqls(39))
    (weeks,) = shown(held, Counts(days=[LONG_AGO, mqls(39)], judged=[missed]), now).values()
    outcomes: dict[date, Outcome] = {first: part.outcome for first, part in weeks.items()}
    assert outcomes[MONDAY - 7 * DAY] == "not_judged"
    assert outcomes[MONDAY] == "missed"
    assert outcomes[MONDAY + 7 * DAY] == "open"
    assert outcomes[MONDAY + 14 * DAY] == "ahead"


def test_what_was_judged_stands_also_when_another_number_is_agreed() -> None:
    (missed,) = judged(agreement({"mqls": 40, "every": "week"}), mqls(39))
    now = shown(agreement({"mqls": 30, "every": "week"}), Counts(days=[mqls(39)], judged=[missed]), NEXT_MONDAY)
    assert list(now) == ["30 MQLs every week", "40 MQLs every week"]
    assert [part.outcome for part in now["40 MQLs every week"].values()] == ["missed"]
