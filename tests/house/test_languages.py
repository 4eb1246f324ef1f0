"""Every phrase that the code says stands in every language's catalogue with the same blanks, and no other does."""

from __future__ import annotations

import ast
import re
import string
from collections.abc import Iterator

import pytest

from shared.languages import DEFAULT, PLURALS, Language, languages
from tests.house.code import name_of, python_files, tree_of

CODE = [path for path in python_files("services", "shared") if "shared.languages" in path.read_text("utf-8")]
OTHERS = [language for code, language in languages().items() if code != DEFAULT]
COMMA_BELOW = {"ş": "ș", "ţ": "ț", "Ş": "Ș", "Ţ": "Ț"}


def spoken() -> Iterator[tuple[str, bool, str]]:
    """Each phrase that is said, whether it has plural forms, and where."""
    for path in CODE:
        for node in ast.walk(tree_of(path)):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            words = [one.value for one in node.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
            if name == "say" and words:
                yield words[0], False, f"{name_of(path)}:{node.lineno}"
            if name == "count" and len(words) == 2:
                yield words[0], True, f"{name_of(path)}:{node.lineno}"


def unfindable() -> Iterator[str]:
    """Where something is said that is no phrase in plain sight, so that no catalogue can be held to it."""
    for path in CODE:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "say":
                yield from [] if isinstance(node.args[0], ast.Constant) else [f"{name_of(path)}:{node.lineno}"]


SPOKEN = {phrase: plural for phrase, plural, _ in spoken()}


def blanks(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def forms(said: str | tuple[str, ...]) -> tuple[str, ...]:
    return (said,) if isinstance(said, str) else said


def test_what_is_said_stands_in_plain_sight() -> None:
    assert not list(unfindable())
    assert len(SPOKEN) > 50


def test_there_is_another_language_than_english() -> None:
    assert "ro" in {language.code for language in OTHERS}


@pytest.mark.parametrize("language", OTHERS, ids=lambda one: one.code)
def test_a_catalogue_has_every_phrase_and_no_other(language: Language) -> None:
    assert sorted(SPOKEN.keys() - language.phrases.keys()) == []
    assert sorted(language.phrases.keys() - SPOKEN.keys()) == []


@pytest.mark.parametrize("language", OTHERS, ids=lambda one: one.code)
def test_a_phrase_has_the_same_blanks_in_every_form(language: Language) -> None:
    for phrase, said in language.phrases.items():
        for form in forms(said):
            missing = blanks(phrase) - blanks(form) - ({"number"} if SPOKEN[phrase] else set())
            assert not missing, (phrase, form)
            assert not blanks(form) - blanks(phrase) - {"number"}, (phrase, form)


@pytest.mark.parametrize("language", OTHERS, ids=lambda one: one.code)
def test_a_plural_has_all_the_forms_that_its_language_has(language: Language) -> None:
    from babel import Locale

    known = Locale(language.code).plural_form.tags | {"other"}
    for phrase, said in language.phrases.items():
        assert SPOKEN[phrase] is isinstance(said, tuple), phrase
        if isinstance(said, tuple):
            assert len(said) == len([name for name in PLURALS if name in known])
            assert all(said), phrase


def test_romanian_is_written_with_comma_below() -> None:
    (romanian,) = (language for language in OTHERS if language.code == "ro")
    said = " ".join(form for text in romanian.phrases.values() for form in forms(text))
    assert not set(said) & COMMA_BELOW.keys()
    assert set("ăâîșț") <= set(said)
    assert not re.search(r"\b(si|sa|in|potrivire[aă]? in|fara|catre)\b", said)
