"""The cadence: which attempt is next, and after the last one the lead's time to answer."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from services.handoff.domain import clocks, returns
from services.handoff.domain.draft import Draft
from services.handoff.domain.lead import Lead
from shared.events import ClockKind, LeadAskedAgain

ASKED_AGAIN: Final = "asked_again"


def steps_made(lead: Lead) -> int:
    return sum(attempt.step for attempt in lead.attempts)


def go_on(draft: Draft, at: datetime) -> None:
    """From `at` on wait for the next step, or after the last one for the lead; who waits for us is owed one more."""
    lead, made = draft.lead, steps_made(draft.lead)
    if clocks.running(lead, ClockKind.FIRST_TOUCH, ClockKind.NEXT_ATTEMPT, ClockKind.REPLY_WAIT):
        return
    if lead.waits or made < len(draft.agreement.follow_up.cadence):
        clocks.start(draft, ClockKind.NEXT_ATTEMPT, made + 1, at=at)
    elif returns.exhausted_way(draft.agreement, "") is not None:
        clocks.start(draft, ClockKind.REPLY_WAIT, len(lead.attempts), at=at)


def asked(draft: Draft, now: datetime, *, asked_at: datetime, trigger: str) -> None:
    """The lead asked for Sales once more. When it was only waited for, it is owed an attempt, as a first touch."""
    draft.change(asked_at=max(asked_at, draft.lead.asked_at or asked_at))
    for wait in clocks.running(draft.lead, ClockKind.REPLY_WAIT):
        draft.tell(LeadAskedAgain, at=now, trigger=trigger)
        clocks.cancel(draft, wait, now, ASKED_AGAIN)
        go_on(draft, now)
