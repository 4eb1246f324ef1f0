"""Who is let in: a request that HubSpot signed just now, with a secret that is for the portals it speaks of."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from shared.crm.hubspot import MAX_AGE_MS, MAX_AHEAD_MS, Signature, sign_v1, sign_v2, sign_v3
from shared.errors import Refused

V3_HEADER: Final = "x-hubspot-signature-v3"
OLD_HEADER: Final = "x-hubspot-signature"
VERSION_HEADER: Final = "x-hubspot-signature-version"
TIME_HEADER: Final = "x-hubspot-request-timestamp"


@dataclass(frozen=True, kw_only=True, slots=True)
class Knock:
    """A request at the door. `path` is as it was sent, escapes and all; the names of headers are in small letters."""

    method: str
    scheme: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Secret:
    """A client secret of the app; `portal` None: for any."""

    portal: int | None
    value: str


@dataclass(frozen=True, kw_only=True)
class Door:
    """What has to fit. Several secrets may hold at once, so that they can be changed without a pause."""

    secrets: Sequence[Secret]
    signatures: Sequence[Signature]
    public_url: str = ""
    trust_proxy: bool = False

    def admit(self, knock: Knock, *, now_ms: int) -> Secret:
        """The secret that signed it. Raises Refused: `bad_signature`, `stale`.

        By the strongest signature that is wanted and there: a wrong v3 is not made good by a right v1.
        """
        if Signature.V3 in self.signatures and V3_HEADER in knock.headers:
            return self._by_v3(knock, now_ms)
        version = knock.headers.get(VERSION_HEADER, str(Signature.V1)).lower()
        said = knock.headers.get(OLD_HEADER, "")
        if said and version in self.signatures:
            return self._by_old(knock, Signature(version), said)
        wanted = ", ".join(self.signatures)
        raise Refused("bad_signature", f"the request has none of the signatures that are let in: {wanted}")

    def _by_v3(self, knock: Knock, now_ms: int) -> Secret:
        stamp = knock.headers.get(TIME_HEADER, "")
        if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 15):
            raise Refused("bad_signature", "X-HubSpot-Request-Timestamp must be milliseconds since 1970")
        at_ms = int(stamp)
        said, uri = knock.headers[V3_HEADER], self.uri(knock)
        for secret in self.secrets:
            if same(said, sign_v3(secret.value, knock.method, uri, knock.body, at_ms)):
                # Only now: who cannot sign learns nothing of our clock.
                if at_ms < now_ms - MAX_AGE_MS or at_ms > now_ms + MAX_AHEAD_MS:
                    raise Refused("stale", "the request was signed more than 5 minutes ago, or in the future")
                return secret
        raise _wrong()

    def _by_old(self, knock: Knock, version: Signature, said: str) -> Secret:
        uri = self.uri(knock)
        for secret in self.secrets:
            if version is Signature.V2:
                right = sign_v2(secret.value, knock.method, uri, knock.body)
            else:
                right = sign_v1(secret.value, knock.body)
            if same(said.lower(), right):
                return secret
        raise _wrong()

    def uri(self, knock: Knock) -> str:
        """The address that HubSpot signed: the public one, which behind a proxy is not the one that we see."""
        path = knock.path + (f"?{knock.query}" if knock.query else "")
        if self.public_url:
            return self.public_url + path
        scheme, host = knock.scheme, knock.headers.get("host", "")
        if self.trust_proxy:
            scheme = _first(knock.headers.get("x-forwarded-proto", "")) or scheme
            host = _first(knock.headers.get("x-forwarded-host", "")) or host
        return f"{scheme}://{host}{path}"

    def check_portals(self, secret: Secret, portals: Iterable[int]) -> None:
        """Raises Refused (`wrong_portal`) when a portal's own secret signed events of another."""
        if secret.portal is not None and any(portal != secret.portal for portal in portals):
            raise Refused("wrong_portal", f"the secret is for portal {secret.portal} alone")


def same(said: str, right: str) -> bool:
    """Compared in constant time."""
    return hmac.compare_digest(said.encode("utf-8", "replace"), right.encode())


def _first(header: str) -> str:
    return header.partition(",")[0].strip()


def _wrong() -> Refused:
    return Refused("bad_signature", "no secret made this signature for this method, address and body")
