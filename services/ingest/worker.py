"""What ingest reads and what each message does: its own to-do list of records to look up in the CRM."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from services.ingest import store
from services.ingest.domain.records import messages_of, properties_of
from services.ingest.metrics import IngestMetrics
from shared import events
from shared.crm.hubspot import HubSpot
from shared.errors import Later
from shared.events import Message, RecordTouched, RecordType, Topic
from shared.work import Decision, Facts, Handler, Worker

Found = Mapping[str, tuple[Message, ...]]  # by the key of what was touched


class Lookups:
    """Asks the CRM for a batch of touched records at once: a few requests, whatever the size of the batch."""

    def __init__(
        self,
        crm: HubSpot | None,
        *,
        contact_properties: Callable[[str], Sequence[str]],
        metrics: IngestMetrics,
    ) -> None:
        """`contact_properties`: what to ask of a contact, by tenant. Without a `crm` nothing is looked up."""
        self._crm = crm
        self._contact_properties = contact_properties
        self._metrics = metrics

    async def __call__(self, messages: Sequence[Message]) -> Found:
        """What the CRM says of the touched records among `messages`. Raises Later."""
        wanted: dict[tuple[str, RecordType], dict[str, str]] = defaultdict(dict)
        for message in messages:
            if isinstance(message, RecordTouched):
                wanted[message.tenant, message.record][message.record_id] = message.key
        if self._crm is None:
            for (_, kind), keys in wanted.items():
                self._metrics.lookups.labels(kind, "off").inc(len(keys))
            return {}
        looked = [self._look_up(self._crm, tenant, kind, keys) for (tenant, kind), keys in wanted.items()]
        found: dict[str, tuple[Message, ...]] = {}
        for part in await asyncio.gather(*looked):
            found |= part
        return found

    async def _look_up(self, crm: HubSpot, tenant: str, kind: RecordType, keys: Mapping[str, str]) -> Found:
        try:
            found = await self._ask(crm, tenant, kind, keys)
        except Later:
            self._metrics.lookups.labels(kind, "failed").inc(len(keys))
            raise
        self._metrics.lookups.labels(kind, "found").inc(len(found))
        self._metrics.lookups.labels(kind, "missing").inc(len(keys) - len(found))
        return found

    async def _ask(self, crm: HubSpot, tenant: str, kind: RecordType, keys: Mapping[str, str]) -> Found:
        is_contact = kind is RecordType.CONTACT
        properties = properties_of(kind, self._contact_properties(tenant))
        records = await crm.read(kind, keys, properties=properties, history=is_contact)
        contacts = {} if is_contact else await crm.contacts_of(kind, [record.id for record in records])
        return {
            keys[record.id]: messages_of(kind, tenant, record, contacts.get(record.id, ()))
            for record in records
            if record.id in keys
        }


def _touched(_: None, message: RecordTouched, facts: Facts[None]) -> Decision[None]:
    found: Found = facts.found or {}
    return Decision(state=None, messages=found.get(message.key, ()))


def worker(lookups: Lookups) -> Worker[None]:
    """ingest's part in the one loop."""
    return Worker(
        service="ingest",
        topics=(Topic.CRM_EVENTS,),
        handlers=HANDLERS,
        ignored=IGNORED,
        new=lambda _: None,
        load=store.load,
        save=store.save,
        prepare=lookups,
    )


HANDLERS: Final[Mapping[type[Message], Handler[None]]] = {
    events.RecordTouched: _touched,
}
IGNORED: Final[frozenset[type[Message]]] = frozenset(
    {  # what the door or a look-up said already
        events.ContactChanged,
        events.FormSubmitted,
        events.PageVisited,
        events.ActivityLogged,
        events.DealChanged,
        events.ContactsMerged,
        events.ContactErased,
    }
)
