"""The languages in which people are told something: their phrases, numbers, dates, and which one is asked for.

A phrase is its English text, with blanks in braces. What another language says for it stands in its
catalogue, a `.po` file in this folder named by the language: to add a language is to add that file.
Plural forms, numbers and dates are those of CLDR (by Babel). A phrase that a catalogue lacks is told in English.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from babel import Locale
    from babel.messages.catalog import Message

DEFAULT: Final = "en"
PLURALS: Final = ("zero", "one", "two", "few", "many", "other")  # CLDR's, in the order of a catalogue's msgstr[n]
MOMENT: Final = "d MMMM y, HH:mm"
DAY_AND_TIME: Final = "EEE d MMM y, HH:mm"


@dataclass(frozen=True, slots=True, eq=False)
class Language:
    """One language. `phrases`: English → what is said for it, for a plural in all of its forms."""

    code: str
    phrases: Mapping[str, str | tuple[str, ...]]

    def say(self, phrase: str, /, **given: str) -> str:
        """The phrase with its blanks filled in."""
        known = self.phrases.get(phrase)
        return (known if isinstance(known, str) else phrase).format(**given)

    def count(self, one: str, many: str, /, number: float, **given: str) -> str:
        """The phrase in the form that goes with the number, which fills in `{number}`."""
        forms = self.phrases.get(one)
        phrase = forms[self._form(number)] if isinstance(forms, tuple) else one if number == 1 else many
        return phrase.format(number=self.number(number), **given)

    def number(self, value: float | Decimal) -> str:
        """As it is written there, with all of its decimals."""
        from babel.numbers import format_decimal

        exact = Decimal(str(value))
        whole = exact.quantize(Decimal(1)) if exact == exact.to_integral_value() else exact.normalize()
        return format_decimal(whole, locale=self._locale, group_separator=False, decimal_quantization=False)

    def moment(self, at: datetime, pattern: str = MOMENT) -> str:
        """Day and time of day, in the zone that it has, which is not told; `pattern` is one of CLDR's."""
        from babel.dates import format_datetime

        return format_datetime(at, pattern, tzinfo=at.tzinfo, locale=self._locale)

    def either(self, values: Iterable[str]) -> str:
        """One of these: a, b or c."""
        return self._last_by(values, self.say(" or "))

    def together(self, values: Iterable[str]) -> str:
        """All of these: a, b and c."""
        return self._last_by(values, self.say(" and "))

    def _last_by(self, values: Iterable[str], word: str) -> str:
        *first, last = values
        return f"{', '.join(first)}{word}{last}" if first else last

    def _form(self, number: float) -> int:
        """Which of a plural's forms goes with the number as it is written."""
        rule = self._locale.plural_form
        known: list[str] = [name for name in PLURALS if name in rule.tags or name == "other"]
        return known.index(str(rule(Decimal(f"{abs(number):g}"))))

    @property
    def _locale(self) -> Locale:
        return _locale(self.code)


@cache
def _locale(code: str) -> Locale:
    from babel import Locale

    return Locale(code)


ENGLISH: Final = Language(DEFAULT, {})


@cache
def languages() -> Mapping[str, Language]:
    """All that there are, by their codes. Reads the catalogues, once."""
    from babel.messages.pofile import read_po

    found = {DEFAULT: ENGLISH}
    for file in sorted(resources.files(__name__).iterdir(), key=lambda file: file.name):
        code, _, kind = file.name.rpartition(".")
        if kind == "po":
            with file.open("rb") as opened:
                catalogue = read_po(opened, locale=code, charset="utf-8", abort_invalid=True)
            found[code] = Language(code, dict(_entry(one) for one in catalogue if one.id and one.string))
    return found


def _entry(one: Message) -> tuple[str, str | tuple[str, ...]]:
    """English → what is said for it; a plural by its singular."""
    phrase = one.id if isinstance(one.id, str) else one.id[0]
    return phrase, one.string if isinstance(one.string, str) else tuple(one.string or ())


def asked_for(header: str, lang: str = "") -> Language:
    """The language of `lang`, or else the one of an Accept-Language header (RFC 9110) that is liked best; or English.

    A variety is told in its language: `ro-MD` in Romanian. Of two that are liked as well the first counts.
    """
    known = languages()
    if lang:
        return known.get(_primary(lang), ENGLISH)
    liked = [(weight, _primary(name)) for name, weight in _weighed(header)]
    refused = {name for weight, name in liked if not weight}
    offered = [name for name in known if name not in refused] or [DEFAULT]
    for weight, name in sorted(liked, key=lambda one: -one[0]):
        if weight and name == "*":
            return known[offered[0]]
        if weight and name in known:
            return known[name]
    return ENGLISH


def _weighed(header: str) -> Iterable[tuple[str, float]]:
    """Each range of the header with its q-value; what cannot be read as one is left out."""
    for part in header.split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        weights = [text[2:] for text in parameters if text[:2].lower() == "q="]
        try:
            weight = float(weights[0]) if weights else 1.0
        except ValueError:
            continue
        if name and 0 <= weight <= 1:
            yield name, weight


def _primary(tag: str) -> str:
    """`ro-RO` is `ro`."""
    return tag.strip().lower().replace("_", "-").partition("-")[0]
