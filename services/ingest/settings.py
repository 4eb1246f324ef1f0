"""What ingest needs to know beyond what every service does."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

from services.ingest.domain.keys import standard_key
from services.ingest.mapping import Declared
from services.ingest.noise import Ours
from shared.calendars import SECONDS, Span
from shared.crm.hubspot import Signature
from shared.errors import WrongSetting
from shared.settings import Settings, boolean, integer, public_url, setting, url, words

MEBIBYTE = 1024 * 1024
MIN_KEY_BYTES = 16
SHORTEST = timedelta(hours=1)
NEVER = Span(amount=0, unit="h")


def interval(text: str) -> Span:
    """A duration of an hour or more, or off, which is none."""
    span = NEVER if text.lower() == "off" else Span.parse(text)
    if span and elapsed(span) < SHORTEST:
        raise ValueError("must be 1h or more, as 1d, or off")
    return span


def elapsed(span: Span) -> timedelta:
    """As time goes by: a day has 24 hours."""
    return timedelta(seconds=span.amount * SECONDS[span.unit])


def signatures(text: str) -> tuple[Signature, ...]:
    """Versions of the signature, the strongest first."""
    named = words(text.lower())
    if not named or (strange := set(named) - {str(one) for one in Signature}):
        raise ValueError(f"must be some of {', '.join(Signature)}" + (f", not {strange}" if named else ""))
    return tuple(one for one in Signature if str(one) in named)


def by_portal(text: str) -> tuple[tuple[int | None, str], ...]:
    """Secrets or tokens with the portal that each is for (None: any), parted by commas."""
    found: list[tuple[int | None, str]] = []
    for n, entry in enumerate(words(text), start=1):
        portal, equals, secret = entry.partition("=")
        if equals and not (portal.isdigit() and secret):
            raise ValueError(f"entry {n} must be the value alone, or portal=value with the portal's number")
        found.append((int(portal), secret) if equals else (None, entry))
    return tuple(found)


def of_portal(text: str) -> tuple[tuple[int, str], ...]:
    """Secrets with the portal that each is for, parted by commas."""
    found = [(portal, secret) for portal, secret in by_portal(text) if portal is not None]
    if len(found) < len(words(text)):
        raise ValueError("each must be portal=secret, with the portal's number")
    return tuple(found)


def standard_secrets(text: str) -> tuple[tuple[int, str], ...]:
    """Secrets of Standard Webhooks, with the portal that each is for."""
    found = of_portal(text)
    for n, (_, secret) in enumerate(found, start=1):
        if len(standard_key(secret)) < MIN_KEY_BYTES:
            raise ValueError(f"entry {n} must be portal=whsec_ and base64 of {MIN_KEY_BYTES} bytes or more")
    return found


@dataclasses.dataclass(frozen=True, kw_only=True)
class EventsSettings(Settings):
    """What the events of others mean: also asked where dead letters are replayed."""

    events: Declared = setting(
        "LEADPACT_EVENTS",
        Declared.read,
        default=Declared(),
        doc="a file that says what the events of others mean that are posted to /webhooks/events",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class IngestSettings(EventsSettings):
    """Who may knock, how much the door takes, and how the CRM is asked."""

    secrets: tuple[tuple[int | None, str], ...] = setting(
        "LEADPACT_HUBSPOT_SECRETS",
        by_portal,
        doc="client secrets of the HubSpot app, parted by commas; portal=secret for one portal alone",
        secret=True,
    )
    signatures: tuple[Signature, ...] = setting(
        "LEADPACT_HUBSPOT_SIGNATURES",
        signatures,
        default=(Signature.V3,),
        doc="which versions of HubSpot's signature let a request in: v3, v2, v1",
    )
    program_secrets: tuple[tuple[int, str], ...] = setting(
        "LEADPACT_PROGRAM_SECRETS",
        standard_secrets,
        default=(),
        doc="let programs in that post form submissions and events, signed by Standard Webhooks:"
        " portal=whsec_..., parted by commas; empty: nobody",
        secret=True,
    )
    segment_keys: tuple[tuple[int, str], ...] = setting(
        "LEADPACT_SEGMENT_KEYS",
        of_portal,
        default=(),
        doc="let Segment's calls in: portal=write key, or the shared secret of a webhook destination, parted by commas;"
        " empty: nobody",
        secret=True,
    )
    visits_ignored: Ours = setting(
        "LEADPACT_VISITS_IGNORED",
        lambda text: Ours.parse(words(text)),
        default=Ours(),
        doc="networks and hosts whose visits are our own, as 203.0.113.0/24, staging.example.com",
    )
    visitor_days: int = setting(
        "LEADPACT_VISITOR_DAYS",
        integer(1, 400),
        default=30,
        doc="for so many days what a visitor did is kept when nothing more is heard of them",
    )
    public_url: str = public_url()
    trust_proxy: bool = setting(
        "LEADPACT_TRUST_PROXY",
        boolean,
        default=False,
        doc="believe X-Forwarded-Proto and X-Forwarded-Host; only behind a proxy that sets them itself",
    )
    max_body: int = setting(
        "LEADPACT_MAX_BODY",
        integer(1024, 64 * MEBIBYTE),
        default=5 * MEBIBYTE,
        doc="bytes of a webhook's body at most",
    )
    spool_limit: int = setting(
        "LEADPACT_SPOOL_LIMIT",
        integer(0, 1024 * 1024 * MEBIBYTE),
        default=1024 * MEBIBYTE,
        doc="bytes that the spool in LEADPACT_DATA may hold while the bus is away; 0: no spool",
    )
    api: str = setting("LEADPACT_HUBSPOT_API", url, default="https://api.hubapi.com", doc="where the CRM's API answers")
    tokens: tuple[tuple[int | None, str], ...] = setting(
        "LEADPACT_HUBSPOT_TOKEN",
        by_portal,
        default=(),
        doc="of a HubSpot private app: what webhooks only hint at is looked up with it; empty: it is not;"
        " with several portals portal=token for each, parted by commas",
        secret=True,
    )
    own_apps: tuple[str, ...] = setting(
        "LEADPACT_HUBSPOT_APPS",
        words,
        default=(),
        doc="ids of further HubSpot apps that write for Leadpact, parted by commas: what they set is not news",
    )
    rate: int = setting(
        "LEADPACT_HUBSPOT_RATE",
        integer(3, 10_000),
        default=100,
        doc="requests to the CRM's API in ten seconds at most; half of them for imports and to reconcile",
    )

    reconcile_every: Span = setting(
        "LEADPACT_RECONCILE_EVERY",
        interval,
        default=Span(amount=1, unit="d"),
        doc="how often the CRM is asked what changed, for what webhooks missed, as 1d or 6h; off: never",
    )

    @property
    def reconcile_rate(self) -> int:
        """Requests in ten seconds to ask what changed."""
        return max(1, self.rate // 10)

    @property
    def imports_rate(self) -> int:
        """Requests in ten seconds to look up what comes in bulk: half of all, with those to ask what changed."""
        return max(1, self.rate // 2 - self.reconcile_rate)

    @property
    def lookups_rate(self) -> int:
        """Requests in ten seconds to look up what somebody waits for: the rest."""
        return self.rate - self.imports_rate - self.reconcile_rate

    def __post_init__(self) -> None:
        portals = {portal for portal, _ in self.secrets if portal is not None}
        if len(portals) > 1 and any(portal is None for portal, _ in self.tokens):
            why = "must be portal=token for each portal: record ids mean another person in another portal"
            raise WrongSetting("LEADPACT_HUBSPOT_TOKEN", why)
