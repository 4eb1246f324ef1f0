"""What a goal needs by when, and whether it is on pace: the content of GET /goals and `leadpact goals`.

Needs are exact fractions inside and rounded up where they are shown. Each stage has a window of its own:
who reaches it from `first` to `last` can, with the agreed lags, be a customer of the goal's period.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Final, Literal

from services.kpi.domain.commitments import CommitmentReport, Seen, reports
from services.kpi.domain.counts import Counts, Won
from services.kpi.domain.spread import Days, apportioned, pieces, weeks_of
from shared.agreement import Agreement
from shared.agreement.goals import DAY, REST, SOURCES, STAGES, STEPS, Goal, Method, Stage, begins, exactly
from shared.agreement.values import Period

ENOUGH: Final = 30  # leads of a cohort, before anything is concluded from it
COUNTED_FOR: Final = timedelta(days=7)  # before a pace is worth an alert: Mondays are not Fridays
SAYS_SOMETHING: Final = 5  # who should be there by now, before a pace is worth an alert
COHORT: Final = timedelta(days=90)  # unless kpis.conversion.window says otherwise
NOT_MEASURED: Final = "not measured: nothing tells of visitors yet"
MEASURED_STAGES: Final[tuple[Stage, ...]] = ("lead", "mql", "sql", "customer")


@dataclass(frozen=True, kw_only=True)
class StageReport:
    """A stage of a goal. `gone` is the share of the working days from `first` to `last` that is over.

    `pace` is the share reached over the share of the days gone since anything was counted: 1 is on pace.
    `behind` is what is missing to be on pace now, `missing` what is missing to the whole. All of them null
    where nothing is measured; `note` says why.
    """

    stage: Stage
    first: date
    last: date
    needed: int
    gone: float
    reached: int | None = None
    pace: float | None = None
    behind: int | None = None
    missing: int | None = None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """Won deals in another currency than the target's, which are not added up."""

    currency: str
    deals: int
    amount: Decimal


@dataclass(frozen=True, kw_only=True)
class RevenueReport:
    """Won deals of the period, each once, in the target's currency, as they were when they were won.

    `assumed` of the `deals` are in a currency that the CRM does not tell, taken for the target's; `unpriced`
    of them have no amount.
    """

    currency: str
    target: Decimal
    reached: Decimal | None = None
    deals: int = 0
    assumed: int = 0
    unpriced: int = 0
    pace: float | None = None
    missing: Decimal | None = None
    left_out: tuple[LeftOut, ...] = ()


@dataclass(frozen=True, kw_only=True)
class MethodStage:
    """A method's part of a stage; null where the method names no sources, or nothing is measured."""

    stage: Stage
    needed: int
    reached: int | None = None
    pace: float | None = None
    missing: int | None = None


@dataclass(frozen=True, kw_only=True)
class MethodReport:
    """A method with its part of each stage. `sources`: those that it is known by."""

    method: str
    share: float
    sources: tuple[str, ...]
    stages: tuple[MethodStage, ...]


@dataclass(frozen=True, kw_only=True)
class Amounts:
    """Of one stage in one week."""

    stage: Stage
    needed: int
    reached: int | None


@dataclass(frozen=True, kw_only=True)
class WeekReport:
    """A week, and the stages in whose window any of its days is."""

    first: date
    last: date
    stages: tuple[Amounts, ...]


@dataclass(frozen=True, kw_only=True)
class MeasuredStep:
    """Of the `leads` that reached a stage from `first` to `last`, how many have come to the next one.

    They had the agreed lag to do so. `measured` is null when they are fewer than is enough.
    """

    step: str
    expected: float
    first: date
    last: date
    leads: int
    moved_on: int
    measured: float | None


@dataclass(frozen=True, kw_only=True)
class MeasuredNeed:
    """What the same target would need at a measured conversion; null where too little is measured."""

    stage: Stage
    needed: int | None


@dataclass(frozen=True, kw_only=True)
class GoalReport:
    """A goal in one of its periods. `elsewhere`: who came by the sources of none of its methods."""

    goal: str
    first: date
    last: date
    state: Literal["ahead", "under_way", "over"]
    revenue: RevenueReport
    stages: tuple[StageReport, ...]
    methods: tuple[MethodReport, ...]
    elsewhere: tuple[Amounts, ...]
    weeks: tuple[WeekReport, ...]
    commitments: tuple[CommitmentReport, ...]
    conversions: tuple[MeasuredStep, ...]
    at_measured: tuple[MeasuredNeed, ...]


@dataclass(frozen=True, kw_only=True)
class GoalsReport:
    """All goals of an agreement as of a moment; `counted_since` is null when nothing was counted yet."""

    as_of: datetime
    agreement: str
    timezone: str
    counted_since: date | None
    goals: tuple[GoalReport, ...]


def report(agreement: Agreement, counts: Counts, now: datetime) -> GoalsReport:
    """Every goal in each period for which anything is needed now; one with a period of its own always."""
    days = Days.of(agreement)
    today = days.day_of(now)
    cohort = agreement.kpis.conversion.window or COHORT
    return GoalsReport(
        as_of=now,
        agreement=agreement.version,
        timezone=agreement.timezone,
        counted_since=counts.since,
        goals=tuple(
            _report(_Held(goal=goal, period=period, counts=counts, days=days, now=now, cohort=cohort))
            for goal in agreement.goals
            for period in _shown(goal, today)
        ),
    )


def first_day(agreement: Agreement, *, since: datetime, now: datetime) -> date:
    """The first day that says anything of the goals as they stand now, and as they stood since then."""
    days = Days.of(agreement)
    start, today = days.day_of(since) - DAY, days.day_of(now)
    cohort = (agreement.kpis.conversion.window or COHORT) + max(
        (_longest_lag(goal) for goal in agreement.goals), default=DAY
    )
    spans = [
        goal.span(period).first
        for goal in agreement.goals
        for period in (*_shown(goal, today), *goal.periods(start, today))
    ]
    return min([*spans, today - cohort - DAY])


def _longest_lag(goal: Goal) -> timedelta:
    return max(getattr(goal.lag, step) or timedelta() for step in STEPS.values())


def _shown(goal: Goal, today: date) -> Sequence[Period]:
    return (goal.period,) if isinstance(goal.period, Period) else list(goal.periods(today, today))


def paces(agreement: Agreement, counts: Counts, now: datetime) -> Iterator[tuple[str, Stage, float]]:
    """The pace of each stage of each goal whose window is open now: of a goal that comes again, one at most.

    None before anything was counted for a week, and before so many should be there that it says something:
    on a first morning it is chance.
    """
    days = Days.of(agreement)
    today = days.day_of(now)
    if counts.since is None or today - counts.since < COUNTED_FOR:
        return
    for goal in agreement.goals:
        for period in goal.periods(today, today):
            held = _Held(goal=goal, period=period, counts=counts, days=days, now=now)
            for stage in (stage for stage in held.stages if held.window(stage).holds(today)):
                due = goal.needed[stage] * held.gone_counted(held.window(stage))
                if due >= SAYS_SOMETHING and (pace := held.stage(stage).pace) is not None:
                    yield goal.name, stage, pace


def pace(reached: Fraction, needed: Fraction, gone: Fraction) -> float | None:
    """The share reached over the share of the days gone; None before any is."""
    return _rounded(reached / needed / gone) if gone > 0 else None


@dataclass(frozen=True, kw_only=True)
class _Held:
    """A goal in one of its periods, held against what was counted by now."""

    goal: Goal
    period: Period
    counts: Counts
    days: Days
    now: datetime
    cohort: timedelta = COHORT

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Those whose need follows from what is expected, from the first on."""
        return tuple(reversed(self.goal.needed))

    @property
    def today(self) -> date:
        return self.days.day_of(self.now)

    def window(self, stage: Stage) -> Period:
        return self.goal.window(stage, self.period)

    def is_measured(self, stage: Stage) -> bool:
        return stage in MEASURED_STAGES and self.counts.since is not None

    def gone(self, window: Period) -> Fraction:
        return self.days.gone(window, self.now)

    def gone_counted(self, window: Period) -> Fraction:
        """The same, but only since anything was counted."""
        if self.counts.since is None:
            return Fraction()
        return max(Fraction(), self.gone(window) - self.days.gone(window, begins(self.counts.since, self.days.zone)))

    def stage(self, stage: Stage) -> StageReport:
        window, needed = self.window(stage), self.goal.needed[stage]
        plan = StageReport(
            stage=stage,
            first=window.first,
            last=window.last,
            needed=math.ceil(needed),
            gone=_rounded(self.gone(window)),
            note="" if stage in MEASURED_STAGES else NOT_MEASURED,
        )
        if not self.is_measured(stage):
            return plan
        reached, counted = self.counts.reached(stage, window), self.gone_counted(window)
        return dataclasses.replace(
            plan,
            reached=reached,
            pace=pace(Fraction(reached), needed, counted),
            behind=max(0, math.ceil(needed * counted) - reached),
            missing=max(0, math.ceil(needed) - reached),
        )


def _report(held: _Held) -> GoalReport:
    goal, period, today = held.goal, held.period, held.today
    conversions = tuple(_measured(held, stage) for stage in MEASURED_STAGES[:-1] if stage in held.stages)
    return GoalReport(
        goal=goal.name,
        first=period.first,
        last=period.last,
        state="ahead" if today < period.first else "over" if today > period.last else "under_way",
        revenue=_revenue(held),
        stages=tuple(held.stage(stage) for stage in held.stages),
        methods=_methods(held),
        elsewhere=_elsewhere(held),
        weeks=tuple(_weeks(held)),
        commitments=reports(goal, period, Seen(counts=held.counts, days=held.days, now=held.now)),
        conversions=conversions,
        at_measured=_at_measured(held, conversions),
    )


def _rounded(share: Fraction) -> float:
    return round(float(share), 4)


# --- revenue ---


def _revenue(held: _Held) -> RevenueReport:
    target = held.goal.target.revenue
    plan = RevenueReport(currency=target.currency, target=target.amount)
    if held.counts.since is None:
        return plan
    won = [one for one in held.counts.won if held.period.holds(one.day)]
    ours = [one for one in won if one.currency in ("", target.currency)]
    reached = sum((one.amount for one in ours), Decimal())
    return dataclasses.replace(
        plan,
        reached=reached,
        deals=sum(one.deals for one in ours),
        assumed=sum(one.deals for one in ours if not one.currency),
        unpriced=sum(one.unpriced for one in ours),
        pace=pace(Fraction(reached), Fraction(target.amount), held.gone_counted(held.period)),
        missing=max(Decimal(), target.amount - reached),
        left_out=tuple(_left_out([one for one in won if one not in ours])),
    )


def _left_out(won: Sequence[Won]) -> Iterator[LeftOut]:
    for currency in sorted({one.currency for one in won}):
        these = [one for one in won if one.currency == currency]
        yield LeftOut(
            currency=currency,
            deals=sum(one.deals for one in these),
            amount=sum((one.amount for one in these), Decimal()),
        )


# --- by method ---


def _methods(held: _Held) -> tuple[MethodReport, ...]:
    goal = held.goal
    shares = {name: exactly(method.share) for name, method in goal.methods.items()}
    needed = {stage: apportioned(math.ceil(goal.needed[stage]), shares) for stage in held.stages}
    return tuple(
        MethodReport(
            method=name,
            share=method.share,
            sources=_sources(goal, method),
            stages=tuple(_method_stage(held, stage, method, needed[stage][name]) for stage in held.stages),
        )
        for name, method in goal.methods.items()
    )


def _method_stage(held: _Held, stage: Stage, method: Method, needed: int) -> MethodStage:
    sources = _sources(held.goal, method)
    if not held.is_measured(stage) or not sources:
        return MethodStage(stage=stage, needed=needed)
    window, share = held.window(stage), exactly(method.share)
    reached = held.counts.reached(stage, window, lambda one: one.source in sources)
    due = held.goal.needed[stage] * share
    return MethodStage(
        stage=stage,
        needed=needed,
        reached=reached,
        pace=pace(Fraction(reached), due, held.gone_counted(window)) if due else None,
        missing=max(0, needed - reached),
    )


def _sources(goal: Goal, method: Method) -> tuple[str, ...]:
    """The sources of a method; `rest` is all those that no other names."""
    if REST not in method.sources:
        return method.sources
    others = {source for one in goal.methods.values() if one is not method for source in one.sources}
    return tuple(source for source in SOURCES if source not in others)


def _elsewhere(held: _Held) -> tuple[Amounts, ...]:
    """Who came by no method; nothing where some method names no sources, as they may be its."""
    methods = held.goal.methods.values()
    if not methods or not all(method.sources for method in methods):
        return ()
    known = {source for method in methods for source in _sources(held.goal, method)}
    found = {
        stage: held.counts.reached(stage, held.window(stage), lambda one: one.source not in known)
        for stage in held.stages
        if held.is_measured(stage)
    }
    return tuple(Amounts(stage=stage, needed=0, reached=many) for stage, many in found.items() if many)


# --- by week ---


def _weeks(held: _Held) -> Iterator[WeekReport]:
    span = held.goal.span(held.period)
    amounts: dict[date, list[Amounts]] = {}
    for stage in held.stages:
        for part, amount in _by_week(held, stage):
            amounts.setdefault(part.first - part.first.weekday() * DAY, []).append(amount)
    wholes = weeks_of(span)
    for whole, part in zip(wholes, pieces(wholes, span), strict=True):
        yield WeekReport(first=part.first, last=part.last, stages=tuple(amounts.get(whole.first, ())))


def _by_week(held: _Held, stage: Stage) -> Iterator[tuple[Period, Amounts]]:
    window = held.window(stage)
    parts = pieces(weeks_of(window), window)
    for part, needed in zip(parts, held.days.spread(held.goal.needed[stage], parts, window), strict=True):
        reached = held.counts.reached(stage, part) if held.is_measured(stage) else None
        yield part, Amounts(stage=stage, needed=needed, reached=reached)


# --- at the conversions that are measured ---


def _measured(held: _Held, stage: Stage) -> MeasuredStep:
    """A cohort: who reached the stage in the latest days that lie the agreed lag back, and who of them went on."""
    later = STAGES[STAGES.index(stage) + 1]
    step = STEPS[later]
    lag = getattr(held.goal.lag, step) or timedelta()
    last = held.today - -(-lag // DAY) * DAY
    days = Period(first=last - (held.cohort // DAY - 1) * DAY, last=last)
    known = held.counts.within(stage, days)
    leads, moved_on = sum(one.entries for one in known), sum(one.moved_on for one in known)
    return MeasuredStep(
        step=step,
        expected=getattr(held.goal.expected, step),
        first=days.first,
        last=days.last,
        leads=leads,
        moved_on=moved_on,
        measured=min(1.0, _rounded(Fraction(moved_on, leads))) if leads >= ENOUGH else None,
    )


def _at_measured(held: _Held, conversions: Sequence[MeasuredStep]) -> tuple[MeasuredNeed, ...]:
    """From the customers back, as long as the conversions are measured and are not nothing."""
    need: Fraction | None = held.goal.needed["customer"]
    found: list[MeasuredNeed] = [MeasuredNeed(stage="customer", needed=math.ceil(held.goal.needed["customer"]))]
    by_step = {one.step: one for one in conversions}
    for stage in reversed(held.stages[:-1]):
        one = by_step.get(STEPS[STAGES[STAGES.index(stage) + 1]])
        passes = Fraction(min(one.moved_on, one.leads), one.leads) if one and one.measured else None
        need = need / passes if need is not None and passes else None
        found.append(MeasuredNeed(stage=stage, needed=None if need is None else math.ceil(need)))
    return tuple(reversed(found))
