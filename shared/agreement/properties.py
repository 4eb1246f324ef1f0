"""What a condition can ask about a property of the CRM: the tests, each compiled to a closure.

Text is compared without case and diacritics, as people type it: `Iași` is `IASI`, `straße` is `STRASSE`.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from shared.agreement import amounts, countries, mailboxes, titles
from shared.agreement.mailboxes import domain_of
from shared.agreement.spelling import plain
from shared.agreement.tree import PROPERTY, Compiled, Held, Made, Path, Subject, ValueTest, leaf, no_signs

OF_COMPANY: Final = "company."  # before a property that is not the contact's own, but of the record of its company
PROPERTY_NAME: Final = re.compile(r"^(company\.)?[a-z][a-z0-9_]*\Z")
EXISTS: Final = "exists"


def property_condition(name: str, value: Any, at: Path, made: Made) -> list[Compiled]:
    """The tests of one property, all of which must hold."""
    if not PROPERTY_NAME.match(name):
        return [made.wrong(at, "must be a property's internal name, small letters, digits and _; or company.NAME")]
    made.properties.add(name)
    if isinstance(value, Mapping):
        if not value:
            return [made.wrong(at, f"must have a test: {', '.join(TESTS)}")]
        return [_test(name, str(op), wanted, (*at, str(op)), made) for op, wanted in value.items()]
    if isinstance(value, list | tuple):
        return [made.wrong(at, "must be one value or a test; for a list write {in: […]}")]
    return [_test(name, "equals", value, at, made)]


def _test(name: str, op: str, wanted: Any, at: Path, made: Made) -> Compiled:
    if op == EXISTS:
        return _exists(name, wanted, at, made)
    if op not in TESTS:
        near = difflib.get_close_matches(op, [*TESTS, EXISTS], n=1)
        hint = f"did you mean {near[0]}?" if near else f"must be one of {', '.join([*TESTS, EXISTS])}"
        if not near and f"{name}." == OF_COMPANY and PROPERTY_NAME.match(op):
            hint = f"for a property of the company's own record write {OF_COMPANY}{op}"
        return made.wrong(at, f"is not a test; {hint}")
    on, text = TESTS[op](wanted, at, made)

    def test(subject: Subject) -> Held:
        actual = subject.properties.get(name)
        return on(actual) if actual else None

    values = tuple(map(str, wanted if isinstance(wanted, list | tuple) else [wanted]))
    said = {"name": name, "op": op, "wanted": values, "text": f"{name} {text}"}
    return leaf(at=at, about=PROPERTY, test=test, on=on, signs=SIGNS.get(op, no_signs), **said)


def _exists(name: str, wanted: Any, at: Path, made: Made) -> Compiled:
    expected = _truth(wanted, at, made)

    def test(subject: Subject) -> Held:
        return bool(subject.properties.get(name)) is expected

    text = f"{name} is {'known' if expected else 'not known'}"
    said = {"name": name, "op": EXISTS, "wanted": (str(expected).lower(),), "text": text}
    return leaf(at=at, about=PROPERTY, test=test, on=lambda actual: bool(actual) is expected, **said)


# --- the tests ---


def _equals(wanted: Any, at: Path, made: Made) -> tuple[ValueTest, str]:
    if isinstance(wanted, Mapping | list | tuple) or wanted is None:
        made.wrong(at, "must be one value")
        return _no, ""
    folded = plain(str(wanted))
    return lambda actual: plain(actual) == folded, f"is {wanted}"


def _in(wanted: Any, at: Path, made: Made) -> tuple[ValueTest, str]:
    values = texts(wanted, at, made)
    folded = frozenset(map(plain, values))
    return lambda actual: plain(actual) in folded, f"is {any_of(values)}"


def _words(wanted: Any, at: Path, made: Made) -> tuple[ValueTest, str]:
    values = texts(wanted, at, made)
    search = re.compile(_whole_words(map(plain, values))).search
    return lambda actual: search(plain(actual)) is not None, f"has the word {any_of(values)}"


BETWEEN_WORDS: Final = r"[\s\-\u2010-\u2015]+"
_UNSPACED: Final = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")  # Han and kana are written without spaces


def _whole_words(words: Iterable[str]) -> str:
    """The pattern of any of the words, or of several in a row: `vice-president` is `Vice President`, too.

    Words with the same bounds stand together: looking for the bounds of each by itself costs seven times as much.
    """
    groups: dict[tuple[str, str], list[str]] = {}
    for word in words:
        parts = [part for part in re.split(BETWEEN_WORDS, word) if part] or [word]
        before = "" if _UNSPACED.match(parts[0][:1]) else r"(?<!\w)"
        after = "" if _UNSPACED.match(parts[-1][-1:]) else r"(?!\w)"
        groups.setdefault((before, after), []).append(BETWEEN_WORDS.join(map(re.escape, parts)))
    return "|".join(f"{before}(?:{'|'.join(some)}){after}" for (before, after), some in groups.items())


def _starts(wanted: Any, at: Path, made: Made) -> tuple[ValueTest, str]:
    values = texts(wanted, at, made)
    folded = tuple(map(plain, values))
    return lambda actual: plain(actual).startswith(folded), f"starts with {any_of(values)}"


def _contains(wanted: Any, at: Path, made: Made) -> tuple[ValueTest, str]:
    values = texts(wanted, at, made)
    folded = tuple(map(plain, values))

    def test(actual: str) -> bool:
        text = plain(actual)
        return any(one in text for one in folded)

    return test, f"contains {any_of(values)}"


def _between(wanted: Any, at: Path, made: Made) -> tuple[ValueTest, str]:
    if not isinstance(wanted, list | tuple) or len(wanted) != 2:
        made.wrong(at, "must be two numbers, as [50, 1000]")
        return _no, ""
    low, high = (_a_number(one, (*at, n), made) for n, one in enumerate(wanted))
    if low > high:
        made.wrong(at, "must have the lower number first")
    return amounts.between(low, high), f"is between {wanted[0]} and {wanted[1]}"


def _at_least(wanted: Any, at: Path, made: Made) -> tuple[ValueTest, str]:
    low = _a_number(wanted, at, made)
    return amounts.between(low, math.inf), f"is at least {wanted}"


def _at_most(wanted: Any, at: Path, made: Made) -> tuple[ValueTest, str]:
    high = _a_number(wanted, at, made)
    return amounts.between(-math.inf, high), f"is at most {wanted}"


_DOMAIN: Final = re.compile(r"([\w-]+\.)+[\w-]+")


def _domain_in(wanted: Any, at: Path, made: Made) -> tuple[ValueTest, str]:
    values = texts(wanted, at, made)
    domains = frozenset(map(domain_of, values))
    for strange in [value for value in values if not _DOMAIN.fullmatch(domain_of(value))]:
        made.wrong(at, f"{strange} is no domain; write it as rival.example, which has those below it too")
    below = tuple("." + domain for domain in domains)

    def test(actual: str) -> bool:
        domain = domain_of(actual)
        return domain in domains or domain.endswith(below)

    return test, f"is at {any_of(values)}"


def _free_mailbox(wanted: Any, at: Path, made: Made) -> tuple[ValueTest, str]:
    return _mailbox(_truth(wanted, at, made), mailboxes.is_free, "a free mailbox")


def _throwaway_mailbox(wanted: Any, at: Path, made: Made) -> tuple[ValueTest, str]:
    return _mailbox(_truth(wanted, at, made), mailboxes.is_throwaway, "a throw-away mailbox")


def _mailbox(expected: bool, is_one: Callable[[str], bool], what: str) -> tuple[ValueTest, str]:
    """Of what is no address it is not known."""

    def test(actual: str) -> Held:
        domain = domain_of(actual)
        return is_one(domain) is expected if "." in domain else None

    return test, f"is {what}" if expected else f"is not {what}"


def _country_in(wanted: Any, at: Path, made: Made) -> tuple[ValueTest, str]:
    """Of a text that is no country's name it is not known."""
    values = texts(wanted, at, made)
    for n, value in enumerate(values):
        if value and not countries.country(value):
            near = countries.suggestion(value)
            hint = f"did you mean {near}?" if near else "write its name or its code of two letters"
            made.wrong((*at, n) if isinstance(wanted, list | tuple) else at, f"{value} is no country; {hint}")
    codes = frozenset(map(countries.country, values))

    def test(actual: str) -> Held:
        code = countries.country(actual)
        return code in codes if code else None

    return test, f"is {any_of(values)} by any name"


def _seniority(wanted: Any, at: Path, made: Made) -> tuple[ValueTest, str]:
    """Of a title without a word that tells of seniority it is not known."""
    values = texts(wanted, at, made)
    for strange in [value for value in values if value not in titles.SENIORITY]:
        made.wrong(at, f"{strange} is none of {', '.join(titles.SENIORITY)}")
    levels = frozenset(values)

    def test(actual: str) -> Held:
        found = titles.seniority(actual)
        return not levels.isdisjoint(found) if found else None

    return test, f"has the seniority {any_of(values)}"


TESTS: Final[dict[str, Callable[[Any, Path, Made], tuple[ValueTest, str]]]] = {
    "equals": _equals,
    "in": _in,
    "words": _words,
    "starts": _starts,
    "contains": _contains,
    "between": _between,
    "at_least": _at_least,
    "at_most": _at_most,
    "domain_in": _domain_in,
    "free_mailbox": _free_mailbox,
    "throwaway_mailbox": _throwaway_mailbox,
    "country_in": _country_in,
    "seniority": _seniority,
}
# What in a value made a test come out as it did, where the value alone does not show it.
SIGNS: Final[dict[str, Callable[[str], str]]] = {"country_in": countries.signs, "seniority": titles.signs}


# --- as JSON Schema ---

VALUE_SCHEMA: Final[dict[str, Any]] = {"type": ["string", "number", "boolean"]}


def one_or_several(one: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON Schema of such a value, or of a list of them."""
    return {"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]}


def some_of(values: Iterable[str]) -> dict[str, Any]:
    """The same of one of these values."""
    return one_or_several({"enum": list(values)})


VALUES_SCHEMA: Final = one_or_several(VALUE_SCHEMA)
_NUMBER: Final[dict[str, Any]] = {"type": "number"}
_RANGE: Final[dict[str, Any]] = {"type": "array", "items": _NUMBER, "minItems": 2, "maxItems": 2}
_TRUTH: Final[dict[str, Any]] = {"type": "boolean"}


TEST_SCHEMAS: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "equals": (VALUE_SCHEMA, "The whole value, whatever case and diacritics."),
    "in": (VALUES_SCHEMA, "The whole value is one of these."),
    "words": (VALUES_SCHEMA, "One of these words, or rows of words, is in it: cto, head of sales."),
    "starts": (VALUES_SCHEMA, "It starts with one of these."),
    "contains": (VALUES_SCHEMA, "One of these is anywhere in it, also within a word."),
    "between": (_RANGE, "A number, or a range such as 51-200, from the first to the second, both included."),
    "at_least": (_NUMBER, "This number or more, also of a range such as 10,000+."),
    "at_most": (_NUMBER, "This number or less, also of a range."),
    "domain_in": (VALUES_SCHEMA, "The address is at one of these domains, or below it."),
    "free_mailbox": (_TRUTH, "The address is where anyone gets a mailbox, also one to be thrown away."),
    "throwaway_mailbox": (_TRUTH, "The address is where mailboxes are made to be thrown away."),
    "country_in": (VALUES_SCHEMA, "It is one of these countries, by any of their names in any language, or code."),
    "seniority": (some_of(titles.SENIORITY), "The title says one of these, in any of nine languages."),
    EXISTS: (_TRUTH, "Whether the property is known at all."),
}
PROPERTY_SCHEMA: Final[dict[str, Any]] = {
    "anyOf": [
        VALUE_SCHEMA,
        {
            "type": "object",
            "properties": {op: {**schema, "description": text} for op, (schema, text) in TEST_SCHEMAS.items()},
            "additionalProperties": False,
            "minProperties": 1,
        },
    ],
    "description": "A property of the CRM by its internal name, and its value or tests, which must all hold.",
}


# --- small things ---


def _no(_: str) -> bool:
    return False


def _a_number(wanted: Any, at: Path, made: Made) -> float:
    try:
        number = float(wanted)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        made.wrong(at, "must be a number")
    return number


def _truth(wanted: Any, at: Path, made: Made) -> bool:
    text = str(wanted).lower()
    if text not in ("true", "false"):
        made.wrong(at, "must be true or false")
    return text == "true"


def texts(value: Any, at: Path, made: Made) -> list[str]:
    """One value or a list of them, as texts."""
    values = list(value) if isinstance(value, list | tuple) else [value]
    if not values or any(isinstance(one, Mapping | list | tuple) or one is None or one == "" for one in values):
        made.wrong(at, "must be a value or a list of values")
        return [""]
    return [str(one) for one in values]


def any_of(values: Iterable[str]) -> str:
    *first, last = values
    return f"{', '.join(first)} or {last}" if first else last
