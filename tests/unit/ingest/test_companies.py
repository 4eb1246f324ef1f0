"""Companies: their properties as the lead's, through the real API client against the simulated CRM."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette

from services.ingest.domain.companies import values_of
from services.ingest.domain.door import Rules, normalise
from services.ingest.metrics import IngestMetrics
from services.ingest.worker import HANDLERS, Lookups
from services.scoring.domain.lead import Lead, with_values
from shared.clock import ManualClock
from shared.crm.hubspot import HubSpot, Past, Record
from shared.crm.simulator.api import Api, ApiOptions
from shared.crm.simulator.ledger import Event, Ledger
from shared.crm.simulator.world import BY_DOMAIN, FORM, Ids, World, user
from shared.crm.simulator.world import Record as InCrm
from shared.events import ContactChanged, Message, RecordQueued, RecordTouched, RecordType, identity
from shared.work import Facts
from tests.agreements import SHIPPED

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
TENANT = "hubspot:62515"
NAMES = ("industry", "numberofemployees")


class Crm:
    """A simulated CRM with what it told, and look-ups in it."""

    def __init__(self, answer: Any = None, names: tuple[str, ...] = NAMES) -> None:
        self.clock, self.told = ManualClock(NOON), list[Event]()
        ids = Ids(None, 901)
        self.world = World(clock=self.clock, ledger=Ledger(None), ids=ids, portal=62515, listener=self.told.append)
        self.api = Api(self.world, ApiOptions(token="t", rate_limit=10_000), self.clock, seed=1)
        app = httpx.ASGITransport(app=Starlette(routes=self.api.routes()))
        http = httpx.AsyncClient(transport=httpx.MockTransport(answer) if answer else app)
        client = HubSpot("http://crm.example", "t", rate=10_000, http=http)
        self.lookups = Lookups(
            lambda _: client,
            contact_properties=lambda _: ("email",),
            company_properties=lambda _: names,
            metrics=IngestMetrics(CollectorRegistry()),
        )

    def contact(self, email: str = "ada@example.com") -> InCrm:
        return self.world.create(RecordType.CONTACT, {"email": email}, FORM)

    def company(self, **properties: str) -> InCrm:
        return self.world.create(RecordType.COMPANY, properties, user(501))

    async def known_of(self, contact: InCrm, lead: Lead = Lead()) -> Lead:
        """The lead with what a look-up tells of it."""
        touched = RecordTouched(
            id=identity(contact.id), tenant=TENANT, at=NOON, record=RecordType.CONTACT, record_id=str(contact.id)
        )
        (found,) = (await self.lookups([touched])).records.values()
        assert isinstance(found, tuple)
        for message in found:
            assert isinstance(message, ContactChanged)
            lead = with_values(lead, message.values)
        return lead


def size(lead: Lead) -> str | None:
    known = lead.properties.get("company.numberofemployees")
    return known.value if known else None


async def test_a_contact_is_told_with_the_properties_of_its_company() -> None:
    crm = Crm()
    contact = crm.contact()
    crm.world.employ(contact, crm.company(numberofemployees="120", industry="INTERNET"), BY_DOMAIN)
    lead = await crm.known_of(contact)
    assert {name: value.value for name, value in lead.properties.items()} == {
        "email": "ada@example.com",
        "company.industry": "INTERNET",
        "company.numberofemployees": "120",
    }


async def test_a_contact_without_a_company_says_nothing_of_one() -> None:
    crm = Crm()
    assert list((await crm.known_of(crm.contact())).properties) == ["email"]


async def test_where_the_agreement_asks_nothing_of_companies_they_are_not_asked_for() -> None:
    crm = Crm(names=())
    contact = crm.contact()
    crm.world.employ(contact, crm.company(numberofemployees="120"), BY_DOMAIN)
    assert list((await crm.known_of(contact)).properties) == ["email"]
    assert crm.api.requests == 1


async def test_a_change_of_the_company_is_newer_than_what_was_known() -> None:
    crm = Crm()
    contact, company = crm.contact(), crm.company(numberofemployees="120")
    crm.world.employ(contact, company, BY_DOMAIN)
    before = await crm.known_of(contact)
    crm.clock.advance(HOUR)
    crm.world.update(company, {"numberofemployees": "80"}, user(501))
    assert size(await crm.known_of(contact, before)) == "80"


async def test_with_another_company_all_of_the_former_one_is_gone() -> None:
    """Also what the former one was told of later than the next one ever was, and what the next does not have."""
    crm = Crm()
    contact, old, new = crm.contact(), crm.company(numberofemployees="9"), crm.company(numberofemployees="120")
    crm.world.employ(contact, old, BY_DOMAIN)
    crm.clock.advance(HOUR)
    crm.world.update(old, {"numberofemployees": "10", "industry": "FARMING"}, user(501))
    before = await crm.known_of(contact)
    assert size(before) == "10"
    crm.clock.advance(HOUR)
    crm.world.employ(contact, new, user(501))
    after = await crm.known_of(contact, before)
    assert size(after) == "120"
    assert after.properties["company.industry"].value == ""


def past(value: str, at: int) -> Past:
    return Past(value=value, timestamp=NOON + timedelta(minutes=at))


@given(
    jobs=st.lists(st.sampled_from("abc"), min_size=1, max_size=4),
    changes=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 99)), max_size=8),
    order=st.randoms(use_true_random=False),
)
def test_whatever_is_looked_up_when_and_heard_in_any_order_the_last_company_counts(
    jobs: list[str], changes: list[tuple[str, int]], order: Any
) -> None:
    """A look-up after each move and each change; a company's history may be older than the contact's time there."""
    said, companies = [], {one: [past("1", -60)] for one in "abc"}
    job: list[Past] = []
    steps: list[tuple[str, Any]] = [("job", one) for one in jobs] + [("change", one) for one in changes]
    order.shuffle(steps)
    for at, (what, step) in enumerate(steps):
        if what == "job":
            job.insert(0, past(step, at))
        else:
            companies[step[0]].insert(0, past(str(step[1]), at))
        if job:
            contact = Record(id="1", updated_at=NOON, properties_with_history={"associatedcompanyid": job})
            known = {
                one: Record(id=one, updated_at=NOON, properties_with_history={"size": list(values)})
                for one, values in companies.items()
            }
            said += list(values_of(contact, known, ["size"]))
    order.shuffle(said)
    lead = with_values(Lead(), said)
    assert lead.properties["company.size"].value == companies[job[0].value or ""][0].value


async def test_a_token_that_may_not_read_companies_costs_no_contact() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if "companies" in request.url.path:
            return httpx.Response(403, json={"category": "MISSING_SCOPES"})
        history = {
            "email": [{"value": "ada@example.com", "timestamp": "2026-11-24T12:00:00Z"}],
            "associatedcompanyid": [{"value": "7", "timestamp": "2026-11-24T12:00:00Z"}],
        }
        record = {"id": "901", "updatedAt": "2026-11-24T12:00:00Z", "propertiesWithHistory": history}
        return httpx.Response(200, json={"results": [record]})

    crm = Crm(answer)
    lead = await crm.known_of(InCrm(type=RecordType.CONTACT, id=901, created_ms=0, changed_ms=0))
    assert list(lead.properties) == ["email"]


# --- what is looked up when a company changes ---


def heard(told: list[Event], **rules: Any) -> list[Message]:
    asked = Rules(**({"of_companies": lambda _: NAMES} | rules))
    return normalise(msgspec.json.encode(told), received_at=NOON, rules=asked).messages


def test_a_changed_company_is_queued_once_for_all_that_was_set_at_one_moment() -> None:
    crm = Crm()
    company = crm.company(name="Cobalt")
    crm.world.update(company, {"numberofemployees": "80", "industry": "FARMING"}, user(501))
    (first, second) = heard(crm.told)
    assert isinstance(first, RecordQueued)
    assert (first.record, first.record_id) == (RecordType.COMPANY, str(company.id))
    assert first == second


def test_a_property_of_companies_that_nobody_asks_about_is_ignored() -> None:
    crm = Crm()
    crm.world.update(crm.company(), {"phone": "1"}, user(501))
    assert heard(crm.told) == []
    assert heard(crm.told, of_companies=lambda _: ()) == []


@pytest.mark.parametrize("source", ["CRM_UI", "IMPORT"])
def test_whoever_gets_another_company_is_looked_up_once_for_both_sides_of_it(source: str) -> None:
    """By an import when there is time: it comes by the hundred thousand."""
    crm = Crm()
    contact, company = crm.contact(), crm.company()
    crm.told.clear()
    crm.world.employ(contact, company, BY_DOMAIN)
    told = heard([event | {"changeSource": source} for event in crm.told])
    assert len({message.id for message in told}) == 1
    assert isinstance(told[0], RecordQueued if source == "IMPORT" else RecordTouched)
    assert (told[0].record, told[0].record_id) == (RecordType.CONTACT, str(contact.id))


async def test_everybody_at_a_changed_company_is_queued() -> None:
    crm = Crm()
    contacts, company = [crm.contact(f"{n}@example.com") for n in range(3)], crm.company()
    for contact in contacts:
        crm.world.employ(contact, company, BY_DOMAIN)
    queued = RecordQueued(
        id=identity("x"), tenant=TENANT, at=NOON, record=RecordType.COMPANY, record_id=str(company.id), since=NOON
    )
    facts: Facts[Any] = Facts(now=NOON, agreement=SHIPPED, found=await crm.lookups([queued]))
    told = HANDLERS[RecordQueued](None, queued, facts).messages
    assert [m.record_id for m in told if isinstance(m, RecordQueued)] == [str(contact.id) for contact in contacts]
    assert {(m.record, m.since) for m in told if isinstance(m, RecordQueued)} == {(RecordType.CONTACT, None)}
