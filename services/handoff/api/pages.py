"""The pages behind one-click links: plain HTML for a phone, without scripts or anything from elsewhere.

Whatever comes from a lead or the agreement is escaped; nothing of it is ever code.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import Final
from zoneinfo import ZoneInfo

from services.handoff.domain.machine import Cause
from shared.events import Channel, Outcome, State, ToFindOut

STYLE: Final = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #57606a; --line: #d0d7de; --ground: #f6f8fa; --card: #fff;
  --act: #1a5fb4; --on-act: #fff; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9aa4af; --line: #3d444d; --ground: #0d1117;
  --card: #161b22; --act: #78aeed; --on-act: #0d1117; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 1rem; background: var(--ground); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 30rem; margin: 1rem auto; padding: 1.5rem; background: var(--card); border: 1px solid var(--line);
  border-radius: 0.75rem; }
h1 { margin: 0 0 1rem; font-size: 1.4rem; line-height: 1.25; }
p { margin: 0 0 1rem; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: auto 1fr; gap: 0.25rem 1rem; margin: 0 0 1.5rem; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
ul { margin: 0 0 1.5rem; padding-left: 1.25rem; overflow-wrap: anywhere; }
fieldset { margin: 0 0 1.5rem; padding: 0; border: 0; }
legend, .label { padding: 0; margin: 0 0 0.5rem; font-weight: 600; display: block; }
.choice { display: flex; align-items: center; gap: 0.75rem; min-height: 2.75rem; padding: 0 0.75rem;
  border: 1px solid var(--line); border-bottom: 0; }
.choice:first-of-type { border-radius: 0.5rem 0.5rem 0 0; }
.choice:last-of-type { border-bottom: 1px solid var(--line); border-radius: 0 0 0.5rem 0.5rem; }
input[type=radio] { width: 1.15rem; height: 1.15rem; margin: 0; accent-color: var(--act); }
select { width: 100%; min-height: 2.75rem; margin: 0 0 1.5rem; padding: 0 0.75rem; font: inherit; color: inherit;
  background: var(--card); border: 1px solid var(--line); border-radius: 0.5rem; }
button { width: 100%; min-height: 3rem; border: 0; border-radius: 0.5rem; background: var(--act); color: var(--on-act);
  font: inherit; font-weight: 600; }
.small { color: var(--soft); font-size: 0.875rem; margin: 1rem 0 0; }
.wrong { border-left: 0.25rem solid #c01c28; padding-left: 0.75rem; }
""".strip()
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
HEADERS: Final = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self';"
        " base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex, nofollow, noarchive",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, kw_only=True)
class Words:
    """What a page says of a command: its heading, what pressing the button means, the button, and what was done."""

    heading: str
    means: str
    button: str
    done: str


WORDS: Final = {
    Cause.ACCEPT: Words(
        heading="Accept this lead?",
        means="You take it on, and Marketing knows that it is with you.",
        button="Accept",
        done="You have accepted the lead.",
    ),
    Cause.ATTEMPT: Words(
        heading="Log a contact attempt",
        means="It counts as made now, by you. The first one accepts the lead, too.",
        button="Log the attempt",
        done="Your attempt is counted.",
    ),
    Cause.QUALIFY: Words(
        heading="Qualify this lead?",
        means="You say that it is an SQL. Nothing more is asked of you by a clock.",
        button="Qualify",
        done="The lead is qualified.",
    ),
    Cause.REJECT: Words(
        heading="Reject this lead?",
        means="It is not what was agreed, and goes back to Marketing before any contact.",
        button="Reject",
        done="The lead is back with Marketing.",
    ),
    Cause.RETURN: Words(
        heading="Return this lead?",
        means="You tried, and it is not the time. It goes back to Marketing, into the track that fits the reason.",
        button="Return",
        done="The lead is back with Marketing.",
    ),
    Cause.DISQUALIFY: Words(
        heading="Disqualify this lead?",
        means="It is out for good, for Sales and for Marketing.",
        button="Disqualify",
        done="The lead is disqualified.",
    ),
    Cause.RESUME: Words(
        heading="Resume this lead?",
        means="The clocks run on with the time that they had left.",
        button="Resume",
        done="The clocks run again.",
    ),
}
STATES: Final = {
    State.MARKETING: "with Marketing",
    State.HANDED_OFF: "handed to Sales, not yet accepted",
    State.ACCEPTED: "accepted by Sales",
    State.WORKING: "being followed up",
    State.QUALIFIED: "qualified",
    State.OPPORTUNITY: "an opportunity",
    State.CUSTOMER: "a customer",
    State.LOST: "lost",
    State.RETURNED: "back with Marketing",
    State.DISQUALIFIED: "disqualified",
}
# What people say otherwise than we write it.
SAID: Final[Mapping[str, str]] = {
    Outcome.LIVE_MESSAGE: "Left a message with somebody",
    Outcome.VOICEMAIL: "Left a voicemail",
    Outcome.SENT: "Message sent",
    Outcome.REPLIED: "They replied",
    Outcome.BOOKED: "Meeting booked",
    Outcome.HELD: "Meeting held",
    Outcome.NO_SHOW: "They did not come",
    Channel.SMS: "SMS",
    Channel.WHATSAPP: "WhatsApp",
    Channel.LINKEDIN: "LinkedIn",
}


def page(heading: str, *parts: str) -> str:
    """A whole page; `parts` are HTML already."""
    body = "\n".join([f"<h1>{escape(heading)}</h1>", *parts])
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{escape(heading)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


def paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>"


def small_print(text: str) -> str:
    return f'<p class="small">{escape(text)}</p>'


def complaint(text: str) -> str:
    return f'<p class="wrong" role="alert">{escape(text)}</p>'


def facts(known: Iterable[tuple[str, str]]) -> str:
    """Names and values; what is not known is left out."""
    rows = [f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in known if value]
    return f"<dl>{''.join(rows)}</dl>"


def form(button: str, *fields: str) -> str:
    """A form that is sent to where it came from."""
    return f'<form method="post">{"".join(fields)}<button type="submit">{escape(button)}</button></form>'


def choice(name: str, label: str, values: Sequence[str]) -> str:
    """One of `values`, which has to be chosen."""
    options = [
        f'<label class="choice"><input type="radio" name="{escape(name)}" value="{escape(value)}" required>'
        f"{escape(in_words(value))}</label>"
        for value in values
    ]
    return f"<fieldset><legend>{escape(label)}</legend>{''.join(options)}</fieldset>"


def menu(name: str, label: str, values: Sequence[str], chosen: str) -> str:
    """One of `values`, of which `chosen` is likely."""
    options = [
        f'<option value="{escape(value)}"{_selected(value == chosen)}>{escape(in_words(value))}</option>'
        for value in values
    ]
    opening = f'<label class="label" for="{escape(name)}">{escape(label)}</label>'
    return f'{opening}<select id="{escape(name)}" name="{escape(name)}">{"".join(options)}</select>'


def _selected(chosen: bool) -> str:
    return " selected" if chosen else ""


def in_words(value: str) -> str:
    """`no_answer` as people say it."""
    return SAID.get(value, sentence(value.replace("_", " ").replace("-", " ")))


def to_find_out(unknown: Iterable[ToFindOut]) -> str:
    """A list of what to ask for, and what depends on it: "Right size: 25 points (numberofemployees)"."""
    said = (f"{one.rule}: {_at_stake(one)} ({', '.join(one.properties)})" for one in unknown)
    items = "".join(f"<li>{escape(one)}</li>" for one in said)
    return f'<div class="label">To find out</div><ul>{items}</ul>' if items else ""


def _at_stake(one: ToFindOut) -> str:
    points = f"may cost {-one.points:g} points" if one.points < 0 else f"{one.points:g} points" if one.points else ""
    return ", ".join(filter(None, (points, one.disqualify and f"may rule it out: {one.disqualify}")))


def sentence(text: str) -> str:
    """With a capital at its beginning."""
    return text[:1].upper() + text[1:]


def moment(at: datetime | None, timezone: str) -> str:
    """A time on a wall there."""
    return f"{at.astimezone(ZoneInfo(timezone)):%a %-d %b %Y, %H:%M} ({timezone})" if at else ""
