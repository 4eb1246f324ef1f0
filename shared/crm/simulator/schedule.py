"""What is yet to happen, on one clock: calls in the order of their moments."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from shared.clock import Clock

CALLS_BEFORE_OTHERS: Final = 100  # then whatever else runs in the process has its turn
OPENS, CLOSES, SATURDAY = 8, 18, 5  # business hours, in UTC


class Schedule:
    """Calls to be made at moments of `clock`; equal moments in the order in which they were asked for."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._heap: list[tuple[datetime, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._heap)

    def at(self, moment: datetime, call: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (moment, next(self._numbers), call))
        self._changed.set()

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        self.at(self.clock.now() + timedelta(seconds=seconds), call)

    def run_due(self) -> int:
        """Make the calls that are due, some at most; how many were made."""
        made = 0
        while self._heap and self._heap[0][0] <= self.clock.now() and made < CALLS_BEFORE_OTHERS:
            heapq.heappop(self._heap)[2]()
            made += 1
        return made

    async def run(self) -> None:
        """Make every call at its moment, for ever."""
        while True:
            self._changed.clear()
            if self.run_due():
                await asyncio.sleep(0)
            else:
                await self._wait()

    async def _wait(self) -> None:
        changed = asyncio.create_task(self._changed.wait())
        waits: list[asyncio.Task[Any]] = [changed]
        if self._heap:
            waits.append(asyncio.create_task(self.clock.sleep_until(self._heap[0][0])))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            # Nothing suppressed here: to be cancelled at this very await must end the schedule, too.
            await asyncio.gather(*waits, return_exceptions=True)


def in_business_hours(moment: datetime) -> datetime:
    """`moment`, or the next opening when it is at night or at the weekend."""
    moment = moment.astimezone(UTC)
    if moment.hour >= CLOSES:
        moment = (moment + timedelta(days=1)).replace(hour=OPENS)
    elif moment.hour < OPENS:
        moment = moment.replace(hour=OPENS)
    while moment.weekday() >= SATURDAY:
        moment = (moment + timedelta(days=1)).replace(hour=OPENS)
    return moment
