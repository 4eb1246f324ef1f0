"""What a lead did that may show interest, in one form, whoever told it.

What is told of an act in two ways is one act: a form or a visit by two doors, an email's click by a webhook
and by a look-up. All of it goes by what is known, so the order in which it came does not matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set
from datetime import UTC, datetime
from math import inf
from typing import Final, NamedTuple

from services.scoring.domain.lead import Change, Engagement, Lead, Value, seconds, submissions, visits
from shared.agreement.qualification import TOLD_BY
from shared.events import ActivityLogged, Channel, Direction, Outcome

FORM, PAGE, CHANGE = "form_submitted", "page_visited", "property_changed"
REPLIED, BOOKED, HELD = "email_replied", "meeting_booked", "meeting_held"
SAME_EMAIL_S: Final = 60.0  # opened, clicked or answered again within that is told twice, or clicked twice
EARLIEST_S, LATEST_S = 946_684_800.0, 4_102_444_800.0  # from 2000 to 2100
_MEETINGS: Final = {Outcome.BOOKED: BOOKED, Outcome.HELD: HELD}


class Did(NamedTuple):
    """An act: `what` it was about and `where`: a form and its page, a property and its value; else "".

    `id` is of the message that told it, "" when that is not known any more. PERSONAL: where.
    """

    at: float
    id: str
    on: str
    what: str = ""
    where: str = ""


def engagement(message: ActivityLogged) -> Engagement | None:
    """What the lead did by an email or a meeting, as of now; None: it is Sales' act and never the lead's.

    Raises Refused for a time without a zone.
    """
    if message.channel is Channel.MEETING:
        on = _MEETINGS.get(message.outcome, "")
    elif (message.channel, message.direction) == (Channel.EMAIL, Direction.INBOUND):
        on = REPLIED
    else:
        return None
    return Engagement(seconds(message.seen_at), message.activity, on, seconds(message.at), message.id)


def acts_of(lead: Lead, followed: Set[str]) -> Iterator[Did]:
    """All that the lead did; of `followed` properties every change, of others none."""
    for act in submissions(lead):
        yield Did(act.at, act.id, FORM, act.form, act.page)
    for act in visits(lead):
        yield Did(act.at, act.id, PAGE, act.page)
    known = [name for name in followed if name in lead.properties or name in lead.changes]
    if known or lead.engagements:
        yield from _told_by_the_crm(lead, known)


def _told_by_the_crm(lead: Lead, followed: Sequence[str]) -> Iterator[Did]:
    changes = {name: _changes(lead, name) for name in sorted(followed)}
    emails: dict[str, list[Did]] = {on: [] for on in TOLD_BY}
    for on, names in TOLD_BY.items():
        told = (change for name in names for change in changes.get(name, ()))
        emails[on] += (Did(_moment(change.value) or change.at, change.id, on) for change in told)
    for one in lead.engagements:
        if one.on == REPLIED:
            emails[REPLIED].append(Did(one.at, one.id, REPLIED))
        elif one.on:
            yield from _meeting(one)
    for acts in emails.values():
        yield from _once(acts)
    for name, its in changes.items():
        yield from (Did(change.at, change.id, CHANGE, name, change.value) for change in its)


def _meeting(one: Engagement) -> Iterator[Did]:
    """Whoever came to a meeting had booked it."""
    yield Did(one.at, one.id, BOOKED)
    if one.on == HELD:
        yield Did(one.at, one.id, HELD)


def _once(acts: list[Did]) -> Iterator[Did]:
    """Of what follows within a minute the first."""
    last = -inf
    for act in sorted(acts):
        if act.at - last >= SAME_EMAIL_S:
            last = act.at
            yield act


def _changes(lead: Lead, name: str) -> Iterable[Change]:
    """Every known change to something else than it was before. What it was cleared to is none.

    The newest value is known also of a property that nobody followed when it was set.
    """
    known, newest = lead.changes.get(name, ()), lead.properties.get(name)
    if newest is not None and (not known or newest > Value(known[-1].at, known[-1].value)):
        known = (*known, Change(newest.at, newest.value, ""))
    before = ""
    for change in known:
        if change.value and not _same(change.value, before):
            yield change
        before = change.value


def _same(value: str, other: str) -> bool:
    """HubSpot writes one moment in two ways."""
    return value == other or (_moment(value) is not None and _moment(value) == _moment(other))


def _moment(text: str) -> float | None:
    """HubSpot's webhooks write a time as milliseconds since 1970, its API as ISO 8601; None for what is no time."""
    try:
        if text.isdecimal():
            found = int(text) / 1000
        else:
            at = datetime.fromisoformat(text)
            found = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
    return found if EARLIEST_S <= found < LATEST_S else None
