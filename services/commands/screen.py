"""The live view on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from services.commands.live import Numbers

OVERDUE_STYLE: Final = "bold red"
# Of the latest hand-offs, how the columns share what times, keys of leads and grades leave over.
SHARES: Final = {"at": None, "lead": None, "why": 3, "grade": None, "to": 4}
LONGEST_GRADE: Final = 16


def view(numbers: Numbers, *, addresses: Sequence[str], speed: float) -> RenderableType:
    """Everything of one moment."""
    tables = Table.grid(padding=(0, 1))
    tables.add_row(_states(numbers), _clocks(numbers), _rates(numbers))
    parts: list[RenderableType] = [_head(numbers.at, addresses, speed), tables, _handoffs(numbers)]
    parts += [Text(f"! {lack}", style=OVERDUE_STYLE) for lack in numbers.lacks]
    return Group(*parts, Text("Ctrl-C stops it; the next run goes on from here.", style="dim"))


def _head(at: datetime, addresses: Sequence[str], speed: float) -> Text:
    pace = f", {speed:g} times as fast" if speed != 1 else ""
    return Text(f"Leadpact  {at:%a %Y-%m-%d %H:%M:%S} UTC{pace}   {'   '.join(addresses)}", style="bold")


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    return table


def _states(numbers: Numbers) -> Panel:
    table = _table("state", "leads")
    for state, count in numbers.states.items():
        table.add_row(state, str(count))
    table.add_row(Text("all", style="bold"), Text(str(numbers.leads), style="bold"))
    return Panel(table, title="Leads")


def _clocks(numbers: Numbers) -> Panel:
    table = _table("team", "open", "overdue")
    for team, (still, late) in numbers.clocks.items():
        table.add_row(team, str(still), Text(str(late), style=OVERDUE_STYLE if late else ""))
    return Panel(table, title="Clocks")


def _rates(numbers: Numbers) -> Panel:
    table = _table("a minute", "")
    table.add_row("events", f"{numbers.events_per_minute:.0f}")
    table.add_row("hand-offs", f"{numbers.handoffs_per_minute:.1f}")
    return Panel(table, title="Rates")


def _handoffs(numbers: Numbers) -> Panel:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=True)
    for column, share in SHARES.items():
        table.add_column(column, no_wrap=True, ratio=share, max_width=LONGEST_GRADE if column == "grade" else None)
    for one in numbers.handoffs:
        to = f"{one.team} {one.owner}".strip()
        table.add_row(f"{one.at:%d %b %H:%M:%S}", one.lead, one.trigger, one.grade, to)
    return Panel(table, title="Latest hand-offs")
