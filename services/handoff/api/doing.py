"""Commands as they are done: in one transaction each, once for each key, within the caller's scope."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Response

from services.handoff import store
from services.handoff.api.asking import Asked, log
from services.handoff.api.bodies import Decide
from services.handoff.api.reading import known_to_be, read, unknown, visible
from services.handoff.api.roles import View, view_of
from services.handoff.api.views import LeadView, Result, Results, lead_view, receipt
from services.handoff.domain.commands import Command
from services.handoff.domain.draft import HandoffDecision
from services.handoff.domain.lead import Lead
from services.handoff.domain.machine import Impossible
from services.handoff.worker import decided
from shared.errors import Later, Refused
from shared.events import tenant_of
from shared.web import Parts, Problem, ProblemView, problem_of
from shared.work import Facts, Work


class Stale(Refused):
    """The lead has another version by now than the command was meant for."""

    def __init__(self, version: int) -> None:
        super().__init__("stale", f"somebody was faster: the lead has version {version} by now")
        self.version = version


@dataclass(frozen=True, kw_only=True)
class Done:
    """A lead as a command left it; `replayed`: the command was done when it came before."""

    lead: Lead
    view: View
    replayed: bool

    @property
    def shown(self) -> LeadView:
        return lead_view(self.lead) if self.view.holds(self.lead) else receipt(self.lead)


class Doing:
    """Does what is asked for."""

    def __init__(self, parts: Parts, work: Work[Lead]) -> None:
        self._parts = parts
        self._work = work

    async def one(self, asked: Asked, lead: str, decide: Decide, response: Response) -> LeadView:
        """Do it, and show the lead as it then stands."""
        try:
            done = await self._do(asked, asked.id(), asked.said_id(), lead, decide)
        except Refused as error:
            _tell(asked, [error.code])
            if error.code == "unknown":
                await visible(self._parts, lead, asked.by)  # says where a merged lead went
            raise problem_for(error) from error
        response.headers["ETag"] = etag(done.lead)
        if done.replayed:
            response.headers["Idempotent-Replayed"] = "true"
        return done.shown

    async def many(self, asked: Asked, leads: Sequence[str], decide: Decide) -> Results:
        """Do it for each by itself: what goes wrong with one is told of that one."""
        if asked.version is not None:
            raise Problem(422, "invalid", "If-Match is about one lead: it is not for bulk commands")
        results = [await self._result(asked, lead, decide) for lead in leads]
        failed = [result.problem.title for result in results if result.problem]
        _tell(asked, failed)
        return Results(results=results, done=len(results) - len(failed), failed=len(failed))

    async def _result(self, asked: Asked, lead: str, decide: Decide) -> Result:
        try:
            done = await self._do(asked, asked.id(lead), asked.said_id(lead), lead, decide)
        except Refused as error:
            return _failed(lead, problem_for(error))
        except Problem as problem:
            return _failed(lead, problem)
        except Later:
            raise  # all that follow would fare the same: with the same key the whole can be sent again
        except Exception as error:
            log.error("command_failed", error=error, command=asked.command)
            return _failed(lead, Problem(500, "broken", "the command could not be handled"))
        return Result(lead=lead, status=200, state=done.lead.state, version=done.lead.version, replayed=done.replayed)

    async def _do(self, asked: Asked, command_id: str, said_id: str, lead: str, decide: Decide) -> Done:
        tenant = tenant_of(lead)
        view = view_of(asked.by, self._parts.agreements.now)
        handle = _handler(decide, Command(id=command_id, person=asked.by.person), view, asked.version)
        decision = await self._work.command(lead, handle, tenant=tenant, command_id=command_id, said_id=said_id)
        if decision is not None:
            return Done(lead=decision.state, view=view, replayed=False)
        return Done(lead=known_to_be(await read(self._parts, store.find, lead)), view=view, replayed=True)


def _handler(
    decide: Decide, command: Command, view: View, version: int | None
) -> Callable[[Lead, Facts[Lead]], HandoffDecision]:
    """The decision on the lead as it stands under its lock, if the caller may see it and it is the one they mean."""

    def handle(state: Lead, facts: Facts[Lead]) -> HandoffDecision:
        if not view.holds(state):
            raise Refused("unknown", "it is not in the caller's scope")
        if version is not None and state.version != version and not state.gone:
            raise Stale(state.version)
        return decided(decide)(state, command, facts)

    return handle


def etag(lead: Lead) -> str:
    return f'"{lead.version}"'


def problem_for(error: Refused) -> Problem:
    """What is refused, with what the caller can do about it. Who may not see a lead hears what a lead unknown is."""
    if error.code == "unknown":
        return unknown()
    more: dict[str, Any] = {}
    if isinstance(error, Impossible):
        more = {"possible": list(error.possible)}
    elif isinstance(error, Stale):
        more = {"version": error.version, "headers": {"ETag": f'"{error.version}"'}}
    return Problem(problem_of(error).status, error.code, error.message, **more)


def _failed(lead: str, problem: Problem) -> Result:
    said = ProblemView(
        type=f"urn:leadpact:{problem.code}",
        title=problem.code,
        status=problem.status,
        detail=problem.detail,
        **problem.more,
    )
    return Result(lead=lead, status=problem.status, problem=said)


def _tell(asked: Asked, codes: Sequence[str]) -> None:
    """What was refused, for who looks after the API: neither whom nor about whom."""
    for code, leads in Counter(codes).items():
        log.info("command_refused", code=code, command=asked.command, role=asked.by.role, leads=leads)
