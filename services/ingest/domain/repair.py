"""What a reconcile makes good: which records are to be looked up again, and what webhooks would have told of them.

The facts have the identity that webhooks give them, and their times, so that only what was missed is news.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, Final

from services.ingest.domain.door import FORM_PROPERTY, PAGE_PROPERTY, erased_at, in_ms, merged_at
from shared.crm.hubspot import Past, Record
from shared.events import (
    ContactChanged,
    ContactErased,
    FormSubmitted,
    Message,
    PageVisited,
    RecordQueued,
    RecordType,
    identity,
)

# The ids of all contacts that were merged into one, parted by semicolons. (`hs_calculated_merged_vids`, which it
# replaces, lacks some: https://github.com/fivetran/dbt_hubspot/issues/168.)
MERGED_PROPERTY: Final = "hs_merged_object_ids"
# To be asked for besides what the agreement names.
TELLING: Final = (FORM_PROPERTY, PAGE_PROPERTY, MERGED_PROPERTY)


def queued(
    tenant: str, kind: RecordType, records: Iterable[Record], *, since: datetime, at: datetime
) -> list[RecordQueued]:
    """To be looked up again; each reconcile, known by its time, asks for itself."""
    return [
        RecordQueued(
            id=identity("RecordQueued", tenant, kind, record.id, since.timestamp(), at.timestamp()),
            tenant=tenant,
            at=at,
            record=kind,
            record_id=record.id,
            since=since,
        )
        for record in records
    ]


def contacts_of(company: RecordQueued, contacts: Iterable[str]) -> tuple[RecordQueued, ...]:
    """Each contact of a changed company, to be looked up: what is known of the company is known of them."""
    return tuple(
        RecordQueued(
            id=identity("RecordQueued", company.id, contact),
            tenant=company.tenant,
            at=company.at,
            record=RecordType.CONTACT,
            record_id=contact,
        )
        for contact in contacts
    )


def deleted_since(tenant: str, records: Iterable[Record], since: datetime) -> list[ContactErased]:
    """Of archived contacts those that were deleted from then on, as the webhooks of their deletion tell it."""
    return [
        erased_at(f"{tenant}:{record.id}", record.archived_at, reconciled=True)
        for record in records
        if record.archived_at is not None and record.archived_at >= since
    ]


def missed_of(tenant: str, record: Record, since: datetime) -> Iterator[Message]:
    """What a contact did from `since` on, besides what its properties are now: made, merged, forms, visits.

    First that it was there when it was last changed, whatever was told of its deletion before.
    """
    lead, seen = f"{tenant}:{record.id}", record.updated_at
    fact = identity("ContactChanged", lead, "seen", in_ms(seen))
    yield ContactChanged(id=fact, tenant=tenant, lead=lead, at=seen, reconciled=True)
    created = record.created_at
    if created is not None and created >= since:
        fact = identity("ContactChanged", lead, "created", in_ms(created))
        yield ContactChanged(id=fact, tenant=tenant, lead=lead, at=created, created=True, reconciled=True)
    yield from _merges(tenant, lead, record, since)
    for past in _since(record, FORM_PROPERTY, since):
        fact = identity("FormSubmitted", lead, past.value, in_ms(past.timestamp))
        said: dict[str, Any] = {"id": fact, "tenant": tenant, "lead": lead, "at": past.timestamp, "reconciled": True}
        yield FormSubmitted(**said, form=str(past.value))
    for past in _since(record, PAGE_PROPERTY, since):
        fact = identity("PageVisited", lead, past.value, in_ms(past.timestamp))
        said = {"id": fact, "tenant": tenant, "lead": lead, "at": past.timestamp, "reconciled": True}
        yield PageVisited(**said, url=str(past.value))


def _merges(tenant: str, lead: str, record: Record, since: datetime) -> Iterator[Message]:
    """Each time at which ids were added to those that it absorbed; without a history, when it was last changed."""
    now = Past(value=record.properties.get(MERGED_PROPERTY), timestamp=record.updated_at)
    known: set[str] = set()
    for past in reversed(record.properties_with_history.get(MERGED_PROPERTY) or [now]):
        ids = [one.strip() for one in (past.value or "").split(";")]
        gone = [f"{tenant}:{one}" for one in dict.fromkeys(ids) if one.isdigit() and one not in (*known, record.id)]
        known.update(ids)
        if past.timestamp >= since:
            yield from merged_at(lead, gone, past.timestamp, reconciled=True)


def _since(record: Record, name: str, since: datetime) -> Iterator[Past]:
    """What the contact did. A merge that chooses between two values is no act of it."""
    for past in reversed(record.properties_with_history.get(name, [])):
        if past.value and past.timestamp >= since and not past.is_merge:
            yield past
