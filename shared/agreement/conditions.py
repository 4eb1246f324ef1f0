"""The language of conditions: a small declarative form, compiled once to closures, told again in words.

A condition is a mapping; all its keys must hold. A key is `any`, `all`, `not`, a word of ours
(`grade`, `fit`, `interest`, `journey`, `form_submitted`, `deal_stage`, `sales`, `definition`), or the
name of a CRM property with a value or tests: `country: DE`, `country: {in: [DE, FR]}`. It is the contact's
own; of its company's record with `company.` before it: `company.numberofemployees: {at_least: 50}`.

What is not known is neither true nor false: a condition on a missing property does not hold, and
its `not` does not hold either. Text is compared without case and diacritics.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from shared.agreement.properties import (
    OF_COMPANY,
    PROPERTY_NAME,
    PROPERTY_SCHEMA,
    VALUES_SCHEMA,
    any_of,
    property_condition,
    some_of,
    texts,
)
from shared.agreement.spelling import plain
from shared.agreement.tree import (
    FORMS,
    About,
    All,
    Any_,
    Compiled,
    Held,
    Made,
    Not,
    Path,
    Reference,
    Subject,
    Why,
    in_words,
    leaf,
    why,
)

__all__ = [
    "OF_COMPANY",
    "PROBLEMS",
    "PROPERTY_NAME",
    "STATES_OF_SALES",
    "Condition",
    "Path",
    "Subject",
    "Why",
    "in_words",
]

PROBLEMS: Final = "condition_problems"  # the type of the error that carries several problems of one condition
STATES_OF_SALES: Final = ("accepted", "working", "qualified")
REFERRED: Final = {"$dynamicRef": "#condition"}  # stands for a condition until the whole schema has a place for it


class Condition:
    """A condition of the agreement.

    `text` says it in words, `source` is its canonical form, `properties` and `words` are what it asks
    about, `references` the definitions it names and where, `node` what it is made of.
    """

    __slots__ = ("_test", "node", "properties", "references", "source", "text", "words")

    def __init__(self, source: Any, compiled: Compiled, made_of: Made) -> None:
        self.source: Final = source
        self.text: Final = in_words(compiled.node)
        self.properties: Final = frozenset(made_of.properties)
        self.words: Final = frozenset(made_of.words)
        self.references: Final = tuple(made_of.references)
        self.node: Final = compiled.node
        self._test = compiled.test

    @classmethod
    def parse(cls, source: Any, at: Path = ()) -> Condition:
        """Raises PydanticCustomError (PROBLEMS) with every problem, each with its path from `at`."""
        made_of = Made()
        compiled = _condition(source, at, made_of)
        if made_of.problems:
            raise PydanticCustomError(PROBLEMS, "is not a condition", {"problems": made_of.problems})
        return cls(_canonical(source), compiled, made_of)

    def holds(self, subject: Subject) -> bool:
        """Whether it is known to be true."""
        return self._test(subject) is True

    def asked(self, subject: Subject) -> Held:
        """Whether it holds; None where that is not known."""
        return self._test(subject)

    def why(self, subject: Subject) -> Why:
        """Whether it held, and why; its text is a sentence. Slower than `holds`: for people who ask."""
        return why(self.node, subject)

    def bind(self, definitions: Mapping[str, Condition]) -> None:
        """Let `definition: x` mean `definitions[x]`. The agreement does it once, before anyone asks."""
        for reference in self.references:
            meant = definitions.get(reference.name)
            reference.meant = None if meant is None else (meant._test, meant.node)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Condition) and other.source == self.source

    def __hash__(self) -> int:
        return hash(repr(self.source))

    def __repr__(self) -> str:
        return f"Condition({self.text})"

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return dict(REFERRED)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def validate(value: Any) -> Condition:
            return value if isinstance(value, Condition) else cls.parse(value)

        serialize = core_schema.plain_serializer_function_ser_schema(lambda condition: condition.source)
        return core_schema.no_info_plain_validator_function(validate, serialization=serialize)


# --- the form ---


def _condition(source: Any, at: Path, made: Made) -> Compiled:
    if not isinstance(source, Mapping):
        return made.wrong(at, "must be a condition, as {country: {in: [DE, FR]}} or {grade: [A1, A2]}")
    if not source:
        return made.wrong(at, "must say something; leave `when` out where it always holds")
    return _all([_key(str(key), value, (*at, str(key)), made) for key, value in source.items()], at)


def _key(key: str, value: Any, at: Path, made: Made) -> Compiled:
    if key in _COMBINATIONS:
        return _COMBINATIONS[key](value, at, made)
    if key in _WORDS:
        made.words.add(key)
        return _WORDS[key](value, at, made)
    if near := difflib.get_close_matches(key, [*_COMBINATIONS, *_WORDS], n=1, cutoff=0.85):
        return made.wrong(at, f"did you mean {near[0]}? For a property of this name write property: {{{key}: …}}")
    return _all(property_condition(key, value, at, made), at)


def _several(value: Any, at: Path, made: Made) -> list[Compiled]:
    if not isinstance(value, list | tuple) or not value:
        return [made.wrong(at, "must be a list of conditions")]
    return [_condition(one, (*at, n), made) for n, one in enumerate(value)]


def _all(parts: Sequence[Compiled], at: Path) -> Compiled:
    if len(parts) == 1:
        return parts[0]
    tests = tuple(part.test for part in parts)

    def test(subject: Subject) -> Held:
        known = True
        for one in tests:
            answer = one(subject)
            if answer is False:
                return False
            known = known and answer is True
        return True if known else None

    return Compiled(test, All(at=at, parts=tuple(part.node for part in parts)))


def _any(parts: Sequence[Compiled], at: Path) -> Compiled:
    if len(parts) == 1:
        return parts[0]
    tests = tuple(part.test for part in parts)

    def test(subject: Subject) -> Held:
        known = True
        for one in tests:
            answer = one(subject)
            if answer:
                return True
            known = known and answer is False
        return False if known else None

    return Compiled(test, Any_(at=at, parts=tuple(part.node for part in parts)))


def _not(value: Any, at: Path, made: Made) -> Compiled:
    inner = _condition(value, at, made)
    test = inner.test

    def negated(subject: Subject) -> Held:
        answer = test(subject)
        return None if answer is None else not answer

    return Compiled(negated, Not(at=at, part=inner.node))


_COMBINATIONS: Final[dict[str, Callable[[Any, Path, Made], Compiled]]] = {
    "all": lambda value, at, made: _all(_several(value, at, made), at),
    "any": lambda value, at, made: _any(_several(value, at, made), at),
    "not": _not,
}


# --- words of ours ---


def _one_of(name: About, text: str, allowed: Sequence[str] = ()) -> Callable[[Any, Path, Made], Compiled]:
    """A word that compares one field of the subject, which is not known when it is empty."""

    def compile_(value: Any, at: Path, made: Made) -> Compiled:
        values = texts(value, at, made)
        for strange in [one for one in values if allowed and one not in allowed]:
            made.wrong(at, f"{strange} is none of {', '.join(allowed)}")
        wanted = frozenset(values)

        def test(subject: Subject) -> Held:
            actual = getattr(subject, name)
            return actual in wanted if actual else None

        said = {"op": "in", "wanted": tuple(values), "text": f"{text} is {any_of(values)}"}
        return leaf(at=at, about=name, name=name, test=test, **said)

    return compile_


def _form(value: Any, at: Path, made: Made) -> Compiled:
    if value == "any":
        return _about_forms(at, ("any",), "a form was submitted", lambda subject: bool(subject.forms))
    if isinstance(value, Mapping):
        if list(value) != ["in"]:
            return made.wrong(at, "must be any, a form's name, or a list of names")
        value, at = value["in"], (*at, "in")
    names = texts(value, at, made)
    wanted = frozenset(plain(name) for name in names)

    def test(subject: Subject) -> Held:
        for form in subject.forms:  # noqa: SIM110  # a third faster than any()
            if _is_form(form, wanted):
                return True
        return False

    return _about_forms(at, tuple(names), f"the form {any_of(names)} was submitted", test)


def _about_forms(at: Path, names: tuple[str, ...], text: str, test: Callable[[Subject], Held]) -> Compiled:
    op = "any" if names == ("any",) else "in"
    return leaf(at=at, about=FORMS, name=FORMS, op=op, wanted=names, text=text, test=test)


def _is_form(form: str, wanted: frozenset[str]) -> bool:
    # HubSpot tells "Page title: Form name", and either may have a colon in it.
    name = plain(form)
    while name not in wanted:
        _, colon, name = name.partition(": ")
        if not colon:
            return False
        name = name.strip()
    return True


def _definition(value: Any, at: Path, made: Made) -> Compiled:
    if not isinstance(value, str):
        return made.wrong(at, "must be the name of one of the definitions")
    reference = Reference(value, at, f"it is {_article(value)} {value}")
    made.references.append(reference)
    return Compiled(reference.test, reference)


def _explicit(value: Any, at: Path, made: Made) -> Compiled:
    made.words.discard("property")
    if not isinstance(value, Mapping) or not value:
        return made.wrong(at, "must name properties, as {email: {exists: true}}")
    tests = [property_condition(str(key), test, (*at, str(key)), made) for key, test in value.items()]
    return _all([test for several in tests for test in several], at)


_WORDS: Final[dict[str, Callable[[Any, Path, Made], Compiled]]] = {
    "grade": _one_of("grade", "the grade"),  # which there are only the whole agreement knows
    "fit": _one_of("fit_grade", "the fit"),
    "interest": _one_of("interest_level", "the interest"),
    "journey": _one_of("journey", "the journey", ("awareness", "consideration", "decision")),
    "deal_stage": _one_of("deal_stage", "the deal's stage"),
    "sales": _one_of("state", "for Sales it", STATES_OF_SALES),
    "form_submitted": _form,
    "form": _form,
    "definition": _definition,
    "property": _explicit,
}


# --- as JSON Schema ---


def schemas(at: str) -> dict[str, Any]:
    """What a condition may be, which is found `at`: every combination, word and test, with what it means."""
    itself = {"$ref": at}
    several: dict[str, Any] = {"type": "array", "items": itself, "minItems": 1}
    combined: dict[str, tuple[dict[str, Any], str]] = {
        "all": (several, "All of them hold."),
        "any": (several, "One of them holds."),
        "not": (itself, "It does not hold; what is not known is not a no."),
    }
    known = {**combined, **_WORD_SCHEMAS}
    return {
        "type": "object",
        "description": "All its keys must hold: any, all, not, a word of ours, or a property of the CRM with its test.",
        "properties": {key: {**schema, "description": text} for key, (schema, text) in known.items()},
        "additionalProperties": PROPERTY_SCHEMA,
        "propertyNames": {"pattern": PROPERTY_NAME.pattern.replace(r"\Z", "$")},
        "minProperties": 1,
    }


_WORD_SCHEMAS: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "grade": (VALUES_SCHEMA, "Fit and interest together, as A1, or by a name of your own."),
    "fit": (VALUES_SCHEMA, "How well person and company match, as A."),
    "interest": (VALUES_SCHEMA, "How much the lead wants, as 1."),
    "journey": (some_of(("awareness", "consideration", "decision")), "How far the lead is on its way to buy."),
    "deal_stage": (VALUES_SCHEMA, "The stage of the lead's deal, as the CRM names it."),
    "sales": (some_of(STATES_OF_SALES), "What Sales said of the lead."),
    "form_submitted": (VALUES_SCHEMA, "A form by its name, several, or any."),
    "form": (VALUES_SCHEMA, "The same as form_submitted."),
    "definition": ({"type": "string"}, "One of the definitions holds."),
    "property": (
        {"type": "object", "additionalProperties": PROPERTY_SCHEMA, "minProperties": 1},
        "Properties of the CRM, also those that are called as one of our words.",
    ),
}


# --- small things ---


def _article(word: str) -> str:
    return "an" if word[:1] in "aeio" or word in ("mql", "sql") else "a"


def _canonical(source: Any) -> Any:
    if isinstance(source, Mapping):
        return {str(key): _canonical(value) for key, value in source.items()}
    if isinstance(source, list | tuple):
        return [_canonical(one) for one in source]
    return str(source)
