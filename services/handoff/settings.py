"""What hand-off needs to know beyond what every service does."""

from __future__ import annotations

import base64
import binascii
import dataclasses
from datetime import timedelta

from shared.errors import WrongSetting
from shared.settings import Settings, integer, public_url, setting, url, words

PREFIX = "whsec_"
SHORTEST_LINK_SECRET = 32  # characters
LONGEST_LINK_HOURS = 12 * 24  # shorter than the inbox remembers what was done


def webhook_secret(text: str) -> str:
    """A secret of Standard Webhooks."""
    try:
        raw = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if not text.startswith(PREFIX) or len(raw) < 24:
        raise ValueError("must be whsec_ and at least 24 bytes in base64")
    return text


def link_secrets(text: str) -> tuple[str, ...]:
    """The first signs links, all of them let one in."""
    found = words(text)
    if any(len(secret) < SHORTEST_LINK_SECRET for secret in found):
        raise ValueError(f"must be secrets of at least {SHORTEST_LINK_SECRET} characters, parted by commas")
    return found


@dataclasses.dataclass(frozen=True, kw_only=True)
class HandoffSettings(Settings):
    """Where notifications go, and which links are in them. Without an address nobody is told, and none are kept."""

    notify_url: str = setting("LEADPACT_NOTIFY_URL", url, default="", doc="who is told of hand-offs and breaches")
    notify_secret: str = setting(
        "LEADPACT_NOTIFY_SECRET",
        webhook_secret,
        default="",
        doc="signs notifications: whsec_ and at least 24 bytes in base64 (Standard Webhooks)",
        secret=True,
    )

    public_url: str = public_url()
    link_secrets: tuple[str, ...] = setting(
        "LEADPACT_LINK_SECRETS",
        link_secrets,
        default=(),
        doc="sign the one-click links in notifications: the first signs, all let in; empty: no links",
        secret=True,
    )
    link_hours: int = setting(
        "LEADPACT_LINK_HOURS",
        integer(1, LONGEST_LINK_HOURS),
        default=72,
        doc="how long a one-click link lives",
    )

    @property
    def link_life(self) -> timedelta:
        return timedelta(hours=self.link_hours)

    def __post_init__(self) -> None:
        if self.link_secrets and not self.public_url:
            raise WrongSetting("LEADPACT_PUBLIC_URL", "is needed where LEADPACT_LINK_SECRETS is set")
        if self.notify_url and not self.notify_secret:
            raise WrongSetting("LEADPACT_NOTIFY_SECRET", "is needed where LEADPACT_NOTIFY_URL is set")
