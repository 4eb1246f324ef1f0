"""Visitors who become leads: whatever is heard first, all that they did is told of the lead, once, each at its time."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.domain import visitors
from services.ingest.domain.visitors import MAX_ACTS, Act, Visitor
from services.ingest.worker import HANDLERS, Found
from shared.events import FormSubmitted, Message, PageVisited, VisitorIdentified, VisitorSeen, identity
from shared.work import Facts

TENANT, LEAD = "hubspot:62515", "hubspot:62515:901"
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
NOW = NOON + timedelta(days=1)
ADA = "ada@example.com"
ANYBODY: Any = None  # the agreement, of which nothing is asked here


class Desk:
    """ingest's handlers over a dictionary; what they put on the list comes back to them. The CRM knows `known`."""

    def __init__(self, **known: str) -> None:
        self.known = {visitors.by_email(TENANT, email): contact for email, contact in known.items()}
        self.visitors: dict[str, Visitor] = {}
        self.told: list[Message] = []
        self.heard: set[str] = set()

    def hears(self, *messages: Message) -> Desk:
        waiting = deque(messages)
        while waiting:
            message = waiting.popleft()
            if not isinstance(message, VisitorSeen | VisitorIdentified):
                self.told.append(message)
            elif message.id not in self.heard:
                self.heard.add(message.id)
                waiting += self._handle(message)
        return self

    def _handle(self, message: VisitorSeen | VisitorIdentified) -> Sequence[Message]:
        facts: Facts[Any] = Facts(now=NOW, agreement=ANYBODY, found=Found(contacts=self.known))
        before = self.visitors.get(message.key) or Visitor(key=message.key)
        decision = HANDLERS[type(message)](before, message, facts)
        assert decision.state is not None
        self.visitors[message.key] = decision.state
        return decision.messages

    def facts(self) -> set[tuple[str, str, datetime]]:
        return {
            (m.lead, m.form if isinstance(m, FormSubmitted) else m.url, m.at)
            for m in self.told
            if isinstance(m, FormSubmitted | PageVisited)
        }


def page(n: int, *, visitor: str) -> VisitorSeen:
    at = NOON + timedelta(minutes=n)
    return visitors.seen(visitor, Act(at.timestamp(), identity("page", n), "", f"https://x.example/{n}"), at)


ANONYMOUS, USER, EMAIL = (
    visitors.by_anonymous_id(TENANT, "a-1"),
    visitors.by_user_id(TENANT, "u-1"),
    visitors.by_email(TENANT, ADA),
)
SAID = [
    *(page(n, visitor=ANONYMOUS) for n in range(4)),
    *(page(n, visitor=USER) for n in range(4, 7)),
    visitors.is_(ANONYMOUS, NOON, "m1", known_as=USER),
    visitors.is_(USER, NOON, "m1", known_as=EMAIL),
    visitors.is_(EMAIL, NOON, "m1", email=ADA),
]
ALL = {(LEAD, f"https://x.example/{n}", NOON + timedelta(minutes=n)) for n in range(7)}


@given(st.permutations(SAID), st.lists(st.sampled_from(SAID), max_size=5))
def test_in_whatever_order_and_however_often_it_comes_all_that_they_did_is_the_lead_s(
    order: list[Message], again: list[Message]
) -> None:
    desk = Desk(**{ADA: "901"}).hears(*order, *again)
    assert desk.facts() == ALL
    assert len(desk.told) == len(ALL)


def test_until_somebody_says_who_they_are_nothing_is_told() -> None:
    desk = Desk().hears(*SAID[:-1])
    assert desk.told == []


def test_a_contact_that_the_crm_does_not_know_yet_is_asked_for_again_until_it_does() -> None:
    """A form comes before the contact that it makes."""
    desk = Desk().hears(*SAID)
    waiting = desk.visitors[EMAIL]
    assert (waiting.email, waiting.ask_at) == (ADA, NOW.timestamp() + visitors.FIRST_AGAIN_S)
    waiting, question = visitors.asked_again(waiting, NOW.timestamp() + 10)
    desk.visitors[EMAIL] = waiting
    desk.known[EMAIL] = "901"
    desk.hears(question)
    assert desk.facts() == ALL
    assert desk.visitors[EMAIL].email == ""  # it is not needed any more


def test_it_is_asked_for_less_and_less_often() -> None:
    visitor, waits = Visitor(key=EMAIL, heard=5.0), []
    for asked in range(15):
        visitor = visitors.unknown(visitor, ADA, asked, 100.0)
        waits.append((visitor.ask_at or 0) - 100)
    assert waits == sorted(waits)
    assert waits[-1] == visitors.LAST_AGAIN_S
    assert visitor.heard == 100.0  # since they were heard of first, not since we asked last


def test_who_says_to_be_somebody_else_later_is_somebody_else_from_then_on() -> None:
    other = visitors.by_user_id(TENANT, "u-2")
    later, earlier = NOON + timedelta(hours=1), NOON - timedelta(hours=1)
    desk = Desk(**{ADA: "901"}).hears(*SAID)
    desk.hears(visitors.is_(ANONYMOUS, earlier, "m0", known_as=other))
    assert desk.visitors[ANONYMOUS].known_as == USER
    desk.hears(visitors.is_(ANONYMOUS, later, "m2", known_as=other), page(99, visitor=ANONYMOUS))
    assert [act.page for act in desk.visitors[other].acts] == ["https://x.example/99"]
    assert desk.facts() == ALL


def test_of_a_visitor_who_does_very_much_the_newest_is_kept() -> None:
    desk = Desk().hears(*(page(n, visitor=ANONYMOUS) for n in reversed(range(MAX_ACTS + 10))))
    assert [act.page for act in desk.visitors[ANONYMOUS].acts][:1] == ["https://x.example/10"]
    assert len(desk.visitors[ANONYMOUS].acts) == MAX_ACTS


def test_a_visitor_who_comes_often_is_not_written_at_each_page() -> None:
    known = Visitor(key=EMAIL, known_as=LEAD, heard=NOW.timestamp())
    act = Act(1.0, identity("x"), "", "https://x.example/")
    assert visitors.saw(known, act, NOW.timestamp() + 60)[0] is known
    assert visitors.saw(known, act, NOW.timestamp() + 2 * visitors.DAY_S)[0] == replace(
        known, heard=NOW.timestamp() + 2 * visitors.DAY_S
    )


def test_a_form_keeps_its_page() -> None:
    act = Act(NOON.timestamp(), identity("f"), "demo-request", "https://x.example/demo")
    message = visitors.told(act, LEAD)
    assert isinstance(message, FormSubmitted)
    assert (message.form, message.page, message.at, message.tenant) == ("demo-request", act.page, NOON, TENANT)


@pytest.mark.parametrize(
    ("said", "email"),
    [(" Ada@Example.com ", ADA), ("ada", ""), ("a b@x.de", ""), ("a@b@x.de", ""), (None, ""), (7, ""), ("a@x", "")],
)
def test_an_email_is_told_from_what_is_none(said: object, email: str) -> None:
    assert visitors.email_of(said) == email


def test_the_key_of_a_visitor_does_not_tell_who_it_is() -> None:
    key = visitors.by_email(TENANT, ADA)
    assert "ada" not in key
    assert (visitors.is_visitor(key), visitors.tenant_of(key)) == (True, TENANT)
    assert msgspec.json.encode(page(1, visitor=ANONYMOUS)).count(b"a-1") == 0
