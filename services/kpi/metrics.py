"""Every metric of kpi with its meaning, shown from the tallies in the database.

Because they come from there, they survive restarts, each fact counts once, and every instance shows
the same: take the max over instances, never the sum.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from services.kpi.domain.tallies import (
    ATTEMPTS,
    BUCKET,
    CLOCKS_ENDED,
    CLOCKS_OPEN,
    CLOCKS_OVERDUE,
    FIRST_TOUCH,
    HANDOFFS,
    LABELS,
    REJECTIONS,
    RETURNS,
    STAGE_ENTRIES,
    SUM,
    Labels,
    Tallies,
    cumulative,
    le,
)
from services.kpi.domain.terms import Terms

COUNTERS: Final = {
    STAGE_ENTRIES: "Leads that reached a stage of the funnel for the first time, by the source they came from.",
    HANDOFFS: "Hand-offs to Sales, by what triggered them and the team that received them.",
    ATTEMPTS: "Contact attempts that count, by channel and what came of them.",
    CLOCKS_ENDED: "Clocks that ended; outcome: met, breached, or excused (no longer asked for).",
    RETURNS: "Leads that Sales gave back to Marketing after trying, by reason and nurture track (empty: none).",
    REJECTIONS: "Leads that Sales sent back before any contact, by reason.",
}
GAUGES: Final = {
    CLOCKS_OPEN: "Clocks that run and are not yet due.",
    CLOCKS_OVERDUE: "Clocks that were breached while what they waited for is still owed.",
}
HISTOGRAM_HELP: Final = (
    "Wall clock time from being ready for Sales to the first attempt; who was never touched is in clocks_overdue."
)
READ_AT: Final = "leadpact_tallies_read_timestamp_seconds"
READ_AT_HELP: Final = "When this instance last read the tallies; what it shows is as old as that."


class KpiMetrics(Collector):
    """The tallies as Prometheus reads them. Shows nothing until they were read for the first time:
    zeros in place of numbers would look like a restart of every counter.
    """

    def __init__(self, registry: CollectorRegistry, terms: Terms) -> None:
        self._terms = terms
        self._tallies: Tallies | None = None
        self._read_at = 0.0
        registry.register(self)

    def show(self, tallies: Tallies, *, read_at: float) -> None:
        """From now on these are the numbers."""
        self._tallies, self._read_at = tallies, read_at

    def describe(self) -> Iterator[Metric]:
        yield from self._families({}, 0.0)

    def collect(self) -> Iterator[Metric]:
        if self._tallies is not None:
            yield from self._families(self._tallies, self._read_at)

    def _families(self, tallies: Tallies, read_at: float) -> Iterator[Metric]:
        for name, text in COUNTERS.items():
            counter = CounterMetricFamily(name.removesuffix("_total"), text, labels=LABELS[name])
            for labels in self._labels(tallies, name):
                counter.add_metric(labels, tallies.get((name, labels), 0.0))
            yield counter
        for name, text in GAUGES.items():
            gauge = GaugeMetricFamily(name, text, labels=LABELS[name])
            for labels in self._labels(tallies, name):
                gauge.add_metric(labels, tallies.get((name, labels), 0.0))
            yield gauge
        yield self._histogram(tallies)
        yield GaugeMetricFamily(READ_AT, READ_AT_HELP, value=read_at)

    def _labels(self, tallies: Tallies, name: str) -> list[Labels]:
        """What can be foreseen, and what was met besides: an agreement changes, its past does not."""
        met = [labels for metric, labels in tallies if metric == name]
        return list(dict.fromkeys([*self._terms.combinations(name), *met]))

    def _histogram(self, tallies: Tallies) -> HistogramMetricFamily:
        family = HistogramMetricFamily(FIRST_TOUCH, HISTOGRAM_HELP, labels=LABELS[FIRST_TOUCH])
        met = [labels[:-1] for metric, labels in tallies if metric == BUCKET]
        for labels in dict.fromkeys([*self._terms.combinations(FIRST_TOUCH), *met]):
            buckets = [(le(bound), count) for bound, count in cumulative(tallies, labels)]
            family.add_metric(labels, buckets, sum_value=tallies.get((SUM, labels), 0.0))
        return family
