"""The agreement's rules, and every past lead as they would have judged it at its hand-off."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from services.commands.evaluating.history import PastLead
from services.scoring.domain.score import Score, Scorer
from shared.agreement import Agreement
from shared.agreement.conditions import Path
from shared.errors import Broken
from shared.events import Reason

ROLE, FIT, INTEREST = "role", "fit", "interest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule of the scorecard by the name that reasons give it, and where its points stand in the file."""

    name: str
    part: str  # role, fit or interest
    points: float
    path: Path
    asks: frozenset[str] = frozenset()  # the properties that it asks about
    most: float | None = None  # how many whole acts count, by the cap of its family
    disqualifies: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A past lead with its score at the hand-off. `held`: each rule that held, and how strongly (1: whole)."""

    lead: PastLead
    fit: float
    interest: float
    grade: str
    held: Mapping[str, float]

    @property
    def points(self) -> float:
        return self.fit + self.interest

    @property
    def converted(self) -> bool:
        return self.lead.converted


def rules_of(agreement: Agreement) -> tuple[Rule, ...]:
    """In the order of the file. Raises Broken when two have one name: nobody could tell which of them held."""
    found = tuple(_rules(agreement))
    names = Counter(rule.name for rule in found)
    if twice := sorted(name for name, count in names.items() if count > 1):
        raise Broken("ambiguous_rules", f"several rules are called {', '.join(twice)}: give each a name of its own")
    return found


def _rules(agreement: Agreement) -> Iterator[Rule]:
    fit, at = agreement.qualification.fit, ("qualification", "fit")
    for slug, persona in fit.role.items():
        yield Rule(
            name=f"Role: {slug.replace('_', ' ')}",
            part=ROLE,
            points=persona.points,
            path=(*at, "role", slug, "points"),
            asks=persona.when.properties,
        )
    for number, rule in enumerate(fit.rules):
        yield Rule(
            name=rule.name,
            part=FIT,
            points=rule.points,
            path=(*at, "rules", number, "points"),
            asks=rule.when.properties,
            disqualifies=bool(rule.disqualify),
        )
    for name, family in agreement.qualification.interest.families.items():
        for number, signal in enumerate(family.signals):
            yield Rule(
                name=signal.label,
                part=INTEREST,
                points=signal.points,
                path=("qualification", "interest", name, "signals", number, "points"),
                most=family.cap / signal.points,
            )


def judge(scorer: Scorer, rules: Iterable[Rule], leads: Iterable[PastLead]) -> list[Judged]:
    """Each lead as of its own hand-off."""
    points = {rule.name: rule.points for rule in rules}
    return [_judged(lead, scorer.score(lead.known, lead.at), points) for lead in leads]


def _judged(lead: PastLead, score: Score, points: Mapping[str, float]) -> Judged:
    reasons = (*score.fit.reasons, *score.interest.reasons)
    return Judged(
        lead=lead,
        fit=score.fit.points,
        interest=score.interest.points,
        grade=score.grade,
        held={reason.rule: _strength(reason, points[reason.rule]) for reason in reasons if reason.rule in points},
    )


def _strength(reason: Reason, whole: float) -> float:
    return reason.points / whole if whole else 1.0
