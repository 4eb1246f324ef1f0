"""The metrics that every service has; one object per registry, shared by all services in a process."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics


class CommonMetrics:
    """Each metric's meaning stands in its help text."""

    def __init__(self, registry: CollectorRegistry) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # halves the series
        self.messages = Counter(
            "leadpact_messages",
            "Messages read from the bus; outcome: handled, ignored, duplicate, dead.",
            ["service", "type", "outcome"],
            registry=registry,
        )
        self.batch_seconds = Histogram(
            "leadpact_batch_seconds",
            "Time from a polled batch to its database commit.",
            ["service"],
            buckets=(0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
            registry=registry,
        )
        self.consumer_lag = Gauge(
            "leadpact_consumer_lag",
            "Records of the partitions this process holds that are not yet committed.",
            ["service", "topic"],
            registry=registry,
        )
        self.outbox_pending = Gauge(
            "leadpact_outbox_pending",
            "Messages decided but not yet on the bus.",
            ["service"],
            registry=registry,
        )
        self.dead_letters = Counter(
            "leadpact_dead_letters",
            "Records that could not be used, by reason; each waits in dead.letters.",
            ["service", "reason"],
            registry=registry,
        )
        self.task_restarts = Counter(
            "leadpact_task_restarts",
            "A background task stopped on an error and was started again.",
            ["service", "task"],
            registry=registry,
        )
        self.request_seconds = Histogram(
            "leadpact_request_seconds",
            "HTTP requests by route and status.",
            ["route", "method", "status"],
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
            registry=registry,
        )
        self.agreement_info = Gauge(
            "leadpact_agreement_info",
            "1 for each agreement that this process acts by: its tenant (empty: of all others) and its version.",
            ["tenant", "version"],
            registry=registry,
        )
        self.agreement_refused = Gauge(
            "leadpact_agreement_refused",
            "Files of agreements that changed and cannot be used; what they said before stays in force.",
            registry=registry,
        )
