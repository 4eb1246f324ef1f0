"""Waiting for whichever comes first: a moment, a waking, or the fallback."""

from __future__ import annotations

import asyncio
from datetime import datetime

from shared.clock import Clock


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
