"""What the simulator's tests share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import httpx
import msgspec
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from shared.crm.hubspot import sign_v3
from shared.crm.simulator.ledger import Event, content_identity

SECRET = "test-secret"
TARGET = "http://receiver.example/webhooks/hubspot"


@dataclass
class Receiver:
    """A tiny receiver of webhooks: checks signatures and keeps the events that it acknowledged."""

    answers: Callable[[int], int] = lambda number: 202
    uri: str = TARGET
    taken: list[Event] = field(default_factory=list)
    bad: list[object] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    before: Callable[[], Awaitable[None]] | None = None

    async def receive(self, request: Request) -> Response:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            if self.before is not None:
                await self.before()
            return await self._take(request)
        finally:
            self.in_flight -= 1

    async def _take(self, request: Request) -> Response:
        body = await request.body()
        at = int(request.headers["x-hubspot-request-timestamp"])
        if request.headers["x-hubspot-signature-v3"] != sign_v3(SECRET, "POST", self.uri, body, at):
            return JSONResponse({}, status_code=401)
        events = msgspec.json.decode(body)
        self.sizes.append(len(events))
        status = self.answers(len(self.sizes))
        if status < 300:
            good = [e for e in events if isinstance(e, dict) and isinstance(e.get("occurredAt"), int)]
            self.taken += [e for e in good if isinstance(e.get("objectId", 0), int)]
            self.bad += [e for e in events if e not in self.taken]
        return JSONResponse({}, status_code=status)

    def identities(self) -> set[str]:
        return {content_identity(event) for event in self.taken}

    def client(self) -> httpx.AsyncClient:
        app = Starlette(routes=[Route("/webhooks/hubspot", self.receive, methods=["POST"])])
        return httpx.AsyncClient(transport=httpx.ASGITransport(app=app))


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()
