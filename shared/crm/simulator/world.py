"""The CRM in memory: records with their histories, and the webhook events that each change makes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from shared.clock import Clock
from shared.crm.simulator.ledger import Event, Ledger
from shared.events import RecordType

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
APP_ID: Final = 4001
IDS_AT_ONCE: Final = 1000  # ids reserved in the state file with one write

OBJECT_TYPE: Final[dict[RecordType, str]] = {
    RecordType.CONTACT: "0-1",
    RecordType.COMPANY: "0-2",
    RecordType.DEAL: "0-3",
    RecordType.MEETING: "0-47",
    RecordType.CALL: "0-48",
    RecordType.EMAIL: "0-49",
    RecordType.COMMUNICATION: "0-18",
}
PLURAL: Final[dict[RecordType, str]] = {
    **{kind: f"{kind}s" for kind in RecordType},
    RecordType.COMPANY: "companies",
}
# HubSpot's association type ids, from the record to a contact.
TO_CONTACT: Final[dict[RecordType, int]] = {
    RecordType.COMPANY: 280,
    RecordType.DEAL: 3,
    RecordType.CALL: 194,
    RecordType.EMAIL: 198,
    RecordType.MEETING: 200,
    RecordType.COMMUNICATION: 81,
}
OWN_SUBSCRIPTIONS: Final = frozenset({RecordType.CONTACT, RecordType.COMPANY, RecordType.DEAL})
PRIMARY_COMPANY: Final = "associatedcompanyid"
MERGED_FROM: Final = "hs_merged_object_ids"
FORM_PROPERTY: Final = "recent_conversion_event_name"
MODIFIED: Final = {RecordType.CONTACT: "lastmodifieddate"}
CREATED: Final = dict.fromkeys((RecordType.CONTACT, RecordType.COMPANY, RecordType.DEAL), "createdate")


def form_guid(form: str) -> str:
    """By which the forms API knows it."""
    return str(uuid5(NAMESPACE_URL, form))


def to_ms(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(milliseconds=1)


def to_text(ms: int) -> str:
    """The API's way to write a time: 2026-11-24T16:26:21.123Z."""
    moment = EPOCH + timedelta(milliseconds=ms)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{ms % 1000:03d}Z"


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Who changed something, as the CRM tells it."""

    kind: str
    id: str = ""


FORM: Final = Source(kind="FORM", id="form")
ANALYTICS: Final = Source(kind="ANALYTICS", id="WebAnalyticsPropertyCalculation")
BY_DOMAIN: Final = Source(kind="AUTO_ASSOCIATE_BY_DOMAIN", id="AssociateContactsToCompanies")
MERGE: Final = Source(kind="MERGE_OBJECTS")
INTEGRATION: Final = Source(kind="INTEGRATION", id=str(APP_ID))


def user(owner: int) -> Source:
    """A person at work in the CRM."""
    return Source(kind="CRM_UI", id=f"userId:{owner}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Value:
    """A value that a property was set to."""

    value: str
    ms: int
    source: Source


@dataclass(kw_only=True)
class Record:
    """A record of the CRM: each property with its whole history, the oldest value first."""

    type: RecordType
    id: int
    created_ms: int
    changed_ms: int
    history: dict[str, list[Value]] = field(default_factory=dict)
    contacts: list[int] = field(default_factory=list)
    archived_ms: int | None = None  # since when it is deleted

    def get(self, name: str) -> str | None:
        values = self.history.get(name)
        return values[-1].value if values else None

    def properties(self) -> dict[str, str]:
        """What every property is now, the CRM's own ones included."""
        own = {
            CREATED.get(self.type, "hs_createdate"): to_text(self.created_ms),
            MODIFIED.get(self.type, "hs_lastmodifieddate"): to_text(self.changed_ms),
            "hs_object_id": str(self.id),
        }
        return own | {name: values[-1].value for name, values in self.history.items()}


@dataclass(frozen=True, kw_only=True, slots=True)
class Owner:
    """A person who works in the CRM."""

    id: int
    first_name: str
    last_name: str

    @property
    def email(self) -> str:
        return f"{self.first_name}@sales.example".lower()


OWNERS: Final = tuple(
    Owner(id=501 + number, first_name=first, last_name=last)
    for number, (first, last) in enumerate(
        (("Ana", "Silva"), ("Ben", "Moss"), ("Carla", "Neri"), ("Dirk", "Maier"), ("Eva", "Lang"), ("Finn", "Berg"))
    )
)


class Ids:
    """Record ids that never repeat: across restarts too, when there is a file to remember them."""

    def __init__(self, path: Path | None, first: int) -> None:
        self._path = path
        self._next = self._reserved = first
        if path is not None and path.exists():
            self._next = self._reserved = int(json.loads(path.read_text())["next_id"])

    def take(self) -> int:
        if self._next >= self._reserved:
            self._reserved = self._next + IDS_AT_ONCE
            self._remember()
        self._next += 1
        return self._next - 1

    def _remember(self) -> None:
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fresh = self._path.with_suffix(".new")
            fresh.write_text(json.dumps({"next_id": self._reserved}))
            fresh.replace(self._path)


class World:
    """All records. Each change is a fact in the ledger and makes the webhook events that HubSpot would."""

    def __init__(
        self,
        *,
        clock: Clock,
        ledger: Ledger,
        ids: Ids,
        portal: int,
        listener: Callable[[Event], None],
        keep: int | None = None,
    ) -> None:
        """`keep` is how many records to remember at most; the oldest are forgotten first."""
        self._clock = clock
        self._ledger = ledger
        self._ids = ids
        self._listener = listener
        self._keep = keep
        self.portal = portal
        self.forms: dict[str, str] = {}  # by guid
        self.records: dict[tuple[RecordType, int], Record] = {}
        self._of_contact: dict[int, list[Record]] = {}
        self._companies: dict[str, Record] = {}  # by domain
        self._archived: dict[tuple[RecordType, int], Record] = {}
        self._merged: dict[tuple[RecordType, int], int] = {}

    def next_number(self) -> int:
        """A number that no record has, to make a life from."""
        return self._ids.take()

    def find(self, kind: RecordType, record_id: int) -> Record | None:
        """By its id, or by that of a record that was merged into it."""
        while (kind, record_id) in self._merged:
            record_id = self._merged[kind, record_id]
        return self.records.get((kind, record_id))

    def of_kind(self, kind: RecordType) -> Iterator[Record]:
        """Every record of one kind."""
        return (record for record in self.records.values() if record.type is kind)

    def archived_of_kind(self, kind: RecordType) -> Iterator[Record]:
        """Every deleted record of one kind; one that was merged away is not among them."""
        return (record for record in self._archived.values() if record.type is kind)

    def of_contact(self, contact: int, kind: RecordType) -> list[Record]:
        """The records of one kind that are associated with a contact."""
        return [record for record in self._of_contact.get(contact, ()) if record.type is kind]

    def create(
        self, kind: RecordType, properties: Mapping[str, str], source: Source, *, contacts: Sequence[int] = ()
    ) -> Record:
        """A new record; its creation tells no properties, they have to be fetched."""
        now = to_ms(self._clock.now())
        record = Record(type=kind, id=self._ids.take(), created_ms=now, changed_ms=now)
        self.records[kind, record.id] = record
        self._forget()
        self._ledger.fact("created", type=str(kind), id=record.id, at=now)
        for name, value in properties.items():
            self._set(record, name, Value(value=value, ms=now, source=source))
        self._tell(record, "creation", now, source, changeFlag="CREATED")
        for contact in contacts:
            self.associate(record, contact, source)
        return record

    def update(self, record: Record, properties: Mapping[str, str], source: Source) -> None:
        """Set `properties`; what does not change makes no event."""
        self._update(record, properties, source, self._moment(record))

    def _update(self, record: Record, properties: Mapping[str, str], source: Source, now: int) -> None:
        changed = {name: value for name, value in properties.items() if record.get(name) != value}
        if changed:
            record.changed_ms = now
            for name, value in changed.items():
                self._set(record, name, Value(value=value, ms=now, source=source))
                said = {"propertyName": name, "propertyValue": value, "isSensitive": False}
                self._tell(record, "propertyChange", now, source, **said)

    def associate(self, record: Record, contact: int, source: Source) -> None:
        """Associate with a contact: told twice, once from each side, as HubSpot does."""
        record.changed_ms = now = self._moment(record)
        record.contacts.append(contact)
        self._of_contact.setdefault(contact, []).append(record)
        self._ledger.fact("associated", type=str(record.type), id=record.id, contact=contact, at=now)
        here, there = (record.type, record.id), (RecordType.CONTACT, contact)
        self._listener(self._association(here, there, now, source))
        self._listener(self._association(there, here, now, source))

    def company_at(self, domain: str, properties: Mapping[str, str], source: Source) -> Record:
        """The company of a domain; made with these properties when there is none."""
        if domain not in self._companies:
            known = {"name": domain.partition(".")[0], "domain": domain, **properties}
            self._companies[domain] = self.create(RecordType.COMPANY, known, source)
        return self._companies[domain]

    def employ(self, contact: Record, company: Record, source: Source) -> None:
        """Make it the contact's primary company, and its only one."""
        if (former := self.company_of(contact)) is not None:
            former.contacts.remove(contact.id)
            self._of_contact[contact.id].remove(former)
        self.associate(company, contact.id, source)
        contact.changed_ms = now = max(self._moment(contact), company.changed_ms)
        self._set(contact, PRIMARY_COMPANY, Value(value=str(company.id), ms=now, source=source))

    def company_of(self, contact: Record) -> Record | None:
        """Its primary company, while that is remembered."""
        number = contact.get(PRIMARY_COMPANY)
        return self.find(RecordType.COMPANY, int(number)) if number else None

    def delete(self, record: Record, source: Source) -> None:
        """Nobody finds it from now on, until it is restored; that is no change of its properties."""
        now = record.archived_ms = self._moment(record)
        self._archived[record.type, record.id] = self.records.pop((record.type, record.id))
        self._ledger.fact("deleted", type=str(record.type), id=record.id, at=now)
        self._tell(record, "deletion", now, source)

    def restore(self, record: Record, source: Source) -> None:
        """Undo its deletion."""
        record.changed_ms = now = max(self._moment(record), (record.archived_ms or 0) + 1)
        record.archived_ms = None
        self.records[record.type, record.id] = self._archived.pop((record.type, record.id))
        self._ledger.fact("restored", type=str(record.type), id=record.id, at=now)
        self._tell(record, "restore", now, source)

    def merge(self, primary: Record, other: Record, source: Source) -> Record:
        """A new record out of two, as HubSpot makes it since 2025: both histories, what the primary says on top.

        The old ids stand for the new record from now on, and the deletion of each is told, too.
        """
        now = max(self._moment(primary), self._moment(other))
        whole = Record(type=primary.type, id=self._ids.take(), created_ms=primary.created_ms, changed_ms=now + 1)
        whole.history = _joined(primary, other, now)
        self.records[whole.type, whole.id] = whole
        gone = [*(whole.get(MERGED_FROM) or "").split(";"), str(primary.id), str(other.id)]
        # Nothing says that HubSpot gives this the time of its webhook.
        self._set(whole, MERGED_FROM, Value(value=";".join(filter(None, gone)), ms=now + 1, source=MERGE))
        for record in (primary, other):
            self._part(record, whole)
        self._ledger.fact("merged", type=str(whole.type), id=whole.id, of=[primary.id, other.id], at=now)
        ids = {"primaryObjectId": primary.id, "mergedObjectIds": [other.id], "newObjectId": whole.id}
        self._tell(whole, "merge", now, source, numberOfPropertiesMoved=len(other.history), **ids)
        for record in (primary, other):
            self._tell(record, "deletion", now, source)
        return whole

    def _part(self, record: Record, whole: Record) -> None:
        """It is no more, and what it was associated with is the new record's."""
        del self.records[record.type, record.id]
        self._merged[record.type, record.id] = whole.id
        if record.type is not RecordType.CONTACT:
            return
        theirs = self._of_contact.pop(record.id, [])
        known = self._of_contact.setdefault(whole.id, [])
        known.extend(one for one in theirs if one not in known)
        for one in theirs:
            moved = (whole.id if contact == record.id else contact for contact in one.contacts)
            one.contacts = list(dict.fromkeys(moved))

    def submit_form(self, contact: Record, form: str, page: str) -> None:
        """A form submission: HubSpot tells it as the contact's most recent conversion, as "page: form"."""
        now = self._moment(contact)
        said = {FORM_PROPERTY: form, "recent_conversion_date": str(now)}
        if contact.get(FORM_PROPERTY) != form:
            self._ledger.fact("form", contact=contact.id, form=form, page=page, at=now)
        self._update(contact, said, FORM, now)

    def visit_page(self, contact: Record, url: str) -> None:
        """A page view of a known contact."""
        now = self._moment(contact)
        if contact.get("hs_analytics_last_url") != url:
            self._ledger.fact("page", contact=contact.id, url=url, at=now)
        self._update(contact, {"hs_analytics_last_url": url}, ANALYTICS, now)

    def _forget(self) -> None:
        if self._keep is not None and len(self.records) > self._keep:
            kind, oldest = next(iter(self.records))
            del self.records[kind, oldest]
            if kind is RecordType.CONTACT:
                self._of_contact.pop(oldest, None)
            elif kind is RecordType.COMPANY:
                self._companies = {domain: record for domain, record in self._companies.items() if record.id != oldest}

    def _moment(self, record: Record) -> int:
        # No two changes of one record share a millisecond: which is newer must be plain to all.
        return max(to_ms(self._clock.now()), record.changed_ms + 1)

    def _set(self, record: Record, name: str, value: Value) -> None:
        record.history.setdefault(name, []).append(value)
        if name == FORM_PROPERTY:
            form = value.value.rpartition(": ")[2]
            self.forms[form_guid(form)] = form
        self._ledger.fact("property", type=str(record.type), id=record.id, name=name, value=value.value, at=value.ms)

    def _tell(self, record: Record, what: str, ms: int, source: Source, **more: Any) -> None:
        if record.type in OWN_SUBSCRIPTIONS:
            said = {"subscriptionType": f"{record.type}.{what}", "objectId": record.id}
        else:
            object_type = OBJECT_TYPE[record.type]
            said = {"subscriptionType": f"object.{what}", "objectId": record.id, "objectTypeId": object_type}
        self._listener(self._common(ms, source) | said | more)

    def _common(self, ms: int, source: Source) -> Event:
        event = {"portalId": self.portal, "appId": APP_ID, "occurredAt": ms, "changeSource": source.kind}
        return event | ({"sourceId": source.id} if source.id else {})

    def _association(
        self, here: tuple[RecordType, int], there: tuple[RecordType, int], ms: int, source: Source
    ) -> Event:
        """The event as told from the side of `here`."""
        (from_kind, from_id), (to_kind, to_id) = here, there
        ends = {"fromObjectId": from_id, "toObjectId": to_id, "associationRemoved": False}
        event = self._common(ms, source) | ends | {"isPrimaryAssociation": False}
        if from_kind in OWN_SUBSCRIPTIONS and to_kind in OWN_SUBSCRIPTIONS:
            kind = f"{from_kind}_to_{to_kind}".upper()
            return event | {"subscriptionType": f"{from_kind}.associationChange", "associationType": kind}
        other = from_kind if to_kind is RecordType.CONTACT else to_kind
        type_id = TO_CONTACT[other] if to_kind is RecordType.CONTACT else TO_CONTACT[other] - 1
        return event | {
            "subscriptionType": "object.associationChange",
            "fromObjectTypeId": OBJECT_TYPE[from_kind],
            "toObjectTypeId": OBJECT_TYPE[to_kind],
            "associationTypeId": type_id,
            "associationCategory": "HUBSPOT_DEFINED",
        }


def _joined(primary: Record, other: Record, now: int) -> dict[str, list[Value]]:
    """The histories of both; where the other said something later, the primary's value is set anew."""
    history: dict[str, list[Value]] = {}
    for name in {**primary.history, **other.history}:
        past = [*other.history.get(name, ()), *primary.history.get(name, ())]
        history[name] = sorted(past, key=lambda value: value.ms)
        if (kept := primary.get(name)) not in (None, history[name][-1].value):
            history[name].append(Value(value=kept or "", ms=now, source=MERGE))
    return history
