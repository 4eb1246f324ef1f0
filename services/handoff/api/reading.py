"""The queries: lists, one lead, its timeline; each narrowed to what the caller may see."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from fastapi import APIRouter, Query, Response
from sqlalchemy.exc import DBAPIError

from services.handoff import store
from services.handoff.api.bodies import Moment
from services.handoff.api.roles import EVERYTHING, view_of
from services.handoff.api.views import (
    READING,
    READING_ONE,
    LeadPage,
    LeadView,
    Timeline,
    lead_view,
    problems,
    timeline_view,
)
from services.handoff.domain.lead import Lead
from services.handoff.store import Page, Place, Wanted
from shared.database import database_errors_are_later
from shared.events import State
from shared.log import Log
from shared.web import Caller, Parts, Problem, caller

log = Log("leadpact.handoff")

MOST: Final = 1000  # of a page
After = tuple[Literal["due", "lead"], str, datetime | None]


def queries(parts: Parts) -> APIRouter:
    router = APIRouter()
    _add_list(router, parts)
    _add_one(router, parts)
    return router


def _add_list(router: APIRouter, parts: Parts) -> None:
    seen = Unreadable()

    @router.get("/leads", responses=problems(401, 422, 503))
    async def leads(
        *,
        by: Caller = caller(parts.tokens, scoped=True),
        state: State | None = None,
        team: str | None = None,
        owner: str | None = None,
        due_before: Annotated[Moment | None, Query(description="Sales owes the next thing before then")] = None,
        order: Annotated[
            Literal["lead", "due"], Query(description="by key; or by due time, and only where something is due")
        ] = "lead",
        after: Annotated[str, Query(max_length=2000, description="the `next` of the page before")] = "",
        limit: Annotated[int, Query(ge=1, le=MOST)] = 100,
    ) -> LeadPage:
        """Leads that the caller may see, page by page: `next` is the `after` of the next page, null on the last."""
        view = view_of(by, parts.agreements.now)
        wanted = Wanted(
            state=state,
            team=team,
            owner=owner,
            due_before=due_before,
            mine=view.owner,
            teams=view.teams,
            by_due=order == "due",
            after=_place(after, order),
            limit=limit,
        )
        page: Page = await read(parts, store.listed, wanted)
        seen.tell(page)
        return LeadPage(leads=[lead_view(lead) for lead in page.leads], next=_cursor(page.next, order))


def _add_one(router: APIRouter, parts: Parts) -> None:
    anyone = caller(parts.tokens, scoped=True)

    @router.get("/leads/{lead}", responses=READING_ONE)
    async def one_lead(lead: str, response: Response, by: Caller = anyone) -> LeadView:
        """Where a lead stands, what runs, and what is possible; its version is the `ETag`."""
        found = await visible(parts, lead, by)
        response.headers["ETag"] = f'"{found.version}"'
        return lead_view(found)

    @router.get("/leads/{lead}/timeline", responses=READING)
    async def timeline(
        lead: str, by: Caller = anyone, after: int = 0, limit: Annotated[int, Query(ge=1, le=MOST)] = 500
    ) -> Timeline:
        """Everything that happened to a lead, by version; for who sees all leads also of one merged away or erased."""
        if view_of(by, parts.agreements.now) != EVERYTHING:
            await visible(parts, lead, by)
        found = await read(parts, store.timeline, lead, after=after, limit=limit)
        if not found and not after:
            await visible(parts, lead, by)
        return timeline_view(lead, found, found[-1]["version"] if len(found) == limit else None)


async def read(parts: Parts, query: Callable[..., Awaitable[Any]], *args: Any, **more: Any) -> Any:
    """What a query of the store says. Raises Problem for what the database cannot be asked, or Later."""
    try:
        with database_errors_are_later():
            async with parts.engine.connect() as conn:
                return await query(conn, *args, **more)
    except DBAPIError as error:  # a number too large, a text with a zero byte
        raise Problem(422, "invalid", f"the database cannot be asked that: {type(error).__name__}") from error


async def visible(parts: Parts, lead: str, by: Caller) -> Lead:
    """The lead, if the caller may see it. Raises Problem; of a lead that was merged away it names the survivor."""
    if found := await _seen(parts, lead, by):
        return found
    into = await read(parts, store.survivor, lead)
    if into and await _seen(parts, into, by):
        raise Problem(404, "unknown", "the lead was merged: it is part of another", merged_into=into)
    raise unknown()


async def _seen(parts: Parts, lead: str, by: Caller) -> Lead | None:
    found: Lead | None = await read(parts, store.find, lead)
    return found if found and view_of(by, parts.agreements.now).holds(found) else None


def known_to_be(lead: Lead | None) -> Lead:
    if lead is None:
        raise unknown()
    return lead


def unknown() -> Problem:
    return Problem(404, "unknown", "there is no such lead")


class Unreadable:
    """Leads that cannot be read, as after a step back to an older version: each is told of once."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def tell(self, page: Page) -> None:
        if page.unreadable - self._seen:
            self._seen |= page.unreadable
            log.error("leads_unreadable", leads=len(self._seen))


# --- where a page starts ---


def _cursor(place: Place | None, order: Literal["due", "lead"]) -> str | None:
    """Opaque to the caller: what it holds may change."""
    if place is None:
        return None
    return base64.urlsafe_b64encode(msgspec.json.encode((order, place.lead, place.due_at))).decode()


def _place(cursor: str, order: str) -> Place | None:
    """Raises Problem for what is no `next` of this order."""
    if not cursor:
        return None
    try:
        said, lead, due_at = msgspec.json.decode(base64.urlsafe_b64decode(cursor), type=After)
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        said, lead, due_at = "", "", None
    if said != order or (due_at is None) is (order == "due"):
        raise Problem(422, "bad_cursor", "after must be the `next` of a page of the same order")
    return Place(lead=lead, due_at=due_at)
