"""Countries are known by any of their names, and by nothing else."""

from __future__ import annotations

import pytest

from shared.agreement.conditions import Condition, Subject
from shared.agreement.countries import country
from tests.house import countries as made


def held(value: str, *wanted: str) -> bool | None:
    condition = Condition.parse({"country": {"country_in": list(wanted)}})
    return condition.asked(Subject(properties={"country": value}))


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("RO", "RO, ROU, ro, Romania, ROMÂNIA, Rumänien, Roumanie, Rumunia, Румыния, ルーマニア"),
        ("GB", "UK, U.K., GB, GBR, United Kingdom, The United Kingdom, Great Britain, England, Marea Britanie"),
        ("US", "US, USA, U.S.A., United States of America, the united states, SUA, EE. UU., Vereinigte Staaten"),
        ("CI", "Côte d’Ivoire, Cote d'Ivoire, Ivory Coast, Elfenbeinküste"),
        ("MD", "Moldova, Republic of Moldova, Republica Moldova, Moldavie"),
        ("NL", "Netherlands, The Netherlands, Holland, Olanda, Nederland, Niederlande"),
        ("CZ", "Czechia, Czech Republic, Česko, Cehia"),
        ("TR", "Turkey, Türkiye, TURKIYE, Turcia"),
        ("BA", "Bosnia & Herzegovina, Bosnia and Herzegovina, Bosnia"),
        ("HK", "Hong Kong, Hongkong, HK"),
        ("AT", "Austria, Österreich, Oesterreich, OESTERREICH, Autriche"),
        ("DK", "Danmark, Dänemark, Daenemark"),
        ("IN", "India, भारत"),
    ],
)  # fmt: skip
def test_a_country_is_one_by_any_of_its_names(code: str, names: str) -> None:
    assert {name: country(name) for name in names.split(", ")} == dict.fromkeys(names.split(", "), code)


@pytest.mark.parametrize("value", ["Transylvania", "Congo", "Kongo", "N/A", "EMEA", "Bucharest, Romania", "-", "?"])
def test_what_names_no_one_country_is_not_known_rather_than_another_country(value: str) -> None:
    assert held(value, "Romania", "DE") is None


def test_a_condition_takes_names_and_codes_alike() -> None:
    assert [held(value, "Deutschland", "AT") for value in ("Germany", "Österreich", "Norway")] == [True, True, False]


def test_a_condition_says_which_country_it_saw() -> None:
    condition = Condition.parse({"country": {"country_in": ["Romania", "DE"]}})
    why = condition.why(Subject(properties={"country": "Roumanie"}))
    assert str(why) == "it holds: country is Romania or DE by any name (Roumanie; RO)"


def test_the_names_are_those_of_the_installed_cldr() -> None:
    """`python -m tests.house.countries` writes them."""
    assert made.FILE.read_text("utf-8") == made.text()
