"""scoring's metrics, each with its meaning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter

from shared.agreement.conditions import GRADES
from shared.events import LeadScored
from shared.work import Decision


class ScoringMetrics:
    """Counts what a transaction decided once it is committed."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._scored = Counter(
            "leadpact_leads_scored",
            "Scores published to lead.scores, by combined grade.",
            ["grade"],
            registry=registry,
        )
        self._judged = Counter(
            "leadpact_score_computations",
            "Facts about leads that scoring judged; outcome: told (a new score was published) or quiet.",
            ["outcome"],
            registry=registry,
        )
        for grade in GRADES:
            self._scored.labels(grade)
        for outcome in ("told", "quiet"):
            self._judged.labels(outcome)
        self._decisions: Sequence[tuple[str, Decision[Any]]] = ()

    def decided(self, decisions: Sequence[tuple[str, Decision[Any]]]) -> None:
        """To be counted with the next commit."""
        self._decisions = decisions

    def committed(self) -> None:
        decisions, self._decisions = self._decisions, ()
        for _, decision in decisions:
            self._judged.labels("told" if decision.messages else "quiet").inc()
            for message in decision.messages:
                if isinstance(message, LeadScored):
                    self._scored.labels(message.grade).inc()
