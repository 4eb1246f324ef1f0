"""Working time over a year: ours against counting it second by second, as a CRM that needs no table does.

Counting a whole year takes long, so the ceiling is counted over one week and told for a year:
its time grows with the seconds and with nothing else. Both must agree on that week, or there is no figure.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from statistics import median
from typing import Final
from zoneinfo import ZoneInfo

from holidays import country_holidays

from shared.calendars import Calendar, parse_hours

ZONE, COUNTRY = "Europe/Bucharest", "RO"
OPENS, CLOSES = 9 * 60, 18 * 60
ASKED: Final = 20_000
ROUNDS: Final = 5
SECOND: Final = timedelta(seconds=1)
WEEK: Final = (datetime(2026, 10, 22, tzinfo=UTC), datetime(2026, 10, 29, tzinfo=UTC))  # the clocks change in it
YEAR: Final = (datetime(2026, 1, 1, 12, tzinfo=UTC), datetime(2027, 1, 1, 12, tzinfo=UTC))


@dataclass(frozen=True)
class Figures:
    """Seconds for one question about a year."""

    between: float
    add: float
    table: float  # made once a year and calendar, by whoever asks first
    counted: float


def measure() -> Figures:
    """Raises RuntimeError when the two ways to count disagree."""
    ours = _calendar()
    counted, seconds = _count(*WEEK)
    if ours.between(*WEEK) != counted:
        raise RuntimeError(f"{counted} were counted, and the calendar says {ours.between(*WEEK)}")
    working = ours.between(*YEAR)
    if ours.between(YEAR[0], ours.add(YEAR[0], working)) != working:
        raise RuntimeError("adding a year's working time does not give it back")
    return Figures(
        between=median(_between(ours) for _ in range(ROUNDS)),
        add=median(_add(ours, working) for _ in range(ROUNDS)),
        table=median(_first() for _ in range(ROUNDS)) / 2,  # the question touches two years
        counted=seconds * ((YEAR[1] - YEAR[0]) / (WEEK[1] - WEEK[0])),
    )


def _calendar() -> Calendar:
    hours = parse_hours("09:00-18:00")
    return Calendar.of(zone=ZONE, week=dict.fromkeys(range(5), hours), holidays=COUNTRY)


def _count(start: datetime, end: datetime) -> tuple[timedelta, float]:
    """The working time between, by asking of each second whether somebody is there; and how long that took."""
    zone, free = ZoneInfo(ZONE), set[date](country_holidays(COUNTRY, years=[start.year, end.year]))
    began, at, found = time.perf_counter(), start, 0
    while at < end:
        shown = at.astimezone(zone)
        if (
            OPENS <= shown.hour * 60 + shown.minute < CLOSES
            and shown.weekday() < 5  # Saturday
            and shown.date() not in free
        ):
            found += 1
        at += SECOND
    return found * SECOND, time.perf_counter() - began


def _between(calendar: Calendar) -> float:
    began = time.perf_counter()
    for _ in range(ASKED):
        calendar.between(*YEAR)
    return (time.perf_counter() - began) / ASKED


def _add(calendar: Calendar, working: timedelta) -> float:
    began = time.perf_counter()
    for _ in range(ASKED):
        calendar.add(YEAR[0], working)
    return (time.perf_counter() - began) / ASKED


def _first() -> float:
    calendar, began = _calendar(), time.perf_counter()
    calendar.between(*YEAR)
    return time.perf_counter() - began
