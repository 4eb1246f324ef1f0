"""What a reconcile makes good: which records are to be looked up again, and what webhooks would have told of them.

The facts have the identity that webhooks give them, and their times, so that only what was missed is news.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, Final

from services.ingest.domain.door import FORM_PROPERTY, PAGE_PROPERTY
from shared.crm.hubspot import Past, Record
from shared.events import ContactChanged, FormSubmitted, Message, PageVisited, RecordQueued, RecordType, identity

ACTS: Final = (FORM_PROPERTY, PAGE_PROPERTY)  # to be asked for besides what the agreement names


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


def missed_of(tenant: str, record: Record, since: datetime) -> Iterator[Message]:
    """What a contact did from `since` on, besides what its properties are now: made, forms, visits."""
    lead = f"{tenant}:{record.id}"
    created = record.created_at
    if created is not None and created >= since:
        fact = identity("ContactChanged", lead, "created", _ms(created))
        yield ContactChanged(id=fact, tenant=tenant, lead=lead, at=created, created=True, reconciled=True)
    for past in _since(record, FORM_PROPERTY, since):
        fact = identity("FormSubmitted", lead, past.value, _ms(past.timestamp))
        said: dict[str, Any] = {"id": fact, "tenant": tenant, "lead": lead, "at": past.timestamp, "reconciled": True}
        yield FormSubmitted(**said, form=str(past.value))
    for past in _since(record, PAGE_PROPERTY, since):
        fact = identity("PageVisited", lead, past.value, _ms(past.timestamp))
        said = {"id": fact, "tenant": tenant, "lead": lead, "at": past.timestamp, "reconciled": True}
        yield PageVisited(**said, url=str(past.value))


def _since(record: Record, name: str, since: datetime) -> Iterator[Past]:
    for past in reversed(record.properties_with_history.get(name, [])):
        if past.value and past.timestamp >= since:
            yield past


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
