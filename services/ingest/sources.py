"""The doors, a row each: who may knock, and what is read from what they bring."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

from services.ingest.domain import door, forms, mapped, segment, workflow
from services.ingest.domain.admission import Door, Knock, Secret
from services.ingest.domain.heard import NOISE, Normalised
from services.ingest.domain.keys import Key, Segment, Standard
from services.ingest.noise import Noise, fetched_ahead
from services.ingest.settings import IngestSettings
from shared.crm.hubspot import Signature

HUBSPOT: Final = "/webhooks/hubspot"
WORKFLOW: Final = "/webhooks/hubspot/workflow"
FORMS: Final = "/webhooks/forms"
SEGMENT: Final = "/webhooks/segment"
EVENTS: Final = "/webhooks/events"
OF_WORKFLOWS: Final = (Signature.V3, Signature.V2)  # HubSpot signs what workflows post by v2, whatever the app uses


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where webhooks come from. `name` is the metrics' label.

    `read` lets a request in that was received at a time, and says what is in it. Raises Refused.
    """

    name: str
    path: str
    read: Callable[[Knock, datetime], Normalised]


def sources(
    settings: IngestSettings, *, properties: workflow.Wanted, of_companies: workflow.Wanted
) -> tuple[Source, ...]:
    """Every door with what the settings say of it. By tenant the properties that count there, of whom."""
    hubspot = Door(
        secrets=[Secret(portal=portal, value=value) for portal, value in settings.secrets],
        signatures=settings.signatures,
        public_url=settings.public_url,
        trust_proxy=settings.trust_proxy,
    )
    workflows = dataclasses.replace(hubspot, signatures=OF_WORKFLOWS)
    visits = Segment(keys=_keys(settings.segment_keys))
    declared = partial(mapped.normalise, rules=settings.events.rules)
    programs = Standard(keys=_keys(settings.program_secrets))
    rules = door.Rules(
        own_apps=frozenset(settings.own_apps),
        looked_up=_looked_up(settings),
        of_companies=lambda portal: of_companies(f"hubspot:{portal}"),
    )
    return (
        Source(name="hubspot", path=HUBSPOT, read=by_hubspot(hubspot, rules)),
        Source(name="workflow", path=WORKFLOW, read=_by_workflow(workflows, properties)),
        Source(name="forms", path=FORMS, read=_by_program(programs, forms.normalise)),
        Source(name="events", path=EVENTS, read=_by_program(programs, declared)),
        Source(name="segment", path=SEGMENT, read=_by_segment(visits, Noise(settings.visits_ignored))),
    )


def by_hubspot(hubspot: Door, rules: door.Rules) -> Callable[[Knock, datetime], Normalised]:
    """Subscription events, signed by HubSpot."""

    def read(knock: Knock, now: datetime) -> Normalised:
        secret = hubspot.admit(knock, now_ms=_ms(now))
        found = door.normalise(knock.body, received_at=now, rules=rules)
        hubspot.check_portals(secret, found.portals)
        return found

    return read


def _by_workflow(hubspot: Door, properties: workflow.Wanted) -> Callable[[Knock, datetime], Normalised]:
    def read(knock: Knock, now: datetime) -> Normalised:
        secret = hubspot.admit(knock, now_ms=_ms(now))
        found = workflow.normalise(knock.body, wanted=properties, received_at=now)
        hubspot.check_portals(secret, found.portals)
        return found

    return read


def _by_program(programs: Standard, normalise: Callable[..., Normalised]) -> Callable[[Knock, datetime], Normalised]:
    def read(knock: Knock, now: datetime) -> Normalised:
        tenant = programs.admit(knock, now_s=now.timestamp())
        return normalise(knock.body, tenant=tenant, received_at=now)

    return read


def _by_segment(callers: Segment, noise: Noise) -> Callable[[Knock, datetime], Normalised]:
    def read(knock: Knock, now: datetime) -> Normalised:
        judge = _all_noise if fetched_ahead(knock.headers) else noise
        return segment.normalise(knock.body, tenant=callers.admit(knock), received_at=now, noise=judge)

    return read


def _all_noise(*, user_agent: str, ip: str, url: str, visitor: str, at: datetime) -> str:
    return NOISE


def _looked_up(settings: IngestSettings) -> Callable[[int], bool]:
    """Whether there is a token for a portal."""
    portals = {portal for portal, _ in settings.tokens}
    return lambda portal: None in portals or portal in portals


def _keys(settings: Iterable[tuple[int, str]]) -> list[Key]:
    return [Key(tenant=f"hubspot:{portal}", value=value) for portal, value in settings]


def _ms(now: datetime) -> int:
    return int(now.timestamp() * 1000)
