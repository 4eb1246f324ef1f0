"""Look-ups through the real API client against the simulated CRM: contacts, engagements, deals, and its faults."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec
import pytest
import stamina
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette

from services.ingest.domain import visitors
from services.ingest.metrics import IngestMetrics
from services.ingest.worker import Found, Lookups
from shared.clock import ManualClock
from shared.crm.hubspot import HubSpot
from shared.crm.simulator.api import Api, ApiOptions
from shared.crm.simulator.ledger import Ledger
from shared.crm.simulator.world import FORM, Ids, Record, World, user
from shared.errors import Later, Refused
from shared.events import (
    ActivityLogged,
    Channel,
    ContactChanged,
    ContactImported,
    DealChanged,
    Direction,
    Message,
    Outcome,
    RecordTouched,
    RecordType,
    VisitorIdentified,
    identity,
)

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
TOKEN = "test-token"
TENANT = "hubspot:62515"
PROPERTIES = ("email", "jobtitle", "country")
CONNECTED = "f240bbac-87c9-4f6e-bf70-924b57d47db7"


@pytest.fixture(autouse=True)
def at_once() -> Iterator[None]:
    """Retries without their pauses."""
    stamina.set_testing(True, attempts=4)
    yield
    stamina.set_testing(False)


@dataclass
class Crm:
    world: World
    api: Api
    clock: ManualClock
    lookups: Lookups

    def contact(self, **properties: str) -> Record:
        return self.world.create(RecordType.CONTACT, {"email": "ada@example.com", **properties}, FORM)

    async def said(self, *records: Record) -> list[Message]:
        found = await self.lookups([touched(record.type, record.id) for record in records])
        return [message for part in found.records.values() if not isinstance(part, Refused) for message in part]


def touched(kind: RecordType, number: int) -> RecordTouched:
    fact = identity(kind, number)
    return RecordTouched(id=fact, tenant=TENANT, at=NOON, record=kind, record_id=str(number))


def is_email(email: str) -> VisitorIdentified:
    return visitors.is_(visitors.by_email(TENANT, email), NOON, "said", email=email)


def a_crm(*, token: str = TOKEN, **options: Any) -> Crm:
    clock = ManualClock(NOON)
    world = World(clock=clock, ledger=Ledger(None), ids=Ids(None, 901), portal=62515, listener=lambda _: None)
    api = Api(world, ApiOptions(token=TOKEN, **options), clock, seed=1)
    http = httpx.AsyncClient(transport=httpx.ASGITransport(app=Starlette(routes=api.routes())))
    crm = HubSpot("http://crm.example", token, rate=1000, http=http)
    metrics = IngestMetrics(CollectorRegistry())
    return Crm(world, api, clock, Lookups(lambda _: crm, contact_properties=lambda _: PROPERTIES, metrics=metrics))


@pytest.fixture
def crm() -> Crm:
    return a_crm()


async def test_a_contact_s_properties_come_with_the_times_at_which_they_were_set(crm: Crm) -> None:
    contact = crm.contact(jobtitle="CFO", shoe_size="43")
    crm.clock.advance(timedelta(hours=1))
    crm.world.update(contact, {"jobtitle": "CEO"}, user(501))
    (message,) = await crm.said(contact)
    assert isinstance(message, ContactChanged)
    assert {v.name: (v.value, v.at) for v in message.values} == {
        "email": ("ada@example.com", NOON),
        "jobtitle": ("CEO", NOON + timedelta(hours=1)),
    }
    assert not message.created


async def test_a_call_is_an_attempt_by_its_owner_with_the_time_of_the_act(crm: Crm) -> None:
    contact = crm.contact()
    said = {
        "hs_timestamp": "2026-11-24T11:30:00.000Z",
        "hubspot_owner_id": "501",
        "hs_call_direction": "OUTBOUND",
        "hs_call_disposition": CONNECTED,
        "hs_call_duration": "61000",
        "hs_call_status": "COMPLETED",
    }
    call = crm.world.create(RecordType.CALL, said, user(501), contacts=[contact.id])
    (message,) = await crm.said(call)
    assert isinstance(message, ActivityLogged)
    assert (message.lead, message.activity) == (f"{TENANT}:{contact.id}", f"call:{call.id}")
    assert (message.channel, message.direction, message.outcome) == (
        Channel.PHONE,
        Direction.OUTBOUND,
        Outcome.CONNECTED,
    )
    assert (message.by, message.duration_s, message.at) == ("501", 61.0, NOON - timedelta(minutes=30))


@pytest.mark.parametrize(
    ("kind", "said", "told"),
    [
        (
            RecordType.EMAIL,
            {"hs_email_direction": "EMAIL", "hs_email_status": "SENT"},
            (Channel.EMAIL, Direction.OUTBOUND, Outcome.SENT),
        ),
        (
            RecordType.EMAIL,
            {"hs_email_direction": "EMAIL", "hs_email_status": "BOUNCED"},
            (Channel.EMAIL, Direction.OUTBOUND, Outcome.BOUNCED),
        ),
        (
            RecordType.EMAIL,
            {"hs_email_direction": "INCOMING_EMAIL"},
            (Channel.EMAIL, Direction.INBOUND, Outcome.REPLIED),
        ),
        (RecordType.EMAIL, {"hs_email_direction": "EMAIL", "hs_email_status": "SCHEDULED"}, None),
        (RecordType.EMAIL, {"hs_email_direction": "FORWARDED_EMAIL", "hs_email_status": "SENT"}, None),
        (RecordType.CALL, {"hs_call_status": "BUSY"}, (Channel.PHONE, Direction.OUTBOUND, Outcome.BUSY)),
        (RecordType.CALL, {"hs_call_status": "RINGING"}, None),
        (RecordType.CALL, {"hs_call_direction": "INBOUND"}, (Channel.PHONE, Direction.INBOUND, Outcome.UNKNOWN)),
        (
            RecordType.MEETING,
            {"hs_meeting_outcome": "NO_SHOW"},
            (Channel.MEETING, Direction.OUTBOUND, Outcome.NO_SHOW),
        ),
        (
            RecordType.COMMUNICATION,
            {"hs_communication_channel_type": "WHATS_APP"},
            (Channel.WHATSAPP, Direction.OUTBOUND, Outcome.SENT),
        ),
    ],
)
async def test_engagements_in_our_words(crm: Crm, kind: RecordType, said: dict[str, str], told: Any) -> None:
    record = crm.world.create(kind, said, user(501), contacts=[crm.contact().id])
    found = [(m.channel, m.direction, m.outcome) for m in await crm.said(record) if isinstance(m, ActivityLogged)]
    assert found == ([told] if told else [])


@pytest.mark.parametrize("sequence", ["", "9001"])
async def test_an_email_that_a_sequence_sent_is_told_from_one_of_a_person(crm: Crm, sequence: str) -> None:
    sent = {"hs_email_direction": "EMAIL", "hs_email_status": "SENT", "hs_sequence_id": sequence}
    (told,) = await crm.said(crm.world.create(RecordType.EMAIL, sent, user(501), contacts=[crm.contact().id]))
    assert isinstance(told, ActivityLogged)
    assert told.sequence == sequence


async def test_a_change_of_the_same_call_is_a_newer_version_of_the_same_activity(crm: Crm) -> None:
    call = crm.world.create(RecordType.CALL, {"hs_call_status": "BUSY"}, user(501), contacts=[crm.contact().id])
    (before,) = await crm.said(call)
    crm.clock.advance(timedelta(minutes=1))
    crm.world.update(call, {"hs_call_disposition": CONNECTED}, user(501))
    (after,) = await crm.said(call)
    assert isinstance(before, ActivityLogged)
    assert isinstance(after, ActivityLogged)
    assert before.activity == after.activity
    assert before.id != after.id
    assert before.seen_at < after.seen_at


async def test_a_deal_is_told_to_each_of_its_contacts(crm: Crm) -> None:
    contacts = [crm.contact().id, crm.contact().id]
    deal = crm.world.create(RecordType.DEAL, {"dealstage": "closedwon", "amount": "9000"}, user(501), contacts=contacts)
    found = await crm.said(deal)
    assert [m.lead for m in found] == [f"{TENANT}:{contact}" for contact in contacts]
    assert {(m.stage, m.amount, m.deal) for m in found if isinstance(m, DealChanged)} == {
        ("closedwon", "9000", str(deal.id))
    }


async def test_a_record_that_is_gone_or_belongs_to_nobody_says_nothing(crm: Crm) -> None:
    lonely = crm.world.create(RecordType.CALL, {"hs_call_status": "BUSY"}, user(501))
    assert await crm.said(lonely) == []
    assert await crm.lookups([touched(RecordType.CONTACT, 7)]) == Found()


async def test_a_record_that_the_crm_calls_a_bad_request_is_refused_alone(crm: Crm) -> None:
    contacts = [touched(RecordType.CONTACT, crm.contact().id) for _ in range(20)]
    bad = msgspec.structs.replace(contacts[0], record_id="no number")
    found = (await crm.lookups([*contacts[:7], bad, *contacts[7:]])).records
    refused = {key: one.code for key, one in found.items() if isinstance(one, Refused)}
    assert refused == {bad.key: "crm_bad_request"}
    assert found.keys() == {one.key for one in (*contacts, bad)}


async def test_a_scope_that_the_token_lacks_holds_up_no_other_kind() -> None:
    """Emails have a scope of their own, which is easily forgotten."""

    async def answer(request: httpx.Request) -> httpx.Response:
        if "emails" in request.url.path:
            return httpx.Response(403, json={"status": "error", "category": "MISSING_SCOPES"})
        asked = msgspec.json.decode(request.content)
        history = {"email": [{"value": "ada@example.com", "timestamp": "2026-11-24T12:00:00.000Z"}]}
        record = {"updatedAt": "2026-11-24T12:00:00.000Z", "propertiesWithHistory": history}
        return httpx.Response(200, json={"results": [record | {"id": one["id"]} for one in asked["inputs"]]})

    http = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    crm = HubSpot("http://crm.example", TOKEN, rate=1000, http=http)
    lookups = Lookups(
        lambda _: crm, contact_properties=lambda _: PROPERTIES, metrics=IngestMetrics(CollectorRegistry())
    )
    contact, *emails = touched(RecordType.CONTACT, 901), touched(RecordType.EMAIL, 1), touched(RecordType.EMAIL, 2)
    found = (await lookups([contact, *emails])).records
    assert isinstance(found[contact.key], tuple)
    assert [one.code for email in emails if isinstance(one := found[email.key], Refused)] == ["crm_missing_scope"] * 2


async def test_a_record_with_more_contacts_than_a_page_holds_is_told_to_all_of_them() -> None:
    """HubSpot tells a hundred at a time; the reference shows their ids as text, real traffic as numbers."""
    pages = {"": (["1", "2"], "p2"), "p2": ([2, 3], "p3"), "p3": ([4], "")}

    async def answer(request: httpx.Request) -> httpx.Response:
        results = []
        for one in msgspec.json.decode(request.content)["inputs"]:
            ends, after = pages[one.get("after", "")] if one["id"] == "7" else ([9], "")
            paging = {"paging": {"next": {"after": after, "link": "deprecated"}}} if after else {}
            results.append({"from": {"id": one["id"]}, "to": [{"toObjectId": end} for end in ends]} | paging)
        return httpx.Response(200, json={"status": "COMPLETE", "results": results})

    http = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    crm = HubSpot("http://crm.example", TOKEN, rate=1000, http=http)
    found = await crm.contacts_of(RecordType.MEETING, ["7", "8"])
    assert found == {"7": ["1", "2", "3", "4"], "8": ["9"]}


async def test_a_contact_is_found_by_any_of_its_emails_however_they_are_written(crm: Crm) -> None:
    ada, bob = crm.contact(email="Ada@Example.com"), crm.contact(email="bob@example.com")
    asked = [is_email(email) for email in ("ada@example.com", "bob@example.com", "eve@example.com")]
    found = await crm.lookups(asked)
    assert found.contacts == {asked[0].key: str(ada.id), asked[1].key: str(bob.id)}
    assert crm.api.requests == 1


async def test_an_email_that_the_crm_calls_a_bad_request_is_refused_alone() -> None:
    async def answer(request: httpx.Request) -> httpx.Response:
        asked = [one["id"] for one in msgspec.json.decode(request.content)["inputs"]]
        if "bad@example.com" in asked:
            return httpx.Response(400, json={"category": "VALIDATION_ERROR"})
        known = {"id": "7", "updatedAt": "2026-11-24T12:00:00Z"}
        emails = {"email": "main@example.com", "hs_additional_emails": "Old@example.com;older@example.com"}
        return httpx.Response(
            207, json={"results": [known | {"properties": emails}] if "old@example.com" in asked else []}
        )

    http = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    crm = HubSpot("http://crm.example", TOKEN, rate=1000, http=http)
    lookups = Lookups(lambda _: crm, contact_properties=lambda _: (), metrics=IngestMetrics(CollectorRegistry()))
    asked = [is_email(f"{name}@example.com") for name in ("x", "bad", "old", "y")]
    found = (await lookups(asked)).contacts
    assert {key: getattr(one, "code", one) for key, one in found.items()} == {
        asked[1].key: "crm_bad_request",
        asked[2].key: "7",
    }


async def test_an_imported_contact_is_looked_up_once_however_many_of_its_properties_were_set(crm: Crm) -> None:
    contact = crm.contact()
    many = [ContactImported(id=identity(n), tenant=TENANT, at=NOON, contact=str(contact.id)) for n in range(10)]
    found = await crm.lookups(many)
    (message,) = found.records[many[0].key]
    assert isinstance(message, ContactChanged)
    assert (message.lead, crm.api.requests) == (f"{TENANT}:{contact.id}", 1)


async def test_a_batch_of_hundreds_is_a_few_requests(crm: Crm) -> None:
    contacts = [crm.contact() for _ in range(120)]
    assert len(await crm.said(*contacts)) == 120
    assert crm.api.requests == 3


async def test_passing_faults_are_borne() -> None:
    crm = a_crm(failures=0.2)
    contacts = [crm.contact() for _ in range(10)]
    for contact in contacts:
        assert len(await crm.said(contact)) == 1


@pytest.mark.parametrize(
    ("options", "code"),
    [({"failures": 1.0}, "crm_away"), ({"rate_limit": 0}, "crm_busy"), ({"token": "wrong"}, "crm_refused")],
)
async def test_a_crm_that_does_not_answer_is_asked_later(options: dict[str, Any], code: str) -> None:
    crm = a_crm(**options)
    contact = crm.contact()
    with pytest.raises(Later) as later:
        await crm.said(contact)
    assert later.value.code == code
