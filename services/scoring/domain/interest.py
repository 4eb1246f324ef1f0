"""Interest: what the lead did, each act fading from its own moment on, in closed form.

Waiting alone never raises it: an act fades, and falls out of its window at once. Which acts count once, of a
lead or of a day, depends on when they happened and not on when somebody asks; so it does in any order, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from math import inf
from typing import Final
from zoneinfo import ZoneInfo

from services.scoring.domain.acts import FORM, LATEST_S, PAGE, Did
from shared.agreement.conditions import Subject
from shared.agreement.qualification import JOURNEY, Interest, Signal
from shared.events import Reason

KNOWN_ACTS: Final = 4096  # how many different pages, forms and changes one agreement remembers the signals of
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
    within_s: float
    signal: Signal

    def worth(self, at: float, now: float) -> float:
        """What is left at `now` of an act at that moment; one from the future counts whole."""
        age = now - at
        if age >= self.within_s:
            return 0.0
        return self.signal.points * (0.5 ** (age / self.half_life_s) if age > 0 else 1.0)


class Judge:
    """The interest part of one agreement, made ready to be asked often."""

    def __init__(self, interest: Interest, timezone: str) -> None:
        """`timezone`: of the days in which something counts once."""
        self._interest = interest
        self._zone = ZoneInfo(timezone)
        self._caps = {name: family.cap for name, family in interest.families.items()}
        self._signals = tuple(
            _Signal(
                name,
                (family.half_life or interest.half_life).total_seconds(),
                signal.within.total_seconds() if signal.within else inf,
                signal,
            )
            for name, family in interest.families.items()
            for signal in family.signals
        )
        journey = {str(stage): needed for stage, needed in interest.journey.items()}
        self._stages = tuple((stage, journey[stage]) for stage in JOURNEY if stage in journey)
        self._signals_of = lru_cache(maxsize=KNOWN_ACTS)(self._match)

    def judge(self, acts: Iterable[Did], now: float) -> InterestScore:
        """What the acts are worth at `now`. Never rises by waiting."""
        sums: dict[_Signal, float] = {}
        causes: dict[_Signal, str] = {}
        for one, act in self._counted(acts):
            sums[one] = sums.get(one, 0.0) + one.worth(act.at, now)
            causes[one] = act.id
        sums = {one: round(points, 1) for one, points in sums.items()}  # so that the reasons add up
        families = self._capped(sums)
        level, journey = self._standing(families)
        return InterestScore(
            points=_total(families),
            level=level,
            journey=journey,
            families=families,
            reasons=self._reasons(sums, causes, families),
        )

    def _counted(self, acts: Iterable[Did]) -> Iterator[tuple[_Signal, Did]]:
        """Every act with each signal that it counts for; of what counts once the newest, which fades last."""
        newest: dict[tuple[_Signal, int], Did] = {}
        for act in acts:
            for one in self._signals_of(act.on, act.what, act.where):
                if one.signal.once is None:
                    yield one, act
                else:
                    key = one, self._day(act.at) if one.signal.once == "per_day" else 0
                    newest[key] = max(newest.get(key, act), act)
        yield from ((one, act) for (one, _), act in newest.items())

    def _day(self, at: float) -> int:
        """The day of a moment, where the agreement lives."""
        return datetime.fromtimestamp(min(at, LATEST_S), self._zone).toordinal()

    def _match(self, on: str, what: str, where: str) -> tuple[_Signal, ...]:
        subject = _subject(on, what, where)
        return tuple(
            one
            for one in self._signals
            if one.signal.on == on and (one.signal.when is None or one.signal.when.holds(subject))
        )

    def _standing(self, families: dict[str, float]) -> tuple[str, str]:
        """Level and stage of the journey."""
        return self._interest.level_at(_total(families)), self._journey(families)

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


def _total(families: dict[str, float]) -> float:
    return round(sum(families.values()), 1)


def _subject(on: str, what: str, where: str) -> Subject:
    """What a signal's condition asks about: a page, a form on its page, or the one property that changed."""
    if on not in (FORM, PAGE):
        return Subject(properties={what: where} if what else {})
    form, page = (what, where) if on == FORM else ("", what)
    host, slash, path = page.partition("/")
    properties = {"url": page, "host": host, "path": slash + path}
    return Subject(properties=properties, forms=frozenset({form}) if form else frozenset())
