"""The task that asks the CRM again for visitors it did not know, and drops those who never said who they are."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from services.ingest import store
from services.ingest.domain import visitors
from services.ingest.domain.visitors import Visitor
from services.ingest.metrics import IngestMetrics
from services.ingest.worker import State
from shared.work import Decision, Facts, Work

VISITORS_PER_SWEEP: Final = 500
EVERY_S: Final = 2.0


class Asking:
    """Sees to what is due of visitors, beside any number of other instances that do the same."""

    def __init__(self, work: Work[State], *, keep: timedelta, metrics: IngestMetrics) -> None:
        self._work = work
        self._keep_s = keep.total_seconds()
        self._metrics = metrics

    async def run(self) -> None:
        """For ever. Raises Later when the database is away, to be called again."""
        while True:
            while await self.sweep():
                pass
            await asyncio.sleep(EVERY_S)

    async def sweep(self) -> int:
        """See to some; how many that were."""
        dropped: list[str] = []

        def decide(visitor: State, facts: Facts[State]) -> Decision[State]:
            assert visitor is not None  # `claim` brings none but visitors
            now = facts.now.timestamp()
            if now - visitor.heard >= self._keep_s:
                if visitor.acts:
                    dropped.append(visitor.key)
                return Decision(state=None)
            return _asked_again(visitor, now)

        async def claim(conn: AsyncConnection, now: datetime) -> Mapping[str, State]:
            return await store.claim_due(conn, now, VISITORS_PER_SWEEP)

        done = await self._work.sweep(claim, decide, tenant_of=visitors.tenant_of)
        self._metrics.dropped.inc(len(dropped))
        return len(done)


def _asked_again(visitor: Visitor, now: float) -> Decision[State]:
    after, question = visitors.asked_again(visitor, now)
    return Decision(state=after, messages=(question,))
