"""How the agreement is doing, from the tallies: the content of GET /kpis."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

from services.kpi.domain.tallies import (
    ATTEMPTS,
    BREACHED,
    BUCKET,
    CLOCKS_ENDED,
    CLOCKS_OPEN,
    CLOCKS_OVERDUE,
    FIRST_TOUCH,
    HANDOFFS,
    INFINITY,
    LABELS,
    MET,
    RETURNS,
    STAGE_ENTRIES,
    SUM,
    Labels,
    Tallies,
    cumulative,
)
from services.kpi.domain.terms import STAGES

QUANTILES: Final = (0.5, 0.9)
PROMISED: Final = ("first_touch", "next_attempt")  # what Sales owes; reply_wait is the lead's own time


def report(tallies: Tallies) -> dict[str, Any]:
    """Everything counted since the beginning; null where there is nothing to divide by."""
    funnel = {stage: _total(tallies, STAGE_ENTRIES, stage=stage) for stage in STAGES}
    handoffs = _total(tallies, HANDOFFS)
    return {
        "period": "all",
        "funnel": funnel,
        "conversion": {f"{a}_to_{b}": _ratio(funnel[b], funnel[a]) for a, b in pairwise(STAGES)},
        "handoffs": handoffs,
        "returns": _total(tallies, RETURNS),
        "attempts": {"total": _total(tallies, ATTEMPTS), "per_handoff": _ratio(_total(tallies, ATTEMPTS), handoffs)},
        "sla_compliance": {team: _compliance(tallies, team) for team in _teams(tallies)},
        "speed_to_lead": _speed(tallies),
        "clocks": {"open": _by_labels(tallies, CLOCKS_OPEN), "overdue": _by_labels(tallies, CLOCKS_OVERDUE)},
    }


def quantile(share: float, rows: Sequence[tuple[float, float]]) -> float | None:
    """The value below which `share` of the observations lie, straight between the bounds.

    As Prometheus does: beyond the last finite bound it is that bound. None without observations.
    """
    total = rows[-1][1]
    if not total:
        return None
    wanted, below, start = share * total, 0.0, 0.0
    for bound, count in rows:
        if count >= wanted and count > below:
            return start if bound == INFINITY else start + (bound - start) * (wanted - below) / (count - below)
        below, start = count, bound
    return None


def _compliance(tallies: Tallies, team: str) -> dict[str, Any]:
    return {clock: _compliance_of(tallies, team, clock) for clock in PROMISED}


def _compliance_of(tallies: Tallies, team: str, clock: str) -> dict[str, Any]:
    met = _total(tallies, CLOCKS_ENDED, team=team, clock=clock, outcome=MET)
    breached = _total(tallies, CLOCKS_ENDED, team=team, clock=clock, outcome=BREACHED)
    return {"met": met, "breached": breached, "ratio": _ratio(met, met + breached)}


def _speed(tallies: Tallies) -> list[dict[str, Any]]:
    """By team and priority; those never touched are in `clocks.overdue`, not here."""
    found = sorted({labels[:2] for metric, labels in tallies if metric == BUCKET})
    return [dict(zip(LABELS[FIRST_TOUCH], labels, strict=True)) | _speed_of(tallies, labels) for labels in found]


def _speed_of(tallies: Tallies, labels: Labels) -> dict[str, Any]:
    rows = cumulative(tallies, labels)
    quantiles = {f"p{round(share * 100)}_s": quantile(share, rows) for share in QUANTILES}
    return {"touched": int(rows[-1][1]), "mean_s": _ratio(tallies.get((SUM, labels), 0.0), rows[-1][1]), **quantiles}


def _by_labels(tallies: Tallies, metric: str) -> list[dict[str, Any]]:
    found = sorted((labels, value) for (name, labels), value in tallies.items() if name == metric and value)
    return [dict(zip(LABELS[metric], labels, strict=True)) | {"leads": int(value)} for labels, value in found]


def _teams(tallies: Tallies) -> list[str]:
    position = LABELS[CLOCKS_ENDED].index("team")
    return sorted({labels[position] for metric, labels in tallies if metric == CLOCKS_ENDED})


def _total(tallies: Tallies, metric: str, **wanted: str) -> int:
    sums: dict[str, float] = defaultdict(float)
    for (name, labels), value in tallies.items():
        if name == metric and wanted.items() <= dict(zip(LABELS[metric], labels, strict=True)).items():
            sums[name] += value
    return round(sums[metric])


def _ratio(part: float, whole: float) -> float | None:
    return round(part / whole, 4) if whole else None
