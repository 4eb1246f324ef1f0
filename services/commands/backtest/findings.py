"""What is noted of a part while its leads live through it under one agreement; parts add up in any order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from heapq import nsmallest
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec
from msgspec.structs import replace

from services.handoff.domain.assigning import REASSIGNED
from services.kpi.domain.tallies import HANDOFFS, REJECTIONS, RETURNS, STAGE_ENTRIES, Labels
from services.kpi.worker import KpiDecision
from shared.events import (
    AttemptRecorded,
    ClockBreached,
    ClockCancelled,
    ClockCorrected,
    ClockKind,
    ClockMessage,
    ClockMet,
    ClockMoved,
    ClockResumed,
    ClockStarted,
    HandoffMessage,
    LeadHandedOff,
    Message,
    identity,
)

COUNTED: Final = frozenset({STAGE_ENTRIES, HANDOFFS, RETURNS, REJECTIONS})
SAMPLES_KEPT: Final = 1_000  # of one person and priority: enough for a share to be good to a percent or two
MET, BREACHED, EXCUSED, OPEN = "met", "breached", "excused", "open"
HOUR_S: Final = 3600

Sample = tuple[float, float | None]
"""A number from 0 to 1 that is the hand-off's own, and the working seconds to its first touch; None: there was none."""
Whose = tuple[str, str, str]  # team, person, priority


class HandOff(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One hand-off, and what came of its first touch as people really acted."""

    at: datetime
    lead: str
    episode: int
    team: str
    owner: str
    priority: str
    due_at: datetime | None = None  # of the first touch; None: not promised
    outcome: str = OPEN
    touched_s: float | None = None  # working seconds from the assignment

    @property
    def key(self) -> tuple[datetime, str, int]:
        return self.at, self.lead, self.episode

    def point(self, salt: str) -> float:
        """A number from 0 to 1, always the same for this hand-off."""
        return int(identity(salt, self.lead, self.episode)[:13], 16) / 16**13


@dataclass(kw_only=True)
class Findings:
    """Of one agreement. `hours` counts hand-offs by weekday (Monday is 0) and hour."""

    tallies: Counter[tuple[str, Labels]] = field(default_factory=Counter)
    hours: Counter[tuple[int, int]] = field(default_factory=Counter)
    leads_handed_off: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    touches: Counter[tuple[str, int]] = field(default_factory=Counter)  # leads touched, by person and hour since 1970
    samples: dict[Whose, list[Sample]] = field(default_factory=dict)

    def add(self, other: Findings) -> None:
        self.tallies.update(other.tallies)
        self.hours.update(other.hours)
        self.leads_handed_off += other.leads_handed_off
        self.refused.update(other.refused)
        self.touches.update(other.touches)
        for whose, samples in other.samples.items():
            self.samples[whose] = _kept([*self.samples.get(whose, ()), *samples])

    def by(self, metric: str, label: int) -> Counter[str]:
        """The tallies of a metric by one of its labels."""
        found: Counter[str] = Counter()
        for (name, labels), value in self.tallies.items():
            if name == metric:
                found[labels[label]] += int(value)
        return found


def _kept(samples: Iterable[Sample]) -> list[Sample]:
    """Those with the least numbers: a fair choice, and the same in whatever order they come."""
    return nsmallest(SAMPLES_KEPT, samples, key=lambda one: one[0])


class Watch:
    """Listens to one house, and notes."""

    def __init__(self, *, since: datetime | None, timezone: str) -> None:
        self.handoffs: list[HandOff] = []  # since `since`
        self._since = since
        self._zone = ZoneInfo(timezone)
        self._tallies: Counter[tuple[str, Labels]] = Counter()
        self._current: dict[str, HandOff] = {}
        self._over: list[HandOff] = []
        self._touched: set[tuple[str, int, str]] = set()

    def hear(self, message: Message, now: datetime) -> None:
        if isinstance(message, LeadHandedOff):
            self._begin(message)
        elif isinstance(message, HandoffMessage) and message.lead in self._current:
            self._go_on(message)

    def counted(self, decision: Any, message: Message) -> None:
        if isinstance(decision, KpiDecision) and (self._since is None or message.at >= self._since):
            for metric, labels, value in decision.tallies:
                if metric in COUNTED:
                    self._tallies[metric, labels] += int(value)

    def _begin(self, message: LeadHandedOff) -> None:
        self._end(message.lead)
        self._current[message.lead] = HandOff(
            at=message.at,
            lead=message.lead,
            episode=message.episode,
            team=message.team,
            owner=message.owner,
            priority=message.priority,
        )

    def _end(self, lead: str) -> None:
        if lead in self._current:
            self._over.append(self._current.pop(lead))

    def _go_on(self, message: HandoffMessage) -> None:
        current = self._current[message.lead]
        if isinstance(message, AttemptRecorded):
            self._touched.add((message.owner, int(message.at.timestamp()) // HOUR_S, message.lead))
            if message.since_assigned_working_s is not None and current.touched_s is None:
                self._current[message.lead] = replace(current, touched_s=message.since_assigned_working_s)
        elif isinstance(message, ClockMessage) and message.clock is ClockKind.FIRST_TOUCH:
            self._current[message.lead] = _after(current, message)

    def findings(self, refused: Counter[str]) -> Findings:
        """All that was noted, when nothing more will be heard."""
        for lead in list(self._current):
            self._end(lead)
        self._over.sort(key=lambda one: one.key)
        self.handoffs = [one for one in self._over if self._since is None or one.at >= self._since]
        return Findings(
            tallies=self._tallies,
            hours=Counter(map(self._hour, self.handoffs)),
            leads_handed_off=len({one.lead for one in self.handoffs}),
            refused=+refused,
            touches=Counter((owner, hour) for owner, hour, _ in self._touched),
            samples=_sampled(self._over),
        )

    def _hour(self, one: HandOff) -> tuple[int, int]:
        local = one.at.astimezone(self._zone)
        return local.weekday(), local.hour


def _after(current: HandOff, message: ClockMessage) -> HandOff:
    """What the first touch's clock says of the hand-off: a breach stays, whoever has the lead then and touches it.

    When it changes hands before that, the new owner's clock counts.
    """
    if isinstance(message, ClockStarted | ClockMoved | ClockResumed) and current.outcome == OPEN:
        return replace(current, due_at=message.due_at)
    if isinstance(message, ClockBreached):
        return replace(current, outcome=BREACHED)
    if isinstance(message, ClockCorrected):
        return replace(current, outcome=MET)
    if current.outcome == OPEN and isinstance(message, ClockMet):
        return replace(current, outcome=MET)
    if current.outcome == OPEN and isinstance(message, ClockCancelled) and message.reason != REASSIGNED:
        return replace(current, outcome=EXCUSED)
    return current


def _sampled(handoffs: Iterable[HandOff]) -> dict[Whose, list[Sample]]:
    """How long each took; who was never touched counts too, once that was late."""
    found: dict[Whose, list[Sample]] = {}
    for one in handoffs:
        if one.touched_s is not None or one.outcome == BREACHED:
            whose = one.team, one.owner, one.priority
            found.setdefault(whose, []).append((one.point("sample"), one.touched_s))
    return {whose: _kept(samples) for whose, samples in found.items()}


def common(old: Iterable[HandOff], new: Iterable[HandOff]) -> Iterator[tuple[HandOff, HandOff]]:
    """The hand-offs that both agreements make, of the same lead at the same moment."""
    known = {(one.lead, one.at): one for one in old}
    for one in new:
        if (one.lead, one.at) in known:
            yield known[one.lead, one.at], one
