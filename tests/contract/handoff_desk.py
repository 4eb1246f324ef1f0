"""Hand-off on a real PostgreSQL, one instance at a time, with the time in the test's hands."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from prometheus_client import CollectorRegistry
from sqlalchemy.ext.asyncio import AsyncEngine

from services.handoff.domain.lead import Lead
from services.handoff.metrics import HandoffMetrics
from services.handoff.ticking import Ticking
from services.handoff.worker import worker
from shared import events
from shared.agreement import Agreement, Agreements
from shared.bus import Record
from shared.bus.embedded import EmbeddedBus
from shared.calendars import ALWAYS
from shared.clock import Clock, ManualClock
from shared.database import make_engine, migrate
from shared.events import ActivityLogged, Channel, Direction, LeadScored, Message, Outcome, Submission, identity
from shared.metrics import CommonMetrics
from shared.web import Parts, Tokens
from shared.work import Work
from tests.agreements import PLAIN

TENANT = "hubspot:62515"
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
AGREEMENT = PLAIN
URGENT = ALWAYS.time_of(AGREEMENT.follow_up.first_touch["urgent"])
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
EMAIL = "ada@example.test"
TOKENS = [Tokens.entry(role, role=role, person=f"a {role} person") for role in ("sales", "marketing", "admin")]
TABLES = ("leads", "clocks", "timeline", "notifications", "inbox", "outbox")


def name(contact: int) -> str:
    return f"{TENANT}:{contact}"


def demo(contact: int, *, version: int = 1, at: datetime = NOW) -> LeadScored:
    """The score of a lead that asked for a demo."""
    return LeadScored(
        id=identity("score", name(contact), version),
        tenant=TENANT,
        at=at,
        lead=name(contact),
        version=version,
        fit=10,
        interest=10,
        fit_grade="B",
        interest_level="3",
        grade="B3",
        journey="consideration",
        forms=(Submission(form="demo-request", at=at),),
        profile={"email": EMAIL},
        agreement="x",
        cause="y",
    )


def call(contact: int, at: datetime, *, number: int = 1, outcome: Outcome = Outcome.NO_ANSWER) -> ActivityLogged:
    return ActivityLogged(
        id=identity("call", contact, number, outcome),
        tenant=TENANT,
        at=at,
        lead=name(contact),
        activity=f"call:{contact}-{number}",
        channel=Channel.PHONE,
        direction=Direction.OUTBOUND,
        outcome=outcome,
        by="77",
        seen_at=at,
    )


def records(*messages: Message) -> list[Record]:
    return [
        Record(topic=events.TOPIC_OF[type(m)], partition=0, offset=n, key=m.key, value=events.encode(m))
        for n, m in enumerate(messages)
    ]


class Desk:
    """One instance of hand-off, as one process would have it."""

    def __init__(
        self,
        uri: str,
        clock: ManualClock,
        *,
        wall: Clock | None = None,
        notify: bool = False,
        environ: Mapping[str, str] | None = None,
        agreement: Agreement = AGREEMENT,
    ) -> None:
        self.uri, self.clock = uri, clock
        self.engine: AsyncEngine = make_engine(uri, pool_size=8)
        self.registry = CollectorRegistry()
        self.metrics = HandoffMetrics(self.registry)
        self.parts = Parts(
            environ=environ or {},
            clock=clock,
            bus=EmbeddedBus(uri),
            engine=self.engine,
            agreements=Agreements(agreement),
            registry=CollectorRegistry(),
            metrics=CommonMetrics(CollectorRegistry()),
            tokens=Tokens(TOKENS),
        )
        self.worker = worker(wall=wall or clock, notify=notify)
        self.work = self.work_of(self.worker)
        self.ticking = Ticking(
            self.work, engine=self.engine, clock=clock, agreements=self.parts.agreements, metrics=self.metrics
        )

    def work_of(self, its_worker: Any) -> Work[Lead]:
        return Work(
            its_worker,
            engine=self.engine,
            bus=self.parts.bus,
            clock=self.clock,
            agreements=self.parts.agreements,
            metrics=self.parts.metrics,
        )

    def crashing(self) -> Work[Lead]:
        """Work that saves everything, and dies before the commit."""

        async def save(conn: Any, changes: Any) -> None:
            await self.worker.save(conn, changes)
            raise RuntimeError("the process died")

        return self.work_of(dataclasses.replace(self.worker, save=save))

    async def hears(self, *messages: Message) -> None:
        await self.work.handle(records(*messages))

    async def rows(self, sql: str, **given: Any) -> list[Any]:
        async with self.engine.connect() as conn:
            return list((await conn.execute(sa.text(sql), given)).all())

    async def count(self, table: str) -> int:
        return int((await self.rows(f"SELECT count(*) FROM handoff.{table}"))[0][0])

    async def kinds(self, contact: int) -> list[str]:
        """The types of the lead's messages, in the order of their versions."""
        sql = "SELECT type FROM handoff.timeline WHERE lead = :lead ORDER BY version"
        return [row.type for row in await self.rows(sql, lead=name(contact))]

    async def empty(self) -> None:
        async with self.engine.begin() as conn:
            await conn.execute(sa.text(f"TRUNCATE {', '.join(f'handoff.{table}' for table in TABLES)}"))

    async def close(self) -> None:
        await self.parts.bus.close()
        await self.engine.dispose()


@pytest.fixture(scope="module")
def uri(postgres: str) -> str:
    migrate(postgres, "handoff")
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
