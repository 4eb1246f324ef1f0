"""The spool: a bounded log on the local disk that takes events over while the bus is away.

`append` returns when its records are synced to disk; many appends at once share one sync. Records
come out in the order in which they went in, a file (segment) at a time, and a file is removed once
all of it is on the bus: a crash in between publishes some again, which readers know by their
identity. Each process has a folder of its own; a second one that wants it is refused.

A file is a row of frames: length and CRC-32 of the payload, then the payload (MessagePack).

The disk is asked in threads of the spool's own: the loop's common ones may all be waiting for a
name server that is away together with the bus, just when the spool is needed.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import struct
import zlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from shared.bus import NewRecord
from shared.errors import Broken, Later, Refused
from shared.log import Log

T = TypeVar("T")

log = Log("leadpact.ingest.spool")

SEGMENT_BYTES: Final = 8 * 1024 * 1024
PUBLISH_RECORDS: Final = 2_000
LITTLE_BYTES: Final = 1024 * 1024  # so little is on the bus within moments
LITTLE_S: Final = 0.5
DAMAGED: Final = ".damaged"
DISK_THREADS: Final = 2  # one to write, one to read
_HEAD: Final = struct.Struct(">II")
_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(list[tuple[str, str, bytes, tuple[tuple[str, str], ...]]])


@dataclass(slots=True)
class _Waiting:
    """One caller of append, waiting for its frame to be on disk."""

    frame: bytes
    done: asyncio.Future[None]


class Spool:
    """Use it from one event loop. `open` before anything else."""

    def __init__(self, folder: Path, *, limit_bytes: int, changed: Callable[[int], None] = lambda _: None) -> None:
        """`changed` is told the size whenever it changes."""
        self._folder = folder
        self._limit = limit_bytes
        self._changed = changed
        self._disk = ThreadPoolExecutor(DISK_THREADS, thread_name_prefix="spool")
        self._segments: list[Path] = []  # the oldest first; the last may still grow
        self._file: int | None = None
        self._file_bytes = 0
        self._lock: int | None = None
        self._waiting: list[_Waiting] = []
        self._writing = asyncio.Lock()  # held for one write and its sync
        self._writer: asyncio.Task[None] | None = None
        self._filled = asyncio.Event()
        self._flowing = False  # whether the bus took the last that it was given
        self._last_going: asyncio.Event | None = None  # set once the last that is kept has gone, or could not
        self.bytes = 0

    def open(self) -> None:
        """Take the folder and what an earlier process left in it. Raises Broken when that cannot be."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            _sync_folder(self._folder.parent)  # else a power cut could take the folder with all that is in it
            self._lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            why = f"LEADPACT_DATA: the spool's folder {self._folder} cannot be used: {error.strerror}"
            raise Broken("spool_away", why) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            why = f"another process uses the spool in {self._folder}: give each ingest a LEADPACT_DATA of its own"
            raise Broken("spool_taken", why) from error
        self._segments = sorted(self._folder.glob("*.spool"))
        self._resize(sum(path.stat().st_size for path in self._segments))
        if self._segments:
            self._filled.set()

    @property
    def pending(self) -> bool:
        """Whether anything is kept, so that what comes now has to wait its turn behind it."""
        return bool(self._segments or self._waiting)

    async def emptied(self) -> bool:
        """Whether nothing is kept any more, after a short wait when the last of it is just going.

        Without that wait a steady stream would go through the spool for ever: something would always
        have been added while the last was published.
        """
        if self._last_going is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LITTLE_S):
                    await self._last_going.wait()
        return not self.pending

    async def append(self, records: Sequence[NewRecord]) -> None:
        """Keep the records. Raises Later: `spool_full`, or `spool_away` when the disk does not take them."""
        payload = _encoder.encode([(r.topic, r.key, r.value, r.headers) for r in records])
        frame = _HEAD.pack(len(payload), zlib.crc32(payload)) + payload
        if self.bytes + sum(len(one.frame) for one in self._waiting) + len(frame) > self._limit:
            raise Later("spool_full", "the bus is away and the spool is full", after_s=30.0)
        waiting = _Waiting(frame, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_all())
        await waiting.done

    async def _write_all(self) -> None:
        """Write until nobody waits. What comes in during a sync shares the next."""
        while batch := self._waiting:
            self._waiting = []
            try:
                await self._write(b"".join(one.frame for one in batch))
            except Exception as error:
                log.error("spool_write_failed", error=error)
                for one in batch:
                    if not one.done.done():
                        one.done.set_exception(Later("spool_away", "the spool's disk refused a write", after_s=10.0))
            else:
                for one in batch:
                    if not one.done.done():
                        one.done.set_result(None)
                self._filled.set()

    async def _write(self, data: bytes) -> None:
        async with self._writing:
            try:
                if self._file is None or self._file_bytes >= SEGMENT_BYTES:
                    self._give_up_file()
                    self._begin_file()
                assert self._file is not None  # it was just begun
                await self._on_disk(_write_and_sync, self._file, data)
            except Exception:
                self._take_back()
                raise
            self._file_bytes += len(data)
            self._resize(self.bytes + len(data))

    def _begin_file(self) -> None:
        number = int(self._segments[-1].stem) + 1 if self._segments else _next_number(self._folder)
        path = self._folder / f"{number:012d}.spool"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        self._file_bytes = 0
        self._segments.append(path)
        _sync_folder(self._folder)

    def _take_back(self) -> None:
        """Cut a failed write off and go on in another file; a disk that stays full leaves no empty ones behind."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._file_bytes)
                if not self._file_bytes:
                    self._segments[-1].unlink()
                    self._segments.pop()
        self._give_up_file()

    def _give_up_file(self) -> None:
        """Nothing more is appended to it."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    async def _on_disk(self, work: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._disk, work, *args)

    def _resize(self, size: int) -> None:
        self.bytes = size
        self._changed(size)

    # --- draining ---

    async def drain(self, publish: Callable[[Sequence[NewRecord]], Awaitable[None]]) -> None:
        """Publish what is kept, in order, for ever. Raises Later when the bus is away, to be called again."""
        while True:
            self._filled.clear()
            while self._segments:
                await self._drain_one(self._segments[0], publish)
            await self._filled.wait()

    async def _drain_one(self, path: Path, publish: Callable[[Sequence[NewRecord]], Awaitable[None]]) -> None:
        going = self._flowing and len(self._segments) == 1 and self.bytes < LITTLE_BYTES
        self._last_going = asyncio.Event() if going else None
        try:
            if self._last_going and self._writer is not None:
                await asyncio.wait([self._writer])
            if self._segments[-1:] == [path]:
                async with self._writing:
                    self._give_up_file()  # what comes now begins the next one
            if path in self._segments:  # a write that failed may have taken it back meanwhile
                await self._publish(path, publish)
        finally:
            if self._last_going:
                self._last_going.set()
                self._last_going = None

    async def _publish(self, path: Path, publish: Callable[[Sequence[NewRecord]], Awaitable[None]]) -> None:
        self._flowing = False
        found, refused = await self._on_disk(_read, path), 0
        for records in _bundled(found.frames):
            try:
                await publish(records)
            except Refused:
                refused += await _publish_each(records, publish)
        self._flowing = True
        self._remove(path, damaged=found.damaged, refused=refused)

    def _remove(self, path: Path, *, damaged: int, refused: int) -> None:
        size = path.stat().st_size
        if damaged or refused:
            # Bytes that were never acknowledged (a write cut short), a fault of the disk, or records
            # that the bus will never take: a person may look.
            log.error("spool_damaged", segment=path.name, bytes=damaged, refused=refused)
            path.rename(path.with_suffix(DAMAGED))
        else:
            path.unlink()
        self._segments.remove(path)
        self._resize(max(0, self.bytes - size))

    async def close(self) -> None:
        if self._writer is not None:
            await asyncio.gather(self._writer, return_exceptions=True)
        self._give_up_file()
        self._disk.shutdown()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


@dataclass(frozen=True, slots=True)
class _Found:
    """What a file holds, and how many bytes at its end make no frame."""

    frames: list[list[NewRecord]]
    damaged: int


def _read(path: Path) -> _Found:
    data = path.read_bytes()
    frames, end = [], 0
    while end + _HEAD.size <= len(data):
        length, checksum = _HEAD.unpack_from(data, end)
        payload = data[end + _HEAD.size : end + _HEAD.size + length]
        # A file system may fill a write cut short with zeros, whose checksum would be right.
        if not length or len(payload) < length or zlib.crc32(payload) != checksum:
            break
        frames.append([NewRecord(topic=t, key=k, value=v, headers=h) for t, k, v, h in _decoder.decode(payload)])
        end += _HEAD.size + length
    return _Found(frames, len(data) - end)


def _bundled(frames: Sequence[list[NewRecord]]) -> Iterator[list[NewRecord]]:
    """The records in their order, in pieces that a publish takes well."""
    bundle: list[NewRecord] = []
    for frame in frames:
        bundle += frame
        if len(bundle) >= PUBLISH_RECORDS:
            yield bundle
            bundle = []
    if bundle:
        yield bundle


async def _publish_each(records: Sequence[NewRecord], publish: Callable[[Sequence[NewRecord]], Awaitable[None]]) -> int:
    """One after the other, so that the ones the bus refuses for good hold up no others; how many it refuses."""
    refused = 0
    for record in records:
        try:
            await publish([record])
        except Refused as error:
            refused += 1
            log.error("spool_record_refused", code=error.code, topic=record.topic)
    return refused


def _write_and_sync(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
    os.fdatasync(file)


def _next_number(folder: Path) -> int:
    """Above every file that ever was here and is still known, so that a damaged one keeps its name."""
    return max((int(path.stem) for path in folder.glob(f"*{DAMAGED}")), default=0) + 1


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
