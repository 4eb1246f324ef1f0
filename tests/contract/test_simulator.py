"""The simulator as a whole: a burst over real sockets ends by itself, and its ledger is true."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from shared.clock import SystemClock
from shared.crm.hubspot import sign_v3
from shared.crm.simulator import Ledger, SimulatorOptions, Summary, simulate
from shared.crm.simulator.ledger import content_identity

SECRET = "test-secret"
TOKEN = "test-token"
NOTIFY = "whsec_c2ltdWxhdG9yLXRlc3Qtc2VjcmV0LXNpbXU="
ACCEPTED = 202


@dataclass
class Door:
    """A receiver that answers at random, and keeps what it answered 2xx to."""

    url: str = ""
    rng: random.Random = field(default_factory=lambda: random.Random(5))
    statuses: tuple[int, ...] = (202,)
    taken: set[str] = field(default_factory=set)
    unsigned: int = 0

    async def receive(self, request: Request) -> Response:
        body = await request.body()
        at = int(request.headers["x-hubspot-request-timestamp"])
        if request.headers["x-hubspot-signature-v3"] != sign_v3(SECRET, "POST", self.url, body, at):
            self.unsigned += 1
        status = self.rng.choice(self.statuses)
        if status == ACCEPTED:
            self.taken |= {content_identity(event) for event in msgspec.json.decode(body)}
        return JSONResponse({}, status_code=status)


@contextlib.asynccontextmanager
async def a_door(**options: Any) -> AsyncIterator[Door]:
    door = Door(**options)
    app = Starlette(routes=[Route("/webhooks/hubspot", door.receive, methods=["POST"])])
    bound = socket.create_server(("127.0.0.1", 0))
    door.url = f"http://127.0.0.1:{bound.getsockname()[1]}/webhooks/hubspot"
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off"))
    task = asyncio.create_task(server.serve(sockets=[bound]))
    try:
        yield door
    finally:
        server.should_exit = True
        await task


async def burst(door: Door, **options: Any) -> Summary:
    made = {"leads": 40, "hour_s": 0.0, "quiet_s": 0.0, "hold_s": 0.01, "retry_s": 0.01, "max_attempts": 50, **options}
    settled = SimulatorOptions(target=door.url, secret=SECRET, token=TOKEN, notify_secret=NOTIFY, mode="burst", **made)
    async with asyncio.timeout(60):
        return await simulate(settled, SystemClock())


async def test_a_burst_ends_by_itself_with_all_acknowledged(tmp_path: Path) -> None:
    async with a_door() as door:
        summary = await burst(door, ledger=tmp_path / "ledger.jsonl")
    account = Ledger.read(tmp_path / "ledger.jsonl")
    assert account.is_settled
    assert summary.leads == 40
    assert door.unsigned == 0
    assert account.acknowledged() == account.sent() == door.taken


async def test_the_ledger_agrees_with_a_door_that_fails_at_random(tmp_path: Path) -> None:
    async with a_door(statuses=(202, 202, 503, 500, 429)) as door:
        summary = await burst(door, ledger=tmp_path / "ledger.jsonl", duplicates=0.2, disorder=0.2)
    account = Ledger.read(tmp_path / "ledger.jsonl")
    assert summary.traffic.failed > 0
    assert summary.traffic.duplicates > 0
    assert summary.traffic.gave_up == 0
    assert account.acknowledged() == account.sent() == door.taken


async def test_the_same_seed_tells_the_same_story(tmp_path: Path) -> None:
    told = []
    for run in ("first", "second"):
        async with a_door() as door:
            await burst(door, ledger=tmp_path / run, seed=9)
        facts = Ledger.read(tmp_path / run).of("property")
        contacts = sorted({f["id"] for f in facts})
        own = [(contacts.index(f["id"]), f["name"], f["value"]) for f in facts if f["name"] != "recent_conversion_date"]
        told.append(sorted(own))
    assert told[0] == told[1]


async def test_the_api_is_served_beside_the_traffic() -> None:
    options = SimulatorOptions(secret=SECRET, token=TOKEN, notify_secret=NOTIFY, api_only=True)
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(simulate(options, SystemClock(), on_ready=ready.set_result))
    try:
        port = await ready
        async with httpx.AsyncClient(headers={"Authorization": f"Bearer {TOKEN}"}) as http:
            answer = await http.get(f"http://127.0.0.1:{port}/crm/v3/owners")
        assert answer.status_code == 200
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_live_simulation_goes_on_after_a_restart_with_new_records(tmp_path: Path) -> None:
    async with a_door() as door:
        for _ in range(2):
            options = SimulatorOptions(
                target=door.url,
                secret=SECRET,
                token=TOKEN,
                notify_secret=NOTIFY,
                rate=1_000_000.0,
                hour_s=1.0,
                ledger=tmp_path / "ledger.jsonl",
                state=tmp_path / "state.json",
            )
            running = asyncio.create_task(simulate(options, SystemClock()))
            before = len(door.taken)
            while len(door.taken) <= before:
                await asyncio.sleep(0)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    created = [fact["id"] for fact in Ledger.read(tmp_path / "ledger.jsonl").of("created")]
    assert len(created) == len(set(created))


RUN_A_BURST = """
import asyncio, pathlib, sys
from shared.clock import SystemClock
from shared.crm.simulator import SimulatorOptions, simulate
target, secret, token, notify, ledger = sys.argv[1:]
options = SimulatorOptions(
    target=target, secret=secret, token=token, notify_secret=notify, ledger=pathlib.Path(ledger), mode="burst",
    leads=100_000, hour_s=0.0,
)
asyncio.run(simulate(options, SystemClock()))
"""


async def test_the_ledger_of_a_killed_simulator_is_true(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    async with a_door(statuses=(202, 202, 503)) as door:
        args = [sys.executable, "-c", RUN_A_BURST, door.url, SECRET, TOKEN, NOTIFY, str(path)]
        process = await asyncio.create_subprocess_exec(*args)
        try:
            async with asyncio.timeout(60):
                while len(door.taken) < 1000:
                    await asyncio.sleep(0)
        finally:
            process.kill()
            await process.wait()
    account = Ledger.read(path)
    assert account.acknowledged()
    assert account.acknowledged() <= door.taken <= account.sent()
    assert not account.is_settled
