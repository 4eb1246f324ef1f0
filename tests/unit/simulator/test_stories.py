"""Lives, records and the schedule: the same seed gives the same story."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from shared.clock import ManualClock
from shared.crm.simulator.ledger import Event, Ledger, content_identity
from shared.crm.simulator.personas import DECISION_FORMS, Intent, StepKind, make_life
from shared.crm.simulator.schedule import Schedule, in_business_hours
from shared.crm.simulator.world import FORM, Ids, Record, World, user
from shared.events import RecordType

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def a_world(told: list[Event], *, clock: ManualClock | None = None, keep: int | None = None) -> World:
    return World(
        clock=clock or ManualClock(NOON),
        ledger=Ledger(None),
        ids=Ids(None, 901),
        portal=62515,
        listener=told.append,
        keep=keep,
    )


def a_contact(world: World) -> Record:
    return world.create(RecordType.CONTACT, {"email": "ada@example.com", "jobtitle": "CEO"}, FORM)


def test_the_same_seed_gives_the_same_lives() -> None:
    assert [make_life(7, n) for n in range(50)] == [make_life(7, n) for n in range(50)]


def test_another_seed_gives_other_lives() -> None:
    assert [make_life(7, n) for n in range(10)] != [make_life(8, n) for n in range(10)]


def test_only_those_who_mean_to_buy_ask_for_sales() -> None:
    for life in (make_life(1, n) for n in range(200)):
        asks = {step.name for step in life.steps if step.kind is StepKind.FORM} & set(DECISION_FORMS)
        assert bool(asks) == (life.intent is Intent.BUYING)


def test_no_life_submits_one_form_twice() -> None:
    for life in (make_life(1, n) for n in range(200)):
        forms = [step.name for step in life.steps if step.kind is StepKind.FORM]
        assert len(forms) == len(set(forms))


def test_a_creation_tells_no_properties() -> None:
    told: list[Event] = []
    contact = a_contact(a_world(told))
    assert [event["subscriptionType"] for event in told] == ["contact.creation"]
    assert told[0]["objectId"] == contact.id
    assert told[0]["changeFlag"] == "CREATED"
    assert "propertyName" not in told[0]


def test_a_form_is_told_as_the_most_recent_conversion() -> None:
    told: list[Event] = []
    world = a_world(told)
    world.submit_form(a_contact(world), "Landing: demo-request", "https://www.example.com/demo")
    values = {e["propertyName"]: e["propertyValue"] for e in told if e["subscriptionType"] == "contact.propertyChange"}
    assert values["recent_conversion_event_name"] == "Landing: demo-request"


def test_a_value_that_does_not_change_tells_nothing() -> None:
    told: list[Event] = []
    world = a_world(told)
    contact = a_contact(world)
    told.clear()
    world.update(contact, {"jobtitle": "CEO"}, FORM)
    assert told == []


def test_two_changes_never_share_a_millisecond() -> None:
    told: list[Event] = []
    world = a_world(told)
    contact = a_contact(world)
    for title in ("CFO", "CMO", "CTO"):
        world.update(contact, {"jobtitle": title}, FORM)
    moments = [event["occurredAt"] for event in told]
    assert moments == sorted(set(moments))


def test_an_engagement_is_told_as_a_generic_object_and_its_association_from_both_sides() -> None:
    told: list[Event] = []
    world = a_world(told)
    contact = a_contact(world)
    told.clear()
    call = world.create(RecordType.CALL, {"hs_call_direction": "OUTBOUND"}, user(501), contacts=[contact.id])
    creation, *associations = told
    assert (creation["subscriptionType"], creation["objectTypeId"], creation["objectId"]) == (
        "object.creation",
        "0-48",
        call.id,
    )
    ends = {(e["fromObjectTypeId"], e["fromObjectId"], e["toObjectTypeId"], e["toObjectId"]) for e in associations}
    assert ends == {("0-48", call.id, "0-1", contact.id), ("0-1", contact.id, "0-48", call.id)}
    assert all(e["subscriptionType"] == "object.associationChange" and "objectId" not in e for e in associations)


def test_a_deal_is_told_with_its_own_subscriptions() -> None:
    told: list[Event] = []
    world = a_world(told)
    contact = a_contact(world)
    deal = world.create(RecordType.DEAL, {"dealstage": "appointmentscheduled"}, user(501), contacts=[contact.id])
    world.update(deal, {"dealstage": "closedwon"}, user(501))
    kinds = [event["subscriptionType"] for event in told[1:]]
    assert kinds == ["deal.creation", "deal.associationChange", "contact.associationChange", "deal.propertyChange"]
    assert told[2]["associationType"] == "DEAL_TO_CONTACT"


def test_identity_is_of_what_an_event_says_not_of_its_delivery() -> None:
    event: Event = {"eventId": 1, "attemptNumber": 0, "subscriptionId": 3, "objectId": 901, "occurredAt": 5}
    assert content_identity(event) == content_identity(event | {"eventId": 2, "attemptNumber": 1})
    assert content_identity(event) != content_identity(event | {"occurredAt": 6})


def test_record_ids_do_not_repeat_after_a_restart(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    first, again = Ids(state, 901), None
    before = {first.take() for _ in range(1500)}
    again = Ids(state, 901)
    assert before.isdisjoint(again.take() for _ in range(1500))


def test_a_world_that_keeps_few_forgets_the_oldest() -> None:
    world = a_world([], keep=2)
    oldest, _, newest = a_contact(world), a_contact(world), a_contact(world)
    assert world.find(RecordType.CONTACT, oldest.id) is None
    assert world.find(RecordType.CONTACT, newest.id) is newest


def test_what_is_due_happens_in_the_order_of_its_moments() -> None:
    clock, done = ManualClock(NOON), list[str]()
    schedule = Schedule(clock)
    schedule.after(20, lambda: done.append("second"))
    schedule.after(10, lambda: done.append("first"))
    schedule.after(99, lambda: done.append("not yet"))
    clock.advance(timedelta(seconds=30))
    schedule.run_due()
    assert done == ["first", "second"]


def test_business_goes_on_after_the_night_and_the_weekend() -> None:
    assert in_business_hours(NOON) == NOON
    assert in_business_hours(NOON.replace(hour=20)) == datetime(2026, 11, 25, 8, tzinfo=UTC)
    assert in_business_hours(datetime(2026, 11, 27, 19, tzinfo=UTC)) == datetime(2026, 11, 30, 8, tzinfo=UTC)
