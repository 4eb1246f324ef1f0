"""One-click links: each does one command on one lead, in one episode, in one person's name, until it expires.

A link is its own key to the door: whoever has it may do that one thing. So it is signed, lives for
days and not for ever, and does nothing when it is only opened: programs that scan mail open every link.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from services.handoff.domain.lead import Lead
from services.handoff.domain.machine import Cause, allows
from services.handoff.domain.notices import Notice
from shared.errors import Refused
from shared.events import identity

# What can be said by a button and a choice; the rest is for the API.
LINKED: Final = (
    Cause.ACCEPT,
    Cause.ATTEMPT,
    Cause.QUALIFY,
    Cause.REJECT,
    Cause.RETURN,
    Cause.DISQUALIFY,
    Cause.RESUME,
)
PURPOSE: Final = b"leadpact link 1:"  # what is signed for a link is good for nothing else
LONGEST_TOKEN: Final = 2_000  # characters


@dataclass(frozen=True, kw_only=True)
class Link:
    """What a link does, on which lead's which episode, in whose name, and until when."""

    lead: str
    episode: int
    command: Cause
    person: str
    expires: datetime  # in whole seconds

    @property
    def id(self) -> str:
        """Of its command: what one link says is done once, whichever secret signed it."""
        return identity("link", self.lead, self.episode, self.command, self.person, int(self.expires.timestamp()))

    def still_fits(self, lead: Lead) -> bool:
        """The lead is in the episode that the link was made for, and the person still has it."""
        return (lead.episode, lead.owner) == (self.episode, self.person) and not lead.gone


class Links:
    """Makes links and reads them. Without secrets none are made, and none is let in."""

    def __init__(self, *, secrets: Sequence[str], public_url: str, life: timedelta) -> None:
        """The first of `secrets` signs, all of them verify. `life` is in business time."""
        self._secrets = tuple(secret.encode() for secret in secrets)
        self._public_url = public_url
        self._life = life

    def with_links(self, notice: Notice, lead: Lead | None, now: datetime) -> Notice:
        """The notice with whole addresses, and a link for each command that is possible, if its owner has the lead."""
        body = {**notice.body, "link": self._public_url + notice.body["link"]}
        if not self._secrets:
            return replace(notice, body=body)
        told = lead is not None and (notice.body["episode"], notice.body["owner"]) == (lead.episode, lead.owner)
        links = self.of(lead, now) if lead is not None and told else {}
        return replace(notice, body={**body, "links": links})

    def of(self, lead: Lead, now: datetime) -> dict[str, str]:
        """The address of each command that is possible now; none for a lead that nobody has."""
        if not lead.owner or lead.gone or not self._secrets:
            return {}
        expires = (now + self._life).replace(microsecond=0)
        return {
            str(command): f"{self._public_url}/act/{self.token(self._link(lead, command, expires))}"
            for command in LINKED
            if allows(lead.state, command, paused=lead.pause is not None)
        }

    def _link(self, lead: Lead, command: Cause, expires: datetime) -> Link:
        return Link(lead=lead.lead, episode=lead.episode, command=command, person=lead.owner, expires=expires)

    def token(self, link: Link) -> str:
        said = [link.lead, link.episode, link.command, link.person, int(link.expires.timestamp())]
        payload = msgspec.json.encode(said)
        return f"{_text(payload)}.{_text(_signature(self._secrets[0], payload))}"

    def read(self, token: str, now: datetime) -> Link:
        """Raises Refused (`bad_link` or `expired_link`)."""
        payload, signature = _parts(token)
        known = [hmac.compare_digest(_signature(secret, payload), signature) for secret in self._secrets]
        if not any(known):
            raise Refused("bad_link", "the link is not one of ours")
        lead, episode, command, person, expires = msgspec.json.decode(payload, type=tuple[str, int, Cause, str, int])
        link = Link(
            lead=lead, episode=episode, command=command, person=person, expires=datetime.fromtimestamp(expires, UTC)
        )
        if now >= link.expires:
            raise Refused("expired_link", "the link has expired")
        return link


NO_LINKS: Final = Links(secrets=(), public_url="", life=timedelta(0))


def _signature(secret: bytes, payload: bytes) -> bytes:
    return hmac.new(secret, PURPOSE + payload, hashlib.sha256).digest()


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _parts(token: str) -> tuple[bytes, bytes]:
    """Payload and signature. Raises Refused (`bad_link`)."""
    payload, dot, signature = token.partition(".")
    try:
        if not dot or len(token) > LONGEST_TOKEN:
            raise ValueError
        return _raw(payload), _raw(signature)
    except (ValueError, binascii.Error) as error:
        raise Refused("bad_link", "the link is not one of ours") from error


def _raw(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
