"""What hand-off needs to know beyond what every service does."""

from __future__ import annotations

import base64
import binascii
import dataclasses

from shared.errors import WrongSetting
from shared.settings import Settings, setting, url

PREFIX = "whsec_"


def webhook_secret(text: str) -> str:
    """A secret of Standard Webhooks."""
    try:
        raw = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if not text.startswith(PREFIX) or len(raw) < 24:
        raise ValueError("must be whsec_ and at least 24 bytes in base64")
    return text


@dataclasses.dataclass(frozen=True, kw_only=True)
class HandoffSettings(Settings):
    """Where notifications go. Without an address there is nobody to tell, and none are kept."""

    notify_url: str = setting("LEADPACT_NOTIFY_URL", url, default="", doc="who is told of hand-offs and breaches")
    notify_secret: str = setting(
        "LEADPACT_NOTIFY_SECRET",
        webhook_secret,
        default="",
        doc="signs notifications: whsec_ and at least 24 bytes in base64 (Standard Webhooks)",
        secret=True,
    )

    def __post_init__(self) -> None:
        if self.notify_url and not self.notify_secret:
            raise WrongSetting("LEADPACT_NOTIFY_SECRET", "is needed where LEADPACT_NOTIFY_URL is set")
