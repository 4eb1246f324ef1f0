"""The doors: let signed webhooks in, and answer 2xx only when every event of theirs is durable.

Each is a bare ASGI application, because they are the paths that must bear a flood. All are the same
but for their source, who may knock and what is read from what they bring: `sources.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from services.ingest.domain.admission import Knock
from services.ingest.domain.heard import Normalised
from services.ingest.metrics import IngestMetrics
from services.ingest.sources import Source
from services.ingest.spool import Spool
from shared.bus import Bus, NewRecord
from shared.clock import Clock
from shared.errors import Later, LeadpactError, Refused
from shared.log import Log
from shared.web import Problem, problem_of
from shared.work import to_record

log = Log("leadpact.ingest")

PUBLISH_S: Final = 2.0  # HubSpot waits 5 s for the answer; then the spool takes over
MAX_IN_FLIGHT: Final = 1_000  # at all doors; HubSpot keeps at most 10 requests of an account under way
REST_S: Final = 5.0  # for all of a body to arrive, once it has begun
MAX_ARRIVING_BYTES: Final = 128 * 1024 * 1024  # of all bodies that are still arriving, from whomever
STATUS_OF: Final = {
    "bad_signature": 401,
    "stale": 401,
    "wrong_portal": 401,
    "malformed": 400,
    "too_large": 413,
    "event_too_large": 413,
    "too_many": 413,
    "method_not_allowed": 405,
}

# The headers by which a sender tells who they are, and what they sent.
TOLD_BY: Final = (b"x-", b"webhook-")
TOLD_IN: Final = frozenset({b"host", b"authorization", b"sec-purpose", b"purpose"})

_encoder: Final = msgspec.json.Encoder()


@dataclass(slots=True)
class Crowd:
    """What is before all doors together: they share one machine."""

    in_flight: int = 0
    arriving_bytes: int = 0


class WebhookDoor:
    """A path at which webhooks of one source are posted."""

    def __init__(
        self,
        source: Source,
        *,
        max_body: int,
        bus: Bus,
        spool: Spool | None,
        wall: Clock,
        metrics: IngestMetrics,
        crowd: Crowd,
    ) -> None:
        self._source = source
        self._max_body = max_body
        self._bus = bus
        self._spool = spool
        self._wall = wall
        self._metrics = metrics
        self._crowd = crowd

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """202 with how many events were accepted and rejected, or a problem."""
        try:
            found, outcome = await self._take(scope, receive)
        except LeadpactError as error:
            self._metrics.requests.labels(self._source.name, error.code).inc()
            await _refuse(error)(scope, receive, send)
            return
        except Exception as error:  # a 5xx, so that HubSpot comes again; and nothing of it in a traceback
            log.error("door_failed", error=error)
            self._metrics.requests.labels(self._source.name, "broken").inc()
            await Problem(500, "broken", "the request could not be handled").response()(scope, receive, send)
            return
        self._metrics.requests.labels(self._source.name, outcome).inc()
        for what, count in found.outcomes.items():
            self._metrics.events.labels(self._source.name, what).inc(count)
        body = _encoder.encode({"accepted": found.accepted, "rejected": found.rejected})
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 202, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _take(self, scope: Any, receive: Any) -> tuple[Normalised, str]:
        if scope["method"] != "POST":
            raise Refused("method_not_allowed", "webhooks are posted")
        body = await self._body(scope, receive)
        if self._crowd.in_flight >= MAX_IN_FLIGHT:  # only now: who sends no body holds no place
            raise Later("overloaded", "too many requests are under way", after_s=1.0)
        self._crowd.in_flight += 1
        try:
            found = self._source.read(_knock(scope, body), self._wall.now())
            records = [to_record(message, source="ingest") for message in found.messages]
            return found, await self._keep(records)
        finally:
            self._crowd.in_flight -= 1

    async def _body(self, scope: Any, receive: Any) -> bytes:
        announced = _header(scope, b"content-length")
        if announced.isdigit() and int(announced) > self._max_body:
            raise _too_large(self._max_body)
        message = await receive()
        body: bytes = message.get("body", b"")
        if message.get("more_body"):
            try:
                async with asyncio.timeout(REST_S):
                    body, message = await self._rest(body, receive)
            except TimeoutError as error:
                raise Later("too_slow", f"the body did not arrive within {REST_S:g} seconds") from error
        if message["type"] == "http.disconnect":
            raise Refused("malformed", "the sender went away")
        if len(body) > self._max_body:
            raise _too_large(self._max_body)
        return body

    async def _rest(self, first: bytes, receive: Any) -> tuple[bytes, Any]:
        """The whole of a body that comes in pieces, and the last message of it."""
        body, counted = bytearray(first), 0
        try:
            while True:
                counted, before = len(body), counted
                self._crowd.arriving_bytes += counted - before
                if counted > self._max_body:
                    raise _too_large(self._max_body)
                if self._crowd.arriving_bytes > MAX_ARRIVING_BYTES:
                    raise Later("overloaded", "too many large bodies are arriving", after_s=1.0)
                message = await receive()
                body += message.get("body", b"")
                if not message.get("more_body"):
                    return bytes(body), message
        finally:
            self._crowd.arriving_bytes -= counted

    async def _keep(self, records: Sequence[NewRecord]) -> str:
        """Make the records durable. While the spool holds any, what comes waits behind them. Raises Later."""
        if self._spool is not None and self._spool.pending and not await self._spool.emptied():
            await self._spool.append(records)
            return "spooled"
        try:
            async with asyncio.timeout(PUBLISH_S if self._spool else None):
                await self._bus.publish(records)
        except (Later, TimeoutError) as error:
            if self._spool is None:
                raise
            log.warning("spooling", code=error.code if isinstance(error, Later) else "bus_slow")
            await self._spool.append(records)
            return "spooled"
        return "accepted"


def _too_large(most: int) -> Refused:
    return Refused("too_large", f"the body is larger than {most} bytes")


def _header(scope: Any, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


def _knock(scope: Any, body: bytes) -> Knock:
    headers = {key: value for key, value in scope["headers"] if key.startswith(TOLD_BY) or key in TOLD_IN}
    return Knock(
        method=scope["method"],
        scheme=scope["scheme"],
        path=(scope.get("raw_path") or scope["path"].encode()).decode("latin-1"),
        query=scope["query_string"].decode("latin-1"),
        headers={key.decode("latin-1"): value.decode("latin-1") for key, value in headers.items()},
        body=body,
    )


def _refuse(error: LeadpactError) -> Any:
    if error.code in STATUS_OF:
        return Problem(STATUS_OF[error.code], error.code, error.message).response()
    return problem_of(error).response()
