"""The door on both engines: 2xx only for what is durable, refusals that say why, and the spool when the bus is away."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from services.ingest import door as door_module
from services.ingest.app import build
from shared import events
from shared.agreement import Agreements, load
from shared.bus import Bus, NewRecord
from shared.clock import SystemClock
from shared.crm.hubspot import sign_v3
from shared.database import make_engine
from shared.errors import Later
from shared.events import ContactChanged, DeadLetter, Message, Topic
from shared.metrics import CommonMetrics
from shared.web import Parts, Supervisor, Tokens, create_app
from tests.contract.conftest import Engine

SECRET = "door-secret"
URL = "http://door.example/webhooks/hubspot"
AGREEMENT = load(Path(__file__).parents[2] / "deploy" / "agreement.yaml")


def change(contact: int, value: str = "CEO", **more: Any) -> dict[str, Any]:
    said = {"subscriptionType": "contact.propertyChange", "portalId": 62515, "occurredAt": 1_795_521_600_000}
    return said | {"objectId": contact, "propertyName": "jobtitle", "propertyValue": value} | more


class Switch:
    """The bus, which a test can take away."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.away = False

    async def publish(self, records: Sequence[NewRecord]) -> None:
        if self.away:
            raise Later("bus_away", "the test took it away")
        await self._bus.publish(records)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)


@dataclass
class AtTheDoor:
    """A running ingest, and what came of it."""

    http: httpx.AsyncClient
    bus: Any
    registry: CollectorRegistry
    supervisor: Callable[[], Supervisor]
    sent: list[int] = field(default_factory=list)

    async def post(self, *events: Any, body: bytes | None = None, **headers: str) -> httpx.Response:
        raw = json.dumps(events).encode() if body is None else body
        at_ms = int(time.time() * 1000)
        signed = {
            "x-hubspot-signature-v3": sign_v3(SECRET, "POST", URL, raw, at_ms),
            "x-hubspot-request-timestamp": str(at_ms),
        }
        return await self.http.post(URL, content=raw, headers=signed | headers)

    async def said(self, topic: Topic = Topic.CRM_EVENTS) -> list[Message]:
        return [events.decode(topic, record.value) async for record in self.bus.scan(topic)]

    async def leads(self) -> set[str]:
        return {m.lead for m in await self.said() if isinstance(m, ContactChanged)}

    def metric(self, line: str) -> float:
        text = generate_latest(self.registry).decode()
        return float(next(one for one in text.splitlines() if one.startswith(line)).rsplit(" ", 1)[1])


@pytest.fixture
async def at(engine: Engine, bus: Bus, tmp_path: Path, postgres: str) -> AsyncIterator[AtTheDoor]:
    registry, switch, database = CollectorRegistry(), Switch(bus), make_engine(postgres)
    parts = Parts(
        environ={
            "LEADPACT_HUBSPOT_SECRETS": SECRET,
            "LEADPACT_DATA": str(tmp_path),
            "LEADPACT_MAX_BODY": "20000",
            "LEADPACT_SPOOL_LIMIT": "40000",
        },
        clock=SystemClock(),
        bus=switch,
        engine=database,
        agreements=Agreements(AGREEMENT),
        registry=registry,
        metrics=CommonMetrics(registry),
        tokens=Tokens([]),
    )
    service = build(parts)
    service.tasks.pop("consume")  # the database has no schema here: this is about the door
    for name in ("relay", "housekeeping", "ask", "imports"):
        service.tasks.pop(name)
    app = create_app([service], parts)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://door.example") as http,
    ):
        yield AtTheDoor(http, switch, registry, lambda: app.state.supervisor)
    await database.dispose()


async def test_a_signed_array_is_on_the_bus_when_it_is_acknowledged(at: AtTheDoor) -> None:
    answer = await at.post(*(change(n) for n in range(1, 101)))
    assert (answer.status_code, answer.json()) == (202, {"accepted": 100, "rejected": 0})
    assert len(await at.leads()) == 100


async def test_one_bad_event_goes_to_dead_letters_and_the_rest_is_taken(at: AtTheDoor) -> None:
    bad = change(2, occurredAt="yesterday")
    answer = await at.post(change(1), bad, change(3))
    assert answer.json() == {"accepted": 2, "rejected": 1}
    (letter,) = await at.said(Topic.DEAD_LETTERS)
    assert isinstance(letter, DeadLetter)
    assert json.loads(letter.original) == bad
    assert await at.leads() == {"hubspot:62515:1", "hubspot:62515:3"}


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"[]", {"x-hubspot-signature-v3": "wrong"}, 401, "bad_signature"),
        (b"[]", {"x-hubspot-request-timestamp": "1"}, 401, "bad_signature"),
        (b"{", {}, 400, "malformed"),
        (b'{"objectId": 1}', {}, 400, "malformed"),
        (b"[" + b" " * 20_000 + b"]", {}, 413, "too_large"),
    ],
)
async def test_a_refusal_says_why_is_counted_and_leaves_nothing(
    at: AtTheDoor, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    answer = await at.post(body=body, **headers)
    assert (answer.status_code, answer.json()["title"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert at.metric(f'leadpact_webhook_requests_total{{outcome="{code}",source="hubspot"}}') == 1
    assert await at.said() == []


async def test_a_stale_signature_is_refused(at: AtTheDoor) -> None:
    old = int(time.time() * 1000) - 301_000
    signature = sign_v3(SECRET, "POST", URL, b"[]", old)
    headers = {"x-hubspot-signature-v3": signature, "x-hubspot-request-timestamp": str(old)}
    answer = await at.post(body=b"[]", **headers)
    assert (answer.status_code, answer.json()["title"]) == (401, "stale")


async def test_only_posts_are_taken(at: AtTheDoor) -> None:
    assert (await at.http.get(URL)).status_code == 405


async def test_a_flood_is_told_to_come_again(at: AtTheDoor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door_module, "MAX_IN_FLIGHT", 0)
    answer = await at.post(change(1))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


async def test_while_the_bus_is_away_the_spool_takes_over_and_drains_in_order_when_it_is_back(at: AtTheDoor) -> None:
    at.bus.away = True
    for n in range(1, 21):
        assert (await at.post(change(7, value=str(n)))).status_code == 202
    assert at.metric("leadpact_spool_bytes") > 0
    assert at.metric('leadpact_webhook_requests_total{outcome="spooled",source="hubspot"}') == 20
    assert await at.said() == []
    at.bus.away = False
    async with asyncio.timeout(30):
        while at.metric("leadpact_spool_bytes"):
            await at.said()  # real waiting: who only spins keeps the disk's thread from its work
    values = [m.values[0].value for m in await at.said() if isinstance(m, ContactChanged)]
    assert list(dict.fromkeys(values)) == [str(n) for n in range(1, 21)]
    assert (await at.post(change(8))).status_code == 202
    assert at.metric('leadpact_webhook_requests_total{outcome="accepted",source="hubspot"}') == 1


async def test_a_full_spool_asks_the_crm_to_come_again_and_loses_nothing(at: AtTheDoor) -> None:
    at.bus.away = True
    answers = [await at.post(change(n, value="x" * 3_000)) for n in range(1, 21)]
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {202, 503}
    assert answers[-1].json()["title"] == "spool_full"
    assert int(answers[-1].headers["retry-after"]) > 0
    at.bus.away = False
    async with asyncio.timeout(30):
        while at.metric("leadpact_spool_bytes"):
            await at.said()  # real waiting: who only spins keeps the disk's thread from its work
    assert await at.leads() == {f"hubspot:62515:{n}" for n, status in enumerate(statuses, 1) if status == 202}


async def test_the_door_is_ready_while_the_bus_is_away(at: AtTheDoor, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has a spool for that; taken out of the balancer it would lose what it is there to keep."""

    async def away() -> None:
        raise Later("bus_away", "the test took it away")

    at.bus.check = away
    answer = await at.http.get("/readyz")
    assert answer.status_code == 200
    assert "the test took it away" in answer.json()["lacks"]


async def test_requests_are_timed_by_their_route(at: AtTheDoor) -> None:
    await at.post(change(1))
    line = 'leadpact_request_seconds_count{method="POST",route="/webhooks/hubspot",status="202"}'
    assert at.metric(line) == 1
