"""Working time: when a team is there, and counting by that in real elapsed hours.

A calendar is open whenever the clock on its wall shows a time within an opening of that day. So an
hour that the wall shows twice counts twice, one that it skips counts not at all, and a day that a
zone leaves out has none. A shift over midnight belongs to the day on which it begins: it runs to its
end into a holiday. Whatever touches or overlaps across midnight is one stretch, counted once.

Nothing is walked: a calendar keeps a table of each year that somebody asked for, and a question is
one search in it. All moments are aware; answers are in UTC, exact to the microsecond.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from itertools import pairwise
from typing import Final, Literal, get_args
from zoneinfo import ZoneInfo

from holidays import country_holidays

from shared.errors import Refused

Unit = Literal["s", "m", "h", "d", "w"]
Opening = tuple[int, int]
"""From and until, in minutes of the day on which it begins; until is beyond 1440 when it runs over midnight."""
Hours = tuple[Opening, ...]
"""The openings of a day; none when it is closed."""
Stretch = tuple[int, int]

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
NOTHING: Final = timedelta(0)
MICROSECOND: Final = timedelta(microseconds=1)
SECOND_US: Final = 1_000_000
MINUTE_US: Final = 60 * SECOND_US
DAY_US: Final = 86_400 * SECOND_US
DAY_MINUTES: Final = 1440
WEEK_MINUTES: Final = 7 * DAY_MINUTES
WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
SECONDS: Final[Mapping[Unit, int]] = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
UNIT_NAMES: Final[Mapping[str, Unit]] = {"second": "s", "minute": "m", "hour": "h", "hr": "h", "day": "d", "week": "w"}
LONGEST: Final = timedelta(days=3660)  # ten years: what is longer is a slip
HORIZON_YEARS: Final = 60
YEARS: Final = range(1900, 2301)  # a moment outside is a slip, too
# A year's local days, seen from UTC: no zone is a whole day off, and a shift lasts a day at most.
DAYS_AROUND: Final = 3
CLOSED: Final = "closed"

# --- what a person writes ---


@dataclass(frozen=True, kw_only=True)
class Span:
    """A length of working time as a person writes it; `Calendar.time_of` says how long that is."""

    amount: int
    unit: Unit

    @classmethod
    def parse(cls, text: str) -> Span:
        """The span that is written as 30m, 4h, 1d or 2w. Raises ValueError, in words, for anything else."""
        match = re.fullmatch(r"([0-9]{1,6})\s*([smhdw])", text)
        if match is None:
            meant = _meant_span(text)
            raise ValueError(f"must be a duration, as 30m, 4h, 1d or 2w{f'; did you mean {meant}?' if meant else ''}")
        amount = int(match[1])
        unit = next(one for one in get_args(Unit) if one == match[2])
        if timedelta(seconds=amount * SECONDS[unit]) > LONGEST:
            raise ValueError(f"must not be longer than {LONGEST.days}d")
        return cls(amount=amount, unit=unit)

    def __str__(self) -> str:
        return f"{self.amount}{self.unit}"

    @cached_property
    def elapsed(self) -> timedelta:
        """How long it is where a day has 24 hours."""
        return timedelta(seconds=self.amount * SECONDS[self.unit])

    def __bool__(self) -> bool:
        return self.amount > 0


_CLOCK_UNITS: Final[tuple[Unit, ...]] = ("h", "m", "s")


def _meant_span(text: str) -> str:
    """Of `90 min` 90m, of `1h30m` and `1.5h` 90m: a day is as long as a calendar makes it. Else nothing."""
    if re.fullmatch(r"([0-9]{1,6}(\.[0-9]{1,2})?\s*[a-zA-Z]+\s*)+", text) is None:
        return ""
    said = re.findall(r"([0-9.]+)\s*([a-zA-Z]+)", text)
    units = [unit for _, word in said if (unit := _meant_unit(word))]
    if len(units) < len(said):
        return ""
    if len(said) == 1 and said[0][0].isdigit():
        return f"{said[0][0]}{units[0]}"
    seconds = sum(float(amount) * SECONDS[unit] for (amount, _), unit in zip(said, units, strict=True))
    if {"d", "w"} & set(units) or seconds % 1:
        return ""
    return next(f"{seconds / SECONDS[unit]:.0f}{unit}" for unit in _CLOCK_UNITS if seconds % SECONDS[unit] == 0)


def _meant_unit(word: str) -> Unit | None:
    """Of `Hours` h; nothing of what is none, as months, or may be months, as M."""
    if word == "M":
        return None
    said = word.lower().removesuffix("s") or word.lower()
    return next((unit for name, unit in UNIT_NAMES.items() if name.startswith(said)), None)


def parse_hours(text: str) -> Hours:
    """A day's openings: 09:00-18:00, several with commas between them, 22:00-06:00 over midnight, or closed.

    Raises ValueError, in words, for anything else.
    """
    if text.strip() == CLOSED:
        return ()
    return _checked(_opening(part.strip()) for part in text.split(","))


def _opening(text: str) -> Opening:
    match = re.fullmatch(r"([0-9]{1,2}):([0-9]{2})\s*[-–]\s*([0-9]{1,2}):([0-9]{2})", text)
    if match is None:
        raise ValueError("must be hours, as 09:00-18:00, 09:00-13:00, 14:00-18:00, 22:00-06:00, 00:00-24:00 or closed")
    hour, minute, until_hour, until_minute = (int(group) for group in match.groups())
    start, end = hour * 60 + minute, until_hour * 60 + until_minute
    if max(minute, until_minute) > 59 or start >= DAY_MINUTES or end > DAY_MINUTES:
        raise ValueError(f"{text}: a day's times go from 00:00 to 24:00")
    if start == end:
        raise ValueError(f"{text} begins when it ends; the whole day is 00:00-24:00")
    return start, end if end > start else end + DAY_MINUTES


def _checked(openings: Iterable[Opening]) -> Hours:
    """The openings of one day in their order. Raises ValueError when they overlap, or are none."""
    hours = tuple(sorted(openings))
    for start, end in hours:
        if not 0 <= start < end <= start + DAY_MINUTES or start >= DAY_MINUTES:
            raise ValueError(f"no opening of a day: from minute {start} until minute {end}")
    for one, other in pairwise(hours):
        if other[0] < one[1]:
            raise ValueError(f"{_shown(one)} and {_shown(other)} overlap")
    return hours


def _shown(opening: Opening) -> str:
    start, end = opening
    end -= DAY_MINUTES if end > DAY_MINUTES else 0
    return f"{start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02}"


# --- calendars ---


@dataclass(frozen=True, kw_only=True)
class Calendar:
    """When a team works. Made by `of`, which checks it; then a value like any other, to be kept and shared.

    A public holiday closes the whole day. An exception takes the place of whatever the day would have:
    it closes it, gives it other hours, or opens a holiday or a weekday without work.
    """

    zone: str
    week: tuple[Hours, ...]  # Monday first
    exceptions: tuple[tuple[date, Hours], ...] = ()
    holidays: tuple[str, ...] = ()
    # Filled as years are asked for. Two threads at worst make the same table twice.
    _years: dict[int, _Year] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def of(
        cls,
        *,
        zone: str,
        week: Mapping[int, Iterable[Opening]],
        exceptions: Mapping[date, Iterable[Opening]] | None = None,
        holidays: str | Iterable[str] | None = None,
    ) -> Calendar:
        """A checked calendar; a weekday that is not named is closed. Raises ValueError, in words.

        `holidays` names whose public holidays are free: a country as RO, a part of one as DE-BY, or several.
        """
        _check_zone(zone)
        if strange := set(week) - set(range(7)):
            raise ValueError(f"a week has the days 0 (Monday) to 6, not {', '.join(map(str, sorted(strange)))}")
        days = tuple(_named(WEEKDAYS[day], week.get(day, ())) for day in range(7))
        if not any(days):
            raise ValueError("has no open time in its week")
        special = tuple(sorted((day, _named(day.isoformat(), hours)) for day, hours in (exceptions or {}).items()))
        free = {holidays} if isinstance(holidays, str) else set(holidays or ())
        for place in sorted(free):
            _check_place(place)
        return cls(zone=zone, week=days, exceptions=special, holidays=tuple(sorted(free)))

    def is_open(self, at: datetime) -> bool:
        moment = _count(at)
        return self.is_always_open or self._year_of(moment).is_open(moment)

    def opens(self, at: datetime) -> datetime:
        """`at` itself when it is open, else the next opening. Raises Refused when none is within the horizon."""
        moment = _count(at)
        if self.is_always_open:
            return _moment(moment)
        for year in _years_from(moment):
            if (found := self._year(year).next_open(moment)) is not None:
                return _moment(found)
        raise _too_far()

    def add(self, start: datetime, working: timedelta) -> datetime:
        """The earliest moment by which `working` has passed since `start`; `start` itself when it is none.

        Raises Refused when that is beyond the horizon, ValueError when `working` is negative.
        """
        if working < NOTHING:
            raise ValueError("working time to add must not be negative")
        if not working or self.is_always_open:
            return _later(start, working)
        moment, left = _count(start), working // MICROSECOND
        years = _years_from(moment)
        left += self._year(years.start).passed(moment)
        for year in years:
            table = self._year(year)
            if left <= table.whole:
                return _moment(table.moment_of(left))
            left -= table.whole
        raise _too_far()

    def between(self, a: datetime, b: datetime) -> timedelta:
        """The working time from `a` to `b`, negative when `b` is before `a`. Raises Refused beyond the horizon."""
        if self.is_always_open:
            return (b - EPOCH) - (a - EPOCH)  # two walls may not count alike
        first, last = _count(a), _count(b)
        if last < first:
            return -self.between(b, a)
        years = range(_moment(first).year, _moment(last).year)
        if len(years) > HORIZON_YEARS:
            raise _too_far()
        whole = sum(self._year(year).whole for year in years)
        return (whole + self._year_of(last).passed(last) - self._year_of(first).passed(first)) * MICROSECOND

    def time_of(self, span: Span) -> timedelta:
        """How long a span is here: a day is the open time of an ordinary day, a week that of an ordinary week.

        An ordinary day is the ordinary week shared among its weekdays that have any opening.
        """
        if span.unit == "w":
            return span.amount * self._open_minutes * MINUTE_US * MICROSECOND
        if span.unit == "d":
            return span.amount * self._open_minutes * MINUTE_US // sum(map(bool, self.week)) * MICROSECOND
        return span.elapsed

    @cached_property
    def is_always_open(self) -> bool:
        return self._open_minutes == WEEK_MINUTES and not self.exceptions and not self.holidays

    @cached_property
    def _open_minutes(self) -> int:
        """The open time of an ordinary week, in which Sunday's shift over midnight runs into Monday."""
        shifts = [
            (day * DAY_MINUTES + start, day * DAY_MINUTES + end)
            for day, hours in enumerate(self.week)
            for start, end in hours
        ]
        round_about = [(start - WEEK_MINUTES, end - WEEK_MINUTES) for start, end in shifts]
        return sum(end - start for start, end in _merged(_clipped(sorted(round_about + shifts), 0, WEEK_MINUTES)))

    def _year_of(self, moment: int) -> _Year:
        return self._year(_moment(moment).year)

    def _year(self, year: int) -> _Year:
        table = self._years.get(year)
        if table is None:
            table = self._years[year] = self._made(year)
        return table

    def _made(self, year: int) -> _Year:
        """Between two changes of the zone's offset, wall and UTC run alike: the wall's openings are moved by it."""
        if year not in YEARS:
            raise _too_far()
        begin, end = (_count(datetime(one, 1, 1, tzinfo=UTC)) for one in (year, year + 1))
        openings = list(_merged(self._openings(year)))
        return _Year.of(
            [
                stretch
                for since, until, offset in _offsets(ZoneInfo(self.zone), begin, end)
                for stretch in _clipped(((start - offset, stop - offset) for start, stop in openings), since, until)
            ]
        )

    def _openings(self, year: int) -> Iterator[Stretch]:
        """What the wall's clock goes through in a year and the days around it, as if it were UTC, in order."""
        special, free = dict(self.exceptions), _public_holidays(self.holidays, year)
        first, last = date(year, 1, 1) - timedelta(days=DAYS_AROUND), date(year, 12, 31) + timedelta(days=DAYS_AROUND)
        for number in range(first.toordinal(), last.toordinal() + 1):
            day = date.fromordinal(number)
            ordinary = () if day in free else self.week[day.weekday()]
            midnight = (day - EPOCH.date()).days * DAY_US
            for start, end in special.get(day, ordinary):
                yield midnight + start * MINUTE_US, midnight + end * MINUTE_US


@dataclass(frozen=True, slots=True)
class _Year:
    """The open time of a year of UTC: where each stretch starts, and what was open in the year before it."""

    starts: Sequence[int]
    before: Sequence[int]  # one longer: its last is the whole year's

    @classmethod
    def of(cls, stretches: Sequence[Stretch]) -> _Year:
        """The table of `stretches`, which are in order; those that touch become one."""
        starts, before = array("q"), array("q", [0])
        for start, end in _merged(stretches):
            starts.append(start)
            before.append(before[-1] + end - start)
        return cls(starts, before)

    @property
    def whole(self) -> int:
        return self.before[-1]

    def is_open(self, moment: int) -> bool:
        index = bisect_right(self.starts, moment) - 1
        return index >= 0 and moment - self.starts[index] < self.before[index + 1] - self.before[index]

    def passed(self, moment: int) -> int:
        """The open time from the year's beginning to a moment in it."""
        index = bisect_right(self.starts, moment) - 1
        return 0 if index < 0 else min(self.before[index] + moment - self.starts[index], self.before[index + 1])

    def moment_of(self, passed: int) -> int:
        """The first moment by which so much has passed, which is more than nothing and not more than `whole`."""
        index = bisect_left(self.before, passed) - 1
        return self.starts[index] + passed - self.before[index]

    def next_open(self, moment: int) -> int | None:
        if self.is_open(moment):
            return moment
        index = bisect_right(self.starts, moment)
        return self.starts[index] if index < len(self.starts) else None


ALWAYS: Final = Calendar(zone="UTC", week=(((0, DAY_MINUTES),),) * 7)
"""Open day and night, every day: working time is elapsed time."""


def _check_zone(zone: str) -> None:
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError):  # not there, not a name, a folder of them
        raise ValueError(f"there is no time zone {zone!r}; a zone is named as Europe/Bucharest") from None


def _named(name: str, openings: Iterable[Opening]) -> Hours:
    try:
        return _checked(openings)
    except ValueError as wrong:
        raise ValueError(f"{name}: {wrong}") from None


def _check_place(place: str) -> None:
    match = re.fullmatch(r"([A-Z]{2})(?:-(.+))?", place)
    if match is None:
        raise ValueError(f"{place!r} must be a country in two capitals, as RO, or a part of one, as DE-BY")
    country, part = match.groups()
    try:
        parts = country_holidays(country, expand=False).subdivisions
    except NotImplementedError:
        raise ValueError(f"no public holidays are known of a country {country}") from None
    if part is not None and part not in parts:
        raise ValueError(f"no public holidays are known of a part {part} of {country}: {', '.join(parts) or 'of none'}")


def _public_holidays(places: Iterable[str], year: int) -> set[date]:
    """Those of a year and its neighbours, on the days on which they are observed."""
    found: set[date] = set()
    for place in places:
        country, _, part = place.partition("-")
        found |= country_holidays(country, subdiv=part or None, years=range(year - 1, year + 2), expand=False).keys()
    return found


# --- counting: microseconds since the epoch ---


def _count(at: datetime) -> int:
    return (at - EPOCH) // MICROSECOND


def _moment(count: int) -> datetime:
    try:
        return EPOCH + count * MICROSECOND
    except OverflowError:
        raise _too_far() from None


def _later(start: datetime, by: timedelta) -> datetime:
    """In UTC, by elapsed time."""
    try:
        return EPOCH + (start - EPOCH + by)
    except OverflowError:
        raise _too_far() from None


def _years_from(moment: int) -> range:
    year = _moment(moment).year
    return range(year, year + HORIZON_YEARS + 1)


def _too_far() -> Refused:
    return Refused("too_far", f"working time is counted over {HORIZON_YEARS} years at most, {YEARS[0]} to {YEARS[-1]}")


def _merged(stretches: Iterable[Stretch]) -> Iterator[Stretch]:
    """Stretches, given in the order of their starts, with those that touch or overlap made one."""
    last: Stretch | None = None
    for start, end in stretches:
        if last is None:
            last = start, end
        elif start <= last[1]:
            last = last[0], max(last[1], end)
        else:
            yield last
            last = start, end
    if last is not None:
        yield last


def _clipped(stretches: Iterable[Stretch], begin: int, end: int) -> Iterator[Stretch]:
    """What of them is between `begin` and `end`."""
    for start, stop in stretches:
        if start < end and stop > begin:
            yield max(start, begin), min(stop, end)


def _offsets(zone: ZoneInfo, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The stretches of whole days of UTC over which a zone's offset stays the same, each with that offset.

    zoneinfo does not tell when it changes: each day's ends are compared, and a day with a change is halved.
    """
    since, offset = begin, _offset(zone, begin)
    for day in range(begin, end, DAY_US):
        if _offset(zone, day + DAY_US) == offset:
            continue
        seconds = range(day, day + DAY_US, SECOND_US)
        change = day + SECOND_US * bisect_left(seconds, True, key=lambda at: _offset(zone, at) != offset)
        yield since, change, offset
        since, offset = change, _offset(zone, change)
    yield since, end, offset


def _offset(zone: ZoneInfo, moment: int) -> int:
    return (_moment(moment).astimezone(zone).utcoffset() or timedelta()) // MICROSECOND
