"""The statistics of an evaluation hold what their definitions promise."""

from __future__ import annotations

import math
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.commands.evaluating.figures import (
    Case,
    auc,
    auc_difference,
    auc_estimate,
    bands,
    lifts,
    odds_ratio,
    wilson,
    z_of,
)

SCORES = st.integers(-20, 20).map(float)
LEADS = st.lists(st.tuples(SCORES, st.booleans()), min_size=2, max_size=40).filter(
    lambda leads: len({hit for _, hit in leads}) == 2
)


def apart(leads: list[tuple[float, bool]]) -> tuple[list[float], list[bool]]:
    return [score for score, _ in leads], [hit for _, hit in leads]


@given(LEADS)
def test_the_auc_is_the_chance_of_the_right_order_and_equal_scores_are_half_right(
    leads: list[tuple[float, bool]],
) -> None:
    hits, misses = ([score for score, hit in leads if hit is kind] for kind in (True, False))
    pairs = [1.0 if a > b else 0.5 if a == b else 0.0 for a, b in product(hits, misses)]
    assert auc(*apart(leads)) == pytest.approx(sum(pairs) / len(pairs))


@given(LEADS)
def test_what_keeps_the_order_keeps_the_auc(leads: list[tuple[float, bool]]) -> None:
    scores, converted = apart(leads)
    assert auc([math.exp(score / 10) - 7 for score in scores], converted) == auc(scores, converted)


@given(LEADS)
def test_a_score_turned_upside_down_is_as_wrong_as_it_was_right(leads: list[tuple[float, bool]]) -> None:
    scores, converted = apart(leads)
    right, wrong = auc(scores, converted), auc([-score for score in scores], converted)
    assert right is not None
    assert wrong == pytest.approx(1 - right)


@given(LEADS)
def test_the_interval_of_an_auc_has_it_inside(leads: list[tuple[float, bool]]) -> None:
    found = auc_estimate(*apart(leads))
    assert found is not None
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_there_is_no_auc_where_all_converted_or_none() -> None:
    assert auc([1.0, 2.0], [True, True]) is None
    assert auc_estimate([], []) is None
    assert auc_difference([1.0], [2.0], [False]) is None


@given(LEADS)
def test_a_score_is_no_better_than_itself(leads: list[tuple[float, bool]]) -> None:
    scores, converted = apart(leads)
    found = auc_difference(scores, [2 * score + 1 for score in scores], converted)
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx((0, 0, 0))


def test_delongs_interval_is_that_of_the_paper() -> None:
    """By hand: 3 that converted, 3 that did not. Placements 1, 1, 2/3 and 1, 1, 2/3: variances 1/27, over 3 each."""
    found = auc_estimate([5, 4, 2, 3, 1, 0], [True, True, True, False, False, False])
    assert found is not None
    assert found.value == pytest.approx(8 / 9)
    assert found.low == pytest.approx(8 / 9 - 1.959964 * math.sqrt(2 / 81))


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)).map(lambda pair: (min(pair), max(pair))), min_size=1))
def test_the_mean_lift_is_one(groups: list[tuple[int, int]]) -> None:
    found = lifts(groups)
    sizes = [size for _, size in groups]
    if sum(hits for hits, _ in groups):
        mean = sum(size * (lift or 0) for size, lift in zip(sizes, found, strict=True)) / sum(sizes)
        assert mean == pytest.approx(1)
    else:
        assert set(found) == {None}


@given(st.integers(0, 500), st.integers(1, 500))
def test_wilsons_interval_has_the_share_inside_and_more_leads_make_it_narrower(hits: int, of: int) -> None:
    hits = min(hits, of)
    few, many = wilson(hits, of), wilson(hits * 4, of * 4)
    assert few is not None
    assert many is not None
    assert 0 <= few.low <= few.value == hits / of <= few.high <= 1
    assert many.high - many.low < few.high - few.low


def test_wilsons_interval_of_none_of_ten_is_that_of_the_textbook() -> None:
    found = wilson(0, 10)
    assert found is not None
    assert (found.low, round(found.high, 4)) == (0.0, 0.2775)
    assert wilson(0, 0) is None


def cases(stratum: str, held: tuple[int, int], rest: tuple[int, int]) -> list[Case]:
    """(converted, not) where it held and where not."""
    counts = zip((held[0], held[1], rest[0], rest[1]), product((True, False), repeat=2), strict=True)
    return [Case(held=h, converted=c, stratum=stratum) for count, (h, c) in counts for _ in range(count)]


def test_the_odds_of_one_stratum_are_those_of_its_table() -> None:
    found = odds_ratio(cases("all", (30, 10), (20, 40)), z_of(0.95))
    assert found is not None
    assert found.value == pytest.approx(30 * 40 / (10 * 20))
    wolf = 1.959964 * math.sqrt(1 / 30 + 1 / 10 + 1 / 20 + 1 / 40)
    assert found.high == pytest.approx(6 * math.exp(wolf), rel=1e-6)


def test_what_only_looks_like_an_effect_is_gone_within_the_strata() -> None:
    """In each stratum the same share converts with and without; together it looks as if it mattered (Simpson)."""
    both = [*cases("good", (80, 20), (8, 2)), *cases("bad", (1, 9), (10, 90))]
    together = odds_ratio([Case(held=one.held, converted=one.converted, stratum="all") for one in both], 1.96)
    found = odds_ratio(both, 1.96)
    assert together is not None
    assert found is not None
    assert together.low > 5
    assert found.value == pytest.approx(1)


def test_where_a_side_is_missing_there_are_no_odds() -> None:
    assert odds_ratio(cases("all", (5, 5), (0, 0)), 1.96) is None
    assert odds_ratio([], 1.96) is None


@given(st.lists(SCORES, min_size=1), st.integers(1, 5))
def test_bands_keep_the_order_and_equal_values_together(values: list[float], most: int) -> None:
    found = bands(values, most)
    assert all(0 <= band < most for band in found)
    for (a, of_a), (b, of_b) in product(zip(values, found, strict=True), repeat=2):
        assert not (a < b and of_a > of_b)
        assert not (a == b and of_a != of_b)


def test_intervals_that_shall_all_hold_are_wider() -> None:
    assert z_of(0.95) == pytest.approx(1.96, abs=0.001)
    assert z_of(0.95, among=12) > 2.8
