"""What webhooks say, as messages: each type, bad ones among good ones, and the same fact twice."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from services.ingest.domain.door import Rules, normalise
from services.ingest.domain.heard import MAX_EVENT_BYTES, Normalised
from shared.errors import Refused
from shared.events import (
    ContactChanged,
    ContactErased,
    ContactImported,
    ContactReplaced,
    ContactsMerged,
    DeadLetter,
    FormSubmitted,
    Message,
    PageVisited,
    RecordTouched,
    RecordType,
)

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
AT_MS = 1_795_521_600_000
AT = datetime.fromtimestamp(AT_MS / 1000, UTC)
LEAD = "hubspot:62515:901"


def event(kind: str = "contact.propertyChange", **more: Any) -> dict[str, Any]:
    """An event of HubSpot's; None leaves a field out."""
    said: dict[str, Any] = {
        "eventId": 7,
        "subscriptionId": 3001,
        "portalId": 62515,
        "appId": 4001,
        "occurredAt": AT_MS,
        "subscriptionType": kind,
        "attemptNumber": 0,
        "objectId": 901,
        "changeSource": "CRM_UI",
    }
    if kind.endswith("propertyChange"):
        said |= {"propertyName": "jobtitle", "propertyValue": "CEO"}
    return {name: value for name, value in (said | more).items() if value is not None}


def heard(*events: Any) -> Normalised:
    return normalise(msgspec.json.encode(list(events)), received_at=NOW)


def said(*events: Any) -> list[Message]:
    return heard(*events).messages


def test_a_property_is_set_at_the_time_at_which_it_occurred() -> None:
    (message,) = said(event())
    assert isinstance(message, ContactChanged)
    assert (message.lead, message.tenant, message.at) == (LEAD, "hubspot:62515", AT)
    assert [(v.name, v.value, v.at) for v in message.values] == [("jobtitle", "CEO", AT)]


@pytest.mark.parametrize(("value", "told"), [(None, None), ("", ""), (12, "12"), (True, "True")])
def test_a_value_is_text_or_nothing(value: Any, told: str | None) -> None:
    body = msgspec.json.encode([event() | {"propertyValue": value}])
    (message,) = normalise(body, received_at=NOW).messages
    assert isinstance(message, ContactChanged)
    assert message.values[0].value == told


@pytest.mark.parametrize("app", [77, "77"])
def test_what_we_wrote_in_the_crm_ourselves_does_not_come_back(app: Any) -> None:
    own = {"propertyName": "hs_lead_status", "propertyValue": "OPEN", "appId": 77, "changeSource": "INTEGRATION"}
    assert said(event(**own, sourceId=app)) == []
    assert len(said(event(**own, sourceId="78"))) == 1
    assert len(said(event(**{**own, "changeSource": "CRM_UI"}, sourceId="userId:77"))) == 1
    assert len(said(event(**{**own, "changeSource": None, "appId": "x"}, sourceId={"strange": 1}))) == 1


def test_a_new_contact_is_told_and_looked_up() -> None:
    created, touched = said(event("contact.creation", changeFlag="CREATED"))
    assert isinstance(created, ContactChanged)
    assert created.created
    assert isinstance(touched, RecordTouched)
    assert (touched.record, touched.record_id) == (RecordType.CONTACT, "901")


def test_the_generic_form_of_a_subscription_says_the_same() -> None:
    generic = event("object.propertyChange", objectTypeId="0-1")
    assert said(generic) == said(event())


def test_the_older_name_of_the_type_is_understood() -> None:
    assert said(event(subscriptionType=None, eventType="contact.propertyChange")) == said(event())


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("recent_conversion_event_name", "Landing: demo-request", FormSubmitted),
        ("hs_analytics_last_url", "https://www.example.com/pricing?x=1", PageVisited),
    ],
)
def test_a_form_and_a_page_are_told_beside_the_property(name: str, value: str, kind: type[Message]) -> None:
    changed, act = said(event(propertyName=name, propertyValue=value))
    assert isinstance(changed, ContactChanged)
    assert isinstance(act, kind)
    assert act.at == AT


def test_a_cleared_form_property_is_no_form() -> None:
    assert len(said(event(propertyName="recent_conversion_event_name", propertyValue=""))) == 1


@pytest.mark.parametrize(("kind", "privacy"), [("contact.deletion", False), ("contact.privacyDeletion", True)])
def test_a_deletion_erases(kind: str, *, privacy: bool) -> None:
    message, *more = said(event(kind))
    assert isinstance(message, ContactErased)
    assert message.privacy is privacy
    assert [(m.former, m.lead) for m in more if isinstance(m, ContactReplaced)] == [(LEAD, "")] * privacy


def test_a_merge_names_all_that_are_no_more() -> None:
    merged, *replaced, touched = said(
        event("contact.merge", primaryObjectId=901, mergedObjectIds=[902], newObjectId=950)
    )
    assert isinstance(merged, ContactsMerged)
    assert merged.lead == "hubspot:62515:950"
    assert merged.merged == ("hubspot:62515:901", "hubspot:62515:902")
    assert [m.former for m in replaced if isinstance(m, ContactReplaced)] == list(merged.merged)
    assert isinstance(touched, RecordTouched)
    assert touched.record_id == "950"


def test_a_merge_into_the_primary_keeps_it() -> None:
    merged, *_ = said(event("contact.merge", primaryObjectId=901, mergedObjectIds=[902]))
    assert isinstance(merged, ContactsMerged)
    assert (merged.lead, merged.merged) == (LEAD, ("hubspot:62515:902",))


@pytest.mark.parametrize(
    ("kind", "more", "record"),
    [
        ("object.creation", {"objectTypeId": "0-48"}, RecordType.CALL),
        ("object.propertyChange", {"objectTypeId": "0-49"}, RecordType.EMAIL),
        ("deal.propertyChange", {}, RecordType.DEAL),
        ("deal.creation", {}, RecordType.DEAL),
    ],
)
def test_an_engagement_or_a_deal_is_looked_up(kind: str, more: dict[str, Any], record: RecordType) -> None:
    (touched,) = said(event(kind, **more))
    assert isinstance(touched, RecordTouched)
    assert (touched.record, touched.record_id) == (record, "901")


def test_both_sides_of_an_association_are_one_fact() -> None:
    here = {"fromObjectId": 901, "toObjectId": 7001, "fromObjectTypeId": "0-1", "toObjectTypeId": "0-48"}
    there = {"fromObjectId": 7001, "toObjectId": 901, "fromObjectTypeId": "0-48", "toObjectTypeId": "0-1"}
    one, other = said(*(event("object.associationChange", objectId=None, **ends) for ends in (here, there)))
    assert isinstance(one, RecordTouched)
    assert (one.record, one.record_id) == (RecordType.CALL, "7001")
    assert one == other


def test_an_association_of_the_older_form_is_understood() -> None:
    ends = {"fromObjectId": 901, "toObjectId": 55, "associationType": "CONTACT_TO_DEAL"}
    (touched,) = said(event("contact.associationChange", objectId=None, **ends))
    assert isinstance(touched, RecordTouched)
    assert (touched.record, touched.record_id) == (RecordType.DEAL, "55")


def test_a_second_delivery_says_the_same_fact() -> None:
    assert said(event(eventId=8, attemptNumber=3)) == said(event())


@pytest.mark.parametrize("more", [{"occurredAt": AT_MS + 1}, {"propertyValue": "CFO"}, {"objectId": 902}])
def test_another_time_value_or_contact_is_another_fact(more: dict[str, Any]) -> None:
    assert said(event(**more))[0].id != said(event())[0].id


@pytest.mark.parametrize(
    "kind", ["company.propertyChange", "ticket.creation", "deal.deletion", "conversation.newMessage", "unheard.of"]
)
def test_what_is_of_no_use_to_us_is_ignored_and_counted(kind: str) -> None:
    found = heard(event(kind))
    assert (found.messages, found.outcomes["ignored"], found.accepted) == ([], 1, 1)


def test_the_console_s_test_button_changes_nothing() -> None:
    found = heard(event(eventId=100, objectId=123))
    assert (found.messages, found.outcomes["test"]) == ([], 1)


RULES = Rules(own_apps=frozenset({"5001"}), looked_up=lambda portal: portal == 62515)


def by_rules(*events: Any) -> Normalised:
    return normalise(msgspec.json.encode(list(events)), received_at=NOW, rules=RULES)


def test_what_our_own_app_set_is_counted_and_is_no_news() -> None:
    ours = event(changeSource="INTEGRATION", sourceId="5001")
    found = by_rules(ours)
    assert (found.messages, found.outcomes["own"], found.accepted, found.portals) == ([], 1, 1, {62515})


@pytest.mark.parametrize(
    "another",
    [
        event(changeSource="INTEGRATION", sourceId="4002"),
        event(changeSource="CRM_UI", sourceId="5001"),
        event("contact.creation", changeSource="INTEGRATION", sourceId="5001"),
    ],
    ids=str,
)
def test_what_others_set_or_our_app_made_is_news(another: Any) -> None:
    assert by_rules(another).messages == said(another) != []


def test_what_an_import_does_to_a_contact_is_looked_up_when_there_is_time() -> None:
    made = event("contact.creation", changeSource="IMPORT")
    set_ = [event(changeSource="IMPORT", propertyName=name) for name in ("jobtitle", "country")]
    found = by_rules(made, *set_)
    assert {type(m) for m in found.messages} == {ContactImported}
    assert {(m.key, m.id) for m in found.messages} == {("hubspot:62515:contact:901", found.messages[0].id)}
    assert by_rules(event(changeSource="IMPORT", occurredAt=AT_MS + 1)).messages[0].id != found.messages[0].id


@pytest.mark.parametrize(
    "told",
    [
        event(changeSource="IMPORT", portalId=7),
        event("contact.privacyDeletion", changeSource="IMPORT"),
        event("deal.creation", changeSource="IMPORT"),
    ],
    ids=["no token", "deletion", "deal"],
)
def test_what_cannot_wait_or_cannot_be_looked_up_is_told_as_it_comes(told: Any) -> None:
    assert by_rules(told).messages == said(told) != []


BAD = [
    "no event at all",
    {},
    event(occurredAt=None),
    event(occurredAt="yesterday"),
    event(occurredAt=12),
    event(objectId="nobody"),
    event(objectId=None),
    event(objectId=0),
    event(propertyName=None),
    event(portalId=None),
    event(subscriptionType=None),
    event("contact.merge", objectId=None),
    event("object.associationChange", objectId=None),
]


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_a_bad_event_is_a_dead_letter_with_its_bytes_and_its_neighbours_are_taken(bad: Any) -> None:
    found = heard(event(objectId=1), bad, event(objectId=2))
    letters = [m for m in found.messages if isinstance(m, DeadLetter)]
    assert [m.key for m in found.messages if isinstance(m, ContactChanged)] == ["hubspot:62515:1", "hubspot:62515:2"]
    assert (found.accepted, found.rejected) == (2, 1)
    assert [msgspec.json.decode(letter.original) for letter in letters] == [bad]
    assert letters[0].detail


@pytest.mark.parametrize("value", [b'"cut \\ud83d"', b'"tab\t"', b"NaN", b'"caf\xe9"', b'"a, ] b\\ud83d"'], ids=str)
def test_an_event_that_is_not_quite_json_costs_no_neighbour(value: bytes) -> None:
    """A text cut in the middle of an emoji is such a one."""
    good, strange = msgspec.json.encode(event(objectId=1)), msgspec.json.encode(event(propertyValue="CUT"))
    strange = strange.replace(b'"CUT"', value)
    found = normalise(b"[" + good + b" ,\n" + strange + b"," + good + b" ] ", received_at=NOW)
    assert [m.key for m in found.messages if isinstance(m, ContactChanged)] == ["hubspot:62515:1"] * 2
    assert [m.original for m in found.messages if isinstance(m, DeadLetter)] == [strange]


def test_the_reason_for_a_dead_letter_never_quotes_a_value() -> None:
    (letter,) = said(event(objectId="ada@example.com"))
    assert isinstance(letter, DeadLetter)
    assert "ada" not in letter.detail


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[{]", b'{"objectId": 1}', b"null", b"[" * 100_000, b"\xff\xfe", b"[NaN", b"[NaN]x", b"[NaN,]"]
)
def test_a_body_that_is_no_array_is_refused_whole(body: bytes) -> None:
    with pytest.raises(Refused) as refused:
        normalise(body, received_at=NOW)
    assert refused.value.code == "malformed"


def test_an_event_that_no_topic_would_take_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        said(event(propertyValue="x" * MAX_EVENT_BYTES))
    assert refused.value.code == "event_too_large"


def test_an_empty_array_is_nothing() -> None:
    assert heard().accepted == 0
