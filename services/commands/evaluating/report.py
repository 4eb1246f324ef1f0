"""The findings of an evaluation as plain data: what screen, page and JSON show."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.commands.evaluating import leaks, suggesting, verdicts
from services.commands.evaluating.figures import Estimate, auc_estimate, lifts, wilson
from services.commands.evaluating.history import History, LeftOut, Stage
from services.commands.evaluating.judging import Judged, judge, rules_of
from services.commands.evaluating.leaks import LeakFinding
from services.commands.evaluating.suggesting import Suggested, Suggestion
from services.commands.evaluating.verdicts import RuleFinding, Verdict
from services.scoring.domain.score import Scorer
from shared.agreement import Agreement


@dataclass(frozen=True, kw_only=True)
class Separation:
    """How well each part of the score orders the leads; None: nothing to order."""

    points: Estimate | None
    grade: Estimate | None
    fit: Estimate | None
    interest: Estimate | None


@dataclass(frozen=True, kw_only=True)
class GradeRow:
    """What became of the leads of one grade. `lift`: how many times all leads' share; None: nobody converted."""

    grade: str
    leads: int
    converted: int
    share: Estimate
    lift: float | None


@dataclass(frozen=True, kw_only=True)
class Misplaced:
    """A grade that converts surely worse than one that the agreement holds for worse."""

    better: str
    worse: str


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """How many of the grades are those that the hand-offs told at their time."""

    same: int
    of: int


@dataclass(frozen=True, kw_only=True)
class Report:
    """All of it. No lead is named."""

    agreement: str
    version: str
    source: str
    to: Stage
    window: timedelta
    first: datetime
    last: datetime
    until: datetime
    leads: int
    converted: int
    share: Estimate
    left_out: LeftOut
    recorded: Recorded
    separation: Separation
    grades: tuple[GradeRow, ...]
    misplaced: tuple[Misplaced, ...]
    rules: tuple[RuleFinding, ...]
    leaks: tuple[LeakFinding, ...]
    late_values: bool
    suggestion: Suggestion

    @property
    def contradicting(self) -> list[RuleFinding]:
        return [one for one in self.rules if one.verdict is Verdict.CONTRADICTS]

    @property
    def leaking(self) -> list[LeakFinding]:
        """The leaks that a rule asks about."""
        return [one for one in self.leaks if one.rules]

    @property
    def found(self) -> bool:
        """Whether a rule is wrong."""
        return bool(self.contradicting or self.leaking)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A report, the suggested agreement (None: none is suggested), and what its curves are drawn from."""

    report: Report
    suggested: Suggested | None
    judged: tuple[Judged, ...]


def evaluate(history: History, stage: Stage, agreement: Agreement, text: str) -> Evaluation:
    """Judge the agreement, whose file says `text`, by the history. The history must have leads."""
    rules = rules_of(agreement)
    judged = judge(Scorer(agreement), rules, history.leads)
    leaking = leaks.find(history.leads, rules, late_values=history.late_values)
    suggestion, suggested = suggesting.suggest(rules, judged, text, frozenset(one.field for one in leaking))
    converted = sum(one.converted for one in judged)
    share = wilson(converted, len(judged))
    assert share is not None, "a history without leads"
    ranks = agreement.qualification.ranks
    grades = _grades(judged, ranks)
    report = Report(
        agreement=agreement.name,
        version=agreement.version,
        source=history.source,
        to=stage,
        window=history.window,
        first=history.leads[0].at,
        last=history.leads[-1].at,
        until=history.until,
        leads=len(judged),
        converted=converted,
        share=share,
        left_out=history.left_out,
        recorded=_recorded(judged),
        separation=_separation(judged, ranks),
        grades=grades,
        misplaced=tuple(_misplaced(grades, ranks)),
        rules=tuple(verdicts.find(rules, judged)),
        leaks=tuple(leaking),
        late_values=history.late_values,
        suggestion=suggestion,
    )
    return Evaluation(report=report, suggested=suggested, judged=tuple(judged))


def _separation(judged: Sequence[Judged], ranks: Mapping[str, int]) -> Separation:
    converted = [one.converted for one in judged]
    return Separation(
        points=auc_estimate([one.points for one in judged], converted),
        grade=auc_estimate([ranks[one.grade] for one in judged], converted),
        fit=auc_estimate([one.fit for one in judged], converted),
        interest=auc_estimate([one.interest for one in judged], converted),
    )


def _grades(judged: Iterable[Judged], ranks: Mapping[str, int]) -> tuple[GradeRow, ...]:
    """From the best to the worst."""
    by_grade: defaultdict[str, list[bool]] = defaultdict(list)
    for one in judged:
        by_grade[one.grade].append(one.converted)
    found = []
    names = sorted(by_grade, key=lambda grade: (-ranks[grade], grade))
    groups = [(sum(by_grade[name]), len(by_grade[name])) for name in names]
    for name, (hits, of), lift in zip(names, groups, lifts(groups), strict=True):
        share = wilson(hits, of)
        assert share is not None, "a grade that nobody has"
        found.append(GradeRow(grade=name, leads=of, converted=hits, share=share, lift=lift))
    return tuple(found)


def _misplaced(grades: Sequence[GradeRow], ranks: Mapping[str, int]) -> list[Misplaced]:
    return [
        Misplaced(better=one.grade, worse=other.grade)
        for one in grades
        for other in grades
        if ranks[one.grade] > ranks[other.grade] and one.share.high < other.share.low
    ]


def _recorded(judged: Iterable[Judged]) -> Recorded:
    known = [one for one in judged if one.lead.recorded_grade]
    return Recorded(same=sum(one.grade == one.lead.recorded_grade for one in known), of=len(known))
