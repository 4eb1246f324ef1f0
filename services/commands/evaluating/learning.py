"""Points learned from history: a logistic regression that shrinks, told as points of the agreement.

scikit-learn is an extra (`pip install 'leadpact[learn]'`): only this module knows it, and only when it is called.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from services.commands.evaluating.figures import CONFIDENCE, z_of
from services.commands.evaluating.judging import INTEREST, ROLE, Judged, Rule

EXTRA: Final = "scikit-learn is not installed: pip install 'leadpact[learn]'"
LEARN_SHARE: Final = 0.7  # of the leads, the earlier ones; the later ones judge what was learned
FEWEST_TO_LEARN: Final = 50  # leads that converted, and as many that did not, to learn from
FEWEST_TO_JUDGE: Final = 20  # of each kind, later
FEWEST_HELD: Final = 20  # leads for which a rule held, and for which it did not
SPREAD: Final = 1.0  # how large a rule's effect may well be, in log-odds: what it shrinks by


@dataclass(frozen=True, kw_only=True)
class Learned:
    """What one rule would be worth. `low` to `high`: where its points lie, so surely as CONFIDENCE."""

    rule: Rule
    points: int
    low: float
    high: float

    @property
    def stays(self) -> bool:
        """Today's points are as likely as any others: no reason to change them."""
        return self.points == self.rule.points or self.low <= self.rule.points <= self.high


@dataclass(frozen=True, kw_only=True)
class NotLearned:
    rule: Rule
    why: str


@dataclass(frozen=True, kw_only=True)
class Scorecard:
    learned: tuple[Learned, ...]
    not_learned: tuple[NotLearned, ...]


def is_installed() -> bool:
    return importlib.util.find_spec("sklearn") is not None


def split(judged: Sequence[Judged]) -> tuple[list[Judged], list[Judged]]:
    """The earlier leads to learn from, and the later ones; leads of one moment stay together."""
    if not judged:
        return [], []
    ordered = sorted(judged, key=lambda one: (one.lead.at, one.lead.key))
    border = ordered[min(len(ordered) - 1, int(len(ordered) * LEARN_SHARE))].lead.at
    return [one for one in ordered if one.lead.at < border], [one for one in ordered if one.lead.at >= border]


def too_small(earlier: Sequence[Judged], later: Sequence[Judged]) -> str:
    """Why nothing can be learned, in numbers; "" when it can."""
    for leads, fewest, what in (
        (earlier, FEWEST_TO_LEARN, "to learn from"),
        (later, FEWEST_TO_JUDGE, "later ones to judge by"),
    ):
        hits = sum(one.converted for one in leads)
        if min(hits, len(leads) - hits) < fewest:
            return (
                f"the history is too small: {what} there are {hits:,} leads that converted and "
                f"{len(leads) - hits:,} that did not, and {fewest} of each are needed"
            )
    return ""


def learn(rules: Sequence[Rule], earlier: Sequence[Judged], leaking: frozenset[str]) -> Scorecard:
    """Points for the rules of which the earlier leads can tell, spread as today's are; the others keep theirs."""
    reasons = {rule.name: _why_not(rule, earlier, leaking) for rule in rules}
    taken = [rule for rule in rules if not reasons[rule.name]]
    left = tuple(NotLearned(rule=rule, why=reasons[rule.name]) for rule in rules if reasons[rule.name])
    if not taken:
        return Scorecard(learned=(), not_learned=left)
    effects, errors, scale = _fit(taken, earlier)
    z = z_of(CONFIDENCE)
    learned = tuple(
        Learned(
            rule=rule,
            points=_allowed(rule, effect * scale),
            low=round((effect - z * error) * scale, 1),
            high=round((effect + z * error) * scale, 1),
        )
        for rule, effect, error in zip(taken, effects, errors, strict=True)
    )
    return Scorecard(learned=learned, not_learned=left)


def _why_not(rule: Rule, earlier: Sequence[Judged], leaking: frozenset[str]) -> str:
    if not rule.points:
        return "has no points"
    if fields := sorted(rule.asks & leaking):
        return f"asks about {', '.join(fields)}, known only after the fact"
    held = sum(rule.name in one.held for one in earlier)
    if min(held, len(earlier) - held) < FEWEST_HELD:
        return f"held for {held:,} of {len(earlier):,} leads: {FEWEST_HELD} with and without it are needed"
    return ""


def _fit(rules: Sequence[Rule], judged: Sequence[Judged]) -> tuple[list[float], list[float], float]:
    """Each rule's effect in log-odds, its standard error, and how many points a unit of log-odds is."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    features = np.array([[_amount(rule, one) for rule in rules] for one in judged])
    converted = np.array([one.converted for one in judged])
    model = LogisticRegression(C=SPREAD**2, max_iter=1000, tol=1e-8).fit(features, converted)
    effects = model.coef_[0]
    chances = model.predict_proba(features)[:, 1]
    errors = _errors(np, features, chances * (1 - chances))
    now = float(np.std(features @ np.array([rule.points for rule in rules])))
    then = float(np.std(features @ effects))
    return [float(one) for one in effects], errors, now / then if then else 0.0


def _errors(np: Any, features: Any, weights: Any) -> list[float]:
    """By the curvature of the penalised likelihood at its top (Laplace); the intercept is not shrunk."""
    whole = np.hstack([features, np.ones((len(features), 1))])
    shrink = np.diag([1 / SPREAD**2] * features.shape[1] + [0.0])
    curvature = whole.T @ (whole * weights[:, None]) + shrink
    return [math.sqrt(one) for one in np.diag(np.linalg.inv(curvature))[:-1]]


def _amount(rule: Rule, one: Judged) -> float:
    """How strongly it held, as far as the cap of its family lets it count."""
    return min(one.held.get(rule.name, 0.0), rule.most or math.inf)


def _allowed(rule: Rule, points: float) -> int:
    """Whole points that the agreement can say: a signal's are above nothing, a rule's are not nothing."""
    whole = round(points)
    if rule.part == INTEREST:
        return max(1, whole)
    if whole == 0 and rule.part != ROLE:
        return -1 if points < 0 else 1
    return whole
