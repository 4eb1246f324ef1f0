"""What an agreement says: seven parts, each a frozen model. A key that nothing enforces is refused.

What somebody owes is promised in working time, by the calendar of who owes it (`Working`): a `d` is
an ordinary working day there. What fades or rests (half-lives, lags, cool-downs, windows) is elapsed
time (`Duration`), nights and holidays included.
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
from typing import Annotated, Any, Final, Literal, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    RootModel,
    model_validator,
)
from pydantic_core import PydanticCustomError

from shared.agreement.conditions import PROPERTY_NAME, Condition, Path
from shared.agreement.hours import KEY, WEEKDAYS, Hours, Placed, check_timezone, openings, placed
from shared.agreement.hours import read as read_hours
from shared.calendars import ALWAYS, Calendar, Span
from shared.events import Channel, ClockKind

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
ALWAYS_OPEN: Final = "always"  # the calendar that every agreement has
DEFAULT: Final = "default"
MANAGER: Final = "manager"
TEAM: Final = "team:"  # before the name of a team, where other things can stand too
SLUG: Final = r"^[a-z][a-z0-9_-]*$"
NORMAL: Final = "normal"  # the priority that every agreement has
NOT_ACCEPTED: Final = "not_accepted"  # the reason of a lead that goes back because nobody took it on


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


def _working(value: Any) -> Any:
    if isinstance(value, Span):
        return value
    try:
        return Span.parse(str(value))
    except ValueError as error:
        raise _wrong(str(error)) from None


def _targets(value: Any) -> Any:
    """One time for everybody is the default of all."""
    return value if isinstance(value, Mapping) else {DEFAULT: value}


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


def _timezone(value: Any) -> Any:
    try:
        return check_timezone(value)
    except ValueError as error:
        raise _wrong(str(error)) from None


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
Working = Annotated[Span, BeforeValidator(_working), PlainSerializer(str)]
Targets = Annotated[dict[str, Working], BeforeValidator(_targets)]
Share = Annotated[float, BeforeValidator(_share)]
Amount = Annotated[Money, BeforeValidator(_money)]
Days = Annotated[Period, BeforeValidator(_period)]
Definition = Annotated[Condition, BeforeValidator(_definition)]
Name = Annotated[str, Field(min_length=1, max_length=100)]
Slug = Annotated[str, Field(pattern=SLUG, max_length=60)]
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
    priority: Slug = NORMAL


class Route(Part):
    when: Condition | None = None
    to: str = Field(pattern=r"^team:[a-z][a-z0-9_-]*$")

    @property
    def team(self) -> str:
        return self.to.removeprefix(TEAM)


def _member(value: Any) -> Any:
    """A weight alone is all that most members need."""
    return value if isinstance(value, Mapping | Member) else {"weight": value}


class Member(Part):
    """`weight`: how large a share of the team's leads. `crm_owner`: the id that this person has in the CRM."""

    weight: int = Field(default=1, ge=0, le=1000)
    calendar: Slug | None = None
    crm_owner: str = ""


class Team(Part):
    """Who receives leads, by whose calendar, and who is told when a promise is broken."""

    members: dict[Name, Annotated[Member, BeforeValidator(_member)]] = Field(min_length=1)
    calendar: Slug | None = None
    manager: str = ""

    @property
    def weights(self) -> dict[str, int]:
        """Person → weight."""
        return {person: member.weight for person, member in self.members.items()}

    @model_validator(mode="after")
    def _somebody_works(self) -> Team:
        if not any(self.weights.values()):
            raise _wrong("must have a member with a weight of 1 or more")
        return self


Event = Literal[
    "handed_off",
    "assigned",
    "reassigned",
    "raised",
    "accepted",
    "warned",
    "breached",
    "corrected",
    "escalated",
    "paused",
    "resumed",
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

    @property
    def priorities(self) -> tuple[str, ...]:
        """Every priority that a lead can have, each once."""
        return tuple(dict.fromkeys((NORMAL, *(trigger.priority for trigger in self.triggers))))

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


class WorkingHours(Part):
    """When people work: hours by weekday, public holidays of a country (or DE-BY), and days that differ."""

    week: dict[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], Hours]
    timezone: str | None = None
    holidays: tuple[str, ...] = ()
    exceptions: dict[date, Hours] = Field(default={}, alias="except")

    @model_validator(mode="before")
    @classmethod
    def _as_written(cls, value: Any) -> Any:
        return value if isinstance(value, WorkingHours) else read_hours(value)

    def calendar(self, timezone: str) -> Calendar:
        """The calendar, in its own time zone or else in `timezone`."""
        return Calendar.of(
            zone=self.timezone or timezone,
            week={WEEKDAYS.index(day): openings(hours) for day, hours in self.week.items()},
            exceptions={day: openings(hours) for day, hours in self.exceptions.items()},
            holidays=self.holidays,
        )


class Step(Part):
    """One attempt; `after` is the working time since the attempt before it."""

    channel: Channel
    after: Working = Span(amount=0, unit="s")


class ReturnRule(Part):
    """The way back to Marketing for a reason; `attempts: exhausted` goes there by itself."""

    attempts: Literal["exhausted"] | None = None
    reason: Slug
    track: str = BY_JOURNEY
    cool_down: Duration = timedelta(0)


def _since_breach(value: Any) -> Any:
    if isinstance(value, Span):
        return value
    match = re.fullmatch(r"breach(?:\s*\+\s*(.+))?", str(value).strip())
    if match is None:
        raise _wrong("must be breach, or breach and a duration, as breach + 2h")
    return _working(match[1] or "0s")


Owed = Literal["accept", "first_touch", "next_attempt", "decision"]
OWED: Final = get_args(Owed)


def _in_order(value: tuple[Owed, ...]) -> tuple[Owed, ...]:
    """In whatever order they are named, they mean the same."""
    return tuple(sorted(set(value), key=OWED.index))


class Escalation(Part):
    """What follows a breach that nobody mends: `at` is in working time from the due time on."""

    at: Annotated[Span, BeforeValidator(_since_breach), PlainSerializer(lambda span: f"breach + {span}")]
    on: Annotated[tuple[Owed, ...], BeforeValidator(_listed), AfterValidator(_in_order), Field(min_length=1)] = OWED
    to: Annotated[tuple[Name, ...], BeforeValidator(_listed)] = ()
    reassign: Literal["team"] | None = None

    @model_validator(mode="after")
    def _does_something(self) -> Escalation:
        if not self.to and not self.reassign:
            raise _wrong("must have to or reassign")
        return self


class FollowUp(Part):
    """What Sales promised, in working time."""

    calendars: dict[Slug, WorkingHours] = {}
    calendar: Slug = ALWAYS_OPEN
    accept_within: Targets = {}
    if_not_accepted: Literal["nothing", "accept", "reassign", "return"] = "nothing"
    first_touch: Targets
    cadence: tuple[Step, ...] = Field(min_length=1)
    wait_for_reply: Working
    decide_within: Targets = {}
    colleagues: Literal["count", "ignore"] = "count"
    off_cadence: Literal["count", "ignore"] = "count"
    warn_at: tuple[Share, ...] = ()
    escalation: tuple[Escalation, ...] = ()
    return_when: tuple[ReturnRule, ...] = ()
    reasons: tuple[Slug, ...] = Field(min_length=1)
    pause_reasons: tuple[Slug, ...] = ("asked_to_wait", "away", "other")

    def allowed(self, kind: ClockKind, n: int, *, priority: str, fit_grade: str, team: str) -> Span | None:
        """The time that a clock of this kind gives; None when there is no such promise, as one of no time."""
        match kind:
            case ClockKind.NEXT_ATTEMPT:
                span = self.cadence[n - 1].after if n <= len(self.cadence) else None
            case ClockKind.REPLY_WAIT:
                span = self.wait_for_reply
            case _:
                targets = {
                    ClockKind.ACCEPT: self.accept_within,
                    ClockKind.FIRST_TOUCH: self.first_touch,
                    ClockKind.DECISION: self.decide_within,
                }[kind]
                span = _target(targets, priority=priority, fit_grade=fit_grade, team=team)
        return span or None

    @model_validator(mode="after")
    def _fits_together(self) -> FollowUp:
        if problems := [*self._cadence_misfits(), *self._misfits()]:
            raise placed(problems)
        return self

    def _cadence_misfits(self) -> Iterator[Placed]:
        if self.cadence[0].after:
            yield ("cadence", 0, "after"), "does not belong to the first step; its time is first_touch"
        for n, step in enumerate(self.cadence):
            if n and not step.after:
                yield ("cadence", n), "must have after, the time since the attempt before it, as 1d"

    def _misfits(self) -> Iterator[Placed]:
        if DEFAULT not in self.first_touch:
            yield ("first_touch",), "must have a time for everybody else, as default: 1d"
        for n, share in enumerate(self.warn_at):
            if not 0 < share < 1:
                yield ("warn_at", n), "must be between 0% and 100%"
            if share in self.warn_at[:n]:
                yield ("warn_at", n), "stands twice; nobody is warned twice at once"
        exhausted = [n for n, rule in enumerate(self.return_when) if rule.attempts]
        for n in exhausted[1:]:
            yield ("return_when", n, "attempts"), "is a second way back for exhausted attempts; there can be one"
        if ALWAYS_OPEN in self.calendars:
            yield ("calendars", ALWAYS_OPEN, KEY), "means day and night already; give yours another name"
        if self.if_not_accepted != "nothing" and not self.accept_within:
            yield ("if_not_accepted",), f"{self.if_not_accepted} needs accept_within, the time that is given"


def _target(targets: Mapping[str, Span], *, priority: str, fit_grade: str, team: str) -> Span | None:
    """By the priority, or else the team, or else the fit grade, or else the default."""
    for key in (priority, f"{TEAM}{team}", fit_grade, DEFAULT):
        if key in targets:
            return targets[key]
    return None


# --- kpis ---


class SpeedToLead(Part):
    """From the lead's own act to the first attempt, in working time."""

    p50: Working | None = None
    p90: Working | None = None


class AttemptTargets(Part):
    per_lead: float | None = Field(default=None, gt=0)
    connect_rate: Share | None = None


class ConversionTargets(Conversions):
    window: Duration | None = None


class Kpis(Part):
    """Targets that the kpi service shows beside what is."""

    sla_compliance: dict[Literal["accept", "first_touch", "cadence", "decision"], Share] = {}
    speed_to_lead: SpeedToLead = SpeedToLead()
    attempts: AttemptTargets = AttemptTargets()
    conversion: ConversionTargets = ConversionTargets()


# --- the whole ---


class SignedBy(Part):
    marketing: tuple[str, ...] = ()
    sales: tuple[str, ...] = ()


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

    @cached_property
    def calendars(self) -> dict[str, Calendar]:
        """Every calendar by name, `always` among them."""
        named = self.follow_up.calendars.items()
        return {ALWAYS_OPEN: ALWAYS, **{name: hours.calendar(self.timezone) for name, hours in named}}

    def calendar_for(self, team: str, person: str) -> Calendar:
        """By whose working time this person of this team is judged: their own, the team's, or everybody's."""
        return self.calendars[self.calendar_named(team, person)]

    def calendar_named(self, team: str, person: str) -> str:
        """The name of that calendar."""
        its = self.handoff.teams.get(team)
        member = its.members.get(person) if its else None
        return (member and member.calendar) or (its and its.calendar) or self.follow_up.calendar

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
