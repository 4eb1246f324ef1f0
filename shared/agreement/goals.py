"""Part 1, goals: what both want, over which period, where it is to come from, and what Marketing owes for it.

A goal counts customers of its period. Who is to be a customer by its end must be a lead earlier: each
stage has a window of its own, the period moved back by the lags that are still to come.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from typing import Annotated, Any, Final, Literal, TypeAlias
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from shared.agreement.hours import KEY, Placed, placed
from shared.agreement.values import (
    DAYS,
    LONGEST,
    SHARE,
    Amount,
    Duration,
    Name,
    OrAlone,
    Part,
    Period,
    Share,
    Slug,
    in_file,
    listed,
    period,
    writes,
    wrong,
)
from shared.calendars import YEARS, Calendar

# What HubSpot's hs_analytics_source can say; anything else is "unknown", so that no free text becomes a label.
UNKNOWN: Final = "unknown"
SOURCES: Final = (
    "PAID_SEARCH",
    "PAID_SOCIAL",
    "ORGANIC_SEARCH",
    "EMAIL_MARKETING",
    "REFERRALS",
    "DIRECT_TRAFFIC",
    "SOCIAL_MEDIA",
    "AI_REFERRALS",
    "OFFLINE",
    "OTHER_CAMPAIGNS",
    UNKNOWN,
)
Stage: TypeAlias = Literal["visitor", "lead", "mql", "sql", "customer"]
REST: Final = "rest"  # the sources that no other method names
NEEDED: Final = "needed"
STAGES: Final[tuple[Stage, ...]] = ("visitor", "lead", "mql", "sql", "customer")
STEPS: Final = {later: f"{stage}_to_{later}" for stage, later in pairwise(STAGES)}  # by where they lead to
DAY: Final = timedelta(days=1)
TOLERANCE: Final = Fraction(1, 1_000_000)  # of shares that add up to the whole
LONGEST_WAY: Final = timedelta(days=730)  # from lead to customer: a cycle would show all its periods until then
YEARS_OF_GOALS: Final = range(YEARS.start + 11, YEARS.stop - 1)  # with their lags, in years that calendars know

# --- values ---


@dataclass(frozen=True, kw_only=True)
class Cycle:
    """Periods of so many months that come again and again; the shortest of them."""

    months: int
    shortest: timedelta

    def around(self, day: date) -> Period:
        """The one that `day` is in."""
        start = (day.month - 1) // self.months * self.months
        first = date(day.year, start + 1, 1)
        return Period(first=first, last=_months_later(first, self.months) - DAY)


def _months_later(first: date, months: int) -> date:
    years, month = divmod(first.month - 1 + months, 12)
    return date(first.year + years, month + 1, 1)


CYCLES: Final = {
    "every month": Cycle(months=1, shortest=28 * DAY),
    "every quarter": Cycle(months=3, shortest=90 * DAY),
    "every year": Cycle(months=12, shortest=365 * DAY),
}
MONTHS: Final = CYCLES["every month"]


def _when(value: Any) -> Any:
    if str(value).startswith("every"):
        if value not in CYCLES:
            raise wrong(f"must be {', '.join(CYCLES)}, or two days")
        return value
    return period(value)


def _shown_when(when: Any) -> str:
    return f"{when.first}..{when.last}" if isinstance(when, Period) else str(when)


WHEN: Final = rf"({DAYS}|every (month|quarter|year))"


def _source(value: str) -> str:
    """As the CRM writes it; a person may write organic search for ORGANIC_SEARCH."""
    if value.lower() in (REST, UNKNOWN):
        return value.lower()
    said = re.sub(r"[\s-]+", "_", value.strip()).upper()
    if said in SOURCES:
        return said
    near = difflib.get_close_matches(said, SOURCES, n=1)
    known = ", ".join((*map(_plainly, SOURCES), REST))
    raise wrong(f"there is no source {value}; {f'did you mean {_plainly(near[0])}?' if near else f'there are {known}'}")


def _plainly(source: str) -> str:
    return source.lower().replace("_", " ")


def _method(value: Any) -> Any:
    """A share alone is a method of which nobody says what comes by it."""
    return value if isinstance(value, dict | Method) else {"share": value}


def _owed(value: Any) -> Any:
    if value == NEEDED or (isinstance(value, int) and value > 0):
        return value
    if re.fullmatch(r"0*[1-9][\d_]*", str(value)):
        return int(str(value).replace("_", ""))
    raise wrong("must be a number of them, as 40, or needed: as many as the target needs")


Owed: TypeAlias = Annotated[int | Literal["needed"], BeforeValidator(_owed)]
Source: TypeAlias = Annotated[str, AfterValidator(_source)]


# --- the parts of a goal ---


class Target(Part):
    revenue: Amount
    """How much is to be sold."""


class Conversions(Part):
    """Shares of one stage that reach the next."""

    visitor_to_lead: Share | None = None
    """Of visitors, how many become leads."""
    lead_to_mql: Share | None = None
    """Of leads, how many become MQLs."""
    mql_to_sql: Share | None = None
    """Of MQLs, how many become SQLs."""
    sql_to_customer: Share | None = None
    """Of SQLs, how many become customers."""


class Lags(Part):
    """How long one stage takes to reach the next, in elapsed time."""

    visitor_to_lead: Duration | None = None
    """From a visitor to a lead."""
    lead_to_mql: Duration | None = None
    """From a lead to an MQL."""
    mql_to_sql: Duration | None = None
    """From an MQL to an SQL."""
    sql_to_customer: Duration | None = None
    """From an SQL to a customer."""


class Method(Part):
    """A way that leads come by: its share of all, and the CRM's sources by which it is known."""

    share: Share
    """How much of all comes by it."""
    sources: Annotated[tuple[Source, ...], BeforeValidator(listed), OrAlone()] = Field(default=(), alias="from")
    """The CRM's sources by which it is known, as paid search; rest: those that no other method names."""


class Commitment(Part):
    """Marketing's side: so many leads or MQLs, every week or month of the stage's window, each by itself."""

    leads: Owed | None = None
    """How many leads; needed: as many as the target needs then."""
    mqls: Owed | None = None
    """How many MQLs; needed: as many as the target needs then."""
    grade: Annotated[tuple[str, ...], BeforeValidator(listed), OrAlone()] = ()
    """Of which grades; MQLs only."""
    every: Literal["week", "month"]
    """In each of these."""

    @model_validator(mode="after")
    def _of_one_stage(self) -> Commitment:
        if (self.leads is None) == (self.mqls is None):
            raise wrong("must say how many leads or how many mqls, one of the two")
        if self.leads is not None and self.grade:
            raise placed([(("grade", KEY), "is known of mqls only")])
        return self

    @property
    def stage(self) -> Literal["lead", "mql"]:
        return "lead" if self.leads is not None else "mql"

    @property
    def number(self) -> int | Literal["needed"]:
        found = self.leads if self.mqls is None else self.mqls
        assert found is not None
        return found

    @property
    def text(self) -> str:
        """In words, which tell one commitment of a goal from another: 60 MQLs of A1, A2 every month."""
        many = "as many" if self.number == NEEDED else str(self.number)
        what = {"lead": "leads", "mql": "MQLs"}[self.stage]
        of = f" of {', '.join(self.grade)}" if self.grade else ""
        return f"{many} {what}{of}{' as needed' if self.number == NEEDED else ''} every {self.every}"


class Goal(Part):
    """A shared goal: a target over a period, and what follows from it."""

    name: Name
    """What this goal is called."""
    target: Target
    """What is wanted."""
    period: Annotated[
        Period | Literal["every month", "every quarter", "every year"],
        BeforeValidator(_when),
        writes(_shown_when),
        in_file(WHEN, "Once, or every month, quarter or year.", "2027-01-01..2027-03-31", "every quarter"),
    ]
    """When."""
    average_deal: Amount
    """What one customer brings."""
    expected: Conversions = Conversions()
    """What is expected of each stage."""
    lag: Lags = Lags()
    """How long each stage takes."""
    methods: dict[Slug, Annotated[Method, BeforeValidator(_method), OrAlone(SHARE)]] = {}
    """Where leads are to come from: each a share, and the CRM's sources by which it is known."""
    marketing_owes: tuple[Commitment, ...] = ()
    """What Marketing promises: so many leads or MQLs in each week or month."""

    @model_validator(mode="after")
    def _holds_together(self) -> Goal:
        problems = [
            *self._money(),
            *self._shares(),
            *self._whose_sources(),
            *self._derivations(),
            *self._lags(),
            *self._commitments(),
        ]
        if problems:
            raise placed(problems)
        return self

    # --- what is needed, and when ---

    @cached_property
    def needed(self) -> dict[Stage, Fraction]:
        """How many of each stage the target needs, from customers back to where the expectations end. Exact."""
        found: dict[Stage, Fraction] = {
            "customer": Fraction(self.target.revenue.amount) / Fraction(self.average_deal.amount)
        }
        for stage, later in reversed(list(pairwise(STAGES))):
            if not (share := getattr(self.expected, STEPS[later])):
                break
            found[stage] = found[later] / exactly(share)
        return found

    def lag_days(self, stage: Stage) -> int:
        """How many days before the customer one is at `stage`; begun ones are whole."""
        return _whole_days(sum(self._lags_after(stage), timedelta()))

    def _lags_after(self, stage: Stage) -> Iterator[timedelta]:
        for later in STAGES[STAGES.index(stage) + 1 :]:
            yield getattr(self.lag, STEPS[later]) or timedelta()

    def window(self, stage: Stage, period: Period) -> Period:
        """When one must reach `stage` to be a customer of `period`; who comes later counts for the next."""
        earlier = self.lag_days(stage) * DAY
        return Period(first=period.first - earlier, last=period.last - earlier)

    def span(self, period: Period) -> Period:
        """From the first day on which anything is needed for `period` to its last."""
        firsts = [self.window(stage, period).first for stage in self.needed]
        return Period(first=min(firsts), last=period.last)

    def periods(self, since: date, until: date) -> Iterator[Period]:
        """Those for which something is needed on a day from `since` to `until`, in order."""
        if isinstance(self.period, Period):
            span = self.span(self.period)
            if span.first <= until and span.last >= since:
                yield self.period
            return
        cycle = CYCLES[self.period]
        one = cycle.around(since)
        while self.span(one).first <= until:
            yield one
            one = cycle.around(one.last + DAY)

    # --- what does not hold together ---

    def _money(self) -> Iterator[Placed]:
        wanted, deal = self.target.revenue.currency, self.average_deal.currency
        if wanted != deal:
            yield ("average_deal",), f"is in {deal}, and the target in {wanted}: it must be the same currency"

    def _shares(self) -> Iterator[Placed]:
        whole = sum((exactly(method.share) for method in self.methods.values()), Fraction())
        if self.methods and abs(whole - 1) > TOLERANCE:
            hint = f"; what is left is a method too, as other: {{share: {_percent(1 - whole)}, from: rest}}"
            yield ("methods",), f"add up to {_percent(whole)}, not to 100%{hint if whole < 1 else ''}"

    def _whose_sources(self) -> Iterator[Placed]:
        whose: dict[str, str] = {}
        for name, method in self.methods.items():
            for n, source in enumerate(method.sources):
                if (other := whose.setdefault(source, name)) != name or source in method.sources[:n]:
                    yield ("methods", name, "from", n), f"{_plainly(source)} belongs to {other} already"

    def _derivations(self) -> Iterator[Placed]:
        for later in reversed(STAGES[1:]):
            step = STEPS[later]
            share, lag = getattr(self.expected, step), getattr(self.lag, step)
            if share == 0:
                yield ("expected", step), "must be more than 0%: nothing would ever be enough"
            if share and later not in self.needed and (missing := self._first_missing()):
                yield ("expected", step, KEY), f"leads nowhere without {missing}: how many {later}s is unknown"
            if lag is not None and share is None:
                yield ("lag", step, KEY), f"is of no use without an expected {step}"

    def _first_missing(self) -> str:
        """The step nearest to the customers that nobody expects anything of; "" when all are there."""
        steps = (STEPS[later] for later in reversed(STAGES[1:]))
        return next((step for step in steps if getattr(self.expected, step) is None), "")

    def _lags(self) -> Iterator[Placed]:
        given = self.period
        if isinstance(given, Period) and not {given.first.year, given.last.year} <= set(YEARS_OF_GOALS):
            yield ("period",), f"must be in the years from {YEARS_OF_GOALS[0]} to {YEARS_OF_GOALS[-1]}"
        length = given.last - given.first + DAY if isinstance(given, Period) else CYCLES[given].shortest
        if length > LONGEST:
            yield ("period",), f"must not be longer than {LONGEST.days}d"
        whole = sum(self._lags_after(STAGES[0]), timedelta())
        if whole > LONGEST_WAY:
            yield (
                ("lag",),
                f"take {_whole_days(whole)} days together; from lead to customer it is {LONGEST_WAY.days} at most",
            )

    def _commitments(self) -> Iterator[Placed]:
        texts = [commitment.text for commitment in self.marketing_owes]
        for n, commitment in enumerate(self.marketing_owes):
            at = ("marketing_owes", n)
            if commitment.number == NEEDED and commitment.stage not in self.needed:
                yield at, f"how many {commitment.stage}s are needed does not follow from what is expected"
            if texts[n] in texts[:n]:
                yield at, "stands here twice"


def begins(day: date, zone: str) -> datetime:
    """The moment in UTC at which a day begins there."""
    return datetime.combine(day, time(), ZoneInfo(zone)).astimezone(UTC)


def working_time(days: Period, calendar: Calendar, zone: str) -> timedelta:
    """The open time from the beginning of the first day, in `zone`, to the end of the last."""
    return calendar.between(begins(days.first, zone), begins(days.last + DAY, zone))


def exactly(share: float) -> Fraction:
    """The share as it was written: 0.3 is three tenths."""
    return Fraction(repr(share))


def _percent(share: Fraction) -> str:
    return f"{float(share * 100):g}%"


def _whole_days(lag: timedelta) -> int:
    return -(-lag // DAY)
