"""Business time never goes back from one run to the next, however a run ended."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from services.commands.business_time import BusinessTime
from shared.clock import ManualClock
from shared.errors import Broken

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def wall() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "business-time"


def begun(path: Path, wall: ManualClock, *, speed: float = 1, at_first: datetime | None = None) -> BusinessTime:
    return BusinessTime(path, speed=speed, wall=wall, at_first=at_first)


async def test_at_speed_1_it_is_real_time(path: Path, wall: ManualClock) -> None:
    assert begun(path, wall).clock is wall


async def test_it_runs_as_fast_as_it_is_told(path: Path, wall: ManualClock) -> None:
    clock = begun(path, wall, speed=3600).clock
    wall.advance(timedelta(seconds=2))
    assert clock.now() == NOW + 2 * HOUR


async def test_after_a_clean_end_the_next_run_begins_right_there(path: Path, wall: ManualClock) -> None:
    async with begun(path, wall, speed=3600).kept() as clock:
        wall.advance(timedelta(seconds=5))
        end = clock.now()
    assert begun(path, wall).clock.now() == end


async def test_after_a_kill_the_next_run_does_not_begin_earlier(path: Path, wall: ManualClock) -> None:
    killed = begun(path, wall, speed=3600)
    wall.advance(timedelta(seconds=2))
    assert begun(path, wall, speed=3600).clock.now() >= killed.clock.now()


async def test_while_it_runs_the_file_stays_ahead(
    path: Path, wall: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.commands.business_time.EVERY_S", 0.001)
    async with asyncio.timeout(10), begun(path, wall, speed=3600).kept() as clock:
        for _ in range(3):
            wall.advance(timedelta(seconds=10))
            while datetime.fromisoformat(path.read_text().strip()) <= clock.now():
                await asyncio.sleep(0)


async def test_a_run_at_speed_1_after_a_fast_one_goes_on_from_there(path: Path, wall: ManualClock) -> None:
    path.write_text((NOW + 30 * HOUR).isoformat())
    clock = begun(path, wall).clock
    wall.advance(HOUR)
    assert clock.now() == NOW + 31 * HOUR


async def test_once_real_time_has_caught_up_it_is_real_time_again(path: Path, wall: ManualClock) -> None:
    path.write_text((NOW - HOUR).isoformat())
    assert begun(path, wall).clock is wall


async def test_the_very_first_run_may_begin_later_and_no_other_one(path: Path, wall: ManualClock) -> None:
    morning = NOW + 20 * HOUR
    first = begun(path, wall, speed=300, at_first=morning)
    assert first.clock.now() == morning
    async with first.kept():
        wall.advance(timedelta(seconds=12))
    assert begun(path, wall, speed=300, at_first=morning + HOUR * 20).clock.now() == morning + HOUR


async def test_it_never_begins_before_real_time(path: Path, wall: ManualClock) -> None:
    assert begun(path, wall, speed=300, at_first=NOW - HOUR).clock.now() == NOW


async def test_a_damaged_file_is_named(path: Path, wall: ManualClock) -> None:
    path.write_text("yesterday")
    with pytest.raises(Broken, match="business-time"):
        begun(path, wall)
