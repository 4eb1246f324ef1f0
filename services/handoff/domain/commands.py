"""What people may do with a lead: each command is a decision, or Refused with what would be possible."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from services.handoff.domain import assigning, attempts, clocks, passing, returns, taking, triggers
from services.handoff.domain.draft import Draft, HandoffDecision
from services.handoff.domain.lead import Attempt, Lead
from services.handoff.domain.machine import Cause, step
from shared.agreement import Agreement
from shared.errors import Refused
from shared.events import Channel, Direction, Outcome

SKEW: Final = timedelta(minutes=1)  # how much the clocks of others may be ahead


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command's identity, and the person behind it."""

    id: str
    person: str


def _begin(
    lead: Lead, command: Command, agreement: Agreement, now: datetime, *, until: datetime | None = None
) -> Draft:
    """What fell due before the command was given comes first. Raises Refused (`unknown`) for a lead that is gone.

    `until`: the time of an answer to a clock, or of an act that is told later; at the very due time it was in time.
    """
    if lead.gone:
        raise Refused("unknown", "there is no such lead any more")
    draft = passing.begin(lead, agreement, command.id, now=now, until=until or now, inclusive=until is None)
    draft.actor = command.person
    return draft


def resume(lead: Lead, command: Command, agreement: Agreement, now: datetime) -> HandoffDecision:
    draft = _begin(lead, command, agreement, now)
    draft.move(Cause.RESUME)
    clocks.resume(draft, now)
    return draft.decision()


def _doing(do: Callable[[Draft, datetime], None], *, answers: bool = False) -> Callable[..., HandoffDecision]:
    """`answers`: it is what clocks wait for."""

    def handle(lead: Lead, command: Command, agreement: Agreement, now: datetime) -> HandoffDecision:
        draft = _begin(lead, command, agreement, now, until=now if answers else None)
        do(draft, now)
        return draft.decision()

    return handle


accept: Final = _doing(taking.accepted, answers=True)
qualify: Final = _doing(taking.qualified, answers=True)


def reject(reason: str) -> Callable[..., HandoffDecision]:
    return _doing(lambda draft, now: returns.rejected(draft, now, reason), answers=True)


def send_back(reason: str, track: str | None) -> Callable[..., HandoffDecision]:
    return _doing(lambda draft, now: returns.returned(draft, now, reason, track), answers=True)


def disqualify(reason: str) -> Callable[..., HandoffDecision]:
    return _doing(lambda draft, now: returns.disqualified(draft, now, reason), answers=True)


def nurture(track: str) -> Callable[..., HandoffDecision]:
    return _doing(lambda draft, now: returns.nurtured(draft, now, track))


def pause(reason: str, until: datetime | None) -> Callable[..., HandoffDecision]:
    """Nobody is held to a time until it is resumed, by itself at `until`."""

    def do(draft: Draft, now: datetime) -> None:
        if until is not None and until <= now:
            raise Refused("in_the_past", "until must be in the future")
        returns.check_reason(draft.agreement.follow_up.pause_reasons, reason)
        draft.move(Cause.PAUSE)
        clocks.pause(draft, now, reason, until)

    return _doing(do)


def reassign(team: str | None, owner: str | None) -> Callable[..., HandoffDecision]:
    def do(draft: Draft, now: datetime) -> None:
        draft.move(Cause.REASSIGN)
        if team is None and owner is None:
            raise Refused("nobody_named", "name the team, the owner, or both")
        chosen, person = assigning.place(draft.agreement, draft.lead, team=team, owner=owner)
        assigning.reassign(draft, now, team=chosen, owner=person, reason=assigning.BY_HAND)

    return _doing(do)


def hand_off(priority: str, team: str | None, owner: str | None) -> Callable[..., HandoffDecision]:
    """Marketing or Sales hands it over without waiting for a trigger."""

    def do(draft: Draft, now: datetime) -> None:
        known = draft.agreement.handoff.priorities
        if priority not in known:
            raise Refused("unknown_priority", f"the priority must be one of the agreement's: {', '.join(known)}")
        handing = triggers.Handing(trigger=assigning.BY_HAND, priority=priority, ready_at=now, team=team, owner=owner)
        triggers.hand_over(draft, handing, now, cause=Cause.HAND_OFF)

    return _doing(do)


@dataclass(frozen=True, kw_only=True)
class NewAttempt:
    """An attempt as a person reports it; inbound it is what the lead did, and no touch. PERSONAL: note."""

    channel: Channel
    direction: Direction = Direction.OUTBOUND
    outcome: Outcome
    at: datetime | None = None
    activity: str = ""
    note: str = ""
    duration_s: float | None = None


def attempt(new: NewAttempt) -> Callable[..., HandoffDecision]:
    """Count it, once for each `activity`; the time of the act is within the episode and not in the future."""

    def handle(lead: Lead, command: Command, agreement: Agreement, now: datetime) -> HandoffDecision:
        # An act told without a time is after the hand-off, also by a machine whose clock is behind.
        at = min(new.at, now) if new.at is not None else max(now, lead.handed_off_at or now)
        if new.at is not None and new.at > now + SKEW:
            raise Refused("in_the_future", "at must not be in the future")
        if lead.handed_off_at is not None and at < lead.handed_off_at:
            raise Refused("before_hand_off", "at must not be before the hand-off")
        if new.activity and any(one.activity == new.activity for one in lead.attempts):
            return HandoffDecision(state=lead)
        draft = _begin(lead, command, agreement, now, until=at)
        made = _counted(new, command, at, now)
        if new.direction is Direction.OUTBOUND:
            attempts.record(draft, made)
        else:
            step(draft.lead.state, Cause.ATTEMPT, paused=draft.lead.pause is not None)
            attempts.answered(draft, made.activity, made.channel, at)
        return draft.decision()

    return handle


def _counted(new: NewAttempt, command: Command, at: datetime, now: datetime) -> Attempt:
    return Attempt(
        activity=new.activity or f"api:{command.id}",
        number=0,
        at=at,
        channel=new.channel,
        outcome=new.outcome,
        by=command.person,
        seen_at=now,
        note=new.note,
        duration_s=new.duration_s,
    )
