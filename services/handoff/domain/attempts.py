"""Contact attempts: what counts as one, the cadence that follows from it, and the reply that ends the chase."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from msgspec.structs import replace

from services.handoff.domain import cadence, clocks, passing, taking
from services.handoff.domain.assigning import is_owner
from services.handoff.domain.draft import Draft, HandoffDecision
from services.handoff.domain.lead import CHASED, Attempt, Lead
from services.handoff.domain.machine import Cause, allows, step
from shared.agreement import Agreement
from shared.events import (
    ActivityLogged,
    AttemptCorrected,
    AttemptRecorded,
    Channel,
    ClockKind,
    Direction,
    LeadReplied,
    Outcome,
    State,
)

REPLIES: Final = frozenset({Outcome.CONNECTED, Outcome.REPLIED, Outcome.BOOKED, Outcome.HELD})
FIRST_ONES: Final = (ClockKind.ACCEPT, ClockKind.FIRST_TOUCH)  # which an attempt on any channel ends
REPLIED: Final = "replied"
ATTEMPTED_AGAIN: Final = "attempted_again"
ATTEMPTED_BEFORE: Final = "attempted_before"  # what a clock waits for was done before it began, and logged late


def logged(lead: Lead, message: ActivityLogged, agreement: Agreement, now: datetime) -> HandoffDecision:
    """An activity that the CRM tells: an attempt, a correction of one, a reply, or none of our business."""
    at = min(message.at, now)  # a meeting stands in the CRM under the time when it will be
    if lead.gone:
        return HandoffDecision(state=lead.having_heard(message))
    began = lead.handed_off_at is not None and at >= lead.handed_off_at
    if not (began or lead.breaches):  # what was done before the hand-off may take a breach back, no more
        return HandoffDecision(state=lead)
    known = next((one for one in lead.attempts if one.activity == message.activity), None)
    draft = passing.begin(lead, agreement, message.id, now=now, until=at, inclusive=False)
    draft.actor = f"crm:{message.by}" if message.by else "lead"
    if known is not None:
        _correct(draft, known, message, at)
    elif message.direction is Direction.INBOUND:
        if began:
            answered(draft, message.activity, message.channel, at)
    elif not _by_a_person(message, agreement):
        pass
    elif began and allows(draft.lead.state, Cause.ATTEMPT):
        record(draft, _attempt(message, at))
    else:
        _not_counted(draft, _attempt(message, at))
    return draft.decision()


def _by_a_person(message: ActivityLogged, agreement: Agreement) -> bool:
    """What a sequence sends in a person's name is theirs where the agreement says so."""
    return bool(message.by) and (not message.sequence or agreement.follow_up.sequences == "count")


def _attempt(message: ActivityLogged, at: datetime) -> Attempt:
    return Attempt(
        activity=message.activity,
        number=0,
        at=at,
        channel=message.channel,
        outcome=message.outcome,
        by=message.by,
        seen_at=message.seen_at,
        duration_s=message.duration_s,
    )


def _correct(draft: Draft, known: Attempt, message: ActivityLogged, at: datetime) -> None:
    """The CRM changed its mind about an attempt that was counted: it counts once, by its newest outcome."""
    if message.seen_at <= known.seen_at:
        return
    corrected = replace(known, outcome=message.outcome, seen_at=message.seen_at)
    draft.change(attempts=tuple(corrected if one.activity == known.activity else one for one in draft.lead.attempts))
    if corrected.outcome is not known.outcome:
        draft.tell(
            AttemptCorrected,
            at=known.at,
            activity=known.activity,
            number=known.number,
            channel=known.channel,
            outcome=corrected.outcome,
            former_outcome=known.outcome,
        )
    if message.outcome in REPLIES:
        _replied(draft, message.activity, message.channel, at)


def answered(draft: Draft, activity: str, channel: Channel, at: datetime) -> None:
    """The lead itself wrote or called. Before the first touch there is no chase to stop: that is still owed."""
    if draft.lead.attempts:
        _replied(draft, activity, channel, at)
    elif draft.lead.state in CHASED:
        draft.change(asked_at=max(at, draft.lead.asked_at or at))


def record(draft: Draft, attempt: Attempt) -> None:
    """Count an attempt. Raises Impossible when the lead is not being followed up.

    One that is not the owner's to count is told, and changes nothing of what the owner owes.
    """
    state = step(draft.lead.state, Cause.ATTEMPT, paused=draft.lead.pause is not None)
    counts = is_counted(draft, attempt)
    first = counts and not cadence.steps_made(draft.lead)
    if counts and draft.lead.state is State.HANDED_OFF:
        taking.tell(draft, attempt.at)
    counted = replace(attempt, number=len(draft.lead.attempts) + 1, step=counts and _is_step(draft, attempt))
    draft.change(state=state if counts else draft.lead.state, attempts=(*draft.lead.attempts, counted))
    draft.tell(
        AttemptRecorded,
        at=counted.at,
        activity=counted.activity,
        number=counted.number,
        channel=counted.channel,
        outcome=counted.outcome,
        duration_s=counted.duration_s,
        by=counted.by,
        **(_delays(draft, counted.at) if first else {}),
    )
    if counts:
        _end_what_waited(draft, counted)
    if counted.outcome in REPLIES:
        _replied(draft, counted.activity, counted.channel, counted.at)
    elif not draft.lead.replied:
        cadence.go_on(draft, max(one.at for one in draft.lead.attempts))


def _not_counted(draft: Draft, attempt: Attempt) -> None:
    """The chase is over, or had not begun; a breach that was none is taken back all the same."""
    if is_counted(draft, attempt):
        take_back(draft, attempt)


def take_back(draft: Draft, attempt: Attempt) -> None:
    """Of breaches that are settled, those that it makes none, whichever step of the cadence it was."""
    every_channel = draft.agreement.follow_up.off_cadence == "count"
    clocks.take_back(draft, attempt.at, attempt.activity, *(clocks.ATTEMPTS if every_channel else FIRST_ONES))


def is_counted(draft: Draft, attempt: Attempt) -> bool:
    """Whether it is the owner's to count: a colleague's is, unless the agreement says otherwise."""
    return draft.agreement.follow_up.colleagues == "count" or is_owner(draft.agreement, draft.lead, attempt.by)


def _is_step(draft: Draft, attempt: Attempt) -> bool:
    """Whether it goes on with the cadence. The first touch always begins it; one more that is owed has no channel."""
    follow_up, made = draft.agreement.follow_up, cadence.steps_made(draft.lead)
    if follow_up.off_cadence == "count" or made == 0:
        return True
    if made >= len(follow_up.cadence):
        return bool(clocks.running(draft.lead, ClockKind.NEXT_ATTEMPT))
    return follow_up.cadence[made].channel is attempt.channel


def _delays(draft: Draft, at: datetime) -> dict[str, Any]:
    """How long the first attempt took: from the assignment, and from the lead's own act."""
    lead, calendar = draft.lead, draft.calendar
    assigned = min(lead.assigned_at or at, at)
    return {
        "since_assigned_s": (at - assigned).total_seconds(),
        "since_assigned_working_s": calendar.between(assigned, at).total_seconds(),
        "since_ready_working_s": calendar.between(min(lead.ready_at or assigned, at), at).total_seconds(),
    }


def _end_what_waited(draft: Draft, attempt: Attempt) -> None:
    waited = clocks.ATTEMPTS if attempt.step else FIRST_ONES
    for clock in clocks.running(draft.lead, *waited):
        if attempt.at < clock.started_at:
            clocks.cancel(draft, clock, attempt.at, ATTEMPTED_BEFORE)
        else:
            clocks.touch(draft, clock, attempt.at, activity=attempt.activity)
    clocks.take_back(draft, attempt.at, attempt.activity, *waited)
    for clock in clocks.running(draft.lead, ClockKind.REPLY_WAIT):
        clocks.cancel(draft, clock, attempt.at, ATTEMPTED_AGAIN)


def _replied(draft: Draft, activity: str, channel: Channel, at: datetime) -> None:
    """The chase stops, whatever was told before or comes again."""
    if draft.lead.replied or not allows(draft.lead.state, Cause.ATTEMPT):
        return
    draft.change(replied=True)
    draft.tell(LeadReplied, at=at, activity=activity, channel=channel)
    for clock in clocks.running(draft.lead, ClockKind.NEXT_ATTEMPT, ClockKind.REPLY_WAIT):
        clocks.cancel(draft, clock, at, REPLIED)
