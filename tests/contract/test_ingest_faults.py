"""The door under bad company: senders that never finish, and senders of more than is good."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from services.ingest import door as module
from services.ingest.domain.admission import Door, Secret
from services.ingest.domain.door import Rules
from services.ingest.door import Crowd, WebhookDoor
from services.ingest.metrics import IngestMetrics
from services.ingest.sources import HUBSPOT, Source, by_hubspot
from services.ingest.spool import Spool
from shared import events
from shared.bus import NewRecord
from shared.bus.kafka import KafkaBus
from shared.clock import SystemClock
from shared.crm.hubspot import Signature, sign_v3
from shared.errors import Later
from shared.events import ContactChanged, Topic
from tests.real import KafkaServer, need_kafka

CHUNK = 1_000
MAX_BODY = 10 * CHUNK
SCOPE = {
    "type": "http",
    "method": "POST",
    "scheme": "http",
    "path": "/webhooks/hubspot",
    "query_string": b"",
    "headers": [],
}


class Sender:
    """Sends chunks of a body, one for each `more`, and hears the answer."""

    def __init__(self, door: WebhookDoor) -> None:
        self.chunks: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.answer: list[dict[str, Any]] = []
        self.task = asyncio.create_task(door(SCOPE, self.chunks.get, self._hear))

    async def _hear(self, message: dict[str, Any]) -> None:
        self.answer.append(message)

    def more(self, *, last: bool = False) -> None:
        self.chunks.put_nowait({"type": "http.request", "body": b" " * CHUNK, "more_body": not last})

    def go_away(self) -> None:
        self.chunks.put_nowait({"type": "http.disconnect"})

    async def told(self) -> tuple[int, str]:
        async with asyncio.timeout(10):
            await self.task
        return self.answer[0]["status"], json.loads(self.answer[1]["body"])["title"]


def source(door: Door) -> Source:
    return Source(name="hubspot", path=HUBSPOT, read=by_hubspot(door, Rules()))


@pytest.fixture
def door() -> WebhookDoor:
    class Nowhere:
        async def publish(self, records: Sequence[NewRecord]) -> None:
            raise AssertionError("nothing of this is let in")

    nowhere: Any = Nowhere()
    return WebhookDoor(
        source(Door(secrets=[], signatures=[])),
        max_body=MAX_BODY,
        bus=nowhere,
        spool=None,
        wall=SystemClock(),
        metrics=IngestMetrics(CollectorRegistry()),
        crowd=Crowd(),
    )


async def test_senders_that_never_send_a_whole_body_do_not_keep_others_out(
    door: WebhookDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_IN_FLIGHT", 3)
    idle = [Sender(door) for _ in range(10)]
    for sender in idle[:5]:
        sender.more()
    await asyncio.sleep(0)
    honest = Sender(door)
    honest.more(last=True)
    assert await honest.told() == (401, "bad_signature")
    for sender in idle:
        sender.go_away()
        await sender.told()


async def test_a_body_that_begins_and_does_not_end_is_given_up(
    door: WebhookDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REST_S", 0.05)
    sender = Sender(door)
    sender.more()
    assert await sender.told() == (503, "too_slow")
    assert door._crowd == Crowd()


async def test_bodies_that_arrive_together_take_no_more_memory_than_is_given_to_them(
    door: WebhookDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_ARRIVING_BYTES", 5 * CHUNK)
    senders = [Sender(door) for _ in range(3)]
    for sender in senders:
        sender.more()
        sender.more()
    assert await senders[2].told() == (503, "overloaded")
    senders[0].more(last=True)
    assert await senders[0].told() == (401, "bad_signature")
    senders[1].go_away()
    assert await senders[1].told() == (400, "malformed")
    assert door._crowd == Crowd()


async def test_a_body_that_grows_over_the_limit_is_refused_before_it_is_whole(door: WebhookDoor) -> None:
    sender = Sender(door)
    for _ in range(MAX_BODY // CHUNK + 1):
        sender.more()
    assert await sender.told() == (413, "too_large")
    assert door._crowd == Crowd()


@pytest.mark.kafka
async def test_what_a_hanging_kafka_was_given_before_it_was_spooled_neither_gets_lost_nor_out_of_order(
    tmp_path: Path,
) -> None:
    """The broker stands still, the door gives up after two seconds, and later the broker goes on."""
    need_kafka()
    server = KafkaServer(tmp_path / "kafka")
    server.start()
    bus = KafkaBus(server.address)
    spool = Spool(tmp_path / "spool", limit_bytes=10_000_000)
    spool.open()
    draining = asyncio.create_task(drain_through_outages(spool, bus))
    try:
        await bus.create_topics(partitions=1, replication=1)
        door = WebhookDoor(
            source(Door(secrets=[Secret(portal=None, value="s")], signatures=[Signature.V3])),
            max_body=100_000,
            bus=bus,
            spool=spool,
            wall=SystemClock(),
            metrics=IngestMetrics(CollectorRegistry()),
            crowd=Crowd(),
        )
        assert await post(door, 0) == 202
        server.pause()
        together = await asyncio.gather(*(post(door, n, contact=n) for n in range(1, 4)))
        assert [*together, *[await post(door, n) for n in range(4, 20)]] == [202] * 19
        server.resume()
        async with asyncio.timeout(60):
            while spool.pending:
                await asyncio.sleep(0)
        assert await post(door, 20) == 202
        said = [events.decode(Topic.CRM_EVENTS, record.value) async for record in bus.scan(Topic.CRM_EVENTS)]
        heard = [m.values[0].value for m in said if isinstance(m, ContactChanged)]
        first = [int(value or "") for value in dict.fromkeys(heard)]
        assert sorted(first) == list(range(21))
        assert [n for n in first if n not in (1, 2, 3)] == [0, *range(4, 21)]
    finally:
        draining.cancel()
        await asyncio.gather(draining, return_exceptions=True)
        await spool.close()
        await bus.close()
        server.resume()
        server.stop()


async def drain_through_outages(spool: Spool, bus: KafkaBus) -> None:
    """As the supervisor does it, again after each Later."""
    while True:
        with contextlib.suppress(Later):
            await spool.drain(bus.publish)
        await asyncio.sleep(0)


async def post(door: WebhookDoor, number: int, *, contact: int = 901) -> int:
    """One property change with `number` for a value; the answer's status."""
    said = {"subscriptionType": "contact.propertyChange", "portalId": 62515, "occurredAt": 1_795_521_600_000 + number}
    body = json.dumps([said | {"objectId": contact, "propertyName": "jobtitle", "propertyValue": str(number)}]).encode()
    at_ms = int(time.time() * 1000)
    signature = sign_v3("s", "POST", "http://door.example/webhooks/hubspot", body, at_ms)
    headers = {"host": "door.example", "x-hubspot-signature-v3": signature, "x-hubspot-request-timestamp": str(at_ms)}
    scope = SCOPE | {"headers": [(name.encode(), value.encode()) for name, value in headers.items()]}
    answers: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    async def hear(message: dict[str, Any]) -> None:
        answers.append(message)

    await door(scope, receive, hear)
    status: int = answers[0]["status"]
    return status
