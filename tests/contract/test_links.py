"""One-click links on a real PostgreSQL: in the notification, without effect when opened, done once, safe."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
from collections.abc import AsyncIterator
from html import unescape
from typing import Any

import httpx
import msgspec
import pytest

from services.handoff.api import pages
from services.handoff.api.acting import OUTCOMES
from services.handoff.app import build
from services.handoff.domain.machine import Cause
from services.handoff.links import LINKED, Links
from services.handoff.settings import HandoffSettings
from services.handoff.worker import worker
from shared.agreement import Agreements
from shared.events import Channel, ContactErased, LeadScored, ToFindOut, identity
from shared.languages import languages
from shared.web import create_app
from tests.agreements import PLAIN, with_follow_up
from tests.contract.handoff_desk import DAY, HOUR, NOW, TENANT, Desk, demo, desk, name, records, uri

__all__ = ["desk", "uri"]

SECRET = "s" * 32
ENVIRON = {
    "LEADPACT_NOTIFY_URL": "http://receiver.test/hook",
    "LEADPACT_NOTIFY_SECRET": "whsec_c2ltdWxhdG9yLXRlc3Qtc2VjcmV0LXNpbXU=",
    "LEADPACT_PUBLIC_URL": "https://leads.example.com",
    "LEADPACT_LINK_SECRETS": SECRET,
}
REASONS = PLAIN.follow_up.reasons
ADMIN = {"Authorization": "Bearer admin"}
HOSTILE = "<script>alert(1)</script>"


def links(settings: HandoffSettings) -> Links:
    return Links(secrets=settings.link_secrets, public_url=settings.public_url, life=settings.link_life)


async def hears(desk: Desk, *messages: LeadScored) -> None:
    """As the whole service would, with notifications and links."""
    settings = HandoffSettings.read(desk.parts.environ)
    its = worker(wall=desk.clock, notify=True, links=links(settings))
    await desk.work_of(its).handle(records(*messages))


async def notified(desk: Desk, kind: str = "LeadHandedOff") -> dict[str, Any]:
    """The newest notification of its kind."""
    sql = "SELECT body FROM handoff.notifications WHERE kind = :kind ORDER BY created_at DESC LIMIT 1"
    ((body,),) = await desk.rows(sql, kind=kind)
    found: dict[str, Any] = json.loads(body)
    return found


async def path_of(desk: Desk, command: str) -> str:
    """Where the newest hand-off's link for the command leads."""
    url: str = (await notified(desk))["links"][command]
    return url.removeprefix("https://leads.example.com")


@pytest.fixture
async def linked(desk: Desk) -> Desk:
    desk.parts = dataclasses.replace(desk.parts, environ=ENVIRON)
    await hears(desk, demo(1))
    return desk


@pytest.fixture
async def http(linked: Desk) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody's browser: it has no token."""
    transport = httpx.ASGITransport(create_app([build(linked.parts)], linked.parts), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://handoff") as client:
        yield client


def counted(desk: Desk, outcome: str) -> float:
    return desk.parts.registry.get_sample_value("leadpact_links_total", {"outcome": outcome}) or 0.0


def words(page: httpx.Response) -> str:
    """What a page says to a person."""
    body = page.text.partition("<body>")[2]
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())


async def state(desk: Desk) -> str:
    ((found,),) = await desk.rows("SELECT state FROM handoff.leads WHERE lead = :lead", lead=name(1))
    return str(found)


# --- in the notification ---


async def test_a_notification_brings_a_link_for_what_is_possible(linked: Desk) -> None:
    said = await notified(linked)
    assert set(said["links"]) == {"accept", "attempts", "qualify", "reject", "return", "disqualify"}
    assert all(url.startswith("https://leads.example.com/act/") for url in said["links"].values())


async def test_without_a_secret_there_are_none(desk: Desk) -> None:
    await hears(desk, demo(1))
    assert "links" not in await notified(desk)


async def test_what_a_command_tells_has_links_too(linked: Desk, http: httpx.AsyncClient) -> None:
    await http.post(f"/leads/{name(1)}/reassign", json={"team": "dach"}, headers=ADMIN)
    said = await notified(linked, "LeadAssigned")
    await http.post(said["links"]["accept"].removeprefix("https://leads.example.com"))
    ((owner, actor),) = await linked.rows(
        "SELECT body->>'owner', body->>'actor' FROM handoff.timeline WHERE type = 'LeadAccepted'"
    )
    assert owner == actor == said["owner"]


async def test_what_is_told_of_a_former_owner_has_no_links_of_the_new_one(desk: Desk) -> None:
    taking_away = with_follow_up(PLAIN, accept_within={"default": "1h"}, if_not_accepted="reassign", warn_at=())
    desk.parts = dataclasses.replace(desk.parts, environ=ENVIRON, agreements=Agreements(taking_away))
    await hears(desk, demo(1))
    desk.clock.advance(2 * HOUR)
    await hears(desk, demo(1, version=2, at=desk.clock.now()))
    breach = await notified(desk, "ClockBreached")
    passed_on = await notified(desk, "LeadAssigned")
    assert breach["owner"] != passed_on["owner"]
    assert (breach["links"], "accept" in passed_on["links"]) == ({}, True)


# --- opened and pressed ---


async def test_a_page_and_the_lead_say_what_is_to_find_out(linked: Desk, http: httpx.AsyncClient) -> None:
    size = ToFindOut(rule="Right size", points=25, properties=("numberofemployees",))
    rival = ToFindOut(rule="Rival", points=-20, disqualify="competitor", properties=("email", "company"))
    await hears(linked, msgspec.structs.replace(demo(1, version=2), to_find_out=(size, rival)))
    assert (
        "To find out Right size: 25 points (numberofemployees)"
        " Rival: may cost 20 points, may rule it out: competitor (email, company)"
    ) in words(await http.get(await path_of(linked, "accept")))
    said = (await http.get(f"/leads/{name(1)}", headers=ADMIN)).json()["to_find_out"]
    assert said[0] == {"rule": "Right size", "points": 25, "disqualify": "", "properties": ["numberofemployees"]}


async def test_opening_a_link_changes_nothing_however_often(linked: Desk, http: httpx.AsyncClient) -> None:
    for command, url in (await notified(linked))["links"].items():
        pages = [await http.get(url.removeprefix("https://leads.example.com")) for _ in range(3)]
        assert {page.status_code for page in pages} == {200}, command
    assert len(await linked.kinds(1)) == 3
    assert counted(linked, "shown") == 18


async def test_pressing_the_button_does_it_in_the_owner_s_name(linked: Desk, http: httpx.AsyncClient) -> None:
    owner = (await notified(linked))["owner"]
    page = await http.post(await path_of(linked, "accept"))
    assert page.status_code == 200
    assert "You have accepted the lead." in words(page)
    ((actor,),) = await linked.rows("SELECT body->>'actor' FROM handoff.timeline WHERE type = 'LeadAccepted'")
    assert actor == owner
    assert counted(linked, "done") == 1


async def test_pressing_it_twice_does_it_once_and_says_so(linked: Desk, http: httpx.AsyncClient) -> None:
    path = await path_of(linked, "attempts")
    said = {"channel": "phone", "outcome": "no_answer"}
    pages = [await http.post(path, data=said), await http.post(path, data=said), await http.get(path)]
    assert [page.status_code for page in pages] == [200, 200, 200]
    assert ["This was done already" in words(page) for page in pages] == [False, True, True]
    assert (await linked.kinds(1)).count("AttemptRecorded") == 1
    assert counted(linked, "repeated") == 2


@pytest.mark.parametrize(
    ("command", "after"), [("reject", "returned"), ("return", "returned"), ("disqualify", "disqualified")]
)
async def test_where_a_reason_is_needed_it_is_one_of_the_agreement_s(
    linked: Desk, http: httpx.AsyncClient, command: str, after: str
) -> None:
    path = await path_of(linked, command)
    offered = re.findall(r'name="reason" value="([^"]*)"', (await http.get(path)).text)
    assert tuple(offered) == REASONS
    for wrong in ({}, {"reason": "because"}):
        page = await http.post(path, data=wrong)
        assert page.status_code == 422
        assert 'name="reason"' in page.text
    assert await state(linked) == "handed_off"
    assert (await http.post(path, data={"reason": REASONS[1]})).status_code == 200
    assert await state(linked) == after
    sql = "SELECT DISTINCT body->>'reason' FROM handoff.timeline WHERE type ~ 'Lead(Rejected|Returned|Disqualified)'"
    assert await linked.rows(sql) == [(REASONS[1],)]
    assert counted(linked, "refused") == 2


async def test_an_attempt_is_logged_with_what_was_chosen_and_the_cadence_s_channel_is_proposed(
    linked: Desk, http: httpx.AsyncClient
) -> None:
    path = await path_of(linked, "attempts")
    proposed = re.findall(r'<option value="(\w+)" selected', (await http.get(path)).text)
    assert proposed == [PLAIN.follow_up.cadence[0].channel]
    await http.post(path, data={"channel": "video", "outcome": "booked"})
    sql = "SELECT body->>'channel', body->>'outcome' FROM handoff.timeline WHERE type = 'AttemptRecorded'"
    assert await linked.rows(sql) == [("video", "booked")]


# --- too late ---


async def test_a_link_of_an_episode_that_is_over_says_so_and_does_nothing(
    linked: Desk, http: httpx.AsyncClient
) -> None:
    path = await path_of(linked, "disqualify")
    await http.post(await path_of(linked, "reject"), data={"reason": REASONS[0]})
    await http.post(f"/leads/{name(1)}/handoff", json={"owner": (await notified(linked))["owner"]}, headers=ADMIN)
    for page in (await http.get(path), await http.post(path, data={"reason": REASONS[0]})):
        assert page.status_code == 409
        assert "handed over anew" in words(page)
        assert "<form" not in page.text
    assert await state(linked) == "handed_off"
    assert counted(linked, "passed") == 2


async def test_a_link_of_who_no_longer_has_the_lead_says_so(linked: Desk, http: httpx.AsyncClient) -> None:
    path = await path_of(linked, "accept")
    await http.post(f"/leads/{name(1)}/reassign", json={"team": "dach"}, headers=ADMIN)
    for page in (await http.get(path), await http.post(path)):
        assert page.status_code == 409
        assert "Somebody else has the lead" in words(page)
    assert await state(linked) == "handed_off"


async def test_what_is_no_longer_possible_is_said_with_what_became_of_the_lead(
    linked: Desk, http: httpx.AsyncClient
) -> None:
    path = await path_of(linked, "accept")
    await http.post(f"/leads/{name(1)}/qualify", headers=ADMIN)
    for page in (await http.get(path), await http.post(path)):
        assert page.status_code == 409
        assert "The lead is qualified by now" in words(page)


async def test_of_a_lead_that_was_erased_nothing_is_shown(linked: Desk, http: httpx.AsyncClient) -> None:
    path = await path_of(linked, "accept")
    await linked.hears(ContactErased(id=identity("e"), tenant=TENANT, at=NOW, lead=name(1), privacy=True))
    for page in (await http.get(path), await http.post(path)):
        assert page.status_code == 404
        assert "no more" in words(page)


# --- not everybody ---


async def test_a_link_that_is_not_ours_is_refused_and_counted(linked: Desk, http: httpx.AsyncClient) -> None:
    path = await path_of(linked, "accept")
    bad = path[:-2] + ("AA" if path[-2:] != "AA" else "BB")
    for page in (await http.get(bad), await http.post(bad), await http.get("/act/nothing")):
        assert page.status_code == 403
        assert page.headers["content-type"].startswith("text/html")
    assert await state(linked) == "handed_off"
    assert (counted(linked, "bad"), counted(linked, "shown")) == (3, 0)


async def test_a_link_that_has_expired_is_refused_and_counted(linked: Desk, http: httpx.AsyncClient) -> None:
    path = await path_of(linked, "accept")
    linked.clock.advance(3 * DAY)
    for page in (await http.get(path), await http.post(path)):
        assert page.status_code == 403
        assert "expired" in words(page)
        assert name(1) not in page.text
    assert await state(linked) == "handed_off"
    assert counted(linked, "expired") == 2


async def test_links_live_on_while_their_secret_is_replaced(linked: Desk, http: httpx.AsyncClient) -> None:
    path = await path_of(linked, "accept")
    for secrets, status in ((f"{'n' * 32},{SECRET}", 200), ("n" * 32, 403)):
        parts = dataclasses.replace(
            linked.parts, environ={**ENVIRON, "LEADPACT_LINK_SECRETS": secrets}, registry=type(linked.registry)()
        )
        transport = httpx.ASGITransport(create_app([build(parts)], parts))
        async with httpx.AsyncClient(transport=transport, base_url="http://handoff") as client:
            assert (await client.get(path)).status_code == status


async def test_a_form_that_is_not_ours_is_not_read_to_its_end(linked: Desk, http: httpx.AsyncClient) -> None:
    path = await path_of(linked, "reject")
    assert (await http.post(path, content=b"reason=" + b"x" * 20_000)).status_code == 413
    assert (await http.post(path, content=b"&".join(b"a=b" for _ in range(100)))).status_code == 422
    assert await state(linked) == "handed_off"


# --- the page ---


async def every_page(linked: Desk, http: httpx.AsyncClient) -> list[httpx.Response]:
    attempts, accept = await path_of(linked, "attempts"), await path_of(linked, "accept")
    return [
        await http.get(attempts),
        await http.post(attempts, data={"channel": "pigeon"}),
        await http.post(accept),
        await http.get(accept),
        await http.get(await path_of(linked, "reject")),
        await http.get("/act/nothing"),
    ]


async def test_no_page_runs_or_loads_anything_or_is_kept(linked: Desk, http: httpx.AsyncClient) -> None:
    for page in await every_page(linked, http):
        (style,) = re.findall(r"<style>(.*?)</style>", page.text, re.S)
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        policy = page.headers["content-security-policy"]
        assert policy == (
            f"default-src 'none'; style-src 'sha256-{digest}'; form-action 'self';"
            " base-uri 'none'; frame-ancestors 'none'"
        )
        assert page.headers["cache-control"] == "no-store"
        assert page.headers["referrer-policy"] == "no-referrer"
        assert "noindex" in page.headers["x-robots-tag"]
        assert not re.search(r"<script|<link|<img|<iframe|\bsrc=|\bhref=|\bon\w+=|style=|@import|url\(", page.text)


ASKED_IN_ROMANIAN: list[dict[str, Any]] = [
    {"headers": {"Accept-Language": "de, ro-MD;q=0.8, en;q=0.5"}},
    {"params": {"lang": "ro"}, "headers": {"Accept-Language": "en"}},
]


@pytest.mark.parametrize("asked", ASKED_IN_ROMANIAN, ids=["as the browser says", "as the address says"])
async def test_pages_are_in_the_language_that_is_asked_for(
    linked: Desk, http: httpx.AsyncClient, asked: dict[str, Any]
) -> None:
    attempts = await path_of(linked, "attempts")
    page = await http.get(attempts, **asked)
    said = words(page)
    for phrase in ("Notează o încercare de contact", "Nu a răspuns", "Telefon", "Predat Vânzărilor, încă neacceptat"):
        assert phrase in said
    assert "lun. 2 mar. 2026, 09:05 (UTC)" in said
    assert '<html lang="ro">' in page.text
    assert (page.headers["content-language"], page.headers["vary"]) == ("ro", "Accept-Language")
    wrong = await http.post(attempts, data={"channel": "pigeon"}, **asked)
    assert "Alege una dintre variantele de mai jos." in words(wrong)
    done = await http.post(attempts, data={"channel": "phone", "outcome": "no_answer"}, **asked)
    assert "Încercarea ta a fost numărată." in words(done)
    assert "S-a făcut deja" in words(await http.get(attempts, **asked))
    assert "Acest link nu funcționează" in words(await http.get("/act/nothing", **asked))


async def test_the_reasons_stay_the_agreement_s_own_words(linked: Desk, http: httpx.AsyncClient) -> None:
    page = await http.get(await path_of(linked, "reject"), params={"lang": "ro"})
    offered = [unescape(one) for one in re.findall(r'value="\w+" required>([^<]+)<', page.text)]
    assert offered == [reason.replace("_", " ").capitalize() for reason in REASONS]


async def test_in_a_language_that_there_is_not_pages_are_in_english(linked: Desk, http: httpx.AsyncClient) -> None:
    page = await http.get(await path_of(linked, "accept"), headers={"Accept-Language": "eo"})
    assert "Accept this lead?" in words(page)
    assert ('<html lang="en">' in page.text, page.headers["content-language"]) == (True, "en")


@pytest.mark.parametrize("command", LINKED)
def test_of_every_command_all_is_said_in_romanian(command: Cause) -> None:
    english, romanian = (pages.words(command, languages()[code]) for code in ("en", "ro"))
    assert not {*dataclasses.astuple(english)} & {*dataclasses.astuple(romanian)}


@pytest.mark.parametrize("value", [*OUTCOMES, *Channel])
def test_what_came_of_an_attempt_and_how_it_was_made_is_said_in_words_of_ours(value: str) -> None:
    assert value in pages.ours(languages()["ro"])


async def test_a_page_names_the_lead_and_what_is_next(linked: Desk, http: httpx.AsyncClient) -> None:
    said = words(await http.get(await path_of(linked, "accept")))
    assert name(1) in said
    assert "Mon 2 Mar 2026, 09:05 (UTC)" in said


async def test_what_a_lead_says_of_itself_is_shown_and_never_obeyed(linked: Desk, http: httpx.AsyncClient) -> None:
    hostile = msgspec.structs.replace(demo(1, version=2), profile={"firstname": HOSTILE, "company": "</style>&"})
    await hears(linked, hostile)
    page = await http.get(await path_of(linked, "accept"))
    assert HOSTILE not in page.text
    assert HOSTILE in words(page).replace("  ", " ")
    assert page.text.count("</style>") == 1


async def test_an_openly_kept_description_does_not_offer_the_pages(http: httpx.AsyncClient) -> None:
    assert not [path for path in (await http.get("/openapi.json")).json()["paths"] if path.startswith("/act")]
