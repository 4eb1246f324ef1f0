"""ingest's door, and what runs beside it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import timedelta

from services.ingest.asking import Asking
from services.ingest.door import Crowd, WebhookDoor
from services.ingest.metrics import IngestMetrics
from services.ingest.reconciling import Reconciling
from services.ingest.settings import IngestSettings, elapsed
from services.ingest.sources import sources
from services.ingest.spool import Spool
from services.ingest.worker import Lookups, State, workers
from shared.agreement import Agreement
from shared.crm.hubspot import HubSpot
from shared.errors import Refused
from shared.log import Log
from shared.settings import CommonSettings
from shared.web import Parts, Service
from shared.work import Work, Worker

log = Log("leadpact.ingest")


def build(parts: Parts) -> Service:
    """The ingest service."""
    settings = IngestSettings.read(parts.environ)
    metrics = IngestMetrics(parts.registry)
    spool = _spool(parts, settings, metrics)
    if not settings.tokens:
        log.warning("lookups_off", setting="LEADPACT_HUBSPOT_TOKEN")
    crms, in_time = _crms(settings, settings.lookups_rate), _crms(settings, settings.imports_rate)
    keep = timedelta(days=settings.visitor_days)
    lookups = [_lookups(parts, one, metrics) for one in (crms, in_time)]
    work, imports = (_work(parts, one) for one in workers(*lookups, keep=keep))
    tasks: dict[str, Callable[[], Awaitable[None]]] = {
        **work.tasks(),
        "imports": imports.consume,
        "ask": Asking(work, keep=keep, metrics=metrics).run,
    }
    asking = _crms(settings, settings.reconcile_rate)
    if asking and settings.reconcile_every:
        tasks["reconcile"] = _reconciling(parts, settings, asking, metrics).run
    if spool is not None:
        tasks["drain"] = lambda: spool.drain(parts.bus.publish)

    async def open_spool() -> None:
        if spool is not None:
            spool.open()

    async def close() -> None:
        if spool is not None:
            await spool.close()
        for crm in (*crms.values(), *in_time.values(), *asking.values()):
            await crm.close()

    return Service(
        name="ingest",
        doors=_doors(parts, settings, spool, metrics),
        tasks=tasks,
        open=open_spool,
        close=close,
        bears_outages=spool is not None,
    )


def _reconciling(
    parts: Parts, settings: IngestSettings, crms: Mapping[int | None, HubSpot], metrics: IngestMetrics
) -> Reconciling:
    return Reconciling(
        crms,
        parts.bus.publish,
        engine=parts.engine,
        clock=parts.clock,
        every=elapsed(settings.reconcile_every),
        company_properties=_named(parts, lambda agreement: agreement.company_properties),
        metrics=metrics,
    )


def _crms(settings: IngestSettings, rate: int) -> dict[int | None, HubSpot]:
    return {portal: HubSpot(settings.api, token, rate=rate) for portal, token in settings.tokens}


def _lookups(parts: Parts, crms: Mapping[int | None, HubSpot], metrics: IngestMetrics) -> Lookups:
    return Lookups(
        _crm_of(crms),
        contact_properties=_named(parts, lambda agreement: agreement.contact_properties),
        company_properties=_named(parts, lambda agreement: agreement.company_properties),
        metrics=metrics,
    )


def _work(parts: Parts, worker: Worker[State]) -> Work[State]:
    return Work(
        worker,
        engine=parts.engine,
        bus=parts.bus,
        clock=parts.clock,
        agreements=parts.agreements,
        metrics=parts.metrics,
    )


def _spool(parts: Parts, settings: IngestSettings, metrics: IngestMetrics) -> Spool | None:
    if not settings.spool_limit:
        return None
    folder = CommonSettings.read(parts.environ).data / "spool"
    return Spool(folder, limit_bytes=settings.spool_limit, changed=metrics.spool_bytes.set)


def _doors(
    parts: Parts, settings: IngestSettings, spool: Spool | None, metrics: IngestMetrics
) -> Mapping[str, WebhookDoor]:
    crowd, found = Crowd(), {}
    of_contacts = _named(parts, lambda agreement: agreement.contact_properties)
    of_companies = _named(parts, lambda agreement: agreement.company_properties)
    for source in sources(settings, properties=of_contacts, of_companies=of_companies):
        metrics.expect(source.name)
        found[source.path] = WebhookDoor(
            source,
            max_body=settings.max_body,
            bus=parts.bus,
            spool=spool,
            wall=parts.wall,
            metrics=metrics,
            crowd=crowd,
        )
    return found


def _crm_of(crms: Mapping[int | None, HubSpot]) -> Callable[[str], HubSpot | None]:
    """A portal's own client, or else the one of the token that names no portal."""

    def crm_of(tenant: str) -> HubSpot | None:
        portal = tenant.rpartition(":")[2]
        own = crms.get(int(portal)) if portal.isdigit() else None
        return own or crms.get(None)

    return crm_of


def _named(parts: Parts, names_of: Callable[[Agreement], Collection[str]]) -> Callable[[str], Sequence[str]]:
    """By tenant what its agreement names."""

    def named(tenant: str) -> Sequence[str]:
        try:
            return sorted(names_of(parts.agreements.for_tenant(tenant)))
        except Refused:
            return ()  # a tenant without an agreement: the loop refuses its messages, each for itself

    return named
