"""What can never hold, or always does, is proved: nobody who exists is said not to."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.agreement.conditions import Condition, Subject
from shared.agreement.grades import USUAL_FIT, USUAL_LEVELS, joined
from shared.agreement.qualification import JOURNEY
from shared.agreement.solver import FALSE, NOT_FALSE, NOT_TRUE, TRUE, World, possible
from tests.any_agreement import FORMS, PROPERTIES, about_forms, about_grades, about_properties, conditions

VALUES = (
    "DE",
    "no",
    " true ",
    "12",
    "4.0",
    "-3",
    "null",
    "Cluj-Napoca",
    "ȘEF",
    "a, b",
    "x@gmail.com",
    "x@a.rival.example",
    "x@mailinator.com",
    "Norwegen",
    "Rumänien",
    "Founder & CEO",
    "1-10",
    "2 - 400",
    "3+",
)

CELLS = joined(USUAL_FIT, USUAL_LEVELS)
USUAL = World(grades=frozenset(CELLS))

subjects = st.builds(
    lambda cell, **more: Subject(fit_grade=cell.fit, interest_level=cell.level, grade=cell.grade, **more),
    st.sampled_from(CELLS),
    properties=st.dictionaries(st.sampled_from(PROPERTIES), st.sampled_from(VALUES)),
    journey=st.sampled_from(JOURNEY),
    forms=st.frozensets(st.sampled_from([*FORMS, "Page: demo-request", "other"])),
)


def test_a_range_may_leave_not_known_what_each_of_its_numbers_tells() -> None:
    sure = [(Condition.parse({"size": {"at_least": 10}}).node, TRUE)]
    unsure = [(Condition.parse({"size": test}).node, NOT_TRUE) for test in ({"at_least": 100}, {"at_most": 150})]
    assert possible([*sure, *unsure]), "51-200"


@pytest.mark.parametrize("test", [{"country_in": "DE"}, {"seniority": "vp"}, {"free_mailbox": True}])
def test_of_a_value_that_says_nothing_nothing_follows(test: Any) -> None:
    known, asked = (Condition.parse({"x": said}).node for said in ({"exists": True}, test))
    assert possible([(known, TRUE), (asked, NOT_FALSE), (asked, NOT_TRUE)])
    assert not possible([(known, TRUE), (asked, TRUE), (asked, NOT_TRUE)])


anything = conditions(about_properties | about_forms | about_grades)


@settings(deadline=None, max_examples=300)
@given(source=anything, subject=subjects)
def test_of_whom_a_condition_holds_or_not_it_is_said_to_be_possible(source: Any, subject: Subject) -> None:
    condition = Condition.parse(source)
    held = condition.why(subject).held
    may = {True: TRUE, False: FALSE, None: NOT_TRUE}[held]
    assert possible([(condition.node, may)], USUAL)


@settings(deadline=None, max_examples=200)
@given(one=anything, other=anything, subject=subjects)
def test_of_whom_two_conditions_hold_both_are_said_to_be_possible_together(
    one: Any, other: Any, subject: Subject
) -> None:
    first, second = Condition.parse(one), Condition.parse(other)
    wanted = [(it.node, TRUE if it.holds(subject) else NOT_TRUE) for it in (first, second)]
    assert possible(wanted, USUAL)


def can_hold(source: Any, world: World = USUAL) -> bool:
    return possible([(Condition.parse(source).node, TRUE)], world)


def can_fail(source: Any) -> bool:
    return possible([(Condition.parse(source).node, FALSE)], USUAL)


@pytest.mark.parametrize(
    "source",
    [
        {"all": [{"country": "DE"}, {"country": "FR"}]},
        {"country": {"in": ["DE", "AT"], "equals": "FR"}},
        {"all": [{"country": {"in": ["DE", "AT"]}}, {"not": {"country": {"in": ["AT", "DE", "CH"]}}}]},
        {"all": [{"country": {"exists": False}}, {"country": "DE"}]},
        {"all": [{"country": {"exists": False}}, {"not": {"country": "DE"}}]},
        {"size": {"between": [50, 100], "at_least": 200}},
        {"size": {"at_least": 200, "at_most": 199.5}},
        {"all": [{"size": {"at_least": 200}}, {"not": {"size": {"at_least": 100}}}]},
        {"size": {"equals": "many", "at_least": 1}},
        {"all": [{"path": {"starts": "/blog"}}, {"path": {"starts": ["/pricing", "/demo"]}}]},
        {"all": [{"path": {"starts": "/blog/x"}}, {"not": {"path": {"starts": "/blog"}}}]},
        {"all": [{"path": {"starts": "/blog"}}, {"not": {"path": {"contains": "log"}}}]},
        {"all": [{"title": {"words": "head of sales"}}, {"not": {"title": {"words": ["head", "chief"]}}}]},
        {"title": {"equals": "Director", "words": "chief"}},
        {"email": {"domain_in": ["rival.example"], "free_mailbox": True}},
        {"email": {"domain_in": ["rival.example"], "equals": "x@other.example"}},
        {"all": [{"email": {"domain_in": ["eu.rival.example"]}}, {"not": {"email": {"domain_in": ["rival.example"]}}}]},
        {"all": [{"email": {"free_mailbox": True}}, {"email": {"free_mailbox": False}}]},
        {"email": {"throwaway_mailbox": True, "free_mailbox": False}},
        {"email": {"throwaway_mailbox": True, "domain_in": ["rival.example", "gmail.com"]}},
        {"email": {"free_mailbox": False, "domain_in": ["gmail.com"], "equals": "x@gmail.com"}},
        {"email": {"throwaway_mailbox": False, "domain_in": ["eu.mailinator.com"]}},
        {"all": [{"country": {"country_in": ["DE", "AT"]}}, {"country": {"country_in": "Schweiz"}}]},
        {"all": [{"country": {"country_in": "DE"}}, {"not": {"country": {"country_in": ["Germany", "FR"]}}}]},
        {"country": {"country_in": "DE", "equals": "Schweiz"}},
        {"all": [{"title": {"seniority": "vp"}}, {"not": {"title": {"seniority": ["vp", "head"]}}}]},
        {"title": {"seniority": "vp", "equals": "Assistant to the VP"}},
        {"grade": "A1", "fit": "B"},
        {"grade": ["A1", "B1"], "interest": [2, 3]},
        {"all": [{"grade": "A1"}, {"not": {"fit": "A"}}]},
        {"all": [{"journey": "decision"}, {"journey": "awareness"}]},
        {"not": {"journey": list(JOURNEY)}},
        {"all": [{"form_submitted": ["a"]}, {"not": {"form_submitted": ["a", "b"]}}]},
        {"all": [{"form_submitted": ["a"]}, {"not": {"form_submitted": "any"}}]},
        {"any": [{"grade": "A1", "fit": "B"}, {"all": [{"country": "DE"}, {"country": "FR"}]}]},
    ],
)
def test_what_contradicts_itself_can_never_hold(source: Any) -> None:
    assert not can_hold(source)


@pytest.mark.parametrize(
    "source",
    [
        {"all": [{"country": {"in": ["DE", "AT"]}}, {"country": "at"}]},
        {"all": [{"city": "Iași"}, {"city": "IASI"}]},
        {"size": {"between": [50, 100], "at_least": 100}},
        {"all": [{"size": {"between": [5, 5]}}, {"not": {"size": "5"}}]},
        {"all": [{"title": {"words": "head"}}, {"title": {"words": "sales"}}]},
        {"all": [{"title": {"words": "head"}}, {"not": {"title": {"words": "head of sales"}}}]},
        {"all": [{"path": {"starts": "/a"}}, {"not": {"path": {"starts": "/a/b"}}}]},
        {"all": [{"path": {"starts": "/a/b"}}, {"path": {"starts": "/a"}}]},
        {"all": [{"path": {"starts": "/a"}}, {"path": {"starts": "/a/b"}}]},
        {"not": {"size": {"at_most": 10}}},
        {"not": {"size": {"at_least": 10}}},
        {"email": {"domain_in": ["gmail.com"], "free_mailbox": True}},
        {"all": [{"email": {"domain_in": ["x.example"]}}, {"email": {"domain_in": ["eu.x.example"]}}]},
        {"email": {"domain_in": ["mailinator.com", "x.example"], "throwaway_mailbox": False}},
        {"email": {"free_mailbox": False, "domain_in": ["gmail.com"]}},
        {"all": [{"title": {"seniority": "vp"}}, {"title": {"seniority": "owner"}}]},
        {"country": {"country_in": "DE", "in": ["Allemagne", "France"]}},
        {"grade": ["A1", "B2"], "fit": "B"},
        {"all": [{"form_submitted": ["a"]}, {"form_submitted": ["b"]}]},
        {"all": [{"form_submitted": "any"}, {"not": {"form_submitted": ["a"]}}]},
        {"deal_stage": "closedwon"},
        {"sales": "qualified"},
        {"size": {"at_most": 1e300}},
    ],
)
def test_what_somebody_can_meet_is_left_alone(source: Any) -> None:
    assert can_hold(source)


@pytest.mark.parametrize(
    "source",
    [
        {"any": [{"country": "DE"}, {"not": {"country": "DE"}}]},
        {"any": [{"country": {"exists": True}}, {"country": {"exists": False}}]},
        {"any": [{"size": {"at_least": 10}}, {"size": {"at_most": 10}}]},
        {"fit": list("ABCD")},
        {"not": {"all": [{"country": "DE"}, {"country": "FR"}]}},
    ],
)
def test_what_nobody_fails_is_known_to_hold_of_everybody(source: Any) -> None:
    assert not can_fail(source)


def test_a_grade_that_nobody_gets_is_none() -> None:
    assert not can_hold({"grade": ["A1", "A2"]}, World(grades=frozenset(joined("B", USUAL_LEVELS))))


def test_where_nobody_knows_the_grades_any_may_be() -> None:
    assert can_hold({"grade": "gold", "fit": "silver"}, World())


def test_what_is_too_long_to_decide_is_taken_for_possible() -> None:
    pairs = [{"any": [{"x": str(n)}, {"y": str(n)}]} for n in range(20)]
    assert can_hold({"all": pairs})
