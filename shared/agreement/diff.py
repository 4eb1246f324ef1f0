"""What another agreement would change, in the words of the agreement.

Two agreements that mean the same have no difference, however they are written. Names, people and
addresses stand in it as the agreement has them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias

from pydantic import BaseModel

from shared.agreement.conditions import Condition
from shared.agreement.meaning import (
    ANY,
    Clauses,
    Pattern,
    alternatives,
    clauses,
    found_in,
    is_set,
    meaning,
    order_of,
    settled,
    texts,
    value_meant,
)
from shared.agreement.model import Agreement
from shared.agreement.pairing import Pairs, paired
from shared.agreement.source import dotted
from shared.agreement.values import Money, Period
from shared.agreement.wording import (
    AFTER,
    EFFECTS,
    HEAD,
    HEADINGS,
    MINUS,
    SAID,
    bare,
    day_runs,
    hours_of,
    is_unsaid,
    kind_inside,
    kind_of_field,
    label,
    notation,
    said,
    units,
    words,
)
from shared.calendars import SECONDS, Span

Kind = Literal["added", "removed", "changed", "moved"]
Path: TypeAlias = tuple[str | int, ...]

WEEK: Final = "week"  # stands in the file as the days themselves


@dataclass(frozen=True, kw_only=True)
class Change:
    """One change. `path` is where it stands in the new file, or did in the old one when it is gone.

    `before` and `after` are in the agreement's own notation, None where nothing is said; of what moved,
    its places in the list, counted from 1. `text` says it in words.
    """

    path: str
    part: str
    kind: Kind
    before: Any
    after: Any
    text: str


def diff(old: Agreement, new: Agreement) -> tuple[Change, ...]:
    """Every change, in the order of the agreement's parts, what precedes them first; none for the same meaning.

    The other way round there are the same changes, each turned round.
    """
    changes = _record(old, new, _Place(path=(), pattern=(), labels=(), kind=Agreement))
    return tuple(sorted(changes, key=lambda change: list(HEADINGS).index(change.part)))


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where something stands, what the model says of it, and what it is called, from the outside in."""

    path: Path
    pattern: Pattern
    labels: tuple[str, ...]
    kind: Any
    default: Any = None

    def says(self, value: Any) -> bool:
        """Whether anything is said by it: not where it is no time, no points or nothing by default."""
        return not is_unsaid(value) and (bool(value) or value != self.default)

    def field(self, model: BaseModel, name: str, value: Any) -> _Place:
        declared = type(model).model_fields[name]
        key = declared.alias or name
        inside = self._inside(name, kind_of_field(type(model), name), path=key, key=key, value=value)
        inside = replace(inside, default=declared.get_default(call_default_factory=True))
        if name == WEEK:
            return replace(inside, path=self.path)
        return inside if self.path or name not in HEADINGS else replace(inside, labels=())

    def key(self, key: str, value: Any) -> _Place:
        path = (key, "when") if isinstance(value, Condition) else (key,)
        return replace(
            self._inside(ANY, kind_inside(self.kind), path=key, key=key, value=value), path=(*self.path, *path)
        )

    def item(self, n: int, value: Any) -> _Place:
        return self._inside(ANY, kind_inside(self.kind), path=n, key="", value=value, n=n + 1)

    def _inside(self, step: str, kind: Any, *, path: str | int, key: str, value: Any, n: int = 0) -> _Place:
        pattern = (*self.pattern, step)
        called = label(pattern, key=key, value=value, n=n)
        return _Place(path=(*self.path, path), pattern=pattern, labels=(*self.labels, called), kind=kind)

    @property
    def subject(self) -> str:
        return _capital(", ".join(filter(None, self.labels)))

    @property
    def around(self) -> str:
        return _capital(", ".join(filter(None, self.labels[:-1])))

    def change(self, kind: Kind, before: Any, after: Any, text: str) -> Change:
        part = str(self.path[0]) if self.path[0] in HEADINGS else HEAD
        return Change(path=dotted(self.path), part=part, kind=kind, before=before, after=after, text=_one_line(text))

    def whole(self, kind: Kind, before: Any, after: Any, text: str) -> Change:
        """A change of all that stands here."""
        was, will = (notation(one, self.pattern, self.kind) if self.says(one) else None for one in (before, after))
        return self.change(kind, was, will, text)


# --- by what there is to compare ---


def _compare(old: Any, new: Any, at: _Place) -> Iterator[Change]:
    if meaning(old, at.pattern) == meaning(new, at.pattern):
        return
    old, new = settled(old, at.pattern), settled(new, at.pattern)
    if isinstance(old, Condition) and isinstance(new, Condition):
        yield at.whole("changed", old, new, f"{at.subject}: {_in_conditions(old, new)}")
    elif at.pattern[-1:] == ("exceptions",):
        yield _set(old, new, at, _days_only)
    elif isinstance(old, tuple) and isinstance(new, tuple) and is_set(at.pattern):
        yield _set(old, new, at, _elements_only)
    elif _is_records(old) and _is_records(new):
        yield from _list(old, new, at)
    elif _is_record(old) and type(old) is type(new):
        yield from _record(old, new, at)
    elif isinstance(old, Mapping) and isinstance(new, Mapping) and at.pattern[-1:] != (WEEK,):
        yield from _mapping(old, new, at)
    else:
        yield _value(old, new, at)


def _is_record(value: Any) -> bool:
    return isinstance(value, BaseModel) and not isinstance(value, Money | Period)


def _is_records(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(one, BaseModel) for one in value)


def _record(old: BaseModel, new: BaseModel, at: _Place) -> Iterator[Change]:
    for name in type(old).model_fields:
        before, after = getattr(old, name), getattr(new, name)
        yield from _compare(before, after, at.field(old, name, settled(before or after, (*at.pattern, name))))


def _mapping(old: Mapping[Any, Any], new: Mapping[Any, Any], at: _Place) -> Iterator[Change]:
    for key in dict.fromkeys((*new, *old)):
        place = at.key(str(key), old.get(key, new.get(key)))
        if key in old and key in new:
            yield from _compare(old[key], new[key], place)
        elif key in new:
            yield _came(new[key], place)
        else:
            yield _went(old[key], place)


def _value(old: Any, new: Any, at: _Place) -> Change:
    if not at.says(old):
        return _came(new, at)
    if not at.says(new):
        return _went(old, at)
    before, after = bare(old, at.pattern, at.kind), bare(new, at.pattern, at.kind)
    counted = found_in(AFTER, at.pattern)
    return at.whole(
        "changed",
        old,
        new,
        f"{at.subject}: {before} → {after}{f' {units(counted, new)}' if counted else ''}{_effect(old, new, at)}",
    )


def _came(new: Any, at: _Place) -> Change:
    text = f"new {at.labels[-1]}{_more(new, at)}" if _is_record(new) else ""
    return at.whole("added", None, new, _within(at, text) if text else _told(new, at, "now"))


def _went(old: Any, at: _Place) -> Change:
    text = f"no more {at.labels[-1]}{_more(old, at)}" if _is_record(old) else ""
    return at.whole("removed", old, None, _within(at, text) if text else _told(old, at, "no longer"))


def _within(at: _Place, text: str) -> str:
    return f"{at.around}: {text}" if at.around else _capital(text)


def _more(value: Any, at: _Place) -> str:
    text = bare(value, at.pattern, at.kind)
    return f": {text}" if text else ""


def _told(value: Any, at: _Place, how: str) -> str:
    if found_in(SAID, at.pattern) is None:
        return f"{at.subject}: {how} {words(value, at.pattern, at.kind)}"
    return f"{at.around}: {how} {said(value, at.pattern, at.kind)}"


def _effect(old: Any, new: Any, at: _Place) -> str:
    """What less or more of it means for whom, where that is so whatever else changes."""
    effects, before, after = found_in(EFFECTS, at.pattern), _amount(old), _amount(new)
    return f" ({effects[after > before]})" if effects and before and after else ""


def _amount(value: Any) -> float:
    """Of a time only in hours, as days are as long as a calendar makes them; 0 for what has none to compare."""
    if isinstance(value, Span):
        return value.amount * SECONDS[value.unit] if value.unit not in ("d", "w") else 0
    return float(value) if isinstance(value, int | float) else 0


# --- lists of which only counts what is in them ---


def _set(old: Any, new: Any, at: _Place, only: Callable[[Any, Any, _Place], list[str]]) -> Change:
    kind: Kind = "changed" if old and new else "added" if new else "removed"
    told = _plus_minus(only(new, old, at), only(old, new, at))
    return at.whole(kind, old, new, f"{at.subject}: {told}")


def _elements_only(some: Iterable[Any], others: Iterable[Any], at: _Place) -> list[str]:
    """Those of some that are not among the others, in words."""
    inside, kind = (*at.pattern, ANY), kind_inside(at.kind)
    known = {meaning(one, inside) for one in others}
    return [bare(one, inside, kind) for one in some if meaning(one, inside) not in known]


def _days_only(some: Mapping[Any, Any], others: Mapping[Any, Any], at: _Place) -> list[str]:
    left = {day: hours for day, hours in some.items() if others.get(day) != hours}
    return [f"{days} {hours_of(hours)}" for days, hours in day_runs(left)]


def _plus_minus(came: Iterable[str], went: Iterable[str]) -> str:
    return ", ".join([*(f"+ {one}" for one in came), *(f"{MINUS} {one}" for one in went)])


# --- lists of records ---


def _list(old: Sequence[Any], new: Sequence[Any], at: _Place) -> Iterator[Change]:
    """In the order of the new list, what is gone where it was in the old one."""
    pairs, moved = paired(old, new, at.pattern)
    found: dict[tuple[int, int], list[Change]] = defaultdict(list)
    for i in set(range(len(old))) - {i for i, _ in pairs}:
        found[i, 0] += [_went(old[i], at.item(i, old[i]))]
    for j in set(range(len(new))) - {j for _, j in pairs}:
        found[j, 1] += [_came(new[j], at.item(j, new[j]))]
    for i, j in pairs:
        if (i, j) in moved:
            found[j, 1] += [_moved(old, new, (i, j), sorted(set(pairs) - moved), at)]
        found[j, 1] += _compare(old[i], new[j], at.item(j, old[i]))
    for place in sorted(found):
        yield from found[place]


def _moved(old: Sequence[Any], new: Sequence[Any], pair: tuple[int, int], stayed: Pairs, at: _Place) -> Change:
    """Told by its neighbour of those that stayed and count in one order with it."""
    (i, j), order = pair, order_of(at.pattern)
    near = [(a, b) for a, b in stayed if order(old[a]) == order(new[b]) == order(new[j])]
    later = [b for a, b in near if b > j and a < i]
    earlier = [b for a, b in near if b < j and a > i]
    where, other = ("before", min(later)) if later else ("after", max(earlier))
    its, others = (at.item(n, new[n]).labels[-1] for n in (j, other))
    return at.item(j, new[j]).change("moved", i + 1, j + 1, _within_list(at, f"{its} now comes {where} {others}"))


def _within_list(at: _Place, text: str) -> str:
    return f"{at.subject}: {text}" if at.subject else _capital(text)


# --- conditions ---


def _in_conditions(old: Condition, new: Condition) -> str:
    asked = old.words | new.words
    return "; ".join(_in_clauses(clauses(old), clauses(new), asked))


def _in_clauses(old: Clauses, new: Clauses, asked: frozenset[str]) -> Iterator[str]:
    """What is asked otherwise, what no longer, and what besides."""
    went = {meant: said for meant, said in old.items() if meant not in new}
    came = {meant: said for meant, said in new.items() if meant not in old}
    for meant in list(went):
        others = [other for other in came if other[:-1] == meant[:-1]]  # type: ignore[index]
        if len(others) == 1 and sum(one[:-1] == meant[:-1] for one in went) == 1:  # type: ignore[index]
            yield _in_clause(went.pop(meant), came.pop(others[0]), meant, asked)
    yield from (f"no longer: {_text(said)}" for said in went.values())
    yield from (f"also: {_text(said)}" for said in came.values())


def _in_clause(old: Any, new: Any, meant: Any, asked: frozenset[str]) -> str:
    if meant[0] == "any":
        ways, others = alternatives(old, asked), alternatives(new, asked)
        came = [_text(said) for way, said in others.items() if way not in ways]
        went = [_text(said) for way, said in ways.items() if way not in others]
        return f"one of …: {_plus_minus(came, went)}"
    if meant[0] == "not":
        return f"{_text(old)} → {_text(new)}"
    if not isinstance(meant[-1], frozenset):
        return _arrow(_text(old), _text(new))
    before, after = _listed(old), _listed(new)
    frame = _frame(_text(new), list(after.values()))
    if not frame:
        return _arrow(_text(old), _text(new))
    came = [one for key, one in after.items() if key not in before]
    went = [one for key, one in before.items() if key not in after]
    return f"{frame}: {_plus_minus(came, went)}"


def _listed(source: Any) -> dict[str, str]:
    """The values of a clause, what each means → as it is written."""
    test = ""
    while isinstance(source, Mapping):
        ((test, source),) = source.items()
    return {value_meant(test, one): one for one in texts(source)}


def _frame(text: str, values: Sequence[str]) -> str:
    """`country is DE or FR` without its values; "" when they are not in it."""
    *first, last = values
    listed = f"{', '.join(first)} or {last}" if first else last
    before, found, behind = text.rpartition(f" {listed}")
    return f"{before} …{behind}" if found else ""


def _text(source: Any) -> str:
    return Condition.parse(source).text


def _arrow(old: str, new: str) -> str:
    """What both begin with is said once."""
    before, after = old.split(" "), new.split(" ")
    same = next((n for n, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), 0)
    return f"{old} → {' '.join(after[same:])}"


def _one_line(text: str) -> str:
    """Without what a name might do to a terminal or a page."""
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
