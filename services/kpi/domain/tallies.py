"""The names of what is tallied, its labels, and the histogram's buckets."""

from __future__ import annotations

from typing import Final

STAGE_ENTRIES: Final = "leadpact_lead_stage_entries_total"
HANDOFFS: Final = "leadpact_handoffs_total"
ATTEMPTS: Final = "leadpact_contact_attempts_total"
CLOCKS_ENDED: Final = "leadpact_clocks_ended_total"
RETURNS: Final = "leadpact_returns_total"
REJECTIONS: Final = "leadpact_rejections_total"
CLOCKS_OPEN: Final = "leadpact_clocks_open"
CLOCKS_OVERDUE: Final = "leadpact_clocks_overdue"
FIRST_TOUCH: Final = "leadpact_first_touch_seconds"

LABELS: Final[dict[str, tuple[str, ...]]] = {
    STAGE_ENTRIES: ("stage", "source"),
    HANDOFFS: ("trigger", "team"),
    ATTEMPTS: ("team", "channel", "outcome"),
    CLOCKS_ENDED: ("clock", "team", "priority", "outcome"),
    RETURNS: ("reason", "track"),
    REJECTIONS: ("reason", "team"),
    CLOCKS_OPEN: ("clock", "team", "priority"),
    CLOCKS_OVERDUE: ("clock", "team", "priority"),
    FIRST_TOUCH: ("team", "priority"),
}

MINUTE: Final = 60.0
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
INFINITY: Final = float("inf")
# From the five minutes of the best to the week of the forgotten.
BUCKETS_S: Final = (
    MINUTE,
    5 * MINUTE,
    15 * MINUTE,
    30 * MINUTE,
    HOUR,
    2 * HOUR,
    4 * HOUR,
    8 * HOUR,
    DAY,
    2 * DAY,
    3 * DAY,
    7 * DAY,
    INFINITY,
)
BUCKET: Final = f"{FIRST_TOUCH}_bucket"  # labels and le; each tally holds its own bucket only, not those below
SUM: Final = f"{FIRST_TOUCH}_sum"

Labels = tuple[str, ...]
Tally = tuple[str, Labels, float]
Tallies = dict[tuple[str, Labels], float]

BREACHED: Final = "breached"
MET: Final = "met"
EXCUSED: Final = "excused"
ENDS: Final = (MET, BREACHED, EXCUSED)


def le(bound: float) -> str:
    """The bound as Prometheus's client writes it: "300.0", "+Inf"."""
    return "+Inf" if bound == INFINITY else repr(float(bound))


def observed(labels: Labels, seconds: float) -> tuple[Tally, ...]:
    """The tallies of one observation of the histogram."""
    bound = next(b for b in BUCKETS_S if seconds <= b)
    return (BUCKET, (*labels, le(bound)), 1.0), (SUM, labels, seconds)


def cumulative(tallies: Tallies, labels: Labels) -> list[tuple[float, float]]:
    """The histogram of `labels` as (bound, observations up to it), to the last bound, infinity."""
    total, rows = 0.0, []
    for bound in BUCKETS_S:
        total += tallies.get((BUCKET, (*labels, le(bound))), 0.0)
        rows.append((bound, total))
    return rows
