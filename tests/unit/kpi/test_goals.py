"""Goals: what they need by when, spread over working days, and whether they are on pace."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kpi.domain.counts import Counts, StageDay, Won
from services.kpi.domain.goals import ENOUGH, GoalReport, pace, paces, report
from services.kpi.domain.spread import Days, apportioned, months_of, pieces, weeks_of
from shared.agreement import Agreement
from shared.agreement.goals import DAY, STAGES, Goal, begins
from shared.agreement.values import Period
from shared.calendars import ALWAYS, Calendar
from tests.agreements import with_follow_up, with_parts

QUARTER = Period(first=date(2027, 1, 1), last=date(2027, 3, 31))
FIRST_GOAL: dict[str, Any] = {
    "name": "New sales",
    "target": {"revenue": "1_000_000 USD"},
    "period": "2027-01-01..2027-03-31",
    "average_deal": "20_000 USD",
    "expected": {"visitor_to_lead": "3%", "lead_to_mql": "30%", "mql_to_sql": "40%", "sql_to_customer": "25%"},
    "lag": {"lead_to_mql": "10d", "mql_to_sql": "7d", "sql_to_customer": "30d"},
    "methods": {
        "organic": {"share": "45%", "from": ["organic search", "direct traffic"]},
        "paid": {"share": "30%", "from": ["paid search"]},
        "events": {"share": "15%", "from": "offline"},
        "referral": "10%",
    },
}
OFFICE = {"mon-fri": "08:00-18:00"}
NOON = timedelta(hours=12)


def goal(**said: Any) -> Goal:
    return Goal.model_validate(FIRST_GOAL | said)


def agreement(*goals: dict[str, Any], hours: dict[str, Any] | None = None, zone: str = "UTC") -> Agreement:
    held = with_follow_up(calendars={"office": hours or OFFICE}, calendar="office")
    return with_parts(held, goals=[FIRST_GOAL | one for one in goals or ({},)], timezone=zone)


def at(day: date, time: timedelta = NOON) -> datetime:
    return datetime.combine(day, datetime.min.time(), UTC) + time


def reached(stage: str, *days: date, source: str = "OFFLINE", many: int = 1, moved_on: int = 0) -> list[StageDay]:
    return [StageDay(day=day, stage=stage, source=source, entries=many, moved_on=moved_on) for day in days]


def told(
    counted: Sequence[StageDay] = (), now: datetime | None = None, won: Sequence[Won] = (), **said: Any
) -> GoalReport:
    found = report(agreement(said), Counts(days=counted, won=won), now or at(date(2027, 2, 1)))
    return found.goals[0]


def by_stage(rows: Any) -> dict[str, Any]:
    return {row.stage: row for row in rows}


# --- the example of the page, computed by hand ---


def test_a_million_of_revenue_needs_so_many_of_each_stage() -> None:
    """1,000,000 / 20,000 = 50 customers, / 25% = 200 SQLs, / 40% = 500 MQLs, / 30% = 1,666.7 leads, / 3% = 55,555.6."""
    needed = {row.stage: row.needed for row in told().stages}
    assert needed == {"visitor": 55_556, "lead": 1_667, "mql": 500, "sql": 200, "customer": 50}


def test_who_is_to_be_a_customer_by_the_end_of_march_must_be_a_lead_47_days_before() -> None:
    windows = {row.stage: (row.first, row.last) for row in told().stages}
    assert windows["customer"] == (date(2027, 1, 1), date(2027, 3, 31))
    assert windows["sql"] == (date(2026, 12, 2), date(2027, 3, 1))
    assert windows["mql"] == (date(2026, 11, 25), date(2027, 2, 22))
    assert windows["lead"] == windows["visitor"] == (date(2026, 11, 15), date(2027, 2, 12))


def test_the_methods_share_what_is_needed_without_a_rest() -> None:
    leads = {row.method: by_stage(row.stages)["lead"].needed for row in told().methods}
    assert leads == {"organic": 750, "paid": 500, "events": 250, "referral": 167}


def test_a_week_of_holidays_needs_less_than_a_whole_one() -> None:
    """Customers of 2027-01-04..08, 5 of 64 working days: 3.9; with Wednesday and Thursday free (RO), 3 of 61."""
    week = Period(first=date(2027, 1, 4), last=date(2027, 1, 10))
    for hours, days in ((OFFICE, Fraction(5, 64)), (OFFICE | {"holidays": "RO"}, Fraction(3, 61))):
        assert Days.of(agreement(hours=hours)).share(week, QUARTER) == days


def test_half_a_day_is_half_of_what_a_day_needs() -> None:
    week = Period(first=date(2027, 1, 4), last=date(2027, 1, 10))
    days = Days.of(agreement(hours=OFFICE | {"except": {"2027-01-08": "08:00-13:00"}}))
    assert days.share(Period(first=date(2027, 1, 8), last=date(2027, 1, 8)), week) == Fraction(1, 9)


# --- on pace ---


def test_half_of_the_leads_after_half_of_the_working_days_is_on_pace() -> None:
    """MQLs are needed from 25 November to 22 February, 64 working days; at the end of 7 January 32 are over."""
    counted = reached("mql", date(2026, 11, 25), many=250)
    row = by_stage(told(counted, at(date(2027, 1, 7), timedelta(hours=23))).stages)["mql"]
    assert (row.gone, row.reached, row.pace, row.behind, row.missing) == (0.5, 250, 1.0, 0, 250)


def test_who_is_behind_hears_what_is_missing_by_now_and_in_all() -> None:
    counted = reached("mql", date(2026, 11, 25), many=200)
    row = by_stage(told(counted, at(date(2027, 1, 7), timedelta(hours=23))).stages)["mql"]
    assert (row.pace, row.behind, row.missing) == (0.8, 50, 300)


def test_days_before_anything_was_counted_ask_for_nothing() -> None:
    """Leadpact begins on 8 January, at half of the time: a quarter of the MQLs by three quarters of it is on pace."""
    counted = reached("mql", date(2027, 1, 8), many=125)
    row = by_stage(told(counted, at(date(2027, 1, 29), timedelta(hours=23))).stages)["mql"]
    assert (row.gone, row.pace, row.behind) == (0.75, 1.0, 0)


def test_visitors_are_needed_and_said_not_to_be_measured() -> None:
    row = by_stage(told(reached("lead", date(2027, 1, 4))).stages)["visitor"]
    assert row.note.startswith("not measured")
    assert (row.needed, row.reached, row.pace, row.missing) == (55_556, None, None, None)


def test_before_anything_was_counted_there_is_the_plan_alone() -> None:
    found = told()
    assert {row.reached for row in found.stages} == {None}
    assert {row.reached for week in found.weeks for row in week.stages} == {None}
    assert found.revenue.reached is None


def test_who_comes_by_a_source_counts_for_its_method_and_else_for_none() -> None:
    day = date(2027, 1, 4)
    found = told([*reached("lead", day, many=3), *reached("lead", day, source="unknown", many=2)])
    methods = {row.method: by_stage(row.stages)["lead"].reached for row in found.methods}
    assert methods == {"organic": 0, "paid": 0, "events": 3, "referral": None}
    assert found.elsewhere == ()  # may be the referral's: nobody says what comes by it


def test_the_rest_is_what_no_other_method_names() -> None:
    day = date(2027, 1, 4)
    methods = FIRST_GOAL["methods"] | {"referral": {"share": "10%", "from": "rest"}}
    found = told([*reached("lead", day, many=3), *reached("lead", day, source="unknown", many=2)], methods=methods)
    assert {row.method: by_stage(row.stages)["lead"].reached for row in found.methods}["referral"] == 2


def test_who_came_by_no_method_is_told_beside_them() -> None:
    methods = FIRST_GOAL["methods"] | {"referral": {"share": "10%", "from": "referrals"}}
    found = told(reached("lead", date(2027, 1, 4), source="unknown", many=2), methods=methods)
    assert [(row.stage, row.reached) for row in found.elsewhere] == [("lead", 2)]


def test_a_lead_after_its_window_counts_for_the_next_period() -> None:
    counted = reached("lead", date(2027, 2, 12), date(2027, 2, 13))
    assert by_stage(told(counted).stages)["lead"].reached == 1


# --- goals that come again ---


def test_in_a_quarter_the_leads_of_the_next_one_are_needed_already() -> None:
    found = report(agreement({"period": "every quarter"}), Counts(), at(date(2027, 3, 1)))
    assert [(one.first, one.state) for one in found.goals] == [
        (date(2027, 1, 1), "under_way"), (date(2027, 4, 1), "ahead"),
    ]  # fmt: skip


def test_on_any_day_each_stage_of_a_goal_that_comes_again_is_needed_for_one_period() -> None:
    one = goal(period="every quarter")
    for n in range(800):
        today = date(2026, 7, 1) + n * DAY
        for stage in STAGES:
            open_now = [period for period in one.periods(today, today) if one.window(stage, period).holds(today)]
            assert len(open_now) == 1


def test_each_stage_of_a_goal_that_comes_again_has_one_pace() -> None:
    counts = Counts(days=reached("lead", date(2026, 6, 1)))
    found = [stage for _, stage, _ in paces(agreement({"period": "every quarter"}), counts, at(date(2027, 3, 1)))]
    assert sorted(found) == ["customer", "lead", "mql", "sql"]


def test_a_pace_is_no_matter_for_alerts_before_five_should_be_there() -> None:
    """500 MQLs on 64 working days are 7.8 a day: five by a quarter to three of the first one."""
    counts = Counts(days=reached("lead", date(2026, 6, 1)))
    for hours, known in ((14, False), (15, True)):
        now = at(date(2026, 11, 25), timedelta(hours=hours))
        assert ("mql" in {stage for _, stage, _ in paces(agreement(), counts, now)}) is known


def test_a_pace_is_no_matter_for_alerts_in_the_first_week_of_counting() -> None:
    counts = Counts(days=reached("lead", date(2026, 11, 25)))
    for day, known in ((date(2026, 12, 1), False), (date(2026, 12, 2), True)):
        assert bool(list(paces(agreement(), counts, at(day, timedelta(hours=23))))) is known


def test_a_goal_of_its_own_period_is_shown_also_when_it_is_over_and_has_no_pace_then() -> None:
    held, later = agreement(), at(date(2028, 1, 1))
    assert [one.state for one in report(held, Counts(), later).goals] == ["over"]
    assert not list(paces(held, Counts(days=reached("lead", date(2027, 1, 4))), later))


# --- revenue ---


def won(currency: str, *, deals: int, amount: int, unpriced: int = 0, day: date = date(2027, 1, 20)) -> Won:
    return Won(day=day, currency=currency, deals=deals, unpriced=unpriced, amount=Decimal(amount))


def test_deals_of_other_currencies_are_not_added_up_but_told() -> None:
    deals = [won("USD", deals=2, amount=50_000), won("EUR", deals=1, amount=9_000)]
    revenue = told(reached("lead", date(2027, 1, 4)), won=deals).revenue
    assert (revenue.reached, revenue.deals, revenue.missing) == (50_000, 2, 950_000)
    assert [(one.currency, one.deals, one.amount) for one in revenue.left_out] == [("EUR", 1, 9_000)]


def test_a_deal_without_a_currency_is_taken_for_the_target_s_and_told_as_that() -> None:
    deals = [won("", deals=3, amount=60_000, unpriced=1), won("USD", deals=1, amount=1_000)]
    revenue = told(reached("lead", date(2027, 1, 4)), won=deals).revenue
    assert (revenue.reached, revenue.deals, revenue.assumed, revenue.unpriced) == (61_000, 4, 3, 1)


def test_deals_outside_the_period_are_another_one_s() -> None:
    deals = [won("USD", deals=1, amount=1, day=day) for day in (date(2026, 12, 31), date(2027, 4, 1))]
    assert told(reached("lead", date(2027, 1, 4)), won=deals).revenue.deals == 0


# --- at the conversions that are measured ---


def cohort(**moved_on: int) -> list[StageDay]:
    """A hundred of each stage long enough ago, of whom so many went on."""
    return [
        one for stage, many in moved_on.items() for one in reached(stage, date(2026, 12, 7), many=100, moved_on=many)
    ]


def test_the_same_target_needs_more_where_less_go_on() -> None:
    """50 customers / 20% = 250 SQLs, / 50% = 500 MQLs, / 10% = 5,000 leads."""
    found = told(cohort(lead=10, mql=50, sql=20))
    assert {one.step: (one.leads, one.measured) for one in found.conversions} == {
        "lead_to_mql": (100, 0.1), "mql_to_sql": (100, 0.5), "sql_to_customer": (100, 0.2),
    }  # fmt: skip
    needs = {one.stage: one.needed for one in found.at_measured}
    assert needs == {"visitor": None, "lead": 5_000, "mql": 500, "sql": 250, "customer": 50}


def test_from_too_few_nothing_is_concluded() -> None:
    few = reached("mql", date(2026, 12, 7), many=ENOUGH - 1, moved_on=10)
    found = told([*cohort(lead=10, sql=20), *few])
    assert {one.step: one.measured for one in found.conversions}["mql_to_sql"] is None
    needs = {one.stage: one.needed for one in found.at_measured}
    assert needs == {"visitor": None, "lead": None, "mql": None, "sql": 250, "customer": 50}


def test_who_has_not_had_the_agreed_time_yet_is_in_no_cohort() -> None:
    """On 1 February an SQL of 2 January is 30 days old."""
    counted = reached("sql", date(2027, 1, 2), many=50) + reached("sql", date(2027, 1, 3), many=50)
    step = {one.step: one for one in told(counted).conversions}["sql_to_customer"]
    assert (step.last, step.leads) == (date(2027, 1, 2), 50)


# --- what holds for every goal ---

shares = st.integers(1, 100).map(lambda percent: f"{percent}%")
lags = st.integers(0, 25).map(lambda days: f"{days}d")
days_of_a_year = st.integers(0, 364).map(lambda n: date(2027, 1, 1) + n * DAY)
zones = st.sampled_from(["UTC", "Europe/Bucharest", "America/New_York", "Pacific/Apia", "Pacific/Kiritimati"])
calendars = st.sampled_from(
    [
        ALWAYS,
        Calendar.of(zone="Europe/Bucharest", week={day: [(540, 1080)] for day in range(5)}, holidays="RO"),
        Calendar.of(zone="America/New_York", week={day: [(1320, 1800)] for day in range(7)}),  # shifts over midnight
        Calendar.of(zone="UTC", week={2: [(600, 601)]}),
    ]
)


def changed(one: Goal, **said: Any) -> Goal:
    """The same goal, but for what is said."""
    parts = {field.alias or name: getattr(one, name) for name, field in Goal.model_fields.items()}
    return Goal.model_validate(parts | said)


@st.composite
def goals(draw: st.DrawFn) -> Goal:
    first = draw(days_of_a_year)
    steps = ("visitor_to_lead", "lead_to_mql", "mql_to_sql", "sql_to_customer")
    return goal(
        target={"revenue": f"{draw(st.integers(1, 10**9))} USD"},
        average_deal=f"{draw(st.integers(1, 10**6))} USD",
        period=f"{first}..{first + draw(st.integers(100, 400)) * DAY}",
        expected={step: draw(shares) for step in steps},
        lag={step: draw(lags) for step in steps},
    )


@st.composite
def windows(draw: st.DrawFn) -> Period:
    first = draw(days_of_a_year)
    return Period(first=first, last=first + draw(st.integers(0, 200)) * DAY)


@given(goals(), st.sampled_from([2, 3, 10]))
def test_a_target_so_many_times_as_large_needs_so_many_times_as_much(one: Goal, times: int) -> None:
    larger = changed(one, target={"revenue": f"{one.target.revenue.amount * times} USD"})
    assert larger.needed == {stage: needed * times for stage, needed in one.needed.items()}


@given(
    goals(), st.sampled_from(["visitor_to_lead", "lead_to_mql", "mql_to_sql", "sql_to_customer"]), st.integers(1, 100)
)
def test_a_better_conversion_never_needs_more(one: Goal, step: str, percent: int) -> None:
    share = max(percent / 100, getattr(one.expected, step))
    better = changed(one, expected=one.expected.model_copy(update={step: share}))
    assert all(better.needed[stage] <= one.needed[stage] for stage in STAGES)


@given(goals())
def test_an_earlier_stage_is_needed_no_later_and_in_no_smaller_number(one: Goal) -> None:
    assert isinstance(one.period, Period)
    for stage, later in pairwise(STAGES):
        assert one.window(stage, one.period).first <= one.window(later, one.period).first
        assert one.needed[stage] >= one.needed[later]


@given(st.fractions(0, 10_000), windows(), calendars, zones, st.sampled_from([weeks_of, months_of]))
def test_weeks_and_months_add_up_to_the_whole(
    whole: Fraction, window: Period, calendar: Calendar, zone: str, parts_of: Any
) -> None:
    parts = pieces(parts_of(window), window)
    spread = Days(calendar=calendar, zone=zone).spread(whole, parts, window)
    assert sum(spread) == math.ceil(whole)
    assert min(spread) >= 0
    assert [parts[0].first, parts[-1].last] == [window.first, window.last]
    assert all(later.first == one.last + DAY for one, later in pairwise(parts))


@given(windows(), calendars, zones, st.integers(0, 10))
def test_nothing_of_a_window_is_gone_before_it_and_all_after_it(
    window: Period, calendar: Calendar, zone: str, days_off: int
) -> None:
    days = Days(calendar=calendar, zone=zone)
    assert days.gone(window, begins(window.first - days_off * DAY, zone)) == 0
    assert days.gone(window, begins(window.last + (1 + days_off) * DAY, zone)) == 1


@given(windows(), calendars, zones, st.lists(st.integers(0, 200 * 24), min_size=2, max_size=5))
def test_the_share_gone_never_falls(window: Period, calendar: Calendar, zone: str, hours: list[int]) -> None:
    days, start = Days(calendar=calendar, zone=zone), begins(window.first, zone)
    gone = [days.gone(window, start + timedelta(hours=hour)) for hour in sorted(hours)]
    assert gone == sorted(gone)


@given(st.integers(0, 10_000), st.dictionaries(st.text(max_size=5), st.integers(1, 100), min_size=1, max_size=6))
def test_methods_add_up_to_the_whole_and_each_is_within_one_of_its_share(whole: int, said: dict[str, int]) -> None:
    shares = {name: Fraction(share, sum(said.values())) for name, share in said.items()}
    found = apportioned(whole, shares)
    assert sum(found.values()) == whole
    assert all(abs(found[name] - whole * share) < 1 for name, share in shares.items())


@given(st.fractions(Fraction(1, 100), 1), st.integers(1, 10**6))
def test_the_pace_is_one_when_the_share_reached_is_the_share_of_the_days_gone(gone: Fraction, needed: int) -> None:
    assert pace(needed * gone, Fraction(needed), gone) == 1.0


@pytest.mark.parametrize(("first", "hours"), [(date(2027, 3, 28), 23), (date(2027, 10, 31), 25)])
def test_the_day_on_which_clocks_change_is_as_long_as_it_is(first: date, hours: int) -> None:
    days = Days(calendar=ALWAYS, zone="Europe/Bucharest")
    window = Period(first=first, last=first + DAY)
    assert days.share(Period(first=first, last=first), window) == Fraction(hours, hours + 24)
