"""What a condition is made of: its leaves, how they are combined, and why the whole held or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from msgspec import Struct

from shared.agreement import phrases
from shared.languages import ENGLISH, Language

Path: TypeAlias = tuple[str | int, ...]
Held: TypeAlias = "bool | None"  # None: not known
Test: TypeAlias = "Callable[[Subject], Held]"
ValueTest: TypeAlias = "Callable[[str], Held]"
About: TypeAlias = Literal[
    "property", "grade", "fit_grade", "interest_level", "journey", "deal_stage", "state", "forms"
]

PROPERTY: Final = "property"
FORMS: Final = "forms"


class Subject(Struct, frozen=True, kw_only=True, gc=False):
    """What a condition is asked about. "" and a missing property are not known."""

    properties: Mapping[str, str]
    grade: str = ""
    fit_grade: str = ""
    interest_level: str = ""
    journey: str = ""
    forms: frozenset[str] = frozenset()
    deal_stage: str = ""
    state: str = ""


def no_signs(_: str) -> str:
    return ""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Leaf:
    """One test of one thing. `name` is the property's, `op` the test as it is written, `wanted` its values.

    `signs` says what in a value the test went by, where the value alone does not show it.
    """

    at: Path
    about: About
    name: str
    op: str
    wanted: tuple[str, ...]
    text: str
    test: Test
    on: ValueTest = lambda _: None
    signs: Callable[[str], str] = no_signs

    def seen(self, subject: Subject) -> str:
        """The value that the test saw; "" when there is none."""
        if self.about == FORMS:
            return ", ".join(sorted(subject.forms))
        if self.about == PROPERTY:
            return subject.properties.get(self.name, "")
        return str(getattr(subject, self.about))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class All:
    at: Path
    parts: tuple[Node, ...]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Any_:
    at: Path
    parts: tuple[Node, ...]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Not:
    at: Path
    part: Node


class Reference:
    """A use of `definition: name`, at `at` within its condition, which means a condition once it is bound."""

    __slots__ = ("at", "meant", "name", "text")

    def __init__(self, name: str, at: Path, text: str) -> None:
        self.name: Final = name
        self.at: Final = at
        self.text: Final = text
        self.meant: tuple[Test, Node] | None = None

    def test(self, subject: Subject) -> Held:
        return None if self.meant is None else self.meant[0](subject)


Node: TypeAlias = "Leaf | All | Any_ | Not | Reference"


@dataclass(frozen=True, slots=True)
class Compiled:
    """A condition, or a part of one, made ready: its test, and what it is made of."""

    test: Test
    node: Node


@dataclass(slots=True)
class Made:
    """What comes up while a condition is compiled."""

    properties: set[str] = field(default_factory=set)
    words: set[str] = field(default_factory=set)
    references: list[Reference] = field(default_factory=list)
    problems: list[tuple[Path, str]] = field(default_factory=list)

    def wrong(self, path: Path, message: str) -> Compiled:
        self.problems.append((path, message))
        return Compiled(_unknown, All(at=path, parts=()))


def leaf(**said: Any) -> Compiled:
    """A leaf, compiled."""
    made = Leaf(**said)
    return Compiled(made.test, made)


def _unknown(_: Subject) -> None:
    return None


def in_words(node: Node, language: Language = ENGLISH) -> str:
    match node:
        case All():
            return language.say(" and ").join(in_words(part, language) for part in node.parts)
        case Any_():
            return f"({language.say(' or ').join(in_words(part, language) for part in node.parts)})"
        case Not():
            return language.say("not ({what})", what=in_words(node.part, language))
        case Reference():
            return node.text if language is ENGLISH else language.say("it is a {name}", name=node.name)
        case Leaf():
            return (
                node.text
                if language is ENGLISH
                else phrases.asked(node.about, node.name, node.op, node.wanted, language)
            )


def leaves(node: Node) -> Iterator[Leaf]:
    """All of them; a definition's are not its user's own."""
    match node:
        case Leaf():
            yield node
        case Not():
            yield from leaves(node.part)
        case All() | Any_():
            yield from (leaf for part in node.parts for leaf in leaves(part))


# --- why ---


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """Whether a condition held, and the leaves that made it so, each with the value that it saw."""

    held: Held
    because: tuple[Seen, ...]

    def __str__(self) -> str:
        return self.told(ENGLISH)

    def told(self, language: Language) -> str:
        """In one sentence."""
        because = language.say(", and ").join(seen.told(language) for seen in self.because)
        if self.held is None:
            return language.say("it is not known: {because}", because=because)
        if self.held:
            return language.say("it holds: {because}", because=because)
        return language.say("it does not hold: {because}", because=because)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What became of one leaf, or of a definition that is not known. PERSONAL: value."""

    of: Leaf | Reference
    held: Held
    value: str

    @property
    def asks(self) -> str:
        """The property that it is about; "" for a word of ours."""
        return self.of.name if isinstance(self.of, Leaf) and self.of.about == PROPERTY else ""

    @property
    def shown(self) -> str:
        """What it saw, with what of that it went by. PERSONAL."""
        signs = self.of.signs(self.value) if isinstance(self.of, Leaf) and self.value else ""
        return f"{self.value}; {signs}" if signs else self.value

    def told(self, language: Language) -> str:
        what, value = in_words(self.of, language), self.value
        if self.held is None:
            if value:
                return language.say("whether {what} cannot be told from {value}", what=what, value=value)
            return language.say("whether {what} cannot be told", what=what)
        shown = f" ({self.shown})" if value and not (self.held and self.shown in what) else ""
        return (what if self.held else language.say("it is not so that {what}", what=what)) + shown


def why(node: Node, subject: Subject) -> Why:
    """The parts that decide: of several that must all hold those that did not, of alternatives those that did."""
    match node:
        case Leaf():
            held = node.test(subject)
            return Why(held=held, because=(Seen(of=node, held=held, value=node.seen(subject)),))
        case Not():
            inner = why(node.part, subject)
            return Why(held=None if inner.held is None else not inner.held, because=inner.because)
        case Reference():
            if node.meant is None:
                return Why(held=None, because=(Seen(of=node, held=None, value=""),))
            return why(node.meant[1], subject)
        case All():
            return _decisive([why(part, subject) for part in node.parts], (False, None, True))
        case Any_():
            return _decisive([why(part, subject) for part in node.parts], (True, None, False))


def _decisive(parts: Sequence[Why], order: Sequence[Held]) -> Why:
    """The first of `order` that a part came to is what the whole came to, by all parts that did."""
    held = next(one for one in order if any(part.held is one for part in parts))
    return Why(held=held, because=tuple(seen for part in parts if part.held is held for seen in part.because))
