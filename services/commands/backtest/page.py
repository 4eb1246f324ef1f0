"""A report as one page that needs nothing else: every chart is a table, whose figures stand beside what is drawn.

Bars are small inline SVG, the week is coloured cells.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Final

from services.commands.backtest.report import DAYS, HOURS, Move, Pair, Report, TeamTouches, Touches
from services.commands.backtest.table import because, notes
from services.commands.paper import cards, listed, section, whole

STYLE: Final = """
table.week { table-layout: fixed; min-width: 44rem; } table.week td, table.week thead th { text-align: center;
  padding: .25rem 0; font-size: .75rem; border: 1px solid var(--paper); }
table.week th:first-child { width: 3rem; }
table.week td { background: color-mix(in srgb, var(--hue) calc(var(--much) * 75%), var(--card)); }
table.week td.none { color: var(--faint); opacity: .55; }
.week.is-old { --hue: var(--old); } .week.is-new { --hue: var(--new); }
@media print { table.week { min-width: 0; } }
"""


def page(found: Report) -> str:
    """The whole page, as HTML."""
    title = f"Backtest: {found.old.name} and {found.new.name}"
    parts = (
        _head(found),
        _cards(found),
        _handoffs(found),
        _first_touches(found),
        _grades(found),
        _leads(found),
        section("What these figures can say, and what not", listed(notes(found))),
    )
    return whole(title, parts, STYLE)


# --- the parts of the page ---


def _head(found: Report) -> str:
    old, new, record = found.old, found.new, found.record
    since = f", counted since {_time(record.since)}" if record.since else ""
    return (
        "<h1>What the new agreement would have done</h1>"
        f'<p class="faint">{record.events:,} recorded events about {record.leads:,} leads, {_time(record.first)} to '
        f"{_time(record.last)}{since} (UTC)</p>"
        f'<p class="key"><span><i class="old"></i>old: {escape(old.name)} <code>{old.version}</code></span>'
        f'<span><i class="new"></i>new: {escape(new.name)} <code>{new.version}</code></span></p>'
    )


def _cards(found: Report) -> str:
    touches, handoffs = found.first_touches, found.handoffs
    shown = (
        ("MQLs", _change(found.mqls), ""),
        (
            "Hand-offs",
            _change(handoffs.total),
            f"leads: {handoffs.leads_by_both:,} by both, {handoffs.leads_by_old_only:,} by the old alone, "
            f"{handoffs.leads_by_new_only:,} by the new alone",
        ),
        ("Leads of another grade", f"{found.grades.changed:,}", f"of {found.record.leads:,}"),
        (
            "First touches late, predicted",
            f"{_percent(touches.all.predicted_old)} → {_percent(touches.all.predicted_new)}"
            if touches.enough
            else "too little record",
            f"really late under the old: {_percent(touches.all.recorded)}",
        ),
    )
    return cards(shown)


def _handoffs(found: Report) -> str:
    handoffs = found.handoffs
    parts = [
        *(("By trigger", handoffs.by_trigger), ("By team", handoffs.by_team)),
        *(("Returned to Marketing, by reason", found.returns), ("Rejected by Sales, by reason", found.rejections)),
    ]
    bars = "".join(f"<h3>{name}</h3>{_pairs(pairs)}" for name, pairs in parts if pairs)
    most = max(1, *(max(map(max, week)) for week in (handoffs.hours_old, handoffs.hours_new)))
    weeks = "".join(
        f"<h3>By weekday and hour, {side} ({escape(handoffs.timezone)})</h3>{_week(hours, side, most)}"
        for side, hours in (("old", handoffs.hours_old), ("new", handoffs.hours_new))
    )
    return section("Hand-offs", bars + weeks)


def _first_touches(found: Report) -> str:
    touches = found.first_touches
    rows = "".join(
        f"<tr><th>{escape(name)}</th>"
        + "".join(
            f'<td class="n">{_late(touched)}</td>' for touched in (one.recorded, one.predicted_old, one.predicted_new)
        )
        + f'<td class="bar">{_bars(one)}</td></tr>'
        for name, one in (("All teams", touches.all), *touches.by_team.items())
    )
    columns = ("as recorded, old", "predicted, old", "predicted, new")
    head = "".join(f'<th class="n">{column}</th>' for column in columns)
    same = _table(
        ("Where both hand off the same lead at the same moment, as people really acted", "old", "new"),
        [("Late", _late(touches.same_old), _late(touches.same_new))],
    )
    table = f'<div class="wide"><table><thead><tr><th></th>{head}<th></th></tr></thead>{rows}</table></div>'
    return section("First touches that come too late", table + same)


def _bars(team: TeamTouches) -> str:
    predicted = ((team.predicted_old, "old"), (team.predicted_new, "new"))
    return "".join(_bar(one.share, css) for one, css in predicted if one and one.share is not None)


def _grades(found: Report) -> str:
    grades = found.grades
    if not grades.changed:
        return section("Grades", "<p>No lead gets another grade.</p>")
    most = max((rule.leads for rule in grades.rules), default=1)
    rules = "".join(
        f'<tr><th>{escape(rule.rule)}</th><td class="n">{rule.leads:,}</td><td class="n">{rule.points:+,.1f}</td>'
        f'<td class="bar">{_bar(rule.leads / most, "new")}</td></tr>'
        for rule in grades.rules
    )
    head = '<thead><tr><th>rule</th><th class="n">leads</th><th class="n">points in all</th><th></th></tr></thead>'
    return section(
        f"Grades: {grades.changed:,} leads get another",
        f"<h3>From (down) to (across)</h3>{_moves(grades.moves)}<h3>Because of</h3><table>{head}{rules}</table>",
    )


def _moves(moves: Sequence[Move]) -> str:
    """Leads by old and new grade; "none": not scored at all."""
    counts = {(move.old, move.new): move.leads for move in moves}
    across, most = sorted({new for _, new in counts}), max(counts.values())
    head = "".join(f"<th>{escape(grade or 'none')}</th>" for grade in across)
    rows = "".join(
        f"<tr><th>{escape(old or 'none')}</th>{''.join(_cell(counts.get((old, new), 0), most) for new in across)}</tr>"
        for old in sorted({old for old, _ in counts})
    )
    table = f'<table class="week is-new"><thead><tr><th></th>{head}</tr></thead>{rows}</table>'
    return f'<div class="wide">{table}</div>'


def _leads(found: Report) -> str:
    if not found.leads:
        return ""
    rows = [
        (
            lead.lead,
            f"{lead.old_grade or 'none'} → {lead.new_grade or 'none'}",
            f"{lead.old_handoffs:,} → {lead.new_handoffs:,}",
            because(lead.rules),
        )
        for lead in found.leads
    ]
    head = f"Leads that differ: {found.leads_that_differ:,}"
    shown = f'<p class="faint">The {len(rows):,} that differ most; --leads FILE writes all of them.</p>'
    return section(head, shown + _table(("lead", "grade", "hand-offs", "because of"), rows))


# --- what they are made of ---


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    lines = "".join(
        f"<tr><th>{escape(first)}</th>{''.join(f'<td>{escape(text)}</td>' for text in rest)}</tr>"
        for first, *rest in rows
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead>{lines}</table></div>'


def _pairs(pairs: Mapping[str, Pair]) -> str:
    most = max(1, *(max(pair.old, pair.new) for pair in pairs.values()))
    rows = "".join(
        f'<tr><th>{escape(name)}</th><td class="n">{pair.old:,}</td><td class="n">{pair.new:,}</td>'
        f'<td class="bar">{_bar(pair.old / most, "old")}{_bar(pair.new / most, "new")}</td></tr>'
        for name, pair in pairs.items()
    )
    return (
        f'<table><thead><tr><th></th><th class="n">old</th><th class="n">new</th><th></th></tr></thead>{rows}</table>'
    )


def _bar(share: float, css: str) -> str:
    """Drawn only: the figure stands beside it."""
    return f'<svg height="9" aria-hidden="true"><rect class="{css}" width="{share:.1%}" height="8" rx="2"/></svg>'


def _week(hours: Sequence[Sequence[int]], side: str, most: int) -> str:
    head = "".join(f"<th>{hour}</th>" for hour in range(HOURS))
    rows = "".join(
        f"<tr><th>{day}</th>{''.join(_cell(count, most) for count in counts)}</tr>"
        for day, counts in zip(DAYS, hours, strict=True)
    )
    table = f'<table class="week is-{side}"><thead><tr><th></th>{head}</tr></thead>{rows}</table>'
    return f'<div class="wide">{table}</div>'


def _cell(count: int, most: int) -> str:
    css = "" if count else ' class="none"'
    return f'<td{css} style="--much:{count / most:.2f}">{count:,}</td>'


def _change(pair: Pair) -> str:
    return f"{pair.old:,} → {pair.new:,}"


def _late(touches: Touches | None) -> str:
    if touches is None:
        return "too little record"
    return f"{touches.late:,} of {touches.due:,} ({_percent(touches)})"


def _percent(touches: Touches | None) -> str:
    return "-" if touches is None or touches.share is None else f"{touches.share:.0%}"


def _time(at: datetime) -> str:
    return f'<time datetime="{at.isoformat()}">{at:%d %b %Y %H:%M}</time>'
