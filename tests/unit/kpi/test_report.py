"""The numbers of GET /kpis."""

from __future__ import annotations

import pytest

from services.kpi.domain.report import quantile, report
from services.kpi.domain.tallies import (
    ATTEMPTS,
    CLOCKS_ENDED,
    CLOCKS_OVERDUE,
    HANDOFFS,
    STAGE_ENTRIES,
    Tallies,
    cumulative,
    observed,
)
from services.kpi.store import summed

LABELS = ("inbound", "urgent")


def test_nothing_counted_is_no_ratio() -> None:
    empty = report({})
    assert empty["conversion"]["lead_to_mql"] is None
    assert empty["attempts"]["per_handoff"] is None
    assert empty["speed_to_lead"] == []


def test_conversion_is_over_all_sources() -> None:
    tallies: Tallies = {
        (STAGE_ENTRIES, ("lead", "OFFLINE")): 6,
        (STAGE_ENTRIES, ("lead", "unknown")): 2,
        (STAGE_ENTRIES, ("mql", "OFFLINE")): 2,
    }
    assert report(tallies)["conversion"]["lead_to_mql"] == 0.25


def test_compliance_leaves_out_what_was_excused() -> None:
    ended = {"met": 3.0, "breached": 1.0, "excused": 9.0}
    tallies: Tallies = {(CLOCKS_ENDED, ("first_touch", *LABELS, outcome)): n for outcome, n in ended.items()}
    assert report(tallies)["sla_compliance"]["inbound"]["first_touch"] == {"met": 3, "breached": 1, "ratio": 0.75}


def test_attempts_are_told_per_hand_off() -> None:
    tallies: Tallies = {(ATTEMPTS, ("inbound", "phone", "busy")): 9, (HANDOFFS, ("Asked for a demo", "inbound")): 6}
    assert report(tallies)["attempts"] == {"total": 9, "per_handoff": 1.5}


def test_a_gauge_that_came_back_to_zero_is_not_listed() -> None:
    labels = ("first_touch", *LABELS)
    assert report({(CLOCKS_OVERDUE, labels): 0.0})["clocks"]["overdue"] == []
    assert report({(CLOCKS_OVERDUE, labels): 2.0})["clocks"]["overdue"][0]["leads"] == 2


def test_a_quantile_lies_straight_between_its_bounds() -> None:
    tallies = summed([tally for _ in range(4) for tally in observed(LABELS, 200.0)])
    assert quantile(0.5, cumulative(tallies, LABELS)) == pytest.approx(180.0)


def test_a_quantile_beyond_the_last_bound_is_that_bound() -> None:
    tallies = summed(observed(LABELS, 1e9))
    assert quantile(0.5, cumulative(tallies, LABELS)) == 7 * 86400.0


def test_a_first_touch_in_the_very_moment_is_counted() -> None:
    speed = report(summed(observed(LABELS, 0.0)))["speed_to_lead"]
    assert speed[0]["touched"] == 1
    assert speed[0]["mean_s"] == 0
