"""The tallies as Prometheus reads them."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from services.kpi.domain.tallies import (
    ATTEMPTS_CORRECTED,
    BUCKETS,
    CLOCKS_CORRECTED,
    CLOCKS_ENDED,
    COMMITMENTS_CORRECTED,
    COMMITMENTS_ENDED,
    ESCALATIONS,
    FIRST_TOUCH,
    GOAL_PACE,
    HANDOFF_DELAY,
    HANDOFFS,
    LABELS,
    REASSIGNMENTS,
    Tallies,
    bucket,
    observed,
)
from services.kpi.domain.terms import Terms
from services.kpi.metrics import COUNTERS, GAUGES, HISTOGRAMS, KpiMetrics
from services.kpi.store import summed
from shared.agreement import load
from shared.agreement.model import Agreement

AGREEMENT = Path(__file__).parents[3] / "deploy" / "agreement.yaml"
SERIES_OF_A_TEAM = 1000  # more than that, and ten teams are a burden to Prometheus
TERMS = Terms(teams=("inbound",), triggers=("Asked for a demo",), priorities=("urgent",), reasons=("other",))


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> KpiMetrics:
    return KpiMetrics(registry, lambda: [TERMS])


def shown(registry: CollectorRegistry, name: str) -> dict[tuple[str, ...], float]:
    families = text_string_to_metric_families(generate_latest(registry).decode())
    samples = (sample for family in families for sample in family.samples if sample.name == name)
    return {tuple(sample.labels.values()): sample.value for sample in samples}


def test_before_the_tallies_were_read_nothing_is_shown(registry: CollectorRegistry, metrics: KpiMetrics) -> None:
    assert generate_latest(registry) == b""


def test_every_label_that_can_be_foreseen_starts_at_zero(registry: CollectorRegistry, metrics: KpiMetrics) -> None:
    metrics.show({}, {}, read_at=1.0)
    assert {frozenset(labels) for labels in shown(registry, HANDOFFS)} == {frozenset({"inbound", "Asked for a demo"})}
    assert set(shown(registry, HANDOFFS).values()) == {0.0}
    assert len(shown(registry, "leadpact_contact_attempts_total")) == 8 * 15


def test_what_a_former_agreement_counted_is_still_shown(registry: CollectorRegistry, metrics: KpiMetrics) -> None:
    before: Tallies = {(HANDOFFS, ("Old trigger", "inbound")): 4.0}
    metrics.show(before, {}, read_at=1.0)
    assert sorted(shown(registry, HANDOFFS).values()) == [0.0, 4.0]


def test_the_histogram_is_cumulative_and_writes_its_bounds_as_the_client_does(
    registry: CollectorRegistry, metrics: KpiMetrics
) -> None:
    touches = [tally for took_s in (10.0, 200.0) for tally in observed(FIRST_TOUCH, ("inbound", "urgent"), took_s)]
    metrics.show(summed(touches), {}, read_at=1.0)
    text = generate_latest(registry).decode()
    assert 'leadpact_first_touch_seconds_bucket{le="60.0",priority="urgent",team="inbound"} 1.0' in text
    assert 'leadpact_first_touch_seconds_bucket{le="300.0",priority="urgent",team="inbound"} 2.0' in text
    assert 'leadpact_first_touch_seconds_bucket{le="+Inf",priority="urgent",team="inbound"} 2.0' in text
    assert 'leadpact_first_touch_seconds_sum{priority="urgent",team="inbound"} 210.0' in text


def test_each_histogram_counts_what_was_observed_in_it_and_nothing_of_the_others(
    registry: CollectorRegistry, metrics: KpiMetrics
) -> None:
    metrics.show(summed(observed(HANDOFF_DELAY, ("inbound", "urgent"), 0.3)), {}, read_at=1.0)
    counts = {name: sum(shown(registry, f"{name}_count").values()) for name in BUCKETS}
    assert counts == {name: float(name == HANDOFF_DELAY) for name in BUCKETS}
    assert sum(shown(registry, bucket(HANDOFF_DELAY)).values()) == len([b for b in BUCKETS[HANDOFF_DELAY] if b > 0.3])


def test_everything_that_is_tallied_has_a_meaning() -> None:
    assert COUNTERS.keys() | GAUGES.keys() | HISTOGRAMS.keys() == LABELS.keys()
    assert HISTOGRAMS.keys() == BUCKETS.keys()


def test_every_breach_that_can_be_counted_can_be_seen_to_be_taken_back() -> None:
    """From 0: a counter that is first seen at 1 has no increase, and compliance would keep the breach."""
    owed = {labels[:-1] for labels in TERMS.combinations(CLOCKS_ENDED) if labels[0] != "reply_wait"}
    assert set(TERMS.combinations(CLOCKS_CORRECTED)) == owed


def test_the_news_that_come_late_of_a_call_a_meeting_and_an_email_are_foreseen() -> None:
    foreseen = TERMS.combinations(ATTEMPTS_CORRECTED)
    assert {labels[0] for labels in foreseen} == {"inbound"}
    changes = {("phone", "unknown", "connected"), ("meeting", "booked", "no_show"), ("email", "sent", "bounced")}
    assert changes <= {labels[1:] for labels in foreseen}


def test_each_step_of_the_agreement_s_escalation_is_foreseen_and_each_reason_to_change_hands() -> None:
    terms = Terms(teams=("inbound",), escalations=2)
    assert {step for _, _, step in terms.combinations(ESCALATIONS)} == {"1", "2"}
    reasons = {"by_hand", "not_accepted", "escalated", "crm", "other"}
    assert {reason for reason, _ in terms.combinations(REASSIGNMENTS)} == reasons


def test_the_pace_of_a_goal_is_shown_as_it_is_now(registry: CollectorRegistry, metrics: KpiMetrics) -> None:
    metrics.show({}, {("", "New sales", "mql"): 0.8}, read_at=1.0)
    assert set(shown(registry, GOAL_PACE).values()) == {0.8}
    metrics.show({}, {}, read_at=2.0)
    assert not shown(registry, GOAL_PACE)


def test_every_end_of_a_commitment_is_foreseen_for_each_goal_and_stage() -> None:
    terms = Terms.of(agreement())
    assert terms.combinations(COMMITMENTS_ENDED) == [
        ("", "New sales", "mql", "met"),
        ("", "New sales", "mql", "missed"),
    ]
    assert terms.combinations(COMMITMENTS_CORRECTED) == [("", "New sales", "mql")]


def test_what_goes_back_because_nobody_took_it_on_has_a_reason_of_its_own_where_that_is_agreed() -> None:
    assert Terms.of(agreement(if_not_accepted="return")).reason("not_accepted") == "not_accepted"
    assert Terms.of(agreement()).reason("not_accepted") == "other"


def test_the_series_of_a_team_stay_in_bounds(registry: CollectorRegistry) -> None:
    terms = Terms.of(agreement())
    KpiMetrics(registry, lambda: [terms]).show({}, {}, read_at=1.0)
    lines = [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]
    assert len(lines) < SERIES_OF_A_TEAM * len(terms.teams)


def agreement(**follow_up: object) -> Agreement:
    """The default one, with these things agreed otherwise."""
    default = load(AGREEMENT)
    return default.model_copy(update={"follow_up": default.follow_up.model_copy(update=follow_up)})
