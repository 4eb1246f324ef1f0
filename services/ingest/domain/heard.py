"""What every door makes of a body: messages, dead letters, and a count of what became of its events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import msgspec

from shared.crm.hubspot import pieces
from shared.errors import Refused
from shared.events import DeadLetter, Message, identity

EARLIEST_MS: Final = 946_684_800_000  # 2000-01-01
LATEST_MS: Final = 4_102_444_800_000  # 2100-01-01
MAX_EVENT_BYTES: Final = 400_000  # of one event; HubSpot's longest value has 65,536 characters
MAX_EVENTS: Final = 1_000  # of one body
_raw: Final = msgspec.json.Decoder(msgspec.Raw)

ACCEPTED, IGNORED, TEST, REJECTED = "accepted", "ignored", "test", "rejected"
BOT, NOISE, OWN = "bot", "noise", "own"
OUTCOMES: Final = (ACCEPTED, IGNORED, TEST, REJECTED, BOT, NOISE, OWN)


@dataclass(frozen=True, kw_only=True)
class Normalised:
    """A body in our words. `outcomes` counts its events: accepted, rejected, and those that mean nothing.

    That is: ignored (of no use to us), test, bot, noise, own (what we wrote ourselves).
    """

    messages: list[Message] = field(default_factory=list)
    portals: set[int] = field(default_factory=set)
    outcomes: Counter[str] = field(default_factory=Counter)

    @property
    def rejected(self) -> int:
        return self.outcomes[REJECTED]

    @property
    def accepted(self) -> int:
        """All that was understood, also what is of no use to us."""
        return self.outcomes.total() - self.rejected


def dead(source: str, original: bytes, fault: str, *, received_at: datetime, tenant: str = "") -> DeadLetter:
    """What cannot be used, whole; `original` is, for the door it came by, a body with nothing else in it."""
    return DeadLetter(
        id=identity("dead", source, original.hex()),
        tenant=tenant,
        at=received_at,
        service="ingest",
        source=source,
        reason="bad_event",
        detail=fault,
        original=original,
    )


def fault_of(error: Exception) -> str:
    """Why something could not be decoded; msgspec's messages name the path and the expected type, never the value."""
    return str(error) if isinstance(error, msgspec.ValidationError) else type(error).__name__


def elements(body: bytes) -> list[bytes]:
    """The bytes of each element of a JSON array, or of the one object that the body is.

    Raises Refused: `malformed` for what is neither, `too_many`, `event_too_large`.
    """
    try:
        alone = body.lstrip()[:1] == b"{"
        found = [bytes(_raw.decode(body))] if alone else pieces(body)
    except (ValueError, RecursionError) as error:
        raise Refused("malformed", "the body is neither a JSON object nor an array of them") from error
    check_sizes(found)
    return found


def check_sizes(found: Sequence[bytes]) -> None:
    """Raises Refused: `too_many`, `event_too_large`."""
    if len(found) > MAX_EVENTS:
        raise Refused("too_many", f"there are more than {MAX_EVENTS} events in the body")
    if any(len(one) > MAX_EVENT_BYTES for one in found):
        raise Refused("event_too_large", f"an event is larger than {MAX_EVENT_BYTES} bytes")
