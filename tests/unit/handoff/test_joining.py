"""Two leads that Sales has become one: as if it had always been one lead."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from shared.events import (
    AttemptRecorded,
    ClockBreached,
    ClockCancelled,
    ClockCorrected,
    ClockMet,
    ClockSettled,
    LeadAccepted,
    LeadAskedAgain,
    LeadHandedOff,
    LeadsMerged,
    Outcome,
    State,
)
from tests.unit.handoff.story import Story
from tests.unit.handoff.test_working_time import (
    ACCEPT,
    ANA,
    BEA,
    DECISION,
    FIRST,
    NEXT,
    OWED,
    WAIT,
    handed_off,
    monday,
    no_ghosts,
    of,
    one,
    open_clock,
    open_kinds,
    saying,
    tried,
    tuesday,
)

ALONE: dict[str, Any] = {"colleagues": "ignore"}


def both(**promises: Any) -> tuple[Story, Story]:
    """A survivor and another, both handed off at nine."""
    promises = {**OWED, **promises}
    return handed_off(**promises), handed_off(contact=902, **promises)


def merged(survivor: Story, other: Story, *, hour: int, minute: int = 0) -> Story:
    at = monday(hour, minute)
    return survivor.at(at).merged_with(other.at(at))


# --- what was done for one was done for both ---


def test_a_touch_of_the_other_is_the_survivors_first_touch_at_its_time() -> None:
    survivor, other = both()
    merged(survivor, other.at(monday(9, 30)).activity(), hour=9, minute=45)
    assert [(told.clock, told.at) for told in survivor.heard(ClockMet)] == [
        (ACCEPT, monday(9, 30)),
        (FIRST, monday(9, 30)),
    ]
    assert [(attempt.number, attempt.at) for attempt in survivor.lead.attempts] == [(1, monday(9, 30))]
    assert (survivor.lead.state, survivor.only(LeadAccepted).at) == (State.WORKING, monday(9, 30))
    assert open_kinds(survivor) == [DECISION, NEXT]
    assert open_clock(survivor, NEXT).due_at == monday(13, 30)
    assert no_ghosts(survivor, other)


def test_of_a_touch_in_time_no_breach_is_told_when_nobody_looked_in_between() -> None:
    survivor, other = both()
    merged(survivor, other.at(monday(9, 30)).activity(), hour=17)
    assert [(told.clock, told.at) for told in survivor.heard(ClockBreached)] == [(NEXT, monday(13, 30))]
    assert one(survivor, ClockBreached, NEXT).told_as == one(other, ClockBreached, NEXT).clock_id


def test_a_breach_of_the_survivor_that_the_others_touch_makes_none_is_taken_back() -> None:
    survivor, other = both()
    survivor.at(monday(14)).clocks_fire()
    merged(survivor, other.at(monday(12)).activity(), hour=14)
    assert one(survivor, ClockCorrected, FIRST).at == monday(12)
    assert one(survivor, ClockSettled, ACCEPT).at == monday(12)
    assert no_ghosts(survivor, other)


def test_a_touch_that_was_too_late_settles_the_survivors_breach() -> None:
    survivor, other = both()
    merged(survivor, other.at(monday(14)).activity(), hour=15)
    assert one(survivor, ClockBreached, FIRST).at == monday(13)
    assert (one(survivor, ClockSettled, FIRST).at, one(survivor, ClockSettled, FIRST).late_s) == (monday(14), 3600)


def test_what_was_due_before_the_others_later_touch_is_breached_although_nobody_looked_in_between() -> None:
    survivor, other = both()
    survivor.at(monday(10)).activity()
    other.at(monday(9, 30)).activity().at(monday(15)).activity()
    merged(survivor, other, hour=16)
    assert of(survivor, ClockBreached, NEXT)[0].at == monday(14)
    assert of(survivor, ClockSettled, NEXT)[0].at == monday(15)


def test_the_touches_of_both_are_one_cadence_in_the_order_of_their_time() -> None:
    survivor, other = both()
    survivor.at(monday(9, 10)).activity(activity="call:a").at(monday(11)).activity(activity="call:c")
    merged(survivor, other.at(monday(10)).activity(activity="call:b"), hour=12)
    assert [(attempt.number, attempt.activity) for attempt in survivor.lead.attempts] == [
        (1, "call:a"),
        (2, "call:b"),
        (3, "call:c"),
    ]
    assert WAIT in open_kinds(survivor)  # all three attempts of the cadence are made
    assert NEXT not in open_kinds(survivor)
    assert survivor.at(monday(13)).activity().last(AttemptRecorded).number == 4


def test_a_call_that_the_crm_hangs_on_both_counts_once() -> None:
    survivor, other = both()
    survivor.at(monday(9, 10)).activity(activity="call:a")
    merged(survivor, other.at(monday(9, 10)).activity(activity="call:a"), hour=10)
    assert len(survivor.lead.attempts) == 1
    assert open_kinds(survivor) == [DECISION, NEXT]


def test_the_earliest_act_of_both_is_the_one_that_speed_to_lead_is_counted_from() -> None:
    survivor = handed_off(start=monday(10))
    merged(survivor, handed_off(contact=902), hour=11)
    assert (survivor.lead.ready_at, survivor.lead.handed_off_at) == (monday(9), monday(9))
    first = survivor.at(monday(12)).activity().only(AttemptRecorded)
    assert (first.since_ready_working_s, first.since_assigned_s) == (3 * 3600, 3 * 3600)


def test_after_the_others_touch_the_survivors_next_one_is_no_first_touch() -> None:
    survivor, other = both()
    merged(survivor, other.at(monday(9, 30)).activity(), hour=10)
    assert survivor.at(monday(11)).activity().only(AttemptRecorded).since_ready_working_s is None


def test_who_accepted_the_other_accepted_the_survivor() -> None:
    survivor, other = both()
    merged(survivor, other.at(monday(9, 30)).accept(), hour=15)
    assert survivor.lead.state is State.ACCEPTED
    assert one(survivor, ClockMet, ACCEPT).at == monday(9, 30)
    assert of(survivor, ClockBreached, ACCEPT) == []
    assert one(survivor, ClockBreached, FIRST).at == monday(13)


def test_a_reply_to_the_other_stops_the_chase() -> None:
    survivor, other = tried(1, **OWED), handed_off(contact=902, **OWED)
    merged(survivor, other.at(monday(10, 30)).activity(Outcome.CONNECTED), hour=11)
    assert open_kinds(survivor) == [DECISION]
    assert survivor.lead.replied


def test_a_lead_that_sales_was_further_with_under_the_other_key_is_chased_no_longer() -> None:
    survivor, other = both()
    merged(survivor, other.at(monday(9, 30)).qualify(), hour=9, minute=45)
    assert (survivor.lead.state, survivor.lead.clocks) == (State.QUALIFIED, ())
    assert survivor.only(LeadsMerged).state is State.QUALIFIED
    assert no_ghosts(survivor, other)


def test_a_survivor_that_only_a_deal_made_an_opportunity_is_with_whoever_had_the_other() -> None:
    survivor, other = Story(900, agreement=saying(**OWED)).deal("qualifiedtobuy"), handed_off(contact=902, **OWED)
    merged(survivor, other, hour=10)
    lead, had = survivor.lead, other.only(LeadHandedOff)
    assert (lead.state, lead.episode, lead.clocks) == (State.OPPORTUNITY, 1, ())
    assert (lead.team, lead.owner, lead.priority, lead.trigger) == (had.team, had.owner, had.priority, had.trigger)
    assert survivor.kinds == ["LeadsMerged", "LeadAssigned"]


def test_where_nobody_had_either_nobody_has_the_survivor() -> None:
    survivor, other = (Story(contact, agreement=saying()).deal("qualifiedtobuy") for contact in (900, 902))
    merged(survivor, other, hour=10)
    assert (survivor.kinds, survivor.lead.episode, survivor.lead.owner) == (["LeadsMerged"], 0, "")


# --- colleagues ---


def apart(**promises: Any) -> tuple[Story, Story]:
    """The same, and the other is Bea's."""
    survivor, other = both(**promises)
    return survivor, other.reassign(BEA)


@pytest.mark.parametrize(("agreed", "state"), [({}, State.WORKING), (ALONE, State.HANDED_OFF)])
def test_a_colleagues_touch_counts_as_the_agreement_says(agreed: dict[str, Any], state: State) -> None:
    survivor, other = apart(**agreed)
    merged(survivor, other.at(monday(9, 30)).activity(by="22"), hour=9, minute=45)
    assert survivor.lead.state is state
    assert (survivor.lead.owner, len(survivor.lead.attempts)) == (ANA, 1)
    assert (FIRST in open_kinds(survivor)) is (state is State.HANDED_OFF)


@pytest.mark.parametrize(("agreed", "state"), [({}, State.ACCEPTED), (ALONE, State.HANDED_OFF)])
def test_a_colleagues_acceptance_counts_as_the_agreement_says(agreed: dict[str, Any], state: State) -> None:
    survivor, other = apart(**agreed)
    merged(survivor, other.at(monday(9, 30)).accept(), hour=9, minute=45)
    assert survivor.lead.state is state


def test_what_a_colleague_was_late_with_is_not_the_survivors_owners_to_answer_for() -> None:
    survivor, other = handed_off(start=monday(12)), handed_off(contact=902).reassign(BEA)
    other.at(tuesday(9)).clocks_fire()
    survivor.at(monday(15)).merged_with(other)
    assert survivor.heard(ClockBreached) == []
    assert open_clock(survivor, FIRST).due_at == monday(16)


# --- one clock for each thing ---


def test_what_the_same_owner_was_late_with_already_is_not_breached_again() -> None:
    survivor = handed_off(start=monday(12))
    other = handed_off(contact=902).at(monday(14)).clocks_fire()
    merged(survivor, other, hour=14).at(tuesday(9)).clocks_fire()
    (breach,) = survivor.heard(ClockBreached)
    assert breach.told_as == other.only(ClockBreached).clock_id
    assert one(survivor, ClockCancelled, FIRST).reason == "merged"
    assert no_ghosts(survivor, other)


@pytest.mark.parametrize("survivor_first", [True, False])
def test_of_two_promises_of_the_same_owner_the_sooner_holds(survivor_first: bool) -> None:
    first, second = handed_off(), handed_off(contact=902, start=monday(10))
    survivor, other = (first, second) if survivor_first else (second, first)
    merged(survivor, other, hour=11)
    assert open_clock(survivor, FIRST).due_at == monday(13)
    assert no_ghosts(survivor, other)


def test_a_pause_of_the_other_holds_the_survivor() -> None:
    survivor, other = both()
    other.at(monday(9, 30)).activity().pause("away", until=tuesday(9, 30))
    merged(survivor, other, hour=10).at(tuesday(9, 30)).clocks_fire()
    assert survivor.heard(ClockBreached) == []
    assert open_clock(survivor, NEXT).due_at == tuesday(13, 30)
    assert no_ghosts(survivor, other)


# --- what was late, and was not ---


def late(survivor: Story, other: Story) -> Story:
    """The other was touched an hour after the first touch was due, and then they are merged."""
    other.at(monday(14)).clocks_fire().activity(activity="call:other")
    return merged(survivor, other, hour=15)


def survivors(kind: str) -> Story:
    if kind == "with sales":
        return handed_off(contact=900)
    return Story(900, agreement=saying()) if kind == "never" else handed_off(contact=900).send_back("not_now")


def corrected(survivor: Story, other: Story) -> list[datetime]:
    """When the other's late first touch was in time after all, as the survivor tells."""
    breach = one(other, ClockBreached, FIRST).clock_id
    return [told.at for told in survivor.heard(ClockCorrected) if told.clock_id == breach]


@pytest.mark.parametrize("kind", ["with sales", "never", "sent back"])
def test_a_touch_in_time_that_is_logged_after_the_merge_takes_back_what_the_other_was_late_with(kind: str) -> None:
    survivor, other = survivors(kind), handed_off(contact=902)
    late(survivor, other).at(monday(16)).activity(at=monday(12))
    assert corrected(survivor, other) == [monday(12)]
    assert "ClockCorrected" not in survivor.activity(at=monday(12, 5)).kinds


@pytest.mark.parametrize("kind", ["with sales", "never", "sent back"])
def test_so_it_does_where_the_other_had_come_back_to_marketing(kind: str) -> None:
    survivor, other = survivors(kind), handed_off(contact=902)
    other.at(monday(14)).clocks_fire().activity(activity="call:other").send_back("not_now")
    merged(survivor, other, hour=15).at(monday(16)).activity(at=monday(12))
    assert corrected(survivor, other) == [monday(12)]


def test_a_touch_before_any_hand_off_of_the_survivor_takes_a_breach_back_and_is_no_attempt() -> None:
    survivor, other = Story(900, agreement=saying()), handed_off(contact=902)
    other.at(monday(14)).clocks_fire().activity(activity="call:other").send_back("not_now")
    merged(survivor, other, hour=15).at(monday(16)).activity(at=monday(12))
    assert survivor.kinds == ["ClockCorrected"]
    assert survivor.lead_writes().told == []


def test_what_a_colleague_owes_still_is_taken_back_too() -> None:
    survivor, other = apart()
    other.at(monday(17)).clocks_fire()
    merged(survivor, other, hour=17).at(monday(17, 30)).activity(at=monday(12, 30))
    assert corrected(survivor, other) == [monday(12, 30)]


def test_a_touch_that_the_survivor_had_already_does_the_same_with_the_merge() -> None:
    survivor, other = handed_off(contact=900).at(monday(12)).activity(), handed_off(contact=902)
    assert corrected(late(survivor, other), other) == [monday(12)]


def test_a_touch_that_was_too_late_for_the_other_takes_nothing_back() -> None:
    survivor, other = handed_off(contact=900), handed_off(contact=902)
    late(survivor, other).at(monday(16)).activity(at=monday(13, 30))
    assert corrected(survivor, other) == []


def test_a_breach_that_goes_on_with_the_survivor_is_taken_back_once() -> None:
    survivor, other = Story(900, agreement=saying()), handed_off(contact=902).at(monday(14)).clocks_fire()
    merged(survivor, other, hour=14).at(monday(15)).activity(at=monday(12))
    assert len(survivor.heard(ClockCorrected)) == 1


# --- who asks again ---


def test_who_asked_under_the_survivors_key_after_the_last_touch_is_owed_a_first_touch_still() -> None:
    other = tried(1, contact=902)
    survivor = handed_off(start=monday(11))
    merged(survivor, other, hour=12)
    assert open_kinds(survivor) == [FIRST]
    assert open_clock(survivor, FIRST).due_at == monday(15)


def test_who_asked_under_the_other_key_while_its_reply_was_waited_for_is_owed_an_attempt() -> None:
    survivor = tried(3)
    other = handed_off(contact=902, start=monday(14))
    merged(survivor, other, hour=15)
    assert survivor.only(LeadAskedAgain)
    assert open_kinds(survivor) == [NEXT]
    assert open_clock(survivor, NEXT).due_at == tuesday(9)  # four working hours from now


# --- what is told ---


def test_the_merge_stands_in_the_survivors_timeline_with_what_came_of_it() -> None:
    survivor, other = both()
    merged(survivor, other.at(monday(9, 30)).activity(), hour=10)
    told = survivor.only(LeadsMerged)
    assert (told.merged, told.merged_episode, told.at) == (other.lead.lead, 1, monday(10))
    assert (told.state, told.attempts, told.ready_at) == (State.WORKING, 1, monday(9))


@pytest.mark.parametrize("rests", ["survivor", "both"])
def test_so_does_a_merge_of_leads_that_sales_had_or_has(rests: str) -> None:
    survivor, other = Story(900, agreement=saying()), handed_off(contact=902)
    if rests == "both":
        other.send_back("not_now")
    merged(survivor, other, hour=10)
    told = survivor.only(LeadsMerged)
    assert told.merged == other.lead.lead
    assert told.state is (State.HANDED_OFF if rests == "survivor" else State.MARKETING)
    assert survivor.kinds[0] == "LeadsMerged"


def test_a_merge_of_leads_of_which_nothing_was_told_is_not_told() -> None:
    survivor, other = (Story(contact, agreement=saying()).scored(grade="D4") for contact in (900, 902))
    assert merged(survivor, other, hour=10).told == []


def test_a_survivor_whose_own_chase_was_over_before_the_merge_goes_on_with_the_others() -> None:
    survivor = tried(3, wait_for_reply="1h", return_when=[{"attempts": "exhausted", "reason": "unreachable"}])
    other = handed_off(contact=902, start=tuesday(9))
    survivor.at(tuesday(10)).merged_with(other.at(tuesday(10)))
    assert [kind for kind in survivor.kinds if kind.startswith("Lead")] == [
        "LeadReturned",
        "LeadsMerged",
        "LeadAssigned",
    ]
    assert (survivor.lead.episode, survivor.lead.state) == (2, State.HANDED_OFF)
    assert survivor.lead.attempts == ()
