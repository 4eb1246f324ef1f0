"""A month of leads as the simulator makes them, with conversions by a model that is known, on topics in memory."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.bus import Record
from shared.crm.simulator import truth
from shared.crm.simulator.personas import Life, StepKind, make_life
from shared.events import (
    ContactChanged,
    FormSubmitted,
    LeadHandedOff,
    LeadMessage,
    LeadQualified,
    Message,
    PageVisited,
    PropertyValue,
    Topic,
    encode,
)

BEGIN = datetime(2026, 3, 2, 8, tzinfo=UTC)
MONTH = timedelta(days=30)
WINDOW = timedelta(days=14)
TENANT = "hubspot:62515"
BASE = -2.4
Chance = Callable[[truth.Lead], float]


def by_truth(lead: truth.Lead) -> float:
    return truth.chance(BASE, lead)


@dataclass(frozen=True)
class Lead:
    """One lead's messages, and whether it converted."""

    key: str
    at: datetime
    life: Life
    facts: tuple[LeadMessage, ...]
    handed: LeadHandedOff
    converted: bool

    def properties(self, at: datetime, **values: str) -> ContactChanged:
        """More of its properties, set at a moment."""
        said = tuple(PropertyValue(name=name, value=value, at=at) for name, value in values.items())
        return ContactChanged(id=f"{self.key}:{at}:{list(values)}", tenant=TENANT, lead=self.key, at=at, values=said)

    def qualified(self) -> LeadQualified:
        return LeadQualified(**_handoff(self, self.at + timedelta(days=5), 2))


def _handoff(lead: Any, at: datetime, version: int) -> dict[str, Any]:
    key = lead if isinstance(lead, str) else lead.key
    return {
        "id": f"{key}:{version}", "tenant": TENANT, "lead": key, "at": at, "version": version, "episode": 1,
        "agreement": "x", "cause": "c",
    }  # fmt: skip


def month(leads: int, *, seed: int = 1, chance: Chance = by_truth) -> list[Lead]:
    """So many leads, evenly over a month, each handed off an hour after its last act."""
    return [_lead(seed, number, BEGIN + number * MONTH / leads, chance) for number in range(leads)]


def _lead(seed: int, number: int, at: datetime, chance: Chance) -> Lead:
    life, key = make_life(seed, number), f"{TENANT}:{number}"
    values = tuple(PropertyValue(name=name, value=value, at=at) for name, value in life.properties.items())
    facts: list[LeadMessage] = [
        ContactChanged(id=f"{key}:0", tenant=TENANT, lead=key, at=at, values=values, created=True)
    ]
    forms, urls = list[str](), list[str]()
    for step in life.steps:
        at += timedelta(hours=step.after_h)
        said = {"id": f"{key}:{len(facts)}", "tenant": TENANT, "lead": key, "at": at}
        if step.kind is StepKind.FORM:
            forms.append(step.name)
            facts.append(FormSubmitted(**said, form=step.name))
        elif step.kind is StepKind.PAGE:
            urls.append(step.name)
            facts.append(PageVisited(**said, url=step.name))
    at += timedelta(hours=1)
    handed = LeadHandedOff(**_handoff(key, at, 1), trigger="t", grade="", ready_at=at)
    draw = random.Random(f"{seed}:converts:{number}").random()
    converted = draw < chance(truth.lead(life.properties, forms, urls))
    return Lead(key, at, life, tuple(facts), handed, converted)


@dataclass(frozen=True)
class Topics:
    """As much of a bus as an evaluation needs."""

    messages: dict[str, Sequence[Message]]

    async def scan(self, topic: str) -> AsyncIterator[Record]:
        for offset, message in enumerate(self.messages.get(topic, ())):
            yield Record(topic=topic, partition=0, offset=offset, key=message.key, value=encode(message))

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Any]:
        yield self


def topics(leads: Iterable[Lead], *, more: Iterable[LeadMessage] = (), until: datetime | None = None) -> Topics:
    """What the services would have published of them, and a last word long after, so that nobody is too young."""
    known = list(leads)
    end = until or max(lead.at for lead in known) + 2 * WINDOW
    handoffs: list[Message] = [
        one for lead in known for one in (lead.handed, *([lead.qualified()] if lead.converted else []))
    ]
    handoffs.append(LeadHandedOff(**_handoff(f"{TENANT}:last", end, 1), trigger="t", grade="D4", ready_at=end))
    facts = [fact for lead in known for fact in lead.facts]
    return Topics({Topic.CRM_EVENTS: [*facts, *more], Topic.LEAD_HANDOFFS: handoffs, Topic.LEAD_SCORES: []})
