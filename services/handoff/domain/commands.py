"""What people may do with a lead: accept, reject, attempts, qualify, return, disqualify."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from services.handoff.domain import attempts, clocks, returns
from services.handoff.domain.draft import Draft, HandoffDecision
from services.handoff.domain.lead import Attempt, Lead
from services.handoff.domain.machine import Cause
from shared.agreement import Agreement
from shared.errors import Refused
from shared.events import Channel, LeadAccepted, LeadQualified, Outcome, State

SKEW: Final = timedelta(minutes=1)  # how much the clocks of others may be ahead


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command's identity, and the person behind it."""

    id: str
    person: str


def _begin(lead: Lead, command: Command, agreement: Agreement, until: datetime, *, inclusive: bool = True) -> Draft:
    """What fell due before the command was given comes first. Raises Refused (`unknown`) for a lead that is gone."""
    if lead.gone:
        raise Refused("unknown", "there is no such lead any more")
    draft = Draft(lead=lead, agreement=agreement, cause=command.id)
    clocks.lapse(draft, until, exhausted=returns.exhausted, inclusive=inclusive)
    draft.actor = command.person
    return draft


def accept(lead: Lead, command: Command, agreement: Agreement, now: datetime) -> HandoffDecision:
    draft = _begin(lead, command, agreement, now)
    draft.move(Cause.ACCEPT)
    draft.tell(LeadAccepted, at=now)
    return draft.decision()


def qualify(lead: Lead, command: Command, agreement: Agreement, now: datetime) -> HandoffDecision:
    """Sales says it is an SQL, which accepts it too."""
    draft = _begin(lead, command, agreement, now)
    waiting = draft.lead.state is State.HANDED_OFF
    draft.move(Cause.QUALIFY)
    if waiting:
        draft.tell(LeadAccepted, at=now)
    clocks.cancel_all(draft, now, "qualified")
    draft.tell(LeadQualified, at=now)
    return draft.decision()


def _with_reason(end: Callable[[Draft, datetime], None]) -> Callable[..., HandoffDecision]:
    def handle(lead: Lead, command: Command, agreement: Agreement, now: datetime) -> HandoffDecision:
        draft = _begin(lead, command, agreement, now)
        end(draft, now)
        return draft.decision()

    return handle


def reject(reason: str) -> Callable[..., HandoffDecision]:
    return _with_reason(lambda draft, now: returns.rejected(draft, now, reason))


def send_back(reason: str, track: str | None) -> Callable[..., HandoffDecision]:
    return _with_reason(lambda draft, now: returns.returned(draft, now, reason, track))


def disqualify(reason: str) -> Callable[..., HandoffDecision]:
    return _with_reason(lambda draft, now: returns.disqualified(draft, now, reason))


@dataclass(frozen=True, kw_only=True)
class NewAttempt:
    """An attempt as a person reports it. PERSONAL: note."""

    channel: Channel
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
        draft = _begin(lead, command, agreement, at, inclusive=False)
        attempts.record(draft, _counted(new, command, at, now), new.duration_s)
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
    )
