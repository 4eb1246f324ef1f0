"""What a workflow of HubSpot's says: one contact, whole, with the time at which each property was set.

Its webhook action posts the contact as the contacts API told it when workflows began (`vid`,
`portal-id`), in newer accounts as a CRM object (`objectId`, `portalId`, `objectTypeId`). In both a
property is its value with `timestamp`, or with the `versions` that it had; what says neither was
set when the request came, as far as anybody knows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from datetime import datetime
from typing import Final

import msgspec

from services.ingest.domain.door import FORM_PROPERTY, PAGE_PROPERTY, moment
from services.ingest.domain.heard import (
    ACCEPTED,
    EARLIEST_MS,
    IGNORED,
    LATEST_MS,
    MAX_EVENT_BYTES,
    REJECTED,
    Normalised,
    dead,
    fault_of,
)
from shared.crm.hubspot import OBJECT_TYPES
from shared.errors import Refused
from shared.events import ContactChanged, FormSubmitted, Message, PageVisited, PropertyValue, RecordType, identity

SOURCE: Final = "webhooks/hubspot/workflow"


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """A value that a property had from `timestamp` on, in milliseconds since 1970. PERSONAL: value."""

    value: str | int | float | bool | None = None
    timestamp: int | None = None


class Property(Version, frozen=True, kw_only=True):
    """A property as it is now. PERSONAL: versions."""

    versions: list[Version] = []

    @property
    def set_at_ms(self) -> int | None:
        """When it got its value: by itself, else by its latest version."""
        times = [version.timestamp for version in self.versions if version.timestamp is not None]
        return max(times, default=None) if self.timestamp is None else self.timestamp


class Contact(msgspec.Struct, frozen=True, kw_only=True):
    """The contact, in the older names or the newer ones. PERSONAL: properties."""

    vid: int | None = None
    portal: int | None = msgspec.field(name="portal-id", default=None)
    object_id: int | None = msgspec.field(name="objectId", default=None)
    portal_id: int | None = msgspec.field(name="portalId", default=None)
    object_type_id: str = msgspec.field(name="objectTypeId", default="0-1")
    properties: dict[str, Property]


_decoder: Final = msgspec.json.Decoder(Contact)
Wanted = Callable[[str], Collection[str]]  # by tenant, the properties that are facts there


def normalise(body: bytes, *, wanted: Wanted | None, received_at: datetime) -> Normalised:
    """The messages in a body, which is one contact. Without `wanted` every property is a fact.

    Raises Refused: `malformed` for what is no JSON object, `event_too_large`.
    """
    if len(body) > MAX_EVENT_BYTES:
        raise Refused("event_too_large", f"the contact is larger than {MAX_EVENT_BYTES} bytes")
    found = Normalised()
    try:
        contact = _decoder.decode(body)
        fault = _fault(contact)
    except msgspec.ValidationError as error:
        fault = fault_of(error)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused("malformed", "the body is no JSON object") from error
    if fault:
        found.messages.append(dead(SOURCE, body, fault, received_at=received_at))
        found.outcomes[REJECTED] += 1
        return found
    messages = list(_messages_of(contact, wanted, received_at))
    found.messages.extend(messages)
    found.portals.add(_portal(contact))
    found.outcomes[ACCEPTED if messages else IGNORED] += 1
    return found


def _fault(contact: Contact) -> str:
    """What a contact lacks; "" when nothing."""
    if not (contact.vid or contact.object_id or 0) > 0:
        return "vid (or objectId) must be above 0"
    if not _portal(contact) > 0:
        return "portal-id (or portalId) must be above 0"
    times = [one.set_at_ms for one in contact.properties.values()]
    fits = all(EARLIEST_MS <= at < LATEST_MS for at in times if at is not None)
    return "" if fits else "a property's timestamp must be a time in milliseconds since 1970"


def _portal(contact: Contact) -> int:
    return contact.portal or contact.portal_id or 0


def _messages_of(contact: Contact, wanted: Wanted | None, received_at: datetime) -> Iterator[Message]:
    """What is wanted of its properties as one change; the form and the page that properties tell of beside it.

    The identity of each is made of what the contact says, not of when it came: a second delivery says nothing new.
    """
    if OBJECT_TYPES.get(contact.object_type_id) is not RecordType.CONTACT:
        return
    tenant = f"hubspot:{_portal(contact)}"
    lead = f"{tenant}:{contact.vid or contact.object_id}"
    names = {*wanted(tenant), FORM_PROPERTY, PAGE_PROPERTY} if wanted else set(contact.properties)
    known = {name: one for name, one in sorted(contact.properties.items()) if name in names}
    if not known:
        return
    values = tuple(_value(name, one, received_at) for name, one in known.items())
    said = [part for name, one in known.items() for part in (name, one.value, one.set_at_ms)]
    fact, at = identity("ContactChanged", lead, "workflow", *said), max(value.at for value in values)
    yield ContactChanged(id=fact, tenant=tenant, lead=lead, at=at, values=values)
    yield from _acts(known, tenant, lead)


def _value(name: str, one: Property, received_at: datetime) -> PropertyValue:
    at = received_at if one.set_at_ms is None else moment(one.set_at_ms)
    return PropertyValue(name=name, value=None if one.value is None else str(one.value), at=at)


def _acts(known: dict[str, Property], tenant: str, lead: str) -> Iterator[Message]:
    """The same facts that the change of these properties makes; without its time there is no telling them apart."""
    form, page = known.get(FORM_PROPERTY), known.get(PAGE_PROPERTY)
    if form and form.value and form.set_at_ms is not None:
        fact = identity("FormSubmitted", lead, form.value, form.set_at_ms)
        yield FormSubmitted(id=fact, tenant=tenant, lead=lead, at=moment(form.set_at_ms), form=str(form.value))
    if page and page.value and page.set_at_ms is not None:
        fact = identity("PageVisited", lead, page.value, page.set_at_ms)
        yield PageVisited(id=fact, tenant=tenant, lead=lead, at=moment(page.set_at_ms), url=str(page.value))
