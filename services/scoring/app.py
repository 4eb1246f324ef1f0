"""scoring's route, and what runs beside it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from services.scoring import store
from services.scoring.domain.score import in_words, scorer_of
from services.scoring.metrics import ScoringMetrics
from services.scoring.rescoring import Rescoring
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

    return router


async def _answer(parts: Parts, lead: str) -> ScoreAnswer:
    with database_errors_are_later():
        async with parts.engine.connect() as conn:
            known = None if "\0" in lead else await store.read(conn, lead)
    if known is None or known.gone:
        raise Problem(404, "unknown", "there is no such lead")
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
