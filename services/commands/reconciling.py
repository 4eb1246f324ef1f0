"""`leadpact reconcile`: what changed in the CRM is put on ingest's list, portal after portal."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import httpx

from services.commands import recorded, wiring
from services.ingest.reconcile import Reconciled, Told, by_tenant, reconcile
from services.ingest.settings import IngestSettings
from shared.agreement import Agreements
from shared.bus import Bus
from shared.crm.hubspot import HubSpot, plural
from shared.errors import Broken, Later, Refused, WrongSetting
from shared.events import RecordType
from shared.settings import CommonSettings

SINCE: Final = "2d"


@dataclass(frozen=True, kw_only=True)
class Call:
    """What the command was given. `tenant` "": of every token."""

    since: str = SINCE
    tenant: str = ""


async def call(
    given: Call,
    environ: Mapping[str, str],
    open_bus: Callable[[], AbstractAsyncContextManager[Bus]],
    *,
    http: httpx.AsyncClient | None = None,
) -> list[Reconciled]:
    """Ask and queue. Raises Broken when it cannot, with how far it came: all of it may be done again."""
    settings = IngestSettings.read({"LEADPACT_HUBSPOT_SECRETS": "not needed to ask", **environ})
    if not settings.tokens:
        raise WrongSetting("LEADPACT_HUBSPOT_TOKEN", "is not set, so the CRM cannot be asked")
    now = datetime.now(UTC)
    since = recorded.stretch(given.since, "").since
    if since is None or since >= now:
        raise Broken("wrong_time", f"--since {given.since}: must be in the past")
    agreements = wiring.read_agreements(CommonSettings.read(environ))
    done: list[Reconciled] = []
    queued: Counter[RecordType] = Counter()
    with _bar(queued) as told:
        try:
            async with open_bus() as bus, _crms(settings, given.tenant, http) as crms:
                for tenant, crm in crms.items():
                    companies = _asks_of_companies(agreements, tenant)
                    one = reconcile(
                        crm, bus.publish, tenant=tenant, since=since, at=now, companies=companies, told=told
                    )
                    done.append(await one)
        except Later as error:
            why = f"{error.message}; {queued.total()} records were queued, doing it again is harmless"
            raise Broken(error.code, why) from error
    return done


@contextlib.asynccontextmanager
async def _crms(
    settings: IngestSettings, wanted: str, http: httpx.AsyncClient | None
) -> AsyncIterator[dict[str, HubSpot]]:
    """By tenant, whom to ask: with the share of the rate that ingest leaves for it. Raises Broken."""
    clients = [
        (portal, HubSpot(settings.api, token, rate=settings.reconcile_rate, http=http))
        for portal, token in settings.tokens
    ]
    try:
        found = await by_tenant(clients)
        if wanted and wanted not in found:
            why = f"--tenant {wanted}: LEADPACT_HUBSPOT_TOKEN has none for it; there is {', '.join(found)}"
            raise Broken("unknown_tenant", why)
        yield {tenant: crm for tenant, crm in found.items() if wanted in ("", tenant)}
    finally:
        for _, crm in clients:
            await crm.close()


def _asks_of_companies(agreements: Agreements, tenant: str) -> bool:
    """Raises Broken for a tenant that no agreement is for."""
    try:
        return bool(agreements.for_tenant(tenant).company_properties)
    except Refused as error:
        raise Broken(error.code, f"{tenant}: {error.message}") from error


def as_json(done: Reconciled) -> dict[str, Any]:
    """What became of one portal, for a program."""
    return {
        "tenant": done.tenant,
        "since": done.since.isoformat(timespec="seconds"),
        "changed": {str(kind): count for kind, count in done.changed.items()},
        "queued": done.changed.total(),
        "deleted": {str(kind): count for kind, count in done.deleted.items() if count},
        "left_out": {str(kind): why for kind, why in done.left_out.items()},
    }


def lines(done: Reconciled) -> Iterator[str]:
    """The same for a person."""
    found = _counted(done.changed)
    since = done.since.strftime("%Y-%m-%d %H:%M UTC")
    yield f"{done.tenant}: {found or 'nothing'} changed since {since}{', queued to be looked up' if found else ''}"
    if deleted := _counted(done.deleted):
        yield f"{done.tenant}: {deleted} deleted since then"
    for kind, why in done.left_out.items():
        yield f"{done.tenant}: {plural(kind)} were left out: {why}"


def _counted(counts: Counter[RecordType]) -> str:
    return ", ".join(f"{count} {kind if count == 1 else plural(kind)}" for kind, count in counts.items() if count)


@contextlib.contextmanager
def _bar(queued: Counter[RecordType]) -> Iterator[Told]:
    """Counts; on a terminal a line that says how many of each kind so far."""
    if not sys.stderr.isatty():
        yield lambda kind, records: queued.update({kind: records})
        return
    from rich.console import Console
    from rich.status import Status

    with Status("Asking the CRM what changed ...", console=Console(stderr=True)) as status:

        def told(kind: RecordType, records: int) -> None:
            queued[kind] += records
            status.update(", ".join(f"{count} {plural(one)}" for one, count in queued.items()) + " queued ...")

        yield told
