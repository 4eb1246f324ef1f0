"""A load generator for the door: keep-alive connections that send ready-made signed requests."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

from shared.crm.hubspot import sign_v3

HOST = "127.0.0.1"
PATH = "/webhooks/hubspot"
SECRET = "bench-secret"  # noqa: S105  (nobody else has it)
PORTAL = 62515
PARTITIONS = 6


def property_change(contact: int, name: str, value: str, *, at_ms: int, event_id: int = 1) -> dict[str, object]:
    """One subscription event as HubSpot sends it."""
    return {
        "eventId": event_id,
        "subscriptionId": 3001,
        "portalId": PORTAL,
        "appId": 4001,
        "occurredAt": at_ms,
        "subscriptionType": "contact.propertyChange",
        "attemptNumber": 0,
        "objectId": contact,
        "changeSource": "CRM_UI",
        "propertyName": name,
        "propertyValue": value,
    }


def request(port: int, events: Sequence[dict[str, object]]) -> bytes:
    """A whole signed HTTP request with `events`, fresh for five minutes."""
    body = json.dumps(events, separators=(",", ":")).encode()
    now_ms = int(time.time() * 1000)
    uri = f"http://{HOST}:{port}{PATH}"
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: {HOST}:{port}\r\nContent-Type: application/json\r\n"
        f"X-HubSpot-Signature-v3: {sign_v3(SECRET, 'POST', uri, body, now_ms)}\r\n"
        f"X-HubSpot-Request-Timestamp: {now_ms}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


@dataclass(frozen=True)
class Load:
    """What a run of the load gave."""

    requests: int
    seconds: float

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


async def send(port: int, requests: Sequence[bytes], *, total: int, connections: int) -> Load:
    """Send `total` requests, cycling through `requests`. Raises RuntimeError at an answer that is not 2xx."""
    work = itertools.islice(itertools.cycle(requests), total)
    started = time.perf_counter()
    await asyncio.gather(*(_connection(port, work) for _ in range(connections)))
    return Load(requests=total, seconds=time.perf_counter() - started)


async def _connection(port: int, work: itertools.islice[bytes]) -> None:
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        for one in work:
            writer.write(one)
            await _answer(reader)
    finally:
        writer.close()


async def _answer(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next((int(h.split(b":")[1]) for h in head.split(b"\r\n") if h.lower().startswith(b"content-length")), 0)
    body = await reader.readexactly(length)
    if not head.startswith(b"HTTP/1.1 2"):
        raise RuntimeError(f"the door said {head[:16]!r}: {body[:200]!r}")
