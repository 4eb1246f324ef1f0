"""How the agreement is doing, from the tallies: the content of GET /kpis."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from services.kpi.domain.tallies import (
    ATTEMPTS,
    ATTEMPTS_CORRECTED,
    BREACHED,
    CLOCKS_CORRECTED,
    CLOCKS_ENDED,
    CLOCKS_OPEN,
    CLOCKS_OVERDUE,
    CLOCKS_PAUSED,
    ESCALATIONS,
    EXCUSED,
    FIRST_TOUCH,
    FIRST_TOUCH_WORKING,
    HANDOFF_DELAY,
    HANDOFF_DELAY_WORKING,
    HANDOFFS,
    INFINITY,
    LABELS,
    MET,
    REASSIGNMENTS,
    RESPONSE,
    RESPONSE_WORKING,
    RETURNS,
    STAGE_ENTRIES,
    Labels,
    Tallies,
    cumulative,
    labels_met,
    total,
)
from services.kpi.domain.terms import PROMISED, STAGES
from shared.events import Outcome

QUANTILES: Final = (0.5, 0.9)
CONNECTED: Final = (Outcome.CONNECTED, Outcome.REPLIED, Outcome.BOOKED, Outcome.HELD)  # two people spoke


def report(tallies: Tallies) -> dict[str, Any]:
    """Everything counted since the beginning; null where there is nothing to divide by."""
    funnel = {stage: _total(tallies, STAGE_ENTRIES, stage=stage) for stage in STAGES}
    return {
        "period": "all",
        "funnel": funnel,
        "conversion": {f"{a}_to_{b}": _ratio(funnel[b], funnel[a]) for a, b in pairwise(STAGES)},
        "handoffs": _total(tallies, HANDOFFS),
        "returns": _total(tallies, RETURNS),
        "reassignments": _total(tallies, REASSIGNMENTS),
        "escalations": _total(tallies, ESCALATIONS),
        "attempts": _attempts(tallies),
        "sla_compliance": {name: _compliance(tallies, str(clock)) for name, clock in PROMISED.items()},
        "speed_to_lead": _times(tallies, elapsed=FIRST_TOUCH, working=FIRST_TOUCH_WORKING),
        "handoff_delay": _times(tallies, elapsed=HANDOFF_DELAY, working=HANDOFF_DELAY_WORKING),
        "response": _times(tallies, elapsed=RESPONSE, working=RESPONSE_WORKING),
        "clocks": {
            "open": _by_labels(tallies, CLOCKS_OPEN),
            "paused": _by_labels(tallies, CLOCKS_PAUSED),
            "overdue": _by_labels(tallies, CLOCKS_OVERDUE),
        },
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


def _attempts(tallies: Tallies) -> dict[str, Any]:
    """How many, and how many of them reached the lead by what is now known of them."""
    attempts = _total(tallies, ATTEMPTS)
    connected = sum(_with_outcome(tallies, str(outcome)) for outcome in CONNECTED)
    return {
        "total": attempts,
        "per_handoff": _ratio(attempts, _total(tallies, HANDOFFS)),
        "connected": connected,
        "connect_rate": _ratio(connected, attempts),
    }


def _with_outcome(tallies: Tallies, outcome: str) -> int:
    said = _total(tallies, ATTEMPTS, outcome=outcome)
    became = _total(tallies, ATTEMPTS_CORRECTED, outcome=outcome)
    was = _total(tallies, ATTEMPTS_CORRECTED, former=outcome)
    return said + became - was


def _compliance(tallies: Tallies, clock: str) -> dict[str, Any]:
    """Of all teams together, as the agreement's target is, and of each."""
    teams = {team: _ended(tallies, clock=clock, team=team) for team in _teams(tallies, clock)}
    return {**_ended(tallies, clock=clock), "by_team": teams}


def _ended(tallies: Tallies, **wanted: str) -> dict[str, Any]:
    """Met, breached and excused are all clocks that ended; a breach taken back is met, and told beside."""
    corrected = _total(tallies, CLOCKS_CORRECTED, **wanted)
    met = _total(tallies, CLOCKS_ENDED, outcome=MET, **wanted) + corrected
    breached = _total(tallies, CLOCKS_ENDED, outcome=BREACHED, **wanted) - corrected
    return {
        "met": met,
        "breached": breached,
        "excused": _total(tallies, CLOCKS_ENDED, outcome=EXCUSED, **wanted),
        "corrected": corrected,
        "ratio": _ratio(met, met + breached),
    }


def _times(tallies: Tallies, **histograms: str) -> dict[str, Any]:
    """Of all together, and by team and priority; who was never touched is in `clocks.overdue`, not here."""
    met = sorted({labels for histogram in histograms.values() for labels in labels_met(tallies, histogram)})
    each = [
        dict(zip(LABELS[FIRST_TOUCH], labels, strict=True)) | _times_of(tallies, histograms, [labels]) for labels in met
    ]
    return {**_times_of(tallies, histograms, met), "by_team_and_priority": each}


def _times_of(tallies: Tallies, histograms: Mapping[str, str], series: Sequence[Labels]) -> dict[str, Any]:
    return {name: _time_of(tallies, histogram, series) for name, histogram in histograms.items()}


def _time_of(tallies: Tallies, histogram: str, series: Sequence[Labels]) -> dict[str, Any]:
    rows = cumulative(tallies, histogram, *series)
    count, sum_s = rows[-1][1], sum(tallies.get((total(histogram), labels), 0.0) for labels in series)
    quantiles = {f"p{round(share * 100)}_s": quantile(share, rows) for share in QUANTILES}
    return {"leads": int(count), "mean_s": _ratio(sum_s, count), **quantiles}


def _by_labels(tallies: Tallies, metric: str) -> list[dict[str, Any]]:
    found = sorted((labels, value) for (name, labels), value in tallies.items() if name == metric and value)
    return [dict(zip(LABELS[metric], labels, strict=True)) | {"leads": int(value)} for labels, value in found]


def _teams(tallies: Tallies, clock: str) -> list[str]:
    ended = [dict(zip(LABELS[name], labels, strict=True)) for name, labels in tallies if name == CLOCKS_ENDED]
    return sorted({labels["team"] for labels in ended if labels["clock"] == clock})


def _total(tallies: Tallies, metric: str, **wanted: str) -> int:
    sums: dict[str, float] = defaultdict(float)
    for (name, labels), value in tallies.items():
        if name == metric and wanted.items() <= dict(zip(LABELS[metric], labels, strict=True)).items():
            sums[name] += value
    return round(sums[metric])


def _ratio(part: float, whole: float) -> float | None:
    return round(part / whole, 4) if whole else None
