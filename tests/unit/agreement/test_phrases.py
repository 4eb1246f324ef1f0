"""Conditions told in another language: each has its words there, and none of ours in English is left among them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings

from shared.agreement import phrases
from shared.agreement.conditions import Condition, Subject, in_words
from shared.agreement.properties import EXISTS, TESTS
from shared.agreement.tree import Leaf, leaves
from shared.languages import ENGLISH, languages
from tests.any_agreement import of_handoff

ROMANIAN = languages()["ro"]
EXAMPLES: dict[str, Any] = {
    "equals": "DE",
    "in": ["DE", "FR"],
    "words": ["cto", "head of sales", "chief"],
    "starts": "/blog",
    "contains": ["a", "b"],
    "between": [0.5, 1000],
    "at_least": 2.5,
    "at_most": 12,
    "domain_in": ["rival.example"],
    "free_mailbox": True,
    "throwaway_mailbox": True,
    "country_in": ["Romania", "DE"],
    "seniority": ["c_level", "vp"],
    EXISTS: True,
}
OURS: dict[str, Any] = {
    "grade": ["A1", "B2"],
    "fit": "A",
    "interest": [1, 2],
    "journey": ["awareness", "consideration", "decision"],
    "deal_stage": ["closedwon"],
    "sales": ["accepted", "working", "qualified"],
    "form_submitted": ["demo-request", "assessment"],
}


def every_condition() -> Iterator[dict[str, Any]]:
    for op in (*TESTS, EXISTS):
        yield {"prop": {op: EXAMPLES[op]}}
        if EXAMPLES[op] is True:
            yield {"prop": {op: False}}
    yield from ({word: said} for word, said in OURS.items())
    yield {"form_submitted": "any"}


def words(text: str) -> set[str]:
    return set(re.findall(r"[^\W\d_]+", text.casefold()))


def said(form: str | tuple[str, ...]) -> str:
    return re.sub(r"{\w+}", " ", form if isinstance(form, str) else " ".join(form))


ENGLISH_ALONE = {word for phrase in ROMANIAN.phrases for word in words(said(phrase))} - {
    word for form in ROMANIAN.phrases.values() for word in words(said(form))
}


def english_left(text: str, source: Any) -> set[str]:
    """Words of our English in a Romanian text that the agreement did not bring in itself."""
    return words(text) & ENGLISH_ALONE - words(str(source))


def asked(leaf: Leaf) -> str:
    return phrases.asked(leaf.about, leaf.name, leaf.op, leaf.wanted, ENGLISH)


@pytest.mark.parametrize("source", list(every_condition()), ids=str)
def test_each_test_is_told_in_english_as_it_tells_itself(source: dict[str, Any]) -> None:
    assert [asked(leaf) for leaf in leaves(Condition.parse(source).node)] == [Condition.parse(source).text]


@pytest.mark.parametrize("source", list(every_condition()), ids=str)
def test_each_test_has_other_words_in_romanian(source: dict[str, Any]) -> None:
    condition = Condition.parse(source)
    told = in_words(condition.node, ROMANIAN)
    assert told != condition.text
    assert not english_left(told.replace("prop", ""), {} if "journey" in source or "sales" in source else source)


@settings(max_examples=300, deadline=None)
@given(source=of_handoff)
def test_every_condition_has_a_romanian_text_without_a_word_of_our_english(source: dict[str, Any]) -> None:
    condition = Condition.parse(source)
    for subject in (Subject(properties={}), Subject(properties=dict.fromkeys(condition.properties, "12"), grade="A1")):
        assert not english_left(condition.why(subject).told(ROMANIAN), source)
    assert not english_left(in_words(condition.node, ROMANIAN), source)
    assert in_words(condition.node, ENGLISH) == condition.text


@pytest.mark.parametrize(
    ("source", "properties", "told"),
    [
        (
            {"country": {"in": ["Romania", "DE", "RO"]}},
            {"country": "JP"},
            "nu se îndeplinește: nu este adevărat că country este Romania, DE sau RO (JP)",
        ),
        (
            {"numberofemployees": {"between": [0.5, 1000]}},
            {},
            "nu se știe: nu se poate spune dacă numberofemployees este între 0,5 și 1000",
        ),
        (
            {"numberofemployees": {"at_least": 500}},
            {"numberofemployees": "many"},
            "nu se știe: din many nu se poate spune dacă numberofemployees este cel puțin 500",
        ),
        (
            {"jobtitle": {"words": ["chief", "ceo"]}, "email": {"free_mailbox": False}},
            {"jobtitle": "CEO", "email": "ana@x.example"},
            "se îndeplinește: jobtitle are cuvântul chief sau ceo (CEO),"
            " și email nu este o adresă gratuită (ana@x.example)",
        ),
        ({"not": {"country": "DE"}}, {"country": "DE"}, "nu se îndeplinește: country este DE"),
        ({"definition": "mql"}, {}, "nu se știe: nu se poate spune dacă este mql"),
    ],
)
def test_why_a_condition_held_or_not_is_told_in_romanian(
    source: dict[str, Any], properties: dict[str, str], told: str
) -> None:
    assert Condition.parse(source).why(Subject(properties=properties)).told(ROMANIAN) == told


def test_combined_conditions_are_joined_by_romanian_words() -> None:
    source = {"any": [{"grade": "A1", "journey": "decision"}, {"not": {"form_submitted": "any"}}]}
    told = in_words(Condition.parse(source).node, ROMANIAN)
    assert told == "(nota este A1 și etapa este decizie sau nu (a fost trimis un formular))"
