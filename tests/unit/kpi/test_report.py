"""The numbers of GET /kpis."""

from __future__ import annotations

from typing import get_args

import pytest

from services.kpi.domain.report import quantile, report
from services.kpi.domain.tallies import (
    ATTEMPTS,
    ATTEMPTS_CORRECTED,
    CLOCKS_CORRECTED,
    CLOCKS_ENDED,
    CLOCKS_OVERDUE,
    CLOCKS_PAUSED,
    FIRST_TOUCH,
    FIRST_TOUCH_WORKING,
    HANDOFF_DELAY,
    HANDOFFS,
    RESPONSE,
    RESPONSE_WORKING,
    STAGE_ENTRIES,
    Tallies,
    cumulative,
    observed,
)
from services.kpi.store import summed
from shared.agreement.kpis import Kpis

LABELS = ("inbound", "urgent")


def test_nothing_counted_is_no_ratio() -> None:
    empty = report({})
    assert empty["conversion"]["lead_to_mql"] is None
    assert empty["attempts"]["per_handoff"] is None
    assert empty["attempts"]["connect_rate"] is None
    assert empty["sla_compliance"]["accept"]["ratio"] is None
    assert empty["speed_to_lead"]["working"] == {"leads": 0, "mean_s": None, "p50_s": None, "p90_s": None}


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
    assert report(tallies)["sla_compliance"]["first_touch"]["ratio"] == 0.75


def test_a_breach_taken_back_is_met_and_all_that_ended_are_met_breached_or_excused() -> None:
    ended = {"met": 3.0, "breached": 2.0, "excused": 9.0}
    tallies: Tallies = {(CLOCKS_ENDED, ("first_touch", *LABELS, outcome)): n for outcome, n in ended.items()}
    tallies[CLOCKS_CORRECTED, ("first_touch", *LABELS)] = 1.0
    told = report(tallies)["sla_compliance"]["first_touch"]["by_team"]["inbound"]
    assert told == {"met": 4, "breached": 1, "excused": 9, "corrected": 1, "ratio": 0.8}


def test_compliance_is_told_by_what_was_promised_of_all_and_of_each_team() -> None:
    tallies: Tallies = {
        (CLOCKS_ENDED, ("accept", "inbound", "urgent", "met")): 1,
        (CLOCKS_ENDED, ("accept", "dach", "urgent", "breached")): 3,
        (CLOCKS_ENDED, ("next_attempt", "inbound", "urgent", "breached")): 1,
        (CLOCKS_ENDED, ("reply_wait", "inbound", "urgent", "met")): 9,
    }
    told = report(tallies)["sla_compliance"]
    assert told["accept"]["ratio"] == 0.25
    assert {team: of["ratio"] for team, of in told["accept"]["by_team"].items()} == {"inbound": 1.0, "dach": 0.0}
    assert told["cadence"]["ratio"] == 0.0


def test_compliance_speaks_of_everything_that_the_agreement_can_have_a_target_for() -> None:
    targets = Kpis.model_fields["sla_compliance"].annotation
    assert set(get_args(get_args(targets)[0])) == report({})["sla_compliance"].keys()


def test_attempts_are_told_per_hand_off() -> None:
    tallies: Tallies = {(ATTEMPTS, ("inbound", "phone", "busy")): 9, (HANDOFFS, ("Asked for a demo", "inbound")): 6}
    assert report(tallies)["attempts"]["per_handoff"] == 1.5


def test_an_attempt_reached_the_lead_by_the_outcome_that_is_known_now() -> None:
    tallies: Tallies = {
        (ATTEMPTS, ("inbound", "phone", "unknown")): 6,
        (ATTEMPTS, ("inbound", "meeting", "booked")): 2,
        (ATTEMPTS_CORRECTED, ("inbound", "phone", "unknown", "connected")): 3,
        (ATTEMPTS_CORRECTED, ("inbound", "phone", "unknown", "busy")): 1,
        (ATTEMPTS_CORRECTED, ("inbound", "meeting", "booked", "no_show")): 1,
    }
    told = report(tallies)["attempts"]
    assert told == {"total": 8, "per_handoff": None, "connected": 4, "connect_rate": 0.5}


def test_a_gauge_that_came_back_to_zero_is_not_listed() -> None:
    labels = ("first_touch", *LABELS)
    assert report({(CLOCKS_OVERDUE, labels): 0.0})["clocks"]["overdue"] == []
    assert report({(CLOCKS_OVERDUE, labels): 2.0})["clocks"]["overdue"][0]["leads"] == 2


def test_what_stands_still_is_told_beside_what_is_open() -> None:
    assert report({(CLOCKS_PAUSED, ("decision", *LABELS)): 2.0})["clocks"]["paused"][0]["clock"] == "decision"


def test_a_quantile_lies_straight_between_its_bounds() -> None:
    tallies = summed([tally for _ in range(4) for tally in observed(FIRST_TOUCH, LABELS, 200.0)])
    assert quantile(0.5, cumulative(tallies, FIRST_TOUCH, LABELS)) == pytest.approx(180.0)


def test_a_quantile_beyond_the_last_bound_is_that_bound() -> None:
    tallies = summed(observed(FIRST_TOUCH, LABELS, 1e9))
    assert quantile(0.5, cumulative(tallies, FIRST_TOUCH, LABELS)) == 7 * 86400.0


def test_a_first_touch_in_the_very_moment_is_counted() -> None:
    speed = report(summed(observed(FIRST_TOUCH, LABELS, 0.0)))["speed_to_lead"]["by_team_and_priority"]
    assert speed[0]["elapsed"]["leads"] == 1
    assert speed[0]["elapsed"]["mean_s"] == 0


def test_the_target_s_one_number_is_of_all_leads_and_each_team_has_its_own_in_working_time() -> None:
    touches = [*observed(FIRST_TOUCH_WORKING, ("dach", "normal"), 60.0)] * 3
    tallies = summed([*touches, *observed(FIRST_TOUCH_WORKING, LABELS, 3600.0)])
    speed = report(tallies)["speed_to_lead"]
    assert speed["working"]["leads"] == 4
    assert speed["working"]["p50_s"] == pytest.approx(40.0)
    by_team = {one["team"]: one["working"]["mean_s"] for one in speed["by_team_and_priority"]}
    assert by_team == {"dach": 60.0, "inbound": 3600.0}


def test_the_system_s_delay_and_the_people_s_are_told_apart() -> None:
    delays = {HANDOFF_DELAY: 2.0, RESPONSE: 900.0, RESPONSE_WORKING: 300.0}
    told = report(summed([tally for name, took_s in delays.items() for tally in observed(name, LABELS, took_s)]))
    assert told["handoff_delay"]["elapsed"]["mean_s"] == 2.0
    assert told["response"]["elapsed"]["mean_s"] == 900.0
    assert told["response"]["working"]["mean_s"] == 300.0
