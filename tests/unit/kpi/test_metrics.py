"""The tallies as Prometheus reads them."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from services.kpi.domain.tallies import HANDOFFS, Tallies, observed
from services.kpi.domain.terms import Terms
from services.kpi.metrics import KpiMetrics
from services.kpi.store import summed

TERMS = Terms(teams=("inbound",), triggers=("Asked for a demo",), priorities=("urgent",), reasons=("other",))


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> KpiMetrics:
    return KpiMetrics(registry, TERMS)


def shown(registry: CollectorRegistry, name: str) -> dict[tuple[str, ...], float]:
    families = text_string_to_metric_families(generate_latest(registry).decode())
    samples = (sample for family in families for sample in family.samples if sample.name == name)
    return {tuple(sample.labels.values()): sample.value for sample in samples}


def test_before_the_tallies_were_read_nothing_is_shown(registry: CollectorRegistry, metrics: KpiMetrics) -> None:
    assert generate_latest(registry) == b""


def test_every_label_that_can_be_foreseen_starts_at_zero(registry: CollectorRegistry, metrics: KpiMetrics) -> None:
    metrics.show({}, read_at=1.0)
    assert {frozenset(labels) for labels in shown(registry, HANDOFFS)} == {frozenset({"inbound", "Asked for a demo"})}
    assert set(shown(registry, HANDOFFS).values()) == {0.0}
    assert len(shown(registry, "leadpact_contact_attempts_total")) == 8 * 15


def test_what_a_former_agreement_counted_is_still_shown(registry: CollectorRegistry, metrics: KpiMetrics) -> None:
    before: Tallies = {(HANDOFFS, ("Old trigger", "inbound")): 4.0}
    metrics.show(before, read_at=1.0)
    assert sorted(shown(registry, HANDOFFS).values()) == [0.0, 4.0]


def test_the_histogram_is_cumulative_and_writes_its_bounds_as_the_client_does(
    registry: CollectorRegistry, metrics: KpiMetrics
) -> None:
    touches = [*observed(("inbound", "urgent"), 10.0), *observed(("inbound", "urgent"), 200.0)]
    metrics.show(summed(touches), read_at=1.0)
    text = generate_latest(registry).decode()
    assert 'leadpact_first_touch_seconds_bucket{le="60.0",priority="urgent",team="inbound"} 1.0' in text
    assert 'leadpact_first_touch_seconds_bucket{le="300.0",priority="urgent",team="inbound"} 2.0' in text
    assert 'leadpact_first_touch_seconds_bucket{le="+Inf",priority="urgent",team="inbound"} 2.0' in text
    assert 'leadpact_first_touch_seconds_sum{priority="urgent",team="inbound"} 210.0' in text
