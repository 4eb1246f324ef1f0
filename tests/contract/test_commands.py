"""The leadpact command on real parts: real processes, the embedded database and bus, and Kafka."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from services.commands import letters, recorded
from services.commands.letters import Wanted
from services.commands.live import HANDOFFS_SHOWN, Watch
from services.ingest.domain import door
from shared import events, versions
from shared.agreement import Agreement
from shared.agreement.in_force import TakenUp
from shared.bus import Bus, NewRecord, Record
from shared.bus.embedded import EmbeddedBus
from shared.clock import ManualClock
from shared.crm.hubspot import sign_v3
from shared.database import make_engine, migrate
from shared.errors import Broken
from shared.events import ContactChanged, DeadLetter, FormSubmitted, PropertyValue, Topic, identity
from shared.web import Supervisor
from shared.work import to_record
from tests.agreements import SHIPPED, with_parts
from tests.contract.conftest import Engine
from tests.contract.handoff_desk import Desk, call, demo
from tests.real import free_port
from tests.system.fleet import Process, get, wait_for

REPO = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
WITHIN_S = 60.0


# --- what was recorded, on both engines ---


def changed(contact: int, *, at: datetime = NOW) -> ContactChanged:
    lead = f"hubspot:1:{contact}"
    return ContactChanged(id=identity(lead, at), tenant="hubspot:1", lead=lead, at=at, created=True)


def letter(source: str, original: bytes, *, key: str = "", service: str = "scoring") -> DeadLetter:
    fact = identity(source, original, service)
    return DeadLetter(
        id=fact,
        tenant="",
        at=NOW,
        service=service,
        source=source,
        reason="handler_failed" if source in list(Topic) else "bad_event",
        detail="KeyError",
        original=original,
        original_key=key,
    )


async def published(bus: Bus, *messages: events.Message) -> None:
    await bus.publish([to_record(message, source="test") for message in messages])


async def values(bus: Bus, topic: Topic) -> list[tuple[str, bytes]]:
    return [(record.key, record.value) async for record in bus.scan(topic)]


async def test_an_export_holds_every_record_of_a_topic(bus: Bus, tmp_path: Path) -> None:
    await published(bus, *[changed(n) for n in range(20)])
    await bus.publish([NewRecord(topic=Topic.CRM_EVENTS, key="k", value=b"\xff")])
    assert await recorded.export(bus, Topic.CRM_EVENTS, str(tmp_path / "out.jsonl")) == 21
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert {line["value"]["lead"] for line in lines if "value" in line} == {f"hubspot:1:{n}" for n in range(20)}
    assert [line["value_base64"] for line in lines if "value" not in line] == ["/w=="]
    assert len({(line["partition"], line["offset"]) for line in lines}) == 21


async def test_a_file_that_ends_in_gz_is_packed_and_for_its_owner_alone(bus: Bus, tmp_path: Path) -> None:
    await published(bus, changed(1))
    out = tmp_path / "out.jsonl.gz"
    await recorded.export(bus, Topic.CRM_EVENTS, str(out))
    assert json.loads(gzip.decompress(out.read_bytes()))["key"] == "hubspot:1:1"
    assert out.stat().st_mode & 0o077 == 0


def told(path: Path) -> list[dict[str, object]]:
    """What the lines of an export say, but for where on the topic they stood; in the order of each key."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return sorted(
        ({k: v for k, v in line.items() if k not in ("partition", "offset")} for line in lines),
        key=lambda one: one["key"],
    )


async def test_what_was_exported_and_imported_is_exported_as_before(engine: Engine, tmp_path: Path) -> None:
    first, second = tmp_path / "first.jsonl.gz", tmp_path / "second.jsonl"
    bus = engine.open()
    await bus.create_topics(partitions=4, replication=1)
    await published(bus, *[changed(n % 7, at=NOW + timedelta(minutes=n)) for n in range(1_100)])
    await bus.publish([NewRecord(topic=Topic.CRM_EVENTS, key="k", value=b"\xff")])
    await recorded.export(bus, Topic.CRM_EVENTS, str(first))
    other = Engine(engine.name, engine.address)
    try:
        elsewhere = other.open()
        await elsewhere.create_topics(partitions=3, replication=1)
        assert await recorded.put_back(elsewhere, first) == 1_101
        await recorded.export(elsewhere, Topic.CRM_EVENTS, str(second))
    finally:
        await elsewhere.close()
    plain = tmp_path / "plain.jsonl"
    plain.write_bytes(gzip.decompress(first.read_bytes()))
    assert told(second) == told(plain)


async def test_a_file_with_a_broken_line_is_not_imported_at_all(bus: Bus, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    good = recorded.line(Record(topic=Topic.CRM_EVENTS, partition=0, offset=0, key="k", value=b"{}"))
    path.write_bytes(good * 600 + b'{"topic":"crm.events"}\n' + good)
    with pytest.raises(Broken, match=r"events\.jsonl:601: is no line of"):
        await recorded.put_back(bus, path)
    assert await values(bus, Topic.CRM_EVENTS) == []


async def test_an_export_of_a_stretch_holds_what_was_told_then(bus: Bus, tmp_path: Path) -> None:
    await published(bus, *[changed(n, at=NOW + timedelta(hours=n)) for n in range(9)])
    await bus.publish([NewRecord(topic=Topic.CRM_EVENTS, key="k", value=b"\xff")])
    out = tmp_path / "out.jsonl"
    stretch = recorded.Stretch(since=NOW + timedelta(hours=2), until=NOW + timedelta(hours=5))
    assert await recorded.export(bus, Topic.CRM_EVENTS, str(out), stretch) == 3
    assert {line["key"] for line in told(out)} == {"hubspot:1:2", "hubspot:1:3", "hubspot:1:4"}


async def test_letters_are_found_once_each_by_reason_and_by_id(bus: Bus) -> None:
    refused = letter(Topic.CRM_EVENTS, b"a", key="k")
    malformed = letter(door.SOURCE, b"{}", service="ingest")
    await published(bus, refused, malformed, refused)
    assert {one.id for one in await letters.find(bus, Wanted())} == {refused.id, malformed.id}
    assert await letters.find(bus, Wanted(reason="bad_event")) == [malformed]
    assert await letters.find(bus, Wanted(ids=[refused.id])) == [refused]


async def test_what_is_no_letter_in_the_topic_does_not_hide_the_letters(bus: Bus) -> None:
    await bus.publish([NewRecord(topic=Topic.DEAD_LETTERS, key="k", value=b"strange")])
    await published(bus, letter(Topic.CRM_EVENTS, b"a"))
    assert len(await letters.find(bus, Wanted())) == 1


async def test_a_replayed_letter_is_on_its_topic_again_with_its_key_and_bytes(bus: Bus) -> None:
    original = events.encode(changed(7))
    await published(bus, letter(Topic.CRM_EVENTS, original, key="hubspot:1:7"))
    done = await letters.replay(bus, await letters.find(bus, Wanted()), now=NOW)
    assert (done.went, done.refused) == (1, [])
    assert await values(bus, Topic.CRM_EVENTS) == [("hubspot:1:7", original)]


# --- run ---


class Run(Process):
    """`leadpact run` on a data folder of its own, called as nobody configured it."""

    def output(self) -> str:
        return (self.logs / f"{self.name}.log").read_text(errors="replace")

    def said(self, beginning: str) -> list[str]:
        """The first word after `beginning`, each time it was said."""
        lines = [line.strip() for line in self.output().splitlines()]
        return [line.removeprefix(beginning).split()[0] for line in lines if line.startswith(beginning)]

    @property
    def token(self) -> str:
        return self.said("API token")[-1]

    @property
    def data(self) -> Path:
        return self.logs / "data"

    def leads(self) -> set[str]:
        status, body = get(self.port, "/leads?limit=1000", token=self.token)
        return {lead["lead"] for lead in json.loads(body)["leads"]} if status == 200 else set()

    def wait_until_ready(self) -> None:
        wait_for("leadpact run to be ready", self._ready_or_over, within_s=WITHIN_S)

    def _ready_or_over(self) -> bool:
        assert self.popen is not None
        assert self.popen.poll() is None, self.tail()
        return self.ready()

    def wait_until_said(self, text: str, *, times: int) -> None:
        wait_for(f"leadpact run to say {text}", lambda: self.output().count(text) >= times, within_s=WITHIN_S)

    def interrupt(self) -> int:
        """Ctrl-C; its exit status."""
        assert self.popen is not None
        self.popen.send_signal(signal.SIGINT)
        return self.popen.wait(30)


def clean_environ(**more: str) -> dict[str, str]:
    base = {key: value for key, value in os.environ.items() if not key.startswith("LEADPACT_")}
    return {**base, "PYTHONUNBUFFERED": "1", "LEADPACT_AGREEMENT": str(REPO / "deploy" / "agreement.yaml"), **more}


@pytest.fixture
def new_run(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    made: list[Run] = []

    def make(*args: str, **environ: str) -> Run:
        port = free_port()
        call = ["run", "--port", str(port), "--data", str(tmp_path / "data"), *args]
        run = Run(name=f"run{len(made)}", args=call, env=clean_environ(**environ), logs=tmp_path, port=port)
        made.append(run)
        return run

    yield make
    for run in made:
        if run.popen is not None and run.popen.poll() is None:
            run.stop()


def server_is_gone(data: Path) -> bool:
    return not (data / "postgres" / "postmaster.pid").exists()


def test_after_a_kill_the_next_run_has_the_same_secrets_and_leads(new_run: Callable[..., Run]) -> None:
    run = new_run()
    run.start()
    run.wait_until_ready()
    wait_for("a lead to be there", run.leads, within_s=WITHIN_S)
    token, leads = run.token, run.leads()
    run.kill()

    run.start()
    run.wait_until_ready()
    assert run.said("API token") == [token, token]
    assert len(set(run.said("HubSpot secret"))) == 1
    assert leads <= run.leads()
    wait_for("a lead that is new", lambda: run.leads() - leads, within_s=WITHIN_S)
    assert run.stop() == 0
    assert server_is_gone(run.data)  # although the killed process could not say that it needs it no more


def test_a_first_run_that_was_killed_while_it_set_up_does_not_spoil_the_next(new_run: Callable[..., Run]) -> None:
    run = new_run("--no-simulate")
    run.start()
    wait_for("the files of the database to be made", lambda: any(run.data.glob("postgres*")), within_s=WITHIN_S)
    run.kill()

    run.start()
    run.wait_until_said("Starting PostgreSQL", times=2)
    assert run.interrupt() == 0

    run.start()
    run.wait_until_ready()
    assert run.interrupt() == 0
    assert server_is_gone(run.data)


def test_a_signed_webhook_gets_in_and_shows_in_the_metrics(new_run: Callable[..., Run]) -> None:
    run = new_run("--no-simulate")
    run.start()
    run.wait_until_ready()
    event = {
        "eventId": 1,
        "portalId": 62515,
        "subscriptionType": "contact.propertyChange",
        "objectId": 901,
        "propertyName": "recent_conversion_event_name",
        "propertyValue": "Landing: demo-request",
        "occurredAt": int(time.time() * 1000),
    }
    assert post(run.port, json.dumps([event]).encode(), secret="not the secret") == 401
    assert post(run.port, json.dumps([event]).encode(), secret=run.said("HubSpot secret")[-1]) == 202
    wait_for("the lead", lambda: run.leads() == {"hubspot:62515:901"}, within_s=WITHIN_S)
    assert b'leadpact_webhook_events_total{outcome="accepted",source="hubspot"} 1.0' in get(run.port, "/metrics")[1]
    run.wait_until_said("1 leads (", times=1)  # the line of numbers, for where no terminal is
    assert get(run.port, "/leads")[0] == 401


def post(port: int, body: bytes, *, secret: str) -> int:
    url, now = f"http://127.0.0.1:{port}/webhooks/hubspot", int(time.time() * 1000)
    headers = {
        "Content-Type": "application/json",
        "X-HubSpot-Request-Timestamp": str(now),
        "X-HubSpot-Signature-v3": sign_v3(secret, "POST", url, body, now),
    }
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_a_terminal_shows_the_live_view_and_no_logs(tmp_path: Path) -> None:
    terminal, inside = pty.openpty()
    call = [sys.executable, "-m", "services", "run", "--port", "0", "--data", str(tmp_path)]
    environ = clean_environ(TERM="xterm", COLUMNS="120", LINES="50")
    process = subprocess.Popen(call, stdout=inside, stderr=inside, stdin=inside, env=environ, cwd=REPO)
    os.close(inside)
    try:
        said = read_until(terminal, "marketing")
        process.send_signal(signal.SIGINT)
        said += read_until(terminal, "Stopped.")
        assert process.wait(30) == 0
    finally:
        if process.poll() is None:
            process.kill()
        os.close(terminal)
    for text in ("Latest hand-offs", "Clocks", "events", "/docs", "/metrics", "API token", "Ready after"):
        assert text in said
    assert '{"time"' not in said
    assert '"event": "Application startup complete."' in (tmp_path / "leadpact.log").read_text()


def read_until(terminal: int, text: str) -> str:
    """What a terminal shows up to `text`."""
    said, deadline = "", time.monotonic() + WITHIN_S
    while text not in said:
        ready, _, _ = select.select([terminal], [], [], deadline - time.monotonic())
        assert ready, f"{text} was not shown: {said[-2000:]}"
        said += os.read(terminal, 65536).decode(errors="replace")
    return said


# --- what the live view sees ---


@pytest.fixture
async def desk(new_database: Callable[[], str]) -> AsyncIterator[Desk]:
    uri = new_database()
    for service in ("handoff", "kpi"):
        await asyncio.to_thread(migrate, uri, service)
    made = Desk(uri, ManualClock(NOW))
    yield made
    await made.close()


async def test_the_view_counts_leads_by_state_and_has_the_latest_hand_offs_first(desk: Desk) -> None:
    for contact in range(1, 12):
        desk.clock.advance(timedelta(seconds=1))
        await desk.hears(demo(contact, at=desk.clock.now()))
    await desk.hears(call(3, desk.clock.now()))
    numbers = await Watch(desk.parts, Supervisor(desk.parts.metrics)).look()
    assert dict(numbers.states) == {"handed_off": 10, "working": 1}
    assert [one.lead for one in numbers.handoffs[:2]] == ["hubspot:62515:11", "hubspot:62515:10"]
    assert (len(numbers.handoffs), numbers.lacks) == (HANDOFFS_SHOWN, [])


async def test_while_the_database_does_not_answer_the_view_keeps_its_numbers_and_says_so(desk: Desk) -> None:
    watch = Watch(desk.parts, Supervisor(desk.parts.metrics))
    await desk.hears(demo(1))
    before = await watch.look()
    async with desk.engine.begin() as conn:
        await conn.execute(sa.text("ALTER SCHEMA handoff RENAME TO away"))
    after = await watch.look()
    assert (after.states, after.handoffs) == (before.states, before.handoffs)
    assert len(after.lacks) == 1


# --- serve, migrate, simulate ---


@pytest.fixture
def environ(new_database: Callable[[], str], tmp_path: Path) -> dict[str, str]:
    """A database of its own, not yet migrated, and the embedded bus in it."""
    return clean_environ(
        LEADPACT_DATABASE=new_database(),
        LEADPACT_DATA=str(tmp_path / "data"),
        LEADPACT_HUBSPOT_SECRETS="s",
        LEADPACT_HUBSPOT_TOKEN="t",
        LEADPACT_NOTIFY_SECRET="whsec_c2ltdWxhdG9yLXRlc3Qtc2VjcmV0LXNpbXU=",
        LEADPACT_TOKENS=f"{hashlib.sha256(b'token').hexdigest()}:admin:tester",
    )


def leadpact(environ: dict[str, str], *args: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    call = [sys.executable, "-m", "services", *args]
    return subprocess.Popen(call, env=environ, cwd=REPO, stdout=pipe, stderr=pipe, text=True)


@pytest.fixture
def new_service(environ: dict[str, str], tmp_path: Path) -> Iterator[Callable[[str], Process]]:
    made: list[Process] = []

    def make(service: str) -> Process:
        port = free_port()
        name = f"{service}{len(made)}"
        process = Process(
            name=name, args=["serve", service, "--port", str(port)], env=environ, logs=tmp_path, port=port
        )
        made.append(process)
        return process

    yield make
    for process in made:
        if process.popen is not None and process.popen.poll() is None:
            process.stop()


def test_a_service_says_what_it_lacks_until_somebody_migrates(
    environ: dict[str, str], new_service: Callable[[str], Process]
) -> None:
    service = new_service("kpi")
    service.start()
    wait_for("kpi to answer", lambda: get(service.port, "/readyz")[0] == 503, within_s=WITHIN_S)
    lacks = json.loads(get(service.port, "/readyz")[1])["lacks"]
    assert "the schema kpi is not up to date: run leadpact migrate" in lacks
    assert any(lack.startswith("there is no topic crm.events") for lack in lacks)
    migrations = [leadpact(environ, "migrate") for _ in range(3)]  # three at once
    assert [process.wait(60) for process in migrations] == [0, 0, 0], [p.communicate() for p in migrations]
    wait_for("kpi to be ready", service.ready, within_s=WITHIN_S)
    assert service.stop() == 0


def test_a_service_that_cannot_have_its_spool_says_so_and_ends(
    environ: dict[str, str], new_service: Callable[[str], Process]
) -> None:
    first, second = new_service("ingest"), new_service("ingest")
    first.start()
    wait_for("ingest to answer", lambda: get(first.port, "/healthz")[0] == 200, within_s=WITHIN_S)
    second.start()
    assert second.popen is not None
    assert second.popen.wait(WITHIN_S) == 2
    assert second.tail().splitlines()[-1].startswith("leadpact: another process uses the spool in ")
    assert "Traceback" not in second.tail()


def test_a_simulation_that_is_stopped_tells_what_it_did(environ: dict[str, str]) -> None:
    process = leadpact(environ, "simulate", "--api-only")
    assert process.stdout is not None
    assert process.stdout.readline().startswith("Simulated HubSpot at http://127.0.0.1:")
    process.terminate()
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert said.startswith("0 leads, 0 records, 0 notifications received\n")


def test_versions_by_the_command_line(environ: dict[str, str]) -> None:
    uri = environ["LEADPACT_DATABASE"]
    assert outcome(environ, "agreement", "versions") == (0, "")  # nothing is migrated yet
    for service in ("scoring", "kpi"):
        migrate(uri, service)
    own = with_parts(tenant="hubspot:1")
    asyncio.run(acted_under(uri, SHIPPED, own))
    status, said = outcome(environ, "agreement", "versions")
    assert (status, said.splitlines()) == (
        0,
        [
            f"{own.version}  hubspot:1  since 2026-03-02 10:00:00  [scoring, kpi]",
            f"{SHIPPED.version}  all others  since 2026-03-02 09:00:00  [scoring, kpi]",
        ],
    )
    status, said = outcome(environ, "agreement", "versions", "--json")
    assert [(one["tenant"], list(one["services"])) for one in json.loads(said)] == [
        ("hubspot:1", ["scoring", "kpi"]),
        ("", ["scoring", "kpi"]),
    ]
    status, said = outcome(environ, "agreement", "versions", own.version)
    assert Agreement.from_content(said) == own
    assert outcome(environ, "agreement", "versions", "000000000000")[0] == 2


async def acted_under(uri: str, *agreements: Agreement) -> None:
    """An hour after each other, by scoring and by kpi."""
    engine = make_engine(uri)
    for n, agreement in enumerate(agreements):
        at = NOW + timedelta(hours=n)
        for service in ("scoring", "kpi"):
            async with engine.begin() as conn:
                await versions.record(conn, service, [TakenUp(agreement=agreement, at=at)], at)
    await engine.dispose()


def test_letters_by_the_command_line(environ: dict[str, str]) -> None:
    """list finds something (1), replay of what is refused again too (1), show is fine (0)."""
    poison = letter(Topic.CRM_EVENTS, b'{"email":"ada@example.test"}', key="k")

    async def put() -> None:
        bus = EmbeddedBus(environ["LEADPACT_DATABASE"])
        await bus.create_topics(partitions=2, replication=1)
        await published(bus, poison)
        await bus.close()

    asyncio.run(put())
    assert outcome(environ, "dead-letters", "list") == (
        1,
        f"{poison.id}  2026-03-02T09:00:00+00:00  scoring  crm.events  handler_failed  KeyError\n",
    )
    status, shown = outcome(environ, "dead-letters", "show", poison.id, "--json")
    assert (status, json.loads(shown)["original"]) == (0, '{"email":"ada@example.test"}')
    status, said = outcome(environ, "dead-letters", "replay", "--all")
    assert status == 1
    assert said.endswith("0 went again as 0 records, 1 refused again\n")
    assert outcome(environ, "events", "export", "crm.events") == (0, "")


def outcome(environ: dict[str, str], *args: str) -> tuple[int, str]:
    process = leadpact(environ, *args)
    said, _ = process.communicate(timeout=60)
    return process.returncode, said


def test_a_record_travels_by_the_command_line_and_is_tested_with(environ: dict[str, str], tmp_path: Path) -> None:
    """export, import (twice: what is there counts once), and a backtest of what the bus holds then."""
    environ |= {"LEADPACT_HUBSPOT_SECRETS": "s"}
    assert outcome(environ, "migrate")[0] == 0
    lead = "hubspot:1:7"
    form = FormSubmitted(
        id=identity("f"), tenant="hubspot:1", lead=lead, at=NOW + timedelta(minutes=1), form="demo-request"
    )
    chief = (("jobtitle", "CEO"), ("country", "RO"), ("company.numberofemployees", "80"))
    said = tuple(PropertyValue(name=name, value=value, at=NOW) for name, value in chief)
    person = ContactChanged(id=identity("p"), tenant="hubspot:1", lead=lead, at=NOW, created=True, values=said)
    file = tmp_path / "in.jsonl"
    file.write_bytes(
        b"".join(
            recorded.line(Record(topic=Topic.CRM_EVENTS, partition=0, offset=0, key=lead, value=events.encode(one)))
            for one in (person, form)
        )
    )
    for _ in range(2):
        assert outcome(environ, "events", "import", str(file)) == (0, "")
    out = tmp_path / "out.jsonl.gz"
    assert outcome(environ, "events", "export", "crm.events", "--since", "2026-03-02", "--out", str(out)) == (0, "")
    assert len(gzip.decompress(out.read_bytes()).splitlines()) == 4
    new = tmp_path / "new.yaml"
    new.write_text((REPO / "deploy" / "agreement.yaml").read_text().replace("unless: {fit: D}", "unless: {fit: A}"))
    for source in ((), ("--events", str(out))):
        status, said_then = outcome(environ, "agreement", "backtest", str(new), "--json", *source)
        found = json.loads(said_then)
        assert (status, found["record"]["events"]) == (1, 4)
        assert found["handoffs"]["by_trigger"] == {
            "Asked for a demo": {"old": 1, "new": 0},
            "Ready by score": {"old": 0, "new": 1},
        }
    assert outcome(environ, "agreement", "backtest", str(REPO / "deploy" / "agreement.yaml"))[0] == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_backtest_that_is_stopped_leaves_nothing_of_the_record_behind(
    environ: dict[str, str], tmp_path: Path, number: signal.Signals
) -> None:
    pipe, folder = tmp_path / "events.jsonl", tmp_path / "tmp"
    folder.mkdir()
    os.mkfifo(pipe)
    call = ("agreement", "backtest", str(REPO / "deploy" / "agreement.yaml"), "--events", str(pipe))
    process = leadpact({**environ, "TMPDIR": str(folder)}, *call)
    with pipe.open("wb"):  # waits for who reads it; then it reads, and waits for us
        wait_for("the record's folder", lambda: any(folder.iterdir()), within_s=WITHIN_S)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (2, "leadpact: stopped before it was done\n")
    assert not any(folder.iterdir())
