"""What an agreement says: seven parts, each a frozen model. A key that nothing enforces is refused.

Durations are elapsed time: working hours and calendars come with a later format of the file.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Annotated, Any, Final, Literal, TypeVar
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, RootModel, model_validator
from pydantic_core import PydanticCustomError

from shared.agreement.conditions import PROPERTY_NAME, Condition, Path
from shared.events import Channel

T = TypeVar("T")

FIT_GRADES: Final = ("A", "B", "C", "D")
INTEREST_LEVELS: Final = ("1", "2", "3", "4")
JOURNEY: Final = ("decision", "consideration", "awareness")  # from the nearest to a deal
FAMILIES: Final = ("knowledge", "consideration", "urgency")
BY_JOURNEY: Final = "by_journey"
NO_TRACK: Final = "none"
# What hand-off and people need to know of anyone, besides what the agreement names.
BASIC_PROPERTIES: Final = frozenset(
    (
        *("firstname", "lastname", "email", "phone", "company", "jobtitle", "country"),
        *("hs_analytics_source", "hubspot_owner_id"),
    )
)
LONGEST: Final = timedelta(days=3660)  # ten years: what is longer is a slip, and would run out of calendar
VERSIONS_KEPT: Final = 1000  # of what is made of agreements: one for each tenant
UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def _wrong(message: str) -> PydanticCustomError:
    return PydanticCustomError("agreement", "{message}", {"message": message})


# --- values ---


def _duration(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value
    match = re.fullmatch(r"(\d{1,6})\s*([smhdw])", str(value))
    if match is None:
        raise _wrong("must be a duration, as 30m, 4h, 1d or 2w")
    duration = timedelta(seconds=int(match[1]) * UNITS[match[2]])
    if duration > LONGEST:
        raise _wrong(f"must not be longer than {LONGEST.days}d")
    return duration


def _share(value: Any) -> Any:
    if isinstance(value, float):
        return value
    match = re.fullmatch(r"(\d{1,3}(?:\.\d+)?)\s*%", str(value))
    if match is None or float(match[1]) > 100:
        raise _wrong("must be a percentage from 0% to 100%, as 90%")
    return float(Decimal(match[1]) / 100)


def _money(value: Any) -> Any:
    if isinstance(value, Mapping | Money):
        return value
    match = re.fullmatch(r"([\d_]*\d(?:\.\d+)?)\s+([A-Z]{3})", str(value))
    if match is None:
        raise _wrong("must be an amount and a currency, as 1_000_000 USD")
    return {"amount": match[1].replace("_", ""), "currency": match[2]}


def _period(value: Any) -> Any:
    if isinstance(value, Mapping | Period):
        return value
    first, dots, last = str(value).partition("..")
    try:
        days = {"first": date.fromisoformat(first), "last": date.fromisoformat(last)}
    except ValueError:
        raise _wrong("must be two days, as 2027-01-01..2027-03-31") from None
    if not dots or days["first"] > days["last"]:
        raise _wrong("must have the first day before the last")
    return days


def _definition(value: Any) -> Any:
    if isinstance(value, Condition):
        return value
    if not isinstance(value, Mapping) or list(value) != ["when"]:
        raise _wrong("must be {when: …} with a condition")
    return Condition.parse(value["when"], ("when",))


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class Part(BaseModel):
    """A part of the agreement: frozen, and nothing in it that is not understood."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Money(Part):
    amount: Decimal = Field(gt=0)
    currency: str


class Period(Part):
    first: date
    last: date


Duration = Annotated[timedelta, BeforeValidator(_duration)]
Share = Annotated[float, BeforeValidator(_share)]
Amount = Annotated[Money, BeforeValidator(_money)]
Days = Annotated[Period, BeforeValidator(_period)]
Definition = Annotated[Condition, BeforeValidator(_definition)]
Name = Annotated[str, Field(min_length=1, max_length=100)]
Slug = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$", max_length=60)]
PropertyName = Annotated[str, Field(pattern=PROPERTY_NAME.pattern.replace(r"\Z", "$"), max_length=100)]
Points = Annotated[float, Field(allow_inf_nan=False)]


# --- goals ---


class Target(Part):
    revenue: Amount


class Conversions(Part):
    """Shares of one stage that reach the next."""

    visitor_to_lead: Share | None = None
    lead_to_mql: Share | None = None
    mql_to_sql: Share | None = None
    sql_to_customer: Share | None = None


class Lags(Part):
    """How long one stage takes to reach the next."""

    lead_to_mql: Duration | None = None
    mql_to_sql: Duration | None = None
    sql_to_customer: Duration | None = None


class Goal(Part):
    """A shared goal: a target over a period. Data to be shown; nothing is derived from it yet."""

    name: Name
    target: Target
    period: Days
    average_deal: Amount
    expected: Conversions = Conversions()
    lag: Lags = Lags()
    methods: dict[str, Share] = {}

    @model_validator(mode="after")
    def _methods_share_one_whole(self) -> Goal:
        if sum(self.methods.values()) > 1.000001:
            raise _wrong("has methods that add up to more than 100%")
        return self


# --- qualification ---


class Persona(Part):
    when: Condition
    points: Points


class FitRule(Part):
    """Gives or takes points, or says that the lead is nobody for us."""

    name: Name
    when: Condition
    points: Points = 0.0
    disqualify: str = ""

    @model_validator(mode="after")
    def _does_something(self) -> FitRule:
        if not self.points and not self.disqualify:
            raise _wrong("must have points or disqualify")
        return self


def _thresholds(value: dict[str, float], names: tuple[str, ...]) -> dict[str, float]:
    """From the best name to the last, which takes whatever is left."""
    if set(value) != set(names):
        raise _wrong(f"must have exactly {', '.join(names)}")
    bounds = [value[name] for name in names]
    if any(math.isnan(bound) for bound in bounds) or bounds != sorted(bounds, reverse=True):
        raise _wrong(f"must fall from {names[0]} to {names[-1]}")
    if bounds[-1] != -math.inf:
        raise _wrong(f"must have {names[-1]}: -inf, for whatever is left")
    return value


FitGrades = Annotated[dict[str, float], AfterValidator(lambda value: _thresholds(value, FIT_GRADES))]
InterestLevels = Annotated[dict[str, float], AfterValidator(lambda value: _thresholds(value, INTEREST_LEVELS))]


class Fit(Part):
    """Does the person and the company match: the best persona's points and those of all rules that hold."""

    role: dict[Slug, Persona] = {}
    rules: tuple[FitRule, ...] = ()
    grades: FitGrades


class Signal(Part):
    """An act of the lead that shows interest."""

    on: Literal["form_submitted", "page_visited"]
    when: Condition | None = None
    points: float = Field(gt=0, allow_inf_nan=False)
    name: str = ""

    @property
    def label(self) -> str:
        """Its name, or what it says in words."""
        if self.name:
            return self.name
        act = "Page visited" if self.on == "page_visited" else "Form submitted"
        return f"{act}: {self.when.text}" if self.when else act

    @model_validator(mode="after")
    def _asks_what_it_can_know(self) -> Signal:
        known = {"url", "host", "path"}
        if self.when and (strange := (self.when.properties - known) | (self.when.words - {"form", "form_submitted"})):
            raise _wrong(f"can ask about {', '.join(sorted(known))} and form, not {', '.join(sorted(strange))}")
        if self.when and self.when.words and self.on == "page_visited":
            raise _wrong("is about a page and cannot ask for a form")
        return self


class Family(Part):
    """Signals of one kind, together worth at most `cap`; each loses half its points every `half_life`."""

    cap: float = Field(gt=0, allow_inf_nan=False)
    half_life: Duration | None = None
    signals: tuple[Signal, ...]


class Interest(Part):
    """How much the lead wants, from what it did; each act fades."""

    half_life: Duration
    knowledge: Family
    consideration: Family
    urgency: Family
    levels: InterestLevels
    journey: dict[Literal["decision", "consideration", "awareness"], dict[str, float]]

    @property
    def families(self) -> dict[str, Family]:
        return {"knowledge": self.knowledge, "consideration": self.consideration, "urgency": self.urgency}

    @model_validator(mode="after")
    def _fits_together(self) -> Interest:
        if not self.half_life or any(f.half_life == timedelta(0) for f in self.families.values()):
            raise _wrong("must have half-lives longer than nothing")
        for stage, needed in self.journey.items():
            if strange := set(needed) - set(FAMILIES):
                raise _wrong(f"has a journey stage {stage} that asks for {', '.join(sorted(strange))}")
        return self


class Qualification(Part):
    fit: Fit
    interest: Interest


# --- handoff ---


class Trigger(Part):
    """When Marketing hands over; the first in the file's order that holds."""

    name: Name
    when: Condition
    unless: Condition | None = None
    priority: Slug = "normal"


class Route(Part):
    when: Condition | None = None
    to: str = Field(pattern=r"^team:[a-z][a-z0-9_-]*$")

    @property
    def team(self) -> str:
        return self.to.removeprefix("team:")


class Team(Part):
    """Person → weight: how large a share of the leads."""

    members: dict[Name, Annotated[int, Field(ge=1, le=1000)]] = Field(min_length=1)


Event = Literal[
    "handed_off",
    "assigned",
    "warned",
    "breached",
    "replied",
    "rejected",
    "returned",
    "qualified",
    "disqualified",
    "erased",
]


class Notify(Part):
    """What is told, and by which channel. Whom the program behind the webhook tells is its own affair."""

    on: Annotated[tuple[Event, ...], BeforeValidator(_listed), Field(min_length=1)]
    by: Annotated[tuple[Literal["webhook"], ...], BeforeValidator(_listed), Field(min_length=1)]


class Handoff(Part):
    triggers: tuple[Trigger, ...] = Field(min_length=1)
    information: dict[Literal["mql"], tuple[PropertyName, ...]] = {}
    route: tuple[Route, ...] = Field(min_length=1)
    teams: dict[Slug, Team] = Field(min_length=1)
    notify: tuple[Notify, ...] = ()

    @model_validator(mode="after")
    def _somebody_gets_every_lead(self) -> Handoff:
        if self.route[-1].when is not None:
            raise _wrong("must end its route with one that has no `when`, for every other lead")
        return self


# --- nurture ---


class Track(Part):
    workflow: Name


class Nurture(RootModel[dict[Slug, Track]]):
    """The tracks a lead can go into, by name."""

    model_config = ConfigDict(frozen=True)

    @property
    def tracks(self) -> dict[str, Track]:
        return self.root


# --- follow-up ---


class Step(Part):
    """One attempt; `after` is the time since the attempt before it."""

    channel: Channel
    after: Duration = timedelta(0)


class ReturnRule(Part):
    """The way back to Marketing for a reason; `attempts: exhausted` goes there by itself."""

    attempts: Literal["exhausted"] | None = None
    reason: Slug
    track: str = BY_JOURNEY
    cool_down: Duration = timedelta(0)


class FollowUp(Part):
    """What Sales promised. All durations are elapsed time, nights and holidays included."""

    first_touch: dict[str, Duration]
    cadence: tuple[Step, ...] = Field(min_length=1)
    wait_for_reply: Duration
    warn_at: tuple[Share, ...] = ()
    return_when: tuple[ReturnRule, ...] = ()
    reasons: tuple[Slug, ...] = Field(min_length=1)

    def first_touch_for(self, *, priority: str, fit_grade: str) -> timedelta:
        """The time to the first attempt: by the priority, or else the fit grade, or else the default."""
        for key in (priority, fit_grade):
            if key in self.first_touch:
                return self.first_touch[key]
        return self.first_touch["default"]

    @model_validator(mode="after")
    def _fits_together(self) -> FollowUp:
        if "default" not in self.first_touch:
            raise _wrong("must have first_touch: {default: …}")
        if self.cadence[0].after:
            raise _wrong("has a first step with `after`; its time is first_touch")
        if any(not step.after for step in self.cadence[1:]):
            raise _wrong("has a later step without `after`")
        if any(not 0 < share < 1 for share in self.warn_at):
            raise _wrong("must warn between 0% and 100%")
        if len(set(self.warn_at)) < len(self.warn_at):
            raise _wrong("must warn at each share once")
        if sum(rule.attempts is not None for rule in self.return_when) > 1:
            raise _wrong("has two ways back for exhausted attempts")
        return self


# --- kpis ---


class SpeedToLead(Part):
    p50: Duration | None = None
    p90: Duration | None = None


class AttemptTargets(Part):
    per_lead: float | None = Field(default=None, gt=0)
    connect_rate: Share | None = None


class ConversionTargets(Conversions):
    window: Duration | None = None


class Kpis(Part):
    """Targets that the kpi service shows beside what is."""

    sla_compliance: dict[Literal["first_touch", "cadence"], Share] = {}
    speed_to_lead: SpeedToLead = SpeedToLead()
    attempts: AttemptTargets = AttemptTargets()
    conversion: ConversionTargets = ConversionTargets()


# --- the whole ---


class SignedBy(Part):
    marketing: tuple[str, ...] = ()
    sales: tuple[str, ...] = ()


def _timezone(value: Any) -> Any:
    if value not in available_timezones():
        raise _wrong("must be a time zone, as Europe/Bucharest")
    return value


class Agreement(Part):
    """What Marketing and Sales promised each other."""

    name: Name = Field(alias="agreement")
    tenant: str | None = Field(default=None, pattern=r"^[a-z0-9_-]+:[A-Za-z0-9_-]+$")
    effective: date | None = None
    signed_by: SignedBy = SignedBy()
    timezone: Annotated[str, BeforeValidator(_timezone)] = "UTC"

    goals: tuple[Goal, ...] = ()
    definitions: dict[Literal["lead", "mql", "sql", "opportunity", "customer"], Definition]
    qualification: Qualification
    handoff: Handoff
    nurture: Nurture = Nurture({})
    follow_up: FollowUp
    kpis: Kpis = Kpis()

    @model_validator(mode="after")
    def _bind_definitions(self) -> Agreement:
        for _, condition in self.conditions():
            condition.bind(self.definitions)  # type: ignore[arg-type]
        return self

    @cached_property
    def version(self) -> str:
        """12 hex digits of the content: the same whatever the comments, formatting and order of keys."""
        content = self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    def conditions(self) -> Iterator[tuple[Path, Condition]]:
        """Every condition, with where it stands in the file."""
        for name, definition in self.definitions.items():
            yield ("definitions", name, "when"), definition
        yield from _conditions(self.qualification, ("qualification",))
        yield from _conditions(self.handoff, ("handoff",))

    @cached_property
    def profile(self) -> frozenset[str]:
        """The properties that hand-off and people need: for its conditions, as information, and to know who it is."""
        asked = [c.properties for path, c in self.conditions() if path[0] in ("handoff", "definitions")]
        told = [name for names in self.handoff.information.values() for name in names]
        return BASIC_PROPERTIES.union(told, *asked)

    @cached_property
    def contact_properties(self) -> frozenset[str]:
        """Every property of a contact that anybody here asks about or is told."""
        fit = [c.properties for path, c in self.conditions() if path[:2] == ("qualification", "fit")]
        return self.profile.union(*fit)


def _conditions(value: Any, at: Path) -> Iterator[tuple[Path, Condition]]:
    if isinstance(value, Condition):
        yield at, value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _conditions(getattr(value, name), (*at, name))
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from _conditions(one, (*at, key))
    elif isinstance(value, tuple):
        for n, one in enumerate(value):
            yield from _conditions(one, (*at, n))


def by_version(make: Callable[[Agreement], T]) -> Callable[[Agreement], T]:
    """`make`, called once for each version of an agreement: what it says is what makes it the same."""
    made: dict[str, T] = {}

    def once(agreement: Agreement) -> T:
        if agreement.version not in made:
            if len(made) >= VERSIONS_KEPT:
                made.clear()
            made[agreement.version] = make(agreement)
        return made[agreement.version]

    return once
