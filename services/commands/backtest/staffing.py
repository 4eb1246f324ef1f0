"""How many first touches would come too late, if people answered as they did in the record.

The model: each hand-off finds its person by the agreement's routes. The person would get to it after
a time that is drawn from how long they really took (working time, from the hand-off to the first
touch, the never touched among them), and starts on one lead after the other, no faster than the
most leads that they touched in any hour of the record: the more urgent first, else who came first.
What it leaves out is said in ASSUMPTIONS, which stand in every report.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from statistics import median
from typing import Final

from services.commands.backtest.findings import EXCUSED, HOUR_S, Findings, HandOff
from shared.agreement import Agreement, Agreements
from shared.calendars import Calendar
from shared.events import tenant_of

ENOUGH: Final = 20  # hand-offs that were answered, or were late: fewer say nothing about a person
ENOUGH_OF_ALL: Final = 30
NEVER: Final = float("inf")
FOR_EVER: Final = datetime.max.replace(tzinfo=UTC)

ASSUMPTIONS: Final = (
    "People answer as fast as they did in the record, in working time, whatever the agreement promises; "
    "of whom the record says too little, as fast as their team, or else as everybody.",
    "Each takes one lead after the other, and no more in an hour than they ever touched in one; the more urgent "
    "first, else who came first. Later attempts take none of their time.",
    "How long they took has it in it that they were busy; the model lets them be busy once more, and so says rather "
    "too many than too few where somebody gets more leads than they can take.",
    "Everybody works by the agreement's calendars. Nobody is ill, on leave, or helped out by a colleague.",
)


@dataclass(frozen=True, kw_only=True)
class Pace:
    """What the record says of people. `times` are rising; `gaps` are working seconds from one lead to the next."""

    times: Mapping[tuple[str, ...], tuple[float, ...]]
    gaps: Mapping[str, float]

    @classmethod
    def of(cls, findings: Findings) -> Pace:
        found: dict[tuple[str, ...], list[float]] = {}
        for (team, person, priority), samples in findings.samples.items():
            seconds = [NEVER if took is None else took for _, took in samples]
            for whose in _ever_wider(team, person, priority):
                found.setdefault(whose, []).extend(seconds)
        most: dict[str, int] = {}
        for (person, _), leads in findings.touches.items():
            most[person] = max(leads, most.get(person, 0))
        return cls(
            times={whose: tuple(sorted(seconds)) for whose, seconds in found.items()},
            gaps={person: HOUR_S / leads for person, leads in most.items()},
        )

    @property
    def answered(self) -> int:
        """How many hand-offs it is known from."""
        return len(self.times.get((), ()))

    @property
    def is_enough(self) -> bool:
        return self.answered >= ENOUGH_OF_ALL and bool(self.gaps)

    def reaction_s(self, one: HandOff) -> float:
        """How long it would take, if nothing else waited: of those known, the one at the hand-off's own point."""
        wider = _ever_wider(one.team, one.owner, one.priority)
        times = next((self.times[who] for who in wider if len(self.times.get(who, ())) >= ENOUGH), self.times[()])
        return times[int(one.point("reaction") * len(times))]

    def gap(self, person: str) -> timedelta:
        """From one lead to the next; of whom nothing is known as of everybody's middle."""
        return timedelta(seconds=self.gaps.get(person) or median(self.gaps.values()))


def _ever_wider(team: str, person: str, priority: str) -> tuple[tuple[str, ...], ...]:
    return (team, person, priority), (team, "", priority), ("", "", priority), ()


@dataclass(kw_only=True)
class Late:
    """Of so many first touches that were due, so many came too late."""

    due: int = 0
    late: int = 0

    def count(self, *, late: bool) -> None:
        self.due += 1
        self.late += late

    def add(self, other: Late) -> None:
        self.due += other.due
        self.late += other.late


def predict(handoffs: Iterable[HandOff], agreements: Agreements, pace: Pace, end: datetime) -> dict[str, Late]:
    """By team, of the first touches due by `end`. `handoffs` are in the order of their times."""
    desks: dict[tuple[str, str, str], _Desk] = {}
    found: dict[str, Late] = {team: Late() for one in agreements.now.agreements for team in one.handoff.teams}
    for one in handoffs:
        counts = one.due_at is not None and one.due_at <= end and one.outcome != EXCUSED
        late = found.setdefault(one.team, Late()) if counts else Late()
        reaction = pace.reaction_s(one)
        if reaction == NEVER:
            late.count(late=True)
            continue
        tenant = tenant_of(one.lead)
        agreement, whose = agreements.for_tenant(tenant), (tenant, one.team, one.owner)
        if whose not in desks:
            desks[whose] = _Desk(calendar=agreement.calendar_for(one.team, one.owner), gap=pace.gap(one.owner))
        desks[whose].gets(one, timedelta(seconds=reaction), _urgency(agreement, one.priority), late)
    for desk in desks.values():
        desk.works_until(FOR_EVER)
    return found


def _urgency(agreement: Agreement, priority: str) -> int:
    """Which comes first: the priority whose trigger stands first in the agreement."""
    order = [trigger.priority for trigger in agreement.handoff.triggers]
    return order.index(priority) if priority in order else len(order)


@dataclass(kw_only=True)
class _Desk:
    """One person's leads: those that they would not have come to yet, and those that wait for their turn."""

    calendar: Calendar
    gap: timedelta
    free_at: datetime = datetime.min.replace(tzinfo=UTC)
    coming: list[tuple[datetime, int, tuple[datetime, str, int], HandOff, Late]] = field(default_factory=list)
    waiting: list[tuple[int, datetime, tuple[datetime, str, int], HandOff, Late]] = field(default_factory=list)

    def gets(self, one: HandOff, reaction: timedelta, urgency: int, late: Late) -> None:
        self.works_until(one.at)
        ready = self.calendar.opens(self.calendar.add(one.at, reaction))
        heappush(self.coming, (ready, urgency, one.key, one, late))

    def works_until(self, moment: datetime) -> None:
        while self.waiting or self.coming:
            start = self.free_at if self.waiting else max(self.free_at, self.coming[0][0])
            if start >= moment:
                return
            while self.coming and self.coming[0][0] <= start:
                ready, urgency, key, one, late = heappop(self.coming)
                heappush(self.waiting, (urgency, ready, key, one, late))
            _, _, _, one, late = heappop(self.waiting)
            if one.due_at is not None:
                late.count(late=start > one.due_at)
            self.free_at = self.calendar.opens(self.calendar.add(start, self.gap))
