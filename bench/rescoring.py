"""Stored leads judged again by another agreement: how many a second, and in how much memory.

Each measurement is a process of its own (`python -m bench.rescoring ours|bare DATABASE LEADS`), so
that its peak memory is that of the work alone.
"""

# ruff: noqa: S603, T201  (it runs itself, and prints)

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import asyncpg
import msgspec
from prometheus_client import CollectorRegistry

from bench.load import PORTAL
from services.scoring.domain import lead as leads
from services.scoring.domain.lead import Lead
from services.scoring.domain.score import scorer_of
from services.scoring.metrics import ScoringMetrics
from services.scoring.rescoring import LEADS_PER_BATCH, Rescoring
from services.scoring.worker import worker
from shared.agreement import Agreement, Agreements, load
from shared.bus.embedded import EmbeddedBus
from shared.clock import ManualClock
from shared.database import make_engine, migrate, start_embedded
from shared.events import ContactChanged, PropertyValue, encode, identity
from shared.metrics import CommonMetrics
from shared.work import Work

REPO: Final = Path(__file__).resolve().parents[1]
SHIPPED: Final = REPO / "deploy" / "agreement.yaml"
TENANT: Final = f"hubspot:{PORTAL}"
NOW: Final = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
LEADS: Final = (100_000, 1_000_000)
BARE_LEADS: Final = 100_000
KINDS: Final = 1_000  # different leads; all others are like one of them
TITLES: Final = ("CEO", "Sales Manager", "Engineer", "Consultant")
COUNTRIES: Final = ("RO", "DE", "US")
PATHS: Final = ("/pricing", "/blog/a", "/customers/b", "/jobs")
COLUMNS: Final = ("lead", "state", "grade", "version", "agreement", "updated_at")


@dataclass(frozen=True)
class Measured:
    """Leads a second, peak resident memory, and which share of the leads was told."""

    rate: float
    peak_mb: float
    told: float


def _agreements() -> tuple[Agreement, Agreement]:
    """The one that judged the leads, and the one that is in force: a decision maker is worth less by it."""
    shipped = load(SHIPPED)
    fit = shipped.qualification.fit
    less = fit.role["decision_maker"].model_copy(update={"points": 35})
    changed = fit.model_copy(update={"role": {**fit.role, "decision_maker": less}})
    qualification = shipped.qualification.model_copy(update={"fit": changed})
    said = {field.alias or name: getattr(shipped, name) for name, field in Agreement.model_fields.items()}
    return shipped, Agreement.model_validate({**said, "qualification": qualification})


# --- the leads ---


def _lead(n: int, agreement: Agreement) -> Lead:
    """A person with six properties, eight visits and a form, told last a day ago."""
    at = NOW - timedelta(days=1)
    said = {
        "jobtitle": TITLES[n % len(TITLES)],
        "country": COUNTRIES[n % len(COUNTRIES)],
        "company.numberofemployees": str(n % 900),
        "email": f"lead-{n}@example.test",
        "firstname": f"Ada {n}",
        "company": f"Company {n}",
    }
    made = leads.with_values(Lead(), [PropertyValue(name=name, value=value, at=at) for name, value in said.items()])
    for visit in range(8):
        when = leads.seconds(at - timedelta(days=(n + visit) % 20))
        made = leads.with_page(made, identity(n, visit), when, f"https://x.example{PATHS[(n + visit) % len(PATHS)]}")
    made = leads.with_form(made, identity(n, "form"), leads.seconds(at), "ebook" if n % 3 else "demo-request", "")
    cause = ContactChanged(id="bench", tenant=TENANT, lead=f"{TENANT}:{n}", at=at, values=())
    return scorer_of(agreement).conclude(Lead(), leads.seen(made, leads.seconds(at)), cause, NOW)[0]


async def _fill(database: str, many: int) -> None:
    """All leads, as the first agreement judged them."""
    before, _ = _agreements()
    kinds = [msgspec.msgpack.encode(_lead(n, before)) for n in range(KINDS)]
    rows = ((f"{TENANT}:{n}", kinds[n % KINDS], "B2", 1, before.version, NOW) for n in range(1, many + 1))
    connection = await asyncpg.connect(database)
    try:
        await connection.execute("TRUNCATE scoring.leads, scoring.outbox, scoring.agreements")
        await connection.copy_records_to_table("leads", schema_name="scoring", records=rows, columns=COLUMNS)
        await connection.execute("VACUUM ANALYZE scoring.leads")
    finally:
        await connection.close()


# --- ours, in a process of its own ---


async def _ours(database: str) -> tuple[float, int]:
    """Seconds, and messages told."""
    _, after = _agreements()
    agreements, metrics = Agreements(after), ScoringMetrics(CollectorRegistry())
    engine, bus = make_engine(database), EmbeddedBus(database)
    work: Work[Lead] = Work(
        worker(metrics),
        engine=engine,
        bus=bus,
        clock=ManualClock(NOW),
        agreements=agreements,
        metrics=CommonMetrics(CollectorRegistry()),
    )
    task = Rescoring(work, engine=engine, agreements=agreements, metrics=metrics)
    started = time.perf_counter()
    while await task.step():
        pass
    seconds = time.perf_counter() - started
    await bus.close()
    await engine.dispose()
    return seconds, await _count(database, "scoring.outbox")


async def _count(database: str, table: str) -> int:
    connection = await asyncpg.connect(database)
    try:
        return int(await connection.fetchval(f"SELECT count(*) FROM {table}"))
    finally:
        await connection.close()


# --- the ceiling ---


async def _bare(database: str) -> tuple[float, int]:
    """Read, decode, judge, encode, write, 200 leads a transaction, by key; none of the promises' bookkeeping."""
    _, after = _agreements()
    connection = await asyncpg.connect(database)
    last, done, started = "", 0, time.perf_counter()
    while some := await _bare_batch(connection, after, last):
        last, done = some[-1], done + len(some)
    seconds = time.perf_counter() - started
    await connection.close()
    return seconds, await _count(database, "scoring.outbox")


async def _bare_batch(connection: Any, agreement: Agreement, last: str) -> Sequence[str]:
    scorer, decode = scorer_of(agreement), msgspec.msgpack.Decoder(Lead).decode
    async with connection.transaction():
        rows = await connection.fetch(
            "SELECT lead, state FROM scoring.leads WHERE lead > $1 ORDER BY lead LIMIT $2 FOR UPDATE",
            last,
            LEADS_PER_BATCH,
        )
        judged = [(row["lead"], *scorer.rejudge(decode(row["state"]), row["lead"], NOW)) for row in rows]
        await connection.execute(
            "UPDATE scoring.leads l SET state = t.state, agreement = $3 "
            "FROM unnest($1::text[], $2::bytea[]) AS t(lead, state) WHERE l.lead = t.lead",
            [key for key, _, _ in judged],
            [msgspec.msgpack.encode(state) for _, state, _ in judged],
            agreement.version,
        )
        told = [(key, encode(message)) for key, _, message in judged if message]
        await connection.execute(
            "INSERT INTO scoring.outbox (topic, key, value, headers) "
            "SELECT 'lead.scores', key, value, '{}' FROM unnest($1::text[], $2::bytea[]) AS t(key, value)",
            [key for key, _ in told],
            [value for _, value in told],
        )
    return [row["lead"] for row in rows]


# --- measuring ---


def measure() -> Iterator[tuple[int, Measured, Measured]]:
    """For so many leads: ours, and the bare loop over `BARE_LEADS` of them, one after the other."""
    with tempfile.TemporaryDirectory(prefix="leadpact-bench-") as name:
        database = start_embedded(Path(name))
        migrate(database, "scoring")
        for many in LEADS:
            yield many, _measured("ours", database, many), _measured("bare", database, min(many, BARE_LEADS))


def _measured(which: str, database: str, many: int) -> Measured:
    asyncio.run(_fill(database, many))
    command = [sys.executable, "-m", "bench.rescoring", which, database, str(many)]
    found = subprocess.run(command, cwd=REPO, check=True, capture_output=True, text=True)
    return Measured(**json.loads(found.stdout))


def main() -> None:
    which, database, many = sys.argv[1:]
    seconds, told = asyncio.run({"ours": _ours, "bare": _bare}[which](database))
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(json.dumps({"rate": int(many) / seconds, "peak_mb": peak_mb, "told": told / int(many)}))


if __name__ == "__main__":
    main()
