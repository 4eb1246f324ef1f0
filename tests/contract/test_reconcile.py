"""Webhooks are lost and a reconcile makes it good: ingest, scoring and hand-off at work on both engines."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx
import msgspec
import pytest
import sqlalchemy as sa
from prometheus_client import CollectorRegistry
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.applications import Starlette

from services.commands import reconciling
from services.handoff import store as handoff_store
from services.handoff.worker import HANDLERS as FOLLOWED
from services.handoff.worker import worker as handoff
from services.ingest.domain import door
from services.ingest.metrics import IngestMetrics
from services.ingest.reconcile import Reconciled
from services.ingest.reconciling import Reconciling
from services.ingest.worker import Lookups, workers
from services.scoring import store
from services.scoring.domain.score import Score, Scorer
from services.scoring.metrics import ScoringMetrics
from services.scoring.worker import HANDLERS as JUDGED
from services.scoring.worker import worker as scoring
from shared import events
from shared.agreement import Agreements
from shared.bus import Bus, NewRecord
from shared.clock import ManualClock
from shared.crm.hubspot import HubSpot
from shared.crm.simulator.api import Api, ApiOptions
from shared.crm.simulator.ledger import Event, Ledger
from shared.crm.simulator.personas import StepKind, make_life
from shared.crm.simulator.world import BY_DOMAIN, FORM, Ids, Record, World, user
from shared.database import make_engine, migrate
from shared.errors import Later
from shared.events import Message, RecordType, Topic
from shared.metrics import CommonMetrics
from shared.work import Work, to_record
from tests.agreements import SHIPPED
from tests.contract.conftest import Engine

PATIENCE_S: Final = 60.0
BEGIN: Final = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
NOW: Final = BEGIN + timedelta(days=1)
LIVES: Final = 8
LOST: Final = 0.4
SEEDS: Final = 2  # worlds of what is lost besides
SERVICES: Final = ("ingest", "scoring", "handoff")


@dataclass
class Crm:
    """A CRM with a day of traffic; what it told by webhook is in `told`."""

    clock: ManualClock = field(default_factory=lambda: ManualClock(BEGIN))
    told: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        ids = Ids(None, 901)
        self.world = World(clock=self.clock, ledger=Ledger(None), ids=ids, portal=62515, listener=self.told.append)
        options = ApiOptions(token="t", rate_limit=10_000, searches_a_second=1000)
        self.app = Starlette(routes=Api(self.world, options, self.clock, seed=1).routes())

    def http(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(app=self.app))

    def lives_a_day(self) -> list[Record]:
        contacts = []
        for number in range(LIVES):
            life = make_life(7, number)
            contact = self.world.create(RecordType.CONTACT, life.own, FORM)
            contacts.append(contact)
            company = self.world.company_at(life.domain, life.of_company, BY_DOMAIN)
            self.world.employ(contact, company, BY_DOMAIN)
            for step in life.steps:
                self.clock.advance(timedelta(minutes=10))
                if step.kind is StepKind.PAGE:
                    self.world.visit_page(contact, step.name)
                elif step.kind is StepKind.FORM:
                    self.world.submit_form(contact, step.name, "")
                else:
                    self.world.update(contact, {step.name: step.value}, FORM)
            self.world.create(RecordType.CALL, {"hs_call_status": "BUSY"}, user(501), contacts=[contact.id])
            self.clock.advance(timedelta(minutes=10))
            self.world.update(company, {"numberofemployees": "70"}, user(501))
        return contacts

    def is_cleaned_up(self, contacts: list[Record]) -> Record:
        """The contact that three became; one is deleted, and one was deleted by mistake."""
        for contact in contacts[:5]:
            self.world.submit_form(contact, "demo-request", "")
        self.clock.advance(timedelta(minutes=10))
        whole = self.world.merge(contacts[0], contacts[1], user(501))
        whole = self.world.merge(whole, contacts[2], user(501))
        for contact in contacts[3:5]:
            self.world.delete(contact, user(501))
        self.clock.advance(timedelta(minutes=10))
        self.world.restore(contacts[4], user(501))
        self.world.visit_page(whole, "https://www.example.com/pricing")
        return whole


class Town:
    """ingest and scoring on one database and one bus."""

    def __init__(self, bus: Bus, uri: str, crm: Crm) -> None:
        self.bus, self.crm = bus, crm
        self.engine: AsyncEngine = make_engine(uri)
        self.clock = ManualClock(NOW)
        self.agreements = Agreements(SHIPPED)
        self.registry = registry = CollectorRegistry()
        hubspot = HubSpot("http://crm.example", "t", rate=10_000, http=crm.http())
        lookups = Lookups(
            lambda _: hubspot,
            contact_properties=lambda _: sorted(SHIPPED.contact_properties),
            company_properties=lambda _: sorted(SHIPPED.company_properties),
            metrics=IngestMetrics(registry),
        )
        parts = workers(lookups, lookups, keep=timedelta(days=30))
        metrics = CommonMetrics(registry)
        self.works: list[Work[Any]] = [
            Work(part, engine=self.engine, bus=bus, clock=self.clock, agreements=self.agreements, metrics=metrics)
            for part in (*parts, scoring(ScoringMetrics(registry)), handoff(wall=self.clock, notify=False))
        ]

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[Town]:
        loops = [work.consume() for work in self.works] + [work.relay() for work in (self.works[0], *self.works[2:])]
        tasks = [asyncio.create_task(loop) for loop in loops]
        try:
            yield self
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.engine.dispose()

    async def hears(self, told: list[Event]) -> None:
        rules = door.Rules(of_companies=lambda _: SHIPPED.company_properties)
        found = door.normalise(msgspec.json.encode(told), received_at=BEGIN, rules=rules)
        await self.bus.publish([to_record(message, source="ingest") for message in found.messages])
        await self.settled()

    async def reconciles(self) -> int:
        environ = {"LEADPACT_HUBSPOT_TOKEN": "t", "LEADPACT_HUBSPOT_RATE": "10000"}

        @contextlib.asynccontextmanager
        async def bus() -> AsyncIterator[Bus]:
            yield self.bus

        (done,) = await reconciling.call(reconciling.Call(since="2d"), environ, bus, http=self.crm.http())
        assert done.tenant == "hubspot:62515"
        await self.settled()
        return done.changed.total()

    async def settled(self) -> None:
        """Return once each message on the topics was handled, and all that was decided is on them."""
        async with asyncio.timeout(PATIENCE_S):
            while not await self._is_settled():
                await asyncio.sleep(0)

    async def _is_settled(self) -> bool:
        lookups = {m.id for topic in (Topic.CRM_LOOKUPS, Topic.CRM_IMPORTS) for m in await self.on(topic)}
        facts = {m.id for m in await self.on(Topic.CRM_EVENTS) if type(m) in JUDGED}
        scores = {m.id for m in await self.on(Topic.LEAD_SCORES)}
        followed = {m.id for m in await self.on(Topic.CRM_EVENTS) if type(m) in FOLLOWED}
        inboxes = [{row[0].hex for row in await self.rows(f"SELECT id FROM {s}.inbox")} for s in SERVICES]
        waiting = [len(await self.rows(f"SELECT seq FROM {s}.outbox")) for s in SERVICES]
        heard = lookups <= inboxes[0] and facts <= inboxes[1] and scores | followed <= inboxes[2]
        return heard and waiting == [0, 0, 0]

    async def on(self, topic: Topic) -> list[Message]:
        return [events.decode(topic, record.value) async for record in self.bus.scan(topic)]

    async def scores(self) -> dict[str, Any]:
        """What every lead is worth by all that scoring knows, and what was told last; None: it is gone."""
        told = {row.lead: tuple(row) for row in await self.rows("SELECT lead, grade, fit, interest FROM scoring.leads")}
        async with self.engine.begin() as conn:
            leads = await store.load(conn, sorted(told))
        scorer = Scorer(SHIPPED)
        return {
            key: None if lead.gone else (_points(scorer.score(lead, NOW)), told[key]) for key, lead in leads.items()
        }

    async def handed_over(self, merged: str) -> dict[str, Any]:
        """Where each lead stands between the two teams, and by what and since when it was ready for Sales.

        Not so of `merged`: a reconcile tells of three people at once, which fires another trigger first.
        """
        keys = [row.lead for row in await self.rows("SELECT lead FROM handoff.leads")]
        async with self.engine.begin() as conn:
            leads = await handoff_store.load(conn, keys)
        stands = {
            key: (lead.state, lead.episode, [one.activity for one in lead.attempts])
            for key, lead in leads.items()
            if not lead.gone
        }
        return {
            key: (*at, () if key == merged else (leads[key].trigger, leads[key].ready_at)) for key, at in stands.items()
        }

    async def told(self) -> list[str]:
        """Everything that scoring and hand-off said."""
        topics = (Topic.LEAD_SCORES, Topic.LEAD_HANDOFFS)
        return sorted([message.id for topic in topics for message in await self.on(topic)])

    def missed(self) -> float | None:
        """How many facts were told by a reconcile alone."""
        return self.registry.get_sample_value("leadpact_facts_missed_total")

    async def rows(self, sql: str) -> list[Any]:
        async with self.engine.connect() as conn:
            return list((await conn.execute(sa.text(sql))).all())


def _points(score: Score) -> tuple[Any, ...]:
    """All but which message told of an act: of a merged contact it is told by another key than before."""
    interest = score.interest
    reasons = [(reason.rule, reason.points) for reason in interest.reasons]
    return score.grade, score.fit, interest.points, interest.level, interest.journey, interest.families, reasons


@pytest.fixture
async def town_of(engine: Engine, new_database: Callable[[], str]) -> AsyncIterator[Callable[[Crm], Any]]:
    async with contextlib.AsyncExitStack() as stack:

        async def made(crm: Crm) -> Town:
            uri = new_database()
            for service in SERVICES:
                await asyncio.to_thread(migrate, uri, service)
            own = Engine(engine.name, uri if engine.name == "embedded" else engine.address)
            bus = own.open()
            stack.push_async_callback(bus.close)
            await bus.create_topics(partitions=2, replication=1)
            return await stack.enter_async_context(Town(bus, uri, crm).working())

        yield made


async def test_a_reconcile_makes_good_what_webhooks_missed_and_another_changes_nothing(
    town_of: Callable[[Crm], Any],
) -> None:
    crm = Crm()
    crm.lives_a_day()
    changed = len(crm.world.records)
    whole, poor = await town_of(crm), await town_of(crm)
    rng = random.Random(3)
    await whole.hears(crm.told)
    await poor.hears([event for event in crm.told if rng.random() >= LOST])
    wanted = await whole.scores()
    assert len(wanted) == LIVES
    assert await poor.scores() != wanted
    assert await poor.reconciles() == changed
    assert await poor.scores() == wanted
    told = {message.id for message in await poor.on(Topic.LEAD_SCORES)}
    missed = poor.missed()
    assert missed > 0
    calls = {message.lead for message in await poor.on(Topic.CRM_EVENTS) if isinstance(message, events.ActivityLogged)}
    assert len(calls) == LIVES
    assert await poor.reconciles() == changed
    assert {message.id for message in await poor.on(Topic.LEAD_SCORES)} == told
    assert poor.missed() == missed
    assert whole.missed() == 0
    assert await whole.reconciles() == changed
    assert whole.missed() == 0


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_deletions_and_merges_that_webhooks_missed_are_made_good_too(
    town_of: Callable[[Crm], Any], seed: int
) -> None:
    """Whichever of the deletions that come with merges were heard, and when both merges and a restore were not."""
    crm = Crm()
    contacts = crm.lives_a_day()
    merged = f"hubspot:62515:{crm.is_cleaned_up(contacts).id}"
    whole, poor = await town_of(crm), await town_of(crm)
    missed, heard = {"contact.merge", "contact.restore", f"contact.deletion {contacts[3].id}"}, contacts[4].id
    rng = random.Random(seed)

    def is_lost(event: Event) -> bool:
        what = event["subscriptionType"]
        if what == "contact.deletion" and event["objectId"] == heard:  # else nothing tells that it was not there
            return False
        return rng.random() < LOST or not missed.isdisjoint({what, f"{what} {event.get('objectId')}"})

    await whole.hears(crm.told)
    await poor.hears([event for event in crm.told if not is_lost(event)])
    scores, leads = await whole.scores(), await whole.handed_over(merged)
    assert len(leads) == LIVES - 3
    assert await poor.handed_over(merged) != leads
    await poor.reconciles()
    assert (await poor.scores(), await poor.handed_over(merged)) == (scores, leads)
    told, facts = await poor.told(), poor.missed()
    await poor.reconciles()
    assert (await poor.told(), poor.missed()) == (told, facts)
    told = await whole.told()
    await whole.reconciles()
    assert (await whole.scores(), await whole.handed_over(merged), whole.missed()) == (scores, leads, 0)
    assert await whole.told() == told


# --- on a schedule ---


class Office:
    """Processes of ingest that share one database, and what they queued."""

    def __init__(self, uri: str) -> None:
        self.engine, self.clock = make_engine(uri), ManualClock(NOW)
        self.crm, self.queued = Crm(), list[NewRecord]()
        self.crm.lives_a_day()
        self.hubspot = HubSpot("http://crm.example", "t", rate=10_000, http=self.crm.http(), searches_per_s=10_000)

    def process(self, *, bus_away: bool = False) -> Reconciling:
        async def publish(records: Sequence[NewRecord]) -> None:
            if bus_away:
                raise Later("bus_away", "the bus did not answer")
            self.queued += records

        return Reconciling(
            {None: self.hubspot},
            publish,
            engine=self.engine,
            clock=self.clock,
            every=timedelta(days=1),
            company_properties=lambda _: SHIPPED.company_properties,
            metrics=IngestMetrics(CollectorRegistry()),
        )

    async def look(self, *, bus_away: bool = False) -> Reconciled | None:
        return await self.process(bus_away=bus_away).look("hubspot:62515", self.hubspot)


@pytest.fixture
async def office(new_database: Callable[[], str]) -> AsyncIterator[Office]:
    uri = new_database()
    await asyncio.to_thread(migrate, uri, "ingest")
    made = Office(uri)
    yield made
    await made.engine.dispose()


async def test_the_first_reconcile_comes_once_the_interval_is_over(office: Office) -> None:
    assert await office.look() is None
    office.clock.advance(timedelta(hours=23))
    assert await office.look() is None
    office.clock.advance(timedelta(hours=1))
    assert (await office.look()) is not None


async def test_of_several_processes_one_reconciles(office: Office) -> None:
    await office.look()
    office.clock.advance(timedelta(days=1))
    found = await asyncio.gather(*(office.look() for _ in range(4)))
    assert sum(done is not None for done in found) == 1
    assert await office.look() is None


async def test_each_goes_on_an_hour_before_where_the_last_one_ended(office: Office) -> None:
    await office.look()
    office.clock.advance(timedelta(days=2))
    first = await office.look()
    office.clock.advance(timedelta(days=1))
    second = await office.look()
    assert first is not None
    assert second is not None
    assert (first.since, second.since) == (NOW - timedelta(hours=1), NOW + timedelta(days=2, hours=-1))


async def test_one_that_did_not_come_to_its_end_is_done_again_from_its_beginning(office: Office) -> None:
    await office.look()
    office.crm.clock.advance(timedelta(hours=30))
    office.crm.world.create(RecordType.CONTACT, {"email": "ada@example.com"}, FORM)
    office.clock.advance(timedelta(days=2))
    with pytest.raises(Later):
        await office.look(bus_away=True)
    assert await office.look() is None
    office.clock.advance(timedelta(hours=1))
    done = await office.look()
    assert done is not None
    assert done.since == NOW - timedelta(hours=1)
    assert done.changed[RecordType.CONTACT] == len([r for r in office.queued if b'"contact"' in r.value]) == 1
