"""Ten stories, a paragraph of the agreement each: from what the CRM says to what both teams see, on both engines.

The agreement is the shipped one, for people in Bucharest. After every story the timeline must be what
was published, and kpi must have counted the very clocks that hand-off has.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from services.handoff.domain import commands
from services.kpi.domain.tallies import (
    CLOCKS_ENDED,
    CLOCKS_OPEN,
    CLOCKS_OVERDUE,
    CLOCKS_PAUSED,
    ESCALATIONS,
    FIRST_TOUCH,
    HANDOFFS,
    REASSIGNMENTS,
    RETURNS,
    STAGE_ENTRIES,
    bucket,
)
from shared.database import migrate, start_embedded
from shared.events import (
    AttemptRecorded,
    Channel,
    ClockBreached,
    ClockCancelled,
    ClockCorrected,
    ClockKind,
    ClockMet,
    ClockMoved,
    ClockPaused,
    ClockResumed,
    ClockSettled,
    ClockStarted,
    ClockWarned,
    LeadAssigned,
    LeadEscalated,
    LeadHandedOff,
    LeadReplied,
    LeadReturned,
    LeadsMerged,
    NurtureStarted,
    Outcome,
    State,
)
from tests.agreements import with_follow_up
from tests.contract.conftest import open_engine
from tests.contract.sales_floor import AGREEMENT, CHIEF, START, TABLES, Floor, local, name

pytestmark = pytest.mark.asyncio(loop_scope="module")

ACCEPT, FIRST, DECISION = ClockKind.ACCEPT, ClockKind.FIRST_TOUCH, ClockKind.DECISION
NEXT = ClockKind.NEXT_ATTEMPT
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
URGENT = ("first_touch", "inbound", "urgent")
CHANNELS = [step.channel for step in AGREEMENT.follow_up.cadence]
HOUR_EARLY = [START, local(2, 12), local(3, 11), local(5, 10), local(10, 9)]  # as the cadence asks, an hour before


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    address = start_embedded(tmp_path_factory.mktemp("floor"))
    for service in TABLES:
        migrate(address, service)
    return address


@pytest_asyncio.fixture(
    scope="module", loop_scope="module", params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)]
)
async def house(request: pytest.FixtureRequest, uri: str) -> AsyncIterator[Floor]:
    """The three services, open for all stories: on each engine they are started once."""
    address = request.getfixturevalue("kafka").address if request.param == "kafka" else uri
    bus = open_engine(request.param, address, f"t{uuid4().hex[:8]}.")
    await bus.create_topics(partitions=2, replication=1)
    house = Floor(uri, bus)
    house.open()
    yield house
    await house.close()


@pytest_asyncio.fixture(loop_scope="module")
async def floor(house: Floor) -> AsyncIterator[Floor]:
    await house.begin_anew()
    yield house
    await house.agrees_with_itself()


def tuesday(hour: int, minute: int, second: int = 0) -> datetime:
    """The one after Whit Monday."""
    return local(2, hour, minute, month=6) + timedelta(seconds=second)


def of(kind: ClockKind, messages: list[Any]) -> list[Any]:
    return [message for message in messages if message.clock is kind]


async def demo_requested(floor: Floor) -> int:
    """Somebody who fits us asked for a demo."""
    contact = floor.somebody()
    await floor.says(floor.person(contact, **CHIEF))
    await floor.says(floor.form(contact))
    return contact


async def test_a_demo_request_at_17_58_on_the_friday_before_a_holiday_is_due_three_minutes_into_tuesday(
    floor: Floor,
) -> None:
    await floor.at(local(29, 17, 58, month=5))  # Monday is Whit Monday
    in_time, late = await demo_requested(floor), await demo_requested(floor)
    assert {clock.due_at for clock in floor.told(late, ClockStarted) if clock.clock is FIRST} == {tuesday(9, 3)}
    await floor.at(local(1, 12, month=6))
    assert not floor.told(late, ClockWarned, ClockBreached)
    await floor.at(tuesday(9, 2))
    await floor.says(floor.touch(in_time))
    await floor.at(local(3, 9, 3, month=6))  # Wednesday
    await floor.says(floor.touch(late))
    assert [(m.share, m.at) for m in of(FIRST, floor.told(late, ClockWarned))] == [
        (0.5, tuesday(9, 0, 30)),
        (0.8, tuesday(9, 2)),
    ]
    assert [m.at for m in of(FIRST, floor.told(late, ClockBreached))] == [tuesday(9, 3)]
    assert [m.late_working_s for m in of(FIRST, floor.told(late, ClockSettled))] == [9 * 3600]
    assert [m.took_working_s for m in of(FIRST, floor.told(in_time, ClockMet))] == [4 * 60]
    assert [m.since_ready_working_s for m in floor.told(in_time, AttemptRecorded)] == [4 * 60]
    assert (await floor.kpis())["sla_compliance"]["first_touch"]["ratio"] == 0.5


async def test_five_unanswered_attempts_send_the_lead_back_and_after_the_cool_down_it_may_come_again(
    floor: Floor,
) -> None:
    contact = await demo_requested(floor)
    for made, channel in zip(HOUR_EARLY, CHANNELS, strict=True):
        await floor.at(made)
        await floor.says(floor.touch(contact, channel=channel))
    await floor.at(local(12, 17, 59))
    assert await floor.state(contact) == "working"
    await floor.at(local(30, 18))
    attempts = floor.told(contact, AttemptRecorded)
    assert [(attempt.number, attempt.channel) for attempt in attempts] == list(enumerate(CHANNELS, start=1))
    (back,) = floor.told(contact, LeadReturned)
    assert (back.reason, back.track, back.attempts) == ("unreachable", "decision", 5)
    assert back.at == local(12, 18)  # three working days after the last
    assert not floor.told(contact, ClockBreached)
    assert [(track.track, track.workflow) for track in floor.told(contact, NurtureStarted)] == [("decision", "1003")]
    assert (await floor.state(contact), await floor.running(contact)) == ("returned", {})
    assert await floor.tallied(RETURNS) == {("unreachable", "decision"): 1}

    await floor.says(floor.form(contact, "ebook"))  # ready by score, and left alone
    assert (await floor.state(contact), len(floor.told(contact, LeadHandedOff))) == ("returned", 1)
    await floor.at(back.at + timedelta(days=30))
    await floor.says(floor.form(contact, "ebook"))
    assert [(handed.episode, handed.trigger) for handed in floor.told(contact, LeadHandedOff)] == [
        (1, "Asked for a demo"),
        (2, "Ready by score"),
    ]
    await floor.says(floor.touch(contact))
    assert floor.told(contact, AttemptRecorded)[-1].number == 1
    assert {stage: count for (stage, _), count in (await floor.tallied(STAGE_ENTRIES)).items()} == {"lead": 1, "mql": 1}


async def test_a_lead_that_writes_back_in_the_middle_is_chased_no_longer_while_the_time_to_decide_runs_on(
    floor: Floor,
) -> None:
    contact = await demo_requested(floor)
    await floor.says(floor.touch(contact))
    await floor.at(local(2, 10))
    await floor.says(floor.touch(contact, Outcome.REPLIED, channel=Channel.EMAIL, by=""))
    assert [reply.channel for reply in floor.told(contact, LeadReplied)] == [Channel.EMAIL]
    assert [(clock.clock, clock.reason) for clock in floor.told(contact, ClockCancelled)] == [(NEXT, "replied")]
    await floor.at(local(27, 17, 59))  # the cadence with its wait for a reply would be over since Friday, the 20th
    assert (await floor.state(contact), set(await floor.running(contact))) == ("working", {DECISION})
    assert not floor.told(contact, LeadReturned, ClockBreached, ClockMoved)
    await floor.at(local(27, 18))  # twenty working days after the hand-off
    assert [(clock.clock, clock.at) for clock in floor.told(contact, ClockBreached)] == [(DECISION, local(27, 18))]
    assert await floor.state(contact) == "working"


async def test_two_triggers_at_once_make_one_hand_off_by_the_first_of_the_list_and_a_second_form_changes_nothing(
    floor: Floor,
) -> None:
    contact = floor.somebody()
    await floor.says(floor.form(contact, "ebook"), floor.person(contact, email=CHIEF["email"]))
    assert not floor.told(contact)
    await floor.says(floor.form(contact))
    assert not floor.told(contact)  # of those who do not fit not even a demo request is handed over
    await floor.says(floor.person(contact, **CHIEF))  # now both triggers hold
    first = floor.told(contact)
    await floor.at(local(2, 9, 1))
    await floor.says(floor.form(contact), floor.form(contact, "consultation"))
    assert floor.told(contact) == first
    assert [(handed.trigger, handed.priority) for handed in floor.told(contact, LeadHandedOff)] == [
        ("Asked for a demo", "urgent")
    ]
    assert [(clock.clock, clock.due_at) for clock in floor.told(contact, ClockStarted)] == [
        (ACCEPT, local(2, 9, 5)),
        (FIRST, local(2, 9, 5)),
        (DECISION, local(27, 18)),
    ]
    assert len(await floor.noticed(contact, "LeadHandedOff")) == 1
    assert await floor.tallied(HANDOFFS) == {("Asked for a demo", "inbound"): 1}


async def test_two_leads_at_sales_that_are_merged_have_one_chase_and_one_speed_to_lead(floor: Floor) -> None:
    survivor, other = await demo_requested(floor), await demo_requested(floor)
    await floor.says(floor.touch(other))
    touched = floor.told(other, AttemptRecorded)[0].at
    await floor.says(floor.merge(survivor, other))
    assert await floor.running(other) == {}
    met = {clock.clock: clock.at for clock in floor.told(survivor, ClockMet)}
    assert met == {ACCEPT: touched, FIRST: touched}
    (merge,) = floor.told(survivor, LeadsMerged)
    assert (merge.merged, merge.attempts, merge.state) == (name(other), 1, State.WORKING)
    await floor.at(local(2, 11))
    await floor.says(floor.touch(survivor, channel=Channel.EMAIL))
    assert [attempt.number for attempt in floor.told(survivor, AttemptRecorded)] == [2]
    first_touches = await floor.tallied(bucket(FIRST_TOUCH))
    assert sum(first_touches.values()) == 1
    ended = await floor.tallied(CLOCKS_ENDED)
    assert not [labels for labels in ended if labels[-1] == "breached"]


async def test_a_merge_in_mid_chase_keeps_one_life_and_leaves_no_ghost(floor: Floor) -> None:
    survivor, other = floor.somebody(), await demo_requested(floor)
    await floor.says(floor.person(survivor, email="ada@example.test"))
    await floor.says(floor.touch(other))
    running = await floor.running(other)
    await floor.at(local(2, 10))
    await floor.says(floor.merge(survivor, other))
    assert (await floor.running(other), await floor.running(survivor)) == ({}, running)
    assert {clock.reason for clock in floor.told(other, ClockCancelled)} == {"merged"}
    life = floor.told(other)
    await floor.at(local(2, 11))
    await floor.says(floor.touch(other, channel=Channel.EMAIL))  # under the old key it counts for the survivor
    assert [attempt.number for attempt in floor.told(survivor, AttemptRecorded)] == [2]
    assert [clock.clock for clock in floor.told(survivor, ClockMet)] == [NEXT]
    await floor.at(local(30, 18))
    assert floor.told(other) == life
    assert [(clock.clock, clock.at) for clock in floor.told(survivor, ClockBreached)] == [
        (NEXT, local(3, 11)),
        (DECISION, local(27, 18)),
    ]
    assert await floor.tallied(HANDOFFS) == {("Asked for a demo", "inbound"): 1}
    assert {stage: count for (stage, _), count in (await floor.tallied(STAGE_ENTRIES)).items() if stage == "mql"} == {
        "mql": 1
    }


async def test_the_agreement_changes_while_clocks_run_and_they_follow_it_from_the_restart_on(floor: Floor) -> None:
    promised = {
        "first_touch": {"urgent": "2h", "default": "1d"},  # longer
        "decide_within": "15d",  # shorter
        "accept_within": {},  # no more
    }
    breached, waiting = await demo_requested(floor), floor.somebody()
    await floor.at(local(2, 9, 4))
    await floor.says(floor.person(waiting, **CHIEF), floor.form(waiting))
    await floor.at(local(2, 9, 6))
    assert {clock.clock for clock in floor.told(breached, ClockBreached)} == {ACCEPT, FIRST}
    await floor.goes_down()
    await floor.comes_back(with_follow_up(AGREEMENT, **promised))
    assert [clock.clock for clock in floor.told(breached, ClockMoved)] == [DECISION]  # a breach stays one
    assert [(clock.clock, clock.former_due_at, clock.due_at) for clock in floor.told(waiting, ClockMoved)] == [
        (FIRST, local(2, 9, 9), local(2, 11, 4)),  # as if it had always been so
        (DECISION, local(30, 9, 4), local(23, 9, 6)),  # the whole new time from the change on
    ]
    assert {(clock.reason, clock.actor) for clock in floor.told(waiting, ClockMoved)} == {("agreement", "system")}
    assert [(c.clock, c.reason) for c in floor.told(waiting, ClockCancelled)] == [(ACCEPT, "not_promised")]
    await floor.at(local(2, 11, 3))
    assert not floor.told(waiting, ClockBreached)
    await floor.at(local(2, 11, 4))
    assert [(clock.clock, clock.at) for clock in floor.told(waiting, ClockBreached)] == [(FIRST, local(2, 11, 4))]
    assert (await floor.tallied(CLOCKS_OVERDUE))[URGENT] == 2


async def test_a_touch_made_in_time_and_logged_late_takes_the_breach_back_everywhere(floor: Floor) -> None:
    waiting, touched_since = await demo_requested(floor), await demo_requested(floor)
    await floor.at(local(2, 11))
    await floor.says(floor.touch(touched_since))
    await floor.at(local(2, 12))
    assert (await floor.tallied(CLOCKS_OVERDUE))[URGENT] == 1
    assert (await floor.kpis())["sla_compliance"]["first_touch"]["breached"] == 2
    for contact in (waiting, touched_since):
        assert (await floor.outcomes(contact))[FIRST] == "breached"
        await floor.says(floor.touch(contact, at=local(2, 9, 4)))
        breached = {clock.clock_id for clock in floor.told(contact, ClockBreached)}
        corrected = floor.told(contact, ClockCorrected)
        assert {clock.clock_id for clock in corrected} == breached
        assert {(clock.at, clock.took_working_s) for clock in corrected} == {(local(2, 9, 4), 240)}
        outcomes = await floor.outcomes(contact)
        assert (outcomes[ACCEPT], outcomes[FIRST]) == ("met", "met")
        assert (await floor.timeline(contact)).count("ClockCorrected") == 2
        assert [said["clock"] for said in await floor.noticed(contact, "ClockCorrected")] == [
            str(clock.clock) for clock in corrected
        ]
    assert not floor.told(waiting, ClockSettled)  # it was never late
    assert await floor.tallied(CLOCKS_OVERDUE) == {}
    assert (await floor.tallied(CLOCKS_ENDED))[(*URGENT, "breached")] == 2  # a counter never falls
    kept = (await floor.kpis())["sla_compliance"]["first_touch"]
    assert (kept["met"], kept["breached"], kept["corrected"], kept["ratio"]) == (2, 0, 2, 1.0)


async def test_what_merged_leads_were_late_with_counts_once_each_and_is_taken_back_by_touches_in_time(
    floor: Floor,
) -> None:
    settled, overdue = await demo_requested(floor), await demo_requested(floor)
    survivors = {settled: floor.somebody(), overdue: floor.somebody()}
    await floor.at(local(2, 11))
    await floor.says(floor.touch(settled))
    for other, survivor in survivors.items():
        await floor.says(floor.person(survivor, email="ada@example.test"), floor.merge(survivor, other))
    assert (await floor.tallied(CLOCKS_OVERDUE))[URGENT] == 1
    assert (await floor.tallied(CLOCKS_ENDED))[(*URGENT, "breached")] == 2
    for other, survivor in survivors.items():
        assert await floor.noticed(survivor, "ClockBreached") == []  # of both was told under their own names
        await floor.says(floor.touch(survivor, at=local(2, 9, 4)))
        assert {clock.clock for clock in floor.told(survivor, ClockCorrected)} == {ACCEPT, FIRST}
        assert len(await floor.noticed(survivor, "ClockCorrected")) == 2
        assert (await floor.timeline(survivor)).count("ClockCorrected") == 2
        outcomes = await floor.outcomes(other if other == settled else survivor)
        assert (outcomes[ACCEPT], outcomes[FIRST]) == ("met", "met")
    assert await floor.tallied(CLOCKS_OVERDUE) == {}
    kept = (await floor.kpis())["sla_compliance"]["first_touch"]
    assert (kept["met"], kept["breached"], kept["corrected"], kept["ratio"]) == (2, 0, 2, 1.0)


async def test_of_a_breach_that_the_merge_itself_finds_the_owner_is_told_under_the_survivors_name(floor: Floor) -> None:
    other, survivor = await demo_requested(floor), floor.somebody()
    await floor.says(floor.person(survivor, email="ada@example.test"))
    floor.clock.advance(local(2, 11) - floor.clock.now())  # and nobody looks: as after an outage
    await floor.says(floor.merge(survivor, other))
    told = await floor.noticed(survivor, "ClockBreached")
    assert {said["clock"] for said in told} == {ACCEPT, FIRST}
    assert await floor.noticed(other, "ClockBreached") == []
    assert (await floor.tallied(CLOCKS_ENDED))[(*URGENT, "breached")] == 1


async def test_what_falls_due_while_the_service_is_down_is_told_once_at_its_own_time_also_after_crashes(
    floor: Floor,
) -> None:
    contact = await demo_requested(floor)
    await floor.dies_deciding(local(2, 9, 30))
    assert not floor.told(contact, ClockWarned, ClockBreached)
    await floor.at(local(2, 16))
    await floor.says(floor.touch(contact))
    await floor.dies_telling()
    await floor.comes_back()
    assert floor.published_again() > 0
    told = floor.told(contact, ClockWarned, ClockBreached, LeadEscalated)
    assert [(type(m).__name__, m.at) for m in of(FIRST, told)] == [
        ("ClockWarned", START + 2.5 * MINUTE),
        ("ClockWarned", START + 4 * MINUTE),
        ("ClockBreached", START + 5 * MINUTE),
        ("LeadEscalated", START + 5 * MINUTE + 2 * HOUR),
    ]
    assert [message.at for message in told] == sorted(message.at for message in told)
    assert {settled.late_working_s for settled in floor.told(contact, ClockSettled)} == {7 * 3600 - 5 * 60}
    noticed = await floor.noticed(contact, "ClockWarned", "ClockBreached", "LeadEscalated")
    assert [(said["type"], said["version"]) for said in noticed] == [(type(m).__name__, m.version) for m in told]
    assert (await floor.tallied(CLOCKS_ENDED))[(*URGENT, "breached")] == 1
    assert sum((await floor.tallied(ESCALATIONS)).values()) == 2  # the accept clock's and the first touch's


async def test_nobody_accepts_so_the_manager_hears_of_it_and_a_colleague_gets_the_lead_and_a_clock_of_their_own(
    floor: Floor,
) -> None:
    steps = [{"at": "breach + 1h", "on": ["accept", "first_touch"], "to": "manager", "reassign": "team"}]
    await floor.goes_down()
    await floor.comes_back(with_follow_up(AGREEMENT, escalation=steps))
    contact = await demo_requested(floor)
    await floor.at(local(2, 10, 6))
    first, second = floor.told(contact, LeadAssigned)
    assert (second.at, second.former_owner, second.reason) == (local(2, 10, 5), first.owner, "escalated")
    assert {first.owner, second.owner} == {"ioana@example.com", "dan@example.com"}
    (told,) = await floor.noticed(contact, "LeadEscalated")
    assert (told["to"], told["owner"]) == (["radu@example.com"], first.owner)
    assert [said["reason"] for said in await floor.noticed(contact, "LeadAssigned")] == ["escalated"]
    theirs = [clock for clock in floor.told(contact, ClockStarted) if clock.owner == second.owner]
    assert [(clock.clock, clock.due_at) for clock in theirs] == [(ACCEPT, local(2, 10, 10)), (FIRST, local(2, 10, 10))]
    await floor.does(contact, commands.accept)
    await floor.at(local(2, 10, 9))
    await floor.says(floor.touch(contact))
    assert {(clock.clock, clock.owner) for clock in floor.told(contact, ClockBreached)} == {
        (ACCEPT, first.owner),
        (FIRST, first.owner),
    }
    assert {(clock.clock, clock.owner) for clock in floor.told(contact, ClockMet)} == {
        (ACCEPT, second.owner),
        (FIRST, second.owner),
    }
    (touched,) = floor.told(contact, AttemptRecorded)
    assert (touched.since_assigned_working_s, touched.since_ready_working_s) == (4 * 60, 69 * 60)
    assert await floor.tallied(REASSIGNMENTS) == {("escalated", "inbound"): 1}
    assert await floor.tallied(ESCALATIONS) == {("accept", "inbound", "1"): 1}
    ended = await floor.tallied(CLOCKS_ENDED)
    assert (ended[(*URGENT, "breached")], ended[(*URGENT, "met")]) == (1, 1)


async def test_a_lead_that_asked_to_wait_is_nobodys_breach_until_next_week_is_touched_in_time_and_becomes_a_customer(
    floor: Floor,
) -> None:
    contact, next_monday = await demo_requested(floor), local(9, 9)
    await floor.at(local(2, 9, 3))
    await floor.does(contact, commands.accept)
    await floor.does(contact, commands.pause("asked_to_wait", next_monday))
    assert {(clock.clock, clock.reason, clock.until) for clock in floor.told(contact, ClockPaused)} == {
        (FIRST, "asked_to_wait", next_monday),
        (DECISION, "asked_to_wait", next_monday),
    }
    assert sum((await floor.tallied(CLOCKS_PAUSED)).values()) == 2
    await floor.at(local(9, 8, 59))
    assert [clock.share for clock in of(FIRST, floor.told(contact, ClockWarned))] == [0.5]
    await floor.at(local(9, 9, 1))
    assert [(clock.clock, clock.at, clock.due_at) for clock in floor.told(contact, ClockResumed)] == [
        (FIRST, next_monday, local(9, 9, 2)),
        (DECISION, next_monday, local(3, 17, 57, month=4)),
    ]
    assert of(FIRST, floor.told(contact, ClockWarned))[-1].at == local(9, 9, 1)  # at 80 % of its own time
    assert await floor.tallied(CLOCKS_PAUSED) == {}
    await floor.says(floor.touch(contact, Outcome.CONNECTED))
    await floor.does(contact, commands.qualify)
    await floor.says(floor.deal(contact, "qualifiedtobuy"))
    await floor.says(floor.deal(contact, "closedwon"))
    assert {clock.clock for clock in floor.told(contact, ClockMet)} == {ACCEPT, FIRST, DECISION}
    assert not floor.told(contact, ClockBreached)
    assert (await floor.state(contact), await floor.running(contact)) == ("customer", {})
    assert await floor.tallied(CLOCKS_OPEN) == {}
    kept = await floor.kpis()
    assert kept["funnel"] == {"lead": 1, "mql": 1, "sql": 1, "opportunity": 1, "customer": 1}
    assert kept["speed_to_lead"]["working"]["mean_s"] == 5 * 9 * 3600 + 60  # the lead waited, whoever paused
