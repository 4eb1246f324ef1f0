"""Clocks on a real PostgreSQL: each fires once, at its time, whoever looks and whenever."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from msgspec.structs import replace
from sqlalchemy.ext.asyncio import AsyncConnection

from services.handoff import store, ticking
from services.handoff.domain import commands
from services.handoff.domain.commands import Command
from services.handoff.domain.draft import HandoffDecision
from services.handoff.domain.lead import Lead
from services.handoff.worker import decided, due
from shared.errors import Later
from shared.events import LeadScored, Outcome, identity
from shared.work import Facts
from tests.agreements import PLAIN, in_force, with_follow_up, with_parts
from tests.contract.handoff_desk import DAY, HOUR, NOW, TENANT, URGENT, Desk, call, demo, desk, name, other, uri

__all__ = ["desk", "other", "uri"]

WARNINGS_AND_BREACH = 3
STRANGER = "hubspot:7"
PATIENCE_S = 30.0
SOON_S = 4.0  # less than the fallback


async def everything(desk: Desk) -> int:
    fired = 0
    while some := await desk.ticking.sweep():
        fired += some
    return fired


@contextlib.asynccontextmanager
async def the_task(desk: Desk) -> AsyncIterator[None]:
    """It runs meanwhile, and has given its connections back at the end, while there is a loop to close them in."""
    task = asyncio.create_task(desk.ticking.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def breached(desk: Desk, contact: int, done: asyncio.Event) -> None:
    """Return when the lead's breach is committed."""
    while "ClockBreached" not in await desk.kinds(contact):
        done.clear()
        await done.wait()


async def test_what_fell_due_while_the_service_was_down_is_told_once_with_its_own_time(desk: Desk) -> None:
    await desk.hears(demo(1))
    desk.clock.advance(5 * DAY)
    assert await everything(desk) == WARNINGS_AND_BREACH
    assert await everything(desk) == 0
    ((at, outcome, next_at),) = await desk.rows(
        "SELECT t.at, c.outcome, c.next_at FROM handoff.timeline t JOIN handoff.clocks c USING (lead)"
        " WHERE t.type = 'ClockBreached'"
    )
    assert (at, outcome, next_at) == (NOW + URGENT, "breached", None)


async def test_nothing_fires_before_its_time(desk: Desk) -> None:
    await desk.hears(demo(1))
    assert await everything(desk) == 0


async def test_two_instances_share_the_work_and_fire_each_clock_once(desk: Desk, other: Desk) -> None:
    leads = 1200
    await desk.hears(*(demo(contact) for contact in range(leads)))
    desk.clock.advance(DAY)
    fired = await asyncio.gather(everything(desk), everything(other))
    assert sum(fired) + await everything(desk) == leads * WARNINGS_AND_BREACH
    assert all(fired)
    sql = "SELECT count(*), count(DISTINCT lead) FROM handoff.timeline WHERE type = 'ClockBreached'"
    assert await desk.rows(sql) == [(leads, leads)]


async def test_two_sweeps_of_one_instance_fire_each_clock_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ticking, "LEADS_PER_SWEEP", 50)
    leads = 500
    await desk.hears(*(demo(contact) for contact in range(leads)))
    desk.clock.advance(DAY)
    assert await desk.ticking.fire() == leads * WARNINGS_AND_BREACH
    sql = "SELECT count(*), count(DISTINCT lead) FROM handoff.timeline WHERE type = 'ClockBreached'"
    assert await desk.rows(sql) == [(leads, leads)]


class InParts:
    """A connection on which a query gives its first fifty rows, as the driver asks for, then waits for `meanwhile`."""

    def __init__(self, conn: AsyncConnection, meanwhile: Callable[[], Awaitable[Any]]) -> None:
        self._conn, self._meanwhile = conn, meanwhile

    async def execute(self, sql: sa.TextClause, given: dict[str, Any]) -> Any:
        stream = await self._conn.stream(sql, given)
        first = await stream.fetchone()
        await self._meanwhile()
        rows = [*([first] if first else []), *await stream.fetchall()]
        return SimpleNamespace(all=lambda: rows)


async def test_what_another_fires_while_a_sweep_claims_is_left_out(desk: Desk, other: Desk) -> None:
    """Else a whole sweep may find nothing to tell, and is taken for the last."""
    early, late = 50, 20
    await desk.hears(*(demo(contact) for contact in range(early + late)))
    desk.clock.advance(DAY)
    async with desk.engine.begin() as conn:
        in_parts: Any = InParts(conn, lambda: everything(other))
        claimed = await store.claim_due(in_parts, desk.clock.now(), early + late)
        assert len(claimed) == early
    assert await desk.rows("SELECT count(*) FROM handoff.timeline WHERE type = 'ClockBreached'") == [(late,)]


async def test_a_sweep_that_fails_beside_another_says_why(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ticking, "LEADS_PER_SWEEP", 1)
    await desk.hears(*(demo(contact) for contact in range(3)))
    desk.clock.advance(DAY)
    sweep, sweeps = desk.ticking.sweep, count()

    async def fails_later() -> int:
        return await sweep() if next(sweeps) < 2 else await away()

    monkeypatch.setattr(desk.ticking, "sweep", fails_later)
    with pytest.raises(Later):
        await desk.ticking.fire()


async def away() -> int:
    raise Later("database_away", "the database did not answer")


async def test_a_crash_before_the_commit_leaves_the_clock_due(desk: Desk) -> None:
    await desk.hears(demo(1))
    desk.clock.advance(DAY)
    good, desk.ticking._work = desk.ticking._work, desk.crashing()
    with pytest.raises(RuntimeError):
        await desk.ticking.sweep()
    desk.ticking._work = good
    assert "ClockBreached" not in await desk.kinds(1)
    assert await everything(desk) == WARNINGS_AND_BREACH


async def test_a_lead_that_a_handler_holds_is_left_alone_and_the_others_fire(desk: Desk, other: Desk) -> None:
    await desk.hears(demo(1), demo(2))
    desk.clock.advance(DAY)
    async with other.engine.begin() as conn:
        await store.load(conn, [name(1)])
        assert await everything(desk) == WARNINGS_AND_BREACH
        assert "ClockBreached" not in await desk.kinds(1)
    assert await everything(desk) == WARNINGS_AND_BREACH


async def test_a_lead_that_cannot_be_read_holds_up_no_other_and_is_said_once(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    await desk.hears(demo(1), demo(2))
    async with desk.engine.begin() as conn:
        newer = sa.text("UPDATE handoff.leads SET document = CAST(:what AS bytea) WHERE lead = :lead")
        await conn.execute(newer, {"what": b'{"state":"of a later version"}', "lead": name(1)})
    desk.clock.advance(DAY)
    assert await everything(desk) == WARNINGS_AND_BREACH
    await desk.ticking.sweep()
    assert "ClockBreached" in await desk.kinds(2)
    assert [r.message for r in caplog.records if r.levelname == "ERROR"] == ["leads_unreadable"]


async def test_leads_that_cannot_be_read_fill_no_sweep(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ticking, "LEADS_PER_SWEEP", 1)
    await desk.hears(demo(1))
    desk.clock.advance(timedelta(seconds=1))
    await desk.hears(demo(2, at=desk.clock.now()))
    async with desk.engine.begin() as conn:
        newer = sa.text("UPDATE handoff.leads SET document = CAST(:what AS bytea) WHERE lead = :lead")
        await conn.execute(newer, {"what": b"{}", "lead": name(1)})
    desk.clock.advance(DAY)
    fired = [await desk.ticking.sweep(), await desk.ticking.sweep()]
    assert fired == [0, WARNINGS_AND_BREACH]
    assert await desk.ticking._next_due() is None


async def test_leads_that_cannot_be_decided_fill_no_sweep(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many they are: the first sweep finds nothing else, the next ones leave them alone."""
    monkeypatch.setattr(ticking, "LEADS_PER_SWEEP", 3)
    stuck = [name(contact) for contact in range(3)]
    await desk.hears(*(demo(contact) for contact in range(3)))
    desk.clock.advance(timedelta(seconds=1))
    await desk.hears(demo(9, at=desk.clock.now()))
    desk.clock.advance(DAY)

    def fails_for_them(lead: Lead, facts: Facts[Lead]) -> tuple[HandoffDecision, list[datetime]]:
        if lead.lead in stuck:
            raise ValueError("a rule that this lead breaks")
        return due(lead, facts)

    monkeypatch.setattr(ticking, "due", fails_for_them)
    assert [await desk.ticking.sweep(), await desk.ticking.sweep()] == [0, WARNINGS_AND_BREACH]
    assert await desk.ticking._next_due() is None


async def test_a_restart_with_another_agreement_sets_the_open_clocks_by_it(desk: Desk) -> None:
    await desk.hears(demo(1), demo(2))
    changed = with_follow_up(PLAIN, first_touch="2h")
    after = Desk(desk.uri, desk.clock, agreement=changed)
    try:
        assert [await after.ticking.follow_agreement(), await after.ticking.follow_agreement()] == [2, 0]
    finally:
        await after.close()
    rows = await desk.rows("SELECT due_at, next_at < due_at AS warns FROM handoff.clocks")
    assert rows == [(NOW + timedelta(hours=2), True)] * 2
    assert (await desk.kinds(1))[-1] == "ClockMoved"


async def dues(desk: Desk) -> dict[str, timedelta]:
    """How long after the beginning each lead's clock is due."""
    rows = await desk.rows("SELECT lead, due_at FROM handoff.clocks WHERE outcome IS NULL")
    return {row.lead: row.due_at - NOW for row in rows}


def of_tenant(score: LeadScored, tenant: str) -> LeadScored:
    lead = score.lead.replace(TENANT, tenant)
    return replace(score, id=identity("score", lead), tenant=tenant, lead=lead)


async def test_a_swap_sets_the_open_clocks_of_each_tenant_by_its_own_agreement(desk: Desk) -> None:
    own, others = with_follow_up(with_parts(PLAIN, tenant=TENANT), first_touch="2h"), with_follow_up(PLAIN)
    strangers = of_tenant(demo(2), STRANGER)
    await desk.hears(demo(1), strangers)
    desk.parts.agreements.swap(in_force(own, others))
    assert [await desk.ticking.follow_agreement() for _ in range(2)] == [1, 0]
    assert await dues(desk) == {name(1): 2 * HOUR, strangers.lead: URGENT}
    desk.parts.agreements.swap(in_force(own, with_follow_up(PLAIN, first_touch="3h")))
    assert [await desk.ticking.follow_agreement() for _ in range(2)] == [1, 0]
    assert await dues(desk) == {name(1): 2 * HOUR, strangers.lead: 3 * HOUR}


async def test_the_clocks_of_a_tenant_that_has_no_agreement_any_more_stay_and_hold_up_no_other(desk: Desk) -> None:
    await desk.hears(demo(1), of_tenant(demo(2), STRANGER))
    desk.parts.agreements.swap(in_force(with_follow_up(with_parts(PLAIN, tenant=TENANT), first_touch="2h")))
    assert [await desk.ticking.follow_agreement() for _ in range(2)] == [1, 0]
    assert sorted((await dues(desk)).values()) == [URGENT, 2 * HOUR]


async def test_what_fell_due_without_an_agreement_is_told_as_soon_as_there_is_one(desk: Desk) -> None:
    before = desk.parts.agreements.now
    await desk.hears(demo(1))
    desk.parts.agreements.swap(in_force(with_parts(PLAIN, tenant=STRANGER)))
    desk.clock.advance(DAY)
    assert [await desk.ticking.follow_agreement(), await everything(desk)] == [0, 0]
    desk.parts.agreements.swap(before)
    assert [await desk.ticking.follow_agreement(), await everything(desk)] == [0, WARNINGS_AND_BREACH]


async def test_a_lead_that_a_decision_under_way_held_follows_a_swap_afterwards(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ticking, "LOOK_AGAIN_S", 0.0)
    await desk.hears(demo(1))
    desk.parts.agreements.swap(in_force(with_follow_up(PLAIN, first_touch="2h")))
    async with desk.engine.begin() as conn:
        await store.load(conn, [name(1)])
        assert await desk.ticking.follow_agreement() == 0
    assert await desk.ticking.follow_agreement() == 1


async def test_what_is_in_force_is_followed_to_the_end_and_then_no_more(
    desk: Desk, other: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes that were started on different files would else set each other's clocks for ever."""
    monkeypatch.setattr(ticking, "SETTLE_S", 0.0)
    await desk.hears(demo(1))
    other.parts.agreements.swap(in_force(with_follow_up(PLAIN, first_touch="2h")))
    assert [await one.ticking.follow_agreement() for one in (desk, other, other, desk, other)] == [0, 1, 0, 0, 0]


async def test_the_task_follows_a_swap_and_fires_by_what_is_agreed_now(desk: Desk) -> None:
    await desk.hears(demo(1))
    done = asyncio.Event()
    desk.work.after_commit(done.set)
    async with the_task(desk), asyncio.timeout(PATIENCE_S):
        desk.parts.agreements.swap(in_force(with_follow_up(PLAIN, first_touch="2m")))
        while (await dues(desk))[name(1)] != timedelta(minutes=2):
            done.clear()
            await done.wait()
        desk.clock.advance(timedelta(minutes=3))
        await breached(desk, 1, done)


async def test_whose_clocks_another_agreement_set_is_found_by_an_index(desk: Desk) -> None:
    sql = """
        INSERT INTO handoff.leads (lead, tenant, agreement, document)
        SELECT 'x' || n, 't' || n % 4, CASE WHEN n % 2 = 0 THEN 'a' ELSE '' END, '{}' FROM generate_series(1, 20000) n
    """
    async with desk.engine.begin() as conn:
        await conn.execute(sa.text(sql))
        await conn.execute(sa.text("ANALYZE handoff.leads"))
        assert await store.tenants_with_clocks(conn) == ["t0", "t2"]
        plans = [
            await explained(conn, lambda: store.tenants_with_clocks(conn)),
            await explained(conn, lambda: store.claim_other_agreements(conn, "t0", "a", 500)),
        ]
    for plan in plans:
        assert "leads_by_agreement" in plan
        assert "Seq Scan" not in plan


async def explained(conn: AsyncConnection, ask: Callable[[], Awaitable[Any]]) -> str:
    """How the database finds what is asked for, by the very words it is asked with."""
    asked: list[tuple[str, Any]] = []

    def keep(_: Any, cursor: Any, statement: str, parameters: Any, *more: Any) -> None:
        asked.append((statement, parameters))

    sa.event.listen(conn.engine.sync_engine, "before_cursor_execute", keep)
    await ask()
    sa.event.remove(conn.engine.sync_engine, "before_cursor_execute", keep)
    statement, parameters = asked[-1]
    return "\n".join(row[0] for row in await conn.exec_driver_sql(f"EXPLAIN {statement}", parameters))


async def test_a_touch_ends_the_clock_s_row_and_starts_the_next(desk: Desk) -> None:
    await desk.hears(demo(1))
    desk.clock.advance(URGENT)
    await desk.hears(call(1, NOW + URGENT))
    rows = await desk.rows("SELECT kind, outcome, next_at IS NULL AS ended FROM handoff.clocks ORDER BY started_at")
    assert rows == [("first_touch", "met", True), ("next_attempt", None, False)]


async def test_a_pause_that_holds_no_clock_is_over_at_its_time(desk: Desk) -> None:
    await desk.hears(demo(1), call(1, NOW, outcome=Outcome.CONNECTED))
    pause = decided(commands.pause("away", NOW + HOUR))
    asked = Command(id=identity("pause"), person="ana")
    await desk.work.command(name(1), lambda lead, facts: pause(lead, asked, facts), tenant=TENANT, command_id=asked.id)
    assert await desk.ticking._next_due() == NOW + HOUR
    assert await everything(desk) == 0
    desk.clock.advance(HOUR)
    assert await everything(desk) == 1
    async with desk.engine.connect() as conn:
        lead = await store.find(conn, name(1))
    assert lead is not None
    assert lead.pause is None
    assert await desk.ticking._next_due() is None


async def test_the_task_sleeps_until_the_next_clock_and_fires_it(desk: Desk) -> None:
    await desk.hears(demo(1))
    done = asyncio.Event()
    desk.work.after_commit(done.set)
    async with the_task(desk), asyncio.timeout(SOON_S):
        while not desk.clock._sleepers:
            await asyncio.sleep(0)
        desk.clock.advance(DAY)
        await breached(desk, 1, done)


async def test_the_task_is_woken_by_a_clock_that_another_instance_started(desk: Desk, other: Desk) -> None:
    done = asyncio.Event()
    desk.work.after_commit(done.set)
    async with the_task(desk), asyncio.timeout(SOON_S):
        while not desk.metrics.sweeps.labels("nothing")._value.get():
            await asyncio.sleep(0)
        await other.hears(demo(1))
        while not desk.clock._sleepers:
            await asyncio.sleep(0)
        desk.clock.advance(DAY)
        await breached(desk, 1, done)


async def test_looking_for_due_clocks_is_one_probe_of_the_partial_index(desk: Desk) -> None:
    async with desk.engine.begin() as conn:
        await _many_clocks(conn, 20_000)
    plan = await desk.rows(
        "EXPLAIN SELECT next_at FROM handoff.clocks WHERE next_at IS NOT NULL ORDER BY next_at LIMIT 1"
    )
    assert any("clocks_next" in line for (line,) in plan)


async def _many_clocks(conn: AsyncConnection, many: int) -> None:
    sql = """
        INSERT INTO handoff.clocks (id, lead, kind, team, priority, started_at, due_at, next_at)
        SELECT n::text, :tenant || ':' || n, 'first_touch', 'inbound', 'urgent', t.now, t.now,
               t.now + n * interval '1 s'
        FROM generate_series(1, :many) AS n, (SELECT CAST(:now AS timestamptz) AS now) AS t
    """
    await conn.execute(sa.text(sql), {"many": many, "now": NOW + HOUR, "tenant": TENANT})
    await conn.execute(sa.text("ANALYZE handoff.clocks"))
