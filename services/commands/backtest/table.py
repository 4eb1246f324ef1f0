"""A report on the screen: the counts side by side, whose grades change and why, and what the figures cannot say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from services.commands.backtest.report import DAYS, Pair, Report, Touches

ROWS: Final = 10
SHADES: Final = " ░▒▓█"
EVERY_HOURS: Final = 6


def show(found: Report, console: Console) -> None:
    """Print it, the longest lists cut off."""
    console.print(_whole(found))


def _whole(found: Report) -> Group:
    parts: list[RenderableType] = [Text("\n".join(head(found))), _counts(found)]
    if found.handoffs.total.old or found.handoffs.total.new:
        parts.append(_heat(found))
    if found.grades.changed:
        parts += [_moves(found), _rules(found)]
    if found.leads:
        parts.append(_leads(found))
    return Group(*parts, Text("\n".join(f"- {text}" for text in notes(found))))


def head(found: Report) -> Iterator[str]:
    """What was compared, over what."""
    old, new, record = found.old, found.new, found.record
    yield f"Old: {old.name} ({old.version})   New: {new.name} ({new.version})"
    since = f", counted since {record.since:%d %b %Y %H:%M}" if record.since else ""
    yield (
        f"{record.events:,} events about {record.leads:,} leads, "
        f"{record.first:%d %b %Y} to {record.last:%d %b %Y} (UTC){since}"
    )


def notes(found: Report) -> Iterator[str]:
    """What the reader has to know to judge the figures."""
    record, touches = found.record, found.first_touches
    if record.begin_unknown:
        yield (
            f"Of {record.begin_unknown:,} of {record.leads:,} leads the record has no creation: what they were and did "
            "before it is unknown, to both sides alike."
        )
    if record.unreadable:
        yield f"{record.unreadable:,} records are no events, and were left out."
    for side, refused in (("old", found.refused.old), ("new", found.refused.new)):
        if refused:
            why = ", ".join(f"{count:,} {reason}" for reason, count in refused.items())
            yield f"Under the {side} agreement services would have refused: {why}."
    if touches.enough:
        yield (
            f"The prediction is a model, from {touches.answered:,} hand-offs. Judge it by the old agreement: "
            f"{share(touches.all.recorded)} were really late, and it says {share(touches.all.predicted_old)}."
        )
    yield from touches.assumptions
    yield from found.left_out


def share(touches: Touches | None) -> str:
    """As 12 of 80 (15 %)."""
    if touches is None or touches.share is None:
        return "-"
    return f"{touches.late:,} of {touches.due:,} ({touches.share:.0%})"


def _counts(found: Report) -> Table:
    table = Table("", "old", "new", "change", box=None, pad_edge=False, header_style="bold")
    for column in table.columns[1:]:
        column.justify = "right"
    handoffs, touches = found.handoffs, found.first_touches
    _row(table, "MQLs", found.mqls, bold=True)
    _row(table, "Hand-offs", handoffs.total, bold=True)
    for name, pairs in (("by trigger", handoffs.by_trigger), ("by team", handoffs.by_team)):
        _rows(table, name, pairs)
    table.add_row(
        "  leads only this one hands off", f"{handoffs.leads_by_old_only:,}", f"{handoffs.leads_by_new_only:,}", ""
    )
    _rows(table, "returned", found.returns)
    _rows(table, "rejected", found.rejections)
    table.add_row("First touches late", style="bold")
    table.add_row("  as recorded", share(touches.all.recorded), "", "")
    table.add_row("  as people acted, where both hand off", share(touches.same_old), share(touches.same_new), "")
    table.add_row("  predicted", share(touches.all.predicted_old), share(touches.all.predicted_new), "")
    for team, those in touches.by_team.items():
        table.add_row(f"    {team}", share(those.predicted_old), share(those.predicted_new), "")
    return table


def _rows(table: Table, name: str, pairs: Mapping[str, Pair]) -> None:
    for label, pair in pairs.items():
        _row(table, f"  {name}: {label}", pair)


def _row(table: Table, name: str, pair: Pair, *, bold: bool = False) -> None:
    change = f"{pair.new - pair.old:+,}" if pair.new != pair.old else "="
    table.add_row(name, f"{pair.old:,}", f"{pair.new:,}", change, style="bold" if bold else "")


def _heat(found: Report) -> Table:
    """Hand-offs by weekday and hour: the darker, the more."""
    handoffs = found.handoffs
    hours = "".join(f"{hour:<{EVERY_HOURS}}" for hour in range(0, 24, EVERY_HOURS))
    table = Table(f"Hand-offs ({handoffs.timezone})", f"old\n{hours}", f"new\n{hours}", box=None, pad_edge=False)
    most = max(max(map(max, week)) for week in (handoffs.hours_old, handoffs.hours_new))
    for day, *weeks in zip(DAYS, handoffs.hours_old, handoffs.hours_new, strict=True):
        table.add_row(day, *(_shades(hours, most) for hours in weeks))
    return table


def _shades(counts: Iterable[int], most: int) -> str:
    return "".join(SHADES[-(-count * (len(SHADES) - 1) // most)] if count else SHADES[0] for count in counts)


def _moves(found: Report) -> Table:
    table = Table(f"Grades changed: {found.grades.changed:,} leads", "leads", box=None, pad_edge=False)
    table.columns[1].justify = "right"
    for move in found.grades.moves[:ROWS]:
        table.add_row(f"  {move.old or 'none'} → {move.new or 'none'}", f"{move.leads:,}")
    _and_more(table, len(found.grades.moves))
    return table


def _rules(found: Report) -> Table:
    table = Table("Because of", "leads", "points in all", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for rule in found.grades.rules[:ROWS]:
        table.add_row(f"  {rule.rule}", f"{rule.leads:,}", f"{rule.points:+,.1f}" if rule.points else "")
    _and_more(table, len(found.grades.rules))
    return table


def _leads(found: Report) -> Table:
    table = Table(
        f"Leads that differ: {found.leads_that_differ:,}", "grade", "hand-offs", "because of", box=None, pad_edge=False
    )
    for lead in found.leads[:ROWS]:
        grade = f"{lead.old_grade or 'none'} → {lead.new_grade or 'none'}" if lead.old_grade != lead.new_grade else ""
        handoffs = f"{lead.old_handoffs} → {lead.new_handoffs}" if lead.old_handoffs != lead.new_handoffs else ""
        table.add_row(f"  {lead.lead}", grade, handoffs, because(lead.rules))
    _and_more(table, found.leads_that_differ)
    return table


def because(rules: Mapping[str, float]) -> str:
    """The rules with what they give more or less."""
    return ", ".join(f"{rule} {points:+g}" if points else rule for rule, points in rules.items())


def _and_more(table: Table, many: int) -> None:
    if many > ROWS:
        table.add_row(f"  and {many - ROWS:,} more")
