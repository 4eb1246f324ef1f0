"""The agreement's paragraphs on qualification, as stories: what a lead did, what it is worth, and why."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from services.scoring.domain.fit import Judge
from services.scoring.domain.lead import Lead
from services.scoring.domain.score import Score, scorer_of
from services.scoring.domain.wording import Wording
from services.scoring.worker import HANDLERS
from shared.agreement import Agreement, load
from shared.agreement.conditions import Condition, Subject
from shared.agreement.handoff import Trigger
from shared.agreement.qualification import Fit, FitRule
from shared.errors import Refused
from shared.events import (
    ContactChanged,
    ContactErased,
    ContactsMerged,
    FormSubmitted,
    LeadScored,
    PageVisited,
    PropertyValue,
    identity,
)
from shared.languages import ENGLISH
from shared.work import Facts
from tests.agreements import own_grades, with_follow_up, with_parts, with_points

AGREEMENT = load(Path(__file__).parents[3] / "deploy" / "agreement.yaml")
INTEREST = AGREEMENT.qualification.interest
START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
DAY = timedelta(days=1)
TENANT, LEAD, OTHER = "hubspot:1", "hubspot:1:7", "hubspot:1:8"
CEO = {
    "jobtitle": "Chief Executive Officer",
    "country": "DE",
    "company.numberofemployees": "80",
    "email": "ana@x.example",
}


class Story:
    """One lead, told step by step. `told` is what scoring said, from the first word to the last."""

    def __init__(self) -> None:
        self.lead = Lead()
        self.now = START
        self.told: list[LeadScored] = []
        self.agreement = AGREEMENT

    def after(self, time: timedelta) -> Story:
        self.now += time
        return self

    def has(self, *, ago: timedelta = timedelta(0), **properties: str | None) -> Story:
        at = self.now - ago
        values = tuple(PropertyValue(name=name, value=value, at=at) for name, value in properties.items())
        return self._hear(ContactChanged, at, values=values)

    def submits(self, form: str, *, ago: timedelta = timedelta(0)) -> Story:
        return self._hear(FormSubmitted, self.now - ago, form=form)

    def visits(self, url: str) -> Story:
        return self._hear(PageVisited, self.now, url=url)

    def is_deleted(self, *, privacy: bool = False) -> Story:
        return self._hear(ContactErased, self.now, privacy=privacy)

    def absorbs(self, other: Story) -> Story:
        return self._hear(ContactsMerged, self.now, others={OTHER: other.lead}, merged=(OTHER,))

    def _hear(self, kind: type[Any], at: datetime, *, others: Any = None, **said: Any) -> Story:
        id_ = identity(kind.__name__, at, sorted(said.items(), key=str))
        message = kind(id=id_, tenant=TENANT, lead=LEAD, at=at, **said)
        decision = HANDLERS[kind](
            self.lead, message, Facts(now=self.now, agreement=self.agreement, key=LEAD, others=others or {})
        )
        self.lead = decision.state
        self.told += [m for m in decision.messages if isinstance(m, LeadScored)]
        return self

    def judged_again(self, agreement: Agreement) -> Story:
        """By another agreement, and so from now on."""
        self.agreement = agreement
        before = self.lead
        self.lead, scored = scorer_of(agreement).rejudge(self.lead, LEAD, self.now)
        assert self.lead is not before
        self.told += [scored] if scored else []
        return self

    @property
    def score(self) -> Score:
        return scorer_of(self.agreement).score(self.lead, self.now)

    @property
    def last(self) -> LeadScored:
        return self.told[-1]

    def points(self) -> dict[str, float]:
        """Rule → points."""
        return {reason.rule: reason.points for reason in (*self.score.fit.reasons, *self.score.interest.reasons)}


def in_words(score: Score) -> str:
    return Wording(AGREEMENT, ENGLISH).score(score)


# --- interest ---


@pytest.mark.parametrize("form", ["demo-request", "Demo-Request", "Book a talk: demo-request"])
def test_who_asks_for_a_demo_is_urgent_and_near_a_decision(form: str) -> None:
    story = Story().submits(form)
    assert (story.last.interest_level, story.last.journey) == ("1", "decision")
    assert story.points() == {"Asked for us": 60}


def test_an_ebook_alone_is_consideration() -> None:
    story = Story().submits("ebook")
    assert (story.last.interest, story.last.interest_level, story.last.journey) == (20, "3", "consideration")


def test_an_ebook_is_consideration_for_days_and_not_only_in_the_hour_of_it() -> None:
    story = Story().submits("ebook").after(timedelta(days=7))
    assert (story.score.interest.points, story.score.interest.journey) == (14.1, "consideration")


def test_a_form_that_the_agreement_does_not_name_is_worth_nothing_and_told_all_the_same() -> None:
    story = Story().submits("Job application")
    assert story.last.interest == 0
    assert [submission.form for submission in story.last.forms] == ["Job application"]


def test_a_demo_request_is_worth_half_after_its_half_life() -> None:
    story = Story().submits("demo-request").after(5 * DAY)
    assert story.score.interest.points == 30


def test_the_ebook_fades_more_slowly_than_the_demo_request() -> None:
    story = Story().submits("ebook").after(14 * DAY)
    assert story.score.interest.points == 10


def test_what_a_cap_took_is_told_as_a_reason() -> None:
    story = Story()
    for n in range(5):
        story.visits(f"https://x.example/pricing/{n}")
    assert story.points() == {"Looked at prices": 75, "No more than 60 for urgency": -15}
    assert story.score.interest.points == 60


def test_a_visit_that_a_cap_takes_whole_is_told_as_what_it_was_and_not_with_the_next_fact() -> None:
    story = Story()
    for n in range(4):
        story.visits(f"https://x.example/pricing/{n}")
    before, known = story.last, {act.id for act in story.lead.pages}
    story.visits("https://x.example/pricing/4")
    assert (story.last.version, story.last.interest) == (before.version + 1, before.interest)
    assert {act.id for act in story.lead.pages} - known == {story.last.cause}
    version = story.last.version
    assert story.visits("https://x.example/jobs").last.version == version


def test_a_late_form_is_worth_what_is_left_of_it() -> None:
    assert Story().submits("demo-request", ago=5 * DAY).last.interest == 30


def test_a_form_from_a_clock_that_is_ahead_is_worth_what_it_is_worth_and_no_more() -> None:
    assert Story().submits("ebook", ago=-30 * DAY).last.interest == 20


def test_two_late_facts_give_the_same_as_two_in_time() -> None:
    in_time = Story().submits("ebook").after(DAY).visits("https://x.example/pricing").after(DAY)
    late = Story().after(DAY).visits("https://x.example/pricing").submits("ebook", ago=DAY).after(DAY)
    assert in_time.score == late.score


def test_a_visited_page_is_kept_without_what_may_name_the_person() -> None:
    story = Story().visits("https://www.x.example/pricing?email=ana@x.example#ana")
    assert [act.page for act in story.lead.pages] == ["www.x.example/pricing"]


# --- fit ---


def test_a_chief_of_the_right_size_in_our_market_fits_best() -> None:
    story = Story().has(**CEO)
    assert (story.last.fit, story.last.fit_grade) == (80, "A")
    assert story.points() == {"Role: decision maker": 40, "Right size": 25, "Our markets": 15}


def test_of_two_personas_that_hold_the_better_one_counts() -> None:
    assert Story().has(jobtitle="Head and Manager of Sales").points() == {"Role: decision maker": 40}


def test_what_is_not_known_gives_and_takes_nothing() -> None:
    assert Story().has(firstname="Ana").points() == {}


def test_a_free_mailbox_takes_points() -> None:
    assert Story().has(email="ana@GMail.com").points() == {"Free mailbox": -20}


def test_a_competitor_is_nobody_for_us_whatever_the_points() -> None:
    story = Story().has(**(CEO | {"email": "spy@rival.example"})).submits("demo-request")
    assert story.last.disqualified == "competitor"
    assert in_words(story.score) == "Not a lead for us: competitor."


def test_of_two_reasons_against_a_lead_the_first_of_the_agreement_is_told() -> None:
    both = Subject(properties={"email": "spy@rival.example", "jobtitle": "Student"})
    student = FitRule(name="Student", when=Condition.parse({"jobtitle": "student"}), disqualify="other")
    fit = AGREEMENT.qualification.fit
    assert Judge(fit.model_copy(update={"rules": (*fit.rules, student)})).judge(both).disqualified == "competitor"
    assert Judge(fit.model_copy(update={"rules": (student, *fit.rules)})).judge(both).disqualified == "other"


def test_a_competitor_whose_address_was_wrong_is_a_lead_again() -> None:
    story = Story().has(email="spy@rival.example").after(DAY).has(email="ana@x.example")
    assert [scored.disqualified for scored in story.told] == ["competitor", ""]


def test_a_property_that_was_cleared_is_not_known_any_more() -> None:
    assert Story().has(jobtitle="CEO").after(DAY).has(jobtitle="").points() == {}


def test_a_value_that_comes_late_does_not_replace_a_newer_one() -> None:
    story = Story().has(jobtitle="CEO").has(jobtitle="Intern", ago=DAY)
    assert story.points() == {"Role: decision maker": 40}
    assert len(story.told) == 1


def test_a_time_without_a_zone_is_refused() -> None:
    value = PropertyValue(name="jobtitle", value="CEO", at=datetime(2026, 3, 2))  # noqa: DTZ001
    message = ContactChanged(id=identity("x"), tenant=TENANT, lead=LEAD, at=START, values=(value,))
    with pytest.raises(Refused):
        HANDLERS[ContactChanged](Lead(), message, Facts(now=START, agreement=AGREEMENT, key=LEAD))


# --- why ---


def test_the_reasons_add_up_to_the_points_and_name_what_carried_them() -> None:
    story = Story().has(**CEO).submits("ebook").after(3 * DAY)
    for path in ("/pricing", "/blog/a", "/blog/b", "/pricing/c"):
        story.visits(f"https://x.example{path}").after(DAY / 7)
    last = story.submits("newsletter").last
    assert round(sum(reason.points for reason in last.interest_reasons), 1) == last.interest
    assert sum(reason.points for reason in last.fit_reasons) == last.fit
    acts = {act.id for act in (*story.lead.forms, *story.lead.pages)}
    assert all(reason.cause in acts for reason in last.interest_reasons)
    assert all(reason.points for reason in last.interest_reasons)


def test_what_has_faded_away_is_no_reason_any_more() -> None:
    assert Story().submits("ebook").after(365 * DAY).points() == {}


def test_a_score_is_said_in_a_sentence() -> None:
    story = Story().has(**CEO).submits("demo-request")
    assert in_words(story.score) == (
        "Grade A1: fit A with 80 points (Role: decision maker; Right size; Our markets), "
        "interest 1 with 60 points (Asked for us), in the decision stage."
    )


def test_every_rule_of_fit_says_why_it_holds_or_not() -> None:
    story = Story().has(jobtitle="VP Sales", country="JP")
    asked = {one.rule: (one.held, str(one.why)) for one in scorer_of(AGREEMENT).explain(story.lead)}
    assert asked["Role: decision maker"][0] is True
    assert asked["Our markets"] == (
        False,
        "it does not hold: it is not so that country is Romania, Germany, Austria, Switzerland, France or Norway by any"
        " name (JP)",
    )
    assert asked["Right size"] == (
        None,
        "it is not known: whether company.numberofemployees is between 50 and 1000 cannot be told",
    )


def test_who_did_nothing_and_is_unknown_has_a_sentence_too() -> None:
    assert in_words(Story().score) == (
        "Grade D4: fit D with 0 points, interest 4 with 0 points, in the awareness stage."
    )


def test_a_score_names_the_agreement_and_the_message_behind_it() -> None:
    story = Story().submits("ebook")
    assert story.last.agreement == AGREEMENT.version
    assert story.last.cause == story.lead.forms[0].id


# --- what is to find out ---


def unknown(story: Story) -> list[tuple[str, float, str]]:
    return [(one.rule, one.points, " ".join(one.properties)) for one in story.score.fit.to_find_out]


def test_what_is_not_known_is_to_find_out_the_most_points_first() -> None:
    assert unknown(Story().has(firstname="Ana")) == [
        ("Role: decision maker", 40, "jobtitle"),
        ("Right size", 25, "company.numberofemployees"),
        ("Role: influencer", 20, "jobtitle"),
        ("Right industry", 20, "company.industry"),
        ("Our markets", 15, "country"),
        ("Throw-away mailbox", -40, "email"),
        ("Free mailbox", -20, "email"),
        ("Competitor", 0, "email"),
    ]


def test_what_is_known_is_nothing_to_find_out_whether_it_holds_or_not() -> None:
    assert unknown(Story().has(**CEO, **{"company.industry": "FARMING"})) == []


def test_what_is_known_unclearly_is_to_find_out() -> None:
    story = Story().has(
        **(CEO | {"company.numberofemployees": "11-200", "country": "EMEA", "company.industry": "FARMING"})
    )
    assert unknown(story) == [("Right size", 25, "company.numberofemployees"), ("Our markets", 15, "country")]


def test_another_persona_is_worth_what_it_would_add_to_the_best_that_holds() -> None:
    role = {
        "user": {"when": {"jobtitle": {"words": "planner"}}, "points": 10},
        "buyer": {"when": {"hs_buying_role": "BUYER"}, "points": 35},
        "reader": {"when": {"hs_buying_role": "READER"}, "points": 5},
    }
    fit = Fit.model_validate({"role": role, "grades": {"A": 3, "B": 2, "C": 1, "D": "-inf"}})
    found = Judge(fit).judge(Subject(properties={"jobtitle": "Fleet planner"})).to_find_out
    assert [(one.rule, one.points) for one in found] == [("Role: buyer", 25)]


def test_of_a_rule_only_what_it_still_lacks_is_to_find_out() -> None:
    when = {"any": [{"city": "Bonn", "country": "DE"}, {"phone": {"starts": "+49"}, "zip": "53111"}, {"grade": "A1"}]}
    rule = {"name": "Bonn", "when": when, "points": 5, "disqualify": "other"}
    fit = Fit.model_validate({"rules": [rule], "grades": {"A": 3, "B": 2, "C": 1, "D": "-inf"}})
    (found,) = Judge(fit).judge(Subject(properties={"city": "Köln", "phone": "+49 228"})).to_find_out
    assert (found.properties, found.disqualify) == (("zip",), "other")


def test_a_score_tells_what_is_to_find_out_and_that_it_was_found_out() -> None:
    story = Story().has(**(CEO | {"company.numberofemployees": ""}))
    assert [one.rule for one in story.last.to_find_out] == ["Right size", "Right industry"]
    story.after(DAY).has(**{"company.industry": "FARMING"})
    assert [one.rule for one in story.last.to_find_out] == ["Right size"]
    assert len(story.told) == 2


@given(
    st.dictionaries(
        st.sampled_from(sorted({*CEO, "company.industry"})), st.sampled_from(["CEO", "DE", "80", "x@gmail.com"])
    )
)
def test_what_is_to_find_out_is_what_its_properties_decide(known: dict[str, str]) -> None:
    """Nothing is both: a reason and still to find out."""
    found = Judge(AGREEMENT.qualification.fit).judge(Subject(properties=known))
    assert {one.rule for one in found.reasons}.isdisjoint(one.rule for one in found.to_find_out)
    assert all(one.properties for one in found.to_find_out)


# --- when it is told ---


def test_the_same_fact_again_tells_nothing() -> None:
    assert len(Story().submits("ebook").submits("ebook").told) == 1


def test_more_interest_is_told_although_no_grade_changes() -> None:
    story = Story().submits("ebook").visits("https://x.example/blog/a")
    assert [(scored.interest, scored.grade) for scored in story.told] == [(20, "D3"), (22, "D3")]


def test_fading_tells_nothing_until_a_grade_changes_with_the_next_fact() -> None:
    story = Story().has(**CEO).submits("demo-request").after(DAY).has(city="Bonn")
    assert [scored.grade for scored in story.told] == ["A4", "A1"]
    assert story.after(20 * DAY).has(city="Kiel").last.grade == "A4"


def test_what_nobody_asks_for_is_neither_told_nor_in_the_profile() -> None:
    story = Story().has(**CEO).has(favourite_colour="green")
    assert len(story.told) == 1
    assert set(story.last.profile) == set(CEO)
    assert set(story.last.profile) <= AGREEMENT.profile


def test_a_word_on_where_the_lead_stands_is_told_with_when_it_was_said_and_again_when_it_is_said_again() -> None:
    story = Story().has(hs_lead_status="OPEN").after(DAY).has(hs_lead_status="UNQUALIFIED", ago=DAY / 2)
    assert story.last.profile["hs_lead_status"] == "UNQUALIFIED"
    assert story.last.set_at == {"hs_lead_status": story.now - DAY / 2}
    assert len(story.after(DAY).has(hs_lead_status="UNQUALIFIED").told) == 3
    assert len(story.has(hs_lead_status="OPEN", ago=DAY).told) == 3


def test_scores_count_from_the_lead_s_first_one_and_a_count_that_begins_anew_has_ids_of_its_own() -> None:
    first = Story().has(**CEO).after(DAY).submits("demo-request")
    assert [(scored.version, scored.counted_since) for scored in first.told] == [(1, START), (2, START)]
    rebuilt = Story().after(DAY).has(**CEO)
    assert rebuilt.last.is_newer_than(first.last.version, first.last.counted_since)
    assert rebuilt.last.id not in {scored.id for scored in first.told}


def test_a_deleted_lead_is_silent_and_its_return_is_told_although_nothing_else_changed() -> None:
    story = Story().has(**CEO).after(DAY).is_deleted()
    assert len(story.told) == 1
    story.after(DAY).has()
    assert [scored.version for scored in story.told] == [1, 2]
    assert story.told[1].grade == story.told[0].grade
    assert [scored.seen_at for scored in story.told] == [story.now - 2 * DAY, story.now]


def test_a_deletion_that_comes_after_what_happened_later_deletes_nothing() -> None:
    story = Story().has(**CEO)
    story.now -= DAY
    story.is_deleted()
    assert not story.lead.gone


def test_an_erased_person_is_forgotten_and_never_told_of_again() -> None:
    story = Story().has(**CEO).submits("ebook").is_deleted(privacy=True).submits("demo-request")
    assert replace(story.lead, told=None) == Lead(erased=True)
    assert len(story.told) == 2


def test_a_merge_tells_the_survivors_new_score_under_its_own_next_version() -> None:
    story = Story().has(**CEO).absorbs(Story().submits("demo-request"))
    assert [(scored.version, scored.grade) for scored in story.told] == [(1, "A4"), (2, "A1")]
    assert [submission.form for submission in story.last.forms] == ["demo-request"]


def test_a_visit_that_two_doors_tell_of_counts_once_and_one_after_a_minute_counts_again() -> None:
    story = Story().visits("https://x.example/pricing").after(timedelta(seconds=2))
    story.visits("https://X.example/pricing?a=b")
    assert (story.last.interest, story.last.journey) == (15, "awareness")
    story.after(timedelta(seconds=58)).visits("https://x.example/pricing")
    assert story.last.interest == pytest.approx(30, abs=0.1)


def test_two_forms_whose_names_end_alike_are_two() -> None:
    story = Story().submits("Guide: ebook", ago=timedelta(seconds=20)).submits("Checklist: ebook")
    assert [one.form for one in story.last.forms] == ["Guide: ebook", "Checklist: ebook"]
    assert story.last.interest == 40


def test_a_form_that_two_doors_tell_of_counts_once_and_one_submitted_again_counts_again() -> None:
    """The CRM tells it by a property, a moment later and with the page's name before the form's."""
    once, twice = Story().has(**CEO), Story().has(**CEO)
    for story in (once, twice):
        story.submits("demo-request")
    worth = once.told[-1].interest
    twice.after(timedelta(seconds=3)).submits("Landing: Demo-Request")
    assert (twice.told[-1].interest, len(twice.told[-1].forms)) == (pytest.approx(worth, abs=0.1), 1)
    twice.after(timedelta(minutes=2)).submits("demo-request")
    assert len(twice.told[-1].forms) == 2


# --- another agreement ---

STRICTER = with_points(AGREEMENT, decision_maker=5)


def test_another_agreement_judges_again_and_says_that_it_alone_changed_the_grade() -> None:
    story = Story().has(**CEO).after(DAY).judged_again(STRICTER)
    assert [(scored.version, scored.grade) for scored in story.told] == [(1, "A4"), (2, "B4")]
    assert (story.last.agreement, story.last.cause) == (STRICTER.version, STRICTER.version)
    assert story.last.former_agreement == AGREEMENT.version
    assert story.last.is_rescore
    assert (story.last.lead, story.last.tenant, story.last.at) == (LEAD, TENANT, START + DAY)
    assert {reason.rule: reason.points for reason in story.last.fit_reasons}["Role: decision maker"] == 5


def test_what_stays_the_same_by_another_agreement_is_not_told_and_is_judged_by_it() -> None:
    story = Story().has(**CEO).judged_again(with_follow_up(AGREEMENT, wait_for_reply="9d"))
    assert len(story.told) == 1
    assert story.lead.judged_by == story.agreement.version


def test_points_of_interest_alone_are_not_told_by_another_agreement_but_by_the_next_fact_that_moves_them() -> None:
    story = Story().submits("demo-request").judged_again(with_points(AGREEMENT, demo=55))
    assert [scored.interest for scored in story.told] == [60]
    assert story.submits("ebook").last.interest == 75


def test_a_grade_that_another_agreement_changes_through_interest_is_told() -> None:
    story = Story().submits("demo-request").judged_again(with_points(AGREEMENT, demo=10))
    assert [scored.grade for scored in story.told] == ["D1", "D3"]


def test_by_the_usual_names_what_is_remembered_of_a_told_score_stays_as_it_is() -> None:
    """With another digest everybody would be told again when this version of Leadpact starts."""
    story = Story().has(**CEO).submits("demo-request")
    assert story.lead.told is not None
    assert story.lead.told.digest == "84b2276149797dce"


@pytest.fixture
def own(tmp_path: Path) -> Agreement:
    return load(own_grades(tmp_path))


def test_a_lead_is_graded_by_the_matrix_of_the_agreement(own: Agreement) -> None:
    story = Story()
    story.agreement = own
    story.has(**CEO).submits("demo-request")
    assert (story.last.fit_grade, story.last.interest_level, story.last.grade) == ("gold", "hot", "call now")
    assert in_words(story.score).startswith("Grade call now: fit gold with 80 points (")


def test_a_half_that_changes_within_one_grade_is_told(own: Agreement) -> None:
    """Conditions and targets may ask about it."""
    story = Story()
    story.agreement = own
    story.has(**CEO).submits("demo-request").after(2 * DAY).judged_again(own)
    assert [(scored.interest_level, scored.grade) for scored in story.told[1:]] == [
        ("hot", "call now"), ("warm", "call now"),
    ]  # fmt: skip


def test_from_usual_names_to_names_of_ones_own_everybody_is_told(own: Agreement) -> None:
    story = Story().has(**CEO).submits("demo-request").judged_again(own)
    assert [scored.grade for scored in story.told] == ["A4", "A1", "call now"]
    assert story.judged_again(AGREEMENT).last.grade == "A1"


def test_where_only_the_triggers_changed_it_is_told_of_those_alone_who_are_ready_by_them() -> None:
    with_one_more = with_triggers({"name": "In our markets", "when": {"country": {"in": ["DE"]}}})
    ready = Story().has(country="DE").judged_again(with_one_more)
    assert (ready.last.version, ready.last.is_rescore) == (2, True)
    assert len(ready.judged_again(with_one_more).told) == 2
    for country in ("US", None):
        assert len(Story().has(country=country).judged_again(with_one_more).told) == 1


def test_who_was_ready_before_is_not_told_again_because_of_another_trigger() -> None:
    with_one_more = with_triggers({"name": "In our markets", "when": {"country": {"in": ["DE"]}}})
    assert len(Story().has(**CEO).submits("demo-request").judged_again(with_one_more).told) == 2


def test_who_is_out_is_ready_by_no_trigger() -> None:
    with_one_more = with_triggers({"name": "In our markets", "when": {"country": {"in": ["DE"]}}})
    assert len(Story().has(country="DE", email="ana@rival.example").judged_again(with_one_more).told) == 1


def with_triggers(*more: dict[str, Any]) -> Agreement:
    """The agreement with further triggers behind its own, said as in the file."""
    triggers = (*AGREEMENT.handoff.triggers, *(Trigger.model_validate(one) for one in more))
    return with_parts(AGREEMENT, handoff=AGREEMENT.handoff.model_copy(update={"triggers": triggers}))


def test_interest_is_as_of_the_time_at_which_it_is_judged_again() -> None:
    story = Story().has(**CEO).submits("demo-request").after(30 * DAY)
    story.judged_again(with_follow_up(AGREEMENT, wait_for_reply="9d"))
    assert (story.last.grade, story.last.at) == ("A4", START + 30 * DAY)


def test_a_fact_under_another_agreement_is_its_own_cause_and_names_the_former_agreement() -> None:
    story = Story().has(**CEO)
    story.agreement = STRICTER
    story.has(city="Bonn")
    assert (story.last.grade, story.last.former_agreement) == ("B4", AGREEMENT.version)
    assert not story.last.is_rescore
    assert story.has(city="Kiel").lead.judged_by == STRICTER.version
    assert story.judged_again(STRICTER).last.version == 2


def test_a_fact_that_tells_nothing_is_judged_by_the_agreement_in_force_all_the_same() -> None:
    story = Story().has(**CEO)
    story.agreement = with_follow_up(AGREEMENT, wait_for_reply="9d")
    assert len(story.has(favourite_colour="green").told) == 1
    assert story.lead.judged_by == story.agreement.version


def test_who_is_gone_is_not_judged_again_and_is_told_by_the_agreement_in_force_when_they_return() -> None:
    story = Story().has(**CEO).after(DAY).is_deleted().judged_again(STRICTER)
    assert len(story.told) == 1
    assert story.lead.judged_by is None
    assert story.after(DAY).has(city="Bonn").last.grade == "B4"


def test_agreements_that_follow_each_other_leave_what_the_last_one_says() -> None:
    story = Story().has(**CEO).judged_again(STRICTER).judged_again(AGREEMENT)
    assert [(scored.version, scored.grade) for scored in story.told] == [(1, "A4"), (2, "B4"), (3, "A4")]
    assert story.last.former_agreement == STRICTER.version
