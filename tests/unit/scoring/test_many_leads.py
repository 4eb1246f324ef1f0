"""Leads that are merged, deleted, restored and forgotten: the order of what is heard never matters."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from prometheus_client import CollectorRegistry

from services.scoring.domain.lead import Lead
from services.scoring.domain.lead import submissions as submissions_of
from services.scoring.domain.score import Score, scorer_of
from services.scoring.metrics import ScoringMetrics
from services.scoring.worker import worker
from shared.events import (
    ContactChanged,
    ContactErased,
    ContactsMerged,
    FormSubmitted,
    LeadMessage,
    LeadScored,
    identity,
)
from shared.work import Facts
from tests.unit.scoring import test_order

AGREEMENT = test_order.AGREEMENT
WORKER = worker(ScoringMetrics(CollectorRegistry()))
TENANT, START, NOW = test_order.TENANT, test_order.START, test_order.NOW
HOUR, LEADS = timedelta(hours=1), 5


def name(contact: int) -> str:
    return f"{TENANT}:{contact}"


def about(kind: type[Any], contact: int, at: datetime, **said: Any) -> Any:
    id_ = identity(kind.__name__, contact, at, sorted(said.items(), key=str))
    return kind(id=id_, tenant=TENANT, lead=name(contact), at=at, **said)


def merge(survivor: int, *merged: int, at: datetime = START) -> ContactsMerged:
    return about(ContactsMerged, survivor, at, merged=tuple(map(name, merged)))  # type: ignore[no-any-return]


def demo(contact: int, *, at: datetime = START) -> FormSubmitted:
    return about(FormSubmitted, contact, at, form="demo-request")  # type: ignore[no-any-return]


def forget(contact: int, *, at: datetime = START, privacy: bool = True) -> ContactErased:
    return about(ContactErased, contact, at, privacy=privacy)  # type: ignore[no-any-return]


class Leads:
    """Several leads as scoring keeps them, without the inbox, so that what is told twice is heard twice."""

    def __init__(self, *messages: LeadMessage) -> None:
        self.states: dict[str, Lead] = {}
        self.told: dict[str, list[LeadScored]] = defaultdict(list)
        for message in messages:
            self.hear(message)

    def hear(self, message: LeadMessage) -> Leads:
        key, *others = WORKER.about(message, self.states)
        facts = Facts(
            now=NOW, agreement=AGREEMENT, key=key, others={other: self.states.get(other, Lead()) for other in others}
        )
        decision = WORKER.handlers[type(message)](self.states.get(key, Lead()), message, facts)
        self.states |= {key: decision.state, **decision.others}
        for scored in decision.messages:
            assert isinstance(scored, LeadScored)
            self.told[scored.lead].append(scored)
        return self

    def survivor(self, contact: int) -> str:
        """Under which key the lead is kept now."""
        key = name(contact)
        while state := self.states.get(key):
            if not state.merged_into:
                return key
            key = state.merged_into
        return key

    def kept(self, contact: int) -> Lead:
        return self.states.get(self.survivor(contact), Lead())

    def known(self) -> list[Lead | tuple[str, Lead]]:
        """What is known of every contact, and under which key where somebody is left to be known."""
        found: list[Lead | tuple[str, Lead]] = []
        for contact in range(LEADS):
            lead = structs.replace(self.kept(contact), told=None)
            found.append(lead if lead.erased else (self.survivor(contact), lead))
        return found

    def score(self, contact: int) -> Score:
        return scorer_of(AGREEMENT).score(self.kept(contact), NOW)

    def last(self, contact: int) -> LeadScored:
        return self.told[self.survivor(contact)][-1]


# --- any history of several leads ---

contacts = st.integers(0, LEADS - 1)
said_of_one = st.one_of(test_order.changes, test_order.visits, test_order.submissions, test_order.activities)
facts_of_all = st.builds(
    lambda fact, contact: structs.replace(fact, lead=name(contact), id=identity(fact.id, contact)),
    said_of_one,
    contacts,
)
moments = test_order.moments
restores = st.builds(lambda c, at: about(ContactChanged, c, at), contacts, moments)
deletions = st.builds(lambda c, at: forget(c, at=at, privacy=False), contacts, moments)
erasures = st.builds(lambda c, at: forget(c, at=at), contacts, moments)
facts = st.lists(facts_of_all, max_size=14)
endings = st.lists(st.one_of(restores, deletions), max_size=4)


@st.composite
def merges(draw: st.DrawFn) -> list[ContactsMerged]:
    """As the CRM merges: a contact that is merged away is so once, its survivor may be merged away in turn."""
    into: dict[int, list[int]] = defaultdict(list)
    order = draw(st.permutations(range(LEADS)))
    for place, contact in enumerate(order[:-1]):
        if draw(st.booleans()):
            into[draw(st.sampled_from(order[place + 1 :]))].append(contact)
    together = draw(st.booleans())  # of several that have one survivor the CRM may tell at once
    told = [(survivor, gone if together else [one]) for survivor, gone in into.items() for one in gone]
    return [merge(survivor, *gone, at=draw(moments)) for survivor, gone in told]


def shuffled(data: st.DataObject, messages: list[LeadMessage]) -> list[LeadMessage]:
    again = data.draw(st.lists(st.sampled_from(messages), max_size=5)) if messages else []
    return data.draw(st.permutations([*messages, *again]))


def in_order(messages: Iterable[LeadMessage]) -> list[LeadMessage]:
    return sorted(messages, key=lambda message: message.at)


@settings(max_examples=300, deadline=None)
@given(said=facts, ends=endings, erased=st.lists(erasures, max_size=1), merged=merges(), data=st.data())
def test_whatever_the_order_and_however_often_it_ends_as_the_orderly_stream(
    said: list[LeadMessage],
    ends: list[LeadMessage],
    erased: list[LeadMessage],
    merged: list[ContactsMerged],
    data: st.DataObject,
) -> None:
    history = [*said, *ends, *erased, *merged]
    orderly, disordered = Leads(*in_order(history)), Leads(*shuffled(data, history))
    assert disordered.known() == orderly.known()
    assert [disordered.score(c) for c in range(LEADS)] == [orderly.score(c) for c in range(LEADS)]


@settings(max_examples=150, deadline=None)
@given(said=facts, merged=merges(), data=st.data())
def test_merged_leads_are_worth_what_one_lead_with_all_they_did_is(
    said: list[LeadMessage], merged: list[ContactsMerged], data: st.DataObject
) -> None:
    leads = Leads(*shuffled(data, [*said, *merged]))
    of_one = [structs.replace(fact, lead=leads.survivor(int(fact.lead.rpartition(":")[2]))) for fact in said]
    always = Leads(*of_one)
    assert [leads.score(c) for c in range(LEADS)] == [
        scorer_of(AGREEMENT).score(always.states.get(leads.survivor(c), Lead()), NOW) for c in range(LEADS)
    ]


@settings(max_examples=150, deadline=None)
@given(said=facts, ends=endings, merged=merges(), data=st.data())
def test_what_was_told_last_is_what_the_lead_is_worth_under_numbers_without_holes(
    said: list[LeadMessage], ends: list[LeadMessage], merged: list[ContactsMerged], data: st.DataObject
) -> None:
    leads = Leads(*shuffled(data, [*said, *ends, *merged]))
    for scores in leads.told.values():
        assert [score.version for score in scores] == list(range(1, len(scores) + 1))
    for contact in range(LEADS):
        if not (lead := leads.kept(contact)).gone and lead != Lead():
            told, score = leads.last(contact), leads.score(contact)
            assert (told.grade, told.fit) == (score.grade, score.fit.points)
            assert [form.at for form in told.forms] == [
                datetime.fromtimestamp(act.at, UTC) for act in submissions_of(leads.kept(contact))
            ]


@settings(max_examples=150, deadline=None)
@given(said=facts, merged=merges(), erased=erasures, data=st.data())
def test_who_is_forgotten_under_one_key_is_forgotten_under_all(
    said: list[LeadMessage], merged: list[ContactsMerged], erased: ContactErased, data: st.DataObject
) -> None:
    leads = Leads(*shuffled(data, [*said, *merged, erased]))
    one = int(erased.lead.rpartition(":")[2])
    together = _together(merged)[one]
    for contact in range(LEADS):
        assert leads.kept(contact).erased is (contact in together)
        if contact in together:
            left = structs.replace(leads.states.get(name(contact), Lead()), told=None)
            assert left in (Lead(erased=True), Lead(merged_into=left.merged_into), Lead())


def _together(merged: Iterable[ContactsMerged]) -> Mapping[int, set[int]]:
    """With whom each contact is one person."""
    sets = {contact: {contact} for contact in range(LEADS)}
    for message in merged:
        keys = [int(key.rpartition(":")[2]) for key in (message.lead, *message.merged)]
        whole = set().union(*(sets[key] for key in keys))
        sets |= dict.fromkeys(whole, whole)
    return sets


# --- some of them, told ---


def test_a_form_of_a_merged_lead_that_is_heard_of_late_counts_for_the_survivor_under_its_key() -> None:
    leads = Leads(merge(1, 2), demo(2))
    assert [(told.lead, told.version, len(told.forms)) for told in leads.told[name(1)]] == [
        (name(1), 1, 0),
        (name(1), 2, 1),
    ]
    assert leads.told[name(2)] == []


def test_two_merges_in_a_row_that_come_the_other_way_round_lose_nothing() -> None:
    leads = Leads(demo(1), merge(3, 2), merge(2, 1))
    assert (leads.survivor(1), leads.survivor(2)) == (name(3), name(3))
    assert [submission.form for submission in leads.last(3).forms] == ["demo-request"]


@pytest.mark.parametrize("told", [(merge(1, 2), merge(2, 1)), (merge(1, 2), merge(2, 3), merge(3, 1))])
def test_merges_that_contradict_each_other_make_no_circle(told: tuple[ContactsMerged, ...]) -> None:
    leads = Leads(*told, demo(1), demo(2, at=START + HOUR))
    assert leads.survivor(1) == leads.survivor(2)
    assert len(leads.kept(1).forms) == 2


def test_the_deletion_of_the_old_record_that_comes_with_a_merge_deletes_nobody() -> None:
    for told in ((forget(2, privacy=False), merge(1, 2)), (merge(1, 2), forget(2, privacy=False))):
        leads = Leads(demo(2, at=START - HOUR), *told)
        assert not leads.kept(2).gone
        assert leads.last(1).forms


@pytest.mark.parametrize("restored_first", [False, True])
def test_a_restored_contact_is_told_of_whichever_is_heard_first(restored_first: bool) -> None:
    """Hand-off hears of the deletion too, and takes nobody for restored but by a score from after it."""
    leads = Leads(demo(1))
    deletion, restore = forget(1, at=START + HOUR, privacy=False), about(ContactChanged, 1, START + 2 * HOUR)
    for message in (restore, deletion) if restored_first else (deletion, restore):
        leads.hear(message)
    assert not leads.kept(1).gone
    assert [told.seen_at for told in leads.told[name(1)]] == [START, START + 2 * HOUR]
