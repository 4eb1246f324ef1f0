"""A real breach becomes a delivered alert, by real Prometheus and real Alertmanager, and is resolved.

The shipped configuration and rules are what runs. Only what a test must change is changed in the
rendered copies: addresses, the intervals of scraping, evaluation and grouping (1 s), and the
alert's `for` (1 s in place of 1 m; that it is a minute is asserted by deploy/prometheus/tests).

Pauses: between two looks at Prometheus, which has no event to wait on.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from ruamel.yaml import YAML

from services.kpi.app import build
from shared import events
from shared.agreement import Agreements, load
from shared.bus.embedded import EmbeddedBus
from shared.clock import SystemClock
from shared.database import make_engine, migrate, start_embedded
from shared.metrics import CommonMetrics
from shared.web import Parts, Tokens, create_app
from shared.work import to_record
from tests.real import free_port, need_program

pytestmark = pytest.mark.prometheus

DEPLOY = Path(__file__).parents[2] / "deploy"
PATIENCE_S = 60.0
LEAD = "hubspot:1:7"


@pytest.fixture(scope="module")
def programs() -> tuple[str, str]:
    return need_program("prometheus"), need_program("prometheus-alertmanager", "alertmanager")


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory, programs: tuple[str, str]) -> str:
    address = start_embedded(tmp_path_factory.mktemp("alert"))
    migrate(address, "kpi")
    return address


@contextlib.asynccontextmanager
async def serving(app: FastAPI) -> AsyncIterator[str]:
    """The app at an address of its own."""
    sock = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    task = asyncio.create_task(server.serve(sockets=[sock]))
    try:
        yield f"127.0.0.1:{sock.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


@contextlib.asynccontextmanager
async def running(log: Path, *command: str) -> AsyncIterator[None]:
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(*command, stdout=output, stderr=output)
        try:
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()


async def ready(address: str, log: Path) -> None:
    async with httpx.AsyncClient() as client:
        try:
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    with contextlib.suppress(httpx.TransportError):
                        if (await client.get(f"http://{address}/-/ready")).status_code == 200:
                            return
                    await asyncio.sleep(0.1)
        except TimeoutError:
            pytest.fail(f"{address} did not become ready:\n{log.read_text()[-2000:]}")


def receiver_app(heard: asyncio.Queue[tuple[str, dict[str, Any]]]) -> FastAPI:
    app = FastAPI()

    @app.post("/{receiver}")
    async def hear(receiver: str, notice: dict[str, Any]) -> None:
        await heard.put((receiver, notice))

    return app


def rendered(source: Path, target: Path, change: Any) -> Path:
    yaml = YAML(typ="safe")
    content = yaml.load(source)
    change(content)
    with target.open("w") as output:
        yaml.dump(content, output)
    return target


def render_prometheus(folder: Path, *, kpi: str, alertmanager: str) -> Path:
    rules = folder / "rules"
    rules.mkdir()
    shutil.copy(DEPLOY / "prometheus/rules/recording.yml", rules)

    def hurry(content: Any) -> None:
        for group in content["groups"]:
            for rule in group["rules"]:
                rule["for"] = "1s"

    def point(content: Any) -> None:
        content["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        content["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [alertmanager]
        jobs = [job for job in content["scrape_configs"] if job["job_name"] == "kpi"]
        jobs[0]["static_configs"][0]["targets"] = [kpi]
        content["scrape_configs"] = jobs

    rendered(DEPLOY / "prometheus/rules/alerts.yml", rules / "alerts.yml", hurry)
    return rendered(DEPLOY / "prometheus/prometheus.yml", folder / "prometheus.yml", point)


def render_alertmanager(folder: Path, *, receiver: str) -> Path:
    def point(content: Any) -> None:
        content["route"] |= {"group_wait": "1s", "group_interval": "1s"}
        for one in content["receivers"]:
            for webhook in one["webhook_configs"]:
                webhook["url"] = webhook["url"].replace("alerts.example.com", receiver)

    return rendered(DEPLOY / "alertmanager/alertmanager.yml", folder / "alertmanager.yml", point)


@contextlib.asynccontextmanager
async def alertmanager_running(binary: str, folder: Path, *, receiver: str) -> AsyncIterator[str]:
    address, log = f"127.0.0.1:{free_port()}", folder / "alertmanager.log"
    config = render_alertmanager(folder, receiver=receiver)
    arguments = (
        f"--config.file={config}",
        f"--storage.path={folder / 'alertmanager'}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
    )
    async with running(log, binary, *arguments):
        await ready(address, log)
        yield address


@contextlib.asynccontextmanager
async def prometheus_running(binary: str, folder: Path, *, kpi: str, alertmanager: str) -> AsyncIterator[str]:
    address, log = f"127.0.0.1:{free_port()}", folder / "prometheus.log"
    config = render_prometheus(folder, kpi=kpi, alertmanager=alertmanager)
    arguments = (
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        f"--web.listen-address={address}",
    )
    async with running(log, binary, *arguments):
        await ready(address, log)
        yield address


async def scraped(prometheus: str, query: str) -> None:
    """Return once `query` has a result."""
    async with httpx.AsyncClient() as client, asyncio.timeout(PATIENCE_S):
        while True:
            answer = await client.get(f"http://{prometheus}/api/v1/query", params={"query": query})
            if answer.json()["data"]["result"]:
                return
            await asyncio.sleep(0.1)


async def next_notice(heard: asyncio.Queue[tuple[str, dict[str, Any]]], status: str) -> tuple[str, dict[str, Any]]:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            receiver, notice = await heard.get()
            if notice["status"] == status:
                return receiver, notice


def about(kind: type[Any], at: datetime, **more: Any) -> Any:
    said: dict[str, Any] = {"tenant": "hubspot:1", "lead": LEAD, "at": at, "id": events.identity(kind.__name__, at)}
    said |= {"version": 1, "episode": 1, "agreement": "a", "cause": "", "team": "inbound", "priority": "urgent"}
    if issubclass(kind, events.ClockMessage):
        said |= {"clock_id": "c1", "clock": events.ClockKind.FIRST_TOUCH, "due_at": at}
    return kind(**said | more)


async def test_a_breach_becomes_a_delivered_alert_and_its_settling_resolves_it(
    uri: str, tmp_path: Path, programs: tuple[str, str]
) -> None:
    prometheus_binary, alertmanager_binary = programs
    heard: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue()
    registry, engine = CollectorRegistry(), make_engine(uri)
    bus = EmbeddedBus(engine)
    await bus.create_topics(partitions=2, replication=1)
    parts = Parts(
        environ={},
        clock=SystemClock(),
        bus=bus,
        engine=engine,
        agreements=Agreements(load(DEPLOY / "agreement.yaml")),
        registry=registry,
        metrics=CommonMetrics(registry),
        tokens=Tokens([]),
    )

    async def publish(*messages: events.Message) -> None:
        await bus.publish([to_record(message, source="handoff") for message in messages])

    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(engine.dispose)
        stack.push_async_callback(bus.close)
        kpi = await stack.enter_async_context(serving(create_app([build(parts)], parts)))
        receiver = await stack.enter_async_context(serving(receiver_app(heard)))
        alertmanager = await stack.enter_async_context(
            alertmanager_running(alertmanager_binary, tmp_path, receiver=receiver)
        )
        prometheus = await stack.enter_async_context(
            prometheus_running(prometheus_binary, tmp_path, kpi=kpi, alertmanager=alertmanager)
        )
        start = datetime.now(UTC) - timedelta(minutes=10)
        await publish(
            about(events.LeadHandedOff, start, trigger="Asked for a demo", grade="A1", ready_at=start),
            about(events.ClockStarted, start),
        )
        await scraped(prometheus, 'leadpact_clocks_open{team="inbound",priority="urgent",clock="first_touch"} == 1')
        assert heard.empty()

        await publish(about(events.ClockBreached, start + timedelta(minutes=5)))
        who, notice = await next_notice(heard, "firing")
        (alert,) = notice["alerts"]
        assert who == "team-inbound"
        assert (
            alert["labels"].items()
            >= {
                "alertname": "LeadFollowUpOverdue",
                "team": "inbound",
                "priority": "urgent",
                "severity": "critical",
                "runbook": "LeadFollowUpOverdue",
            }.items()
        )
        assert alert["annotations"]["runbook_url"] == "deploy/runbooks/LeadFollowUpOverdue.md"
        assert alert["annotations"]["summary"] == "1 overdue follow-up(s) in team inbound, priority urgent"

        await publish(about(events.ClockSettled, datetime.now(UTC), reason="touched", late_s=300.0))
        who, notice = await next_notice(heard, "resolved")
        assert who == "team-inbound"
        assert notice["alerts"][0]["labels"]["team"] == "inbound"
