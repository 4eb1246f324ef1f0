"""What shared.work promises, on a real PostgreSQL and on both engines of the bus: each promise, each failure."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from msgspec.structs import replace
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import events
from shared.bus.embedded import EmbeddedBus
from shared.errors import Broken, Later, Refused
from shared.events import ActivityLogged, Channel, Direction, Message, Outcome, PageVisited, identity
from shared.work import INBOX_KEEP, Decision, Facts
from tests.contract.conftest import Engine
from tests.contract.work_shop import (
    AGREEMENT,
    BUG,
    HUGE,
    NOW,
    NUL,
    ODD_KEYS,
    REFUSE,
    STRANGER,
    TENANT,
    Hooks,
    Shop,
    Tally,
    WatchedBus,
    form,
    make_schema,
    merge,
    name,
    new_record,
    records,
    until,
)


@pytest.fixture
async def shop(bus: Any, postgres: str) -> AsyncIterator[Shop]:
    """An instance on each engine of the bus."""
    shop = Shop(postgres, bus, await make_schema(postgres))
    yield shop
    await shop.close()


@pytest.fixture
async def desk(postgres: str) -> AsyncIterator[Shop]:
    """An instance for what has nothing to do with the bus."""
    desk = Shop(postgres, EmbeddedBus(postgres), await make_schema(postgres))
    yield desk
    await desk.bus.close()
    await desk.close()


@contextlib.asynccontextmanager
async def closing(*shops: Shop) -> AsyncIterator[None]:
    try:
        yield
    finally:
        for shop in shops:
            await shop.close()


# --- one decision, one transaction, once ---


async def test_what_was_read_is_decided_stored_and_told_in_the_order_of_the_lead(shop: Shop) -> None:
    said = [form(contact, word) for word in ("a", "b", "c") for contact in range(5)]
    await shop.bus.publish([new_record(message) for message in said])
    async with shop.open():
        await shop.has_seen(len(said))
        await shop.outbox_is_empty()
    assert await shop.words() == {contact: ["a", "b", "c"] for contact in range(5)}
    assert await shop.scores() == {contact: [1, 2, 3] for contact in range(5)}
    headers = [dict(record.headers) async for record in shop.bus.scan("lead.scores")]
    assert {(h["ce_type"], h["ce_source"]) for h in headers} == {("leadpact.LeadScored", f"leadpact/{shop.schema}")}


class Died(BaseException):
    """The process is gone: nothing can catch it."""


async def test_a_crash_between_saving_and_the_commit_leaves_nothing_and_the_next_instance_does_it_once(
    engine: Engine, shop: Shop
) -> None:
    async def die(_: AsyncConnection) -> None:
        raise Died

    doomed = shop.again(engine.open(), hooks=Hooks(saved=die))
    await shop.bus.publish([new_record(form(1, "a"))])
    async with closing(doomed):
        with pytest.raises(Died):
            await doomed.work.consume()
        assert await shop.stored() == {"inbox": 0, "outbox": 0, "leads": 0}
    async with shop.open():
        await shop.has_seen(1)
        await shop.outbox_is_empty()
    assert await shop.words() == {1: ["a"]}
    assert await shop.scores() == {1: [1]}


async def test_a_cancellation_between_saving_and_the_commit_leaves_nothing(desk: Shop) -> None:
    saved = asyncio.Event()

    async def hang(_: AsyncConnection) -> None:
        saved.set()
        await asyncio.Event().wait()

    doomed = desk.again(hooks=Hooks(saved=hang))
    async with closing(doomed):
        task = asyncio.create_task(doomed.work.handle(records(form(1, "a"))))
        await saved.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert await desk.stored() == {"inbox": 0, "outbox": 0, "leads": 0}
    await desk.work.handle(records(form(1, "a")))
    assert await desk.words() == {1: ["a"]}


async def test_a_commit_that_fails_leaves_neither_state_nor_message(desk: Shop) -> None:
    async def cut_off(conn: AsyncConnection) -> None:
        pid = await conn.scalar(sa.text("SELECT pg_backend_pid()"))
        await desk.execute("SELECT pg_terminate_backend(CAST(:pid AS int), 5000)", pid=pid)

    doomed = desk.again(hooks=Hooks(saved=cut_off))
    async with closing(doomed):
        with pytest.raises(Later):
            await doomed.work.handle(records(form(1, "a")))
    assert await desk.stored() == {"inbox": 0, "outbox": 0, "leads": 0}


async def test_a_crash_between_the_commit_and_the_offsets_does_nothing_twice(engine: Engine, shop: Shop) -> None:
    def die() -> None:
        raise Died

    doomed = shop.again(engine.open())
    doomed.work.after_commit(die)
    await shop.bus.publish([new_record(form(1, "a"))])
    async with closing(doomed):
        with pytest.raises(Died):
            await doomed.work.consume()
    async with shop.open():
        await shop.has_seen(1)
        await shop.outbox_is_empty()
    assert shop.outcomes() == {"duplicate": 1}
    assert await shop.words() == {1: ["a"]}
    assert await shop.scores() == {1: [1]}


async def test_a_message_that_comes_again_is_handled_once(shop: Shop) -> None:
    await shop.bus.publish([new_record(form(1, "a"))] * 3)
    async with shop.open():
        await shop.has_seen(3)
        await shop.bus.publish([new_record(form(1, "a"))])
        await shop.has_seen(4)
        await shop.outbox_is_empty()
    assert shop.outcomes() == {"handled": 1, "duplicate": 3}
    assert await shop.words() == {1: ["a"]}
    assert await shop.scores() == {1: [1]}


async def test_an_identity_is_the_same_however_it_is_written(desk: Shop) -> None:
    message = form(1, "a")
    written = [message.id, message.id.upper(), str(UUID(message.id))]
    await desk.work.handle(records(*(events.FormSubmitted(**_fields(message) | {"id": id_}) for id_ in written[1:])))
    await desk.work.handle(records(message))
    assert await desk.words() == {1: ["a"]}
    assert desk.outcomes() == {"handled": 1, "duplicate": 2}


def _fields(message: Any) -> dict[str, Any]:
    return {name_: getattr(message, name_) for name_ in type(message).__struct_fields__}


async def test_a_message_that_is_listed_as_ignored_leaves_no_trace(desk: Shop) -> None:
    visit = PageVisited(id=identity("visit"), tenant=TENANT, at=NOW, lead=name(1), url="https://x.example")
    await desk.work.handle(records(visit))
    assert await desk.stored() == {"inbox": 0, "outbox": 0, "leads": 0}
    assert desk.outcomes() == {"ignored": 1}


async def test_a_type_that_nobody_listed_stops_the_process_rather_than_being_skipped(desk: Shop) -> None:
    call = ActivityLogged(
        id=identity("call"), tenant=TENANT, at=NOW, lead=name(1), activity="call:1", channel=Channel.PHONE,
        direction=Direction.OUTBOUND, outcome=Outcome.SENT, seen_at=NOW,
    )  # fmt: skip
    with pytest.raises(Broken, match="ActivityLogged"):
        await desk.work.handle(records(form(1, "a"), call))
    assert await desk.stored() == {"inbox": 0, "outbox": 0, "leads": 0}


async def test_two_instances_that_hold_the_same_records_for_a_moment_decide_once(desk: Shop) -> None:
    count = 4000  # enough that the two meet in the middle
    said = [form(n % 10, "a", number=n) for n in range(count)]
    other = desk.again()
    async with closing(other):
        await asyncio.gather(desk.work.handle(records(*said)), other.work.handle(records(*reversed(said))))
        assert desk.outcomes() + other.outcomes() == {"handled": count, "duplicate": count}
    assert await desk.words() == {contact: ["a"] * (count // 10) for contact in range(10)}
    assert (await desk.stored())["outbox"] == count


async def test_a_merge_decides_on_all_its_leads_together(desk: Shop) -> None:
    await desk.work.handle(records(form(1, "a"), form(2, "b"), form(3, "c"), merge(1, 2, 3)))
    assert await desk.words() == {1: ["a", "b", "c"], 2: [], 3: []}


async def test_what_is_said_of_a_lead_that_became_part_of_another_is_decided_on_there(desk: Shop) -> None:
    await desk.work.handle(records(form(3, "c"), merge(2, 1), merge(3, 2)))
    await desk.work.handle(records(form(1, "a"), form(2, "b")))
    assert await desk.words() == {3: ["c", "a", "b"]}
    assert [row.version for row in await desk.rows("SELECT version FROM OUR.leads WHERE lead = :l", l=name(3))] == [3]


async def test_leads_that_merge_and_are_heard_of_late_in_two_instances_at_once_lose_nothing_and_nobody_waits_in_vain(
    desk: Shop,
) -> None:
    count = 30
    chains = [(n, n + count, n + 2 * count) for n in range(count)]
    merges = [merge(*pair) for a, b, c in chains for pair in ((a, b), (b, c))]
    said = [form(contact, f"{contact} {n}") for n in range(3) for chain in chains for contact in chain]
    other = desk.again()
    async with closing(other):
        await asyncio.gather(*_in_parts(desk, merges), *_in_parts(other, list(reversed(said))))
        await asyncio.gather(*_in_parts(desk, [form(c, "late") for c in range(3 * count)]), *_in_parts(other, merges))
    assert {contact: len(words) for contact, words in (await desk.words()).items() if words} == {
        first: 12 for first, _, _ in chains
    }


def _in_parts(shop: Shop, messages: Sequence[Message]) -> list[Awaitable[None]]:
    """Handled at once by several members, as of several partitions."""
    return [shop.work.handle(records(*messages[n::3])) for n in range(3)]


async def test_a_merge_reaches_what_other_partitions_still_tell(shop: Shop) -> None:
    """On the bus: the merged lead's own records come in whatever order beside the survivor's."""
    async with shop.open():
        for number in range(20):
            await shop.bus.publish([new_record(merge(number, number + 20)), new_record(form(number + 20, "late"))])
        await shop.has_seen(40)
    assert {contact: words for contact, words in (await shop.words()).items() if words} == {
        number: ["late"] for number in range(20)
    }


# --- one bad message goes alone ---


def spoilt(key: str, value: bytes) -> Callable[[], Any]:
    return lambda: replace(new_record(form(2, "never")), key=key, value=value)


BAD: dict[str, tuple[Callable[[], Any], str]] = {
    "bytes that are no text": (spoilt(name(2), b"\x00\xff\xfe"), "undecodable"),
    "nothing at all": (spoilt(name(2), b""), "undecodable"),
    "a type that this version does not know": (spoilt(name(2), b'{"type":"ContactSneezed"}'), "undecodable"),
    "a time without a zone": (
        spoilt(name(2), events.encode(form(2, "a")).replace(b"09:00:00Z", b"09:00:00")),
        "undecodable",
    ),
    "an identity that is none": (
        spoilt(name(2), events.encode(form(2, "a")).replace(form(2, "a").id.encode(), b"100")),
        "undecodable",
    ),
    "what its handler refuses": (lambda: new_record(form(2, REFUSE)), "no_use"),
    "what its handler stumbles over": (lambda: new_record(form(2, BUG)), "handler_failed"),
    "what the database refuses": (lambda: new_record(form(2, NUL)), "unstorable"),
    "a lead that the database refuses": (
        spoilt(name(2), events.encode(form(2, "a")).replace(b'62515:2"', b'62515:\\u0000"')),
        "unstorable",
    ),
    "a message whose keys cannot be told": (lambda: new_record(form(2, ODD_KEYS)), "handler_failed"),
    "a tenant without an agreement": (lambda: new_record(form(2, "a", tenant=STRANGER)), "no_agreement"),
}


@pytest.mark.parametrize("kind", BAD)
async def test_a_bad_message_goes_to_dead_letters_alone_with_its_bytes(shop: Shop, kind: str) -> None:
    bad, reason = BAD[kind][0](), BAD[kind][1]
    await shop.bus.publish([new_record(form(1, "a")), new_record(form(2, "b")), bad, new_record(form(2, "c"))])
    async with shop.open():

        async def done() -> bool:
            return shop.outcomes()["handled"] == 3 and len(await shop.dead()) >= 1

        await until(done)
        await shop.outbox_is_empty()
    assert await shop.words() == {1: ["a"], 2: ["b", "c"]}
    assert await shop.scores() == {1: [1], 2: [1, 2]}
    (letter,) = await shop.dead()
    assert (letter.reason, letter.original, letter.original_key) == (reason, bad.value, bad.key)
    assert (letter.service, letter.source) == (shop.schema, "crm.events")
    assert (await shop.stored())["inbox"] == 3
    assert shop.registry.get_sample_value(
        "leadpact_dead_letters_total", {"service": shop.schema, "reason": reason}
    ) == 1.0  # fmt: skip


REPLAYABLE = [REFUSE, BUG, NUL, ODD_KEYS]


@pytest.mark.parametrize("word", REPLAYABLE)
async def test_a_dead_letter_that_is_replayed_after_the_mending_is_heard_once(desk: Shop, word: str) -> None:
    bad = records(form(1, word))
    await desk.work.handle(bad)
    assert (await desk.stored())["inbox"] == 0
    mended = desk.again(hooks=Hooks(lenient=True))
    async with closing(mended):
        await mended.work.handle(bad)
        await mended.work.handle(bad)
    assert await desk.words() == {1: [word.strip("\0")]}


async def test_a_tenant_that_got_its_agreement_is_heard_when_its_letter_is_replayed(desk: Shop) -> None:
    bad = records(form(1, "a", tenant=STRANGER))
    await desk.work.handle(bad)
    mended = desk.again(agreement=AGREEMENT.model_copy(update={"tenant": None}))
    async with closing(mended):
        await mended.work.handle(bad)
        assert mended.outcomes() == {"handled": 1}


async def test_a_lead_whose_stored_state_cannot_be_read_holds_up_no_other(desk: Shop) -> None:
    await desk.work.handle(records(form(1, "a"), form(2, "b")))
    await desk.execute("UPDATE OUR.leads SET words = 'not JSON' WHERE lead = :lead", lead=name(2))
    await desk.work.handle(records(*(form(contact, "c") for contact in (1, 2, 3))))
    await desk.execute("UPDATE OUR.leads SET words = '[\"b\"]' WHERE lead = :lead", lead=name(2))
    assert await desk.words() == {1: ["a", "c"], 2: ["b"], 3: ["c"]}
    assert [reason async for reason in _dead_reasons(desk)] == ["handler_failed"]


async def _dead_reasons(desk: Shop) -> AsyncIterator[str]:
    for row in await desk.rows("SELECT value FROM OUR.outbox WHERE topic = 'dead.letters' ORDER BY seq"):
        yield json.loads(row.value)["reason"]


async def test_two_that_are_bad_in_different_ways_are_both_kept(desk: Shop) -> None:
    garbage = replace(records(form(3, "c"))[0], value=b"{", offset=9)
    await desk.work.handle([*records(form(1, "a"), form(2, NUL)), garbage])
    assert sorted([reason async for reason in _dead_reasons(desk)]) == ["undecodable", "unstorable"]
    assert await desk.words() == {1: ["a"]}


async def test_what_was_prepared_is_not_asked_for_again_because_the_database_refuses_one(desk: Shop) -> None:
    asked = 0

    async def count() -> None:
        nonlocal asked
        asked += 1

    desk.hooks.prepare = count
    await desk.work.handle(records(form(1, "a"), form(2, NUL), form(3, "c")))
    assert asked == 1


async def test_many_bad_ones_among_many_good_ones_change_neither_the_good_ones_nor_their_order(desk: Shop) -> None:
    said = [form(n % 7, NUL if n % 10 == 3 else f"{n}", number=n) for n in range(100)]
    await desk.work.handle(records(*said))
    expected: dict[int, list[str]] = {contact: [] for contact in range(7)}
    for n in range(100):
        if n % 10 != 3:
            expected[n % 7].append(f"{n}")
    assert await desk.words() == expected
    assert [reason async for reason in _dead_reasons(desk)] == ["unstorable"] * 10


@pytest.mark.parametrize(
    ("error", "reason"),
    [(ValueError("the CRM said something odd"), "handler_failed"), (Refused("not_ours", "of another CRM"), "not_ours")],
)
async def test_a_failing_preparation_that_blames_one_message_lets_the_others_go(
    desk: Shop, error: Exception, reason: str
) -> None:
    asked: list[int] = []

    class Picky(Shop):
        async def _prepare(self, messages: Any) -> None:
            asked.append(len(messages))
            if any(message.form == "b" for message in messages):
                raise error

    picky = Picky(desk.uri, desk.bus, desk.schema)
    async with closing(picky):
        await picky.work.handle(records(form(1, "a"), form(2, "b"), form(3, "c"), form(4, "d")))
    assert await desk.words() == {1: ["a"], 3: ["c"], 4: ["d"]}
    assert [reason async for reason in _dead_reasons(desk)] == [reason]
    assert asked == [4, 2, 1, 1, 2]


async def test_of_an_unexpected_error_the_log_tells_the_place_and_not_the_person(
    desk: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    from shared.log import JsonLines

    await desk.work.handle(records(form(1, BUG)))
    (error,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    line = JsonLines().format(error)
    assert json.loads(line)["event"] == "handler_failed"
    assert json.loads(line)["error"] == "KeyError"
    assert "ana@example.test" not in line


# --- what is away comes back ---


async def test_later_from_the_preparation_keeps_the_membership_and_is_tried_until_it_works(
    engine: Engine, shop: Shop
) -> None:
    tries = 0

    async def busy() -> None:
        nonlocal tries
        tries += 1
        if tries <= 4:
            raise Later("crm_busy", "the CRM says 429", after_s=0.01)

    watched = WatchedBus(engine.open())
    waiting = shop.again(watched, hooks=Hooks(prepare=busy))  # type: ignore[arg-type]
    await shop.bus.publish([new_record(form(1, "a"))])
    async with closing(waiting), waiting.open():
        await waiting.has_seen(1)
        await waiting.outbox_is_empty()
    assert (tries, watched.joined) == (5, 1)
    assert await shop.words() == {1: ["a"]}
    assert await shop.scores() == {1: [1]}


async def test_a_database_that_drops_every_connection_during_a_batch_loses_nothing(engine: Engine, shop: Shop) -> None:
    dropped = 0

    async def drop(conn: AsyncConnection) -> None:
        nonlocal dropped
        dropped += 1
        if dropped == 1:
            await drop_connections(shop.uri)

    hurt = shop.again(engine.open(), hooks=Hooks(saved=drop))
    said = [form(contact, word) for word in ("a", "b") for contact in range(10)]
    async with closing(hurt), hurt.open():
        await shop.bus.publish([new_record(message) for message in said])
        await hurt.has_seen(len(said))
        await hurt.outbox_is_empty()
        await drop_connections(shop.uri)
        await publish_surely(shop, form(1, "c"))
        await until(lambda: _has_words(hurt, 1, ["a", "b", "c"]))
        await until(lambda: _has_scores(shop, 1, {1, 2, 3}))
    assert dropped >= 2
    assert await shop.words() == {contact: ["a", "b", *(["c"] if contact == 1 else [])] for contact in range(10)}
    assert {contact: sorted(set(found)) for contact, found in (await shop.scores()).items()} == {
        contact: [1, 2, *([3] if contact == 1 else [])] for contact in range(10)
    }


async def drop_connections(uri: str) -> None:
    """End every session of the project but the one that does it."""
    from shared.database import make_engine

    engine = make_engine(uri, pool_size=1)
    async with engine.connect() as conn:
        await conn.execute(
            sa.text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'leadpact' AND pid <> pg_backend_pid()"
            )
        )
    await engine.dispose()


async def publish_surely(shop: Shop, message: Any) -> None:
    async def published() -> bool:
        try:
            await shop.bus.publish([new_record(message)])
        except Later:
            return False
        return True

    await until(published)


async def _has_words(shop: Shop, contact: int, words: list[str]) -> bool:
    with contextlib.suppress(Exception):  # its own connections were dropped too
        return (await shop.words()).get(contact) == words
    return False


async def _has_scores(shop: Shop, contact: int, versions: set[int]) -> bool:
    with contextlib.suppress(Exception):
        return set((await shop.scores()).get(contact, ())) == versions
    return False


# --- the outbox ---


async def test_what_two_instances_decide_on_the_same_leads_is_told_in_the_order_of_the_versions(
    engine: Engine, shop: Shop
) -> None:
    other = shop.again(engine.open())
    async with closing(other):
        for word in "abcdef":
            await asyncio.gather(
                shop.work.handle(records(*(form(contact, word, number=1) for contact in range(20)))),
                other.work.handle(records(*(form(contact, word, number=2) for contact in reversed(range(20))))),
            )
    async with shop.open():
        await shop.outbox_is_empty()
    assert await shop.scores() == {contact: list(range(1, 13)) for contact in range(20)}


async def test_a_relay_killed_between_publishing_and_deleting_publishes_again_under_the_same_identity(
    engine: Engine, shop: Shop
) -> None:
    await shop.work.handle(records(form(1, "a"), form(1, "b")))
    doomed = shop.again(dying := WatchedBus(engine.open(), dies_after=True))  # type: ignore[arg-type]
    async with closing(doomed):
        task = asyncio.create_task(doomed.work.relay())
        await dying.has_died.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    async with shop.open():
        await shop.outbox_is_empty()
    assert await shop.scores() == {1: [1, 2, 1, 2]}
    ids = [json.loads(record.value)["id"] async for record in shop.bus.scan("lead.scores")]
    assert ids[:2] == ids[2:]


async def test_one_relay_publishes_at_a_time_and_another_takes_over_when_it_dies(engine: Engine, shop: Shop) -> None:
    buses = [WatchedBus(engine.open()) for _ in range(2)]
    first, second = (shop.again(bus) for bus in buses)  # type: ignore[arg-type]
    async with closing(first, second):
        relays = [asyncio.create_task(one.work.relay()) for one in (first, second)]
        try:
            await _relayed(shop, form(1, "a"), form(1, "b"))
            await _relayed(shop, form(1, "c"))
            holder = 0 if buses[0].published else 1
            assert len(buses[holder].published) == 3
            assert buses[1 - holder].published == []
            relays[holder].cancel()
            await _relayed(shop, form(1, "d"))
            assert len(buses[1 - holder].published) == 1
        finally:
            await _cancelled(*relays)
    assert await shop.scores() == {1: [1, 2, 3, 4]}


async def test_a_relay_that_lost_its_session_has_lost_the_lock_and_says_so(engine: Engine, shop: Shop) -> None:
    first = shop.again(engine.open())
    async with closing(first):
        relay = asyncio.create_task(first.work.relay())
        await _relayed(shop, form(1, "a"))
        assert await _end_lock_holders(shop) == 1
        await shop.work.handle(records(form(1, "b")))
        with pytest.raises(Later):
            await relay
    async with shop.open():
        await shop.outbox_is_empty()
    assert await shop.scores() == {1: [1, 2]}


async def _relayed(shop: Shop, *messages: Any) -> None:
    await shop.work.handle(records(*messages))
    await shop.outbox_is_empty()


async def _end_lock_holders(shop: Shop) -> int:
    rows = await shop.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_locks"
        " WHERE locktype = 'advisory' AND granted AND objid = CAST(hashtext(:name) AS bigint) & 4294967295",
        name=f"leadpact_{shop.schema}_relay",
    )
    return len(rows)


async def _cancelled(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_message_too_large_for_the_bus_is_set_aside_with_its_bytes_and_the_others_go_on(
    engine: Engine, shop: Shop
) -> None:
    await shop.work.handle(records(form(1, "a"), form(1, HUGE), form(1, "b"), form(2, "c")))
    async with shop.open():
        await shop.outbox_is_empty()
    left = await shop.rows("SELECT refused, length(value) AS size FROM OUR.outbox")
    if engine.name == "embedded":  # it has no such limit
        assert (await shop.scores(), left) == ({1: [1, 2, 3], 2: [1]}, [])
        return
    assert {contact: sorted(set(versions)) for contact, versions in (await shop.scores()).items()} == {
        1: [1, 3],
        2: [1],
    }
    assert [row.refused for row in left] == ["record_too_large"]
    assert left[0].size > 2_000_000
    labels = {"service": shop.schema, "reason": "record_too_large"}
    assert shop.registry.get_sample_value("leadpact_dead_letters_total", labels) == 1.0


@pytest.mark.kafka
@pytest.mark.parametrize("engine", ["kafka"], indirect=True)
async def test_a_dead_letter_too_large_for_the_bus_keeps_its_bytes_in_the_outbox(shop: Shop) -> None:
    garbage = b"x" * 900_000  # it came by the bus, and is a third longer in base64
    await shop.bus.publish([new_record(form(1, "a"), garbage), new_record(form(2, "b"))])
    set_aside = "SELECT value FROM OUR.outbox WHERE refused = 'record_too_large'"

    async def kept() -> bool:
        return bool(await shop.rows(set_aside))

    async with shop.open():
        await until(kept)
        await shop.has_seen(1)
        await shop.outbox_is_empty()
    assert set((await shop.scores())[2]) == {1}
    ((value,),) = await shop.rows(set_aside)
    letter = events.decode("dead.letters", value)
    assert isinstance(letter, events.DeadLetter)
    assert letter.original == garbage


async def test_how_far_behind_it_is_can_be_seen(shop: Shop) -> None:
    gate = asyncio.Event()
    held = shop.again(hooks=Hooks(prepare=gate.wait))  # type: ignore[arg-type]
    await shop.work.handle(records(form(9, "a")))
    await shop.bus.publish([new_record(form(contact, "a")) for contact in range(5)])

    def shown() -> tuple[float | None, float | None]:
        lag = {"service": shop.schema, "topic": "crm.events"}
        pending = held.registry.get_sample_value("leadpact_outbox_pending", {"service": shop.schema})
        return held.registry.get_sample_value("leadpact_consumer_lag", lag), pending

    async def shows_both() -> bool:
        await shop.stored()
        return shown() == (5.0, 1.0)

    async with closing(held):
        task = asyncio.create_task(held.work.consume())
        try:
            await until(shows_both)
        finally:
            await _cancelled(task)


async def test_old_inbox_rows_are_forgotten_and_younger_ones_kept(desk: Shop) -> None:
    await desk.work.handle(records(form(1, "a")))
    await desk.execute(
        f"UPDATE {desk.schema}.inbox SET received_at = received_at - CAST(:age AS interval)", age=INBOX_KEEP
    )
    await desk.work.handle(records(form(2, "b")))
    desk.clock.advance(INBOX_KEEP * 2)  # business time may run fast; what topics keep does not
    task = asyncio.create_task(desk.work.housekeeping())

    async def one_left() -> bool:
        return (await desk.stored())["inbox"] == 1

    try:
        await until(one_left)
    finally:
        await _cancelled(task)
    await desk.work.handle(records(form(2, "b")))
    assert desk.outcomes()["duplicate"] == 1


# --- commands ---


def add(word: str) -> Callable[[Tally, Facts[Tally]], Decision[Tally]]:
    def decide(tally: Tally, facts: Facts[Tally]) -> Decision[Tally]:
        return Decision(state=dataclasses.replace(tally, version=tally.version + 1, words=(*tally.words, word)))

    return decide


def refuse(tally: Tally, facts: Facts[Tally]) -> Decision[Tally]:
    raise Refused("impossible", "not now")


async def test_a_command_sent_at_once_and_again_is_done_once(desk: Shop) -> None:
    await desk.work.handle(records(form(1, "a")))
    once = identity("command", 1)
    sent = [desk.work.command(name(1), add("b"), tenant=TENANT, command_id=once) for _ in range(5)]
    answers = await asyncio.gather(*sent)
    answers.append(await desk.work.command(name(1), add("b"), tenant=TENANT, command_id=once))
    assert sum(answer is not None for answer in answers) == 1
    assert await desk.words() == {1: ["a", "b"]}


async def test_a_command_on_a_lead_that_is_not_there_is_refused_and_leaves_nothing(desk: Shop) -> None:
    with pytest.raises(Refused) as refused:
        await desk.work.command(name(1), add("b"), tenant=TENANT, command_id=identity("command"))
    assert refused.value.code == "unknown"
    assert await desk.stored() == {"inbox": 0, "outbox": 0, "leads": 0}


async def test_a_command_that_was_refused_may_be_sent_again(desk: Shop) -> None:
    await desk.work.handle(records(form(1, "a")))
    id_ = identity("command")
    with pytest.raises(Refused, match="not now"):
        await desk.work.command(name(1), refuse, tenant=TENANT, command_id=id_)
    assert await desk.work.command(name(1), add("b"), tenant=TENANT, command_id=id_) is not None


async def test_a_command_that_the_database_does_not_take_is_refused_not_broken(desk: Shop) -> None:
    await desk.work.handle(records(form(1, "a")))
    with pytest.raises(Refused) as refused:
        await desk.work.command(name(1), add(NUL), tenant=TENANT, command_id=identity("command"))
    assert refused.value.code == "unstorable"
    assert await desk.words() == {1: ["a"]}


async def test_a_command_without_an_agreement_is_refused(desk: Shop) -> None:
    await desk.work.handle(records(form(1, "a")))
    with pytest.raises(Refused) as refused:
        await desk.work.command(name(1), add("b"), tenant=STRANGER, command_id=identity("command"))
    assert refused.value.code == "no_agreement"


# --- sweeps ---


async def sweep(desk: Shop, decide: Callable[[Tally, Facts[Tally]], Decision[Tally]] = add("late")) -> set[str]:
    return await desk.work.sweep(desk.claim, decide, tenant_of=lambda lead: lead.rpartition(":")[0])


def add_but_stumble_at(contact: int, word: str) -> Callable[[Tally, Facts[Tally]], Decision[Tally]]:
    def decide(tally: Tally, facts: Facts[Tally]) -> Decision[Tally]:
        if tally.lead == name(contact):
            return add(NUL)(tally, facts) if word == NUL else {}[word]
        return add(word)(tally, facts)

    return decide


async def test_a_sweep_decides_on_what_is_claimed_and_leaves_what_others_hold(desk: Shop) -> None:
    await desk.work.handle(records(form(1, "a"), form(2, "b")))
    other = desk.again()
    async with closing(other), other.engine.begin() as conn:
        await other._load(conn, [name(1)])
        assert await sweep(desk) == {name(2)}
    assert await desk.words() == {1: ["a"], 2: ["b", "late"]}


async def test_a_sweep_that_finds_nothing_wakes_nobody(desk: Shop) -> None:
    """Or who sweeps, and sleeps until something is committed, would never sleep."""
    woken: list[str] = []
    desk.work.after_commit(lambda: woken.append("by a commit"))
    assert await sweep(desk) == set()
    assert woken == []


@pytest.mark.parametrize("word", ["late", NUL])
async def test_a_lead_at_which_a_sweep_stumbles_holds_up_no_other_and_is_said_once(
    desk: Shop, word: str, caplog: pytest.LogCaptureFixture
) -> None:
    await desk.work.handle(records(form(1, "a"), form(2, "b"), form(3, "c")))
    decide = add_but_stumble_at(2, word) if word != NUL else _nul_at(2)
    assert [await sweep(desk, decide), await sweep(desk, decide)] == [{name(1), name(3)}] * 2
    assert await desk.words() == {1: ["a", "late", "late"], 2: ["b"], 3: ["c", "late", "late"]}
    assert [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR] == ["sweep_failed"]


def _nul_at(contact: int) -> Callable[[Tally, Facts[Tally]], Decision[Tally]]:
    return lambda tally, facts: add(NUL if tally.lead == name(contact) else "late")(tally, facts)


async def test_a_sweep_that_crashes_before_the_commit_leaves_everything_due(desk: Shop) -> None:
    await desk.work.handle(records(form(1, "a")))

    async def die(_: AsyncConnection) -> None:
        raise Died

    doomed = desk.again(hooks=Hooks(saved=die))
    async with closing(doomed):
        with pytest.raises(Died):
            await sweep(doomed)
    assert await desk.words() == {1: ["a"]}
    assert await sweep(desk) == {name(1)}
