"""What ingest reads and what each message does: its own to-do list of what has to be found out first."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from services.ingest import store
from services.ingest.domain import visitors
from services.ingest.domain.companies import PRIMARY_COMPANY, company_of, values_of
from services.ingest.domain.records import PROPERTIES, contact_of, messages_of
from services.ingest.domain.repair import TELLING, contacts_of, missed_of
from services.ingest.domain.visitors import Act, Visitor
from services.ingest.form_names import Form, FormNames
from services.ingest.metrics import IngestMetrics
from shared import events
from shared.crm.hubspot import MISSING_SCOPE, HubSpot, Record
from shared.errors import Later, Refused
from shared.events import (
    ContactImported,
    ContactReplaced,
    Message,
    RecordQueued,
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
class Asked:
    """What can be asked for at once: records of one kind. `since`: what webhooks may have missed from then on, too."""

    tenant: str
    kind: RecordType
    since: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Found:
    """What the CRM said, by the key of what was asked for; Refused for what it will never tell."""

    records: Records = field(default_factory=dict)
    theirs: Mapping[str, tuple[str, ...] | Refused] = field(default_factory=dict)  # the contacts of companies
    contacts: Mapping[str, str | Refused] = field(default_factory=dict)  # of visitors whose email it knows
    forms: Mapping[Form, str] = field(default_factory=dict)  # what those are called of which the guid was told


class Lookups:
    """Asks the CRM for a batch of touched records at once: a few requests, whatever the size of the batch."""

    def __init__(
        self,
        crm_of: Callable[[str], HubSpot | None],
        *,
        contact_properties: Callable[[str], Sequence[str]],
        company_properties: Callable[[str], Sequence[str]] = lambda _: (),
        metrics: IngestMetrics,
    ) -> None:
        """By tenant: whom to ask (None: nobody, nothing is looked up), and for what properties of whom."""
        self._crm_of = crm_of
        self._contact_properties = contact_properties
        self._company_properties = company_properties
        self._metrics = metrics
        self._form_names = FormNames(crm_of, metrics)

    async def __call__(self, messages: Sequence[Message]) -> Found:
        """What the CRM says of the records and of the emails among `messages`. Raises Later."""
        records: dict[Asked, dict[str, str]] = defaultdict(dict)
        emails: dict[str, dict[str, str]] = defaultdict(dict)
        for message in messages:
            if isinstance(message, VisitorIdentified) and message.email:
                emails[message.tenant][message.email] = message.key
            elif (asked := _asked_by(message)) is not None:
                records[asked[0]][asked[1]] = message.key
        companies = {asked: records.pop(asked) for asked in list(records) if asked.kind is RecordType.COMPANY}
        by_id = [self._look_up(crm, asked, keys) for asked, keys, crm in self._with_crm(records)]
        of_companies = [self._contacts_of(crm, keys) for _, keys, crm in self._with_crm(companies)]
        by_email = [
            self._find(crm, keys)
            for tenant, keys in emails.items()
            if (crm := self._crm(tenant, RecordType.CONTACT, len(keys)))
        ]
        forms = self._form_names(Form(one.tenant, one.form) for one in messages if isinstance(one, VisitorSeen))
        looked, theirs, found, named = await asyncio.gather(
            asyncio.gather(*by_id), asyncio.gather(*of_companies), asyncio.gather(*by_email), forms
        )
        return Found(records=_joined(looked), theirs=_joined(theirs), contacts=_joined(found), forms=named)

    def _with_crm(self, records: Mapping[Asked, dict[str, str]]) -> Iterator[tuple[Asked, dict[str, str], HubSpot]]:
        for asked, keys in records.items():
            if crm := self._crm(asked.tenant, asked.kind, len(keys)):
                yield asked, keys, crm

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

    async def _look_up(self, crm: HubSpot, asked: Asked, keys: Mapping[str, str]) -> Records:
        try:
            found = await self._ask(crm, asked, keys)
        except Refused as error:
            return await self._narrow(crm, asked, keys, error)
        except Later:
            self._metrics.lookups.labels(asked.kind, "failed").inc(len(keys))
            raise
        self._metrics.lookups.labels(asked.kind, "found").inc(len(found))
        self._metrics.lookups.labels(asked.kind, "missing").inc(len(keys) - len(found))
        return found

    async def _narrow(self, crm: HubSpot, asked: Asked, keys: Mapping[str, str], error: Refused) -> Records:
        """Find what is at fault by halves, so that it holds up no other; a missing scope is the fault of none."""
        if len(keys) == 1 or error.code == MISSING_SCOPE:
            self._metrics.lookups.labels(asked.kind, "refused").inc(len(keys))
            return dict.fromkeys(keys.values(), error)
        return _joined([await self._look_up(crm, asked, half) for half in _halves(keys)])

    async def _ask(self, crm: HubSpot, asked: Asked, keys: Mapping[str, str]) -> Records:
        if asked.kind is RecordType.CONTACT:
            return await self._ask_of_contacts(crm, asked, keys)
        records = await crm.read(asked.kind, keys, properties=PROPERTIES[asked.kind])
        contacts = await crm.contacts_of(asked.kind, [record.id for record in records])
        return {
            keys[record.id]: messages_of(asked.kind, asked.tenant, record, contacts.get(record.id, ()))
            for record in records
            if record.id in keys
        }

    async def _ask_of_contacts(self, crm: HubSpot, asked: Asked, keys: Mapping[str, str]) -> Records:
        names, of_company = self._contact_properties(asked.tenant), self._company_properties(asked.tenant)
        wanted = (*names, *(TELLING if asked.since else ()), *((PRIMARY_COMPANY,) if of_company else ()))
        records = await crm.read(asked.kind, keys, properties=list(dict.fromkeys(wanted)), history=True)
        companies = await self._companies_of(crm, records, of_company) if of_company else None
        found = {}
        for record in records:
            if record.id in keys:
                more = values_of(record, companies, of_company) if companies is not None else ()
                missed = missed_of(asked.tenant, record, asked.since) if asked.since else ()
                known = contact_of(asked.tenant, record, names, more, reconciled=asked.since is not None)
                found[keys[record.id]] = (*missed, *known)
        return found

    async def _companies_of(
        self, crm: HubSpot, contacts: Sequence[Record], names: Sequence[str]
    ) -> Mapping[str, Record] | None:
        """The companies of the contacts by their ids; None where the token may not read them: that costs no contact."""
        ids = {belongs.company for one in contacts if (belongs := company_of(one)) and belongs.company}
        try:
            found = await crm.read(RecordType.COMPANY, ids, properties=names, history=True)
        except Refused:
            self._metrics.lookups.labels(RecordType.COMPANY, "refused").inc(len(ids))
            return None
        self._metrics.lookups.labels(RecordType.COMPANY, "found").inc(len(found))
        self._metrics.lookups.labels(RecordType.COMPANY, "missing").inc(len(ids) - len(found))
        return {company.id: company for company in found}

    async def _contacts_of(self, crm: HubSpot, keys: Mapping[str, str]) -> Mapping[str, tuple[str, ...] | Refused]:
        """Whoever is with these companies; a contact's own look-up tells whether it is its primary one."""
        try:
            found = await crm.contacts_of(RecordType.COMPANY, keys)
        except Refused as error:
            self._metrics.lookups.labels(RecordType.COMPANY, "refused").inc(len(keys))
            return dict.fromkeys(keys.values(), error)
        return {keys[company]: tuple(contacts) for company, contacts in found.items() if company in keys}


def _asked_by(message: Message) -> tuple[Asked, str] | None:
    """What a message asks for: of which kind, and which one."""
    match message:
        case RecordTouched():
            return Asked(tenant=message.tenant, kind=message.record), message.record_id
        case RecordQueued():
            return Asked(tenant=message.tenant, kind=message.record, since=message.since), message.record_id
        case ContactImported():
            return Asked(tenant=message.tenant, kind=RecordType.CONTACT), message.contact
        case _:
            return None


def _joined(parts: Iterable[Mapping[str, T]]) -> dict[str, T]:
    return {key: value for part in parts for key, value in part.items()}


def _halves(keys: Mapping[str, str]) -> list[dict[str, str]]:
    items, half = list(keys.items()), len(keys) // 2
    return [dict(items[:half]), dict(items[half:])]


class Replacing(Decision[State], frozen=True, kw_only=True):
    """A decision about all who are known as a lead; `lead` empty: they are forgotten."""

    former: str
    lead: str


def _touched(_: State, message: RecordTouched | RecordQueued | ContactImported, facts: Facts[State]) -> Decision[State]:
    found: Found = facts.found or Found()
    said = found.records.get(message.key, ())
    if isinstance(said, Refused):
        raise Refused(said.code, said.message)
    return Decision(state=None, messages=said)


def _queued(state: State, message: RecordQueued, facts: Facts[State]) -> Decision[State]:
    if message.record is not RecordType.COMPANY:
        return _touched(state, message, facts)
    found: Found = facts.found or Found()
    contacts = found.theirs.get(message.key, ())
    if isinstance(contacts, Refused):
        raise Refused(contacts.code, contacts.message)
    return Decision(state=None, messages=contacts_of(message, contacts))


def _seen(visitor: State, message: VisitorSeen, facts: Facts[State]) -> Decision[State]:
    assert visitor is not None  # `_new` made it
    found: Found = facts.found or Found()
    form = found.forms.get(Form(message.tenant, message.form), message.form)
    act = Act(message.at.timestamp(), message.act, form, message.url)
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
    """ingest's two parts in the one loop: what somebody waits for, and what comes in bulk, by `in_time`."""
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
    events.RecordQueued: _queued,
    events.VisitorSeen: _seen,
    events.VisitorIdentified: _identified,
    events.ContactReplaced: _replaced,
}
IGNORED: Final[frozenset[type[Message]]] = frozenset()
