"""Countries by any of their names: RO, ROU, Romania, România, Rumänien and Roumanie are one.

The names are in data/: countries.txt has those of the CLDR in sixty languages, more_country_names.txt
what people and CRMs write besides. They are read when a condition first asks for a country.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from importlib.resources import files
from typing import Final

from shared.agreement.spelling import plain

# Not \W: that has the vowel signs of Hindi in it.
_BETWEEN_LETTERS: Final = re.compile(r"[\s!-/:-@\[-`{-~\u00a1-\u00bf\u2010-\u205f]+")
_DOTTED: Final = re.compile(r"\b(\w)\.\s?(?=\w\b)")  # U.S.A., EE. UU.
_UMLAUTS: Final = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue"})
_SEVERAL: Final = "?"  # stands in our file for the code of names that mean more than one country


@lru_cache(maxsize=8192)
def country(text: str) -> str:
    """The code of the country that is called so (ISO 3166-1, two letters); "" where no one country is."""
    return _names().get(_key(text), "").replace(_SEVERAL, "")


def signs(text: str) -> str:
    """The code of the country that was read, where the text is not that code itself."""
    code = country(text)
    return code if code.lower() != plain(text) else ""


def suggestion(text: str) -> str:
    """The English name of the country that was probably meant; "" where none is near."""
    names = (name for name in _names() if name.isascii() and len(name) > len("XXX"))
    near = difflib.get_close_matches(_key(text), names, n=1, cutoff=0.75)
    return _english().get(_names()[near[0]], "") if near else ""


def _key(text: str) -> str:
    """Without case, diacritics and punctuation, and without an article before it."""
    letters = _BETWEEN_LETTERS.sub(" ", _DOTTED.sub(r"\1", plain(text)).replace("&", " and ")).strip()
    return letters.removeprefix("the ")


@cache
def _names() -> dict[str, str]:
    """Codes, English names and ours go before names in other languages; what means two countries there means none."""
    found: dict[str, str] = {}
    for codes, names in _lines("countries.txt"):
        found |= dict.fromkeys(map(_key, (*codes, names[0])), codes[0])
    for codes, names in _lines("more_country_names.txt"):
        found |= dict.fromkeys(map(_key, names), codes[0])
    others: dict[str, str] = {}
    for codes, names in _lines("countries.txt"):
        for key in map(_key, (*names[1:], *_without_umlauts(names[1:]))):
            others[key] = codes[0] if others.get(key, codes[0]) == codes[0] else _SEVERAL
    return others | found


def _without_umlauts(names: Iterable[str]) -> Iterator[str]:
    """As they are written on a keyboard that has none: Oesterreich."""
    yield from (name.translate(_UMLAUTS) for name in names if _UMLAUTS.keys() & set(map(ord, name)))


@cache
def _english() -> dict[str, str]:
    return {codes[0]: names[0] for codes, names in _lines("countries.txt")}


def _lines(file: str) -> Iterator[tuple[list[str], list[str]]]:
    """Codes and names of each country in the file."""
    text = (files("shared.agreement") / "data" / file).read_text("utf-8")
    for line in text.splitlines():
        if not line.startswith("#"):
            codes, _, names = line.partition(": ")
            yield codes.split(), names.split(" | ")
