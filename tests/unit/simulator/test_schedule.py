"""The schedule: one loop, which ends when it is told to, whatever it is at."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from shared.clock import ManualClock
from shared.crm.simulator.schedule import Schedule

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@pytest.mark.parametrize("turns", range(8))
async def test_it_ends_when_it_is_cancelled_at_any_moment_after_it_was_woken(turns: int) -> None:
    schedule = Schedule(ManualClock(NOW))
    schedule.at(NOW + timedelta(hours=1), lambda: None)
    running = asyncio.create_task(schedule.run())
    for _ in range(5):
        await asyncio.sleep(0)
    schedule.at(NOW + timedelta(hours=2), lambda: None)
    for _ in range(turns):
        await asyncio.sleep(0)
    running.cancel()
    done, _ = await asyncio.wait([running], timeout=1)
    running.cancel()
    assert done
