"""Lead by lead: what is different under the new agreement, and by which of its rules."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from heapq import nsmallest
from typing import Final

import msgspec

from services.commands.backtest.findings import BREACHED, MET, Findings, HandOff, common
from services.commands.backtest.staffing import Late
from services.scoring.domain.lead import Lead
from services.scoring.domain.score import Score, scorer_of
from shared.agreement import Agreement
from shared.events import Reason, tenant_of

LEADS_SHOWN: Final = 50
FIT_LIMITS: Final = "Limits of the fit grades"
INTEREST_LIMITS: Final = "Limits of the interest levels"
MATRIX: Final = "The matrix of the grades"


class LeadDifference(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A lead whose grade or hand-offs differ. `rules` has what each rule gives more (or less) under the new one.

    By its key alone: nothing here is personal.
    """

    lead: str
    old_grade: str
    new_grade: str
    old_handoffs: int
    new_handoffs: int
    rules: dict[str, float] = {}

    @property
    def weight(self) -> tuple[int, float, str]:
        """The greatest differences come first."""
        return (
            -abs(self.new_handoffs - self.old_handoffs),
            -sum(map(abs, self.rules.values())),
            self.lead,
        )


@dataclass(kw_only=True)
class Comparison:
    """Of the leads of a part, or of all of them."""

    leads: int = 0
    begin_unknown: int = 0  # the record does not have their creation
    moves: Counter[tuple[str, str]] = field(default_factory=Counter)  # from grade to grade
    rule_leads: Counter[str] = field(default_factory=Counter)
    rule_tenths: Counter[str] = field(default_factory=Counter)  # of points, so that any order of adding is exact
    handed_by_both: int = 0
    handed_by_old: int = 0
    handed_by_new: int = 0
    common_old: Late = field(default_factory=Late)  # of the hand-offs that both make, as people really acted
    common_new: Late = field(default_factory=Late)
    different: int = 0
    shown: list[LeadDifference] = field(default_factory=list)

    def add(self, other: Comparison) -> None:
        for name in ("leads", "begin_unknown", "handed_by_both", "handed_by_old", "handed_by_new", "different"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("moves", "rule_leads", "rule_tenths"):
            getattr(self, name).update(getattr(other, name))
        self.common_old.add(other.common_old)
        self.common_new.add(other.common_new)
        self.shown = nsmallest(LEADS_SHOWN, [*self.shown, *other.shown], key=lambda one: one.weight)


@dataclass(frozen=True, kw_only=True)
class Side:
    """What one agreement made of a part."""

    agreements: Mapping[str, Agreement]  # by tenant
    scored: Mapping[str, Lead]
    handoffs: list[HandOff]
    findings: Findings

    def score(self, lead: str, at: datetime) -> Score:
        """What the lead was worth then, by all that is known of it."""
        return scorer_of(self.agreements[tenant_of(lead)]).score(self.scored[lead], at)


def differences(old: Side, new: Side, scored_at: Mapping[str, datetime]) -> Iterator[LeadDifference]:
    """The leads that differ, in the order of their keys. Of who is gone nothing is said.

    `scored_at`: the leads that are compared, and when scoring last heard of each. Their grades are those of
    that moment: at the end of the record the interest of most has faded by either agreement.
    """
    before, after = (Counter(one.lead for one in side.handoffs) for side in (old, new))
    for lead in sorted({*scored_at, *before, *after}):
        known = [side.scored.get(lead) for side in (old, new)]
        if any(state is None or state.gone for state in known):
            continue
        at = scored_at.get(lead)
        grades = ("", "") if at is None else (old.score(lead, at).grade, new.score(lead, at).grade)
        if grades[0] == grades[1] and before[lead] == after[lead]:
            continue
        yield LeadDifference(
            lead=lead,
            old_grade=grades[0],
            new_grade=grades[1],
            old_handoffs=before[lead],
            new_handoffs=after[lead],
            rules=_why(lead, old, new, at) if at is not None and grades[0] != grades[1] else {},
        )


def _why(lead: str, old: Side, new: Side, at: datetime) -> dict[str, float]:
    """Of the half of the grade that changed: the rules that give other points, or else its limits; or the matrix."""
    was, now = old.score(lead, at), new.score(lead, at)
    fit = _rules(was.fit.reasons, now.fit.reasons) or {FIT_LIMITS: 0.0}
    interest = _rules(was.interest.reasons, now.interest.reasons) or {INTEREST_LIMITS: 0.0}
    halves = {
        **(fit if was.fit.grade != now.fit.grade else {}),
        **(interest if was.interest.level != now.interest.level else {}),
    }
    return halves or ({MATRIX: 0.0} if was.grade != now.grade else {})


def _rules(was: Iterable[Reason], now: Iterable[Reason]) -> dict[str, float]:
    """What each rule gives more or less now."""
    changes: defaultdict[str, float] = defaultdict(float)
    for sign, reasons in ((-1, was), (1, now)):
        for reason in reasons:
            changes[reason.rule] += sign * reason.points
    found = {rule: round(points, 1) for rule, points in sorted(changes.items())}
    return {rule: points for rule, points in found.items() if points}


def compared(old: Side, new: Side, found: Iterable[LeadDifference], end: datetime) -> Comparison:
    """What the differences of a part, and the hand-offs behind them, come to."""
    before, after = ({one.lead for one in side.handoffs} for side in (old, new))
    comparison = Comparison(
        handed_by_both=len(before & after), handed_by_old=len(before - after), handed_by_new=len(after - before)
    )
    for one in found:
        comparison.different += 1
        if one.old_grade != one.new_grade:
            comparison.moves[one.old_grade, one.new_grade] += 1
        for rule, points in one.rules.items():
            comparison.rule_leads[rule] += 1
            comparison.rule_tenths[rule] += round(points * 10)
        comparison.shown.append(one)
    comparison.shown = nsmallest(LEADS_SHOWN, comparison.shown, key=lambda one: one.weight)
    for was, now in common(old.handoffs, new.handoffs):
        _judge(comparison.common_old, was, end)
        _judge(comparison.common_new, now, end)
    return comparison


def as_recorded(handoffs: Iterable[HandOff], end: datetime) -> dict[str, Late]:
    """By team, how the first touches really came out that were due by `end`."""
    found: dict[str, Late] = {}
    for one in handoffs:
        _judge(found.setdefault(one.team, Late()), one, end)
    return found


def _judge(late: Late, one: HandOff, end: datetime) -> None:
    if one.outcome in (MET, BREACHED) and one.due_at is not None and one.due_at <= end:
        late.count(late=one.outcome == BREACHED)
