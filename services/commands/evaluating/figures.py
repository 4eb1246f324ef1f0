"""The statistics, as pure functions: ranks, shares with intervals, odds. Nothing here knows a lead."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

CONFIDENCE: Final = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A figure, and between which two the true one lies, so surely as was asked for."""

    value: float
    low: float
    high: float


def z_of(confidence: float, among: int = 1) -> float:
    """How many standard errors to each side. `among` several that shall all hold at once (Bonferroni)."""
    return NormalDist().inv_cdf(1 - (1 - confidence) / 2 / max(1, among))


# --- shares ---


def wilson(hits: int, of: int, z: float | None = None) -> Estimate | None:
    """A share with Wilson's interval, which holds for few and for extreme ones too; None: of nothing."""
    if of == 0:
        return None
    z = z_of(CONFIDENCE) if z is None else z
    share, spread = hits / of, z * z / of
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(share * (1 - share) / of + spread / (4 * of))
    return Estimate(value=share, low=max(0.0, min(share, middle - half)), high=min(1.0, max(share, middle + half)))


def lifts(groups: Iterable[tuple[int, int]]) -> list[float | None]:
    """How many times the whole's share each group (hits, of) has. Their mean, weighted by size, is 1."""
    known = list(groups)
    hits, of = sum(hit for hit, _ in known), sum(size for _, size in known)
    return [hit / size * of / hits if size and hits else None for hit, size in known]


# --- ranks ---


def auc(scores: Sequence[float], converted: Sequence[bool]) -> float | None:
    """The chance that of two leads, one that converted and one that did not, the first has the higher score.

    Equal scores are half right. None: one of the two kinds is missing.
    """
    hits = sum(converted)
    misses = len(converted) - hits
    if not hits or not misses:
        return None
    ranks = _mid_ranks(scores)
    above = sum(rank for rank, hit in zip(ranks, converted, strict=True) if hit) - hits * (hits + 1) / 2
    return above / (hits * misses)


def _mid_ranks(scores: Sequence[float]) -> list[float]:
    """From 1; equal scores share the mean of their ranks."""
    counts, ranks, before = Counter(scores), dict[float, float](), 0
    for score in sorted(counts):
        ranks[score] = before + (counts[score] + 1) / 2
        before += counts[score]
    return [ranks[score] for score in scores]


def auc_estimate(scores: Sequence[float], converted: Sequence[bool]) -> Estimate | None:
    """The AUC with the interval of DeLong, DeLong and Clarke-Pearson (1988). None as of `auc`."""
    value = auc(scores, converted)
    if value is None:
        return None
    return _interval(value, _variance([_placements(scores, converted)]), low=0.0, high=1.0)


def auc_difference(one: Sequence[float], other: Sequence[float], converted: Sequence[bool]) -> Estimate | None:
    """By how much the AUC of `one` is above that of `other`, on the same leads, with DeLong's interval."""
    first, second = auc(one, converted), auc(other, converted)
    if first is None or second is None:
        return None
    variance = _variance([_placements(one, converted), _placements(other, converted)])
    return _interval(first - second, variance, low=-1.0, high=1.0)


_Placements = tuple[list[float], list[float]]


def _placements(scores: Sequence[float], converted: Sequence[bool]) -> _Placements:
    """Of each lead, the share of the other kind over which it is right; the converted ones first."""
    hits = [score for score, hit in zip(scores, converted, strict=True) if hit]
    misses = [score for score, hit in zip(scores, converted, strict=True) if not hit]
    whole = _mid_ranks([*hits, *misses])
    among_hits, among_misses = _mid_ranks(hits), _mid_ranks(misses)
    below = [(rank - own) / len(misses) for rank, own in zip(whole, among_hits, strict=False)]
    above = [1 - (rank - own) / len(hits) for rank, own in zip(whole[len(hits) :], among_misses, strict=True)]
    return below, above


def _variance(placed: list[_Placements]) -> float:
    """Of an AUC, or of the difference of two."""
    total = 0.0
    for kind in (0, 1):
        first, *others = (placements[kind] for placements in placed)
        values = [a - b for a, b in zip(first, others[0], strict=True)] if others else first
        mean = sum(values) / len(values)
        if len(values) > 1:
            total += sum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values)
    return total


def _interval(value: float, variance: float, *, low: float, high: float) -> Estimate:
    half = z_of(CONFIDENCE) * math.sqrt(variance)
    return Estimate(value=value, low=max(low, value - half), high=min(high, value + half))


# --- odds ---


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A lead, as one rule sees it; only leads of equal `stratum` are compared with each other."""

    held: bool
    converted: bool
    stratum: Hashable


def odds_ratio(cases: Iterable[Case], z: float) -> Estimate | None:
    """How many times higher the odds to convert are where it held: Mantel and Haenszel (1959).

    The interval is that of Robins, Breslow and Greenland (1986). None: nothing can be compared.
    """
    tables: defaultdict[Hashable, Counter[tuple[bool, bool]]] = defaultdict(Counter)
    for case in cases:
        tables[case.stratum][case.held, case.converted] += 1
    sums = _Sums()
    for table in tables.values():
        sums.add(table)
    return sums.estimate(z)


class _Sums:
    """What the tables of all strata add up to."""

    def __init__(self) -> None:
        self._for = self._against = self._for_for = self._mixed = self._against_against = 0.0

    def add(self, table: Counter[tuple[bool, bool]]) -> None:
        size = sum(table.values())
        a, b = table[True, True], table[True, False]
        c, d = table[False, True], table[False, False]
        along, across = (a + d) / size, (b + c) / size
        favour, oppose = a * d / size, b * c / size
        self._for += favour
        self._against += oppose
        self._for_for += along * favour
        self._mixed += along * oppose + across * favour
        self._against_against += across * oppose

    def estimate(self, z: float) -> Estimate | None:
        if not self._for or not self._against:
            return None
        ratio = self._for / self._against
        variance = (
            self._for_for / (2 * self._for**2)
            + self._mixed / (2 * self._for * self._against)
            + self._against_against / (2 * self._against**2)
        )
        half = z * math.sqrt(variance)
        return Estimate(value=ratio, low=ratio * math.exp(-half), high=ratio * math.exp(half))


def bands(values: Sequence[float], most: int) -> list[int]:
    """The number of each value's band: at most so many bands, of about as many each, equal values together."""
    counts, found, before = Counter(values), dict[float, int](), 0
    for value in sorted(counts):
        found[value] = min(most - 1, int((before + counts[value] / 2) * most / len(values)))
        before += counts[value]
    return [found[value] for value in values]
