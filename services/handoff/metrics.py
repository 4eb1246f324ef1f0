"""Every metric of hand-off, with its meaning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from shared.events import LeadHandedOff
from shared.work import Decision

LINK_OUTCOMES: Final = ("shown", "done", "repeated", "passed", "refused", "bad", "expired")


class HandoffMetrics:
    """Each metric's meaning stands in its help text."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.sweeps = Counter(
            "leadpact_clock_sweeps",
            "Looks for due clocks; outcome: fired, nothing.",
            ["outcome"],
            registry=registry,
        )
        self.fired = Counter(
            "leadpact_clocks_fired",
            "Warnings and ends of clocks that this process told.",
            registry=registry,
        )
        self.lateness = Histogram(
            "leadpact_clock_lateness_seconds",
            "From the moment a clock's warning or end was due to its commit, in business time.",
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60, 600, 3600),
            registry=registry,
        )
        self.notifications = Counter(
            "leadpact_notifications",
            "Tries to deliver a notification; outcome: delivered, retried, gone (410), dead (given up).",
            ["outcome"],
            registry=registry,
        )
        self.notifications_pending = Gauge(
            "leadpact_notifications_pending",
            "Notifications that are decided but not delivered.",
            registry=registry,
        )
        self._by_agreement = Counter(
            "leadpact_handoffs_by_agreement",
            "Hand-offs of leads that did nothing themselves: ready since another agreement is in force.",
            registry=registry,
        )
        self.links = _links(registry)
        for outcome in ("fired", "nothing"):
            self.sweeps.labels(outcome)
        for outcome in ("delivered", "retried", "gone", "dead"):
            self.notifications.labels(outcome)

    def committed(self, decisions: Sequence[tuple[str, Decision[Any]]]) -> None:
        """Count what a transaction decided."""
        messages = [message for _, decision in decisions for message in decision.messages]
        self._by_agreement.inc(sum(isinstance(one, LeadHandedOff) and bool(one.former_agreement) for one in messages))


def _links(registry: CollectorRegistry) -> Counter:
    links = Counter(
        "leadpact_links",
        "One-click links; outcome: shown (opened, nothing done), done, repeated (was done before),"
        " passed (no longer possible), refused (a choice that does not fit), bad (not signed by us), expired.",
        ["outcome"],
        registry=registry,
    )
    for outcome in LINK_OUTCOMES:
        links.labels(outcome)
    return links
