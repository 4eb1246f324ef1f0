"""Two lives with Sales that become one, as if it had always been one lead.

The survivor stays with its team and owner. What was done for the other was done for it: its touches and its
acceptance end the survivor's clocks at their own time, as far as the agreement lets them count. Of two
clocks that the same owner has for the same thing the one goes on that is overdue or due first. Who asked
after the last touch of both is owed one.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from msgspec.structs import replace

from services.handoff.domain import attempts, cadence, clocks, passing, taking
from services.handoff.domain.draft import Draft
from services.handoff.domain.lead import CHASED, WITH_MARKETING, Attempt, Lead
from shared.events import ClockBreached, ClockKind, LeadAssigned, LeadsMerged, State

MERGED: Final = "merged"

# Who is further along: one that is sold to is chased no longer.
FURTHER: Final = (
    State.HANDED_OFF,
    State.ACCEPTED,
    State.WORKING,
    State.QUALIFIED,
    State.OPPORTUNITY,
    State.CUSTOMER,
)
_PROMISES: Final = (ClockKind.ACCEPT, ClockKind.FIRST_TOUCH, ClockKind.DECISION)
_CHASE: Final = (ClockKind.NEXT_ATTEMPT, ClockKind.REPLY_WAIT)


def tell(draft: Draft, other: Lead, now: datetime) -> None:
    """Say that `other` is part of the lead from now on, and what that made of it."""
    lead = draft.lead
    draft.tell(
        LeadsMerged,
        at=now,
        merged=other.lead,
        merged_episode=other.episode,
        state=lead.state,
        ready_at=lead.ready_at if lead.state in FURTHER else None,
        attempts=len(lead.attempts) if lead.state in FURTHER else 0,
    )


def join(draft: Draft, other: Lead, *, until: datetime, now: datetime) -> None:
    """Go on with both lives. Where the survivor's own ended by time before, nothing is joined: see its state."""
    asked_at = _asked_at(draft, other)
    theirs = _running(draft, other, until)
    _take_acceptance(draft, theirs, until)
    for attempt in _by_time(theirs.attempts):
        passing.lapse(draft, attempt.at, inclusive=False)
        _take_touch(draft, attempt)
    _drop_what_is_done(draft, theirs, asked=asked_at is not None)
    passing.lapse(draft, until)
    if draft.lead.state in WITH_MARKETING:
        return
    passing.follow(draft, now)
    nobodys = bool(theirs.team) and not draft.lead.team
    if nobodys:  # a deal alone made the survivor what it is
        take_place(draft, theirs)
    _take_facts(draft, theirs)
    tell(draft, other, now)
    if nobodys:
        draft.tell(LeadAssigned, at=now)
    if draft.lead.state in CHASED:
        _chase(draft, theirs, until=until, now=now, asked_at=asked_at)
    else:
        clocks.end_all(draft, until, MERGED)


def _running(draft: Draft, other: Lead, until: datetime) -> Lead:
    """The other as it would go on if its pause ended now: a pause that goes on holds its clocks anew."""
    scratch = Draft(lead=other, agreement=draft.agreement, cause=draft.cause)
    clocks.resume(scratch, until)
    return replace(scratch.lead, pause=other.pause)


def _by_time(made: Iterable[Attempt]) -> list[Attempt]:
    return sorted(made, key=lambda one: one.at)


def _is_same_owner(lead: Lead, other: Lead) -> bool:
    return (lead.team, lead.owner) == (other.team, other.owner)


def _asked_at(draft: Draft, other: Lead) -> datetime | None:
    """The later of the two acts, when nobody has touched the lead since."""
    lead = draft.lead
    acts = [act for act in (lead.ready_at, other.ready_at) if act]
    touches = [one.at for one in lead.attempts] + [one.at for one in other.attempts if attempts.is_counted(draft, one)]
    if lead.replied or other.replied or not acts or not touches or max(acts) <= max(touches):
        return None
    return max(acts)


# --- what was done for the other ---


def _take_acceptance(draft: Draft, theirs: Lead, until: datetime) -> None:
    """Whoever had the other took it on: that counts as the touch of a colleague does."""
    counts = draft.agreement.follow_up.colleagues == "count" or _is_same_owner(draft.lead, theirs)
    was_accepted = theirs.accepted_at or theirs.state in (State.ACCEPTED, State.WORKING)
    if not was_accepted or not counts:
        return
    at = min(theirs.accepted_at or until, until)
    passing.lapse(draft, at, inclusive=False)
    if draft.lead.state is State.HANDED_OFF:
        draft.change(state=State.ACCEPTED)
        taking.tell(draft, at)
        for clock in clocks.running(draft.lead, ClockKind.ACCEPT):
            if at >= clock.started_at:
                clocks.touch(draft, clock, at)


def _take_touch(draft: Draft, attempt: Attempt) -> None:
    """End what had begun to wait for it."""
    if draft.lead.state not in CHASED or not attempts.is_counted(draft, attempt):
        return
    if draft.lead.state is State.HANDED_OFF:
        taking.tell(draft, attempt.at)
    draft.change(state=State.WORKING)
    waited = clocks.ATTEMPTS if attempt.step else attempts.FIRST_ONES
    for clock in clocks.running(draft.lead, *waited):
        if attempt.at >= clock.started_at:
            clocks.touch(draft, clock, attempt.at, activity=attempt.activity)
    clocks.take_back(draft, attempt.at, attempt.activity, *waited)
    for wait in clocks.running(draft.lead, ClockKind.REPLY_WAIT):
        if attempt.at >= wait.started_at:
            clocks.cancel(draft, wait, attempt.at, attempts.ATTEMPTED_AGAIN)


def _drop_what_is_done(draft: Draft, theirs: Lead, *, asked: bool) -> None:
    """What was done before the survivor was handed off is not owed; but a first touch that a later act asks for is."""
    touched = any(attempts.is_counted(draft, one) for one in theirs.attempts)
    done = [ClockKind.ACCEPT] if draft.lead.state in (State.ACCEPTED, State.WORKING) else []
    done += [ClockKind.FIRST_TOUCH] if touched and not asked else []
    for clock in clocks.running(draft.lead, *done):
        clocks.cancel(draft, clock, clock.started_at, attempts.ATTEMPTED_BEFORE)


def take_place(draft: Draft, theirs: Lead) -> None:
    """Its next episode is with whoever had the other, as the other came to them."""
    draft.change(
        episode=draft.lead.episode + 1,
        team=theirs.team,
        owner=theirs.owner,
        priority=theirs.priority,
        trigger=theirs.trigger,
        fit_grade=theirs.fit_grade,
        turn=theirs.turn,
        accepted_at=theirs.accepted_at,
    )


def _take_facts(draft: Draft, theirs: Lead) -> None:
    """The earliest act of both; all touches in order of their time, an activity that both have once."""
    lead = draft.lead
    known = {one.activity for one in lead.attempts}
    new = [
        replace(one, step=one.step and attempts.is_counted(draft, one))
        for one in theirs.attempts
        if one.activity not in known
    ]
    made = _by_time((*lead.attempts, *new))
    same = _is_same_owner(lead, theirs)
    draft.change(
        ready_at=_earliest(lead.ready_at, theirs.ready_at),
        handed_off_at=_earliest(lead.handed_off_at, theirs.handed_off_at),
        assigned_at=_earliest(lead.assigned_at, theirs.assigned_at) if same else lead.assigned_at,
        owners=tuple(dict.fromkeys((*lead.owners, *theirs.owners))),
        replied=lead.replied or theirs.replied,
        asked_at=max((at for at in (lead.asked_at, theirs.asked_at) if at), default=None),
        attempts=tuple(replace(one, number=number) for number, one in enumerate(made, start=1)),
    )
    if theirs.state not in CHASED and FURTHER.index(theirs.state) > FURTHER.index(lead.state):
        draft.change(state=theirs.state)
    if _rank(draft, theirs) < _rank(draft, lead):
        draft.change(trigger=theirs.trigger, priority=theirs.priority)


def _earliest(*moments: datetime | None) -> datetime | None:
    return min((moment for moment in moments if moment), default=None)


def _rank(draft: Draft, lead: Lead) -> int:
    """The place of its trigger in the agreement's list; by hand comes last."""
    names = [trigger.name for trigger in draft.agreement.handoff.triggers]
    return names.index(lead.trigger) if lead.trigger in names else len(names)


def take_breaches(draft: Draft, others: Iterable[Lead]) -> None:
    """What was late for any of them, and does not go on here, is taken back by a touch in its time like the rest.

    So it is by one that the survivor had already.
    """
    gone_on = {told.told_as for told in draft.messages if isinstance(told, ClockBreached)}
    own = draft.lead.breaches
    for other in others:
        late = [clocks.settled(clock) for clock in other.clocks if clock.overdue and clock.id not in gone_on]
        draft.change(breaches=(*other.breaches, *late))
        known = {one.activity for one in other.attempts}
        for attempt in draft.lead.attempts:
            if attempt.activity not in known and attempts.is_counted(draft, attempt):
                attempts.take_back(draft, attempt)
        own = (*own, *draft.lead.breaches)
    draft.change(breaches=own)


# --- what is owed from now on ---


def _chase(draft: Draft, theirs: Lead, *, until: datetime, now: datetime, asked_at: datetime | None) -> None:
    """One clock for each thing that is owed, set by what holds for the one lead."""
    if _is_same_owner(draft.lead, theirs):
        _take_clocks(draft, theirs, until)
    if draft.lead.replied:
        for clock in clocks.running(draft.lead, *_CHASE):
            clocks.cancel(draft, clock, until, attempts.REPLIED)
    _number(draft)
    if asked_at:
        _owe(draft, theirs, asked_at, now)
    clocks.gauge(draft, now, MERGED)
    if cadence.steps_made(draft.lead) and not draft.lead.replied:
        cadence.go_on(draft, now)
    if theirs.pause and not draft.lead.pause:
        clocks.pause(draft, until, theirs.pause.reason, theirs.pause.until)


def _take_clocks(draft: Draft, theirs: Lead, until: datetime) -> None:
    for kind in _PROMISES:
        _take_sooner(draft, theirs, kind, until)
    if not draft.lead.replied and not clocks.running(draft.lead, ClockKind.FIRST_TOUCH, *_CHASE):
        for clock in clocks.running(theirs, *_CHASE):
            clocks.adopt(draft, clock)


def _take_sooner(draft: Draft, theirs: Lead, kind: ClockKind, until: datetime) -> None:
    """Of two promises of the same owner the one that is late already or due first; a breach counts once."""
    for own in clocks.running(draft.lead, kind):
        for other in clocks.running(theirs, kind):
            if not own.overdue and (other.overdue or other.due_at < own.due_at):
                clocks.cancel(draft, own, until, MERGED)
                clocks.adopt(draft, other)


def _number(draft: Draft) -> None:
    """With the touches of both another attempt is the next."""
    for clock in clocks.running(draft.lead, ClockKind.NEXT_ATTEMPT):
        clocks.keep(draft, replace(clock, n=cadence.steps_made(draft.lead) + 1))


def _owe(draft: Draft, theirs: Lead, asked_at: datetime, now: datetime) -> None:
    """Nobody has answered the later act: where no first touch is owed, the next attempt is due like one."""
    draft.change(asked_at=max(asked_at, draft.lead.asked_at or asked_at))
    if clocks.running(draft.lead, ClockKind.FIRST_TOUCH):
        return
    cadence.asked(draft, now, asked_at=asked_at, trigger=theirs.trigger)
    for clock in clocks.running(draft.lead, ClockKind.NEXT_ATTEMPT):
        if not clock.overdue:
            clocks.keep(draft, replace(clock, hurried=True))
