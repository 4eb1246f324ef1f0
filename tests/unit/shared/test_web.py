"""HTTP as every service speaks it: problems, tokens, health, metrics; real parts, none of them there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import APIRouter
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from pydantic import BaseModel

from shared.agreement import Agreements, load
from shared.bus.embedded import EmbeddedBus
from shared.clock import SystemClock
from shared.database import make_engine
from shared.errors import Broken, Later, LeadpactError, Refused, WrongSetting
from shared.metrics import CommonMetrics
from shared.web import Parts, Problem, Scope, Service, Supervisor, Tokens, caller, create_app, problem_of

AGREEMENT = Path(__file__).parents[3] / "deploy" / "agreement.yaml"
NOWHERE = "postgresql://nobody:secret@127.0.0.1:1/nothing"  # nothing listens there
PERSON = "ana@example.test"


class Wish(BaseModel):
    number: int


def tokens() -> Tokens:
    roles = ("sales", "admin", "sales/own", "marketing/team", "marketing/all")
    return Tokens([Tokens.entry(f"{role} token", role=role, person=f"a {role} person") for role in roles])


def parts() -> Parts:
    registry = CollectorRegistry()
    return Parts(
        environ={},
        clock=SystemClock(),
        bus=EmbeddedBus(NOWHERE),
        engine=make_engine(NOWHERE),
        agreements=Agreements(load(AGREEMENT)),
        registry=registry,
        metrics=CommonMetrics(registry),
        tokens=tokens(),
    )


ERRORS: dict[str, Exception] = {
    "later": Later("database_away", "the database did not answer", after_s=7.2),
    "soon": Later("busy", "busy", after_s=0.01),
    "broken": Broken("topic_missing", "there is no topic"),
    "unknown": Refused("unknown", "there is no such lead"),
    "impossible": Refused("impossible", "not in this state"),
    "stale": Refused("stale", "somebody was faster"),
    "refused": Refused("no_agreement", "the agreement is for others"),
    "unforeseen": ValueError(PERSON),
    "problem": Problem(413, "too_large", "too large", headers={"Retry-After": "3"}, limit=5),
}


def router(known: Tokens) -> APIRouter:
    router = APIRouter()

    @router.get("/leads/{lead}")
    async def lead(lead: str) -> dict[str, str]:
        return {"lead": lead}

    @router.post("/wishes")
    async def wish(wish: Wish) -> Wish:
        return wish

    @router.get("/errors/{name}")
    async def error(name: str) -> None:
        raise ERRORS[name]

    @router.get("/anyone", dependencies=[caller(known)])
    async def anyone() -> str:
        return "ok"

    @router.get("/scoped", dependencies=[caller(known, scoped=True)])
    async def scoped() -> str:
        return "ok"

    @router.get("/marketing", dependencies=[caller(known, "marketing")])
    async def marketing() -> str:
        return "ok"

    return router


async def door(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 202, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def client(*services: Service, given: Parts | None = None) -> httpx.AsyncClient:
    given = given or parts()
    first = Service(name="shop", router=router(given.tokens), doors={"/door": door})
    app = create_app([first, *services], given)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://shop")


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with client() as http:
        yield http


# --- problems ---


@pytest.mark.parametrize(
    ("name", "status", "code", "retry"),
    [
        ("later", 503, "database_away", "7"),
        ("soon", 503, "busy", "1"),
        ("broken", 500, "topic_missing", None),
        ("unknown", 404, "unknown", None),
        ("impossible", 409, "impossible", None),
        ("stale", 412, "stale", None),
        ("refused", 422, "no_agreement", None),
        ("unforeseen", 500, "broken", None),
        ("problem", 413, "too_large", "3"),
    ],
)
async def test_an_error_of_ours_is_a_problem_with_its_status_and_code(
    http: httpx.AsyncClient, name: str, status: int, code: str, retry: str | None
) -> None:
    answer = await http.get(f"/errors/{name}")
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers.get("retry-after") == retry
    said = answer.json()
    assert (said["type"], said["title"], said["status"]) == (f"urn:leadpact:{code}", code, status)
    assert said["detail"]


async def test_a_problem_may_say_more(http: httpx.AsyncClient) -> None:
    assert (await http.get("/errors/problem")).json()["limit"] == 5


@pytest.mark.parametrize("error", [error for error in ERRORS.values() if isinstance(error, LeadpactError)])
def test_every_error_of_ours_has_a_face(error: LeadpactError) -> None:
    assert 400 <= problem_of(error).status < 600


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nowhere", 404), ("PUT", "/wishes", 405)])
async def test_what_is_not_there_is_a_problem_too(http: httpx.AsyncClient, method: str, path: str, status: int) -> None:
    answer = await http.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status
    assert ("allow" in answer.headers) is (status == 405)


async def test_a_request_that_does_not_fit_hears_where_and_why_and_not_its_own_words(http: httpx.AsyncClient) -> None:
    answer = await http.post("/wishes", json={"number": PERSON})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["where"] == "body.number"
    assert "integer" in answer.json()["errors"][0]["why"]
    assert PERSON not in answer.text


async def test_the_description_tells_each_problem_as_it_really_comes(http: httpx.AsyncClient) -> None:
    spec = (await http.get("/openapi.json")).json()
    answers = {path: one["responses"] for path, (one,) in ((p, list(o.values())) for p, o in spec["paths"].items())}
    assert {*answers["/anyone"]} == {"200", "401", "403", "503"}
    assert {*answers["/wishes"]} == {"200", "422"}
    assert {*answers["/agreements/{version}"]} == {"200", "401", "403", "404", "422", "503"}
    problems = [said for one in answers.values() for status, said in one.items() if status != "200"]
    assert {tuple(said["content"]) for said in problems} == {("application/problem+json",)}
    assert {"ProblemView", "Mistake"} <= {*spec["components"]["schemas"]}
    assert "HTTPValidationError" not in json.dumps(spec)


async def test_each_operation_is_called_as_its_function_is(http: httpx.AsyncClient) -> None:
    spec = (await http.get("/openapi.json")).json()
    names = [one["operationId"] for operations in spec["paths"].values() for one in operations.values()]
    assert {"lead", "wish", "agreements", "healthz"} <= {*names}
    assert len(names) == len({*names})


# --- tokens ---


@pytest.mark.parametrize(
    ("path", "token", "status"),
    [
        ("/anyone", None, 401),
        ("/anyone", "wrong token", 401),
        ("/anyone", "sales token", 200),
        ("/marketing", None, 401),
        ("/marketing", "sales token", 403),
        ("/marketing", "admin token", 200),
        ("/marketing", "marketing/all token", 200),
        ("/marketing", "marketing/team token", 403),
        ("/anyone", "sales/own token", 403),
        ("/scoped", "sales/own token", 200),
        ("/scoped", "sales token", 200),
        ("/scoped", None, 401),
    ],
)
async def test_who_may_come_in(http: httpx.AsyncClient, path: str, token: str | None, status: int) -> None:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = await http.get(path, headers=headers)
    assert answer.status_code == status
    assert answer.headers.get("www-authenticate") == ("Bearer" if status == 401 else None)


def test_a_token_is_known_by_its_hash_alone() -> None:
    entry = Tokens.entry("sesame", role="ops", person="Ana: of Ops")
    assert "sesame" not in entry
    assert entry.startswith(hashlib.sha256(b"sesame").hexdigest())
    found = Tokens([entry.upper().replace("OPS:ANA: OF OPS", "ops:Ana: of Ops")]).find("sesame")
    assert found is not None
    assert (found.role, found.person) == ("ops", "Ana: of Ops")
    assert Tokens([entry]).find("Sesame") is None


@pytest.mark.parametrize(
    ("role", "scope"),
    [
        *(("sales", Scope.ALL), ("sales/all", Scope.ALL), ("sales/own", Scope.OWN), ("sales/team", Scope.TEAM)),
        *(("ops/team", Scope.TEAM), ("marketing/own", Scope.OWN), ("admin/all", Scope.ALL)),
    ],
)
def test_a_role_may_be_narrowed_to_whose_leads_somebody_sees(role: str, scope: Scope) -> None:
    found = Tokens([Tokens.entry("sesame", role=role, person="Ana/Ops: of Ops")]).find("sesame")
    assert found is not None
    assert (found.role, found.person, found.scope) == (role.partition("/")[0], "Ana/Ops: of Ops", scope)


ZEROS = "0" * 64


@pytest.mark.parametrize(
    "entry",
    [
        *("sesame", "sesame:ops:ana", f"{ZEROS}:boss:ana", f"{ZEROS}:ops:", "a:b"),
        *(f"{ZEROS}:sales/:ana", f"{ZEROS}:sales/mine:ana", f"{ZEROS}:sales/own/team:ana", f"{ZEROS}:admin/own:ana"),
    ],
)
def test_a_wrong_entry_stops_the_start_and_is_not_quoted(entry: str) -> None:
    good = Tokens.entry("sesame", role="ops", person="Ana")
    with pytest.raises(WrongSetting, match="entry 2") as wrong:
        Tokens([good, entry])
    assert wrong.value.key == "LEADPACT_TOKENS"
    assert entry not in str(wrong.value)


# --- health ---


async def test_a_living_process_says_so_whatever_is_away(http: httpx.AsyncClient) -> None:
    assert (await http.get("/healthz")).json() == {"status": "ok"}


async def test_without_bus_and_database_it_is_not_ready_and_says_what_it_lacks(http: httpx.AsyncClient) -> None:
    answer = await http.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["ready"] is False
    assert len(answer.json()["lacks"]) == 2
    assert "secret" not in answer.text


def lacking(*lacks: str) -> Callable[[], Any]:
    async def unready() -> Sequence[str]:
        return lacks

    return unready


async def test_a_service_s_own_lack_is_told(http: httpx.AsyncClient) -> None:
    async with client(Service(name="other", unready=lacking("the spool is full"))) as http:
        assert "the spool is full" in (await http.get("/readyz")).json()["lacks"]


@pytest.mark.parametrize(("lacks", "status"), [((), 200), (("the spool is full",), 503)])
async def test_a_service_that_bears_outages_is_ready_until_it_lacks_something_itself(
    lacks: tuple[str, ...], status: int
) -> None:
    given = parts()
    app = create_app([Service(name="door", bears_outages=True, unready=lacking(*lacks))], given)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://door") as http:
        answer = await http.get("/readyz")
    assert answer.status_code == status
    assert len(answer.json()["lacks"]) == 2 + len(lacks)


# --- metrics ---


async def observed(http: httpx.AsyncClient) -> set[tuple[str, str, str]]:
    """(route, method, status) of every request so far."""
    text = (await http.get("/metrics")).text
    (family,) = [f for f in text_string_to_metric_families(text) if f.name == "leadpact_request_seconds"]
    return {(s.labels["route"], s.labels["method"], s.labels["status"]) for s in family.samples}


@pytest.mark.parametrize(
    ("method", "path", "seen"),
    [
        ("GET", f"/leads/{PERSON}", ("/leads/{lead}", "GET", "200")),
        ("GET", "/errors/unknown", ("/errors/{name}", "GET", "404")),
        ("GET", f"/nowhere/{PERSON}", ("other", "GET", "404")),
        ("POST", "/door", ("/door", "POST", "202")),
        ("GET", f"/door/{PERSON}", ("other", "GET", "404")),
    ],
)
async def test_a_request_is_observed_by_its_route_and_never_by_its_path(
    http: httpx.AsyncClient, method: str, path: str, seen: tuple[str, str, str]
) -> None:
    await http.request(method, path)
    assert seen in await observed(http)
    assert PERSON not in (await http.get("/metrics")).text


async def test_a_service_brings_its_numbers_up_to_date_before_they_are_shown() -> None:
    given = parts()

    async def refresh() -> None:
        given.metrics.outbox_pending.labels("other").set(17)

    async with client(Service(name="other", refresh=refresh), given=given) as http:
        assert 'leadpact_outbox_pending{service="other"} 17.0' in (await http.get("/metrics")).text


# --- the life of the app ---


async def test_opening_comes_before_the_tasks_and_closing_after_them() -> None:
    happened: list[str] = []
    given = parts()

    def does(what: str) -> Callable[[], Any]:
        async def do() -> None:
            happened.append(what)

        return do

    service = Service(name="shop", open=does("open"), tasks={"work": does("work")}, close=does("close"))
    app = create_app([service], given)
    async with app.router.lifespan_context(app):
        supervisor: Supervisor = app.state.supervisor
        while "work" not in happened:
            await supervisor._tasks[0]
    assert happened == ["open", "work", "close"]


async def test_what_cannot_open_stops_the_start_and_is_remembered() -> None:
    async def wrong() -> None:
        raise WrongSetting("SHOP_KEY", "is not set")

    app = create_app([Service(name="shop", open=wrong)], parts())
    with pytest.raises(WrongSetting):
        async with app.router.lifespan_context(app):
            pass
    assert isinstance(app.state.supervisor.broken, WrongSetting)
