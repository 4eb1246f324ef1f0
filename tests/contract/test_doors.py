"""The doors besides HubSpot's own, each by the curl of ingest's page, with the CRM that it asks; on both engines."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import re
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
import uvicorn
from prometheus_client import CollectorRegistry, generate_latest
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.applications import Starlette

from services.ingest import asking
from services.ingest.app import build
from services.ingest.domain import visitors
from shared import events
from shared.agreement import Agreements, load
from shared.bus import Bus
from shared.clock import ManualClock, SystemClock
from shared.crm.hubspot import sign_v3
from shared.crm.simulator.api import Api, ApiOptions
from shared.crm.simulator.ledger import Ledger
from shared.crm.simulator.world import FORM, Ids, World
from shared.database import make_engine, migrate
from shared.events import (
    ContactChanged,
    ContactReplaced,
    FormSubmitted,
    Message,
    PageVisited,
    RecordType,
    Topic,
    identity,
)
from shared.metrics import CommonMetrics
from shared.web import Parts, Tokens, create_app
from shared.work import to_record
from tests.contract.conftest import Engine
from tests.real import REPO

PAGE = (REPO / "services" / "ingest" / "README.md").read_text()
AGREEMENT = load(Path(__file__).parents[2] / "deploy" / "agreement.yaml")
PORTAL, TENANT = 62515, "hubspot:62515"
PROGRAM_SECRET = "whsec_" + base64.b64encode(b"a key of thirty bytes or so ...").decode()
SECRET, SEGMENT_KEY = "door-secret", "a write key"
SECRETS = {"PROGRAM_SECRET": PROGRAM_SECRET, "SEGMENT_KEY": SEGMENT_KEY, "SECRET": SECRET}
PATIENCE_S = 30.0
RATE = 20  # requests to the CRM in ten seconds; an import gets half of them, of 50 contacts each


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


class Shifted(SystemClock):
    """The real time, and so much."""

    offset = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.offset


@dataclass
class Doors:
    """A running ingest, the CRM that it asks, and what it said."""

    address: str
    bus: Bus
    world: World
    registry: CollectorRegistry
    database: AsyncEngine
    clock: Shifted

    async def known_as(self) -> list[str]:
        async with self.database.connect() as conn:
            return [row[0] for row in await conn.execute(sa.text("SELECT known_as FROM ingest.visitors"))]

    async def rows(self) -> int:
        return len(await self.known_as())

    async def swept(self) -> None:
        """Return once the CRM was asked again for all of whom that was due."""
        due = sa.text("SELECT count(*) FROM ingest.visitors WHERE due_at <= :now")
        while True:
            async with self.database.connect() as conn:
                if not await conn.scalar(due, {"now": self.clock.now()}):
                    return

    def contact(self, email: str) -> str:
        return f"{TENANT}:{self.world.create(RecordType.CONTACT, {'email': email}, FORM).id}"

    async def pasted(self, url: str) -> str:
        """What ingest's page says to paste for this door; its last line."""
        (block,) = re.findall(rf"```sh\n(URL=http://127.0.0.1:8000{url}\n.*?)```", PAGE, re.DOTALL)
        block = block.replace("127.0.0.1:8000", self.address)
        shell = await asyncio.create_subprocess_exec(
            *("bash", "-e", "-c", block),
            stdout=asyncio.subprocess.PIPE,
            env={
                "PATH": "/usr/bin:/bin",
                "PROGRAM_SECRET": PROGRAM_SECRET,
                "SEGMENT_KEY": SEGMENT_KEY,
                "SECRET": SECRET,
            },
        )
        said, _ = await asyncio.wait_for(shell.communicate(), PATIENCE_S)
        assert shell.returncode == 0
        return said.decode()

    async def posted_by_hubspot(self, said: Sequence[dict[str, Any]]) -> int:
        """The status of the answer to HubSpot's own webhook."""
        body, at_ms = json.dumps(said).encode(), int(time.time() * 1000)
        url = f"http://{self.address}/webhooks/hubspot"
        signature = sign_v3(SECRET, "POST", url, body, at_ms)
        headers = {"x-hubspot-signature-v3": signature, "x-hubspot-request-timestamp": str(at_ms)}
        async with httpx.AsyncClient() as http:
            return (await http.post(url, content=body, headers=headers)).status_code

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
    clock, shifted = ManualClock(datetime.now(UTC)), Shifted()
    world = World(clock=clock, ledger=Ledger(None), ids=Ids(None, 901), portal=PORTAL, listener=lambda _: None)
    api = Starlette(routes=Api(world, ApiOptions(token="t", rate_limit=1000), clock, seed=1).routes())
    async with served(api, lifespan="off") as crm:
        parts = Parts(
            environ={
                "LEADPACT_HUBSPOT_SECRETS": SECRET,
                "LEADPACT_PROGRAM_SECRETS": f"{PORTAL}={PROGRAM_SECRET}",
                "LEADPACT_SEGMENT_KEYS": f"{PORTAL}={SEGMENT_KEY}",
                "LEADPACT_HUBSPOT_API": f"http://{crm}",
                "LEADPACT_HUBSPOT_TOKEN": "t",
                "LEADPACT_EVENTS": str(REPO / "deploy" / "events.yaml"),
                "LEADPACT_HUBSPOT_RATE": str(RATE),
                "LEADPACT_DATA": str(tmp_path),
            },
            clock=shifted,
            bus=bus,
            engine=database,
            agreements=Agreements(AGREEMENT),
            registry=registry,
            metrics=CommonMetrics(registry),
            tokens=Tokens([]),
        )
        async with served(create_app([build(parts)], parts), lifespan="on") as door:
            yield Doors(door, bus, world, registry, database, shifted)
    await database.dispose()


async def test_the_contact_of_the_page_is_told_with_the_times_of_its_properties(doors: Doors) -> None:
    assert await doors.pasted("/webhooks/hubspot/workflow") == '{"accepted":1,"rejected":0}'
    (changed,) = await doors.until(ContactChanged)
    assert (changed.lead, [(v.name, v.value) for v in changed.values]) == (f"{TENANT}:901", [("jobtitle", "VP Sales")])
    assert doors.metric('leadpact_webhook_events_total{outcome="accepted",source="workflow"}') == 1


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


async def test_the_event_of_the_page_is_told_by_the_file_that_is_shown_there(doors: Doors) -> None:
    (shown,) = re.findall(r"```yaml\n(events:\n.*?)```", PAGE, re.DOTALL)
    assert (REPO / "deploy" / "events.yaml").read_text().endswith(shown)
    lead = doors.contact("ada@example.com")
    assert await doors.pasted("/webhooks/events") == '{"accepted":1,"rejected":0}'
    (form,) = await doors.until(FormSubmitted)
    assert (form.lead, form.form) == (lead, "webinar")


async def test_the_visits_of_the_page_are_told_of_whoever_said_afterwards_who_they_are(doors: Doors) -> None:
    lead = doors.contact("ada@example.com")
    assert await doors.pasted("/webhooks/segment") == '{"accepted":3,"rejected":0}'
    (visit,) = await doors.until(PageVisited)
    (form,) = await doors.until(FormSubmitted)
    assert (visit.lead, visit.url) == (lead, "https://www.example.com/pricing")
    assert (form.lead, form.form) == (lead, "ebook")
    assert abs(datetime.now(UTC) - visit.at) < timedelta(minutes=1)
    assert doors.metric('leadpact_webhook_events_total{outcome="accepted",source="segment"}') == 3


async def test_a_visitor_who_never_says_who_they_are_is_dropped_and_counted(
    doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "EVERY_S", 0.05)
    await doors.pasted("/webhooks/segment")  # nobody in the CRM has this email
    async with asyncio.timeout(PATIENCE_S):
        seen = 'leadpact_messages_total{outcome="handled",service="ingest",type="VisitorSeen"}'
        while doors.metric(seen) < 2 * 3:  # two acts, told from key to key
            await asyncio.sleep(0)
        doors.clock.offset = timedelta(days=29)
        await doors.swept()
        assert await doors.rows() == 3
        doors.clock.offset = timedelta(days=31)
        while await doors.rows():
            await asyncio.sleep(0)
    assert (
        doors.metric("leadpact_visitors_dropped_total") == 1
    )  # the anonymous id and the user id were known as the next


async def test_a_merge_takes_what_visitors_do_to_the_survivor_and_a_privacy_deletion_forgets_them(
    doors: Doors,
) -> None:
    lead, survivor = doors.contact("ada@example.com"), f"{TENANT}:5000"
    await doors.pasted("/webhooks/segment")
    await doors.until(FormSubmitted)
    at = datetime.now(UTC)
    merged = ContactReplaced(id=identity("merged"), tenant=TENANT, at=at, former=lead, lead=survivor)
    await doors.bus.publish([to_record(merged, source="test")])
    async with asyncio.timeout(PATIENCE_S):
        while survivor not in await doors.known_as():
            await asyncio.sleep(0)
        forgotten = ContactReplaced(id=identity("forgotten"), tenant=TENANT, at=at, former=survivor)
        await doors.bus.publish([to_record(forgotten, source="test")])
        while await doors.rows():
            await asyncio.sleep(0)


async def test_a_form_behind_an_import_does_not_wait_for_it(doors: Doors) -> None:
    """By count: of thousands of imported contacts hardly any is told of before the form that came after all of them."""
    form_of, contacts = doors.contact("ada@example.com"), [doors.contact(f"{n}@example.com") for n in range(3000)]
    now = int(time.time() * 1000)
    said = {"subscriptionType": "contact.creation", "portalId": PORTAL, "changeSource": "IMPORT", "occurredAt": now}
    events_ = [said | {"objectId": int(lead.rpartition(":")[2])} for lead in contacts]
    for start in range(0, len(events_), 100):
        assert await doors.posted_by_hubspot(events_[start : start + 100]) == 202
    await doors.pasted("/webhooks/forms")
    (form,) = await doors.until(FormSubmitted)
    told = await doors.until(Message)
    assert form.lead == form_of
    assert len(told) < len(contacts) / 2
    imported = [r async for r in doors.bus.scan(Topic.CRM_IMPORTS)]
    assert len(imported) == len(contacts)
    assert not [r async for r in doors.bus.scan(Topic.CRM_LOOKUPS) if b"ContactImported" in r.value]


async def test_what_an_import_brought_is_told_in_time_with_its_properties(doors: Doors) -> None:
    lead = doors.contact("bob@example.com")
    event = {"subscriptionType": "contact.propertyChange", "portalId": PORTAL, "changeSource": "IMPORT"}
    event |= {"objectId": int(lead.rpartition(":")[2]), "occurredAt": int(time.time() * 1000)}
    events_ = [event | {"propertyName": name, "propertyValue": "x"} for name in ("email", "jobtitle", "country")]
    assert await doors.posted_by_hubspot(events_) == 202
    (changed,) = await doors.until(ContactChanged)
    assert (changed.lead, {v.name: v.value for v in changed.values}) == (lead, {"email": "bob@example.com"})
