"""What goals are held against: stage entries by day, won deals, and commitments whose time is over."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cached_property

from shared.agreement.values import Period


@dataclass(frozen=True, kw_only=True)
class StageDay:
    """How many reached a stage on a day, with this source and grade; and how many of a day's moved on since.

    `moved_on` counts under the source known by then, and no grade: only its sum over a day says something.
    """

    day: date
    stage: str
    source: str
    grade: str = ""
    entries: int = 0
    moved_on: int = 0


@dataclass(frozen=True, kw_only=True)
class DealEnd:
    """A deal that was won or lost at `at`; `currency` is "" where the CRM does not tell. The newest `at` holds."""

    deal: str
    at: datetime
    day: date
    won: bool
    amount: Decimal | None = None
    currency: str = ""


@dataclass(frozen=True, kw_only=True)
class Won:
    """Deals won on a day in a currency; `unpriced` of them have no amount."""

    day: date
    currency: str
    deals: int
    unpriced: int
    amount: Decimal


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A commitment whose time is over: what was owed and there then, and when it turned out to be met after all."""

    goal: str
    commitment: str
    stage: str
    grades: tuple[str, ...]
    first: date
    last: date
    owed: int
    counted: int
    outcome: str
    agreement: str
    corrected_at: datetime | None = None

    @property
    def days(self) -> Period:
        return Period(first=self.first, last=self.last)


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Everything that was counted of the tenants of one agreement."""

    days: Sequence[StageDay] = ()
    won: Sequence[Won] = ()
    judged: Sequence[Judged] = ()

    @cached_property
    def since(self) -> date | None:
        """The first day on which anybody was counted."""
        return min((one.day for one in self.days if one.entries), default=None)

    def within(self, stage: str, days: Period) -> Sequence[StageDay]:
        """What is known of a stage on these days."""
        found = self._by_stage.get(stage, [])
        first = bisect_left(found, days.first, key=lambda one: one.day)
        return [one for one in found[first:] if one.day <= days.last]

    def reached(self, stage: str, days: Period, where: Callable[[StageDay], bool] = lambda one: True) -> int:
        """How many reached the stage on these days, of those that `where` holds for."""
        return sum(one.entries for one in self.within(stage, days) if where(one))

    @cached_property
    def _by_stage(self) -> dict[str, list[StageDay]]:
        found: dict[str, list[StageDay]] = {}
        for one in sorted(self.days, key=lambda one: one.day):
            found.setdefault(one.stage, []).append(one)
        return found
