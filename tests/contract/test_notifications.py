"""Notifications on a real PostgreSQL: signed, tried until they arrive or cannot, and of nobody who is gone."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest
from standardwebhooks import Webhook

from services.handoff import notifying
from services.handoff.notifying import GIVE_UP_AFTER, LONGEST_RETRY, Notifying
from services.handoff.settings import HandoffSettings
from shared.agreement import Agreements
from shared.agreement.handoff import Notify
from shared.clock import ManualClock, SystemClock
from shared.database import migrate
from shared.events import ContactErased, identity
from tests.contract.handoff_desk import AGREEMENT, NOW, TENANT, Desk, demo, name, records

SECRET = "whsec_c2ltdWxhdG9yLXRlc3Qtc2VjcmV0LXNpbXU="
SETTINGS = {"LEADPACT_NOTIFY_URL": "http://receiver.test/hook", "LEADPACT_NOTIFY_SECRET": SECRET}
PATIENCE_S = 10.0


@pytest.fixture(scope="module")
def uri(postgres: str) -> str:
    migrate(postgres, "handoff")
    return postgres


@pytest.fixture
async def desk(uri: str) -> AsyncIterator[Desk]:
    desk = Desk(uri, ManualClock(NOW), wall=ManualClock(SystemClock().now()), notify=True)
    await desk.empty()
    yield desk
    await desk.close()


class Receiver(httpx.AsyncBaseTransport):
    """Answers with `status`, and keeps what it was sent. None: never answers."""

    def __init__(self, status: int | None = 204) -> None:
        self.status = status
        self.got: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.got.append(request)
        if self.status is None:
            await asyncio.Event().wait()
        return httpx.Response(self.status or 500)


def notifying_of(desk: Desk, wall: ManualClock) -> Notifying:
    settings = HandoffSettings.read(SETTINGS)
    return Notifying(settings, engine=desk.engine, wall=wall, metrics=desk.metrics)


@pytest.fixture
def wall() -> ManualClock:
    return ManualClock(SystemClock().now() + timedelta(seconds=1))  # a receiver compares with its own time


async def send(desk: Desk, wall: ManualClock, receiver: Receiver) -> int:
    async with httpx.AsyncClient(transport=receiver) as client:
        return await asyncio.wait_for(notifying_of(desk, wall).send_some(client), PATIENCE_S)


def count(desk: Desk, outcome: str) -> float:
    return desk.registry.get_sample_value("leadpact_notifications_total", {"outcome": outcome}) or 0.0


async def test_a_hand_off_is_told_once_and_signed(desk: Desk, wall: ManualClock) -> None:
    await desk.hears(demo(1))
    receiver = Receiver()
    assert [await send(desk, wall, receiver) for _ in range(2)] == [1, 0]
    (request,) = receiver.got
    said = Webhook(SECRET).verify(request.content, dict(request.headers))
    assert (said["type"], said["lead"]) == ("LeadHandedOff", name(1))


async def test_what_was_not_taken_is_sent_again_under_the_same_id_and_not_at_once(
    desk: Desk, wall: ManualClock
) -> None:
    await desk.hears(demo(1))
    receiver = Receiver(503)
    assert [await send(desk, wall, receiver) for _ in range(2)] == [1, 0]
    receiver.status = 204
    wall.advance(LONGEST_RETRY)
    assert [await send(desk, wall, receiver) for _ in range(2)] == [1, 0]
    assert len({request.headers["webhook-id"] for request in receiver.got}) == 1
    assert (count(desk, "retried"), count(desk, "delivered")) == (1, 1)


@pytest.mark.parametrize(("status", "after", "outcome"), [(410, timedelta(0), "gone"), (503, GIVE_UP_AFTER, "dead")])
async def test_who_is_gone_or_away_for_a_day_is_not_tried_again(
    desk: Desk, wall: ManualClock, status: int, after: timedelta, outcome: str
) -> None:
    await desk.hears(demo(1))
    wall.advance(after)
    assert await send(desk, wall, Receiver(status)) == 1
    wall.advance(timedelta(days=1))
    assert await send(desk, wall, Receiver()) == 0
    assert count(desk, outcome) == 1


async def test_a_receiver_that_never_ends_its_answer_holds_up_nobody(
    desk: Desk, wall: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifying, "TRY_S", 0.05)
    await desk.hears(demo(1))
    assert await send(desk, wall, Receiver(None)) == 1
    assert count(desk, "retried") == 1


async def test_of_an_erased_lead_only_the_erasure_is_told_to_who_asked_for_it(desk: Desk, wall: ManualClock) -> None:
    wanted = Notify(on=("handed_off", "erased"), by=("webhook",))
    handoff = AGREEMENT.handoff.model_copy(update={"notify": (wanted,)})
    agreement = AGREEMENT.model_copy(update={"handoff": handoff})
    desk.parts = dataclasses.replace(desk.parts, agreements=Agreements(agreement))
    erased = ContactErased(id=identity("erase"), tenant=TENANT, at=NOW, lead=name(1), privacy=True)
    await desk.work_of(desk.worker).handle(records(demo(1), erased))
    receiver = Receiver()
    await send(desk, wall, receiver)
    assert [Webhook(SECRET).verify(r.content, dict(r.headers))["type"] for r in receiver.got] == ["LeadErased"]
