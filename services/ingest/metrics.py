"""Every metric of ingest, with its meaning."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from services.ingest.domain.heard import OUTCOMES

REFUSALS: Final = (
    *("bad_signature", "stale", "wrong_portal", "too_large", "event_too_large", "malformed"),
    *("too_many", "method_not_allowed", "overloaded", "too_slow", "spool_full", "spool_away", "broken"),
)


class IngestMetrics:
    """Each metric's meaning stands in its help text."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.events = Counter(
            "leadpact_webhook_events",
            "Events of acknowledged webhooks; outcome: accepted, ignored (no use to us), test, rejected (dead letter),"
            " bot, noise (our own visits, pages fetched ahead, floods), own (what Leadpact wrote to the CRM itself).",
            ["source", "outcome"],
            registry=registry,
        )
        self.requests = Counter(
            "leadpact_webhook_requests",
            "Webhook requests; outcome: accepted, spooled, or the reason for the refusal.",
            ["source", "outcome"],
            registry=registry,
        )
        self.spool_bytes = Gauge(
            "leadpact_spool_bytes",
            "Bytes that wait in the spool until the bus is back.",
            registry=registry,
        )
        self.dropped = Counter(
            "leadpact_visitors_dropped",
            "Visitors forgotten after LEADPACT_VISITOR_DAYS without a word of who they are.",
            registry=registry,
        )
        self.lookups = Counter(
            "leadpact_crm_lookups",
            "Records looked up in the CRM, and names of forms (kind form); outcome: found, missing (deleted meanwhile),"
            " failed (tried again), refused (a dead letter; a form keeps its guid), off (no LEADPACT_HUBSPOT_TOKEN).",
            ["kind", "outcome"],
            registry=registry,
        )

        self.reconciled = Counter(
            "leadpact_reconciled_records",
            "Records that the CRM listed when it was asked on schedule; outcome: queued (changed, to be looked up) or"
            " deleted (told at once); not what was missed of them (leadpact_facts_missed_total).",
            ["kind", "outcome"],
            registry=registry,
        )

    def expect(self, source: str) -> None:
        """Show a source from the start, with nothing yet."""
        for outcome in OUTCOMES:
            self.events.labels(source, outcome)
        for outcome in ("accepted", "spooled", *REFUSALS):
            self.requests.labels(source, outcome)
