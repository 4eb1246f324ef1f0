"""The words for what stands where in an agreement, and for its values; and its values as the file writes them.

The tables have what reads better than its key does. A field that they do not know is called by its key.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from decimal import Decimal
from functools import cache
from itertools import pairwise
from types import UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel

from shared.agreement.conditions import Condition
from shared.agreement.follow_up import WITH_REASON
from shared.agreement.handoff import TEAM
from shared.agreement.hours import WEEKDAYS
from shared.agreement.meaning import ANY, Pattern, found_in
from shared.agreement.values import DEFAULT, UNITS, Money, Period, Share
from shared.calendars import CLOSED, Span

HEAD: Final = "agreement"  # what stands before the seven parts
HEADINGS: Final[Mapping[str, str]] = {
    HEAD: "The agreement itself",
    "goals": "1. Goals",
    "definitions": "2. Definitions",
    "qualification": "3. Qualification",
    "handoff": "4. Hand-off",
    "nurture": "5. Nurture",
    "follow_up": "6. Follow-up",
    "kpis": "7. KPIs",
}
SPECIAL: Final = {"mql": "MQL", "sql": "SQL", "crm": "CRM", "sla": "SLA", "kpi": "KPI", "id": "id"}
DAY_NAMES: Final = dict(
    zip(WEEKDAYS, ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"), strict=True)
)
MINUS: Final = "−"

# What something is called, by the longest end of where it stands. {key}: its key in words, {raw}: as it is,
# {n}: its place in the list, {target}: for whom a time is; any other: a field of it. "" needs no words.
LABELS: Final[Mapping[Pattern, str]] = {
    ("name",): "name",
    ("effective",): "in force from",
    ("timezone",): "time zone",
    ("signed_by",): "",
    ("signed_by", "marketing"): "signed by Marketing",
    ("signed_by", "sales"): "signed by Sales",
    # goals
    ("goals", ANY): "goal “{name}”",
    ("target",): "",
    ("period",): "period",
    ("expected",): "expected",
    ("lag",): "lag",
    ("methods", ANY): "method {raw}",
    ("methods", ANY, "share"): "share",
    ("methods", ANY, "sources"): "from",
    ("marketing_owes", ANY): "what Marketing owes every {every}",
    ("mqls",): "MQLs",
    # qualification
    ("qualification", "fit"): "",
    ("qualification", "interest"): "",
    ("role", ANY): "role {key}",
    ("rules", ANY): "rule “{name}”",
    ("qualification", "grades"): "grades, the best first",
    ("matrix", ANY): "grade of fit {raw}",
    ("matrix", ANY, ANY): "interest {raw}",
    ("fit", "grades", ANY): "fit grade {raw} from",
    ("levels", ANY): "interest level {raw} from",
    ("interest", "half_life"): "half-life of interest",
    ("half_life",): "half-life",
    ("signals", ANY): "signal “{label}”",
    ("signals", ANY, "on"): "an act of the kind",
    ("signals", ANY, "within"): "counts for",
    ("signals", ANY, "once"): "counts once",
    ("journey", ANY): "stage {key}",
    ("journey", ANY, ANY): "points of {key}",
    ("points",): "",
    ("when",): "",
    ("unless",): "unless",
    ("disqualify",): "disqualifies for",
    # handoff
    ("triggers", ANY): "trigger “{name}”",
    ("information", ANY): "information for the {key}",
    ("route", ANY): "route {n} (to {to})",
    ("teams", ANY): "team {raw}",
    ("members", ANY): "member {raw}",
    ("crm_owner",): "owner id in the CRM",
    ("notify", ANY): "notifications by {by}",
    ("notify", ANY, "on"): "",
    # nurture
    ("nurture", ANY): "track {raw}",
    # follow_up
    ("follow_up", "calendar"): "everybody’s calendar",
    ("calendars", ANY): "calendar {raw}",
    ("calendars", ANY, "week"): "",
    ("calendars", ANY, "exceptions"): "days that differ",
    ("holidays",): "public holidays of",
    ("accept_within", ANY): "time to accept {target}",
    ("if_not_accepted",): "silence past the time to accept means",
    ("first_touch", ANY): "first touch {target}",
    ("decide_within", ANY): "time to decide {target}",
    ("cadence", ANY): "step {n} ({channel})",
    ("cadence", ANY, "after"): "",
    ("wait_for_reply",): "wait for a reply after the last attempt",
    ("colleagues",): "attempts of colleagues",
    ("off_cadence",): "attempts off the cadence",
    ("warn_at",): "warnings at",
    ("escalation", ANY): "escalation {n}",
    ("escalation", ANY, "at"): "",
    ("escalation", ANY, "on"): "when owed",
    ("escalation", ANY, "to"): "told",
    ("return_when", ANY): "way back for {reason}",
    ("cool_down",): "cool-down",
    ("in_the_crm",): "in the CRM",
    ("in_the_crm", ANY): "{raw}",
    ("in_the_crm", ANY, ANY): "{raw}",
    # kpis
    ("sla_compliance", ANY): "SLA compliance, {key}",
    ("p50",): "half of them within",
    ("p90",): "nine in ten within",
}
# How a value is told where that takes more than its label before it.
SAID: Final[Mapping[Pattern, str]] = {
    ("points",): "{}",
    ("when",): "when {}",
    ("unless",): "unless {}",
    ("cadence", ANY, "after"): "{} after the step before",
    ("escalation", ANY, "at"): "{}",
    ("notify", ANY, "on"): "{}",
    ("calendars", ANY, "week"): "{}",
    ("reassign",): "reassigned within the {}",
    ("target", "revenue"): "revenue {}",
}
AFTER: Final[Mapping[Pattern, str]] = {
    ("points",): "points",
    ("fit", "grades", ANY): "points",
    ("levels", ANY): "points",
    ("journey", ANY, ANY): "points",
    ("cap",): "points",
    ("cadence", ANY, "after"): "after the step before",
}
# Whose keys are names of the CRM's or of the agreement's own, told as they are written.
NAMED: Final[Mapping[Pattern, bool]] = {("in_the_crm",): True, ("in_the_crm", ANY): True, ("methods",): True}
# Less of it, more of it: only where that is so whatever else the agreement says.
_SALES_TIME: Final = ("Sales has less time", "Sales has more time")
_ASKED_OF_SALES: Final = ("less is asked of Sales", "more is asked of Sales")
EFFECTS: Final[Mapping[Pattern, tuple[str, str]]] = {
    ("accept_within", ANY): _SALES_TIME,
    ("first_touch", ANY): _SALES_TIME,
    ("decide_within", ANY): _SALES_TIME,
    ("cadence", ANY, "after"): _SALES_TIME,
    ("sla_compliance", ANY): _ASKED_OF_SALES,
}


# --- names ---


def humanised(key: str) -> str:
    """`lead_to_mql` is lead to MQL."""
    return " ".join(SPECIAL.get(word, word) for word in key.replace("_", " ").split())


def label(pattern: Pattern, *, key: str, value: Any, n: int = 0) -> str:
    """What the thing at the end of `pattern` is called; "" when it goes without saying."""
    if (template := found_in(LABELS, pattern)) is not None:
        return template.format_map(_Fields(value, pattern, key=humanised(key), raw=key, n=n, target=_target(key)))
    if pattern[-1] != ANY:
        return "" if _has_named_items(value, pattern) else humanised(key)
    whose = humanised(pattern[-2]).removesuffix("s") if len(pattern) > 1 else ""
    if not isinstance(value, BaseModel):
        return humanised(key) or f"{whose} {n}"
    name = f"“{value.name}”" if getattr(value, "name", "") else humanised(key) or str(n)  # type: ignore[attr-defined]
    return f"{whose} {name}"


class _Fields(dict[str, Any]):
    """What a template may ask for: what is given, and the fields of the value, in words."""

    def __init__(self, value: Any, pattern: Pattern, **given: Any) -> None:
        super().__init__(given)
        self._value, self._pattern = value, pattern

    def __missing__(self, name: str) -> str:
        field = (*self._pattern, name)
        return words(getattr(self._value, name), field, kind_of_field(type(self._value), name))


def _has_named_items(value: Any, pattern: Pattern) -> bool:
    """Whether what is in it is called by what it is, so that the whole needs no word."""
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, tuple) else ()
    named = found_in(LABELS, (*pattern, ANY)) is not None
    return named or any(isinstance(item, BaseModel) for item in items)


def _target(key: str) -> str:
    if key == DEFAULT:
        return "by default"
    return f"for leads of team {key.removeprefix(TEAM)}" if key.startswith(TEAM) else f"for {key} leads"


# --- values ---


def said(value: Any, pattern: Pattern, kind: Any = None, *, called: str = "") -> str:
    """The value as part of a sentence: what it is called and its words."""
    text = words(value, pattern, kind)
    if (template := found_in(SAID, pattern)) is not None:
        return template.format(text)
    return f"{called} {text}".strip()


def words(value: Any, pattern: Pattern, kind: Any = None) -> str:
    """The value in words, with what it counts."""
    counted = found_in(AFTER, pattern)
    text = bare(value, pattern, kind)
    return f"{text} {units(counted, value)}" if counted == "points" and _is_finite(value) else text


def units(counted: str, value: Any) -> str:
    """What is counted, of one or of many."""
    return counted.removesuffix("s") if counted == "points" and value in (1, -1) else counted


def bare(value: Any, pattern: Pattern, kind: Any = None) -> str:
    """The value in words."""
    if pattern[-1:] == ("week",):
        return _week(value)
    if pattern[-1:] == ("exceptions",):
        return ", ".join(f"{days} {hours_of(hours)}" for days, hours in day_runs(value))
    if pattern[-1:] == ("at",) and isinstance(value, Span):
        return f"{_scalar(value, kind)} after the breach" if value else "at the breach"
    if is_unsaid(value):
        return "none"
    if isinstance(value, BaseModel) and not isinstance(value, Money | Period):
        return "; ".join(_pieces(value, pattern))
    if isinstance(value, Mapping):
        return ", ".join(_entry(key, one, pattern, kind) for key, one in value.items())
    if isinstance(value, tuple):
        return ", ".join(_entry("", one, pattern, kind) for one in value)
    return _scalar(value, kind)


def _scalar(value: Any, kind: Any) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case Condition():
            return value.text
        case Span():
            return _counted(value.amount, value.unit, "working ")
        case timedelta():
            return _counted(*_whole_units(value), "")
        case int() | float() | Decimal():
            return _share(value) if is_share(kind) else _number(value)
        case Money():
            return f"{_number(value.amount)} {value.currency}"
        case Period():
            return f"{value.first} to {value.last}"
        case str() if value.startswith(TEAM):
            return f"team {value.removeprefix(TEAM)}"
        case str() if value.startswith(tuple(f"{one}:" for one in WITH_REASON)):
            return "{} ({})".format(*value.split(":", 1))
        case str() if get_origin(_stripped(kind)) is Literal:  # a word of ours, not a name
            return humanised(value)
    return str(value)


def is_unsaid(value: Any) -> bool:
    return value is None or (isinstance(value, str | tuple | Mapping) and not value)


def _entry(key: str, value: Any, pattern: Pattern, kind: Any) -> str:
    """One of several, short."""
    inside = (*pattern, ANY)
    if isinstance(value, BaseModel):
        name = label(inside, key=key, value=value).removeprefix(f"{humanised(pattern[-1]).removesuffix('s')} ")
        more = bare(value, inside)
        return f"{name} ({more})" if more else name
    name = key if found_in(NAMED, pattern) else humanised(key)
    named = f"{name}:" if key and isinstance(value, str) else name
    return f"{named} {words(value, inside, kind_inside(kind))}".strip()


def _pieces(value: BaseModel, pattern: Pattern) -> Iterator[str]:
    in_label = f"{found_in(LABELS, pattern)} {{name}}"
    for name, field in type(value).model_fields.items():
        one, inside = getattr(value, name), (*pattern, name)
        if one == field.get_default(call_default_factory=True) or is_unsaid(one) or f"{{{name}}}" in in_label:
            continue
        called = label(inside, key=field.alias or name, value=one) or ("" if found_in(LABELS, inside) == "" else name)
        if isinstance(one, BaseModel) and not isinstance(one, Money | Period):
            yield f"{called} {', '.join(_pieces(one, inside))}".strip()
        else:
            yield said(one, inside, kind_of_field(type(value), name), called=called)


def _counted(amount: int, unit: str, days: str) -> str:
    name = {"s": "s", "m": "min", "h": "h", "d": f"{days}day", "w": f"{days}week"}[unit]
    return f"{amount} {name}{'s' if unit in 'dw' and amount != 1 else ''}"


def _whole_units(value: timedelta) -> tuple[int, str]:
    """In the largest unit up to days in which it is whole."""
    seconds = int(value.total_seconds())
    unit = next(unit for unit in ("d", "h", "m", "s") if seconds % UNITS[unit] == 0)
    return seconds // UNITS[unit], unit


def _share(value: float | Decimal) -> str:
    return f"{round(float(value) * 100, 6):g}%"


def _is_finite(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def _number(value: float | Decimal) -> str:
    if value == -math.inf:
        return "whatever is left"
    exact = Decimal(str(value))
    text = f"{int(exact):,}" if exact == int(exact) else f"{exact.normalize():,f}"
    return text.replace("-", MINUS)


def _week(week: Mapping[str, tuple[str, ...]]) -> str:
    return ", ".join(f"{_days(run)} {' and '.join(hours)}" for run, hours in runs(week))


def _days(run: tuple[str, str]) -> str:
    first, last = (DAY_NAMES[day] for day in run)
    return first if first == last else f"{first} to {last}"


def runs(week: Mapping[str, tuple[str, ...]]) -> list[tuple[tuple[str, str], tuple[str, ...]]]:
    """Neighbouring days with the same hours, together."""
    found: list[tuple[tuple[str, str], tuple[str, ...]]] = []
    for day in [day for day in WEEKDAYS if day in week]:
        before = WEEKDAYS[WEEKDAYS.index(day) - 1]
        if found and found[-1][0][1] == before and found[-1][1] == week[day]:
            found[-1] = ((found[-1][0][0], day), week[day])
        else:
            found.append(((day, day), week[day]))
    return found


def day_runs(days: Mapping[date, tuple[str, ...]]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Days that follow each other and have the same hours, as the file writes them: 2027-12-27..2027-12-31."""
    in_order = sorted(days)
    breaks = {
        later
        for earlier, later in pairwise(in_order)
        if later - earlier > timedelta(days=1) or days[earlier] != days[later]
    }
    starts = sorted(breaks | set(in_order[:1]))
    for first, following in zip(starts, [*starts[1:], date.max], strict=bool(starts)):
        last = max(day for day in in_order if day < following)
        yield f"{first}" if first == last else f"{first}..{last}", days[first]


# --- as the file writes it ---


def notation(value: Any, pattern: Pattern = (), kind: Any = None) -> Any:
    """The value in the agreement's own notation, as plain data."""
    match value:
        case None | bool():
            return value
        case Condition():
            return value.source
        case Span() if pattern[-1:] == ("at",):
            return f"breach + {value}" if value else "breach"
        case timedelta():
            return "{}{}".format(*_whole_units(value))
        case int() | float() | Decimal():
            return _share(value) if is_share(kind) else _plain_number(value)
        case Money():
            return f"{_plain_number(value.amount)} {value.currency}"
        case Period():
            return f"{value.first}..{value.last}"
        case BaseModel() | Mapping() | tuple():
            return _container(value, pattern, kind)
    return str(value)


def _container(value: Any, pattern: Pattern, kind: Any) -> Any:
    if isinstance(value, BaseModel):
        return _record(value, pattern)
    if isinstance(value, Mapping):
        return _mapping(value, pattern, kind)
    return [notation(one, (*pattern, ANY), kind_inside(kind)) for one in value]


def _plain_number(value: float | Decimal) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return int(value) if value == int(value) else float(value)


def _record(value: BaseModel, pattern: Pattern) -> dict[str, Any]:
    written: dict[str, Any] = {}
    for name, field in type(value).model_fields.items():
        one = getattr(value, name)
        if one != field.get_default(call_default_factory=True):
            written[field.alias or name] = notation(one, (*pattern, name), kind_of_field(type(value), name))
    return {**written.pop("week", {}), **written}


def _mapping(value: Mapping[Any, Any], pattern: Pattern, kind: Any) -> dict[str, Any]:
    if pattern[-1:] == ("week",):
        return {first if first == last else f"{first}-{last}": hours_of(hours) for (first, last), hours in runs(value)}
    if pattern[-1:] == ("exceptions",):
        return {days: hours_of(hours) for days, hours in day_runs(value)}
    return {str(key): notation(one, (*pattern, ANY), kind_inside(kind)) for key, one in value.items()}


def hours_of(hours: tuple[str, ...]) -> str:
    return ", ".join(hours) or CLOSED


# --- what the model says of a field ---


@cache
def _kinds(model: type[BaseModel]) -> dict[str, Any]:
    return get_type_hints(model, include_extras=True)


def kind_of_field(model: type[BaseModel], name: str) -> Any:
    """The type of a field as it is declared, with what it is annotated with."""
    return _kinds(model).get(name)


def kind_inside(kind: Any) -> Any:
    """The type of what is in a list or mapping."""
    kind = _stripped(kind)
    inside = [one for one in get_args(kind) if one is not Ellipsis]
    return inside[-1] if inside else None


def _stripped(kind: Any) -> Any:
    """Without its annotations, and without being left out."""
    if get_origin(kind) is Annotated:
        return _stripped(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return _stripped(next(one for one in get_args(kind) if one is not type(None)))
    return kind


def is_share(kind: Any) -> bool:
    """Whether it is a percentage, or may be left out and is one otherwise."""
    return kind == Share or Share in get_args(kind)
