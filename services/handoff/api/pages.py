"""The pages behind one-click links: plain HTML for a phone, without scripts or anything from elsewhere.

Whatever comes from a lead or the agreement is escaped; nothing of it is ever code.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import Final
from zoneinfo import ZoneInfo

from services.handoff.domain.lead import Lead
from services.handoff.domain.machine import Cause
from shared.agreement.phrases import at_stake
from shared.events import Channel, Outcome, State, ToFindOut
from shared.languages import DAY_AND_TIME, Language

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


Say = Callable[[str], str]


@dataclass(frozen=True, kw_only=True)
class Words:
    """What a page says of a command: its heading, what pressing the button means, the button, and what was done."""

    heading: str
    means: str
    button: str
    done: str


# Only what is asked for is said.
_WORDS: Final[Mapping[Cause, Callable[[Say], Words]]] = {
    Cause.ACCEPT: lambda say: Words(
        heading=say("Accept this lead?"),
        means=say("You take it on, and Marketing knows that it is with you."),
        button=say("Accept"),
        done=say("You have accepted the lead."),
    ),
    Cause.ATTEMPT: lambda say: Words(
        heading=say("Log a contact attempt"),
        means=say("It counts as made now, by you. The first one accepts the lead, too."),
        button=say("Log the attempt"),
        done=say("Your attempt is counted."),
    ),
    Cause.QUALIFY: lambda say: Words(
        heading=say("Qualify this lead?"),
        means=say("You say that it is an SQL. Nothing more is asked of you by a clock."),
        button=say("Qualify"),
        done=say("The lead is qualified."),
    ),
    Cause.RESUME: lambda say: Words(
        heading=say("Resume this lead?"),
        means=say("The clocks run on with the time that they had left."),
        button=say("Resume"),
        done=say("The clocks run again."),
    ),
    Cause.REJECT: lambda say: Words(
        heading=say("Reject this lead?"),
        means=say("It is not what was agreed, and goes back to Marketing before any contact."),
        button=say("Reject"),
        done=say("The lead is back with Marketing."),
    ),
    Cause.RETURN: lambda say: Words(
        heading=say("Return this lead?"),
        means=say("You tried, and it is not the time. It goes back to Marketing, into the track that fits the reason."),
        button=say("Return"),
        done=say("The lead is back with Marketing."),
    ),
    Cause.DISQUALIFY: lambda say: Words(
        heading=say("Disqualify this lead?"),
        means=say("It is out for good, for Sales and for Marketing."),
        button=say("Disqualify"),
        done=say("The lead is disqualified."),
    ),
}


def words(command: Cause, language: Language) -> Words:
    """Of one of the commands that have links."""
    return _WORDS[command](language.say)


def state(lead: Lead, language: Language) -> str:
    """Where it stands, in the middle of a sentence."""
    said = {
        State.MARKETING: language.say("with Marketing"),
        State.HANDED_OFF: language.say("handed to Sales, not yet accepted"),
        State.ACCEPTED: language.say("accepted by Sales"),
        State.WORKING: language.say("being followed up"),
        State.QUALIFIED: language.say("qualified"),
        State.OPPORTUNITY: language.say("an opportunity"),
        State.CUSTOMER: language.say("a customer"),
        State.LOST: language.say("lost"),
        State.RETURNED: language.say("back with Marketing"),
        State.DISQUALIFIED: language.say("disqualified"),
    }[lead.state]
    return language.say("{state} and paused", state=said) if lead.pause else said


def ours(language: Language) -> Mapping[str, str]:
    """Outcomes and channels, as people say them."""
    return {
        Outcome.NO_ANSWER: language.say("No answer"),
        Outcome.VOICEMAIL: language.say("Left a voicemail"),
        Outcome.LIVE_MESSAGE: language.say("Left a message with somebody"),
        Outcome.BUSY: language.say("Busy"),
        Outcome.CONNECTED: language.say("Connected"),
        Outcome.BOOKED: language.say("Meeting booked"),
        Outcome.SENT: language.say("Message sent"),
        Outcome.REPLIED: language.say("They replied"),
        Outcome.HELD: language.say("Meeting held"),
        Outcome.NO_SHOW: language.say("They did not come"),
        Outcome.WRONG_NUMBER: language.say("Wrong number"),
        Outcome.BOUNCED: language.say("Bounced"),
        Channel.PHONE: language.say("Phone"),
        Channel.EMAIL: language.say("Email"),
        Channel.VIDEO: language.say("Video"),
        Channel.MEETING: language.say("Meeting"),
        Channel.SMS: "SMS",
        Channel.WHATSAPP: "WhatsApp",
        Channel.LINKEDIN: "LinkedIn",
        Channel.OTHER: language.say("Other"),
    }


def page(heading: str, *parts: str, language: Language) -> str:
    """A whole page; `parts` are HTML already."""
    body = "\n".join([f"<h1>{escape(heading)}</h1>", *parts])
    return f"""<!doctype html>
<html lang="{language.code}">
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


def choice(name: str, label: str, values: Sequence[str], said: Mapping[str, str]) -> str:
    """One of `values`, which has to be chosen; `said`: those of them that are ours, in words."""
    options = [
        f'<label class="choice"><input type="radio" name="{escape(name)}" value="{escape(value)}" required>'
        f"{escape(in_words(value, said))}</label>"
        for value in values
    ]
    return f"<fieldset><legend>{escape(label)}</legend>{''.join(options)}</fieldset>"


def menu(name: str, label: str, values: Sequence[str], chosen: str, said: Mapping[str, str]) -> str:
    """One of `values`, of which `chosen` is likely."""
    options = [
        f'<option value="{escape(value)}"{_selected(value == chosen)}>{escape(in_words(value, said))}</option>'
        for value in values
    ]
    opening = f'<label class="label" for="{escape(name)}">{escape(label)}</label>'
    return f'{opening}<select id="{escape(name)}" name="{escape(name)}">{"".join(options)}</select>'


def _selected(chosen: bool) -> str:
    return " selected" if chosen else ""


def in_words(value: str, said: Mapping[str, str]) -> str:
    """`no_budget` as people say it."""
    return said.get(value, sentence(value.replace("_", " ").replace("-", " ")))


def to_find_out(unknown: Iterable[ToFindOut], language: Language) -> str:
    """A list of what to ask for, and what depends on it: "Right size: 25 points (numberofemployees)"."""
    said = (f"{one.rule}: {_at_stake(one, language)} ({', '.join(one.properties)})" for one in unknown)
    items = "".join(f"<li>{escape(one)}</li>" for one in said)
    return f'<div class="label">{escape(language.say("To find out"))}</div><ul>{items}</ul>' if items else ""


def _at_stake(one: ToFindOut, language: Language) -> str:
    rules_out = language.say("may rule it out: {reason}", reason=one.disqualify) if one.disqualify else ""
    return ", ".join(filter(None, (at_stake(one.points, language), rules_out)))


def sentence(text: str) -> str:
    """With a capital at its beginning."""
    return text[:1].upper() + text[1:]


def moment(at: datetime | None, timezone: str, language: Language) -> str:
    """A time on a wall there."""
    return f"{language.moment(at.astimezone(ZoneInfo(timezone)), DAY_AND_TIME)} ({timezone})" if at else ""
