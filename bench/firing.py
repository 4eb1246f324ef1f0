"""Firing clocks: how many a second, how late beside other work, and by two processes of which one is killed.

The leads are handed off by the real loop, with its time in our hands, under the shipped agreement
but for two lines: it is always working time, and the first touch is the only clock that is due soon.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any, Final

import asyncpg
import msgspec
import sqlalchemy as sa
from aiokafka import AIOKafkaConsumer, TopicPartition
from prometheus_client import CollectorRegistry
from sqlalchemy.ext.asyncio import AsyncEngine

from bench.load import HOST, PARTITIONS, PORTAL
from services.handoff.domain.lead import Lead
from services.handoff.metrics import HandoffMetrics
from services.handoff.ticking import LEADS_PER_SWEEP, Ticking
from services.handoff.worker import worker
from shared import agreement, events
from shared.bus import Record
from shared.bus.kafka import KafkaBus
from shared.clock import ManualClock
from shared.database import make_engine
from shared.events import ActivityLogged, Channel, Direction, LeadScored, Message, Outcome, Submission, Topic, identity
from shared.metrics import CommonMetrics
from shared.work import Work, to_record

if TYPE_CHECKING:
    from bench.__main__ import Ground

SHIPPED: Final = Path(__file__).resolve().parents[1] / "deploy" / "agreement.yaml"
INSTEAD: Final = {
    "    office: {mon-fri: 08:00-18:00}": "    office: {mon-sun: 00:00-24:00}",
    "  accept_within: {urgent: 5m, default: 1h} ": "  accept_within: {} ",
}
TENANT: Final = f"hubspot:{PORTAL}"
LEADS: Final = 20_000
BATCH: Final = 1_000
ROUNDS: Final = 3
PROMISED: Final = timedelta(minutes=5)  # to the first touch, by the agreement
WARNED: Final = timedelta(minutes=4)  # when the last of its two warnings is due
EVENTS_A_CLOCK: Final = 3  # two warnings and the breach
OPEN: Final = (1_000, 100_000, 1_000_000)
SECONDS: Final = 10
STEP: Final = timedelta(milliseconds=100)
DUE_A_STEP, CALLS_A_STEP = 10, 20
CALLED: Final = 500
AHEAD: Final = timedelta(seconds=10)  # for setting up, before the first is due
WAIT_S: Final = 120.0


def agreement_file(folder: Path) -> Path:
    """The agreement of this bench. Raises RuntimeError when the shipped one no longer says what is replaced."""
    text = SHIPPED.read_text(encoding="utf-8")
    for said, instead in INSTEAD.items():
        if text.count(said) != 1:
            raise RuntimeError(f"{SHIPPED.name} does not say {said.strip()!r} once")
        text = text.replace(said, instead)
    path = folder / "firing.yaml"
    path.write_text(text, encoding="utf-8")
    return path


# --- hand-off in this process ---


class Desk:
    """Hand-off without its loop over the topics, with the time in our hands."""

    def __init__(self, made: Ground, start: datetime) -> None:
        self.clock = ManualClock(start)
        self.engine = make_engine(made.database)
        self.bus = KafkaBus(made.kafka)  # nothing is published through it
        agreements = agreement.Agreements(agreement.load(agreement_file(made.folder)))
        self.work: Work[Lead] = Work(
            worker(wall=self.clock, notify=False),
            engine=self.engine,
            bus=self.bus,
            clock=self.clock,
            agreements=agreements,
            metrics=CommonMetrics(CollectorRegistry()),
        )
        self.ticking = Ticking(
            self.work,
            engine=self.engine,
            clock=self.clock,
            agreements=agreements,
            metrics=HandoffMetrics(CollectorRegistry()),
        )

    async def hand_over(self, contacts: Sequence[int]) -> None:
        """Each of them asks for a demo now, and is handed off at once."""
        for start in range(0, len(contacts), BATCH):
            asked = [_demo(contact, self.clock.now()) for contact in contacts[start : start + BATCH]]
            await self.work.handle(_records(asked))

    def set_to(self, moment: datetime) -> None:
        self.clock.advance(moment - self.clock.now())


@contextlib.asynccontextmanager
async def _desk(made: Ground, start: datetime) -> AsyncIterator[Desk]:
    desk = Desk(made, start)
    try:
        yield desk
    finally:
        await desk.engine.dispose()
        await desk.bus.close()


def _name(contact: int) -> str:
    return f"{TENANT}:{contact}"


def _demo(contact: int, at: datetime) -> LeadScored:
    return LeadScored(
        id=identity("bench score", contact),
        tenant=TENANT,
        at=at,
        lead=_name(contact),
        version=1,
        fit=75,
        interest=60,
        fit_grade="A",
        interest_level="1",
        grade="A1",
        journey="decision",
        forms=(Submission(form="demo-request", at=at),),
        profile={"email": f"lead-{contact}@example.test", "jobtitle": "VP Sales", "country": "RO"},
        agreement="bench",
        cause="bench",
    )


def _call(contact: int, number: int, at: datetime) -> ActivityLogged:
    return ActivityLogged(
        id=identity("bench call", contact, number),
        tenant=TENANT,
        at=at,
        lead=_name(contact),
        activity=f"call:{contact}-{number}",
        channel=Channel.PHONE,
        direction=Direction.OUTBOUND,
        outcome=Outcome.NO_ANSWER,
        by="77",
        seen_at=at,
    )


def _records(messages: Sequence[Message]) -> list[Record]:
    return [
        Record(topic=events.TOPIC_OF[type(m)], partition=0, offset=n, key=m.key, value=events.encode(m))
        for n, m in enumerate(messages)
    ]


# --- the tables, kept and put back ---


TABLES: Final = ("leads", "clocks", "timeline")
EMPTY: Final = "TRUNCATE " + ", ".join(f"handoff.{name}" for name in (*TABLES, "inbox", "outbox", "notifications"))


async def _empty(engine: AsyncEngine) -> None:
    async with engine.begin() as conn:
        await conn.execute(sa.text(EMPTY))


async def _keep(engine: AsyncEngine, name: str) -> None:
    """Keep what is there under `name`."""
    async with engine.begin() as conn:
        for table in TABLES:
            await conn.execute(sa.text(f"DROP TABLE IF EXISTS public.{name}_{table}"))
            await conn.execute(sa.text(f"CREATE TABLE public.{name}_{table} AS TABLE handoff.{table}"))


async def _put_back(engine: AsyncEngine, name: str) -> None:
    """As it was kept, in one commit that wakes those who wait for a clock."""
    async with engine.begin() as conn:
        await conn.execute(sa.text(EMPTY))
        for table in TABLES:
            await conn.execute(sa.text(f"INSERT INTO handoff.{table} TABLE public.{name}_{table}"))
        await conn.execute(sa.text("SELECT pg_notify('leadpact_handoff_clocks', '')"))


async def _analyse(engine: AsyncEngine) -> None:
    async with engine.connect() as conn:
        plain = await conn.execution_options(isolation_level="AUTOCOMMIT")
        await plain.execute(sa.text(f"VACUUM ANALYZE {', '.join(f'handoff.{table}' for table in TABLES)}"))


# --- how many a second ---


@dataclass(frozen=True)
class Rates:
    """A second: clocks breached, the same by the bare loop, and events when the warnings are due as well.

    `cpu`: clocks breached for each second of processor time that this process used, which tells more than
    the clock on the wall when others use the machine; PostgreSQL's is not in it.
    """

    breached: float
    cpu: float
    bare: float
    ratio: float
    events: float


async def rates(made: Ground) -> Rates:
    """Leaves the leads kept as they were handed off ten minutes ago, under the name `fresh`."""
    start = (datetime.now(UTC) - 2 * PROMISED).replace(microsecond=0)
    async with _desk(made, start) as desk:
        await _empty(desk.engine)
        await desk.hand_over(range(1, LEADS + 1))
        await _keep(desk.engine, "fresh")
        desk.set_to(start + WARNED)
        await desk.ticking.fire()
        await _keep(desk.engine, "warned")
        desk.set_to(start + PROMISED)
        _settle_memory()
        ours, cpu, bare = [], [], []
        for _ in range(ROUNDS):
            bare.append(await bare_loop(made.database, LEADS))
            rate, of_cpu = await _fired(desk, "warned", LEADS)
            ours.append(rate)
            cpu.append(of_cpu)
        all_events, _ = await _fired(desk, "fresh", LEADS * EVENTS_A_CLOCK)
    ratio = median(a / b for a, b in zip(ours, bare, strict=True))
    return Rates(breached=median(ours), cpu=median(cpu), bare=median(bare), ratio=ratio, events=all_events)


async def _fired(desk: Desk, kept: str, expected: int) -> tuple[float, float]:
    """Events a second until nothing is due, and for each second of this process's own time."""
    await _put_back(desk.engine, kept)
    await _analyse(desk.engine)
    started, used = time.perf_counter(), time.process_time()
    fired = await desk.ticking.fire()
    seconds, used = time.perf_counter() - started, time.process_time() - used
    if fired != expected:
        raise RuntimeError(f"{fired} events were told of {expected}")
    return fired / seconds, fired / used


def _settle_memory() -> None:
    """As a service does once it has started."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000)


BARE_TABLES: Final = """
    DROP TABLE IF EXISTS public.bare_clocks, public.bare_outbox;
    CREATE TABLE public.bare_clocks (LIKE handoff.clocks INCLUDING INDEXES);
    CREATE TABLE public.bare_outbox (LIKE handoff.outbox INCLUDING ALL);
    INSERT INTO public.bare_clocks (id, lead, kind, team, priority, started_at, due_at, next_at)
    SELECT md5(n::text), 'hubspot:1:' || n, 'first_touch', 'inbound', 'urgent', now(), now(), now()
    FROM generate_series(1, {many}) AS n;
"""


async def bare_loop(database: str, many: int) -> float:
    """The ceiling: claim, update, outbox, 500 clocks a transaction, without a lead; clocks a second."""
    connection = await asyncpg.connect(database)
    try:
        await connection.execute(BARE_TABLES.format(many=many))
        await connection.execute("VACUUM ANALYZE public.bare_clocks")
        done, started = 0, time.perf_counter()
        while some := await _bare_batch(connection):
            done += some
        return done / (time.perf_counter() - started)
    finally:
        await connection.close()


async def _bare_batch(connection: Any) -> int:
    async with connection.transaction():
        rows = await connection.fetch(
            "SELECT id, lead, due_at FROM public.bare_clocks WHERE next_at <= now() ORDER BY next_at "
            f"LIMIT {LEADS_PER_SWEEP} FOR UPDATE SKIP LOCKED"
        )
        if not rows:
            return 0
        ids, due = [row["id"] for row in rows], [row["due_at"] for row in rows]
        await connection.execute(
            "UPDATE public.bare_clocks c SET next_at = NULL, outcome = 'breached', ended_at = t.due "
            "FROM unnest($1::text[], $2::timestamptz[]) AS t(id, due) WHERE c.id = t.id",
            ids,
            due,
        )
        values = [msgspec.json.encode({"type": "ClockBreached", **row}) for row in rows]
        await connection.execute(
            "INSERT INTO public.bare_outbox (topic, key, value, headers) "
            "SELECT 'lead.handoffs', key, value, '{}' FROM unnest($1::text[], $2::bytea[]) AS t(key, value)",
            [row["lead"] for row in rows],
            values,
        )
    return len(rows)


# --- how late, beside other work ---


@dataclass(frozen=True)
class Lateness:
    """Seconds from the moment a clock was due until its breach stood on the topic."""

    p50: float
    p99: float
    within_a_second: float


async def lateness(made: Ground, many: int) -> Lateness:
    """A hundred clocks fall due each second while two hundred calls a second are handled, among `many` open ones."""
    prefix = f"open{many}."
    engine, bus = make_engine(made.database), KafkaBus(made.kafka, prefix=prefix)
    try:
        await bus.create_topics(partitions=PARTITIONS, replication=1)
        await _fill(engine, many)
        await asyncio.to_thread(_serve, made, prefix)
        first = (datetime.now(UTC) + AHEAD).replace(microsecond=0)
        leads = await _due_from(made, first)
        await _traffic(bus, first)
        await _none_due(engine)
        late = await _lateness_told(made.kafka, prefix, leads)
    finally:
        made.stop_servers()
        await bus.close()
        await engine.dispose()
    cuts = quantiles(late, n=100)
    return Lateness(p50=cuts[49], p99=cuts[98], within_a_second=sum(one <= 1 for one in late) / len(late))


async def _fill(engine: AsyncEngine, many: int) -> None:
    """Clocks that are due in thirty days; nobody claims them, so their leads are not needed."""
    fill = sa.text("""
        INSERT INTO handoff.clocks (id, lead, kind, team, priority, started_at, due_at, next_at)
        SELECT md5(n::text), 'hubspot:1:' || n, 'first_touch', 'inbound', 'urgent', now(), due, due
        FROM (SELECT n, now() + interval '30 days' + n * interval '1 s' AS due FROM generate_series(1, :many) AS n) AS t
    """)
    await _empty(engine)
    async with engine.begin() as conn:
        await conn.execute(fill, {"many": many})
    await _analyse(engine)


def _serve(made: Ground, prefix: str) -> int:
    environ = {"LEADPACT_TOPIC_PREFIX": prefix, "LEADPACT_AGREEMENT": str(agreement_file(made.folder))}
    return made.start("services", "serve", "handoff", "--port", "{port}", **environ)


async def _due_from(made: Ground, first: datetime) -> set[str]:
    """Leads that wait for nothing but their breaches, of which some fall due at each step; and others for calls."""
    steps = int(SECONDS / STEP.total_seconds())
    async with _desk(made, first - PROMISED) as desk:
        for step in range(steps):
            desk.set_to(first - PROMISED + step * STEP)
            await desk.hand_over(_contacts(step, DUE_A_STEP))
        desk.set_to(first - PROMISED + WARNED + timedelta(seconds=SECONDS))
        await desk.ticking.fire()
        desk.set_to(first)
        await desk.hand_over([LEADS + n for n in range(CALLED)])
    if datetime.now(UTC) > first:
        raise RuntimeError("setting up took longer than was meant")
    return {_name(contact) for step in range(steps) for contact in _contacts(step, DUE_A_STEP)}


def _contacts(step: int, many: int) -> range:
    return range(1 + step * many, 1 + (step + 1) * many)


async def _traffic(bus: KafkaBus, first: datetime) -> None:
    """Calls, in steps, for as long as clocks fall due."""
    for step in range(int(SECONDS / STEP.total_seconds())):
        at = first + step * STEP
        await asyncio.sleep((at - datetime.now(UTC)).total_seconds())
        calls = [_call(LEADS + n % CALLED, n, at) for n in _contacts(step, CALLS_A_STEP)]
        await bus.publish([to_record(call, source="ingest") for call in calls])


async def _none_due(engine: AsyncEngine) -> None:
    """Return once all that is due was told."""
    sql = """
        SELECT NOT EXISTS (SELECT FROM handoff.clocks WHERE next_at <= clock_timestamp())
           AND NOT EXISTS (SELECT FROM handoff.outbox)
    """
    await _until(engine, sql)


async def _until(engine: AsyncEngine, question: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while True:
        async with engine.connect() as conn:
            if await conn.scalar(sa.text(question)):
                return
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited in vain for {question}")
        await asyncio.sleep(0.05)


async def _lateness_told(kafka: str, prefix: str, leads: set[str]) -> list[float]:
    """Of each breach of `leads`. Raises RuntimeError unless there is one of each."""
    told: dict[str, float] = {}
    for at, message in await _read(kafka, prefix):
        if isinstance(message, events.ClockBreached) and message.lead in leads:
            told.setdefault(message.lead, at - message.at.timestamp())
    if told.keys() != leads:
        raise RuntimeError(f"{len(told)} breaches were told of {len(leads)}")
    return list(told.values())


async def _read(kafka: str, prefix: str) -> list[tuple[float, events.HandoffMessage]]:
    """Everything on lead.handoffs, with the time at which the bus got it, each partition in order."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, enable_auto_commit=False)
    places = [TopicPartition(prefix + Topic.LEAD_HANDOFFS, partition) for partition in range(PARTITIONS)]
    found: list[tuple[float, events.HandoffMessage]] = []
    await consumer.start()
    try:
        consumer.assign(places)
        await consumer.seek_to_beginning()
        ends = await consumer.end_offsets(places)
        while any([await consumer.position(place) < ends[place] for place in places]):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                found += [(r.timestamp / 1000, _decode(r.value)) for r in records]
    finally:
        await consumer.stop()
    return found


def _decode(value: bytes) -> Any:
    return events.decode(Topic.LEAD_HANDOFFS, value)


# --- shared by two ---


@dataclass(frozen=True)
class Shared:
    """How long it took until all was told, what each process told of it, and records that came twice after a kill."""

    seconds: float
    parts: tuple[int, ...]
    repeated: int


async def sharing(made: Ground, *, processes: int, kill: bool) -> Shared:
    """All leads of `rates` are due at once; `kill`: half-way, the first process is killed.

    Raises RuntimeError unless each warning and each breach was told once, in order.
    """
    prefix = f"by{processes}{'killed' if kill else ''}."
    engine, bus = make_engine(made.database), KafkaBus(made.kafka, prefix=prefix)
    try:
        await bus.create_topics(partitions=PARTITIONS, replication=1)
        await _empty(engine)
        ports = [await asyncio.to_thread(_serve, made, prefix) for _ in range(processes)]
        await _put_back(engine, "fresh")
        started = time.perf_counter()
        if kill:
            await _until(engine, f"SELECT count(*) >= {LEADS // 2} FROM handoff.clocks WHERE outcome = 'breached'")
            _kill(made)
        await _none_due(engine)
        seconds = time.perf_counter() - started
        parts = await asyncio.to_thread(_parts, ports, kill)
        repeated = await _check(made, engine, prefix)
    finally:
        made.stop_servers()
        await bus.close()
        await engine.dispose()
    return Shared(seconds=seconds, parts=parts, repeated=repeated)


def _kill(made: Ground) -> None:
    victim = made.processes.pop(0)
    victim.kill()
    victim.wait(30)


def _parts(ports: Sequence[int], killed: bool) -> tuple[int, ...]:
    """What each process told; the killed one the rest."""
    told = [_fired_by(port) for port in ports[1 if killed else 0 :]]
    return (LEADS * EVENTS_A_CLOCK - sum(told), *told) if killed else tuple(told)


def _fired_by(port: int) -> int:
    text = urllib.request.urlopen(f"http://{HOST}:{port}/metrics", timeout=5).read().decode()
    return next(int(float(line.split()[1])) for line in text.splitlines() if line.startswith("leadpact_clocks_fired"))


async def _check(made: Ground, engine: AsyncEngine, prefix: str) -> int:
    """Each event once in the timeline, and on the topic in the order of its lead; how many records came twice."""
    sql = "SELECT body->>'id' AS id FROM handoff.timeline WHERE type IN ('ClockWarned', 'ClockBreached')"
    async with engine.connect() as conn:
        kept = {row.id for row in await conn.execute(sa.text(sql))}
    read = [message for _, message in await _read(made.kafka, prefix)]
    first = list({message.id: message for message in read}.values())
    once = Counter((m.lead, type(m), getattr(m, "share", 1)) for m in first)
    if len(kept) != LEADS * EVENTS_A_CLOCK or kept != {m.id for m in first} or set(once.values()) != {1}:
        raise RuntimeError(f"{len(kept)} were kept and {len(first)} were told of {LEADS * EVENTS_A_CLOCK}")
    last: dict[str, int] = {}
    for message in first:
        if message.version <= last.get(message.lead, 0):
            raise RuntimeError("a lead's events were told out of order")
        last[message.lead] = message.version
    return len(read) - len(first)
