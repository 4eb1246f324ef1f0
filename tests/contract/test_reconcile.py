"""Webhooks are lost and a reconcile makes it good: ingest and scoring at work on both engines, beside the CRM."""

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
from services.ingest.domain import door
from services.ingest.metrics import IngestMetrics
from services.ingest.reconcile import Reconciled
from services.ingest.reconciling import Reconciling
from services.ingest.worker import Lookups, workers
from services.scoring import store
from services.scoring.domain.score import Scorer
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
from shared.crm.simulator.world import BY_DOMAIN, FORM, Ids, World, user
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

    def lives_a_day(self) -> None:
        for number in range(LIVES):
            life = make_life(7, number)
            contact = self.world.create(RecordType.CONTACT, life.own, FORM)
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
            for part in (*parts, scoring(ScoringMetrics(registry)))
        ]

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[Town]:
        loops = [work.consume() for work in self.works] + [work.relay() for work in (self.works[0], self.works[2])]
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
        inboxes = [{row[0].hex for row in await self.rows(f"SELECT id FROM {s}.inbox")} for s in ("ingest", "scoring")]
        waiting = [len(await self.rows(f"SELECT seq FROM {s}.outbox")) for s in ("ingest", "scoring")]
        return lookups <= inboxes[0] and facts <= inboxes[1] and waiting == [0, 0]

    async def on(self, topic: Topic) -> list[Message]:
        return [events.decode(topic, record.value) async for record in self.bus.scan(topic)]

    async def scores(self) -> list[Any]:
        """What every lead is worth by all that scoring knows, and what was told last."""
        keys = [row.lead for row in await self.rows("SELECT lead FROM scoring.leads ORDER BY lead")]
        async with self.engine.begin() as conn:
            leads = await store.load(conn, keys)
        scorer, told = Scorer(SHIPPED), "SELECT lead, grade, fit, interest FROM scoring.leads ORDER BY lead"
        return [[scorer.score(leads[key], NOW) for key in keys], [tuple(row) for row in await self.rows(told)]]

    def missed(self) -> float | None:
        """How many facts were told by a reconcile alone."""
        return self.registry.get_sample_value("leadpact_facts_missed_total")

    async def rows(self, sql: str) -> list[Any]:
        async with self.engine.connect() as conn:
            return list((await conn.execute(sa.text(sql))).all())


@pytest.fixture
async def town_of(engine: Engine, new_database: Callable[[], str]) -> AsyncIterator[Callable[[Crm], Any]]:
    async with contextlib.AsyncExitStack() as stack:

        async def made(crm: Crm) -> Town:
            uri = new_database()
            for service in ("ingest", "scoring"):
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
    assert len(wanted[0]) == LIVES
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
