"""What hand-off knows of one lead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from shared.events import Channel, ClockKind, Outcome, State, Submission

WITH_MARKETING: Final = frozenset({State.MARKETING, State.RETURNED, State.LOST, State.DISQUALIFIED})
WITH_SALES: Final = frozenset({State.HANDED_OFF, State.ACCEPTED, State.WORKING, State.QUALIFIED, State.OPPORTUNITY})


@dataclass(frozen=True, kw_only=True)
class Score:
    """What the newest score said, as far as hand-off asks. PERSONAL: profile."""

    version: int
    at: datetime
    grade: str
    fit_grade: str
    interest_level: str
    journey: str
    disqualified: str = ""
    forms: tuple[Submission, ...] = ()
    profile: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Clock:
    """A running clock, or a breached one whose matter is still open (`overdue`)."""

    id: str
    kind: ClockKind
    n: int  # the attempt it waits for, or the last one before the wait for a reply
    started_at: datetime
    due_at: datetime
    warn_at: tuple[float, ...] = ()  # shares of its time still to be warned at, rising
    overdue: bool = False

    def moment_of(self, share: float) -> datetime:
        return self.started_at + (self.due_at - self.started_at) * share

    @property
    def next_at(self) -> datetime | None:
        """When it next has something to say: a warning or its end. None once ended."""
        if self.overdue:
            return None
        return self.moment_of(self.warn_at[0]) if self.warn_at else self.due_at


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A contact attempt that counts. PERSONAL: note."""

    activity: str
    number: int
    at: datetime
    channel: Channel
    outcome: Outcome
    by: str
    seen_at: datetime
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Deal:
    """A deal as the CRM last told it, and what of it was told on."""

    stage: str
    at: datetime
    opened: bool = False
    closed: str = ""  # won, lost


@dataclass(frozen=True, kw_only=True)
class Lead:
    """One lead. `version` is the number of the last message about it; `episode` counts its hand-offs."""

    lead: str
    version: int = 0
    state: State = State.MARKETING
    episode: int = 0
    team: str = ""
    owner: str = ""
    priority: str = ""
    handed_off_at: datetime | None = None
    ended_at: datetime | None = None
    cool_down_until: datetime | None = None
    replied: bool = False
    unfit: bool = False  # disqualified by a score, not by a person
    attempts: tuple[Attempt, ...] = ()
    clocks: tuple[Clock, ...] = ()
    deals: Mapping[str, Deal] = field(default_factory=dict)
    score: Score | None = None
    gone: str = ""  # why there is nothing more to it: erased, merged

    @property
    def tenant(self) -> str:
        return self.lead.rpartition(":")[0]

    @property
    def next_due(self) -> datetime | None:
        """When Sales owes the next thing, also when that is past. The wait for a reply is not Sales' to do."""
        owed = [clock.due_at for clock in self.clocks if clock.kind is not ClockKind.REPLY_WAIT]
        return min(owed, default=None)
