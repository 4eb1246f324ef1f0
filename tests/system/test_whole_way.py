"""The whole way on real parts: thousands of simulated leads in at one end, and the ledger agrees with what came out.

Once in peace and once under fire, on either engine: the embedded one in one process, and Apache
Kafka with PostgreSQL, four processes and a real Prometheus that scrapes them.

Pauses: under fire, processes run on for random times, so that a kill may interrupt anything.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import shutil
import subprocess
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shared.bus.embedded import EmbeddedBus
from shared.bus.kafka import KafkaBus
from shared.crm.simulator.ledger import Ledger
from shared.database import make_engine, start_embedded
from tests.real import REPO, KafkaServer, free_port, need_kafka, need_program, new_database, postgres
from tests.system.fleet import PORTAL, SERVICES, Fleet, fleet, get, wait_for
from tests.system.ledger import Tallies, differences, read_tallies

__all__ = ["new_database", "postgres"]

LEADS = 2_000
LEADS_UNDER_FIRE = 600
KILLS = 24
KAFKA_AWAY_S = 20
HOUR_S = 0.05  # of the stories
BOTH = ["embedded", pytest.param("kafka", marks=pytest.mark.kafka)]
MESSY = ("--duplicates", "0.15", "--disorder", "0.2", "--bad", "0.03", "--failures", "0.02")
PATIENT = ("--max-attempts", "200", "--rate-limit", "100000")
# The agreement that is shipped, with seconds for what takes hours: the rest is as it is.
HURRIED = {
    "first_touch": "{urgent: 1s, A: 1s, B: 2s, default: 2s}",
    "wait_for_reply": "2s",
}


def hurried_agreement(folder: Path) -> Path:
    text = (REPO / "deploy" / "agreement.yaml").read_text()
    for key, value in HURRIED.items():
        text, found = re.subn(rf"^(  {key}: )[^#\n]*", rf"\g<1>{value} ", text, flags=re.MULTILINE)
        assert found == 1
    text, steps = re.subn(r"(channel: \w+, after: )\w+", r"\g<1>1s", text)
    assert steps
    text = re.sub(r"cool_down: \w+", "cool_down: 3s", text)
    path = folder / "agreement.yaml"
    path.write_text(text)
    return path


@contextmanager
def on_engine(engine: str, folder: Path, new_database: Callable[[], str]) -> Iterator[tuple[Fleet, KafkaServer | None]]:
    """The fleet on `engine`, with a Kafka of its own to hurt."""
    agreement = hurried_agreement(folder)
    if engine == "embedded":
        with fleet(folder, agreement=agreement) as made:
            yield made, None
        return
    need_kafka()
    kafka = KafkaServer(folder / "kafka").start()
    try:
        where = {"bus": f"kafka://{kafka.address}", "database": new_database()}
        with fleet(folder, agreement=agreement, **where) as made:
            yield made, kafka
    finally:
        kafka.stop()


def burst(made: Fleet, leads: int, *more: str) -> subprocess.Popen[bytes]:
    """Start the CRM: it ends by itself when all stories are over and everything is acknowledged."""
    simulator = made.simulator(
        *("--mode", "burst", "--leads", str(leads), "--seed", "7", "--hour-s", str(HOUR_S), "--quiet-s", "8"),
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
    wait_for("the stories to be over", over)  # what was handled since may have told more
    made.wait_until_quiet()


async def compared(made: Fleet, kafka: KafkaServer | None) -> tuple[list[str], Tallies]:
    uri = made.env["LEADPACT_DATABASE"]
    if kafka is None:
        uri = start_embedded(made.folder / "data")
    engine = make_engine(uri)
    bus = KafkaBus(kafka.address) if kafka else EmbeddedBus(engine)
    try:
        found = await differences(made.ledger, bus=bus, engine=engine, portal=PORTAL)
        return found, await read_tallies(engine)
    finally:
        await bus.close()
        await engine.dispose()


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


def test_thousands_of_leads_on_the_embedded_engine(tmp_path: Path) -> None:
    with on_engine("embedded", tmp_path, lambda: "") as (made, kafka):
        wait_until_over(made, burst(made, LEADS))
        assert_all_agrees(made, kafka, leads=LEADS)


@pytest.mark.kafka
@pytest.mark.prometheus
def test_thousands_of_leads_over_kafka_with_prometheus_watching(
    tmp_path: Path, new_database: Callable[[], str]
) -> None:
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
    with on_engine(engine, tmp_path, new_database) as (made, kafka):
        crm = burst(made, LEADS_UNDER_FIRE, "--spread-s", "75")
        wait_for("the first webhooks", lambda: made.ledger.exists() and made.ledger.stat().st_size > 100_000)
        for number in range(KILLS):
            victim = made.processes[number % len(made.processes)]
            wait_for(f"{victim.name} to be back", victim.alive, within_s=60)
            pause(chance.uniform(0.1, 1.5))
            victim.kill()
            victim.start()
            if kafka and number == KILLS // 2:
                kafka.stop()
                pause(KAFKA_AWAY_S)
                kafka.start()
        assert sum(process.kills for process in made.processes) >= 20
        assert not settled(made), "the stories were over before the last kill: make them last longer"
        wait_until_over(made, crm)
        assert_all_agrees(made, kafka, leads=LEADS_UNDER_FIRE)


def pause(seconds: float) -> None:
    """Let the outside processes run on: what a kill interrupts must be anything."""
    import select

    select.select([], [], [], seconds)
