"""The language of conditions: a small declarative form, compiled once to closures, told again in words.

A condition is a mapping; all its keys must hold. A key is `any`, `all`, `not`, a word of ours
(`grade`, `fit`, `interest`, `journey`, `form_submitted`, `deal_stage`, `sales`, `definition`), or the
name of a CRM property with a value or tests: `country: DE`, `country: {in: [DE, FR]}`.

What is not known is neither true nor false: a condition on a missing property does not hold, and
its `not` does not hold either. Text is compared without case.
"""

from __future__ import annotations

import difflib
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

Path: TypeAlias = tuple[str | int, ...]
Test: TypeAlias = "Callable[[Subject], bool | None]"  # None: not known

PROBLEMS: Final = "condition_problems"  # the type of the error that carries several problems of one condition
PROPERTY_NAME: Final = re.compile(r"[a-z][a-z0-9_]*\Z")
STATES_OF_SALES: Final = ("accepted", "working", "qualified")
GRADES: Final = tuple(fit + level for fit in "ABCD" for level in "1234")
# Where anyone gets a mailbox: such an address says nothing of a company.
_FREE = """
aol.com fastmail.com free.fr gmail.com gmx.at gmx.ch gmx.de gmx.net googlemail.com hotmail.co.uk hotmail.com
hotmail.de hotmail.fr icloud.com laposte.net libero.it live.com mail.com mail.ru me.com msn.com orange.fr
outlook.com outlook.de proton.me protonmail.com qq.com seznam.cz t-online.de tutanota.com web.de yahoo.co.uk
yahoo.com yahoo.de yahoo.fr yandex.ru ymail.com zoho.com 163.com wp.pl o2.pl
"""
FREE_MAILBOXES: Final = frozenset(_FREE.split())


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """What a condition is asked about. "" and a missing property are not known."""

    properties: Mapping[str, str]
    grade: str = ""
    fit_grade: str = ""
    interest_level: str = ""
    journey: str = ""
    forms: frozenset[str] = frozenset()
    deal_stage: str = ""
    state: str = ""


class Condition:
    """A condition of the agreement.

    `text` says it in words, `source` is its canonical form, `properties` and `words` are what it asks
    about, `references` the definitions it names and where.
    """

    __slots__ = ("_test", "properties", "references", "source", "text", "words")

    def __init__(self, source: Any, compiled: _Compiled, made_of: _Made) -> None:
        self.source: Final = source
        self.text: str = compiled.text
        self.properties: Final = frozenset(made_of.properties)
        self.words: Final = frozenset(made_of.words)
        self.references: Final = tuple(made_of.references)
        self._test = compiled.test

    @classmethod
    def parse(cls, source: Any, at: Path = ()) -> Condition:
        """Raises PydanticCustomError (PROBLEMS) with every problem, each with its path from `at`."""
        made_of = _Made()
        compiled = _condition(source, at, made_of)
        if made_of.problems:
            raise PydanticCustomError(PROBLEMS, "is not a condition", {"problems": made_of.problems})
        return cls(_canonical(source), compiled, made_of)

    def holds(self, subject: Subject) -> bool:
        """Whether it is known to be true."""
        return self._test(subject) is True

    def bind(self, definitions: Mapping[str, Condition]) -> None:
        """Let `definition: x` mean `definitions[x]`. The agreement does it once, before anyone asks."""
        for reference in self.references:
            reference.means(definitions.get(reference.name))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Condition) and other.source == self.source

    def __hash__(self) -> int:
        return hash(repr(self.source))

    def __repr__(self) -> str:
        return f"Condition({self.text})"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def validate(value: Any) -> Condition:
            return value if isinstance(value, Condition) else cls.parse(value)

        serialize = core_schema.plain_serializer_function_ser_schema(lambda condition: condition.source)
        return core_schema.no_info_plain_validator_function(validate, serialization=serialize)


class Reference:
    """A use of `definition: name`, at `path` within its condition."""

    def __init__(self, name: str, path: Path) -> None:
        self.name: Final = name
        self.path: Final = path
        self._meant: Condition | None = None

    def means(self, condition: Condition | None) -> None:
        self._meant = condition

    def test(self, subject: Subject) -> bool | None:
        return None if self._meant is None else self._meant._test(subject)


@dataclass(frozen=True, slots=True)
class _Compiled:
    test: Test
    text: str


@dataclass(slots=True)
class _Made:
    """What comes up while a condition is compiled."""

    properties: set[str] = field(default_factory=set)
    words: set[str] = field(default_factory=set)
    references: list[Reference] = field(default_factory=list)
    problems: list[tuple[Path, str]] = field(default_factory=list)

    def wrong(self, path: Path, message: str) -> _Compiled:
        self.problems.append((path, message))
        return _NEVER


def _unknown(_: Subject) -> None:
    return None


_NEVER: Final = _Compiled(_unknown, "")


# --- the form ---


def _condition(source: Any, at: Path, made: _Made) -> _Compiled:
    if not isinstance(source, Mapping):
        return made.wrong(at, "must be a condition, as {country: {in: [DE, FR]}} or {grade: [A1, A2]}")
    if not source:
        return made.wrong(at, "must say something; leave `when` out where it always holds")
    return _all([_key(str(key), value, (*at, str(key)), made) for key, value in source.items()])


def _key(key: str, value: Any, at: Path, made: _Made) -> _Compiled:
    if key in _COMBINATIONS:
        return _COMBINATIONS[key](value, at, made)
    if key in _WORDS:
        made.words.add(key)
        return _WORDS[key](value, at, made)
    if near := difflib.get_close_matches(key, [*_COMBINATIONS, *_WORDS], n=1, cutoff=0.85):
        return made.wrong(at, f"did you mean {near[0]}? For a property of this name write property: {{{key}: …}}")
    return _property(key, value, at, made)


def _several(value: Any, at: Path, made: _Made) -> list[_Compiled]:
    if not isinstance(value, list | tuple) or not value:
        return [made.wrong(at, "must be a list of conditions")]
    return [_condition(one, (*at, n), made) for n, one in enumerate(value)]


def _all(parts: Sequence[_Compiled]) -> _Compiled:
    if len(parts) == 1:
        return parts[0]
    tests = tuple(part.test for part in parts)

    def test(subject: Subject) -> bool | None:
        known = True
        for one in tests:
            answer = one(subject)
            if answer is False:
                return False
            known = known and answer is True
        return True if known else None

    return _Compiled(test, " and ".join(part.text for part in parts))


def _any(parts: Sequence[_Compiled]) -> _Compiled:
    if len(parts) == 1:
        return parts[0]
    tests = tuple(part.test for part in parts)

    def test(subject: Subject) -> bool | None:
        known = True
        for one in tests:
            answer = one(subject)
            if answer:
                return True
            known = known and answer is False
        return False if known else None

    return _Compiled(test, "(" + " or ".join(part.text for part in parts) + ")")


def _not(value: Any, at: Path, made: _Made) -> _Compiled:
    inner = _condition(value, at, made)
    test = inner.test

    def negated(subject: Subject) -> bool | None:
        answer = test(subject)
        return None if answer is None else not answer

    return _Compiled(negated, f"not ({inner.text})")


_COMBINATIONS: Final[dict[str, Callable[[Any, Path, _Made], _Compiled]]] = {
    "all": lambda value, at, made: _all(_several(value, at, made)),
    "any": lambda value, at, made: _any(_several(value, at, made)),
    "not": _not,
}


# --- words of ours ---


def _one_of(name: str, text: str, allowed: Sequence[str] = ()) -> Callable[[Any, Path, _Made], _Compiled]:
    """A word that compares one field of the subject, which is not known when it is empty."""

    def compile_(value: Any, at: Path, made: _Made) -> _Compiled:
        values = _texts(value, at, made)
        for strange in [one for one in values if allowed and one not in allowed]:
            made.wrong(at, f"{strange} is none of {', '.join(allowed)}")
        wanted = frozenset(values)

        def test(subject: Subject) -> bool | None:
            actual = getattr(subject, name)
            return actual in wanted if actual else None

        return _Compiled(test, f"{text} is {_or(values)}")

    return compile_


def _form(value: Any, at: Path, made: _Made) -> _Compiled:
    if value == "any":
        return _Compiled(lambda subject: bool(subject.forms), "a form was submitted")
    if isinstance(value, Mapping):
        if list(value) != ["in"]:
            return made.wrong(at, "must be any, a form's name, or a list of names")
        value, at = value["in"], (*at, "in")
    names = _texts(value, at, made)
    wanted = frozenset(_folded(name) for name in names)

    def test(subject: Subject) -> bool | None:
        return any(_is_form(form, wanted) for form in subject.forms)

    return _Compiled(test, f"the form {_or(names)} was submitted")


def _is_form(form: str, wanted: frozenset[str]) -> bool:
    # HubSpot tells "Page title: Form name".
    whole = _folded(form)
    return whole in wanted or whole.rpartition(": ")[2].strip() in wanted


def _definition(value: Any, at: Path, made: _Made) -> _Compiled:
    if not isinstance(value, str):
        return made.wrong(at, "must be the name of one of the definitions")
    reference = Reference(value, at)
    made.references.append(reference)
    return _Compiled(reference.test, f"it is {_article(value)} {value}")


def _explicit(value: Any, at: Path, made: _Made) -> _Compiled:
    made.words.discard("property")
    if not isinstance(value, Mapping) or not value:
        return made.wrong(at, "must name properties, as {email: {exists: true}}")
    return _all([_property(str(key), test, (*at, str(key)), made) for key, test in value.items()])


_WORDS: Final[dict[str, Callable[[Any, Path, _Made], _Compiled]]] = {
    "grade": _one_of("grade", "the grade", GRADES),
    "fit": _one_of("fit_grade", "the fit", "ABCD"),
    "interest": _one_of("interest_level", "the interest", "1234"),
    "journey": _one_of("journey", "the journey", ("awareness", "consideration", "decision")),
    "deal_stage": _one_of("deal_stage", "the deal's stage"),
    "sales": _one_of("state", "for Sales it", STATES_OF_SALES),
    "form_submitted": _form,
    "form": _form,
    "definition": _definition,
    "property": _explicit,
}


# --- properties ---

ValueTest: TypeAlias = "Callable[[str], bool | None]"


def _property(name: str, value: Any, at: Path, made: _Made) -> _Compiled:
    if not PROPERTY_NAME.match(name):
        return made.wrong(at, "must be a property's internal name: small letters, digits and _")
    made.properties.add(name)
    if isinstance(value, Mapping):
        if not value:
            return made.wrong(at, f"must have a test: {', '.join(_TESTS)}")
        return _all([_test(name, str(op), wanted, (*at, str(op)), made) for op, wanted in value.items()])
    if isinstance(value, list | tuple):
        return made.wrong(at, "must be one value or a test; for a list write {in: […]}")
    return _test(name, "equals", value, at, made)


def _test(name: str, op: str, wanted: Any, at: Path, made: _Made) -> _Compiled:
    if op == "exists":
        return _exists(name, wanted, at, made)
    if op not in _TESTS:
        near = difflib.get_close_matches(op, [*_TESTS, "exists"], n=1)
        hint = f"did you mean {near[0]}?" if near else f"must be one of {', '.join([*_TESTS, 'exists'])}"
        return made.wrong(at, f"is not a test; {hint}")
    value_test, text = _TESTS[op](wanted, at, made)

    def test(subject: Subject) -> bool | None:
        actual = subject.properties.get(name)
        return value_test(actual) if actual else None

    return _Compiled(test, f"{name} {text}")


def _exists(name: str, wanted: Any, at: Path, made: _Made) -> _Compiled:
    expected = _truth(wanted, at, made)

    def test(subject: Subject) -> bool | None:
        return bool(subject.properties.get(name)) is expected

    return _Compiled(test, f"{name} is {'known' if expected else 'not known'}")


def _equals(wanted: Any, at: Path, made: _Made) -> tuple[ValueTest, str]:
    if isinstance(wanted, Mapping | list | tuple) or wanted is None:
        made.wrong(at, "must be one value")
        return _no, ""
    folded = _folded(str(wanted))
    return lambda actual: actual.strip().casefold() == folded, f"is {wanted}"


def _in(wanted: Any, at: Path, made: _Made) -> tuple[ValueTest, str]:
    values = _texts(wanted, at, made)
    folded = frozenset(_folded(value) for value in values)
    return lambda actual: actual.strip().casefold() in folded, f"is {_or(values)}"


def _words(wanted: Any, at: Path, made: _Made) -> tuple[ValueTest, str]:
    values = _texts(wanted, at, made)
    choices = "|".join(re.escape(_plain(value)) for value in values)
    search = re.compile(rf"(?<!\w)(?:{choices})(?!\w)").search
    text = f"has the word {_or(values)}"
    return lambda actual: search(_plain(actual)) is not None, text


def _starts(wanted: Any, at: Path, made: _Made) -> tuple[ValueTest, str]:
    values = _texts(wanted, at, made)
    folded = tuple(value.casefold() for value in values)
    return lambda actual: actual.casefold().startswith(folded), f"starts with {_or(values)}"


def _contains(wanted: Any, at: Path, made: _Made) -> tuple[ValueTest, str]:
    values = _texts(wanted, at, made)
    folded = tuple(value.casefold() for value in values)
    return lambda actual: any(one in actual.casefold() for one in folded), f"contains {_or(values)}"


def _between(wanted: Any, at: Path, made: _Made) -> tuple[ValueTest, str]:
    if not isinstance(wanted, list | tuple) or len(wanted) != 2:
        made.wrong(at, "must be two numbers, as [50, 1000]")
        return _no, ""
    low, high = (_a_number(one, (*at, n), made) for n, one in enumerate(wanted))
    if low > high:
        made.wrong(at, "must have the lower number first")
    return _number_test(lambda number: low <= number <= high), f"is between {wanted[0]} and {wanted[1]}"


def _at_least(wanted: Any, at: Path, made: _Made) -> tuple[ValueTest, str]:
    low = _a_number(wanted, at, made)
    return _number_test(lambda number: number >= low), f"is at least {wanted}"


def _at_most(wanted: Any, at: Path, made: _Made) -> tuple[ValueTest, str]:
    high = _a_number(wanted, at, made)
    return _number_test(lambda number: number <= high), f"is at most {wanted}"


def _domain_in(wanted: Any, at: Path, made: _Made) -> tuple[ValueTest, str]:
    values = _texts(wanted, at, made)
    domains = frozenset(value.casefold().lstrip("@") for value in values)
    below = tuple("." + domain for domain in domains)

    def test(actual: str) -> bool:
        domain = _domain(actual)
        return domain in domains or domain.endswith(below)

    return test, f"is at {_or(values)}"


def _free_mailbox(wanted: Any, at: Path, made: _Made) -> tuple[ValueTest, str]:
    expected = _truth(wanted, at, made)
    text = "is a free mailbox" if expected else "is not a free mailbox"
    return lambda actual: (_domain(actual) in FREE_MAILBOXES) is expected, text


_TESTS: Final[dict[str, Callable[[Any, Path, _Made], tuple[ValueTest, str]]]] = {
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
}


# --- small things ---


def _no(_: str) -> bool:
    return False


def _number_test(test: Callable[[float], bool]) -> ValueTest:
    def on_text(actual: str) -> bool | None:
        try:
            number = float(actual)
        except ValueError:
            return None
        return test(number) if math.isfinite(number) else None

    return on_text


def _a_number(wanted: Any, at: Path, made: _Made) -> float:
    try:
        number = float(wanted)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        made.wrong(at, "must be a number")
    return number


def _truth(wanted: Any, at: Path, made: _Made) -> bool:
    text = str(wanted).lower()
    if text not in ("true", "false"):
        made.wrong(at, "must be true or false")
    return text == "true"


def _texts(value: Any, at: Path, made: _Made) -> list[str]:
    values = list(value) if isinstance(value, list | tuple) else [value]
    if not values or any(isinstance(one, Mapping | list | tuple) or one is None or one == "" for one in values):
        made.wrong(at, "must be a value or a list of values")
        return [""]
    return [str(one) for one in values]


def _folded(text: str) -> str:
    return text.strip().casefold()


def _plain(text: str) -> str:
    """Without case and diacritics."""
    if text.isascii():
        return text.lower()
    return "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))


def _domain(address: str) -> str:
    return address.rpartition("@")[2].strip().casefold()


def _or(values: Iterable[str]) -> str:
    *first, last = values
    return f"{', '.join(first)} or {last}" if first else last


def _article(word: str) -> str:
    return "an" if word[:1] in "aeio" or word in ("mql", "sql") else "a"


def _canonical(source: Any) -> Any:
    if isinstance(source, Mapping):
        return {str(key): _canonical(value) for key, value in source.items()}
    if isinstance(source, list | tuple):
        return [_canonical(one) for one in source]
    return str(source)
