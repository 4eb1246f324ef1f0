"""Marketing's side of the agreement: what it owes in each week or month, and how that ended.

Each week and month is a promise of its own, as each clock of Sales is: what came too much in one
makes up for nothing in another.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, Literal

from services.kpi.domain.counts import Counts, Judged
from services.kpi.domain.spread import Days, months_of, pieces, weeks_of
from shared.agreement import Agreement
from shared.agreement.goals import DAY, NEEDED, Commitment, Goal, begins
from shared.agreement.values import Period

MET: Final = "met"
MISSED: Final = "missed"
OUTCOMES: Final = (MET, MISSED)

Outcome = Literal["ahead", "open", "met", "missed", "corrected", "not_judged"]


@dataclass(frozen=True, kw_only=True)
class Part:
    """One week or month of a commitment, as far as it is in the stage's window."""

    first: date
    last: date
    owed: int

    @property
    def days(self) -> Period:
        return Period(first=self.first, last=self.last)


@dataclass(frozen=True, kw_only=True)
class PartReport:
    """What is owed from `first` to `last`, until `due_at`, and what is there.

    `corrected`: missed at the time, and met after all by what came to be known later. `not_judged`: it
    was over, or half over, before anything was counted or the agreement held.
    """

    first: date
    last: date
    due_at: datetime
    owed: int
    counted: int
    outcome: Outcome


@dataclass(frozen=True, kw_only=True)
class CommitmentReport:
    """A commitment in words, and each of its weeks or months. Not `agreed`: it was once, and was judged then."""

    commitment: str
    stage: str
    grades: tuple[str, ...]
    agreed: bool
    parts: tuple[PartReport, ...]


def parts_of(commitment: Commitment, goal: Goal, period: Period, days: Days) -> list[Part]:
    """The weeks or months of a commitment within the stage's window; those in which nothing is owed are left out.

    What is needed of a week is what the plan shows for it. A number is owed in each whole week or month;
    one that the window cuts owes its share of the working days.
    """
    window = goal.window(commitment.stage, period)
    each = weeks_of if commitment.every == "week" else months_of
    wholes = each(window)
    cut = pieces(wholes, window)
    if commitment.number == NEEDED:
        owed = days.spread(goal.needed[commitment.stage], cut, window)
    else:
        number = commitment.number
        owed = [
            number if part == whole else math.ceil(number * days.share(part, whole))
            for part, whole in zip(cut, wholes, strict=True)
        ]
    return [Part(first=one.first, last=one.last, owed=many) for one, many in zip(cut, owed, strict=True) if many]


def due(agreement: Agreement, counts: Counts, *, since: datetime, now: datetime) -> Iterator[Judged]:
    """Every commitment whose time ran out after `since` and not after `now`, judged by what is counted by now.

    None that began before anything was counted, or before the agreement held: nobody could have kept it.
    """
    days = Days.of(agreement)
    started = max(filter(None, (counts.since, agreement.effective)), default=None) if counts.since else None
    if started is None:
        return
    known = {(one.goal, one.commitment, one.first, one.last) for one in counts.judged}
    for goal, commitment, part in _parts(agreement, days, since, now):
        is_new = (goal.name, commitment.text, part.first, part.last) not in known
        if is_new and part.first >= started and since < due_at(part.last, days) <= now:
            yield _judged(agreement, goal, commitment, part, counts)


def _parts(agreement: Agreement, days: Days, since: datetime, now: datetime) -> Iterator[tuple[Goal, Commitment, Part]]:
    """Of every commitment in the periods for which anything was needed since then."""
    for goal in agreement.goals:
        for period in goal.periods(days.day_of(since) - DAY, days.day_of(now)):
            for commitment in goal.marketing_owes:
                for part in parts_of(commitment, goal, period, days):
                    yield goal, commitment, part


def due_at(last: date, days: Days) -> datetime:
    """The end of the last day, in the agreement's time zone."""
    return begins(last + DAY, days.zone)


def _judged(agreement: Agreement, goal: Goal, commitment: Commitment, part: Part, counts: Counts) -> Judged:
    counted = count(counts, commitment.stage, commitment.grade, part.days)
    return Judged(
        goal=goal.name,
        commitment=commitment.text,
        stage=commitment.stage,
        grades=commitment.grade,
        first=part.first,
        last=part.last,
        owed=part.owed,
        counted=counted,
        outcome=MET if counted >= part.owed else MISSED,
        agreement=agreement.version,
    )


def met_after_all(counts: Counts) -> list[Judged]:
    """What was missed by what was known then, and is met by what is known now."""
    return [
        one
        for one in counts.judged
        if one.outcome == MISSED
        and one.corrected_at is None
        and count(counts, one.stage, one.grades, one.days) >= one.owed
    ]


def count(counts: Counts, stage: str, grades: Sequence[str], days: Period) -> int:
    """How many reached the stage on these days, with one of the grades where there are any."""
    return counts.reached(stage, days, lambda one: not grades or one.grade in grades)


# --- as it is shown ---


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What is known as of a moment."""

    counts: Counts
    days: Days
    now: datetime

    def ended(self, one: Judged) -> PartReport:
        outcome: Outcome = "met" if one.outcome == MET else "corrected" if one.corrected_at else "missed"
        return self._part(one.days, one.owed, one.stage, one.grades, outcome)

    def planned(self, part: Part, stage: str, grades: Sequence[str]) -> PartReport:
        if due_at(part.last, self.days) <= self.now:
            return self._part(part.days, part.owed, stage, grades, "not_judged")
        begun = begins(part.first, self.days.zone) <= self.now
        return self._part(part.days, part.owed, stage, grades, "open" if begun else "ahead")

    def _part(self, days: Period, owed: int, stage: str, grades: Sequence[str], outcome: Outcome) -> PartReport:
        return PartReport(
            first=days.first,
            last=days.last,
            due_at=due_at(days.last, self.days),
            owed=owed,
            counted=count(self.counts, stage, grades, days),
            outcome=outcome,
        )


def reports(goal: Goal, period: Period, seen: Seen) -> tuple[CommitmentReport, ...]:
    """All commitments of a goal for a period; those that are agreed no more as far as they were judged."""
    judged: dict[str, list[Judged]] = {}
    for one in seen.counts.judged:
        if _belongs(one, goal, period):
            judged.setdefault(one.commitment, []).append(one)
    agreed = {commitment.text: commitment for commitment in goal.marketing_owes}
    former = [_former(of_one, seen) for text, of_one in judged.items() if text not in agreed]
    found = [_agreed(one, goal, period, judged.get(text, ()), seen) for text, one in agreed.items()]
    return (*found, *former)


def _belongs(one: Judged, goal: Goal, period: Period) -> bool:
    window = goal.window("lead" if one.stage == "lead" else "mql", period)
    return one.goal == goal.name and window.first <= one.first and one.last <= window.last


def _agreed(
    commitment: Commitment, goal: Goal, period: Period, judged: Sequence[Judged], seen: Seen
) -> CommitmentReport:
    """What was judged stands as it was judged, whatever the plan says by now."""
    parts = {
        part.first: seen.planned(part, commitment.stage, commitment.grade)
        for part in parts_of(commitment, goal, period, seen.days)
    } | {one.first: seen.ended(one) for one in judged}
    return CommitmentReport(
        commitment=commitment.text,
        stage=commitment.stage,
        grades=commitment.grade,
        agreed=True,
        parts=tuple(part for _, part in sorted(parts.items())),
    )


def _former(judged: Sequence[Judged], seen: Seen) -> CommitmentReport:
    return CommitmentReport(
        commitment=judged[0].commitment,
        stage=judged[0].stage,
        grades=judged[0].grades,
        agreed=False,
        parts=tuple(seen.ended(one) for one in judged),
    )
