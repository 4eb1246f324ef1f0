"""What events of others say, by declared rules: which event it is, whose it is, and what fact it makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import NoneType
from typing import Any, Final

import msgspec

from services.ingest.domain import visitors
from services.ingest.domain.heard import (
    ACCEPTED,
    EARLIEST_MS,
    IGNORED,
    LATEST_MS,
    REJECTED,
    Normalised,
    dead,
    elements,
    fault_of,
)
from shared.errors import Refused
from shared.events import (
    ActivityLogged,
    Channel,
    ContactChanged,
    Direction,
    Message,
    Outcome,
    PropertyValue,
    identity,
)

SOURCE: Final = "webhooks/events"
MAX_TEXT: Final = 65_536
MILLISECONDS_FROM: Final = 100_000_000_000  # a number above is milliseconds since 1970, below it is seconds
NOTHING: Final = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """Where something stands in an event (`path`, from `said`), or the very text when there is no path."""

    said: str
    path: tuple[str | int, ...] | None = None

    def of(self, event: Any) -> str:
        """The text there; "" when there is nothing. Raises Refused (`bad_event`) for what is no plain value."""
        found = self.said if self.path is None else _found(event, self.path)
        if found is None or found is msgspec.UNSET:
            return NOTHING
        if isinstance(found, bool):
            return "true" if found else "false"
        if not isinstance(found, str | int | float):
            raise Refused("bad_event", f"what stands at {self.said} is no plain value")
        return str(found)[:MAX_TEXT]

    def is_told(self, event: Any) -> bool:
        """Whether the event says anything of it, if only that it is null."""
        return self.path is None or _found(event, self.path) is not msgspec.UNSET


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """The parts of a contact attempt or an answer to one."""

    channel: Value
    direction: Value
    outcome: Value
    by: Value | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Which events it is about (all of `when` hold), and the one fact that they make."""

    name: str
    when: Mapping[Value, str]
    id: Value | None = None
    at: Value | None = None
    contact: Value | None = None
    email: Value | None = None
    form: Value | None = None
    visit: Value | None = None
    properties: Mapping[str, Value] = field(default_factory=dict)
    activity: Activity | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """An event to which a rule applies."""

    event: Any
    tenant: str
    at: datetime
    fact: str


def normalise(body: bytes, *, rules: Sequence[Rule], tenant: str, received_at: datetime) -> Normalised:
    """The messages in a body: an event, or an array of them; each bad one is a dead letter.

    Raises Refused: `malformed`, `too_many`, `event_too_large`.
    """
    found = Normalised()
    for original in elements(body):
        try:
            messages, fault = _messages_of(original, rules, tenant, received_at), ""
        except Refused as error:
            messages, fault = [], error.message
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            messages, fault = [], fault_of(error)
        if fault:
            messages = [dead(SOURCE, original, fault, received_at=received_at, tenant=tenant)]
        found.messages.extend(messages)
        found.outcomes[REJECTED if fault else ACCEPTED if messages else IGNORED] += 1
    return found


def _messages_of(original: bytes, rules: Sequence[Rule], tenant: str, received_at: datetime) -> list[Message]:
    """By the first rule that is about it; nothing when none is. Raises Refused (`bad_event`)."""
    event = msgspec.json.decode(original)
    for rule in rules:
        if all(_is(event, where, said) for where, said in rule.when.items()):
            return _by(rule, event, original, tenant, received_at)
    return []


def _is(event: Any, where: Value, said: str) -> bool:
    found = None if where.path is None else _found(event, where.path)
    return not isinstance(found, NoneType | msgspec.UnsetType | dict | list) and where.of(event) == said


def _by(rule: Rule, event: Any, original: bytes, tenant: str, received_at: datetime) -> list[Message]:
    try:
        id_ = _text(rule.id, event, "id") if rule.id else original
        fact = identity("event", tenant, rule.name, id_)
        return _facts(rule, _Told(event=event, tenant=tenant, at=_at(rule, event) or received_at, fact=fact))
    except Refused as error:
        raise Refused("bad_event", f"{rule.name}: {error.message}") from error


def _facts(rule: Rule, told: _Told) -> list[Message]:
    if rule.form or rule.visit:
        form = _text(rule.form, told.event, "form") if rule.form else ""
        page = rule.visit.of(told.event) if rule.visit else ""
        act = visitors.Act(told.at.timestamp(), told.fact, form, page)
        if not (form or page):
            raise Refused("bad_event", "visit: there is nothing there")
        return _act(rule, told, act)
    lead = _lead(rule, told)
    return _changed(rule, told, lead) if rule.activity is None else [_activity(rule.activity, told, lead)]


def _act(rule: Rule, told: _Told, act: visitors.Act) -> list[Message]:
    """Of the contact that is named, or of whoever has the email."""
    if rule.contact:
        return [visitors.told(act, _lead(rule, told))]
    email = visitors.email_of(_text(rule.email, told.event, "email"))
    if not email:
        raise Refused("bad_event", "email: what stands there is no email")
    visitor = visitors.by_email(told.tenant, email)
    return [visitors.seen(visitor, act, told.at), visitors.is_(visitor, told.at, told.fact, email=email)]


def _changed(rule: Rule, told: _Told, lead: str) -> list[Message]:
    """Of the properties that the event speaks of: null or empty clears one, what does not stand there stays."""
    values = tuple(
        PropertyValue(name=name, value=value.of(told.event), at=told.at)
        for name, value in rule.properties.items()
        if value.is_told(told.event)
    )
    fact = identity("ContactChanged", lead, told.fact)
    return [ContactChanged(id=fact, tenant=told.tenant, lead=lead, at=told.at, values=values)] if values else []


def _activity(said: Activity, told: _Told, lead: str) -> ActivityLogged:
    try:
        channel, direction = Channel(said.channel.of(told.event)), Direction(said.direction.of(told.event))
        outcome = Outcome(said.outcome.of(told.event))
    except ValueError as error:
        raise Refused("bad_event", "activity: a channel, direction or outcome that Leadpact does not know") from error
    return ActivityLogged(
        id=identity("ActivityLogged", lead, told.fact),
        tenant=told.tenant,
        lead=lead,
        at=told.at,
        activity=f"event:{told.fact}",
        channel=channel,
        direction=direction,
        outcome=outcome,
        by=said.by.of(told.event) if said.by else "",
        seen_at=told.at,
    )


def _lead(rule: Rule, told: _Told) -> str:
    contact = _text(rule.contact, told.event, "contact")
    if not (contact.isascii() and contact.isdigit()):
        raise Refused("bad_event", "contact: what stands there is no number of a contact")
    return f"{told.tenant}:{contact}"


def _text(value: Value | None, event: Any, name: str) -> str:
    """What must be there."""
    if value is None or not (found := value.of(event)):
        raise Refused("bad_event", f"{name}: there is nothing at {value.said if value else name}")
    return found


def _at(rule: Rule, event: Any) -> datetime | None:
    """ISO 8601, or seconds or milliseconds since 1970."""
    if rule.at is None:
        return None
    text = _text(rule.at, event, "at")
    try:
        if text.isascii() and text.replace(".", "", 1).isdigit():
            number = float(text)
            found = datetime.fromtimestamp(number / (1000 if number >= MILLISECONDS_FROM else 1), UTC)
        else:
            found = datetime.fromisoformat(text)
            found = (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise Refused("bad_event", f"at: what stands at {rule.at.said} is no time") from error
    if not EARLIEST_MS <= found.timestamp() * 1000 < LATEST_MS:
        raise Refused("bad_event", f"at: the time at {rule.at.said} is out of range")
    return found


def _found(event: Any, path: tuple[str | int, ...]) -> Any:
    """What stands there; UNSET: nothing does."""
    for part in path:
        if isinstance(part, int):
            event = event[part] if isinstance(event, list) and part < len(event) else msgspec.UNSET
        else:
            event = event.get(part, msgspec.UNSET) if isinstance(event, dict) else msgspec.UNSET
    return event
