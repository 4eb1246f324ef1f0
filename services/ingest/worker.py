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
from shared.crm.hubspot import MISSING_SCOPE, HubSpot
from shared.errors import Later, Refused
from shared.events import Message, RecordTouched, RecordType, Topic
from shared.work import Decision, Facts, Handler, Worker

# By the key of what was touched; Refused for what the CRM will never tell.
Found = Mapping[str, tuple[Message, ...] | Refused]


class Lookups:
    """Asks the CRM for a batch of touched records at once: a few requests, whatever the size of the batch."""

    def __init__(
        self,
        crm_of: Callable[[str], HubSpot | None],
        *,
        contact_properties: Callable[[str], Sequence[str]],
        metrics: IngestMetrics,
    ) -> None:
        """By tenant: whom to ask (None: nobody, nothing is looked up), and for what properties of a contact."""
        self._crm_of = crm_of
        self._contact_properties = contact_properties
        self._metrics = metrics

    async def __call__(self, messages: Sequence[Message]) -> Found:
        """What the CRM says of the touched records among `messages`. Raises Later."""
        wanted: dict[tuple[str, RecordType], dict[str, str]] = defaultdict(dict)
        for message in messages:
            if isinstance(message, RecordTouched):
                wanted[message.tenant, message.record][message.record_id] = message.key
        looked = []
        for (tenant, kind), keys in wanted.items():
            if crm := self._crm_of(tenant):
                looked.append(self._look_up(crm, tenant, kind, keys))
            else:
                self._metrics.lookups.labels(kind, "off").inc(len(keys))
        found: dict[str, tuple[Message, ...] | Refused] = {}
        for part in await asyncio.gather(*looked):
            found |= part
        return found

    async def _look_up(self, crm: HubSpot, tenant: str, kind: RecordType, keys: Mapping[str, str]) -> Found:
        try:
            found = await self._ask(crm, tenant, kind, keys)
        except Refused as error:
            return await self._narrow(crm, tenant, kind, keys, error)
        except Later:
            self._metrics.lookups.labels(kind, "failed").inc(len(keys))
            raise
        self._metrics.lookups.labels(kind, "found").inc(len(found))
        self._metrics.lookups.labels(kind, "missing").inc(len(keys) - len(found))
        return found

    async def _narrow(
        self, crm: HubSpot, tenant: str, kind: RecordType, keys: Mapping[str, str], error: Refused
    ) -> Found:
        """Find what is at fault by halves, so that it holds up no other; a missing scope is the fault of none."""
        if len(keys) == 1 or error.code == MISSING_SCOPE:
            self._metrics.lookups.labels(kind, "refused").inc(len(keys))
            return dict.fromkeys(keys.values(), error)
        ids, half = list(keys), len(keys) // 2
        first = await self._look_up(crm, tenant, kind, {one: keys[one] for one in ids[:half]})
        return {**first, **await self._look_up(crm, tenant, kind, {one: keys[one] for one in ids[half:]})}

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
    said = found.get(message.key, ())
    if isinstance(said, Refused):
        raise Refused(said.code, said.message)
    return Decision(state=None, messages=said)


def worker(lookups: Lookups) -> Worker[None]:
    """ingest's part in the one loop."""
    return Worker(
        service="ingest",
        topics=(Topic.CRM_LOOKUPS,),
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
IGNORED: Final[frozenset[type[Message]]] = frozenset()
