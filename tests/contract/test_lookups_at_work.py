"""Look-ups in the one loop, on a real PostgreSQL and against the simulated CRM."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from prometheus_client import CollectorRegistry
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.applications import Starlette

from services.ingest.metrics import IngestMetrics
from services.ingest.worker import Lookups, State, worker
from shared import events
from shared.agreement import Agreements, load
from shared.bus import Record
from shared.bus.embedded import EmbeddedBus
from shared.clock import ManualClock
from shared.crm.hubspot import HubSpot
from shared.crm.simulator.api import Api, ApiOptions
from shared.crm.simulator.ledger import Ledger
from shared.crm.simulator.world import FORM, Ids, World
from shared.database import make_engine, migrate
from shared.events import ContactChanged, DeadLetter, Message, RecordTouched, RecordType, Topic, identity
from shared.metrics import CommonMetrics
from shared.work import Work

TENANT = "hubspot:62515"
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
AGREEMENT = load(Path(__file__).parents[2] / "deploy" / "agreement.yaml")


@dataclass
class Desk:
    """ingest's loop, its database and the CRM that it asks."""

    engine: AsyncEngine
    world: World
    work: Work[State]

    def contact(self) -> str:
        return str(self.world.create(RecordType.CONTACT, {"email": "ada@example.test"}, FORM).id)

    async def handle(self, *contacts: str) -> None:
        await self.work.handle([as_record(n, touched(contact)) for n, contact in enumerate(contacts)])

    async def outbox(self) -> list[Message]:
        async with self.engine.connect() as conn:
            rows = (await conn.execute(sa.text("SELECT topic, value FROM ingest.outbox ORDER BY seq"))).all()
        return [events.decode(row.topic, row.value) for row in rows]


def touched(contact: str) -> RecordTouched:
    return RecordTouched(id=identity(contact), tenant=TENANT, at=NOON, record=RecordType.CONTACT, record_id=contact)


def as_record(offset: int, message: Message) -> Record:
    return Record(topic=Topic.CRM_LOOKUPS, partition=0, offset=offset, key=message.key, value=events.encode(message))


@pytest.fixture
async def desk(new_database: Callable[[], str]) -> AsyncIterator[Desk]:
    address, clock, registry = new_database(), ManualClock(NOON), CollectorRegistry()
    await asyncio.to_thread(migrate, address, "ingest")
    engine = make_engine(address)
    world = World(clock=clock, ledger=Ledger(None), ids=Ids(None, 901), portal=62515, listener=lambda _: None)
    api = Api(world, ApiOptions(token="t", rate_limit=1000), clock, seed=1)
    http = httpx.AsyncClient(transport=httpx.ASGITransport(app=Starlette(routes=api.routes())))
    crm = HubSpot("http://crm.example", "t", rate=1000, http=http)
    lookups = Lookups(lambda _: crm, contact_properties=lambda _: ("email",), metrics=IngestMetrics(registry))
    work = Work(
        worker(lookups, keep=timedelta(days=30)),
        engine=engine,
        bus=EmbeddedBus(engine),
        clock=clock,
        agreements=Agreements(AGREEMENT),
        metrics=CommonMetrics(registry),
    )
    yield Desk(engine, world, work)
    await engine.dispose()
    await crm.close()


async def test_a_record_that_the_crm_calls_a_bad_request_is_a_dead_letter_alone(desk: Desk) -> None:
    """Asked for again and again, it would hold up every look-up of every kind."""
    good = [desk.contact() for _ in range(5)]
    await desk.handle(*good[:2], "no number", *good[2:])
    said = await desk.outbox()
    assert [m.lead for m in said if isinstance(m, ContactChanged)] == [f"{TENANT}:{one}" for one in good]
    assert [(m.reason, m.tenant) for m in said if isinstance(m, DeadLetter)] == [("crm_bad_request", TENANT)]
