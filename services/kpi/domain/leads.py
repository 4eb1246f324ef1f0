"""What is known of one lead: its milestones and the clocks that run for it. Nothing personal."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date, datetime

from shared.agreement.goals import UNKNOWN

Unsourced = tuple[str, date, str]  # stage, day, grade
ClockLabels = tuple[str, str, str]  # clock, team, priority


@dataclass(frozen=True, kw_only=True)
class RunningClock:
    """A clock that has not ended (`paused`: it stands still), or has been breached and is not settled."""

    clock: str
    team: str
    priority: str
    due_at: datetime
    overdue: bool = False
    paused: bool = False

    @property
    def labels(self) -> ClockLabels:
        return self.clock, self.team, self.priority


@dataclass(frozen=True, kw_only=True)
class Untouched:
    """A hand-off that nobody has answered yet."""

    ready_at: datetime
    team: str
    priority: str


@dataclass(frozen=True, kw_only=True)
class LeadState:
    """One lead. `stages` has the first time that each was reached; `unsourced` how those stages counted
    by day of which nobody knew yet what source they came from; `settled` the labels under which the settled
    breaches of this episode were counted, by clock, should one be taken back.

    `deleted_at`: when it was last deleted, as the CRM says; it keeps its stages, for a
    restore or a merge, and because what the other topics still say of it may be read later. `merged_into`: the
    lead that it is part of now. `erased`: a privacy deletion forgot it.
    """

    source: str = UNKNOWN
    stages: dict[str, datetime] = field(default_factory=dict)
    unsourced: tuple[Unsourced, ...] = ()
    episode: int = 0
    untouched: Untouched | None = None
    clocks: dict[str, RunningClock] = field(default_factory=dict)
    settled: dict[str, ClockLabels] = field(default_factory=dict)
    deleted_at: datetime | None = None
    erased: bool = False
    merged_into: str = ""

    def gone(self, at: datetime) -> bool:
        """Whether what happened to it at `at` counts no more: a restored lead counts from its restore on."""
        deleted = self.deleted_at is not None and at <= self.deleted_at
        return self.erased or bool(self.merged_into) or deleted

    def deleted(self, at: datetime) -> LeadState:
        """The same, deleted at `at`, or later as far as is known."""
        return replace(self, deleted_at=at if self.deleted_at is None else max(at, self.deleted_at))

    @property
    def empty(self) -> bool:
        """Nothing is worth keeping."""
        return self == LeadState()
