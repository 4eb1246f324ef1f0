"""The goals of the agreement, held against what was counted: read for `leadpact goals`, and shown on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from services.commands import wiring
from services.commands.business_time import latest
from services.commands.folder import Folder
from services.kpi.domain.commitments import CommitmentReport
from services.kpi.domain.counts import Counts
from services.kpi.domain.goals import GoalReport, GoalsReport, MethodReport, RevenueReport, report
from services.kpi.goals import agreement_of, read_report
from shared.clock import SystemClock
from shared.database import database_errors_are_later, make_engine, missing_schemas
from shared.errors import WrongSetting
from shared.settings import CommonSettings

WIDTH: Final = 120  # of what goes into a file
WEEKS_AROUND: Final = 4  # shown before and after this one
STATES: Final = {"ahead": "ahead", "under_way": "under way", "over": "over"}
BEHIND: Final = "red"
NOTHING: Final = "-"


async def read(environ: Mapping[str, str], tenant: str) -> GoalsReport:
    """As of business time; the plan alone where nothing ever ran. Raises WrongSetting, Refused, Later."""
    settings = CommonSettings.read(environ)
    agreements = wiring.read_agreements(settings)
    now = latest(Folder(settings.data).business_time, SystemClock())
    plan = report(agreement_of(agreements.now, tenant), Counts(), now)
    try:
        uri = wiring.existing_database_uri(settings)
    except WrongSetting:
        return plan
    engine = make_engine(uri, pool_size=1)
    try:
        with database_errors_are_later():
            async with engine.connect() as conn:
                if await missing_schemas(conn, ["kpi"]):
                    return plan
                return await read_report(conn, agreements.now, tenant, now)
    finally:
        await engine.dispose()


# --- as tables ---


def shown(found: GoalsReport) -> RenderableType:
    """Everything that a meeting needs to see; the weeks around now, while --json has all."""
    since = f"counted since {found.counted_since}" if found.counted_since else "nothing was counted yet: the plan alone"
    head = Text(f"{found.as_of:%a %Y-%m-%d %H:%M} UTC   agreement {found.agreement}   {since}", style="dim")
    parts: list[RenderableType] = [head]
    for goal in found.goals:
        parts += _goal(goal, found)
    return Group(*parts) if found.goals else Group(head, Text("The agreement has no goals."))


def _goal(goal: GoalReport, found: GoalsReport) -> Iterator[RenderableType]:
    title = f"\n{goal.goal}, {goal.first} to {goal.last} ({STATES[goal.state]})"
    yield Text(title, style="bold")
    yield from _revenue(goal.revenue)
    yield _stages(goal)
    yield from _notes(goal)
    if goal.methods:
        yield _methods(goal)
    yield _weeks(goal, found.as_of)
    for commitment in goal.commitments:
        yield Text(f"Marketing owes {commitment.commitment}{'' if commitment.agreed else ' (agreed no more)'}")
        yield _commitment(commitment)


def _revenue(revenue: RevenueReport) -> Iterator[Text]:
    said = f"{revenue.target:,f} {revenue.currency} of revenue"
    if revenue.reached is not None:
        said += f": {revenue.reached:,f} reached with {revenue.deals} deals, {revenue.missing:,f} missing"
        said += f", pace {revenue.pace:.2f}" if revenue.pace is not None else ""
    yield Text(said)
    if revenue.assumed:
        yield Text(
            f"  {revenue.assumed} of the deals say no currency and are taken for {revenue.currency}", style="dim"
        )
    if revenue.unpriced:
        yield Text(f"  {revenue.unpriced} of the deals have no amount", style="dim")
    for left in revenue.left_out:
        yield Text(f"  not added up: {left.deals} deals of {left.amount:,f} {left.currency}", style="dim")


def _stages(goal: GoalReport) -> Table:
    table = _table("stage", "needed", "from", "to", "gone", "reached", "pace", "behind", "missing", "at measured")
    measured = {one.stage: one.needed for one in goal.at_measured}
    for row in goal.stages:
        table.add_row(
            row.stage,
            f"{row.needed:,}",
            f"{row.first:%d %b}",
            f"{row.last:%d %b}",
            f"{row.gone:.0%}",
            _number(row.reached),
            _pace(row.pace),
            _number(row.behind),
            _number(row.missing),
            _number(measured.get(row.stage)),
        )
    return table


def _notes(goal: GoalReport) -> Iterator[Text]:
    """What is not measured, and on how many rests what is."""
    for row in goal.stages:
        if row.note:
            yield Text(f"{row.stage}s are {row.note}", style="dim")
    for one in goal.conversions:
        measured = "too few to measure" if one.measured is None else f"{one.measured:.1%} measured"
        since = f"{one.leads} from {one.first:%d %b} to {one.last:%d %b}"
        yield Text(f"{one.step}: {one.expected:.0%} expected, {measured}: {one.moved_on} of {since}", style="dim")


def _methods(goal: GoalReport) -> Table:
    stages = [row.stage for row in goal.stages if not row.note]
    table = _table("method", "share", *(f"{stage}s" for stage in stages))
    for method in goal.methods:
        table.add_row(method.method, f"{method.share:.0%}", *(_of_method(method, stage) for stage in stages))
    elsewhere = {one.stage: one.reached for one in goal.elsewhere}
    if elsewhere:
        table.add_row("elsewhere", "", *(_number(elsewhere.get(stage)) for stage in stages))
    return table


def _of_method(method: MethodReport, stage: str) -> Text:
    (one,) = (row for row in method.stages if row.stage == stage)
    return Text(_of(one.reached, one.needed), style=_style(one.pace))


def _weeks(goal: GoalReport, now: datetime) -> Table:
    stages = [row.stage for row in goal.stages]
    table = _table("week", *(f"{stage}s" for stage in stages))
    today = now.date()
    here = next((n for n, week in enumerate(goal.weeks) if week.last >= today), len(goal.weeks))
    for week in goal.weeks[max(0, here - WEEKS_AROUND) : here + WEEKS_AROUND + 1]:
        amounts = {one.stage: one for one in week.stages}
        style = "bold" if week.first <= today <= week.last else ""
        cells = [_of(amounts[stage].reached, amounts[stage].needed) if stage in amounts else "" for stage in stages]
        table.add_row(f"{week.first:%d %b} - {week.last:%d %b}", *cells, style=style)
    return table


def _commitment(commitment: CommitmentReport) -> Table:
    """What is over or open, the latest last; of what is ahead, the next."""
    table = _table("until", "owed", "there", "")
    begun = [part for part in commitment.parts if part.outcome != "ahead"]
    ahead = [part for part in commitment.parts if part.outcome == "ahead"]
    for part in [*begun[-WEEKS_AROUND:], *ahead[:1]]:
        outcome = Text(part.outcome.replace("_", " "), style=BEHIND if part.outcome == "missed" else "")
        table.add_row(f"{part.last:%a %d %b}", str(part.owed), str(part.counted), outcome)
    return table


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=0)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    return table


def _number(number: int | None) -> str:
    return NOTHING if number is None else f"{number:,}"


def _of(reached: int | None, needed: int) -> str:
    return f"{needed:,}" if reached is None else f"{reached:,} of {needed:,}"


def _pace(pace: float | None) -> Text:
    return Text(NOTHING if pace is None else f"{pace:.2f}", style=_style(pace))


def _style(pace: float | None) -> str:
    return BEHIND if pace is not None and pace < 1 else ""
