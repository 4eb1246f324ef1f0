"""scoring's metrics, each with its meaning."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge

from services.scoring.domain.history import Happened
from services.scoring.domain.lead import Lead
from shared.agreement import Agreement
from shared.events import LeadScored
from shared.work import Decision


class Rescored(Decision[Lead], frozen=True, kw_only=True):
    """A stored lead judged again by another agreement, without a fact."""


class Faded(Decision[Lead], frozen=True, kw_only=True):
    """A stored lead judged because waiting alone changes what was told of it."""


class Heard(Decision[Lead], frozen=True, kw_only=True):
    """What a message made: `happened` where it is a new score; `missed`: a reconcile told it, and no webhook had."""

    happened: Happened | None = None
    missed: bool = False


class ScoringMetrics:
    """Each metric's meaning stands in its help text."""

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
        self._rescored = Counter(
            "leadpact_leads_rescored",
            "Stored leads judged again because the agreement changed; outcome: told (others act on what changed)"
            " or quiet.",
            ["outcome"],
            registry=registry,
        )
        self._faded = Counter(
            "leadpact_leads_faded",
            "Leads judged because their interest was to fade below a limit; outcome: told (a level or the journey"
            " fell) or quiet.",
            ["outcome"],
            registry=registry,
        )
        self.to_rescore = Gauge(
            "leadpact_leads_to_rescore",
            "Stored leads of a tenant that another version than the one in force judged last, counted now and then"
            " while they are judged again; each process shows all of them.",
            ["tenant", "version"],
            registry=registry,
        )
        self._missed = Counter(
            "leadpact_facts_missed",
            "Changes, merges and deletions of contacts, forms and visits that a reconcile told and that no webhook had"
            " told within an hour.",
            registry=registry,
        )
        for outcome in ("told", "quiet"):
            self._judged.labels(outcome)
            self._rescored.labels(outcome)
            self._faded.labels(outcome)

    def agreed(self, agreements: Iterable[Agreement]) -> None:
        """Show every grade of these from now on, also where nobody has it."""
        for grade in {name for one in agreements for name in one.qualification.grade_names}:
            self._scored.labels(grade)

    def committed(self, decisions: Sequence[tuple[str, Decision[Any]]]) -> None:
        """Count what a transaction decided."""
        for _, decision in decisions:
            judged = self._counter_of(decision)
            judged.labels("told" if decision.messages else "quiet").inc()
            self._missed.inc(isinstance(decision, Heard) and decision.missed)
            for message in decision.messages:
                if isinstance(message, LeadScored):
                    self._scored.labels(message.grade).inc()

    def _counter_of(self, decision: Decision[Any]) -> Counter:
        if isinstance(decision, Rescored):
            return self._rescored
        return self._faded if isinstance(decision, Faded) else self._judged
