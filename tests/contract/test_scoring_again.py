"""Stored leads judged again by another agreement, on a real PostgreSQL: each once, behind the live events."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from uuid import uuid4

import httpx
import pytest
import sqlalchemy as sa
from msgspec.structs import replace
from prometheus_client import CollectorRegistry
from sqlalchemy.ext.asyncio import AsyncConnection

from services.handoff.app import build as build_handoff
from services.scoring import rescoring, store
from services.scoring.app import build as build_scoring
from services.scoring.rescoring import Rescoring
from services.scoring.store import Place
from shared import events, work
from shared.agreement import Agreement, Agreements
from shared.bus import Bus
from shared.bus.embedded import EmbeddedBus
from shared.clock import ManualClock
from shared.database import make_engine, migrate
from shared.events import ContactErased, Message, identity
from shared.metrics import CommonMetrics
from shared.web import Parts, Supervisor, Tokens, create_app
from shared.work import to_record
from tests.agreements import in_force, with_follow_up, with_parts, with_points
from tests.contract.conftest import Engine
from tests.contract.scoring_desk import (
    AGREEMENT,
    DAY,
    NOW,
    TENANT,
    Desk,
    about,
    desk,
    form,
    name,
    other,
    page,
    person,
    uri,
)
from tests.contract.work_shop import until

__all__ = ["desk", "other", "uri"]

STRICTER = with_points(AGREEMENT, decision_maker=5)
SAME = with_follow_up(AGREEMENT, wait_for_reply="9d")
STRANGER = "hubspot:7"
PATIENCE_S = 60.0


@pytest.fixture(autouse=True)
def again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One look after another, and then no more."""
    monkeypatch.setattr(rescoring, "LOOK_AGAIN_S", 0.0)


def swap(*desks: Desk, to: Iterable[Agreement] = (STRICTER,)) -> None:
    for one in desks:
        one.parts.agreements.swap(in_force(*to))


async def everybody(desk: Desk) -> int:
    """Go on until nobody is found; how many were."""
    done = 0
    while some := await desk.rescoring.step():
        done += some
    return done


async def grades(desk: Desk) -> set[tuple[str, str]]:
    """Grade and the version that judged, as they stand in the columns."""
    return {tuple(row) for row in await desk.rows("SELECT grade, agreement FROM scoring.leads")}


def of_tenant(message: Any, tenant: str) -> Any:
    lead = message.lead.replace(TENANT, tenant)
    return replace(message, id=identity(message.id, tenant), tenant=tenant, lead=lead)


async def test_a_swap_judges_every_stored_lead_again_and_tells_each_once(desk: Desk) -> None:
    leads = 2 * rescoring.LEADS_PER_BATCH + 1
    await desk.hears(*map(person, range(leads)))
    swap(desk)
    assert await everybody(desk) == leads
    assert await everybody(desk) == 0
    assert await grades(desk) == {("B4", STRICTER.version)}
    for contact in (0, leads - 1):
        told = await desk.told(contact)
        assert [(one["version"], one["grade"]) for one in told] == [(1, "A4"), (2, "B4")]
        assert told[1]["former_agreement"] == AGREEMENT.version
    versions = await desk.rows("SELECT version FROM scoring.agreements")
    assert {STRICTER.version} <= {row.version for row in versions}


async def test_a_start_with_another_agreement_does_so_too_and_one_with_the_same_does_nothing(desk: Desk) -> None:
    await desk.hears(person(1), person(2))
    for agreement, found in ((AGREEMENT, 0), (STRICTER, 2), (STRICTER, 0)):
        started = Desk(desk.uri, desk.clock, agreement=agreement)
        assert await everybody(started) == found
        await started.close()


async def test_each_tenant_is_judged_by_its_own_and_one_without_an_agreement_stays(desk: Desk) -> None:
    await desk.hears(person(1), of_tenant(person(2), STRANGER))
    swap(desk, to=[with_parts(STRICTER, tenant=TENANT)])
    assert await everybody(desk) == 1
    assert {grade for grade, _ in await grades(desk)} == {"B4", "A4"}
    swap(desk, to=[with_parts(STRICTER, tenant=TENANT), with_points(AGREEMENT, decision_maker=-40)])
    assert await everybody(desk) == 1
    assert {grade for grade, _ in await grades(desk)} == {"B4", "D4"}


async def test_who_stays_the_same_is_not_told_and_is_not_looked_at_again(desk: Desk) -> None:
    await desk.hears(person(1), form(2))
    swap(desk, to=[SAME])
    assert [await everybody(desk), await everybody(desk)] == [2, 0]
    assert [len(await desk.told(contact)) for contact in (1, 2)] == [1, 1]
    assert {version for _, version in await grades(desk)} == {SAME.version}


async def test_a_crash_in_a_batch_leaves_it_undone_and_the_next_process_goes_on_from_there(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rescoring, "LEADS_PER_BATCH", 3)
    await desk.hears(*map(person, range(10)))
    swap(desk)
    assert await desk.rescoring.step() == 3
    dying = desk.rescoring_of(desk.crashing())
    with pytest.raises(RuntimeError):
        await dying.step()
    after = Desk(desk.uri, desk.clock, agreement=STRICTER)
    assert await everybody(after) == 7
    await after.close()
    for contact in range(10):
        assert [one["version"] for one in await desk.told(contact)] == [1, 2]


async def test_a_batch_that_is_tried_again_begins_where_it_began(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rescoring, "LEADS_PER_BATCH", 3)
    await desk.hears(*map(person, range(7)))
    swap(desk)
    good, desk.rescoring._work = desk.rescoring._work, desk.crashing()
    for _ in range(2):
        with pytest.raises(RuntimeError):
            await desk.rescoring.step()
    desk.rescoring._work = good
    assert await everybody(desk) == 7


async def test_instances_share_the_work_and_judge_each_lead_once(desk: Desk, other: Desk) -> None:
    leads = 6 * rescoring.LEADS_PER_BATCH
    await desk.hears(*map(person, range(leads)))
    swap(desk, other)
    shares = await asyncio.gather(everybody(desk), everybody(other))
    assert sum(shares) + await everybody(desk) == leads
    assert all(shares)
    counts = await desk.rows("SELECT count(*) AS n FROM scoring.outbox WHERE topic = 'lead.scores' GROUP BY key")
    assert {row.n for row in counts} == {2}


async def test_a_swap_on_the_way_changes_only_the_aim(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rescoring, "LEADS_PER_BATCH", 4)
    await desk.hears(*map(person, range(10)))
    swap(desk)
    await desk.rescoring.step()
    swap(desk, to=[AGREEMENT])
    assert await everybody(desk) == 4
    assert await grades(desk) == {("A4", AGREEMENT.version)}
    assert sorted([len(await desk.told(contact)) for contact in range(10)]) == [1] * 6 + [3] * 4


async def test_what_is_in_force_is_followed_to_the_end_and_then_no_more(
    desk: Desk, other: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes that were started on different files would else judge the same leads for ever."""
    monkeypatch.setattr(rescoring, "SETTLE_S", 0.0)
    await desk.hears(person(1))
    swap(other)
    found = [await everybody(one) for one in (desk, other, desk, other, desk)]
    assert found == [0, 1, 0, 0, 0]


async def test_a_lead_that_a_handler_holds_is_left_alone_and_judged_afterwards(desk: Desk, other: Desk) -> None:
    await desk.hears(person(1), person(2))
    swap(desk)
    async with other.engine.begin() as conn:
        await store.load(conn, [name(1)])
        assert await everybody(desk) == 1
    assert await everybody(desk) == 1


async def test_who_is_gone_is_not_judged_again(desk: Desk) -> None:
    later = NOW + DAY
    await desk.hears(person(1), person(2), person(3), about(ContactErased, 1, later, privacy=False))
    await desk.hears(about(ContactErased, 2, later, privacy=True))
    async with desk.engine.begin() as conn:  # as the code before left a deleted lead
        before = sa.text("UPDATE scoring.leads SET agreement = :version WHERE lead = :lead")
        await conn.execute(before, {"version": AGREEMENT.version, "lead": name(1)})
    swap(desk)
    assert [await everybody(desk), await everybody(desk)] == [2, 0]
    assert [len(await desk.told(contact)) for contact in (1, 2, 3)] == [1, 1, 2]


async def test_a_lead_that_cannot_be_read_holds_up_no_other_and_is_said_once(
    desk: Desk, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rescoring, "LEADS_PER_BATCH", 1)
    await desk.hears(person(1), person(2))
    async with desk.engine.begin() as conn:
        newer = sa.text("UPDATE scoring.leads SET state = CAST(:what AS bytea) WHERE lead = :lead")
        await conn.execute(newer, {"what": b"of a later version", "lead": name(1)})
    swap(desk)
    assert [await everybody(desk), await everybody(desk)] == [2, 0]
    assert len(await desk.told(2)) == 2
    assert [r.message for r in caplog.records if r.levelname == "ERROR"] == ["leads_unreadable"]


async def test_facts_that_come_meanwhile_leave_no_hole_and_nobody_behind(
    desk: Desk, other: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rescoring, "LEADS_PER_BATCH", 5)
    contacts = range(60)
    await desk.hears(*map(person, contacts))
    swap(desk, other)
    facts = [form(contact) for contact in reversed(contacts)]
    await asyncio.gather(everybody(desk), *(other.hears(*facts[n : n + 10]) for n in range(0, 60, 10)))
    await everybody(desk)
    for contact in contacts:
        told = await desk.told(contact)
        assert [one["version"] for one in told] == list(range(1, len(told) + 1))
        assert (told[-1]["grade"], told[-1]["agreement"]) == ("B1", STRICTER.version)


async def test_how_far_it_is_is_shown_and_its_beginning_and_end_are_said(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(rescoring, "LEADS_PER_BATCH", 3)
    caplog.set_level(logging.INFO, logger="leadpact.scoring")
    await desk.hears(*map(person, range(5)))
    swap(desk)
    seen = []
    for _ in range(3):
        await desk.rescoring.step()
        seen.append(left(desk))
    assert seen == [2, 0, 0]
    assert [r.message for r in caplog.records] == ["rescoring_started", "rescoring_ended"]


async def test_how_far_it_is_stands_beside_the_agreements(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rescoring, "LEADS_PER_BATCH", 3)
    service = build_scoring(desk.parts)
    its: Rescoring = service.tasks["rescoring"].__self__  # type: ignore[attr-defined]
    transport = httpx.ASGITransport(create_app([service], desk.parts))
    headers = {"Authorization": "Bearer secret"}
    await desk.hears(*map(person, range(5)))
    swap(desk)
    told = []
    async with httpx.AsyncClient(transport=transport, base_url="http://scoring", headers=headers) as client:
        for _ in range(3):
            await its.step()
            told.append((await client.get("/agreements")).json()["to_rescore"])
    assert told == [[{"tenant": TENANT, "version": STRICTER.version, "leads": 2}], [], []]


async def test_how_many_are_left_counts_what_other_instances_did(
    desk: Desk, other: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rescoring, "LEADS_PER_BATCH", 1)
    monkeypatch.setattr(rescoring, "COUNT_EVERY", 2)
    await desk.hears(*map(person, range(9)))
    swap(desk, other)
    await desk.rescoring.step()
    for _ in range(3):
        await other.rescoring.step()
    await desk.rescoring.step()
    assert left(desk) == 4


def left(desk: Desk) -> float:
    """How many are shown to be left."""
    return desk.metrics.to_rescore.labels(TENANT, STRICTER.version)._value.get()  # type: ignore[no-any-return]


async def test_who_is_left_is_found_by_an_index_and_who_is_done_is_not_walked_over(desk: Desk) -> None:
    sql = """
        INSERT INTO scoring.leads (lead, agreement, updated_at)
        SELECT 't' || n % 4 || ':' || n, CASE WHEN n % 1000 < 4 THEN 'a' WHEN n % 1000 < 8 THEN 'c' ELSE 'b' END, now()
        FROM generate_series(1, 20000) n
    """
    asked: list[str] = []
    async with desk.engine.begin() as conn:
        await conn.execute(sa.text(sql))
        await conn.execute(sa.text("ANALYZE scoring.leads"))
        assert await store.tenants(conn) == ["t0", "t1", "t2", "t3"]
        asked += await explained(conn, lambda: store.tenants(conn))
        asked += await explained(
            conn, lambda: store.claim_other_agreements(conn, "t0", "b", 500, after=Place(agreement="a", lead="t0:9"))
        )
        asked += await explained(conn, lambda: store.count_other_agreements(conn, "t0", "b"))
    for plan in asked:
        assert "leads_by_agreement" in plan
        assert "Seq Scan" not in plan
    for claim in asked[1:3]:
        walked = next(line for line in claim.splitlines() if "Index Cond" in line)
        assert "agreement <" in walked or "agreement >" in walked


async def explained(conn: AsyncConnection, ask: Callable[[], Awaitable[Any]]) -> list[str]:
    """How the database finds what is asked for, by the very words it is asked with."""
    asked: list[tuple[str, Any]] = []

    def keep(_: Any, cursor: Any, statement: str, parameters: Any, *more: Any) -> None:
        asked.append((statement, parameters))

    sa.event.listen(conn.engine.sync_engine, "before_cursor_execute", keep)
    await ask()
    sa.event.remove(conn.engine.sync_engine, "before_cursor_execute", keep)
    return ["\n".join(row[0] for row in await conn.exec_driver_sql(f"EXPLAIN {said}", given)) for said, given in asked]


# --- behind the live events ---


async def test_while_more_and_more_events_wait_they_go_first(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    turns, records_a_turn, stored = 40, 20, 60
    monkeypatch.setattr(work, "BATCH_RECORDS", records_a_turn)
    monkeypatch.setattr(rescoring, "LEADS_PER_BATCH", 1)
    await desk.hears(*map(person, range(stored)))
    swap(desk)
    bus = EmbeddedBus(desk.uri, prefix=f"flood{uuid4().hex[:6]}.")
    await bus.create_topics(partitions=2, replication=1)
    flood = [page(1000 + n, f"/pricing/{n}") for n in range(turns * records_a_turn)]
    await bus.publish([to_record(one, source="ingest") for one in flood])
    desk.parts = Parts(**{**vars(desk.parts), "bus": bus})
    busy = desk.work_of(desk.worker)
    again = desk.rescoring_of(busy)
    handled = asyncio.Event()
    found: list[float] = []

    def heard() -> None:
        pages = desk.parts.metrics.messages.labels("scoring", "PageVisited", "handled")._value.get()
        if pages and not begun.is_set():
            begun.set()
        if pages >= len(flood) and not found:
            found.append(_rescored(desk))
            handled.set()

    begun = asyncio.Event()
    busy.after_commit(heard)
    tasks = [asyncio.create_task(busy.consume())]
    async with asyncio.timeout(PATIENCE_S):
        await begun.wait()
        tasks += [asyncio.create_task(again.run()), asyncio.create_task(busy.relay())]
        await handled.wait()
        await until(lambda: _has_rescored(desk, stored))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await bus.close()
    assert 1 <= found[0] <= turns / rescoring.TURNS_BEFORE + 2


def _rescored(desk: Desk) -> float:
    return sum(desk.metrics._rescored.labels(outcome)._value.get() for outcome in ("told", "quiet"))


async def _has_rescored(desk: Desk, many: int) -> bool:
    await desk.rows("SELECT 1")
    return _rescored(desk) >= many


async def test_it_waits_until_what_was_told_is_on_the_bus(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[bool] = []

    async def look(conn: AsyncConnection, many: int) -> bool:
        looks.append(await waits(conn, many))
        return looks[-1]

    waits = store.waits_to_be_told
    monkeypatch.setattr(store, "waits_to_be_told", look)
    monkeypatch.setattr(rescoring, "WAITING", 5)
    monkeypatch.setattr(rescoring, "HELD_S", 0.0)
    monkeypatch.setattr(rescoring, "LEADS_PER_BATCH", 2)
    await desk.hears(person(1), person(2), person(3), person(4))
    swap(desk)
    task = asyncio.create_task(desk.rescoring.run())
    await until(lambda: _has_looked(desk, looks))
    assert all(looks)
    assert _rescored(desk) == 2
    async with desk.engine.begin() as conn:
        await conn.execute(sa.text("TRUNCATE scoring.outbox"))
    await until(lambda: _has_rescored(desk, 4))
    task.cancel()


async def _has_looked(desk: Desk, looks: list[bool]) -> bool:
    await desk.rows("SELECT 1")
    return len(looks) > 3


async def test_the_task_follows_a_swap(desk: Desk) -> None:
    await desk.hears(person(1))
    task = asyncio.create_task(desk.rescoring.run())
    await until(lambda: _looked(desk))
    swap(desk)
    await until(lambda: _has_rescored(desk, 1))
    swap(desk, to=[AGREEMENT])
    await until(lambda: _has_rescored(desk, 2))
    task.cancel()


async def _looked(desk: Desk) -> bool:
    await desk.rows("SELECT 1")
    return desk.rescoring._followed is desk.parts.agreements.now


# --- as far as hand-off, on both engines ---


class Process:
    """Scoring and hand-off in one process."""

    def __init__(self, uri: str, bus: Bus, agreement: Agreement) -> None:
        registry = CollectorRegistry()
        clock = ManualClock(NOW)
        self.registry = registry
        self.parts = Parts(
            environ={},
            clock=clock,
            bus=bus,
            engine=make_engine(uri, pool_size=8),
            agreements=Agreements(agreement),
            registry=registry,
            metrics=CommonMetrics(registry),
            tokens=Tokens([]),
        )
        self.supervisor = Supervisor(self.parts.metrics)
        for service in (build_scoring(self.parts), build_handoff(self.parts)):
            for task, run in service.tasks.items():
                self.supervisor.start(service.name, task, run)

    async def close(self) -> None:
        await self.supervisor.stop()
        await self.parts.engine.dispose()


async def said_on(bus: Bus, topic: str) -> list[Any]:
    return [events.decode(topic, record.value) async for record in bus.scan(topic)]


async def test_a_looser_agreement_hands_over_once_who_is_ready_by_it_and_nobody_who_was_handed_over(
    engine: Engine, bus: Bus, new_database: Any
) -> None:
    """A chief alone is a B and stays with Marketing until a chief's worth is enough for an A."""
    place = new_database()
    for service in ("scoring", "handoff"):
        await asyncio.to_thread(migrate, place, service)
    ebook = [form(contact, "ebook") for contact in range(1, 6)]
    facts: list[Message] = [*map(person, range(1, 8)), *ebook, form(6), form(7)]
    process = Process(place, bus, STRICTER)
    try:
        await bus.publish([to_record(fact, source="ingest") for fact in facts])
        await until(lambda: _are_handed_over(bus, {6, 7}))
        await until(lambda: _are_scored(bus, range(1, 8)))
        process.parts.agreements.swap(in_force(LOOSER))
        await until(lambda: _are_handed_over(bus, set(range(1, 8))))
        await until(lambda: _rescores_are_heard(process, 7))
    finally:
        await process.close()
    handed = [one for one in await said_on(bus, "lead.handoffs") if isinstance(one, events.LeadHandedOff)]
    assert sorted(one.lead for one in handed) == [name(contact) for contact in range(1, 8)]
    since = {one.lead: one.former_agreement for one in handed}
    assert since == {name(n): STRICTER.version if n <= 5 else "" for n in range(1, 8)}
    assert process.registry.get_sample_value("leadpact_handoffs_by_agreement_total") == 5


LOOSER = with_points(AGREEMENT, decision_maker=40)


async def _are_handed_over(bus: Bus, contacts: set[int]) -> bool:
    told = await said_on(bus, "lead.handoffs")
    return {name(one) for one in contacts} <= {one.lead for one in told if isinstance(one, events.LeadHandedOff)}


async def _are_scored(bus: Bus, contacts: Iterable[int]) -> bool:
    scores = await said_on(bus, "lead.scores")
    return {name(one) for one in contacts} <= {one.lead for one in scores if one.forms or one.grade}


async def _rescores_are_heard(process: Process, many: int) -> bool:
    scores = [one for one in await said_on(process.parts.bus, "lead.scores") if one.is_rescore]
    heard = process.registry.get_sample_value(
        "leadpact_messages_total", {"service": "handoff", "type": "LeadScored", "outcome": "handled"}
    )
    return len(scores) >= many and (heard or 0) >= len(await said_on(process.parts.bus, "lead.scores"))
