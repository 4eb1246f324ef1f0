"""Which item of a list has become which, when somebody changed the list."""

from __future__ import annotations

import difflib
import json
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, Final, TypeAlias

from pydantic import BaseModel

from shared.agreement.meaning import ANY, Pattern, meaning, order_of
from shared.agreement.wording import is_unsaid, notation

Pairs: TypeAlias = list[tuple[int, int]]
"""Of each item that is in both lists its place in the old and in the new one, from 0."""

# The fields by which people call an item of a list; the first that it has.
NAMED_BY: Final = ("name", "label", "reason", "at", "channel", "to", "by")


def paired(old: Sequence[Any], new: Sequence[Any], pattern: Pattern) -> tuple[Pairs, set[tuple[int, int]]]:
    """Which item has become which, and those of them that moved: the fewest, so that all others are in order.

    The same both ways: of two that changed places it is always the same one that moved.
    """
    if _in_writing(old, pattern) > _in_writing(new, pattern):
        pairs, moved = paired(new, old, pattern)
        return sorted((i, j) for j, i in pairs), {(i, j) for j, i in moved}
    pairs = sorted(_matched(old, new, pattern))
    order = order_of(pattern)
    groups: dict[Hashable, Pairs] = defaultdict(list)
    for i, j in pairs:
        if (group := order(old[i])) is not None and group == order(new[j]):
            groups[group].append((i, j))
    return pairs, {pair for group in groups.values() for pair in set(group) - set(_rising(group))}


def _in_writing(items: Sequence[Any], pattern: Pattern) -> str:
    return json.dumps([notation(one, (*pattern, ANY)) for one in items], sort_keys=True)


def _matched(old: Sequence[Any], new: Sequence[Any], pattern: Pattern) -> Pairs:
    """Those that mean the same, first in the order in which they stand; then of one name; then under another."""
    inside = (*pattern, ANY)
    before, after = ([meaning(one, inside) for one in items] for items in (old, new))
    blocks = difflib.SequenceMatcher(None, before, after, autojunk=False).get_matching_blocks()
    pairs = [(block.a + n, block.b + n) for block in blocks for n in range(block.size)]
    pairs += _alike_by(before, after, pairs)
    pairs += _alike_by(list(map(_name, old)), list(map(_name, new)), pairs)
    return pairs + _alike_by(list(map(_all_but_name, old, before)), list(map(_all_but_name, new, after)), pairs)


def _alike_by(before: Sequence[Hashable], after: Sequence[Hashable], pairs: Pairs) -> Pairs:
    """Of those that are left, those with the same answer, the first with the first; None is no answer."""
    waiting: dict[Hashable, list[int]] = defaultdict(list)
    for j in _left(after, [j for _, j in pairs]):
        waiting[after[j]].append(j)
    left = [i for i in _left(before, [i for i, _ in pairs]) if before[i] is not None]
    return [(i, waiting[before[i]].pop(0)) for i in left if waiting[before[i]]]


def _left(items: Sequence[Any], taken: Iterable[int]) -> list[int]:
    gone = set(taken)
    return [n for n in range(len(items)) if n not in gone]


def _named(item: BaseModel) -> str | None:
    """By which field people call it; None when it has no name."""
    return next((name for name in NAMED_BY if not is_unsaid(getattr(item, name, None))), None)


def _name(item: BaseModel) -> Hashable:
    named = _named(item)
    return None if named is None else meaning(getattr(item, named))


def _all_but_name(item: BaseModel, meant: Any) -> Hashable:
    named = _named(item)
    return None if named is None else tuple(one for one in meant if one[0] != named)


def _rising(pairs: Pairs) -> Pairs:
    """The longest run of pairs that are in order on both sides."""
    ends: list[int] = []
    chains: list[Pairs] = []
    for i, j in sorted(pairs):
        n = bisect_left(ends, j)
        chain = [*(chains[n - 1] if n else []), (i, j)]
        ends[n:], chains[n:] = [j, *ends[n + 1 :]], [chain, *chains[n + 1 :]]
    return chains[-1] if chains else []
