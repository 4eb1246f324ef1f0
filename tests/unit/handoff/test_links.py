"""One-click links: what is signed cannot be changed, lives as long as it should, and secrets rotate."""

from __future__ import annotations

import string
from datetime import UTC, datetime, timedelta

import pytest

from services.handoff.domain.lead import Lead
from services.handoff.domain.machine import Cause
from services.handoff.domain.notices import Notice
from services.handoff.links import NO_LINKS, Link, Links
from services.handoff.settings import HandoffSettings
from shared.errors import Refused, WrongSetting
from shared.events import State

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
LIFE = timedelta(hours=72)
OLD, NEW = "o" * 32, "n" * 32
WAITING = Lead(lead="hubspot:1:7", state=State.HANDED_OFF, episode=2, team="inbound", owner="ioana@example.com")
LINK = Link(lead=WAITING.lead, episode=2, command=Cause.ACCEPT, person=WAITING.owner, expires=NOW + LIFE)
ALPHABET = string.ascii_letters + string.digits + "-_"


def links(*secrets: str) -> Links:
    return Links(secrets=secrets or (OLD,), public_url="https://leads.example.com", life=LIFE)


def code(read: Links, token: str, now: datetime = NOW) -> str:
    with pytest.raises(Refused) as refused:
        read.read(token, now)
    return refused.value.code


def test_a_link_says_what_was_signed() -> None:
    assert links().read(links().token(LINK), NOW) == LINK


def test_a_lead_has_a_link_for_each_command_that_is_possible_and_fits_a_button() -> None:
    found = links().of(WAITING, NOW)
    assert list(found) == ["accept", "attempts", "qualify", "reject", "return", "disqualify"]
    for command, url in found.items():
        assert url.startswith("https://leads.example.com/act/")
        assert links().read(url.rpartition("/")[2], NOW) == Link(
            lead=WAITING.lead, episode=2, command=Cause(command), person=WAITING.owner, expires=NOW + LIFE
        )


def test_a_notification_says_where_its_lead_is_as_a_whole_address_where_there_is_a_public_one() -> None:
    notice = Notice(
        id="n", lead=WAITING.lead, kind="LeadReturned", body={"link": "/leads/x", "episode": 1, "owner": ""}
    )
    without_secrets = Links(secrets=(), public_url="https://leads.example.com", life=LIFE)
    for some in (links(), without_secrets):
        assert some.with_links(notice, WAITING, NOW).body["link"] == "https://leads.example.com/leads/x"
    assert NO_LINKS.with_links(notice, WAITING, NOW) == notice


def test_without_a_secret_there_are_no_links_and_none_is_let_in() -> None:
    assert NO_LINKS.of(WAITING, NOW) == {}
    assert code(NO_LINKS, links().token(LINK)) == "bad_link"


def test_a_link_with_any_character_changed_is_none_of_ours() -> None:
    token = links().token(LINK)
    for place, character in enumerate(token):
        other = ALPHABET[(ALPHABET.find(character) + 7) % len(ALPHABET)]
        assert code(links(), token[:place] + other + token[place + 1 :]) == "bad_link", place


@pytest.mark.parametrize("token", ["", ".", "a", "é.é", "a.b.c", "AAAA.AAAA", "A" * 100_000, "W10.W10"])
def test_what_is_no_link_is_refused_in_words(token: str) -> None:
    assert code(links(), token) == "bad_link"


def test_a_link_lives_until_its_very_end_and_not_a_moment_longer() -> None:
    token = links().token(LINK)
    assert links().read(token, LINK.expires - timedelta.resolution) == LINK
    assert code(links(), token, LINK.expires) == "expired_link"


def test_secrets_rotate_the_first_signs_and_all_let_in() -> None:
    before, between, after = links(OLD), links(NEW, OLD), links(NEW)
    assert between.read(before.token(LINK), NOW) == LINK
    assert after.read(between.token(LINK), NOW) == LINK
    assert code(after, before.token(LINK)) == "bad_link"
    assert between.read(before.token(LINK), NOW).id == between.read(between.token(LINK), NOW).id


@pytest.mark.parametrize(
    ("environ", "key"),
    [
        ({"LEADPACT_LINK_SECRETS": OLD}, "LEADPACT_PUBLIC_URL"),
        (
            {"LEADPACT_LINK_SECRETS": f"{OLD},short", "LEADPACT_PUBLIC_URL": "https://x.example"},
            "LEADPACT_LINK_SECRETS",
        ),
        ({"LEADPACT_LINK_HOURS": "0"}, "LEADPACT_LINK_HOURS"),
        ({"LEADPACT_LINK_HOURS": "289"}, "LEADPACT_LINK_HOURS"),
    ],
)
def test_a_setting_that_would_make_no_safe_link_stops_the_start(environ: dict[str, str], key: str) -> None:
    with pytest.raises(WrongSetting) as wrong:
        HandoffSettings.read(environ)
    assert wrong.value.key == key
    assert "short" not in str(wrong.value).replace("shorter", "")
