"""The embedded engine of the Bus: a durable log in the same PostgreSQL, for one machine and a small team.

How it keeps the contract of `shared.bus`:

- Offsets are given while the partition's row is locked until the commit, so what a reader can see
  of a partition is always a beginning of it, without holes (a sequence would let numbers appear late).
- Publishes that wait while a transaction commits share the next one: group commit, one sync for all.
- A member of a group lives as long as its lease, by the database's clock. Each member works out the
  same range assignment from the living members and takes what no living member holds; what it has to
  give away it gives at its next poll, when it has nothing in hand.
- A commit counts only where the member still holds the partition.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import zlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared.bus import Consumer, Headers, NewRecord, Record, TopicPartition
from shared.database import database_errors_are_later, make_engine
from shared.errors import Broken, Later
from shared.events import Topic
from shared.log import Log

log = Log("leadpact.bus.embedded")

CHANNEL: Final = "leadpact_bus"
WRITE_RECORDS: Final = 5_000  # of one transaction
RETENTION: Final = timedelta(days=7)
FORGET_ROWS: Final = 5_000  # of one transaction, so that no lock or burst of log lasts long
FORGET_EVERY_S: Final = 600.0
LISTEN_AGAIN_S: Final = 1.0
SCAN_ROWS: Final = 1_000
NOTIFY_CHARS: Final = 7_000  # PostgreSQL allows just under 8000 bytes

SCHEMA: Final = """
    CREATE SCHEMA IF NOT EXISTS bus;
    CREATE TABLE IF NOT EXISTS bus.places (
        id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        topic text NOT NULL,
        partition integer NOT NULL,
        next bigint NOT NULL DEFAULT 0,
        UNIQUE (topic, partition)
    );
    CREATE TABLE IF NOT EXISTS bus.records (
        place integer NOT NULL,
        n bigint NOT NULL,
        at timestamptz NOT NULL,
        key bytea NOT NULL,
        value bytea NOT NULL,
        headers bytea NOT NULL,
        PRIMARY KEY (place, n)
    );
    CREATE INDEX IF NOT EXISTS records_at ON bus.records USING brin (at);
    CREATE TABLE IF NOT EXISTS bus.members (
        grp text NOT NULL,
        member uuid NOT NULL,
        topics text[] NOT NULL,
        expires timestamptz NOT NULL,
        PRIMARY KEY (grp, member)
    );
    CREATE TABLE IF NOT EXISTS bus.offsets (
        grp text NOT NULL,
        place integer NOT NULL,
        next bigint NOT NULL DEFAULT 0,
        holder uuid,
        PRIMARY KEY (grp, place)
    );
"""


@dataclass(slots=True)
class _Waiting:
    """One caller of publish, waiting for its records to be durable."""

    places: list[int]
    records: Sequence[NewRecord]
    done: asyncio.Future[None]


@dataclass(frozen=True, slots=True)
class _Place:
    """A partition as the database knows it."""

    id: int
    at: TopicPartition


class EmbeddedBus:
    """The Bus on PostgreSQL. Give it an engine to share, or an address to have its own."""

    def __init__(
        self,
        engine: AsyncEngine | str,
        *,
        prefix: str = "",
        lease_s: float = 10.0,
        max_poll_s: float = 300.0,
        retention: timedelta = RETENTION,
    ) -> None:
        """`lease_s`: a member not heard of for so long is dead. `max_poll_s`: nor one that polls no more."""
        self._own_engine = isinstance(engine, str)
        self._engine = make_engine(engine, pool_size=12) if isinstance(engine, str) else engine
        self._prefix = prefix
        self._lease_s = lease_s
        self._max_poll_s = max_poll_s
        self._retention = retention
        self._id = uuid4().hex
        self._places: dict[str, list[int]] = {}
        self._waiting: list[_Waiting] = []
        self._writer: asyncio.Task[None] | None = None
        self._bells: dict[str, set[asyncio.Event]] = defaultdict(set)  # by topic or group, with prefix
        self._background: list[asyncio.Task[None]] = []

    # --- publishing ---

    async def publish(self, records: Sequence[NewRecord]) -> None:
        if not records:
            return
        places = await self._places_of(records)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(places, records, done))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_all())
        await done

    async def _places_of(self, records: Sequence[NewRecord]) -> list[int]:
        topics = {record.topic for record in records}
        if not topics <= self._places.keys():
            await self._learn_places()
        if missing := topics - self._places.keys():
            raise _topic_missing(missing)
        return [_choose(self._places[record.topic], record.key) for record in records]

    async def _learn_places(self) -> None:
        found: dict[str, list[int]] = defaultdict(list)
        for place in await self._all_places():
            found[place.at.topic].append(place.id)
        self._places = dict(found)

    async def _all_places(self) -> list[_Place]:
        """Every partition under the prefix, in order; none while there are no tables."""
        sql = sa.text("SELECT id, topic, partition FROM bus.places ORDER BY topic, partition")
        with database_errors_are_later():
            try:
                async with self._engine.connect() as conn:
                    rows = (await conn.execute(sql)).all()
            except ProgrammingError as error:
                if getattr(error.orig, "sqlstate", None) not in ("42P01", "3F000"):  # no such table, no such schema
                    raise
                return []
        cut, ours = len(self._prefix), [row for row in rows if row.topic.startswith(self._prefix)]
        return [_Place(row.id, TopicPartition(row.topic[cut:], row.partition)) for row in ours]

    async def _write_all(self) -> None:
        """Write until nobody waits. What comes in meanwhile waits for the next transaction, together."""
        while self._waiting:
            batch = self._take_batch()
            try:
                with database_errors_are_later():
                    await self._write(batch)
            except Exception as error:
                for waiting in batch:
                    if not waiting.done.done():
                        waiting.done.set_exception(_same(error))
            else:
                for waiting in batch:
                    if not waiting.done.done():
                        waiting.done.set_result(None)

    def _take_batch(self) -> list[_Waiting]:
        count = taken = 0
        while taken < len(self._waiting) and (not taken or count < WRITE_RECORDS):
            count += len(self._waiting[taken].records)
            taken += 1
        batch, self._waiting = self._waiting[:taken], self._waiting[taken:]
        return batch

    async def _write(self, batch: Sequence[_Waiting]) -> None:
        places = [place for waiting in batch for place in waiting.places]
        records = [record for waiting in batch for record in waiting.records]
        topics = {self._prefix + record.topic for record in records}
        async with self._engine.begin() as conn:
            heads = await _lock_heads(conn, sorted(set(places)))
            numbers = [_advance(heads, place) for place in places]
            await _insert(conn, heads, places, numbers, records)
            await self._notify(conn, topics, sender=self._id)
        self._ring(topics)

    # --- waking ---

    async def _notify(self, conn: AsyncConnection, names: Iterable[str], *, sender: str) -> None:
        """Have whoever waits for `names` woken when this transaction commits, but not on the bus `sender`."""
        payload = ",".join([sender, *sorted(names)])[:NOTIFY_CHARS]
        await conn.execute(sa.text("SELECT pg_notify(:channel, :payload)"), {"channel": CHANNEL, "payload": payload})

    def _ring(self, names: Iterable[str]) -> None:
        for name in names:
            for bell in self._bells.get(name, ()):
                bell.set()

    def _heard(self, payload: str) -> None:
        sender, *names = payload.split(",")
        if sender != self._id:  # our own records rang when they were committed
            self._ring(names)

    async def _listen(self) -> None:
        """Ring the bells for what other processes publish, for ever, on one connection at a time."""
        while True:
            with contextlib.suppress(Exception), database_errors_are_later():
                await self._listen_once()
            await asyncio.sleep(LISTEN_AGAIN_S)

    async def _listen_once(self) -> None:
        async with self._engine.connect() as conn:
            raw: Any = (await conn.get_raw_connection()).driver_connection
            await raw.add_listener(CHANNEL, lambda *said: self._heard(said[3]))
            lost = asyncio.Event()
            raw.add_termination_listener(lambda *_: lost.set())
            try:
                self._ring(list(self._bells))  # what was said before we listened
                await lost.wait()
            finally:
                await conn.invalidate()

    # --- reading ---

    @contextlib.asynccontextmanager
    async def consumer(self, group: str, topics: Sequence[str]) -> AsyncIterator[Consumer]:
        places = [place for place in await self._all_places() if place.at.topic in topics]
        if missing := set(topics) - {place.at.topic for place in places}:
            raise _topic_missing(missing)
        self._start_background()
        member = _Member(self, self._prefix + group, topics, places)
        names = [self._prefix + topic for topic in topics]
        for name in names:
            self._bells[name].add(member.records_bell)
        self._bells[member.group].add(member.group_bell)
        try:
            await member.join()
            yield member
        finally:
            for name in names:
                self._bells[name].discard(member.records_bell)
            self._bells[member.group].discard(member.group_bell)
            await member.leave()

    def _start_background(self) -> None:
        if not self._background:
            self._background = [asyncio.create_task(task()) for task in (self._listen, self._forget_for_ever)]

    async def scan(self, topic: str) -> AsyncIterator[Record]:
        places = [place for place in await self._all_places() if place.at.topic == topic]
        if not places:
            raise _topic_missing({topic})
        ends = await self._ends(places)
        for place in places:
            position = 0
            while position < ends[place.id]:
                rows = await self._read({place.id: position}, SCAN_ROWS)
                position = rows[-1].n + 1 if rows else ends[place.id]
                for row in rows:
                    if row.n < ends[place.id]:
                        yield _record(row, place.at)

    async def _ends(self, places: Sequence[_Place]) -> dict[int, int]:
        sql = sa.text("SELECT id, next FROM bus.places WHERE id = ANY(CAST(:ids AS integer[]))")
        rows = await self._rows(sql, ids=[place.id for place in places])
        return {row.id: row.next for row in rows}

    async def _read(self, positions: Mapping[int, int], limit: int) -> Sequence[Any]:
        """Up to `limit` records from `positions` on, the first-named partitions first. Index: the primary key.

        Without an ORDER BY outside, or PostgreSQL would read `limit` of every partition and sort them.
        """
        sql = sa.text("""
            SELECT r.* FROM unnest(CAST(:places AS integer[]), CAST(:positions AS bigint[])) AS p(place, n)
            CROSS JOIN LATERAL (
                SELECT place, n, key, value, headers FROM bus.records
                WHERE place = p.place AND n >= p.n ORDER BY n LIMIT :limit
            ) AS r LIMIT :limit
        """)
        return await self._rows(sql, places=list(positions), positions=list(positions.values()), limit=limit)

    async def _rows(self, sql: sa.TextClause, **params: Any) -> Sequence[Any]:
        with database_errors_are_later():
            async with self._engine.connect() as conn:
                return (await conn.execute(sql, params)).all()

    # --- keeping house ---

    async def create_topics(self, *, partitions: int, replication: int) -> None:
        """See the port. One disk holds one copy, so `replication` has no meaning here."""
        insert = sa.text("""
            INSERT INTO bus.places (topic, partition)
            SELECT t, p FROM unnest(CAST(:topics AS text[])) AS t, generate_series(0, CAST(:n AS integer) - 1) AS p
            WHERE NOT EXISTS (SELECT 1 FROM bus.places WHERE topic = t)
        """)
        with database_errors_are_later():
            async with self._engine.begin() as conn:
                await conn.execute(sa.text("SELECT pg_advisory_xact_lock(hashtext('leadpact_bus_schema'))"))
                for statement in SCHEMA.split(";\n"):
                    if statement.strip():
                        await conn.execute(sa.text(statement))
                topics = [self._prefix + topic for topic in Topic]
                await conn.execute(insert, {"topics": topics, "n": partitions})
        self._places = {}

    async def forget_old(self) -> int:
        """Delete records older than the retention, a piece at a time; how many. Index: records_at (BRIN)."""
        sql = sa.text("""
            DELETE FROM bus.records WHERE ctid = ANY(ARRAY(
                SELECT ctid FROM bus.records WHERE at < clock_timestamp() - CAST(:age AS interval) LIMIT :rows
            ))
        """)
        total = 0
        while True:
            with database_errors_are_later():
                async with self._engine.begin() as conn:
                    gone = (await conn.execute(sql, {"age": self._retention, "rows": FORGET_ROWS})).rowcount
            total += gone
            if gone < FORGET_ROWS:
                return total

    async def _forget_for_ever(self) -> None:
        while True:
            with contextlib.suppress(Later):
                await self.forget_old()
            await asyncio.sleep(FORGET_EVERY_S)

    async def check(self) -> None:
        there = {place.at.topic for place in await self._all_places()}
        if missing := {str(topic) for topic in Topic} - there:
            raise Broken("topic_missing", _missing_text(missing))

    async def close(self) -> None:
        tasks, self._background = self._background, []
        for task in tasks:
            task.cancel()
        if self._writer is not None:
            tasks.append(self._writer)
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._own_engine:
            await self._engine.dispose()


class _Member:
    """One member of one group (the Consumer of this engine)."""

    def __init__(self, bus: EmbeddedBus, group: str, topics: Sequence[str], places: Sequence[_Place]) -> None:
        self.group = group
        self.records_bell = asyncio.Event()
        self.group_bell = asyncio.Event()
        self._bus = bus
        self._id = uuid4()
        self._topics = list(topics)
        self._at = {place.id: place.at for place in places}
        self._id_of = {place.at: place.id for place in places}
        self._positions: dict[int, int] = {}  # of the partitions held, those not served for longest first
        self._unwanted: set[int] = set()  # held, but others are waiting for them
        self._settling = asyncio.Lock()  # held for one transaction, never over a wait for records
        self._polled_at = time.monotonic()
        self._beat: asyncio.Task[None] | None = None

    async def join(self) -> None:
        await self._settle(give_up=True)
        self._beat = asyncio.create_task(self._beat_for_ever())

    async def leave(self) -> None:
        if self._beat:
            self._beat.cancel()
            await asyncio.gather(self._beat, return_exceptions=True)
        with contextlib.suppress(Later):  # the lease runs out by itself
            await self._transaction(self._leave)

    # --- the Consumer port ---

    async def poll(self, *, max_records: int, wait_s: float) -> Sequence[Record]:
        until = time.monotonic() + wait_s
        while True:
            self._polled_at = time.monotonic()
            self.records_bell.clear()
            if self._unwanted or self._expired():
                await self._settle(give_up=True)
            if self._positions and (records := await self._next(max_records)):
                return records
            left = until - time.monotonic()
            if left <= 0:
                return []
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self.records_bell.wait()

    async def _next(self, max_records: int) -> list[Record]:
        asked = dict(self._positions)
        rows = await self._bus._read(asked, max_records)
        valid = {place for place, n in asked.items() if self._positions.get(place) == n}  # not moved while we read
        records: list[Record] = []
        for row in rows:
            if row.place in valid:
                self._positions.pop(row.place)
                self._positions[row.place] = row.n + 1
                records.append(_record(row, self._at[row.place]))
        return records

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        sql = sa.text("""
            UPDATE bus.offsets o SET next = t.next
            FROM unnest(CAST(:places AS integer[]), CAST(:nexts AS bigint[])) AS t(place, next)
            WHERE o.grp = :grp AND o.place = t.place AND o.holder = :me
        """)
        ids = {self._id_of[at]: n for at, n in sorted(offsets.items()) if at in self._id_of}
        places, nexts = list(ids), list(ids.values())

        async def write(conn: AsyncConnection) -> None:
            await conn.execute(sql, {"places": places, "nexts": nexts, "grp": self.group, "me": self._id})

        if ids:
            await self._transaction(write)

    async def rewind(self) -> None:
        async with self._settling:
            self._positions.clear()
            await self._transaction(self._read_holdings)
            self.records_bell.set()

    async def lag(self) -> Mapping[TopicPartition, int]:
        sql = sa.text("""
            SELECT p.id, p.next - GREATEST(o.next, COALESCE(
                (SELECT n FROM bus.records r WHERE r.place = p.id ORDER BY n LIMIT 1), p.next)) AS lag
            FROM bus.offsets o JOIN bus.places p ON p.id = o.place
            WHERE o.grp = :grp AND o.holder = :me
        """)
        rows = await self._bus._rows(sql, grp=self.group, me=self._id)
        return {self._at[row.id]: max(0, row.lag) for row in rows if row.id in self._at}

    # --- membership ---

    def _expired(self) -> bool:
        return self._beat is not None and self._beat.done()

    async def _beat_for_ever(self) -> None:
        """Renew the lease while the member polls, and look again whenever the group changes."""
        while time.monotonic() - self._polled_at < self._bus._max_poll_s:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._bus._lease_s / 3):
                    await self.group_bell.wait()
            self.group_bell.clear()
            with contextlib.suppress(Later):
                await self._settle(give_up=False)

    async def _settle(self, *, give_up: bool) -> None:
        """Renew the lease, take what is due to this member and free, and give up what is not, if told."""
        async with self._settling:
            if self._expired():
                self._beat = asyncio.create_task(self._beat_for_ever())
            before = set(self._positions)

            async def settle(conn: AsyncConnection) -> None:
                await self._renew(conn)
                due = self._due(await self._living(conn))
                if give_up:
                    await self._release(conn, keep=due)
                await self._claim(conn, due)
                await self._read_holdings(conn)
                self._unwanted = set(self._positions) - due

            await self._transaction(settle)
            if self._unwanted or set(self._positions) != before:
                self.records_bell.set()

    async def _transaction(self, steps: Callable[[AsyncConnection], Coroutine[Any, Any, None]]) -> None:
        with database_errors_are_later():
            async with self._bus._engine.begin() as conn:
                await steps(conn)

    async def _renew(self, conn: AsyncConnection) -> None:
        """Under the group's lock until the commit. The dead are forgotten; who is new is made known."""
        await self._lock_group(conn)
        sql = sa.text("""
            INSERT INTO bus.members (grp, member, topics, expires)
            VALUES (:grp, :me, CAST(:topics AS text[]), clock_timestamp() + CAST(:lease AS interval))
            ON CONFLICT (grp, member) DO UPDATE SET expires = EXCLUDED.expires RETURNING xmax = 0 AS new
        """)
        lease = timedelta(seconds=self._bus._lease_s)
        new = await conn.scalar(sql, {"grp": self.group, "me": self._id, "topics": self._topics, "lease": lease})
        dead = sa.text("DELETE FROM bus.members WHERE grp = :grp AND expires < clock_timestamp()")
        gone = (await conn.execute(dead, {"grp": self.group})).rowcount
        if new or gone:
            await self._changed(conn)

    async def _lock_group(self, conn: AsyncConnection) -> None:
        sql = sa.text("SELECT pg_advisory_xact_lock(hashtext('leadpact_bus'), hashtext(:grp))")
        await conn.execute(sql, {"grp": self.group})

    async def _living(self, conn: AsyncConnection) -> Sequence[Any]:
        sql = sa.text("SELECT member, topics FROM bus.members WHERE grp = :grp ORDER BY member")
        return (await conn.execute(sql, {"grp": self.group})).all()

    def _due(self, living: Sequence[Any]) -> set[int]:
        """What this member should hold: a range of each topic, the same numbers of all."""
        due: set[int] = set()
        for topic in self._topics:
            members = [row.member for row in living if topic in row.topics]
            ids = [id for id, at in self._at.items() if at.topic == topic]
            due |= {id for n, id in enumerate(ids) if members[n * len(members) // len(ids)] == self._id}
        return due

    async def _release(self, conn: AsyncConnection, *, keep: set[int]) -> None:
        sql = sa.text("""
            UPDATE bus.offsets SET holder = NULL
            WHERE grp = :grp AND holder = :me AND NOT place = ANY(CAST(:keep AS integer[]))
        """)
        if (await conn.execute(sql, {"grp": self.group, "me": self._id, "keep": list(keep)})).rowcount:
            await self._changed(conn)

    async def _claim(self, conn: AsyncConnection, due: set[int]) -> None:
        sql = sa.text("""
            INSERT INTO bus.offsets AS o (grp, place, holder)
            SELECT :grp, place, :me FROM unnest(CAST(:due AS integer[])) AS place
            ON CONFLICT (grp, place) DO UPDATE SET holder = EXCLUDED.holder
            WHERE o.holder IS NULL OR o.holder NOT IN (SELECT member FROM bus.members m WHERE m.grp = o.grp)
            RETURNING o.place
        """)
        for row in await conn.execute(sql, {"grp": self.group, "me": self._id, "due": sorted(due)}):
            self._positions.pop(row.place, None)  # somebody may have held it since

    async def _read_holdings(self, conn: AsyncConnection) -> None:
        """Partitions still held go on where they were; new ones begin at the committed offset."""
        sql = sa.text("SELECT place, next FROM bus.offsets WHERE grp = :grp AND holder = :me ORDER BY place")
        rows = (await conn.execute(sql, {"grp": self.group, "me": self._id})).all()
        committed = {row.place: row.next for row in rows if row.place in self._at}
        kept = {place: n for place, n in self._positions.items() if place in committed}
        self._positions = {**{place: n for place, n in committed.items() if place not in kept}, **kept}

    async def _leave(self, conn: AsyncConnection) -> None:
        mine = {"grp": self.group, "me": self._id}
        await self._lock_group(conn)
        await conn.execute(sa.text("UPDATE bus.offsets SET holder = NULL WHERE grp = :grp AND holder = :me"), mine)
        await conn.execute(sa.text("DELETE FROM bus.members WHERE grp = :grp AND member = :me"), mine)
        await self._changed(conn)

    async def _changed(self, conn: AsyncConnection) -> None:
        """Have the other members look again."""
        await self._bus._notify(conn, [self.group], sender="")


async def _lock_heads(conn: AsyncConnection, places: Sequence[int]) -> dict[int, int]:
    """The next offset of each partition, locked until the commit; in one order, so that nobody waits in a ring."""
    sql = "SELECT id, next FROM bus.places WHERE id = ANY(CAST(:ids AS integer[])) ORDER BY id FOR UPDATE"
    rows = await conn.execute(sa.text(sql), {"ids": list(places)})
    return {row.id: row.next for row in rows}


def _advance(heads: dict[int, int], place: int) -> int:
    number = heads[place]
    heads[place] = number + 1
    return number


async def _insert(
    conn: AsyncConnection,
    heads: Mapping[int, int],
    places: Sequence[int],
    numbers: Sequence[int],
    records: Sequence[NewRecord],
) -> None:
    """Append the records and move the heads, in one statement."""
    sql = sa.text("""
        WITH moved AS (
            UPDATE bus.places p SET next = h.next
            FROM unnest(CAST(:ids AS integer[]), CAST(:nexts AS bigint[])) AS h(id, next) WHERE p.id = h.id
        )
        INSERT INTO bus.records (place, n, at, key, value, headers)
        SELECT place, n, clock_timestamp(), key, value, headers
        FROM unnest(CAST(:places AS integer[]), CAST(:numbers AS bigint[]), CAST(:keys AS bytea[]),
                    CAST(:values AS bytea[]), CAST(:headers AS bytea[])) AS t(place, n, key, value, headers)
    """)
    values = {
        "ids": list(heads),
        "nexts": list(heads.values()),
        "places": places,
        "numbers": numbers,
        "keys": [_bytes(record.key) for record in records],
        "values": [record.value for record in records],
        "headers": [_headers_to_bytes(record.headers) for record in records],
    }
    await conn.execute(sql, values)


def _choose(places: Sequence[int], key: str) -> int:
    return places[zlib.crc32(_bytes(key)) % len(places)]


def _bytes(text: str) -> bytes:
    # As bytes, because a text of PostgreSQL cannot hold every string and would fail its neighbours too.
    return text.encode("utf-8", "surrogatepass")


def _headers_to_bytes(headers: Headers) -> bytes:
    return json.dumps(headers, separators=(",", ":")).encode() if headers else b""


def _record(row: Any, at: TopicPartition) -> Record:
    return Record(
        topic=at.topic,
        partition=at.partition,
        offset=row.n,
        key=row.key.decode("utf-8", "surrogatepass"),
        value=row.value,
        packed=row.headers,
        unpack=_bytes_to_headers,
    )


def _bytes_to_headers(packed: bytes) -> Headers:
    return tuple((name, value) for name, value in json.loads(packed)) if packed else ()


def _topic_missing(topics: Iterable[str]) -> Later:
    return Later("topic_missing", _missing_text(topics))


def _missing_text(topics: Iterable[str]) -> str:
    return f"there is no topic {', '.join(sorted(topics))}: run leadpact migrate"


def _same(error: Exception) -> Exception:
    """An error for one of several callers: a traceback belongs to one of them alone."""
    if isinstance(error, Later):
        fresh = Later(error.code, error.message, after_s=error.after_s)
        fresh.__cause__ = error
        return fresh
    return error
