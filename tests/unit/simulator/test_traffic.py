"""Webhook traffic: signed, in batches, sent until acknowledged, at times twice, late or broken."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.crm.simulator.ledger import Answer, Event, Ledger
from shared.crm.simulator.traffic import Traffic, TrafficOptions

SECRET = "test-secret"
TARGET = "http://receiver.example/webhooks/hubspot"


def events(count: int) -> list[Event]:
    return [
        {"portalId": 62515, "subscriptionType": "contact.creation", "objectId": n, "occurredAt": 1_000 + n}
        for n in range(count)
    ]


async def send(receiver: Any, ledger: Ledger, told: list[Event], **options: Any) -> Traffic:
    """Send everything, until nothing is pending."""
    made = TrafficOptions(target=TARGET, secret=SECRET, **{"retry_s": 0.0, "hold_s": 0.0, **options})
    async with receiver.client() as client:
        traffic = Traffic(made, ledger, client, seed=1)
        for event in told:
            traffic.put(event)
        running = asyncio.create_task(traffic.run())
        try:
            async with asyncio.timeout(20):
                while traffic.pending:
                    await asyncio.sleep(0)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    return traffic


async def test_every_event_arrives_in_signed_batches_of_one_to_a_hundred(receiver: Any) -> None:
    await send(receiver, Ledger(None), events(1000))
    assert len(receiver.taken) == 1000
    assert 1 <= min(receiver.sizes) <= max(receiver.sizes) <= 100
    assert len(set(receiver.sizes)) > 5


async def test_the_public_address_is_what_gets_signed(receiver: Any) -> None:
    receiver.uri = "https://leads.example.com/webhooks/hubspot"
    await send(receiver, Ledger(None), events(5), public_url="https://leads.example.com")
    assert len(receiver.taken) == 5


async def test_what_a_receiver_that_fails_at_random_took_is_what_the_ledger_says(receiver: Any, tmp_path: Path) -> None:
    rng = random.Random(3)
    receiver.answers = lambda number: rng.choice((202, 202, 500, 503, 429, 404))
    ledger = Ledger(tmp_path / "ledger.jsonl")
    await send(receiver, ledger, events(2000), duplicates=0.1, disorder=0.2, max_attempts=100)
    account = Ledger.read(tmp_path / "ledger.jsonl")
    assert account.acknowledged() == receiver.identities()
    assert len(receiver.identities()) == 2000
    assert any(account.answer(request) is Answer.FAILED for request in account.requests)


async def test_a_retry_counts_its_attempt(receiver: Any) -> None:
    receiver.answers = lambda number: 202 if number > 2 else 503
    await send(receiver, Ledger(None), events(1))
    assert [event["attemptNumber"] for event in receiver.taken] == [2]


async def test_it_gives_up_after_the_last_attempt_and_says_so(receiver: Any, tmp_path: Path) -> None:
    receiver.answers = lambda number: 400
    traffic = await send(receiver, Ledger(tmp_path / "ledger.jsonl"), events(1), max_attempts=3)
    account = Ledger.read(tmp_path / "ledger.jsonl")
    assert len(receiver.sizes) == 3
    assert traffic.counts.gave_up == 1
    assert len(account.given_up) == 1
    assert account.acknowledged() == set()


async def test_a_duplicate_says_the_same_under_another_event_id(receiver: Any) -> None:
    traffic = await send(receiver, Ledger(None), events(500), duplicates=0.2)
    assert 50 < traffic.counts.duplicates < 150
    assert len(receiver.taken) == 500 + traffic.counts.duplicates
    assert len(receiver.identities()) == 500
    assert len({event["eventId"] for event in receiver.taken}) > 500


async def test_disorder_lets_later_events_come_first(receiver: Any) -> None:
    traffic = await send(receiver, Ledger(None), events(500), disorder=0.2)
    order = [event["occurredAt"] for event in receiver.taken]
    assert traffic.counts.held_back > 50
    assert order != sorted(order)
    assert sorted(order) == [event["occurredAt"] for event in events(500)]


async def test_without_disorder_each_batch_is_in_order(receiver: Any) -> None:
    await send(receiver, Ledger(None), events(50))
    assert {event["objectId"] for event in receiver.taken} == set(range(50))


async def test_bad_events_come_beside_good_ones_and_are_in_the_ledger(receiver: Any, tmp_path: Path) -> None:
    traffic = await send(receiver, Ledger(tmp_path / "ledger.jsonl"), events(2000), bad=0.9)
    account = Ledger.read(tmp_path / "ledger.jsonl")
    assert traffic.counts.bad > 5
    assert len(account.bad(Answer.OK)) == len(receiver.bad) == traffic.counts.bad
    assert len(receiver.identities()) == 2000


async def test_no_more_than_ten_requests_are_in_flight(receiver: Any) -> None:
    async def let_others_come() -> None:
        for _ in range(200):
            await asyncio.sleep(0)

    receiver.before = let_others_come
    await send(receiver, Ledger(None), events(3000))
    assert receiver.most_in_flight == 10


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (httpx.ConnectError("refused"), Answer.FAILED),
        (httpx.ReadTimeout("slow"), Answer.UNKNOWN),
        (httpx.RemoteProtocolError("gone"), Answer.UNKNOWN),
    ],
)
async def test_a_broken_connection_is_unknown_unless_it_never_stood(
    error: httpx.HTTPError, answer: Answer, tmp_path: Path
) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise error

    class Nobody:
        def client(self) -> httpx.AsyncClient:
            return httpx.AsyncClient(transport=httpx.MockTransport(fail))

    await send(Nobody(), Ledger(tmp_path / "ledger.jsonl"), events(1), max_attempts=1)
    account = Ledger.read(tmp_path / "ledger.jsonl")
    assert [account.answer(request) for request in account.requests] == [answer]
