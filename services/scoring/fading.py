"""The task that tells when interest faded below a limit: it sleeps until the next lead falls, and nobody is swept over.

When a lead's level or stage falls by waiting alone is known beforehand and stands in its row. So a lead at
rest costs nothing, a crash loses nothing, and any number of processes share the work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.scoring import store
from services.scoring.domain.lead import Lead
from services.scoring.rescoring import let_live_events_pass
from services.scoring.worker import faded
from shared.agreement import Agreements
from shared.clock import Clock, wait_for
from shared.database import database_errors_are_later
from shared.errors import Refused
from shared.events import tenant_of
from shared.log import Log
from shared.work import Work

log = Log("leadpact.scoring")

LEADS_PER_SWEEP: Final = 200
FALLBACK_S: Final = 60.0  # for what another process saved and then died
TOGETHER_S: Final = 0.05  # wakings that come this close together are one
PUT_OFF: Final = timedelta(hours=1)
HELD_S: Final = 0.1  # another instance or a handler holds what is due


class Fading:
    """Judges leads whose interest has faded below a limit, beside any number of other instances that do the same."""

    def __init__(self, work: Work[Lead], *, engine: AsyncEngine, clock: Clock, agreements: Agreements) -> None:
        self._work = work
        self._engine = engine
        self._clock = clock
        self._agreements = agreements
        self._changed = asyncio.Event()
        work.after_commit(self._changed.set)

    async def run(self) -> None:
        """For ever. Raises Later when the database is away, to be called again."""
        with database_errors_are_later():
            while True:
                moment = await self._next()
                if moment is None or moment > self._clock.now():
                    await wait_for(self._changed, self._clock, moment, at_most_s=FALLBACK_S)
                    self._changed.clear()
                    await asyncio.sleep(TOGETHER_S)
                elif await self.sweep():
                    await let_live_events_pass(self._work, self._engine)
                else:
                    await asyncio.sleep(HELD_S)

    async def sweep(self) -> int:
        """Judge some leads that are due; how many were found."""
        found = 0

        async def claim(conn: AsyncConnection, now: datetime) -> Mapping[str, Lead]:
            nonlocal found
            leads = await store.claim_fading(conn, now, LEADS_PER_SWEEP)
            found = len(leads)
            return await self._judgeable(conn, leads, now)

        await self._work.sweep(claim, faded, tenant_of=tenant_of)
        return found

    async def _judgeable(
        self, conn: AsyncConnection, found: Mapping[str, Lead | None], now: datetime
    ) -> Mapping[str, Lead]:
        """What cannot be judged now is put off, so that it fills no sweep: it stays as it was told."""
        leads = {
            key: lead
            for key, lead in found.items()
            if lead is not None and key not in self._work.stuck and self._has_agreement(tenant_of(key))
        }
        if put_off := found.keys() - leads.keys():
            await store.put_off(conn, sorted(put_off), now + PUT_OFF)
            self._work.stuck -= put_off
            log.warning("leads_put_off", leads=len(put_off))
        return leads

    def _has_agreement(self, tenant: str) -> bool:
        try:
            self._agreements.for_tenant(tenant)
        except Refused:
            return False
        return True

    async def _next(self) -> datetime | None:
        async with self._engine.connect() as conn:
            return await store.next_fading(conn)
