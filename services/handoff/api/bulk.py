"""The commands for up to 500 leads at once, each as if it had been given for that lead alone."""

from __future__ import annotations

from fastapi import APIRouter

from services.handoff.api.asking import Asked, asks
from services.handoff.api.bodies import (
    AcceptMany,
    AttemptMany,
    DisqualifyMany,
    HandOffMany,
    NurtureMany,
    PauseMany,
    QualifyMany,
    ReassignMany,
    RejectMany,
    ResumeMany,
    ReturnMany,
)
from services.handoff.api.doing import Doing
from services.handoff.api.views import MANY, Results
from services.handoff.domain.machine import Cause
from shared.web import Tokens


def bulk_commands(tokens: Tokens, doing: Doing) -> APIRouter:
    """To be asked before the commands for one lead, of which `bulk` would be the name."""
    router = APIRouter()
    _taking(router, tokens, doing)
    _giving_back(router, tokens, doing)
    _changing(router, tokens, doing)
    _beginning(router, tokens, doing)
    return router


def _taking(router: APIRouter, tokens: Tokens, doing: Doing) -> None:
    @router.post("/leads/bulk/accept", responses=MANY)
    async def accept_many(body: AcceptMany, asked: Asked = asks(tokens, Cause.ACCEPT)) -> Results:
        """For each of them: sales takes the lead on."""
        return await doing.many(asked, body.leads, body.decide())

    @router.post("/leads/bulk/attempts", responses=MANY)
    async def attempts_many(body: AttemptMany, asked: Asked = asks(tokens, Cause.ATTEMPT)) -> Results:
        """For each of them: a contact attempt was made; the first one accepts the lead."""
        return await doing.many(asked, body.leads, body.decide())

    @router.post("/leads/bulk/qualify", responses=MANY)
    async def qualify_many(body: QualifyMany, asked: Asked = asks(tokens, Cause.QUALIFY)) -> Results:
        """For each of them: sales says it is an SQL, which accepts it too."""
        return await doing.many(asked, body.leads, body.decide())


def _giving_back(router: APIRouter, tokens: Tokens, doing: Doing) -> None:
    @router.post("/leads/bulk/reject", responses=MANY)
    async def reject_many(body: RejectMany, asked: Asked = asks(tokens, Cause.REJECT)) -> Results:
        """For each of them: not what was agreed: back to Marketing before any contact."""
        return await doing.many(asked, body.leads, body.decide())

    @router.post("/leads/bulk/return", responses=MANY)
    async def send_back_many(body: ReturnMany, asked: Asked = asks(tokens, Cause.RETURN)) -> Results:
        """For each of them: tried, and not now: back to Marketing, into a nurture track."""
        return await doing.many(asked, body.leads, body.decide())

    @router.post("/leads/bulk/disqualify", responses=MANY)
    async def disqualify_many(body: DisqualifyMany, asked: Asked = asks(tokens, Cause.DISQUALIFY)) -> Results:
        """For each of them: out for good."""
        return await doing.many(asked, body.leads, body.decide())


def _changing(router: APIRouter, tokens: Tokens, doing: Doing) -> None:
    @router.post("/leads/bulk/pause", responses=MANY)
    async def pause_many(body: PauseMany, asked: Asked = asks(tokens, Cause.PAUSE)) -> Results:
        """For each of them: nobody is held to a time until the lead is resumed, by itself at `until`."""
        return await doing.many(asked, body.leads, body.decide())

    @router.post("/leads/bulk/resume", responses=MANY)
    async def resume_many(body: ResumeMany, asked: Asked = asks(tokens, Cause.RESUME)) -> Results:
        """For each of them: the clocks run on with the time that they had left."""
        return await doing.many(asked, body.leads, body.decide())

    @router.post("/leads/bulk/reassign", responses=MANY)
    async def reassign_many(body: ReassignMany, asked: Asked = asks(tokens, Cause.REASSIGN)) -> Results:
        """For each of them: somebody else has the lead from now on; a breach stays the former owner's."""
        return await doing.many(asked, body.leads, body.decide())


def _beginning(router: APIRouter, tokens: Tokens, doing: Doing) -> None:
    @router.post("/leads/bulk/nurture", responses=MANY)
    async def nurture_many(body: NurtureMany, asked: Asked = asks(tokens, Cause.NURTURE)) -> Results:
        """For each of them: a nurture track begins; the lead stays where it is."""
        return await doing.many(asked, body.leads, body.decide())

    @router.post("/leads/bulk/handoff", responses=MANY)
    async def hand_off_many(body: HandOffMany, asked: Asked = asks(tokens, Cause.HAND_OFF)) -> Results:
        """For each of them: hand the lead over without waiting for a trigger, also during its cool-down."""
        return await doing.many(asked, body.leads, body.decide())
