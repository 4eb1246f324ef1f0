"""The report as one page that needs nothing else: inline SVG, and beside it the figures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from services.commands.evaluating import wording
from services.commands.evaluating.figures import Estimate
from services.commands.evaluating.judging import Judged
from services.commands.evaluating.report import Evaluation, GradeRow, Report
from services.commands.evaluating.verdicts import Verdict
from services.commands.paper import cards, listed, section, whole

STYLE: Final = """
td.bar { width: 30%; min-width: 9rem; }
svg .axis { stroke: var(--line); } svg .half { stroke: var(--faint); stroke-dasharray: 3 3; }
svg text { fill: var(--faint); font-size: 11px; }
.old { stroke: var(--old); } .new { stroke: var(--new); }
.bad { fill: var(--bad); stroke: var(--bad); color: var(--bad); }
svg polyline.old, svg polyline.new { fill: none; stroke-width: 2; }
figure { margin: .5rem 0; } .roc { max-width: 22rem; }
"""
ODDS_SHOWN: Final = math.log(8)  # a bar reaches from an eighth to eight times the odds


def page(found: Evaluation) -> str:
    """The whole page, as HTML."""
    report = found.report
    title = "Does the score tell the truth?"
    leaks = [wording.leak(one) for one in report.leaks] or ["No field looks as if it were."]
    parts = (
        _head(report, title),
        _cards(report),
        section("Separation", f"<p>{escape(wording.separation(report))}</p>{_curves(found)}"),
        section("Grade by grade", _grades(report)),
        section("Rule by rule", _rules(report)),
        section("Known only after the fact", listed(leaks)),
        section("Suggested points", _suggestion(report)),
        section("What this cannot tell", listed(wording.limits(report))),
    )
    return whole(title, parts, STYLE)


# --- the parts of the page ---


def _head(report: Report, title: str) -> str:
    agreement = f"<p>{escape(report.agreement)} <code>{report.version}</code></p>"
    return f"<h1>{title}</h1>{agreement}" + "".join(
        f'<p class="faint">{escape(said)}</p>' for said in wording.about(report)
    )


def _cards(report: Report) -> str:
    suggestion, stage = report.suggestion, wording.STAGES[report.to]
    contradicting = ", ".join(one.rule for one in report.contradicting)
    shown = (
        (f"Became {stage}", f"{report.share.value:.0%}", f"{report.converted:,} of {report.leads:,}"),
        ("AUC of the score", _value(report.separation.points), _interval(report.separation.points)),
        ("Rules that contradict", f"{len(report.contradicting):,}", contradicting),
        ("AUC of suggested points", _value(suggestion.auc_suggested), f"today's {wording.figure(suggestion.auc_now)}"),
    )
    return cards(shown)


def _curves(found: Evaluation) -> str:
    """The share of those who converted (up) that has more points than a share of the others (across)."""
    lines = [("old", "all leads, today's points", found.judged)]
    if found.suggested:
        lines = [
            ("old", "later leads, today's points", found.suggested.now),
            ("new", "later leads, suggested points", found.suggested.then),
        ]
    key = "".join(f'<span><i class="{css}"></i>{text}</span>' for css, text, _ in lines)
    drawn = "".join(f'<polyline class="{css}" points="{_curve(judged)}"/>' for css, _, judged in lines)
    return (
        f'<p class="key">{key}</p><figure class="roc"><svg viewBox="-34 -6 250 240" role="img" '
        'aria-label="Of those who converted and of the others, how many have more points than any limit">'
        '<rect class="axis" x="0" y="0" width="200" height="200" fill="none"/>'
        f'<line class="half" x1="0" y1="200" x2="200" y2="0"/>{drawn}'
        '<text x="0" y="216">of those who did not convert →</text>'
        '<text transform="translate(-8 200) rotate(-90)">of those who converted →</text></svg></figure>'
    )


def _curve(judged: Sequence[Judged]) -> str:
    hits = sum(one.converted for one in judged)
    points, right, wrong = ["0,200"], 0, 0
    ordered = sorted(judged, key=lambda one: -one.points)
    for number, one in enumerate(ordered):
        right, wrong = right + one.converted, wrong + (not one.converted)
        last = number + 1 == len(ordered)
        if last or ordered[number + 1].points != one.points:  # equal points are one step, slantwise
            points.append(f"{200 * wrong / max(1, len(judged) - hits):.1f},{200 - 200 * right / max(1, hits):.1f}")
    return " ".join(points)


def _grades(report: Report) -> str:
    rows = (
        (
            row.grade,
            f"{row.leads:,}",
            f"{row.converted:,}",
            wording.share(row.share),
            _lift(row),
            _range(row.share),
        )
        for row in report.grades
    )
    said = "".join(f'<p class="bad">{escape(text)}</p>' for text in wording.misplaced(report))
    return said + _table(("grade", "leads", "converted", "share", "lift", "0% to 100%"), rows, text=(0, 5))


def _rules(report: Report) -> str:
    rows = (
        (
            one.rule,
            f"{one.points:g}",
            f"{one.held:,}",
            _percent(one.converted_held),
            _percent(one.converted_not_held),
            wording.odds(one),
            _odds(one.odds_ratio, one.verdict),
            one.verdict,
        )
        for one in report.rules
    )
    columns = ("rule", "points", "held", "converted", "where not held", "odds", "⅛ to 8 times", "")
    return _table(columns, rows, text=(0, 6, 7))


def _suggestion(report: Report) -> str:
    said = "".join(f"<p>{escape(text)}</p>" for text in wording.suggestion(report.suggestion))
    points = [0.0, *(value for one in report.suggestion.points for value in (one.now, one.suggested))]
    scale = min(points), max(points)
    rows = (
        (
            one.rule,
            f"{one.now:g}",
            f"{one.suggested:g}" if one.suggested != one.now else "=",
            _Drawn(_bar(one.now, scale, "old") + _bar(one.suggested, scale, "new")),
            wording.points(one),
        )
        for one in report.suggestion.points
    )
    table = _table(("rule", "now", "suggested", "", "likely"), rows, text=(0, 4))
    key = '<p class="key"><span><i class="old"></i>now</span><span><i class="new"></i>suggested</span></p>'
    return said + (key + table if report.suggestion.points else "")


# --- what they are made of ---


class _Drawn(str):
    """What is markup already."""

    __slots__ = ()


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, text: tuple[int, ...]) -> str:
    """Figures stand to the right, but for the columns of `text`."""
    css = ["" if number in text else ' class="n"' for number in range(len(columns))]
    head = "".join(f"<th{one}>{escape(column)}</th>" for column, one in zip(columns, css, strict=True))
    lines = "".join(f"<tr>{''.join(map(_cell, row, css))}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead>{lines}</table></div>'


def _cell(value: str, css: str) -> str:
    return f'<td class="bar">{value}</td>' if isinstance(value, _Drawn) else f"<td{css}>{escape(value)}</td>"


def _range(one: Estimate) -> _Drawn:
    """A share as a dot within its interval."""
    return _whisker(one.value, one.low, one.high, "new", middle=None)


def _odds(one: Estimate | None, verdict: Verdict) -> _Drawn:
    """Odds on a scale where half and double are as far from the middle."""
    if one is None:
        return _Drawn("")
    value, low, high = (_on_scale(odds) for odds in (one.value, one.low, one.high))
    css = "bad" if verdict is Verdict.CONTRADICTS else "new" if verdict is Verdict.EARNS else "old"
    return _whisker(value, low, high, css, middle=0.5)


def _on_scale(odds: float) -> float:
    return min(1.0, max(0.0, 0.5 + math.log(odds) / ODDS_SHOWN / 2))


def _whisker(value: float, low: float, high: float, css: str, *, middle: float | None) -> _Drawn:
    half = "" if middle is None else f'<line class="half" x1="{middle:.0%}" x2="{middle:.0%}" y1="0" y2="14"/>'
    return _Drawn(
        f'<svg height="14" aria-hidden="true"><line class="axis" x1="0" x2="100%" y1="7" y2="7"/>{half}'
        f'<line class="{css}" stroke-width="3" x1="{low:.1%}" x2="{high:.1%}" y1="7" y2="7"/>'
        f'<circle class="{css}" cx="{value:.1%}" cy="7" r="4"/></svg>'
    )


def _bar(points: float, scale: tuple[float, float], css: str) -> _Drawn:
    """From nothing to the right, or to the left what takes points; a line where nothing is, when there is a left."""
    low, high = scale
    nothing, end = ((value - low) / (high - low or 1) for value in (0.0, points))
    left, width = min(nothing, end), abs(end - nothing)
    zero = f'<line class="half" x1="{nothing:.1%}" x2="{nothing:.1%}" y1="0" y2="9"/>' if low < 0 else ""
    return _Drawn(
        f'<svg height="9" aria-hidden="true">{zero}'
        f'<rect class="{css}" x="{left:.1%}" width="{width:.1%}" height="7" rx="2"/></svg>'
    )


def _value(one: Estimate | None) -> str:
    return "?" if one is None else f"{one.value:.2f}"


def _interval(one: Estimate | None) -> str:
    return "" if one is None else f"{one.low:.2f} to {one.high:.2f}; 0.5 is chance"


def _percent(one: Estimate | None) -> str:
    return "" if one is None else f"{one.value:.0%}"


def _lift(row: GradeRow) -> str:
    return "" if row.lift is None else f"{row.lift:.2f}"
