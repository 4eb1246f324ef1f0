"""The history of scores on a real PostgreSQL: kept with what it tells, bounded, joined, forgotten, read in pages."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import timedelta
from typing import Any

import httpx
import pytest

from services.scoring.app import build
from services.scoring.domain.history import CUT_EVERY, KEPT
from shared.events import ContactChanged, ContactErased, ContactsMerged, PropertyValue
from shared.web import Tokens, create_app
from tests.agreements import in_force, with_points
from tests.contract.scoring_desk import (
    AGREEMENT,
    DAY,
    NOW,
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

STRICTER = with_points(AGREEMENT, decision_maker=5)
SECOND = timedelta(seconds=1)


async def read(api: httpx.AsyncClient, contact: int, **asked: Any) -> dict[str, Any]:
    answer = await api.get(f"/leads/{name(contact)}/score/history", params=asked)
    assert answer.status_code == 200, answer.text
    return answer.json()  # type: ignore[no-any-return]


async def scores(api: httpx.AsyncClient, contact: int, **asked: Any) -> list[dict[str, Any]]:
    return (await read(api, contact, **asked))["scores"]  # type: ignore[no-any-return]


def country(contact: int, value: str) -> ContactChanged:
    return about(ContactChanged, contact, NOW + DAY, values=(PropertyValue(name="country", value=value, at=NOW + DAY),))


# --- what is told ---


async def test_each_score_is_told_with_what_made_it_and_the_rules_that_came(desk: Desk, api: httpx.AsyncClient) -> None:
    fact, act = person(1), form(1)
    await desk.hears(fact, act)
    newest, first = await scores(api, 1)
    assert (newest["version"], newest["grade"], newest["former_grade"]) == (2, "A1", "A4")
    assert newest["cause"] == {
        "type": "FormSubmitted",
        "id": act.id,
        "happened_at": "2026-03-02T09:00:00Z",
        "names": ["demo-request"],
        "text": "the form demo-request was submitted",
    }
    assert newest["changes"] == [
        {"part": "interest", "rule": "Asked for us", "before": None, "after": 60, "faded": False}
    ]
    assert (first["version"], first["grade"], first["former_grade"]) == (1, "A4", None)
    assert first["cause"]["names"] == ["company.numberofemployees", "country", "email", "jobtitle"]
    assert [(one["rule"], one["after"]) for one in first["changes"]] == [
        ("Role: decision maker", 40),
        ("Right size", 25),
        ("Our markets", 15),
    ]


async def test_what_made_a_score_and_the_names_that_are_ours_are_told_in_the_language_asked_for(
    desk: Desk, api: httpx.AsyncClient
) -> None:
    await desk.hears(person(1))
    (first,) = await scores(api, 1, lang="ro")
    assert first["cause"]["text"] == "s-au schimbat company.numberofemployees, country, email și jobtitle"
    assert first["changes"][0]["rule"] == "Rol: decision maker"


async def test_a_rule_that_holds_no_more_is_told_with_the_property_that_changed(
    desk: Desk, api: httpx.AsyncClient
) -> None:
    await desk.hears(person(1), country(1, "JP"))
    newest = (await scores(api, 1))[0]
    assert newest["cause"]["names"] == ["country"]
    assert newest["changes"] == [{"part": "fit", "rule": "Our markets", "before": 15, "after": None, "faded": False}]


async def test_what_faded_meanwhile_is_told_apart_from_what_the_lead_did(desk: Desk, api: httpx.AsyncClient) -> None:
    await desk.hears(form(1))
    desk.clock.advance(5 * DAY)
    await desk.hears(about(type(page(1, "/")), 1, desk.clock.now(), url="https://x.example/pricing?who=ana"))
    newest = (await scores(api, 1))[0]
    assert newest["cause"]["names"] == ["x.example/pricing"]
    assert [(one["rule"], one["before"], one["after"], one["faded"]) for one in newest["changes"]] == [
        ("Looked at prices", None, 15, False),
        ("Asked for us", 60, 30, True),
    ]


async def test_another_agreement_is_its_own_cause(desk: Desk, api: httpx.AsyncClient) -> None:
    await desk.hears(person(1))
    desk.parts.agreements.swap(in_force(STRICTER))
    assert await desk.rescoring.step() == 1
    newest = (await scores(api, 1))[0]
    assert newest["cause"] == {
        "type": "AgreementChanged",
        "id": STRICTER.version,
        "happened_at": None,
        "names": [],
        "text": "another agreement took effect",
    }
    assert (newest["agreement"], newest["former_agreement"]) == (STRICTER.version, AGREEMENT.version)
    assert [(one["before"], one["after"]) for one in newest["changes"]] == [(40, 5)]


async def test_what_tells_nothing_leaves_no_trace_in_the_history(desk: Desk, api: httpx.AsyncClient) -> None:
    await desk.hears(person(1), person(1), about(ContactChanged, 1, NOW + DAY))
    assert len(await scores(api, 1)) == 1


# --- one transaction, bounded ---


async def test_a_crash_before_the_commit_leaves_no_history(desk: Desk, api: httpx.AsyncClient) -> None:
    await desk.hears(person(1))
    with pytest.raises(RuntimeError):
        await desk.crashing().handle(records(form(1)))
    assert len(await scores(api, 1)) == 1


async def test_of_many_scores_the_newest_are_kept(desk: Desk, api: httpx.AsyncClient) -> None:
    many = KEPT + 3 * CUT_EVERY
    for start in range(0, many, 25):
        await desk.hears(*(form(1, f"form {n}", at=NOW + n * SECOND) for n in range(start, start + 25)))
        assert (await desk.rows("SELECT count(*) FROM scoring.history"))[0][0] < KEPT + CUT_EVERY
    kept = [one["version"] for one in await scores(api, 1, limit=KEPT)]
    assert kept == list(range(many, many - KEPT, -1))


async def test_instances_that_hear_of_one_lead_keep_its_scores_in_the_order_of_their_versions(
    desk: Desk, other: Desk, api: httpx.AsyncClient
) -> None:
    visits = [[page(1, f"/pricing/{half}/{n}") for n in range(8)] for half in range(2)]
    await asyncio.gather(desk.hears(*visits[0]), other.hears(*visits[1]))
    kept = [one["version"] for one in await scores(api, 1)]
    assert kept == list(range(len(kept), 0, -1))


async def test_a_scoring_that_begins_anew_counts_anew_beside_what_was_kept(desk: Desk, api: httpx.AsyncClient) -> None:
    await desk.hears(person(1), form(1))
    await desk.empty("leads", "inbox")
    desk.clock.advance(DAY)
    await desk.hears(person(1), form(1))
    told = [(one["version"], one["counted_since"][:10]) for one in await scores(api, 1)]
    assert told == [(2, "2026-03-03"), (1, "2026-03-03"), (2, "2026-03-02"), (1, "2026-03-02")]


# --- merged, deleted, erased ---


async def test_a_merge_joins_the_histories_in_the_order_in_which_they_happened(
    desk: Desk, api: httpx.AsyncClient
) -> None:
    await desk.hears(person(1), form(2), page(1, "/pricing"), about(ContactsMerged, 1, merged=(name(2),)))
    told = [(one["lead"], one["version"], one["cause"]["type"]) for one in await scores(api, 1)]
    assert told == [
        (name(1), 3, "ContactsMerged"),
        (name(1), 2, "PageVisited"),
        (name(2), 1, "FormSubmitted"),
        (name(1), 1, "ContactChanged"),
    ]
    assert (await api.get(f"/leads/{name(2)}/score/history")).status_code == 404


async def test_what_a_merge_brought_is_told_against_the_survivor_s_own_score_before(
    desk: Desk, api: httpx.AsyncClient
) -> None:
    await desk.hears(person(1), form(2), about(ContactsMerged, 1, merged=(name(2),)))
    newest = (await scores(api, 1))[0]
    assert newest["cause"]["names"] == [name(2)]
    assert [(one["rule"], one["before"], one["after"]) for one in newest["changes"]] == [("Asked for us", None, 60)]


async def test_leads_merged_one_into_the_other_end_in_one_history(desk: Desk, api: httpx.AsyncClient) -> None:
    await desk.hears(form(1), form(2), form(3))
    await desk.hears(about(ContactsMerged, 2, merged=(name(1),)))
    await desk.hears(about(ContactsMerged, 3, merged=(name(2),)))
    assert {one["lead"] for one in await scores(api, 3)} == {name(1), name(2), name(3)}


async def test_an_erased_person_leaves_no_history_nor_does_who_is_merged_into_them_later(desk: Desk) -> None:
    await desk.hears(person(1), form(1), person(2), about(ContactsMerged, 1, merged=(name(2),)), form(3))
    await desk.hears(about(ContactErased, 1, privacy=True))
    assert [row.lead for row in await desk.rows("SELECT lead FROM scoring.history")] == [name(3)]
    await desk.hears(about(ContactsMerged, 1, NOW + DAY, merged=(name(3),)))
    assert await desk.rows("SELECT lead FROM scoring.history") == []


async def test_a_deleted_lead_shows_nothing_and_once_restored_its_whole_history(
    desk: Desk, api: httpx.AsyncClient
) -> None:
    await desk.hears(person(1), about(ContactErased, 1, NOW + DAY, privacy=False))
    assert (await api.get(f"/leads/{name(1)}/score/history")).status_code == 404
    await desk.hears(about(ContactChanged, 1, NOW + 2 * DAY))
    assert [one["version"] for one in await scores(api, 1)] == [2, 1]


# --- pages ---


async def test_pages_follow_each_other_without_a_gap_also_while_scores_are_added(
    desk: Desk, api: httpx.AsyncClient
) -> None:
    await desk.hears(*(form(1, f"form {n}") for n in range(7)))
    first = await read(api, 1, limit=3)
    await desk.hears(form(1, "one more"))
    second = await read(api, 1, limit=3, after=first["next"])
    third = await read(api, 1, limit=3, after=second["next"])
    told = [[one["version"] for one in part["scores"]] for part in (first, second, third)]
    assert told == [[7, 6, 5], [4, 3, 2], [1]]
    assert third["next"] is None


async def test_the_last_of_a_page_is_told_against_the_score_on_the_next_page(
    desk: Desk, api: httpx.AsyncClient
) -> None:
    await desk.hears(person(1), form(1))
    assert [one["former_grade"] for one in await scores(api, 1, limit=1)] == ["A4"]


@pytest.mark.parametrize("after", ["x", "!!!", "ImEi", "LTE=", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5", "é"])
async def test_what_is_no_next_of_a_page_is_refused(desk: Desk, api: httpx.AsyncClient, after: str) -> None:
    await desk.hears(person(1))
    answer = await api.get(f"/leads/{name(1)}/score/history", params={"after": after})
    assert (answer.status_code, answer.json()["title"]) == (422, "bad_cursor")


@pytest.mark.parametrize("path", ["score", "score/history"])
async def test_a_token_that_sees_its_own_leads_alone_sees_no_score(desk: Desk, path: str) -> None:
    tokens = Tokens([Tokens.entry("secret", role="sales/own", person="a person")])
    parts = dataclasses.replace(desk.parts, tokens=tokens)
    transport = httpx.ASGITransport(create_app([build(parts)], parts))
    async with httpx.AsyncClient(transport=transport, base_url="http://scoring") as client:
        answer = await client.get(f"/leads/{name(1)}/{path}", headers={"Authorization": "Bearer secret"})
    assert answer.status_code == 403
