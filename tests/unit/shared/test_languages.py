"""Which language is asked for; and numbers, plurals and dates as each writes them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.languages import ENGLISH, asked_for, languages

ROMANIAN = languages()["ro"]


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("", "en"),
        ("ro", "ro"),
        ("ro-RO,ro;q=0.9,en-US;q=0.8,en;q=0.7", "ro"),
        ("en-GB,en;q=0.9,ro;q=0.8", "en"),
        ("en;q=0.5, ro;q=0.6", "ro"),
        ("ro;q=0.5, en;q=0.5", "ro"),
        ("de, fr;q=0.9", "en"),
        ("de, ro;q=0.1", "ro"),
        ("RO-md", "ro"),
        ("ro_RO", "ro"),
        ("ro;q=0", "en"),
        ("en;q=0, ro;q=0.1", "ro"),
        ("en;q=0, *", "ro"),
        ("*", "en"),
        ("ro;q=0.1, *;q=0.5", "en"),
        ("ro ; Q=0.9 , en ; q=0.1", "ro"),
        ("ro;q=2, en;q=0.1", "en"),
        ("ro;q=x, en", "en"),
        ("ro;q=nan", "en"),
        (",;,=;q=", "en"),
    ],
)
def test_the_language_liked_best_of_those_that_there_are_is_told(header: str, code: str) -> None:
    assert asked_for(header).code == code


@pytest.mark.parametrize(("lang", "code"), [("ro", "ro"), ("RO-ro", "ro"), ("en", "en"), ("de", "en"), ("../ro", "en")])
def test_what_the_address_asks_for_goes_before_the_header(lang: str, code: str) -> None:
    assert asked_for("ro" if code == "en" else "en", lang).code == code


@given(st.text())
def test_no_header_is_too_odd(header: str) -> None:
    assert asked_for(header).code in languages()


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, "0 puncte"),
        (1, "1 punct"),
        (1.0, "1 punct"),
        (2, "2 puncte"),
        (19, "19 puncte"),
        (20, "20 de puncte"),
        (59.5, "59,5 puncte"),
        (60.0, "60 de puncte"),
        (100, "100 de puncte"),
        (101, "101 puncte"),
        (-1, "-1 punct"),
        (-20, "-20 de puncte"),
        (1000, "1000 de puncte"),
    ],
)
def test_romanian_counts_as_romanians_do(number: float, said: str) -> None:
    assert ROMANIAN.count("{number} point", "{number} points", number) == said


@pytest.mark.parametrize(("number", "said"), [(1, "1 point"), (0, "0 points"), (59.5, "59.5 points")])
def test_english_counts_as_the_english_do(number: float, said: str) -> None:
    assert ENGLISH.count("{number} point", "{number} points", number) == said


@pytest.mark.parametrize(
    ("number", "said"), [(Decimal("0.50"), "0,5"), (1000.0, "1000"), (Decimal("-3"), "-3"), (12345.6789, "12345,6789")]
)
def test_a_number_has_a_comma_in_romanian_and_all_its_decimals(number: float, said: str) -> None:
    assert ROMANIAN.number(number) == said


def test_a_moment_is_told_in_its_own_zone() -> None:
    at = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
    assert ROMANIAN.moment(at.astimezone(ZoneInfo("Europe/Bucharest"))) == "2 martie 2026, 11:00"
    assert ENGLISH.moment(at) == "2 March 2026, 09:00"


@pytest.mark.parametrize(("values", "said"), [("a", "a"), ("ab", "a sau b"), ("abc", "a, b sau c")])
def test_alternatives_are_joined_by_the_language_s_own_or(values: str, said: str) -> None:
    assert ROMANIAN.either(values) == said


def test_what_fills_a_blank_is_never_taken_for_a_phrase() -> None:
    assert ROMANIAN.say("{name} is {values}", name="{values}", values="{0}") == "{values} este {0}"


def test_a_phrase_that_a_catalogue_lacks_is_told_in_english() -> None:
    assert ROMANIAN.say("{what} is new", what="this") == "this is new"
