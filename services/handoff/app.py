"""Hand-off's routes, and what runs beside them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import APIRouter

from services.handoff import store
from services.handoff.api.acting import pages_of_links
from services.handoff.api.bulk import bulk_commands
from services.handoff.api.doing import Doing
from services.handoff.api.reading import queries, read
from services.handoff.api.single import commands
from services.handoff.domain.lead import Lead
from services.handoff.links import Links
from services.handoff.metrics import HandoffMetrics
from services.handoff.notifying import Notifying
from services.handoff.settings import HandoffSettings
from services.handoff.ticking import Ticking
from services.handoff.worker import worker
from shared.errors import Later
from shared.log import Log
from shared.web import Parts, Service
from shared.work import Work

log = Log("leadpact.handoff")


def build(parts: Parts) -> Service:
    """The hand-off service."""
    settings = HandoffSettings.read(parts.environ)
    metrics = HandoffMetrics(parts.registry)
    links = Links(secrets=settings.link_secrets, public_url=settings.public_url, life=settings.link_life)
    work = Work(
        worker(wall=parts.wall, notify=bool(settings.notify_url), links=links, metrics=metrics),
        engine=parts.engine,
        bus=parts.bus,
        clock=parts.clock,
        agreements=parts.agreements,
        metrics=parts.metrics,
    )
    ticking = Ticking(work, engine=parts.engine, clock=parts.clock, agreements=parts.agreements, metrics=metrics)
    tasks: dict[str, Callable[[], Awaitable[None]]] = {**work.tasks(), "clocks": ticking.run}
    if settings.notify_url:
        notifying = Notifying(settings, engine=parts.engine, wall=parts.wall, metrics=metrics)
        work.after_commit(notifying.wake)
        tasks["notifications"] = notifying.run

    async def refresh() -> None:
        """Keeps the last number when the database is away."""
        try:
            metrics.notifications_pending.set(await read(parts, store.pending_notifications))
        except Later as error:
            log.warning("notifications_not_counted", code=error.code)

    router = _router(parts, work, links, metrics)
    return Service(name="handoff", router=router, tasks=tasks, refresh=refresh)


def _router(parts: Parts, work: Work[Lead], links: Links, metrics: HandoffMetrics) -> APIRouter:
    router, doing = APIRouter(), Doing(parts, work)
    router.include_router(queries(parts))
    router.include_router(bulk_commands(parts.tokens, doing))  # before those for one lead: it might be called bulk
    router.include_router(commands(parts.tokens, doing))
    router.include_router(pages_of_links(parts, work, links, metrics))
    return router
