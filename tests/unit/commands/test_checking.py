"""The check against the CRM: a property that it does not have, a person who is gone, and when it cannot be asked."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from services.commands.checking import NOT_ASKED, check
from shared.clock import SystemClock
from shared.crm.hubspot import HubSpot
from shared.crm.simulator.api import Api, ApiOptions
from shared.crm.simulator.ledger import Ledger
from shared.crm.simulator.world import Ids, World

TOKEN = "t"
SMALL = Path(__file__).parents[1] / "agreement" / "broken" / "trigger-that-nobody-can-fire.yaml"


def crm() -> httpx.AsyncClient:
    """The simulated CRM, where ana@sales.example is owner 501."""
    world = World(clock=SystemClock(), ledger=Ledger(None), ids=Ids(None, 1), portal=7, listener=lambda _: None)
    api = Api(world, ApiOptions(token=TOKEN), SystemClock(), seed=1)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=Starlette(routes=api.routes())))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """An agreement in which the people are the CRM's, but for what each test changes."""
    text = SMALL.read_text("utf-8").replace("grade: [A1, A2], fit: B", "definition: mql")
    text = text.replace("numberofemployees", "company.numberofemployees")
    for name, owner in (("ioana@example.com", "Ana@sales.example"), ("dan@example.com", "ben@sales.example")):
        text = text.replace(name, owner)
    path = tmp_path / "agreement.yaml"
    path.write_text(text.replace("elena@example.com", "carla@sales.example"), "utf-8")
    return path


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text("utf-8")
    assert old in text
    file.write_text(text.replace(old, new), "utf-8")


async def found(file: Path, token: str = TOKEN) -> tuple[list[str], list[str]]:
    """What is wrong, without the place; and what was said."""
    said: list[str] = []
    environ = {"LEADPACT_HUBSPOT_TOKEN": token, "LEADPACT_HUBSPOT_API": "http://crm.example"}
    problems = await check([file], environ, say=said.append, http=crm())
    return [f"{problem.severity}: {problem.key}: {problem.text}" for problem in problems], said


async def test_what_the_crm_has_is_right(file: Path) -> None:
    assert await found(file) == ([], [])


async def test_a_property_that_the_crm_does_not_have_is_told_with_what_may_be_meant(file: Path) -> None:
    change(file, "company.numberofemployees", "numemployes")
    assert (await found(file))[0] == [
        "warning: qualification.fit.rules[0].when.numemployes.between: numemployes is no property of contacts in"
        " the CRM; did you mean numemployees?"
    ]


async def test_a_property_of_companies_is_looked_for_among_those_of_companies(file: Path) -> None:
    change(file, "numberofemployees", "numberofemployes")
    assert (await found(file))[0] == [
        "warning: qualification.fit.rules[0].when.company.numberofemployes.between: company.numberofemployes is no"
        " property of companies in the CRM; did you mean company.numberofemployees?"
    ]


async def test_a_token_that_may_not_read_companies_checks_all_else(file: Path) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if "companies" in request.url.path:
            return httpx.Response(403, json={"category": "MISSING_SCOPES"})
        return httpx.Response(200, json={"results": []})

    change(file, "numberofemployees", "numberofemployes")
    said: list[str] = []
    environ = {"LEADPACT_HUBSPOT_TOKEN": TOKEN, "LEADPACT_HUBSPOT_API": "http://crm.example"}
    http = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    problems = await check([file], environ, say=said.append, http=http)
    assert not any("numberofemployes" in problem.text for problem in problems)
    assert [text.partition(":")[0] for text in said] == ["the CRM was not asked for the properties of companies"]


async def test_a_person_who_is_not_in_the_crm_any_more_is_told(file: Path) -> None:
    change(file, "ben@sales.example", "gone@sales.example")
    assert (await found(file))[0] == [
        "warning: handoff.teams.bucharest.members.gone@sales.example: is no owner in the CRM, or not any more"
    ]


async def test_an_id_that_nobody_has_in_the_crm_is_told(file: Path) -> None:
    change(file, "ben@sales.example: 1", "dan@example.com: {crm_owner: 99}")
    assert (await found(file))[0] == [
        "warning: handoff.teams.bucharest.members.dan@example.com.crm_owner: 99 is nobody's in the CRM, or not any more"
    ]


async def test_an_id_of_the_crm_stands_for_a_person_of_another_address(file: Path) -> None:
    change(file, "ben@sales.example: 1", "dan@example.com: {crm_owner: 502}")
    assert await found(file) == ([], [])


async def test_a_crm_that_refuses_the_token_was_not_asked(file: Path) -> None:
    change(file, "numberofemployees", "numberofemployes")
    problems, said = await found(file, token="another")
    assert problems == []
    assert said == [f"{NOT_ASKED}: the CRM refuses the token or its scopes: see LEADPACT_HUBSPOT_TOKEN"]


async def test_without_a_token_the_crm_is_not_asked(file: Path) -> None:
    assert await found(file, token="") == ([], [f"{NOT_ASKED}: LEADPACT_HUBSPOT_TOKEN is not set"])


async def test_a_crm_with_more_owners_than_a_page_holds_is_asked_for_all() -> None:
    async def owners(request: Request) -> Response:
        if request.query_params.get("after") == "2":
            return JSONResponse({"results": [{"id": "2", "email": "Ben@x.example"}, {"id": "3", "email": None}]})
        return JSONResponse({"results": [{"id": "1", "email": "ana@x.example"}], "paging": {"next": {"after": "2"}}})

    app = Starlette(routes=[Route("/crm/v3/owners", owners)])
    hubspot = HubSpot(
        "http://crm.example", TOKEN, rate=1000, http=httpx.AsyncClient(transport=httpx.ASGITransport(app))
    )
    assert await hubspot.owners() == {"ana@x.example": "1", "ben@x.example": "2"}
    await hubspot.close()
