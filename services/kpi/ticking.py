"""The task that judges what Marketing owes: each week and month once, when it is over."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.kpi import store
from services.kpi.domain.commitments import due, met_after_all
from services.kpi.domain.counts import Judged
from services.kpi.domain.tallies import COMMITMENTS_CORRECTED, COMMITMENTS_ENDED, Tally
from services.kpi.goals import Held, all_held, counts_of
from shared.agreement import Agreements
from shared.clock import Clock
from shared.database import database_errors_are_later

EVERY_S: Final = 10.0  # of real time, however fast business time runs


class Ticking:
    """Judges commitments, beside any number of other instances that do the same."""

    def __init__(self, *, engine: AsyncEngine, clock: Clock, agreements: Agreements) -> None:
        self._engine = engine
        self._clock = clock
        self._agreements = agreements

    async def run(self) -> None:
        """For ever. Raises Later when the database is away, to be called again."""
        while True:
            await self.judge()
            await asyncio.sleep(EVERY_S)

    async def judge(self) -> int:
        """Judge what is over by now, and take back what turns out to have been met; how many that were.

        The whole of an agreement is one transaction, under its row's lock: whoever comes second finds nothing to do.
        """
        judged = 0
        with database_errors_are_later():
            async with self._engine.connect() as conn:
                held = [one for one in await all_held(conn, self._agreements.now) if _owes(one)]
            for one in held:
                async with self._engine.begin() as conn:
                    judged += await _judge(conn, one, self._clock.now())
        return judged


def _owes(held: Held) -> bool:
    return any(goal.marketing_owes for goal in held.agreement.goals)


async def _judge(conn: AsyncConnection, held: Held, now: datetime) -> int:
    since = await store.judged_until(conn, held.holder, now)
    counts = await counts_of(conn, held, since=since, now=now)
    ended, corrected = list(due(held.agreement, counts, since=since, now=now)), met_after_all(counts)
    await store.save_judged(conn, held.holder, ended, now)
    await store.save_corrected(conn, held.holder, corrected, now)
    await store.add_tallies(conn, _tallies(held.holder, ended, corrected))
    return len(ended) + len(corrected)


def _tallies(holder: str, ended: Sequence[Judged], corrected: Sequence[Judged]) -> list[Tally]:
    return [
        *((COMMITMENTS_ENDED, (holder, one.goal, one.stage, one.outcome), 1.0) for one in ended),
        *((COMMITMENTS_CORRECTED, (holder, one.goal, one.stage), 1.0) for one in corrected),
    ]
