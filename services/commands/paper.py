"""What the pages of reports share: one look, light, dark and on paper, and the frame of a page.

Nothing is fetched and no script runs (docs/decisions/0008-charts-without-a-library.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Final

STYLE: Final = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1c2430; --faint: #667085; --line: #e2e6ec;
  --old: #8d99ab; --new: #0f766e; --bad: #b42318; --card: #f6f8fa; }
@media (prefers-color-scheme: dark) { :root { --paper: #12161c; --ink: #e8ecf2; --faint: #98a2b3; --line: #2b333f;
  --old: #74839a; --new: #2dd4bf; --bad: #f97066; --card: #1a2029; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 64rem; padding: 2rem 1.25rem 4rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .25rem; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1.25rem 0 .25rem; }
p, .faint { margin: .25rem 0; } .faint { color: var(--faint); }
code { font-size: .9em; }
.key span { display: inline-block; margin-right: 1.25rem; }
.key i { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin-right: .4em; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr)); gap: .75rem; margin: 1.25rem 0; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .75rem 1rem; margin: 0; }
.card dt { color: var(--faint); } .card dd { margin: 0; font-size: 1.35rem; font-weight: 600; }
.card small { display: block; font-size: .85rem; font-weight: 400; color: var(--faint); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem .6rem .3rem 0; vertical-align: top; border-bottom: 1px solid var(--line); }
th { font-weight: 500; } thead th { color: var(--faint); font-size: .85rem; }
td.n, th.n { text-align: right; white-space: nowrap; }
td.bar { width: 36%; min-width: 8rem; padding-top: .5rem; } td.bar svg { display: block; width: 100%; }
.old { fill: var(--old); background: var(--old); } .new { fill: var(--new); background: var(--new); }
ul { padding-left: 1.2rem; } li { margin: .3rem 0; }
@media print { :root { --paper: #fff; --ink: #000; --faint: #444; --line: #bbb; --old: #8d99ab; --new: #0f766e;
  --bad: #b42318; --card: #f6f8fa; } body { max-width: none; padding: 0; font-size: 11px; }
  .wide { overflow: visible; } * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  h2 { break-after: avoid; } tr, .card { break-inside: avoid; } }
"""


def whole(title: str, parts: Iterable[str], style: str = "") -> str:
    """The page, as HTML; `style` is what it has beside the common look."""
    inside = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}{style}</style></head>\n<body>\n{inside}\n</body></html>\n"
    )


def cards(shown: Iterable[tuple[str, str, str]]) -> str:
    """The figures on top: a name, the figure, and what explains it."""
    inside = "".join(
        f'<dl class="card"><dt>{escape(name)}</dt><dd>{value}<small>{escape(more)}</small></dd></dl>'
        for name, value, more in shown
    )
    return f'<div class="cards">{inside}</div>'


def section(title: str, inside: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{inside}</section>"


def listed(texts: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(text)}</li>' for text in texts)}</ul>"
