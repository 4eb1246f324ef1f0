"""What Segment's calls say: `page` is a visit, `identify` tells who the visitor is, `track` a form; others are ignored.

Sources: Segment's specification of the common fields and of these calls, and of its HTTP API. A call
comes by itself, in a `batch`, or in an array, as Segment's webhook destination sends several.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Final, Protocol

import msgspec

from services.ingest.domain import visitors
from services.ingest.domain.heard import (
    ACCEPTED,
    EARLIEST_MS,
    IGNORED,
    LATEST_MS,
    REJECTED,
    Normalised,
    check_sizes,
    dead,
    elements,
    fault_of,
)
from shared.errors import Refused
from shared.events import Message, VisitorMessage, identity

SOURCE: Final = "webhooks/segment"
MAX_ID: Final = 500
MAX_FORM: Final = 300
# The name of the event that libraries and tag managers give a form, and where they put the form's own name.
FORM_EVENTS: Final = frozenset({"form submitted", "form_submitted", "form submit", "form_submit"})
FORM_NAMES: Final = ("form_name", "formName", "form", "name", "form_id", "formId")
_EARLIEST: Final = datetime.fromtimestamp(EARLIEST_MS / 1000, UTC)
_LATEST: Final = datetime.fromtimestamp(LATEST_MS / 1000, UTC)


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """The page on which a call was made."""

    url: str | None = None


class Context(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Where a call comes from, as far as Leadpact asks. PERSONAL: ip."""

    page: Page | None = None
    user_agent: str | None = None
    ip: str | None = None


class Call(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One call. PERSONAL: user_id, traits, properties."""

    type: str
    message_id: str | None = None
    anonymous_id: str | None = None
    user_id: str | int | None = None
    timestamp: str | None = None
    sent_at: str | None = None
    original_timestamp: str | None = None  # only said by Segment itself, which has corrected `timestamp` by then
    received_at: str | None = None
    context: Context | None = None
    traits: Mapping[str, Any] | None = None
    properties: Mapping[str, Any] | None = None
    event: str | None = None


class _Batch(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    batch: list[msgspec.Raw] | None = None
    sent_at: str | None = None


class Noise(Protocol):
    """Says of a visit what makes it noise: an outcome, "" when nothing does."""

    def __call__(self, *, user_agent: str, ip: str, url: str, visitor: str, at: datetime) -> str: ...


def nothing_is_noise(*, user_agent: str, ip: str, url: str, visitor: str, at: datetime) -> str:
    """For calls that were let in before."""
    return ""


_batch: Final = msgspec.json.Decoder(_Batch)
_piece: Final = msgspec.json.Decoder(Call)


@dataclass(frozen=True, kw_only=True)
class _Came:
    """A call as it came: its own bytes, when its batch was sent by the sender's clock, and when it arrived."""

    tenant: str
    original: bytes
    batch_sent_at: str | None
    received_at: datetime


def normalise(body: bytes, *, tenant: str, received_at: datetime, noise: Noise = nothing_is_noise) -> Normalised:
    """The messages in a body without what is noise; each bad call is a dead letter.

    Raises Refused: `malformed`, `too_many`, `event_too_large`.
    """
    found = Normalised()
    originals, sent_at = _calls(body)
    for original in originals:
        came = _Came(tenant=tenant, original=original, batch_sent_at=sent_at, received_at=received_at)
        messages, outcome = _heard(came, noise)
        found.messages.extend(messages)
        found.outcomes[outcome] += 1
    return found


def _heard(came: _Came, noise: Noise) -> tuple[Sequence[Message], str]:
    """What a call says, and what became of it."""
    try:
        call = _piece.decode(came.original)
        messages = _messages_of(call, came)
    except Refused as error:
        fault = error.message
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        fault = fault_of(error)
    else:
        if not messages:
            return (), IGNORED
        outcome = _noise(call, messages[0], noise)
        return (() if outcome else messages), outcome or ACCEPTED
    return (dead(SOURCE, _alone(came), fault, received_at=came.received_at, tenant=came.tenant),), REJECTED


def _noise(call: Call, first: VisitorMessage, noise: Noise) -> str:
    context = call.context or Context()
    agent, ip = context.user_agent or "", context.ip or ""
    return noise(user_agent=agent, ip=ip, url=_url(call), visitor=first.visitor, at=first.at)


def _calls(body: bytes) -> tuple[list[bytes], str | None]:
    """The calls in a body, and when their batch was sent."""
    if body.lstrip()[:1] != b"{":
        return elements(body), None
    try:
        whole = _batch.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Refused("malformed", f"the body is no call and no batch: {fault_of(error)}") from error
    if whole.batch is None:
        return elements(body), None
    calls = [bytes(one) for one in whole.batch]
    check_sizes(calls)
    return calls, whole.sent_at


def _alone(came: _Came) -> bytes:
    """A body with this call and nothing else, that says as much of its time."""
    if came.batch_sent_at is None:
        return came.original
    return b'{"sentAt":%b,"batch":[%b]}' % (msgspec.json.encode(came.batch_sent_at), came.original)


def _messages_of(call: Call, came: _Came) -> list[VisitorMessage]:
    """Raises Refused (`bad_event`)."""
    if call.type not in ("identify", "page", "track"):
        return []
    if not (call.anonymous_id or _user_id(call)):
        raise Refused("bad_event", "neither anonymousId nor userId says whose it is")
    at = moment(call, batch_sent_at=came.batch_sent_at, received_at=came.received_at)
    cause = identity("segment", came.tenant, call.message_id or came.original)
    if call.type == "identify":
        return _identified(call, came.tenant, at, cause)
    return _seen(call, came.tenant, at, cause)


def _identified(call: Call, tenant: str, at: datetime, cause: str) -> list[VisitorMessage]:
    """Each key that they say of themselves is known as the next."""
    email = visitors.email_of((call.traits or {}).get("email")) or visitors.email_of(_user_id(call))
    keys = [*_keys(call, tenant), *([visitors.by_email(tenant, email)] if email else [])]
    links: list[VisitorMessage] = [visitors.is_(key, at, cause, known_as=known_as) for key, known_as in pairwise(keys)]
    return [*links, visitors.is_(keys[-1], at, cause, email=email)] if email else links


def _seen(call: Call, tenant: str, at: datetime, cause: str) -> list[VisitorMessage]:
    form = _form(call)[:MAX_FORM] if call.type == "track" else ""
    url = _url(call)[: visitors.MAX_URL]
    if not (form if call.type == "track" else url):
        return []
    act = visitors.Act(at.timestamp(), cause, form, url)
    return [visitors.seen(_keys(call, tenant)[-1], act, at)]


def _keys(call: Call, tenant: str) -> Sequence[str]:
    """The keys of their own that the call names, the one that says more last."""
    keys = [visitors.by_anonymous_id(tenant, call.anonymous_id[:MAX_ID])] if call.anonymous_id else []
    user = _user_id(call)
    return [*keys, visitors.by_user_id(tenant, user[:MAX_ID])] if user else keys


def _user_id(call: Call) -> str:
    return "" if call.user_id is None else str(call.user_id)


def _url(call: Call) -> str:
    said = (call.properties or {}).get("url") if call.type == "page" else None
    page = call.context.page if call.context else None
    return said if isinstance(said, str) and said else (page.url if page and page.url else "")


def _form(call: Call) -> str:
    """The form that was submitted; "" for any other event."""
    if (call.event or "").strip().lower() not in FORM_EVENTS:
        return ""
    said = call.properties or {}
    return next((str(said[name]) for name in FORM_NAMES if said.get(name)), "")


# --- when ---


def moment(call: Call, *, batch_sent_at: str | None, received_at: datetime) -> datetime:
    """When it happened by our clock: `timestamp`, less what the sender's clock was ahead when it sent.

    As Segment has it: receivedAt - (sentAt - timestamp). What Segment passed on it has corrected itself.
    Never later than it was received. Raises Refused (`bad_event`).
    """
    said = _time("timestamp", call.timestamp) or _time("originalTimestamp", call.original_timestamp)
    if said is None:
        return received_at
    sent = _time("sentAt", call.sent_at or batch_sent_at)
    corrected = call.original_timestamp is not None or call.received_at is not None
    if sent is not None and not corrected:
        said = received_at - max(sent - said, timedelta(0))
    if not _EARLIEST <= said < _LATEST:
        raise Refused("bad_event", "timestamp must be a time after 1999")
    return min(said, received_at)


def _time(name: str, text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise Refused("bad_event", f"{name} must be a time in ISO 8601") from error
