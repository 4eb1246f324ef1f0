"""Spreading what is needed: over the working days of a window, over weeks and months, over methods."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from zoneinfo import ZoneInfo

from shared.agreement import Agreement
from shared.agreement.goals import DAY, MONTHS, begins, working_time
from shared.agreement.values import Period
from shared.calendars import ALWAYS, Calendar


@dataclass(frozen=True, kw_only=True)
class Days:
    """How the days of an agreement weigh: by their working time, or all the same in a window without any."""

    calendar: Calendar
    zone: str

    @classmethod
    def of(cls, agreement: Agreement) -> Days:
        """By the calendar of everybody who has no other, and days as they begin in the agreement's time zone."""
        return cls(calendar=agreement.calendars[agreement.follow_up.calendar], zone=agreement.timezone)

    def day_of(self, at: datetime) -> date:
        return at.astimezone(ZoneInfo(self.zone)).date()

    def gone(self, window: Period, at: datetime) -> Fraction:
        """The share of the window's working days that is over: 0 before it, 1 after it, begun ones in part."""
        start, end = begins(window.first, self.zone), begins(window.last + DAY, self.zone)
        moment = min(max(at, start), end)
        calendar = self.calendar if working_time(window, self.calendar, self.zone) else ALWAYS
        passed, whole = calendar.between(start, moment), calendar.between(start, end)
        return Fraction(passed // timedelta.resolution, whole // timedelta.resolution)

    def share(self, part: Period, window: Period) -> Fraction:
        """What a part of the window has of its working days."""
        until = self.gone(window, begins(part.last + DAY, self.zone))
        return until - self.gone(window, begins(part.first, self.zone))

    def spread(self, whole: Fraction, parts: Sequence[Period], window: Period) -> list[int]:
        """`whole` over the parts that make up a window, in whole numbers that add up to it, rounded up.

        What has to be there by the end of each part is rounded up: none asks for more than is needed by then.
        """
        ends = [self.gone(window, begins(part.last + DAY, self.zone)) for part in parts]
        by_then = [0, *(math.ceil(whole * end) for end in ends)]
        return [later - earlier for earlier, later in pairwise(by_then)]


def weeks_of(window: Period) -> list[Period]:
    """The weeks, from Monday to Sunday, that have a day in the window."""
    monday = window.first - window.first.weekday() * DAY
    count = (window.last - monday).days // 7 + 1
    return [Period(first=monday + 7 * n * DAY, last=monday + (7 * n + 6) * DAY) for n in range(count)]


def months_of(window: Period) -> list[Period]:
    """The months that have a day in the window."""
    found: list[Period] = []
    day = window.first
    while day <= window.last:
        found.append(MONTHS.around(day))
        day = found[-1].last + DAY
    return found


def pieces(wholes: Sequence[Period], window: Period) -> list[Period]:
    """Weeks or months, as far as they are in the window."""
    return [Period(first=max(one.first, window.first), last=min(one.last, window.last)) for one in wholes]


def apportioned(whole: int, shares: Mapping[str, Fraction]) -> dict[str, int]:
    """`whole` by shares, in whole numbers that add up to it: what the shares leave goes to the largest rests."""
    total = sum(shares.values())
    exact = {name: whole * share / total for name, share in shares.items()}
    found = {name: math.floor(part) for name, part in exact.items()}
    rests = sorted(shares, key=lambda name: exact[name] - found[name], reverse=True)
    for name in rests[: whole - sum(found.values())]:
        found[name] += 1
    return found
