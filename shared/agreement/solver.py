"""Whether anybody can be of whom a condition holds, or does not: proved, never guessed.

A condition comes to true in one of several ways, each a list of what its leaves have to come to. A way
is possible when for each property, and for each thing that we know of a lead, there is a value with
which all its leaves come to that. Values are tried where they are few (grades, what `in` names, the
ends of ranges); of texts it is known what one test says of another (`starts: /a` of `starts: /a/b`).
Whatever this cannot decide it takes for possible.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, combinations, product
from typing import Any, Final

from shared.agreement.amounts import Range, fits
from shared.agreement.conditions import STATES_OF_SALES
from shared.agreement.countries import country
from shared.agreement.grades import Cell
from shared.agreement.mailboxes import domain_of, free_domains, throwaway_domains
from shared.agreement.properties import BETWEEN_WORDS, EXISTS
from shared.agreement.qualification import JOURNEY
from shared.agreement.spelling import plain
from shared.agreement.tree import FORMS, PROPERTY, All, Any_, Held, Leaf, Node, Not, Reference, Subject

May = frozenset[Held]

TRUE: Final[May] = frozenset({True})
FALSE: Final[May] = frozenset({False})
NOT_TRUE: Final[May] = frozenset({False, None})
NOT_FALSE: Final[May] = frozenset({True, None})
NOT: Final = {TRUE: FALSE, FALSE: TRUE, NOT_TRUE: NOT_FALSE, NOT_FALSE: NOT_TRUE}
MOST_WAYS: Final = 5_000  # with more a condition is taken for possible: people read it no better

OF_SETS: Final = ("equals", "in")
GRADED: Final = ("grade", "fit_grade", "interest_level")
OF_NUMBERS: Final = ("between", "at_least", "at_most")
# Of a text that is there they may still not be known.
OF_THREE: Final = ("free_mailbox", "throwaway_mailbox", "country_in", "seniority", *OF_NUMBERS)
SOMETHING_ELSE: Final = "something else \u241f"  # a value that nobody names


@dataclass(frozen=True, kw_only=True)
class World:
    """What can be of a lead: its grades (None: any that somebody may think of) and its stages of the journey."""

    grades: frozenset[Cell] | None = None
    journey: frozenset[str] = frozenset(JOURNEY)


ANY_WORLD: Final = World()


@dataclass(frozen=True, slots=True)
class Literal:
    """What a leaf may come to."""

    leaf: Leaf
    may: May


Way = tuple[Literal, ...]


class TooMany(Exception):
    """More ways than are worth trying."""


def possible(wanted: Iterable[tuple[Node, May]], world: World = ANY_WORLD, given: Way = ()) -> bool:
    """Whether there can be somebody of whom each node comes to one of what it may. True where that is not known."""
    try:
        ways = _product([_ways(node, may) for node, may in wanted])
        return any(_consistent((*given, *way), world) for way in ways)
    except TooMany:
        return True


# --- the ways in which a condition comes to something ---


def _ways(node: Node, may: May) -> list[Way]:
    match node:
        case Leaf():
            return [(Literal(node, may),)]
        case Not():
            return _ways(node.part, NOT[may])
        case Reference():
            return [()] if node.meant is None else _ways(node.meant[1], may)
        case All() | Any_():
            parts = [_ways(part, may) for part in node.parts]
            every = (may in (TRUE, NOT_FALSE)) is isinstance(node, All)
            return _product(parts) if every else _limited([way for ways in parts for way in ways])


def _product(parts: Sequence[list[Way]]) -> list[Way]:
    if math.prod(map(len, parts)) > MOST_WAYS:
        raise TooMany
    return [tuple(literal for way in ways for literal in way) for ways in product(*parts)]


def _limited(ways: list[Way]) -> list[Way]:
    if len(ways) > MOST_WAYS:
        raise TooMany
    return ways


# --- whether a way is possible ---


def _consistent(way: Way, world: World) -> bool:
    groups: defaultdict[str, list[Literal]] = defaultdict(list)
    for literal in way:
        groups[_group(literal.leaf)].append(literal)
    return all(_possible_together(group, world) for group in groups.values())


def _group(leaf: Leaf) -> str:
    """Leaves of one group ask about the same thing: fit and interest are halves of the grade."""
    if leaf.about == PROPERTY:
        return f"{PROPERTY} {leaf.name}"
    return "grade" if leaf.about in GRADED else leaf.about


def _possible_together(literals: list[Literal], world: World) -> bool:
    about = literals[0].leaf.about
    if about == PROPERTY:
        return _missing(literals) or _present(literals)
    if about == FORMS:
        return _forms(literals)
    if about in GRADED and world.grades is None:
        return True
    return any(all(one.leaf.test(subject) in one.may for one in literals) for subject in _subjects(literals, world))


def _subjects(literals: list[Literal], world: World) -> Iterator[Subject]:
    about = literals[0].leaf.about
    if about in GRADED:
        for fit, level, grade in world.grades or ():
            yield Subject(properties={}, grade=grade, fit_grade=fit, interest_level=level)
    elif about == "journey":
        yield from (Subject(properties={}, journey=stage) for stage in world.journey)
    else:
        named = [value for one in literals for value in one.leaf.wanted]
        for value in (*named, *STATES_OF_SALES, SOMETHING_ELSE, ""):
            field: dict[str, Any] = {about: value}
            yield Subject(properties={}, **field)


def _forms(literals: list[Literal]) -> bool:
    """Each form that must have been submitted can be one that none of the others forbids."""
    forbidden = [one.leaf for one in literals if True not in one.may]
    wanted = [one.leaf for one in literals if one.may == TRUE]
    for leaf in wanted:
        names = (SOMETHING_ELSE,) if leaf.op == "any" else leaf.wanted
        alone = [Subject(properties={}, forms=frozenset({name})) for name in names]
        if all(any(other.test(subject) for other in forbidden) for subject in alone):
            return False
    return True


# --- one property ---


def _missing(literals: list[Literal]) -> bool:
    nobody = Subject(properties={})
    return all(one.leaf.test(nobody) in one.may for one in literals)


def _present(literals: list[Literal]) -> bool:
    """Whether there is a value with which all of them come to what they may."""
    if any(one.leaf.op == EXISTS and one.leaf.on("x") not in one.may for one in literals):
        return False
    tests = [one for one in literals if one.leaf.op != EXISTS]
    for one in tests:
        if one.leaf.op in OF_SETS and one.may & {True, False} == TRUE:  # then it is one of these few
            values = {form for value in one.leaf.wanted for form in (value, plain(value))}
            return any(all(other.leaf.on(value) in other.may for other in tests) for value in values)
    numbers = [one for one in tests if one.leaf.op in OF_NUMBERS]
    return _texts(tests) and (all(None in one.may for one in numbers) or _numbers(numbers))


def _numbers(literals: list[Literal]) -> bool:
    """Tried at the ends of all ranges and right beside them: nowhere else can a test come to something else.

    A value may be a range itself, of which one test is known and another is not.
    """
    bounds = [(*_bounds(one.leaf), one.may) for one in literals]
    ends = {end for low, high, _ in bounds for end in (low, high) if math.isfinite(end)}
    points = sorted({point for end in ends for point in (math.nextafter(end, -math.inf), end, _next(end))})
    values = chain(zip(points, points, strict=True), combinations(points, 2) if _unsure(literals) else ())
    return any(all(fits(value, low, high) in may for low, high, may in bounds) for value in values)


def _bounds(leaf: Leaf) -> Range:
    first, last = float(leaf.wanted[0]), float(leaf.wanted[-1])
    return (-math.inf if leaf.op == "at_most" else first), (math.inf if leaf.op == "at_least" else last)


def _next(number: float) -> float:
    return math.nextafter(number, math.inf)


def _unsure(literals: list[Literal]) -> bool:
    """Whether any may be not known; else no range does what none of its numbers does."""
    return any(None in one.may for one in literals)


def _texts(literals: list[Literal]) -> bool:
    """No two tests of text contradict each other, as far as that is plain."""
    holds = [one.leaf for one in literals if one.may - ({None} if one.leaf.op not in OF_THREE else set()) == TRUE]
    fails = [one.leaf for one in literals if True not in one.may]
    if any(_implies(one, other) for one in holds for other in fails):
        return False
    return not any(_excludes(one, other) for n, one in enumerate(holds) for other in holds[:n])


def _implies(one: Leaf, other: Leaf) -> bool:
    """Whether every text of which the one holds is one of which the other holds."""
    match one.op, other.op:
        case ("free_mailbox" | "throwaway_mailbox", "free_mailbox" | "throwaway_mailbox"):
            return not any(one.on(address) and not other.on(address) for address in _KINDS_OF_ADDRESS)
        case ("domain_in", "free_mailbox" | "throwaway_mailbox"):
            return all(map(other.on, _addresses_at(one)))
        case ("domain_in", "domain_in"):
            return all(any(_within(a, b) for b in other.wanted) for a in one.wanted)
        case ("starts", "starts"):
            return all(any(plain(a).startswith(plain(b)) for b in other.wanted) for a in one.wanted)
        case ("starts" | "contains", "contains"):
            return all(any(plain(b) in plain(a) for b in other.wanted) for a in one.wanted)
        case ("country_in", "country_in"):
            return {*map(country, one.wanted)} <= {*map(country, other.wanted)}
        case ("seniority", "seniority"):
            return {*one.wanted} <= {*other.wanted}
        case ("words", "words"):
            return all(other.on(re.sub(BETWEEN_WORDS, " ", a)) for a in one.wanted)
        case _:
            return False


def _excludes(one: Leaf, other: Leaf) -> bool:
    """Whether there is no text of which both hold."""
    match one.op, other.op:
        case ("starts", "starts"):
            pairs = [(plain(a), plain(b)) for a in one.wanted for b in other.wanted]
            return not any(a.startswith(b) or b.startswith(a) for a, b in pairs)
        case ("domain_in", "domain_in"):
            return not any(_within(a, b) or _within(b, a) for a in one.wanted for b in other.wanted)
        case ("free_mailbox" | "throwaway_mailbox", "free_mailbox" | "throwaway_mailbox"):
            return not any(one.on(address) and other.on(address) for address in _KINDS_OF_ADDRESS)
        case ("domain_in", "free_mailbox" | "throwaway_mailbox"):
            return not any(map(other.on, _addresses_at(one)))
        case ("free_mailbox" | "throwaway_mailbox", "domain_in"):
            return _excludes(other, one)
        case ("country_in", "country_in"):
            return {*map(country, one.wanted)}.isdisjoint(map(country, other.wanted))
        case _:
            return False


_KINDS_OF_ADDRESS: Final = ("x@gmail.com", "x@mailinator.com", "x@company.example")


def _addresses_at(leaf: Leaf) -> Iterator[str]:
    """One of each kind that there is at the domains that the leaf names, and below them."""
    domains = [domain_of(domain) for domain in leaf.wanted]
    for domain in domains:
        yield from (f"x@{domain}", f"x@below.{domain}")
    known = free_domains() | throwaway_domains()
    yield from (f"x@{one}" for one in known if any(f".{one}".endswith(f".{domain}") for domain in domains))


def _within(domain: str, other: str) -> bool:
    """Whether all of a domain is of the other."""
    domain, other = domain_of(domain), domain_of(other)
    return domain == other or domain.endswith("." + other)
