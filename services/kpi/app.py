"""kpi's routes, and what runs beside them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from services.kpi import store
from services.kpi.domain.report import report
from services.kpi.domain.tallies import Tallies
from services.kpi.domain.terms import terms_of
from services.kpi.metrics import KpiMetrics
from services.kpi.worker import worker
from shared.agreement import Agreement
from shared.database import database_errors_are_later
from shared.errors import Later
from shared.log import Log
from shared.web import Parts, Service, caller
from shared.work import Work

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


def _targets(agreement: Agreement) -> dict[str, Any]:
    """What an agreement in force wants, under its version and for whom it is (empty: all others)."""
    targets = agreement.kpis.model_dump(mode="json")
    return {"tenant": agreement.tenant or "", "agreement": agreement.version, "targets": targets}


def _router(parts: Parts) -> APIRouter:
    router = APIRouter()

    @router.get("/kpis", dependencies=[caller(parts.tokens)])
    async def kpis() -> dict[str, Any]:
        """The funnel, conversions, compliance, attempts, speed and clocks, beside the targets of the agreements."""
        first, *more = [_targets(agreement) for agreement in parts.agreements.now.agreements]
        now = {"as_of": parts.clock.now().isoformat(), "agreement": first["agreement"]}
        return now | report(await _tallies(parts)) | {"targets": first["targets"], "agreements": [first, *more]}

    return router
