"""Interest: what the lead did, each act fading from its own moment on, in closed form."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from services.scoring.domain.lead import Act
from shared.agreement.conditions import Subject
from shared.agreement.qualification import INTEREST_LEVELS, JOURNEY, Interest, Signal
from shared.events import Reason

KNOWN_ACTS: Final = 4096  # how many different pages and forms one agreement remembers the signals of
AWARENESS: Final = JOURNEY[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class InterestScore:
    points: float
    level: str
    journey: str
    families: dict[str, float]
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Signal:
    """A signal with what its family says of it."""

    family: str
    half_life_s: float
    signal: Signal


class Judge:
    """The interest part of one agreement, made ready to be asked often."""

    def __init__(self, interest: Interest) -> None:
        self._interest = interest
        self._caps = {name: family.cap for name, family in interest.families.items()}
        self._signals = tuple(
            _Signal(name, (family.half_life or interest.half_life).total_seconds(), signal)
            for name, family in interest.families.items()
            for signal in family.signals
        )
        journey = {str(stage): needed for stage, needed in interest.journey.items()}
        self._stages = tuple((stage, journey[stage]) for stage in JOURNEY if stage in journey)
        self._signals_of = lru_cache(maxsize=KNOWN_ACTS)(self._match)

    def judge(self, acts: Iterable[Act], now: float) -> InterestScore:
        """What the acts are worth at `now`. An act from the future counts whole. Never rises by waiting."""
        sums: dict[_Signal, float] = {}
        causes: dict[_Signal, str] = {}
        for act in acts:
            for one in self._signals_of(act.form, act.page):
                age = now - act.at
                faded = 0.5 ** (age / one.half_life_s) if age > 0 else 1.0
                sums[one] = sums.get(one, 0.0) + one.signal.points * faded
                causes[one] = act.id
        sums = {one: round(points, 1) for one, points in sums.items()}  # so that the reasons add up
        families = self._capped(sums)
        points = round(sum(families.values()), 1)
        return InterestScore(
            points=points,
            level=next(level for level in INTEREST_LEVELS if points >= self._interest.levels[level]),
            journey=self._journey(families),
            families=families,
            reasons=self._reasons(sums, causes, families),
        )

    def _match(self, form: str, page: str) -> tuple[_Signal, ...]:
        host, slash, path = page.partition("/")
        properties = {"url": page, "host": host, "path": slash + path}
        subject = Subject(properties=properties, forms=frozenset({form}) if form else frozenset())
        on = "form_submitted" if form else "page_visited"
        return tuple(
            one
            for one in self._signals
            if one.signal.on == on and (one.signal.when is None or one.signal.when.holds(subject))
        )

    def _capped(self, sums: dict[_Signal, float]) -> dict[str, float]:
        families = dict.fromkeys(self._caps, 0.0)
        for one, points in sums.items():
            families[one.family] += points
        return {name: round(min(points, self._caps[name]), 1) for name, points in families.items()}

    def _journey(self, families: dict[str, float]) -> str:
        for stage, needed in self._stages:
            if all(families[family] >= points for family, points in needed.items()):
                return stage
        return AWARENESS

    def _reasons(
        self, sums: dict[_Signal, float], causes: dict[_Signal, str], families: dict[str, float]
    ) -> tuple[Reason, ...]:
        """A reason for each signal that is worth something, and one for what a cap took: they add up."""
        reasons = [
            Reason(rule=one.signal.label, points=sums[one], cause=causes[one]) for one in self._signals if sums.get(one)
        ]
        for family, cap in self._caps.items():
            whole = sum(points for one, points in sums.items() if one.family == family)
            if (over := round(whole - families[family], 1)) > 0:
                reasons.append(Reason(rule=f"No more than {cap:g} for {family}", points=-over))
        return tuple(reasons)
