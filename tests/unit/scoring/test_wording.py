"""What is said of a score: in English and in Romanian, in words that a rep understands."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from services.scoring.domain.history import MAX_NAMES, Entry, Happened
from services.scoring.domain.score import scorer_of
from services.scoring.domain.wording import Wording
from services.scoring.worker import HANDLERS
from shared.agreement import Agreement, load
from shared.agreement.qualification import On, Signal
from shared.languages import ENGLISH, Language, languages
from tests.agreements import with_parts
from tests.any_agreement import agreements
from tests.unit.agreement.test_phrases import english_left
from tests.unit.scoring.test_history import scored
from tests.unit.scoring.test_stories import AGREEMENT, CEO, Story

ROMANIAN = languages()["ro"]
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def said(story: Story, language: Language = ROMANIAN) -> str:
    return Wording(story.agreement, language).score(story.score)


def caused(type_: str, *names: str) -> Entry:
    return scored(happened=Happened(type_, NOW, names), grade="A1")


def came(how: Literal["created", "restored", "first"]) -> Entry:
    return scored(happened=Happened("ContactChanged", NOW, came=how))


def test_a_score_is_said_in_romanian() -> None:
    assert said(Story().has(**CEO).submits("demo-request")) == (
        "Nota A1: potrivire A cu 80 de puncte (Rol: decision maker; Right size; Our markets), "
        "interes 1 cu 60 de puncte (Asked for us), în etapa de decizie."
    )


def test_who_is_no_lead_for_us_is_said_in_romanian() -> None:
    story = Story().has(**(CEO | {"email": "spy@rival.example"}))
    assert said(story) == "Nu este un lead pentru noi: competitor."


def test_decimals_and_plurals_are_romanian() -> None:
    story = Story().submits("ebook").visits("https://x.example/blog/a")
    assert "interes 3 cu 22 de puncte" in said(story)
    assert "potrivire D cu 0 puncte" in said(story)


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("Role: decision maker", "Rol: decision maker"),
        ("No more than 60 for urgency", "Cel mult 60 pentru urgență"),
        ("No more than 2.5 for knowledge", "Cel mult 2,5 pentru informare"),
        ("No more than 40 for consideration", "Cel mult 40 pentru evaluare"),
        ("No more than 3 cups for coffee", "No more than 3 cups for coffee"),
        ("Right size", "Right size"),
    ],
)
def test_what_we_add_to_the_name_of_a_rule_is_romanian_and_the_agreement_s_own_words_stay(rule: str, told: str) -> None:
    assert Wording(AGREEMENT, ROMANIAN).rule(rule) == told
    assert Wording(AGREEMENT, ENGLISH).rule(rule) == rule


@pytest.mark.parametrize("on", get_args(On))
def test_every_kind_of_signal_has_words_of_its_own(on: str) -> None:
    when = {"when": {"budget": {"exists": True}}} if on == "property_changed" else {}
    signal = Signal.model_validate({"on": on, "points": 5, **when})
    interest = AGREEMENT.qualification.interest
    family = interest.knowledge.model_copy(update={"signals": (signal,)})
    changed = AGREEMENT.qualification.model_copy(update={"interest": interest.model_copy(update={"knowledge": family})})
    told = Wording(with_parts(AGREEMENT, qualification=changed), ROMANIAN).rule(signal.label)
    assert not english_left(told, {})
    assert ENGLISH_ACTS.match(signal.label)
    assert not ENGLISH_ACTS.match(told)


ENGLISH_ACTS = re.compile(r"(Form|Page|Email|Meeting|Property) [a-z]+")


def test_a_signal_without_a_name_is_called_by_what_it_asks() -> None:
    interest = AGREEMENT.qualification.interest
    unnamed = [
        Signal.model_validate({"on": "page_visited", "when": {"path": {"starts": ["/a", "/b"]}}, "points": 5}),
        Signal.model_validate({"on": "form_submitted", "points": 5}),
    ]
    family = interest.knowledge.model_copy(update={"signals": tuple(unnamed)})
    changed = AGREEMENT.qualification.model_copy(update={"interest": interest.model_copy(update={"knowledge": family})})
    wording = Wording(with_parts(AGREEMENT, qualification=changed), ROMANIAN)
    assert [wording.rule(signal.label) for signal in unnamed] == [
        "Pagină vizitată: path începe cu /a sau /b",
        "Formular trimis",
    ]


@pytest.mark.parametrize(
    ("entry", "english", "romanian"),
    [
        (caused("FormSubmitted", "demo"), "the form demo was submitted", "a fost trimis formularul demo"),
        (caused("PageVisited", "x/p"), "the page x/p was visited", "a fost vizitată pagina x/p"),
        (caused("ContactChanged", "city"), "city changed", "s-a schimbat city"),
        (caused("ContactChanged", "a", "b"), "a and b changed", "s-au schimbat a și b"),
        (
            caused("ContactChanged", *"abcdef"),
            "a, b, c and 3 more changed",
            "s-au schimbat a, b, c și încă 3",
        ),
        (caused("ContactChanged"), "the CRM told something of it", "CRM-ul a transmis ceva despre acesta"),
        (
            came("created"),
            "the contact was created in the CRM",
            "contactul a fost creat în CRM",
        ),
        (
            came("first"),
            "it was heard of for the first time",
            "s-a auzit de acesta pentru prima dată",
        ),
        (
            came("restored"),
            "the contact was restored in the CRM",
            "contactul a fost restaurat în CRM",
        ),
        (caused("ContactsMerged", "x"), "another contact was merged into it", "un alt contact a fost unit cu acesta"),
        (
            caused("ContactsMerged", "x", "y"),
            "2 other contacts were merged into it",
            "alte 2 contacte au fost unite cu acesta",
        ),
        (
            caused("ContactChanged", "hs_email_last_open_date"),
            "an email was opened",
            "a fost deschis un e-mail",
        ),
        (
            caused("ContactChanged", "hs_email_last_click_date", "hs_email_last_open_date"),
            "a link in an email was clicked",
            "s-a dat clic pe un link dintr-un e-mail",
        ),
        (
            caused("ContactChanged", "city", "hs_email_last_open_date"),
            "city and hs_email_last_open_date changed",
            "s-au schimbat city și hs_email_last_open_date",
        ),
        (caused("ActivityLogged", "meeting", "booked"), "a meeting was booked", "a fost stabilită o întâlnire"),
        (caused("ActivityLogged", "meeting", "held"), "a meeting was held", "a avut loc o întâlnire"),
        (
            caused("ActivityLogged", "meeting", "no_show"),
            "a meeting did not take place",
            "o întâlnire nu a mai avut loc",
        ),
        (
            caused("ActivityLogged", "email", "replied"),
            "an email of the lead came in",
            "a sosit un e-mail de la lead",
        ),
        (
            caused("ContactErased"),
            "it became known that the contact had been deleted in between",
            "s-a aflat că între timp contactul fusese șters",
        ),
        (caused("AgreementChanged"), "another agreement took effect", "a intrat în vigoare alt acord"),
        (
            caused("InterestFaded"),
            "time has passed, and the interest faded",
            "a trecut timp, iar interesul a scăzut",
        ),
        (caused("SomethingNew", "x"), "the CRM told something of it", "CRM-ul a transmis ceva despre acesta"),
    ],
)
def test_what_made_a_score_is_told_in_both(entry: Entry, english: str, romanian: str) -> None:
    assert Wording(AGREEMENT, ENGLISH).happened(entry.happened) == english
    assert Wording(AGREEMENT, ROMANIAN).happened(entry.happened) == romanian


def test_every_fact_that_scoring_hears_of_has_its_words() -> None:
    """But for one that names nothing: it is told as something that the CRM said."""
    nothing = Wording(AGREEMENT, ENGLISH).happened(Happened("", NOW))
    for kind in HANDLERS:
        assert Wording(AGREEMENT, ENGLISH).happened(Happened(kind.__name__, NOW, ("x",))) != nothing, kind


def test_the_last_change_says_when_where_the_agreement_lives_from_what_and_why() -> None:
    garage = load(Path(__file__).parents[3] / "deploy" / "agreements" / "service-auto.yaml")
    entry = caused("FormSubmitted", "oferta-flota")
    wording = Wording(garage, ROMANIAN)
    told = "a fost trimis formularul oferta-flota."
    when = "Ultima schimbare, pe 2 martie 2026, 11:00 (Europe/Bucharest)"
    assert wording.last_change(entry, structs.replace(entry, grade="A4")) == f"{when}, de la A4 la A1: {told}"
    assert wording.last_change(entry, entry) == f"{when}, nota rămânând A1: {told}"
    assert wording.last_change(entry, None) == f"{when}: {told}"


def test_of_who_is_no_lead_no_grade_is_told_that_it_kept() -> None:
    entry = structs.replace(caused("ContactChanged", "email"), disqualified="competitor")
    told = "Last changed on 2 March 2026, 09:00 UTC: email changed."
    in_english = Wording(AGREEMENT, ENGLISH).last_change
    assert in_english(entry, caused("PageVisited")) == told
    assert in_english(structs.replace(entry, disqualified=""), entry) == told


def test_what_is_to_find_out_says_what_it_may_give_take_or_rule_out() -> None:
    story = Story().has(**(CEO | {"company.industry": "INTERNET", "email": ""}))
    assert Wording(AGREEMENT, ENGLISH).to_find_out(story.score) == (
        "To find out: email (Throw-away mailbox: may cost 40 points); email (Free mailbox: may cost 20 points);"
        " email (Competitor: may rule it out)."
    )
    assert Wording(AGREEMENT, ROMANIAN).to_find_out(story.score) == (
        "De aflat: email (Throw-away mailbox: poate costa 40 de puncte); email (Free mailbox: poate costa 20 de"
        " puncte); email (Competitor: îl poate exclude)."
    )


def test_a_rule_that_takes_points_is_told_as_one() -> None:
    story = Story().has(**(CEO | {"email": "ana@gmail.com"}))
    assert "(Rol: decision maker; Right size; Our markets; minus Free mailbox)" in said(story)


def test_a_grade_that_fell_since_it_was_told_says_why() -> None:
    score = Story().has(**CEO).score
    fell = Wording(AGREEMENT, ROMANIAN).since_then
    assert fell(score, caused("PageVisited", "x/p"), "v1") == "De atunci interesul a scăzut, iar nota a ajuns A4."
    assert fell(score, caused("PageVisited"), "v2") == "După acordul intrat în vigoare între timp, nota este A4."
    assert fell(score, structs.replace(caused("PageVisited"), grade="A4"), "v1") == ""


def test_the_last_change_in_english() -> None:
    entry = caused("PageVisited", "x.example/pricing")
    told = Wording(AGREEMENT, ENGLISH).last_change(entry, structs.replace(entry, grade="A4"))
    assert told == "Last changed on 2 March 2026, 09:00 UTC, from A4 to A1: the page x.example/pricing was visited."


FACTS = {"numar_vehicule": "12", "tip_flota": "DE", "email": "ana@gmail.com", "grade": "A1", "jobtitle": "șef"}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(agreement=agreements, forms=st.lists(st.sampled_from(["demo", "ebook"]), max_size=3))
def test_of_any_agreement_all_that_is_said_is_romanian_but_for_the_agreement_s_own_words(
    agreement: Agreement, forms: list[str]
) -> None:
    story = Story()
    story.agreement = agreement
    story.has(**FACTS).visits("https://x.example/blog/a")
    for form in forms:
        story.submits(form)
    wording = Wording(agreement, ROMANIAN)
    score, asked = story.score, scorer_of(agreement).explain(story.lead)
    rules = [one.rule for one in (*score.fit.reasons, *score.interest.reasons, *asked)]
    told = [wording.score(score), *map(wording.rule, rules), *(one.why.told(ROMANIAN) for one in asked)]
    for text in told:
        assert not english_left(text, (agreement.content, FACTS)), text


def test_so_many_names_as_are_kept_never_make_a_sentence_long() -> None:
    names: tuple[Any, ...] = tuple(f"property_{n}" for n in range(MAX_NAMES))
    told = Wording(AGREEMENT, ROMANIAN).happened(Happened("ContactChanged", NOW, names))
    assert len(re.findall(r"property_", told)) == 3
