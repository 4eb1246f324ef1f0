"""Secrets for who has none yet: made once, kept in the data folder, good for loopback only."""

from __future__ import annotations

import base64
import ipaddress
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from services.commands.folder import write_whole
from shared.errors import Broken, WrongSetting
from shared.web import Tokens

HUBSPOT: Final = "LEADPACT_HUBSPOT_SECRETS"
TOKENS: Final = "LEADPACT_TOKENS"
CRM: Final = "LEADPACT_HUBSPOT_TOKEN"
NOTIFY: Final = "LEADPACT_NOTIFY_SECRET"
DOORS: Final = (HUBSPOT, TOKENS)  # what lets anybody in
SIMULATED: Final = (CRM, NOTIFY)  # what the simulated CRM and its reps want besides
PERSON: Final = "owner"

MAKE: Final[Mapping[str, Callable[[], str]]] = {
    HUBSPOT: lambda: secrets.token_hex(16),
    TOKENS: lambda: secrets.token_urlsafe(24),
    CRM: lambda: secrets.token_urlsafe(24),
    NOTIFY: lambda: "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode(),
}


@dataclass(frozen=True, kw_only=True)
class Made:
    """Secrets by the setting that each stands in for; of LEADPACT_TOKENS the token itself."""

    values: Mapping[str, str]

    def environ(self) -> dict[str, str]:
        """As settings."""
        found = dict(self.values)
        if TOKENS in found:
            found[TOKENS] = Tokens.entry(found[TOKENS], role="admin", person=PERSON)
        return found

    def lines(self) -> Iterator[str]:
        """What a person needs of them."""
        if HUBSPOT in self.values:
            yield f"  HubSpot secret  {self.values[HUBSPOT]}  (signs webhooks; or set {HUBSPOT})"
        if TOKENS in self.values:
            yield f"  API token       {self.values[TOKENS]}  (Authorization: Bearer ...; or set {TOKENS})"


def missing(environ: Mapping[str, str], *, simulate: bool) -> tuple[str, ...]:
    """The settings that have to be made."""
    wanted = (*DOORS, *SIMULATED) if simulate else DOORS
    return tuple(key for key in wanted if not environ.get(key, "").strip())


def make(keys: tuple[str, ...], path: Path) -> Made:
    """Secrets for `keys`: those in the file, and new ones that are then in the file. Raises Broken."""
    known = _read(path)
    made = {key: known.get(key) or MAKE[key]() for key in keys}
    if made.items() - known.items():
        write_whole(path, msgspec.json.format(msgspec.json.encode({**known, **made})).decode() + "\n")
    return Made(values=made)


def _read(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, str])
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        why = f"{path} cannot be read ({type(error).__name__}): mend it, or remove it to have new secrets made"
        raise Broken("secrets_unreadable", why) from error


def insist_on_own(host: str, keys: tuple[str, ...]) -> None:
    """Raise WrongSetting when made secrets would open a door to other machines."""
    doors = [key for key in keys if key in DOORS]
    if doors and not is_loopback(host):
        both = " and ".join(doors)
        raise WrongSetting(both, f"must be set to listen on {host}: secrets made by leadpact run are for loopback only")


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
