"""What people say of a lead in the CRM itself is followed, not fought."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from shared.events import (
    ClockBreached,
    ClockCorrected,
    ClockKind,
    ClockMet,
    DealWon,
    LeadAccepted,
    LeadDisqualified,
    LeadHandedOff,
    LeadQualified,
    LeadReadmitted,
    LeadReturned,
    OpportunityOpened,
    State,
)
from tests.agreements import PLAIN, with_follow_up
from tests.unit.handoff.story import DAY, HOUR, START, Story

STATUS, STAGE = "hs_lead_status", "lifecyclestage"
AGREEMENT = with_follow_up(PLAIN, accept_within="2h", decide_within="9d", first_touch="4h", warn_at=())


def handed_off(**promises: Any) -> Story:
    return Story(agreement=with_follow_up(AGREEMENT, **promises)).asks_for_a_demo()


def clocks(story: Story) -> list[ClockKind]:
    return [clock.kind for clock in story.lead.clocks]


# --- with Sales ---


@pytest.mark.parametrize("status", ["IN_PROGRESS", "ATTEMPTED_TO_CONTACT", "CONNECTED"])
def test_a_status_of_work_accepts_the_lead_and_is_no_touch(status: str) -> None:
    story = handed_off().after(HOUR).set_in_crm(STATUS, status)
    assert story.lead.state is State.ACCEPTED
    assert (story.only(LeadAccepted).actor, story.only(LeadAccepted).at) == ("crm", story.now)
    assert story.only(ClockMet).clock is ClockKind.ACCEPT
    assert clocks(story) == [ClockKind.FIRST_TOUCH, ClockKind.DECISION]
    assert story.lead.attempts == ()


def test_unqualified_disqualifies_for_the_reason_that_was_agreed() -> None:
    story = handed_off().after(HOUR).activity().set_in_crm(STATUS, "UNQUALIFIED")
    assert (story.only(LeadDisqualified).actor, story.only(LeadDisqualified).reason) == ("crm", "other")
    assert story.lead.state is State.DISQUALIFIED
    assert story.after(DAY).asks_for_a_demo().told == []


def test_bad_timing_returns_the_lead_the_way_that_was_agreed_for_its_reason() -> None:
    story = handed_off().after(HOUR).activity().set_in_crm(STATUS, "BAD_TIMING")
    (back,) = story.heard(LeadReturned)
    (rule,) = [rule for rule in AGREEMENT.follow_up.return_when if rule.reason == "not_now"]
    assert (back.actor, back.reason, back.track) == ("crm", "not_now", rule.track)
    assert back.cool_down_until == story.now + rule.cool_down


def test_a_stage_set_to_sql_qualifies_by_hand() -> None:
    story = handed_off().after(HOUR).set_in_crm(STAGE, "salesqualifiedlead")
    assert [kind for kind in story.kinds if kind.startswith("Lead")] == ["LeadAccepted", "LeadQualified"]
    assert (story.lead.state, story.lead.clocks) == (State.QUALIFIED, ())


@pytest.mark.parametrize("value", ["NEW", "OPEN", "A_STATUS_OF_OUR_OWN", ""])
def test_what_the_agreement_does_not_name_changes_nothing(value: str) -> None:
    assert handed_off().after(HOUR).set_in_crm(STATUS, value).told == []


def test_without_a_word_in_the_agreement_nothing_is_followed() -> None:
    assert handed_off(in_the_crm={}).after(HOUR).set_in_crm(STATUS, "UNQUALIFIED").told == []


def test_an_account_s_own_property_and_value_are_followed_where_the_agreement_names_them() -> None:
    own = {"our_status": {"Schon Kunde bei uns": "customer"}}
    story = handed_off(in_the_crm=own).after(HOUR).set_in_crm("our_status", "Schon Kunde bei uns")
    assert story.lead.state is State.CUSTOMER


# --- stages, as deals do ---


@pytest.mark.parametrize(
    ("stage", "state", "message"),
    [("opportunity", State.OPPORTUNITY, OpportunityOpened), ("customer", State.CUSTOMER, DealWon)],
)
def test_a_stage_is_followed_in_every_state_as_a_deal_is(stage: str, state: State, message: type[Any]) -> None:
    for story in (Story(agreement=AGREEMENT), handed_off(), handed_off().disqualify("other")):
        story.after(HOUR).set_in_crm(STAGE, stage)
        assert story.lead.state is state
        assert (story.only(message).deal, story.only(message).actor) == ("", "crm")


def test_a_stage_that_follows_from_a_deal_tells_nothing_more() -> None:
    assert handed_off().after(HOUR).deal("qualifiedtobuy").set_in_crm(STAGE, "opportunity").told == []
    assert handed_off().after(HOUR).deal("closedwon").set_in_crm(STAGE, "opportunity").told == []


def test_unqualified_disqualifies_an_sql_too() -> None:
    story = handed_off().after(HOUR).qualify().after(HOUR).set_in_crm(STATUS, "UNQUALIFIED")
    assert story.only(LeadDisqualified).actor == "crm"


def test_a_stage_set_before_the_hand_off_and_heard_after_it_counts_from_the_hand_off() -> None:
    story = handed_off().after(HOUR).set_in_crm(STAGE, "opportunity", at=START - HOUR)
    assert story.only(OpportunityOpened).at == START


# --- with Marketing ---


def test_who_is_an_sql_or_out_in_the_crm_before_any_hand_off_is_not_handed_off() -> None:
    sql = Story(agreement=AGREEMENT).set_in_crm(STAGE, "salesqualifiedlead", form="demo-request")
    out = Story(agreement=AGREEMENT).set_in_crm(STATUS, "UNQUALIFIED", form="demo-request")
    assert (sql.lead.state, out.lead.state) == (State.QUALIFIED, State.DISQUALIFIED)
    assert not sql.heard(LeadHandedOff) + out.heard(LeadHandedOff)
    assert (sql.only(LeadQualified).actor, out.only(LeadDisqualified).actor) == ("crm", "crm")


def test_who_was_out_and_is_worked_on_again_is_let_in_again() -> None:
    story = handed_off().after(HOUR).set_in_crm(STATUS, "UNQUALIFIED").after(DAY).set_in_crm(STATUS, "IN_PROGRESS")
    assert story.only(LeadReadmitted).actor == "crm"
    assert story.lead.state is State.MARKETING
    assert story.after(DAY).asks_for_a_demo().last(LeadHandedOff).episode == 2


def test_what_follows_from_the_score_itself_is_not_said_by_the_crm() -> None:
    story = handed_off().after(HOUR).set_in_crm(STATUS, "UNQUALIFIED").after(DAY)
    story.set_in_crm(STATUS, "IN_PROGRESS", form="demo-request")
    assert (story.last(LeadHandedOff).episode, story.last(LeadHandedOff).actor) == (2, "system")


def test_who_is_out_is_no_sql_by_a_stage_alone() -> None:
    assert handed_off().after(HOUR).disqualify("other").after(HOUR).set_in_crm(STAGE, "salesqualifiedlead").told == []


def test_the_crm_does_not_overrule_a_score_that_disqualifies() -> None:
    story = Story(agreement=AGREEMENT).scored(disqualified="competitor").after(HOUR)
    assert story.set_in_crm(STATUS, "IN_PROGRESS", disqualified="competitor").told == []


# --- order ---


def test_what_was_said_before_the_hand_off_is_past() -> None:
    story = handed_off().after(HOUR).set_in_crm(STATUS, "UNQUALIFIED", at=START - HOUR)
    assert story.told == []


def test_what_was_said_before_the_episode_ended_and_heard_of_late_is_past() -> None:
    story = handed_off().after(2 * HOUR).send_back("not_now")
    assert story.after(HOUR).set_in_crm(STATUS, "UNQUALIFIED", at=START + HOUR).told == []


def test_the_same_word_told_again_is_heard_once_and_said_again_is_heard_again() -> None:
    story = handed_off().after(HOUR).set_in_crm(STATUS, "BAD_TIMING").after(DAY).asks_for_a_demo()
    assert story.last(LeadHandedOff).episode == 2
    assert story.after(HOUR).set_in_crm(STATUS, "BAD_TIMING").last(LeadReturned).episode == 2


def test_a_stage_of_before_the_deal_was_lost_is_not_followed_again_by_the_next_score() -> None:
    story = handed_off().after(HOUR).set_in_crm(STAGE, "opportunity")
    story.after(HOUR).deal("qualifiedtobuy").after(HOUR).deal("closedlost")
    assert story.after(HOUR).scored().lead.state is State.LOST


def test_accepted_in_the_crm_in_time_is_met_however_late_the_score_tells() -> None:
    due_at = START + 2 * HOUR
    in_time = handed_off().at(due_at + timedelta(seconds=2)).set_in_crm(STATUS, "CONNECTED", at=due_at)
    assert in_time.only(ClockMet).at == due_at
    assert not in_time.heard(ClockBreached)
    late = handed_off().at(due_at + HOUR).clocks_fire().set_in_crm(STATUS, "CONNECTED", at=due_at)
    assert late.only(ClockCorrected).at == due_at


def test_two_words_of_one_score_are_followed_in_the_order_in_which_they_were_said() -> None:
    story = handed_off().after(2 * HOUR)
    story.said, story.set_at = {STATUS: "BAD_TIMING"}, {STATUS: START + HOUR}
    story.set_in_crm(STAGE, "salesqualifiedlead", at=START + HOUR / 2)
    assert story.only(LeadQualified).at == START + HOUR / 2
    assert story.only(LeadReturned).at == START + HOUR


def test_the_order_is_that_of_their_times_and_not_of_the_agreement() -> None:
    story = handed_off().after(2 * HOUR)
    story.said, story.set_at = {STATUS: "CONNECTED"}, {STATUS: START + HOUR / 2}
    story.set_in_crm(STAGE, "salesqualifiedlead", at=START + HOUR)
    assert (story.only(LeadAccepted).at, story.only(LeadQualified).at) == (START + HOUR / 2, START + HOUR)


def test_a_person_s_word_outlasts_a_score_that_said_the_same() -> None:
    story = Story(agreement=AGREEMENT).scored(disqualified="competitor").after(HOUR)
    story.set_in_crm(STATUS, "UNQUALIFIED", disqualified="competitor").after(HOUR).asks_for_a_demo()
    assert story.lead.state is State.DISQUALIFIED


def test_who_bought_although_a_score_kept_them_out_stays_a_customer_when_the_crm_says_unqualified() -> None:
    story = Story(agreement=AGREEMENT).scored(disqualified="competitor").deal("closedwon")
    assert story.after(DAY).set_in_crm(STATUS, "UNQUALIFIED").told == []
    assert story.lead.state is State.CUSTOMER
