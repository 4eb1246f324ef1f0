"""Fields that are only known after the fact: a rule about one would reward what Sales has already done."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from services.commands.evaluating.figures import Estimate, auc_estimate, wilson
from services.commands.evaluating.history import PastLead
from services.commands.evaluating.judging import Rule

NEAR_PERFECT: Final = 0.9  # an AUC that no honest field has by itself
NEAR_CERTAIN: Final = 0.8  # a conversion, where a field is known, that none has either
MOSTLY: Final = 0.5
MORE: Final = 0.1  # by how much more often of the converted than of the others
FEWEST: Final = 20  # leads that converted, that did not, and of which the field is known
NUMERIC: Final = 0.9  # share of numbers from which on a field is read as one


class Leak(StrEnum):
    """Why a field is suspected."""

    BECAME_KNOWN = "became known only after the hand-off"
    CHANGED = "changed after the hand-off"
    KNOWN = "tells who converted by being known at all"
    VALUE = "tells who converted by its value, all but perfectly"


@dataclass(frozen=True, kw_only=True)
class LeakFinding:
    """One field. For changes, the shares of the leads that (did not) convert; else the AUC of the field alone."""

    field: str
    leak: Leak
    converted: Estimate | None = None
    not_converted: Estimate | None = None
    auc: Estimate | None = None
    rules: tuple[str, ...] = ()  # that ask about it


def find(leads: Sequence[PastLead], rules: Sequence[Rule], *, late_values: bool) -> list[LeakFinding]:
    """Every suspected field, in the order of the alphabet; nothing where too few converted (or did not)."""
    hits = [lead for lead in leads if lead.converted]
    misses = [lead for lead in leads if not lead.converted]
    if min(len(hits), len(misses)) < FEWEST:
        return []
    names = sorted({name for lead in leads for name in (*lead.known.properties, *lead.changed)})
    found: list[LeakFinding] = []
    for name in names:
        asking = tuple(rule.name for rule in rules if name in rule.asks)
        suspicions = [*(_late(name, hits, misses, asking) if late_values else ()), *_telling(name, leads, asking)]
        found += suspicions[:1]
    return found


def _late(
    name: str, hits: Sequence[PastLead], misses: Sequence[PastLead], asking: tuple[str, ...]
) -> Iterator[LeakFinding]:
    """By when the field was set: the CRM tells the time of each value."""
    for leak in (Leak.BECAME_KNOWN, Leak.CHANGED):
        of_hits, of_misses = (
            wilson(sum(name in _later(lead, leak) for lead in some), len(some)) for some in (hits, misses)
        )
        if of_hits and of_misses and of_hits.value >= MOSTLY and of_hits.value - of_misses.value >= MORE:
            yield LeakFinding(field=name, leak=leak, converted=of_hits, not_converted=of_misses, rules=asking)


def _later(lead: PastLead, leak: Leak) -> frozenset[str]:
    return lead.became_known if leak is Leak.BECAME_KNOWN else lead.changed


def _telling(name: str, leads: Sequence[PastLead], asking: tuple[str, ...]) -> Iterator[LeakFinding]:
    """By what the field alone would have predicted."""
    values = [value.value if (value := lead.known.properties.get(name)) else "" for lead in leads]
    converted = [lead.converted for lead in leads]
    alone = auc_estimate([float(bool(value)) for value in values], converted)
    where_known = [hit for hit, value in zip(converted, values, strict=True) if value]
    certain = wilson(sum(where_known), len(where_known))
    sure = len(where_known) >= FEWEST and certain is not None and certain.low >= NEAR_CERTAIN
    if len(where_known) >= FEWEST and (_is_perfect(alone) or (sure and sum(converted) / len(leads) < MOSTLY)):
        yield LeakFinding(field=name, leak=Leak.KNOWN, auc=alone, converted=certain, rules=asking)
    elif _is_perfect(by_value := auc_by_value(values, converted)):
        yield LeakFinding(field=name, leak=Leak.VALUE, auc=by_value, rules=asking)


def _is_perfect(alone: Estimate | None) -> bool:
    return alone is not None and max(alone.value, 1 - alone.value) >= NEAR_PERFECT


def auc_by_value(values: Sequence[str], converted: Sequence[bool]) -> Estimate | None:
    """How well a field alone tells, as a number or else by what became of other leads with the same value.

    Every second lead is judged by the others: a value that only one lead has tells nothing.
    """
    known = [(value, hit) for value, hit in zip(values, converted, strict=True) if value]
    numbers = [(number, hit) for value, hit in known if (number := _number(value)) is not None]
    if known and len(numbers) >= NUMERIC * len(known):
        return auc_estimate([number for number, _ in numbers], [hit for _, hit in numbers])
    scores = [0.0] * len(values)
    for half in (0, 1):
        learned = range(1 - half, len(values), 2)
        counts = Counter(values[n] for n in learned)
        hits = Counter(values[n] for n in learned if converted[n])
        whole = (sum(hits.values()) + 1) / (len(learned) + 2)
        for n in range(half, len(values), 2):
            scores[n] = (hits[values[n]] + whole) / (counts[values[n]] + 1)
    return auc_estimate(scores, converted)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
