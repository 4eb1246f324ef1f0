"""What an agreement means, in one form: what is written differently and means the same is equal here.

What stands in the tables is what the services do with a list: a list that no table names is taken in its
order, so that nothing that may count is passed over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping
from itertools import groupby
from typing import Any, Final, TypeAlias, TypeVar

from pydantic import BaseModel, RootModel

from shared.agreement.conditions import Condition
from shared.agreement.countries import country
from shared.agreement.handoff import Notify
from shared.calendars import SECONDS, Span

T = TypeVar("T")
Pattern: TypeAlias = tuple[str, ...]
"""Where something stands, with ANY for each name of the agreement's own and each place in a list."""
Clauses: TypeAlias = dict[Hashable, dict[str, Any]]
"""What must all hold: the meaning of each clause, and how it is written."""

ANY: Final = "*"
# Lists of which only counts what is in them.
SETS: Final[Mapping[Pattern, bool]] = dict.fromkeys(
    (
        *(("signed_by", "marketing"), ("signed_by", "sales"), ("information", ANY), ("holidays",)),
        *(("notify", ANY, "on"), ("notify", ANY, "by"), ("escalation", ANY, "on"), ("escalation", ANY, "to")),
        *(("methods", ANY, "sources"), ("marketing_owes", ANY, "grade")),
        *(("follow_up", "warn_at"), ("follow_up", "reasons"), ("follow_up", "pause_reasons")),
    ),
    True,
)


def _free(_: Any) -> Hashable:
    return None


# Which items of a list count in the order of each other: those with the same answer; None: in any order.
ORDERS: Final[Mapping[Pattern, Callable[[Any], Hashable]]] = {
    ("goals",): _free,
    ("marketing_owes",): _free,
    ("fit", "rules"): lambda rule: "disqualifies" if rule.disqualify else None,  # the first reason is the lead's
    ("signals",): _free,
    ("handoff", "notify"): _free,
    ("follow_up", "return_when"): lambda rule: rule.reason,  # the first of a reason is its way back
}
LOWEST_STAGE: Final = "awareness"  # where every lead is that no other stage holds
NUMBERS: Final = ("at_least", "at_most", "between")
LISTS: Final = ("in", "words", "starts", "contains", "domain_in", "country_in", "seniority")
TRUTHS: Final = ("exists", "free_mailbox", "throwaway_mailbox")
FORM: Final = "form"
FORM_SUBMITTED: Final = "form_submitted"
WITHOUT_CASE: Final = (FORM, FORM_SUBMITTED)  # the words of ours that are compared as properties are


def found_in(table: Mapping[Pattern, T], pattern: Pattern) -> T | None:
    """What the table has for the longest end of the pattern."""
    ends = (pattern[start:] for start in range(len(pattern)))
    return next((table[end] for end in ends if end in table), None)


def is_set(pattern: Pattern) -> bool:
    return found_in(SETS, pattern) is not None


def order_of(pattern: Pattern) -> Callable[[Any], Hashable]:
    """Of an item of this list, with which others it is in order; None for none."""
    return found_in(ORDERS, pattern) or (lambda _: "all")


def settled(value: Any, pattern: Pattern) -> Any:
    """The value without what says nothing, and with what means the same said in one way."""
    if isinstance(value, RootModel):
        return value.root
    if pattern[-2:] == ("handoff", "notify"):
        return tuple(_by_channel(value))
    if pattern[-2:] == ("interest", "journey"):
        return {stage: needed for stage, needed in value.items() if needed or stage != LOWEST_STAGE}
    return value


def _by_channel(rules: tuple[Notify, ...]) -> Iterator[Notify]:
    """One rule for each channel, with all that it tells: how they are shared out among rules means nothing."""
    single = [rule.model_copy(update={"by": (by,)}) for rule in rules for by in rule.by]
    rests = sorted((rule.model_copy(update={"on": ()}) for rule in single), key=repr)
    for rest, _ in groupby(rests):
        told = [on for rule in single if rule.model_copy(update={"on": ()}) == rest for on in rule.on]
        yield rest.model_copy(update={"on": tuple(dict.fromkeys(told))})


def meaning(value: Any, pattern: Pattern = ()) -> Hashable:
    """Equal for what means the same where `pattern` says that it stands."""
    value = settled(value, pattern)
    if isinstance(value, Condition):
        return frozenset(clauses(value))
    if isinstance(value, Span):
        return _time(value)
    if isinstance(value, BaseModel):
        return tuple((name, meaning(getattr(value, name), (*pattern, name))) for name in type(value).model_fields)
    if isinstance(value, Mapping):
        return frozenset((key, meaning(one, (*pattern, ANY))) for key, one in value.items())
    if isinstance(value, tuple):
        return _of_list(value, pattern)
    return value  # type: ignore[no-any-return]


def _time(span: Span) -> Hashable:
    """60m is 1h. A day is no number of hours, and a week none of days, but by somebody's calendar."""
    if not span or span.unit not in ("d", "w"):
        return ("s", span.amount * SECONDS[span.unit])
    return (span.unit, span.amount)


def _of_list(value: tuple[Any, ...], pattern: Pattern) -> Hashable:
    meant = [meaning(one, (*pattern, ANY)) for one in value]
    if is_set(pattern):
        return frozenset(meant)
    order = order_of(pattern)
    groups = [order(one) for one in value]
    in_order = {group: tuple(m for m, g in zip(meant, groups, strict=True) if g == group) for group in groups}
    free = Counter(m for m, g in zip(meant, groups, strict=True) if g is None)
    in_order.pop(None, None)
    return frozenset(in_order.items()), frozenset(free.items())


# --- conditions ---


def clauses(condition: Condition) -> Clauses:
    """What must all hold. Order, brackets around one, and a list of one mean nothing."""
    return _all(condition.source, condition.words)


def _all(source: Mapping[str, Any], words: frozenset[str]) -> Clauses:
    found: Clauses = {}
    for key, value in source.items():
        found |= _clauses_of(key, value, words)
    return found


def _clauses_of(key: str, value: Any, words: frozenset[str]) -> Clauses:
    if key == "all":
        return {meant: said for one in value for meant, said in _all(one, words).items()}
    if key == "any":
        return _any(value, words)
    if key == "not":
        if list(value) == ["not"]:
            return _all(value["not"], words)
        return {("not", frozenset(_all(value, words))): {key: value}}
    if key == "property":
        tests = [one for name, test in value.items() for one in _tests(name, test, exact=False)]
        return {meant: {key: said} for meant, said in tests}
    return dict(_tests(key, value, exact=key in words and key not in WITHOUT_CASE))


def _any(source: Any, words: frozenset[str]) -> Clauses:
    ways = alternatives({"any": source}, words)
    if len(ways) == 1:
        (only,) = ways.values()
        return _all(only, words)
    return {("any", frozenset(ways)): {"any": list(ways.values())}}


def alternatives(source: Mapping[str, Any], words: frozenset[str]) -> dict[Hashable, Mapping[str, Any]]:
    """Of `{any: […]}` the meaning of each way in which it holds, and how it is written."""
    found: dict[Hashable, Mapping[str, Any]] = {}
    for one in source["any"]:
        if list(one) == ["any"]:
            found |= alternatives(one, words)
        else:
            found[frozenset(_all(one, words))] = one
    return found


def _tests(key: str, value: Any, *, exact: bool) -> Iterator[tuple[Hashable, dict[str, Any]]]:
    """What is asked of one property or word: its name, the test, and what is wanted; and how each is written."""
    name = FORM if key == FORM_SUBMITTED else key
    if name == FORM and value == "any":
        yield (name, "known", True), {key: value}
    elif isinstance(value, Mapping):
        for test, wanted in value.items():
            meant = (name, "in" if test == "equals" else test, _wanted(test, wanted, exact=exact))
            yield meant, {key: {test: wanted}}
    else:
        yield (name, "in", _wanted("in", value, exact=exact)), {key: value}


def _wanted(test: str, wanted: Any, *, exact: bool) -> Hashable:
    if test in NUMBERS:
        return tuple(float(one) for one in texts(wanted))
    if test in TRUTHS:
        return str(wanted).lower()
    if test in LISTS or test == "equals":
        return frozenset(one if exact else value_meant(test, one) for one in texts(wanted))
    return repr(wanted)


def value_meant(test: str, value: str) -> str:
    """Equal for values that the test takes for one: in any case, and of countries by any name."""
    return (country(value) if test == "country_in" else "") or value.casefold()


def texts(value: Any) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list | tuple) else [str(value)]
