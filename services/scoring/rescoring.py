"""The task that judges stored leads again when another agreement is in force: batch by batch, behind the live events.

What is left to do stands in the table: the leads that another version judged last. So a crash loses
nothing, any number of processes share the work, and another swap on the way only changes the aim.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.scoring import store
from services.scoring.domain.lead import Lead
from services.scoring.metrics import Rescored, ScoringMetrics
from services.scoring.store import Place
from services.scoring.worker import rejudged
from shared.agreement import Agreements, InForce
from shared.database import database_errors_are_later
from shared.errors import Refused
from shared.events import tenant_of
from shared.log import Log
from shared.work import Facts, Work

log = Log("leadpact.scoring")

LEADS_PER_BATCH: Final = 200
TURNS_BEFORE: Final = 10  # of the loop over the topics, for each batch, while more and more events wait
WAITING: Final = 1_000  # messages that are not on the bus yet; so many, and live ones would wait behind ours
HELD_S: Final = 0.1  # until we look whether they are gone
COUNT_EVERY: Final = 100  # batches; counting reads all that are left
SETTLE_S: Final = 10.0  # after the end; a decision under way by the agreement before is committed by then
LOOK_AGAIN_S: Final = 2.0  # until then


@dataclass(kw_only=True)
class _Tenant:
    """A tenant's leads in one pass: where we are, and what was done. `left` is as last counted, less what was done."""

    tenant: str
    version: str
    left: int
    after: Place = field(default_factory=Place)
    batches: int = 0
    judged: int = 0
    told: int = 0


@dataclass(kw_only=True)
class _Pass:
    """Once through the leads of all tenants: `now` is the one we are at, the others follow."""

    others: list[str]
    now: _Tenant | None = None


class Rescoring:
    """Judges stored leads by the agreement in force, beside any number of other instances that do the same."""

    def __init__(self, work: Work[Lead], *, engine: AsyncEngine, agreements: Agreements, metrics: ScoringMetrics):
        self._work = work
        self._engine = engine
        self._agreements = agreements
        self._metrics = metrics
        self._swapped = asyncio.Event()
        self._followed: InForce | None = None
        self._pass: _Pass | None = None
        self._look_at = 0.0
        self._look_until = math.inf
        self._unreadable: set[str] = set()
        self.left: dict[tuple[str, str], int] = {}  # by tenant and version: leads to be judged again, as last counted
        agreements.after_swap(self._swapped.set)

    async def run(self) -> None:
        """For ever. Raises Later when the database is away, to be called again."""
        with database_errors_are_later():
            while True:
                self._swapped.clear()
                while await self.step():
                    await let_live_events_pass(self._work, self._engine)
                await self._until_next_look()

    async def step(self) -> int:
        """Judge some leads again that another agreement judged last; how many.

        Goes through all of them once, and again for some seconds after, for what a decision by the
        agreement before held meanwhile. Then no more, so that two processes that were started on
        different files do not judge the same leads again and again.
        """
        if self._agreements.now is not self._followed:
            self._begin(self._agreements.now)
        now = asyncio.get_running_loop().time()
        if now < self._look_at:
            return 0
        done = await self._some()
        if not done:
            self._look_until = min(self._look_until, now + SETTLE_S)  # ten seconds from the end of the first pass
            self._look_at = now + LOOK_AGAIN_S if now < self._look_until else math.inf
            self._pass = None
        return done

    def _begin(self, in_force: InForce) -> None:
        self._followed, self._pass = in_force, None
        self._look_at, self._look_until = 0.0, math.inf
        self._metrics.to_rescore.clear()
        self.left.clear()
        self._work.stuck.clear()  # what could not be judged may be now
        self._unreadable.clear()

    async def _some(self) -> int:
        """Some leads of the tenant that this pass is at; 0 at the end of the pass."""
        if self._pass is None:
            async with self._engine.connect() as conn:
                self._pass = _Pass(others=await store.tenants(conn))
        while True:
            if self._pass.now is None:
                if not self._pass.others:
                    return 0
                self._pass.now = await self._start(self._pass.others[0])
                del self._pass.others[0]
            elif done := await self._batch(self._pass.now):
                return done
            else:
                await self._end(self._pass.now)
                self._pass.now = None

    async def _start(self, tenant: str) -> _Tenant | None:
        """None when there is nothing to do for the tenant. Without an agreement its leads stay as they were judged."""
        assert self._followed is not None
        try:
            version = self._followed.for_tenant(tenant).version
        except Refused:
            return None
        at = _Tenant(tenant=tenant, version=version, left=0)
        await self._count(at)
        if at.left:
            log.info("rescoring_started", tenant=tenant, version=version, leads=at.left)
        return at if at.left else None

    async def _end(self, at: _Tenant) -> None:
        await self._count(at)
        log.info("rescoring_ended", tenant=at.tenant, version=at.version, leads=at.judged, told=at.told, left=at.left)

    async def _count(self, at: _Tenant) -> None:
        async with self._engine.connect() as conn:
            self._show(at, await store.count_other_agreements(conn, at.tenant, at.version))

    def _show(self, at: _Tenant, left: int) -> None:
        at.left = self.left[at.tenant, at.version] = left
        self._metrics.to_rescore.labels(at.tenant, at.version).set(left)

    async def _batch(self, at: _Tenant) -> int:
        """Judge the next leads of a tenant, in one transaction; how many were found."""
        found = store.Claimed(leads={}, last=None)
        told = 0

        async def claim(conn: AsyncConnection, now: datetime) -> Mapping[str, Lead]:
            nonlocal found, told
            told, alone = 0, [*self._work.stuck, *self._unreadable]
            found = await store.claim_other_agreements(
                conn, at.tenant, at.version, LEADS_PER_BATCH, after=at.after, without=alone
            )
            return self._readable(found.leads)

        def decide(lead: Lead, facts: Facts[Lead]) -> Rescored:
            nonlocal told
            decision = rejudged(lead, facts)
            told += len(decision.messages)
            return decision

        judged = await self._work.sweep(claim, decide, tenant_of=tenant_of)
        at.after = found.last or at.after
        at.batches, at.judged, at.told = at.batches + 1, at.judged + len(judged), at.told + told
        self._show(at, max(0, at.left - len(judged)))
        if at.batches % COUNT_EVERY == 0:
            await self._count(at)
        return len(found.leads)

    def _readable(self, found: Mapping[str, Lead | None]) -> Mapping[str, Lead]:
        """What can be read; of what cannot, say once that it is left as it is."""
        leads = {key: lead for key, lead in found.items() if lead is not None}
        if unreadable := found.keys() - leads.keys():
            self._unreadable |= unreadable
            log.error("leads_unreadable", leads=len(self._unreadable))
        return leads

    async def _until_next_look(self) -> None:
        left = self._look_at - asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(None if math.isinf(left) else max(0.0, left)):
                await self._swapped.wait()
        except TimeoutError:
            pass


async def let_live_events_pass(work: Work[Lead], engine: AsyncEngine) -> None:
    """Wait for the loop over the topics, and until what was told is on the bus."""
    await work.traffic.let_pass(TURNS_BEFORE)
    while True:
        async with engine.connect() as conn:
            if not await store.waits_to_be_told(conn, WAITING):
                return
        await asyncio.sleep(HELD_S)
