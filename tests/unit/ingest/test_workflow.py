"""What a workflow posts: one contact, in the older names or the newer ones, with the times of its properties."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from services.ingest.domain import door, workflow
from services.ingest.domain.heard import MAX_EVENT_BYTES, Normalised
from shared.errors import Refused
from shared.events import ContactChanged, DeadLetter, FormSubmitted, Message, PageVisited

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
AT_MS = 1_795_521_600_000
AT = datetime.fromtimestamp(AT_MS / 1000, UTC)
LEAD = "hubspot:62515:901"
FORM, PAGE = "recent_conversion_event_name", "hs_analytics_last_url"


def older(**properties: Any) -> dict[str, Any]:
    """As the first contacts API tells a contact."""
    more = {"canonical-vid": 901, "merged-vids": [], "is-contact": True, "identity-profiles": [{"vid": 901}]}
    return {"vid": 901, "portal-id": 62515, "properties": properties} | more


def newer(**properties: Any) -> dict[str, Any]:
    """As an object of the CRM."""
    return {"objectId": 901, "portalId": 62515, "objectTypeId": "0-1", "version": 3, "properties": properties}


def heard(body: Any, *, at: datetime = NOW) -> Normalised:
    raw = msgspec.json.encode(body)
    return workflow.normalise(raw, wanted=lambda _: ("jobtitle", "country"), received_at=at)


def said(body: Any) -> list[Message]:
    return heard(body).messages


def told(body: Any) -> ContactChanged:
    (message,) = said(body)
    assert isinstance(message, ContactChanged)
    return message


@pytest.mark.parametrize("contact", [older, newer])
def test_a_property_has_the_time_at_which_it_was_set(contact: Any) -> None:
    set_at = [{"value": "CEO", "timestamp": AT_MS, "source-type": "API"}, {"value": "CFO", "timestamp": AT_MS - 9}]
    message = told(contact(jobtitle={"value": "CEO", "versions": set_at}, country={"value": "DE", "timestamp": 10**12}))
    assert (message.lead, message.tenant, message.created) == (LEAD, "hubspot:62515", False)
    assert {v.name: (v.value, v.at) for v in message.values} == {
        "jobtitle": ("CEO", AT),
        "country": ("DE", datetime.fromtimestamp(1e9, UTC)),
    }


def test_what_says_no_time_was_set_when_it_came_and_is_the_same_when_it_comes_again() -> None:
    body = older(jobtitle={"value": "CEO"})
    (first,), (again,) = heard(body).messages, heard(body, at=NOW + timedelta(minutes=9)).messages
    assert (first.at, first.id) == (NOW, again.id)


def test_a_contact_that_says_something_else_is_another_fact() -> None:
    one = told(older(jobtitle={"value": "CEO", "timestamp": AT_MS}))
    assert told(older(jobtitle={"value": "CFO", "timestamp": AT_MS})).id != one.id
    assert told(older(jobtitle={"value": "CEO", "timestamp": AT_MS + 1})).id != one.id


def test_only_what_the_agreement_names_is_told() -> None:
    contact = older(jobtitle={"value": "CEO"}, shoe_size={"value": 43})
    assert [v.name for v in told(contact).values] == ["jobtitle"]
    found = heard(older(shoe_size={"value": 43}))
    assert (found.messages, found.outcomes["ignored"]) == ([], 1)


@pytest.mark.parametrize(("name", "kind"), [(FORM, FormSubmitted), (PAGE, PageVisited)])
def test_a_form_and_a_page_are_the_facts_that_the_change_of_the_property_makes(name: str, kind: Any) -> None:
    value = "https://x.example/pricing"
    _, act = said(older(**{name: {"value": value, "timestamp": AT_MS}}))
    change = {"portalId": 62515, "objectId": 901, "occurredAt": AT_MS, "subscriptionType": "contact.propertyChange"}
    body = msgspec.json.encode([change | {"propertyName": name, "propertyValue": value}])
    assert act == door.normalise(body, received_at=NOW).messages[1]
    assert isinstance(act, kind)


def test_a_form_whose_time_is_not_said_is_none() -> None:
    assert len(said(older(**{FORM: {"value": "demo"}}))) == 1


def test_another_object_is_ignored() -> None:
    deal = newer(jobtitle={"value": "?"}) | {"objectTypeId": "0-3"}
    assert heard(deal).outcomes["ignored"] == 1


@pytest.mark.parametrize(
    "bad",
    [
        {},
        [older()],
        older() | {"vid": None},
        older() | {"vid": "ada"},
        older() | {"portal-id": 0},
        older(jobtitle="CEO"),
        older(jobtitle={"value": "CEO", "timestamp": 7}),
    ],
    ids=str,
)
def test_what_is_no_contact_is_a_dead_letter_with_its_bytes(bad: Any) -> None:
    found = heard(bad)
    (letter,) = found.messages
    assert isinstance(letter, DeadLetter)
    assert (found.rejected, msgspec.json.decode(letter.original)) == (1, bad)
    assert (letter.source, "ada" in letter.detail) == ("webhooks/hubspot/workflow", False)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "malformed"),
        (b"{", "malformed"),
        (b"\xff", "malformed"),
        (b" " * (MAX_EVENT_BYTES + 1), "event_too_large"),
    ],
    ids=["nothing", "half", "no text", "large"],
)
def test_what_no_door_would_take_is_refused(body: bytes, code: str) -> None:
    with pytest.raises(Refused) as refused:
        workflow.normalise(body, wanted=None, received_at=NOW)
    assert refused.value.code == code
