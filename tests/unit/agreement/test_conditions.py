"""The language of conditions: what holds of whom, and that what is not known is neither yes nor no."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from shared.agreement.conditions import Condition, Subject


def holds(source: Any, subject: Subject | None = None, **properties: str) -> bool:
    return Condition.parse(source).holds(subject or Subject(properties=properties))


def problems(source: Any) -> list[tuple[tuple[str | int, ...], str]]:
    with pytest.raises(PydanticCustomError) as wrong:
        Condition.parse(source)
    assert wrong.value.context is not None
    found: list[tuple[tuple[str | int, ...], str]] = wrong.value.context["problems"]
    return found


# --- what is not known ---

DE = {"country": "DE"}
FR = {"country": "FR"}


@pytest.mark.parametrize(
    ("source", "properties", "expected"),
    [
        ({"country": "DE"}, DE, True),
        ({"country": "DE"}, FR, False),
        ({"country": "DE"}, {}, False),
        ({"not": {"country": "DE"}}, FR, True),
        ({"not": {"country": "DE"}}, {}, False),
        ({"not": {"country": "DE"}}, {"country": ""}, False),
        ({"not": {"not": {"country": "DE"}}}, {}, False),
        ({"country": {"exists": True}}, {}, False),
        ({"country": {"exists": False}}, {}, True),
        ({"country": {"exists": False}}, {"country": ""}, True),
        ({"not": {"country": {"exists": True}}}, {}, True),
        ({"any": [{"country": "DE"}, {"city": "Bonn"}]}, DE, True),
        ({"any": [{"country": "DE"}, {"city": "Bonn"}]}, FR, False),
        ({"not": {"any": [{"country": "DE"}, {"city": "Bonn"}]}}, FR, False),
        ({"not": {"any": [{"country": "DE"}, {"city": "Bonn"}]}}, FR | {"city": "Kiel"}, True),
        ({"all": [{"country": "DE"}, {"city": "Bonn"}]}, DE, False),
        ({"not": {"all": [{"country": "DE"}, {"city": "Bonn"}]}}, DE, False),
        ({"not": {"all": [{"country": "DE"}, {"city": "Bonn"}]}}, FR, True),
        ({"country": "DE", "city": "Bonn"}, DE | {"city": "Bonn"}, True),
        ({"country": "DE", "city": "Bonn"}, DE | {"city": "Kiel"}, False),
    ],
)
def test_what_is_not_known_is_neither_true_nor_false(source: Any, properties: dict[str, str], expected: bool) -> None:
    assert holds(source, **properties) is expected


conditions = st.recursive(
    st.builds(lambda name, value: {name: value}, st.sampled_from("abc"), st.sampled_from("xy")),
    lambda inner: st.one_of(
        st.builds(lambda one: {"not": one}, inner),
        st.builds(lambda several: {"any": several}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda several: {"all": several}, st.lists(inner, min_size=1, max_size=3)),
    ),
    max_leaves=6,
)


@given(source=conditions, known=st.dictionaries(st.sampled_from("abc"), st.sampled_from("xy")))
def test_what_is_held_for_true_stays_true_whatever_else_is_learned(source: Any, known: dict[str, str]) -> None:
    if holds(source, **known):
        for name in "abc":
            for value in "xy":
                assert holds(source, **({name: value} | known))


def outcome(source: Any, known: dict[str, str]) -> bool | None:
    """What is to come of a condition, worked out from the table of three values."""
    (key, said), *_ = source.items()
    if key == "not":
        inner = outcome(said, known)
        return None if inner is None else not inner
    if key in ("any", "all"):
        parts = [outcome(one, known) for one in said]
        decisive = key == "any"
        return decisive if decisive in parts else None if None in parts else not decisive
    return known[key] == said if key in known else None


@given(source=conditions, known=st.dictionaries(st.sampled_from("abc"), st.sampled_from("xy")))
def test_not_any_and_all_follow_the_table_of_three_values(source: Any, known: dict[str, str]) -> None:
    condition, subject = Condition.parse(source), Subject(properties=known)
    expected = outcome(source, known)
    assert condition.why(subject).held is expected
    assert condition.holds(subject) is (expected is True)


@pytest.mark.parametrize(
    ("source", "held"),
    [
        ({"all": [{"a": "x"}, {"b": "x"}]}, False),
        ({"all": [{"b": "x"}, {"a": "x"}]}, False),
        ({"any": [{"a": "y"}, {"b": "x"}]}, True),
        ({"any": [{"b": "x"}, {"a": "y"}]}, True),
        ({"all": [{"a": "y"}, {"b": "x"}]}, None),
        ({"any": [{"a": "x"}, {"b": "x"}]}, None),
    ],
)
def test_what_one_part_decides_needs_no_other(source: Any, held: bool | None) -> None:
    assert Condition.parse(source).why(Subject(properties={"a": "y"})).held is held


# --- text ---


@pytest.mark.parametrize(
    ("source", "value", "expected"),
    [
        ("DE", "de", True),
        ("DE", " De ", True),
        ("NO", "no", True),
        ("Österreich", "ÖSTERREICH", True),
        ("straße", "STRASSE", True),
        ({"in": ["RO", "NO"]}, "No", True),
        ({"in": ["RO", "NO"]}, "false", False),
        ({"in": [1, 2]}, "1", True),
        ({"starts": "/pricing"}, "/Pricing/eu", True),
        ({"starts": ["/a", "/b"]}, "/c/b", False),
        ({"contains": ["soft"]}, "Microsoft", True),
        ("Iași", "IASI", True),
        ({"in": ["București", "Timișoara"]}, "Timişoara", True),
        ({"starts": "/ștergere"}, " /Stergere", True),
        ({"contains": "vânz"}, "Departament VANZARI", True),
        ("Iași", "Iasi 2", False),
    ],
)
def test_text_is_compared_without_case_and_diacritics(source: Any, value: str, expected: bool) -> None:
    assert holds({"x": source}, x=value) is expected


@pytest.mark.parametrize(
    ("words", "title", "expected"),
    [
        (["director"], "DIRECTOR", True),
        (["director"], "Managing Director, Sales", True),
        (["director"], "Director/Owner", True),
        (["director"], "Directorate", False),
        (["vp"], "VP Sales", True),
        (["vp"], "vpn engineer", False),
        (["director"], "Director comercial", True),
        (["sef"], "Șef de vânzări", True),
        (["Șef"], "sef vanzari", True),
        (["geschaftsfuhrer"], "GESCHÄFTSFÜHRER", True),
        (["Geschäftsführer"], "geschaftsfuhrer", True),
        (["директор"], "Генеральный Директор", True),
        (["διευθυντής"], "ΓΕΝΙΚΟΣ ΔΙΕΥΘΥΝΤΗΣ", True),
        (["head of sales"], "Head of Sales EMEA", True),
        (["head of sales"], "Head of Marketing", False),
        (["c++"], "C++ lead", True),
        (["cto"], "director", False),
        (["șef"], "ŞEF DE SECŢIE", True),  # with a cedilla, as older keyboards write it
        (["director vânzări"], "Director  Vanzari", True),
        (["satış"], "SATIŞ MÜDÜRÜ", True),
        (["ısı"], "ISI", True),
        (["müdürü"], "Satis Muduru", True),
        (["größe"], "GRÖSSE", True),
        (["strasse"], "Straße 1", True),
        (["kierownik działu"], "KIEROWNIK DZIALU", True),
        (["vice-president"], "Vice President, Sales", True),
        (["vice president"], "Vice‑President", True),
        (["president"], "Vice-President", True),
        (["vice-president"], "Advice president", False),
        (["总经理"], "公司总经理兼董事", True),
        (["部長"], "営業部長", True),
        (["经理"], "经济理论", False),
    ],
)
def test_words_are_whole_and_known_in_any_language_case_and_spelling(
    words: list[str], title: str, expected: bool
) -> None:
    assert holds({"jobtitle": {"words": words}}, jobtitle=title) is expected


# --- numbers ---


@pytest.mark.parametrize(
    ("test", "value", "expected"),
    [
        ({"between": [50, 1000]}, "50", True),
        ({"between": [50, 1000]}, "1000.0", True),
        ({"between": [50, 1000]}, " 80 ", True),
        ({"between": [50, 1000]}, "49.9", False),
        ({"at_least": 500}, "500", True),
        ({"at_least": 500}, "1e3", True),
        ({"at_least": "-inf"}, "5", None),
        ({"at_most": 10}, "9", True),
        ({"at_most": 10}, "11", False),
        ({"at_least": 500}, "many", False),
        ({"at_least": 500}, "nan", False),
        ({"at_least": 500}, "inf", False),
    ],
)
def test_numbers_are_compared_as_numbers(test: Any, value: str, expected: bool | None) -> None:
    if expected is None:
        assert problems({"x": test})
    else:
        assert holds({"x": test}, x=value) is expected


@pytest.mark.parametrize("value", ["many", "nan", "inf", "200-800"])
def test_what_is_no_number_is_not_known_rather_than_small(value: str) -> None:
    assert not holds({"not": {"size": {"at_least": 500}}}, size=value)


# --- mailboxes ---


@pytest.mark.parametrize(
    ("test", "email", "expected"),
    [
        ({"free_mailbox": True}, "ana@gmail.com", True),
        ({"free_mailbox": True}, "Ana@GMAIL.com ", True),
        ({"free_mailbox": True}, "ana@x.example", False),
        ({"free_mailbox": True}, "gmail.com@x.example", False),
        ({"free_mailbox": False}, "ana@x.example", True),
        ({"domain_in": ["rival.example"]}, "spy@rival.example", True),
        ({"domain_in": ["@Rival.example"]}, "spy@RIVAL.EXAMPLE", True),
        ({"domain_in": ["rival.example"]}, "spy@eu.rival.example", True),
        ({"domain_in": ["rival.example"]}, "ana@notrival.example", False),
    ],
)
def test_an_address_says_where_somebody_works(test: Any, email: str, expected: bool) -> None:
    assert holds({"email": test}, email=email) is expected


def test_without_an_address_nobody_is_said_to_work_anywhere() -> None:
    assert not holds({"email": {"free_mailbox": False}})
    assert not holds({"not": {"email": {"domain_in": ["rival.example"]}}})


# --- words of ours ---


def lead(**more: Any) -> Subject:
    return Subject(properties={}, **more)


@pytest.mark.parametrize(
    ("source", "subject", "expected"),
    [
        ({"grade": ["A1", "A2"]}, lead(grade="A2"), True),
        ({"grade": "A1"}, lead(grade="A2"), False),
        ({"not": {"grade": "A1"}}, lead(), False),
        ({"fit": "D"}, lead(fit_grade="D"), True),
        ({"interest": 1}, lead(interest_level="1"), True),
        ({"journey": "decision"}, lead(journey="decision"), True),
        ({"deal_stage": "closedwon"}, lead(deal_stage="closedwon"), True),
        ({"sales": "qualified"}, lead(state="qualified"), True),
        ({"form_submitted": "any"}, lead(forms=frozenset({"x"})), True),
        ({"form_submitted": "any"}, lead(), False),
        ({"not": {"form_submitted": "any"}}, lead(), True),
        ({"form_submitted": ["demo-request"]}, lead(forms=frozenset({"Demo-Request"})), True),
        ({"form_submitted": ["demo-request"]}, lead(forms=frozenset({"Book a talk: demo-request"})), True),
        ({"form_submitted": ["demo-request"]}, lead(forms=frozenset({"no demo-request"})), False),
        ({"form_submitted": ["Guide: part 2"]}, lead(forms=frozenset({"Learn: more: Guide: part 2"})), True),
        ({"form_submitted": ["Guide"]}, lead(forms=frozenset({"Guide: part 2"})), False),
        ({"form_submitted": {"in": ["a", "b"]}}, lead(forms=frozenset({"b", "c"})), True),
    ],
)
def test_our_own_words_ask_about_the_lead(source: Any, subject: Subject, expected: bool) -> None:
    assert holds(source, subject) is expected


def test_a_definition_means_its_condition_once_it_is_bound() -> None:
    condition = Condition.parse({"not": {"definition": "mql"}})
    assert [reference.name for reference in condition.references] == ["mql"]
    assert not condition.holds(lead(grade="B1")), "nobody knows yet what it means"
    condition.bind({"mql": Condition.parse({"grade": ["A1"]})})
    assert condition.holds(lead(grade="B1"))
    assert not condition.holds(lead(grade="A1"))


def test_a_property_with_the_name_of_one_of_our_words_can_be_asked_for() -> None:
    assert holds({"property": {"grade": "x"}}, grade="x")
    assert Condition.parse({"property": {"grade": "x"}}).words == frozenset()


# --- about itself ---


def test_a_condition_says_itself_in_words() -> None:
    condition = Condition.parse(
        {"any": [{"country": {"in": ["DE", "AT"]}}, {"not": {"jobtitle": {"words": "intern"}}}], "grade": "A1"}
    )
    assert condition.text == ("(country is DE or AT or not (jobtitle has the word intern)) and the grade is A1")


WANTED = {
    "any": [{"country": {"in": ["DE", "AT"]}}, {"numberofemployees": {"at_least": 500}}],
    "not": {"jobtitle": {"words": "intern"}},
    "grade": ["A1", "A2"],
}


@pytest.mark.parametrize(
    ("grade", "properties", "said"),
    [
        (
            "A1",
            {"country": "at", "numberofemployees": "12", "jobtitle": "CEO"},
            "it holds: country is DE or AT (at), and it is not so that jobtitle has the word intern (CEO),"
            " and the grade is A1 or A2",
        ),
        (
            "B1",
            {"country": "DE", "jobtitle": "CEO"},
            "it does not hold: it is not so that the grade is A1 or A2 (B1)",
        ),
        (
            "A1",
            {"country": "FR", "numberofemployees": "12", "jobtitle": "Intern"},
            "it does not hold: it is not so that country is DE or AT (FR),"
            " and it is not so that numberofemployees is at least 500 (12), and jobtitle has the word intern (Intern)",
        ),
        (
            "A1",
            {"country": "FR", "numberofemployees": "many", "jobtitle": "CEO"},
            "it is not known: whether numberofemployees is at least 500 cannot be told from many",
        ),
        (
            "A1",
            {"country": "DE"},
            "it is not known: whether jobtitle has the word intern cannot be told",
        ),
    ],
)
def test_a_condition_says_why_it_held_or_not(grade: str, properties: dict[str, str], said: str) -> None:
    assert str(Condition.parse(WANTED).why(Subject(properties=properties, grade=grade))) == said


def test_a_definition_says_why_by_what_it_means() -> None:
    condition = Condition.parse({"definition": "mql"})
    assert str(condition.why(lead(grade="A1"))) == "it is not known: whether it is an mql cannot be told"
    condition.bind({"mql": Condition.parse({"grade": "B1"})})
    assert str(condition.why(lead(grade="A1"))) == "it does not hold: it is not so that the grade is B1 (A1)"


def test_a_condition_knows_what_it_asks_about() -> None:
    condition = Condition.parse({"any": [{"country": "DE"}, {"not": {"city": "Bonn"}}], "grade": "A1"})
    assert (condition.properties, condition.words) == ({"country", "city"}, {"grade"})


@pytest.mark.parametrize(
    ("source", "path", "said"),
    [
        ("DE", (), "must be a condition"),
        ({}, (), "must say something"),
        ({"country": ["DE", "AT"]}, ("country",), "for a list write {in: […]}"),
        ({"country": {"isin": ["DE"]}}, ("country", "isin"), "did you mean"),
        ({"country": {"in": []}}, ("country", "in"), "must be a value or a list of values"),
        ({"country": {"matches": "D"}}, ("country", "matches"), "must be one of equals"),
        ({"Country": "DE"}, ("Country",), "internal name"),
        ({"form_submited": "any"}, ("form_submited",), "did you mean form_submitted?"),
        ({"journey": "descision"}, ("journey",), "descision is none of awareness"),
        ({"any": {"country": "DE"}}, ("any",), "must be a list of conditions"),
        ({"any": [{"country": "DE"}, "AT"]}, ("any", 1), "must be a condition"),
        ({"size": {"between": [9, 1]}}, ("size", "between"), "lower number first"),
        ({"size": {"between": [1, "x"]}}, ("size", "between", 1), "must be a number"),
        ({"email": {"free_mailbox": "maybe"}}, ("email", "free_mailbox"), "must be true or false"),
        ({"email": {"throwaway_mailbox": "maybe"}}, ("email", "throwaway_mailbox"), "must be true or false"),
        (
            {"x": {"country_in": ["DE", "Romnia"]}},
            ("x", "country_in", 1),
            "Romnia is no country; did you mean Romania?",
        ),
        ({"x": {"country_in": "Xyzzy"}}, ("x", "country_in"), "Xyzzy is no country; write its name or its code"),
        ({"x": {"seniority": ["vp", "boss"]}}, ("x", "seniority"), "boss is none of owner, c_level, vp"),
        ({"form_submitted": {"like": "x"}}, ("form_submitted",), "must be any, a form's name"),
    ],
)
def test_what_is_wrong_is_told_with_its_place_and_what_would_be_right(
    source: Any, path: tuple[str | int, ...], said: str
) -> None:
    (found,) = problems(source)
    assert found[0] == path
    assert said in found[1]


def test_every_problem_is_told_at_once() -> None:
    assert [path for path, _ in problems({"journey": "end", "any": [{"x": {"betwen": 1}}, 7]})] == [
        ("journey",),
        ("any", 0, "x", "betwen"),
        ("any", 1),
    ]
