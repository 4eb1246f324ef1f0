"""What in the visits of a website is dropped, and what is not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from services.ingest import noise as module
from services.ingest.domain import segment
from services.ingest.noise import MAX_A_MINUTE, Noise, Ours, fetched_ahead

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
)
GOOGLE = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
OURS = Ours.parse(("203.0.113.0/24", "198.51.100.7", "2001:db8::/32", "Staging.example.com"))
SHOP, STAGING = "https://www.example.com/pricing", "https://staging.example.com/pricing"


def judged(
    noise: Noise, *, agent: str = CHROME, ip: str = "192.0.2.1", url: str = SHOP, visitor: str = "v", at: datetime = NOW
) -> str:
    return noise(user_agent=agent, ip=ip, url=url, visitor=visitor, at=at)


@pytest.mark.parametrize(("agent", "outcome"), [(CHROME, ""), ("", ""), (GOOGLE, "bot"), ("HeadlessChrome/1", "bot")])
def test_a_bot_is_known_by_its_name(agent: str, outcome: str) -> None:
    assert judged(Noise(Ours()), agent=agent) == outcome


@pytest.mark.parametrize(
    ("ip", "url", "outcome"),
    [
        ("203.0.113.9", SHOP, "noise"),
        ("198.51.100.7", SHOP, "noise"),
        ("2001:db8::1", SHOP, "noise"),
        ("192.0.2.1", STAGING, "noise"),
        ("192.0.2.1", SHOP, ""),
        ("", SHOP, ""),
        ("nowhere", "https://[", ""),
    ],
)
def test_our_own_visits_are_noise(ip: str, url: str, outcome: str) -> None:
    assert judged(Noise(OURS), ip=ip, url=url) == outcome


def test_what_one_visitor_does_faster_than_a_person_can_is_noise_and_keeps_no_other_out() -> None:
    noise = Noise(Ours())
    pace = [judged(noise, at=NOW + timedelta(milliseconds=n)) for n in range(MAX_A_MINUTE + 5)]
    assert pace == [""] * MAX_A_MINUTE + ["noise"] * 5
    assert judged(noise, visitor="another") == ""
    assert judged(noise, at=NOW + timedelta(minutes=1)) == ""


def test_what_comes_late_at_once_is_no_flood() -> None:
    noise = Noise(Ours())
    assert {judged(noise, at=NOW - timedelta(minutes=n)) for n in range(10 * MAX_A_MINUTE)} == {""}


def test_the_pace_of_no_more_visitors_is_watched_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KNOWN_VISITORS", 10)
    noise = Noise(Ours())
    for n in range(50):
        judged(noise, visitor=str(n))
    assert len(noise._paces) == 10


@pytest.mark.parametrize(
    ("headers", "ahead"),
    [
        ({"sec-purpose": "prefetch;prerender"}, True),
        ({"purpose": "prefetch"}, True),
        ({"x-moz": "prefetch"}, True),
        ({"x-purpose": "preview"}, True),
        ({"sec-purpose": ""}, False),
        ({}, False),
    ],
)
def test_a_page_that_is_fetched_ahead_says_so(headers: dict[str, str], *, ahead: bool) -> None:
    assert fetched_ahead(headers) is ahead


def test_noise_is_accepted_counted_and_makes_no_message() -> None:
    page = {"type": "page", "anonymousId": "a", "properties": {"url": SHOP}}
    calls = [page | {"messageId": "1"}, page | {"messageId": "2", "context": {"userAgent": GOOGLE}}]
    found = segment.normalise(msgspec.json.encode(calls), tenant="hubspot:1", received_at=NOW, noise=Noise(OURS))
    assert (len(found.messages), found.accepted, found.rejected) == (1, 2, 0)
    assert found.outcomes == {"accepted": 1, "bot": 1}
