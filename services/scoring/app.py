"""scoring's routes, and what runs beside them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from sqlalchemy.ext.asyncio import AsyncConnection

from services.scoring import store
from services.scoring.domain.history import KEPT, Happened, changes
from services.scoring.domain.lead import Lead
from services.scoring.domain.score import in_words, scorer_of
from services.scoring.metrics import ScoringMetrics
from services.scoring.rescoring import Rescoring
from services.scoring.store import Kept
from services.scoring.worker import worker
from shared.database import database_errors_are_later
from shared.events import tenant_of
from shared.web import Parts, Problem, Service, caller
from shared.work import Work


class Points(BaseModel):
    """One rule, and what it gave or took."""

    rule: str
    points: float


class Asked(BaseModel):
    """One rule of fit: whether it holds (null: not known), and why."""

    rule: str
    held: bool | None
    why: str


class Part(BaseModel):
    points: float
    grade: str
    reasons: list[Points]


class ScoreAnswer(BaseModel):
    """What a lead is worth at `as_of`, and why."""

    lead: str
    as_of: datetime
    agreement: str
    version: int
    grade: str
    journey: str
    disqualified: str
    fit: Part
    interest: Part
    asked: list[Asked]
    sentence: str


class Cause(BaseModel):
    """What made a score."""

    type: str = Field(
        description="of the message: ContactChanged, FormSubmitted, PageVisited, ContactsMerged;"
        " or AgreementChanged, InterestFaded, which nobody did"
    )
    id: str = Field(description="of the message; of AgreementChanged the agreement's version")
    happened_at: datetime | None = Field(description="when it happened, which may be long before it was heard of")
    names: list[str] = Field(description="the properties that changed, the form, the page, or the leads merged in")


class ChangedRule(BaseModel):
    """A rule that gives other points than in the score before."""

    part: Literal["fit", "interest"]
    rule: str
    before: float | None = Field(description="null: it gave and took nothing")
    after: float | None = Field(description="null: it gives and takes nothing any more")
    faded: bool = Field(description="no act took the points but time")


class PastScore(BaseModel):
    """A score that was told, what made it, and what changed with it."""

    lead: str = Field(description="as it was called then: another than now, if it was merged in since")
    version: int = Field(description="the lead's own number, from 1 without holes")
    counted_since: datetime | None = Field(description="from when its versions count")
    at: datetime = Field(description="when it was judged")
    grade: str
    former_grade: str | None = Field(description="of the score before; null: there is none here")
    journey: str
    disqualified: str
    fit: float
    fit_grade: str
    interest: float
    interest_level: str
    agreement: str = Field(description="the version that it was judged by")
    former_agreement: str = Field(description="the one that judged it before, if that was another")
    cause: Cause
    changes: list[ChangedRule] = Field(description="against the score before; all rules where there is none here")


class History(BaseModel):
    """The scores of a lead, the newest first; of a lead that others were merged into, theirs among them."""

    lead: str
    scores: list[PastScore]
    next: str | None = Field(description="the `after` of the next page; null on the last")


def build(parts: Parts) -> Service:
    """The scoring service."""
    metrics = ScoringMetrics(parts.registry)
    work = Work(
        worker(metrics),
        engine=parts.engine,
        bus=parts.bus,
        clock=parts.clock,
        agreements=parts.agreements,
        metrics=parts.metrics,
    )
    rescoring = Rescoring(work, engine=parts.engine, agreements=parts.agreements, metrics=metrics)
    tasks: dict[str, Callable[[], Awaitable[None]]] = {**work.tasks(), "rescoring": rescoring.run}
    return Service(name="scoring", router=_router(parts), tasks=tasks, to_rescore=lambda: rescoring.left)


def _router(parts: Parts) -> APIRouter:
    router = APIRouter()

    @router.get("/leads/{lead}/score", dependencies=[caller(parts.tokens)])
    async def score(lead: str) -> ScoreAnswer:
        """What the lead is worth now, with the reasons in numbers and in a sentence."""
        return await _answer(parts, lead)

    @router.get("/leads/{lead}/score/history", dependencies=[caller(parts.tokens)])
    async def history(
        lead: str,
        after: Annotated[str, Query(max_length=200, description="the `next` of the page before")] = "",
        limit: Annotated[int, Query(ge=1, le=KEPT)] = 50,
    ) -> History:
        """Each score that was told of the lead, the newest first, with what made it and the rules that changed."""
        below = _place(after)
        async with _connection(parts) as conn:
            await _known(conn, lead)
            page = await store.history(conn, lead, below=below, limit=limit)
        return History(lead=lead, scores=[_past(lead, kept) for kept in page.kept], next=_cursor(page.below))

    return router


@asynccontextmanager
async def _connection(parts: Parts) -> AsyncIterator[AsyncConnection]:
    """To read on. Raises Later."""
    with database_errors_are_later():
        async with parts.engine.connect() as conn:
            yield conn


async def _known(conn: AsyncConnection, lead: str) -> Lead:
    """Raises Problem for a lead that is not there, or gone."""
    known = None if "\0" in lead else await store.read(conn, lead)
    if known is None or known.gone:
        raise Problem(404, "unknown", "there is no such lead")
    return known


async def _answer(parts: Parts, lead: str) -> ScoreAnswer:
    async with _connection(parts) as conn:
        known = await _known(conn, lead)
    scorer = scorer_of(parts.agreements.for_tenant(tenant_of(lead)))
    now = parts.clock.now()
    found = scorer.score(known, now)
    return ScoreAnswer(
        lead=lead,
        as_of=now,
        agreement=scorer.version,
        version=known.told.version if known.told else 0,
        grade=found.grade,
        journey=found.interest.journey,
        disqualified=found.fit.disqualified,
        fit=_part(found.fit.points, found.fit.grade, found.fit.reasons),
        interest=_part(found.interest.points, found.interest.level, found.interest.reasons),
        asked=[Asked(rule=one.rule, held=one.held, why=one.why) for one in scorer.explain(known)],
        sentence=in_words(found),
    )


def _part(points: float, grade: str, reasons: Any) -> Part:
    return Part(points=points, grade=grade, reasons=[Points(rule=r.rule, points=r.points) for r in reasons])


# --- the history ---

LAST: Final = 2**63 - 1  # below it are all
_Seq = Annotated[int, msgspec.Meta(ge=0, le=LAST)]


def _past(lead: str, kept: Kept) -> PastScore:
    entry, before = kept.entry, kept.before
    return PastScore(
        lead=kept.former or lead,
        version=entry.version,
        counted_since=entry.since,
        at=entry.at,
        grade=entry.grade,
        former_grade=before.grade if before else None,
        journey=entry.journey,
        disqualified=entry.disqualified,
        fit=entry.fit,
        fit_grade=entry.fit_grade,
        interest=entry.interest,
        interest_level=entry.interest_level,
        agreement=entry.agreement,
        former_agreement=entry.former_agreement,
        cause=_cause(entry.cause, entry.happened),
        changes=[
            ChangedRule(part=one.part, rule=one.rule, before=one.before, after=one.after, faded=one.faded)
            for one in changes(before, entry)
        ],
    )


def _cause(id_: str, happened: Happened) -> Cause:
    return Cause(type=happened.type, id=id_, happened_at=happened.at, names=list(happened.names))


def _cursor(below: int | None) -> str | None:
    """Opaque to the caller: what it holds may change."""
    return None if below is None else base64.urlsafe_b64encode(msgspec.json.encode(below)).decode()


def _place(cursor: str) -> int:
    """Below which the page is. Raises Problem for what is no `next`."""
    if not cursor:
        return LAST
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(cursor), type=_Seq)
    except (ValueError, binascii.Error, msgspec.MsgspecError) as error:
        raise Problem(422, "bad_cursor", "after must be the `next` of a page") from error
