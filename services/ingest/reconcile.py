"""Asks the CRM what changed since a moment, and puts all of it on the list of what is to be looked up.

Which contacts were deleted the CRM tells with the time, so that there is nothing to look up: that is told at once.
Nothing is compared here: what is told or looked up carries its own times and identities, so that whoever knows it
already finds nothing new in it. Doing it again, or half of it, is harmless.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from services.ingest.domain.repair import deleted_since, queued
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
    """How many records of each kind were changed and are to be looked up, or were deleted; of those left out, why."""

    tenant: str
    since: datetime
    changed: Counter[RecordType] = field(default_factory=Counter)
    deleted: Counter[RecordType] = field(default_factory=Counter)
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

    `told` hears of every page that was queued, once it is durable. A kind that the token may not read is left out.
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
    try:
        async for page in _archived(crm, RecordType.CONTACT):
            deletions = deleted_since(tenant, page, since)
            if deletions:
                await publish([to_record(message, source="ingest") for message in deletions])
            done.deleted[RecordType.CONTACT] += len(deletions)
    except Refused as error:
        done.left_out.setdefault(RecordType.CONTACT, f"those that were deleted: {error.message}")
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
            await _wait(error)


async def _archived(crm: HubSpot, kind: RecordType) -> AsyncIterator[list[Record]]:
    """Goes on with the page for which the CRM asked to wait."""
    after, more = "", True
    while more:
        try:
            page, after = await crm.archived(kind, after=after)
        except Later as error:
            await _wait(error)
            continue
        yield page
        more = bool(after)


async def _wait(error: Later) -> None:
    """Raises it, unless the CRM only asks to wait."""
    if error.code != BUSY:
        raise error
    await asyncio.sleep(error.after_s)
