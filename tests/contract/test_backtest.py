"""A backtest of the agreement in force says what the services really did: message by message, on both engines."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from services.commands.backtest.findings import BREACHED, MET, Watch
from services.commands.backtest.replay import House, in_order, live_through
from services.kpi.domain.tallies import CLOCKS_CORRECTED, CLOCKS_ENDED, HANDOFFS, REJECTIONS, RETURNS, STAGE_ENTRIES
from services.kpi.worker import KpiDecision
from shared.agreement import Agreement, Agreements
from shared.database import migrate
from shared.events import (
    Channel,
    ClockBreached,
    ContactErased,
    HandoffMessage,
    LeadHandedOff,
    LeadReturned,
    LeadScored,
    Message,
    Outcome,
    PageVisited,
    Topic,
)
from tests.agreements import with_follow_up
from tests.contract.conftest import open_engine
from tests.contract.sales_floor import AGREEMENT, START, TABLES, Floor

# Quick to breach, to escalate to a colleague, and to give up: so that in two weeks everything happens.
HASTY = with_follow_up(
    AGREEMENT,
    accept_within={"urgent": "5m", "default": "30m"},
    first_touch={"urgent": "5m", "default": "2d"},
    cadence=[{"channel": "phone"}, {"channel": "email", "after": "4h"}],
    wait_for_reply="1d",
    decide_within="4d",
    if_not_accepted="reassign",
    escalation=[{"at": "breach + 1h", "on": ["accept", "first_touch"], "to": "manager", "reassign": "team"}],
    reasons=["unreachable", "not_accepted", "other"],
)
STEPS = 90
PEOPLE = 40
MINUTE = timedelta(minutes=1)
TALLIES = (STAGE_ENTRIES, HANDOFFS, RETURNS, REJECTIONS, CLOCKS_ENDED, CLOCKS_CORRECTED)


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
async def floor(request: pytest.FixtureRequest, new_database: Callable[[], str]) -> AsyncIterator[Floor]:
    uri = new_database()
    for service in TABLES:
        await asyncio.to_thread(migrate, uri, service)
    address = request.getfixturevalue("kafka").address if request.param == "kafka" else uri
    bus = open_engine(request.param, address, f"t{uuid4().hex[:8]}.")
    await bus.create_topics(partitions=2, replication=1)
    floor = Floor(uri, bus)
    floor.open(HASTY)
    yield floor
    await floor.close()


async def a_fortnight(floor: Floor, chance: random.Random) -> datetime:
    """Everything that a CRM can tell, to many leads at once; until when."""
    people = [floor.somebody() for _ in range(PEOPLE)]
    now, said = START, []
    for _ in range(STEPS):
        now += chance.choice((7 * MINUTE, 31 * MINUTE, 3 * 60 * MINUTE))
        await floor.at(now)
        said = [one for _ in range(3) for one in something(floor, chance, people, said)]
        await floor.says(*said)
        if chance.random() < 0.1:  # at a moment of its own: else the services too decide by who comes first
            now += MINUTE
            await floor.at(now)
            await floor.says(floor.merge(*chance.sample(people, 2)))
    await floor.at(now + timedelta(days=20))
    return now + timedelta(days=20)


def something(floor: Floor, chance: random.Random, people: list[int], before: list[Message]) -> Iterable[Message]:
    one = chance.choice(people)
    what = chance.random()
    if what < 0.2:
        values = {"jobtitle": chance.choice(("CEO", "Manager", "Clerk")), "country": chance.choice(("RO", "DE", "US"))}
        return [floor.person(one, **values, **{"company.numberofemployees": chance.choice(("5", "80", "900"))})]
    if what < 0.35:
        return [floor.form(one, chance.choice(("ebook", "demo-request", "consultation")))]
    if what < 0.4:
        about = floor._about(one)
        return [PageVisited(**about, url=f"https://example.test{chance.choice(('/pricing', '/blog/x'))}")]
    if what < 0.9:
        return [touched(floor, chance, one)]
    if what < 0.93:
        return [floor.deal(one, chance.choice(("qualifiedtobuy", "closedwon", "closedlost")))]
    if what < 0.95:
        return [ContactErased(**floor._about(one), privacy=chance.random() < 0.5)]
    return before[:1]  # once more, as a CRM does


def touched(floor: Floor, chance: random.Random, contact: int) -> Message:
    """A call, an email or an answer; often logged long after it was made."""
    ago = chance.choice((0, 0, 20, 300)) * MINUTE
    outcome = chance.choice((Outcome.NO_ANSWER, Outcome.SENT, Outcome.CONNECTED))
    by = chance.choice(("77", "77", "77", "78", "78", ""))
    channel = chance.choice((Channel.PHONE, Channel.EMAIL))
    return floor.touch(contact, outcome, channel=channel, at=floor.clock.now() - ago, by=by)


def told_of(messages: Iterable[Message]) -> dict[str, list[Message]]:
    """What was published of each lead by scoring and hand-off, once each, in order."""
    lives: dict[str, list[Message]] = {}
    for message in {message.id: message for message in messages}.values():
        if isinstance(message, LeadScored | HandoffMessage):
            lives.setdefault(f"{type(message) is LeadScored} {message.lead}", []).append(message)
    return lives


class Replayed:
    """The recorded events once more, without the services."""

    def __init__(self, floor: Floor, agreement: Agreement, end: datetime) -> None:
        self.messages: list[Message] = []
        self.tallies: Counter[tuple[str, Any]] = Counter()
        self.watch = Watch(since=None, timezone="UTC")
        house = House(Agreements(agreement), self._hear)
        house.counted = self._counted
        record = [one for one in floor.bus.published if one.topic == Topic.CRM_EVENTS]
        live_through([house], in_order((one.key, one.value) for one in record), end)
        self.findings = self.watch.findings(house.refused)

    def _hear(self, message: Message, now: datetime) -> None:
        self.messages.append(message)
        self.watch.hear(message, now)

    def _counted(self, decision: Any, message: Message) -> None:
        self.watch.counted(decision, message)
        if isinstance(decision, KpiDecision):
            for metric, labels, value in decision.tallies:
                self.tallies[metric, labels] += value


async def test_the_backtest_of_the_agreement_in_force_is_what_the_services_did(floor: Floor) -> None:
    end = await a_fortnight(floor, random.Random(7))
    live = told_of(message for _, message in floor._listen())
    replayed = Replayed(floor, HASTY, end)
    found = told_of(replayed.messages)
    assert found.keys() == live.keys()
    for lead, life in live.items():
        assert found[lead] == life
    for metric in TALLIES:
        assert {labels: n for (name, labels), n in replayed.tallies.items() if name == metric and n} == (
            await floor.tallied(metric)
        )
    everything = Counter(type(message) for life in live.values() for message in life)
    assert min(everything[LeadHandedOff], everything[LeadReturned], everything[ClockBreached]) >= 2
    assert replayed.findings.hours.total() == everything[LeadHandedOff]
    assert {one.outcome for one in replayed.watch.handoffs} >= {MET, BREACHED}
    patient = with_follow_up(HASTY, first_touch={"default": "3d"})
    assert told_of(Replayed(floor, patient, end).messages) != live
