"""The agreement's paragraphs on hand-off and follow-up, as stories."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from services.handoff.domain.machine import Impossible
from shared.agreement import load
from shared.calendars import ALWAYS
from shared.errors import Refused
from shared.events import (
    FADED,
    ActivityLogged,
    AttemptRecorded,
    ClockBreached,
    ClockCancelled,
    ClockCorrected,
    ClockKind,
    ClockMet,
    ClockMoved,
    ClockSettled,
    ClockStarted,
    ClockWarned,
    DealWon,
    Direction,
    LeadAccepted,
    LeadAssigned,
    LeadDisqualified,
    LeadErased,
    LeadHandedOff,
    LeadReadmitted,
    LeadReplied,
    LeadReturned,
    NurtureStarted,
    OpportunityOpened,
    Outcome,
    State,
    Submission,
    ToFindOut,
)
from tests.agreements import ELAPSED, own_grades, with_follow_up
from tests.unit.handoff.story import AGREEMENT, DAY, DEMO, HOUR, START, Story

FOLLOW_UP = AGREEMENT.follow_up
URGENT = ALWAYS.time_of(FOLLOW_UP.first_touch["urgent"])
WAIT = ALWAYS.time_of(FOLLOW_UP.wait_for_reply)
STEPS = len(FOLLOW_UP.cadence)
EXHAUSTED = next(rule for rule in FOLLOW_UP.return_when if rule.attempts == "exhausted")
SECOND = timedelta(seconds=1)


def handed_off(contact: int = 901) -> Story:
    return Story(contact).asks_for_a_demo()


def tried(times: int) -> Story:
    """Handed off, and tried without success, each attempt when the cadence asks for it."""
    story = handed_off().after(timedelta(minutes=5)).activity()
    for step in FOLLOW_UP.cadence[1:times]:
        story.after(ALWAYS.time_of(step.after)).activity()
    return story


def returned() -> Story:
    return tried(STEPS).after(WAIT).clocks_fire()


def every_version_once(story: Story) -> bool:
    return [message.version for message in story.messages] == list(range(1, len(story.messages) + 1))


# --- hand-off ---


def test_who_asks_for_a_demo_is_handed_to_a_person_and_the_clock_to_the_first_touch_runs() -> None:
    story = handed_off()
    assert story.kinds == ["LeadHandedOff", "LeadAssigned", "ClockStarted"]
    assert story.lead.state is State.HANDED_OFF
    assert story.only(LeadHandedOff).trigger == "Asked for a demo"
    assert story.only(LeadHandedOff).priority == "urgent"
    assert story.only(LeadAssigned).owner in AGREEMENT.handoff.teams[story.lead.team].members
    assert story.only(ClockStarted).due_at == START + URGENT


def test_what_the_agreement_names_goes_with_the_lead_and_nothing_else() -> None:
    story = Story().asks_for_a_demo(profile={"email": "ada@example.test", "secret_note": "no"})
    names = {name for stage in AGREEMENT.handoff.information.values() for name in stage}
    information = story.only(LeadHandedOff).information
    assert set(information) <= names
    assert "secret_note" not in information


def test_two_forms_and_a_better_score_make_one_hand_off() -> None:
    story = handed_off().asks_for_a_demo().scored(grade="A1", fit_grade="A", interest_level="1")
    assert len(story.heard(LeadHandedOff)) == 1
    assert len(story.heard(ClockStarted)) == 1


def test_a_stale_score_changes_nothing() -> None:
    story = Story().scored(version=2)
    before = story.lead
    assert story.asks_for_a_demo(version=1).lead is before


def test_a_score_counted_anew_since_later_is_newer_and_what_the_count_before_said_is_stale() -> None:
    story = Story().scored(version=7, counted_since=START).scored(version=1, counted_since=START + DAY)
    assert story.lead.score is not None
    assert story.lead.score.version == 1
    before = story.lead
    assert story.asks_for_a_demo(version=8, counted_since=START).lead is before
    assert story.asks_for_a_demo(version=2, counted_since=START + DAY).lead.state is State.HANDED_OFF


def test_a_rebuilt_scoring_is_heard_when_it_knows_what_the_one_before_knew() -> None:
    story = Story().after(DAY).scored(version=7, counted_since=START, disqualified="competitor")
    before, anew = story.lead, START + 9 * DAY
    assert story.asks_for_a_demo(version=1, counted_since=anew, seen_at=START).lead is before
    story.scored(version=2, counted_since=anew, seen_at=START + DAY, disqualified="competitor")
    assert story.told == []
    assert story.lead.score is not None
    assert story.lead.score.counted_since == anew
    assert story.after(DAY).scored(version=3, counted_since=anew).heard(LeadHandedOff)


def test_a_fact_from_the_future_makes_no_later_count_wait_for_it() -> None:
    story = Story().scored(version=7, counted_since=START, seen_at=START + 900 * DAY)
    story.after(DAY).asks_for_a_demo(version=1, counted_since=START + DAY)
    assert story.lead.state is State.HANDED_OFF


@pytest.mark.parametrize(("version", "taken"), [(7, False), (8, True)])
def test_a_score_that_does_not_know_its_count_goes_by_the_version(version: int, taken: bool) -> None:
    story = Story().scored(version=7, counted_since=START)
    before = story.lead
    assert (story.scored(version=version).lead is not before) is taken


def test_a_count_that_begins_after_one_of_which_nothing_is_known_is_newer() -> None:
    story = Story().scored(version=7).asks_for_a_demo(version=1, counted_since=START)
    assert story.lead.state is State.HANDED_OFF


def test_a_lead_that_took_over_another_s_score_hears_its_own_next_one_whenever_its_count_began() -> None:
    absorbed = Story(902).asks_for_a_demo(counted_since=START + DAY)
    story = Story().merged_with(absorbed).scored(version=1, counted_since=START)
    assert story.lead.score is not None
    assert story.lead.score.version == 1


def test_ready_since_the_form_was_submitted_and_not_since_it_was_judged() -> None:
    story = Story()
    story.forms = [Submission(form=DEMO, at=START - HOUR)]
    assert story.scored().only(LeadHandedOff).ready_at == START - HOUR


def test_a_disqualified_score_is_never_handed_off() -> None:
    story = Story().asks_for_a_demo(disqualified="competitor")
    assert story.lead.state is State.DISQUALIFIED
    assert story.only(LeadDisqualified).reason == "competitor"
    assert not story.heard(LeadHandedOff)


def test_a_newer_score_without_the_ground_lets_the_lead_in_again() -> None:
    story = Story().asks_for_a_demo(disqualified="competitor").after(HOUR).scored()
    assert story.lead.state is State.HANDED_OFF


def test_that_it_is_let_in_again_is_told_with_what_it_was_kept_out_for() -> None:
    story = Story().asks_for_a_demo(disqualified="competitor").after(HOUR).scored(grade="D4", fit_grade="D")
    assert (story.only(LeadReadmitted).reason, story.only(LeadReadmitted).actor) == ("competitor", "system")
    assert story.lead.state is State.MARKETING


def test_a_score_does_not_overrule_sales_while_they_follow_up() -> None:
    assert handed_off().scored(disqualified="competitor").lead.state is State.HANDED_OFF


def test_the_same_lead_and_episode_always_get_the_same_owner() -> None:
    assert handed_off().lead.owner == handed_off().lead.owner


# --- the first touch ---


def test_a_touch_at_the_very_due_time_is_met() -> None:
    story = handed_off().at(START + URGENT).activity()
    assert story.only(ClockMet).took_s == URGENT.total_seconds()
    assert not story.heard(ClockBreached)


def test_the_first_attempt_accepts_the_lead_and_starts_the_cadence() -> None:
    story = handed_off().after(timedelta(minutes=5)).activity()
    assert [k for k in story.kinds if k != "ClockWarned"] == [
        "LeadAccepted",
        "AttemptRecorded",
        "ClockMet",
        "ClockStarted",
    ]
    assert story.lead.state is State.WORKING
    following = story.last(ClockStarted)
    assert following.clock is ClockKind.NEXT_ATTEMPT
    assert following.due_at == story.now + ALWAYS.time_of(FOLLOW_UP.cadence[1].after)


def test_silence_is_warned_of_at_each_share_and_breached_at_the_due_time_whenever_it_is_noticed() -> None:
    story = handed_off().after(URGENT + 3 * DAY).clocks_fire()
    assert [warned.share for warned in story.heard(ClockWarned)] == sorted(FOLLOW_UP.warn_at)
    assert [warned.at for warned in story.heard(ClockWarned)] == [START + URGENT * s for s in sorted(FOLLOW_UP.warn_at)]
    assert story.only(ClockBreached).at == START + URGENT


def test_nothing_is_told_twice_however_often_one_looks() -> None:
    story = handed_off().after(URGENT + DAY).clocks_fire()
    said = len(story.messages)
    assert len(story.clocks_fire().messages) == said


def test_a_late_touch_settles_the_breach() -> None:
    story = handed_off().after(URGENT + HOUR).clocks_fire().activity()
    assert story.only(ClockSettled).reason == "touched"
    assert story.only(ClockSettled).late_s == HOUR.total_seconds()
    assert not story.heard(ClockMet)


def test_what_was_before_the_hand_off_is_no_attempt_and_stops_no_chase_of_who_was_late() -> None:
    story = Story().after(timedelta(days=5)).asks_for_a_demo()
    began = story.now
    story.after(URGENT + HOUR).activity().after(HOUR)
    before = began - timedelta(days=4)
    assert story.activity(at=before).told == []
    assert story.activity(Outcome.REPLIED, direction=Direction.INBOUND, by="", at=before).told == []
    assert (len(story.lead.attempts), story.lead.replied) == (1, False)


def test_a_late_touch_heard_of_before_the_breach_was_noticed_is_a_breach_all_the_same() -> None:
    story = handed_off().after(URGENT + HOUR).activity()
    assert story.only(ClockBreached).at == START + URGENT
    assert story.only(ClockSettled).late_s == HOUR.total_seconds()


def test_a_touch_made_in_time_and_logged_late_is_met_when_nobody_had_looked() -> None:
    story = handed_off().after(URGENT + HOUR).activity(at=START + URGENT - SECOND)
    assert story.only(ClockMet)
    assert not story.heard(ClockBreached)


# --- what counts as an attempt ---


def test_a_machine_s_email_is_no_attempt() -> None:
    assert handed_off().activity(by="").lead.attempts == ()


def test_a_touch_before_the_hand_off_is_no_attempt() -> None:
    assert handed_off().activity(at=START - SECOND).lead.attempts == ()


def test_an_activity_told_again_counts_once_by_its_newest_outcome() -> None:
    story = handed_off().after(SECOND).activity(activity="call:7")
    story.after(SECOND).activity(Outcome.VOICEMAIL, activity="call:7", at=START + SECOND)
    assert len(story.heard(AttemptRecorded)) == 1
    assert story.lead.attempts[0].outcome is Outcome.VOICEMAIL


def test_a_call_corrected_to_connected_stops_the_chase() -> None:
    story = handed_off().after(SECOND).activity(activity="call:7")
    story.after(SECOND).activity(Outcome.CONNECTED, activity="call:7", at=START + SECOND)
    assert story.only(LeadReplied)
    assert story.lead.clocks == ()


def test_of_two_corrections_out_of_order_the_newest_holds() -> None:
    story = handed_off().after(HOUR).activity(Outcome.NO_ANSWER, activity="call:1")
    story.after(2 * HOUR).activity(Outcome.NO_ANSWER, activity="call:1")
    story.after(-HOUR).activity(Outcome.CONNECTED, activity="call:1")
    assert story.lead.attempts[0].outcome is Outcome.NO_ANSWER
    assert not story.lead.replied


def test_an_attempt_reported_now_is_in_the_episode_though_another_machine_s_clock_is_ahead() -> None:
    story = handed_off().after(timedelta(milliseconds=-200)).reports()
    assert story.only(AttemptRecorded).at == START


def test_an_attempt_can_be_reported_by_hand_and_accepts_the_lead() -> None:
    story = handed_off().after(SECOND).reports(note="left a message")
    assert story.only(LeadAccepted).actor == "ana"
    assert story.lead.attempts[0].note == "left a message"


# --- the cadence, and the way back ---


def test_attempts_in_the_cadence_meet_their_clocks_one_by_one() -> None:
    story = tried(STEPS)
    assert [attempt.number for attempt in story.heard(AttemptRecorded)] == list(range(1, STEPS + 1))
    assert len(story.heard(ClockMet)) == STEPS
    assert not story.heard(ClockBreached)
    assert story.last(ClockStarted).clock is ClockKind.REPLY_WAIT


def test_all_attempts_unanswered_send_the_lead_back_into_the_track_of_its_journey() -> None:
    story = returned()
    back = story.only(LeadReturned)
    assert story.lead.state is State.RETURNED
    assert (back.reason, back.attempts) == (EXHAUSTED.reason, STEPS)
    assert back.cool_down_until == back.at + EXHAUSTED.cool_down
    assert story.only(NurtureStarted).track == back.track
    assert every_version_once(story)


def test_one_more_attempt_gives_the_lead_its_time_again() -> None:
    story = tried(STEPS).after(HOUR).activity()
    (wait,) = story.lead.clocks
    assert story.last(ClockCancelled).reason == "attempted_again"
    assert wait.due_at == story.now + WAIT


def test_a_lead_that_writes_back_in_the_middle_is_no_longer_chased_nor_returned() -> None:
    story = tried(2).after(HOUR).lead_writes()
    assert story.kinds[-2:] == ["LeadReplied", "ClockCancelled"]
    assert story.after(365 * DAY).clocks_fire().lead.state is State.WORKING


def test_a_message_of_the_lead_alone_is_no_touch() -> None:
    story = handed_off().after(SECOND).lead_writes()
    assert [clock.kind for clock in story.lead.clocks] == [ClockKind.FIRST_TOUCH]


def test_in_the_cool_down_a_score_does_not_hand_the_lead_off_again() -> None:
    story = returned().after(DAY).scored(grade="A1", fit_grade="A", interest_level="1")
    assert story.lead.state is State.RETURNED


def test_in_the_cool_down_a_new_demo_request_does() -> None:
    story = returned().after(DAY).asks_for_a_demo()
    assert story.lead.state is State.HANDED_OFF
    assert story.lead.episode == 2
    assert story.lead.attempts == ()


def test_an_old_demo_request_does_not_fire_again_after_the_cool_down() -> None:
    story = returned().after(EXHAUSTED.cool_down + DAY).scored()
    fired = [handed.trigger for handed in story.heard(LeadHandedOff)]
    assert fired.count("Asked for a demo") == 1


# --- what people decide ---


def test_rejecting_before_any_contact_sends_the_lead_back_and_stops_the_clock() -> None:
    story = handed_off().after(SECOND).reject(FOLLOW_UP.reasons[0])
    assert "LeadRejected" in story.kinds
    assert "LeadReturned" not in story.kinds
    assert story.only(ClockCancelled).reason == "rejected"


def test_rejecting_after_a_contact_is_impossible_and_the_answer_says_what_is_not() -> None:
    with pytest.raises(Impossible) as refused:
        tried(1).reject(FOLLOW_UP.reasons[0])
    assert "return" in refused.value.possible
    assert "reject" not in refused.value.possible


def test_a_reason_that_is_not_in_the_agreement_is_refused() -> None:
    with pytest.raises(Refused, match="one of the agreement's"):
        handed_off().send_back("because")


def test_a_track_that_is_not_in_the_agreement_is_refused() -> None:
    with pytest.raises(Refused, match="track must be one of"):
        handed_off().send_back(FOLLOW_UP.reasons[0], "nowhere")


def test_a_named_track_overrules_the_agreement_s() -> None:
    story = tried(1).send_back(FOLLOW_UP.reasons[0], "decision")
    assert story.only(NurtureStarted).workflow == AGREEMENT.nurture.tracks["decision"].workflow


def test_qualifying_ends_the_chase() -> None:
    story = tried(2).qualify()
    assert story.lead.state is State.QUALIFIED
    assert story.lead.clocks == ()


def test_disqualified_by_sales_is_out_for_good() -> None:
    story = tried(1).disqualify(FOLLOW_UP.reasons[0]).after(100 * DAY).asks_for_a_demo()
    assert story.lead.state is State.DISQUALIFIED


def test_what_fell_due_before_a_command_is_told_before_it() -> None:
    story = handed_off().after(URGENT + HOUR).accept()
    assert story.kinds[-2:] == ["ClockBreached", "LeadAccepted"]
    assert [clock.overdue for clock in story.lead.clocks] == [True]


# --- deals ---


def test_a_deal_makes_an_opportunity_and_stops_the_chase() -> None:
    story = tried(1).deal("qualifiedtobuy")
    assert story.only(OpportunityOpened).deal == "deal:1"
    assert story.lead.clocks == ()


def test_a_won_deal_is_told_once_however_often_it_changes() -> None:
    story = tried(1).deal("closedwon").after(HOUR).deal("closedwon")
    assert story.only(DealWon)
    assert story.lead.state is State.CUSTOMER


def test_a_stale_stage_of_a_deal_changes_nothing() -> None:
    story = tried(1).deal("closedwon")
    assert story.deal("qualifiedtobuy", at=START).lead.state is State.CUSTOMER


def test_the_lead_is_lost_with_its_last_open_deal() -> None:
    story = tried(1).deal("qualifiedtobuy").deal("qualifiedtobuy", deal="deal:2")
    assert story.deal("closedlost").lead.state is State.OPPORTUNITY
    assert story.deal("closedlost", deal="deal:2").lead.state is State.LOST


@pytest.mark.parametrize("before", ["lost", "returned"])
def test_a_deal_that_is_open_again_is_told_as_an_opportunity(before: str) -> None:
    story = tried(1).deal("qualifiedtobuy")
    story = story.deal("closedlost") if before == "lost" else story.send_back("not_now")
    story.after(HOUR).deal("presentationscheduled")
    assert story.kinds[-1] == "OpportunityOpened"
    assert story.lead.state is State.OPPORTUNITY
    assert story.after(HOUR).deal("presentationscheduled").told == []


# --- leads that become one, or none ---


def test_a_merge_in_mid_chase_leaves_no_clock_of_the_lead_that_is_no_more() -> None:
    survivor = tried(2)
    other = Story(902).at(survivor.now).asks_for_a_demo()
    survivor.merged_with(other)
    assert other.lead.clocks == ()
    assert other.last(ClockCancelled).reason == "merged"
    assert len(survivor.lead.clocks) == 1
    assert other.asks_for_a_demo().told == []


def test_a_survivor_without_an_episode_goes_on_with_that_of_the_merged_lead() -> None:
    survivor, other = Story(900).scored(), handed_off(902)
    due_at = other.lead.clocks[0].due_at
    survivor.merged_with(other)
    assert survivor.lead.state is State.HANDED_OFF
    assert survivor.lead.owner == other.lead.owner
    assert survivor.only(ClockStarted).due_at == due_at
    assert every_version_once(survivor)
    assert every_version_once(other)


def test_an_erased_lead_keeps_nothing_of_the_person_and_starts_nothing_again() -> None:
    story = tried(1).erased()
    assert story.only(LeadErased)
    assert story.lead.score is None
    assert story.lead.attempts == ()
    assert story.asks_for_a_demo().told == []
    assert story.erased().told == []


def test_a_lead_that_was_overdue_when_it_was_merged_away_stays_owed() -> None:
    survivor, other = Story(900).scored(), handed_off(902).after(HOUR).clocks_fire()
    assert other.only(ClockBreached)
    survivor.at(other.now).merged_with(other).clocks_fire()
    assert survivor.lead.next_due == START + URGENT
    assert survivor.lead.clocks[0].overdue
    assert survivor.heard(ClockWarned) == []
    assert every_version_once(survivor)


def test_a_breach_that_a_merge_takes_along_is_told_as_the_one_that_it_was() -> None:
    survivor, other = Story(900).scored(), handed_off(902).after(HOUR).clocks_fire()
    survivor.at(other.now).merged_with(other)
    breach = survivor.only(ClockBreached)
    assert (breach.at, breach.told_as) == (START + URGENT, other.only(ClockBreached).clock_id)
    assert other.only(ClockBreached).told_as == ""
    assert [notice.kind for notice in survivor.notices].count("ClockBreached") == 0
    assert survivor.after(DAY).clocks_fire().told == []


def test_a_touch_in_time_takes_it_back_after_the_merge_too() -> None:
    survivor, other = Story(900).scored(), handed_off(902).after(HOUR).clocks_fire()
    survivor.at(other.now).merged_with(other).activity(at=START + URGENT)
    assert survivor.only(ClockCorrected).clock_id == survivor.only(ClockBreached).clock_id


def test_a_contact_that_is_restored_after_a_deletion_begins_anew() -> None:
    story = tried(2).deleted()
    assert story.only(LeadErased)
    assert (story.lead.score, story.lead.attempts, story.lead.clocks) == (None, (), ())
    story.after(DAY).scored()
    assert story.last(LeadHandedOff).episode == 2
    assert story.lead.attempts == ()
    assert every_version_once(story)


def test_a_score_of_before_the_deletion_brings_nobody_back() -> None:
    story = tried(2).deleted()
    before = story.now
    assert story.after(DAY).asks_for_a_demo(seen_at=before).told == []


def test_nor_hands_it_a_lead_over_that_a_merge_has_brought_back_since() -> None:
    story, other = Story(900).scored(), Story(902).scored()
    story.after(DAY).deleted()
    before = story.now
    story.after(DAY).merged_with(other.at(story.now))
    assert story.lead.gone == ""
    assert story.asks_for_a_demo(seen_at=before).told == []
    assert story.after(DAY).scored(form=DEMO).only(LeadHandedOff)


def test_nor_raises_it_the_priority_of_a_chase_that_a_merge_has_brought() -> None:
    story, other = Story(900).scored(), handed_off(902)
    story.at(other.now + DAY).deleted()
    before = story.now
    story.after(DAY).merged_with(other.at(story.now))
    was = story.lead
    assert (was.state, was.score is not None) == (State.HANDED_OFF, True)
    assert story.scored(seen_at=before, profile={"email": "old@example.test"}).lead == was


def test_a_deletion_that_is_told_again_after_a_merge_brought_the_lead_back_changes_nothing() -> None:
    story, other = Story(900).scored(), handed_off(902)
    story.at(other.now + DAY).deleted()
    deleted_at = story.now
    story.after(DAY).merged_with(other.at(story.now))
    assert story.deleted(at=deleted_at).told == []
    assert story.lead.state is State.HANDED_OFF


def test_a_deletion_that_is_told_after_the_restoring_changes_nothing() -> None:
    story = tried(2)
    late = story.now
    assert story.after(DAY).scored().deleted(at=late).told == []
    assert story.lead.state is State.WORKING


def test_what_a_restored_contact_asked_for_and_sales_had_dealt_with_is_not_asked_for_again() -> None:
    story = tried(1).qualify().deleted().after(DAY).scored()
    assert story.told == []
    assert story.asks_for_a_demo().last(LeadHandedOff).episode == 2


def test_the_cool_down_of_a_lead_outlives_a_deletion() -> None:
    story = returned().deleted().after(DAY)
    assert story.scored(grade="A1").told == []
    assert story.after(EXHAUSTED.cool_down).scored(grade="A1").heard(LeadHandedOff)


@pytest.mark.parametrize("ends", [("deleted", "erased"), ("erased", "deleted")])
def test_a_privacy_deletion_is_for_good_in_whatever_order_the_two_are_told(ends: tuple[str, str]) -> None:
    story = tried(1)
    for end in ends:
        getattr(story, end)()
    assert story.only(LeadErased)
    assert story.after(DAY).asks_for_a_demo().told == []


def test_a_survivor_is_not_handed_off_for_what_the_merged_lead_was_already_chased_for() -> None:
    survivor, other = Story(900).scored(), handed_off(902).send_back("not_now")
    survivor.at(other.now + DAY).merged_with(other)
    survivor.forms = other.forms  # the survivor's next score has them all
    assert survivor.after(100 * DAY).scored().told == []


def test_the_cool_down_of_a_merged_lead_goes_on_with_the_survivor() -> None:
    survivor, other = Story(900).scored(), handed_off(902).send_back("not_now")
    survivor.at(other.now + DAY).merged_with(other)
    assert survivor.scored(grade="A1").told == []
    assert survivor.asks_for_a_demo().only(LeadHandedOff)


def test_the_deletion_that_the_crm_tells_with_a_merge_costs_nobody_the_chase_whichever_is_heard_first() -> None:
    lives = []
    for deleted_first in (True, False):
        survivor, other = Story(900).scored(), handed_off(902).after(timedelta(minutes=5)).activity()
        survivor.at(other.now)
        if deleted_first:
            survivor.merged_with(other.deleted())
        else:
            survivor.merged_with(other)
            assert other.deleted().told == []
        assert (other.lead.gone, other.lead.merged_into) == ("merged", survivor.lead.lead)
        assert (other.lead.left, other.lead.attempts) == (None, ())
        lives.append(survivor.lead)
    assert lives[0] == lives[1]
    assert (lives[0].state, len(lives[0].attempts), len(lives[0].clocks)) == (State.WORKING, 1, 1)


def test_two_merges_with_their_deletions_hand_the_chase_on_whatever_is_heard_first() -> None:
    first, second, third = tried(1), Story(902).scored(), Story(903).scored()
    at = first.now + HOUR
    second.at(at).deleted()
    second.at(at).merged_with(first.at(at))
    third.at(at).merged_with(second)
    assert (third.lead.state, len(third.lead.attempts), len(third.lead.clocks)) == (State.WORKING, 1, 1)


def test_what_is_kept_of_a_deleted_lead_for_a_merge_names_nobody() -> None:
    story = tried(1).reports(note="Ada, the tall one").deleted()
    left = story.lead.left
    assert left is not None
    assert left.score is None
    assert {attempt.note for attempt in left.attempts} == {""}
    assert story.erased().lead.left is None


@pytest.mark.parametrize("erased", ["survivor", "other"])
def test_who_is_erased_under_one_key_is_erased_under_the_other(erased: str) -> None:
    survivor, other = Story(900).scored(), handed_off(902)
    (survivor if erased == "survivor" else other).erased()
    survivor.at(other.now).merged_with(other)
    assert survivor.only(LeadErased)
    assert (survivor.lead.gone, survivor.lead.score, survivor.lead.clocks) == ("erased", None, ())
    assert other.lead.clocks == ()
    assert survivor.after(DAY).asks_for_a_demo().told == []


def test_of_a_deal_that_merged_leads_share_the_newest_word_stays() -> None:
    survivor, other = handed_off(900), handed_off(902).after(HOUR).deal("qualifiedtobuy", deal="deal:1")
    survivor.deal("appointmentscheduled", deal="deal:1").at(other.now).merged_with(other)
    assert survivor.lead.deals["deal:1"].stage == "qualifiedtobuy"


# --- notifications ---


def test_the_owner_is_told_of_the_hand_off_with_what_to_do_by_when() -> None:
    (notice,) = [notice for notice in handed_off().notices if notice.kind == "LeadHandedOff"]
    assert notice.body["due_at"] == (START + URGENT).isoformat()
    assert notice.body["clock"] == "first_touch"
    assert notice.body["reasons"] == []


def test_the_owner_is_told_what_is_to_find_out_when_the_lead_comes_and_not_with_every_word() -> None:
    size = ToFindOut(rule="Right size", points=25, properties=("numberofemployees",))
    story = Story().asks_for_a_demo(to_find_out=(size,)).after(URGENT + DAY).clocks_fire()
    told = {notice.kind: notice.body["to_find_out"] for notice in story.notices}
    asked = {"rule": "Right size", "points": 25, "properties": ["numberofemployees"], "disqualify": ""}
    assert json.loads(json.dumps(told["LeadHandedOff"])) == [asked]
    assert told["ClockBreached"] == []


def test_warnings_breach_and_return_are_told_once_each() -> None:
    story = handed_off().after(URGENT + DAY).clocks_fire()
    kinds = [notice.kind for notice in story.notices]
    assert kinds.count("ClockBreached") == 1
    assert len({notice.id for notice in story.notices}) == len(story.notices)


def test_every_clock_ends_once() -> None:
    story = returned()
    started = [clock.clock_id for clock in story.heard(ClockStarted)]
    ended = [clock.clock_id for kind in (ClockMet, ClockBreached, ClockCancelled) for clock in story.heard(kind)]
    assert sorted(started) == sorted(ended)


# --- the agreement changed, and the lead did nothing ---

RESCORE: dict[str, Any] = {"agreement": "new", "cause": "new", "former_agreement": "old"}
READY: dict[str, Any] = {"grade": "A1", "fit_grade": "A", "interest_level": "1"}


def test_who_is_ready_by_the_new_agreement_is_handed_over_with_its_reason_and_ready_since_then() -> None:
    story = Story().scored().after(20 * DAY)
    story.forms = [Submission(form=DEMO, at=START - HOUR)]
    handed = story.scored(**RESCORE).only(LeadHandedOff)
    assert (handed.former_agreement, handed.ready_at, handed.delay_working_s) == ("old", START + 20 * DAY, 0)
    assert not story.scored(**RESCORE).told


def test_a_hand_off_by_the_lead_s_own_act_names_no_former_agreement_although_the_score_does() -> None:
    story = Story().asks_for_a_demo(agreement="new", former_agreement="old")
    assert story.only(LeadHandedOff).former_agreement == ""


@pytest.mark.parametrize("later", [DAY, 400 * DAY], ids=["in its cool-down", "after it"])
def test_who_was_handed_over_once_is_not_by_a_re_score_but_by_the_next_fact(later: timedelta) -> None:
    story = returned().after(later)
    assert not story.scored(**RESCORE, **READY).told
    assert story.lead.state is State.RETURNED
    assert story.lead.score is not None
    assert story.lead.score.grade == "A1"
    assert story.asks_for_a_demo(**READY).lead.state is State.HANDED_OFF


def test_a_form_that_would_go_before_the_trigger_of_the_hand_off_raises_nothing_by_a_re_score() -> None:
    story = Story().scored(**READY)
    story.forms.append(Submission(form=DEMO, at=story.now + SECOND))
    assert not story.scored(**RESCORE, **READY).told
    assert (story.lead.priority, story.lead.episode) == ("normal", 1)


def test_what_was_set_in_the_crm_before_means_nothing_new_by_a_re_score() -> None:
    said = {"profile": {"hs_lead_status": "CONNECTED"}, "set_at": {"hs_lead_status": START + SECOND}}
    assert not handed_off().after(SECOND).scored(**RESCORE, **said).told
    assert handed_off().after(SECOND).scored(**said).lead.state is State.ACCEPTED


def test_a_lead_under_way_when_grades_get_other_names_goes_on_by_the_default(tmp_path: Path) -> None:
    """Its fit grade of the hand-off is none of those that times are now promised for."""
    usual = with_follow_up(**ELAPSED, first_touch={"A": "1h", "default": "2d"})
    story = Story(agreement=usual).scored(**READY)
    story.agreement = with_follow_up(load(own_grades(tmp_path)), **ELAPSED, first_touch={"gold": "3h", "default": "1d"})
    assert story.after(SECOND).clocks_fire().only(ClockMoved).due_at == START + DAY
    renamed = {"grade": "call now", "fit_grade": "gold", "interest_level": "hot"}
    assert not story.scored(**RESCORE, **renamed).told
    assert story.activity().only(ClockMet).clock is ClockKind.FIRST_TOUCH
    story.send_back("not_now")
    again = story.after(90 * DAY).scored(**renamed)
    assert again.last(ClockStarted).due_at == again.now + timedelta(hours=3)


def test_a_grade_of_a_former_agreement_meets_no_condition_and_breaks_none(tmp_path: Path) -> None:
    story = Story(agreement=with_follow_up(load(own_grades(tmp_path)), **ELAPSED)).scored(**READY)
    assert story.lead.state is State.MARKETING
    assert story.asks_for_a_demo(**READY).only(LeadHandedOff).grade == "A1"


def test_a_re_score_disqualifies_who_is_with_marketing_and_takes_it_back() -> None:
    story = Story().scored().scored(**RESCORE, disqualified="a student")
    assert story.lead.state is State.DISQUALIFIED
    assert story.scored(**RESCORE).lead.state is State.MARKETING


# --- interest fell by waiting alone ---

FADE: dict[str, Any] = {"cause": FADED, "grade": "B4", "interest_level": "4", "journey": "awareness"}


def test_a_lead_that_falls_while_sales_has_it_keeps_its_hand_off_and_its_clocks() -> None:
    story = handed_off()
    clocks = story.lead.clocks
    assert not story.after(HOUR / 60).scored(**FADE).told
    assert (story.lead.state, story.lead.clocks) == (State.HANDED_OFF, clocks)
    assert story.lead.score is not None
    assert (story.lead.score.grade, story.lead.score.journey) == (
        "B4",
        "consideration",
    )  # nobody forgets what they know while they wait


@pytest.mark.parametrize("begin", [lambda: Story().scored(), lambda: returned().after(400 * DAY)])
def test_falling_hands_over_nobody_whatever_trigger_holds_by_it_and_the_next_fact_may(
    begin: Callable[[], Story],
) -> None:
    story = begin()
    before = len(story.heard(LeadHandedOff))
    assert not story.scored(**FADE | READY).told
    assert len(story.scored(**READY).heard(LeadHandedOff)) == before + 1


# --- heard while it was deleted ---


def test_a_call_that_is_heard_of_between_a_deletion_and_the_merge_counts_for_the_survivor_at_its_time() -> None:
    survivor, other = Story(900).scored(), handed_off(902)
    survivor.at(other.now + HOUR)
    called_at = other.now + timedelta(minutes=4)
    assert other.at(survivor.now).deleted().activity(Outcome.CONNECTED, at=called_at).told == []
    survivor.merged_with(other)
    assert (survivor.only(AttemptRecorded).at, survivor.only(AttemptRecorded).lead) == (called_at, survivor.lead.lead)
    assert [told.at for told in survivor.heard(ClockMet)] == [called_at]
    assert (survivor.lead.state, survivor.lead.replied) == (State.WORKING, True)
    assert survivor.heard(ClockBreached) == []
    assert (survivor.lead.heard, other.lead.heard) == ((), ())
    assert every_version_once(survivor)


def test_a_deal_that_is_heard_of_between_a_deletion_and_the_merge_is_the_survivors() -> None:
    survivor, other = handed_off(900), handed_off(902)
    other.after(HOUR).deleted().deal("closedwon", deal="deal:7")
    survivor.at(other.now).merged_with(other)
    assert (survivor.lead.state, survivor.only(DealWon).deal) == (State.CUSTOMER, "deal:7")


def test_so_it_is_when_the_survivor_was_deleted_too_and_becomes_part_of_a_third() -> None:
    first, second, third = handed_off(901), Story(902).scored(), Story(903).scored()
    at = first.now + HOUR
    second.at(at).deleted().activity(activity="call:a")
    first.at(at).deleted().activity(activity="call:b")
    second.merged_with(first).activity(activity="call:c")
    third.at(at).merged_with(second)
    assert [attempt.activity for attempt in third.lead.attempts] == ["call:a", "call:b", "call:c"]
    assert (second.lead.heard, first.lead.heard) == ((), ())


def test_a_deal_that_is_heard_of_before_the_score_that_brings_the_contact_back_is_not_lost() -> None:
    story = handed_off().after(HOUR).deal("qualifiedtobuy", deal="deal:1").deleted()
    at = story.now
    story.after(HOUR).deal("qualifiedtobuy", deal="deal:2").deal("closedwon", deal="deal:3", at=at)
    story.after(HOUR).scored(grade="D4", forms=())
    assert (story.lead.state, set(story.lead.deals)) == (State.OPPORTUNITY, {"deal:2"})


def test_what_is_told_of_who_is_forgotten_for_good_is_not_kept() -> None:
    erased = handed_off().deleted().activity().erased()
    assert erased.activity().deal("closedwon").lead.heard == ()


def test_of_a_deleted_contact_the_newest_hundred_words_are_kept() -> None:
    story = handed_off().deleted()
    for n in range(101):
        story.activity(activity=f"call:{n}")
    assert [one.activity for one in story.lead.heard if isinstance(one, ActivityLogged)][::99] == ["call:1", "call:100"]


# --- a deletion that is heard of late ---


def test_a_deletion_of_the_survivor_from_before_the_merge_forgets_nobody_when_it_is_heard_of_after_it() -> None:
    survivor, other = Story(900).scored(), handed_off(902)
    deleted_at = other.now + HOUR
    survivor.at(other.now + DAY).merged_with(other)
    assert survivor.deleted(at=deleted_at).told == []
    was = survivor.lead
    assert was.state is State.HANDED_OFF
    assert survivor.scored(seen_at=deleted_at).lead == was  # and what a score knows of before it is past
    assert survivor.deleted().only(LeadErased)  # one after the merge forgets it
