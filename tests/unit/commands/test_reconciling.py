"""`leadpact reconcile`: whom it asks, what it says, and what stops it."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from typer.testing import CliRunner

from services import __main__ as command
from services.commands import reconciling
from services.ingest.reconcile import Reconciled
from shared.bus import NewRecord
from shared.clock import ManualClock
from shared.crm.simulator.api import Api, ApiOptions
from shared.crm.simulator.ledger import Ledger
from shared.crm.simulator.world import FORM, Ids, World
from shared.errors import Broken, Later
from shared.events import RecordType

TOKEN = {"LEADPACT_HUBSPOT_TOKEN": "t"}
EARLIER = datetime.now(UTC) - timedelta(hours=1)


class Bus:
    """A bus that goes away after `room` publishings."""

    def __init__(self, room: int = 1000) -> None:
        self.room, self.records = room, list[NewRecord]()

    async def publish(self, records: Sequence[NewRecord]) -> None:
        self.room -= 1
        if self.room < 0:
            raise Later("bus_away", "the bus did not answer")
        self.records += records

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[Any]:
        yield self


def a_crm(contacts: int) -> httpx.AsyncClient:
    clock = ManualClock(EARLIER)
    world = World(clock=clock, ledger=Ledger(None), ids=Ids(None, 901), portal=62515, listener=lambda _: None)
    for _ in range(contacts):
        world.create(RecordType.CONTACT, {}, FORM)
    routes = Api(world, ApiOptions(token="t"), clock, seed=1).routes()
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=Starlette(routes=routes)))


async def test_a_token_that_names_no_portal_is_asked_which_it_is_for() -> None:
    bus = Bus()
    (done,) = await reconciling.call(reconciling.Call(), TOKEN, bus.opened, http=a_crm(3))
    assert (done.tenant, done.changed) == ("hubspot:62515", {RecordType.CONTACT: 3})
    assert len(bus.records) == 3


async def test_a_tenant_without_a_token_is_refused_with_those_that_have_one() -> None:
    with pytest.raises(Broken, match="hubspot:7: LEADPACT_HUBSPOT_TOKEN has none for it; there is hubspot:62515"):
        await reconciling.call(reconciling.Call(tenant="hubspot:7"), TOKEN, Bus().opened, http=a_crm(1))


async def test_a_bus_that_goes_away_stops_it_with_how_far_it_came() -> None:
    with pytest.raises(Broken, match="200 records were queued, doing it again is harmless"):
        await reconciling.call(reconciling.Call(), TOKEN, Bus(room=1).opened, http=a_crm(201))


@pytest.mark.parametrize(
    ("args", "environ", "why"),
    [
        ([], {}, "LEADPACT_HUBSPOT_TOKEN: is not set"),
        (["--since", "yesterday"], TOKEN, "--since: 'yesterday' must be"),
        (["--since", "2999-01-01"], TOKEN, "--since 2999-01-01: must be in the past"),
    ],
)
def test_what_it_cannot_do_is_told_before_anything_is_asked(args: list[str], environ: dict[str, str], why: str) -> None:
    failed = CliRunner().invoke(command.app, ["reconcile", *args], obj=environ)
    assert failed.exit_code
    assert why in str(failed.exception)


def test_the_summary_tells_what_was_queued_and_what_was_left_out() -> None:
    changed = Counter({RecordType.CONTACT: 2, RecordType.DEAL: 1})
    deleted = Counter({RecordType.CONTACT: 1})
    left_out = {RecordType.EMAIL: "no scope"}
    done = Reconciled(tenant="hubspot:1", since=EARLIER, changed=changed, deleted=deleted, left_out=left_out)
    said = list(reconciling.lines(done))
    assert said[0].startswith("hubspot:1: 2 contacts, 1 deal changed since ")
    assert said[1:] == ["hubspot:1: 1 contact deleted since then", "hubspot:1: emails were left out: no scope"]
    told = reconciling.as_json(done)
    assert (told["queued"], told["deleted"], told["left_out"]) == (3, {"contact": 1}, {"email": "no scope"})
