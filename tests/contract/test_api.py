"""Hand-off's API on a real PostgreSQL: commands for one and many, lists, who may do what and sees whose leads."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from typing import Any

import httpx
import msgspec
import pytest
import sqlalchemy as sa
from jsonschema import Draft202012Validator, FormatChecker
from msgspec.structs import replace
from sqlalchemy import event

from services.handoff import store
from services.handoff.app import build
from services.handoff.domain.machine import COMMANDS, Cause
from services.handoff.store import Place, TeamsSeen, Wanted
from shared.agreement.handoff import Handoff
from shared.events import HANDOFF_MESSAGES, ContactErased, ContactsMerged, identity
from shared.web import ROLES, Tokens, create_app
from tests.agreements import in_force, with_parts
from tests.contract.handoff_desk import AGREEMENT, DAY, HOUR, NOW, TENANT, URGENT, Desk, demo, desk, name, uri

__all__ = ["desk", "uri"]

TEAMS = AGREEMENT.handoff.teams
REASON = AGREEMENT.follow_up.reasons[0]
MANAGER = TEAMS["inbound"].manager
OUTSIDER = "greta@example.com"  # of another team
# What each command is told to do something sensible.
BODIES: dict[str, Any] = {
    "accept": None,
    "reject": {"reason": REASON},
    "attempts": {"channel": "phone", "outcome": "no_answer"},
    "qualify": None,
    "return": {"reason": REASON},
    "disqualify": {"reason": REASON},
    "nurture": {"track": "decision"},
    "pause": {"reason": "away"},
    "resume": None,
    "reassign": {"team": "dach"},
    "handoff": {},
}


def bearer(role: str, person: str = "") -> dict[str, str]:
    return {"Authorization": f"Bearer {role} {person}".strip()}


def entries() -> list[str]:
    people = {"", MANAGER, OUTSIDER, *TEAMS["inbound"].members}
    scoped = [(f"sales/{scope}", person) for scope in ("own", "team") for person in people if person]
    return [
        Tokens.entry(f"{role} {person}".strip(), role=role, person=person or f"a {role} person")
        for role, person in [*((role, "") for role in ROLES), *scoped]
    ]


@pytest.fixture
async def api(desk: Desk) -> AsyncIterator[httpx.AsyncClient]:
    desk.parts = dataclasses.replace(desk.parts, tokens=Tokens(entries()))
    transport = httpx.ASGITransport(create_app([build(desk.parts)], desk.parts), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://handoff", headers=bearer("sales")) as client:
        yield client


async def lead_of(api: httpx.AsyncClient, contact: int) -> dict[str, Any]:
    answer = await api.get(f"/leads/{name(contact)}", headers=bearer("admin"))
    found: dict[str, Any] = answer.json()
    return found


async def told(api: httpx.AsyncClient, contact: int) -> list[dict[str, Any]]:
    answer = await api.get(f"/leads/{name(contact)}/timeline", headers=bearer("admin"))
    messages: list[dict[str, Any]] = answer.json()["messages"]
    return messages


async def ordered(api: httpx.AsyncClient, command: str, contact: int = 1, **more: Any) -> httpx.Response:
    return await api.post(f"/leads/{name(contact)}/{command}", json=BODIES[command], **more)


async def bulk(api: httpx.AsyncClient, command: str, *contacts: int, **more: Any) -> httpx.Response:
    body = {"leads": [name(contact) for contact in contacts], **(BODIES[command] or {})}
    return await api.post(f"/leads/bulk/{command}", json=body, **more)


async def spoil(desk: Desk, contact: int) -> None:
    """Write what another version might, and this one does not understand."""
    sql = "UPDATE handoff.leads SET document = CAST('{}' AS bytea) WHERE lead = :lead"
    async with desk.engine.begin() as conn:
        await conn.execute(sa.text(sql), {"lead": name(contact)})


# --- commands ---


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("accept", "LeadAccepted"),
        ("reject", "LeadRejected"),
        ("attempts", "AttemptRecorded"),
        ("qualify", "LeadQualified"),
        ("return", "LeadReturned"),
        ("disqualify", "LeadDisqualified"),
        ("nurture", "NurtureStarted"),
        ("pause", "ClockPaused"),
        ("reassign", "LeadAssigned"),
    ],
)
async def test_a_command_is_told_of_with_who_gave_it(
    desk: Desk, api: httpx.AsyncClient, command: str, message: str
) -> None:
    await desk.hears(demo(1))
    answer = await ordered(api, command)
    assert answer.status_code == 200
    last = next(one for one in reversed(await told(api, 1)) if one["type"] == message)
    assert last["actor"] == "a sales person"
    assert answer.json()["version"] == (await told(api, 1))[-1]["version"]


async def test_a_paused_lead_is_resumed_and_what_is_possible_follows(desk: Desk, api: httpx.AsyncClient) -> None:
    await desk.hears(demo(1))
    paused = (await ordered(api, "pause")).json()
    assert paused["pause"]["reason"] == "away"
    assert [clock["paused"] for clock in paused["clocks"]] == [True]
    assert ("resume" in paused["possible"], "pause" in paused["possible"]) == (True, False)
    refused = await ordered(api, "pause")
    assert refused.status_code == 409
    assert refused.json()["possible"] == paused["possible"]
    resumed = (await ordered(api, "resume")).json()
    assert (resumed["pause"], "pause" in resumed["possible"]) == (None, True)


async def test_a_lead_with_marketing_is_handed_over_by_hand_to_who_was_chosen(
    desk: Desk, api: httpx.AsyncClient
) -> None:
    await desk.hears(demo(1))
    await ordered(api, "reject")
    body = {"priority": "urgent", "owner": OUTSIDER}
    lead = (await api.post(f"/leads/{name(1)}/handoff", json=body, headers=bearer("marketing"))).json()
    assert (lead["state"], lead["episode"], lead["team"], lead["owner"], lead["priority"], lead["trigger"]) == (
        *("handed_off", 2, "dach", OUTSIDER, "urgent", "by_hand"),
    )


@pytest.mark.parametrize(
    ("command", "body", "code"),
    [
        ("reassign", {"owner": "nobody@example.com"}, "unknown_owner"),
        ("reassign", {"team": "mars"}, "unknown_team"),
        ("reassign", {}, "nobody_named"),
        ("nurture", {"track": "mars"}, "unknown_track"),
        ("pause", {"reason": "away", "until": "2001-01-01T00:00:00Z"}, "in_the_past"),
        ("return", {"reason": "because"}, "unknown_reason"),
        ("pause", {"reason": ""}, "invalid"),
        ("pause", {"reason": "gone fishing with Ada"}, "unknown_reason"),
        ("reassign", {"owner": OUTSIDER, "mood": "good"}, "invalid"),
    ],
)
async def test_what_the_agreement_does_not_know_is_refused_by_its_code_and_changes_nothing(
    desk: Desk, api: httpx.AsyncClient, command: str, body: dict[str, Any], code: str
) -> None:
    await desk.hears(demo(1))
    before = await lead_of(api, 1)
    answer = await api.post(f"/leads/{name(1)}/{command}", json=body)
    assert (answer.status_code, answer.json()["title"]) == (422, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert await lead_of(api, 1) == before


async def test_a_priority_that_the_agreement_does_not_know_is_refused(desk: Desk, api: httpx.AsyncClient) -> None:
    await desk.hears(demo(1))
    await ordered(api, "reject")
    answer = await api.post(f"/leads/{name(1)}/handoff", json={"priority": "hot"})
    assert (answer.status_code, answer.json()["title"]) == (422, "unknown_priority")


# --- versions ---


async def test_an_answer_carries_the_version_as_its_etag(desk: Desk, api: httpx.AsyncClient) -> None:
    await desk.hears(demo(1))
    read = await api.get(f"/leads/{name(1)}")
    assert read.headers["etag"] == f'"{read.json()["version"]}"'
    done = await ordered(api, "accept", headers={"If-Match": read.headers["etag"]})
    assert done.status_code == 200
    assert done.headers["etag"] == f'"{done.json()["version"]}"'
    assert done.headers["etag"] != read.headers["etag"]


async def test_a_command_on_a_version_that_is_stale_is_not_done_and_hears_the_one_of_now(
    desk: Desk, api: httpx.AsyncClient
) -> None:
    await desk.hears(demo(1))
    stale = (await api.get(f"/leads/{name(1)}")).headers["etag"]
    now = (await ordered(api, "accept")).json()["version"]
    answer = await ordered(api, "qualify", headers={"If-Match": stale})
    assert (answer.status_code, answer.json()["title"]) == (412, "stale")
    assert (answer.json()["version"], answer.headers["etag"]) == (now, f'"{now}"')
    assert (await lead_of(api, 1))["state"] == "accepted"


async def test_a_command_that_comes_again_is_not_stale_by_its_own_doing(desk: Desk, api: httpx.AsyncClient) -> None:
    await desk.hears(demo(1))
    etag = (await api.get(f"/leads/{name(1)}")).headers["etag"]
    again = {"If-Match": etag, "Idempotency-Key": "k"}
    answers = [await ordered(api, "accept", headers=again) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].headers["etag"] == answers[1].headers["etag"]


@pytest.mark.parametrize(("match", "status"), [("*", 200), ("3", 422), ('W/"3"', 422), ("", 422)])
async def test_if_match_is_an_etag_or_a_star(desk: Desk, api: httpx.AsyncClient, match: str, status: int) -> None:
    await desk.hears(demo(1))
    assert (await ordered(api, "accept", headers={"If-Match": match})).status_code == status


@pytest.mark.parametrize("command", ["attempts", "bulk/attempts"])
async def test_another_request_under_the_same_key_is_refused_and_not_taken_for_done(
    desk: Desk, api: httpx.AsyncClient, command: str
) -> None:
    await desk.hears(demo(1))
    path = "/leads/bulk/attempts" if command.startswith("bulk") else f"/leads/{name(1)}/attempts"
    leads = {"leads": [name(1)]} if command.startswith("bulk") else {}
    key = {**bearer("sales"), "Idempotency-Key": "k"}
    call, email = {"channel": "phone", "outcome": "no_answer"}, {"channel": "email", "outcome": "sent"}
    first = await api.post(path, json=leads | call, headers=key)
    other = await api.post(path, json=leads | email, headers=key)
    again = await api.post(path, json={"outcome": "no_answer", "channel": "phone"} | leads, headers=key)
    refused = other.json()["results"][0]["problem"] if leads else other.json()
    assert (refused["status"], refused["title"]) == (422, "key_reused")
    assert (first.status_code, again.status_code) == (200, 200)
    assert [one["channel"] for one in (await lead_of(api, 1))["attempts"]] == ["phone"]


# --- many at once ---


@pytest.mark.parametrize("command", list(BODIES))
async def test_every_command_can_be_given_for_many(desk: Desk, api: httpx.AsyncClient, command: str) -> None:
    await desk.hears(demo(1), demo(2))
    for first in {"resume": ["pause"], "handoff": ["reject"]}.get(command, []):
        await bulk(api, first, 1, 2)
    answer = await bulk(api, command, 1, 2)
    assert answer.status_code == 200
    assert (answer.json()["done"], answer.json()["failed"]) == (2, 0)
    for contact, result in zip((1, 2), answer.json()["results"], strict=True):
        lead = await lead_of(api, contact)
        assert result == {
            "lead": name(contact),
            "status": 200,
            "state": lead["state"],
            "version": lead["version"],
            "replayed": False,
            "problem": None,
        }


async def test_what_is_wrong_with_one_lead_is_told_of_that_one_and_stops_no_other(
    desk: Desk, api: httpx.AsyncClient
) -> None:
    await desk.hears(demo(1), demo(2), demo(3), demo(4))
    await ordered(api, "qualify", 2)
    await spoil(desk, 3)
    said = (await bulk(api, "accept", 99, 2, 3, 1)).json()
    assert [(one["lead"], one["status"]) for one in said["results"]] == [
        *((name(99), 404), (name(2), 409), (name(3), 500), (name(1), 200)),
    ]
    assert (said["done"], said["failed"]) == (1, 3)
    assert said["results"][1]["problem"]["possible"] == (await lead_of(api, 2))["possible"]
    assert (await lead_of(api, 1))["state"] == "accepted"
    assert (await lead_of(api, 4))["state"] == "handed_off"


async def test_many_that_come_again_under_their_key_are_done_once_and_those_that_failed_are_tried(
    desk: Desk, api: httpx.AsyncClient
) -> None:
    await desk.hears(demo(1))
    key = {"Idempotency-Key": "k"}
    assert (await bulk(api, "attempts", 1, 2, headers=key)).json()["failed"] == 1
    await desk.hears(demo(2))
    again = (await bulk(api, "attempts", 1, 2, headers=key)).json()
    assert [(one["status"], one["replayed"]) for one in again["results"]] == [(200, True), (200, False)]
    assert [len((await lead_of(api, contact))["attempts"]) for contact in (1, 2)] == [1, 1]


async def test_a_lead_that_is_named_twice_is_refused_before_anything_is_done(
    desk: Desk, api: httpx.AsyncClient
) -> None:
    await desk.hears(demo(1), demo(2))
    answer = await bulk(api, "accept", 1, 2, 1)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["where"] == "body.leads"
    assert error["why"].endswith("must name each lead once: number 3 is number 1 again")
    assert (await lead_of(api, 1))["state"] == "handed_off"


@pytest.mark.parametrize(("leads", "status"), [(0, 422), (1, 200), (500, 200), (501, 422)])
async def test_many_are_five_hundred_at_most(desk: Desk, api: httpx.AsyncClient, leads: int, status: int) -> None:
    assert (await bulk(api, "accept", *range(leads))).status_code == status


async def test_many_have_no_version_in_common(desk: Desk, api: httpx.AsyncClient) -> None:
    await desk.hears(demo(1))
    assert (await bulk(api, "accept", 1, headers={"If-Match": '"3"'})).status_code == 422


# --- lists ---


async def pages(api: httpx.AsyncClient, **asked: Any) -> list[str]:
    """All leads of a list, page by page."""
    found: list[str] = []
    following = ""
    while following is not None:
        answer = await api.get("/leads", params={**asked, "after": following})
        assert answer.status_code == 200, answer.text
        found += [lead["lead"] for lead in answer.json()["leads"]]
        following = answer.json()["next"]
    return found


async def hear_at_three_times(desk: Desk) -> list[str]:
    """Leads of which many are due at the same moment; in the order in which they are due."""
    due: list[tuple[datetime, str]] = []
    for round_ in range(3):
        contacts = range(round_, 30, 3)
        for contact in reversed(contacts):  # the table has them in another order than the list
            await desk.hears(demo(contact, at=desk.clock.now()))
        due += [(desk.clock.now() + URGENT, name(contact)) for contact in contacts]
        desk.clock.advance(timedelta(minutes=1))
    return [lead for _, lead in sorted(due)]


@pytest.mark.parametrize("limit", [1, 7, 10, 30, 31])
async def test_pages_by_due_time_neither_skip_nor_repeat_a_lead(desk: Desk, api: httpx.AsyncClient, limit: int) -> None:
    expected = await hear_at_three_times(desk)
    assert await pages(api, order="due", limit=limit) == expected
    assert await pages(api, limit=limit) == sorted(expected)


async def test_what_nobody_owes_anything_is_in_no_list_by_due_time(desk: Desk, api: httpx.AsyncClient) -> None:
    await desk.hears(demo(1), demo(2))
    await ordered(api, "reject", 1)
    assert await pages(api, order="due") == [name(2)]
    assert await pages(api) == [name(1), name(2)]


async def test_lists_by_due_time_are_narrowed_as_all_lists(desk: Desk, api: httpx.AsyncClient) -> None:
    expected = await hear_at_three_times(desk)
    await ordered(api, "accept", 4)
    await ordered(api, "reassign", 5)
    assert await pages(api, order="due", state="accepted") == [name(4)]
    assert await pages(api, order="due", team="dach") == [name(5)]
    owners = {lead: (await lead_of(api, int(lead.rpartition(":")[2])))["owner"] for lead in expected}
    one = owners[name(7)]
    assert await pages(api, order="due", limit=3, owner=one) == [lead for lead in expected if owners[lead] == one]
    until = (NOW + URGENT + timedelta(minutes=1)).isoformat()
    assert len(await pages(api, order="due", limit=4, due_before=until)) == 10


@pytest.mark.parametrize("cursor", ["hubspot:62515:1", "e30=", "é", "W10="])
async def test_a_page_starts_where_one_ended_and_nowhere_else(api: httpx.AsyncClient, cursor: str) -> None:
    answer = await api.get("/leads", params={"after": cursor})
    assert (answer.status_code, answer.json()["title"]) == (422, "bad_cursor")


async def test_the_end_of_a_page_of_another_order_is_no_start(desk: Desk, api: httpx.AsyncClient) -> None:
    await desk.hears(demo(1), demo(2))
    following = (await api.get("/leads", params={"limit": 1})).json()["next"]
    assert (await api.get("/leads", params={"after": following, "order": "due"})).status_code == 422


async def test_a_lead_that_cannot_be_read_is_left_out_of_its_page_and_told_of_once(
    desk: Desk, api: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    await desk.hears(*(demo(contact) for contact in range(1, 6)))
    await spoil(desk, 2)
    assert [await pages(api, limit=2) for _ in range(2)] == [[name(n) for n in (1, 3, 4, 5)]] * 2
    assert len([record for record in caplog.records if record.getMessage() == "leads_unreadable"]) == 1


@pytest.mark.parametrize("ask", ["GET", "POST"])
async def test_a_lead_that_cannot_be_read_is_a_problem_that_says_so(
    desk: Desk, api: httpx.AsyncClient, ask: str
) -> None:
    await desk.hears(demo(1))
    await spoil(desk, 1)
    answer = await (api.get(f"/leads/{name(1)}") if ask == "GET" else ordered(api, "accept"))
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert (answer.json()["title"], "another version" in answer.json()["detail"]) == ("unreadable", True)


async def test_a_page_is_found_by_an_index_and_not_sorted(desk: Desk) -> None:
    await fill(desk)
    for index, wanted in {
        "leads_pkey": [Wanted()],
        "leads_state": [Wanted(state="working")],
        "leads_team": [Wanted(team="t7"), Wanted(teams=TeamsSeen(others=("t7",)))],
        "leads_owner": [Wanted(owner="o7"), Wanted(mine="o7")],
        "leads_due": [
            Wanted(by_due=True),
            Wanted(by_due=True, after=Place(lead="x9", due_at=NOW + DAY)),
            Wanted(by_due=True, due_before=NOW + HOUR),
        ],
    }.items():
        for one in wanted:
            for said in await planned(desk, dataclasses.replace(one, limit=50)):
                assert f" using {index} " in said, (one, said)
                assert "Sort" not in said, (one, said)


async def planned(desk: Desk, wanted: Wanted) -> list[str]:
    """How the database would find a page, by the very words it is asked with: for these values, and for any."""
    asked: list[tuple[str, Any]] = []

    def keep(conn: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    event.listen(desk.engine.sync_engine, "before_cursor_execute", keep)
    async with desk.engine.connect() as conn:
        await store.listed(conn, wanted)
        statement, parameters = asked[-1]
        these = await conn.exec_driver_sql(f"EXPLAIN {statement}", parameters)
        await conn.exec_driver_sql(f"PREPARE page AS {statement}")
        await conn.exec_driver_sql("SET LOCAL plan_cache_mode = force_generic_plan")
        any_ = await conn.exec_driver_sql(f"EXPLAIN EXECUTE page({', '.join(['NULL'] * len(parameters))})")
        await conn.exec_driver_sql("DEALLOCATE page")
        said = ["\n".join(row[0] for row in rows) for rows in (these, any_)]
    event.remove(desk.engine.sync_engine, "before_cursor_execute", keep)
    return said


async def fill(desk: Desk) -> None:
    """Many leads, as a real floor has them: most with Marketing, of nobody, and with nothing due."""
    sql = """
        INSERT INTO handoff.leads (lead, state, team, owner, due_at, document)
        SELECT 'x' || n, CASE WHEN n % 10 = 0 THEN 'working' ELSE 'marketing' END,
            CASE WHEN n % 10 = 0 THEN 't' || n / 10 % 100 ELSE '' END,
            CASE WHEN n % 10 = 0 THEN 'o' || n / 10 % 100 ELSE '' END,
            CASE WHEN n % 10 = 0 THEN CAST(:now AS timestamptz) + n * interval '1 minute' END, :document
        FROM generate_series(1, 20000) AS n
    """
    document = msgspec.json.encode({"lead": "x"})
    async with desk.engine.begin() as conn:
        await conn.execute(sa.text(sql), {"now": NOW, "document": document})
    async with desk.engine.connect() as conn:
        await (await conn.execution_options(isolation_level="AUTOCOMMIT")).execute(sa.text("ANALYZE handoff.leads"))


# --- who may do what ---


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_gives_the_commands_that_are_its_own(desk: Desk, api: httpx.AsyncClient, role: str) -> None:
    await desk.hears(demo(1))
    allowed = {Cause.NURTURE, Cause.HAND_OFF} if role == "marketing" else set(COMMANDS)
    for command in COMMANDS:
        one = await ordered(api, command, headers=bearer(role))
        many = await bulk(api, command, 1, headers=bearer(role))
        assert (one.status_code != 403, many.status_code != 403) == (command in allowed,) * 2, command


async def test_marketing_reads_all(desk: Desk, api: httpx.AsyncClient) -> None:
    await desk.hears(demo(1))
    for path in ("/leads", f"/leads/{name(1)}", f"/leads/{name(1)}/timeline"):
        assert (await api.get(path, headers=bearer("marketing"))).status_code == 200


def among(owner: str, *, mine: bool) -> str:
    """The owner, or a colleague of the same team."""
    return owner if mine else next(person for person in TEAMS["inbound"].members if person != owner)


@pytest.mark.parametrize(
    ("who", "sees"),
    [
        (lambda owner: bearer("sales/own", owner), True),
        (lambda owner: bearer("sales/own", among(owner, mine=False)), False),
        (lambda owner: bearer("sales/own", MANAGER), False),
        (lambda owner: bearer("sales/team", among(owner, mine=False)), True),
        (lambda owner: bearer("sales/team", MANAGER), True),
        (lambda owner: bearer("sales/team", OUTSIDER), False),
        (lambda owner: bearer("sales"), True),
    ],
)
async def test_a_lead_out_of_scope_is_as_one_that_is_not_there(
    desk: Desk, api: httpx.AsyncClient, who: Callable[[str], dict[str, str]], sees: bool
) -> None:
    await desk.hears(demo(1))
    headers = who((await lead_of(api, 1))["owner"])
    nowhere = await api.get(f"/leads/{name(99)}", headers=headers)
    answers = [await api.get(f"/leads/{name(1)}{more}", headers=headers) for more in ("", "/timeline")]
    answers.append(await ordered(api, "accept", headers=headers))
    assert await pages_as(api, headers) == ([name(1)] if sees else [])
    assert [answer.status_code for answer in answers] == [200 if sees else 404] * 3
    assert sees or {answer.text for answer in answers} == {nowhere.text}
    result = (await bulk(api, "pause", 1, headers=headers)).json()["results"][0]
    assert result["status"] == (200 if sees else 404)
    assert bool((await lead_of(api, 1))["pause"]) is sees


@pytest.mark.parametrize("whose", [TENANT, ""])
async def test_a_team_is_seen_by_those_whom_the_agreement_of_the_lead_s_tenant_lists(
    desk: Desk, api: httpx.AsyncClient, whose: str
) -> None:
    """OUTSIDER is in inbound of `whose` agreement alone; there are leads of both."""
    stranger = replace(demo(1), id=identity("strange"), tenant="hubspot:7", lead="hubspot:7:1")
    teams = {"inbound": {"members": {OUTSIDER: 1}}, "dach": AGREEMENT.handoff.teams["dach"]}
    handoff = {name: getattr(AGREEMENT.handoff, name) for name in type(AGREEMENT.handoff).model_fields}
    with_outsider = Handoff.model_validate({**handoff, "teams": {**AGREEMENT.handoff.teams, **teams}})
    own = with_parts(AGREEMENT, tenant=TENANT, **({"handoff": with_outsider} if whose else {}))
    others = with_parts(AGREEMENT, **({} if whose else {"handoff": with_outsider}))
    desk.parts.agreements.swap(in_force(own, others))
    await desk.hears(demo(1), stranger)
    seen, unseen = (name(1), stranger.lead) if whose else (stranger.lead, name(1))
    headers = bearer("sales/team", OUTSIDER)
    assert await pages_as(api, headers) == [seen]
    assert [(await api.get(f"/leads/{lead}", headers=headers)).status_code for lead in (seen, unseen)] == [200, 404]


async def pages_as(api: httpx.AsyncClient, headers: dict[str, str]) -> list[str]:
    answers = [await api.get("/leads", params={"order": order}, headers=headers) for order in ("lead", "due")]
    by_key, by_due = ([lead["lead"] for lead in answer.json()["leads"]] for answer in answers)
    assert by_key == by_due
    return by_key


async def test_a_narrowed_list_is_not_widened_by_what_is_asked(desk: Desk, api: httpx.AsyncClient) -> None:
    await desk.hears(demo(1))
    owner = (await lead_of(api, 1))["owner"]
    other = bearer("sales/own", among(owner, mine=False))
    assert (await api.get("/leads", params={"owner": owner}, headers=other)).json()["leads"] == []
    team = bearer("sales/team", OUTSIDER)
    assert (await api.get("/leads", params={"team": "inbound"}, headers=team)).json()["leads"] == []


async def test_the_timeline_of_a_lead_that_is_gone_is_for_who_sees_all(desk: Desk, api: httpx.AsyncClient) -> None:
    await desk.hears(demo(1))
    owner = (await lead_of(api, 1))["owner"]
    await desk.hears(ContactErased(id=identity("e"), tenant=TENANT, at=NOW, lead=name(1), privacy=True))
    path = f"/leads/{name(1)}/timeline"
    assert (await api.get(path, headers=bearer("sales"))).status_code == 200
    assert (await api.get(path, headers=bearer("sales/own", owner))).status_code == 404


def merge(survivor: int, other: int) -> ContactsMerged:
    id_ = identity("merge", survivor, other)
    return ContactsMerged(id=id_, tenant=TENANT, at=NOW, lead=name(survivor), merged=(name(other),))


async def test_a_lead_that_was_merged_away_says_what_it_is_part_of_by_now(desk: Desk, api: httpx.AsyncClient) -> None:
    await desk.hears(demo(1), demo(2), demo(3))
    await desk.hears(merge(2, 1), merge(3, 2))
    for answer in (await api.get(f"/leads/{name(1)}"), await ordered(api, "accept")):
        assert (answer.status_code, answer.json()["title"]) == (404, "unknown")
        assert answer.json()["merged_into"] == name(3)
    assert [one["merged"] for one in await told(api, 3) if one["type"] == "LeadsMerged"] == [name(2)]


async def test_who_may_not_see_the_survivor_hears_nothing_of_it(desk: Desk, api: httpx.AsyncClient) -> None:
    await desk.hears(demo(1), demo(2))
    await desk.hears(merge(2, 1))
    other = bearer("sales/own", among((await lead_of(api, 2))["owner"], mine=False))
    answer = await api.get(f"/leads/{name(1)}", headers=other)
    assert (answer.status_code, "merged_into" in answer.json()) == (404, False)


@pytest.mark.parametrize(
    ("path", "strange", "why"),
    [
        ("/leads", "onwer", "did you mean owner?"),
        ("/leads", "colour", "there are state, team, owner, due_before, order, after, limit"),
        (f"/leads/{name(1)}/timeline", "limits", "did you mean limit?"),
        (f"/leads/{name(1)}", "limit", "there are no parameters here"),
    ],
)
async def test_a_parameter_that_is_none_is_refused_with_the_near_one(
    api: httpx.AsyncClient, path: str, strange: str, why: str
) -> None:
    answer = await api.get(path, params={strange: "x"})
    (mistake,) = answer.json()["errors"]
    assert (answer.status_code, mistake["where"]) == (422, f"query.{strange}")
    assert why in mistake["why"]


async def test_an_attempt_is_shown_with_all_that_was_told_of_it(desk: Desk, api: httpx.AsyncClient) -> None:
    await desk.hears(demo(1))
    said = {"channel": "phone", "direction": "outbound", "outcome": "voicemail", "duration_s": 42.0, "note": "twice"}
    (shown,) = (await api.post(f"/leads/{name(1)}/attempts", json=said)).json()["attempts"]
    assert shown | said == shown


async def test_what_the_lead_did_is_no_attempt_and_a_reply_after_one(desk: Desk, api: httpx.AsyncClient) -> None:
    await desk.hears(demo(1))
    inbound = {"channel": "phone", "direction": "inbound", "outcome": "connected"}
    before = (await api.post(f"/leads/{name(1)}/attempts", json=inbound)).json()
    assert (before["attempts"], before["state"], before["replied"]) == ([], "handed_off", False)
    await ordered(api, "attempts")
    after = (await api.post(f"/leads/{name(1)}/attempts", json=inbound)).json()
    assert (len(after["attempts"]), after["replied"]) == (1, True)


async def test_who_gives_a_lead_away_hears_that_it_is_done_and_no_more_of_it(
    desk: Desk, api: httpx.AsyncClient
) -> None:
    await desk.hears(demo(1))
    owner = (await lead_of(api, 1))["owner"]
    mine = {**bearer("sales/own", owner), "Idempotency-Key": "k"}
    for replayed in (None, "true"):
        answer = await ordered(api, "reassign", headers=mine)
        assert (answer.status_code, answer.headers.get("Idempotent-Replayed")) == (200, replayed)
        assert (answer.json()["team"], answer.json()["profile"], answer.json()["clocks"]) == ("dach", {}, [])
    assert (await api.get(f"/leads/{name(1)}", headers=mine)).status_code == 404


async def test_a_command_that_is_refused_is_logged_with_its_code_and_role_and_without_people(
    desk: Desk, api: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "leadpact.handoff")
    await desk.hears(demo(1))
    await ordered(api, "resume")
    await ordered(api, "accept", 99)
    await ordered(api, "accept", headers=bearer("marketing"))
    await bulk(api, "accept", 97, 98)
    fields = [record.__dict__["fields"] for record in caplog.records if record.getMessage() == "command_refused"]
    assert fields == [
        {"code": "impossible", "command": "resume", "role": "sales", "leads": 1},
        {"code": "unknown", "command": "accept", "role": "sales", "leads": 1},
        {"code": "forbidden", "command": "accept", "role": "marketing", "leads": 1},
        {"code": "unknown", "command": "accept", "role": "sales", "leads": 2},
    ]


# --- what a front-end is built on ---


async def described(api: httpx.AsyncClient) -> dict[str, Any]:
    found: dict[str, Any] = (await api.get("/openapi.json")).json()
    return found


async def test_every_command_is_described_for_one_lead_and_for_many(api: httpx.AsyncClient) -> None:
    paths = (await described(api))["paths"]
    wanted = {f"/leads/{where}/{command}" for where in ("{lead}", "bulk") for command in COMMANDS}
    assert wanted <= {path for path, operations in paths.items() if "post" in operations}
    for path in wanted:
        operation = paths[path]["post"]
        assert operation["description"]
        assert {"Idempotency-Key", "If-Match"} <= {one["name"] for one in operation["parameters"]}
        assert {"401", "403", "422", "503"} <= set(operation["responses"])
        assert ("headers" in operation["responses"]["200"]) is ("{lead}" in path)


async def test_every_answer_has_a_shape_and_every_reference_leads_somewhere(api: httpx.AsyncClient) -> None:
    spec = await described(api)
    own = {path: one for path, one in spec["paths"].items() if path.startswith("/leads")}
    for path, operations in own.items():
        for operation in operations.values():
            assert "$ref" in operation["responses"]["200"]["content"]["application/json"]["schema"], path
            for status, answer in operation["responses"].items():
                assert status == "200" or list(answer["content"]) == ["application/problem+json"], (path, status)
    known = {f"#/components/schemas/{one}" for one in spec["components"]["schemas"]}
    assert set(references(spec)) <= known


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [one for part in value.values() for one in references(part)]
    return [one for part in value for one in references(part)] if isinstance(value, list) else []


def fits(spec: dict[str, Any], view: str, answer: Any) -> list[str]:
    """What of an answer is not as described."""
    schema = {"$ref": f"#/components/schemas/{view}", "components": spec["components"]}
    return [error.message for error in Draft202012Validator(schema, format_checker=FormatChecker()).iter_errors(answer)]


async def test_each_message_of_a_timeline_is_described_by_its_type_with_all_its_fields(
    desk: Desk, api: httpx.AsyncClient
) -> None:
    await desk.hears(demo(1), demo(2))
    for command in ("accept", "pause", "resume", "attempts"):
        await ordered(api, command)
    await desk.hears(ContactsMerged(id=identity("m"), tenant=TENANT, at=NOW, lead=name(1), merged=(name(2),)))
    await ordered(api, "return")
    schemas = (spec := await described(api))["components"]["schemas"]
    kinds = {message["type"] for message in await told(api, 1)}
    assert {"LeadHandedOff", "ClockPaused", "ClockResumed", "ClockMet", "LeadsMerged", "LeadReturned"} <= kinds
    for message in await told(api, 1):
        assert fits(spec, "TimelineMessage", message) == []
        assert set(message) == set(schemas[message["type"]]["properties"])
    older = {key: value for key, value in message.items() if key not in ("team", "cool_down_until")}
    assert fits(spec, "TimelineMessage", older) == []  # as told before there were these
    assert fits(spec, "TimelineMessage", {**message, "type": "LeadScored"})  # none of a timeline
    assert fits(spec, "TimelineMessage", {**message, "at": 5})


async def test_every_type_of_message_is_one_of_a_timeline_s(api: httpx.AsyncClient) -> None:
    schema = (await described(api))["components"]["schemas"]["TimelineMessage"]
    assert set(schema["discriminator"]["mapping"]) == {kind.__name__ for kind in HANDOFF_MESSAGES}
    assert schema["discriminator"]["propertyName"] == "type"


async def test_an_answer_is_what_its_description_says(desk: Desk, api: httpx.AsyncClient) -> None:
    await desk.hears(demo(1))
    await ordered(api, "attempts")
    spec = await described(api)
    for view, answer in {
        "LeadView": await lead_of(api, 1),
        "Timeline": (await api.get(f"/leads/{name(1)}/timeline")).json(),
        "ProblemView": (await ordered(api, "resume")).json(),
    }.items():
        assert fits(spec, view, answer) == []
        schema = spec["components"]["schemas"][view]
        assert schema.get("additionalProperties") or set(answer) <= set(schema["properties"])
    assert json.dumps(spec["components"]["schemas"]["LeadView"]["properties"]["due_at"]).count("date-time") == 1
