"""`make bench`: each figure is a ratio to a ceiling measured in the same run, because machines are noisy.

    python -m bench                 everything, a few minutes
    python -m bench door pipeline   only these: door, pipeline, clocks, firing, memory, calendars, backtest,
                                   conditions, scoring, rescoring

All but the last five need the Kafka of deploy/dev (Java 17, Maven). Prints a table in Markdown, as
docs/performance.md has it.
"""

# ruff: noqa: S603, T201  (a script: it runs our own commands, and prints)

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import psutil
import sqlalchemy as sa
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from bench import backtest, bare, calendars, conditions, firing, rescoring, scoring
from bench.load import HOST, PARTITIONS, SECRET, property_change, request, send
from services.handoff import store
from services.ingest.domain.door import normalise
from shared.bus.kafka import KafkaBus
from shared.database import make_engine, migrate, start_embedded
from shared.events import Topic
from shared.work import to_record

REPO = Path(__file__).resolve().parents[1]
SERVICES = ("ingest", "scoring", "handoff", "kpi")
ROUNDS = 5
CONNECTIONS = 32
REQUESTS = {1: 6_000, 10: 2_000, 100: 400}  # by batch, for each round
LEADS, EVENTS_A_LEAD = 2_000, 10
DEMO = ("recent_conversion_event_name", "Landing: demo-request")
CLOCKS = (1_000, 100_000, 1_000_000)
LOOKS = 400
AIMS = {
    "door": "≥ 0.7",
    "pipeline": "≥ 0.3",
    "clocks": "≤ 1.5",
    "firing": "≥ 30,000/s",
    "late": "p99 ≤ 1 s",
    "memory": "≤ 150 MB",
    "calendars": "≥ 100,000",
    "backtest": "≤ 250 MB",
    "conditions": "< 1 µs",
    "scoring": "≤ 200 µs",
    "rescoring": "≥ 0.5",
    "rescoring memory": "≤ 150 MB",
}


@dataclass
class Row:
    """One line of the table."""

    what: str
    ours: str
    ceiling: str
    ratio: str
    aim: str

    def __str__(self) -> str:
        return f"| {self.what} | {self.ours} | {self.ceiling} | {self.ratio} | {self.aim} |"


@dataclass
class Ground:
    """The real parts that everything runs on."""

    folder: Path
    kafka: str
    database: str
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, *command: str, **environ: str) -> int:
        """Start a server of ours; its port, once it answers."""
        port = _free_port()
        env = os.environ | self.environ() | environ | {"BENCH_PORT": str(port)}
        with (self.folder / "servers.log").open("ab") as log:
            line = [sys.executable, "-m", *(part.replace("{port}", str(port)) for part in command)]
            self.processes.append(subprocess.Popen(line, env=env, stdout=log, stderr=log, cwd=REPO))
        _wait_until_open(port)
        return port

    def environ(self) -> dict[str, str]:
        return {
            "LEADPACT_BUS": f"kafka://{self.kafka}",
            "LEADPACT_DATABASE": self.database,
            "LEADPACT_DATA": str(self.folder / "data"),
            "LEADPACT_AGREEMENT": str(REPO / "deploy" / "agreement.yaml"),
            "LEADPACT_HUBSPOT_SECRETS": SECRET,
            "BENCH_KAFKA": self.kafka,
        }

    def stop_servers(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(30)
        self.processes.clear()


def _script() -> Any:
    spec = importlib.util.spec_from_file_location("leadpact_dev_kafka", REPO / "deploy" / "dev" / "kafka.py")
    if spec is None or spec.loader is None:
        raise RuntimeError("deploy/dev/kafka.py is not there")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _free_port() -> int:
    return int(_script().free_port())


def _wait_until_open(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=2):
            return
        time.sleep(0.1)
    raise RuntimeError(f"nothing answers on port {port}")


@contextlib.contextmanager
def ground() -> Iterator[Ground]:
    """Real Kafka and PostgreSQL in a folder of their own, with all topics and schemas."""
    with tempfile.TemporaryDirectory(prefix="leadpact-bench-") as name:
        folder = Path(name)
        kafka = _script().KafkaServer(folder / "kafka").start()
        try:
            database = start_embedded(folder)
            for service in SERVICES:
                migrate(database, service)
            asyncio.run(_make_topics(kafka.address))
            made = Ground(folder, kafka.address, database)
            try:
                yield made
            finally:
                made.stop_servers()
        finally:
            kafka.stop()


async def _make_topics(kafka: str) -> None:
    bus = KafkaBus(kafka)
    await bus.create_topics(partitions=PARTITIONS, replication=1)
    await bus.close()
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    await admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in (bare.EVENTS, bare.HANDOFFS)])
    await admin.close()


# --- the door ---


def bench_door(made: Ground) -> Iterator[Row]:
    """Ours and the bare one take turns, so that both see the same machine."""
    ours = made.start("services", "serve", "ingest", "--port", "{port}")
    ceiling = made.start("uvicorn", "bench.bare:app", "--port", "{port}", "--no-access-log", "--log-level", "warning")
    for batch, count in REQUESTS.items():
        rates: dict[int, list[float]] = {ours: [], ceiling: []}
        for turn in range(ROUNDS + 1):
            for port in (ours, ceiling):
                rate = asyncio.run(_load(port, batch, count, turn))
                if turn:  # the first warms up
                    rates[port].append(rate)
        ratio = statistics.median(a / b for a, b in zip(rates[ours], rates[ceiling], strict=True))
        mine, bare_rate = statistics.median(rates[ours]), statistics.median(rates[ceiling])
        yield Row(
            f"door, {batch} events a request",
            f"{mine * batch:,.0f} events/s",
            f"{bare_rate * batch:,.0f} events/s",
            f"{ratio:.2f}",
            AIMS["door"],
        )
    made.stop_servers()


async def _load(port: int, batch: int, count: int, turn: int) -> float:
    now_ms = int(time.time() * 1000)
    requests = [
        request(port, [_change(turn, n * batch + k, now_ms) for k in range(batch)]) for n in range(min(count, 200))
    ]
    return (await send(port, requests, total=count, connections=CONNECTIONS)).rate


def _change(turn: int, number: int, now_ms: int) -> dict[str, object]:
    return property_change(1_000 + number % 5_000, "jobtitle", f"CEO {turn} {number}", at_ms=now_ms - number)


# --- the way from a webhook's events to lead.handoffs ---


def bench_pipeline(made: Ground) -> Iterator[Row]:
    """Scoring and hand-off as two processes; the bare loop upserts a row a lead and produces one record.

    Both find the same records on their topic when they begin.
    """
    ceiling, ours = [], []
    for turn in range(3):
        prefix = f"turn{turn}."
        ours.append(_hand_over(made, prefix))
        topic = prefix + Topic.CRM_EVENTS
        ceiling.append(asyncio.run(bare.pipeline(made.kafka, made.database, topic=topic, events=PIPELINE_RECORDS)))
    ratio = statistics.median(a / b for a, b in zip(ours, ceiling, strict=True))
    yield Row(
        f"webhook's events to lead.handoffs, {LEADS:,} leads handed off",
        f"{statistics.median(ours):,.0f} events/s",
        f"{statistics.median(ceiling):,.0f} events/s",
        f"{ratio:.2f}",
        AIMS["pipeline"],
    )


def _hand_over(made: Ground, prefix: str) -> float:
    """From the first look at the events until the last lead is handed off and told; events a second."""
    asyncio.run(_prepare(made, prefix))
    for name in ("scoring", "handoff"):
        made.start("services", "serve", name, "--port", "{port}", LEADPACT_TOPIC_PREFIX=prefix)
    asyncio.run(_until(made, "SELECT count(*) = 2 FROM pg_locks WHERE locktype = 'advisory'"))  # both relays are up
    both = [psutil.Process(process.pid) for process in made.processes]
    for process in both:
        process.suspend()
    asyncio.run(_publish(made, prefix))
    for process in both:
        process.resume()
    started = time.perf_counter()
    asyncio.run(_until(made, HANDED_OFF))
    seconds = time.perf_counter() - started
    made.stop_servers()
    return PIPELINE_RECORDS / seconds


HANDED_OFF = f"""
    SELECT (SELECT count(*) FROM handoff.leads WHERE state = 'handed_off') = {LEADS}
       AND NOT EXISTS (SELECT FROM handoff.outbox)
"""
PIPELINE_RECORDS = LEADS * EVENTS_A_LEAD


async def _prepare(made: Ground, prefix: str) -> None:
    bus, engine = KafkaBus(made.kafka, prefix=prefix), make_engine(made.database)
    await bus.create_topics(partitions=PARTITIONS, replication=1)
    async with engine.begin() as conn:
        for tables in ("scoring.leads, scoring.history", "handoff.leads, handoff.clocks, handoff.timeline"):
            service = tables.partition(".")[0]
            await conn.execute(sa.text(f"TRUNCATE {tables}, {service}.inbox, {service}.outbox"))
    await bus.close()
    await engine.dispose()


async def _publish(made: Ground, prefix: str) -> None:
    """The events of LEADS leads that each ask for a demo in the end: that one makes two records."""
    bus, now = KafkaBus(made.kafka, prefix=prefix), datetime.now(UTC)
    now_ms, events = int(now.timestamp() * 1000), []
    for step in range(EVENTS_A_LEAD - 1):
        name, value = {0: ("jobtitle", "VP Sales"), EVENTS_A_LEAD - 2: DEMO}.get(step, (f"property_{step}", str(step)))
        events += [property_change(lead + 1, name, value, at_ms=now_ms - 100_000 + step) for lead in range(LEADS)]
    for start in range(0, len(events), 1_000):
        body = msgspec.json.encode(events[start : start + 1_000])
        await bus.publish([to_record(m, source="ingest") for m in normalise(body, received_at=now).messages])
    await bus.close()


async def _until(made: Ground, question: str) -> None:
    """Return once the database answers true."""
    engine = make_engine(made.database, pool_size=1)
    deadline = time.monotonic() + 120
    async with engine.connect() as conn:
        while not await conn.scalar(sa.text(question)):
            await conn.rollback()
            if time.monotonic() > deadline:
                raise RuntimeError(f"waited in vain for {question}")
            await asyncio.sleep(0.05)
    await engine.dispose()


# --- clocks ---


def bench_clocks(made: Ground) -> Iterator[Row]:
    """Looking for the next due clock, and for due ones when none is, however many are open."""
    times = {many: asyncio.run(_looks(made, many)) for many in CLOCKS}
    first = times[CLOCKS[0]]
    for many, seconds in times.items():
        yield Row(
            f"looking for due clocks among {many:,}",
            f"{seconds * 1e6:,.0f} µs",
            f"{first * 1e6:,.0f} µs among {CLOCKS[0]:,}",
            f"{seconds / first:.2f}",
            AIMS["clocks"],
        )


async def _looks(made: Ground, many: int) -> float:
    engine, now = make_engine(made.database), datetime.now(UTC)
    fill = sa.text("""
        INSERT INTO handoff.clocks (id, lead, kind, team, priority, started_at, due_at, next_at)
        SELECT n::text, 'hubspot:1:' || n, 'first_touch', 'inbound', 'urgent', CAST(:now AS timestamptz),
               CAST(:due AS timestamptz) + n * interval '1 s', CAST(:due AS timestamptz) + n * interval '1 s'
        FROM generate_series(1, :many) AS n
    """)
    async with engine.begin() as conn:
        await conn.execute(sa.text("TRUNCATE handoff.clocks"))
        await conn.execute(fill, {"now": now, "due": now + timedelta(hours=1), "many": many})
    async with engine.connect() as conn:
        vacuum = await conn.execution_options(isolation_level="AUTOCOMMIT")
        await vacuum.execute(sa.text("VACUUM ANALYZE handoff.clocks"))
    took = []
    async with engine.connect() as conn:
        for _ in range(LOOKS):
            started = time.perf_counter()
            await store.next_due(conn)
            await store.claim_due(conn, now, 500)
            took.append(time.perf_counter() - started)
    await engine.dispose()
    return statistics.median(took)


# --- firing clocks ---


def bench_firing(made: Ground) -> Iterator[Row]:
    """Due clocks told: at full speed, beside other work among many open ones, and by two processes."""
    found, leads = asyncio.run(firing.rates(made)), f"{firing.LEADS:,}"
    ours, ceiling = f"{found.breached:,.0f} clocks/s", f"{found.bare:,.0f} clocks/s"
    yield Row(f"{leads} clocks due at once", ours, ceiling, f"{found.ratio:.2f}", AIMS["firing"])
    yield Row("for each second of the process's own time", f"{found.cpu:,.0f} clocks/s", "", "", "")
    yield Row(f"{leads} clocks, their two warnings due as well", f"{found.events:,.0f} events/s", "", "", "")
    for many in firing.OPEN:
        late = asyncio.run(firing.lateness(made, many))
        ours = f"p50 {late.p50 * 1e3:,.0f} ms, p99 {late.p99 * 1e3:,.0f} ms, {late.within_a_second:.1%} within 1 s"
        yield Row(f"from due to told, {many:,} open", ours, "", "", AIMS["late"])
    yield from _shared_rows(made, f"{leads} clocks with their warnings")


def _shared_rows(made: Ground, what: str) -> Iterator[Row]:
    alone = asyncio.run(firing.sharing(made, processes=1, kill=False)).seconds
    yield Row(f"{what}, due and told by one process", f"{alone:.1f} s", "", "", "")
    for kill in (False, True):
        two = asyncio.run(firing.sharing(made, processes=2, kill=kill))
        parts = " + ".join(f"{part:,}" for part in two.parts)
        name = f"by two, one killed half-way ({two.repeated:,} repeated on the topic)" if kill else "by two"
        yield Row(f"{name}: {parts}", f"{two.seconds:.1f} s", f"{alone:.1f} s by one", f"{alone / two.seconds:.2f}", "")


# --- memory ---


def bench_memory(made: Ground) -> Iterator[Row]:
    """Resident memory of each service after the door took 20,000 events and all was handled."""
    ports = {name: made.start("services", "serve", name, "--port", "{port}") for name in SERVICES}
    asyncio.run(_load(ports["ingest"], 100, 200, 99))
    for name, process in zip(SERVICES, made.processes, strict=True):
        _wait_until_caught_up(ports[name])
        resident = psutil.Process(process.pid).memory_info().rss / 1e6
        yield Row(f"resident memory of {name}", f"{resident:,.0f} MB", "", "", AIMS["memory"])
    made.stop_servers()


def _wait_until_caught_up(port: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        text = urllib.request.urlopen(f"http://{HOST}:{port}/metrics", timeout=5).read().decode()
        lines = [line for line in text.splitlines() if line.startswith(("leadpact_consumer_lag{", "leadpact_outbox"))]
        if len(lines) > 1 and all(line.endswith(" 0.0") for line in lines):
            return
        time.sleep(0.5)
    raise RuntimeError("a service does not catch up")


# --- working time ---


def bench_calendars() -> Iterator[Row]:
    """A year's working time, once its tables are made, against counting its seconds (told from a counted week)."""
    found = calendars.measure()
    for what, seconds in (("from one moment to another", found.between), ("added to a moment", found.add)):
        yield Row(
            f"a year's working time {what}",
            f"{seconds * 1e6:.1f} µs",
            f"{found.counted:,.0f} s by seconds",
            f"{found.counted / seconds:,.0f}",
            AIMS["calendars"],
        )
    yield Row("making a calendar's table of a year, once", f"{found.table * 1e3:.1f} ms", "", "", "")


def bench_conditions() -> Iterator[Row]:
    """All conditions of fit and hand-off, asked of simulated leads, against one look-up and comparison each."""
    for found in conditions.measure():
        yield Row(
            f"one of {found.conditions} conditions of {found.what}, asked of a lead",
            f"{found.ours * 1e9:.0f} ns",
            f"{found.bare * 1e9:.0f} ns for a bare comparison",
            f"{found.ours / found.bare:.1f}",
            AIMS["conditions"],
        )


def bench_scoring() -> Iterator[Row]:
    """Simulated leads' events through scoring's own handlers, in memory, against one loop that keeps them."""
    found = scoring.measure()
    yield Row(
        f"scoring of {found.events:,} events, {found.acts:.0%} of them acts of interest",
        f"{found.ours * 1e6:.0f} µs an event",
        f"{found.bare * 1e6:.1f} µs",
        f"{found.ours / found.bare:.0f}",
        AIMS["scoring"],
    )


# --- the backtest ---


def bench_backtest() -> Iterator[Row]:
    """A made-up record of two sizes, both agreements, the whole command; the memory must not grow with the record."""
    with tempfile.TemporaryDirectory(prefix="leadpact-bench-") as folder:
        for many in backtest.SIZES:
            found = backtest.measure(Path(folder), many)
            ours, bare_rate = f"{found.ours:,.0f} events/s", f"{found.bare:,.0f} events/s"
            yield Row(f"backtest of {many:,} events", ours, bare_rate, f"{found.ratio:.4f}", "")
            yield Row("its largest process", f"{found.peak_mb:,.0f} MB", "", "", AIMS["backtest"])


# --- stored leads by another agreement ---


def bench_rescoring() -> Iterator[Row]:
    """Stored leads judged again by another agreement, against a bare loop that reads, judges and writes them."""
    for many, ours, ceiling in rescoring.measure():
        yield Row(
            f"{many:,} stored leads judged again, {ours.told:.0%} told",
            f"{ours.rate:,.0f} leads/s",
            f"{ceiling.rate:,.0f} leads/s",
            f"{ours.rate / ceiling.rate:.2f}",
            AIMS["rescoring"],
        )
        yield Row("peak memory of the process", f"{ours.peak_mb:,.0f} MB", "", "", AIMS["rescoring memory"])


BENCHES = {
    "door": bench_door,
    "pipeline": bench_pipeline,
    "clocks": bench_clocks,
    "firing": bench_firing,
    "memory": bench_memory,
}
# These need no Kafka.
ALONE = {
    "calendars": bench_calendars,
    "backtest": bench_backtest,
    "conditions": bench_conditions,
    "scoring": bench_scoring,
    "rescoring": bench_rescoring,
}


def _on_ground(name: str) -> Iterator[Row]:
    with ground() as made:
        yield from BENCHES[name](made)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", nargs="*", help=f"some of {', '.join(BENCHES | ALONE)}; all when none is named")
    which = parser.parse_args().which or list(BENCHES | ALONE)
    if strange := set(which) - BENCHES.keys() - ALONE.keys():
        parser.error(f"there is no {', '.join(strange)}")
    print("| what | ours | ceiling | ratio | aim |\n|---|---|---|---|---|")
    for name in which:
        for row in ALONE[name]() if name in ALONE else _on_ground(name):
            print(row, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
