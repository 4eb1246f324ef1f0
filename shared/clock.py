"""The one source of time. Every service is given a Clock; nothing else asks the machine for the date."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Business time: what decides when a follow-up is due."""

    def now(self) -> datetime:
        """The present, aware, in UTC. Never goes back while a process lives."""
        ...

    async def sleep_until(self, moment: datetime) -> None:
        """Return once `now() >= moment`, by this clock's own time."""
        ...


class SystemClock:
    """Real time."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def sleep_until(self, moment: datetime) -> None:
        while (wait := (moment - self.now()).total_seconds()) > 0:
            await asyncio.sleep(wait)  # again: a timer may fire a little early


class SpedClock:
    """Time that runs `speed` times as fast as the real one from `start` on, for the demo."""

    def __init__(self, *, speed: float, start: datetime, real: Clock | None = None) -> None:
        self._real = real or SystemClock()
        self._anchor = self._real.now()
        self._start = start
        self.speed = speed

    def now(self) -> datetime:
        return self._start + (self._real.now() - self._anchor) * self.speed

    async def sleep_until(self, moment: datetime) -> None:
        while (left := moment - self.now()) > timedelta(0):
            await self._real.sleep_until(self._real.now() + max(left / self.speed, timedelta.resolution))


class ManualClock:
    """Time that passes only by `advance`, for tests. Wakes sleepers in the order of their moments."""

    def __init__(self, start: datetime) -> None:
        self._now = start
        self._sleepers: list[tuple[datetime, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        return self._now

    async def sleep_until(self, moment: datetime) -> None:
        if moment <= self._now:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((moment, future))
        await future

    def advance(self, by: timedelta) -> None:
        """Let `by` pass; whoever slept until a moment in between is woken."""
        self._now += by
        due = sorted((s for s in self._sleepers if s[0] <= self._now), key=lambda s: s[0])
        self._sleepers = [s for s in self._sleepers if s[0] > self._now]
        for _, future in due:
            if not future.done():
                future.set_result(None)


async def wait_for(woken: asyncio.Event, clock: Clock, moment: datetime | None, *, at_most_s: float) -> None:
    """Return at `moment` by `clock`, when `woken` is set, or after `at_most_s` real seconds."""
    waits: list[asyncio.Task[object]] = [asyncio.create_task(woken.wait())]
    if moment is not None:
        waits.append(asyncio.create_task(clock.sleep_until(moment)))
    try:
        await asyncio.wait(waits, timeout=at_most_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
