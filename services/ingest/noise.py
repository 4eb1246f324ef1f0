"""What in the visits of a website is no interest of anybody's: bots, ourselves, pages fetched ahead, and floods."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

from crawleruseragents import is_crawler

from services.ingest.domain.heard import BOT, NOISE

MAX_A_MINUTE: Final = 120  # of one visitor; a person reads no faster
KNOWN_VISITORS: Final = 50_000  # whose pace is watched
KNOWN_AGENTS: Final = 10_000  # a new one costs half a millisecond, and there are not many
MAX_AGENT: Final = 500
# By these a browser says that it fetches a page which nobody looks at yet.
FETCHED_AHEAD: Final = ("sec-purpose", "purpose", "x-purpose", "x-moz")


@dataclass(frozen=True, kw_only=True)
class Ours:
    """Where visits are our own: networks of employees, hosts that are no website yet."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    hosts: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, words: tuple[str, ...]) -> Ours:
        """From networks, as 203.0.113.0/24, and hosts. Raises ValueError."""
        networks = [ip_network(word, strict=False) for word in words if _is_network(word)]
        return cls(networks=tuple(networks), hosts=frozenset(word.lower() for word in words if not _is_network(word)))

    def __str__(self) -> str:
        return ",".join([*map(str, self.networks), *sorted(self.hosts)])

    def has(self, ip: str, url: str) -> bool:
        """Whether a visit is from one of the networks, or of one of the hosts."""
        return (bool(self.hosts) and _host(url) in self.hosts) or (bool(self.networks) and self._has_address(ip))

    def _has_address(self, ip: str) -> bool:
        try:
            address = ip_address(ip)
        except ValueError:
            return False
        return any(address in network for network in self.networks)


def _is_network(word: str) -> bool:
    return "/" in word or ":" in word or word.replace(".", "").isdigit()


def _host(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""


class Noise:
    """Says of each visit what makes it noise, "" when nothing."""

    def __init__(self, ours: Ours) -> None:
        self._ours = ours
        self._paces: OrderedDict[tuple[str, int], int] = OrderedDict()

    def __call__(self, *, user_agent: str, ip: str, url: str, visitor: str, at: datetime) -> str:
        """`bot` or `noise`."""
        if user_agent and _is_bot(user_agent[:MAX_AGENT]):
            return BOT
        return NOISE if self._ours.has(ip, url) or self._floods(visitor, at) else ""

    def _floods(self, visitor: str, at: datetime) -> bool:
        """Counts by the minute in which it happened, so that what comes late at once is no flood."""
        key = visitor, int(at.timestamp() // 60)
        self._paces[key] = count = self._paces.pop(key, 0) + 1
        if len(self._paces) > KNOWN_VISITORS:
            self._paces.popitem(last=False)
        return count > MAX_A_MINUTE


def fetched_ahead(headers: Mapping[str, str]) -> bool:
    """Whether a browser sent this for a page that it fetched before anybody asked for it."""
    said = " ".join(headers.get(name, "") for name in FETCHED_AHEAD).lower()
    return "prefetch" in said or "prerender" in said or "preview" in said


_is_bot: Final = lru_cache(maxsize=KNOWN_AGENTS)(is_crawler)
