"""What a title says of seniority, in nine languages: by the words of data/titles.toml, which says how they are written.

Words count as words (`CTO` is not in "director"), a row of words before a shorter one. The file is read
when a condition first asks.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from itertools import product
from typing import Final

from shared.agreement.spelling import plain

ASSISTANT: Final = "assistant"
OTHERS: Final = "others"
NOTHING: Final = "nothing"
LAST_RESORT: Final = ("specialist", "trainee")  # said of who leads nobody
SENIORITY: Final = ("owner", "c_level", "vp", "director", "head", "manager", "specialist", ASSISTANT, "trainee")

Signs = tuple[tuple[str, str], ...]
"""The words that were found, each with the seniority that it says, in the order of the title."""

# Leiter/in, Leiter*in, LeiterInnen, Directeur(trice): one word, whoever it is about. And (m/w/d), which is nobody's.
_ANY_GENDER: Final = re.compile(r"(?<=\w)(?:[/*:_·(]-?(?i:in|innen|a|ă|e|ne|trice|rice|ka|oare)\b\)?|In\b|Innen\b)")
_NOBODYS: Final = re.compile(r"\(\s*(?:m|f|w|h|d|x|v)(?:\s*/\s*(?:m|f|w|h|d|x|v|i))+\s*\)", re.I)
_INITIALS: Final = re.compile(r"(?<!\w)(?:\w\.){2,}\w?(?!\w)")  # C.E.O.
_BETWEEN_TITLES: Final = re.compile(r"[,;|()\[\]•·@]|\s[-\u2010-\u2015]+\s|\s(?:at|bei|chez|la firma)\s")
_WORD: Final = re.compile(r"[^\W_]+")
_UMLAUTS: Final = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue"})


@dataclass(frozen=True, slots=True)
class _Vocabulary:
    """Rows of words, and ends of words, with the seniority that each says."""

    rows: dict[str, str]
    whole: dict[str, str]
    ends: dict[str, str]
    longest: int


def seniority(title: str) -> frozenset[str]:
    """Some of SENIORITY: "Founder & CEO" is both. None when no word of the vocabulary is in it."""
    return _read(title)[0]


def signs(title: str) -> str:
    """What made it so: each word and what it says, as "leiterin: head"."""
    return ", ".join(f"{word}: {level}" for word, level in _read(title)[1])


@lru_cache(maxsize=8192)
def _read(title: str) -> tuple[frozenset[str], Signs]:
    one = _ANY_GENDER.sub("", _NOBODYS.sub("", _INITIALS.sub(lambda found: found[0].replace(".", ""), title)))
    found = [sign for part in _BETWEEN_TITLES.split(plain(one)) for sign in _of_part(_WORD.findall(part))]
    above = [(word, level) for word, level in found if level not in LAST_RESORT]
    counted = tuple(above or found)
    return frozenset(level for _, level in counted), counted


def _of_part(words: list[str]) -> list[tuple[str, str]]:
    """What one title says; an assistant's only that."""
    found = list(_signs(words))
    return [sign for sign in found if sign[1] == ASSISTANT] or found


def _signs(words: list[str]) -> Iterator[tuple[str, str]]:
    known, at = _vocabulary(), 0
    if level := known.whole.get(" ".join(words)):
        yield " ".join(words), level
        return
    while at < len(words):
        row, level = _longest(words[at : at + known.longest], known)
        if level == OTHERS:
            return
        if level and level != NOTHING:
            yield row, level
        at += row.count(" ") + 1


def _longest(words: list[str], known: _Vocabulary) -> tuple[str, str]:
    """The longest row that the words begin with, and what it says; else the first word, by how it ends."""
    for n in range(len(words), 0, -1):
        row = " ".join(words[:n])
        if level := known.rows.get(row):
            return row, level
    first = words[0]
    ends = (first[start:] for start in range(1, len(first) - 2))
    return first, next((known.ends[end] for end in ends if end in known.ends), "")


# --- the vocabulary ---


@cache
def _vocabulary() -> _Vocabulary:
    text = (files("shared.agreement") / "data" / "titles.toml").read_text("utf-8")
    kinds: dict[str, dict[str, str]] = {"": {}, "=": {}, "*": {}}
    for level, languages in tomllib.loads(text).items():
        for entry in (entry for entries in languages.values() for entry in entries):
            for mark, row in _written(entry):
                kinds[mark][row] = level
    rows = kinds["*"] | kinds[""]
    return _Vocabulary(rows, kinds["="], kinds["*"], max(row.count(" ") + 1 for row in rows))


def _written(entry: str) -> Iterator[tuple[str, str]]:
    """Each way in which an entry is written, with its mark."""
    for one in entry.split("|"):
        mark = one[0] if one[0] in "=*" else ""
        word, _, suffix = one.removeprefix(mark).rstrip(")").partition("(")
        spellings = {word.casefold(), word.casefold().translate(_UMLAUTS)}
        for spelling, end in product(spellings, {"", suffix}):
            yield mark, " ".join(_WORD.findall(plain(spelling + end)))
