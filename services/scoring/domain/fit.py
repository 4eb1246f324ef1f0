"""Fit: does the person match a target persona and the company match ours, by what is known of them."""

from __future__ import annotations

from dataclasses import dataclass

from shared.agreement.conditions import Condition, Subject, Why
from shared.agreement.qualification import Fit
from shared.events import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class FitScore:
    points: float
    grade: str
    disqualified: str
    reasons: tuple[Reason, ...]


def judge(fit: Fit, subject: Subject) -> FitScore:
    """The best persona's points and those of every rule that holds; the first disqualifying rule's reason."""
    reasons: list[Reason] = []
    if best := _best_persona(fit, subject):
        reasons.append(best)
    disqualified = ""
    for rule in fit.rules:
        if rule.when.holds(subject):
            reasons.append(Reason(rule=rule.name, points=rule.points))
            disqualified = disqualified or rule.disqualify
    points = round(sum(reason.points for reason in reasons), 1)
    grade = fit.grade_at(points)
    return FitScore(points=points, grade=grade, disqualified=disqualified, reasons=tuple(reasons))


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What one persona or rule came to, and why; `held` None: not known. PERSONAL: why."""

    rule: str
    held: bool | None
    why: Why


def explain(fit: Fit, subject: Subject) -> tuple[Asked, ...]:
    """Every persona and rule, also those that did not hold."""
    asked = [(_role(name), persona.when) for name, persona in fit.role.items()]
    asked += [(rule.name, rule.when) for rule in fit.rules]
    found = [(rule, when.why(subject)) for rule, when in asked]
    return tuple(Asked(rule=rule, held=why.held, why=why) for rule, why in found)


def conditions(fit: Fit) -> tuple[Condition, ...]:
    """Everything that fit asks about a lead."""
    return (*(persona.when for persona in fit.role.values()), *(rule.when for rule in fit.rules))


def _role(name: str) -> str:
    return f"Role: {name.replace('_', ' ')}"


def _best_persona(fit: Fit, subject: Subject) -> Reason | None:
    held = [(persona.points, name) for name, persona in fit.role.items() if persona.when.holds(subject)]
    if not held:
        return None
    points, name = max(held)
    return Reason(rule=_role(name), points=points)
