"""The whole way on real parts: a thousand simulated leads in at one end, and the ledger agrees with what came out.

Once in peace and once under fire, on either engine: the embedded one in one process, and Apache
Kafka with PostgreSQL, four processes and a real Prometheus that scrapes them.

Pauses: under fire, processes run on for random times, so that a kill may interrupt anything.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import re
import shutil
import subprocess
import urllib.parse
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.bus import Bus, NewRecord
from shared.bus.embedded import EmbeddedBus
from shared.bus.kafka import KafkaBus
from shared.crm.simulator.ledger import Ledger
from shared.database import make_engine, start_embedded
from shared.events import Topic
from tests.real import REPO, KafkaServer, free_port, need_kafka, need_program, new_database, postgres
from tests.system.fleet import PORTAL, SERVICES, Fleet, fleet, get, wait_for
from tests.system.ledger import Tallies, differences, read_tallies

__all__ = ["new_database", "postgres"]

LEADS = 1_000
LEADS_UNDER_FIRE = 600
SPREAD_S = 60
KILLS = {1: 16, 4: 24}  # by the number of processes: one takes everything with it, and is longer in coming back
KAFKA_AWAY_S = 20
MISSED_AFTER_S = 2.0  # a member that was killed, so that its group is at work again when the next kill comes
# By the number of processes: each has work under way again when its turn comes.
BETWEEN_KILLS_S = {1: (0.1, 1.5), 4: (0.4, 2.4)}
NOTICES_BEFORE = 50  # the first kill, so that it hits a fleet at work
CLOCKS_OPEN = 10  # at least, when Kafka goes away: they fall due meanwhile
HOUR_S = 0.05  # of the stories
BOTH = ["embedded", pytest.param("kafka", marks=pytest.mark.kafka)]
MESSY = ("--duplicates", "0.15", "--disorder", "0.2", "--bad", "0.03", "--failures", "0.02")
PATIENT = ("--max-attempts", "200", "--rate-limit", "100000")
# The agreement that is shipped, with seconds for what takes hours, day and night: the rest is as it is.
HURRIED = {
    "accept_within": "{urgent: 2s, default: 4s}",
    "if_not_accepted": "reassign",
    "first_touch": "{urgent: 1s, A: 1s, B: 2s, default: 2s}",
    "after": "1s",
    "wait_for_reply": "2s",
    "decide_within": "6s",
}
# Under fire some clocks are always open.
LESS_HURRIED = HURRIED | {
    "accept_within": "{urgent: 4s, default: 8s}",
    "first_touch": "{urgent: 3s, A: 3s, B: 4s, default: 6s}",
    "after": "3s",
    "wait_for_reply": "4s",
    "decide_within": "16s",
}


def hurried_agreement(folder: Path, pace: Mapping[str, str]) -> Path:
    text = (REPO / "deploy" / "agreement.yaml").read_text()
    for key in pace.keys() - {"after"}:
        text, found = re.subn(rf"^(  {key}: )[^#\n]*", rf"\g<1>{pace[key]} ", text, flags=re.MULTILINE)
        assert found == 1
    text, steps = re.subn(r"(channel: \w+, after: )\w+", rf"\g<1>{pace['after']}", text)
    assert steps
    text = re.sub(r"cool_down: \w+", "cool_down: 3s", text)
    text = text.replace("mon-fri: 08:00-18:00", "mon-sun: 00:00-24:00")
    text = text.replace("warn_at: [50%, 80%]", "warn_at: [50%]")
    text = re.sub(r"breach \+ \w+", "breach + 1s", text)
    path = folder / "agreement.yaml"
    path.write_text(text)
    return path


@contextmanager
def on_engine(
    engine: str,
    folder: Path,
    new_database: Callable[[], str],
    *,
    pace: Mapping[str, str] = HURRIED,
    missed_after_s: float | None = None,
) -> Iterator[tuple[Fleet, KafkaServer | None]]:
    """The fleet on `engine`, with a Kafka of its own to hurt."""
    agreement = hurried_agreement(folder, pace)
    if engine == "embedded":
        with fleet(folder, agreement=agreement, missed_after_s=missed_after_s) as made:
            yield made, None
        return
    need_kafka()
    kafka = KafkaServer(folder / "kafka").start()
    try:
        where = {"bus": f"kafka://{kafka.address}", "database": new_database()}
        with fleet(folder, agreement=agreement, missed_after_s=missed_after_s, **where) as made:
            yield made, kafka
    finally:
        kafka.stop()


def burst(made: Fleet, leads: int, *more: str) -> subprocess.Popen[bytes]:
    """Start the CRM: it ends by itself when all stories are over and everything is acknowledged."""
    simulator = made.simulator(
        *("--mode", "burst", "--leads", str(leads), "--seed", "7", "--hour-s", str(HOUR_S), "--quiet-s", "5"),
        *("--port", str(made.simulator_port), "--portal", str(PORTAL), "--ledger", str(made.ledger)),
        *("--target", f"http://127.0.0.1:{made.door}/webhooks/hubspot", "--stay"),
        *MESSY,
        *PATIENT,
        *more,
    )
    simulator.start()
    assert simulator.popen is not None
    return simulator.popen


def settled(made: Fleet) -> bool:
    lines = made.ledger.read_bytes()[-200:].splitlines() if made.ledger.exists() else []
    return bool(lines) and lines[-1] == b'{"line":"settled"}'


def wait_until_over(made: Fleet, crm: subprocess.Popen[bytes]) -> None:
    """All is acknowledged and handled, and stays so."""

    def over() -> bool:
        assert crm.poll() is None, made.extra[0].tail()
        return settled(made)

    wait_for("the stories to be over", over)
    made.wait_until_quiet()
    wait_for("every clock to have ended", lambda: made.metric("kpi", "leadpact_clocks_open") == 0)
    wait_for("the stories to be over", over)  # what was handled since may have told more
    made.wait_until_quiet()


@asynccontextmanager
async def parts_of(made: Fleet, kafka: KafkaServer | None) -> AsyncIterator[tuple[AsyncEngine, Bus]]:
    """The fleet's own database and bus."""
    uri = made.env["LEADPACT_DATABASE"]
    if kafka is None:
        uri = start_embedded(made.folder / "data")
    engine = make_engine(uri)
    bus = KafkaBus(kafka.address) if kafka else EmbeddedBus(engine)
    try:
        yield engine, bus
    finally:
        await bus.close()
        await engine.dispose()


async def compared(made: Fleet, kafka: KafkaServer | None) -> tuple[list[str], Tallies]:
    async with parts_of(made, kafka) as (engine, bus):
        found = await differences(made.ledger, bus=bus, engine=engine, portal=PORTAL)
        return found, await read_tallies(engine)


def assert_all_agrees(made: Fleet, kafka: KafkaServer | None, *, leads: int) -> Tallies:
    account = Ledger.read(made.ledger)
    assert len(account.of("life")) == leads
    assert not account.given_up
    found, tallies = asyncio.run(compared(made, kafka))
    assert not found, f"{len(found)} differences:\n" + "\n".join(found[:40])
    for metric in ("handoffs_total", "contact_attempts_total", "returns_total", "lead_stage_entries_total"):
        assert sum(v for (name, _), v in tallies.items() if name == f"leadpact_{metric}") > 0, metric
    ended = {labels[-1] for (name, labels), v in tallies.items() if name == "leadpact_clocks_ended_total" and v}
    assert ended >= {"met", "breached", "excused"}
    return tallies


@contextmanager
def prometheus(made: Fleet) -> Iterator[int]:
    """A real Prometheus with the shipped configuration, scraping the fleet; its port."""
    binary, port = need_program("prometheus"), free_port()
    folder = made.folder / "prometheus"
    shutil.copytree(REPO / "deploy" / "prometheus", folder)
    config = folder / "prometheus.host.yml"
    config.write_text(config.read_text().replace("_interval: 10s", "_interval: 1s"))
    (folder / "targets").mkdir()
    for service in SERVICES:
        target = [{"targets": [f"127.0.0.1:{made.ports()[service]}"]}]
        (folder / "targets" / f"{service}.json").write_text(json.dumps(target))
    command = [binary, f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
    try:
        wait_for("Prometheus to be ready", lambda: get(port, "/-/ready")[0] == 200, within_s=60)
        yield port
    finally:
        process.terminate()
        process.wait(30)


def ask(port: int, query: str) -> dict[tuple[str, ...], float]:
    """The answer of Prometheus, by the values of the labels in the order of their names."""
    _, body = get(port, f"/api/v1/query?query={urllib.parse.quote(query)}")
    rows = json.loads(body)["data"]["result"]
    return {tuple(v for _, v in sorted(row["metric"].items())): float(row["value"][1]) for row in rows}


def test_a_thousand_leads_on_the_embedded_engine(tmp_path: Path) -> None:
    with on_engine("embedded", tmp_path, lambda: "") as (made, kafka):
        wait_until_over(made, burst(made, LEADS))
        assert_all_agrees(made, kafka, leads=LEADS)


@pytest.mark.kafka
@pytest.mark.prometheus
def test_a_thousand_leads_over_kafka_with_prometheus_watching(tmp_path: Path, new_database: Callable[[], str]) -> None:
    with on_engine("kafka", tmp_path, new_database) as (made, kafka), prometheus(made) as port:
        wait_until_over(made, burst(made, LEADS))
        tallies = assert_all_agrees(made, kafka, leads=LEADS)
        counted = {labels: v for (name, labels), v in tallies.items() if name == "leadpact_handoffs_total"}
        shown = "sum by (trigger, team) (max without (instance) (leadpact_handoffs_total)) > 0"
        wait_for(
            "Prometheus to have scraped the last of it",
            lambda: {(trigger, team): v for (team, trigger), v in ask(port, shown).items()} == counted,
            within_s=30,
        )
        assert set(ask(port, "sum by (job) (up) == 1")) == {(name,) for name in SERVICES}
        assert ask(port, "sum(leadpact_webhook_events_total{outcome='accepted'})")[()] > LEADS


@pytest.mark.parametrize("engine", BOTH)
def test_nothing_is_lost_or_doubled_when_services_are_killed_and_kafka_goes_away(
    engine: str, tmp_path: Path, new_database: Callable[[], str]
) -> None:
    chance = random.Random(11)
    with on_engine(engine, tmp_path, new_database, pace=LESS_HURRIED, missed_after_s=MISSED_AFTER_S) as (made, kafka):
        crm = burst(made, LEADS_UNDER_FIRE, "--spread-s", str(SPREAD_S))
        wait_for("the first notices", lambda: notices(made) > NOTICES_BEFORE)
        kills = KILLS[len(made.processes)]
        kill(made, chance, kills // 2)
        if kafka:
            lose_kafka_for_a_while(made, kafka)
        kill(made, chance, kills - sum(process.kills for process in made.processes))
        assert not settled(made), "the stories were over before the last kill: make them last longer"
        asyncio.run(told_again(made, kafka))
        wait_until_over(made, crm)
        assert_all_agrees(made, kafka, leads=LEADS_UNDER_FIRE)


def kill(made: Fleet, chance: random.Random, times: int) -> None:
    """Kill processes in turn, each at a random moment, and start them again."""
    for victim in itertools.islice(itertools.cycle(made.processes), times):
        wait_for(f"{victim.name} to be back", victim.alive, within_s=120)
        pause(chance.uniform(*BETWEEN_KILLS_S[len(made.processes)]))
        victim.kill()
        victim.start()


def lose_kafka_for_a_while(made: Fleet, kafka: KafkaServer) -> None:
    """Stop Kafka while clocks are open, kill each service once while it is away, and start it again.

    What falls due meanwhile is decided and told to the reps, and has to wait in the outbox.
    """
    wait_for("clocks to be open", lambda: made.metric("kpi", "leadpact_clocks_open") >= CLOCKS_OPEN)
    kafka.stop()
    before = notices(made, "ClockBreached")
    for victim in made.processes:
        pause(KAFKA_AWAY_S / len(made.processes))
        victim.kill()
        victim.start()
    assert notices(made, "ClockBreached") > before, "no clock fell due while Kafka was away: nothing could be lost"
    kafka.start()


async def told_again(made: Fleet, kafka: KafkaServer | None) -> None:
    """Publish all of lead.handoffs once more, as a relay does that is killed before it deletes its rows.

    The kills may or may not have hit one at that very moment.
    """
    async with parts_of(made, kafka) as (_, bus):
        told = [r async for r in bus.scan(Topic.LEAD_HANDOFFS)]
        await bus.publish([NewRecord(topic=r.topic, key=r.key, value=r.value, headers=r.headers) for r in told])


def notices(made: Fleet, kind: str = "") -> int:
    """How many notices the reps have had so far, of one kind or of all."""
    said = f'"kind":"notified","type":"{kind}'.encode()
    return made.ledger.read_bytes().count(said) if made.ledger.exists() else 0


def pause(seconds: float) -> None:
    """Let the outside processes run on: what a kill interrupts must be anything."""
    import select

    select.select([], [], [], seconds)
