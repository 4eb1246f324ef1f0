"""Rule by rule: what became of the leads for which it held, beside those that were alike in all else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from services.commands.evaluating.figures import (
    CONFIDENCE,
    Case,
    Estimate,
    bands,
    odds_ratio,
    wilson,
    z_of,
)
from services.commands.evaluating.judging import ROLE, Judged, Rule

FEWEST: Final = 20  # leads on each side, below which nothing is said of a rule
BANDS: Final = 5  # groups of leads that are alike by what all other rules give
NOTICEABLE: Final = 1.5  # odds: a rule that surely changes them by less, up or down, says nothing


class Verdict(StrEnum):
    """What the history says of a rule's points."""

    EARNS = "earns its points"
    CONTRADICTS = "contradicts the history"
    SAYS_NOTHING = "says nothing"
    UNCLEAR = "not clear yet"
    TOO_FEW = "too few leads"
    NEVER = "never held"
    NO_POINTS = "only disqualifies"


@dataclass(frozen=True, kw_only=True)
class RuleFinding:
    """One rule. The odds are adjusted: leads are compared that the other rules gave about as much.

    `odds_ratio` None: one side is missing, or nobody (or everybody) of it converted.
    """

    rule: str
    part: str
    points: float
    held: int
    not_held: int
    converted_held: Estimate | None
    converted_not_held: Estimate | None
    odds_ratio: Estimate | None
    verdict: Verdict


def find(rules: Sequence[Rule], judged: Sequence[Judged]) -> list[RuleFinding]:
    """Every rule's finding. The intervals of the odds hold for all rules at once, so surely as CONFIDENCE."""
    z = z_of(CONFIDENCE, among=len(rules))
    roles = frozenset(rule.name for rule in rules if rule.part == ROLE)
    return [_finding(rule, _comparable(rule, roles, judged), z) for rule in rules]


def _comparable(rule: Rule, roles: frozenset[str], judged: Iterable[Judged]) -> list[Judged]:
    """A role is compared with those who have none: only the best one counts, so another is no "not held"."""
    if rule.part != ROLE:
        return list(judged)
    others = roles - {rule.name}
    return [one for one in judged if not others.intersection(one.held)]


def _finding(rule: Rule, judged: Sequence[Judged], z: float) -> RuleFinding:
    held = [one.converted for one in judged if rule.name in one.held]
    rest = [one.converted for one in judged if rule.name not in one.held]
    ratio = odds_ratio(_cases(rule, judged), z)
    return RuleFinding(
        rule=rule.name,
        part=rule.part,
        points=rule.points,
        held=len(held),
        not_held=len(rest),
        converted_held=wilson(sum(held), len(held)),
        converted_not_held=wilson(sum(rest), len(rest)),
        odds_ratio=ratio,
        verdict=_verdict(rule, len(held), len(rest), ratio),
    )


def _cases(rule: Rule, judged: Sequence[Judged]) -> list[Case]:
    others = [one.points - rule.points * one.held.get(rule.name, 0.0) for one in judged]
    strata = bands([round(points, 1) for points in others], BANDS)
    return [
        Case(held=rule.name in one.held, converted=one.converted, stratum=stratum)
        for one, stratum in zip(judged, strata, strict=True)
    ]


def _verdict(rule: Rule, held: int, rest: int, ratio: Estimate | None) -> Verdict:
    if not rule.points:
        return Verdict.NO_POINTS
    if not held:
        return Verdict.NEVER
    if held < FEWEST or rest < FEWEST or ratio is None:
        return Verdict.TOO_FEW
    if ratio.low > 1:
        return Verdict.EARNS if rule.points > 0 else Verdict.CONTRADICTS
    if ratio.high < 1:
        return Verdict.EARNS if rule.points < 0 else Verdict.CONTRADICTS
    settled = ratio.low > 1 / NOTICEABLE and ratio.high < NOTICEABLE
    return Verdict.SAYS_NOTHING if settled else Verdict.UNCLEAR
