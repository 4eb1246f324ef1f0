"""Fit: does the person match a target persona and the company match ours, by what is known of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from shared.agreement.conditions import Condition, Subject, Why
from shared.agreement.qualification import Fit
from shared.events import Reason, ToFindOut


@dataclass(frozen=True, slots=True, kw_only=True)
class FitScore:
    """What fit comes to. `to_find_out` is what is not known yet, the most points first."""

    points: float
    grade: str
    disqualified: str
    reasons: tuple[Reason, ...]
    to_find_out: tuple[ToFindOut, ...] = ()


def judge(fit: Fit, subject: Subject) -> FitScore:
    """The best persona's points and those of every rule that holds; the first disqualifying rule's reason."""
    reasons: list[Reason] = []
    if best := _best_persona(fit, subject):
        reasons.append(best)
    disqualified = ""
    unknown: list[ToFindOut] = list(_personas_to_find_out(fit, subject, best))
    for rule in fit.rules:
        held = rule.when.asked(subject)
        if held:
            reasons.append(Reason(rule=rule.name, points=rule.points))
            disqualified = disqualified or rule.disqualify
        elif held is None:
            unknown.append(_to_find_out(rule.name, rule.points, rule.when, subject, disqualify=rule.disqualify))
    points = round(sum(reason.points for reason in reasons), 1)
    return FitScore(
        points=points,
        grade=fit.grade_at(points),
        disqualified=disqualified,
        reasons=tuple(reasons),
        to_find_out=tuple(sorted((one for one in unknown if one.properties), key=_most_first)),
    )


def _personas_to_find_out(fit: Fit, subject: Subject, best: Reason | None) -> Iterator[ToFindOut]:
    """Personas of which it is not known, each with what it would change by itself: only the best one counts."""
    for name, persona in fit.role.items():
        if best is not None and persona.points <= best.points:
            continue
        if persona.when.asked(subject) is None:
            yield _to_find_out(_role(name), persona.points - (best.points if best else 0.0), persona.when, subject)


def _to_find_out(rule: str, points: float, when: Condition, subject: Subject, *, disqualify: str = "") -> ToFindOut:
    asked = dict.fromkeys(seen.asks for seen in when.why(subject).because if seen.asks)
    return ToFindOut(rule=rule, points=round(points, 1), disqualify=disqualify, properties=tuple(asked))


def _most_first(one: ToFindOut) -> tuple[int, float]:
    """What may be gained, then what may be lost, each the most first; then what would only disqualify."""
    kind = 0 if one.points > 0 else 1 if one.points < 0 else 2
    return kind, -abs(one.points)


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
