"""What the follow-up promises to whom: which time, and by whose calendar it is counted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from shared.agreement.follow_up import FollowUp, WorkingHours
from shared.calendars import ALWAYS, Calendar, Span
from shared.events import ClockKind
from tests.agreements import SHIPPED, with_follow_up, with_parts

PROMISED = with_follow_up(
    first_touch={"urgent": "5m", "team:dach": "2h", "A": "1h", "default": "1d"},
    accept_within={"urgent": "10m", "A": "0h"},
    decide_within="15d",
).follow_up


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def hours(text: str, **other: object) -> Calendar:
    return WorkingHours.model_validate({"mon-fri": text, **other}).calendar("Europe/Bucharest")


def allowed(
    kind: ClockKind,
    n: int = 1,
    *,
    of: FollowUp = PROMISED,
    priority: str = "normal",
    fit: str = "C",
    team: str = "inbound",
) -> str:
    """The time as it is written; "" for none."""
    span = of.allowed(kind, n, priority=priority, fit_grade=fit, team=team)
    return "" if span is None else str(span)


# --- targets ---


def test_a_target_goes_by_the_priority_before_the_team() -> None:
    assert allowed(ClockKind.FIRST_TOUCH, priority="urgent", team="dach", fit="A") == "5m"


def test_a_target_goes_by_the_team_before_the_fit() -> None:
    assert allowed(ClockKind.FIRST_TOUCH, team="dach", fit="A") == "2h"


def test_a_target_goes_by_the_fit_before_the_default() -> None:
    assert allowed(ClockKind.FIRST_TOUCH, fit="A") == "1h"


def test_who_has_no_target_of_their_own_has_the_default() -> None:
    assert allowed(ClockKind.FIRST_TOUCH) == "1d"
    assert allowed(ClockKind.FIRST_TOUCH, fit="") == "1d"


def test_without_a_default_others_are_promised_nothing() -> None:
    assert allowed(ClockKind.ACCEPT, priority="urgent") == "10m"
    assert allowed(ClockKind.ACCEPT) == ""


def test_a_target_of_no_time_is_no_promise() -> None:
    assert allowed(ClockKind.ACCEPT, fit="A") == ""


def test_one_time_is_everybodys() -> None:
    assert {allowed(ClockKind.DECISION, priority=priority) for priority in ("urgent", "normal")} == {"15d"}


def test_each_step_has_its_own_time_and_there_is_none_after_the_last() -> None:
    steps = [allowed(ClockKind.NEXT_ATTEMPT, n, of=SHIPPED.follow_up) for n in range(2, 7)]
    assert steps == ["4h", "1d", "2d", "3d", ""]


def test_the_wait_for_a_reply_is_the_same_for_all() -> None:
    assert allowed(ClockKind.REPLY_WAIT, 5, of=SHIPPED.follow_up) == "3d"


# --- calendars ---


def test_a_day_is_an_ordinary_working_day_of_the_calendar() -> None:
    calendar = hours("09:00-13:00, 14:00-17:30")
    assert calendar.time_of(Span.parse("1d")) == timedelta(hours=7.5)
    assert calendar.time_of(Span.parse("1w")) == timedelta(hours=37.5)
    assert calendar.add(utc("2027-03-05T09:00"), calendar.time_of(Span.parse("1d"))) == utc("2027-03-08T09:00")


def test_a_calendar_without_a_time_zone_is_in_the_agreements() -> None:
    assert hours("09:00-18:00").opens(utc("2027-01-04T00:00")) == utc("2027-01-04T07:00")


def test_a_calendar_with_a_time_zone_is_in_its_own() -> None:
    assert hours("09:00-18:00", timezone="Europe/London").opens(utc("2027-01-04T00:00")) == utc("2027-01-04T09:00")


def test_the_public_holidays_of_a_part_of_a_country_are_free() -> None:
    epiphany = utc("2027-01-06T10:00")
    assert not hours("09:00-18:00", holidays="DE-BY").is_open(epiphany)
    assert hours("09:00-18:00", holidays="DE-BE").is_open(epiphany)


def test_an_exception_closes_shortens_or_opens_a_day() -> None:
    calendar = hours(
        "09:00-18:00",
        holidays="RO",
        **{"except": {"2027-12-24": "09:00-13:00", "2027-12-27..2027-12-31": "closed", "2027-12-25": "10:00-11:00"}},
    )
    assert calendar.between(utc("2027-12-24T00:00"), utc("2027-12-25T00:00")) == timedelta(hours=4)
    assert calendar.between(utc("2027-12-25T00:00"), utc("2027-12-26T00:00")) == timedelta(hours=1)
    assert calendar.between(utc("2027-12-27T00:00"), utc("2028-01-01T00:00")) == timedelta(0)


def test_a_shift_over_midnight_belongs_to_the_day_on_which_it_begins() -> None:
    calendar = hours("22:00-06:00")
    assert calendar.is_open(utc("2027-01-09T03:00"))  # Saturday, 5 in Bucharest: Friday's shift
    assert not calendar.is_open(utc("2027-01-11T03:00"))  # Monday, 5 in Bucharest: nobody's


# --- whose calendar ---

OFFICE, NIGHTS, EARLY = "08:00-18:00", "22:00-06:00", "06:00-14:00"


def judged(team: str, person: str, *, calendar: str = "office") -> Calendar:
    """By whose calendar: inbound works by the office's, dach at night, jonas of dach early."""
    handoff = SHIPPED.handoff.model_dump(mode="json")
    handoff["teams"]["dach"] |= {"calendar": "nights"}
    handoff["teams"]["dach"]["members"]["jonas@example.com"] |= {"calendar": "early"}
    agreement = with_follow_up(
        calendars={name: {"mon-fri": text} for name, text in
                   (("office", OFFICE), ("nights", NIGHTS), ("early", EARLY))},
        calendar=calendar,
    )  # fmt: skip
    return with_parts(agreement, handoff=handoff).calendar_for(team, person)


def of(text: str) -> Calendar:
    return WorkingHours.model_validate({"mon-fri": text}).calendar("UTC")


@pytest.mark.parametrize(
    ("team", "person", "text"),
    [
        ("dach", "jonas@example.com", EARLY),
        ("dach", "greta@example.com", NIGHTS),
        ("dach", "gone@example.com", NIGHTS),
        ("inbound", "jonas@example.com", OFFICE),
        ("inbound", "dan@example.com", OFFICE),
        ("gone", "gone@example.com", OFFICE),
    ],
)
def test_a_persons_calendar_goes_before_the_teams_and_that_before_everybodys(team: str, person: str, text: str) -> None:
    assert judged(team, person) == of(text)


def test_the_calendar_always_need_not_be_said() -> None:
    assert judged("inbound", "dan@example.com", calendar="always") is ALWAYS
