"""Whom to tell: the notifications that follow from messages, by the agreement's `notify`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from services.handoff.domain.lead import Lead
from shared.agreement import Agreement
from shared.events import (
    ClockBreached,
    ClockCorrected,
    ClockMessage,
    ClockPaused,
    ClockResumed,
    ClockStarted,
    ClockWarned,
    HandoffMessage,
    LeadAccepted,
    LeadAskedAgain,
    LeadAssigned,
    LeadDisqualified,
    LeadErased,
    LeadEscalated,
    LeadHandedOff,
    LeadQualified,
    LeadRejected,
    LeadReplied,
    LeadReturned,
    PriorityRaised,
    identity,
)

WEBHOOK: Final = "webhook"
REASSIGNED: Final = "reassigned"

# The agreement's word for each message that one can be told of.
WORDS: Final[Mapping[type[HandoffMessage], str]] = {
    LeadHandedOff: "handed_off",
    LeadAssigned: "assigned",
    PriorityRaised: "raised",
    LeadAskedAgain: "asked_again",
    LeadAccepted: "accepted",
    ClockWarned: "warned",
    ClockBreached: "breached",
    ClockCorrected: "corrected",
    LeadEscalated: "escalated",
    ClockPaused: "paused",
    ClockResumed: "resumed",
    LeadReplied: "replied",
    LeadRejected: "rejected",
    LeadReturned: "returned",
    LeadQualified: "qualified",
    LeadDisqualified: "disqualified",
    LeadErased: "erased",
}


@dataclass(frozen=True, kw_only=True)
class Notice:
    """One notification: `id` is the same however often it is sent. PERSONAL: body."""

    id: str
    lead: str
    kind: str
    body: Mapping[str, Any]


def notices(messages: Sequence[HandoffMessage], lead: Lead, agreement: Agreement) -> tuple[Notice, ...]:
    """What a decision's messages give cause to tell; of a lead that is gone only that it was erased."""
    wanted = {word for rule in agreement.handoff.notify if WEBHOOK in rule.by for word in rule.on}
    told = [m for m in messages if not lead.gone or isinstance(m, LeadErased)]
    new = {m.clock_id for m in messages if isinstance(m, ClockBreached)}
    return tuple(_notice(m, messages, lead) for m in told if _word(m, new) in wanted)


def _word(message: HandoffMessage, new: Set[str]) -> str | None:
    """What the agreement calls it; a lead that changes hands within an episode is reassigned.

    `new`: clocks whose breach this decision tells. Of one that a merge takes along from before, whoever was to be
    told was, when the lead had another name; of one that it finds, nobody is told under a name that is no more.
    """
    if isinstance(message, ClockBreached) and message.told_as and message.told_as not in new:
        return None
    if isinstance(message, LeadAssigned) and message.reason:
        return REASSIGNED
    return WORDS.get(type(message))


def _notice(message: HandoffMessage, messages: Sequence[HandoffMessage], lead: Lead) -> Notice:
    clock = message if isinstance(message, ClockMessage) else _started_with(message, messages)
    reasons = getattr(message, "reasons", ())
    body = {
        "type": type(message).__name__,
        "at": message.at.isoformat(),
        "tenant": message.tenant,
        "lead": message.lead,
        "episode": message.episode,
        "version": message.version,
        "team": message.team,
        "owner": message.owner,
        "priority": message.priority,
        "trigger": getattr(message, "trigger", ""),
        "grade": getattr(message, "grade", ""),
        "clock": str(clock.clock) if clock else "",
        "due_at": clock.due_at.isoformat() if clock else None,
        "reason": getattr(message, "reason", ""),
        "track": getattr(message, "track", ""),
        "information": dict(getattr(message, "information", {})),
        "reasons": [{"rule": reason.rule, "points": reason.points} for reason in reasons],
        "to_find_out": _to_find_out(message, lead),
        "to": list(getattr(message, "to", ())),
        "link": f"/leads/{message.lead}",
    }
    kind = type(message).__name__
    return Notice(id=identity("notice", WEBHOOK, message.id), lead=message.lead, kind=kind, body=body)


def _to_find_out(message: HandoffMessage, lead: Lead) -> list[dict[str, Any]]:
    """Of a hand-off, what to ask the lead for."""
    if not isinstance(message, LeadHandedOff) or lead.score is None:
        return []
    return [msgspec.to_builtins(one) for one in lead.score.to_find_out]


def _started_with(message: HandoffMessage, messages: Sequence[HandoffMessage]) -> ClockMessage | None:
    """Of the clocks that a hand-off started the one that is due first: what Sales owes next."""
    if not isinstance(message, LeadHandedOff):
        return None
    started = [m for m in messages if isinstance(m, ClockStarted) and m.version > message.version]
    return min(started, key=lambda clock: clock.due_at, default=None)
