"""What hand-off knows of one lead. Structs: a decision changes a few of their fields many times.

A lead's document leaves out what is as it was at first (`omit_defaults`), which is most of it. So the
default of a field stays what it is: another one would be read into every document there is.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import msgspec

from shared.events import (
    ActivityLogged,
    Channel,
    ClockKind,
    DealChanged,
    Outcome,
    State,
    Submission,
    ToFindOut,
    tenant_of,
)

WITH_MARKETING: Final = frozenset({State.MARKETING, State.RETURNED, State.LOST, State.DISQUALIFIED})
CHASED: Final = frozenset({State.HANDED_OFF, State.ACCEPTED, State.WORKING})
WITH_SALES: Final = frozenset({State.HANDED_OFF, State.ACCEPTED, State.WORKING, State.QUALIFIED, State.OPPORTUNITY})
MAX_HEARD: Final = 100  # what is kept of a deleted lead, which is seldom more than one call


class Score(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What the newest score said, as far as hand-off asks. PERSONAL: profile."""

    version: int
    counted_since: datetime | None = None
    at: datetime
    grade: str
    fit_grade: str
    interest_level: str
    journey: str
    disqualified: str = ""
    set_at: Mapping[str, datetime] = msgspec.field(default_factory=dict)  # when some of the profile were set
    seen_at: datetime | None = None  # when the newest fact happened that it knows of
    forms: tuple[Submission, ...] = ()
    profile: Mapping[str, str] = msgspec.field(default_factory=dict)
    to_find_out: tuple[ToFindOut, ...] = ()


class Alarm(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A warning still to be given: at `share` of the clock's working time."""

    share: float
    at: datetime


class Escalation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A step of the escalation that was agreed at the breach, counted from 1, and still to be taken."""

    step: int
    at: datetime
    to: tuple[str, ...] = ()
    reassign: bool = False


class Pause(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Nobody is held to a time since `at`, with a reason; `until`: it ends by itself then."""

    at: datetime
    reason: str
    until: datetime | None = None


class Clock(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A running clock, a paused one, or a breached one whose matter is still open (`overdue`).

    `allowed_s` is the working time that it gives, `left_s` what a paused clock has left, `stood` the pauses
    that are over, each from when the clock stood still in it: how much working time that was depends on the
    hours by which it is set anew. A `hurried` one gives the time to a first touch, because the lead itself
    asked again.
    """

    id: str
    kind: ClockKind
    n: int  # the attempt it waits for, or the last one before the wait for a reply
    started_at: datetime
    due_at: datetime
    allowed_s: float = 0.0
    left_s: float = 0.0
    stood: tuple[Pause, ...] = ()
    alarms: tuple[Alarm, ...] = ()  # rising
    escalations: tuple[Escalation, ...] = ()  # rising; of a breached clock
    overdue: bool = False
    hurried: bool = False
    pause: Pause | None = None

    @property
    def next_at(self) -> datetime | None:
        """When it next has something to say: a warning, its end, an escalation, the end of a pause."""
        if self.pause:
            return self.pause.until
        if self.overdue:
            return self.escalations[0].at if self.escalations else None
        return self.alarms[0].at if self.alarms else self.due_at


class Breach(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A breach of this episode that is settled. A touch in its time may still be logged, and takes it back."""

    clock_id: str
    kind: ClockKind
    started_at: datetime
    due_at: datetime


class Attempt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A contact attempt that counts. `step`: it is one of the cadence's steps. PERSONAL: note."""

    activity: str
    number: int
    at: datetime
    channel: Channel
    outcome: Outcome
    by: str
    seen_at: datetime
    note: str = ""
    duration_s: float | None = None
    step: bool = True


class Deal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A deal as the CRM last told it, and what of it was told on."""

    stage: str
    at: datetime
    opened: bool = False
    closed: str = ""  # won, lost


class Lead(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One lead. `version` is the number of the last message about it; `episode` counts its hand-offs.

    Of its episode: `trigger` and `fit_grade` as of the hand-off, `owners` everybody who had it,
    `turn` how often it changed hands, `breaches` those that are settled, `stood` the pauses that are
    over, each `until` it really ended. `agreement` is the version
    by which the open clocks were last set.
    """

    lead: str
    version: int = 0
    state: State = State.MARKETING
    episode: int = 0
    team: str = ""
    owner: str = ""
    priority: str = ""
    trigger: str = ""
    fit_grade: str = ""
    owners: tuple[str, ...] = ()
    turn: int = 0
    ready_at: datetime | None = None
    handed_off_at: datetime | None = None
    assigned_at: datetime | None = None
    accepted_at: datetime | None = None
    pause: Pause | None = None
    stood: tuple[Pause, ...] = ()
    ended_at: datetime | None = None
    cool_down_until: datetime | None = None
    replied: bool = False
    asked_at: datetime | None = None  # when it last wrote or asked for Sales, while it was followed up
    unfit: bool = False  # disqualified by a score, not by a person
    attempts: tuple[Attempt, ...] = ()
    clocks: tuple[Clock, ...] = ()
    breaches: tuple[Breach, ...] = ()
    agreement: str = ""
    deals: Mapping[str, Deal] = msgspec.field(default_factory=dict)
    score: Score | None = None
    gone: str = ""  # why there is nothing more to it: deleted, erased, merged
    gone_at: datetime | None = None  # when it was last deleted, also of one that is back since
    merged_at: datetime | None = None  # when another lead was last merged into it: it was there then
    merged_into: str = ""  # the lead that it is part of now
    left: Lead | None = None  # as it was when it was deleted, without the person: a merge may follow
    heard: tuple[ActivityLogged | DealChanged, ...] = ()  # since it was deleted: for the same, or for its return

    @property
    def tenant(self) -> str:
        return tenant_of(self.lead)

    def having_heard(self, message: ActivityLogged | DealChanged) -> Lead:
        """Deleted it keeps the newest MAX_HEARD of what is still told of it; gone for good it keeps nothing."""
        if self.left is None:
            return self
        return msgspec.structs.replace(self, heard=(*self.heard, message)[-MAX_HEARD:])

    @property
    def touched_at(self) -> datetime | None:
        """The latest attempt of its last episode, or else the hand-off."""
        return max((attempt.at for attempt in self.attempts), default=self.handed_off_at)

    @property
    def waits(self) -> bool:
        """It wrote or asked, and nobody has answered since."""
        return self.asked_at is not None and all(attempt.at < self.asked_at for attempt in self.attempts)

    @property
    def wakes_at(self) -> datetime | None:
        """When its pause ends by itself, unless a clock that it holds tells so."""
        return self.pause.until if self.pause and not any(clock.pause for clock in self.clocks) else None

    @property
    def next_due(self) -> datetime | None:
        """When Sales owes the next thing, also when that is past. The wait for a reply is not Sales' to do."""
        owed = [clock.due_at for clock in self.clocks if clock.kind is not ClockKind.REPLY_WAIT]
        return min(owed, default=None)
