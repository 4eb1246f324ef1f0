"""What scoring costs for each event: simulated leads' events through its own handlers, against a bare loop over them.

The bare loop decodes the same messages and keeps the newest value of each property and every form and
page of each lead, without judging anybody: the least that keeping a lead can be.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any, Final

from bench.conditions import DEPLOY
from services.scoring.domain.lead import Lead
from services.scoring.worker import HANDLERS
from shared.agreement import Agreement, load
from shared.crm.simulator.market import market_of
from shared.crm.simulator.personas import Life, Step, StepKind, make_life
from shared.events import ContactChanged, FormSubmitted, Message, PageVisited, PropertyValue, Topic, decode, encode
from shared.events import identity as identity_of
from shared.work import Facts

LEADS: Final = 2_000
ROUNDS: Final = 5
TENANT: Final = "hubspot:62515"
START: Final = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Figures:
    """Seconds for one event; `acts`: which share of the events shows interest."""

    events: int
    acts: float
    ours: float
    bare: float


def measure() -> Figures:
    agreement = load(DEPLOY / "agreement.yaml")
    market = market_of(agreement)
    told = [one for number in range(LEADS) for one in _events(make_life(1, number, market))]
    raw = [encode(message) for message in told]
    turns = [(_ours(raw, agreement), _bare(raw)) for _ in range(ROUNDS)]
    ours, bare = (median(turn[n] for turn in turns) / len(raw) for n in range(2))
    acts = sum(not isinstance(message, ContactChanged) for message in told) / len(told)
    return Figures(events=len(told), acts=acts, ours=ours, bare=bare)


def _events(life: Life) -> Iterator[Message]:
    """As HubSpot tells them: a message for each property, and what the lead did at its times."""
    lead, now = f"{TENANT}:{life.number + 1}", START
    for name, value in life.properties.items():
        yield _changed(lead, now, name, value)
    for step in life.steps:
        now += timedelta(hours=step.after_h)
        yield _done(lead, now, step)


def _done(lead: str, at: datetime, step: Step) -> Message:
    about = {"id": identity_of(lead, at, step.name), "tenant": TENANT, "lead": lead, "at": at}
    if step.kind is StepKind.PAGE:
        return PageVisited(**about, url=step.name)  # type: ignore[arg-type]
    if step.kind is StepKind.FORM:
        return FormSubmitted(**about, form=step.name)  # type: ignore[arg-type]
    return _changed(lead, at, step.name, step.value)


def _changed(lead: str, at: datetime, name: str, value: str) -> ContactChanged:
    values = (PropertyValue(name=name, value=value, at=at),)
    return ContactChanged(id=identity_of(lead, at, name), tenant=TENANT, lead=lead, at=at, values=values)


def _ours(raw: list[bytes], agreement: Agreement) -> float:
    leads: dict[str, Lead] = {}
    began = time.process_time()
    for one in raw:
        message: Any = decode(Topic.CRM_EVENTS, one)
        facts: Facts[Lead] = Facts(now=message.at, agreement=agreement, key=message.lead)
        leads[message.lead] = HANDLERS[type(message)](leads.get(message.lead, Lead()), message, facts).state
    return time.process_time() - began


def _bare(raw: list[bytes]) -> float:
    leads: dict[str, dict[str, Any]] = {}
    began = time.process_time()
    for one in raw:
        message: Any = decode(Topic.CRM_EVENTS, one)
        known = leads.setdefault(message.lead, {})
        if isinstance(message, ContactChanged):
            for value in message.values:
                if value.name not in known or value.at > known[value.name].at:
                    known[value.name] = value
        else:
            known.setdefault("acts", []).append((message.at, message.id))
    return time.process_time() - began
