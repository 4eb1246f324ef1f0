"""Contact attempts: what counts as one, the cadence that follows from it, and the reply that ends the chase."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

from services.handoff.domain import clocks, returns
from services.handoff.domain.draft import Draft, HandoffDecision
from services.handoff.domain.lead import Attempt, Lead
from services.handoff.domain.machine import Cause, allows, step
from shared.agreement import Agreement
from shared.events import (
    ActivityLogged,
    AttemptRecorded,
    Channel,
    ClockKind,
    Direction,
    LeadAccepted,
    LeadReplied,
    Outcome,
    State,
)

REPLIES: Final = frozenset({Outcome.CONNECTED, Outcome.REPLIED, Outcome.BOOKED, Outcome.HELD})
REPLIED: Final = "replied"
ATTEMPTED_AGAIN: Final = "attempted_again"


def logged(lead: Lead, message: ActivityLogged, agreement: Agreement, now: datetime) -> HandoffDecision:
    """An activity that the CRM tells: an attempt, a correction of one, a reply, or none of our business."""
    at = min(message.at, now)  # a meeting stands in the CRM under the time when it will be
    if lead.gone or lead.handed_off_at is None or at < lead.handed_off_at:
        return HandoffDecision(state=lead)
    draft = Draft(lead=lead, agreement=agreement, cause=message.id, actor=f"crm:{message.by}" if message.by else "lead")
    known = next((one for one in lead.attempts if one.activity == message.activity), None)
    if known is not None:
        _correct(draft, known, message, at)
    elif message.direction is Direction.INBOUND:
        _answered(draft, message.activity, message.channel, at)
    elif message.by:
        clocks.lapse(draft, at, exhausted=returns.exhausted, inclusive=False)
        if allows(draft.lead.state, Cause.ATTEMPT):
            record(draft, _attempt(message, at))
    return draft.decision()


def _attempt(message: ActivityLogged, at: datetime) -> Attempt:
    return Attempt(
        activity=message.activity,
        number=0,
        at=at,
        channel=message.channel,
        outcome=message.outcome,
        by=message.by,
        seen_at=message.seen_at,
    )


def _correct(draft: Draft, known: Attempt, message: ActivityLogged, at: datetime) -> None:
    """The CRM changed its mind about an attempt that was counted: it counts once, by its newest outcome."""
    if message.seen_at <= known.seen_at:
        return
    corrected = replace(known, outcome=message.outcome, seen_at=message.seen_at)
    attempts = tuple(corrected if one is known else one for one in draft.lead.attempts)
    draft.change(attempts=attempts)
    if message.outcome in REPLIES:
        _replied(draft, message.activity, message.channel, at)


def _answered(draft: Draft, activity: str, channel: Channel, at: datetime) -> None:
    """The lead itself wrote or called. Before the first touch there is no chase to stop: that is still owed."""
    if draft.lead.attempts:
        clocks.lapse(draft, at, exhausted=returns.exhausted, inclusive=False)
        _replied(draft, activity, channel, at)


def record(draft: Draft, attempt: Attempt, duration_s: float | None = None) -> None:
    """Count an attempt. Raises Impossible when the lead is not being followed up."""
    state = step(draft.lead.state, Cause.ATTEMPT)
    if draft.lead.state is State.HANDED_OFF:
        draft.tell(LeadAccepted, at=attempt.at)
    number = len(draft.lead.attempts) + 1
    draft.change(state=state, attempts=(*draft.lead.attempts, replace(attempt, number=number)))
    draft.tell(
        AttemptRecorded,
        at=attempt.at,
        activity=attempt.activity,
        number=number,
        channel=attempt.channel,
        outcome=attempt.outcome,
        duration_s=duration_s,
    )
    _end_what_waited(draft, attempt.at)
    if attempt.outcome in REPLIES:
        _replied(draft, attempt.activity, attempt.channel, attempt.at)
    elif not draft.lead.replied:
        _wait_for_next(draft)


def _end_what_waited(draft: Draft, at: datetime) -> None:
    for clock in clocks.running(draft.lead, ClockKind.FIRST_TOUCH, ClockKind.NEXT_ATTEMPT):
        clocks.touch(draft, clock, at)
    for clock in clocks.running(draft.lead, ClockKind.REPLY_WAIT):
        clocks.cancel(draft, clock, at, ATTEMPTED_AGAIN)


def _wait_for_next(draft: Draft) -> None:
    """The next step of the cadence, from the latest attempt on; after the last step, the lead's time to answer."""
    follow_up, made = draft.agreement.follow_up, len(draft.lead.attempts)
    latest = max(attempt.at for attempt in draft.lead.attempts)
    if made < len(follow_up.cadence):
        due_at = latest + follow_up.cadence[made].after
        clocks.start(draft, ClockKind.NEXT_ATTEMPT, made + 1, at=latest, due_at=due_at)
    elif returns.exhausted_way(draft.agreement, "") is not None:
        clocks.start(draft, ClockKind.REPLY_WAIT, made, at=latest, due_at=latest + follow_up.wait_for_reply)


def _replied(draft: Draft, activity: str, channel: Channel, at: datetime) -> None:
    """The chase stops, whatever was told before or comes again."""
    if draft.lead.replied or not allows(draft.lead.state, Cause.ATTEMPT):
        return
    draft.change(replied=True)
    draft.tell(LeadReplied, at=at, activity=activity, channel=channel)
    for clock in clocks.running(draft.lead, ClockKind.NEXT_ATTEMPT, ClockKind.REPLY_WAIT):
        clocks.cancel(draft, clock, at, REPLIED)
