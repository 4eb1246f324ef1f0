"""Interest: what the lead did, each act fading from its own moment on, in closed form.

Waiting alone never raises it: an act fades, and falls out of its window at once. Which acts count once, of a
lead or of a day, depends on when they happened and not on when somebody asks; so it does in any order, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from math import floor, inf, log2
from typing import Final
from zoneinfo import ZoneInfo

from msgspec import Struct

from services.scoring.domain.acts import FORM, LATEST_S, PAGE, Did
from shared.agreement.conditions import Subject
from shared.agreement.qualification import JOURNEY, Interest, Signal
from shared.events import Reason

KNOWN_ACTS: Final = 4096  # how many different pages, forms and changes one agreement remembers the signals of
AWARENESS: Final = JOURNEY[-1]
DAY_S: Final = 86_400
LONGEST_S: Final = 100 * 365 * DAY_S  # what falls later than in a hundred years does not fall for us


class InterestScore(Struct, frozen=True, kw_only=True, gc=False):
    """What interest comes to. `stands_until`: before it level and stage fall in no case, in seconds; inf: never."""

    points: float
    level: str
    journey: str
    families: dict[str, float]
    reasons: tuple[Reason, ...]
    stands_until: float


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
        self._needed: dict[str, dict[str, float]] = {stage: journey[stage] for stage in JOURNEY if stage in journey}
        self._signals_of = lru_cache(maxsize=KNOWN_ACTS)(self._match)
        self._rest = self._standing(dict.fromkeys(self._caps, 0.0))
        self._fastest_s = min((one.half_life_s for one in self._signals), default=inf)
        self._nothing = self._come_to({}, {}, inf, now=0.0)

    def judge(self, acts: Iterable[Did], now: float) -> InterestScore:
        """What the acts are worth at `now`. Never rises by waiting."""
        sums: dict[_Signal, float] = {}
        causes: dict[_Signal, str] = {}
        window_ends = inf
        for one, act in self._counted(acts):
            sums[one] = sums.get(one, 0.0) + one.worth(act.at, now)
            causes[one] = act.id
            if now < act.at + one.within_s < window_ends:
                window_ends = act.at + one.within_s
        return self._come_to(sums, causes, window_ends, now) if sums else self._nothing

    def _come_to(
        self, sums: dict[_Signal, float], causes: dict[_Signal, str], window_ends: float, now: float
    ) -> InterestScore:
        sums = {one: round(points, 1) for one, points in sums.items()}  # so that the reasons add up
        families = self._capped((one.family, points) for one, points in sums.items())
        stands = self._standing(families)
        return InterestScore(
            points=_total(families),
            level=stands[0],
            journey=stands[1],
            families=families,
            reasons=self._reasons(sums, causes, families),
            stands_until=self._stands_until(stands, families, len(sums), window_ends, now),
        )

    def falls_at(self, acts: Iterable[Did], now: float) -> float:
        """The first whole second after `now` at which the level or the stage is not what it is; inf: never.

        Both only fall, so that second is found by halving; points are compared as they are told, to 0.1.
        """
        fading = _Fading(self._counted(acts), now)
        counted = fading.told(now)
        stands = self._standing(self._capped(counted))
        if stands == self._rest:
            return inf
        level, stage = stands
        least, needed = self._interest.levels[level], self._needed.get(stage, {})
        slack = _slack(len(counted))

        def holds(after: int) -> bool:
            """Whether it still is, so many seconds after. Rounding is slow, and counts only near a limit."""
            families = self._summed(fading.at(begin + after))
            more: float = min(
                [sum(families.values()) - least, *(families[name] - points for name, points in needed.items())]
            )
            if abs(more) > slack:
                return more > 0
            families = self._capped(fading.told(begin + after))
            return _total(families) >= least and all(families[name] >= points for name, points in needed.items())

        begin, last, after = floor(now), 0, DAY_S
        while holds(after):
            last, after = after, after * 2
            if after > LONGEST_S:
                return inf
        while after - last > 1:
            middle = (last + after) // 2
            last, after = (middle, after) if holds(middle) else (last, middle)
        return float(begin + after)

    def _stands_until(
        self, stands: tuple[str, str], families: dict[str, float], signals: int, window_ends: float, now: float
    ) -> float:
        """As if everything faded as fast as the fastest does, and a window took all: no later than it falls."""
        if stands == self._rest:
            return inf
        level, stage = stands
        limits = [(_total(families), self._interest.levels[level])]
        limits += [(families[name], points) for name, points in self._needed.get(stage, {}).items()]
        slack = _slack(signals)
        left = max([(least + slack) / (points - slack) if points > slack else 1.0 for points, least in limits if least])
        until = min(window_ends, now if left >= 1.0 else now - log2(left) * self._fastest_s)
        return until if until - now < LONGEST_S else inf

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

    def _summed(self, sums: Iterable[tuple[str, float]]) -> dict[str, float]:
        """Points by family, of the points of each signal."""
        families = dict.fromkeys(self._caps, 0.0)
        for family, points in sums:
            families[family] += points
        return {name: min(points, self._caps[name]) for name, points in families.items()}

    def _capped(self, sums: Iterable[tuple[str, float]]) -> dict[str, float]:
        """The same as it is told."""
        return {name: round(points, 1) for name, points in self._summed(sums).items()}

    def _journey(self, families: dict[str, float]) -> str:
        for stage, needed in self._needed.items():
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


class _Fading:
    """What counts for each signal, made ready to be asked for many later moments.

    What fades alike is one lump; what will fall out of its window, or is still to come, stands for itself.
    """

    def __init__(self, counted: Iterable[tuple[_Signal, Did]], since: float) -> None:
        self._since = since
        lumps: dict[_Signal, float] = {}
        self._single: dict[_Signal, list[float]] = {}
        for one, act in counted:
            if act.at > since or one.within_s < inf:
                self._single.setdefault(one, []).append(act.at)
            else:
                lumps[one] = lumps.get(one, 0.0) + one.worth(act.at, since)
        self._mixed = {one: lumps.pop(one, 0.0) for one in self._single}
        self._lumps = [(one.family, one.half_life_s, points) for one, points in lumps.items()]

    def at(self, moment: float) -> list[tuple[str, float]]:
        """The points of each signal then, with its family."""
        passed = moment - self._since
        found = [(family, points * 0.5 ** (passed / half)) for family, half, points in self._lumps]
        for one, points in self._mixed.items():
            left = points * 0.5 ** (passed / one.half_life_s)
            found.append((one.family, left + sum(one.worth(at, moment) for at in self._single[one])))
        return found

    def told(self, moment: float) -> list[tuple[str, float]]:
        """The same as it is told."""
        return [(family, round(points, 1)) for family, points in self.at(moment)]


def _slack(signals: int) -> float:
    """What rounding of so many signals, their families and their sum can make of the points."""
    return 0.05 * (2 * signals + 1) + 1e-6


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
