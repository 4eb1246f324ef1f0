"""Numbers and ranges of numbers as people and CRMs write them: `120`, `51-200`, `1,001-5,000`, `10,000+`, `< 10`.

A test of a range is as certain as the range lets it be: it holds when all of the range fits, fails when
none of it does, and else is not known. A range that only touches the end is beside it: HubSpot's
sizes `25-50`, `50-100`, `100-500` share their ends, and 50 to 100 are not at most 50.

A comma, an apostrophe or a space before three digits separates thousands; so does a point within a range.
A lone `1.000` is one or a thousand: it is known only where both give the same answer.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from shared.agreement.spelling import plain
from shared.agreement.tree import Held, ValueTest

Range = tuple[float, float]

NO_MORE: Final = math.inf
LONGEST: Final = 60  # characters of what can be a size
_POINT_OF_THOUSANDS: Final = re.compile(r"\s*[1-9]\d{0,2}\.\d{3}\s*\Z")


def between(low: float, high: float) -> ValueTest:
    """Whether a value is from `low` to `high`, both included. Of what is no number it is not known."""

    def test(actual: str) -> Held:
        try:
            number = float(actual)
        except ValueError:
            return _agreed(_readings(actual), low, high)
        if "." in actual and _POINT_OF_THOUSANDS.match(actual):
            return _agreed(((number, number), (number * 1000, number * 1000)), low, high)
        return low <= number <= high if math.isfinite(number) else None

    return test


def _agreed(readings: tuple[Range, ...], low: float, high: float) -> Held:
    if len(readings) == 1:
        return fits(readings[0], low, high)
    verdicts = {fits(one, low, high) for one in readings}
    return verdicts.pop() if len(verdicts) == 1 else None


def fits(one: Range, low: float, high: float) -> Held:
    """Whether all of a range, None: only some of it, is from `low` to `high`."""
    first, last = one
    if low <= first and last <= high:
        return True
    if last < low or first > high or (first < last and (last == low or first == high)):
        return False
    return None


# --- reading ---

_GROUPED: Final = r"[1-9]\d{0,2}(?:(?:,\d{3})+|(?:\.\d{3})+|(?:['’]\d{3})+|(?: \d{3})+)(?!\d)"
_NUMBER: Final = rf"{_GROUPED}(?:[.,]\d{{1,2}}(?!\d))?|\d+(?:[.,]\d+)?"
_SCALES: Final = {
    1e3: "k|tsd|mii",
    1e6: "m|mn|mm|mio|mln|million|millions|millionen|milioane|millones",
    1e9: "b|bn|mrd|mld|billion|billions|milliarden|miliarde",
}
_SCALE: Final = "|".join(_SCALES.values())
_CURRENCY: Final = r"[$€£]|eur|euro|usd|gbp|chf|pln|ron|lei"
# What is counted, in the languages of our titles.
_COUNTED: Final = (
    r"employees?|people|persons?|staff|fte|mitarbeiter(?:innen)?|beschaftigte|(?:de )?angajati|salaries|employes"
    r"|collaborateurs|empleados|trabajadores|dipendenti|medewerkers|werknemers|pracownikow|funcionarios|colaboradores"
)


def _amount(n: int) -> str:
    return (
        rf"(?:{_CURRENCY})?\s*(?P<number{n}>{_NUMBER})\s*(?:(?P<scale{n}>{_SCALE})\b\.?)?"
        rf"\s*(?:(?:{_CURRENCY})(?!\w))?"
    )


_FROM: Final = r"(?:(?:between|from|von|zwischen|de la|intre|de|entre|tra|tussen|van|od)\s+)?"
_TO: Final = r"\s*(?:-|[\u2010-\u2015]|\.\.|\s(?:to|bis|and|und|pana la|la|si|a|et|y|e|tot|en|do|i)\s)\s*"
_MORE: Final = (
    r"(?:\+|(?:or|and) (?:more|above|over)|(?:und|oder) mehr|sau mai mult[ei]?|si peste|(?:et|ou) plus|o mas|ou mais"
    r"|e oltre|of meer|i wiecej)"
)
_OVER: Final = (
    r">|over|above|more than|uber|ueber|mehr als|peste|mai mult de|plus de|mas de|oltre|piu di|meer dan|ponad|mais de"
)
_FROM_ON: Final = r">=|≥|at least|from|ab|min\.?|mindestens|cel putin|au moins|al menos|almeno|minstens|co najmniej"
_UNDER: Final = (
    r"<|under|below|less than|fewer than|unter|weniger als|sub|mai putin de|moins de|menos de|meno di|minder dan"
    r"|ponizej|mniej niz"
)
_UP_TO: Final = r"<=|≤|up to|max\.?|bis(?: zu)?|hochstens|pana la|jusqu'a|hasta|fino a|tot|do|ate"


def _form(text: str) -> re.Pattern[str]:
    return re.compile(rf"{text}\s*(?:{_COUNTED})?\Z")


def _readings_of_two(found: re.Match[str]) -> tuple[Range, ...]:
    first, last = _value(found, 1), _value(found, 2)
    if not found["scale1"] and found["scale2"] and first < last / _scale(found["scale2"]):
        first *= _scale(found["scale2"])  # 1-10M
    return ((first, last),) if first <= last else ()


def _readings_of_one(found: re.Match[str]) -> tuple[Range, ...]:
    value = _value(found, 1)
    if _POINT_OF_THOUSANDS.match(found["number1"]) and not found["scale1"]:
        return ((value, value), (value / 1000, value / 1000))
    return ((value, value),)


_FORMS: Final[tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], tuple[Range, ...]]], ...]] = (
    (_form(_FROM + _amount(1) + _TO + _amount(2)), _readings_of_two),
    (_form(rf"{_amount(1)}\s*{_MORE}"), lambda found: ((_value(found, 1), NO_MORE),)),
    (_form(rf"(?:{_FROM_ON})\s*{_amount(1)}"), lambda found: ((_value(found, 1), NO_MORE),)),
    (_form(rf"(?:{_OVER})\s*{_amount(1)}"), lambda found: ((math.nextafter(_value(found, 1), math.inf), NO_MORE),)),
    (_form(rf"(?:{_UP_TO})\s*{_amount(1)}"), lambda found: ((0.0, _value(found, 1)),)),
    (_form(rf"(?:{_UNDER})\s*{_amount(1)}"), lambda found: ((0.0, math.nextafter(_value(found, 1), 0.0)),)),
    (_form(_amount(1)), _readings_of_one),
)


@lru_cache(maxsize=4096)
def _readings(text: str) -> tuple[Range, ...]:
    """The ranges that the text can mean; none for what is no number."""
    said = " ".join(plain(text).split())
    if len(said) > LONGEST:
        return ()
    return next((read(found) for form, read in _FORMS if (found := form.match(said))), ())


def _value(found: re.Match[str], n: int) -> float:
    number, scale = found[f"number{n}"], found[f"scale{n}"]
    return _number(number) * (_scale(scale) if scale else 1.0)


def _number(text: str) -> float:
    if grouped := re.match(_GROUPED, text):
        whole = re.sub(r"\D", "", grouped[0])
        return float(f"{whole}.{text[grouped.end() + 1 :] or 0}")
    return float(text.replace(",", "."))


def _scale(text: str) -> float:
    return next(factor for factor, words in _SCALES.items() if text in words.split("|"))
