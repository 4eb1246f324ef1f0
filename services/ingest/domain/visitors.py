"""Somebody whose contact is still to be found out: what they did waits here, and follows them once they are known.

A visitor goes by keys, each known as the next: anonymous id, user id, email, and at last the lead.
What they do is told to the first key; it goes on from key to key as each learns who it is. So it
does not matter which is heard first, what they did or who they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Final, NamedTuple

from shared.events import FormSubmitted, Message, PageVisited, VisitorIdentified, VisitorSeen, identity

MAX_ACTS: Final = 200  # of one visitor, the newest; scoring counts no more than that
MAX_URL: Final = 2_000
MAX_EMAIL: Final = 254
DAY_S: Final = 86_400
FIRST_AGAIN_S: Final = 10.0  # a form comes before the contact that it makes
LAST_AGAIN_S: Final = 6 * 3600.0
_MARK: Final = ":visitor:"
_is_email: Final = re.compile(r"[^\s@;,<>]+@[^\s@;,<>]+\.[^\s@;,<>]+").fullmatch


class Act(NamedTuple):
    """A form submitted (on a page) or a page seen. `id` is the same whoever turns out to have done it."""

    at: float
    id: str
    form: str
    page: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """One key of a visitor. PERSONAL: email, which is only kept while the CRM knows no contact of it."""

    key: str
    known_as: str = ""  # the next key, or the lead
    said_at: float = 0.0  # when that was said
    acts: tuple[Act, ...] = ()
    email: str = ""
    asked: int = 0
    ask_at: float | None = None
    heard: float = 0.0  # when we last heard of them, to the day where nothing else changes


def by_anonymous_id(tenant: str, said: str) -> str:
    return _key(tenant, "anonymous", said)


def by_user_id(tenant: str, said: str) -> str:
    return _key(tenant, "user", said)


def by_email(tenant: str, email: str) -> str:
    """`email` as `email_of` gives it."""
    return _key(tenant, "email", email)


def _key(tenant: str, kind: str, said: str) -> str:
    return f"{tenant}{_MARK}{identity(kind, said)}"


def is_visitor(key: str) -> bool:
    """Whether a key is a visitor's and no lead's or record's."""
    return _MARK in key


def tenant_of(visitor: str) -> str:
    return visitor.partition(_MARK)[0]


def email_of(said: object) -> str:
    """An email as the CRM compares it; "" for what is none."""
    if not isinstance(said, str):
        return ""
    email = said.strip().lower()
    return email if len(email) <= MAX_EMAIL and _is_email(email) else ""


# --- what happens to one ---


def saw(visitor: Visitor, act: Act, now: float) -> tuple[Visitor, tuple[Message, ...]]:
    """They did something: it goes on to whoever they are known as, or waits."""
    if visitor.known_as:
        return _heard_today(visitor, now), (told(act, visitor.known_as),)
    if any(known.id == act.id for known in visitor.acts):
        return visitor, ()
    acts = tuple(sorted((*visitor.acts, act))[-MAX_ACTS:])
    return replace(visitor, acts=acts, heard=now), ()


def identified(visitor: Visitor, as_: str, said_at: float, now: float) -> tuple[Visitor, tuple[Message, ...]]:
    """They are `as_`, a lead or another key: what waited goes there. Of two the one that was said last counts."""
    if visitor.known_as and said_at <= visitor.said_at:
        return _heard_today(visitor, now), ()
    known = Visitor(key=visitor.key, known_as=as_, said_at=said_at, heard=now)
    return known, tuple(told(act, as_) for act in visitor.acts)


def unknown(visitor: Visitor, email: str, asked: int, now: float) -> Visitor:
    """The CRM has no contact with their email yet: it is asked again, later and later."""
    if visitor.known_as or asked < visitor.asked:
        return visitor
    heard = visitor.heard if asked else now  # asking again is no sign of life
    again = min(FIRST_AGAIN_S * 2**asked, LAST_AGAIN_S)
    return replace(visitor, email=email, asked=asked, ask_at=now + again, heard=heard)


def asked_again(visitor: Visitor, now: float) -> tuple[Visitor, VisitorIdentified]:
    """The question, to go on the list once more; until it is answered no other one does."""
    asked = visitor.asked + 1
    question = VisitorIdentified(
        id=identity("VisitorIdentified", visitor.key, "again", asked, now),
        tenant=tenant_of(visitor.key),
        at=datetime.fromtimestamp(now, UTC),
        visitor=visitor.key,
        email=visitor.email,
        asked=asked,
    )
    return replace(visitor, asked=asked, ask_at=now + LAST_AGAIN_S), question


def _heard_today(visitor: Visitor, now: float) -> Visitor:
    """Written once a day, not at each page."""
    return visitor if now - visitor.heard < DAY_S else replace(visitor, heard=now)


def told(act: Act, to: str) -> Message:
    """What they did, for another key of theirs or for the lead."""
    at = datetime.fromtimestamp(act.at, UTC)
    if is_visitor(to):
        return seen(to, act, at)
    make: Callable[..., Message]
    if act.form:
        kind, make = "FormSubmitted", partial(FormSubmitted, form=act.form, page=act.page)
    else:
        kind, make = "PageVisited", partial(PageVisited, url=act.page)
    return make(id=identity(kind, to, act.id), tenant=to.rpartition(":")[0], lead=to, at=at)


def seen(visitor: str, act: Act, at: datetime) -> VisitorSeen:
    """The message that this visitor did that."""
    fact = identity("VisitorSeen", visitor, act.id)
    tenant = tenant_of(visitor)
    return VisitorSeen(id=fact, tenant=tenant, at=at, visitor=visitor, act=act.id, form=act.form, url=act.page)


def is_(visitor: str, at: datetime, cause: str, *, known_as: str = "", email: str = "") -> VisitorIdentified:
    """The message that this visitor is known as another, or has this email; `cause` is the identity of who said so."""
    fact = identity("VisitorIdentified", visitor, known_as, cause)
    return VisitorIdentified(id=fact, tenant=tenant_of(visitor), at=at, visitor=visitor, known_as=known_as, email=email)
