"""Nobody is returned while somebody is talking to them, or waits for an answer."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from shared.agreement import Agreement
from shared.agreement.handoff import Handoff
from shared.events import (
    Channel,
    ClockBreached,
    ClockCancelled,
    ClockKind,
    ClockStarted,
    LeadAskedAgain,
    LeadHandedOff,
    LeadReturned,
    Outcome,
    PriorityRaised,
    State,
    Submission,
)
from tests.agreements import PLAIN, with_follow_up, with_parts
from tests.unit.handoff.story import DAY, DEMO, HOUR, Story

CADENCE = ({"channel": "phone"}, {"channel": "email", "after": "4h"})
EXHAUSTED = {"attempts": "exhausted", "reason": "unreachable", "track": "decision", "cool_down": "30d"}
NOT_ACCEPTED = {"reason": "not_accepted", "track": "decision", "cool_down": "2d"}
FIRST_TOUCH = {"urgent": "1h", "default": "2h"}
SCORE: dict[str, Any] = {"grade": "A1", "fit_grade": "A", "interest_level": "1"}


def saying(**promises: Any) -> Agreement:
    said = {"first_touch": FIRST_TOUCH, "cadence": CADENCE, "wait_for_reply": "2d", "return_when": [EXHAUSTED]}
    return with_follow_up(PLAIN, **{**said, **promises})


def waiting(**promises: Any) -> Story:
    """All attempts made, for a lead that had asked for a demo: what is left is its time to answer."""
    story = Story(agreement=saying(**promises)).asks_for_a_demo()
    return story.after(HOUR).activity().after(HOUR).activity(channel=Channel.EMAIL).after(HOUR)


# --- while its reply is waited for ---


def test_a_demo_request_while_its_reply_is_waited_for_stops_the_return_whatever_its_priority() -> None:
    story = waiting().asks_for_a_demo()
    assert story.kinds == ["LeadAskedAgain", "ClockCancelled", "ClockStarted"]
    assert story.only(LeadAskedAgain).trigger == "Asked for a demo"
    assert story.only(ClockCancelled).reason == "asked_again"
    assert story.after(365 * DAY).clocks_fire().lead.state is State.WORKING


def test_it_is_owed_an_attempt_as_a_first_touch_on_whatever_channel() -> None:
    story = waiting(off_cadence="ignore").asks_for_a_demo()
    (owed,) = story.lead.clocks
    assert (owed.kind, owed.due_at) == (ClockKind.NEXT_ATTEMPT, story.now + HOUR)
    story.after(HOUR).activity(channel=Channel.VIDEO)
    assert not story.heard(ClockBreached)
    assert story.last(ClockStarted).clock is ClockKind.REPLY_WAIT


def test_after_that_attempt_it_has_its_time_to_answer_again_and_then_goes_back() -> None:
    story = waiting().asks_for_a_demo().after(HOUR / 2).activity()
    assert story.after(2 * DAY).clocks_fire().only(LeadReturned).attempts == 3


def test_a_request_of_higher_priority_raises_it_as_well() -> None:
    story = Story(agreement=saying()).scored(**SCORE).after(HOUR).activity()
    story.after(HOUR).activity(channel=Channel.EMAIL).after(HOUR).asks_for_a_demo()
    assert story.only(PriorityRaised).priority == story.only(LeadAskedAgain).priority == "urgent"
    assert [clock.due_at for clock in story.lead.clocks] == [story.now + HOUR]


def test_the_same_request_told_by_another_score_asks_once() -> None:
    assert waiting().asks_for_a_demo().after(HOUR / 4).scored().told == []


def test_a_form_that_no_trigger_names_stops_nothing() -> None:
    story = waiting().scored(form="newsletter")
    assert story.told == []
    assert story.after(2 * DAY).clocks_fire().only(LeadReturned)


def test_what_it_asked_before_the_last_attempt_was_answered_by_that() -> None:
    story = Story(agreement=saying()).asks_for_a_demo().after(HOUR).activity().after(HOUR).asks_for_a_demo()
    story.after(HOUR).activity(channel=Channel.EMAIL)
    assert story.scored().told == []


def test_an_attempt_made_before_it_asked_and_logged_after_is_no_answer() -> None:
    story = Story(agreement=saying()).asks_for_a_demo().after(HOUR).activity().after(HOUR).asks_for_a_demo()
    story.after(HOUR / 2).activity(channel=Channel.EMAIL, at=story.now - HOUR)
    (owed,) = story.lead.clocks
    assert owed.kind is ClockKind.NEXT_ATTEMPT


def test_a_demo_request_heard_of_only_after_the_return_hands_the_lead_over_again_in_its_cool_down() -> None:
    story = waiting()
    asked_at = story.now
    story.after(2 * DAY).clocks_fire()
    assert story.lead.state is State.RETURNED
    story.forms.append(Submission(form=DEMO, at=asked_at))
    story.scored()
    assert story.last(LeadHandedOff).episode == 2
    assert story.last(LeadHandedOff).ready_at == asked_at


# --- before the first touch ---


BACK_FOR_SILENCE: dict[str, Any] = {
    "accept_within": "1h",
    "if_not_accepted": "return",
    "return_when": [EXHAUSTED, NOT_ACCEPTED],
}


def asked_before_the_touch(how: str) -> Story:
    story = Story(agreement=saying(first_touch="4h", **BACK_FOR_SILENCE)).asks_for_a_demo().after(HOUR / 2)
    return story.lead_writes() if how == "writes" else story.asks_for_a_demo()


@pytest.mark.parametrize("how", ["writes", "asks"])
def test_a_lead_that_waits_for_an_answer_is_not_returned_because_nobody_accepted_it(how: str) -> None:
    story = asked_before_the_touch(how).after(HOUR).clocks_fire()
    assert story.only(ClockBreached).clock is ClockKind.ACCEPT
    assert story.lead.state is State.HANDED_OFF
    assert not story.heard(LeadReturned)


def test_a_touch_answers_it_and_the_chase_goes_on() -> None:
    story = asked_before_the_touch("writes").after(timedelta(minutes=10)).activity(Outcome.VOICEMAIL)
    assert story.last(ClockStarted).clock is ClockKind.NEXT_ATTEMPT


def test_a_lead_whom_a_colleague_talked_to_is_not_returned_either() -> None:
    team = {"members": {"ana@example.test": {"crm_owner": "11"}}}
    parts = {"triggers": PLAIN.handoff.triggers, "route": [{"to": "team:inbound"}], "teams": {"inbound": team}}
    agreement = with_parts(saying(colleagues="ignore", **BACK_FOR_SILENCE), handoff=Handoff.model_validate(parts))
    story = Story(agreement=agreement).asks_for_a_demo().after(HOUR / 2).activity(Outcome.CONNECTED, by="99")
    assert story.lead.state is State.HANDED_OFF
    assert not story.after(DAY).clocks_fire().heard(LeadReturned)


def test_what_it_wrote_in_an_earlier_episode_holds_nobody_in_the_next() -> None:
    story = asked_before_the_touch("writes").send_back("not_now").after(DAY).asks_for_a_demo()
    assert story.after(2 * HOUR).clocks_fire().last(LeadReturned).reason == "not_accepted"
