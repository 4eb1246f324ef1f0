"""Time goes by: what fell due until a moment is told, each thing at its own moment and in their order."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from msgspec.structs import replace

from services.handoff.domain import assigning, cadence, clocks, returns, taking
from services.handoff.domain.draft import SYSTEM, Draft
from services.handoff.domain.lead import Clock, Lead
from services.handoff.domain.machine import Cause, allows
from shared.agreement import Agreement
from shared.agreement.follow_up import NOT_ACCEPTED
from shared.agreement.handoff import MANAGER
from shared.events import ClockKind, LeadEscalated

AGREEMENT: Final = "agreement"
_TURNS: Final = tuple(ClockKind)


def begin(
    lead: Lead, agreement: Agreement, cause: str, *, now: datetime, until: datetime, inclusive: bool = True
) -> Draft:
    """A draft in which all that fell due until `until` is told, and the clocks run by the agreement that holds."""
    draft = Draft(lead=lead, agreement=agreement, cause=cause)
    lapse(draft, until, inclusive=inclusive)
    follow(draft, now)
    return draft


def follow(draft: Draft, now: datetime) -> None:
    """Set the open clocks by the agreement when it is another than the one they were set by.

    Where its cadence has no next attempt any more, the lead has its time to answer, from now on.
    """
    if draft.lead.clocks and draft.lead.agreement != draft.agreement.version:
        behind = draft.actor
        draft.actor = SYSTEM
        chased = clocks.running(draft.lead, ClockKind.NEXT_ATTEMPT)
        clocks.gauge(draft, now, AGREEMENT)
        if chased:
            cadence.go_on(draft, now)
        draft.actor = behind


def lapse(draft: Draft, until: datetime, *, inclusive: bool = True) -> list[datetime]:
    """Tell what was due up to `until`, and which moments those were.

    Ends at exactly `until` only when `inclusive`: a touch at that very moment is in time.
    """
    moments: list[datetime] = []
    behind = draft.cause, draft.actor
    while clock := _next(draft.lead, until, inclusive=inclusive):
        moment = clock.next_at
        assert moment is not None  # _next found it by that
        moments.append(moment)
        draft.cause, draft.actor = clock.id, SYSTEM  # time did it, whoever made us look
        _say(draft, clock, moment)
    draft.cause, draft.actor = behind
    wakes_at = draft.lead.wakes_at
    if wakes_at and wakes_at <= until:
        clocks.resume(draft, wakes_at)
        moments.append(wakes_at)
    return moments


def _next(lead: Lead, until: datetime, *, inclusive: bool) -> Clock | None:
    """What comes first; of one moment, in the order in which a lead is followed up."""
    due = [
        (moment, _TURNS.index(clock.kind), clock.id, clock)
        for clock in lead.clocks
        if (moment := clock.next_at) is not None
        and (moment < until or (moment == until and (inclusive or not _ends_next(clock))))
    ]
    return min(due)[-1] if due else None


def _ends_next(clock: Clock) -> bool:
    return not (clock.pause or clock.overdue or clock.alarms)


def _say(draft: Draft, clock: Clock, moment: datetime) -> None:
    if clock.pause:
        clocks.resume(draft, moment)
    elif clock.overdue:
        _escalate(draft, clock, moment)
    elif clock.alarms:
        clocks.warn(draft, clock, moment)
    elif clock.kind is ClockKind.REPLY_WAIT:
        clocks.touch(draft, clock, moment)
        returns.exhausted(draft, moment)
    elif clock.kind is ClockKind.ACCEPT:
        _not_accepted(draft, clock, moment)
    else:
        clocks.breach(draft, clock)


def _not_accepted(draft: Draft, clock: Clock, moment: datetime) -> None:
    """Silence past the time to accept means what the agreement says."""
    meaning = draft.agreement.follow_up.if_not_accepted
    if meaning == "accept" and allows(draft.lead.state, Cause.ACCEPT):
        draft.move(Cause.ACCEPT)
        taking.tell(draft, moment)
        clocks.touch(draft, clock, moment)
        return
    clocks.breach(draft, clock)
    if meaning == "reassign":
        assigning.to_colleague(draft, moment, NOT_ACCEPTED)
    elif meaning == "return" and not _in_talks(draft.lead) and allows(draft.lead.state, Cause.NOT_ACCEPTED):
        returns.not_accepted(draft, moment)


def _in_talks(lead: Lead) -> bool:
    """Nobody is sent back who waits for an answer, or has one."""
    return lead.waits or lead.replied


def _escalate(draft: Draft, clock: Clock, moment: datetime) -> None:
    taken, *left = clock.escalations
    after = replace(clock, escalations=tuple(left))
    clocks.keep(draft, after)
    to = tuple(_who(draft, name) for name in taken.to)
    clocks.tell(draft, LeadEscalated, after, at=moment, step=taken.step, to=to)
    if taken.reassign:
        assigning.to_colleague(draft, moment, assigning.ESCALATED)


def _who(draft: Draft, name: str) -> str:
    """The team's manager by name; any other name as the agreement says it."""
    team = draft.agreement.handoff.teams.get(draft.lead.team)
    return team.manager if name == MANAGER and team and team.manager else name
