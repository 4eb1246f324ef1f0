"""A form of which only the guid was told is known by its name, so that HubSpot's own word of it is no second one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette

from services.ingest import form_names
from services.ingest.domain import forms
from services.ingest.domain.visitors import Visitor
from services.ingest.form_names import AGAIN_S, Form, FormNames
from services.ingest.metrics import IngestMetrics
from services.ingest.worker import HANDLERS, Lookups
from services.scoring.domain import lead as leads
from shared.clock import ManualClock
from shared.crm.hubspot import HubSpot
from shared.crm.simulator.api import Api, ApiOptions
from shared.crm.simulator.ledger import Ledger
from shared.crm.simulator.world import FORM, Ids, World, form_guid
from shared.errors import Later
from shared.events import FormSubmitted, RecordType, VisitorSeen
from shared.work import Facts
from tests.agreements import SHIPPED

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
TENANT, LEAD = "hubspot:62515", "hubspot:62515:901"
DEMO = Form(TENANT, form_guid("demo-request"))


class Crm:
    """A CRM with one contact that submitted one form, and how often it was asked."""

    def __init__(self, *, token: str = "t", answer: httpx.Response | None = None, **options: Any) -> None:
        clock, self.registry = ManualClock(NOON), CollectorRegistry()
        world = World(clock=clock, ledger=Ledger(None), ids=Ids(None, 901), portal=62515, listener=lambda _: None)
        world.submit_form(world.create(RecordType.CONTACT, {}, FORM), "Pricing: demo-request", "")
        self.api = Api(world, ApiOptions(token="t", **options), clock, seed=1)
        mocked = httpx.MockTransport(lambda _: answer) if answer else None
        transport = mocked or httpx.ASGITransport(app=Starlette(routes=self.api.routes()))
        self.client = HubSpot("http://crm.example", token, rate=1000, http=httpx.AsyncClient(transport=transport))
        self.now = 0.0
        metrics = IngestMetrics(self.registry)
        self.names = FormNames(lambda _: self.client, metrics, monotonic=lambda: self.now)
        self.lookups = Lookups(lambda _: self.client, contact_properties=lambda _: (), metrics=metrics)

    def counted(self, outcome: str) -> float | None:
        return self.registry.get_sample_value("leadpact_crm_lookups_total", {"kind": "form", "outcome": outcome})


def submission(form: str) -> VisitorSeen:
    said = forms.Field(name="email", value="ada@example.com")
    at_ms = int(NOON.timestamp() * 1000) + 5_000
    told = forms.Submission(conversion_id="c-1", submitted_at=at_ms, values=[said], form_guid=form)
    (seen, _) = forms.messages_of(told, TENANT)
    assert isinstance(seen, VisitorSeen)
    return seen


async def told(crm: Crm, form: str) -> FormSubmitted:
    seen = submission(form)
    facts = Facts(now=NOON, agreement=SHIPPED, key=seen.key, found=await crm.lookups([seen]))
    (message,) = HANDLERS[VisitorSeen](Visitor(key=seen.key, known_as=LEAD), seen, facts).messages
    assert isinstance(message, FormSubmitted)
    return message


async def test_a_submission_by_the_guid_and_the_property_that_names_the_form_are_one() -> None:
    submitted = await told(Crm(), DEMO.said)
    assert submitted.form == "demo-request"
    lead = leads.with_form(leads.Lead(), "property", NOON.timestamp(), "Pricing: demo-request", "")
    lead = leads.with_form(lead, submitted.id, submitted.at.timestamp(), submitted.form, "")
    assert len(leads.submissions(lead)) == 1


async def test_by_whichever_name_it_is_told_it_is_the_same_fact() -> None:
    assert (await told(Crm(), DEMO.said)).id == (await told(Crm(answer=httpx.Response(404)), DEMO.said)).id


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (httpx.Response(404, json={"category": "OBJECT_NOT_FOUND"}), "missing"),
        (httpx.Response(403, json={"category": "MISSING_SCOPES"}), "refused"),
    ],
)
async def test_where_the_crm_does_not_tell_the_guid_stays(answer: httpx.Response, outcome: str) -> None:
    crm = Crm(answer=answer)
    assert (await told(crm, DEMO.said)).form == DEMO.said
    assert crm.counted(outcome) == 1


async def test_without_a_token_the_guid_stays() -> None:
    assert await FormNames(lambda _: None, IngestMetrics(CollectorRegistry()))([DEMO]) == {}


async def test_a_crm_that_is_away_is_waited_for() -> None:
    with pytest.raises(Later, match="asks to wait"):
        await Crm(rate_limit=0).lookups([submission(DEMO.said)])


@pytest.mark.parametrize("status", [401, 403])
async def test_a_token_that_is_refused_is_waited_for_too(status: int) -> None:
    """Told under its guid now, the submission would be told so for good."""
    crm = Crm(answer=httpx.Response(status))
    with pytest.raises(Later, match="refuses the token"):
        await told(crm, DEMO.said)
    assert crm.counted("failed") == 1


async def test_a_name_is_no_guid_and_nobody_is_asked() -> None:
    crm = Crm()
    assert (await told(crm, "demo-request")).form == "demo-request"
    assert crm.api.requests == 0


async def test_it_is_asked_once_an_hour_whatever_the_answer() -> None:
    crm, unknown = Crm(), Form(TENANT, form_guid("nothing"))
    for _ in range(3):
        assert await crm.names([DEMO, unknown, DEMO]) == {DEMO: "demo-request"}
    assert crm.api.requests == 2
    crm.now = AGAIN_S
    await crm.names([DEMO])
    assert crm.api.requests == 3


async def test_only_the_latest_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(form_names, "MAX_KEPT", 2)
    crm, others = Crm(), [Form(TENANT, form_guid(str(n))) for n in range(2)]
    await crm.names([DEMO])
    await crm.names(others)
    await crm.names(others)
    assert crm.api.requests == 3
    await crm.names([DEMO])
    assert crm.api.requests == 4


async def test_the_same_guid_of_another_tenant_is_another_form() -> None:
    crm = Crm()
    await crm.names([DEMO, Form("hubspot:7", DEMO.said)])
    assert crm.api.requests == 2
