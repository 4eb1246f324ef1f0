"""Asks the CRM what changed since a moment, and puts all of it on the list of what is to be looked up.

Nothing is compared here: what is looked up carries its own times and identities, so that whoever knows it
already finds nothing new in it. Doing it again, or half of it, is harmless.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from services.ingest.domain.repair import queued
from shared.bus import NewRecord
from shared.crm.hubspot import BUSY, HubSpot, Record
from shared.errors import Later, Refused
from shared.events import RecordType
from shared.work import to_record

KINDS: Final = (
    *(RecordType.CONTACT, RecordType.COMPANY, RecordType.DEAL, RecordType.CALL),
    *(RecordType.EMAIL, RecordType.MEETING, RecordType.COMMUNICATION),
)
Publish = Callable[[Sequence[NewRecord]], Awaitable[None]]
Told = Callable[[RecordType, int], None]


@dataclass(frozen=True, kw_only=True)
class Reconciled:
    """How many records of each kind were changed and are to be looked up; of kinds that were left out, why."""

    tenant: str
    since: datetime
    changed: Counter[RecordType] = field(default_factory=Counter)
    left_out: dict[RecordType, str] = field(default_factory=dict)


async def by_tenant(crms: Iterable[tuple[int | None, HubSpot]]) -> dict[str, HubSpot]:
    """Whom to ask for each tenant; a token that names no portal is asked which it is for. Raises Later, Refused."""
    return {f"hubspot:{portal or await crm.portal()}": crm for portal, crm in crms}


async def reconcile(
    crm: HubSpot,
    publish: Publish,
    *,
    tenant: str,
    since: datetime,
    at: datetime,
    companies: bool,
    told: Told = lambda kind, records: None,
) -> Reconciled:
    """Ask for each kind of record, for companies where the agreement asks about them; `at` names this reconcile.

    `told` hears of every page once it is durable. A kind that the token may not read is left out.
    Raises Later when the CRM or the bus is away.
    """
    done = Reconciled(tenant=tenant, since=since)
    for kind in KINDS:
        if kind is RecordType.COMPANY and not companies:
            continue
        try:
            async for page in _pages(crm, kind, since):
                messages = queued(tenant, kind, page, since=since, at=at)
                await publish([to_record(message, source="ingest") for message in messages])
                done.changed[kind] += len(page)
                told(kind, len(page))
        except Refused as error:
            done.left_out[kind] = error.message
    return done


async def _pages(crm: HubSpot, kind: RecordType, since: datetime) -> AsyncIterator[list[Record]]:
    """Goes on after the page where the CRM asked to wait."""
    above = 0
    while True:
        try:
            async for page in crm.changed(kind, since, above=above):
                above = max(int(record.id) for record in page)
                yield page
            return
        except Later as error:
            if error.code != BUSY:
                raise
            await asyncio.sleep(error.after_s)
