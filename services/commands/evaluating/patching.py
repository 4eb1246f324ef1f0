"""The agreement with other points: the file as it is, character by character, but for those numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from shared.agreement import Agreement
from shared.agreement.conditions import Path
from shared.agreement.load import read as agreement_in
from shared.agreement.source import Source
from shared.errors import Broken, Refused


def patched(text: str, points: Mapping[Path, int], head: Sequence[str] = ()) -> str:
    """The text with these points in their places, and `head` as comments on top. Raises Broken."""
    source = Source(file="agreement")
    source.parse(text)
    lines = text.splitlines(keepends=True)
    places = sorted(((source.values[path], value) for path, value in points.items()), reverse=True)
    for (line, column), value in places:  # from the end on, so that the places before stay where they are
        old = lines[line - 1]
        begin = column - 1
        end = begin + len(_number(old[begin:]))
        if end == begin:
            raise Broken("cannot_patch", f"line {line}:{column}: these points are no plain number")
        lines[line - 1] = f"{old[:begin]}{value}{old[end:]}"
    return "".join([*(f"# {one}\n" for one in head), *lines])


def _number(text: str) -> str:
    """What begins it and is a number as YAML writes one."""
    end = 0
    while end < len(text) and text[end] in "+-.0123456789eE_":
        end += 1
    return text[:end]


def read(text: str) -> Agreement:
    """The agreement that a text is. Raises Refused with every problem."""
    agreement, problems = agreement_in(text.encode(), "the suggested agreement")
    if agreement is None or problems:
        raise Refused("agreement_invalid", "\n".join(map(str, problems)))
    return agreement
