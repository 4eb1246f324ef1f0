"""Webhook traffic as HubSpot makes it: signed batches, retries, duplicates, disorder, now and then garbage."""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import msgspec

from shared.crm.hubspot import sign_v3
from shared.crm.simulator.ledger import Answer, Event, Ledger
from shared.http import NO_ANSWER

IN_FLIGHT: Final = 10
TIMEOUT_S: Final = 5.0
MAX_BATCH: Final = 100
MAX_DOUBLINGS: Final = 4  # a retry waits at most 16 times the first delay
SUBSCRIPTION_BASE: Final = 3000
ACKNOWLEDGED: Final = range(200, 300)


@dataclass(frozen=True, kw_only=True)
class TrafficOptions:
    """How the traffic behaves; shares are from 0 to 1, delays in real seconds."""

    target: str
    public_url: str = ""  # what is signed; the target itself when empty
    secret: str
    duplicates: float = 0.0
    disorder: float = 0.0
    bad: float = 0.0  # share of requests that carry one malformed element more
    lost: float = 0.0  # share of events that are never sent
    hold_s: float = 1.0  # how long what comes late or twice is held back, at most
    retry_s: float = 0.5  # before the first retry; twice as long each time
    max_attempts: int = 11  # the first and ten retries

    @property
    def signed_uri(self) -> str:
        """The address that the receiver knows itself by."""
        if not self.public_url:
            return self.target
        parts = urlsplit(self.target)
        return self.public_url.rstrip("/") + parts.path + (f"?{parts.query}" if parts.query else "")


@dataclass(kw_only=True)
class Batch:
    """One request's worth of events."""

    events: list[Event]
    bad: list[Any] = field(default_factory=list)
    attempt: int = 0


@dataclass
class Counts:
    """What the traffic did so far."""

    events: int = 0
    duplicates: int = 0
    held_back: int = 0
    lost: int = 0
    bad: int = 0
    requests: int = 0
    ok: int = 0
    failed: int = 0
    unknown: int = 0
    gave_up: int = 0


class Traffic:
    """Takes events and sends them until a 2xx answers, up to ten requests at a time."""

    def __init__(self, options: TrafficOptions, ledger: Ledger, client: httpx.AsyncClient, *, seed: int) -> None:
        self.counts = Counts()
        self._options = options
        self._ledger = ledger
        self._client = client
        self._rng = random.Random(f"{seed}:traffic")
        self._ready: deque[Event] = deque()
        self._retries: deque[Batch] = deque()
        self._some = asyncio.Event()
        self._under_way = 0  # held back, in flight, or waiting for their retry

    @property
    def pending(self) -> int:
        """How many events are not yet acknowledged (or given up)."""
        return len(self._ready) + self._under_way

    def put(self, event: Event) -> None:
        """Send `event` soon; some come late, some twice, some never."""
        self.counts.events += 1
        if self._options.lost and self._rng.random() < self._options.lost:  # without, the same seed makes the same
            self.counts.lost += 1
            return
        if self._rng.random() < self._options.disorder:
            self.counts.held_back += 1
            self._later(event)
        else:
            self._now(event)
        if self._rng.random() < self._options.duplicates:
            self.counts.duplicates += 1
            self._later(event)

    async def run(self) -> None:
        """Send, for ever."""
        async with asyncio.TaskGroup() as group:
            for _ in range(IN_FLIGHT):
                group.create_task(self._sender())

    def _now(self, event: Event) -> None:
        number = SUBSCRIPTION_BASE + sum(event["subscriptionType"].encode()) % 997
        # eventId is random and small enough to repeat: HubSpot does not promise it to be unique.
        self._ready.append({"eventId": self._rng.randrange(2**31), "subscriptionId": number} | event)
        self._some.set()

    def _later(self, event: Event) -> None:
        self._under_way += 1

        def release() -> None:
            self._under_way -= 1
            self._now(event)

        delay = self._rng.uniform(0, self._options.hold_s)
        asyncio.get_running_loop().call_later(delay, release)

    async def _sender(self) -> None:
        while True:
            while not (self._retries or self._ready):
                self._some.clear()
                await self._some.wait()
            batch = self._retries.popleft() if self._retries else self._batch()
            await self._send(batch)

    def _batch(self) -> Batch:
        size = min(len(self._ready), self._rng.randint(1, MAX_BATCH))
        events = [self._ready.popleft() for _ in range(size)]
        if self._rng.random() < self._options.disorder:
            self._rng.shuffle(events)
        batch = Batch(events=events)
        self._under_way += size
        if size < MAX_BATCH and self._rng.random() < self._options.bad:
            self.counts.bad += 1
            batch.bad.append(malformed(self._rng, events[0]))
        return batch

    async def _send(self, batch: Batch) -> None:
        request = self._ledger.sent(batch.events, batch.bad, attempt=batch.attempt)
        answer, status = await self._post(self._body(batch))
        self._ledger.answered(request, answer, status)
        self.counts.requests += 1
        match answer:
            case Answer.OK:
                self.counts.ok += 1
            case Answer.FAILED:
                self.counts.failed += 1
            case Answer.UNKNOWN:
                self.counts.unknown += 1
        if answer is Answer.OK:
            self._under_way -= len(batch.events)
        elif batch.attempt + 1 >= self._options.max_attempts:
            self.counts.gave_up += len(batch.events)
            self._under_way -= len(batch.events)
            self._ledger.gave_up(request)
        else:
            self._retry(Batch(events=batch.events, bad=batch.bad, attempt=batch.attempt + 1))

    def _retry(self, batch: Batch) -> None:
        def again() -> None:
            self._retries.append(batch)
            self._some.set()

        longest = self._options.retry_s * 2 ** min(batch.attempt - 1, MAX_DOUBLINGS)
        asyncio.get_running_loop().call_later(self._rng.uniform(0.5, 1.0) * longest, again)

    def _body(self, batch: Batch) -> bytes:
        told: list[Any] = [event | {"attemptNumber": batch.attempt} for event in batch.events]
        return msgspec.json.encode(told[:1] + batch.bad + told[1:])

    async def _post(self, body: bytes) -> tuple[Answer, int]:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                headers = signed(self._options.secret, self._options.signed_uri, body)
                response = await self._client.post(self._options.target, content=body, headers=headers)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            return Answer.FAILED, 0
        except (*NO_ANSWER, TimeoutError):
            return Answer.UNKNOWN, 0
        return (Answer.OK if response.status_code in ACKNOWLEDGED else Answer.FAILED), response.status_code


def signed(secret: str, uri: str, body: bytes) -> dict[str, str]:
    """The headers of a webhook request, by real time: v3 signs it, v1 is still sent beside."""
    now_ms = time.time_ns() // 1_000_000
    return {
        "Content-Type": "application/json",
        "User-Agent": "HubSpot Connect 2.0 (simulated)",
        "X-HubSpot-Signature": hashlib.sha256(secret.encode() + body).hexdigest(),
        "X-HubSpot-Signature-Version": "v1",
        "X-HubSpot-Signature-v3": sign_v3(secret, "POST", uri, body, now_ms),
        "X-HubSpot-Request-Timestamp": str(now_ms),
    }


def malformed(rng: random.Random, event: Event) -> Any:
    """An element that no receiver can use, unlike any other."""
    mark = rng.randrange(10**12)
    broken = {name: value for name, value in event.items() if name not in ("eventId", "subscriptionId")}
    match rng.randrange(4):
        case 0:
            return f"no event at all {mark}"
        case 1:
            return {name: value for name, value in broken.items() if name != "occurredAt"} | {"sourceId": str(mark)}
        case 2:
            return broken | {"occurredAt": f"yesterday {mark}"}
        case _:
            return broken | {"subscriptionType": "contact.propertyChange", "objectId": f"nobody {mark}"}
