"""kpi's routes, and what runs beside them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from services.kpi import store
from services.kpi.domain.report import report
from services.kpi.domain.tallies import Tallies
from services.kpi.domain.terms import Terms
from services.kpi.metrics import KpiMetrics
from services.kpi.worker import worker
from shared.database import database_errors_are_later
from shared.errors import Later
from shared.log import Log
from shared.web import Parts, Service, caller
from shared.work import Work

log = Log("leadpact.kpi")

ANY_TENANT = ""  # whose own agreement nobody has: the default one


def build(parts: Parts) -> Service:
    """The kpi service."""
    agreement = parts.agreements.for_tenant(ANY_TENANT)
    metrics = KpiMetrics(parts.registry, Terms.of(agreement))
    work = Work(
        worker(),
        engine=parts.engine,
        bus=parts.bus,
        clock=parts.clock,
        agreements=parts.agreements,
        metrics=parts.metrics,
    )

    async def refresh() -> None:
        """Keeps the last numbers when the database is away: an alert must not end because of that."""
        try:
            metrics.show(await _tallies(parts), read_at=parts.wall.now().timestamp())
        except Later as error:
            log.warning("tallies_not_read", code=error.code)

    return Service(name="kpi", router=_router(parts), tasks=work.tasks(), refresh=refresh)


async def _tallies(parts: Parts) -> Tallies:
    with database_errors_are_later():
        async with parts.engine.connect() as conn:
            return await store.read_tallies(conn)


def _router(parts: Parts) -> APIRouter:
    router = APIRouter()

    @router.get("/kpis", dependencies=[caller(parts.tokens)])
    async def kpis() -> dict[str, Any]:
        """The funnel, conversions, compliance, attempts, speed and clocks, beside the agreement's targets."""
        agreement = parts.agreements.for_tenant(ANY_TENANT)
        now = {"as_of": parts.clock.now().isoformat(), "agreement": agreement.version}
        return now | report(await _tallies(parts)) | {"targets": agreement.kpis.model_dump(mode="json")}

    return router
