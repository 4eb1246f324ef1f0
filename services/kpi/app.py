"""kpi's routes, and what runs beside them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query
from sqlalchemy.ext.asyncio import AsyncConnection

from services.kpi import store
from services.kpi.domain.goals import GoalsReport
from services.kpi.domain.report import report
from services.kpi.domain.terms import terms_of
from services.kpi.goals import read_paces, read_report
from services.kpi.metrics import KpiMetrics
from services.kpi.ticking import Ticking
from services.kpi.views import KpisReport
from services.kpi.worker import worker
from shared.agreement import Agreement
from shared.database import database_errors_are_later
from shared.errors import Later
from shared.log import Log
from shared.web import Parts, Service, caller
from shared.work import Work

T = TypeVar("T")

log = Log("leadpact.kpi")


def build(parts: Parts) -> Service:
    """The kpi service."""
    metrics = KpiMetrics(parts.registry, lambda: [terms_of(one) for one in parts.agreements.now.agreements])
    work = Work(
        worker(),
        engine=parts.engine,
        bus=parts.bus,
        clock=parts.clock,
        agreements=parts.agreements,
        metrics=parts.metrics,
    )
    ticking = Ticking(engine=parts.engine, clock=parts.clock, agreements=parts.agreements)

    async def refresh() -> None:
        """Keeps the last numbers when the database is away: an alert must not end because of that."""
        try:
            tallies = await _read(parts, store.read_tallies)
            paces = await _read(parts, lambda conn: read_paces(conn, parts.agreements.now, parts.clock.now()))
            metrics.show(tallies, paces, read_at=parts.wall.now().timestamp())
        except Later as error:
            log.warning("tallies_not_read", code=error.code)

    tasks = {**work.tasks(), "commitments": ticking.run}
    return Service(name="kpi", router=_router(parts), tasks=tasks, refresh=refresh)


async def _read(parts: Parts, query: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    with database_errors_are_later():
        async with parts.engine.connect() as conn:
            return await query(conn)


def _targets(agreement: Agreement) -> dict[str, Any]:
    """What an agreement in force wants, under its version and for whom it is (empty: all others)."""
    targets = agreement.kpis.model_dump(mode="json")
    return {"tenant": agreement.tenant or "", "agreement": agreement.version, "targets": targets}


def _router(parts: Parts) -> APIRouter:
    router = APIRouter()

    @router.get("/kpis", dependencies=[caller(parts.tokens)])
    async def kpis() -> KpisReport:
        """The funnel, conversions, compliance, attempts, speed and clocks, beside the targets of the agreements."""
        first, *more = [_targets(agreement) for agreement in parts.agreements.now.agreements]
        targets = {"agreement": first["agreement"], "targets": first["targets"], "agreements": [first, *more]}
        tallies = await _read(parts, store.read_tallies)
        return KpisReport.model_validate({"as_of": parts.clock.now()} | report(tallies) | targets)

    @router.get("/goals", dependencies=[caller(parts.tokens)])
    async def goals(
        tenant: Annotated[str, Query(description="Whose agreement, as hubspot:62515; else that of all others.")] = "",
    ) -> GoalsReport:
        """What the agreement's goals need by when, whether they are on pace, and how Marketing keeps its side."""
        return await _read(parts, lambda conn: read_report(conn, parts.agreements.now, tenant, parts.clock.now()))

    return router
