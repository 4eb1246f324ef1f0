"""The CRM's API answers in documented shapes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from shared.clock import ManualClock
from shared.crm.simulator.api import Api, ApiOptions
from shared.crm.simulator.ledger import Event, Ledger
from shared.crm.simulator.world import APP_ID, FORM, Ids, Record, World, user
from shared.events import RecordType

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
TOKEN = "test-token"


@dataclass
class Crm:
    world: World
    told: list[Event]
    http: httpx.AsyncClient

    def contact(self, **properties: str) -> Record:
        return self.world.create(RecordType.CONTACT, {"email": "ada@example.com", **properties}, FORM)

    async def post(self, path: str, body: Any) -> httpx.Response:
        return await self.http.post(path, json=body)


def a_crm(**options: Any) -> Crm:
    clock, told = ManualClock(NOON), list[Event]()
    world = World(clock=clock, ledger=Ledger(None), ids=Ids(None, 901), portal=62515, listener=told.append)
    app = Starlette(routes=Api(world, ApiOptions(token=TOKEN, **options), clock, seed=1).routes())
    http = httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app),
        base_url="http://crm.example",
        headers={"Authorization": f"Bearer {TOKEN}"},
    )
    return Crm(world, told, http)


@pytest.fixture
async def crm() -> AsyncIterator[Crm]:
    made = a_crm()
    async with made.http:
        yield made


async def test_batch_read_gives_the_properties_asked_for(crm: Crm) -> None:
    contact = crm.contact(jobtitle="CEO")
    asked = {"properties": ["jobtitle", "phone"], "inputs": [{"id": str(contact.id)}]}
    answer = await crm.post("/crm/v3/objects/contacts/batch/read", asked)
    (result,) = answer.json()["results"]
    assert answer.status_code == 200
    assert answer.json()["status"] == "COMPLETE"
    assert result["id"] == str(contact.id)
    assert result["properties"]["jobtitle"] == "CEO"
    assert result["properties"]["phone"] is None
    assert result["createdAt"] == "2026-11-24T12:00:00.000Z"
    assert "propertiesWithHistory" not in result


async def test_history_has_each_value_with_its_own_time_newest_first(crm: Crm) -> None:
    contact = crm.contact(jobtitle="CFO")
    crm.world.update(contact, {"jobtitle": "CEO"}, user(501))
    asked = {"propertiesWithHistory": ["jobtitle"], "inputs": [{"id": str(contact.id)}]}
    answer = await crm.post("/crm/v3/objects/contacts/batch/read", asked)
    newest, oldest = answer.json()["results"][0]["propertiesWithHistory"]["jobtitle"]
    assert (newest["value"], newest["timestamp"], newest["sourceType"]) == ("CEO", "2026-11-24T12:00:00.001Z", "CRM_UI")
    assert (oldest["value"], oldest["timestamp"]) == ("CFO", "2026-11-24T12:00:00.000Z")


async def test_missing_records_make_it_a_partial_answer(crm: Crm) -> None:
    contact = crm.contact()
    answer = await crm.post("/crm/v3/objects/contacts/batch/read", {"inputs": [{"id": str(contact.id)}, {"id": "7"}]})
    body = answer.json()
    assert answer.status_code == 207
    assert [one["id"] for one in body["results"]] == [str(contact.id)]
    assert body["numErrors"] == 1
    assert body["errors"][0]["category"] == "OBJECT_NOT_FOUND"
    assert body["errors"][0]["context"]["ids"] == ["7"]


@pytest.mark.parametrize(("more", "most"), [({}, 100), ({"propertiesWithHistory": ["email"]}, 50)])
async def test_a_batch_has_an_upper_bound(crm: Crm, more: dict[str, Any], most: int) -> None:
    inputs = [{"id": str(n)} for n in range(most + 1)]
    refused = await crm.post("/crm/v3/objects/contacts/batch/read", {"inputs": inputs, **more})
    taken = await crm.post("/crm/v3/objects/contacts/batch/read", {"inputs": inputs[:-1], **more})
    assert (refused.status_code, refused.json()["category"]) == (400, "VALIDATION_ERROR")
    assert taken.status_code == 207


async def test_our_own_writes_come_back_as_integration_webhooks(crm: Crm) -> None:
    contact = crm.contact()
    crm.told.clear()
    written = {"inputs": [{"id": str(contact.id), "properties": {"lifecyclestage": "salesqualifiedlead"}}]}
    answer = await crm.post("/crm/v3/objects/contacts/batch/update", written)
    assert answer.status_code == 200
    (event,) = crm.told
    assert (event["changeSource"], event["sourceId"]) == ("INTEGRATION", str(APP_ID))
    assert (event["propertyName"], event["propertyValue"]) == ("lifecyclestage", "salesqualifiedlead")


async def test_one_contact_is_read_and_patched(crm: Crm) -> None:
    contact = crm.contact()
    path = f"/crm/v3/objects/contacts/{contact.id}"
    patched = await crm.http.patch(path, json={"properties": {"hs_lead_status": "OPEN"}})
    read = await crm.http.get(path, params={"properties": "hs_lead_status,email"})
    assert patched.status_code == 200
    assert read.json()["properties"]["hs_lead_status"] == "OPEN"
    assert (await crm.http.get("/crm/v3/objects/contacts/7")).status_code == 404


async def test_a_deleted_record_is_listed_as_archived_and_found_no_more(crm: Crm) -> None:
    contact, other = crm.contact(), crm.contact()
    deleted = await crm.http.delete(f"/crm/v3/objects/contacts/{contact.id}")
    archived = (await crm.http.get("/crm/v3/objects/contacts", params={"archived": "true"})).json()["results"]
    there = (await crm.http.get("/crm/v3/objects/contacts")).json()["results"]
    assert deleted.status_code == 204
    assert [(one["id"], one["archived"], one["archivedAt"]) for one in archived] == [
        (str(contact.id), True, "2026-11-24T12:00:00.001Z")
    ]
    assert [(one["id"], one["archived"]) for one in there] == [(str(other.id), False)]
    assert (await crm.http.get(f"/crm/v3/objects/contacts/{contact.id}")).status_code == 404
    assert (crm.told[-1]["subscriptionType"], crm.told[-1]["objectId"]) == ("contact.deletion", contact.id)


async def test_a_restored_record_is_there_again_and_counts_as_changed(crm: Crm) -> None:
    contact = crm.contact()
    crm.world.delete(contact, user(501))
    crm.world.restore(contact, user(501))
    archived = await crm.http.get("/crm/v3/objects/contacts", params={"archived": "true"})
    read = (await crm.http.get(f"/crm/v3/objects/contacts/{contact.id}")).json()
    assert archived.json()["results"] == []
    assert read["updatedAt"] == "2026-11-24T12:00:00.002Z"
    assert crm.told[-1]["subscriptionType"] == "contact.restore"


async def test_a_listing_comes_in_pages(crm: Crm) -> None:
    contacts = [crm.contact() for _ in range(5)]
    found, asked = [], {"limit": "2"}
    while True:
        page = (await crm.http.get("/crm/v3/objects/contacts", params=asked)).json()
        found.append([int(one["id"]) for one in page["results"]])
        if "paging" not in page:
            break
        asked["after"] = page["paging"]["next"]["after"]
    ids = [contact.id for contact in contacts]
    assert found == [ids[:2], ids[2:4], ids[4:]]
    assert (await crm.http.get("/crm/v3/objects/contacts", params={"limit": "101"})).status_code == 400


async def test_a_merge_makes_a_new_record_for_which_both_old_ids_stand(crm: Crm) -> None:
    primary, other = crm.contact(jobtitle="CEO"), crm.contact(jobtitle="VP Sales", country="DE")
    deal = crm.world.create(RecordType.DEAL, {}, user(501), contacts=[other.id, primary.id])
    body = {"primaryObjectId": str(primary.id), "objectIdToMerge": str(other.id)}
    whole = (await crm.post("/crm/v3/objects/contacts/merge", body)).json()["id"]
    asked = {"properties": ["jobtitle", "country", "hs_merged_object_ids"]}
    inputs = {"inputs": [{"id": str(primary.id)}, {"id": str(other.id)}]}
    read = (await crm.post("/crm/v3/objects/contacts/batch/read", asked | inputs)).json()["results"]
    assert [one["id"] for one in read] == [whole, whole]
    known = {name: read[0]["properties"][name] for name in asked["properties"]}
    assert known == {"jobtitle": "CEO", "country": "DE", "hs_merged_object_ids": f"{primary.id};{other.id}"}
    assert deal.contacts == [int(whole)]
    assert not list(crm.world.archived_of_kind(RecordType.CONTACT))
    merge, *deletions = crm.told[-3:]
    ids = (merge["primaryObjectId"], merge["mergedObjectIds"], merge["newObjectId"])
    assert (merge["subscriptionType"], *ids) == ("contact.merge", primary.id, [other.id], int(whole))
    assert [one["objectId"] for one in deletions] == [primary.id, other.id]


async def test_a_call_is_created_with_its_association(crm: Crm) -> None:
    contact = crm.contact()
    body = {
        "properties": {"hs_call_direction": "OUTBOUND"},
        "associations": [
            {"to": {"id": contact.id}, "types": [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 194}]}
        ],
    }
    created = await crm.post("/crm/v3/objects/calls", body)
    call = int(created.json()["id"])
    answer = await crm.post("/crm/v4/associations/calls/contacts/batch/read", {"inputs": [{"id": str(call)}]})
    assert created.status_code == 201
    (result,) = answer.json()["results"]
    assert result["from"] == {"id": str(call)}
    assert result["to"][0]["toObjectId"] == contact.id
    assert result["to"][0]["associationTypes"][0] == {"category": "HUBSPOT_DEFINED", "typeId": 194, "label": None}


async def test_a_record_without_associations_is_an_error_of_its_own(crm: Crm) -> None:
    contact = crm.contact()
    answer = await crm.post("/crm/v4/associations/contacts/deals/batch/read", {"inputs": [{"id": str(contact.id)}]})
    assert answer.status_code == 207
    assert answer.json()["errors"][0]["subCategory"] == "crm.associations.NO_ASSOCIATIONS_FOUND"


async def test_associations_are_found_from_the_contact_too(crm: Crm) -> None:
    contact = crm.contact()
    deal = crm.world.create(RecordType.DEAL, {}, user(501), contacts=[contact.id])
    answer = await crm.post("/crm/v4/associations/0-1/0-3/batch/read", {"inputs": [{"id": str(contact.id)}]})
    assert answer.json()["results"][0]["to"][0]["toObjectId"] == deal.id


async def test_owners_are_listed(crm: Crm) -> None:
    owners = (await crm.http.get("/crm/v3/owners")).json()["results"]
    one = await crm.http.get(f"/crm/v3/owners/{owners[0]['id']}")
    assert {"id", "email", "firstName", "lastName", "userId", "archived"} <= owners[0].keys()
    assert one.json() == owners[0]


async def test_without_the_token_nobody_gets_in(crm: Crm) -> None:
    answer = await crm.http.get("/crm/v3/owners", headers={"Authorization": "Bearer wrong"})
    assert answer.status_code == 401
    assert answer.json()["category"] == "INVALID_AUTHENTICATION"


async def test_too_many_requests_are_told_their_policy() -> None:
    crm = a_crm(rate_limit=3)
    async with crm.http:
        answers = [await crm.http.get("/crm/v3/owners") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[-1].json()["policyName"] == "TEN_SECONDLY_ROLLING"
    assert answers[-1].json()["errorType"] == "RATE_LIMIT"
    assert "retry-after" not in answers[-1].headers


async def test_a_share_of_requests_fails() -> None:
    crm = a_crm(failures=0.5, rate_limit=1000)
    async with crm.http:
        answers = [(await crm.http.get("/crm/v3/owners")).status_code for _ in range(100)]
    assert 20 < sum(status >= 500 for status in answers) < 80


async def test_what_is_no_request_of_the_api_is_refused(crm: Crm) -> None:
    nonsense = await crm.http.post("/crm/v3/objects/contacts/batch/read", content=b"{")
    unknown = await crm.post("/crm/v3/objects/unicorns/batch/read", {"inputs": []})
    assert (nonsense.status_code, unknown.status_code) == (400, 400)
