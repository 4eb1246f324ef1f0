"""The order of facts, and how often they come, never matters; and interest only fades."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.scoring.domain.lead import Lead
from services.scoring.domain.score import Score, scorer_of
from services.scoring.worker import HANDLERS
from shared.agreement import load
from shared.events import (
    ContactChanged,
    ContactErased,
    FormSubmitted,
    LeadMessage,
    PageVisited,
    PropertyValue,
    identity,
)
from shared.work import Facts

AGREEMENT = load(Path(__file__).parents[3] / "deploy" / "agreement.yaml")
START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
NOW = START + timedelta(days=30)
TENANT, LEAD = "hubspot:1", "hubspot:1:7"

moments = st.integers(0, 40).map(lambda hours: START + timedelta(hours=hours))
names = st.sampled_from(["jobtitle", "country", "email", "numberofemployees"])
texts = st.sampled_from([None, "", "CEO", "Sales Manager", "DE", "RO", "ana@gmail.com", "ana@x.example", "80", "900"])
pairs = st.builds(lambda name, value, at: PropertyValue(name=name, value=value, at=at), names, texts, moments)
pages = st.sampled_from(["https://x.example/pricing?who=ana", "https://x.example/blog/a", "https://x.example/jobs"])
forms = st.sampled_from(["Demo: demo-request", "ebook", "Jobs"])


def about(kind: type[Any], at: datetime, **more: Any) -> Any:
    id_ = identity(kind.__name__, at, sorted(more.items(), key=str))
    return kind(id=id_, tenant=TENANT, lead=LEAD, at=at, **more)


changes = st.builds(lambda at, values: about(ContactChanged, at, values=tuple(values)), moments, st.lists(pairs))
visits = st.builds(lambda at, url: about(PageVisited, at, url=url), moments, pages)
submissions = st.builds(lambda at, form: about(FormSubmitted, at, form=form), moments, forms)
deletions = st.builds(lambda at: about(ContactErased, at, privacy=False), moments)
histories = st.lists(st.one_of(changes, visits, submissions, deletions), max_size=12)


def after(messages: list[LeadMessage], lead: Lead | None = None) -> Lead:
    lead = lead or Lead()
    for message in messages:
        lead = HANDLERS[type(message)](lead, message, Facts(now=NOW, agreement=AGREEMENT)).state
    return lead


def score(lead: Lead, now: datetime = NOW) -> Score:
    return scorer_of(AGREEMENT).score(lead, now)


@settings(max_examples=150, deadline=None)
@given(history=histories, data=st.data())
def test_any_order_and_any_duplication_end_in_the_same_score(history: list[LeadMessage], data: st.DataObject) -> None:
    again = data.draw(st.lists(st.sampled_from(history), max_size=5)) if history else []
    shuffled = data.draw(st.permutations([*history, *again]))
    straight, disordered = after(history), after(shuffled)
    assert replace(straight, told=None) == replace(disordered, told=None)
    assert score(straight) == score(disordered)


@settings(max_examples=100, deadline=None)
@given(history=histories, days=st.lists(st.integers(0, 90), min_size=2, max_size=6))
def test_interest_never_rises_by_waiting(history: list[LeadMessage], days: list[int]) -> None:
    lead = after(history)
    points = [score(lead, NOW + timedelta(days=day)).interest.points for day in sorted(days)]
    assert points == sorted(points, reverse=True)


@settings(max_examples=100, deadline=None)
@given(history=st.lists(st.one_of(visits, submissions), max_size=60))
def test_no_family_exceeds_its_cap_and_the_reasons_add_up(history: list[LeadMessage]) -> None:
    found = score(after(history), START).interest
    for name, family in AGREEMENT.qualification.interest.families.items():
        assert 0 <= found.families[name] <= family.cap
    assert abs(sum(reason.points for reason in found.reasons) - found.points) < 0.5


@settings(max_examples=100, deadline=None)
@given(history=histories, data=st.data())
def test_a_privacy_deletion_at_any_place_leaves_nothing_personal(
    history: list[LeadMessage], data: st.DataObject
) -> None:
    forgotten = about(ContactErased, START, privacy=True)
    lead = after(data.draw(st.permutations([*history, forgotten])))
    assert replace(lead, told=None) == Lead(erased=True)


@settings(max_examples=100, deadline=None)
@given(history=histories, data=st.data())
def test_versions_count_from_one_without_holes(history: list[LeadMessage], data: st.DataObject) -> None:
    lead, versions = Lead(), []
    for message in data.draw(st.permutations(history)):
        decision = HANDLERS[type(message)](lead, message, Facts(now=NOW, agreement=AGREEMENT))
        lead = decision.state
        versions += [scored.version for scored in decision.messages]  # type: ignore[attr-defined]
    assert versions == list(range(1, len(versions) + 1))
