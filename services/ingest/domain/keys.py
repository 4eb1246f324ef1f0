"""Who is let in where HubSpot does not sign: programs, with a secret that is for one account."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from services.ingest.domain.admission import Knock, same
from shared.errors import Refused

MAX_AGE_S: Final = 5 * 60
STANDARD_PREFIX: Final = "whsec_"


@dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """A secret, and the account that it speaks for."""

    tenant: str
    value: str


@dataclass(frozen=True, kw_only=True)
class Standard:
    """Standard Webhooks: HMAC-SHA256 over id, time and body. Several secrets may hold at once."""

    keys: Sequence[Key]

    def admit(self, knock: Knock, *, now_s: float) -> str:
        """The account whose secret signed it. Raises Refused: `bad_signature`, `stale`."""
        said = [knock.headers.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature")]
        id_, stamp, signatures = said
        if not (id_ and signatures and stamp.isascii() and stamp.isdigit() and len(stamp) <= 12):
            raise Refused("bad_signature", "webhook-id, webhook-timestamp (seconds) and webhook-signature are needed")
        for key in self.keys:
            right = sign_standard(key.value, id_, int(stamp), knock.body)
            if any(same(one, right) for one in signatures.split(" ")):
                # Only now: who cannot sign learns nothing of our clock.
                if abs(now_s - int(stamp)) > MAX_AGE_S:
                    raise Refused("stale", "the request was signed more than 5 minutes ago, or in the future")
                return key.tenant
        raise Refused("bad_signature", "no secret made this signature for this id, time and body")


def sign_standard(secret: str, id_: str, at_s: int, body: bytes) -> str:
    """As https://www.standardwebhooks.com has it: v1, and base64 of the HMAC."""
    signed = b"%b.%d.%b" % (id_.encode("latin-1", "replace"), at_s, body)
    return "v1," + base64.b64encode(hmac.digest(standard_key(secret), signed, "sha256")).decode()


def standard_key(secret: str) -> bytes:
    """The key in a secret, which is base64 after whsec_. Raises ValueError."""
    text = secret.removeprefix(STANDARD_PREFIX)
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError("must be whsec_ and base64") from error


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A write key, as Segment's libraries send it, or the signature of Segment's webhook destination."""

    keys: Sequence[Key]

    def admit(self, knock: Knock) -> str:
        """The account whose key was used. Raises Refused (`bad_signature`).

        A signature must be over the whole body: the one that Segment makes over the first of several
        calls says nothing of the others.
        """
        signature, key = knock.headers.get("x-signature", "").lower(), _basic(knock.headers.get("authorization", ""))
        for known in self.keys:
            if signature and same(signature, sign_segment(known.value, knock.body)):
                return known.tenant
            if key and same(key, known.value):
                return known.tenant
        raise Refused("bad_signature", "neither a write key (Basic authentication) nor an X-Signature lets this in")


def sign_segment(secret: str, body: bytes) -> str:
    """Hex of HMAC-SHA1 over the body."""
    return hmac.digest(secret.encode(), body, "sha1").hex()


def _basic(header: str) -> str:
    """The user name in a header of Basic authentication, where Segment has the write key; "" when there is none."""
    scheme, _, said = header.partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(said).decode("utf-8", "replace").partition(":")[0]
    except binascii.Error:
        return ""
