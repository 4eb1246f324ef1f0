"""How the agreement writes values: durations, working time, shares, money, periods, names.

What somebody owes is promised in working time, by the calendar of who owes it (`Working`): a `d` is
an ordinary working day there. What fades or rests (half-lives, lags, cool-downs, windows) is elapsed
time (`Duration`), nights and holidays included.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Annotated, Any, Final

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    WithJsonSchema,
    WrapSerializer,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from shared.agreement.conditions import PROPERTY_NAME, Condition
from shared.agreement.hours import TIMEZONE, check_timezone
from shared.calendars import Span

LONGEST: Final = timedelta(days=3660)  # ten years: what is longer is a slip, and would run out of calendar
UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
WRITTEN: Final = "as written"  # the context of a dump in the agreement's own notation
DEFAULT: Final = "default"
SLUG: Final = r"^[a-z][a-z0-9_-]*$"
TENANT: Final = r"^[a-z0-9_-]+:[A-Za-z0-9_-]+$"
CONTACT_NAME: Final = r"^[a-z][a-z0-9_]*$"
INTERNAL_NAME: Final = PROPERTY_NAME.pattern.replace(r"\Z", "$")


def wrong(message: str) -> PydanticCustomError:
    return PydanticCustomError("agreement", "{message}", {"message": message})


def writes(how: Callable[[Any], Any]) -> WrapSerializer:
    """In a dump with the context WRITTEN the value is told by `how`, else as a plain value."""

    def serialize(value: Any, plain: SerializerFunctionWrapHandler, info: SerializationInfo) -> Any:
        return how(value) if info.context == WRITTEN else plain(value)

    return WrapSerializer(serialize)


@dataclass(frozen=True)
class OrAlone:
    """In the JSON Schema: may also be written as `alone`, or as one item of the list that it is."""

    alone: Mapping[str, Any] | None = None

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        whole = handler(core)
        return {"anyOf": [dict(self.alone) if self.alone else handler.resolve_ref_schema(whole)["items"], whole]}


def in_file(pattern: str, what: str, *examples: str) -> WithJsonSchema:
    """In the JSON Schema: a text of this form."""
    return WithJsonSchema(text_schema(pattern, what, *examples))


def text_schema(pattern: str, what: str, *examples: str) -> dict[str, Any]:
    return {"type": "string", "pattern": f"^{pattern}$", "description": what, "examples": list(examples)}


class DefinitionSchema:
    """In the JSON Schema: a condition behind `when`."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        properties = {"when": {**handler(core), "description": "Of whom it holds."}}
        return {"type": "object", "properties": properties, "required": ["when"], "additionalProperties": False}


def _duration(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value
    span = working(value)
    return timedelta(seconds=span.amount * UNITS[span.unit])


def shown_duration(value: timedelta) -> str:
    """In days, hours, minutes or seconds: the largest of these that it is whole in."""
    seconds = int(value.total_seconds())
    unit = next(unit for unit in "dhms" if seconds % UNITS[unit] == 0)
    return f"{seconds // UNITS[unit]}{unit}"


def working(value: Any) -> Span:
    if isinstance(value, Span):
        return value
    try:
        return Span.parse(str(value))
    except ValueError as error:
        raise wrong(str(error)) from None


def _targets(value: Any) -> Any:
    """One time for everybody is the default of all."""
    return value if isinstance(value, Mapping) else {DEFAULT: value}


def _share(value: Any) -> Any:
    if isinstance(value, float):
        return value
    match = re.fullmatch(r"(\d{1,3}(?:\.\d+)?)\s*%", str(value))
    if match is None or float(match[1]) > 100:
        raise wrong("must be a percentage from 0% to 100%, as 90%")
    return float(Decimal(match[1]) / 100)


def _shown_share(value: float) -> str:
    percent = Decimal(repr(value)) * 100
    return f"{percent.normalize():f}%"


def _money(value: Any) -> Any:
    if isinstance(value, Mapping | Money):
        return value
    match = re.fullmatch(r"([\d_]*\d(?:\.\d+)?)\s+([A-Z]{3})", str(value))
    if match is None:
        raise wrong("must be an amount and a currency, as 1_000_000 USD")
    return {"amount": match[1].replace("_", ""), "currency": match[2]}


def period(value: Any) -> Any:
    if isinstance(value, Mapping | Period):
        return value
    first, dots, last = str(value).partition("..")
    try:
        days = {"first": date.fromisoformat(first), "last": date.fromisoformat(last)}
    except ValueError:
        raise wrong("must be two days, as 2027-01-01..2027-03-31, or every month, quarter or year") from None
    if not dots or days["first"] > days["last"]:
        raise wrong("must have the first day before the last")
    return days


def _timezone(value: Any) -> Any:
    try:
        return check_timezone(value)
    except ValueError as error:
        raise wrong(str(error)) from None


def _definition(value: Any) -> Any:
    if isinstance(value, Condition):
        return value
    if not isinstance(value, Mapping) or list(value) != ["when"]:
        raise wrong("must be {when: …} with a condition")
    return Condition.parse(value["when"], ("when",))


def listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class Part(BaseModel):
    """A part of the agreement: frozen, and nothing in it that is not understood."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Money(Part):
    amount: Decimal = Field(gt=0)
    currency: str


class Period(Part):
    """Days from `first` to `last`, both of them too."""

    first: date
    last: date

    def holds(self, day: date) -> bool:
        return self.first <= day <= self.last


def _shown_money(money: Money) -> str:
    return f"{money.amount:,f}".replace(",", "_") + f" {money.currency}"


PERCENT: Final = r"(100(\.0+)?|[0-9]{1,2}(\.[0-9]+)?)\s*%"
MONEY: Final = r"[0-9_]*[0-9](\.[0-9]+)?\s+[A-Z]{3}"
DAY: Final = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
DAYS: Final = rf"{DAY}\.\.{DAY}"
SPAN: Final = r"[0-9]{1,6}\s*[smhdw]"
ELAPSED: Final = "Elapsed time, nights and holidays included: 30m, 4h, 14d, 2w."
SHARE: Final = text_schema(PERCENT, "A share, from 0% to 100%.", "90%")
WORKING: Final = text_schema(SPAN, "Working time of whoever owes it: 30m, 4h, 1d (an ordinary working day), 2w.", "4h")

Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    PlainSerializer(shown_duration, when_used="json"),
    in_file(SPAN, ELAPSED, "14d", "4h"),
]
Working = Annotated[Span, BeforeValidator(working), PlainSerializer(str), WithJsonSchema(WORKING)]
Targets = Annotated[dict[str, Working], BeforeValidator(_targets), OrAlone(WORKING)]
Share = Annotated[
    float,
    BeforeValidator(_share),
    writes(_shown_share),
    WithJsonSchema(SHARE),
]
Amount = Annotated[
    Money,
    BeforeValidator(_money),
    writes(_shown_money),
    in_file(MONEY, "An amount and its currency.", "1_000_000 USD"),
]
Timezone = Annotated[str, BeforeValidator(_timezone), WithJsonSchema(TIMEZONE)]
Definition = Annotated[
    Condition, BeforeValidator(_definition), PlainSerializer(lambda found: {"when": found.source}), DefinitionSchema()
]
Name = Annotated[str, Field(min_length=1, max_length=100)]
Slug = Annotated[str, Field(pattern=SLUG, max_length=60)]
ContactProperty = Annotated[str, Field(pattern=CONTACT_NAME, max_length=100)]
PropertyName = Annotated[str, Field(pattern=INTERNAL_NAME, max_length=100)]
Points = Annotated[float, Field(allow_inf_nan=False)]
