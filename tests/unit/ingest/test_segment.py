"""Segment's calls: what each says, when it happened, and what is wrong with those that are not taken."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.domain import segment, visitors
from services.ingest.domain.heard import MAX_EVENTS, Normalised
from shared.errors import Refused
from shared.events import DeadLetter, Message, VisitorIdentified, VisitorSeen

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
TENANT = "hubspot:62515"
ANONYMOUS, USER = visitors.by_anonymous_id(TENANT, "a-1"), visitors.by_user_id(TENANT, "u-1")
EMAIL = visitors.by_email(TENANT, "ada@example.com")
IS_ADA = (EMAIL, "", "ada@example.com")
URL = "https://x.example/pricing"


def call(type_: str = "page", **more: Any) -> dict[str, Any]:
    """A call of an anonymous visitor; None leaves a field out."""
    said = {"type": type_, "messageId": "m-1", "anonymousId": "a-1", "timestamp": "2026-11-24T11:00:00.000Z"}
    said |= {"page": {"properties": {"url": URL}}, "identify": {"userId": "u-1"}}.get(type_, {})
    return {name: value for name, value in (said | more).items() if value is not None}


def heard(said: Any) -> Normalised:
    return segment.normalise(msgspec.json.encode(said), tenant=TENANT, received_at=NOW)


def said(one: Any) -> list[Message]:
    return heard(one).messages


def seen(one: Any) -> VisitorSeen:
    (message,) = said(one)
    assert isinstance(message, VisitorSeen)
    return message


def links(one: Any) -> list[tuple[str, str, str]]:
    return [(m.visitor, m.known_as, m.email) for m in said(one) if isinstance(m, VisitorIdentified)]


# --- what ---


def test_a_page_is_a_visit_of_whoever_has_this_anonymous_id() -> None:
    visit = seen(call())
    assert (visit.visitor, visit.url, visit.form) == (ANONYMOUS, URL, "")
    assert visit.at == NOW - timedelta(hours=1)


def test_a_page_of_a_user_is_the_user_s() -> None:
    assert seen(call(userId="u-1")).visitor == USER
    assert seen(call(userId=7)).visitor == visitors.by_user_id(TENANT, "7")


def test_the_address_may_stand_in_the_context() -> None:
    assert seen(call(properties={}, context={"page": {"url": URL, "path": "/pricing"}})).url == URL


@pytest.mark.parametrize("event", ["Form Submitted", "form_submitted", " Form Submit "])
def test_a_form_is_told_by_a_track_call(event: str) -> None:
    said = seen(call("track", event=event, properties={"form_name": "ebook"}, context={"page": {"url": URL}}))
    assert (said.form, said.url) == ("ebook", URL)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"traits": {"email": "Ada@example.com"}}, [(ANONYMOUS, USER, ""), (USER, EMAIL, ""), IS_ADA]),
        ({"traits": {"email": "ada@example.com"}, "userId": None}, [(ANONYMOUS, EMAIL, ""), IS_ADA]),
        ({"traits": {"email": "nobody"}}, [(ANONYMOUS, USER, "")]),
        ({"traits": None}, [(ANONYMOUS, USER, "")]),
        ({"anonymousId": None}, []),
    ],
    ids=str,
)  # fmt: skip
def test_an_identify_call_tells_each_key_as_what_it_is_known(more: Any, told: list[Any]) -> None:
    assert links(call("identify", **more)) == told


def test_a_user_id_that_is_an_email_says_enough() -> None:
    user = visitors.by_user_id(TENANT, "ada@example.com")
    assert links(call("identify", userId="ada@example.com"))[-2:] == [(user, EMAIL, ""), IS_ADA]


@pytest.mark.parametrize(
    "one",
    [
        call("screen"),
        call("group"),
        call(properties={}),
        call("track", event="Button Clicked"),
        call("track", event="Form Submitted"),
        call("track"),
    ],
    ids=str,
)
def test_what_is_of_no_use_is_ignored_and_counted(one: Any) -> None:
    found = heard(one)
    assert (found.messages, found.outcomes["ignored"]) == ([], 1)


def test_a_call_that_comes_again_is_the_same_and_another_of_the_same_page_is_not() -> None:
    assert seen(call(sentAt="2026-11-24T11:59:00Z")).id == seen(call(sentAt="2026-11-24T11:59:30Z")).id
    assert seen(call(messageId="m-2")).id != seen(call()).id
    assert seen(call(messageId=None)).id == seen(call(messageId=None)).id


@pytest.mark.parametrize("many", [lambda calls: {"batch": calls}, lambda calls: calls], ids=["batch", "array"])
def test_of_many_each_bad_one_is_a_dead_letter_that_makes_the_same_again(many: Any) -> None:
    bad = call(messageId="bad", anonymousId=None)
    found = heard(many([call(messageId="1"), bad, call(messageId="2")]))
    assert (found.accepted, found.rejected) == (2, 1)
    (letter,) = [m for m in found.messages if isinstance(m, DeadLetter)]
    assert (letter.source, letter.tenant) == ("webhooks/segment", TENANT)
    again = segment.normalise(letter.original, tenant=TENANT, received_at=NOW)
    assert [m.id for m in again.messages] == [letter.id]


@pytest.mark.parametrize(
    "bad",
    [{}, 7, call(timestamp="yesterday"), call(timestamp="1970-01-01T00:00:00Z"), call(sentAt="?"), call(traits=3)],
)
def test_a_bad_call_costs_no_neighbour(bad: Any) -> None:
    found = heard({"batch": [call(), bad]})
    assert (found.accepted, found.rejected) == (1, 1)


@pytest.mark.parametrize("body", [b"", b"{", b'{"batch": 7}', b"null", b'{"batch": [{]}'], ids=str)
def test_what_is_no_call_is_refused_whole(body: bytes) -> None:
    with pytest.raises(Refused) as refused:
        segment.normalise(body, tenant=TENANT, received_at=NOW)
    assert refused.value.code == "malformed"


def test_more_calls_than_a_batch_may_hold_are_refused_whole() -> None:
    with pytest.raises(Refused) as refused:
        heard({"batch": [call()] * (MAX_EVENTS + 1)})
    assert refused.value.code == "too_many"


# --- when ---


@given(skew=st.timedeltas(timedelta(days=-400), timedelta(days=400)), ago=st.integers(0, 3600))
def test_a_clock_that_is_wrong_is_corrected_by_when_it_sent(skew: timedelta, ago: int) -> None:
    sent = NOW + skew  # by the visitor's clock; it arrives at once
    happened = sent - timedelta(seconds=ago)
    batch = {"sentAt": sent.isoformat(), "batch": [call(timestamp=happened.isoformat())]}
    assert seen(batch).at == NOW - timedelta(seconds=ago)


def test_the_call_s_own_time_of_sending_goes_before_its_batch_s() -> None:
    own = call(sentAt="2026-11-24T11:10:00Z")
    assert seen({"sentAt": "2026-11-24T11:30:00Z", "batch": [own]}).at == NOW - timedelta(minutes=10)


def test_what_segment_passed_on_it_has_corrected_itself() -> None:
    passed_on = call(originalTimestamp="2026-11-24T17:00:00Z", sentAt="2026-11-24T17:00:01Z")
    assert seen(passed_on).at == NOW - timedelta(hours=1)


def test_without_a_time_it_happened_when_it_came_and_never_later() -> None:
    assert seen(call(timestamp=None)).at == NOW
    assert seen(call(timestamp="2026-11-24T13:00:00Z")).at == NOW


def test_a_dead_letter_of_a_batch_keeps_when_it_was_sent() -> None:
    bad = call(anonymousId=None)
    (letter,) = said({"sentAt": "2026-11-24T11:30:00Z", "batch": [bad]})
    assert isinstance(letter, DeadLetter)
    assert msgspec.json.decode(letter.original) == {"sentAt": "2026-11-24T11:30:00Z", "batch": [bad]}
