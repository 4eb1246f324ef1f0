"""What every door makes of a body: messages, dead letters, and a count of what became of its events."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import msgspec

from shared.events import DeadLetter, Message, identity

EARLIEST_MS: Final = 946_684_800_000  # 2000-01-01
LATEST_MS: Final = 4_102_444_800_000  # 2100-01-01
MAX_EVENT_BYTES: Final = 400_000  # of one event; HubSpot's longest value has 65,536 characters

ACCEPTED, IGNORED, TEST, REJECTED = "accepted", "ignored", "test", "rejected"
OUTCOMES: Final = (ACCEPTED, IGNORED, TEST, REJECTED)


@dataclass(frozen=True, kw_only=True)
class Normalised:
    """A body in our words. `outcomes` counts its events: accepted, ignored (of no use to us), test, rejected."""

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
