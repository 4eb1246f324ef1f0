"""The market that an agreement speaks of: so that its own forms, pages and properties come up among simulated leads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from shared.agreement import Agreement
from shared.agreement.conditions import Condition, Subject
from shared.agreement.qualification import Family
from shared.agreement.tree import FORMS, PROPERTY, Leaf, leaves
from shared.crm.simulator.personas import (
    COUNTRIES,
    INDUSTRIES,
    OF_COMPANY,
    ROLES,
    SITE,
    SIZES,
    SOFTWARE,
    SOURCES,
    Market,
)

# What a persona is made of; a property that the agreement asks about and these never fulfil gets values of its own.
OF_PERSONAS: Final = {
    "jobtitle": tuple(title for titles, _, _ in ROLES for title in titles),
    "hs_buying_role": tuple(role for _, role, _ in ROLES),
    f"{OF_COMPANY}numberofemployees": tuple(str(size) for size, _ in SIZES),
    f"{OF_COMPANY}industry": tuple(name for name, _ in INDUSTRIES),
    "country": tuple(name for name, _ in COUNTRIES),
    "hs_analytics_source": tuple(name for name, _ in SOURCES),
}
THEIR_OWN: Final = ("email", "firstname", "lastname", "company", "phone", "hubspot_owner_id")  # of each person
TITLES: Final = ("Owner", "CEO", "Vice President", "Director", "Head", "Manager", "Specialist", "Assistant", "Trainee")
ANOTHER: Final = "another"  # a value that no rule wants


def market_of(agreement: Agreement) -> Market:
    """SOFTWARE as far as it meets what the agreement asks about; else what the agreement names."""
    interest = agreement.qualification.interest
    fired = [leaf for trigger in agreement.handoff.triggers for leaf in _of(trigger.when)]
    asked = [list(_signals(family)) for family in (interest.knowledge, interest.consideration, interest.urgency)]
    asked[2] += fired
    return Market(
        pages=tuple(_stage(SOFTWARE.pages[n], asked[n], _pages, _visits) for n in range(3)),
        forms=tuple(_stage(SOFTWARE.forms[n], asked[n], _forms, _submits) for n in range(3)),
        properties=_properties(agreement),
        offered=_deal_stage(agreement, "opportunity", SOFTWARE.offered),
        won=_deal_stage(agreement, "customer", SOFTWARE.won),
    )


def _signals(family: Family) -> Iterator[Leaf]:
    for signal in family.signals:
        if signal.when:
            yield from _of(signal.when)


def _of(condition: Condition) -> Iterator[Leaf]:
    yield from leaves(condition.node)


def _stage(
    usual: tuple[str, ...],
    asked: list[Leaf],
    named: Callable[[list[Leaf]], list[str]],
    subject: Callable[[str], Subject],
) -> tuple[str, ...]:
    """What is usual at a stage of the journey, when the agreement cares for any of it; else what it names."""
    wanted = named(asked)
    if not wanted or any(leaf.test(subject(one)) for one in usual for leaf in asked):
        return usual
    return tuple(dict.fromkeys(wanted))


def _forms(asked: list[Leaf]) -> list[str]:
    return [name for leaf in asked if leaf.about == FORMS and leaf.op != "any" for name in leaf.wanted]


def _submits(form: str) -> Subject:
    return Subject(properties={}, forms=frozenset({form}))


def _pages(asked: list[Leaf]) -> list[str]:
    return [path for leaf in asked if leaf.name == "path" for path in leaf.wanted if path.startswith("/")]


def _visits(path: str) -> Subject:
    return Subject(properties={"path": path, "host": SITE.partition("//")[2], "url": SITE + path})


def _deal_stage(agreement: Agreement, definition: str, usual: str) -> str:
    named = {str(name): condition for name, condition in agreement.definitions.items()}[definition]
    stages = [value for leaf in _of(named) for value in leaf.wanted if leaf.about == "deal_stage"]
    return usual if usual in stages or not stages else stages[0]


# --- properties ---


def _properties(agreement: Agreement) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    asked = [leaf for path, condition in agreement.conditions() if path[1] != "interest" for leaf in _of(condition)]
    for name in dict.fromkeys(leaf.name for leaf in asked if leaf.about == PROPERTY and leaf.name not in THEIR_OWN):
        tests = [leaf for leaf in asked if leaf.about == PROPERTY and leaf.name == name]
        values = list(dict.fromkeys(_values(tests)))
        met = any(leaf.on(value) for value in OF_PERSONAS.get(name, ()) for leaf in tests)
        if values and not met:
            found[name] = (*values, ANOTHER)
    return found


def _values(tests: Iterable[Leaf]) -> Iterator[str]:
    for leaf in tests:
        match leaf.op:
            case "between" | "at_least" | "at_most":
                low, high = float(leaf.wanted[0]), float(leaf.wanted[-1])
                yield from (f"{number:.0f}" for number in (low / 2, low, (low + high) / 2, high * 2))
            case "equals" | "in" | "words" | "starts" | "contains" | "country_in":
                yield from leaf.wanted
            case "seniority":
                yield from (title for title in TITLES if leaf.on(title))
