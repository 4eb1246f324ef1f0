"""Scoring on a real PostgreSQL, one instance at a time, with the time in the test's hands."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from prometheus_client import CollectorRegistry
from sqlalchemy.ext.asyncio import AsyncEngine

from services.scoring.app import build
from services.scoring.domain.lead import Lead
from services.scoring.fading import Fading
from services.scoring.metrics import ScoringMetrics
from services.scoring.rescoring import Rescoring
from services.scoring.worker import worker
from shared import events
from shared.agreement import Agreement, Agreements
from shared.bus import Record
from shared.bus.embedded import EmbeddedBus
from shared.clock import ManualClock
from shared.database import make_engine, migrate
from shared.events import ContactChanged, FormSubmitted, Message, PageVisited, PropertyValue, identity
from shared.metrics import CommonMetrics
from shared.web import Parts, Tokens, create_app
from shared.work import Work
from tests.agreements import SHIPPED

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
TENANT = "hubspot:62515"
AGREEMENT = SHIPPED
EMAIL = "ada@example.test"
TABLES = ("leads", "inbox", "outbox", "history")
DAY = timedelta(days=1)


def name(contact: int) -> str:
    return f"{TENANT}:{contact}"


def about(kind: type[Any], contact: int, at: datetime = NOW, **said: Any) -> Any:
    id_ = identity(kind.__name__, contact, at, sorted(said.items(), key=str))
    return kind(id=id_, tenant=TENANT, lead=name(contact), at=at, **said)


def person(contact: int) -> ContactChanged:
    """A chief of our size in our markets."""
    said = {"jobtitle": "CEO", "country": "DE", "company.numberofemployees": "80", "email": EMAIL}
    return about(ContactChanged, contact, values=tuple(PropertyValue(name=n, value=v, at=NOW) for n, v in said.items()))


def form(contact: int, form: str = "demo-request", *, at: datetime = NOW) -> FormSubmitted:
    return about(FormSubmitted, contact, at, form=form)  # type: ignore[no-any-return]


def page(contact: int, path: str) -> PageVisited:
    return about(PageVisited, contact, url=f"https://x.example{path}")  # type: ignore[no-any-return]


def records(*messages: Message) -> list[Record]:
    return [
        Record(topic=events.TOPIC_OF[type(m)], partition=0, offset=n, key=m.key, value=events.encode(m))
        for n, m in enumerate(messages)
    ]


class Desk:
    """One instance of scoring, as one process would have it."""

    def __init__(self, uri: str, clock: ManualClock, *, agreement: Agreement = AGREEMENT) -> None:
        self.uri, self.clock = uri, clock
        self.engine: AsyncEngine = make_engine(uri, pool_size=8)
        self.registry = CollectorRegistry()
        self.parts = Parts(
            environ={},
            clock=clock,
            bus=EmbeddedBus(uri, prefix="scoring-desk."),
            engine=self.engine,
            agreements=Agreements(agreement),
            registry=self.registry,
            metrics=CommonMetrics(self.registry),
            tokens=Tokens([Tokens.entry("secret", role="sales", person="a person")]),
        )
        self.metrics = ScoringMetrics(CollectorRegistry())
        self.worker = worker(self.metrics)
        self.work = self.work_of(self.worker)
        self.rescoring = self.rescoring_of(self.work)
        self.fading = self.fading_of(self.work)

    def rescoring_of(self, work: Work[Lead]) -> Rescoring:
        return Rescoring(work, engine=self.engine, agreements=self.parts.agreements, metrics=self.metrics)

    def fading_of(self, work: Work[Lead]) -> Fading:
        return Fading(work, engine=self.engine, clock=self.clock, agreements=self.parts.agreements)

    def crashing(self) -> Work[Lead]:
        """Work that saves everything, and dies before the commit."""

        async def save(conn: Any, changes: Any) -> None:
            await self.worker.save(conn, changes)
            raise RuntimeError("the process died")

        return self.work_of(dataclasses.replace(self.worker, save=save))

    def work_of(self, its_worker: Any) -> Work[Lead]:
        return Work(
            its_worker,
            engine=self.engine,
            bus=self.parts.bus,
            clock=self.clock,
            agreements=self.parts.agreements,
            metrics=self.parts.metrics,
        )

    async def hears(self, *messages: Message) -> None:
        await self.work.handle(records(*messages))

    async def rows(self, sql: str, **given: Any) -> list[Any]:
        async with self.engine.connect() as conn:
            return list((await conn.execute(sa.text(sql), given)).all())

    async def counts(self) -> list[int]:
        return [(await self.rows(f"SELECT count(*) FROM scoring.{table}"))[0][0] for table in TABLES]

    async def told(self, contact: int) -> list[dict[str, Any]]:
        """What waits to be published about a contact, in order."""
        sql = "SELECT value FROM scoring.outbox WHERE topic = 'lead.scores' AND key = :lead ORDER BY seq"
        return [json.loads(row.value) for row in await self.rows(sql, lead=name(contact))]

    async def empty(self, *tables: str) -> None:
        """These tables, or all."""
        async with self.engine.begin() as conn:
            await conn.execute(sa.text(f"TRUNCATE {', '.join(f'scoring.{table}' for table in tables or TABLES)}"))

    async def close(self) -> None:
        await self.parts.bus.close()
        await self.engine.dispose()


@pytest.fixture(scope="module")
def uri(postgres: str) -> str:
    migrate(postgres, "scoring")
    return postgres


@pytest.fixture
async def desk(uri: str) -> AsyncIterator[Desk]:
    desk = Desk(uri, ManualClock(NOW))
    await desk.empty()
    yield desk
    await desk.close()


@pytest.fixture
async def other(uri: str, desk: Desk) -> AsyncIterator[Desk]:
    """A second instance on the same database and the same time."""
    other = Desk(uri, desk.clock)
    yield other
    await other.close()


@pytest.fixture
async def api(desk: Desk) -> AsyncIterator[httpx.AsyncClient]:
    """Scoring's HTTP, asked by somebody who may see everything."""
    transport = httpx.ASGITransport(create_app([build(desk.parts)], desk.parts))
    headers = {"Authorization": "Bearer secret"}
    async with httpx.AsyncClient(transport=transport, base_url="http://scoring", headers=headers) as client:
        yield client
