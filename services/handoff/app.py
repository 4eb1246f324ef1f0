"""Hand-off's routes, and what runs beside them."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field
from sqlalchemy.exc import DBAPIError

from services.handoff import store
from services.handoff.domain import commands
from services.handoff.domain.commands import Command, NewAttempt
from services.handoff.domain.draft import HandoffDecision
from services.handoff.domain.lead import Lead
from services.handoff.domain.machine import COMMANDS, Impossible, allows
from services.handoff.metrics import HandoffMetrics
from services.handoff.notifying import Notifying
from services.handoff.settings import HandoffSettings
from services.handoff.ticking import Ticking
from services.handoff.worker import decided, worker
from shared.database import database_errors_are_later
from shared.errors import Later
from shared.events import Channel, Outcome, State, identity
from shared.log import Log
from shared.web import Caller, Parts, Problem, Service, Tokens, caller
from shared.work import Facts, Work

log = Log("leadpact.handoff")

MAY_COMMAND: Final = ("sales", "ops")


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("must be a time that UTC has") from error


Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]


class NewAttemptIn(BaseModel):
    """A contact attempt. `activity` names it where it stands, so that it counts once."""

    model_config = ConfigDict(extra="forbid")

    channel: Channel
    outcome: Outcome = Outcome.UNKNOWN
    at: Moment | None = None
    note: str = Field(default="", max_length=10_000)
    duration_s: float | None = Field(default=None, ge=0)
    activity: str = Field(default="", max_length=200)


class ReasonIn(BaseModel):
    """Why; one of the agreement's reasons."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(max_length=200)


class ReturnIn(ReasonIn):
    """`track` overrules the agreement's: a nurture track, by_journey, or none."""

    track: str | None = Field(default=None, max_length=200)


def build(parts: Parts) -> Service:
    """The hand-off service."""
    settings = HandoffSettings.read(parts.environ)
    metrics = HandoffMetrics(parts.registry)
    work = Work(
        worker(wall=parts.wall, notify=bool(settings.notify_url)),
        engine=parts.engine,
        bus=parts.bus,
        clock=parts.clock,
        agreements=parts.agreements,
        metrics=parts.metrics,
    )
    ticking = Ticking(work, engine=parts.engine, clock=parts.clock, metrics=metrics)
    tasks: dict[str, Callable[[], Awaitable[None]]] = {**work.tasks(), "clocks": ticking.run}
    if settings.notify_url:
        notifying = Notifying(settings, engine=parts.engine, wall=parts.wall, metrics=metrics)
        work.after_commit(notifying.wake)
        tasks["notifications"] = notifying.run
    router = _router(parts, work)

    async def refresh() -> None:
        """Keeps the last number when the database is away."""
        try:
            metrics.notifications_pending.set(await _read(parts, store.pending_notifications))
        except Later as error:
            log.warning("notifications_not_counted", code=error.code)

    return Service(name="handoff", router=router, tasks=tasks, refresh=refresh)


async def _read(parts: Parts, query: Callable[..., Awaitable[Any]], *args: Any, **more: Any) -> Any:
    try:
        with database_errors_are_later():
            async with parts.engine.connect() as conn:
                return await query(conn, *args, **more)
    except DBAPIError as error:  # a number too large, a text with a zero byte
        raise Problem(422, "invalid", f"the database cannot be asked that: {type(error).__name__}") from error


def _router(parts: Parts, work: Work[Lead]) -> APIRouter:
    router = APIRouter()
    _queries(router, parts)
    _plain_commands(router, parts, work)
    _commands_with_reason(router, parts, work)
    return router


def _queries(router: APIRouter, parts: Parts) -> None:
    @router.get("/leads", dependencies=[caller(parts.tokens)])
    async def leads(
        *,
        state: State | None = None,
        team: str | None = None,
        owner: str | None = None,
        due_before: Moment | None = None,
        after: str = "",
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> dict[str, Any]:
        """Leads in the order of their keys; `next` is the `after` of the next page, null on the last."""
        wanted = store.Wanted(state=state, team=team, owner=owner, due_before=due_before, after=after, limit=limit)
        found: Sequence[Lead] = await _read(parts, store.listed, wanted)
        following = found[-1].lead if len(found) == limit else None
        return {"leads": [shown(lead) for lead in found], "next": following}

    @router.get("/leads/{lead}", dependencies=[caller(parts.tokens)])
    async def one(lead: str) -> dict[str, Any]:
        """Where a lead stands, what runs, and what is possible."""
        return shown(await _known(parts, lead))

    @router.get("/leads/{lead}/timeline", dependencies=[caller(parts.tokens)])
    async def timeline(lead: str, after: int = 0, limit: Annotated[int, Query(ge=1, le=1000)] = 500) -> dict[str, Any]:
        """Everything that happened to a lead, by version; also of one that was merged away or erased."""
        found = await _read(parts, store.timeline, lead, after=after, limit=limit)
        if not found and not after:
            await _known(parts, lead)
        return {"lead": lead, "messages": found, "next": found[-1]["version"] if len(found) == limit else None}


async def _known(parts: Parts, lead: str) -> Lead:
    found: Lead | None = await _read(parts, store.find, lead)
    if found is None:
        raise Problem(404, "unknown", "there is no such lead")
    return found


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A command as it was asked for. With a key that was heard before it is not done again.

    A key is that of one person for one command on one lead: what others or other commands call
    by the same name is something else.
    """

    lead: str
    path: str
    by: Caller
    key: str | None
    response: Response

    @property
    def id(self) -> str:
        return identity("command", self.path, self.by.person, self.key or secrets.token_hex(16))


def _asked(tokens: Tokens) -> Any:
    def asked(
        lead: str,
        request: Request,
        response: Response,
        by: Caller = caller(tokens, *MAY_COMMAND),
        key: Annotated[str | None, Header(alias="Idempotency-Key", max_length=200)] = None,
    ) -> Asked:
        return Asked(lead=lead, path=request.scope["path"], by=by, key=key, response=response)

    return Depends(asked)


def _plain_commands(router: APIRouter, parts: Parts, work: Work[Lead]) -> None:
    asks = _asked(parts.tokens)

    @router.post("/leads/{lead}/accept")
    async def accept(asked: Asked = asks) -> dict[str, Any]:
        """Sales takes the lead on."""
        return await _command(parts, work, asked, commands.accept)

    @router.post("/leads/{lead}/qualify")
    async def qualify(asked: Asked = asks) -> dict[str, Any]:
        """Sales says it is an SQL."""
        return await _command(parts, work, asked, commands.qualify)

    @router.post("/leads/{lead}/attempts")
    async def attempts(body: NewAttemptIn, asked: Asked = asks) -> dict[str, Any]:
        """A contact attempt was made; the first one accepts the lead."""
        return await _command(parts, work, asked, commands.attempt(NewAttempt(**body.model_dump())))


def _commands_with_reason(router: APIRouter, parts: Parts, work: Work[Lead]) -> None:
    asks = _asked(parts.tokens)

    @router.post("/leads/{lead}/reject")
    async def reject(body: ReasonIn, asked: Asked = asks) -> dict[str, Any]:
        """Not what was agreed: back to Marketing before any contact."""
        return await _command(parts, work, asked, commands.reject(body.reason))

    @router.post("/leads/{lead}/return")
    async def send_back(body: ReturnIn, asked: Asked = asks) -> dict[str, Any]:
        """Tried, and not now: back to Marketing, into a nurture track."""
        return await _command(parts, work, asked, commands.send_back(body.reason, body.track))

    @router.post("/leads/{lead}/disqualify")
    async def disqualify(body: ReasonIn, asked: Asked = asks) -> dict[str, Any]:
        """Out for good."""
        return await _command(parts, work, asked, commands.disqualify(body.reason))


async def _command(
    parts: Parts, work: Work[Lead], asked: Asked, decide: Callable[..., HandoffDecision]
) -> dict[str, Any]:
    """Do it once, and show the lead as it then stands."""
    command = Command(id=asked.id, person=asked.by.person)

    def handle(state: Lead, facts: Facts[Lead]) -> HandoffDecision:
        return decided(decide)(state, command, facts)

    tenant = asked.lead.rpartition(":")[0]
    try:
        decision = await work.command(asked.lead, handle, tenant=tenant, command_id=command.id)
    except Impossible as error:
        raise Problem(409, error.code, error.message, possible=list(error.possible)) from error
    if decision is None:
        asked.response.headers["Idempotent-Replayed"] = "true"
        return shown(await _known(parts, asked.lead))
    return shown(decision.state)


def shown(lead: Lead) -> dict[str, Any]:
    """A lead as the API shows it."""
    return {
        "lead": lead.lead,
        "state": lead.state,
        "episode": lead.episode,
        "version": lead.version,
        "team": lead.team,
        "owner": lead.owner,
        "priority": lead.priority,
        "grade": lead.score.grade if lead.score else "",
        "journey": lead.score.journey if lead.score else "",
        "profile": dict(lead.score.profile) if lead.score else {},
        "handed_off_at": _time(lead.handed_off_at),
        "ended_at": _time(lead.ended_at),
        "cool_down_until": _time(lead.cool_down_until),
        "due_at": _time(lead.next_due),
        "replied": lead.replied,
        "attempts": [
            {
                "number": attempt.number,
                "at": _time(attempt.at),
                "channel": attempt.channel,
                "outcome": attempt.outcome,
                "by": attempt.by,
                "activity": attempt.activity,
                "note": attempt.note,
            }
            for attempt in lead.attempts
        ],
        "clocks": [
            {
                "clock": clock.kind,
                "started_at": _time(clock.started_at),
                "due_at": _time(clock.due_at),
                "overdue": clock.overdue,
            }
            for clock in lead.clocks
        ],
        "possible": [command for command in COMMANDS if allows(lead.state, command)],
    }


def _time(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
