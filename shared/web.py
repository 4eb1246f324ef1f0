"""HTTP for every service: one app from its parts, problem+json, health, metrics, tokens, supervision."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import difflib
import hashlib
import hmac
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, FastAPI, Header, Query, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from pydantic import BaseModel, Field
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from shared import versions
from shared.agreement import Agreements
from shared.agreement.following import Following
from shared.agreement.model import Agreement
from shared.bus import Bus
from shared.clock import Clock, SystemClock
from shared.database import database_errors_are_later, missing_schemas
from shared.errors import Broken, Later, LeadpactError, WrongSetting
from shared.languages import Language, asked_for
from shared.log import Log
from shared.metrics import CommonMetrics

log = Log("leadpact.web")

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
ROLES: Final = ("sales", "marketing", "ops", "admin")
RESTART_AFTER_S: Final = 1.0


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What every service is built from; made once, at the edge.

    `clock` is business time and may run fast; `wall` is real time, for what is about the network.
    """

    environ: Mapping[str, str]
    clock: Clock
    bus: Bus
    engine: AsyncEngine
    agreements: Agreements
    registry: CollectorRegistry
    metrics: CommonMetrics
    tokens: Tokens
    wall: Clock = field(default_factory=SystemClock)
    following: Following | None = None  # keeps `agreements` to their files; None: they stay as they are


@dataclass(frozen=True, kw_only=True)
class Service:
    """A service ready to run: its routes, what runs beside them, and what it lacks to be ready."""

    name: str
    router: APIRouter = field(default_factory=APIRouter)
    doors: Mapping[str, ASGIApp] = field(default_factory=dict)  # exact paths answered before the framework
    tasks: Mapping[str, Callable[[], Awaitable[None]]] = field(default_factory=dict)
    unready: Callable[[], Awaitable[Sequence[str]]] | None = None
    refresh: Callable[[], Awaitable[None]] | None = None  # before each scrape of /metrics
    to_rescore: Callable[[], Mapping[tuple[str, str], int]] | None = None  # leads, by tenant and version in force
    open: Callable[[], Awaitable[None]] | None = None  # before the first request; what it raises stops the start
    close: Callable[[], Awaitable[None]] | None = None
    bears_outages: bool = False  # does its work while the bus or the database is away


# --- tokens ---


class Scope(StrEnum):
    """Whose leads somebody may see and work on: those they own, those of the teams they are in or manage, or all."""

    OWN = "own"
    TEAM = "team"
    ALL = "all"


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """Who sent a request."""

    role: str
    person: str
    scope: Scope = Scope.ALL


class Tokens:
    """Who may use the API; only hashes are kept."""

    def __init__(self, entries: Sequence[str]) -> None:
        """Entries `sha256-of-token:role:person`, the role alone or with a scope, as sales/own. Raises WrongSetting."""
        self._callers: dict[str, Caller] = {}
        for number, entry in enumerate(entries, start=1):
            digest, _, rest = entry.partition(":")
            said, _, person = rest.partition(":")
            role, slash, scope = said.partition("/")
            if not _is_digest(digest) or role not in ROLES or not person or (slash and not _may_have(role, scope)):
                raise WrongSetting(
                    "LEADPACT_TOKENS",
                    f"entry {number} must be sha256-of-token:role:person, the role one of {', '.join(ROLES)};"
                    " all but admin may be narrowed, as sales/own or sales/team",
                )
            self._callers[digest.lower()] = Caller(role=role, person=person, scope=Scope(scope or Scope.ALL))

    @staticmethod
    def entry(token: str, *, role: str, person: str) -> str:
        """The entry that lets `token` in."""
        return f"{hashlib.sha256(token.encode()).hexdigest()}:{role}:{person}"

    def find(self, token: str) -> Caller | None:
        digest = hashlib.sha256(token.encode()).hexdigest()
        found = None
        for known, caller in self._callers.items():
            if hmac.compare_digest(known, digest):
                found = caller
        return found


_is_digest: Final = re.compile(r"[0-9a-fA-F]{64}\Z").match  # of SHA-256
_bearer = HTTPBearer(auto_error=False)


def _may_have(role: str, scope: str) -> bool:
    return scope in list(Scope) and (role != "admin" or scope == Scope.ALL)


def caller(tokens: Tokens, *roles: str, scoped: bool = False) -> Any:
    """A FastAPI dependency: the Caller, who must have one of `roles` (any when none are named).

    `scoped`: the route keeps to the caller's scope itself. Every other route shows what is nobody's own,
    and is closed to who may not see all.
    """

    def check(credentials: HTTPAuthorizationCredentials | None = Depends(_bearer)) -> Caller:
        found = tokens.find(credentials.credentials) if credentials else None
        if found is None:
            headers = {"WWW-Authenticate": "Bearer"}
            raise Problem(401, "unauthorized", "a token is needed: Authorization: Bearer …", headers=headers)
        if roles and found.role not in (*roles, "admin"):
            raise Problem(403, "forbidden", f"this needs one of the roles {', '.join(roles)}")
        if not scoped and found.scope is not Scope.ALL:
            raise Problem(
                403, "forbidden", f"this shows more than the leads of a token with {found.role}/{found.scope}"
            )
        return found

    return Depends(check)


# --- languages ---


def _language(
    response: Response,
    lang: Annotated[
        str, Query(max_length=35, description="a language, as ro; goes before Accept-Language; unknown: English")
    ] = "",
    accept_language: Annotated[str, Header(max_length=1000)] = "",
) -> Language:
    chosen = asked_for(accept_language, lang)
    response.headers["Content-Language"] = chosen.code
    response.headers["Vary"] = "Accept-Language"
    return chosen


InLanguage = Annotated[Language, Depends(_language)]  # the language that a request asks for; the answer names it


# --- problems ---


class Problem(Exception):
    """An answer that is an error, as application/problem+json. `code` is stable and machine-readable."""

    def __init__(
        self, status: int, code: str, detail: str, *, headers: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})
        self.more = more

    def response(self) -> Response:
        body = {"type": f"urn:leadpact:{self.code}", "title": self.code, "status": self.status, "detail": self.detail}
        return JSONResponse(
            body | self.more, status_code=self.status, headers=self.headers, media_type="application/problem+json"
        )


STATUS_OF: Final = {"unknown": 404, "impossible": 409, "stale": 412, "unreadable": 500}


def problem_of(error: LeadpactError) -> Problem:
    """The HTTP face of an error of ours."""
    if isinstance(error, Later):
        return Problem(503, error.code, error.message, headers={"Retry-After": str(max(1, round(error.after_s)))})
    if isinstance(error, Broken):
        return Problem(500, error.code, error.message)
    return Problem(STATUS_OF.get(error.code, 422), error.code, error.message)


def _answer_problems(app: FastAPI) -> None:
    @app.exception_handler(Problem)
    async def _problem(_: Request, error: Problem) -> Response:
        return error.response()

    @app.exception_handler(LeadpactError)
    async def _ours(_: Request, error: LeadpactError) -> Response:
        return problem_of(error).response()

    @app.exception_handler(HTTPException)
    async def _http(_: Request, error: HTTPException) -> Response:
        return Problem(error.status_code, "http_error", str(error.detail), headers=error.headers).response()

    @app.exception_handler(Exception)
    async def _unforeseen(_: Request, error: Exception) -> Response:
        return Problem(500, "broken", "the request could not be handled").response()

    @app.exception_handler(RequestValidationError)
    async def _invalid(_: Request, error: RequestValidationError) -> Response:
        # the value itself may be personal: only where and why
        errors = [{"where": ".".join(map(str, e["loc"])), "why": e["msg"]} for e in error.errors()]
        return Problem(422, "invalid", "the request does not fit", errors=errors).response()


class Mistake(BaseModel):
    """What does not fit in a request."""

    where: str
    why: str


class ProblemView(BaseModel):
    """An error, as application/problem+json (RFC 9457)."""

    type: str = Field(description="urn:leadpact:{code}")
    title: str = Field(description="the code, which is stable")
    status: int
    detail: str = Field(description="for a person")
    possible: list[str] | None = Field(default=None, description="of 409: the commands that fit the state")
    version: int | None = Field(default=None, description="of 412: the version that the lead has now")
    merged_into: str | None = Field(default=None, description="of 404: the lead that it is part of by now")
    errors: list[Mistake] | None = Field(default=None, description="of 422: what does not fit")


_EVERYWHERE: Final = {
    401: "No token, or one that nobody has",
    403: "The token's role or scope may not do this",
    503: "The database is away: try again after Retry-After",
}


def described(said: Mapping[int, str]) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that answers with these problems."""
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemView"}}}
    return {status: {"description": text, "content": content} for status, text in said.items()}


def _describe_problems(spec: dict[str, Any]) -> None:
    """Say of every route that asks for a token which problems it may answer with, as they really are."""
    schemas: dict[str, Any] = spec.setdefault("components", {}).setdefault("schemas", {})
    view = ProblemView.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= {**view.pop("$defs"), "ProblemView": view}
    for framework in ("HTTPValidationError", "ValidationError"):
        schemas.pop(framework, None)
    for path, operations in spec["paths"].items():
        for operation in operations.values():
            answers = operation["responses"]
            said = dict(_EVERYWHERE) if "security" in operation else {}
            if "{" in path:
                said[404] = "There is none of this name"
            if "application/json" in answers.get("422", {}).get("content", {}):
                answers.pop("422")
                said[422] = "The request does not fit"
            more = {str(status): answer for status, answer in described(said).items()}
            operation["responses"] = dict(sorted({**more, **answers}.items()))


# --- the app ---


async def _only_known_parameters(request: Request) -> None:
    """A misspelt filter must not widen what is asked for. A page that a person opens may carry what mailers add."""
    route = request.scope.get("route")
    if not isinstance(route, APIRoute) or not route.include_in_schema or request.method != "GET":
        return
    known = list(_parameters(route.dependant))
    strange = [name for name in dict.fromkeys(request.query_params) if name not in known]
    if strange:
        errors = [{"where": f"query.{name[:100]}", "why": _no_such_parameter(name, known)} for name in strange]
        raise Problem(422, "invalid", "the request does not fit", errors=errors)


def _parameters(asked: Dependant) -> Iterator[str]:
    yield from (field.alias for field in asked.query_params)
    for further in asked.dependencies:
        yield from _parameters(further)


def _no_such_parameter(name: str, known: Sequence[str]) -> str:
    if near := difflib.get_close_matches(name, known, n=1):
        return f"there is no such parameter; did you mean {near[0]}?"
    return f"there is no such parameter; there are {', '.join(known)}" if known else "there are no parameters here"


def create_app(services: Sequence[Service], parts: Parts) -> FastAPI:
    """One application of one or all services, with their background tasks."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        supervisor = app.state.supervisor
        for service in services:
            if service.open:
                with supervisor.remembering_broken():
                    await service.open()
        for service in services:
            for name, task in service.tasks.items():
                supervisor.start(service.name, name, task)
        if parts.following is not None:
            supervisor.start("agreement", "follow", parts.following.run)
        yield
        await supervisor.stop()
        for service in services:
            if service.close:
                await service.close()

    title = "Leadpact" if len(services) > 1 else f"Leadpact {services[0].name}"
    doors = {path: door for service in services for path, door in service.doors.items()}
    known = [Depends(_only_known_parameters)]
    app = _App(parts.metrics, doors, title=title, lifespan=lifespan, redoc_url=None, dependencies=known)
    app.state.supervisor = Supervisor(parts.metrics)
    _answer_problems(app)
    for service in services:
        app.include_router(service.router, tags=[service.name])
    app.include_router(_health(services, parts))
    app.include_router(_agreements(services, parts))
    return app


def _health(services: Sequence[Service], parts: Parts) -> APIRouter:
    router = APIRouter(tags=["health"])

    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        """The process lives."""
        return {"status": "ok"}

    @router.get("/readyz")
    async def readyz(request: Request) -> JSONResponse:
        """The process can do its work; if not, what it lacks. What it lacks and can do without is told too."""
        refused = [str(one) for one in parts.agreements.refused]
        outages = [*await _outages(services, parts), *request.app.state.supervisor.failing()]
        own = [lack for service in services if service.unready for lack in await service.unready()]
        ready = not own and (not outages or all(service.bears_outages for service in services))
        return JSONResponse({"ready": ready, "lacks": [*own, *outages, *refused]}, status_code=200 if ready else 503)

    @router.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        for service in services:
            if service.refresh:
                await service.refresh()
        return Response(generate_latest(parts.registry), media_type=CONTENT_TYPE_LATEST)

    return router


async def _outages(services: Sequence[Service], parts: Parts) -> list[str]:
    outages: list[str] = []
    try:
        await parts.bus.check()
    except LeadpactError as error:
        outages.append(error.message)
    try:
        with database_errors_are_later():
            async with parts.engine.connect() as conn:
                missing = await missing_schemas(conn, [service.name for service in services])
                outages.extend(f"the schema {name} is not up to date: run leadpact migrate" for name in missing)
    except LeadpactError as error:
        outages.append(error.message)
    return outages


# --- agreements ---


class AgreementInForce(BaseModel):
    """An agreement that this process acts by."""

    tenant: str = Field(description="empty: of all who have none of their own")
    version: str
    agreement: str = Field(description="its name")
    effective: date | None


class RefusedFile(BaseModel):
    """A file that is not taken up; what it said before stays in force."""

    file: str
    why: str = Field(description="invalid, gone or ambiguous")
    detail: str


class RecordedVersion(BaseModel):
    """A version that a service acted under."""

    service: str
    tenant: str
    version: str
    since: datetime = Field(description="its first decision")
    again_at: datetime | None = Field(description="when it last came back after another one of that tenant")


class LeadsToRescore(BaseModel):
    """How many stored leads of a tenant the version in force has yet to judge, as far as is known here."""

    tenant: str
    version: str
    leads: int


class AgreementsAnswer(BaseModel):
    """What is in force, what is refused, what is still to do, and what was in force before, the latest first."""

    in_force: list[AgreementInForce]
    refused: list[RefusedFile]
    to_rescore: list[LeadsToRescore] = Field(description="where scoring runs; empty once all leads are judged")
    recorded: list[RecordedVersion]


def _agreements(services: Sequence[Service], parts: Parts) -> APIRouter:
    router = APIRouter(tags=["agreements"], dependencies=[caller(parts.tokens)])

    @router.get("/agreements")
    async def agreements() -> AgreementsAnswer:
        """The agreements in force here, and every version that the services here acted under."""
        return AgreementsAnswer(
            in_force=[_in_force(agreement) for agreement in parts.agreements.now.agreements],
            refused=[RefusedFile(file=one.file, why=one.why, detail=one.detail) for one in parts.agreements.refused],
            to_rescore=list(_to_rescore(services)),
            recorded=[RecordedVersion(**dataclasses.asdict(one)) for one in await _recorded(services, parts)],
        )

    @router.get("/agreements/{version}")
    async def agreement(version: str) -> Any:
        """What an agreement said: one in force, or one that a service here acted under before."""
        for one in parts.agreements.now.agreements:
            if one.version == version:
                return json.loads(one.content)
        with database_errors_are_later():
            async with parts.engine.connect() as conn:
                for service in services:
                    if found := await versions.recall(conn, service.name, version):
                        return json.loads(found)
        raise Problem(404, "unknown", "there is no such version")

    return router


def _to_rescore(services: Sequence[Service]) -> Iterator[LeadsToRescore]:
    for service in services:
        left = service.to_rescore() if service.to_rescore else {}
        for (tenant, version), leads in left.items():
            if leads:
                yield LeadsToRescore(tenant=tenant, version=version, leads=leads)


def _in_force(agreement: Agreement) -> AgreementInForce:
    return AgreementInForce(
        tenant=agreement.tenant or "",
        version=agreement.version,
        agreement=agreement.name,
        effective=agreement.effective,
    )


async def _recorded(services: Sequence[Service], parts: Parts) -> list[versions.Recorded]:
    with database_errors_are_later():
        async with parts.engine.connect() as conn:
            found = [one for service in services for one in await versions.recorded(conn, service.name)]
    return sorted(found, key=lambda one: one.again_at or one.since, reverse=True)


class _App(FastAPI):
    """The framework, behind the doors: its layers cost a door more than the door's own work."""

    def __init__(self, metrics: CommonMetrics, doors: Mapping[str, ASGIApp], **more: Any) -> None:
        super().__init__(**more, generate_unique_id_function=lambda route: route.name)
        self._front = _Front(super().__call__, metrics, doors)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._front(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        made = self.openapi_schema is not None
        spec = super().openapi()
        if not made:
            _describe_problems(spec)
        return spec


class _Front:
    """Give each request to its door or the framework, and observe it by its route, never its path: paths name leads."""

    def __init__(self, app: ASGIApp, metrics: CommonMetrics, doors: Mapping[str, ASGIApp]) -> None:
        self._app = app
        self._metrics = metrics
        self._doors = doors

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500
        door = self._doors.get(scope["path"])

        async def watch(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await (door or self._app)(scope, receive, watch)
        finally:
            route = scope["path"] if door else getattr(scope.get("route"), "path", "other")
            method = scope["method"] if scope["method"] in METHODS else "other"  # a sender may say anything
            labels = self._metrics.request_seconds.labels(route, method, str(status))
            labels.observe(time.perf_counter() - started)


class Supervisor:
    """Runs background tasks for ever: Later and the like start one again, Broken stops the process.

    `broken` is what stopped it, for whoever ends the process.
    """

    def __init__(self, metrics: CommonMetrics) -> None:
        self._metrics = metrics
        self._tasks: list[asyncio.Task[None]] = []
        self._failing: dict[str, str] = {}
        self.broken: Broken | None = None

    @contextlib.contextmanager
    def remembering_broken(self) -> Iterator[None]:
        try:
            yield
        except Broken as error:
            self.broken = error
            raise

    def start(self, service: str, name: str, task: Callable[[], Awaitable[None]]) -> None:
        self._tasks.append(asyncio.create_task(self._keep(service, name, task), name=f"{service}.{name}"))

    def failing(self) -> list[str]:
        """What does not run now, and why."""
        return [f"{name}: {why}" for name, why in self._failing.items()]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _keep(self, service: str, name: str, task: Callable[[], Awaitable[None]]) -> None:
        full = f"{service}.{name}"
        while True:
            recovered = asyncio.get_running_loop().call_later(5 * RESTART_AFTER_S, self._failing.pop, full, None)
            try:
                with self.remembering_broken():
                    return await task()
            except Later as error:
                self._failing[full] = error.message
                log.warning("task_waits", task=full, code=error.code, after_s=error.after_s)
                await asyncio.sleep(error.after_s)
            except Broken as error:
                log.error("task_broken", error=error, task=full, code=error.code, detail=error.message)
                _stop_process()
                raise
            except Exception as error:
                self._failing[full] = type(error).__name__
                log.error("task_failed", error=error, task=full)
                await asyncio.sleep(RESTART_AFTER_S)
            finally:
                recovered.cancel()
            self._metrics.task_restarts.labels(service, name).inc()


def _stop_process() -> None:
    import os
    import signal

    os.kill(os.getpid(), signal.SIGTERM)
