"""The task that reconciles on a schedule: each tenant once in a while, whatever the number of processes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from services.ingest import store
from services.ingest.metrics import IngestMetrics
from services.ingest.reconcile import Publish, Reconciled, by_tenant, reconcile
from shared.clock import Clock
from shared.crm.hubspot import HubSpot
from shared.database import database_errors_are_later
from shared.log import Log

log = Log("leadpact.ingest")

LOOK_S: Final = 15.0
# How far each goes back over what the one before asked for: the CRM's search is behind by moments, and retries of
# a webhook that will still come are no loss.
OVERLAP: Final = timedelta(hours=1)
LEASE: Final = timedelta(hours=1)  # then whoever began is taken for dead, or the CRM for back


class Reconciling:
    """Sees to it that every tenant with a token is reconciled `every` so often, beside others that do the same."""

    def __init__(
        self,
        crms: Mapping[int | None, HubSpot],
        publish: Publish,
        *,
        engine: AsyncEngine,
        clock: Clock,
        every: timedelta,
        company_properties: Callable[[str], Collection[str]],
        metrics: IngestMetrics,
    ) -> None:
        self._crms = crms
        self._publish = publish
        self._engine = engine
        self._clock = clock
        self._every = every
        self._company_properties = company_properties
        self._metrics = metrics
        self._tenants: dict[str, HubSpot] = {}

    async def run(self) -> None:
        """For ever. Raises Later when the CRM, the bus or the database is away, to be called again."""
        while True:
            for tenant, crm in (await self._known()).items():
                await self.look(tenant, crm)
            await asyncio.sleep(LOOK_S)

    async def _known(self) -> Mapping[str, HubSpot]:
        """Found out once: a token says nothing else as long as it is in use."""
        if not self._tenants:
            self._tenants = await by_tenant(self._crms.items())
        return self._tenants

    async def look(self, tenant: str, crm: HubSpot) -> Reconciled | None:
        """Reconcile when that is due and nobody else does. What was begun and not ended is due again after LEASE."""
        now = self._clock.now()
        with database_errors_are_later():
            async with self._engine.begin() as conn:
                since = await store.claim_reconcile(conn, tenant, now, every=self._every, lease=LEASE)
        if since is None:
            return None
        done = await self._reconcile(crm, tenant, since - OVERLAP, now)
        with database_errors_are_later():
            async with self._engine.begin() as conn:
                await store.reconciled(conn, tenant, until=now)
        records, deleted = done.changed.total(), done.deleted.total()
        log.info("reconciled", tenant=tenant, records=records, deleted=deleted, left_out=len(done.left_out))
        return done

    async def _reconcile(self, crm: HubSpot, tenant: str, since: datetime, now: datetime) -> Reconciled:
        companies = bool(self._company_properties(tenant))
        done = await reconcile(crm, self._publish, tenant=tenant, since=since, at=now, companies=companies)
        for outcome, counts in (("queued", done.changed), ("deleted", done.deleted)):
            for kind, count in counts.items():
                self._metrics.reconciled.labels(kind, outcome).inc(count)
        return done
