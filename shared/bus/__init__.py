"""The Bus port: what a service may rely on, whichever engine carries it.

The contract (held by tests/contract/test_bus.py on both engines):

- A topic has a fixed number of partitions; equal keys go to the same partition, in the order in
  which they were published by one caller. Topics exist only after `create_topics`.
- `publish` returns when every record is durable: written by all in-sync replicas, or synced to the
  disk of the embedded database. When it raises Later, each record is there or not, unknown which;
  publishing it again is right, since readers know a fact by its identity.
- An offset names the next record to read. A member of a group is given records from the committed
  offset on (from the start when there is none), each partition in order, and never skips one.
- Delivery is at least once: what was not committed comes again, to this member or another. While
  partitions move, two members may briefly hold the same records; the reader's inbox decides.
- `commit` for a partition that has moved away in the meantime is dropped: its new owner reads again.
- Values are opaque bytes: a poison record is delivered like any other.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple, Protocol, TypeAlias

import msgspec

Headers: TypeAlias = tuple[tuple[str, str], ...]


class TopicPartition(NamedTuple):
    """One partition of one topic (the topic without prefix)."""

    topic: str
    partition: int


class NewRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A record to publish."""

    topic: str
    key: str
    value: bytes
    headers: Headers = ()


class Record(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A record as it was read."""

    topic: str
    partition: int
    offset: int
    key: str
    value: bytes
    packed: Any = ()  # the headers as the engine has them
    unpack: Callable[[Any], Headers] = tuple

    @property
    def headers(self) -> Headers:
        """Unpacked when they are asked for: the loop never does, and they cost as much as the rest of a record."""
        return self.unpack(self.packed)

    @property
    def place(self) -> TopicPartition:
        return TopicPartition(self.topic, self.partition)


class Consumer(Protocol):
    """One member of one group."""

    async def poll(self, *, max_records: int, wait_s: float) -> Sequence[Record]:
        """The next records of this member's partitions; empty when none came within `wait_s` seconds.

        Within one partition in order and without holes. Raises Later when the engine is away.
        """
        ...

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Remember the next offset to read of each partition, for the group, durably.

        Raises Later when the engine is away; the records then come again.
        """
        ...

    async def rewind(self) -> None:
        """Read on from the committed offsets: what was polled and not committed comes again."""
        ...

    async def lag(self) -> Mapping[TopicPartition, int]:
        """For each partition that this member holds: how many records are not yet committed."""
        ...


class Bus(Protocol):
    """The way between the services."""

    async def publish(self, records: Sequence[NewRecord]) -> None:
        """Write the records, durably (see above). Many small calls at once share one sync."""
        ...

    def consumer(self, group: str, topics: Sequence[str]) -> AbstractAsyncContextManager[Consumer]:
        """Join `group`; leaving the context leaves the group, and its partitions go to the others."""
        ...

    def scan(self, topic: str) -> AsyncIterator[Record]:
        """Every record that the topic holds at the time of the call, without a group, each partition in order."""
        ...

    async def create_topics(self, *, partitions: int, replication: int) -> None:
        """Make the topics that are not there yet; never change one that is."""
        ...

    async def check(self) -> None:
        """Return when the engine answers and the topics exist; raise Later or Broken otherwise."""
        ...

    async def close(self) -> None:
        """Give up every connection. Safe to call twice."""
        ...
