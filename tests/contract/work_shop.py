"""A service made for the tests of shared.work: it counts what each lead submitted, and fails as it is told."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
from prometheus_client import CollectorRegistry
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared import events
from shared.agreement import Agreement, Agreements, load
from shared.bus import Bus, NewRecord, Record
from shared.clock import ManualClock
from shared.database import create_agreements, create_inbox_and_outbox, make_engine
from shared.errors import Refused
from shared.events import ContactsMerged, DeadLetter, FormSubmitted, LeadScored, Message, PageVisited, Topic, identity
from shared.metrics import CommonMetrics
from shared.web import Supervisor
from shared.work import Changes, Decision, Facts, Work, Worker

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
TENANT = "hubspot:62515"
STRANGER = "hubspot:999"  # a tenant without an agreement
AGREEMENT: Agreement = load(Path(__file__).parents[2] / "deploy" / "agreement.yaml").model_copy(
    update={"tenant": TENANT}
)
PATIENCE_S = 30.0
REFUSE, BUG, NUL, HUGE, ODD_KEYS = "refuse", "bug", "nul\0", "huge", "odd keys"
HUGE_CHARS = 2_000_000  # more than Kafka takes


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What one lead submitted."""

    lead: str
    version: int = 0
    words: tuple[str, ...] = ()
    became: str = ""  # the lead that it is part of now


async def nothing(*_: Any) -> None:
    """What a hook does unless a test says more."""


@dataclass
class Hooks:
    """Where a test can step in; `lenient`: what was at fault is mended."""

    lenient: bool = False
    prepare: Callable[[], Awaitable[None]] = nothing
    loading: Callable[[], Awaitable[None]] = nothing
    saved: Callable[[AsyncConnection], Awaitable[None]] = nothing


def name(contact: int, tenant: str = TENANT) -> str:
    return f"{tenant}:{contact}"


def form(contact: int, word: str, *, tenant: str = TENANT, number: int = 0) -> FormSubmitted:
    id_ = identity("form", tenant, contact, word, number)
    return FormSubmitted(id=id_, tenant=tenant, at=NOW, lead=name(contact, tenant), form=word)


def merge(contact: int, *merged: int) -> ContactsMerged:
    id_ = identity("merge", contact, merged)
    return ContactsMerged(id=id_, tenant=TENANT, at=NOW, lead=name(contact), merged=tuple(map(name, merged)))


def new_record(message: Message, value: bytes | None = None) -> NewRecord:
    return NewRecord(topic="crm.events", key=message.key, value=value or events.encode(message))


def records(*messages: Message) -> list[Record]:
    return [
        Record(topic="crm.events", partition=0, offset=n, key=m.key, value=events.encode(m))
        for n, m in enumerate(messages)
    ]


def told(tally: Tally, cause: Message, profile: dict[str, str], agreement: str) -> LeadScored:
    return LeadScored(
        id=identity("score", tally.lead, tally.version),
        tenant=TENANT,
        at=NOW,
        lead=tally.lead,
        version=tally.version,
        fit=0,
        interest=tally.version,
        fit_grade="D",
        interest_level="4",
        grade="D4",
        journey="awareness",
        profile=profile,
        agreement=agreement,
        cause=cause.id,
    )


class Shop:
    """One instance of the service, as one process would have it."""

    def __init__(
        self, uri: str, bus: Bus, schema: str, *, hooks: Hooks | None = None, agreement: Agreement = AGREEMENT
    ):
        self.uri, self.bus, self.schema = uri, bus, schema
        self.hooks = hooks or Hooks()
        self.clock = ManualClock(NOW)
        self.engine: AsyncEngine = make_engine(uri, pool_size=8)
        self.registry = CollectorRegistry()
        self.metrics = CommonMetrics(self.registry)
        self.agreements = Agreements(agreement)
        self.work: Work[Tally] = Work(
            self._worker(),
            engine=self.engine,
            bus=bus,
            clock=self.clock,
            agreements=self.agreements,
            metrics=self.metrics,
        )
        self._committed = asyncio.Event()
        self.work.after_commit(self._committed.set)

    def again(self, bus: Bus | None = None, *, hooks: Hooks | None = None, agreement: Agreement = AGREEMENT) -> Shop:
        """Another instance of the same service."""
        return Shop(self.uri, bus or self.bus, self.schema, hooks=hooks, agreement=agreement)

    # --- the service ---

    def _worker(self) -> Worker[Tally]:
        return Worker(
            service=self.schema,
            topics=(Topic.CRM_EVENTS,),
            handlers={FormSubmitted: self._submitted, ContactsMerged: self._merged},
            ignored=frozenset({PageVisited}),
            new=lambda lead: Tally(lead=lead),
            load=self._load,
            save=self._save,
            prepare=self._prepare,
            keys=self._keys,
            passes_on=lambda tally, message: tally.became,
        )

    def _keys(self, message: Message) -> Sequence[str]:
        if isinstance(message, ContactsMerged):
            return (message.lead, *message.merged)
        if isinstance(message, FormSubmitted) and message.form == ODD_KEYS and not self.hooks.lenient:
            raise KeyError("keys")
        return (message.key,)

    def _submitted(self, tally: Tally, message: FormSubmitted, facts: Facts[Tally]) -> Decision[Tally]:
        if not self.hooks.lenient and message.form == REFUSE:
            raise Refused("no_use", "nobody wants this form")
        if not self.hooks.lenient and message.form == BUG:
            raise KeyError("ana@example.test")
        word = message.form.strip("\0") if self.hooks.lenient else message.form
        after = replace(tally, version=tally.version + 1, words=(*tally.words, word))
        profile = {"note": "x" * HUGE_CHARS} if word == HUGE else {}
        return Decision(state=after, messages=(told(after, message, profile, facts.agreement.version),))

    def _merged(self, tally: Tally, message: ContactsMerged, facts: Facts[Tally]) -> Decision[Tally]:
        words = [word for other in facts.others.values() for word in other.words]
        others = {key: replace(other, words=(), became=facts.key) for key, other in facts.others.items()}
        return Decision(state=replace(tally, words=(*tally.words, *words)), others=others)

    async def _prepare(self, messages: Sequence[Message]) -> None:
        await self.hooks.prepare()

    async def _load(self, conn: AsyncConnection, leads: Sequence[str]) -> dict[str, Tally]:
        await self.hooks.loading()
        await conn.execute(
            sa.text(
                f"INSERT INTO {self.schema}.leads (lead) SELECT l FROM unnest(CAST(:leads AS text[])) AS l ORDER BY l"
                " ON CONFLICT DO NOTHING"
            ),
            {"leads": list(leads)},
        )
        sql = f"SELECT * FROM {self.schema}.leads WHERE lead = ANY(CAST(:leads AS text[])) ORDER BY lead FOR UPDATE"
        return self._tallies(await conn.execute(sa.text(sql), {"leads": list(leads)}))

    @staticmethod
    def _tallies(rows: Any) -> dict[str, Tally]:
        return {
            row.lead: Tally(lead=row.lead, version=row.version, words=tuple(json.loads(row.words)), became=row.became)
            for row in rows
            if row.version or row.became or row.words != "[]"
        }

    async def _save(self, conn: AsyncConnection, changes: Changes[Tally]) -> None:
        sql = f"UPDATE {self.schema}.leads SET version = :version, words = :words, plain = :plain, became = :became"
        sql += " WHERE lead = :lead"
        for tally in changes.states.values():
            row = {"lead": tally.lead, "version": tally.version, "words": json.dumps(tally.words)}
            await conn.execute(sa.text(sql), row | {"plain": " ".join(tally.words), "became": tally.became})
        await self.hooks.saved(conn)

    async def claim(self, conn: AsyncConnection, now: datetime) -> Mapping[str, Tally]:
        """Every lead that nobody else holds."""
        sql = f"SELECT * FROM {self.schema}.leads WHERE version > 0 ORDER BY lead FOR UPDATE SKIP LOCKED"
        return self._tallies(await conn.execute(sa.text(sql)))

    # --- running and looking ---

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Shop]:
        """Consume and relay, as a process does, while the context lasts."""
        supervisor = Supervisor(self.metrics)
        for task in ("consume", "relay"):
            supervisor.start(self.schema, task, self.work.tasks()[task])
        try:
            yield self
        finally:
            await supervisor.stop()

    def outcomes(self) -> Counter[str]:
        """How many messages came to which end here."""
        found: Counter[str] = Counter()
        for metric in self.registry.collect():
            if metric.name == "leadpact_messages":
                for sample in metric.samples:
                    found[sample.labels["outcome"]] += int(sample.value)
        return found

    async def has_seen(self, count: int) -> None:
        """Return once so many messages came to an end here."""
        async with asyncio.timeout(PATIENCE_S):
            while self.outcomes().total() < count:
                self._committed.clear()
                await self._committed.wait()

    async def rows(self, sql: str, **given: Any) -> list[Any]:
        async with self.engine.connect() as conn:
            return list((await conn.execute(sa.text(sql.replace("OUR.", f"{self.schema}.")), given)).all())

    async def execute(self, sql: str, **given: Any) -> None:
        async with self.engine.begin() as conn:
            await conn.execute(sa.text(sql.replace("OUR.", f"{self.schema}.")), given)

    async def words(self) -> dict[int, list[str]]:
        """What is stored of each contact of the usual tenant."""
        rows = await self.rows("SELECT lead, words FROM OUR.leads WHERE version > 0 OR words <> '[]' ORDER BY lead")
        return {int(row.lead.rpartition(":")[2]): json.loads(row.words) for row in rows}

    async def stored(self) -> dict[str, int]:
        """How many rows there are in each table; of the leads those that say something."""
        tables = {"inbox": "", "outbox": "", "leads": " WHERE version > 0"}
        return {t: (await self.rows(f"SELECT count(*) FROM OUR.{t}{where}"))[0][0] for t, where in tables.items()}

    async def outbox_is_empty(self) -> None:
        async def empty() -> bool:
            return not await self.rows("SELECT 1 FROM OUR.outbox WHERE refused IS NULL LIMIT 1")

        await until(empty)

    async def scores(self) -> dict[int, list[int]]:
        """The versions on lead.scores by contact, in their order, those said twice too."""
        found: dict[int, list[int]] = {}
        async for record in self.bus.scan("lead.scores"):
            message = events.decode("lead.scores", record.value)
            assert isinstance(message, LeadScored)
            found.setdefault(int(message.lead.rpartition(":")[2]), []).append(message.version)
        return found

    async def dead(self) -> list[DeadLetter]:
        return [
            message
            async for record in self.bus.scan("dead.letters")
            if isinstance(message := events.decode("dead.letters", record.value), DeadLetter)
        ]

    async def close(self) -> None:
        await self.engine.dispose()


async def make_schema(uri: str) -> str:
    """A schema with the tables of the service; its name, which is the service's too."""
    schema = f"shop_{uuid4().hex[:8]}"
    engine = make_engine(uri, pool_size=1)

    def make(conn: sa.Connection) -> None:
        conn.execute(sa.text(f"CREATE SCHEMA {schema}"))
        operations = Operations(MigrationContext.configure(conn))
        create_inbox_and_outbox(operations, schema)
        create_agreements(operations, schema)
        columns = "lead text PRIMARY KEY, version int NOT NULL DEFAULT 0, words text NOT NULL DEFAULT '[]', plain text"
        columns += ", became text NOT NULL DEFAULT ''"
        conn.execute(sa.text(f"CREATE TABLE {schema}.leads ({columns})"))

    async with engine.begin() as conn:
        await conn.run_sync(make)
    await engine.dispose()
    return schema


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Look again and again; each look asks the database or the bus, and so waits for them."""
    async with asyncio.timeout(PATIENCE_S):
        while not await condition():
            await asyncio.sleep(0)


@dataclass
class WatchedBus:
    """A bus that counts, and that can die or hang right after it has published."""

    bus: Bus
    published: list[NewRecord] = field(default_factory=list)
    joined: int = 0
    dies_after: bool = False
    has_died: asyncio.Event = field(default_factory=asyncio.Event)

    async def publish(self, given: Sequence[NewRecord]) -> None:
        await self.bus.publish(given)
        self.published.extend(given)
        if self.dies_after:
            self.has_died.set()
            await asyncio.Event().wait()  # nothing more is heard of it

    def consumer(self, group: str, topics: Sequence[str]) -> Any:
        self.joined += 1
        return self.bus.consumer(group, topics)

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self.bus, attribute)
