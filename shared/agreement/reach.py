"""Who can get which grade with the points on offer, and which stage of the journey."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from shared.agreement.grades import Limits
from shared.agreement.qualification import FAMILIES, JOURNEY, Family, Fit, Interest, Qualification
from shared.agreement.solver import TRUE, World, possible
from shared.agreement.tree import Path

MOST_SUMS: Final = 20_000  # of points; with more only their ends are known, and what is between is taken for possible


@dataclass(frozen=True, slots=True)
class Points:
    """The sums that can come up: `all` of them, or None where only `least` and `most` are known."""

    least: float
    most: float
    all: frozenset[float] | None

    def reach(self, low: float, high: float) -> bool:
        """Whether there is a sum from `low` on and below `high`."""
        if self.all is not None:
            return any(low <= one < high for one in self.all)
        return low < high and low <= self.most and self.least < high


def world_of(qualification: Qualification) -> World:
    """The grades and stages that somebody can get."""
    fit = _reached(qualification.fit.limits, fit_points(qualification.fit))
    levels = _reached(qualification.interest.limits, _interest_points(qualification.interest))
    return World(
        grades=frozenset(cell for cell in qualification.cells if cell.fit in fit and cell.level in levels),
        journey=frozenset(stages(qualification.interest)),
    )


def any_points(qualification: Qualification) -> World:
    """The grades and stages that there would be whatever points were on offer."""
    return World(grades=frozenset(qualification.cells))


def fit_points(fit: Fit) -> Points:
    """The best persona's points, or none, and those of any of the rules."""
    roles = [one.points for one in fit.role.values() if possible([(one.when.node, TRUE)])]
    rules = [rule.points for rule in fit.rules if possible([(rule.when.node, TRUE)])]
    least = min(0.0, *roles, 0.0) + sum(one for one in rules if one < 0)
    most = max(0.0, *roles, 0.0) + sum(one for one in rules if one > 0)
    sums = {0.0, *roles}
    for points in rules:
        sums |= {one + points for one in sums}
        if len(sums) > MOST_SUMS:
            return Points(least, most, None)
    return Points(least, most, frozenset(round(one, 1) for one in sums))


def family_points(interest: Interest) -> dict[str, float]:
    """The most that each family can be worth: its cap, for what is done often enough and may count more than once."""
    return {name: min(family.cap, _most(family)) for name, family in interest.families.items()}


def _most(family: Family) -> float:
    often = any(signal.once != "per_lead" for signal in family.signals)
    return math.inf if often else sum(signal.points for signal in family.signals)


def _interest_points(interest: Interest) -> Points:
    """Fading, interest comes by everything from nothing to the most."""
    return Points(0.0, sum(family_points(interest).values()), None)


def stages(interest: Interest) -> Iterator[str]:
    """The stages that somebody can be in."""
    if not any(not needed for needed in interest.journey.values()):
        yield JOURNEY[-1]  # whoever is in no other
    yield from (stage for stage in JOURNEY if stage in interest.journey and not unreached(interest, stage))


def unreached(interest: Interest, stage: str) -> str:
    """Why nobody is ever in this stage; "" when somebody can be."""
    most, needed = family_points(interest), _needed(interest, stage)
    for family in FAMILIES:
        if needed.get(family, 0.0) > most[family]:
            return f"needs {needed[family]:g} of {family}, which is {most[family]:g} at most"
    for nearer in JOURNEY[: JOURNEY.index(stage)]:
        if nearer in interest.journey and _covers(_needed(interest, nearer), needed):
            return f"is never reached: whoever has as much is in the stage {nearer} already"
    return ""


def _needed(interest: Interest, stage: str) -> Mapping[str, float]:
    return {str(name): needed for name, needed in interest.journey.items()}[stage]


def _covers(nearer: Mapping[str, float], further: Mapping[str, float]) -> bool:
    return all(points <= max(0.0, further.get(family, 0.0)) for family, points in nearer.items())


def _reached(limits: Limits, points: Points) -> list[str]:
    highs = (math.inf, *(low for _, low in limits))
    return [name for (name, low), high in zip(limits, highs, strict=False) if points.reach(low, high)]


def out_of_reach(qualification: Qualification) -> Iterator[tuple[Path, str]]:
    """Grades, levels and stages that nobody can get, with what there is to get."""
    fit, interest = qualification.fit, qualification.interest
    for at, limits, points in (
        (("qualification", "fit", "grades"), fit.limits, fit_points(fit)),
        (("qualification", "interest", "levels"), interest.limits, _interest_points(interest)),
    ):
        for name in sorted({name for name, _ in limits}.difference(_reached(limits, points))):
            yield (*at, name), f"nobody gets {name}: the points on offer go from {points.least:g} to {points.most:g}"
    there, got = (_grades(any_points(qualification)), _grades(world_of(qualification)))
    for n, name in enumerate(qualification.grades):
        if name not in got:
            why = "the points on offer are not enough" if name in there else "it stands nowhere in the matrix"
            yield ("qualification", "grades", n), f"nobody gets {name}: {why}"
    for stage in interest.journey:
        if said := unreached(interest, str(stage)):
            yield ("qualification", "interest", "journey", str(stage)), said


def _grades(world: World) -> set[str]:
    return {cell.grade for cell in world.grades or ()}
