"""Sales takes a lead on: accepts it, or says that it is an SQL, which accepts it too."""

from __future__ import annotations

from datetime import datetime

from services.handoff.domain import clocks
from services.handoff.domain.draft import Draft
from services.handoff.domain.machine import Cause
from shared.events import ClockKind, LeadAccepted, LeadQualified, State


def accepted(draft: Draft, at: datetime) -> None:
    draft.move(Cause.ACCEPT)
    draft.tell(LeadAccepted, at=at)
    for clock in clocks.running(draft.lead, ClockKind.ACCEPT):
        clocks.touch(draft, clock, at)


def qualified(draft: Draft, at: datetime, *, cause: Cause = Cause.QUALIFY) -> None:
    waiting = draft.lead.state is State.HANDED_OFF
    draft.move(cause)
    if waiting:
        draft.tell(LeadAccepted, at=at)
    clocks.end_all(draft, at, "qualified")
    draft.tell(LeadQualified, at=at)
