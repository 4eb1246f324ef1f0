"""Working time: the promises of a calendar, and a slow model that looks at the wall's clock minute by minute."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.calendars import ALWAYS, Calendar, Hours, Span, parse_hours
from shared.errors import Refused

MINUTE, HOUR, DAY, NONE = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1), timedelta(0)
TICK = timedelta(microseconds=1)
OFFICE = ((9 * 60, 18 * 60),)
OFFICE_WEEK = dict.fromkeys(range(5), OFFICE)
ZONES = (
    *("Europe/Bucharest", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC"),
    "America/Havana",  # its clocks change at midnight: a day has no beginning, or ends twice
)
# Days around which a window of the model begins: both changes of each zone, New Year, a leap day, plain days.
BEGINNINGS = (
    *(date(2026, 3, 4), date(2026, 3, 25), date(2026, 4, 1), date(2026, 10, 1), date(2026, 10, 21)),
    *(date(2026, 10, 28), date(2026, 12, 28), date(2028, 2, 25), date(2026, 6, 10)),
)
WINDOW_DAYS = 8
# Romania's own list for the windows above, from the Labour Code, art. 139.
FREE_IN_ROMANIA = frozenset(
    {
        *(date(2026, 4, 10), date(2026, 4, 12), date(2026, 4, 13), date(2026, 12, 25), date(2026, 12, 26)),
        *(date(2027, 1, 1), date(2027, 1, 2), date(2027, 1, 6), date(2027, 1, 7)),
    }
)


def calendar(week: Mapping[int, Hours] = OFFICE_WEEK, zone: str = "Europe/Bucharest", **more: Any) -> Calendar:
    return Calendar.of(zone=zone, week=week, **more)


def at(text: str, zone: str = "Europe/Bucharest", *, fold: int = 0) -> datetime:
    """A moment by a wall's clock; in UTC, because a time that the wall shows twice equals nothing of another zone."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC)


# --- whatever the calendar: monotone, additive, inverse of each other ---

HOURS = st.one_of(
    st.sampled_from(
        [(), OFFICE, "09:00-13:00, 14:00-18:00", "22:00-06:00", "00:00-24:00", "01:30-02:30", "23:30-01:30"]
    ),
    st.tuples(st.integers(0, 1439), st.integers(60, 1440)).map(lambda pair: ((pair[0], pair[0] + pair[1]),)),
).map(lambda hours: parse_hours(hours) if isinstance(hours, str) else hours)
WEEKS = st.dictionaries(st.integers(0, 6), HOURS, min_size=1).filter(lambda week: any(week.values()))
EXCEPTIONS = st.dictionaries(st.dates(date(2026, 1, 1), date(2028, 12, 31)), HOURS, max_size=5)
CALENDARS = st.one_of(
    st.just(ALWAYS),
    st.builds(
        Calendar.of,
        zone=st.sampled_from(ZONES),
        week=WEEKS,
        exceptions=EXCEPTIONS,
        holidays=st.sampled_from([None, "RO", "DE-BY", ("RO", "DE-BY")]),
    ),
)
MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2028, 12, 31), timezones=st.sampled_from(ZONES).map(ZoneInfo))  # noqa: DTZ001
WORKING = st.one_of(
    st.timedeltas(NONE, 40 * HOUR),
    st.integers(0, 80).map(lambda hours: hours * HOUR / 2),
)


@settings(max_examples=300, deadline=None)
@given(CALENDARS, MOMENTS, MOMENTS, WORKING, WORKING)
def test_adding_is_monotone_and_additive_and_counting_takes_it_back(
    made: Calendar, one: datetime, other: datetime, first: timedelta, second: timedelta
) -> None:
    start, later = sorted((one, other), key=lambda moment: moment.astimezone(UTC))
    ready = made.add(start, first)
    assert start <= ready <= made.add(later, first)
    assert ready <= made.add(start, first + second)
    assert made.add(ready, second) == made.add(start, first + second)
    assert made.between(start, ready) == first
    assert made.add(start, NONE) == start.astimezone(UTC)
    assert ready.tzinfo is UTC
    if first:
        assert made.between(start, ready - TICK) == first - TICK, "the earliest such moment"


@settings(max_examples=300, deadline=None)
@given(CALENDARS, MOMENTS, MOMENTS, MOMENTS)
def test_counting_is_additive_and_turns_its_sign_and_opens_where_time_begins_to_pass(
    made: Calendar, a: datetime, b: datetime, c: datetime
) -> None:
    assert made.between(a, c) == made.between(a, b) + made.between(b, c)
    assert made.between(a, b) == -made.between(b, a)
    assert abs(made.between(a, b)) <= abs(b.astimezone(UTC) - a.astimezone(UTC))
    opening = made.opens(a)
    assert made.is_open(opening)
    assert made.between(a, opening) == NONE
    assert made.between(opening, opening + TICK) == TICK
    assert (opening == a.astimezone(UTC)) == made.is_open(a)


# --- against the wall's clock ---


@cache
def wall(zone: str, beginning: date) -> list[datetime]:
    """What the clock on the wall shows at each minute of UTC in the window."""
    first = datetime(beginning.year, beginning.month, beginning.day, tzinfo=UTC)
    return [(first + n * MINUTE).astimezone(ZoneInfo(zone)) for n in range(WINDOW_DAYS * 1440)]


def open_minutes(case: dict[str, Any], beginning: date) -> list[bool]:
    """For each minute of the window whether somebody is there, by nothing but the clock on the wall."""

    def hours_of(day: date) -> Hours:
        if day in case["exceptions"]:
            return tuple(case["exceptions"][day])
        if case["holidays"] and day in FREE_IN_ROMANIA:
            return ()
        return tuple(case["week"].get(day.weekday(), ()))

    days = [beginning + n * DAY for n in range(-3, WINDOW_DAYS + 3)]
    there = {
        day: [(start, end) for start, end in hours_of(day)]
        + [(start - 1440, end - 1440) for start, end in hours_of(day - DAY)]
        for day in days
    }
    return [
        any(start <= shown.hour * 60 + shown.minute < end for start, end in there[shown.date()])
        for shown in wall(case["zone"], beginning)
    ]


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(BEGINNINGS),
    st.fixed_dictionaries(
        {"zone": st.sampled_from(ZONES), "week": WEEKS, "holidays": st.sampled_from([None, "RO"])},
    ),
    st.dictionaries(st.integers(-1, WINDOW_DAYS), HOURS, max_size=3),
    st.data(),
)
def test_a_minute_by_minute_model_says_the_same(
    beginning: date, case: dict[str, Any], special: dict[int, Hours], data: st.DataObject
) -> None:
    case = case | {"exceptions": {beginning + n * DAY: hours for n, hours in special.items()}}
    made, minutes = Calendar.of(**case), open_minutes(case, beginning)
    midnight = datetime(beginning.year, beginning.month, beginning.day, tzinfo=UTC)
    start = data.draw(st.integers(0, len(minutes) - 1), label="start")
    end = data.draw(st.integers(start, len(minutes) - 1), label="end")
    left = sum(minutes[start:end])

    assert made.is_open(midnight + start * MINUTE) == minutes[start]
    assert made.between(midnight + start * MINUTE, midnight + end * MINUTE) == left * MINUTE
    seconds = data.draw(st.integers(0, 59), label="seconds of the start") * timedelta(seconds=1)
    assert made.between(midnight + start * MINUTE + seconds, midnight + end * MINUTE + seconds) == (
        left * MINUTE - minutes[start] * seconds + minutes[end] * seconds
    )
    if left:
        worked = [n for n in range(start, end) if minutes[n]]
        assert made.add(midnight + start * MINUTE, left * MINUTE) == midnight + (worked[-1] + 1) * MINUTE
        assert made.opens(midnight + start * MINUTE) == midnight + worked[0] * MINUTE


# --- in a person's examples ---


@pytest.mark.parametrize(
    ("start", "working", "ready"),
    [
        ("2026-03-06T17:00", HOUR, "2026-03-06T18:00"),  # a Friday: used up as the week ends, not as the next begins
        ("2026-03-06T17:00", HOUR + TICK, "2026-03-09T09:00:00.000001"),
        ("2026-03-07T12:00", HOUR, "2026-03-09T10:00"),  # starts on a closed day
        ("2026-03-06T17:58", 5 * MINUTE, "2026-03-09T09:03"),
        ("2026-04-09T17:58", HOUR, "2026-04-14T09:58"),  # Orthodox Easter from Friday to Monday
        ("2028-02-28T17:00", 9 * HOUR, "2028-02-29T17:00"),
        ("2026-12-24T17:00", 2 * HOUR, "2026-12-28T10:00"),
    ],
)
def test_office_hours_in_bucharest(start: str, working: timedelta, ready: str) -> None:
    made = calendar(holidays="RO")
    assert made.add(at(start), working) == at(ready)
    assert made.between(at(start), at(ready)) == working


@pytest.mark.parametrize(
    ("places", "free", "not_free"),
    [
        ("RO", "2026-12-01", "2026-11-02"),
        ("RO", "2026-04-13", "2026-04-06"),  # Easter Monday, the Orthodox and the Western
        ("DE-BY", "2026-04-06", "2026-04-13"),
        ("DE-BY", "2026-06-04", "2026-12-01"),  # Corpus Christi is free in Bavaria
        ("DE-BE", "2026-04-06", "2026-06-04"),  # and not in Berlin
        (("RO", "DE-BY"), "2026-06-04", "2026-06-05"),
    ],
)
def test_public_holidays_of_a_country_a_part_of_one_and_several(
    places: str | tuple[str, ...], free: str, not_free: str
) -> None:
    made = calendar(holidays=places)
    assert not made.is_open(at(f"{free}T12:00"))
    assert made.is_open(at(f"{not_free}T12:00"))


def test_an_exception_takes_the_place_of_a_holiday_a_weekend_and_an_ordinary_day() -> None:
    half_day = parse_hours("09:00-12:00")
    special = {
        date(2026, 12, 1): half_day,
        date(2026, 12, 5): half_day,
        date(2026, 12, 3): (),
        date(2026, 12, 4): half_day,
    }
    made = calendar(holidays="RO", exceptions=special)
    hours = [made.between(at(f"2026-12-0{day}T00:00"), at(f"2026-12-0{day + 1}T00:00")) / HOUR for day in range(1, 7)]
    assert hours == [3, 9, 0, 3, 3, 0]


def test_a_fortnight_without_work_is_gone_over() -> None:
    made = calendar(exceptions={date(2026, 12, 21) + n * DAY: () for n in range(14)})
    assert made.add(at("2026-12-18T17:00"), 2 * HOUR) == at("2027-01-04T10:00")
    assert made.opens(at("2026-12-25T12:00")) == at("2027-01-04T09:00")


@pytest.mark.parametrize(
    ("zone", "night", "hours"),
    [
        ("Europe/Bucharest", "2026-03-28", 7),
        ("Europe/Bucharest", "2026-10-24", 9),
        ("America/New_York", "2026-03-07", 7),
        ("America/New_York", "2026-10-31", 9),
        ("Australia/Lord_Howe", "2026-10-03", 7.5),
        ("Australia/Lord_Howe", "2026-04-04", 8.5),
        ("Asia/Kolkata", "2026-03-28", 8),
        ("UTC", "2026-03-28", 8),
        ("Pacific/Apia", "2011-12-29", 2),  # the zone left out the 30th: a shift ends with the day it began on
    ],
)
def test_the_night_shift_has_the_hours_that_really_pass(zone: str, night: str, hours: float) -> None:
    made = calendar({day: parse_hours("22:00-06:00") for day in range(7)}, zone)
    begin = at(f"{night}T22:00", zone)
    end = made.add(begin, hours * HOUR)
    assert (end.astimezone(ZoneInfo(zone)).hour, made.is_open(end)) == (
        (0, True) if zone == "Pacific/Apia" else (6, False)
    )
    assert end - begin == hours * HOUR


def test_an_opening_that_the_wall_skips_is_none_and_one_it_shows_twice_counts_twice() -> None:
    made = calendar(dict.fromkeys(range(7), parse_hours("03:15-03:45")))
    assert made.between(at("2026-03-29T00:00"), at("2026-03-30T00:00")) == NONE
    assert made.between(at("2026-10-25T00:00"), at("2026-10-26T00:00")) == HOUR
    assert made.opens(at("2026-10-25T03:45")) == at("2026-10-25T03:15", fold=1)


def test_a_shift_over_midnight_runs_into_a_holiday_and_into_the_next_days_shift() -> None:
    nights = calendar({0: parse_hours("22:00-06:00"), 1: parse_hours("05:00-09:00")}, holidays="RO")
    assert nights.add(at("2026-11-30T12:00"), HOUR) == at("2026-12-07T23:00"), "Saint Andrew's is free"
    assert nights.between(at("2026-12-07T22:00"), at("2026-12-08T12:00")) == 11 * HOUR, "nothing counts twice"
    into = calendar({6: parse_hours("22:00-06:00")}, holidays="RO")
    assert into.is_open(at("2026-04-27T05:00")), "Sunday's shift belongs to Sunday"
    assert into.is_open(at("2026-06-01T05:00")) is False, "and that Sunday is Pentecost"


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "UTC", "America/New_York"])
def test_new_year_is_free_from_its_own_midnight_wherever_utc_is(zone: str) -> None:
    made = calendar(dict.fromkeys(range(7), parse_hours("00:00-24:00")), zone, holidays="RO")
    assert made.add(at("2026-12-31T06:00", zone), 18 * HOUR) == at("2027-01-01T00:00", zone)
    assert made.opens(at("2027-01-01T00:00", zone)) == at("2027-01-03T00:00", zone)
    nights = calendar(dict.fromkeys(range(7), parse_hours("22:00-06:00")), zone)
    assert nights.add(at("2026-12-31T22:00", zone), 8 * HOUR) == at("2027-01-01T06:00", zone)


def test_days_and_weeks_of_working_time_are_those_of_the_ordinary_week() -> None:
    split = calendar({**OFFICE_WEEK, 4: parse_hours("09:00-13:00, 14:00-15:00"), 6: parse_hours("22:00-06:00")})
    lengths = {text: split.time_of(Span.parse(text)) / HOUR for text in ("30s", "30m", "4h", "2d", "1w")}
    assert lengths == {"30s": 1 / 120, "30m": 0.5, "4h": 4, "2d": 2 * 49 / 6, "1w": 49}
    overlapping = calendar({6: parse_hours("22:00-06:00"), 0: parse_hours("05:00-09:00")})
    assert overlapping.time_of(Span.parse("1w")) == 11 * HOUR
    assert ALWAYS.time_of(Span.parse("1d")) == DAY
    assert ALWAYS.time_of(Span.parse("1w")) == 7 * DAY


# --- values, slips and ends ---


def test_calendars_that_say_the_same_are_equal_and_can_be_kept_in_sets() -> None:
    one, other = calendar(holidays=("RO", "DE-BY")), calendar(holidays=["DE-BY", "RO"])
    one.opens(at("2026-03-07T12:00"))
    assert {one, other} == {other}
    assert one != calendar(holidays="RO")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"week": {}}, "no open time"),
        ({"week": {0: ()}, "exceptions": {date(2026, 1, 1): OFFICE}}, "no open time"),
        ({"week": {7: OFFICE}}, "a week has the days"),
        ({"week": {0: ((540, 780), (720, 1080))}}, "Monday: 09:00-13:00 and 12:00-18:00 overlap"),
        ({"week": {0: ((540, 540),)}}, "Monday: no opening"),
        ({"exceptions": {date(2026, 1, 1): ((-5, 60),)}}, "2026-01-01: no opening"),
        ({"zone": "Europe/Bukarest"}, "no time zone"),
        ({"zone": "../etc"}, "no time zone"),
        ({"zone": "Europe"}, "no time zone"),
        ({"holidays": "XX"}, "of a country XX"),
        ({"holidays": "Romania"}, "two capitals"),
        ({"holidays": ("RO", "DE-XX")}, "part XX of DE: BB, "),
    ],
)
def test_what_is_no_calendar_is_refused_in_words(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Calendar.of(**({"zone": "UTC", "week": OFFICE_WEEK} | change))


def test_what_is_too_far_is_refused_and_never_walked_to() -> None:
    made, start = calendar({0: ((0, 1),)}), at("2026-03-02T00:00")
    far = datetime.max.replace(tzinfo=UTC)
    for ask in (
        lambda: made.add(start, 60 * 53 * MINUTE),
        lambda: made.add(start, timedelta.max),
        lambda: ALWAYS.add(start, timedelta.max),
        lambda: made.between(start, far),
        lambda: made.opens(far),
    ):
        with pytest.raises(Refused) as refused:
            ask()
        assert refused.value.code == "too_far"
    assert made.add(start, 59 * 52 * MINUTE) > at("2084-01-01T00:00")


def test_time_is_not_taken_back() -> None:
    with pytest.raises(ValueError, match="negative"):
        calendar().add(at("2026-03-02T12:00"), -HOUR)


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("09:00-18:00", ((540, 1080),)),
        ("9:00 - 13:00, 14:00-18:00", ((540, 780), (840, 1080))),
        ("22:00-06:00", ((1320, 1800),)),
        ("22:00-00:00", ((1320, 1440),)),
        ("00:00-24:00", ((0, 1440),)),
        ("closed", ()),
    ],
)
def test_hours_as_a_person_writes_them(text: str, hours: Hours) -> None:
    assert parse_hours(text) == hours


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("9-18", "must be hours"),
        ("", "must be hours"),
        ("closed, 09:00-10:00", "must be hours"),
        ("09:60-18:00", "09:60-18:00: a day's times"),
        ("24:00-06:00", "a day's times"),
        ("09:00-25:00", "a day's times"),
        ("09:00-09:00", "begins when it ends"),
        ("09:00-13:00, 12:00-18:00", "overlap"),
    ],
)
def test_hours_that_are_none_are_refused_in_words(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_hours(text)


@given(st.integers(0, 3660), st.sampled_from("smhd"))
def test_a_span_is_read_as_it_is_written(amount: int, unit: str) -> None:
    span = Span.parse(f"{amount}{unit}")
    assert (str(span), bool(span)) == (f"{amount}{unit}", amount > 0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        *(
            (text, "must be a duration, as 30m, 4h, 1d or 2w")
            for text in ("", "1", "-1h", "1.5h", "1 month", "1234567s")
        ),
        ("3661d", "not be longer than 3660d"),
        ("523w", "not be longer"),
    ],
)
def test_a_span_that_is_none_is_refused_in_words(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Span.parse(text)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        *(("90 min", "90m"), ("2 Hours", "2h"), ("48H", "48h"), ("1 hr", "1h"), ("3 weeks", "3w")),
        *(("1h30m", "90m"), ("1h 60m", "2h"), ("1.5h", "90m"), ("1m30s", "90s")),
        *((text, "") for text in ("3M", "3 months", "1d4h", "0.5d", "1:30", "two weeks", "60")),
    ],
)
def test_who_writes_a_span_otherwise_hears_what_may_be_meant_where_that_is_sure(text: str, meant: str) -> None:
    with pytest.raises(ValueError, match="2w$" if not meant else f"did you mean {meant}[?]$"):
        Span.parse(text)
