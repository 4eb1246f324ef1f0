"""The commands for one lead."""

from __future__ import annotations

from fastapi import APIRouter, Response

from services.handoff.api.asking import Asked, asks
from services.handoff.api.bodies import (
    AcceptIn,
    AttemptIn,
    DisqualifyIn,
    HandOffIn,
    NurtureIn,
    PauseIn,
    QualifyIn,
    ReassignIn,
    RejectIn,
    ResumeIn,
    ReturnIn,
)
from services.handoff.api.doing import Doing
from services.handoff.api.views import COMMANDING, LeadView
from services.handoff.domain.machine import Cause
from shared.web import Tokens


def commands(tokens: Tokens, doing: Doing) -> APIRouter:
    router = APIRouter()
    _taking(router, tokens, doing)
    _giving_back(router, tokens, doing)
    _changing(router, tokens, doing)
    _beginning(router, tokens, doing)
    return router


def _taking(router: APIRouter, tokens: Tokens, doing: Doing) -> None:
    @router.post("/leads/{lead}/accept", responses=COMMANDING)
    async def accept(lead: str, response: Response, asked: Asked = asks(tokens, Cause.ACCEPT)) -> LeadView:
        """Sales takes the lead on."""
        return await doing.one(asked, lead, AcceptIn().decide(), response)

    @router.post("/leads/{lead}/attempts", responses=COMMANDING)
    async def attempts(
        lead: str, body: AttemptIn, response: Response, asked: Asked = asks(tokens, Cause.ATTEMPT)
    ) -> LeadView:
        """A contact attempt was made; the first one accepts the lead."""
        return await doing.one(asked, lead, body.decide(), response)

    @router.post("/leads/{lead}/qualify", responses=COMMANDING)
    async def qualify(lead: str, response: Response, asked: Asked = asks(tokens, Cause.QUALIFY)) -> LeadView:
        """Sales says it is an SQL, which accepts it too."""
        return await doing.one(asked, lead, QualifyIn().decide(), response)


def _giving_back(router: APIRouter, tokens: Tokens, doing: Doing) -> None:
    @router.post("/leads/{lead}/reject", responses=COMMANDING)
    async def reject(
        lead: str, body: RejectIn, response: Response, asked: Asked = asks(tokens, Cause.REJECT)
    ) -> LeadView:
        """Not what was agreed: back to Marketing before any contact."""
        return await doing.one(asked, lead, body.decide(), response)

    @router.post("/leads/{lead}/return", responses=COMMANDING)
    async def send_back(
        lead: str, body: ReturnIn, response: Response, asked: Asked = asks(tokens, Cause.RETURN)
    ) -> LeadView:
        """Tried, and not now: back to Marketing, into a nurture track."""
        return await doing.one(asked, lead, body.decide(), response)

    @router.post("/leads/{lead}/disqualify", responses=COMMANDING)
    async def disqualify(
        lead: str, body: DisqualifyIn, response: Response, asked: Asked = asks(tokens, Cause.DISQUALIFY)
    ) -> LeadView:
        """Out for good."""
        return await doing.one(asked, lead, body.decide(), response)


def _changing(router: APIRouter, tokens: Tokens, doing: Doing) -> None:
    @router.post("/leads/{lead}/pause", responses=COMMANDING)
    async def pause(lead: str, body: PauseIn, response: Response, asked: Asked = asks(tokens, Cause.PAUSE)) -> LeadView:
        """Nobody is held to a time until the lead is resumed, by itself at `until`."""
        return await doing.one(asked, lead, body.decide(), response)

    @router.post("/leads/{lead}/resume", responses=COMMANDING)
    async def resume(lead: str, response: Response, asked: Asked = asks(tokens, Cause.RESUME)) -> LeadView:
        """The clocks run on with the time that they had left."""
        return await doing.one(asked, lead, ResumeIn().decide(), response)

    @router.post("/leads/{lead}/reassign", responses=COMMANDING)
    async def reassign(
        lead: str, body: ReassignIn, response: Response, asked: Asked = asks(tokens, Cause.REASSIGN)
    ) -> LeadView:
        """Somebody else has the lead from now on; a breach stays the former owner's."""
        return await doing.one(asked, lead, body.decide(), response)


def _beginning(router: APIRouter, tokens: Tokens, doing: Doing) -> None:
    @router.post("/leads/{lead}/nurture", responses=COMMANDING)
    async def nurture(
        lead: str, body: NurtureIn, response: Response, asked: Asked = asks(tokens, Cause.NURTURE)
    ) -> LeadView:
        """A nurture track begins; the lead stays where it is."""
        return await doing.one(asked, lead, body.decide(), response)

    @router.post("/leads/{lead}/handoff", responses=COMMANDING)
    async def hand_off(
        lead: str, body: HandOffIn, response: Response, asked: Asked = asks(tokens, Cause.HAND_OFF)
    ) -> LeadView:
        """Hand the lead over without waiting for a trigger, also during its cool-down."""
        return await doing.one(asked, lead, body.decide(), response)
