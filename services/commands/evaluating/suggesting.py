"""Points learned from the earlier leads, as the agreement with other numbers, judged on the later ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from services.commands.evaluating import learning, patching
from services.commands.evaluating.figures import Estimate, auc_difference, auc_estimate
from services.commands.evaluating.judging import INTEREST, Judged, Rule, judge, rules_of
from services.commands.evaluating.learning import Learned, Scorecard
from services.scoring.domain.score import Scorer
from shared.agreement.conditions import Path
from shared.errors import Broken


@dataclass(frozen=True, kw_only=True)
class Part:
    """The earlier or the later leads."""

    leads: int
    converted: int
    first: datetime
    last: datetime


@dataclass(frozen=True, kw_only=True)
class Points:
    """One rule's points, now and as suggested. `learned` None: it was not learned, and `why` says the reason."""

    rule: str
    now: float
    suggested: float
    learned: int | None = None
    low: float | None = None
    high: float | None = None
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """What was learned, and what it is worth on later leads. `why_not`: "" when it is offered."""

    why_not: str
    learned_from: Part | None = None
    judged_on: Part | None = None
    auc_now: Estimate | None = None
    auc_suggested: Estimate | None = None
    better_by: Estimate | None = None
    points: tuple[Points, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Suggested:
    """The suggested agreement's text, and the later leads as it judges them, beside how they are judged now."""

    text: str
    now: tuple[Judged, ...]
    then: tuple[Judged, ...]


def suggest(
    rules: Sequence[Rule], judged: Sequence[Judged], text: str, leaking: frozenset[str]
) -> tuple[Suggestion, Suggested | None]:
    """None beside the suggestion: nothing is offered, and the suggestion says why."""
    earlier, later = learning.split(judged)
    begun = Suggestion(why_not="", learned_from=_part(earlier), judged_on=_part(later), auc_now=_auc(later))
    if why_not := learning.too_small(earlier, later) or ("" if learning.is_installed() else learning.EXTRA):
        return replace(begun, why_not=why_not), None
    scorecard = learning.learn(rules, earlier, leaking)
    begun = replace(begun, points=_points(rules, scorecard))
    changed = {one.rule.path: one.points for one in scorecard.learned if not one.stays}
    if not changed:
        return replace(begun, why_not="today's points lie where history would put them"), None
    new = patching.patched(text, changed, _head(begun))
    then = _judged_by(new, rules, changed, later)
    better_by = _difference(then, later)
    suggestion = replace(begun, why_not=_why_not(_auc(then), better_by), auc_suggested=_auc(then), better_by=better_by)
    if suggestion.why_not:
        return replace(suggestion, points=tuple(replace(one, suggested=one.now) for one in begun.points)), None
    return suggestion, Suggested(text=new, now=tuple(later), then=tuple(then))


def _why_not(then: Estimate | None, better_by: Estimate | None) -> str:
    if then is None or then.low <= 0.5:
        return "what was learned from the earlier leads does not order the later ones better than chance"
    if better_by is None or better_by.value <= 0:
        return "today's points order the later leads as well as what was learned from the earlier ones"
    return ""


def _auc(judged: Sequence[Judged]) -> Estimate | None:
    return auc_estimate([one.points for one in judged], [one.converted for one in judged])


def _difference(then: Sequence[Judged], now: Sequence[Judged]) -> Estimate | None:
    """Of the same leads, in the same order."""
    return auc_difference([one.points for one in then], [one.points for one in now], [one.converted for one in now])


def _part(judged: Sequence[Judged]) -> Part | None:
    if not judged:
        return None
    times = [one.lead.at for one in judged]
    return Part(leads=len(judged), converted=sum(one.converted for one in judged), first=min(times), last=max(times))


def _points(rules: Sequence[Rule], scorecard: Scorecard) -> tuple[Points, ...]:
    learned = {one.rule.name: one for one in scorecard.learned}
    reasons = {one.rule.name: one.why for one in scorecard.not_learned}
    found = []
    for rule in rules:
        one = learned.get(rule.name)
        if one is None:
            found.append(Points(rule=rule.name, now=rule.points, suggested=rule.points, why=reasons[rule.name]))
            continue
        suggested = rule.points if one.stays else one.points
        found.append(
            Points(
                rule=rule.name,
                now=rule.points,
                suggested=suggested,
                learned=one.points,
                low=one.low,
                high=one.high,
                why=_remark(one),
            )
        )
    return tuple(found)


def _remark(one: Learned) -> str:
    if one.rule.part == INTEREST and one.high <= 0:
        return "less than nothing, which a signal cannot be: leave it out"
    if not one.stays and one.low <= 0 <= one.high:
        return "perhaps nothing: leave it out?"
    return "today's points are as likely" if one.stays and one.points != one.rule.points else ""


def _judged_by(text: str, rules: Sequence[Rule], changed: dict[Path, int], later: Sequence[Judged]) -> list[Judged]:
    """The later leads by the suggested agreement itself: caps, fading and all. Raises Broken when it came out wrong."""
    agreement = patching.read(text)
    new = rules_of(agreement)
    wanted = {rule.name: float(changed.get(rule.path, rule.points)) for rule in rules}
    if {rule.name: rule.points for rule in new} != wanted:
        raise Broken("cannot_patch", "the points do not stand in the file as plain numbers, so none can be suggested")
    return judge(Scorer(agreement), new, [one.lead for one in later])


def _head(begun: Suggestion) -> list[str]:
    part = begun.learned_from
    assert part is not None, "learned from nothing"
    return [
        "Suggested by `leadpact scoring evaluate`: points learned from "
        f"{part.leads:,} leads handed off from {part.first:%Y-%m-%d} to {part.last:%Y-%m-%d}, {part.converted:,} of "
        "which converted.",
        "To be read by both teams (leadpact agreement diff), tried (backtest) and signed anew. Nothing applies it.",
        "Limits of grades, levels and triggers are as they were: look whether they still fit.",
    ]
