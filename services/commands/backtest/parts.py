"""A record cut into parts small enough for memory: all there is about a lead, and whom it was merged with, in one.

What is read goes to a file once, and from there to smaller and smaller ones, by a hash of the lead.
Memory holds none of it; only of merged leads it is kept who became whom.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from pathlib import Path
from typing import IO, Final

from services.commands.recorded import heard_at
from shared import events
from shared.bus import NewRecord, Record
from shared.errors import Refused
from shared.events import ContactsMerged, LeadMessage, Topic

PART_BYTES: Final = 2_000_000  # what is decided on at once, as it stands on the topic: some six thousand events
MOST_AT_ONCE: Final = 64  # files that are written at a time
DEEPEST: Final = 4  # what is still too large then is one lead's, and is decided on whole
WRITE_BYTES: Final = 1 << 16
_LENGTHS: Final = struct.Struct("<II")

Raw = tuple[str, bytes]
"""A lead, and a message about it as it stands on the topic."""


class Kin:
    """Which leads belong together, because they were merged."""

    def __init__(self) -> None:
        self._parents: dict[str, str] = {}

    def join(self, leads: Iterable[str]) -> None:
        first, *others = sorted({self.head(lead) for lead in leads})
        for other in others:
            self._parents[other] = first

    def head(self, lead: str) -> str:
        """The one that stands for all of them: the least, whatever the order in which they were joined."""
        while (parent := self._parents.get(lead)) is not None:
            self._parents[lead] = self._parents.get(parent, parent)  # the way is shorter the next time
            lead = parent
        return lead


@dataclass(kw_only=True)
class Heard:
    """What was read, as far as it is known before anything is decided."""

    events: int = 0
    unreadable: int = 0  # no messages of this topic: dead letters, in the services
    first: datetime | None = None
    last: datetime | None = None
    kin: Kin = field(default_factory=Kin)

    def hear(self, message: LeadMessage, at: datetime) -> None:
        self.events += 1
        self.first = at if self.first is None else min(self.first, at)
        self.last = at if self.last is None else max(self.last, at)
        if isinstance(message, ContactsMerged):
            self.kin.join((message.lead, *message.merged))


class Spool:
    """A file that takes what is read, and afterwards gives it back in parts."""

    def __init__(self, folder: Path, *, until: datetime | None = None) -> None:
        self.heard = Heard()
        self._until = until
        self._folder = folder
        self._path = folder / "record"
        self._file = _private(self._path)

    def take(self, record: NewRecord | Record) -> None:
        """Keep it, unless it was heard at `until` or later. Other topics than crm.events are none of ours."""
        try:
            message = events.decode(Topic.CRM_EVENTS, record.value)
        except Refused:
            self.heard.unreadable += 1
            return
        at = heard_at(message)
        if isinstance(message, LeadMessage) and (self._until is None or at < self._until):
            self.heard.hear(message, at)
            _put(self._file, (message.lead, record.value))

    def parts(self, part_bytes: int = PART_BYTES) -> list[Path]:
        """Files of at most so many bytes each, but for one lead's own. Of each lead the order stays."""
        self._file.close()
        if not self.heard.events:
            return []
        return list(_split(self._path, self._folder, self.heard.kin, part_bytes, depth=0))


def _split(path: Path, folder: Path, kin: Kin, part_bytes: int, *, depth: int) -> Iterator[Path]:
    if path.stat().st_size <= part_bytes or depth == DEEPEST:
        yield path
        return
    fan_out = min(MOST_AT_ONCE, 1 + 2 * path.stat().st_size // part_bytes)
    with ExitStack() as stack:
        files: dict[int, IO[bytes]] = {}
        for lead, value in read(path):
            number = _hash(kin.head(lead), depth) % fan_out
            if number not in files:
                files[number] = stack.enter_context(_private(folder / f"{path.name}.{number}"))
            _put(files[number], (lead, value))
    path.unlink()
    for number in sorted(files):
        yield from _split(folder / f"{path.name}.{number}", folder, kin, part_bytes, depth=depth + 1)


def _hash(head: str, depth: int) -> int:
    """Another one at each depth, so that what fell together once need not again."""
    digest = blake2b(head.encode("utf-8", "surrogatepass"), digest_size=8, salt=bytes([depth])).digest()
    return int.from_bytes(digest, "big")


def _private(path: Path) -> IO[bytes]:
    """A new file in a folder that is its owner's alone: what it holds is personal data."""
    return path.open("wb", buffering=WRITE_BYTES)


def _put(file: IO[bytes], raw: Raw) -> None:
    lead, value = raw[0].encode("utf-8", "surrogatepass"), raw[1]
    file.write(_LENGTHS.pack(len(lead), len(value)) + lead + value)


def read(path: Path) -> Iterator[Raw]:
    """What a part holds, in the order in which it was read."""
    with path.open("rb", buffering=WRITE_BYTES) as file:
        while lengths := file.read(_LENGTHS.size):
            lead, value = _LENGTHS.unpack(lengths)
            yield file.read(lead).decode("utf-8", "surrogatepass"), file.read(value)
