"""The names of what is tallied, its labels, and the histograms' buckets."""

from __future__ import annotations

from typing import Final

STAGE_ENTRIES: Final = "leadpact_lead_stage_entries_total"
HANDOFFS: Final = "leadpact_handoffs_total"
ATTEMPTS: Final = "leadpact_contact_attempts_total"
ATTEMPTS_CORRECTED: Final = "leadpact_contact_outcomes_corrected_total"
CLOCKS_ENDED: Final = "leadpact_clocks_ended_total"
CLOCKS_CORRECTED: Final = "leadpact_clocks_corrected_total"
ESCALATIONS: Final = "leadpact_escalations_total"
REASSIGNMENTS: Final = "leadpact_reassignments_total"
RETURNS: Final = "leadpact_returns_total"
REJECTIONS: Final = "leadpact_rejections_total"
COMMITMENTS_ENDED: Final = "leadpact_commitments_ended_total"
COMMITMENTS_CORRECTED: Final = "leadpact_commitments_corrected_total"
CLOCKS_OPEN: Final = "leadpact_clocks_open"
CLOCKS_PAUSED: Final = "leadpact_clocks_paused"
CLOCKS_OVERDUE: Final = "leadpact_clocks_overdue"
FIRST_TOUCH: Final = "leadpact_first_touch_seconds"
FIRST_TOUCH_WORKING: Final = "leadpact_first_touch_working_seconds"
HANDOFF_DELAY: Final = "leadpact_handoff_delay_seconds"
HANDOFF_DELAY_WORKING: Final = "leadpact_handoff_delay_working_seconds"
RESPONSE: Final = "leadpact_response_seconds"
RESPONSE_WORKING: Final = "leadpact_response_working_seconds"
GOAL_PACE: Final = "leadpact_goal_pace_ratio"  # worked out as of now: no tally stands behind it

LABELS: Final[dict[str, tuple[str, ...]]] = {
    STAGE_ENTRIES: ("stage", "source"),
    HANDOFFS: ("trigger", "team"),
    ATTEMPTS: ("team", "channel", "outcome"),
    ATTEMPTS_CORRECTED: ("team", "channel", "former", "outcome"),
    CLOCKS_ENDED: ("clock", "team", "priority", "outcome"),
    CLOCKS_CORRECTED: ("clock", "team", "priority"),
    ESCALATIONS: ("clock", "team", "step"),
    REASSIGNMENTS: ("reason", "team"),
    RETURNS: ("reason", "track"),
    REJECTIONS: ("reason", "team"),
    COMMITMENTS_ENDED: ("tenant", "goal", "stage", "outcome"),
    COMMITMENTS_CORRECTED: ("tenant", "goal", "stage"),
    CLOCKS_OPEN: ("clock", "team", "priority"),
    CLOCKS_PAUSED: ("clock", "team", "priority"),
    CLOCKS_OVERDUE: ("clock", "team", "priority"),
    FIRST_TOUCH: ("team", "priority"),
    FIRST_TOUCH_WORKING: ("team", "priority"),
    HANDOFF_DELAY: ("team", "priority"),
    HANDOFF_DELAY_WORKING: ("team", "priority"),
    RESPONSE: ("team", "priority"),
    RESPONSE_WORKING: ("team", "priority"),
}

SECOND: Final = 1.0
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
INFINITY: Final = float("inf")
# From the five minutes of the best to the week of the forgotten.
ELAPSED_S: Final = (
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
# The same in working time, where a day has eight hours or so and a week five days.
WORKING_S: Final = (
    MINUTE,
    5 * MINUTE,
    15 * MINUTE,
    30 * MINUTE,
    HOUR,
    2 * HOUR,
    4 * HOUR,
    8 * HOUR,
    16 * HOUR,
    24 * HOUR,
    40 * HOUR,
    80 * HOUR,
    INFINITY,
)
# A machine's time: fractions of a second when all is well, hours when something is away.
DELAY_S: Final = (
    0.1 * SECOND,
    0.25 * SECOND,
    0.5 * SECOND,
    SECOND,
    2.5 * SECOND,
    5 * SECOND,
    10 * SECOND,
    30 * SECOND,
    MINUTE,
    5 * MINUTE,
    15 * MINUTE,
    HOUR,
    4 * HOUR,
    DAY,
    INFINITY,
)
BUCKETS: Final[dict[str, tuple[float, ...]]] = {
    FIRST_TOUCH: ELAPSED_S,
    FIRST_TOUCH_WORKING: WORKING_S,
    HANDOFF_DELAY: DELAY_S,
    HANDOFF_DELAY_WORKING: DELAY_S,
    RESPONSE: ELAPSED_S,
    RESPONSE_WORKING: WORKING_S,
}

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


def bucket(histogram: str) -> str:
    """The tally of one bucket, by labels and le: it holds its own bucket only, not those below."""
    return f"{histogram}_bucket"


def total(histogram: str) -> str:
    """The tally of the sum of all observations, by labels."""
    return f"{histogram}_sum"


def observed(histogram: str, labels: Labels, seconds: float) -> tuple[Tally, ...]:
    """The tallies of one observation; what came before it was asked for took no time."""
    took = max(0.0, seconds)
    bound = next(b for b in BUCKETS[histogram] if took <= b)
    return (bucket(histogram), (*labels, le(bound)), 1.0), (total(histogram), labels, took)


def cumulative(tallies: Tallies, histogram: str, *series: Labels) -> list[tuple[float, float]]:
    """Of these labels together: (bound, observations up to it), to the last bound, infinity."""
    found, rows = 0.0, []
    for bound in BUCKETS[histogram]:
        found += sum(tallies.get((bucket(histogram), (*labels, le(bound))), 0.0) for labels in series)
        rows.append((bound, found))
    return rows


def labels_met(tallies: Tallies, histogram: str) -> list[Labels]:
    """The labels under which anything was observed."""
    return sorted({labels[:-1] for metric, labels in tallies if metric == bucket(histogram)})
