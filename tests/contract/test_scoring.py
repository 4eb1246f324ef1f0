"""Scoring on a real PostgreSQL: one transaction, several instances, erasure, versions without holes, the API."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from shared.events import ContactChanged, ContactErased, ContactsMerged, PropertyValue
from tests.contract.scoring_desk import (
    AGREEMENT,
    DAY,
    EMAIL,
    NOW,
    TABLES,
    TENANT,
    Desk,
    about,
    api,
    desk,
    form,
    name,
    other,
    page,
    person,
    records,
    uri,
)

__all__ = ["api", "desk", "other", "uri"]


# --- one transaction, once, in order ---


async def test_a_score_is_stored_with_what_it_tells_in_one_commit(desk: Desk) -> None:
    await desk.hears(person(1), form(1))
    assert [(score["version"], score["grade"]) for score in await desk.told(1)] == [(1, "A4"), (2, "A1")]
    ((grade, version, agreement),) = await desk.rows("SELECT grade, version, agreement FROM scoring.leads")
    assert (grade, version, agreement) == ("A1", 2, AGREEMENT.version)


async def test_a_crash_before_the_commit_leaves_nothing_and_the_next_try_everything(desk: Desk) -> None:
    with pytest.raises(RuntimeError):
        await desk.crashing().handle(records(form(1)))
    assert await desk.counts() == [0] * len(TABLES)
    await desk.hears(form(1))
    assert len(await desk.told(1)) == 1


async def test_a_record_that_comes_again_tells_nothing_more(desk: Desk) -> None:
    await desk.hears(form(1), form(1))
    await desk.hears(form(1))
    assert len(await desk.told(1)) == 1


async def test_versions_have_no_holes_however_many_instances_hear_of_a_lead(desk: Desk, other: Desk) -> None:
    contacts = range(20)
    forms = [form(contact, f"form {n}") for n in range(5) for contact in contacts]
    visits = [page(contact, f"/pricing/{n}") for n in range(3) for contact in reversed(contacts)]
    await asyncio.gather(desk.hears(*forms), other.hears(*visits))
    await asyncio.gather(desk.hears(*(person(c) for c in contacts)), other.hears(*(form(c) for c in contacts)))
    for contact in contacts:
        versions = [score["version"] for score in await desk.told(contact)]
        assert versions == list(range(1, len(versions) + 1))
        assert (await desk.told(contact))[-1]["grade"] == "A1"


async def test_two_instances_that_begin_the_same_lead_at_once_begin_one(desk: Desk, other: Desk) -> None:
    await asyncio.gather(desk.hears(*map(person, range(50))), other.hears(*map(form, range(50))))
    for contact in range(50):
        assert [score["version"] for score in await desk.told(contact)] == [1, 2]


async def test_a_merge_and_a_fact_of_the_merged_lead_that_meet_in_two_instances_lose_no_version(
    desk: Desk, other: Desk
) -> None:
    await desk.hears(person(1), form(2))
    merge = about(ContactsMerged, 1, merged=(name(2),))
    await asyncio.gather(desk.hears(merge), other.hears(page(1, "/pricing"), form(2, "ebook")))
    versions = [score["version"] for score in await desk.told(1)]
    assert versions == list(range(1, len(versions) + 1))
    assert "demo-request" in [submission["form"] for submission in (await desk.told(1))[-1]["forms"]]
    ((state,),) = await desk.rows("SELECT grade FROM scoring.leads WHERE lead = :lead", lead=name(2))
    assert state is None


async def test_what_the_crm_writes_into_a_property_cannot_hold_up_the_others(desk: Desk) -> None:
    odd = about(ContactChanged, 1, values=(PropertyValue(name="jobtitle", value="CEO\0 of \ud7ff", at=NOW),))
    naive = PropertyValue(name="jobtitle", value="CEO", at=NOW.replace(tzinfo=None))
    await desk.hears(odd, about(ContactChanged, 2, values=(naive,)), form(3))
    assert [len(await desk.told(contact)) for contact in (1, 2, 3)] == [1, 0, 1]
    dead = await desk.rows("SELECT value FROM scoring.outbox WHERE topic = 'dead.letters'")
    assert [json.loads(row.value)["reason"] for row in dead] == ["undecodable"]


# --- forgetting ---


async def test_an_erased_person_leaves_nothing_where_scores_are_kept(desk: Desk) -> None:
    await desk.hears(person(1), form(1))
    await desk.hears(about(ContactErased, 1, privacy=True))
    await desk.hears(person(1), form(1, "ebook"))
    ((row,),) = await desk.rows("SELECT to_jsonb(l) - 'state' || jsonb_build_object('state', encode(state, 'escape'))"
                                " FROM scoring.leads AS l")  # fmt: skip
    assert EMAIL not in json.dumps(row)
    assert "CEO" not in json.dumps(row)
    assert (row["grade"], row["fit"], row["interest"]) == (None, None, None)


async def test_an_erasure_that_comes_first_keeps_what_comes_later_out(desk: Desk) -> None:
    await desk.hears(about(ContactErased, 1, privacy=True), person(1))
    assert await desk.told(1) == []
    ((state,),) = await desk.rows("SELECT encode(state, 'escape') FROM scoring.leads")
    assert EMAIL not in state


async def test_a_merged_lead_keeps_nothing_of_the_person(desk: Desk) -> None:
    await desk.hears(person(1), form(2), about(ContactsMerged, 2, merged=(name(1),)))
    ((state,),) = await desk.rows("SELECT encode(state, 'escape') FROM scoring.leads WHERE lead = :lead", lead=name(1))
    assert EMAIL not in state
    assert name(2) in state


async def test_what_comes_late_of_a_merged_lead_is_told_under_the_survivors_next_version(desk: Desk) -> None:
    await desk.hears(
        person(3), about(ContactsMerged, 3, merged=(name(2),)), about(ContactsMerged, 2, merged=(name(1),))
    )
    await desk.hears(form(1))
    assert [(score["version"], score["grade"]) for score in await desk.told(3)] == [(1, "A4"), (2, "A1")]
    assert await desk.told(1) == []


async def test_an_erasure_under_the_key_of_a_merged_lead_erases_the_survivor(desk: Desk) -> None:
    await desk.hears(person(1), form(2), about(ContactsMerged, 2, merged=(name(1),)))
    await desk.hears(about(ContactErased, 1, privacy=True), form(2, "ebook"))
    states = [state for (state,) in await desk.rows("SELECT encode(state, 'escape') FROM scoring.leads")]
    assert not [state for state in states if EMAIL in state or "demo-request" in state or "ebook" in state]
    assert await desk.rows("SELECT 1 FROM scoring.leads WHERE grade IS NOT NULL") == []


# --- the API ---


async def test_a_score_is_told_with_its_reasons_in_numbers_and_in_a_sentence(
    desk: Desk, api: httpx.AsyncClient
) -> None:
    await desk.hears(person(1), form(1))
    answer = (await api.get(f"/leads/{name(1)}/score")).json()
    assert (answer["grade"], answer["journey"], answer["version"]) == ("A1", "decision", 2)
    assert answer["agreement"] == AGREEMENT.version
    assert answer["fit"]["reasons"][0] == {"rule": "Role: decision maker", "points": 40}
    for part in (answer["fit"], answer["interest"]):
        assert sum(reason["points"] for reason in part["reasons"]) == part["points"]
    assert answer["sentence"].startswith("Grade A1: fit A with 80 points")


@pytest.mark.parametrize(
    ("query", "header", "code", "start"),
    [
        ("", "", "en", "Grade A1: fit A with 80 points"),
        ("", "ro-RO,ro;q=0.9,en;q=0.8", "ro", "Nota A1: potrivire A cu 80 de puncte"),
        ("?lang=ro", "en", "ro", "Nota A1: potrivire A cu 80 de puncte"),
        ("?lang=de", "ro", "en", "Grade A1: fit A with 80 points"),
    ],
)
async def test_a_score_is_told_in_the_language_asked_for_which_the_answer_names(
    desk: Desk, api: httpx.AsyncClient, query: str, header: str, code: str, start: str
) -> None:
    await desk.hears(person(1), form(1))
    answer = await api.get(f"/leads/{name(1)}/score{query}", headers={"Accept-Language": header})
    assert (answer.headers["Content-Language"], answer.headers["Vary"]) == (code, "Accept-Language")
    assert answer.json()["sentence"].startswith(start)


async def test_a_score_in_romanian_has_its_reasons_and_its_last_change_in_romanian(
    desk: Desk, api: httpx.AsyncClient
) -> None:
    await desk.hears(person(1), form(1))
    answer = (await api.get(f"/leads/{name(1)}/score", params={"lang": "ro"})).json()
    assert answer["fit"]["reasons"][0] == {"rule": "Rol: decision maker", "points": 40}
    asked = {one["rule"]: one["why"] for one in answer["asked"]}
    assert asked["Right size"] == "se îndeplinește: company.numberofemployees este între 50 și 1000 (80)"
    change = "Ultima schimbare, pe 2 martie 2026, 09:00 UTC, de la A4 la A1: a fost trimis formularul demo-request."
    assert answer["sentence"].endswith(change)
    assert answer["last_change"]["cause"]["text"] == "a fost trimis formularul demo-request"


async def test_a_lead_whose_scores_are_older_than_the_history_is_told_without_its_last_change(
    desk: Desk, api: httpx.AsyncClient
) -> None:
    await desk.hears(person(1))
    await desk.empty("history")
    answer = (await api.get(f"/leads/{name(1)}/score")).json()
    assert answer["last_change"] is None
    assert answer["sentence"].endswith("To find out: company.industry (Right industry: 20 points).")


async def test_a_score_tells_what_is_to_find_out_and_what_depends_on_it(desk: Desk, api: httpx.AsyncClient) -> None:
    await desk.hears(person(1))
    answer = (await api.get(f"/leads/{name(1)}/score")).json()
    unknown = [one for one in answer["to_find_out"] if one["rule"] == "Right industry"]
    assert unknown == [{"rule": "Right industry", "points": 20, "disqualify": "", "properties": ["company.industry"]}]


async def test_a_score_is_as_of_now_and_not_as_of_its_last_telling(desk: Desk, api: httpx.AsyncClient) -> None:
    await desk.hears(person(1), form(1))
    desk.clock.advance(30 * DAY)
    answer = (await api.get(f"/leads/{name(1)}/score")).json()
    assert (answer["grade"], answer["version"]) == ("A4", 2)
    assert answer["sentence"].endswith("Since then the interest has faded, and with it the grade to A4.")
    assert answer["as_of"] == desk.clock.now().isoformat().replace("+00:00", "Z")


@pytest.mark.parametrize("lead", [name(99), "nonsense", f"{TENANT}:%00", f"{TENANT}:2"])
async def test_a_lead_that_is_not_there_or_gone_is_unknown(desk: Desk, api: httpx.AsyncClient, lead: str) -> None:
    await desk.hears(person(1), form(2), about(ContactsMerged, 1, merged=(name(2),)))
    answer = await api.get(f"/leads/{lead}/score")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["title"] == "unknown"


async def test_a_merged_lead_names_the_one_that_it_is_part_of_by_now(desk: Desk, api: httpx.AsyncClient) -> None:
    await desk.hears(person(1), person(3), about(ContactsMerged, 2, merged=(name(1),)))
    await desk.hears(about(ContactsMerged, 3, merged=(name(2),)))
    answer = await api.get(f"/leads/{name(1)}/score")
    assert (answer.status_code, answer.json()["merged_into"]) == (404, name(3))


@pytest.mark.parametrize("header", ["", "Bearer wrong", "Basic secret"])
async def test_without_a_token_nothing_is_told(desk: Desk, api: httpx.AsyncClient, header: str) -> None:
    await desk.hears(person(1))
    answer = await api.get(f"/leads/{name(1)}/score", headers={"Authorization": header})
    assert answer.status_code == 401
    assert EMAIL not in answer.text


async def test_with_its_schema_and_its_topics_it_is_ready(desk: Desk, api: httpx.AsyncClient) -> None:
    await desk.parts.bus.create_topics(partitions=2, replication=1)
    answer = await api.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"ready": True, "lacks": []})
