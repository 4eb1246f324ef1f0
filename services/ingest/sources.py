"""The doors, a row each: who may knock, and what is read from what they bring."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from services.ingest.domain import door, forms, segment
from services.ingest.domain.admission import Door, Knock, Secret
from services.ingest.domain.heard import Normalised
from services.ingest.domain.keys import Key, Segment, Standard
from services.ingest.settings import IngestSettings

HUBSPOT: Final = "/webhooks/hubspot"
FORMS: Final = "/webhooks/forms"
SEGMENT: Final = "/webhooks/segment"


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where webhooks come from. `name` is the metrics' label.

    `read` lets a request in that was received at a time, and says what is in it. Raises Refused.
    """

    name: str
    path: str
    read: Callable[[Knock, datetime], Normalised]


def sources(settings: IngestSettings) -> tuple[Source, ...]:
    """Every door with what the settings say of it."""
    hubspot = Door(
        secrets=[Secret(portal=portal, value=value) for portal, value in settings.secrets],
        signatures=settings.signatures,
        public_url=settings.public_url,
        trust_proxy=settings.trust_proxy,
    )
    programs = Standard(keys=_keys(settings.program_secrets))
    return (
        Source(name="hubspot", path=HUBSPOT, read=by_hubspot(hubspot)),
        Source(name="forms", path=FORMS, read=_by_program(programs, forms.normalise)),
        Source(name="segment", path=SEGMENT, read=_by_segment(Segment(keys=_keys(settings.segment_keys)))),
    )


def by_hubspot(hubspot: Door) -> Callable[[Knock, datetime], Normalised]:
    """Subscription events, signed by HubSpot."""

    def read(knock: Knock, now: datetime) -> Normalised:
        secret = hubspot.admit(knock, now_ms=_ms(now))
        found = door.normalise(knock.body, received_at=now)
        hubspot.check_portals(secret, found.portals)
        return found

    return read


def _by_program(programs: Standard, normalise: Callable[..., Normalised]) -> Callable[[Knock, datetime], Normalised]:
    def read(knock: Knock, now: datetime) -> Normalised:
        tenant = programs.admit(knock, now_s=now.timestamp())
        return normalise(knock.body, tenant=tenant, received_at=now)

    return read


def _by_segment(callers: Segment) -> Callable[[Knock, datetime], Normalised]:
    def read(knock: Knock, now: datetime) -> Normalised:
        return segment.normalise(knock.body, tenant=callers.admit(knock), received_at=now)

    return read


def _keys(settings: Iterable[tuple[int, str]]) -> list[Key]:
    return [Key(tenant=f"hubspot:{portal}", value=value) for portal, value in settings]


def _ms(now: datetime) -> int:
    return int(now.timestamp() * 1000)
