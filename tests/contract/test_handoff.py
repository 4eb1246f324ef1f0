"""Hand-off on a real PostgreSQL: one transaction, each fact once, versions without holes, the API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timezone
from typing import Any

import httpx
import msgspec
import pytest
import sqlalchemy as sa

from services.handoff.app import build
from shared.events import ContactErased, ContactsMerged, DealChanged, identity
from shared.web import create_app
from tests.contract.handoff_desk import (
    AGREEMENT,
    EMAIL,
    HOUR,
    NOW,
    TABLES,
    TENANT,
    URGENT,
    Desk,
    call,
    demo,
    desk,
    name,
    other,
    records,
    uri,
)

__all__ = ["desk", "other", "uri"]

SALES = {"Authorization": "Bearer sales"}
REASON = AGREEMENT.follow_up.reasons[0]


@pytest.fixture
async def api(desk: Desk) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app([build(desk.parts)], desk.parts)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://handoff", headers=SALES) as client:
        yield client


# --- one transaction ---


async def test_a_hand_off_is_state_clock_timeline_and_messages_in_one_commit(desk: Desk) -> None:
    await desk.hears(demo(1))
    assert await desk.kinds(1) == ["LeadHandedOff", "LeadAssigned", "ClockStarted"]
    ((state, due_at),) = await desk.rows("SELECT state, due_at FROM handoff.leads")
    assert (state, due_at) == ("handed_off", NOW + URGENT)
    assert await desk.count("clocks") == 1
    assert await desk.count("outbox") == 3


async def test_a_lead_with_a_character_in_its_name_that_no_database_keeps_is_handed_over_without_it(
    desk: Desk, api: httpx.AsyncClient
) -> None:
    odd = {"firstname": "A\0d\0\0a", "company": r"C:\u0000\\u0000", "email": EMAIL}
    await desk.hears(msgspec.structs.replace(demo(1), profile=odd))
    assert await desk.kinds(1) == ["LeadHandedOff", "LeadAssigned", "ClockStarted"]
    (handed, *_) = (await api.get(f"/leads/{name(1)}/timeline")).json()["messages"]
    assert handed["information"] == odd | {"firstname": "Ada"}
    await desk.hears(ContactErased(id=identity("gone", 1), tenant=TENANT, at=NOW + HOUR, lead=name(1), privacy=True))
    assert not [text for (text,) in await desk.rows("SELECT body::text FROM handoff.timeline") if EMAIL in text]


async def test_a_crash_before_the_commit_leaves_nothing_and_the_next_try_everything(desk: Desk) -> None:
    with pytest.raises(RuntimeError):
        await desk.crashing().handle(records(demo(1)))
    assert [await desk.count(table) for table in TABLES] == [0] * len(TABLES)
    await desk.hears(demo(1))
    assert await desk.kinds(1) == ["LeadHandedOff", "LeadAssigned", "ClockStarted"]


async def test_a_record_that_comes_again_changes_nothing(desk: Desk) -> None:
    await desk.hears(demo(1), demo(1))
    await desk.hears(demo(1))
    assert len(await desk.kinds(1)) == 3


async def test_two_instances_that_hear_of_the_same_leads_at_once_leave_no_holes(desk: Desk, other: Desk) -> None:
    await desk.hears(*(demo(contact) for contact in range(20)))
    desk.clock.advance(HOUR / 4)
    now = desk.clock.now()
    await asyncio.gather(
        desk.hears(*(call(contact, now, number=1) for contact in range(20))),
        other.hears(*(call(contact, now, number=2) for contact in reversed(range(20)))),
    )
    sql = "SELECT lead, count(*), max(version) AS last FROM handoff.timeline GROUP BY lead"
    found = await desk.rows(sql)
    assert len(found) == 20
    assert all(row.count == row.last for row in found)
    attempts = await desk.rows("SELECT body->>'number' FROM handoff.timeline WHERE type = 'AttemptRecorded'")
    assert sorted(number for (number,) in attempts) == ["1"] * 20 + ["2"] * 20


async def test_a_new_lead_heard_of_by_two_instances_at_once_has_one_life(desk: Desk, other: Desk) -> None:
    await asyncio.gather(*(one.hears(demo(1, version=version)) for version, one in ((1, desk), (2, other))))
    assert (await desk.kinds(1)).count("LeadHandedOff") == 1


async def test_a_record_about_a_lead_that_cannot_be_read_waits_in_dead_letters_and_holds_up_no_other(
    desk: Desk,
) -> None:
    await desk.hears(demo(1))
    async with desk.engine.begin() as conn:
        await conn.execute(sa.text("UPDATE handoff.leads SET document = CAST('{}' AS bytea)"))
    await desk.hears(demo(1, version=2), demo(2))
    (letter,) = await desk.rows("SELECT value FROM handoff.outbox WHERE topic = 'dead.letters'")
    assert msgspec.json.decode(letter.value)["reason"] == "unreadable"
    assert "LeadHandedOff" in await desk.kinds(2)


async def test_a_merge_ends_the_clocks_of_the_lead_that_is_no_more(desk: Desk) -> None:
    await desk.hears(demo(1), demo(2))
    merge = ContactsMerged(id=identity("merge"), tenant=TENANT, at=NOW, lead=name(1), merged=(name(2),))
    await desk.hears(merge)
    assert await desk.rows("SELECT lead FROM handoff.clocks WHERE next_at IS NOT NULL") == [(name(1),)]
    assert (await desk.kinds(2))[-1] == "ClockCancelled"


async def test_a_call_to_a_merged_lead_that_is_heard_of_late_counts_for_the_survivor(desk: Desk) -> None:
    await desk.hears(demo(1))
    for survivor, merged in ((1, 2), (2, 3)):
        id_ = identity("merge", survivor)
        await desk.hears(ContactsMerged(id=id_, tenant=TENANT, at=NOW, lead=name(survivor), merged=(name(merged),)))
    await desk.hears(call(3, NOW + HOUR), demo(3, version=7, at=NOW + HOUR))
    assert "AttemptRecorded" in await desk.kinds(1)
    assert await desk.kinds(2) == await desk.kinds(3) == []
    assert await desk.rows("SELECT state FROM handoff.leads WHERE lead = :lead", lead=name(1)) == [("working",)]
    ((document,),) = await desk.rows("SELECT document FROM handoff.leads WHERE lead = :lead", lead=name(1))
    assert msgspec.json.decode(document)["score"]["version"] == 1  # its own
    await desk.hears(ContactErased(id=identity("e"), tenant=TENANT, at=NOW, lead=name(3), privacy=True))
    assert (await desk.kinds(1))[-1] == "LeadErased"


async def test_what_is_heard_of_a_deleted_lead_waits_for_the_merge_and_counts_for_the_survivor(desk: Desk) -> None:
    won = DealChanged(id=identity("d"), tenant=TENANT, at=NOW + HOUR, lead=name(2), deal="deal:1", stage="closedwon")
    await desk.hears(demo(2))
    await desk.hears(ContactErased(id=identity("e"), tenant=TENANT, at=NOW, lead=name(2), privacy=False))
    await desk.hears(call(2, NOW), won)
    assert (await desk.kinds(2))[-1] == "LeadErased"
    await desk.hears(ContactsMerged(id=identity("m"), tenant=TENANT, at=NOW, lead=name(1), merged=(name(2),)))
    assert {"AttemptRecorded", "DealWon"} <= set(await desk.kinds(1))


async def test_an_erased_lead_leaves_nothing_of_the_person_in_any_table(desk: Desk) -> None:
    await desk.hears(demo(1))
    await desk.hears(ContactErased(id=identity("erase"), tenant=TENANT, at=NOW, lead=name(1), privacy=True))
    for text in ("convert_from(document, 'UTF8') FROM handoff.leads", "body::text FROM handoff.timeline"):
        assert not [row for (row,) in await desk.rows(f"SELECT {text}") if EMAIL in row]
    assert (await desk.kinds(1))[-1] == "LeadErased"


async def test_a_merge_of_which_nothing_is_told_leaves_nothing_of_the_person_that_is_no_more(
    desk: Desk, api: httpx.AsyncClient
) -> None:
    await desk.hears(demo(2))
    await api.post(f"/leads/{name(2)}/reject", json={"reason": REASON})
    assert [text for (text,) in await desk.rows("SELECT body::text FROM handoff.timeline") if EMAIL in text]
    await desk.hears(ContactsMerged(id=identity("m"), tenant=TENANT, at=NOW, lead=name(1), merged=(name(2),)))
    await desk.hears(ContactErased(id=identity("e"), tenant=TENANT, at=NOW, lead=name(1), privacy=True))
    assert not [text for (text,) in await desk.rows("SELECT body::text FROM handoff.timeline") if EMAIL in text]


# --- the API ---


async def test_a_lead_s_page_shows_where_it_stands_what_runs_and_what_is_possible(
    desk: Desk, api: httpx.AsyncClient
) -> None:
    await desk.hears(demo(1))
    shown = (await api.get(f"/leads/{name(1)}")).json()
    assert shown["state"] == "handed_off"
    assert shown["clocks"][0]["due_at"] == (NOW + URGENT).isoformat()
    assert "reject" in shown["possible"]


async def test_the_timeline_tells_everything_in_order(desk: Desk, api: httpx.AsyncClient) -> None:
    await desk.hears(demo(1))
    messages = (await api.get(f"/leads/{name(1)}/timeline")).json()["messages"]
    assert [message["version"] for message in messages] == [1, 2, 3]


async def test_a_command_is_done_once_however_often_it_is_sent(desk: Desk, api: httpx.AsyncClient) -> None:
    await desk.hears(demo(1))
    body, key = {"channel": "phone", "outcome": "no_answer"}, {"Idempotency-Key": "k1"}
    answers = [await api.post(f"/leads/{name(1)}/attempts", json=body, headers=key) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[1].headers["Idempotent-Replayed"] == "true"
    assert len(answers[1].json()["attempts"]) == 1


async def test_a_key_is_that_of_one_person_for_one_command(desk: Desk, api: httpx.AsyncClient) -> None:
    await desk.hears(demo(1))
    key = {"Idempotency-Key": "1"}
    for command in ("accept", "attempts"):
        await api.post(f"/leads/{name(1)}/{command}", headers=key, json={"channel": "phone"})
    admin = key | {"Authorization": "Bearer admin"}
    answer = await api.post(f"/leads/{name(1)}/attempts", headers=admin, json={"channel": "phone"})
    assert len(answer.json()["attempts"]) == 2


async def test_a_time_told_in_another_zone_is_kept_in_utc(desk: Desk, api: httpx.AsyncClient) -> None:
    await desk.hears(demo(1))
    there = NOW.astimezone(timezone(2 * HOUR)).isoformat()
    await api.post(f"/leads/{name(1)}/attempts", json={"channel": "phone", "at": there})
    messages = (await api.get(f"/leads/{name(1)}/timeline")).json()["messages"]
    assert [m["at"] for m in messages if m["type"] == "AttemptRecorded"] == ["2026-03-02T09:00:00Z"]


async def test_an_impossible_command_is_a_conflict_that_says_what_is_possible(
    desk: Desk, api: httpx.AsyncClient
) -> None:
    await desk.hears(demo(1))
    await api.post(f"/leads/{name(1)}/qualify")
    answer = await api.post(f"/leads/{name(1)}/accept", headers={"Idempotency-Key": "k1"})
    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["title"] == "impossible"
    assert answer.json()["possible"] == ["return", "disqualify", "nurture", "reassign"]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (f"{name(1)}/reject", {"reason": "because"}, 422),
        (f"{name(1)}/reject", {}, 422),
        (f"{name(1)}/attempts", {"channel": "pigeon"}, 422),
        (f"{name(1)}/attempts", {"channel": "phone", "at": "2031-01-01T00:00:00Z"}, 422),
        (f"{name(99)}/accept", None, 404),
    ],
)
async def test_a_wrong_command_is_refused_and_changes_nothing(
    desk: Desk, api: httpx.AsyncClient, path: str, body: Any, status: int
) -> None:
    await desk.hears(demo(1))
    assert (await api.post(f"/leads/{path}", json=body)).status_code == status
    assert len(await desk.kinds(1)) == 3
    assert await desk.count("leads") == 1


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/leads", {"owner": "\x00"}),
        ("/leads", {"due_before": "0001-01-01T00:00:00+23:00"}),
        ("/leads/%00", {}),
        (f"/leads/{name(1)}/timeline", {"after": 2**64}),
    ],
)
async def test_a_question_that_the_database_cannot_be_asked_is_a_problem_of_who_asks(
    api: httpx.AsyncClient, path: str, asked: dict[str, Any]
) -> None:
    answer = await api.get(path, params=asked)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


async def test_without_a_token_or_with_another_role_nothing_is_done(desk: Desk, api: httpx.AsyncClient) -> None:
    await desk.hears(demo(1))
    nobody = await api.post(f"/leads/{name(1)}/accept", headers={"Authorization": ""})
    marketing = await api.post(f"/leads/{name(1)}/accept", headers={"Authorization": "Bearer marketing"})
    assert (nobody.status_code, marketing.status_code) == (401, 403)


async def test_every_way_back_is_a_command(desk: Desk, api: httpx.AsyncClient) -> None:
    await desk.hears(demo(1), demo(2), demo(3))
    for contact, command in ((1, "reject"), (2, "return"), (3, "disqualify")):
        assert (await api.post(f"/leads/{name(contact)}/{command}", json={"reason": REASON})).status_code == 200
    states = await desk.rows("SELECT state FROM handoff.leads ORDER BY lead")
    assert [state for (state,) in states] == ["returned", "returned", "disqualified"]


async def test_leads_are_listed_page_by_page_by_state_and_due_time(desk: Desk, api: httpx.AsyncClient) -> None:
    await desk.hears(*(demo(contact) for contact in range(1, 6)))
    first = (await api.get("/leads", params={"state": "handed_off", "limit": 3})).json()
    second = (await api.get("/leads", params={"limit": 3, "after": first["next"]})).json()
    assert [lead["lead"] for lead in first["leads"] + second["leads"]] == [name(contact) for contact in range(1, 6)]
    assert second["next"] is None
    soon = {"due_before": (NOW + URGENT).isoformat()}
    assert (await api.get("/leads", params=soon)).json()["leads"] == []
    team = first["leads"][0]["team"]
    assert len((await api.get("/leads", params={"team": team})).json()["leads"]) == 5
