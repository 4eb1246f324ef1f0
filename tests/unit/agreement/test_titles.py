"""What titles say of seniority, in nine languages."""

from __future__ import annotations

import tomllib
from collections import defaultdict
from pathlib import Path

import pytest

from shared.agreement import titles
from shared.agreement.conditions import Condition, Subject

FILE = Path(titles.__file__).parent / "data" / "titles.toml"


@pytest.mark.parametrize(
    ("level", "said"),
    [
        ("owner", "Owner; Co-Founder; Inhaberin; proprietar; Fondatrice; Dueño; Titolare; Eigenaar; Właścicielka"),
        (
            "c_level",
            "CEO; C.T.O.; Chief Marketing Officer; Managing Director; Geschäftsführer; GESCHAEFTSFUEHRERIN; Vorstand;"
            " Geschäftsführer/in; Director General; directeur général adjoint; PDG; Administrator; Administrador;"
            " Amministratore delegato; Consejera delegada; Algemeen directeur; Prezes Zarządu; Diretora Geral;"
            " Dir. General; Zaakvoerder",
        ),
        ("vp", "VP Sales; Vice-President, Marketing; Vicepreședinte; Vice-présidente; Wiceprezes"),
        (
            "director",
            "director; Directoare Comercială; DIRECTOR VANZARI; Directrice; Directora de ventas; Direttrice;"
            " Dyrektorka Handlowa; Verkoopdirecteur; Diretor; Vertriebsdirektorin; Assistant Director; Chief of Staff;"
            " Dir. Comercial; Sr. Dir. of Operations",
        ),
        ("head", "Head of Sales; Vertriebsleiterin; Leiter*in Marketing; Șef departament; Jefa; Afdelingshoofd"),
        ("manager", "Marketing Manager; Team Lead; Projektleiter; Responsable; Gerente; Assistant Manager"),
        ("specialist", "Accountant; System Administrator; Product Owner; HR Business Partner; Inginer"),
        (
            "assistant",
            "assistant to the CEO; Executive Assistant to CEO & Founder; CEO Assistant; Assistenz der Geschäftsführung;"
            " Asistent manager; Asystentka prezesa; Assistante de direction; Vertriebsassistentin",
        ),
        ("trainee", "Marketing Intern; Werkstudentin; Stagiaire; Becaria; Praktykant"),
    ],
)  # fmt: skip
def test_a_title_says_its_seniority(level: str, said: str) -> None:
    assert {title: titles.seniority(title) for title in said.split("; ")} == {
        title: {level} for title in said.split("; ")
    }


def test_who_is_two_things_is_both() -> None:
    assert titles.seniority("Founder & CEO") == {"owner", "c_level"}
    assert titles.seniority("Marketing Manager, Co-owner") == {"manager", "owner"}


@pytest.mark.parametrize(
    "title",
    ["Office of the CEO", "former CFO", "Ex-CEO", "Zootehnist", "Leadership coach", "Marketing", "Lead generation"],
)
def test_a_title_that_says_nothing_of_its_holder_is_not_known(title: str) -> None:
    assert titles.seniority(title) == frozenset()


def test_what_stands_beside_somebody_elses_office_counts() -> None:
    assert titles.seniority("Manager, Office of the CEO") == {"manager"}


DECISION_MAKER = Condition.parse({"jobtitle": {"seniority": ["c_level", "director", "head"]}})


@pytest.mark.parametrize(
    ("title", "said"),
    [
        ("Vertriebsleiterin", "it holds: {} (Vertriebsleiterin; vertriebsleiterin: head)"),
        ("Assistant to the CEO", "it does not hold: it is not so that {} (Assistant to the CEO; assistant: assistant)"),
        ("Zootehnist", "it is not known: whether {} cannot be told from Zootehnist"),
    ],
)
def test_a_condition_says_by_which_word_it_held_or_not(title: str, said: str) -> None:
    why = DECISION_MAKER.why(Subject(properties={"jobtitle": title}))
    assert str(why) == said.format("jobtitle has the seniority c_level, director or head")


def test_no_word_says_two_things() -> None:
    said = defaultdict(set)
    for level, languages in tomllib.loads(FILE.read_text("utf-8")).items():
        for entry in (entry for entries in languages.values() for entry in entries):
            for written in titles._written(entry):
                said[written].add(level)
    assert {written: levels for written, levels in said.items() if len(levels) > 1} == {}


def test_every_language_has_words_for_who_decides_and_who_does_not() -> None:
    vocabulary = tomllib.loads(FILE.read_text("utf-8"))
    languages = {"en", "ro", "de", "fr", "es", "it", "nl", "pl", "pt"}
    assert set(vocabulary) == {*titles.SENIORITY, titles.OTHERS, titles.NOTHING}
    for level in ("owner", "c_level", "director", "head", "manager", "specialist", "assistant", "trainee"):
        assert languages - set(vocabulary[level]) == set(), level
