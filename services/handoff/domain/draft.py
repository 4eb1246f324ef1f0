"""A decision as it comes about: the lead changes, and every message gets the lead's next version."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from services.handoff.domain.lead import Lead
from services.handoff.domain.machine import Cause, step
from shared.agreement import Agreement
from shared.calendars import Calendar
from shared.events import HandoffMessage, identity
from shared.work import Decision

SYSTEM = "system"


class HandoffDecision(Decision[Lead], frozen=True, kw_only=True):
    """A decision on leads; its messages are hand-off messages, which the timeline keeps too.

    `agreement`: the one that they were told under, which says whom to notify of them.
    """

    agreement: Agreement | None = None


@dataclass(kw_only=True)
class Draft:
    """One decision on one lead. `cause` is the id of what is behind it, `actor` who acted."""

    lead: Lead
    agreement: Agreement
    cause: str
    actor: str = SYSTEM
    messages: list[HandoffMessage] = field(default_factory=list)

    def change(self, **fields: Any) -> None:
        self.lead = replace(self.lead, **fields)

    def move(self, cause: Cause) -> None:
        """Go where the machine says. Raises Impossible."""
        self.change(state=step(self.lead.state, cause, paused=self.lead.pause is not None))

    @property
    def calendar(self) -> Calendar:
        """The working time of who has the lead."""
        return self.agreement.calendar_for(self.lead.team, self.lead.owner)

    def tell(self, kind: type[HandoffMessage], *, at: datetime, **more: Any) -> None:
        """Say what happened, under the lead's next version."""
        lead = self.lead = replace(self.lead, version=self.lead.version + 1)
        message = kind(
            id=identity("handoff", lead.lead, lead.version),
            tenant=lead.tenant,
            lead=lead.lead,
            at=at,
            version=lead.version,
            episode=lead.episode,
            agreement=self.agreement.version,
            cause=self.cause,
            actor=self.actor,
            team=lead.team,
            owner=lead.owner,
            priority=lead.priority,
            **more,
        )
        self.messages.append(message)

    def take(self, decision: HandoffDecision) -> None:
        """Go on from what was decided on the lead as it is by now."""
        self.lead = decision.state
        self.messages.extend(message for message in decision.messages if isinstance(message, HandoffMessage))

    def decision(self) -> HandoffDecision:
        return HandoffDecision(state=self.lead, messages=tuple(self.messages), agreement=self.agreement)
