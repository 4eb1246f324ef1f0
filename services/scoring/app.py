"""scoring's routes, and what runs beside them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import APIRouter, Query
from sqlalchemy.ext.asyncio import AsyncConnection

from services.scoring import store
from services.scoring.api import LAST, PROBLEMS, History, ScoreAnswer, cursor, past, place, score_answer
from services.scoring.domain.history import KEPT
from services.scoring.domain.lead import Lead
from services.scoring.domain.wording import Wording
from services.scoring.fading import Fading
from services.scoring.metrics import ScoringMetrics
from services.scoring.rescoring import Rescoring
from services.scoring.worker import worker
from shared.database import database_errors_are_later
from shared.events import tenant_of
from shared.web import InLanguage, Parts, Problem, Service, caller
from shared.work import Work


def build(parts: Parts) -> Service:
    """The scoring service."""
    metrics = ScoringMetrics(parts.registry)
    _show_grades(parts, metrics)
    parts.agreements.after_swap(lambda: _show_grades(parts, metrics))
    work = Work(
        worker(metrics),
        engine=parts.engine,
        bus=parts.bus,
        clock=parts.clock,
        agreements=parts.agreements,
        metrics=parts.metrics,
    )
    rescoring = Rescoring(work, engine=parts.engine, agreements=parts.agreements, metrics=metrics)
    fading = Fading(work, engine=parts.engine, clock=parts.clock, agreements=parts.agreements)
    tasks: dict[str, Callable[[], Awaitable[None]]] = {
        **work.tasks(),
        "rescoring": rescoring.run,
        "fading": fading.run,
    }
    return Service(name="scoring", router=_router(parts), tasks=tasks, to_rescore=lambda: rescoring.left)


def _show_grades(parts: Parts, metrics: ScoringMetrics) -> None:
    metrics.agreed(parts.agreements.now.agreements)


def _router(parts: Parts) -> APIRouter:
    router = APIRouter(dependencies=[caller(parts.tokens)], responses=PROBLEMS)

    @router.get("/leads/{lead}/score")
    async def score(lead: str, language: InLanguage) -> ScoreAnswer:
        """What the lead is worth now, with the reasons in numbers and in words, and what last changed it."""
        async with _connection(parts) as conn:
            known = await _known(conn, lead)
            newest = (await store.history(conn, lead, below=LAST, limit=1)).kept
        agreement, now = parts.agreements.for_tenant(tenant_of(lead)), parts.clock.now()
        last = newest[0] if newest else None
        return score_answer(lead, known, last, agreement=agreement, language=language, now=now)

    @router.get("/leads/{lead}/score/history")
    async def score_history(
        lead: str,
        language: InLanguage,
        after: Annotated[str, Query(max_length=200, description="the `next` of the page before")] = "",
        limit: Annotated[int, Query(ge=1, le=KEPT)] = 50,
    ) -> History:
        """Each score that was told of the lead, the newest first, with what made it and the rules that changed."""
        below = place(after)
        async with _connection(parts) as conn:
            await _known(conn, lead)
            page = await store.history(conn, lead, below=below, limit=limit)
        wording = Wording(parts.agreements.for_tenant(tenant_of(lead)), language)
        scores = [past(lead, kept, wording) for kept in page.kept]
        return History(lead=lead, scores=scores, next=cursor(page.below))

    return router


@asynccontextmanager
async def _connection(parts: Parts) -> AsyncIterator[AsyncConnection]:
    """To read on. Raises Later."""
    with database_errors_are_later():
        async with parts.engine.connect() as conn:
            yield conn


async def _known(conn: AsyncConnection, lead: str) -> Lead:
    """Raises Problem for a lead that is not there, or gone; of one that was merged away it names the survivor."""
    known = None if "\0" in lead else await store.read(conn, lead)
    if known and known.merged_into and (into := await _survivor(conn, known.merged_into)):
        raise Problem(404, "unknown", "the lead was merged: it is part of another", merged_into=into)
    if known is None or known.gone:
        raise Problem(404, "unknown", "there is no such lead")
    return known


async def _survivor(conn: AsyncConnection, lead: str) -> str:
    """At the end of the way of merges; "" for one that is gone."""
    known = await store.read(conn, lead)
    while known and known.merged_into:
        lead = known.merged_into
        known = await store.read(conn, lead)
    return lead if known and not known.gone else ""
