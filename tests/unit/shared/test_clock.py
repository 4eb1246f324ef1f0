"""The clocks: real, fast, and in the hands of a test."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.clock import ManualClock, SpedClock, SystemClock

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_real_time_is_aware_and_in_utc() -> None:
    assert SystemClock().now().tzinfo is UTC


@pytest.mark.parametrize("clock", [SystemClock(), ManualClock(START)])
async def test_a_sleep_until_the_past_is_none(clock: SystemClock | ManualClock) -> None:
    await clock.sleep_until(clock.now() - HOUR)
    await clock.sleep_until(clock.now())


async def test_a_sleep_in_real_time_is_over_when_its_time_has_come() -> None:
    clock = SystemClock()
    moment = clock.now() + timedelta(milliseconds=20)
    await clock.sleep_until(moment)
    assert clock.now() >= moment


async def test_manual_time_passes_only_when_told_and_wakes_in_the_order_of_the_moments() -> None:
    clock, woken = ManualClock(START), []

    async def sleep(name: str, until: timedelta) -> None:
        await clock.sleep_until(START + until)
        woken.append(name)

    tasks = [asyncio.create_task(sleep(n, t)) for n, t in (("late", 2 * HOUR), ("soon", HOUR), ("never", 9 * HOUR))]
    await settle()
    assert woken == []
    clock.advance(HOUR / 2)
    await settle()
    assert woken == []
    clock.advance(2 * HOUR)
    await settle()
    assert woken == ["soon", "late"]
    assert clock.now() == START + 2.5 * HOUR
    tasks[2].cancel()


async def test_a_sleeper_that_was_cancelled_disturbs_no_other() -> None:
    clock = ManualClock(START)
    tasks = [asyncio.create_task(clock.sleep_until(START + HOUR)) for _ in range(2)]
    await settle()
    tasks[0].cancel()
    await settle()
    clock.advance(HOUR)
    await asyncio.wait_for(tasks[1], 5)


def test_fast_time_begins_where_it_is_told_and_runs_so_many_times_as_fast() -> None:
    real = ManualClock(START)
    clock = SpedClock(speed=3600, start=datetime(2027, 1, 1, tzinfo=UTC), real=real)
    assert clock.now() == datetime(2027, 1, 1, tzinfo=UTC)
    real.advance(24 * SECOND)
    assert clock.now() == datetime(2027, 1, 2, tzinfo=UTC)


@settings(max_examples=100, deadline=None)
@given(
    speed=st.sampled_from([0.5, 1, 60, 3600, 1e6]),
    wait=st.timedeltas(min_value=timedelta(microseconds=1), max_value=timedelta(days=30)),
)
async def test_a_sleep_in_fast_time_is_never_over_before_its_moment(speed: float, wait: timedelta) -> None:
    real = ManualClock(START)
    clock = SpedClock(speed=speed, start=START, real=real)
    task = asyncio.create_task(clock.sleep_until(START + wait))
    await settle()
    while not task.done():
        assert real._sleepers, "it waits for real time"
        real.advance(real._sleepers[0][0] - real.now())
        await settle()
    assert clock.now() >= START + wait
    assert clock.now() - START <= wait + 2 * speed * timedelta(microseconds=1)
