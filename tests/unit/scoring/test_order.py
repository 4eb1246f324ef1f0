"""The order of facts, and how often they come, never matters; and interest only fades."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import reduce
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from services.scoring.domain.lead import MAX_ENGAGEMENTS, MAX_FORMS, MAX_PAGES, Act, Lead, _with, united
from services.scoring.domain.score import Score, scorer_of
from services.scoring.worker import HANDLERS
from shared.agreement import Agreement, load
from shared.events import (
    ActivityLogged,
    Channel,
    ContactChanged,
    ContactErased,
    ContactsMerged,
    Direction,
    FormSubmitted,
    LeadMessage,
    Outcome,
    PageVisited,
    PropertyValue,
    identity,
)
from shared.work import Facts
from tests.agreements import with_parts, with_signals

SHIPPED = load(Path(__file__).parents[3] / "deploy" / "agreement.yaml")
# With every kind of act, with and without windows, and of what counts once.
AGREEMENT = with_parts(
    with_signals(
        SHIPPED,
        knowledge=[
            {"on": "email_opened", "points": 1.5, "once": "per_day", "name": "opened"},
            {"on": "page_visited", "points": 3, "once": "per_day", "within": "9d", "name": "a page a day"},
        ],
        consideration=[
            {"on": "email_replied", "points": 7, "within": "20d", "name": "replied"},
            {"on": "property_changed", "when": {"country": {"exists": True}}, "points": 4, "name": "moved"},
            {"on": "form_submitted", "points": 9, "once": "per_lead", "within": "31d", "name": "a form"},
        ],
        urgency=[
            {"on": "meeting_held", "points": 20, "name": "met"},
            {"on": "property_changed", "when": {"jobtitle": "CEO"}, "points": 8, "once": "per_lead", "name": "chief"},
        ],
    ),
    timezone="Europe/Bucharest",
)
START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
NOW = START + timedelta(days=30)
TENANT, LEAD = "hubspot:1", "hubspot:1:7"

moments = st.integers(0, 40).map(lambda hours: START + timedelta(hours=hours))
names = st.sampled_from(["jobtitle", "country", "email", "company.numberofemployees"])
texts = st.sampled_from([None, "", "CEO", "Sales Manager", "DE", "RO", "ana@gmail.com", "ana@x.example", "80", "900"])
clicks = st.builds(
    lambda name, clicked: (name, str(int(clicked.timestamp() * 1000))),
    st.sampled_from(["hs_email_last_open_date", "hs_email_last_click_date", "hs_email_last_reply_date"]),
    moments,
)
pairs = st.builds(
    lambda said, at: PropertyValue(name=said[0], value=said[1], at=at), st.tuples(names, texts) | clicks, moments
)
pages = st.sampled_from(["https://x.example/pricing?who=ana", "https://x.example/blog/a", "https://x.example/jobs"])
forms = st.sampled_from(["Demo: demo-request", "ebook", "Jobs"])


def about(kind: type[Any], at: datetime, **more: Any) -> Any:
    id_ = identity(kind.__name__, at, sorted(more.items(), key=str))
    return kind(id=id_, tenant=TENANT, lead=LEAD, at=at, **more)


changes = st.builds(lambda at, values: about(ContactChanged, at, values=tuple(values)), moments, st.lists(pairs))
visits = st.builds(lambda at, url: about(PageVisited, at, url=url), moments, pages)
submissions = st.builds(lambda at, form: about(FormSubmitted, at, form=form), moments, forms)
activities = st.builds(
    lambda at, seen_at, number, email, outcome: about(
        ActivityLogged,
        at,
        activity=f"{'email' if email else 'meeting'}:{number}",
        channel=Channel.EMAIL if email else Channel.MEETING,
        direction=Direction.INBOUND if email else Direction.OUTBOUND,
        outcome=Outcome.REPLIED if email else outcome,
        seen_at=seen_at,
    ),
    moments,
    moments,
    st.integers(1, 3),
    st.booleans(),
    st.sampled_from([Outcome.BOOKED, Outcome.HELD, Outcome.CANCELLED]),
)
lives = st.lists(st.one_of(changes, visits, submissions, activities), max_size=8)
deletions = st.builds(lambda at: about(ContactErased, at, privacy=False), moments)
histories = st.lists(st.one_of(changes, visits, submissions, activities, deletions), max_size=12)


def after(messages: list[LeadMessage], lead: Lead | None = None) -> Lead:
    lead = lead or Lead()
    for message in messages:
        lead = HANDLERS[type(message)](lead, message, Facts(now=NOW, agreement=AGREEMENT, key=message.lead)).state
    return lead


def score(lead: Lead, now: datetime = NOW, agreement: Agreement = AGREEMENT) -> Score:
    return scorer_of(agreement).score(lead, now)


@settings(max_examples=150, deadline=None)
@given(history=histories, data=st.data())
def test_any_order_and_any_duplication_end_in_the_same_score(history: list[LeadMessage], data: st.DataObject) -> None:
    again = data.draw(st.lists(st.sampled_from(history), max_size=5)) if history else []
    shuffled = data.draw(st.permutations([*history, *again]))
    straight, disordered = after(history), after(shuffled)
    assert replace(straight, told=None) == replace(disordered, told=None)
    assert score(straight) == score(disordered)


@settings(max_examples=100, deadline=None)
@given(history=histories, minutes=st.lists(st.integers(0, 60 * 24 * 60), min_size=2, max_size=8))
def test_interest_never_rises_by_waiting(history: list[LeadMessage], minutes: list[int]) -> None:
    """Over the ends of days and windows, too: it begins while acts are still to come."""
    lead = after(history)
    found = [score(lead, START + timedelta(minutes=minute)).interest for minute in sorted(minutes)]
    for which in (lambda one: one.points, *(lambda one, f=f: one.families[f] for f in found[0].families)):
        assert [which(one) for one in found] == sorted(map(which, found), reverse=True)


@settings(max_examples=100, deadline=None)
@given(history=st.lists(st.one_of(visits, submissions, activities, changes), max_size=60), hours=st.integers(0, 500))
def test_no_family_exceeds_its_cap_and_the_reasons_add_up(history: list[LeadMessage], hours: int) -> None:
    found = score(after(history), START + timedelta(hours=hours)).interest
    assert all(reason.points == round(reason.points, 1) for reason in found.reasons)
    for name, family in AGREEMENT.qualification.interest.families.items():
        assert 0 <= found.families[name] <= family.cap
    assert round(sum(reason.points for reason in found.reasons), 1) == found.points


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
        decision = HANDLERS[type(message)](lead, message, Facts(now=NOW, agreement=AGREEMENT, key=message.lead))
        lead = decision.state
        versions += [scored.version for scored in decision.messages]  # type: ignore[attr-defined]
    assert versions == list(range(1, len(versions) + 1))


def untold(lead: Lead) -> Lead:
    """The lead without what was said of it, which depends on who was told first."""
    return replace(lead, told=None)


@settings(max_examples=100, deadline=None)
@given(first=lives, second=lives, third=lives)
def test_merging_commutes_and_is_the_same_in_any_grouping_and_twice(
    first: list[LeadMessage], second: list[LeadMessage], third: list[LeadMessage]
) -> None:
    a, b, c = (untold(after(life)) for life in (first, second, third))
    assert united(a, b) == united(b, a)
    assert united(united(a, b), c) == united(a, united(b, c))
    assert united(united(a, b), b) == united(a, b)


@settings(max_examples=100, deadline=None)
@given(first=lives, second=lives)
def test_a_merge_gives_the_score_that_one_lead_with_both_histories_has(
    first: list[LeadMessage], second: list[LeadMessage]
) -> None:
    merged = ContactsMerged(id=identity("merge"), tenant=TENANT, at=NOW, lead=LEAD, merged=("hubspot:1:8",))
    facts = Facts(now=NOW, agreement=AGREEMENT, key=LEAD, others={"hubspot:1:8": after(second)})
    decision = HANDLERS[ContactsMerged](after(first), merged, facts)
    assert score(decision.state) == score(after([*first, *second]))
    assert untold(decision.others["hubspot:1:8"]) == Lead(merged_into=LEAD)


@settings(max_examples=20, deadline=None)
@given(history=st.lists(st.one_of(visits, submissions), min_size=1, max_size=12), data=st.data())
def test_of_too_many_acts_the_newest_are_kept_in_whatever_order_they_came(
    history: list[LeadMessage], data: st.DataObject
) -> None:
    later = [about(FormSubmitted, NOW + timedelta(minutes=n), form="ebook") for n in range(MAX_FORMS)]
    later += [about(PageVisited, NOW + timedelta(minutes=n), url="https://x.example/") for n in range(MAX_PAGES)]
    lead = after(data.draw(st.permutations([*history, *later])))
    assert untold(lead) == untold(after([*history, *later]))
    assert {act.id for act in (*lead.forms, *lead.pages)} == {message.id for message in later}


@given(told=st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz")), unique=True), data=st.data())
def test_of_too_many_acts_at_one_moment_the_same_are_kept_whoever_told_them_first(
    told: list[tuple[str, str]], data: st.DataObject
) -> None:
    """One act may be told under two ids, the lesser one last."""
    acts = [Act(1.0, id_ + page, "", page) for id_, page in told]
    orders = acts, data.draw(st.permutations(acts))
    one, other = (reduce(lambda known, act: _with(known, (act,), 2), order, ()) for order in orders)
    assert [(act.at, act.page) for act in one] == [(act.at, act.page) for act in other]


@settings(max_examples=100, deadline=None)
@given(history=st.lists(activities, min_size=1, max_size=6), data=st.data())
def test_of_too_many_engagements_those_heard_of_last_are_kept_in_whatever_order_they_came(
    history: list[ActivityLogged], data: st.DataObject
) -> None:
    said = {"channel": Channel.MEETING, "direction": Direction.OUTBOUND, "outcome": Outcome.BOOKED}
    others = [
        about(ActivityLogged, START, activity=f"meeting:{n}", seen_at=START + timedelta(minutes=n), **said)
        for n in range(100, 100 + MAX_ENGAGEMENTS)
    ]
    lead = after(data.draw(st.permutations([*history, *others])))
    assert untold(lead) == untold(after([*history, *others]))
    assert len(lead.engagements) == MAX_ENGAGEMENTS


@settings(max_examples=100, deadline=None)
@given(history=lives, days=st.integers(0, 90))
def test_a_half_life_later_every_act_is_worth_half(history: list[LeadMessage], days: int) -> None:
    now = NOW + timedelta(days=days)
    for act in (*after(history).forms, *after(history).pages):
        lead = Lead(forms=(act,)) if act.form else Lead(pages=(act,))
        once = score(lead, now, SHIPPED)
        again = score(lead, now + HALF_LIFE[_family(once)], SHIPPED)
        assert abs(again.interest.points - once.interest.points / 2) <= 0.1


HALF_LIFE = {
    name: family.half_life or SHIPPED.qualification.interest.half_life
    for name, family in SHIPPED.qualification.interest.families.items()
}


def _family(found: Score) -> str:
    """The family that has points; any when none has."""
    return max(found.interest.families, key=lambda name: found.interest.families[name])
