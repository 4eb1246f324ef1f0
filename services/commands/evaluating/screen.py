"""The report on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from services.commands.evaluating import wording
from services.commands.evaluating.figures import Estimate
from services.commands.evaluating.report import Report
from services.commands.evaluating.verdicts import Verdict

STYLES: Final = {Verdict.EARNS: "green", Verdict.CONTRADICTS: "bold red", Verdict.SAYS_NOTHING: "yellow"}
BAR: Final = 24
BOLD: Final = "bold"


def view(found: Report) -> Iterator[RenderableType]:
    """From what was judged down to what it cannot tell."""
    yield Text(f"Does the score tell the truth? {found.agreement} {found.version}", style=BOLD)
    yield from map(Text, wording.about(found))
    yield _part("Separation")
    yield Text(wording.separation(found))
    yield _separation(found)
    yield _grades(found)
    yield from (Text(f"! {said}", style="bold red") for said in wording.misplaced(found))
    yield _part("Rule by rule")
    yield _rules(found)
    yield _part("Known only after the fact")
    yield from map(Text, _leaks(found))
    yield _part("Suggested points")
    yield from map(Text, wording.suggestion(found.suggestion))
    if found.suggestion.points:
        yield _points(found)
    yield _part("What this cannot tell")
    yield from (Text(f"- {said}") for said in wording.limits(found))


def _part(title: str) -> Text:
    return Text(f"\n{title}", style=BOLD)


def _table(*columns: str, left: tuple[int, ...] = (0,)) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number in left else "right", overflow="fold")
    return table


def _separation(found: Report) -> Table:
    table = _table("order by", "AUC")
    parts = found.separation
    for name, one in (
        ("points", parts.points),
        ("grade", parts.grade),
        ("fit", parts.fit),
        ("interest", parts.interest),
    ):
        table.add_row(name, wording.figure(one))
    return table


def _grades(found: Report) -> Table:
    table = _table("grade", "leads", "converted", "share", "lift", "", left=(0, 5))
    for row in found.grades:
        lift = "" if row.lift is None else f"{row.lift:.2f}"
        bar = "█" * round(row.share.value * BAR)
        table.add_row(row.grade, f"{row.leads:,}", f"{row.converted:,}", wording.share(row.share), lift, bar)
    return table


def _rules(found: Report) -> Table:
    table = _table("rule", "points", "held", "converted", "not held", "converted", "odds", "", left=(0, 7))
    for one in found.rules:
        table.add_row(
            one.rule,
            f"{one.points:g}",
            f"{one.held:,}",
            _percent(one.converted_held),
            f"{one.not_held:,}",
            _percent(one.converted_not_held),
            wording.odds(one),
            Text(one.verdict, style=STYLES.get(one.verdict, "dim")),
        )
    return table


def _percent(one: Estimate | None) -> str:
    return "" if one is None else f"{one.value:.0%}"


def _leaks(found: Report) -> list[str]:
    return [wording.leak(one) for one in found.leaks] or ["No field looks as if it were."]


def _points(found: Report) -> Table:
    table = _table("rule", "now", "learned", "suggested", "likely", left=(0, 4))
    for one in found.suggestion.points:
        learned = "" if one.learned is None else f"{one.learned:g}"
        suggested = f"{one.suggested:g}" if one.suggested != one.now else "="
        table.add_row(one.rule, f"{one.now:g}", learned, suggested, wording.points(one))
    return table
