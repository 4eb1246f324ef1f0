"""The spool on a real disk: nothing acknowledged is lost, in order, bounded, and one process at a time."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from services.ingest import spool as module
from services.ingest.spool import Spool
from shared.bus import NewRecord
from shared.errors import Broken, Later, Refused

PLENTY = 100_000_000


def records(*numbers: int, size: int = 10) -> list[NewRecord]:
    return [
        NewRecord(topic="crm.events", key=f"k{n}", value=b"%d" % n + b"x" * size, headers=(("a", "b"),))
        for n in numbers
    ]


def keys(taken: Sequence[NewRecord]) -> list[str]:
    return [record.key for record in taken]


class Bus:
    """Takes what it is given, or is away; `hold` stops it until it is set."""

    def __init__(self) -> None:
        self.taken: list[NewRecord] = []
        self.away = False
        self.hold: asyncio.Event | None = None
        self.entered = asyncio.Event()

    async def publish(self, given: Sequence[NewRecord]) -> None:
        self.entered.set()
        if self.hold is not None:
            await self.hold.wait()
        if self.away:
            raise Later("bus_away", "away")
        self.taken += given


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[Spool]:
    spool = Spool(tmp_path, limit_bytes=PLENTY)
    spool.open()
    yield spool
    await spool.close()


async def drained(spool: Spool, bus: Bus) -> None:
    """Return once all is on the bus."""
    task = asyncio.create_task(spool.drain(bus.publish))
    async with asyncio.timeout(10):
        while spool.pending and not task.done():
            await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_what_was_kept_comes_out_whole_in_order_and_leaves_nothing_behind(spool: Spool, tmp_path: Path) -> None:
    for n in range(50):
        await spool.append(records(2 * n, 2 * n + 1))
    bus = Bus()
    await drained(spool, bus)
    assert bus.taken == records(*range(100))
    assert (spool.bytes, list(tmp_path.glob("*.spool"))) == (0, [])


async def test_many_files_come_out_in_their_order(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SEGMENT_BYTES", 100)
    for n in range(30):
        await spool.append(records(n, size=60))
    bus = Bus()
    await drained(spool, bus)
    assert keys(bus.taken) == keys(records(*range(30)))


async def test_many_at_once_share_a_sync(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs: list[int] = []
    real = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda file: (syncs.append(file), real(file)))
    await asyncio.gather(*(spool.append(records(n)) for n in range(200)))
    assert len(syncs) < 10


async def test_a_full_spool_says_so_and_keeps_what_it_has(tmp_path: Path) -> None:
    spool = Spool(tmp_path, limit_bytes=300)
    spool.open()
    await spool.append(records(1, size=200))
    with pytest.raises(Later) as full:
        await spool.append(records(2, size=200))
    assert full.value.code == "spool_full"
    bus = Bus()
    await drained(spool, bus)
    await spool.append(records(3, size=200))
    assert keys(bus.taken) == ["k1"]
    await spool.close()


async def test_the_next_process_goes_on_with_what_the_last_one_left(tmp_path: Path) -> None:
    for n in (1, 2):
        spool = Spool(tmp_path, limit_bytes=PLENTY)
        spool.open()
        await spool.append(records(n))
        await spool.close()
    spool = Spool(tmp_path, limit_bytes=PLENTY)
    spool.open()
    assert spool.pending
    assert spool.bytes > 0
    bus = Bus()
    await drained(spool, bus)
    assert keys(bus.taken) == ["k1", "k2"]
    await spool.close()


async def test_a_bus_that_goes_away_in_the_middle_gets_all_of_it_again(spool: Spool) -> None:
    await spool.append(records(1))
    bus = Bus()
    bus.away = True
    with pytest.raises(Later):
        await spool.drain(bus.publish)
    await spool.append(records(2))
    bus.away = False
    await drained(spool, bus)
    assert keys(bus.taken) == ["k1", "k2"]


async def test_a_write_cut_short_costs_only_itself_and_is_put_aside(tmp_path: Path) -> None:
    spool = Spool(tmp_path, limit_bytes=PLENTY)
    spool.open()
    await spool.append(records(1))
    await spool.close()
    (file,) = tmp_path.glob("*.spool")
    file.write_bytes(file.read_bytes() + b"\x00\x00\x00\x40\x01")
    spool = Spool(tmp_path, limit_bytes=PLENTY)
    spool.open()
    bus = Bus()
    await spool.append(records(2))
    await drained(spool, bus)
    assert keys(bus.taken) == ["k1", "k2"]
    assert len(list(tmp_path.glob("*.damaged"))) == 1
    await spool.close()


async def test_a_disk_that_refuses_acknowledges_nothing(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(Later) as refused:
            await spool.append(records(1))
    assert refused.value.code == "spool_away"
    await spool.append(records(2))
    bus = Bus()
    await drained(spool, bus)
    assert keys(bus.taken) == ["k2"]


async def test_a_tail_of_zeros_after_a_power_cut_costs_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """File systems fill a write cut short with zeros: eight of them are a frame of no length and a right checksum."""
    spool = Spool(tmp_path, limit_bytes=PLENTY)
    spool.open()
    await spool.append(records(1))
    await spool.close()
    (file,) = tmp_path.glob("*.spool")
    file.write_bytes(file.read_bytes() + bytes(4096))
    spool = Spool(tmp_path, limit_bytes=PLENTY)
    spool.open()
    await spool.append(records(2))
    bus = Bus()
    await drained(spool, bus)
    assert keys(bus.taken) == ["k1", "k2"]
    assert len(list(tmp_path.glob("*.damaged"))) == 1
    await spool.close()


def fill_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk takes half of each write and no more."""
    real = os.write

    def half(file: int, data: bytes) -> int:
        real(file, bytes(data)[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", half)


async def test_a_disk_that_stays_full_is_not_littered_and_damages_nothing(
    spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await spool.append(records(1))
    with monkeypatch.context() as patch:
        fill_up(patch)
        for n in range(2, 20):
            with pytest.raises(Later):
                await spool.append(records(n))
        assert len(list(tmp_path.glob("*.spool"))) == 1
    await spool.append(records(20))
    bus = Bus()
    await drained(spool, bus)
    assert keys(bus.taken) == ["k1", "k20"]
    assert list(tmp_path.glob("*.damaged")) == []
    assert spool.bytes == 0


async def test_a_folder_that_cannot_be_synced_once_does_not_keep_the_spool_away(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the process is out of file handles for a moment: the next file has the same name as the one begun."""
    with monkeypatch.context() as patch:
        patch.setattr(module, "_sync_folder", lambda _: os.open("/dev/null/nothing", os.O_RDONLY))
        with pytest.raises(Later):
            await spool.append(records(1))
    await spool.append(records(2))
    bus = Bus()
    await drained(spool, bus)
    assert keys(bus.taken) == ["k2"]


@pytest.mark.parametrize("flowing", [False, True])
async def test_a_drain_that_waited_for_a_failing_write_goes_on(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, *, flowing: bool
) -> None:
    """The file that it waited for was taken back meanwhile."""
    bus = Bus()
    if flowing:
        await spool.append(records(0))
        await drained(spool, bus)
        bus.taken.clear()
    entered, release = threading.Event(), threading.Event()

    def slow_and_full(*_: object) -> int:
        entered.set()
        release.wait(10)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", slow_and_full)
        failing = asyncio.create_task(spool.append(records(1)))
        while not entered.is_set():
            await asyncio.sleep(0)
        draining = asyncio.create_task(spool.drain(bus.publish))
        for _ in range(10):
            await asyncio.sleep(0)
        release.set()
        with pytest.raises(Later):
            await failing
    await spool.append(records(2))
    async with asyncio.timeout(10):
        while spool.pending and not draining.done():
            await asyncio.sleep(0)
    assert keys(bus.taken) == ["k2"]
    assert not draining.done()
    draining.cancel()


async def test_the_spool_does_not_wait_for_others_that_block_the_loop_s_threads(spool: Spool) -> None:
    """A name server that is away with the bus blocks them all, for longer than HubSpot waits."""
    loop, release = asyncio.get_running_loop(), threading.Event()
    busy = ThreadPoolExecutor(1)
    loop.set_default_executor(busy)
    lookup = loop.run_in_executor(None, release.wait, 30)
    try:
        async with asyncio.timeout(5):
            await spool.append(records(1))
            bus = Bus()
            await drained(spool, bus)
        assert keys(bus.taken) == ["k1"]
    finally:
        release.set()
        await lookup


async def test_a_record_that_the_bus_will_never_take_holds_up_no_other(spool: Spool, tmp_path: Path) -> None:
    await spool.append(records(1, 2, 3))
    await spool.append(records(4))
    taken: list[str] = []

    async def publish(given: Sequence[NewRecord]) -> None:
        if "k2" in keys(given):
            raise Refused("record_too_large", "too large")
        taken.extend(keys(given))

    task = asyncio.create_task(spool.drain(publish))
    async with asyncio.timeout(10):
        while spool.pending and not task.done():
            await asyncio.sleep(0)
    assert taken == ["k1", "k3", "k4"]
    assert len(list(tmp_path.glob("*.damaged"))) == 1  # it is kept, for a person
    task.cancel()


def test_a_folder_that_cannot_be_used_stops_the_start_and_names_the_setting() -> None:
    with pytest.raises(Broken, match="LEADPACT_DATA"):
        Spool(Path("/dev/null/spool"), limit_bytes=PLENTY).open()


async def test_a_second_process_is_refused(spool: Spool, tmp_path: Path) -> None:
    with pytest.raises(Broken):
        Spool(tmp_path, limit_bytes=PLENTY).open()


async def test_a_steady_stream_gets_past_the_spool_once_the_bus_is_back(spool: Spool) -> None:
    """Something is always added while the last is published: without the short wait it would stay for ever."""
    bus = Bus()
    await spool.append(records(1))
    task = asyncio.create_task(spool.drain(bus.publish))
    while len(bus.taken) < 1:
        await asyncio.sleep(0)
    await spool.append(records(2))
    bus.hold = asyncio.Event()
    bus.entered.clear()
    await bus.entered.wait()
    waiting = asyncio.create_task(spool.emptied())
    await asyncio.sleep(0)
    assert not waiting.done()
    bus.hold.set()
    assert await waiting
    assert keys(bus.taken) == ["k1", "k2"]
    task.cancel()


KEEP_ON = """
import asyncio, pathlib, sys
from services.ingest.spool import Spool
from shared.bus import NewRecord
async def main():
    spool = Spool(pathlib.Path(sys.argv[1]), limit_bytes=10**9)
    spool.open()
    async def one(start):
        for n in range(start, 10**9, 8):
            await spool.append([NewRecord(topic="t", key=str(n), value=b"x" * 300)])
            print(n, flush=True)
    await asyncio.gather(*(one(n) for n in range(8)))
asyncio.run(main())
"""


async def test_whatever_was_acknowledged_before_a_kill_is_there(tmp_path: Path) -> None:
    acknowledged: set[str] = set()
    with subprocess.Popen([sys.executable, "-c", KEEP_ON, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            acknowledged.add(line.strip())
            if len(acknowledged) == 300:
                process.send_signal(signal.SIGKILL)
    spool = Spool(tmp_path, limit_bytes=10**9)
    spool.open()
    bus = Bus()
    await drained(spool, bus)
    await spool.close()
    assert len(acknowledged) >= 300
    assert acknowledged <= set(keys(bus.taken)) | {""}
