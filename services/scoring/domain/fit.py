"""Fit: does the person match a target persona and the company match ours, by what is known of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from msgspec import Struct

from shared.agreement.conditions import Condition, Subject, Why
from shared.agreement.qualification import Fit
from shared.events import Reason, ToFindOut

KNOWN_VALUES: Final = 1024  # of what one rule asks about: it remembers what it came to of so many


class FitScore(Struct, frozen=True, kw_only=True, gc=False):
    """What fit comes to. `to_find_out` is what is not known yet, the most points first."""

    points: float
    grade: str
    disqualified: str
    reasons: tuple[Reason, ...]
    to_find_out: tuple[ToFindOut, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What one persona or rule came to, and why; `held` None: not known. PERSONAL: why."""

    rule: str
    held: bool | None
    why: Why


class Judge:
    """The fit part of one agreement, made ready to be asked often."""

    def __init__(self, fit: Fit) -> None:
        self._grade_at = fit.grade_at
        self._personas = tuple(_Rule(_role(name), one.when, one.points) for name, one in fit.role.items())
        self._rules = tuple(_Rule(one.name, one.when, one.points, one.disqualify) for one in fit.rules)
        self.properties = frozenset[str]().union(*(rule.when.properties for rule in (*self._personas, *self._rules)))

    def judge(self, subject: Subject) -> FitScore:
        """The best persona's points and those of every rule that holds; the first disqualifying rule's reason."""
        best, unknown = self._best_persona(subject)
        reasons = [best.reason] if best else []
        disqualified = ""
        for rule in self._rules:
            held, lacks = rule.answer(subject)
            if held:
                reasons.append(rule.reason)
                disqualified = disqualified or rule.disqualify
            elif lacks:
                unknown.append(rule.to_find_out(lacks))
        points = round(sum([reason.points for reason in reasons]), 1)
        return FitScore(
            points=points,
            grade=self._grade_at(points),
            disqualified=disqualified,
            reasons=tuple(reasons),
            to_find_out=tuple(sorted(unknown, key=_most_first)),
        )

    def explain(self, subject: Subject) -> tuple[Asked, ...]:
        """Every persona and rule, also those that did not hold."""
        found = [(rule.name, rule.when.why(subject)) for rule in (*self._personas, *self._rules)]
        return tuple(Asked(rule=rule, held=why.held, why=why) for rule, why in found)

    def _best_persona(self, subject: Subject) -> tuple[_Rule | None, list[ToFindOut]]:
        """The best that holds, and those that would be better but are not known: what each would add to it."""
        best: _Rule | None = None
        unknown: list[tuple[_Rule, tuple[str, ...]]] = []
        for rule in self._personas:
            held, lacks = rule.answer(subject)
            if held and (best is None or (rule.points, rule.name) > (best.points, best.name)):
                best = rule
            elif lacks:
                unknown.append((rule, lacks))
        has = best.points if best else 0.0
        return best, [rule.to_find_out(lacks, has) for rule, lacks in unknown if best is None or rule.points > has]


class _Answer(NamedTuple):
    """Whether a rule holds, and the properties that are not known and would decide it."""

    held: bool | None
    lacks: tuple[str, ...] = ()


class _Rule:
    """A persona or a rule. Most of what it is asked, it was asked before: many leads have the same few values."""

    __slots__ = ("_remembered", "disqualify", "name", "points", "properties", "reason", "when")

    def __init__(self, name: str, when: Condition, points: float, disqualify: str = "") -> None:
        self.name: Final = name
        self.when: Final = when
        self.points: Final = points
        self.disqualify: Final = disqualify
        self.reason: Final = Reason(rule=name, points=points)
        self.properties: Final = tuple(sorted(when.properties))
        self._remembered = lru_cache(maxsize=KNOWN_VALUES)(self._of)

    def answer(self, subject: Subject) -> _Answer:
        if self.when.references:  # they ask about more than it names
            return self._asked(subject)
        known = subject.properties
        return self._remembered(*[known.get(name) for name in self.properties])

    def to_find_out(self, lacks: tuple[str, ...], has: float = 0.0) -> ToFindOut:
        points = round(self.points - has, 1)
        return ToFindOut(rule=self.name, points=points, disqualify=self.disqualify, properties=lacks)

    def _of(self, *values: str | None) -> _Answer:
        known = zip(self.properties, values, strict=True)
        return self._asked(Subject(properties={name: value for name, value in known if value is not None}))

    def _asked(self, subject: Subject) -> _Answer:
        held = self.when.asked(subject)
        if held is not None:
            return _Answer(held)
        return _Answer(None, tuple(dict.fromkeys(seen.asks for seen in self.when.why(subject).because if seen.asks)))


def _most_first(one: ToFindOut) -> tuple[int, float]:
    """What may be gained, then what may be lost, each the most first; then what would only disqualify."""
    kind = 0 if one.points > 0 else 1 if one.points < 0 else 2
    return kind, -abs(one.points)


def _role(name: str) -> str:
    return f"Role: {name.replace('_', ' ')}"
