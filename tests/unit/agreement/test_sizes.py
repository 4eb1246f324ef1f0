"""Numbers of employees and revenues, as CRMs and people write them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.agreement.conditions import Condition, Subject


def held(test: object, value: str) -> bool | None:
    return Condition.parse({"size": test}).asked(Subject(properties={"size": value}))


AT_LEAST_50 = {"at_least": 50}
FROM_50_TO_1000 = {"between": [50, 1000]}


@pytest.mark.parametrize(
    "value",
    [
        "51-200", "51 - 200", "51–200", "51 to 200", "51 bis 200", "între 51 și 200", "de la 51 la 200",
        "51-200 employees",
        "200 Mitarbeiter", "200 de angajați", "501-1,000", "501-1.000", "501 - 1 000", "501 – 1'000", "1,000",
        "1.000,00", "1 000", "0.2k", "1K",
    ],
)  # fmt: skip
def test_a_size_is_read_as_it_is_written(value: str) -> None:
    assert held(FROM_50_TO_1000, value) is True


@pytest.mark.parametrize(
    "value",
    ["1-10", "1,001-5,000", "1.001-5.000", "10,000+", "10001 or more", "Less than 10", "< 10", "up to 10", "over 1000",
     "peste 1000 de angajați", "5001–10000", "2k+", "1 Mio."],
)  # fmt: skip
def test_a_range_of_which_nothing_fits_is_outside(value: str) -> None:
    assert held(FROM_50_TO_1000, value) is False


@pytest.mark.parametrize("value", ["11-200", "500+", "501-5,000", "Less than 100", "more than 10"])
def test_a_range_of_which_only_some_fits_is_not_known(value: str) -> None:
    assert held(FROM_50_TO_1000, value) is None


@pytest.mark.parametrize(
    ("value", "expected"), [("25-50", False), ("50-100", True), ("500-1000", True), ("1000+", False)]
)
def test_the_sizes_of_hubspot_share_their_ends_and_only_touch(value: str, expected: bool) -> None:
    assert held(FROM_50_TO_1000, value) is expected


@pytest.mark.parametrize(("bound", "expected"), [(50, None), (2000, False), (1, True)])
def test_a_lone_point_before_three_digits_is_known_only_where_both_meanings_agree(
    bound: int, expected: bool | None
) -> None:
    assert held({"at_least": bound}, "1.000") is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [("$1M - $10M", True), ("1-10M", True), ("€1,5 Mio.", True), ("500k-1M", False), ("2.5bn", True), ("900k", False)],
)
def test_revenues_are_read_with_their_scale(value: str, expected: bool) -> None:
    assert held({"at_least": 1_000_000}, value) is expected


@pytest.mark.parametrize(
    "value",
    ["many", "nan", "200-51", "2024-01-31", "+40 722 123 456", "5 - 10 - 20", "self-employed", "12 monkeys", "1.23.4",
     "51-200" + " " * 5000 + "x", "9" * 500 + "+"],
)  # fmt: skip
def test_what_is_no_size_is_not_known(value: str) -> None:
    assert held(AT_LEAST_50, value) is None


numbers = st.integers(0, 20_000)


@given(one=numbers, more=numbers, low=numbers, wide=numbers, at=st.floats(0, 1))
def test_a_range_is_said_to_fit_or_not_only_where_each_number_within_it_does(
    one: int, more: int, low: int, wide: int, at: float
) -> None:
    test = {"between": [low, low + wide]}
    inside = one + 1 + math.floor(more * at)  # the ends may only touch
    said = held(test, f"{one}-{one + more + 2}")
    assert said is None or said is held(test, str(inside))
