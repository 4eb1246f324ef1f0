"""The one loop: inbox, transaction, handler, outbox, offsets, dead letters. Only this module commits.

A service gives a `Worker`: which topics it reads, a pure handler for each message type, and how
its state is loaded and saved for many keys at once. From that this module keeps the promises:

- State, outgoing messages and whatever else `save` writes are one transaction (promise 4).
- A message known to the inbox is not handled again (promise 2). The inbox row is written first, so
  two members that hold the same records for a moment wait for each other instead of both deciding.
- A message about a key that passes it on (`passes_on`: a lead that became part of another) is decided on
  for whom it is passed on to, in the same transaction. All rows of a transaction are locked at once, in
  the order of their keys: when one of them names a key that is not among them, it begins again with that.
- A message that cannot be decoded, is refused, or makes its handler or the database fail goes to
  `dead.letters` with its bytes, alone (promise 3); it leaves no inbox row, so a replay is heard.
- A turn takes one snapshot of the agreements in force, and everything in it is decided by that. Which
  versions it was decided by is written in the same transaction (`shared/versions.py`).
- Outgoing messages are rows of the outbox, published in order by one relay per service, by
  whichever instance holds its lock. Rows of one lead are written under that lead's row lock, so
  their numbers rise in the order of their commits (promise 5). A row that the bus refuses for good
  (too large) stays, marked `refused`, for a person; those behind it go on.

What to do when something fails, all of it: Refused and what blames the data: dead letter. Later,
and a database or broker that is away: wait, and try the same records again. Any other error that
one message causes, in a handler, a load or a save: dead letter, and logged as an error. Broken: the
process stops. What is none of these is nobody's fault here: the task starts again and nothing is lost.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared import events, versions
from shared.agreement import Agreement, Agreements, InForce
from shared.agreement.in_force import TakenUp
from shared.bus import Bus, Consumer, Headers, NewRecord, Record
from shared.clock import Clock
from shared.database import blames_data, database_errors_are_later, listening
from shared.errors import Broken, Later, LeadpactError, Refused
from shared.events import DeadLetter, Message, Topic
from shared.log import Log
from shared.metrics import CommonMetrics

S = TypeVar("S")

log = Log("leadpact.work")

BATCH_RECORDS: Final = 1_000
POLL_WAIT_S: Final = 1.0
RELAY_ROWS: Final = 1000
RELAY_FALLBACK_S: Final = 5.0  # when a NOTIFY was lost with its connection
INBOX_KEEP: Final = timedelta(days=14)  # longer than topics keep records and the CRM keeps retrying
HOUSEKEEPING_S: Final = 600.0
WATCH_S: Final = 2.0
# What code raises about what it was given, as opposed to a server that is away.
FAULTS: Final = (
    *(ArithmeticError, AssertionError, AttributeError, LookupError, RecursionError, TypeError, ValueError),
    msgspec.MsgspecError,
)


class Facts(msgspec.Struct, Generic[S], frozen=True, kw_only=True):
    """What a decision may know besides the state and the message."""

    now: datetime
    agreement: Agreement
    key: str = ""  # what is decided on: whom the message's own key passes it on to, or that key
    found: Any = None  # what `prepare` brought for the batch
    others: Mapping[str, S] = msgspec.field(default_factory=dict)  # states of the message's further keys


class Decision(msgspec.Struct, Generic[S], frozen=True, kw_only=True):
    """What a handler decided. `state` is the very same object when nothing changed.

    A service may subclass it to hand more to its `save`.
    """

    state: S
    messages: tuple[Message, ...] = ()
    others: Mapping[str, S] = msgspec.field(default_factory=dict)


Handler = Callable[[S, Any, Facts[S]], Decision[S]]
Decide = Callable[[S, Facts[S]], Decision[S]]  # a handler without a message: of a command, or of what is due
Claim = Callable[[AsyncConnection, datetime], Awaitable[Mapping[str, S]]]


@dataclass(frozen=True, kw_only=True)
class Changes(Generic[S]):
    """What one transaction has to save: the changed states, what was loaded `before`, and the decisions in order."""

    now: datetime
    before: Mapping[str, S]
    states: Mapping[str, S]
    decisions: Sequence[tuple[str, Decision[S]]]


@dataclass(frozen=True, kw_only=True)
class Worker(Generic[S]):
    """What a service gives to the one loop.

    `load` returns the states of those keys that exist, and locks their rows (in the order of the
    keys) until the transaction ends. `prepare` may do slow or outside reads before it starts, and
    does them again when a batch has to be tried again. `keys` names what a message is about, the
    key whose state is decided on first; `passes_on` tells for whom a state takes a message ("": itself).
    `committed` gets what was decided once it is committed. `part` names a
    further loop of the same service, which reads topics of its own and so waits for no other; outbox
    and inbox are the service's.
    """

    service: str
    topics: tuple[Topic, ...]
    handlers: Mapping[type[Message], Handler[S]]
    ignored: frozenset[type[Message]]
    new: Callable[[str], S]
    load: Callable[[AsyncConnection, Sequence[str]], Awaitable[Mapping[str, S]]]
    save: Callable[[AsyncConnection, Changes[S]], Awaitable[None]]
    committed: Callable[[Sequence[tuple[str, Decision[S]]]], None] = lambda decisions: None
    prepare: Callable[[Sequence[Message]], Awaitable[Any]] | None = None
    part: str = ""
    keys: Callable[[Message], Sequence[str]] = lambda message: (message.key,)
    passes_on: Callable[[S, Message], str] = lambda state, message: ""

    def about(self, message: Message, states: Mapping[str, S]) -> tuple[str, ...]:
        """What `message` is decided on, as far as `states` tell whom it is passed on to; each once."""
        return tuple(dict.fromkeys(self._taker(key, message, states) for key in self.keys(message)))

    def _taker(self, key: str, message: Message, states: Mapping[str, S]) -> str:
        passed: set[str] = set()  # an older version may have stored a circle
        while key in states and key not in passed and (further := self.passes_on(states[key], message)):
            passed.add(key)
            key = further
        return key

    @property
    def group(self) -> str:
        """Who reads the topics together."""
        return ".".join(filter(None, ("leadpact", self.service, self.part)))


@dataclass(frozen=True, slots=True)
class _Taken:
    """A record with what it says; `id` is the message's as the inbox writes it."""

    record: Record
    message: Message
    id: str


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What `prepare` brought, which may be nothing."""

    found: Any


class _Further(Exception):
    """What was loaded passes messages on to keys that were not."""

    def __init__(self, keys: Set[str]) -> None:
        super().__init__(len(keys))
        self.keys = keys


class Traffic:
    """How busy the loop over the topics is here, for work that lets it go first."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self._busy = self._more = False
        self._turns = self._last = 0

    async def let_pass(self, turns: int) -> None:
        """Return when the loop has nothing to do; while it always has, once for each so many turns of it."""
        while self._busy or (self._more and self._turns - self._last < turns):
            self._changed.clear()
            await self._changed.wait()
        self._last = self._turns

    def came(self, records: int) -> None:
        """The loop has so many records in hand; when they are as many as it takes, there are likely more."""
        self._busy, self._more = bool(records), records >= BATCH_RECORDS
        self._turns += self._busy
        self._changed.set()

    def done(self) -> None:
        """They are handled."""
        self._busy = False
        self._changed.set()

    def ended(self) -> None:
        """The loop stopped, for now."""
        self._busy = self._more = False
        self._changed.set()


class Work(Generic[S]):
    """A worker at work on one database and one bus."""

    def __init__(
        self,
        worker: Worker[S],
        *,
        engine: AsyncEngine,
        bus: Bus,
        clock: Clock,
        agreements: Agreements,
        metrics: CommonMetrics,
    ) -> None:
        self.worker = worker
        self._engine = engine
        self._bus = bus
        self._clock = clock
        self._agreements = agreements
        self._metrics = metrics
        self._outbox_filled = asyncio.Event()
        self.stuck: set[str] = set()  # keys that the last sweeps could not decide on
        self._recorded: set[TakenUp] = set()  # what is known to stand in our table of agreements
        self._after_commit: list[Callable[[], None]] = []
        self.traffic = Traffic()

    def after_commit(self, call: Callable[[], None]) -> None:
        """Have `call` called after each commit here, to wake whoever waits for rows."""
        self._after_commit.append(call)

    # --- the loop over the topics ---

    async def consume(self) -> None:
        """Read, decide, commit, for ever. Raises Later when something is away, to be called again."""
        topics = [str(topic) for topic in self.worker.topics]
        async with self._bus.consumer(self.worker.group, topics) as consumer:
            watch = asyncio.create_task(self._watch(consumer))
            try:
                while True:
                    records = await consumer.poll(max_records=BATCH_RECORDS, wait_s=POLL_WAIT_S)
                    self.traffic.came(len(records))
                    if records:
                        await self._insist(records)
                        await consumer.commit({r.place: r.offset + 1 for r in records})
                        self.traffic.done()
            finally:
                self.traffic.ended()
                watch.cancel()

    async def _insist(self, records: Sequence[Record]) -> None:
        """Handle `records`, however often it takes: the group keeps its members meanwhile."""
        while True:
            try:
                return await self.handle(records)
            except Later as error:
                log.warning("batch_waits", service=self.worker.service, code=error.code, after_s=error.after_s)
                await asyncio.sleep(error.after_s)

    async def handle(self, records: Sequence[Record]) -> None:
        """Decide and commit what `records` say, each once. Raises Later: then call it again with the same."""
        started = time.perf_counter()
        taken, dead = self._decode(records)
        await self._attempt(taken, dead, None)
        self._metrics.batch_seconds.labels(self.worker.service).observe(time.perf_counter() - started)

    def _decode(self, records: Sequence[Record]) -> tuple[list[_Taken], list[DeadLetter]]:
        taken: list[_Taken] = []
        dead: list[DeadLetter] = []
        for record in records:
            try:
                message = events.decode(record.topic, record.value)
                taken.append(_Taken(record, message, _canonical(message.id)))
            except Refused as error:
                dead.append(self._dead_letter(record, error.code, error.message))
        return taken, dead

    async def _attempt(self, taken: Sequence[_Taken], dead: Sequence[DeadLetter], prepared: _Prepared | None) -> None:
        """All of it in one transaction, but for the messages that make it fail."""
        try:
            prepared = prepared or _Prepared(await self._prepare(taken))
            with database_errors_are_later():
                await self._transact(taken, dead, prepared.found)
        except Exception as error:
            if not _blames_message(error):
                raise
            await self._narrow(taken, dead, prepared, error)

    async def _prepare(self, taken: Sequence[_Taken]) -> Any:
        if self.worker.prepare is None or not taken:
            return None
        return await self.worker.prepare([t.message for t in taken])

    async def _narrow(
        self, taken: Sequence[_Taken], dead: Sequence[DeadLetter], prepared: _Prepared | None, error: Exception
    ) -> None:
        """Find the messages at fault by halves, in order, and let only those go."""
        with database_errors_are_later():
            if dead:
                await self._transact([], dead, None)
            if len(taken) == 1:
                await self._transact([], [self._refusal(taken[0], error)], None)
                return
        half = len(taken) // 2
        for part in (taken[:half], taken[half:]):
            if part:
                await self._attempt(part, [], prepared)

    async def _transact(self, taken: Sequence[_Taken], dead: Sequence[DeadLetter], found: Any) -> None:
        """All of it in one transaction, which begins again when it takes more keys than were known."""
        further: set[str] = set()
        while True:
            try:
                return await self._transact_on(taken, dead, found, further)
            except _Further as error:
                further |= error.keys

    async def _transact_on(
        self, taken: Sequence[_Taken], dead: Sequence[DeadLetter], found: Any, further: Set[str]
    ) -> None:
        turn: _Turn[S] = _Turn(in_force=self._agreements.now, dead=list(dead))
        wanted = [t for t in taken if self._wants(t.message, turn)]
        async with self._engine.begin() as conn:
            turn.now = self._clock.now()
            fresh = await self._take_into_inbox(conn, wanted, turn)
            turn.begin(await self._load(conn, [t.message for t in fresh], further))
            self._decide(fresh, turn, found)
            await self._forget_refused(conn, turn.refused)
            await self._write(conn, turn)
        self._committed(turn)

    def _wants(self, message: Message, turn: _Turn[S]) -> bool:
        kind = type(message)
        if kind in self.worker.handlers:
            return True
        if kind not in self.worker.ignored:
            raise Broken("unlisted", f"{self.worker.service} neither handles nor ignores {kind.__name__}")
        turn.outcomes.append((kind.__name__, "ignored"))
        return False

    async def _take_into_inbox(self, conn: AsyncConnection, wanted: Sequence[_Taken], turn: _Turn[S]) -> list[_Taken]:
        new = await self._inbox(conn, [t.id for t in wanted])
        fresh: list[_Taken] = []
        for taken in wanted:
            if taken.id in new:
                new.discard(taken.id)
                fresh.append(taken)
            else:
                turn.outcomes.append((type(taken.message).__name__, "duplicate"))
        return fresh

    async def _inbox(self, conn: AsyncConnection, ids: Sequence[str]) -> set[str]:
        """Which of `ids` were not known yet; from now on they are. Waits for others that take the same.

        In one order, so that two who take the same ones do not wait for each other.
        """
        if not ids:
            return set()
        sql = f"""
            INSERT INTO {self.worker.service}.inbox (id, received_at)
            SELECT id, clock_timestamp() FROM unnest(CAST(:ids AS uuid[])) AS t(id)
            ON CONFLICT DO NOTHING RETURNING id
        """
        rows = await conn.execute(sa.text(sql), {"ids": sorted(set(ids))})
        return {row[0].hex for row in rows}

    async def _load(self, conn: AsyncConnection, fresh: Sequence[Message], further: Set[str]) -> dict[str, S]:
        """The states of all keys that `fresh` are about, locked. Raises _Further when `further` lacks one."""
        keys = sorted({key for message in fresh for key in self.worker.keys(message)} | further)
        loaded = dict(await self.worker.load(conn, keys)) if keys else {}
        states = {key: loaded[key] if key in loaded else self.worker.new(key) for key in keys}
        if missing := {key for message in fresh for key in self.worker.about(message, states)} - states.keys():
            raise _Further(missing)
        return states

    def _decide(self, fresh: Sequence[_Taken], turn: _Turn[S], found: Any) -> None:
        for taken in fresh:
            kind = type(taken.message).__name__
            try:
                self._decide_one(taken.message, turn, found)
                turn.outcomes.append((kind, "handled"))
            except Exception as error:
                turn.dead.append(self._refusal(taken, error))
                turn.refused.append(taken.id)
                turn.outcomes.append((kind, "dead"))

    def _decide_one(self, message: Message, turn: _Turn[S], found: Any) -> None:
        key, *others = self.worker.about(message, turn.states)
        facts = Facts(
            now=turn.now,
            agreement=turn.agreement_of(message.tenant),
            key=key,
            found=found,
            others={other: turn.states[other] for other in others},
        )
        turn.add(key, self.worker.handlers[type(message)](turn.states[key], message, facts))

    def _refusal(self, taken: _Taken, error: Exception) -> DeadLetter:
        """Why this message goes to dead.letters. Raises Later and Broken on: those are not about it."""
        if isinstance(error, Later | Broken):
            raise error
        kind, tenant = type(error).__name__, taken.message.tenant
        if isinstance(error, Refused):
            return self._dead_letter(taken.record, error.code, error.message, tenant=tenant)
        if isinstance(error, DBAPIError):
            detail = f"the database refused what it says: {kind}"
            return self._dead_letter(taken.record, "unstorable", detail, tenant=tenant)
        service, type_ = self.worker.service, type(taken.message).__name__
        log.error("handler_failed", error=error, service=service, type=type_, id=taken.id)
        return self._dead_letter(taken.record, "handler_failed", kind, tenant=tenant)

    async def _forget_refused(self, conn: AsyncConnection, ids: Sequence[str]) -> None:
        """So that a replay from dead.letters is heard."""
        if ids:
            sql = f"DELETE FROM {self.worker.service}.inbox WHERE id = ANY(CAST(:ids AS uuid[]))"
            await conn.execute(sa.text(sql), {"ids": list(ids)})

    # --- commands and clocks: the same transaction without a record ---

    async def command(
        self, key: str, decide: Decide[S], *, tenant: str, command_id: str, said_id: str | None = None
    ) -> Decision[S] | None:
        """Decide on one existing key. None when `command_id` was heard before, and with the same `said_id`.

        Raises Refused (`key_reused`) when it was heard with another, Refused (`unknown`) when the key
        does not exist, whatever `decide` refuses, Refused (`unstorable`) for what the database does
        not take, or Later.
        """
        turn: _Turn[S] = _Turn(in_force=self._agreements.now)
        try:
            with database_errors_are_later():
                async with self._engine.begin() as conn:
                    if not await self._is_new(conn, command_id, said_id):
                        return None
                    decision = await self._obey(conn, turn, key, decide, tenant=tenant)
        except DBAPIError as error:
            raise Refused("unstorable", f"the database refused what it says: {type(error).__name__}") from error
        self._committed(turn)
        return decision

    async def _is_new(self, conn: AsyncConnection, command_id: str, said_id: str | None) -> bool:
        fresh = await self._inbox(conn, [command_id, *([said_id] if said_id else [])])
        if fresh and command_id not in fresh:
            raise Refused("key_reused", "this key named another request before: give each its own")
        return bool(fresh)

    async def _obey(
        self, conn: AsyncConnection, turn: _Turn[S], key: str, decide: Decide[S], *, tenant: str
    ) -> Decision[S]:
        turn.now = self._clock.now()
        turn.begin(await self.worker.load(conn, [key]))
        if key not in turn.states:
            raise Refused("unknown", f"there is no lead {key}")
        decision = decide(turn.states[key], Facts(now=turn.now, agreement=turn.agreement_of(tenant), key=key))
        turn.add(key, decision)
        await self._write(conn, turn)
        return decision

    async def sweep(self, claim: Claim[S], decide: Decide[S], *, tenant_of: Callable[[str], str]) -> set[str]:
        """Decide on what `claim` finds due and locks; the keys of what was decided. Raises Later.

        A key that cannot be decided on or saved is left as it is, logged as an error, and holds up no other.
        """

        def judge(turn: _Turn[S], key: str) -> None:
            facts: Facts[S] = Facts(now=turn.now, agreement=turn.agreement_of(tenant_of(key)), key=key)
            turn.add(key, decide(turn.states[key], facts))

        with database_errors_are_later():
            try:
                turns = [await self._sweep_together(claim, judge)]
            except Exception as error:
                if not _blames_message(error):
                    raise
                turns = await self._sweep_each(claim, judge)
        turns = [turn for turn in turns if turn.decisions]  # or who found nothing would wake itself to look again
        for turn in turns:
            self._committed(turn)
        return {key for turn in turns for key, _ in turn.decisions}

    async def _sweep_together(self, claim: Claim[S], judge: Callable[[_Turn[S], str], None]) -> _Turn[S]:
        turn: _Turn[S] = _Turn(now=self._clock.now(), in_force=self._agreements.now)
        async with self._engine.begin() as conn:
            turn.begin(await claim(conn, turn.now))
            for key in list(turn.states):
                judge(turn, key)
            await self._write(conn, turn)
        self.stuck.difference_update(turn.before)
        return turn

    async def _sweep_each(self, claim: Claim[S], judge: Callable[[_Turn[S], str], None]) -> list[_Turn[S]]:
        """One key after the other, each in a savepoint of its own."""
        now, in_force, turns = self._clock.now(), self._agreements.now, []
        async with self._engine.begin() as conn:
            for key, state in (await claim(conn, now)).items():
                turn: _Turn[S] = _Turn(now=now, in_force=in_force)
                turn.begin({key: state})
                try:
                    async with conn.begin_nested():
                        judge(turn, key)
                        await self._write(conn, turn)
                except Exception as error:
                    if not _blames_message(error):
                        raise
                    self._left(key, error)
                else:
                    self.stuck.discard(key)
                    turns.append(turn)
        return turns

    def _left(self, key: str, error: Exception) -> None:
        """Say once, not at every sweep, that a key is left as it is. The key itself would name a lead."""
        if key not in self.stuck:
            self.stuck.add(key)
            log.error("sweep_failed", error=error, service=self.worker.service, stuck=len(self.stuck))

    # --- writing ---

    async def _write(self, conn: AsyncConnection, turn: _Turn[S]) -> None:
        if new := turn.used - self._recorded:
            await versions.record(conn, self.worker.service, new, turn.now)
        if turn.decisions:
            changes = Changes(now=turn.now, before=turn.before, states=turn.changed(), decisions=turn.decisions)
            await self.worker.save(conn, changes)
        messages = [*turn.messages(), *turn.dead]
        await self._fill_outbox(conn, messages)
        turn.told = bool(messages)

    async def _fill_outbox(self, conn: AsyncConnection, messages: Sequence[Message]) -> None:
        if not messages:
            return
        service = self.worker.service
        sql = f"""
            WITH filled AS (
                INSERT INTO {service}.outbox (topic, key, value, headers)
                SELECT topic, key, value, headers
                FROM unnest(CAST(:topics AS text[]), CAST(:keys AS text[]), CAST(:values AS bytea[]),
                            CAST(:headers AS bytea[])) WITH ORDINALITY AS t(topic, key, value, headers, n)
                ORDER BY n
            )
            SELECT pg_notify(:channel, '')
        """
        records = [to_record(message, source=service) for message in messages]
        await conn.execute(
            sa.text(sql),
            {
                "channel": f"leadpact_{service}_outbox",
                "topics": [r.topic for r in records],
                "keys": [r.key for r in records],
                "values": [r.value for r in records],
                "headers": [_pack(r.headers) for r in records],
            },
        )

    def _committed(self, turn: _Turn[S]) -> None:
        service = self.worker.service
        for (kind, outcome), count in Counter(turn.outcomes).items():
            self._metrics.messages.labels(service, kind, outcome).inc(count)
        for letter in turn.dead:
            self._metrics.dead_letters.labels(service, letter.reason).inc()
            log.warning("dead_letter", service=service, id=letter.id, reason=letter.reason)
        self._recorded |= turn.used
        self.worker.committed(turn.decisions)
        if turn.told:
            self._outbox_filled.set()
        for call in self._after_commit:
            call()

    def _dead_letter(self, record: Record, code: str, detail: str, *, tenant: str | None = None) -> DeadLetter:
        key = record.key.encode("utf-8", "replace").decode()  # what is dead must be writable
        return DeadLetter(
            id=events.identity("dead", self.worker.service, record.topic, record.partition, record.offset),
            tenant=key.rpartition(":")[0] if tenant is None else tenant,
            at=self._clock.now(),
            service=self.worker.service,
            source=record.topic,
            reason=code,
            detail=detail,
            original=record.value,
            original_key=key,
        )

    # --- the relay ---

    async def relay(self) -> None:
        """Publish the outbox in order, for ever; waits while another instance does. Raises Later."""
        with database_errors_are_later():
            async with self._engine.connect() as lock:
                try:
                    await self._become_relay(lock)
                    await self._relay_for_ever(lock)
                finally:
                    await lock.invalidate()  # the lock belongs to the session, which the pool would keep

    async def _relay_for_ever(self, lock: AsyncConnection) -> None:
        channel = f"leadpact_{self.worker.service}_outbox"
        async with listening(self._engine, channel, self._outbox_filled.set):
            while True:
                self._outbox_filled.clear()
                while await self._relay_some(lock):
                    pass
                await _wait(self._outbox_filled, RELAY_FALLBACK_S)

    async def _become_relay(self, lock: AsyncConnection) -> None:
        sql = sa.text("SELECT pg_try_advisory_lock(hashtext(:name))")
        while True:
            held = await lock.scalar(sql, {"name": f"leadpact_{self.worker.service}_relay"})
            await lock.commit()
            if held:
                return
            await asyncio.sleep(1.0)

    async def _relay_some(self, conn: AsyncConnection) -> int:
        """Publish the first rows, then delete them; how many. On the connection that holds the lock."""
        select = f"""
            SELECT seq, topic, key, value, headers FROM {self.worker.service}.outbox
            WHERE refused IS NULL ORDER BY seq LIMIT {RELAY_ROWS}
        """
        rows = (await conn.execute(sa.text(select))).all()
        await conn.commit()
        if rows:
            try:
                await self._bus.publish([_from_row(row) for row in rows])
            except Refused:
                await self._relay_each(conn, rows)
            else:
                await self._published(conn, rows)
        return len(rows)

    async def _relay_each(self, conn: AsyncConnection, rows: Sequence[Any]) -> None:
        """One after the other; the row that the bus refuses stays for a person."""
        for row in rows:
            try:
                await self._bus.publish([_from_row(row)])
            except Refused as error:
                await self._set_aside(conn, row, error)
            else:
                await self._published(conn, [row])

    async def _published(self, conn: AsyncConnection, rows: Sequence[Any]) -> None:
        delete = sa.text(f"DELETE FROM {self.worker.service}.outbox WHERE seq = ANY(CAST(:seqs AS bigint[]))")
        await conn.execute(delete, {"seqs": [row.seq for row in rows]})
        await conn.commit()

    async def _set_aside(self, conn: AsyncConnection, row: Any, error: Refused) -> None:
        service = self.worker.service
        mark = sa.text(f"UPDATE {service}.outbox SET refused = :code WHERE seq = :seq")
        await conn.execute(mark, {"code": error.code, "seq": row.seq})
        await conn.commit()
        self._metrics.dead_letters.labels(service, error.code).inc()
        log.error("outbox_row_refused", service=service, seq=row.seq, topic=row.topic, code=error.code)

    # --- keeping house ---

    async def housekeeping(self) -> None:
        """Forget old inbox rows, for ever. By the database's clock: topics keep records by real time, too."""
        sql = sa.text(
            f"DELETE FROM {self.worker.service}.inbox WHERE received_at < clock_timestamp() - CAST(:keep AS interval)"
        )
        while True:
            with database_errors_are_later():
                async with self._engine.begin() as conn:
                    await conn.execute(sql, {"keep": INBOX_KEEP})
            await asyncio.sleep(HOUSEKEEPING_S)

    async def _watch(self, consumer: Consumer) -> None:
        """Show how far behind we are, for ever; each of the two also while the other cannot be known."""
        while True:
            await self._shown(self._show_outbox())
            await self._shown(self._show_lag(consumer))
            await asyncio.sleep(WATCH_S)

    async def _shown(self, showing: Awaitable[None]) -> None:
        try:
            await showing
        except Later:
            pass
        except Exception as error:
            log.error("lag_unknown", error=error, service=self.worker.service)

    async def _show_lag(self, consumer: Consumer) -> None:
        by_topic = {str(topic): 0 for topic in self.worker.topics}
        for place, lag in (await consumer.lag()).items():
            by_topic[place.topic] += lag
        for topic, lag in by_topic.items():
            self._metrics.consumer_lag.labels(self.worker.service, topic).set(lag)

    async def _show_outbox(self) -> None:
        service = self.worker.service
        with database_errors_are_later():
            async with self._engine.connect() as conn:
                pending = await conn.scalar(sa.text(f"SELECT count(*) FROM {service}.outbox WHERE refused IS NULL"))
        self._metrics.outbox_pending.labels(service).set(pending or 0)

    def tasks(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """What has to run, by name."""
        return {"consume": self.consume, "relay": self.relay, "housekeeping": self.housekeeping}


@dataclass(kw_only=True)
class _Turn(Generic[S]):
    """One transaction as it comes about."""

    in_force: InForce
    now: datetime = datetime.min.replace(tzinfo=UTC)
    used: set[TakenUp] = field(default_factory=set)
    before: Mapping[str, S] = field(default_factory=dict)
    states: dict[str, S] = field(default_factory=dict)
    decisions: list[tuple[str, Decision[S]]] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    outcomes: list[tuple[str, str]] = field(default_factory=list)
    told: bool = False  # something is in the outbox now

    def agreement_of(self, tenant: str) -> Agreement:
        """By what the tenant's leads are judged in this turn. Raises Refused (`no_agreement`)."""
        taken = self.in_force.of(tenant)
        self.used.add(taken)
        return taken.agreement

    def begin(self, states: Mapping[str, S]) -> None:
        self.before, self.states = states, dict(states)

    def add(self, key: str, decision: Decision[S]) -> None:
        self.states |= {key: decision.state, **decision.others}
        self.decisions.append((key, decision))

    def changed(self) -> dict[str, S]:
        return {key: state for key, state in self.states.items() if state is not self.before.get(key)}

    def messages(self) -> list[Message]:
        """Each fact once, however many decisions tell it."""
        told = {message.id: message for _, decision in self.decisions for message in decision.messages}
        return list(told.values())


_is_canonical: Final = re.compile(r"[0-9a-f]{32}\Z").match


def _canonical(identity: str) -> str:
    """An identity as 32 hex digits, however it was written. Raises Refused (`undecodable`)."""
    if _is_canonical(identity):
        return identity
    try:
        return UUID(identity).hex
    except ValueError as error:
        raise Refused("undecodable", "its `id` is not 128 bits in hex digits") from error


def _blames_message(error: Exception) -> bool:
    """Whether the same message would fail again, however often it is tried."""
    if isinstance(error, LeadpactError):
        return isinstance(error, Refused)
    return blames_data(error) or isinstance(error, FAULTS)


def to_record(message: Message, *, source: str) -> NewRecord:
    """The message as a record, with CloudEvents attributes as headers."""
    kind = type(message)
    said = ("ce_id", message.id), ("ce_time", message.at.isoformat())
    headers = (*_headers_of(kind, source), *said)
    return NewRecord(topic=events.TOPIC_OF[kind], key=message.key, value=events.encode(message), headers=headers)


@cache
def _headers_of(kind: type[Message], source: str) -> Headers:
    return (
        ("ce_specversion", "1.0"),
        ("ce_type", f"leadpact.{kind.__name__}"),
        ("ce_source", f"leadpact/{source}"),
        ("content-type", "application/json"),
    )


def _from_row(row: Any) -> NewRecord:
    return NewRecord(topic=row.topic, key=row.key, value=row.value, headers=_unpack(row.headers))


_pack: Final = msgspec.json.Encoder().encode
_unpack: Final = msgspec.json.Decoder(Headers).decode


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
