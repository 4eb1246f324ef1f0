"""The language of working hours: weekdays and their openings, public holidays, days that differ.

A calendar is a mapping: `mon-fri: 09:00-18:00`, and beside it `timezone`, `holidays`, `except`. Read
here, it has one form however it was written, and each mistake has its own place.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from itertools import groupby
from typing import Any, Final, TypeAlias, TypeVar
from zoneinfo import available_timezones

from pydantic_core import PydanticCustomError

from shared.agreement.conditions import Path
from shared.calendars import CLOSED, DAY_MINUTES, Calendar, Opening, parse_hours

PLACED: Final = "placed_problems"  # the type of the error that carries problems, each with its own place
KEY: Final = "[key]"  # at the end of a path: the key itself, not its value
WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
OTHER_KEYS: Final = ("timezone", "holidays", "except")
LONGEST_EXCEPTION: Final = timedelta(days=366)  # what is closed for longer is not in the week

Day = TypeVar("Day")
Placed: TypeAlias = tuple[Path, str]
Hours: TypeAlias = tuple[str, ...]
"""A day's openings, as `09:00-13:00`, in order; none when it is closed."""


_TIME: Final = r"([01]?[0-9]|2[0-4]):[0-5][0-9]"
_OPENING: Final = rf"{_TIME}\s*[-–]\s*{_TIME}"
_DAY: Final = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_DAYS: Final = f"({'|'.join(WEEKDAYS)})"
_HOURS_OF_A_DAY: Final = {
    "anyOf": [
        {"type": "string", "pattern": rf"^\s*({CLOSED}|{_OPENING}(\s*,\s*{_OPENING})*)\s*$"},
        {"type": "array", "items": {"type": "string", "pattern": f"^{_OPENING}$"}},
    ],
    "description": "When people work that day; 22:00-06:00 runs over midnight.",
    "examples": ["09:00-18:00", "09:00-13:00, 14:00-18:00", CLOSED],
}
_COUNTRY: Final = {"type": "string", "pattern": r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$"}
TIMEZONE: Final = {
    "type": "string",
    "pattern": r"^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$",
    "description": "A time zone by its name.",
    "examples": ["UTC", "Europe/Bucharest"],
}
SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "description": "When people work: hours by weekday, public holidays, and days that differ.",
    "properties": {
        "timezone": {**TIMEZONE, "description": "Of this calendar; else the agreement's."},
        "holidays": {
            "anyOf": [_COUNTRY, {"type": "array", "items": _COUNTRY}],
            "description": "The public holidays of a country, or of a part of one.",
            "examples": ["RO", "DE-BY"],
        },
        "except": {
            "type": "object",
            "description": "Days that differ, with their hours; they take the place of a holiday, too.",
            "patternProperties": {rf"^{_DAY}(\.\.{_DAY})?$": _HOURS_OF_A_DAY},
            "additionalProperties": False,
        },
    },
    "patternProperties": {rf"^{_DAYS}(-{_DAYS})?$": _HOURS_OF_A_DAY},
    "additionalProperties": False,
}
"""A calendar as JSON Schema."""


def placed(problems: list[Placed]) -> PydanticCustomError:
    return PydanticCustomError(PLACED, "is not right in {n} places", {"problems": problems, "n": len(problems)})


def read(source: Any) -> dict[str, Any]:
    """The calendar by its parts: `week` by single days, and OTHER_KEYS. Raises PLACED with every problem."""
    if not isinstance(source, Mapping):
        raise placed([((), "must be a calendar, as {mon-fri: 09:00-18:00}")])
    problems: list[Placed] = []
    week: dict[str, Hours] = {}
    rest: dict[str, Any] = {}
    for key, value in ((str(key), value) for key, value in source.items()):
        if key in OTHER_KEYS:
            rest[key] = _OTHERS[key](value, (key,), problems)
        elif days := _weekdays(key):
            hours = _hours(value, (key,), problems)
            if again := [day for day in days if day in week]:
                problems.append(((key, KEY), f"says again when people work on {', '.join(again)}"))
            week.update(dict.fromkeys(days, hours))
        else:
            problems.append(((key, KEY), _unknown(key)))
    if not problems and not any(week.values()):
        problems.append(((KEY,), "has no open time in its week, as mon-fri: 09:00-18:00"))
    if problems:
        raise placed(problems)
    return {"week": {day: week[day] for day in WEEKDAYS if week.get(day)}, **rest}


def write(week: Mapping[str, Hours], exceptions: Mapping[date, Hours], rest: Mapping[str, Any]) -> dict[str, Any]:
    """The calendar as a person writes it: days in a row with the same hours are one key. `rest` has OTHER_KEYS."""
    days = list(_runs(WEEKDAYS, lambda day: week.get(day, ())))
    written: dict[str, Any] = {_range(run, "-"): _written(week.get(run[0], ())) for run in days if week.get(run[0])}
    for key in ("timezone", "holidays"):
        if rest.get(key):
            written[key] = rest[key]
    if exceptions:
        whole = [min(exceptions) + timedelta(days=n) for n in range((max(exceptions) - min(exceptions)).days + 1)]
        runs = [run for run in _runs(whole, exceptions.get) if run[0] in exceptions]
        written["except"] = {_range(run, ".."): _written(exceptions[run[0]]) for run in runs}
    return written


def _runs(days: Sequence[Day], of: Callable[[Day], Any]) -> Iterator[list[Day]]:
    """Days that follow each other and are alike, LONGEST_EXCEPTION at most."""
    for _, run in groupby(days, of):
        rest = list(run)
        while rest:
            yield rest[: LONGEST_EXCEPTION.days]
            rest = rest[LONGEST_EXCEPTION.days :]


def _range(days: Sequence[object], between: str) -> str:
    return str(days[0]) if len(days) == 1 else f"{days[0]}{between}{days[-1]}"


def _written(hours: Hours) -> str | list[str]:
    if not hours:
        return CLOSED
    return hours[0] if len(hours) == 1 else list(hours)


def openings(hours: Hours) -> tuple[Opening, ...]:
    return tuple(opening for text in hours for opening in parse_hours(text))


_OFFSET: Final = re.compile(r"[+-][0-9]")


def check_timezone(name: Any) -> str:
    """Raises ValueError, in words, for what is no time zone."""
    zones = available_timezones()
    if name in zones:
        return str(name)
    # GMT+2 is not Etc/GMT+2, which is two hours behind: a name with an offset is nobody's guess
    likely = sorted(zone for zone in zones if not _OFFSET.search(zone))
    near = [zone for zone in likely if zone.rpartition("/")[2].lower() == str(name).lower()]
    near = near or difflib.get_close_matches(str(name), likely, n=1, cutoff=0.8)
    raise ValueError(f"must be a time zone{f'; did you mean {near[0]}?' if near else ', as Europe/Bucharest'}")


# --- weekdays ---


def _weekdays(text: str) -> tuple[str, ...]:
    """The days of `mon`, `mon-fri` or `sat-mon`; none when it is no such thing."""
    first, dash, last = text.partition("-")
    if first not in WEEKDAYS or (dash and last not in WEEKDAYS):
        return ()
    start, end = WEEKDAYS.index(first), WEEKDAYS.index(last if dash else first)
    return tuple(WEEKDAYS[(start + n) % 7] for n in range((end - start) % 7 + 1))


def _unknown(key: str) -> str:
    if _are_hours(key):
        return "are hours without a day; put all of a day into brackets, as [09:00-13:00, 14:00-18:00]"
    if near := next(iter(difflib.get_close_matches(key, OTHER_KEYS, n=1)), "") or _meant_days(key):
        return f"is not known; did you mean {near}?"
    return f"is not known; here can stand {', '.join((*WEEKDAYS, 'mon-fri', *OTHER_KEYS))}"


def _meant_days(key: str) -> str:
    """Of `Monday` mon, of `mon-fry` mon-fri."""
    parts = re.split(r"\s*[-–]\s*", key.strip().lower())
    meant = [_meant_day(part) for part in parts]
    return "-".join(meant) if len(parts) <= 2 and all(meant) else ""


def _meant_day(text: str) -> str:
    if text[:3] in WEEKDAYS:
        return text[:3]
    return next(iter(difflib.get_close_matches(text, WEEKDAYS, n=1)), "")


# --- hours ---


def _hours(value: Any, at: Path, problems: list[Placed]) -> Hours:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
        problems.append((at, "must be hours, as 09:00-18:00 or [09:00-13:00, 14:00-18:00], or closed"))
        return ()
    try:
        return tuple(_shown(opening) for opening in _merged(parse_hours(", ".join(texts)))) if texts else ()
    except ValueError as error:
        problems.append((at, str(error)))
        return ()


def _are_hours(text: str) -> bool:
    try:
        return bool(parse_hours(text))
    except ValueError:
        return False


def _merged(hours: tuple[Opening, ...]) -> Iterator[Opening]:
    """Without a break there is one opening: 09:00-13:00, 13:00-18:00 is 09:00-18:00."""
    last: Opening | None = None
    for start, end in hours:
        if last and last[1] == start and end - last[0] < DAY_MINUTES:
            last = last[0], end
        else:
            if last:
                yield last
            last = start, end
    if last:
        yield last


def _shown(opening: Opening) -> str:
    start, end = opening
    until = end if end <= DAY_MINUTES else end - DAY_MINUTES
    return f"{start // 60:02}:{start % 60:02}-{until // 60:02}:{until % 60:02}"


# --- what stands beside the weekdays ---


def _timezone(value: Any, at: Path, problems: list[Placed]) -> str | None:
    try:
        return None if value is None else check_timezone(value)
    except ValueError as error:
        problems.append((at, str(error)))
        return None


def _holidays(value: Any, at: Path, problems: list[Placed]) -> tuple[str, ...]:
    places = [value] if isinstance(value, str) else value
    if not isinstance(places, list | tuple):
        problems.append((at, "must be a country, as RO, a part of one, as DE-BY, or a list of them"))
        return ()
    for n, place in enumerate(places):
        try:
            Calendar.of(zone="UTC", week={0: [(0, 60)]}, holidays=str(place))
        except ValueError as error:
            problems.append((at if isinstance(value, str) else (*at, n), str(error)))
    return tuple(sorted({str(place) for place in places}))


def _exceptions(value: Any, at: Path, problems: list[Placed]) -> dict[date, Hours]:
    """Days and ranges of them, each for itself, in their order."""
    if not isinstance(value, Mapping):
        problems.append((at, "must be days and their hours, as {2027-12-24: 09:00-13:00, 2027-12-31: closed}"))
        return {}
    found: dict[date, Hours] = {}
    for key, written in ((str(key), written) for key, written in value.items()):
        hours = _hours(written, (*at, key), problems)
        try:
            days = _days(key)
        except ValueError as error:
            problems.append(((*at, key, KEY), str(error)))
            continue
        if again := [day for day in days if day in found]:
            problems.append(((*at, key, KEY), f"says again what {again[0]} is like"))
        found.update(dict.fromkeys(days, hours))
    return dict(sorted(found.items()))


def _days(text: str) -> list[date]:
    """The days of 2027-12-24, or of 2027-12-24..2027-12-31. Raises ValueError, in words, for anything else."""
    first, dots, last = text.partition("..")
    start, end = _day(first), _day(last if dots else first)
    if not timedelta(0) <= end - start <= LONGEST_EXCEPTION:
        raise ValueError(f"must have the first day before the last, and not more than {LONGEST_EXCEPTION.days} days")
    return [start + timedelta(days=n) for n in range((end - start).days + 1)]


def _day(text: str) -> date:
    try:
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise ValueError("must be a day, as 2027-12-24, or days, as 2027-12-24..2027-12-31")


_OTHERS: Final[Mapping[str, Callable[[Any, Path, list[Placed]], Any]]] = {
    "timezone": _timezone,
    "holidays": _holidays,
    "except": _exceptions,
}
