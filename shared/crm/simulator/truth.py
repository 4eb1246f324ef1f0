"""The true model behind the simulated sales: on what it depends whether a lead that was talked to buys.

Nobody but the simulator knows it; what is learned from its history can be held against it. An effect
is in log-odds: 0.7 doubles the odds, 0 changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from shared.crm.simulator.personas import DECISION_FORMS, OF_COMPANY, ROLES

DECISION_MAKERS, INFLUENCERS = frozenset(ROLES[0][0]), frozenset(ROLES[1][0])
SIZE, INDUSTRY = f"{OF_COMPANY}numberofemployees", f"{OF_COMPANY}industry"
RIGHT_SIZE: Final = range(50, 1001)  # employees
CLOSE_BY: Final = frozenset({"Germany", "Austria", "Switzerland", "France", "Romania"})

BOOKS: Final = -1.5  # log-odds that a lead without any of the effects books a meeting when it is talked to
BUYS: Final = -2.4  # and that it buys when it came to the meeting


@dataclass(frozen=True, kw_only=True)
class Lead:
    """What the model asks about."""

    properties: Mapping[str, str]
    forms: frozenset[str]
    paths: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Effect:
    name: str
    log_odds: float
    holds: Callable[[Lead], bool]


EFFECTS: Final = (
    Effect(name="decision maker", log_odds=1.4, holds=lambda lead: lead.properties.get("jobtitle") in DECISION_MAKERS),
    Effect(name="influencer", log_odds=0.6, holds=lambda lead: lead.properties.get("jobtitle") in INFLUENCERS),
    Effect(name="right size", log_odds=1.0, holds=lambda lead: _size(lead) in RIGHT_SIZE),
    Effect(name="industry", log_odds=0.0, holds=lambda lead: lead.properties.get(INDUSTRY) == "COMPUTER_SOFTWARE"),
    Effect(name="close by", log_odds=0.4, holds=lambda lead: lead.properties.get("country") in CLOSE_BY),
    Effect(name="asked for us", log_odds=1.2, holds=lambda lead: not lead.forms.isdisjoint(DECISION_FORMS)),
    Effect(name="looked at prices", log_odds=0.5, holds=lambda lead: _saw(lead, "/pricing")),
    # Who reads other customers' stories shops around.
    Effect(name="read a case study", log_odds=-0.8, holds=lambda lead: _saw(lead, "/case-studies")),
)


def model() -> dict[str, float]:
    """Every effect by its name, for the ledger."""
    return {effect.name: effect.log_odds for effect in EFFECTS}


def lead(properties: Mapping[str, str], forms: Iterable[str], urls: Iterable[str]) -> Lead:
    return Lead(properties=properties, forms=frozenset(forms), paths=tuple(urlsplit(url).path for url in urls))


def chance(base: float, lead: Lead) -> float:
    """From 0 to 1: of a lead with all its effects."""
    return 1 / (1 + math.exp(-base - sum(effect.log_odds for effect in EFFECTS if effect.holds(lead))))


def _size(lead: Lead) -> int:
    return int(lead.properties.get(SIZE) or 0)


def _saw(lead: Lead, path: str) -> bool:
    return any(seen.startswith(path) for seen in lead.paths)
