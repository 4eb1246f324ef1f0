"""The contract of shared.bus, on both engines: real PostgreSQL and real Apache Kafka.

Pauses: a group that shares out its partitions, and a broker on its way back, have no event to wait on.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from shared.bus import Bus, Consumer, NewRecord, Record
from shared.errors import Broken, Later, Refused
from tests.contract.conftest import Engine
from tests.real import REPO, KafkaServer, need_kafka

TOPIC = "crm.events"
PATIENCE_S = 30.0


def new(key: str, value: str, topic: str = TOPIC) -> NewRecord:
    return NewRecord(topic=topic, key=key, value=value.encode())


def numbered(count: int, *, keys: int = 10) -> list[NewRecord]:
    return [new(f"lead:{n % keys}", f"{n}") for n in range(count)]


def values(records: Sequence[Record]) -> set[str]:
    return {record.value.decode() for record in records}


async def poll(member: Consumer, *, max_records: int = 100) -> Sequence[Record]:
    return await member.poll(max_records=max_records, wait_s=0.2)


async def read(member: Consumer, count: int, *, commit: bool = False) -> list[Record]:
    """The next `count` records; more when they came together."""
    found: list[Record] = []
    async with asyncio.timeout(PATIENCE_S):
        while len(found) < count:
            records = await poll(member)
            found.extend(records)
            if commit and records:
                await commit_all(member, records)
    return found


async def commit_all(member: Consumer, records: Sequence[Record]) -> None:
    await member.commit({r.place: r.offset + 1 for r in records})


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await condition():
            await asyncio.sleep(0.05)


async def shared(*members: Consumer) -> None:
    """Return once each member holds two of the four partitions; all of them poll meanwhile."""

    async def evenly() -> bool:
        for member in members:
            await poll(member)
        return [len(await member.lag()) for member in members] == [4 // len(members)] * len(members)

    await until(evenly)


async def test_records_of_a_key_stay_in_order_in_one_partition(bus: Bus) -> None:
    for start in range(0, 300, 50):
        await bus.publish([new(f"lead:{n % 7}", f"{n}") for n in range(start, start + 50)])
    async with bus.consumer("g", [TOPIC]) as member:
        records = await read(member, 300)
    by_key: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_key[record.key].append(record)
    assert len(by_key) == 7
    for of_key in by_key.values():
        numbers = [int(r.value) for r in of_key]
        assert numbers == sorted(numbers)
        assert len({r.partition for r in of_key}) == 1
    assert len({r.partition for r in records}) > 1


async def test_offsets_have_no_holes_and_are_read_in_order_while_many_publish(engine: Engine, bus: Bus) -> None:
    others = [engine.open() for _ in range(3)]
    async with bus.consumer("g", [TOPIC]) as member:
        reading = asyncio.create_task(read(member, 400))
        many = [b.publish([new(f"lead:{n}", f"{i}-{n}")]) for n in range(100) for i, b in enumerate([bus, *others])]
        await asyncio.gather(*many)
        records = await reading
    offsets: dict[int, list[int]] = defaultdict(list)
    for record in records:
        offsets[record.partition].append(record.offset)
    assert len(values(records)) == 400
    assert all(numbers == list(range(len(numbers))) for numbers in offsets.values())


async def test_what_was_not_committed_comes_again_after_a_crash(engine: Engine, bus: Bus) -> None:
    await bus.publish(numbered(20))
    async with dying(engine, "g") as (said, kill):
        await said(20)
        kill()
    async with engine.open().consumer("g", [TOPIC]) as member:
        assert values(await read(member, 20)) == {str(n) for n in range(20)}


async def test_committed_offsets_survive_a_restart(engine: Engine, bus: Bus) -> None:
    await bus.publish(numbered(30))
    async with bus.consumer("g", [TOPIC]) as member:
        await commit_all(member, await read(member, 30))
    await bus.close()
    again = engine.open()
    await again.publish([new("lead:1", "after")])
    async with again.consumer("g", [TOPIC]) as member:
        assert values(await read(member, 1)) == {"after"}


async def test_two_members_share_the_partitions_and_one_takes_over_when_the_other_leaves(
    engine: Engine, bus: Bus
) -> None:
    async with bus.consumer("g", [TOPIC]) as first:
        async with engine.open().consumer("g", [TOPIC]) as second:
            await shared(first, second)
            assert not set(await first.lag()) & set(await second.lag())
        await shared(first)
        await bus.publish(numbered(40))
        assert values(await read(first, 40, commit=True)) == {str(n) for n in range(40)}


async def test_the_partitions_of_a_member_that_dies_without_leaving_are_taken_over(engine: Engine, bus: Bus) -> None:
    async with bus.consumer("g", [TOPIC]) as survivor, dying(engine, "g") as (said, kill):

        async def halved() -> bool:
            await poll(survivor)
            return len(await survivor.lag()) == 2

        await until(halved)
        await bus.publish(numbered(40))
        await said(1)
        kill()
        found: set[str] = set()
        async with asyncio.timeout(PATIENCE_S):
            while len(found) < 40:
                found |= values(await poll(survivor))


async def test_a_commit_for_a_partition_that_moved_away_is_dropped(engine: Engine, bus: Bus) -> None:
    await bus.publish(numbered(40))
    async with bus.consumer("g", [TOPIC]) as first:
        held = await read(first, 40)
        async with engine.open().consumer("g", [TOPIC]) as second:
            await shared(first, second)
            theirs = set(await second.lag())
            await commit_all(first, held)
            lags = await second.lag()
            assert sum(lags.values()) == sum(r.place in theirs for r in held) > 0


async def test_rewind_reads_again_what_was_not_committed(bus: Bus) -> None:
    await bus.publish(numbered(10))
    async with bus.consumer("g", [TOPIC]) as member:
        await commit_all(member, await read(member, 10))
        await bus.publish([new("lead:1", "late")])
        assert values(await read(member, 1)) == {"late"}
        await member.rewind()
        assert values(await read(member, 1)) == {"late"}


async def test_rewind_before_any_commit_reads_from_the_start(bus: Bus) -> None:
    await bus.publish(numbered(10))
    async with bus.consumer("g", [TOPIC]) as member:
        await read(member, 10)
        await member.rewind()
        assert len(await read(member, 10)) == 10


async def test_poison_is_delivered_like_any_other_record(bus: Bus) -> None:
    poison = [b"", b"\x00\xff\xfe", b"{not json", bytes(range(256))]
    await bus.publish([NewRecord(topic=TOPIC, key="a\x00ü", value=v, headers=(("ce_type", "ü"),)) for v in poison])
    async with bus.consumer("g", [TOPIC]) as member:
        records = await read(member, 4)
    assert [r.value for r in records] == poison
    assert {(r.key, r.headers) for r in records} == {("a\x00ü", (("ce_type", "ü"),))}


async def test_what_publish_returned_for_is_seen_by_another_process_at_once(engine: Engine, bus: Bus) -> None:
    other = engine.open()
    for n in range(5):
        await bus.publish([new("lead:1", f"{n}")])
        assert [r.value async for r in other.scan(TOPIC)] == [b"%d" % i for i in range(n + 1)]


async def test_a_waiting_member_is_woken_by_another_process(engine: Engine, bus: Bus) -> None:
    async with bus.consumer("g", [TOPIC]) as member:
        await shared(member)
        waiting = asyncio.create_task(member.poll(max_records=10, wait_s=PATIENCE_S))
        started = asyncio.get_running_loop().time()
        await engine.open().publish([new("lead:1", "wake")])
        assert values(await waiting) == {"wake"}
        assert asyncio.get_running_loop().time() - started < PATIENCE_S / 3


async def test_many_small_publishes_at_once_are_all_there_once(bus: Bus) -> None:
    await asyncio.gather(*(bus.publish([record]) for record in numbered(1000, keys=100)))
    found = [r.value.decode() async for r in bus.scan(TOPIC)]
    assert sorted(found, key=int) == [str(n) for n in range(1000)]


async def test_a_scan_returns_each_record_and_touches_no_group(bus: Bus) -> None:
    await bus.publish(numbered(2500))
    offsets: dict[int, list[int]] = defaultdict(list)
    async for record in bus.scan(TOPIC):
        offsets[record.partition].append(record.offset)
    assert sum(map(len, offsets.values())) == 2500
    assert all(numbers == sorted(numbers) for numbers in offsets.values())
    assert [r async for r in bus.scan("lead.scores")] == []


async def test_groups_read_independently_and_several_topics_together(bus: Bus) -> None:
    await bus.publish([new("lead:1", "a"), new("lead:1", "b", "lead.scores")])
    for group in ("g1", "g2"):
        async with bus.consumer(group, [TOPIC, "lead.scores"]) as member:
            records = await read(member, 2, commit=True)
            assert {(r.topic, r.value) for r in records} == {(TOPIC, b"a"), ("lead.scores", b"b")}
            assert len({r.partition for r in records}) == 1


async def test_lag_counts_what_is_not_committed(bus: Bus) -> None:
    await bus.publish(numbered(25))
    async with bus.consumer("g", [TOPIC]) as member:
        await shared(member)
        assert sum((await member.lag()).values()) == 25
        await member.rewind()
        await commit_all(member, await read(member, 25))
        assert sum((await member.lag()).values()) == 0
        await bus.publish(numbered(3))
        assert sum((await member.lag()).values()) == 3


async def test_topics_are_never_made_by_themselves(engine: Engine) -> None:
    bus = engine.open()
    with pytest.raises(Later, match="migrate"):
        await bus.publish([new("lead:1", "x")])
    with pytest.raises(Broken, match="migrate"):
        await bus.check()
    await bus.create_topics(partitions=2, replication=1)
    await bus.check()
    with pytest.raises(Later, match="migrate"):
        await bus.publish([new("lead:1", "x", "no.such.topic")])
    await bus.publish([new("lead:1", "x")])


async def test_topics_that_are_there_are_not_changed(bus: Bus) -> None:
    await bus.create_topics(partitions=9, replication=1)
    async with bus.consumer("g", [TOPIC]) as member:
        await shared(member)


async def test_closing_twice_is_safe(bus: Bus) -> None:
    await bus.publish(numbered(1))
    await bus.close()
    await bus.close()


@pytest.mark.kafka
async def test_kafka_away_is_said_soon_and_all_goes_on_when_it_is_back(tmp_path: Any) -> None:
    need_kafka()
    server = KafkaServer(tmp_path)
    server.start()
    bus = Engine("kafka", server.address).open()
    committed = asyncio.Event()
    reading = asyncio.create_task(read_through_outages(bus, committed, last="after"))
    try:
        await bus.create_topics(partitions=4, replication=1)
        await bus.publish([new("lead:1", "before")])
        await asyncio.wait_for(committed.wait(), PATIENCE_S)
        server.kill()
        for _ in range(2):
            async with asyncio.timeout(7):
                with pytest.raises(Later):
                    await bus.publish([new("lead:1", "lost")])
        server.start()

        async def published() -> bool:
            with contextlib.suppress(Later):
                await bus.publish([new("lead:1", "after")])
                return True
            return False

        await until(published)
        found = [r.value async for r in bus.scan(TOPIC)]
        assert found[0] == b"before"
        assert b"after" in found
        assert {"before", "after"} <= await asyncio.wait_for(reading, 60)
    finally:
        reading.cancel()
        await bus.close()
        server.stop()


@pytest.mark.kafka
async def test_kafka_takes_our_largest_batch_and_record_however_little_it_takes_by_itself(tmp_path: Any) -> None:
    """Its refusal of a batch would refuse every record in it, also those of others."""
    need_kafka()
    server = KafkaServer(tmp_path)
    server.start()
    bus = Engine("kafka", server.address).open()
    try:
        await limit_messages(server.address, most=20_000)
        await bus.create_topics(partitions=1, replication=1)
        await asyncio.gather(*(bus.publish([new("lead:1", "x" * 3_000)]) for _ in range(200)))
        await bus.publish([new("lead:2", "x" * 1_000_000)])
        with pytest.raises(Refused):
            await bus.publish([new("lead:3", "x" * 1_100_000)])
        await bus.publish([new("lead:4", "after")])
    finally:
        await bus.close()
        server.stop()


async def limit_messages(address: str, *, most: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    limit = ConfigResource(ConfigResourceType.BROKER, "1", {"message.max.bytes": str(most)})
    await admin.alter_configs([limit])
    await admin.close()


async def read_through_outages(bus: Bus, committed: asyncio.Event, *, last: str) -> set[str]:
    """Consume as a service does, joining again after each Later, until `last` was read; all that was read."""
    found: set[str] = set()
    while last not in found:
        with contextlib.suppress(Later):
            async with bus.consumer("g", [TOPIC]) as member:
                while last not in found:
                    records = await poll(member)
                    await commit_all(member, records)
                    found |= values(records)
                    if records:
                        committed.set()
        await asyncio.sleep(0.1)
    return found


@contextlib.asynccontextmanager
async def dying(
    engine: Engine, group: str
) -> AsyncIterator[tuple[Callable[[int], Awaitable[None]], Callable[[], None]]]:
    """A member in a process of its own: `said(n)` waits for n records, `kill()` is SIGKILL."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.contract.bus_member", engine.as_json(), group, TOPIC,
        cwd=REPO, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    out = process.stdout

    async def said(count: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            for _ in range(count):
                assert await out.readline()

    try:
        yield said, process.kill
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
