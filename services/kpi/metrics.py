"""Every metric of kpi with its meaning, shown from the tallies in the database.

Because they come from there, they survive restarts, each fact counts once, and every instance shows
the same: take the max over instances, never the sum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from services.kpi.domain.tallies import (
    ATTEMPTS,
    ATTEMPTS_CORRECTED,
    CLOCKS_CORRECTED,
    CLOCKS_ENDED,
    CLOCKS_OPEN,
    CLOCKS_OVERDUE,
    CLOCKS_PAUSED,
    COMMITMENTS_CORRECTED,
    COMMITMENTS_ENDED,
    ESCALATIONS,
    FIRST_TOUCH,
    FIRST_TOUCH_WORKING,
    GOAL_PACE,
    HANDOFF_DELAY,
    HANDOFF_DELAY_WORKING,
    HANDOFFS,
    LABELS,
    REASSIGNMENTS,
    REJECTIONS,
    RESPONSE,
    RESPONSE_WORKING,
    RETURNS,
    STAGE_ENTRIES,
    Labels,
    Tallies,
    cumulative,
    labels_met,
    le,
    total,
)
from services.kpi.domain.terms import Terms

COUNTERS: Final = {
    STAGE_ENTRIES: "Leads that reached a stage of the funnel for the first time, by the source they came from.",
    HANDOFFS: "Hand-offs to Sales, by what triggered them and the team that received them.",
    ATTEMPTS: "Contact attempts that count, by channel and what was first said to have come of them.",
    ATTEMPTS_CORRECTED: "Counted attempts of which the CRM later said another outcome than the former one.",
    CLOCKS_ENDED: "Clocks that ended; outcome: met, breached, or excused (no longer asked for).",
    CLOCKS_CORRECTED: "Clocks counted as breached that were met after all: logged late, but made in time.",
    COMMITMENTS_ENDED: "Weeks and months of what Marketing owes that are over; outcome: met or missed.",
    COMMITMENTS_CORRECTED: "Weeks and months counted as missed that were met after all: in time, but heard of late.",
    ESCALATIONS: "Breaches that went on to others, by the step of the agreement's escalation.",
    REASSIGNMENTS: "Leads that changed hands while Sales had them, by reason and the team that has them now.",
    RETURNS: "Leads that Sales gave back to Marketing after trying, by reason and nurture track (empty: none).",
    REJECTIONS: "Leads that Sales sent back before any contact, by reason.",
}
GAUGES: Final = {
    CLOCKS_OPEN: "Clocks that are not yet due, those that stand still among them.",
    CLOCKS_PAUSED: "Open clocks that stand still.",
    CLOCKS_OVERDUE: "Clocks that were breached while what they waited for is still owed.",
}
HISTOGRAMS: Final = {
    FIRST_TOUCH: (
        "Wall clock time from being ready for Sales to the first attempt; who was never touched is in clocks_overdue."
    ),
    FIRST_TOUCH_WORKING: "The same in working time, by the calendar of who had the lead.",
    HANDOFF_DELAY: "The system's part: wall clock time from being ready for Sales to the assignment.",
    HANDOFF_DELAY_WORKING: "The system's part in the owner's working time.",
    RESPONSE: "The person's part: wall clock time from the assignment to the first attempt.",
    RESPONSE_WORKING: "The person's part in working time.",
}
TARGET: Final = "leadpact_target_ratio"
TARGET_HELP: Final = "What the agreement in force wants of a ratio; tenant: whose agreement, empty: of all others."
GOAL_PACE_LABELS: Final = ("tenant", "goal", "stage")
GOAL_PACE_HELP: Final = (
    "The share of a goal's stage that is reached over the share of its working days gone: 1 is on pace."
    " Shown while the stage is needed, once five should be there; no tenant: the agreement of all."
)
READ_AT: Final = "leadpact_tallies_read_timestamp_seconds"
READ_AT_HELP: Final = "When this instance last read the tallies; what it shows is as old as that."


class KpiMetrics(Collector):
    """The tallies as Prometheus reads them. Shows nothing until they were read for the first time:
    zeros in place of numbers would look like a restart of every counter.
    """

    def __init__(self, registry: CollectorRegistry, terms: Callable[[], Sequence[Terms]]) -> None:
        """`terms` are those of all agreements in force, asked for each time that the numbers are shown."""
        self._terms = terms
        self._tallies: Tallies | None = None
        self._paces: Mapping[Labels, float] = {}
        self._read_at = 0.0
        registry.register(self)

    def show(self, tallies: Tallies, paces: Mapping[Labels, float], *, read_at: float) -> None:
        """From now on these are the numbers; `paces` by GOAL_PACE_LABELS."""
        self._tallies, self._read_at, self._paces = tallies, read_at, paces

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
        for name, text in HISTOGRAMS.items():
            yield self._histogram(tallies, name, text)
        targets = GaugeMetricFamily(TARGET, TARGET_HELP, labels=("tenant", "kpi", "of"))
        for terms in self._terms():
            for labels, share in terms.targets.items():
                targets.add_metric(labels, share)
        yield targets
        goals = GaugeMetricFamily(GOAL_PACE, GOAL_PACE_HELP, labels=GOAL_PACE_LABELS)
        for labels, ratio in self._paces.items():
            goals.add_metric(labels, ratio)
        yield goals
        yield GaugeMetricFamily(READ_AT, READ_AT_HELP, value=read_at)

    def _labels(self, tallies: Tallies, name: str) -> list[Labels]:
        """What can be foreseen, and what was met besides: an agreement changes, its past does not."""
        met = [labels for metric, labels in tallies if metric == name]
        return list(dict.fromkeys([*self._foreseen(name), *met]))

    def _foreseen(self, name: str) -> list[Labels]:
        return [labels for terms in self._terms() for labels in terms.combinations(name)]

    def _histogram(self, tallies: Tallies, name: str, text: str) -> HistogramMetricFamily:
        family = HistogramMetricFamily(name, text, labels=LABELS[name])
        for labels in dict.fromkeys([*self._foreseen(name), *labels_met(tallies, name)]):
            buckets = [(le(bound), count) for bound, count in cumulative(tallies, name, labels)]
            family.add_metric(labels, buckets, sum_value=tallies.get((total(name), labels), 0.0))
        return family
