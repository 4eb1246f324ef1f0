"""A reconcile: every changed record is asked for once, whatever the CRM's limits, and told as webhooks would have."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec
import pytest
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette

from services.ingest.domain import door
from services.ingest.domain.repair import missed_of
from services.ingest.metrics import IngestMetrics
from services.ingest.reconcile import KINDS, reconcile
from services.ingest.worker import Lookups
from shared import events
from shared.bus import NewRecord
from shared.clock import ManualClock
from shared.crm.hubspot import HubSpot, Record
from shared.crm.simulator import api as simulated
from shared.crm.simulator.api import Api, ApiOptions
from shared.crm.simulator.ledger import Ledger
from shared.crm.simulator.world import FORM, Ids, World
from shared.errors import Later, Refused
from shared.events import (
    ContactChanged,
    ContactErased,
    ContactReplaced,
    ContactsMerged,
    FormSubmitted,
    Message,
    PageVisited,
    RecordQueued,
    RecordType,
    Topic,
)

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
TENANT = "hubspot:62515"
HOUR = timedelta(hours=1)


class Crm:
    """A simulated CRM, what it told, and a client of it."""

    def __init__(self) -> None:
        self.clock, self.told = ManualClock(NOON), list[dict[str, Any]]()
        ids = Ids(None, 901)
        self.world = World(clock=self.clock, ledger=Ledger(None), ids=ids, portal=62515, listener=self.told.append)
        options = ApiOptions(token="t", rate_limit=10_000, searches_a_second=10_000)
        app = Starlette(routes=Api(self.world, options, self.clock, seed=1).routes())
        self.client = client(httpx.ASGITransport(app=app))


def client(transport: httpx.AsyncBaseTransport) -> HubSpot:
    http = httpx.AsyncClient(transport=transport)
    return HubSpot("http://crm.example", "t", rate=10_000, http=http, searches_per_s=10_000)


class Bus:
    """Keeps what is published."""

    def __init__(self) -> None:
        self.records: list[NewRecord] = []

    async def publish(self, records: Sequence[NewRecord]) -> None:
        self.records += records

    @property
    def queued(self) -> list[RecordQueued]:
        return [one for one in self.on(Topic.CRM_IMPORTS) if isinstance(one, RecordQueued)]

    def on(self, topic: Topic) -> list[Message]:
        return [events.decode(topic, record.value) for record in self.records if record.topic == topic]


async def test_more_records_changed_at_one_moment_than_a_search_finds_are_all_asked_for_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(simulated, "MAX_FOUND", 400)
    crm, bus = Crm(), Bus()
    made = [crm.world.create(RecordType.CONTACT, {"email": f"{n}@example.com"}, FORM) for n in range(1001)]
    done = await reconcile(crm.client, bus.publish, tenant=TENANT, since=NOON, at=NOON, companies=True)
    assert [one.record_id for one in bus.queued] == [str(record.id) for record in made]
    assert done.changed == {RecordType.CONTACT: 1001}


async def test_what_was_not_changed_since_is_left_alone() -> None:
    crm, bus = Crm(), Bus()
    crm.world.create(RecordType.CONTACT, {"email": "old@example.com"}, FORM)
    changed = crm.world.create(RecordType.CONTACT, {"email": "new@example.com"}, FORM)
    crm.clock.advance(HOUR)
    crm.world.update(changed, {"jobtitle": "CEO"}, FORM)
    await reconcile(crm.client, bus.publish, tenant=TENANT, since=NOON + HOUR, at=NOON, companies=True)
    assert [one.record_id for one in bus.queued] == [str(changed.id)]


async def test_a_crm_that_asks_to_wait_is_asked_again_from_where_it_stopped() -> None:
    """A page of contacts comes, then the limit is hit, then the rest: no page is told twice."""
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if "contacts/search" not in request.url.path:
            return httpx.Response(200, json={"results": []})
        above = msgspec.json.decode(request.content)["filterGroups"][0]["filters"][1]["value"]
        asked.append(above)
        if asked == ["0", "7"]:
            limit = {"policyName": "SECONDLY", "errorType": "RATE_LIMIT"}
            return httpx.Response(429, json=limit, headers={"retry-after": "0"})
        record = {"id": str(int(above) + 7), "updatedAt": "2026-11-24T12:00:00Z"}
        more = {"paging": {"next": {"after": "1"}}} if above == "0" else {}
        return httpx.Response(200, json={"total": 2, "results": [record]} | more)

    bus = Bus()
    await reconcile(
        client(httpx.MockTransport(answer)), bus.publish, tenant=TENANT, since=NOON, at=NOON, companies=True
    )
    assert [one.record_id for one in bus.queued] == ["7", "14"]
    assert asked == ["0", "7", "7"]


async def test_contacts_that_were_deleted_since_are_told_as_their_webhooks_tell_them() -> None:
    """Whatever the number of pages, and of those that were deleted before, that they come in."""
    crm, bus = Crm(), Bus()
    contacts = [crm.world.create(RecordType.CONTACT, {}, FORM) for _ in range(250)]
    for contact in contacts[:120]:
        crm.world.delete(contact, FORM)
    crm.clock.advance(HOUR)
    crm.told.clear()
    for contact in contacts[120:240]:
        crm.world.delete(contact, FORM)
    done = await reconcile(crm.client, bus.publish, tenant=TENANT, since=NOON + HOUR, at=NOON, companies=False)
    heard = door.normalise(msgspec.json.encode(crm.told), received_at=NOON).messages
    told = bus.on(Topic.CRM_EVENTS)
    assert [msgspec.structs.replace(one, reconciled=False) for one in told] == heard
    assert all(one.reconciled for one in told if isinstance(one, ContactErased))
    assert (done.deleted, bus.queued) == ({RecordType.CONTACT: 120}, [])


async def test_a_listing_that_is_asked_to_wait_for_goes_on_with_the_page_where_it_stopped() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return httpx.Response(200, json={"results": []})
        after = request.url.params.get("after", "")
        asked.append(after)
        if asked == ["", "9"]:
            limit = {"policyName": "TEN_SECONDLY_ROLLING", "errorType": "RATE_LIMIT"}
            return httpx.Response(429, json=limit, headers={"retry-after": "0"})
        record = {"id": after or "7", "updatedAt": "2026-11-24T12:00:00Z", "archivedAt": "2026-11-24T12:00:00Z"}
        return httpx.Response(200, json={"results": [record]} | ({} if after else {"paging": {"next": {"after": "9"}}}))

    crm, bus = client(httpx.MockTransport(answer)), Bus()
    done = await reconcile(crm, bus.publish, tenant=TENANT, since=NOON, at=NOON, companies=False)
    assert asked == ["", "9", "9"]
    assert [one.lead for one in bus.on(Topic.CRM_EVENTS) if isinstance(one, ContactErased)] == [
        f"{TENANT}:7",
        f"{TENANT}:9",
    ]
    assert done.deleted == {RecordType.CONTACT: 2}


async def test_a_kind_that_the_token_may_not_read_is_left_out_and_named() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if "emails" in request.url.path:
            return httpx.Response(403, json={"category": "MISSING_SCOPES"})
        return httpx.Response(200, json={"results": [{"id": "7", "updatedAt": "2026-11-24T12:00:00Z"}]})

    bus = Bus()
    done = await reconcile(
        client(httpx.MockTransport(answer)), bus.publish, tenant=TENANT, since=NOON, at=NOON, companies=True
    )
    assert {one.record for one in bus.queued} == set(KINDS) - {RecordType.EMAIL}
    assert list(done.left_out) == [RecordType.EMAIL]
    assert "scope" in done.left_out[RecordType.EMAIL]


async def test_a_crm_whose_day_is_used_up_ends_it() -> None:
    limit = httpx.Response(429, json={"policyName": "DAILY", "errorType": "RATE_LIMIT"})
    crm = client(httpx.MockTransport(lambda _: limit))
    with pytest.raises(Later, match="daily limit"):
        await reconcile(crm, Bus().publish, tenant=TENANT, since=NOON, at=NOON, companies=True)


async def test_each_reconcile_asks_for_itself() -> None:
    """What was looked up by an earlier one may have been lost since."""
    crm, bus = Crm(), Bus()
    crm.world.create(RecordType.CONTACT, {}, FORM)
    for at in (NOON, NOON + HOUR):
        await reconcile(crm.client, bus.publish, tenant=TENANT, since=NOON, at=at, companies=True)
    assert len({one.id for one in bus.queued}) == 2


# --- what is told of a contact that was queued ---


def lookups(crm: Crm) -> Lookups:
    metrics = IngestMetrics(CollectorRegistry())
    return Lookups(lambda _: crm.client, contact_properties=lambda _: ("email", "jobtitle"), metrics=metrics)


async def said(crm: Crm, contact: int, *, since: datetime) -> list[Message]:
    queued = RecordQueued(
        id="0" * 32, tenant=TENANT, at=NOON, record=RecordType.CONTACT, record_id=str(contact), since=since
    )
    (found,) = (await lookups(crm)([queued])).records.values()
    assert not isinstance(found, Refused)
    return list(found)


async def test_acts_are_told_with_the_identities_that_their_webhooks_give_them() -> None:
    """So that only those count which no webhook told."""
    crm = Crm()
    contact = crm.world.create(RecordType.CONTACT, {"email": "ada@example.com"}, FORM)
    for form in ("ebook", "demo-request"):
        crm.clock.advance(HOUR)
        crm.world.visit_page(contact, f"https://www.example.com/{form}")
        crm.world.submit_form(contact, form, "")
    heard = door.normalise(msgspec.json.encode(crm.told), received_at=NOON).messages
    kinds = (FormSubmitted, PageVisited)
    acts = {m.id: m for m in heard if isinstance(m, kinds) or (isinstance(m, ContactChanged) and m.created)}
    told = [m for m in await said(crm, contact.id, since=NOON) if isinstance(m, kinds) or m.created]  # type: ignore[attr-defined]
    assert {m.id: msgspec.structs.replace(m, reconciled=False) for m in told} == acts
    assert len(told) == 5
    assert all(m.reconciled for m in await said(crm, contact.id, since=NOON))  # type: ignore[attr-defined]


async def test_what_a_contact_did_before_is_not_told() -> None:
    crm = Crm()
    contact = crm.world.create(RecordType.CONTACT, {"email": "ada@example.com"}, FORM)
    crm.world.submit_form(contact, "ebook", "")
    crm.clock.advance(HOUR)
    crm.world.submit_form(contact, "demo-request", "")
    (_, form, changed) = await said(crm, contact.id, since=NOON + HOUR)
    assert isinstance(form, FormSubmitted)
    assert form.form == "demo-request"
    assert isinstance(changed, ContactChanged)
    assert [(value.name, value.at) for value in changed.values] == [("email", NOON)]


async def test_of_a_merged_contact_each_merge_since_then_is_told_with_whom_it_absorbed() -> None:
    """Also by whom visitors are known from then on; those of before were told before."""
    crm = Crm()
    contacts = [crm.world.create(RecordType.CONTACT, {}, FORM) for _ in range(4)]
    whole = crm.world.merge(contacts[0], contacts[1], FORM)
    for contact in contacts[2:]:
        crm.clock.advance(HOUR)
        whole = crm.world.merge(whole, contact, FORM)
    told = await said(crm, whole.id, since=NOON + HOUR)
    merges = [one for one in told if isinstance(one, ContactsMerged)]
    names = [contact.id for contact in contacts]
    assert [set(one.merged) for one in merges] == [
        {f"{TENANT}:{names[2]}", f"{TENANT}:{whole.id - 2}"},
        {f"{TENANT}:{names[3]}", f"{TENANT}:{whole.id - 1}"},
    ]
    assert {one.lead for one in merges} == {f"{TENANT}:{whole.id}"}
    assert all(one.reconciled and one.at >= NOON + HOUR for one in merges)
    replaced = {(one.former, one.lead) for one in told if isinstance(one, ContactReplaced)}
    assert replaced == {(former, one.lead) for one in merges for former in one.merged}


def test_a_merge_is_the_same_fact_in_whatever_order_its_contacts_are_named() -> None:
    one, two = ([m.id for m in door.merged_at("hubspot:1:9", gone, NOON)] for gone in (("a:1", "a:2"), ("a:2", "a:1")))
    assert one[0] == two[0]
    assert sorted(one) == sorted(two)


async def test_a_merge_of_which_the_crm_keeps_no_history_is_told_at_the_last_change() -> None:
    record = Record(id="9", updated_at=NOON, properties={"hs_merged_object_ids": "7; 8;9"})
    (_, merged, *_) = missed_of(TENANT, record, NOON)
    assert isinstance(merged, ContactsMerged)
    assert (merged.at, merged.merged) == (NOON, (f"{TENANT}:7", f"{TENANT}:8"))


async def test_a_contact_that_is_there_is_told_as_seen_when_it_was_last_changed() -> None:
    """So that one whose restore was missed is back, whatever its properties are; told again it is the same fact."""
    crm = Crm()
    contact = crm.world.create(RecordType.CONTACT, {"email": "ada@example.com"}, FORM)
    crm.clock.advance(HOUR)
    crm.world.delete(contact, FORM)
    crm.clock.advance(HOUR)
    crm.world.restore(contact, FORM)
    first, again = await said(crm, contact.id, since=NOON + HOUR), await said(crm, contact.id, since=NOON + HOUR)
    seen, known = first
    assert first == again
    assert isinstance(seen, ContactChanged)
    assert isinstance(known, ContactChanged)
    assert (seen.at, seen.values, seen.reconciled) == (NOON + 2 * HOUR, (), True)
    assert (known.at, [value.at for value in known.values]) == (NOON, [NOON])
