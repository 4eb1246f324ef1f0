"""Sales takes a lead on: accepts it, or says that it is an SQL, which accepts it too."""

from __future__ import annotations

from datetime import datetime

from services.handoff.domain import clocks
from services.handoff.domain.draft import Draft
from services.handoff.domain.machine import Cause
from shared.events import ClockKind, LeadAccepted, LeadQualified, State


def tell(draft: Draft, at: datetime) -> None:
    """Say that Sales took it on at `at`."""
    draft.change(accepted_at=at)
    draft.tell(LeadAccepted, at=at)


def accepted(draft: Draft, at: datetime) -> None:
    draft.move(Cause.ACCEPT)
    tell(draft, at)
    for clock in clocks.running(draft.lead, ClockKind.ACCEPT):
        clocks.touch(draft, clock, at)


def qualified(draft: Draft, at: datetime, *, cause: Cause = Cause.QUALIFY) -> None:
    waiting = draft.lead.state is State.HANDED_OFF
    draft.move(cause)
    if waiting:
        tell(draft, at)
    clocks.end_all(draft, at, "qualified")
    draft.tell(LeadQualified, at=at)
