"""Dead letters on their way again: what each makes, and what would only come back."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from services.commands import letters
from services.ingest.domain import door, forms, segment, workflow
from shared import events
from shared.errors import Refused
from shared.events import ContactChanged, DeadLetter, Topic, identity

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
GOOD = ContactChanged(id=identity("x"), tenant="hubspot:1", lead="hubspot:1:7", at=NOW, created=True)
EVENT: dict[str, Any] = {
    "portalId": 1,
    "subscriptionType": "contact.propertyChange",
    "objectId": 7,
    "propertyName": "jobtitle",
    "propertyValue": "CEO",
    "occurredAt": 1_772_000_000_000,
}


def letter(*, service: str = "scoring", source: str = Topic.CRM_EVENTS, original: bytes, key: str = "k") -> DeadLetter:
    return DeadLetter(
        id=identity(service, source, original, key),
        tenant="hubspot:1",
        at=NOW,
        service=service,
        source=source,
        reason="handler_failed",
        detail="KeyError",
        original=original,
        original_key=key,
    )


def from_the_door(**event: Any) -> DeadLetter:
    return letter(service="ingest", source=door.SOURCE, original=json.dumps({**EVENT, **event}).encode(), key="")


class Remembering:
    """A bus of which only publish is used."""

    def __init__(self) -> None:
        self.records: list[Any] = []

    async def publish(self, records: Any) -> None:
        self.records += records


def test_a_record_goes_to_its_topic_again_with_its_key_and_bytes() -> None:
    (record,) = letters.again(letter(original=events.encode(GOOD), key="hubspot:1:7"), now=NOW)
    assert (record.topic, record.key, record.value) == (Topic.CRM_EVENTS, "hubspot:1:7", events.encode(GOOD))


def test_an_event_of_a_webhook_goes_through_the_door_again() -> None:
    (record,) = letters.again(from_the_door(), now=NOW)
    message = events.decode(record.topic, record.value)
    assert isinstance(message, ContactChanged)
    assert (record.key, message.values[0].value) == ("hubspot:1:7", "CEO")


@pytest.mark.parametrize(
    ("dead", "code"),
    [
        (letter(original=b"not a message"), "undecodable"),
        (letter(source="webhooks/unheard-of", original=b"{}"), "unknown_source"),
        (from_the_door(objectId="seven"), "bad_event"),
        (letter(source=door.SOURCE, original=b"{broken"), "malformed"),
    ],
)
def test_what_would_be_a_dead_letter_again_is_refused(dead: DeadLetter, code: str) -> None:
    with pytest.raises(Refused) as caught:
        letters.again(dead, now=NOW)
    assert caught.value.code == code


async def test_a_record_that_three_services_refused_goes_once() -> None:
    bus = Remembering()
    dead = [letter(service=name, original=events.encode(GOOD)) for name in ("scoring", "handoff", "kpi")]
    done = await letters.replay(bus, dead, now=NOW)  # type: ignore[arg-type]
    assert (done.went, len(bus.records)) == (1, 1)


async def test_one_that_is_refused_again_does_not_hold_up_the_others() -> None:
    bus = Remembering()
    bad, good = letter(original=b"bad"), letter(original=events.encode(GOOD))
    done = await letters.replay(bus, [bad, good], now=NOW)  # type: ignore[arg-type]
    assert [one.id for one, _ in done.refused] == [bad.id]
    assert [record.value for record in bus.records] == [good.original]


def test_a_list_does_not_show_the_original_and_show_does() -> None:
    dead = letter(original=b'{"email":"ada@example.test"}')
    assert "ada@example.test" not in json.dumps(letters.described(dead)) + letters.line(dead)
    assert letters.shown(dead)["original"] == '{"email":"ada@example.test"}'
    assert letters.shown(letter(original=b"\xff"))["original_base64"] == "/w=="


@pytest.mark.parametrize(
    ("source", "original", "makes"),
    [
        (
            forms.SOURCE,
            {"conversionId": "c", "submittedAt": 1_772_000_000_000, "formName": "f",
             "values": [{"name": "email", "value": "a@x.example"}]},
            2,
        ),
        (
            segment.SOURCE,
            {"sentAt": "2026-03-02T09:00:00Z",
             "batch": [{"type": "page", "anonymousId": "a", "properties": {"url": "https://x.example/"}}]},
            1,
        ),
        (workflow.SOURCE, {"vid": 7, "portal-id": 1, "properties": {"jobtitle": {"value": "CEO"}}}, 1),
    ],
    ids=["forms", "segment", "workflow"],
)  # fmt: skip
def test_what_came_by_another_door_goes_through_that_door_again(source: str, original: Any, makes: int) -> None:
    """As after an update that understands what the one before did not."""
    records = letters.again(letter(service="ingest", source=source, original=json.dumps(original).encode()), now=NOW)
    assert len(records) == makes
    assert all(record.key.startswith("hubspot:1:") for record in records)
