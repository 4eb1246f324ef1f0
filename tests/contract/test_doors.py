"""The doors besides HubSpot's own, each by the curl of ingest's page, with the CRM that it asks; on both engines."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from prometheus_client import CollectorRegistry, generate_latest
from starlette.applications import Starlette

from services.ingest import asking
from services.ingest.app import build
from services.ingest.domain import visitors
from shared import events
from shared.agreement import Agreements, load
from shared.bus import Bus
from shared.clock import ManualClock, SystemClock
from shared.crm.simulator.api import Api, ApiOptions
from shared.crm.simulator.ledger import Ledger
from shared.crm.simulator.world import FORM, Ids, World
from shared.database import make_engine, migrate
from shared.events import FormSubmitted, Message, RecordType, Topic
from shared.metrics import CommonMetrics
from shared.web import Parts, Tokens, create_app
from tests.contract.conftest import Engine
from tests.real import REPO

PAGE = (REPO / "services" / "ingest" / "README.md").read_text()
AGREEMENT = load(Path(__file__).parents[2] / "deploy" / "agreement.yaml")
PORTAL, TENANT = 62515, "hubspot:62515"
PROGRAM_SECRET = "whsec_" + base64.b64encode(b"a key of thirty bytes or so ...").decode()
PATIENCE_S = 30.0


@contextlib.asynccontextmanager
async def served(app: Any, *, lifespan: str) -> AsyncIterator[str]:
    """The address at which `app` answers."""
    bound = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, lifespan=lifespan))
    task = asyncio.create_task(server.serve(sockets=[bound]))
    try:
        yield f"127.0.0.1:{bound.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


@dataclass
class Doors:
    """A running ingest, the CRM that it asks, and what it said."""

    address: str
    bus: Bus
    world: World
    registry: CollectorRegistry

    def contact(self, email: str) -> str:
        return f"{TENANT}:{self.world.create(RecordType.CONTACT, {'email': email}, FORM).id}"

    async def pasted(self, url: str) -> str:
        """What ingest's page says to paste for this door; its last line."""
        (block,) = re.findall(rf"```sh\n(URL=http://127.0.0.1:8000{url}\n.*?)```", PAGE, re.DOTALL)
        block = block.replace("127.0.0.1:8000", self.address)
        shell = await asyncio.create_subprocess_exec(
            *("bash", "-e", "-c", block),
            stdout=asyncio.subprocess.PIPE,
            env={"PATH": "/usr/bin:/bin", "PROGRAM_SECRET": PROGRAM_SECRET},
        )
        said, _ = await asyncio.wait_for(shell.communicate(), PATIENCE_S)
        assert shell.returncode == 0
        return said.decode()

    async def until(self, kind: type[Message], count: int = 1) -> list[Any]:
        """The facts of one kind, once there are so many."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                said = [events.decode(r.topic, r.value) async for r in self.bus.scan(Topic.CRM_EVENTS)]
                if len(found := [m for m in said if isinstance(m, kind)]) >= count:
                    return found
                await asyncio.sleep(0)

    def metric(self, line: str) -> float:
        text = generate_latest(self.registry).decode()
        return sum(float(one.rpartition(" ")[2]) for one in text.splitlines() if one.startswith(line))


@pytest.fixture
async def doors(engine: Engine, bus: Bus, tmp_path: Path, new_database: Callable[[], str]) -> AsyncIterator[Doors]:
    address, registry = new_database(), CollectorRegistry()
    await asyncio.to_thread(migrate, address, "ingest")
    database = make_engine(address)
    clock = ManualClock(datetime.now(UTC))
    world = World(clock=clock, ledger=Ledger(None), ids=Ids(None, 901), portal=PORTAL, listener=lambda _: None)
    api = Starlette(routes=Api(world, ApiOptions(token="t", rate_limit=1000), clock, seed=1).routes())
    async with served(api, lifespan="off") as crm:
        parts = Parts(
            environ={
                "LEADPACT_HUBSPOT_SECRETS": "door-secret",
                "LEADPACT_PROGRAM_SECRETS": f"{PORTAL}={PROGRAM_SECRET}",
                "LEADPACT_HUBSPOT_API": f"http://{crm}",
                "LEADPACT_HUBSPOT_TOKEN": "t",
                "LEADPACT_DATA": str(tmp_path),
            },
            clock=SystemClock(),
            bus=bus,
            engine=database,
            agreements=Agreements(AGREEMENT),
            registry=registry,
            metrics=CommonMetrics(registry),
            tokens=Tokens([]),
        )
        async with served(create_app([build(parts)], parts), lifespan="on") as door:
            yield Doors(door, bus, world, registry)
    await database.dispose()


async def test_the_form_of_the_page_is_told_of_the_contact_with_its_email(doors: Doors) -> None:
    lead = doors.contact("Ada@Example.com")
    assert await doors.pasted("/webhooks/forms") == '{"accepted":1,"rejected":0}'
    (form,) = await doors.until(FormSubmitted)
    assert (form.lead, form.form, form.page) == (lead, "demo-request", "https://www.example.com/demo")
    assert doors.metric('leadpact_webhook_events_total{outcome="accepted",source="forms"}') == 1


async def test_a_form_that_comes_before_the_contact_that_it_makes_is_told_once_the_crm_knows_it(
    doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(visitors, "FIRST_AGAIN_S", 0.2)
    monkeypatch.setattr(asking, "EVERY_S", 0.05)
    await doors.pasted("/webhooks/forms")
    async with asyncio.timeout(PATIENCE_S):
        while not doors.metric('leadpact_crm_lookups_total{kind="contact",outcome="missing"}'):
            await asyncio.sleep(0)
    lead = doors.contact("ada@example.com")
    (form,) = await doors.until(FormSubmitted)
    assert form.lead == lead
