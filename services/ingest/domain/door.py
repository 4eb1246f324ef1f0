"""What HubSpot's subscription events say, as messages: the good ones each for itself, the bad ones as dead letters."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import msgspec

from services.ingest.domain.companies import PRIMARY_COMPANY
from services.ingest.domain.heard import (
    ACCEPTED,
    EARLIEST_MS,
    IGNORED,
    LATEST_MS,
    MAX_EVENT_BYTES,
    OWN,
    REJECTED,
    TEST,
    Normalised,
    dead,
    fault_of,
)
from shared.crm.hubspot import OBJECT_TYPES, Event, pieces
from shared.errors import Refused
from shared.events import (
    ContactChanged,
    ContactErased,
    ContactImported,
    ContactReplaced,
    ContactsMerged,
    FormSubmitted,
    Message,
    PageVisited,
    PropertyValue,
    RecordQueued,
    RecordTouched,
    RecordType,
    identity,
)
from shared.events import tenant_of as tenant_by_key

SOURCE: Final = "webhooks/hubspot"
# The properties by which HubSpot tells of a form and of a page view.
FORM_PROPERTY: Final = "recent_conversion_event_name"
PAGE_PROPERTY: Final = "hs_analytics_last_url"
TEST_EVENT_ID, TEST_OBJECT_ID = 100, 123  # what the Test button of HubSpot's console sends

MADE, SET, MERGED = "creation", "propertyChange", "merge"

_whole: Final = msgspec.json.Decoder(list[Event])
_piece: Final = msgspec.json.Decoder(Event)


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Whose changes are not told as they come, and what of companies is of use.

    What the app that is told set itself, or one of `own_apps`, is what we wrote: it tells nothing, and must
    not come back as a person's word. What an import does to contacts of a
    portal whose records are `looked_up` is looked up when there is time: it comes by the hundred thousand.
    """

    own_apps: frozenset[str] = frozenset()
    looked_up: Callable[[int], bool] = lambda _: False
    of_companies: Callable[[int], Collection[str]] = lambda _: ()  # by portal: the properties that count there


def normalise(body: bytes, *, received_at: datetime, rules: Rules = Rules()) -> Normalised:
    """The messages in a body; a bad event among good ones is a dead letter beside their messages.

    Raises Refused: `malformed` for a body that is no JSON array, `event_too_large`.
    """
    found = Normalised()
    try:
        events = _whole.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):  # of one event, or of what holds them all
        return _one_by_one(body, received_at, found, rules)
    except RecursionError as error:
        raise Refused("malformed", "the body is not JSON") from error
    if len(body) > MAX_EVENT_BYTES or any(_fault(event) for event in events):
        return _one_by_one(body, received_at, found, rules)
    for event in events:
        _take(event, found, rules)
    return found


def _one_by_one(body: bytes, received_at: datetime, found: Normalised, rules: Rules) -> Normalised:
    try:
        originals = pieces(body)
    except (ValueError, RecursionError) as error:
        raise Refused("malformed", "the body is not a JSON array of events") from error
    for original in originals:
        if len(original) > MAX_EVENT_BYTES:
            raise Refused("event_too_large", f"an event is larger than {MAX_EVENT_BYTES} bytes")
        try:
            event = _piece.decode(original)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            fault = fault_of(error)
        else:
            fault = _fault(event)
        if fault:
            found.messages.append(dead(SOURCE, original, fault, received_at=received_at))
            found.outcomes[REJECTED] += 1
        else:
            _take(event, found, rules)
    return found


def _take(event: Event, found: Normalised, rules: Rules) -> None:
    if event.event_id == TEST_EVENT_ID and event.object_id == TEST_OBJECT_ID:
        found.outcomes[TEST] += 1
        return
    found.portals.add(event.portal_id)
    if event.is_own_write(rules.own_apps) and _subject(event)[1] == SET:
        found.outcomes[OWN] += 1
        return
    late = event.is_import and rules.looked_up(event.portal_id)
    messages = _imported(event) if late and _is_of_contact(event) else messages_of(event)
    if names := rules.of_companies(event.portal_id):
        messages += _of_companies(event, names)
    found.messages.extend(messages)
    found.outcomes[ACCEPTED if messages else IGNORED] += 1


# --- one event ---


def _is_of_contact(event: Event) -> bool:
    kind, verb = _subject(event)
    return kind is RecordType.CONTACT and verb in (MADE, SET)


def _imported(event: Event) -> list[Message]:
    """One fact for all that an import set of a contact at one moment."""
    fact = identity("ContactImported", event.portal_id, event.object_id, event.occurred_at)
    tenant, contact = tenant_of(event), str(event.object_id)
    return [ContactImported(id=fact, tenant=tenant, at=moment(event.occurred_at), contact=contact)]


def _subject(event: Event) -> tuple[RecordType | None, str]:
    """What an event is about, and what happened; None for records that are of no use to us."""
    noun, _, verb = (event.subscription_type or event.event_type).partition(".")
    if noun == "object":
        return OBJECT_TYPES.get(event.object_type_id), verb
    return _OWN_NOUNS.get(noun), verb


_OWN_NOUNS: Final = {str(kind): kind for kind in (RecordType.CONTACT, RecordType.COMPANY, RecordType.DEAL)}


def _fault(event: Event) -> str:
    """What an event of a known type lacks; "" when nothing."""
    noun, dot, verb = (event.subscription_type or event.event_type).partition(".")
    if not (noun and dot and verb):
        return "no subscriptionType"
    if event.portal_id <= 0:
        return "portalId must be above 0"
    if not EARLIEST_MS <= event.occurred_at < LATEST_MS:
        return "occurredAt must be a time in milliseconds since 1970"
    if verb == "associationChange":
        return "" if event.from_object_id and event.to_object_id else "an association needs fromObjectId and toObjectId"
    if verb == "merge":
        return "" if _survivor(event) else "a merge needs newObjectId or primaryObjectId"
    if verb in _NEED_OBJECT and (event.object_id is None or event.object_id <= 0):
        return "objectId must be above 0"
    return "propertyName is missing" if verb == "propertyChange" and not event.property_name else ""


_NEED_OBJECT: Final = frozenset({"creation", "propertyChange", "deletion", "privacyDeletion", "restore"})


def messages_of(event: Event) -> list[Message]:
    """A good event in our words; empty when it is of no use to us.

    The identity of a message is made of what it says, so a second delivery says nothing new.
    """
    kind, verb = _subject(event)
    if verb == "associationChange":
        return _association(event)
    if kind is RecordType.CONTACT:
        handler = OF_CONTACTS.get(verb)
        return handler(event) if handler else []
    if kind in _LOOKED_UP and verb in _TOUCHES:
        number = _survivor(event) if verb == "merge" else event.object_id
        return [_touched(event, kind, number, verb)]
    return []


_LOOKED_UP: Final = frozenset(RecordType) - {RecordType.CONTACT, RecordType.COMPANY}
_TOUCHES: Final = frozenset({"creation", "propertyChange", "restore", "merge"})


def tenant_of(event: Event) -> str:
    return f"hubspot:{event.portal_id}"


def lead_of(event: Event, contact: int | None) -> str:
    return f"hubspot:{event.portal_id}:{contact}"


def moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)  # a double is exact to the microsecond till 2100


def in_ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def _created(event: Event) -> list[Message]:
    return [_changed(event, "created", created=True), _touched(event, RecordType.CONTACT, event.object_id, "creation")]


def _restored(event: Event) -> list[Message]:
    return [_changed(event, "restored"), _touched(event, RecordType.CONTACT, event.object_id, "restore")]


def _changed(event: Event, what: str, *, created: bool = False) -> ContactChanged:
    lead = lead_of(event, event.object_id)
    return ContactChanged(
        id=identity("ContactChanged", lead, what, event.occurred_at),
        tenant=tenant_of(event),
        lead=lead,
        at=moment(event.occurred_at),
        created=created,
    )


def _property(event: Event) -> list[Message]:
    """The property; of two names, also the form or the page that HubSpot tells by it."""
    name, said = event.property_name or "", event.property_value
    value = None if said is None else str(said)
    lead, at, tenant = lead_of(event, event.object_id), moment(event.occurred_at), tenant_of(event)
    messages: list[Message] = [
        ContactChanged(
            id=identity("ContactChanged", lead, name, value, event.occurred_at),
            tenant=tenant,
            lead=lead,
            at=at,
            values=(PropertyValue(name=name, value=value, at=at),),
        )
    ]
    if value and name == FORM_PROPERTY:
        fact = identity("FormSubmitted", lead, value, event.occurred_at)
        messages.append(FormSubmitted(id=fact, tenant=tenant, lead=lead, at=at, form=value))
    elif value and name == PAGE_PROPERTY:
        fact = identity("PageVisited", lead, value, event.occurred_at)
        messages.append(PageVisited(id=fact, tenant=tenant, lead=lead, at=at, url=value))
    return messages


def _erased(event: Event) -> list[Message]:
    privacy = _subject(event)[1] == "privacyDeletion"
    lead, at = lead_of(event, event.object_id), moment(event.occurred_at)
    erased = erased_at(lead, at, privacy=privacy)
    return [erased, _replaced(lead, "", at)] if privacy else [erased]


def erased_at(lead: str, at: datetime, *, privacy: bool = False, reconciled: bool = False) -> ContactErased:
    """The fact that a contact was deleted, whoever tells it."""
    fact = identity("ContactErased", lead, privacy, in_ms(at))
    return ContactErased(id=fact, tenant=tenant_by_key(lead), lead=lead, at=at, privacy=privacy, reconciled=reconciled)


def _survivor(event: Event) -> int | None:
    return event.new_object_id or event.primary_object_id or event.object_id


def _merged(event: Event) -> list[Message]:
    """HubSpot may give the merged contact a new id: then the primary one is merged away too."""
    survivor = _survivor(event)
    parts = dict.fromkeys([event.primary_object_id, *event.merged_object_ids, event.object_id])
    gone = [lead_of(event, number) for number in parts if number and number != survivor]
    touched = _touched(event, RecordType.CONTACT, survivor, "merge")
    return [*merged_at(lead_of(event, survivor), gone, moment(event.occurred_at)), touched]


def merged_at(lead: str, gone: Collection[str], at: datetime, *, reconciled: bool = False) -> list[Message]:
    """The fact that contacts became one, in whatever order they are named; and who visitors are from then on."""
    if not gone:
        return []
    fact = identity("ContactsMerged", lead, *sorted(gone), in_ms(at))
    tenant = tenant_by_key(lead)
    merged = ContactsMerged(id=fact, tenant=tenant, lead=lead, at=at, merged=tuple(gone), reconciled=reconciled)
    return [merged, *(_replaced(former, lead, at) for former in gone)]


def _replaced(former: str, lead: str, at: datetime) -> ContactReplaced:
    fact = identity("ContactReplaced", former, lead, in_ms(at))
    return ContactReplaced(id=fact, tenant=tenant_by_key(former), at=at, former=former, lead=lead)


OF_CONTACTS: Final[Mapping[str, Callable[[Event], list[Message]]]] = {
    "creation": _created,
    "propertyChange": _property,
    "deletion": _erased,
    "privacyDeletion": _erased,
    "restore": _restored,
    "merge": _merged,
}


def _association(event: Event) -> list[Message]:
    """Told from both sides; whichever end is a record that we look up is looked up again."""
    for kind, number in _ends(event):
        if kind in _LOOKED_UP:
            return [_touched(event, kind, number, "associationChange")]
    return []


# --- companies ---


def _of_companies(event: Event, names: Collection[str]) -> list[Message]:
    """Whose company is another now is looked up; so is, when there is time, everybody whose company changed."""
    kind, verb = _subject(event)
    if verb == "associationChange":
        ends = dict(_ends(event))
        if ends.keys() == {RecordType.CONTACT, RecordType.COMPANY}:
            return [_contact_again(event, ends[RecordType.CONTACT])]
    elif kind is RecordType.CONTACT and verb == SET and event.property_name == PRIMARY_COMPANY:
        return [_contact_again(event, event.object_id)]
    elif kind is RecordType.COMPANY and (verb == MERGED or (verb == SET and event.property_name in names)):
        return [_queued(event, RecordType.COMPANY, _survivor(event))]
    return []


def _contact_again(event: Event, contact: int | None) -> Message:
    if event.is_import:
        return _queued(event, RecordType.CONTACT, contact)
    return _touched(event, RecordType.CONTACT, contact, "company")


def _queued(event: Event, kind: RecordType, number: int | None) -> RecordQueued:
    """One for all that was set at one moment."""
    return RecordQueued(
        id=identity("RecordQueued", event.portal_id, kind, number, event.occurred_at),
        tenant=tenant_of(event),
        at=moment(event.occurred_at),
        record=kind,
        record_id=str(number),
    )


def _ends(event: Event) -> list[tuple[RecordType | None, int | None]]:
    if event.from_object_type_id:
        kinds = OBJECT_TYPES.get(event.from_object_type_id), OBJECT_TYPES.get(event.to_object_type_id)
    else:  # the older form: CONTACT_TO_DEAL
        here, _, there = event.association_type.lower().partition("_to_")
        kinds = _OWN_NOUNS.get(here), _OWN_NOUNS.get(there)
    return [(kinds[0], event.from_object_id), (kinds[1], event.to_object_id)]


def _touched(event: Event, kind: RecordType | None, number: int | None, what: str) -> RecordTouched:
    assert kind is not None  # the callers look at the kind first
    return RecordTouched(
        id=identity("RecordTouched", event.portal_id, kind, number, what, event.property_name, event.occurred_at),
        tenant=tenant_of(event),
        at=moment(event.occurred_at),
        record=kind,
        record_id=str(number),
    )
