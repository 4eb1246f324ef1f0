"""The Apache Kafka engine of the Bus (aiokafka); docs/decisions/0002-kafka-settings.md says why these settings."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from aiokafka import (
    AIOKafkaConsumer,
    AIOKafkaProducer,
    ConsumerRebalanceListener,
)
from aiokafka import TopicPartition as Place
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.codec import has_lz4
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import (
    CommitFailedError,
    IllegalStateError,
    KafkaError,
    MessageSizeTooLargeError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
    for_code,
)

from shared.bus import Consumer, Headers, NewRecord, Record, TopicPartition
from shared.errors import Broken, Later, Refused
from shared.events import Topic
from shared.log import Log

log = Log("leadpact.bus.kafka")

LINGER_MS: Final = 5
RECORD_BYTES: Final = 1024 * 1024  # the largest that is sent
FRAMING_BYTES: Final = 1024  # what Kafka puts around a batch
BATCH_BYTES: Final = 512 * 1024  # the library's 16 KB caps a partition at one small batch per round trip
MAX_POLL_MS: Final = 600_000
METADATA_WAIT_S: Final = 2.0
SCAN_RECORDS: Final = 1_000
LEAVE_S: Final = 5.0
RETENTION_MS: Final = 7 * 24 * 3600 * 1000


class KafkaBus:
    """The Bus on a Kafka cluster. Makes no connection before it is used."""

    def __init__(
        self,
        servers: Sequence[str] | str,
        *,
        prefix: str = "",
        delivery_s: float = 5.0,
        session_s: float = 15.0,
        max_poll_records: int = 2_000,
    ) -> None:
        """`delivery_s`: publish raises Later after so long. `session_s`: a member silent for so long is dead."""
        self._servers = servers if isinstance(servers, str) else ",".join(servers)
        self._prefix = prefix
        self._delivery_s = delivery_s
        self._session_s = session_s
        self._max_poll_records = max_poll_records
        self._starting: asyncio.Task[AIOKafkaProducer] | None = None
        self._known: set[str] = set()
        self._abandoned: set[asyncio.Task[None]] = set()

    def _common(self) -> dict[str, Any]:
        return {"bootstrap_servers": self._servers, "request_timeout_ms": int(self._delivery_s * 1000)}

    # --- publishing ---

    async def publish(self, records: Sequence[NewRecord]) -> None:
        if not records:
            return
        starting = self._producer()
        try:
            with _kafka_errors_are_later():
                async with asyncio.timeout(self._delivery_s):
                    producer = await asyncio.shield(starting)
                    await self._require_topics(producer, {record.topic for record in records})
                    await self._send(producer, records)
        except Later as error:
            if error.code != "topic_missing":
                self._abandon(starting)  # what became of its records is unknown: it must not try them later
            raise

    def _producer(self) -> asyncio.Task[AIOKafkaProducer]:
        if self._starting is None:
            self._starting = asyncio.create_task(self._start_producer())
        return self._starting

    async def _start_producer(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            **self._common(),
            acks="all",
            enable_idempotence=True,
            linger_ms=LINGER_MS,
            max_batch_size=BATCH_BYTES,
            max_request_size=RECORD_BYTES,
            compression_type="lz4" if has_lz4() else None,
        )
        try:
            await producer.start()
        except BaseException:
            await _kill(producer)
            raise
        return producer

    async def _require_topics(self, producer: AIOKafkaProducer, topics: set[str]) -> None:
        for topic in topics - self._known:
            try:
                async with asyncio.timeout(METADATA_WAIT_S):
                    await producer.partitions_for(self._prefix + topic)
            except (TimeoutError, UnknownTopicOrPartitionError) as error:
                raise _topic_missing({topic}) from error
            self._known.add(topic)

    async def _send(self, producer: AIOKafkaProducer, records: Sequence[NewRecord]) -> None:
        sent: list[asyncio.Future[Any]] = []
        try:
            for record in records:
                headers = [(name, value.encode()) for name, value in record.headers]
                key = _bytes(record.key)
                sent.append(await producer.send(self._prefix + record.topic, record.value, key=key, headers=headers))
        finally:
            outcomes = await asyncio.gather(*sent, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    def _abandon(self, starting: asyncio.Task[AIOKafkaProducer]) -> None:
        if self._starting is starting:
            self._starting = None
            task = asyncio.create_task(_bury(starting))
            self._abandoned.add(task)
            task.add_done_callback(self._abandoned.discard)

    # --- reading ---

    @contextlib.asynccontextmanager
    async def consumer(self, group: str, topics: Sequence[str]) -> AsyncIterator[Consumer]:
        kafka = AIOKafkaConsumer(
            **self._common(),
            group_id=self._prefix + group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            partition_assignment_strategy=(RangePartitionAssignor,),
            session_timeout_ms=int(self._session_s * 1000),
            heartbeat_interval_ms=int(self._session_s * 1000 / 5),
            max_poll_interval_ms=MAX_POLL_MS,
            max_poll_records=self._max_poll_records,
            fetch_max_wait_ms=200,
        )
        member = _Member(kafka, self._prefix)
        kafka.subscribe([self._prefix + topic for topic in topics], listener=member.listener)
        try:
            with _kafka_errors_are_later(missing=topics):
                async with asyncio.timeout(self._session_s * 2 + self._delivery_s):
                    await kafka.start()
            yield member
        finally:
            await _leave(kafka)

    async def scan(self, topic: str) -> AsyncIterator[Record]:
        kafka = AIOKafkaConsumer(
            **self._common(), enable_auto_commit=False, auto_offset_reset="earliest", isolation_level="read_committed"
        )
        try:
            with _kafka_errors_are_later():
                ends = await self._assign_all(kafka, topic)
            while ends:
                with _kafka_errors_are_later():
                    found = await kafka.getmany(timeout_ms=200, max_records=SCAN_RECORDS)
                for place, messages in found.items():
                    for message in messages:
                        if message.offset < ends.get(place, 0):
                            yield _record(message, self._prefix)
                with _kafka_errors_are_later():
                    ends = {place: end for place, end in ends.items() if await kafka.position(place) < end}
        finally:
            await _leave(kafka)

    async def _assign_all(self, kafka: AIOKafkaConsumer, topic: str) -> dict[Place, int]:
        """Give `kafka` the whole topic from its beginning; where each partition that holds records ends now."""
        name = self._prefix + topic
        await kafka.start()
        await kafka._client._wait_on_metadata(name)  # the public partitions_for_topic does not ask the broker
        places = [Place(name, n) for n in sorted(kafka.partitions_for_topic(name) or ())]
        if not places:
            raise _topic_missing({topic})
        kafka.assign(places)
        begins, ends = await kafka.beginning_offsets(places), await kafka.end_offsets(places)
        for place in places:
            kafka.seek(place, begins[place])
        return {place: end for place, end in ends.items() if begins[place] < end}

    # --- topics and health ---

    async def create_topics(self, *, partitions: int, replication: int) -> None:
        configs = {
            "min.insync.replicas": str(min(2, replication)),  # acks=all with 1 of 3 would be one disk's promise
            "retention.ms": str(RETENTION_MS),
            # The broker's own limit may be lower, and then refuses whole batches for being many small records.
            "max.message.bytes": str(RECORD_BYTES + FRAMING_BYTES),
        }
        names = [self._prefix + topic for topic in Topic]
        new = [
            NewTopic(name=n, num_partitions=partitions, replication_factor=replication, topic_configs=configs)
            for n in names
        ]
        async with self._admin() as admin:
            answer = await admin.create_topics(new)
            for name, code, *rest in answer.topic_errors:
                if code and for_code(code) is not TopicAlreadyExistsError:
                    raise Broken("topic_refused", f"Kafka did not make the topic {name}: {rest or code}")
            async with asyncio.timeout(self._delivery_s):
                while set(names) - set(await admin.list_topics()):
                    await asyncio.sleep(0.05)  # made by the controller, known to this broker a moment later

    async def check(self) -> None:
        async with self._admin() as admin:
            there = set(await admin.list_topics())
        if missing := {topic for topic in Topic if self._prefix + topic not in there}:
            raise Broken("topic_missing", _missing_text(missing))

    @contextlib.asynccontextmanager
    async def _admin(self) -> AsyncIterator[Any]:
        admin = AIOKafkaAdminClient(**self._common())
        try:
            with _kafka_errors_are_later():
                async with asyncio.timeout(self._delivery_s * 2):
                    await admin.start()
                    yield admin
        finally:
            await admin.close()

    async def close(self) -> None:
        starting, self._starting = self._starting, None
        if starting is not None:
            await _bury(starting)
        await asyncio.gather(*self._abandoned, return_exceptions=True)


class _Moves(ConsumerRebalanceListener):  # type: ignore[misc]  # the library has no types
    """Hears of rebalances. It takes no lock: a listener that waits for whoever polls can wait for ever."""

    def __init__(self, committed: dict[Place, int]) -> None:
        self._committed = committed

    async def on_partitions_revoked(self, revoked: Any) -> None:
        self._committed.clear()

    async def on_partitions_assigned(self, assigned: Any) -> None:
        self._committed.clear()


class _Member:
    """One member of one group (the Consumer of this engine)."""

    def __init__(self, kafka: AIOKafkaConsumer, prefix: str) -> None:
        self._kafka = kafka
        self._prefix = prefix
        self._committed: dict[Place, int] = {}  # of the partitions held, as far as known here
        self.listener = _Moves(self._committed)

    async def poll(self, *, max_records: int, wait_s: float) -> Sequence[Record]:
        with _kafka_errors_are_later():
            found = await self._kafka.getmany(timeout_ms=int(wait_s * 1000), max_records=max_records)
        if not found and not self._connected():
            raise Later("bus_away", "no Kafka broker answers")
        return [_record(message, self._prefix) for messages in found.values() for message in messages]

    def _connected(self) -> bool:
        # The library tries again in silence; whoever watches should know, and a fresh start joins cleanly.
        return any(conn.connected() for conn in self._kafka._client._conns.values())

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        held = self._kafka.assignment()
        mine = {place: n for at, n in offsets.items() if (place := self._place(at)) in held}
        if not mine:
            return
        try:
            with _kafka_errors_are_later():
                await self._kafka.commit(mine)
        except (CommitFailedError, IllegalStateError):
            log.info("commit_dropped", partitions=len(mine))  # moved meanwhile: the new owner reads again
        else:
            self._committed.update(mine)

    async def rewind(self) -> None:
        with _kafka_errors_are_later():
            for place in self._kafka.assignment():
                with contextlib.suppress(IllegalStateError):
                    self._kafka.seek(place, await self._first_to_read(place))

    async def _first_to_read(self, place: Place) -> int:
        """The committed offset, or the first there is. One question to the broker per partition."""
        known = await self._kafka.committed(place)
        if known is None:
            known = (await self._kafka.beginning_offsets([place]))[place]
        return int(known)

    async def lag(self) -> Mapping[TopicPartition, int]:
        with _kafka_errors_are_later():
            held = sorted(self._kafka.assignment())
            for place in held:
                if place not in self._committed:
                    self._committed[place] = await self._first_to_read(place)
            ends = await self._kafka.end_offsets(held) if held else {}
        return {self._at(place): max(0, end - self._committed.get(place, end)) for place, end in ends.items()}

    def _place(self, at: TopicPartition) -> Place:
        return Place(self._prefix + at.topic, at.partition)

    def _at(self, place: Place) -> TopicPartition:
        return TopicPartition(place.topic.removeprefix(self._prefix), place.partition)


async def _leave(kafka: AIOKafkaConsumer) -> None:
    """Stop a consumer, in a task of its own: with the broker away `stop` hangs, or raises the CancelledError
    of a task inside the library, which would look as if we had been cancelled."""
    stopping = asyncio.create_task(kafka.stop())
    await asyncio.wait([stopping], timeout=LEAVE_S)
    stopping.cancel()
    await asyncio.gather(stopping, return_exceptions=True)
    await kafka._client.close()  # `stop` does not come to it when it fails before


async def _bury(starting: asyncio.Task[AIOKafkaProducer]) -> None:
    starting.cancel()
    outcome = (await asyncio.gather(starting, return_exceptions=True))[0]
    if isinstance(outcome, AIOKafkaProducer):
        await _kill(outcome)


async def _kill(producer: AIOKafkaProducer) -> None:
    """End a producer without the flush that its `stop` does, which waits for a broker that is away, for ever."""
    producer._closed = True
    sender = producer._sender
    producer._message_accumulator.fail_all(KafkaError("the producer was given up"))
    if sender.sender_task is not None:
        sender.sender_task.remove_done_callback(sender._fail_all)  # it raises where there is no transaction
        sender.sender_task.cancel()
    await producer.client.close()
    if sender.sender_task is not None:
        await asyncio.wait([asyncio.gather(sender.sender_task, return_exceptions=True)], timeout=LEAVE_S)


@contextlib.contextmanager
def _kafka_errors_are_later(missing: Iterable[str] = ()) -> Iterator[None]:
    """Turn 'Kafka is away or busy' into Later; what only the caller can judge passes through."""
    try:
        yield
    except (CommitFailedError, IllegalStateError):
        raise
    except MessageSizeTooLargeError as error:
        raise Refused("record_too_large", "a record is larger than Kafka takes") from error
    except UnknownTopicOrPartitionError as error:
        raise _topic_missing(missing or {"(unknown)"}) from error
    except (KafkaError, OSError, TimeoutError) as error:
        raise Later("bus_away", f"Kafka did not answer: {type(error).__name__}") from error


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _record(message: Any, prefix: str) -> Record:
    return Record(
        topic=message.topic.removeprefix(prefix),
        partition=message.partition,
        offset=message.offset,
        key=(message.key or b"").decode("utf-8", "replace"),  # others may write here too
        value=message.value or b"",
        packed=message.headers,
        unpack=_headers,
    )


def _headers(packed: Sequence[tuple[str, bytes | None]]) -> Headers:
    return tuple((name, value.decode("utf-8", "replace") if value else "") for name, value in packed)


def _topic_missing(topics: Iterable[str]) -> Later:
    return Later("topic_missing", _missing_text(topics))


def _missing_text(topics: Iterable[str]) -> str:
    return f"there is no topic {', '.join(sorted(topics))}: run leadpact migrate"
