"""Fit grades and interest levels: how an agreement calls them, where each begins, and the grade that the two make."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Final, NamedTuple, TypeAlias

from pydantic import AfterValidator, PlainSerializer, WithJsonSchema

from shared.agreement.hours import KEY, Placed, placed
from shared.agreement.values import wrong

USUAL_FIT: Final = ("A", "B", "C", "D")
USUAL_LEVELS: Final = ("1", "2", "3", "4")
FEWEST, MOST = 2, 9  # of each: with more nobody knows any more what they mean
LONGEST_NAME: Final = 40

Limits: TypeAlias = tuple[tuple[str, float], ...]
"""Each name with the fewest points of it, the best first; the last takes whatever is left."""


class Cell(NamedTuple):
    """A fit grade with an interest level, and the grade that the two make."""

    fit: str
    level: str
    grade: str


def best_first(bounds: Mapping[str, float]) -> Limits:
    """By their points: the order in which they are written means nothing. Usual ones may begin at the same."""
    return tuple(sorted(bounds.items(), key=lambda item: (-item[1], item[0])))


def name_at(limits: Limits, points: float) -> str:
    """The best that these points are enough for."""
    return next(name for name, fewest in limits if points >= fewest)


def joined(fit: Sequence[str], levels: Sequence[str]) -> tuple[Cell, ...]:
    """Every fit grade with every level, called by both: A1, or gold hot where any of them is a word."""
    between = "" if all(len(name) == 1 for name in (*fit, *levels)) else " "
    return tuple(Cell(one, level, f"{one}{between}{level}") for one in fit for level in levels)


# --- as the file has them ---


def _bounds(value: dict[str, float], usual: Sequence[str]) -> dict[str, float]:
    if set(value) == set(usual):
        return _usual(value, usual)
    if not FEWEST <= len(value) <= MOST:
        raise wrong(f"must be {', '.join(usual)}, or from {FEWEST} to {MOST} of your own, as gold: 70, rest: -inf")
    if problems := [*_names(value), *_begins(value)]:
        raise placed(problems)
    return value


def _usual(value: dict[str, float], names: Sequence[str]) -> dict[str, float]:
    """Their names say which is better, so that points the other way round are a slip."""
    bounds = [value[name] for name in names]
    if any(math.isnan(bound) for bound in bounds) or bounds != sorted(bounds, reverse=True):
        raise wrong(f"must fall from {names[0]} to {names[-1]}")
    if bounds[-1] != -math.inf:
        raise wrong(f"must have {names[-1]}: -inf, for whatever is left")
    return value


def _names(value: Mapping[str, float]) -> Iterator[Placed]:
    for name in value:
        if said := not_a_name(name):
            yield (name, KEY), said


def not_a_name(name: str) -> str:
    """Why people could not call a grade so; "" when they can."""
    if not name.isprintable() or name != name.strip() or not 1 <= len(name) <= LONGEST_NAME:
        return f"must be a name of 1 to {LONGEST_NAME} letters, without space around it"
    return ""


def _begins(value: Mapping[str, float]) -> Iterator[Placed]:
    whose: dict[float, str] = {}
    for name, fewest in value.items():
        if math.isnan(fewest):
            yield (name,), "must be a number"
        elif (other := whose.setdefault(fewest, name)) != name:
            yield (name,), f"begins where {other} does; each needs points of its own"
    if -math.inf not in whose:
        yield (), f"must have a last one for whatever is left, as {list(value)[-1]}: -inf"


def _schema(usual: Sequence[str]) -> WithJsonSchema:
    limit: dict[str, Any] = {"anyOf": [{"type": "number"}, {"const": "-inf"}]}
    return WithJsonSchema(
        {
            "type": "object",
            "properties": {name: {**limit, "description": f"The fewest points of {name}."} for name in usual},
            "additionalProperties": limit,
            "not": {"additionalProperties": {"type": "number"}},  # one takes whatever is left
            "propertyNames": {"maxLength": LONGEST_NAME},
            "minProperties": FEWEST,
            "maxProperties": MOST,
        }
    )


def _in_order(bounds: dict[str, float]) -> dict[str, float]:
    return dict(best_first(bounds))


_IN_ORDER: Final = PlainSerializer(_in_order)


def _name(value: str) -> str:
    if said := not_a_name(value):
        raise wrong(said)
    return value


GradeName = Annotated[str, AfterValidator(_name)]
FitGrades = Annotated[
    dict[str, float], AfterValidator(lambda value: _bounds(value, USUAL_FIT)), _IN_ORDER, _schema(USUAL_FIT)
]
InterestLevels = Annotated[
    dict[str, float], AfterValidator(lambda value: _bounds(value, USUAL_LEVELS)), _IN_ORDER, _schema(USUAL_LEVELS)
]
