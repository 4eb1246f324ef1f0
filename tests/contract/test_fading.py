"""Interest that fades below a limit, on a real PostgreSQL: told at its moment, once, found by one due row."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from services.scoring import fading, store
from services.scoring.domain.lead import Lead
from shared.bus import Bus
from shared.database import migrate
from shared.events import ContactErased, ContactsMerged, LeadHandedOff
from shared.work import to_record
from tests.agreements import with_parts, with_points
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
    person,
    uri,
)
from tests.contract.test_scoring_again import Process, everybody, explained, of_tenant, said_on, swap
from tests.contract.work_shop import until

__all__ = ["desk", "other", "uri"]

SECOND = timedelta(seconds=1)


async def due(desk: Desk) -> dict[str, datetime]:
    """When which lead falls, as the rows say."""
    rows = await desk.rows("SELECT lead, fades_at FROM scoring.leads WHERE fades_at IS NOT NULL")
    return {row.lead: row.fades_at for row in rows}


async def go_to_next(desk: Desk) -> None:
    async with desk.engine.connect() as conn:
        moment = await store.next_fading(conn)
    assert moment is not None
    desk.clock.advance(moment - desk.clock.now())


async def go_to_fall(desk: Desk) -> None:
    """The row of a lead that did something is due before it can fall; then its second is found."""
    await go_to_next(desk)
    assert await desk.fading.sweep() == 1
    await go_to_next(desk)


async def told(desk: Desk, contact: int) -> list[tuple[str, str]]:
    return [(score["grade"], score["cause"]) for score in await desk.told(contact)]


async def test_a_fall_is_told_at_its_second_and_not_before(desk: Desk) -> None:
    await desk.hears(form(1))
    await go_to_fall(desk)
    assert len(await told(desk, 1)) == 1
    desk.clock.advance(-SECOND)
    assert await desk.fading.sweep() == 0
    desk.clock.advance(SECOND)
    assert await desk.fading.sweep() == 1
    assert await told(desk, 1) == [("D1", form(1).id), ("D2", "faded")]
    assert (await due(desk))[name(1)] > desk.clock.now()
    ((grade, version),) = await desk.rows("SELECT grade, version FROM scoring.leads")
    assert (grade, version) == ("D2", 2)


async def test_it_falls_to_rest_step_by_step_and_then_has_no_due_row(desk: Desk) -> None:
    await desk.hears(form(1), person(2))
    assert set(await due(desk)) == {name(1)}
    while await due(desk):
        await go_to_next(desk)
        assert await desk.fading.sweep() == 1
    assert [grade for grade, _ in await told(desk, 1)] == ["D1", "D2", "D3", "D4"]
    assert len(await told(desk, 2)) == 1
    assert await desk.fading.sweep() == 0


async def test_a_crash_before_the_commit_leaves_it_due_and_the_next_process_tells_it_once(desk: Desk) -> None:
    await desk.hears(form(1))
    await go_to_fall(desk)
    with pytest.raises(RuntimeError):
        await desk.fading_of(desk.crashing()).sweep()
    assert len(await told(desk, 1)) == 1
    assert [await desk.fading.sweep(), await desk.fading.sweep()] == [1, 0]
    assert [grade for grade, _ in await told(desk, 1)] == ["D1", "D2"]


async def test_after_an_outage_each_lead_is_told_once_as_of_then_however_many_share_the_work(
    desk: Desk, other: Desk
) -> None:
    leads = 5 * fading.LEADS_PER_SWEEP
    await desk.hears(*map(form, range(leads)))
    desk.clock.advance(90 * DAY)

    async def all_of(one: Desk) -> int:
        done = 0
        while some := await one.fading.sweep():
            done += some
        return done

    shares = await asyncio.gather(all_of(desk), all_of(other))
    assert sum(shares) + await all_of(desk) == leads
    counts = await desk.rows("SELECT count(*) AS n FROM scoring.outbox WHERE topic = 'lead.scores' GROUP BY key")
    assert {row.n for row in counts} == {2}
    assert await told(desk, 0) == [("D1", form(0).id), ("D4", "faded")]
    assert await due(desk) == {}


async def test_a_lead_that_a_handler_holds_is_left_to_it(desk: Desk, other: Desk) -> None:
    await desk.hears(form(1), form(2))
    desk.clock.advance(90 * DAY)
    async with other.engine.begin() as conn:
        await store.load(conn, [name(1)])
        assert await desk.fading.sweep() == 1
    assert await desk.fading.sweep() == 1


async def test_what_the_version_before_left_is_due_at_once_and_found_out_without_a_word(desk: Desk) -> None:
    """Its documents say nothing of the moment, and the column has its default."""
    await desk.hears(form(1), person(2))
    known = await due(desk)
    await desk.rows("SELECT 1")
    async with desk.engine.begin() as conn:
        for row in (await conn.execute(sa.text("SELECT lead, state FROM scoring.leads"))).all():
            said: dict[str, Any] = msgspec.msgpack.decode(row.state)
            del said["told"]["fades_at"]
            await conn.execute(
                sa.text("UPDATE scoring.leads SET state = :state, fades_at = DEFAULT WHERE lead = :lead"),
                {"lead": row.lead, "state": msgspec.msgpack.encode(said)},
            )
        await conn.execute(sa.text("UPDATE scoring.leads SET fades_at = :now"), {"now": NOW})
    assert await desk.fading.sweep() == 2
    assert (await due(desk)).keys() == known.keys()
    assert (await due(desk))[name(1)] > known[name(1)]
    assert [len(await told(desk, contact)) for contact in (1, 2)] == [1, 1]


async def test_a_new_agreement_moves_the_due_rows_with_it(desk: Desk) -> None:
    await desk.hears(form(1))
    before = await due(desk)
    swap(desk, to=[with_points(AGREEMENT, demo=59)])
    await everybody(desk)
    assert (await due(desk))[name(1)] < before[name(1)]
    swap(desk, to=[with_points(AGREEMENT, demo=5)])
    await everybody(desk)
    assert await due(desk) == {}


async def test_who_is_gone_has_no_due_row_and_a_merge_hands_it_on(desk: Desk) -> None:
    await desk.hears(form(1), form(2), form(3))
    await desk.hears(about(ContactErased, 1, privacy=True), about(ContactErased, 2, NOW + SECOND, privacy=False))
    await desk.hears(person(4), about(ContactsMerged, 4, merged=(name(3),)))
    assert set(await due(desk)) == {name(4)}


async def test_who_cannot_be_judged_is_put_off_and_holds_up_nobody(desk: Desk) -> None:
    await desk.hears(form(1), of_tenant(form(2), "hubspot:7"), form(3))
    async with desk.engine.begin() as conn:
        sql = "UPDATE scoring.leads SET state = '\\x00' WHERE lead = :lead"
        await conn.execute(sa.text(sql), {"lead": name(1)})
    swap(desk, to=[with_parts(AGREEMENT, tenant=TENANT)])
    desk.clock.advance(90 * DAY)
    assert [await desk.fading.sweep(), await desk.fading.sweep()] == [3, 0]
    assert await due(desk) == {
        name(1): desk.clock.now() + fading.PUT_OFF,
        "hubspot:7:2": desk.clock.now() + fading.PUT_OFF,
    }
    assert len(await told(desk, 3)) == 2


async def test_a_lead_whose_judging_fails_is_tried_again_later_and_holds_up_nobody(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.hears(form(1), form(2))
    desk.clock.advance(90 * DAY)
    judge = fading.faded

    def failing(lead: Lead, facts: Any) -> Any:
        if facts.key == name(1):
            raise ValueError("whatever")
        return judge(lead, facts)

    monkeypatch.setattr(fading, "faded", failing)
    while await desk.fading.sweep():
        pass
    assert await due(desk) == {name(1): desk.clock.now() + fading.PUT_OFF}
    monkeypatch.setattr(fading, "faded", judge)
    desk.clock.advance(fading.PUT_OFF)
    assert await desk.fading.sweep() == 1
    assert len(await told(desk, 1)) == 2


async def test_the_earliest_is_found_by_an_index_that_holds_only_who_is_to_fall(desk: Desk) -> None:
    sql = """
        INSERT INTO scoring.leads (lead, agreement, updated_at, fades_at)
        SELECT 't:' || n, 'a', now(), CASE WHEN n % 1000 = 0 THEN now() + n * interval '1 s' END
        FROM generate_series(1, 20000) n
    """
    async with desk.engine.begin() as conn:
        await conn.execute(sa.text(sql))
        await conn.execute(sa.text("ANALYZE scoring.leads"))
        asked = await explained(conn, lambda: store.next_fading(conn))
        asked += await explained(conn, lambda: store.claim_fading(conn, NOW, 200))
    for plan in asked:
        assert "leads_by_fading" in plan
        assert "Seq Scan" not in plan


# --- the task ---


async def test_the_task_sleeps_until_the_next_moment_and_is_woken_for_an_earlier_one(desk: Desk) -> None:
    task = asyncio.create_task(desk.fading.run())
    await desk.hears(form(1))
    await until(lambda: _sleeps(desk))
    desk.clock.advance(90 * DAY)
    await until(lambda: _has_told(desk, 1, 2))
    task.cancel()


async def _sleeps(desk: Desk) -> bool:
    await desk.rows("SELECT 1")
    return bool(desk.clock._sleepers)


async def _has_told(desk: Desk, contact: int, many: int) -> bool:
    return len(await desk.told(contact)) >= many


# --- as far as hand-off, on both engines ---


async def test_a_lead_that_falls_below_what_it_was_handed_over_for_keeps_its_hand_off(
    engine: Engine, bus: Bus, new_database: Any
) -> None:
    place = new_database()
    for service in ("scoring", "handoff"):
        await asyncio.to_thread(migrate, place, service)
    process = Process(place, bus, AGREEMENT)
    try:
        await bus.publish([to_record(fact, source="ingest") for fact in (person(1), form(1), form(2, "ebook"))])
        await until(lambda: _is_handed_over(bus))
        await until(lambda: _scores(bus, 3))
        process.parts.clock.advance(60 * DAY)  # type: ignore[attr-defined]
        await until(lambda: _scores(bus, 5))
        await until(lambda: _heard(process, 5))
    finally:
        await process.close()
    fallen = [one for one in await said_on(bus, "lead.scores") if one.is_fading]
    assert {(one.lead, one.grade) for one in fallen} == {(name(1), "A4"), (name(2), "D4")}
    handed = [one for one in await said_on(bus, "lead.handoffs") if isinstance(one, LeadHandedOff)]
    assert [one.lead for one in handed] == [name(1)]


async def _is_handed_over(bus: Bus) -> bool:
    return any(isinstance(one, LeadHandedOff) for one in await said_on(bus, "lead.handoffs"))


async def _scores(bus: Bus, many: int) -> bool:
    return len(await said_on(bus, "lead.scores")) >= many


async def _heard(process: Process, many: int) -> bool:
    await asyncio.sleep(0)
    labels = {"service": "handoff", "type": "LeadScored", "outcome": "handled"}
    return (process.registry.get_sample_value("leadpact_messages_total", labels) or 0) >= many
