"""The task that fires clocks: sleeps until the next is due, and is woken when an earlier one comes about."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.handoff import store
from services.handoff.domain.draft import HandoffDecision
from services.handoff.domain.lead import Lead
from services.handoff.metrics import HandoffMetrics
from services.handoff.worker import due
from shared.agreement import Agreements, InForce
from shared.clock import Clock, wait_for
from shared.database import database_errors_are_later, listening
from shared.errors import Refused
from shared.events import tenant_of
from shared.log import Log
from shared.work import Facts, Work

log = Log("leadpact.handoff")

LEADS_PER_SWEEP: Final = 500
SWEEPS_AT_ONCE: Final = 2
FALLBACK_S: Final = 5.0  # when a NOTIFY was lost with its connection
TOGETHER_S: Final = 0.05  # wakings that come this close together are one
TRY_AGAIN_S: Final = 60.0
SETTLE_S: Final = 10.0  # after a swap; a decision under way by the one before is committed by then
LOOK_AGAIN_S: Final = 2.0  # until then
HELD_S: Final = 0.1  # another instance or a handler holds what is due


class Ticking:
    """Fires clocks, beside any number of other instances that do the same."""

    def __init__(
        self,
        work: Work[Lead],
        *,
        engine: AsyncEngine,
        clock: Clock,
        agreements: Agreements,
        metrics: HandoffMetrics,
    ) -> None:
        self._work = work
        self._agreements = agreements
        self._engine = engine
        self._clock = clock
        self._metrics = metrics
        self._changed = asyncio.Event()
        self._unreadable: set[str] = set()
        self._try_again_at = 0.0
        self._followed: InForce | None = None
        self._follow_at = self._follow_until = 0.0
        work.after_commit(self._changed.set)
        agreements.after_swap(self._changed.set)

    async def run(self) -> None:
        """For ever. Raises Later when the database is away, to be called again."""
        with database_errors_are_later():
            async with listening(self._engine, store.CHANNEL, self._changed.set):
                while True:
                    self._changed.clear()
                    followed = await self.follow_agreement()
                    await self.fire()
                    if not followed:  # else there may be more, and what falls due meanwhile is not late for it
                        await self._wait(await self._next_due())
                        await asyncio.sleep(TOGETHER_S)

    async def fire(self) -> int:
        """Fire all that is due; how many warnings, ends and escalations that were. Raises what `sweep` raises.

        Where one sweep is not enough two go on side by side: one decides while the database writes the other.
        """
        fired = await self.sweep()
        many = SWEEPS_AT_ONCE if fired >= LEADS_PER_SWEEP else min(fired, 1)
        try:
            async with asyncio.TaskGroup() as group:
                others = [group.create_task(self._sweep_on()) for _ in range(many)]
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from failed
        return fired + sum(other.result() for other in others)

    async def _sweep_on(self) -> int:
        fired = 0
        while some := await self.sweep():
            fired += some
        return fired

    async def sweep(self) -> int:
        """Fire what is due of some leads; how many warnings, ends and escalations that were."""
        told: dict[str, list[datetime]] = {}

        def decide(lead: Lead, facts: Facts[Lead]) -> HandoffDecision:
            decision, told[lead.lead] = due(lead, facts)
            return decision

        async def claim(conn: AsyncConnection, now: datetime) -> Mapping[str, Lead]:
            return self._readable(await store.claim_due(conn, now, LEADS_PER_SWEEP, without=self._left_alone()))

        done = await self._work.sweep(claim, decide, tenant_of=tenant_of)
        moments = [moment for lead in done for moment in told[lead]]
        now = self._clock.now()
        for moment in moments:
            self._metrics.lateness.observe(max(0.0, (now - moment).total_seconds()))
        self._metrics.sweeps.labels("fired" if moments else "nothing").inc()
        self._metrics.fired.inc(len(moments))
        return len(moments)

    async def follow_agreement(self) -> int:
        """Set the open clocks of some leads that another agreement than their tenant's set; how many leads that were.

        What is in force is followed to its end once, and for a while longer: a lead that a decision by the
        agreement before holds meanwhile is not seen. Then no more, so that two processes that were started
        on different files do not set the same clocks again and again.
        """
        in_force, now = self._agreements.now, asyncio.get_running_loop().time()
        if in_force is not self._followed:
            self._followed, self._follow_at, self._follow_until = in_force, now, now + SETTLE_S
            self._work.stuck.clear()  # what could not be decided may be now
        if now < self._follow_at:
            return 0
        followed = await self._follow(in_force)
        if not followed:
            self._follow_at = now + LOOK_AGAIN_S if now < self._follow_until else math.inf
        return followed

    async def _follow(self, in_force: InForce) -> int:
        """Some leads of the first tenant that has any."""
        async with self._engine.connect() as conn:
            tenants = await store.tenants_with_clocks(conn)
        for tenant in tenants:
            try:
                version = in_force.for_tenant(tenant).version
            except Refused:
                continue  # its clocks stay as they were set until there is one
            if followed := await self._follow_of(tenant, version):
                return followed
        return 0

    async def _follow_of(self, tenant: str, version: str) -> int:
        async def claim(conn: AsyncConnection, now: datetime) -> Mapping[str, Lead]:
            alone = self._left_alone()
            found = await store.claim_other_agreements(conn, tenant, version, LEADS_PER_SWEEP, without=alone)
            return self._readable(found)

        return len(await self._work.sweep(claim, lambda lead, facts: due(lead, facts)[0], tenant_of=tenant_of))

    def _left_alone(self) -> list[str]:
        """Leads that could not be read or decided on, so that they fill no sweep; now and then they are tried again."""
        now = asyncio.get_running_loop().time()
        if now >= self._try_again_at:
            self._try_again_at = now + TRY_AGAIN_S
            return []
        return [*self._work.stuck, *self._unreadable]

    def _readable(self, found: Mapping[str, Lead | None]) -> Mapping[str, Lead]:
        """What can be read; of what cannot, say once that it is left as it is."""
        leads = {key: lead for key, lead in found.items() if lead is not None}
        unreadable = found.keys() - leads.keys()
        if not unreadable <= self._unreadable:
            log.error("leads_unreadable", leads=len(unreadable | self._unreadable))
        self._unreadable = (self._unreadable - found.keys()) | unreadable
        return leads

    async def _next_due(self) -> datetime | None:
        async with self._engine.connect() as conn:
            return await store.next_due(conn, without=[*self._work.stuck, *self._unreadable])

    async def _wait(self, moment: datetime | None) -> None:
        """Until `moment`, or something changed, or the fallback."""
        if moment is not None and moment <= self._clock.now():
            await asyncio.sleep(HELD_S)
            return
        await wait_for(self._changed, self._clock, moment, at_most_s=FALLBACK_S)
