"""What ingest reads and what each message does: its own to-do list of what has to be found out first."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Final, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from services.ingest import store
from services.ingest.domain import visitors
from services.ingest.domain.records import messages_of, properties_of
from services.ingest.domain.visitors import Act, Visitor
from services.ingest.metrics import IngestMetrics
from shared import events
from shared.crm.hubspot import MISSING_SCOPE, HubSpot
from shared.errors import Later, Refused
from shared.events import (
    ContactImported,
    ContactReplaced,
    Message,
    RecordTouched,
    RecordType,
    Topic,
    VisitorIdentified,
    VisitorSeen,
)
from shared.work import Changes, Decision, Facts, Handler, Worker

T = TypeVar("T")

State = Visitor | None  # None: a record to look up, of which nothing is kept
Records = Mapping[str, tuple[Message, ...] | Refused]


@dataclass(frozen=True, kw_only=True)
class Found:
    """What the CRM said, by the key of what was asked for; Refused for what it will never tell."""

    records: Records = field(default_factory=dict)
    contacts: Mapping[str, str | Refused] = field(default_factory=dict)  # of visitors whose email it knows


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
        """What the CRM says of the touched records and of the emails among `messages`. Raises Later."""
        records: dict[tuple[str, RecordType], dict[str, str]] = defaultdict(dict)
        emails: dict[str, dict[str, str]] = defaultdict(dict)
        for message in messages:
            if isinstance(message, RecordTouched):
                records[message.tenant, message.record][message.record_id] = message.key
            elif isinstance(message, ContactImported):
                records[message.tenant, RecordType.CONTACT][message.contact] = message.key
            elif isinstance(message, VisitorIdentified) and message.email:
                emails[message.tenant][message.email] = message.key
        by_id = [
            self._look_up(crm, tenant, kind, keys)
            for (tenant, kind), keys in records.items()
            if (crm := self._crm(tenant, kind, len(keys)))
        ]
        by_email = [
            self._find(crm, keys)
            for tenant, keys in emails.items()
            if (crm := self._crm(tenant, RecordType.CONTACT, len(keys)))
        ]
        looked, found = await asyncio.gather(asyncio.gather(*by_id), asyncio.gather(*by_email))
        return Found(records=_joined(looked), contacts=_joined(found))

    def _crm(self, tenant: str, kind: RecordType, wanted: int) -> HubSpot | None:
        crm = self._crm_of(tenant)
        if crm is None:
            self._metrics.lookups.labels(kind, "off").inc(wanted)
        return crm

    async def _find(self, crm: HubSpot, keys: Mapping[str, str]) -> Mapping[str, str | Refused]:
        """The contacts with these emails; an email that the CRM calls a bad request holds up no other."""
        count = partial(self._metrics.lookups.labels, RecordType.CONTACT)
        try:
            found = await crm.contacts_by_email(keys)
        except Later:
            count("failed").inc(len(keys))
            raise
        except Refused as error:
            if len(keys) == 1 or error.code == MISSING_SCOPE:
                count("refused").inc(len(keys))
                return dict.fromkeys(keys.values(), error)
            return _joined([await self._find(crm, half) for half in _halves(keys)])
        contacts = {keys[email]: contact for email, contact in found.items() if email in keys}
        count("found").inc(len(contacts))
        count("missing").inc(len(keys) - len(contacts))
        return contacts

    async def _look_up(self, crm: HubSpot, tenant: str, kind: RecordType, keys: Mapping[str, str]) -> Records:
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
    ) -> Records:
        """Find what is at fault by halves, so that it holds up no other; a missing scope is the fault of none."""
        if len(keys) == 1 or error.code == MISSING_SCOPE:
            self._metrics.lookups.labels(kind, "refused").inc(len(keys))
            return dict.fromkeys(keys.values(), error)
        return _joined([await self._look_up(crm, tenant, kind, half) for half in _halves(keys)])

    async def _ask(self, crm: HubSpot, tenant: str, kind: RecordType, keys: Mapping[str, str]) -> Records:
        is_contact = kind is RecordType.CONTACT
        properties = properties_of(kind, self._contact_properties(tenant))
        records = await crm.read(kind, keys, properties=properties, history=is_contact)
        contacts = {} if is_contact else await crm.contacts_of(kind, [record.id for record in records])
        return {
            keys[record.id]: messages_of(kind, tenant, record, contacts.get(record.id, ()))
            for record in records
            if record.id in keys
        }


def _joined(parts: Iterable[Mapping[str, T]]) -> dict[str, T]:
    return {key: value for part in parts for key, value in part.items()}


def _halves(keys: Mapping[str, str]) -> list[dict[str, str]]:
    items, half = list(keys.items()), len(keys) // 2
    return [dict(items[:half]), dict(items[half:])]


@dataclass(frozen=True, kw_only=True)
class Replacing(Decision[State]):
    """A decision about all who are known as a lead; `lead` empty: they are forgotten."""

    former: str
    lead: str


def _touched(_: State, message: RecordTouched | ContactImported, facts: Facts[State]) -> Decision[State]:
    found: Found = facts.found or Found()
    said = found.records.get(message.key, ())
    if isinstance(said, Refused):
        raise Refused(said.code, said.message)
    return Decision(state=None, messages=said)


def _seen(visitor: State, message: VisitorSeen, facts: Facts[State]) -> Decision[State]:
    assert visitor is not None  # `_new` made it
    act = Act(message.at.timestamp(), message.act, message.form, message.url)
    after, messages = visitors.saw(visitor, act, facts.now.timestamp())
    return Decision(state=after, messages=messages)


def _identified(visitor: State, message: VisitorIdentified, facts: Facts[State]) -> Decision[State]:
    assert visitor is not None  # `_new` made it
    found: Found = facts.found or Found()
    now, said_at = facts.now.timestamp(), message.at.timestamp()
    contact = found.contacts.get(message.key)
    if isinstance(contact, Refused):
        raise Refused(contact.code, contact.message)
    known_as = message.known_as or (contact and f"{message.tenant}:{contact}")
    if not known_as:
        return Decision(state=visitors.unknown(visitor, message.email, message.asked, now))
    after, messages = visitors.identified(visitor, known_as, said_at, now)
    return Decision(state=after, messages=messages)


def _replaced(_: State, message: ContactReplaced, facts: Facts[State]) -> Replacing:
    return Replacing(state=None, former=message.former, lead=message.lead)


def _new(key: str) -> State:
    return Visitor(key=key) if visitors.is_visitor(key) else None


def workers(lookups: Lookups, in_time: Lookups, *, keep: timedelta) -> tuple[Worker[State], Worker[State]]:
    """ingest's two parts in the one loop: what somebody waits for, and what imports bring, by `in_time`."""
    now = replace(worker(lookups, keep=keep), topics=(Topic.CRM_LOOKUPS,))
    return now, replace(worker(in_time, keep=keep), topics=(Topic.CRM_IMPORTS,), part="imports")


def worker(lookups: Lookups, *, keep: timedelta) -> Worker[State]:
    """What ingest does. `keep`: for so long a visitor of whom nothing is heard is remembered."""

    async def save(conn: AsyncConnection, changes: Changes[State]) -> None:
        await store.save(conn, changes.states, keep=keep)
        for _, decision in changes.decisions:
            if isinstance(decision, Replacing) and decision.lead:
                await store.rename(conn, decision.former, decision.lead)
            elif isinstance(decision, Replacing):
                await store.forget(conn, decision.former)

    return Worker(
        service="ingest",
        topics=(Topic.CRM_LOOKUPS, Topic.CRM_IMPORTS),
        handlers=HANDLERS,
        ignored=IGNORED,
        new=_new,
        load=store.load,
        save=save,
        prepare=lookups,
    )


HANDLERS: Final[Mapping[type[Message], Handler[State]]] = {
    events.RecordTouched: _touched,
    events.ContactImported: _touched,
    events.VisitorSeen: _seen,
    events.VisitorIdentified: _identified,
    events.ContactReplaced: _replaced,
}
IGNORED: Final[frozenset[type[Message]]] = frozenset()
