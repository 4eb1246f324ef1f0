"""The agreement's paragraphs on time: whose hours count, what moves a deadline, and what never does."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.handoff.domain.machine import Impossible
from services.handoff.worker import due
from shared.agreement import Agreement
from shared.agreement.handoff import Handoff
from shared.errors import Refused
from shared.events import (
    AttemptCorrected,
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
    Direction,
    LeadAccepted,
    LeadAssigned,
    LeadEscalated,
    LeadHandedOff,
    LeadRejected,
    LeadReplied,
    LeadReturned,
    NurtureStarted,
    Outcome,
    PriorityRaised,
    State,
    Submission,
)
from tests.agreements import PLAIN, SHIPPED, with_follow_up, with_parts
from tests.unit.handoff.story import DAY, DEMO, HOUR, START, Story

MINUTE, SECOND = timedelta(minutes=1), timedelta(seconds=1)
ACCEPT, FIRST, NEXT = ClockKind.ACCEPT, ClockKind.FIRST_TOUCH, ClockKind.NEXT_ATTEMPT
WAIT, DECISION = ClockKind.REPLY_WAIT, ClockKind.DECISION
ANA, BEA, CARL = "ana@example.test", "bea@example.test", "carl@example.test"
MANAGER = "head@example.test"
TEAM: dict[str, Any] = {
    "manager": MANAGER,
    "members": {ANA: {"crm_owner": "11"}, BEA: {"weight": 0, "crm_owner": "22", "calendar": "late"}},
}
# Monday to Friday from 8 to 18 for everybody, and from 12 to 20 for Bea.
HOURS: dict[str, Any] = {"office": {"mon-fri": "08:00-18:00"}, "late": {"mon-fri": "12:00-20:00"}}
CADENCE = (
    {"channel": "phone"},
    {"channel": "email", "after": "4h"},
    {"channel": "phone", "after": "8h"},
)


def monday(hour: int, minute: int = 0) -> datetime:
    return START.replace(hour=hour, minute=minute)


def tuesday(hour: int, minute: int = 0) -> datetime:
    return monday(hour, minute) + DAY


def saying(*, team: dict[str, Any] = TEAM, **promises: Any) -> Agreement:
    """An agreement of office hours with one team, that promises the first touch in 4 hours and what else is said."""
    handoff = {"triggers": SHIPPED.handoff.triggers, "route": [{"to": "team:inbound"}], "teams": {"inbound": team}}
    said = {"calendars": HOURS, "calendar": "office", "first_touch": "4h", "cadence": CADENCE, "warn_at": ()}
    agreement = with_parts(PLAIN, handoff=Handoff.model_validate(handoff))
    return with_follow_up(agreement, **{**said, **promises})


# What Sales owes, each in its time.
OWED: dict[str, Any] = {"accept_within": "1h", "decide_within": "5d"}


def handed_off(*, team: dict[str, Any] = TEAM, start: datetime = START, contact: int = 901, **promises: Any) -> Story:
    return Story(contact, agreement=saying(team=team, **promises), start=start).asks_for_a_demo()


def tried(times: int, **promises: Any) -> Story:
    """Handed off, and tried without success, an hour after each other."""
    story = handed_off(**promises)
    for step in CADENCE[:times]:
        story.after(HOUR).activity(channel=Channel(step["channel"]))
    return story


def open_clock(story: Story, kind: ClockKind) -> Any:
    (clock,) = [clock for clock in story.lead.clocks if clock.kind is kind]
    return clock


def of(story: Story, message: type[Any], kind: ClockKind) -> list[Any]:
    return [told for told in story.heard(message) if told.clock is kind]


def one(story: Story, message: type[Any], kind: ClockKind) -> Any:
    (told,) = of(story, message, kind)
    return told


def open_kinds(story: Story) -> list[ClockKind]:
    return [clock.kind for clock in story.lead.clocks]


# --- whose time ---


def test_a_demo_request_at_two_minutes_to_six_on_the_friday_before_a_holiday_is_due_three_minutes_into_tuesday() -> (
    None
):
    holiday = {"ro": {"mon-fri": "09:00-18:00", "timezone": "Europe/Bucharest", "holidays": "RO"}}
    friday = datetime(2026, 5, 29, 14, 58, tzinfo=UTC)  # 17:58 in Bucharest; Whit Monday is free
    story = handed_off(start=friday, calendars={**HOURS, **holiday}, calendar="ro", first_touch="5m", warn_at=["50%"])
    due_at = datetime(2026, 6, 2, 6, 3, tzinfo=UTC)
    assert story.only(ClockStarted).due_at == due_at
    assert story.at(due_at).activity().only(ClockMet).took_working_s == 300
    assert story.only(ClockWarned).at == datetime(2026, 6, 2, 6, 0, 30, tzinfo=UTC)
    assert story.only(ClockMet).took_s == (due_at - friday).total_seconds()


def test_who_asks_at_night_waits_from_the_opening_on_and_the_system_s_delay_counts_only_open_hours() -> None:
    story = Story(agreement=saying(), start=tuesday(8, 30))
    story.forms = [Submission(form=DEMO, at=monday(20))]
    story.scored()
    assert story.only(LeadHandedOff).ready_at == monday(20)
    assert story.only(LeadHandedOff).delay_working_s == 30 * 60
    assert open_clock(story, FIRST).due_at == tuesday(12, 30)
    touched = story.after(HOUR).activity().only(AttemptRecorded)
    assert (touched.since_assigned_working_s, touched.since_ready_working_s) == (3600, 5400)


def test_a_day_is_a_working_day_of_who_has_the_lead() -> None:
    late = handed_off(team={**TEAM, "calendar": "late"}, first_touch="1d", start=monday(16))
    assert open_clock(handed_off(first_touch="1d", start=monday(16)), FIRST).due_at == tuesday(16)
    assert open_clock(late, FIRST).due_at == tuesday(16)
    assert open_clock(handed_off(first_touch="2d", start=monday(16)), FIRST).due_at == tuesday(16) + DAY


def test_a_target_of_nothing_is_no_clock() -> None:
    story = handed_off(first_touch={"urgent": "0m", "default": "4h"}, accept_within={"urgent": "0m", "default": "1h"})
    assert story.kinds == ["LeadHandedOff", "LeadAssigned"]
    assert story.lead.clocks == ()
    assert story.after(HOUR).activity().only(ClockStarted).clock is NEXT


@pytest.mark.parametrize(
    ("targets", "due_at"),
    [
        ({"urgent": "1h", "team:inbound": "2h", "B": "3h", "default": "5h"}, monday(10)),
        ({"team:inbound": "2h", "B": "3h", "default": "5h"}, monday(11)),
        ({"B": "3h", "default": "5h"}, monday(12)),
        ({"A": "3h", "default": "5h"}, monday(14)),
    ],
)
def test_the_time_is_that_of_the_priority_or_else_of_the_team_the_fit_everybody(
    targets: dict[str, str], due_at: datetime
) -> None:
    assert open_clock(handed_off(first_touch=targets), FIRST).due_at == due_at


def test_warnings_come_at_their_share_of_the_working_time() -> None:
    story = handed_off(start=monday(16), warn_at=["80%", "50%"]).after(2 * DAY).clocks_fire()
    assert [(told.share, told.at) for told in story.heard(ClockWarned)] == [(0.5, monday(18)), (0.8, tuesday(9, 12))]
    assert story.only(ClockBreached).at == tuesday(10)


def test_the_wait_for_a_reply_warns_nobody() -> None:
    story = tried(3, warn_at=["50%"], wait_for_reply="1d").after(9 * DAY).clocks_fire()
    assert {told.clock for told in story.heard(ClockWarned)} <= {FIRST, NEXT}
    assert story.lead.state is State.RETURNED


# --- accept ---


ANSWERS: dict[str, Callable[[Story], Story]] = {
    "accept": Story.accept,
    "attempt": Story.activity,
    "reported": Story.reports,
    "qualify": Story.qualify,
    "reject": lambda story: story.reject("other"),
    "return": lambda story: story.send_back("not_now"),
    "disqualify": lambda story: story.disqualify("competitor"),
    "deal": lambda story: story.deal("qualifiedtobuy"),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_any_word_of_sales_meets_the_time_to_accept(answer: str) -> None:
    story = ANSWERS[answer](handed_off(**OWED).after(HOUR))
    met = one(story, ClockMet, ACCEPT)
    assert (met.at, met.took_working_s) == (monday(10), 3600)
    assert ACCEPT not in open_kinds(story)


@pytest.mark.parametrize("answer", ANSWERS)
def test_the_same_word_too_late_settles_the_breach(answer: str) -> None:
    story = ANSWERS[answer](handed_off(**OWED).after(2 * HOUR))
    assert one(story, ClockBreached, ACCEPT).at == monday(10)
    assert one(story, ClockSettled, ACCEPT).late_working_s == 3600
    assert not of(story, ClockMet, ACCEPT)


def test_accepting_is_no_touch_and_no_decision() -> None:
    story = handed_off(**OWED).after(MINUTE).accept()
    assert story.lead.state is State.ACCEPTED
    assert open_kinds(story) == [FIRST, DECISION]


def test_rejecting_is_a_word_and_no_touch() -> None:
    story = handed_off(**OWED).after(MINUTE).reject("wrong_contact")
    assert story.only(ClockCancelled).clock is FIRST
    assert {told.clock for told in story.heard(ClockMet)} == {ACCEPT, DECISION}


def test_silence_is_a_breach_and_no_more_where_the_agreement_says_nothing_of_it() -> None:
    story = handed_off(accept_within="1h").after(2 * HOUR).clocks_fire()
    assert story.kinds == ["ClockBreached"]
    assert (story.lead.state, story.lead.owner) == (State.HANDED_OFF, ANA)


def test_silence_is_acceptance_where_the_agreement_says_so() -> None:
    story = handed_off(accept_within="1h", if_not_accepted="accept").after(2 * HOUR).clocks_fire()
    assert story.only(LeadAccepted).at == story.only(ClockMet).at == monday(10)
    assert story.only(LeadAccepted).actor == "system"
    assert not story.heard(ClockBreached)
    assert open_kinds(story) == [FIRST]


TWO = {"members": {ANA: {}, BEA: {}}}


def test_silence_gives_the_lead_to_a_colleague_where_the_agreement_says_so() -> None:
    story = handed_off(team=TWO, accept_within="1h", if_not_accepted="reassign")
    former = story.lead.owner
    story.after(90 * MINUTE).clocks_fire()
    assigned = story.last(LeadAssigned)
    assert (assigned.at, assigned.former_owner, assigned.reason) == (monday(10), former, "not_accepted")
    assert story.lead.owner == {ANA: BEA, BEA: ANA}[former]
    assert story.only(ClockBreached).owner == former
    assert open_clock(story, ACCEPT).due_at == monday(11)
    assert open_clock(story, FIRST).due_at == monday(14)


def test_when_all_colleagues_kept_silent_the_lead_stays_with_the_last_who_stays_overdue() -> None:
    story = handed_off(team=TWO, accept_within="1h", if_not_accepted="reassign").after(9 * DAY).clocks_fire()
    assert [told.at for told in of(story, ClockBreached, ACCEPT)] == [monday(10), monday(11)]
    assert len(story.heard(LeadAssigned)) == 2
    assert open_clock(story, ACCEPT).overdue


BACK_FOR_SILENCE: dict[str, Any] = {
    "accept_within": "1h",
    "if_not_accepted": "return",
    "return_when": [{"reason": "not_accepted", "track": "decision", "cool_down": "2d"}],
}


def test_silence_takes_the_lead_back_where_the_agreement_says_so() -> None:
    story = handed_off(decide_within="5d", **BACK_FOR_SILENCE).after(2 * HOUR).clocks_fire()
    back = story.only(LeadReturned)
    assert (back.at, back.reason, back.track) == (monday(10), "not_accepted", "decision")
    assert back.cool_down_until == monday(10) + 2 * DAY
    assert one(story, ClockSettled, ACCEPT).late_s == 0
    assert one(story, ClockCancelled, FIRST).reason == "returned"
    assert story.lead.clocks == ()


def test_a_touch_logged_after_the_lead_was_taken_back_for_silence_takes_the_breach_back_and_not_the_return() -> None:
    story = handed_off(**BACK_FOR_SILENCE).after(2 * HOUR).clocks_fire().activity(at=monday(9, 30), activity="call:7")
    assert story.kinds == ["ClockCorrected"]
    assert (story.only(ClockCorrected).clock, story.only(ClockCorrected).activity) == (ACCEPT, "call:7")
    assert story.lead.state is State.RETURNED
    assert story.activity(at=monday(9, 40)).told == []


# --- decide ---


WORDS = {word: ANSWERS[word] for word in ("qualify", "return", "disqualify", "deal")}


@pytest.mark.parametrize("word", WORDS)
def test_any_word_of_sales_on_the_lead_meets_the_time_to_decide(word: str) -> None:
    story = WORDS[word](tried(2, **OWED).after(HOUR))
    assert one(story, ClockMet, DECISION).took_working_s == 3 * 3600
    assert story.lead.clocks == ()


@pytest.mark.parametrize("word", WORDS)
def test_a_decision_that_comes_too_late_settles_the_breach(word: str) -> None:
    story = WORDS[word](tried(2, decide_within="5h", off_cadence="count").at(tuesday(9)))
    assert one(story, ClockBreached, DECISION).at == monday(14)
    assert one(story, ClockSettled, DECISION).late_working_s == 5 * 3600
    assert not of(story, ClockMet, DECISION)


def test_attempts_and_a_reply_do_not_decide() -> None:
    story = tried(2, decide_within="5d").after(HOUR).lead_writes()
    assert story.only(LeadReplied)
    assert open_kinds(story) == [DECISION]
    assert story.after(30 * DAY).clocks_fire().only(ClockBreached).clock is DECISION
    assert story.lead.state is State.WORKING


def test_a_lead_that_goes_back_untouched_by_any_word_was_decided_on_by_the_agreement() -> None:
    story = tried(3, decide_within="5d", wait_for_reply="1d").after(9 * DAY).clocks_fire()
    assert one(story, ClockMet, DECISION).at == story.only(LeadReturned).at == tuesday(12)


# --- escalation ---


STEPS: dict[str, Any] = {
    "escalation": [
        {"at": "breach + 1d", "to": ["vp@example.test", "manager"]},
        {"at": "breach", "on": "first_touch", "to": "manager"},
        {"at": "breach + 2h", "on": ["accept", "first_touch"], "to": "manager", "reassign": "team"},
    ]
}


def test_a_breach_that_nobody_mends_goes_on_step_by_step_in_working_time() -> None:
    story = handed_off(**STEPS, start=monday(13)).after(9 * DAY).clocks_fire()
    told = [(step.at, step.step, step.to) for step in story.heard(LeadEscalated)]
    assert told == [
        (monday(17), 2, (MANAGER,)),
        (tuesday(9), 3, (MANAGER,)),
        (tuesday(17), 1, ("vp@example.test", MANAGER)),
    ]
    assert len(story.heard(ClockBreached)) == 1


def test_an_escalation_can_give_the_lead_to_a_colleague_on_whom_a_new_clock_runs() -> None:
    story = handed_off(team={**TWO, "manager": MANAGER}, **STEPS, start=monday(13))
    former = story.lead.owner
    story.at(tuesday(10)).clocks_fire()
    assigned = story.last(LeadAssigned)
    assert (assigned.at, assigned.former_owner, assigned.reason) == (tuesday(9), former, "escalated")
    assert story.last(LeadEscalated).owner == former
    assert open_clock(story, FIRST).due_at == tuesday(13)
    assert one(story, ClockSettled, FIRST).reason == "reassigned"


def test_a_late_touch_ends_the_escalation() -> None:
    story = handed_off(**STEPS, start=monday(13)).at(tuesday(8, 30)).activity().at(tuesday(18)).clocks_fire()
    assert [step.step for step in story.heard(LeadEscalated)] == [2]


def test_a_clock_that_no_step_is_about_is_escalated_to_nobody() -> None:
    only = [{"at": "breach + 1h", "on": "decision", "to": "manager"}]
    assert not handed_off(escalation=only).after(9 * DAY).clocks_fire().heard(LeadEscalated)


def test_who_is_told_of_a_breach_was_agreed_when_it_happened() -> None:
    story = handed_off(**STEPS, start=monday(13)).at(monday(17)).clocks_fire()
    story.agreement = saying(escalation=())
    story.at(tuesday(18)).clocks_fire()
    assert [step.step for step in story.heard(LeadEscalated)] == [2, 3, 1]


def test_a_team_without_a_manager_is_told_by_the_word() -> None:
    alone = handed_off(team=TWO, escalation=[{"at": "breach", "to": "manager"}]).after(DAY).clocks_fire()
    assert alone.only(LeadEscalated).to == ("manager",)


# --- pause ---


def test_a_paused_clock_goes_on_with_what_it_had_left() -> None:
    story = handed_off().at(monday(11)).pause("away").at(tuesday(11)).resume()
    assert story.only(ClockPaused).reason == "away"
    assert story.only(ClockResumed).due_at == tuesday(13)
    assert story.at(tuesday(13)).activity().only(ClockMet)


def test_nothing_is_warned_of_nor_breached_while_it_stands_still() -> None:
    story = handed_off(warn_at=["50%", "75%"]).at(monday(11, 30)).pause().after(30 * DAY).clocks_fire()
    assert [told.share for told in story.heard(ClockWarned)] == [0.5]
    assert not story.heard(ClockBreached)
    again = story.now.replace(hour=8) + DAY
    story.at(again).resume().at(again + HOUR).clocks_fire()
    assert [(told.share, told.at) for told in story.heard(ClockWarned)] == [(0.5, monday(11)), (0.75, again + HOUR / 2)]


def test_a_pause_ends_by_itself_at_its_time_whenever_that_is_noticed() -> None:
    story = handed_off().at(monday(11)).pause("away", tuesday(11)).at(tuesday(17)).clocks_fire()
    assert story.only(ClockPaused).until == tuesday(11)
    assert story.only(ClockResumed).at == tuesday(11)
    assert story.only(ClockBreached).at == tuesday(13)
    assert story.lead.pause is None


def test_all_clocks_of_the_lead_stand_still_and_go_on_together() -> None:
    story = handed_off(**OWED).at(monday(9, 30)).pause().at(tuesday(9, 30)).resume()
    assert [clock.due_at for clock in story.lead.clocks] == [
        tuesday(10),
        tuesday(13),
        START + 8 * DAY,  # five working days, and one that it stood still
    ]


def test_an_attempt_while_the_lead_is_paused_is_met_and_the_clock_that_follows_stands_still_from_the_first() -> None:
    story = handed_off().at(monday(11)).pause().at(monday(16)).activity()
    assert one(story, ClockMet, FIRST).at == monday(16)
    assert one(story, ClockPaused, NEXT).at == monday(16)
    assert story.at(tuesday(16)).resume().last(ClockResumed).due_at == tuesday(10) + DAY


def test_a_pause_after_the_due_time_does_not_mend_a_breach() -> None:
    story = handed_off().at(monday(13)).pause("away")
    assert story.only(ClockBreached).at == monday(13)
    assert not story.heard(ClockPaused)
    story.after(HOUR).resume().after(HOUR).activity()
    assert story.only(ClockSettled).late_working_s == 2 * 3600


def test_a_pause_with_nothing_to_hold_ends_at_its_time_too() -> None:
    story = handed_off().at(monday(14)).pause("away", monday(15)).at(monday(16)).activity()
    assert story.lead.pause is None
    assert open_clock(story, NEXT).due_at == tuesday(10)
    assert story.after(MINUTE).clocks_fire().told == []


def test_the_end_of_a_pause_is_a_due_moment_of_the_lead_though_no_clock_stands_still() -> None:
    story = handed_off().activity(Outcome.CONNECTED).pause("away", monday(15))
    assert (story.lead.clocks, story.lead.wakes_at) == ((), monday(15))
    _, moments = due(story.lead, story.at(monday(16)).facts())
    assert moments == [monday(15)]
    assert story.clocks_fire().lead.pause is None
    assert story.lead.wakes_at is None


def test_an_attempt_made_in_a_pause_that_is_over_and_logged_late_starts_a_clock_that_stood_still_in_it() -> None:
    story = handed_off().at(monday(11)).pause("away", monday(15)).at(monday(16)).clocks_fire().activity(at=monday(12))
    assert one(story, ClockMet, FIRST).at == monday(12)
    assert open_clock(story, NEXT).due_at == tuesday(9)
    assert [(pause.at, pause.until) for pause in open_clock(story, NEXT).stood] == [(monday(12), monday(15))]
    assert not story.heard(ClockBreached)


def test_nor_does_a_pause_count_that_came_between_the_attempt_and_its_logging() -> None:
    story = handed_off().at(monday(11)).pause().at(monday(15)).resume().at(monday(16)).activity(at=monday(10))
    assert open_clock(story, NEXT).due_at == monday(18)
    assert open_clock(agreed_anew(story, first_touch="5h"), NEXT).due_at == monday(18)


def test_a_clock_that_an_escalation_starts_after_the_pause_s_end_runs() -> None:
    story = handed_off(team=TWO, **STEPS).at(monday(13, 30)).pause("away", monday(14)).at(monday(16)).clocks_fire()
    assert story.last(LeadAssigned).at == monday(15)
    assert open_clock(story, FIRST).due_at == tuesday(9)
    assert open_clock(story, FIRST).stood == ()


def test_only_who_is_not_paused_can_be_paused_and_the_other_way_round() -> None:
    story = handed_off()
    with pytest.raises(Impossible, match="resume is not possible"):
        story.resume()
    with pytest.raises(Impossible, match="pause is not possible"):
        story.pause().pause()


def test_a_pause_until_a_time_that_is_past_is_refused() -> None:
    with pytest.raises(Refused, match="in the future"):
        handed_off().pause("away", START)


@pytest.mark.parametrize("word", WORDS)
def test_who_is_decided_on_is_not_paused_any_longer(word: str) -> None:
    story = WORDS[word](tried(1, **OWED).pause().after(HOUR))
    assert story.lead.pause is None
    assert story.lead.clocks == ()


# --- another owner ---


def test_the_former_owner_keeps_the_breach_and_the_new_one_gets_a_new_clock_by_their_own_hours() -> None:
    story = handed_off().at(monday(15)).reassign(BEA)
    assert (story.only(ClockBreached).at, story.only(ClockBreached).owner) == (monday(13), ANA)
    assert (story.only(ClockSettled).owner, story.only(ClockSettled).reason) == (ANA, "reassigned")
    started = story.last(ClockStarted)
    assert (started.owner, started.clock, started.due_at) == (BEA, FIRST, monday(19))
    assert story.last(LeadAssigned).reason == "by_hand"
    assert story.last(LeadAssigned).actor == "ana"


def test_what_is_not_yet_due_ends_with_the_former_owner_too() -> None:
    story = tried(1).reassign(BEA)
    assert one(story, ClockCancelled, NEXT).reason == "reassigned"
    assert open_clock(story, NEXT).due_at == monday(16)


def test_speed_to_lead_runs_on_and_the_new_owner_s_time_from_the_assignment() -> None:
    story = handed_off().at(monday(15)).reassign(BEA).at(monday(17)).activity(by="22")
    touched = story.only(AttemptRecorded)
    assert (touched.since_assigned_s, touched.since_assigned_working_s) == (2 * 3600, 2 * 3600)
    assert touched.since_ready_working_s == 5 * 3600  # by Bea's hours, since noon


def test_the_same_owner_again_resets_nothing() -> None:
    story = handed_off().after(HOUR).reassign(ANA)
    assert story.told == []
    assert open_clock(story, FIRST).due_at == monday(13)


def test_the_time_to_decide_goes_on_by_the_new_owner_s_hours() -> None:
    story = handed_off(decide_within="10h").at(monday(10)).reassign(BEA)
    assert open_clock(story, DECISION).due_at == tuesday(14)  # from Monday noon on
    moved = one(story, ClockMoved, DECISION)
    assert (moved.former_due_at, moved.reason) == (tuesday(9), "reassigned")
    assert len(of(story, ClockStarted, DECISION)) == 1


def test_a_paused_lead_that_changes_hands_stays_paused() -> None:
    story = handed_off().at(monday(10)).pause().at(monday(13)).reassign(BEA)
    assert open_clock(story, FIRST).pause is not None
    assert story.at(monday(15)).resume().last(ClockResumed).due_at == monday(19)


def owned_in_the_crm(story: Story, owner: str, **more: Any) -> Story:
    return story.scored(profile={"email": "ada@example.test", "hubspot_owner_id": owner}, **more)


def test_another_owner_in_the_crm_is_followed_when_the_agreement_knows_them() -> None:
    story = owned_in_the_crm(owned_in_the_crm(handed_off(), "11").after(HOUR), "22")
    assert story.lead.owner == BEA
    assert story.last(LeadAssigned).reason == "crm"
    assert open_clock(story, FIRST).due_at == monday(16)


@pytest.mark.parametrize("stranger", ["33", ""])
def test_another_owner_in_the_crm_whom_nobody_knows_changes_nothing(stranger: str) -> None:
    story = owned_in_the_crm(owned_in_the_crm(handed_off(), "11").after(HOUR), stranger)
    assert story.lead.owner == ANA
    assert story.told == []


def test_an_owner_who_changed_in_the_crm_before_anybody_looked_keeps_the_breach_all_the_same() -> None:
    story = owned_in_the_crm(handed_off(), "11").at(monday(15))
    owned_in_the_crm(story, "22", at=monday(12))
    assert story.only(ClockBreached).owner == ANA
    assert story.last(ClockStarted).owner == BEA


def test_a_reassignment_needs_somebody_whom_the_agreement_knows() -> None:
    with pytest.raises(Refused, match="must be a member of any team"):
        handed_off().reassign("nobody@example.test")
    with pytest.raises(Refused, match="name the team, the owner, or both"):
        handed_off().reassign()


# --- the lead asks again ---


def test_a_second_demo_request_neither_restarts_nor_doubles() -> None:
    story = handed_off(**OWED).after(HOUR / 2)
    before = story.lead.clocks
    assert story.asks_for_a_demo().told == []
    assert story.lead.clocks == before


# Handed off by the score, with nothing urgent about it.
def by_score(**promises: Any) -> Story:
    targets = {"first_touch": {"urgent": "1h", "default": "8h"}, **promises}
    return Story(agreement=saying(**targets)).scored(grade="A1", fit_grade="A", interest_level="1")


def test_a_demo_request_while_sales_has_the_lead_raises_the_priority_and_hurries() -> None:
    story = by_score().after(2 * HOUR).asks_for_a_demo()
    raised = story.only(PriorityRaised)
    assert (raised.former_priority, raised.priority, raised.trigger) == ("normal", "urgent", "Asked for a demo")
    moved = story.only(ClockMoved)
    assert (moved.due_at, moved.former_due_at, moved.reason) == (monday(12), monday(17), "priority")
    assert len(story.heard(LeadHandedOff)) == len(story.heard(ClockStarted)) == 1
    assert story.after(MINUTE).asks_for_a_demo().told == []


def test_a_deadline_that_is_near_already_is_not_put_off_by_it() -> None:
    story = by_score().at(monday(16, 30)).asks_for_a_demo()
    assert story.only(PriorityRaised)
    assert open_clock(story, FIRST).due_at == monday(17)
    assert not story.heard(ClockMoved)


def test_the_next_attempt_is_due_like_a_first_touch() -> None:
    story = by_score().after(HOUR).activity().after(HOUR).asks_for_a_demo()
    assert open_clock(story, NEXT).due_at == monday(12)
    assert story.at(monday(12)).activity(channel=Channel.EMAIL).last(ClockMet).clock is NEXT
    assert open_clock(story, NEXT).due_at == tuesday(10)  # the one after it as the cadence says


@pytest.mark.parametrize("urgent", ["6h", "20h"])
def test_no_deadline_moves_away_because_the_lead_asked_again(urgent: str) -> None:
    promises: dict[str, Any] = {
        "first_touch": {"urgent": urgent, "default": "2h"},
        "decide_within": {"urgent": "9d", "default": "3d"},
    }
    for story in (by_score(**promises), by_score(**promises).after(HOUR).activity()):
        before = [clock.due_at for clock in story.lead.clocks]
        assert story.after(HOUR).asks_for_a_demo().only(PriorityRaised)
        assert [clock.due_at for clock in story.lead.clocks] == before


def test_nor_while_it_stands_still() -> None:
    story = by_score(first_touch={"urgent": "6h", "default": "2h"}).pause().after(HOUR).asks_for_a_demo().resume()
    assert open_clock(story, FIRST).due_at == monday(12)


def test_a_lead_that_answered_is_not_hurried() -> None:
    story = by_score().after(HOUR).activity(Outcome.CONNECTED).after(HOUR).asks_for_a_demo()
    assert story.told == []


def test_a_better_grade_alone_raises_nothing_while_sales_has_the_lead() -> None:
    score_first = SHIPPED.handoff.model_copy(update={"triggers": SHIPPED.handoff.triggers[::-1]})
    story = Story(agreement=with_parts(saying(), handoff=score_first)).asks_for_a_demo().after(HOUR)
    story.scored(form="newsletter", grade="A1", fit_grade="A", interest_level="1")
    assert story.only(LeadHandedOff).trigger == "Asked for a demo"
    assert story.told == []


def test_a_breach_stays_one_when_the_lead_asks_again() -> None:
    story = by_score().at(tuesday(8)).asks_for_a_demo()
    assert story.only(ClockBreached).due_at == monday(17)
    assert open_clock(story, FIRST).overdue


# --- another agreement while clocks run ---


def agreed_anew(story: Story, **promises: Any) -> Story:
    story.agreement = saying(**promises)
    return story.clocks_fire()


def test_more_time_counts_from_the_start() -> None:
    story = agreed_anew(handed_off().at(monday(11)), first_touch="6h")
    moved = story.only(ClockMoved)
    assert (moved.due_at, moved.former_due_at, moved.reason) == (monday(15), monday(13), "agreement")
    assert moved.actor == "system"
    assert story.lead.agreement == story.agreement.version


def test_less_time_counts_from_now_on_and_nobody_gets_less_than_that() -> None:
    story = agreed_anew(handed_off().at(monday(11)), first_touch="1h")
    assert open_clock(story, FIRST).due_at == monday(12)


def test_less_time_never_puts_it_off() -> None:
    story = agreed_anew(handed_off().at(monday(12)), first_touch="3h")
    assert open_clock(story, FIRST).due_at == monday(13)
    assert not story.heard(ClockMoved)


def test_other_hours_move_the_clock_too() -> None:
    nine_to_one = {**HOURS, "office": {"mon-fri": "09:00-12:00"}}
    assert open_clock(agreed_anew(handed_off().at(monday(10)), calendars=nine_to_one), FIRST).due_at == tuesday(10)


def test_what_is_no_longer_promised_is_cancelled() -> None:
    story = agreed_anew(handed_off(**OWED).at(monday(9, 30)), decide_within="5d")
    assert one(story, ClockCancelled, ACCEPT).reason == "not_promised"
    assert open_kinds(story) == [FIRST, DECISION]


def test_a_cadence_cut_short_gives_the_lead_its_time_to_answer_from_now_on() -> None:
    story = agreed_anew(tried(1, wait_for_reply="2d").at(monday(12)), cadence=CADENCE[:1], wait_for_reply="2d")
    assert one(story, ClockCancelled, NEXT).reason == "not_promised"
    assert open_clock(story, WAIT).started_at == monday(12)
    assert open_clock(story, WAIT).due_at == monday(12) + 2 * DAY
    assert story.at(monday(12) + 2 * DAY).clocks_fire().only(LeadReturned).attempts == 1


def test_an_attempt_that_is_overdue_stays_owed_when_the_cadence_is_cut_short() -> None:
    story = agreed_anew(tried(1).at(monday(15)).clocks_fire(), cadence=CADENCE[:1])
    assert open_clock(story, NEXT).overdue
    assert open_kinds(story) == [NEXT]


def test_another_owner_is_not_left_without_a_clock_by_a_cadence_cut_short() -> None:
    passed_on = [{"at": "breach", "reassign": "team"}]
    story = tried(1, escalation=passed_on, team=TWO)
    story.agreement = saying(escalation=passed_on, team=TWO, cadence=CADENCE[:1])
    story.at(monday(15)).clocks_fire()
    assert story.last(LeadAssigned).reason == "escalated"
    assert open_kinds(story) == [WAIT]


def test_what_is_promised_from_now_on_begins_with_the_next_hand_off() -> None:
    assert open_kinds(agreed_anew(handed_off(), **OWED)) == [FIRST]


def test_a_breach_stays_one_under_another_agreement() -> None:
    story = agreed_anew(handed_off().at(monday(14)).clocks_fire(), first_touch="9h")
    assert open_clock(story, FIRST).overdue
    assert not story.heard(ClockMoved)


def test_what_fell_due_before_anybody_looked_is_a_breach_by_what_held_then() -> None:
    looked, scored, late = (handed_off().at(monday(14)) for _ in range(3))
    agreed_anew(looked, first_touch="9h")
    for story in (scored, late):
        story.agreement = looked.agreement
    scored.scored(at=monday(12)).clocks_fire()
    assert [story.only(ClockBreached).at for story in (looked, scored)] == [monday(13)] * 2
    assert late.activity(at=monday(13) - SECOND).only(ClockMet)


def test_a_clock_that_stands_still_follows_too() -> None:
    longer = agreed_anew(handed_off().at(monday(11)).pause().at(monday(12)), first_touch="6h").resume()
    shorter = agreed_anew(handed_off().at(monday(11)).pause().at(monday(12)), first_touch="1h").resume()
    assert open_clock(longer, FIRST).due_at == monday(16)
    assert open_clock(shorter, FIRST).due_at == monday(13)


def test_what_stood_still_while_the_hours_changed_goes_on_as_if_these_had_always_been() -> None:
    story = agreed_anew(handed_off(calendar="always").at(monday(10)).pause(), calendar="late").at(monday(12)).resume()
    assert open_clock(story, FIRST).due_at == monday(16)
    agreed_anew(story, calendar="late", warn_at=["50%"])
    assert open_clock(story, FIRST).due_at == monday(16)


def test_and_of_a_shorter_time_keeps_what_it_had_left_though_no_such_hour_is_left_before_its_end() -> None:
    story = handed_off(calendar="always", first_touch="10h").at(monday(18, 30)).pause()
    agreed_anew(story, first_touch="5h").at(tuesday(8)).resume()
    assert open_clock(story, FIRST).due_at == tuesday(8, 30)


def test_what_was_warned_of_is_not_warned_of_again() -> None:
    story = handed_off(warn_at=["50%", "75%"]).at(monday(11)).clocks_fire()
    agreed_anew(story, first_touch="8h", warn_at=["50%", "75%"]).at(monday(17)).clocks_fire()
    assert [(told.share, told.at) for told in story.heard(ClockWarned)] == [(0.5, monday(11)), (0.75, monday(15))]


def test_the_time_it_stood_still_is_given_again_under_another_agreement() -> None:
    story = handed_off().at(monday(10)).pause().at(monday(12)).resume()
    assert open_clock(agreed_anew(story, first_touch="5h"), FIRST).due_at == monday(16)


def test_a_pause_that_is_over_gives_as_much_time_again_as_it_took_by_the_hours_of_now() -> None:
    by_night = handed_off(calendar="always", first_touch="20h").at(monday(18)).pause().at(tuesday(8)).resume()
    assert open_clock(agreed_anew(by_night, first_touch="20h"), FIRST).due_at == tuesday(9) + DAY
    closed_then = handed_off(calendar="late").pause().at(monday(12)).resume()
    assert open_clock(agreed_anew(closed_then, first_touch="5h"), FIRST).due_at == monday(17)


def test_a_pause_outside_the_new_hours_moves_a_deadline_no_later_when_the_agreement_changes_once_more() -> None:
    story = handed_off(calendar="always", first_touch="24h").at(monday(9)).pause().at(monday(9, 30)).resume()
    agreed_anew(story, calendar="late")
    assert open_clock(story, FIRST).due_at == monday(16)
    agreed_anew(story.after(HOUR), calendar="late", warn_at=["50%"])
    assert open_clock(story, FIRST).due_at == monday(16)


def test_a_pause_goes_on_for_a_merged_leads_clock_from_where_its_own_ended() -> None:
    survivor, other = handed_off(start=monday(10)).at(monday(10, 30)).pause(), handed_off(contact=902)
    other.at(monday(10, 30)).pause()
    survivor.at(monday(11)).merged_with(other.at(monday(11))).at(monday(12)).resume()
    assert open_clock(survivor, FIRST).due_at == monday(14, 30)


def test_the_same_agreement_again_moves_nothing() -> None:
    story = agreed_anew(handed_off().at(monday(11)), first_touch="1h")
    agreed_anew(story, first_touch="1h", warn_at=["50%"]).after(HOUR / 2).clocks_fire()
    assert open_clock(story, FIRST).due_at == monday(12)
    assert len(story.heard(ClockMoved)) == 1


# --- logged late, corrected, and by others ---


def test_a_touch_made_in_time_and_logged_while_it_was_overdue_takes_the_breach_back() -> None:
    story = handed_off().at(monday(15)).clocks_fire().activity(at=monday(13), activity="call:7")
    corrected = story.only(ClockCorrected)
    assert corrected.clock_id == story.only(ClockBreached).clock_id
    assert (corrected.at, corrected.activity, corrected.took_working_s) == (monday(13), "call:7", 4 * 3600)
    assert not story.heard(ClockSettled)
    assert not of(story, ClockMet, FIRST)


def test_and_also_after_it_was_settled_by_another() -> None:
    story = handed_off().at(monday(15)).activity().at(monday(16)).activity(at=monday(12), channel=Channel.EMAIL)
    assert story.only(ClockSettled)
    assert story.only(ClockCorrected).clock_id == story.only(ClockSettled).clock_id
    assert story.activity(at=monday(12, 30)).heard(ClockCorrected) == [story.only(ClockCorrected)]


def test_a_second_late_is_late() -> None:
    story = handed_off().at(monday(15)).activity().at(monday(16)).activity(at=monday(13) + SECOND)
    assert not story.heard(ClockCorrected)


def test_a_touch_logged_late_takes_back_the_breach_of_the_owner_who_made_it() -> None:
    story = handed_off().at(monday(14)).reassign(BEA).activity(at=monday(12), by="11")
    assert story.only(ClockCorrected).clock_id == story.only(ClockBreached).clock_id
    assert one(story, ClockCancelled, FIRST).reason == "attempted_before"
    assert open_clock(story, NEXT).due_at == monday(16)


def test_the_breach_of_an_earlier_episode_is_not_taken_back() -> None:
    story = handed_off().at(monday(14)).activity().send_back("not_now").after(HOUR).asks_for_a_demo()
    assert story.lead.episode == 2
    assert story.activity(at=monday(12)).told == []


def test_a_corrected_outcome_is_told_and_counts_no_second_time() -> None:
    story = (
        handed_off()
        .after(HOUR)
        .activity(activity="call:7")
        .after(HOUR)
        .activity(Outcome.VOICEMAIL, activity="call:7", at=monday(10))
    )
    corrected = story.only(AttemptCorrected)
    assert (corrected.at, corrected.number, corrected.activity) == (monday(10), 1, "call:7")
    assert (corrected.former_outcome, corrected.outcome) == (Outcome.NO_ANSWER, Outcome.VOICEMAIL)
    assert len(story.heard(AttemptRecorded)) == 1


def test_the_same_outcome_again_is_no_correction() -> None:
    story = handed_off().after(HOUR).activity(activity="call:7").after(HOUR).activity(activity="call:7", at=monday(10))
    assert story.told == []


def test_a_colleague_s_touch_counts_and_is_named() -> None:
    story = handed_off().after(HOUR).activity(by="22")
    assert (story.only(AttemptRecorded).by, story.only(AttemptRecorded).owner) == ("22", ANA)
    assert story.only(ClockMet).clock is FIRST


def test_a_colleague_s_touch_ends_no_clock_where_the_agreement_says_so() -> None:
    story = handed_off(colleagues="ignore").after(HOUR).activity(by="22")
    assert story.only(AttemptRecorded).by == "22"
    assert open_kinds(story) == [FIRST]
    assert (story.lead.state, story.heard(LeadAccepted)) == (State.HANDED_OFF, [])
    story.after(HOUR).activity(by="11")
    assert story.last(AttemptRecorded).since_assigned_working_s == 2 * HOUR.total_seconds()
    assert story.only(ClockMet).at == monday(11)
    assert [told.number for told in story.heard(AttemptRecorded)] == [1, 2]


def test_a_colleague_s_touch_logged_late_takes_back_nothing_where_it_does_not_count() -> None:
    story = handed_off(colleagues="ignore").at(monday(15)).clocks_fire().activity(at=monday(12), by="22")
    assert not story.heard(ClockCorrected)
    assert open_clock(story, FIRST).overdue


def test_a_machine_s_message_and_the_lead_s_own_are_no_touch() -> None:
    story = handed_off(**OWED).after(MINUTE).activity(by="").activity(direction=Direction.INBOUND, by="")
    assert story.lead.attempts == ()
    assert open_kinds(story) == [ACCEPT, FIRST, DECISION]


def test_an_attempt_off_the_cadence_counts_unless_the_agreement_says_otherwise() -> None:
    counted = tried(1).after(HOUR).activity(channel=Channel.PHONE)
    assert of(counted, ClockMet, NEXT)
    ignored = tried(1, off_cadence="ignore").after(HOUR).activity(channel=Channel.PHONE)
    assert [told.number for told in ignored.heard(AttemptRecorded)] == [1, 2]
    assert open_clock(ignored, NEXT).due_at == monday(14)  # of the email that is still owed
    assert ignored.after(HOUR).activity(channel=Channel.EMAIL).last(ClockMet).at == monday(12)


def test_an_attempt_off_the_cadence_that_was_logged_late_takes_back_no_breach_where_it_does_not_count() -> None:
    story = tried(1, off_cadence="ignore").at(tuesday(9)).activity(channel=Channel.EMAIL)
    assert of(story, ClockSettled, NEXT)
    story.activity(at=monday(12), channel=Channel.VIDEO)
    assert not story.heard(ClockCorrected)


def test_but_a_first_touch_off_the_cadence_that_was_logged_late_is_one_all_the_same() -> None:
    story = handed_off(off_cadence="ignore").at(monday(15)).activity().activity(at=monday(12), channel=Channel.VIDEO)
    assert one(story, ClockCorrected, FIRST).at == monday(12)


def test_the_first_touch_may_be_on_any_channel() -> None:
    story = handed_off(off_cadence="ignore").after(HOUR).activity(channel=Channel.VIDEO)
    assert of(story, ClockMet, FIRST)
    assert open_clock(story, NEXT).n == 2


def test_an_attempt_from_before_the_one_that_is_known_does_not_meet_what_was_asked_after_it() -> None:
    story = handed_off().at(monday(11)).activity().activity(at=monday(10), channel=Channel.EMAIL)
    assert one(story, ClockCancelled, NEXT).reason == "attempted_before"
    assert open_clock(story, NEXT).n == 3


def test_what_a_sequence_sends_in_a_person_s_name_is_no_touch() -> None:
    story = handed_off().after(HOUR).activity(Outcome.SENT, channel=Channel.EMAIL, sequence="9001")
    assert story.told == []
    assert open_kinds(story) == [FIRST]
    assert story.activity(Outcome.SENT, channel=Channel.EMAIL).only(AttemptRecorded)


def test_nor_does_it_take_a_breach_back_when_the_chase_is_over() -> None:
    story = handed_off().at(monday(14)).clocks_fire().qualify()
    assert story.activity(Outcome.SENT, at=monday(12), channel=Channel.EMAIL, sequence="9001").told == []


def test_a_sequence_s_email_is_an_attempt_where_the_agreement_says_so() -> None:
    story = handed_off(sequences="count").after(HOUR).activity(Outcome.SENT, channel=Channel.EMAIL, sequence="9001")
    assert one(story, ClockMet, FIRST).at == story.now


def test_an_answer_to_a_sequence_s_email_stops_nothing_before_the_first_touch() -> None:
    story = handed_off().after(HOUR).activity(Outcome.SENT, channel=Channel.EMAIL, sequence="9001").after(HOUR)
    assert open_kinds(story.lead_writes()) == [FIRST]


# --- by hand ---


def test_a_person_hands_a_lead_over_without_a_trigger() -> None:
    story = Story(agreement=saying(**OWED)).scored(grade="D4", fit_grade="D").hand_off("urgent", owner=BEA)
    handed = story.only(LeadHandedOff)
    assert (handed.trigger, handed.priority, handed.actor) == ("by_hand", "urgent", "ana")
    assert story.lead.owner == BEA
    assert open_clock(story, FIRST).due_at == monday(16)


def test_by_hand_the_cool_down_does_not_matter_and_sales_gets_no_lead_twice() -> None:
    story = handed_off().after(HOUR).send_back("not_now").after(HOUR).hand_off()
    assert story.lead.episode == 2
    with pytest.raises(Impossible):
        story.hand_off()


def test_a_track_begun_by_hand_leaves_the_lead_where_it_is() -> None:
    story = handed_off(**OWED).after(MINUTE).nurture("decision")
    assert story.kinds == ["NurtureStarted"]
    assert story.only(NurtureStarted).workflow == SHIPPED.nurture.tracks["decision"].workflow
    assert (story.lead.state, len(story.lead.clocks)) == (State.HANDED_OFF, 3)


# --- merges ---


def no_ghosts(*stories: Story) -> bool:
    """Every clock began once and ended at most once; what was settled or taken back was breached; none is left over."""
    for story in stories:
        ends = {c.clock_id: 0 for c in story.heard(ClockStarted)}
        assert len(ends) == len(story.heard(ClockStarted))
        for end in (ClockMet, ClockBreached, ClockCancelled):
            for told in story.heard(end):
                ends[told.clock_id] += 1
        breached = [told.clock_id for told in story.heard(ClockBreached)]
        done = [told.clock_id for told in story.heard(ClockSettled)]
        still = [clock.id for clock in story.lead.clocks]
        assert max(ends.values(), default=0) <= 1
        assert set(done) <= set(breached)
        assert {one for one, count in ends.items() if not count} | (set(breached) - set(done)) >= set(still)
        assert {one for one, count in ends.items() if not count} <= set(still)
    return True


def test_a_merge_into_a_lead_at_rest_takes_the_clocks_along_as_they_are() -> None:
    other = handed_off(contact=902, **OWED).at(monday(9, 30)).pause()
    survivor = Story(900, agreement=other.agreement).scored(grade="D4").at(monday(11)).merged_with(other)
    assert other.lead.clocks == ()
    assert {clock.pause.reason for clock in survivor.lead.clocks if clock.pause} == {"away"}
    survivor.at(monday(12)).resume()
    assert [clock.due_at for clock in survivor.lead.clocks] == [
        monday(12, 30),
        monday(15, 30),
        START + 7 * DAY + 5 * HOUR / 2,
    ]
    assert no_ghosts(survivor, other)


def test_a_merged_lead_s_changed_time_is_not_lost_while_it_stands_still() -> None:
    other = handed_off(contact=902).at(monday(11)).pause()
    agreed_anew(other.at(monday(12)), first_touch="6h")
    survivor = Story(900, agreement=other.agreement).scored(grade="D4").at(monday(12)).merged_with(other).resume()
    assert open_clock(survivor, FIRST).due_at == monday(16)


def test_what_was_overdue_is_owed_by_the_survivor_and_settled_by_its_touch() -> None:
    other = handed_off(contact=902, **OWED, **STEPS).at(monday(14)).clocks_fire()
    survivor = Story(900, agreement=other.agreement).scored(grade="D4").at(monday(15)).merged_with(other).clocks_fire()
    assert survivor.lead.next_due == monday(10)
    survivor.after(MINUTE).activity()
    assert {told.clock for told in survivor.heard(ClockSettled)} == {ACCEPT, FIRST}
    assert no_ghosts(survivor, other)


def test_a_merge_of_two_whom_sales_has_leaves_one_chase() -> None:
    survivor, other = tried(1, **OWED), handed_off(contact=902, **OWED).at(monday(9, 30)).pause()
    survivor.at(monday(12)).merged_with(other.at(monday(12)))
    assert open_kinds(survivor) == [DECISION, NEXT]
    assert {told.reason for told in other.heard(ClockCancelled)} == {"merged"}
    assert no_ghosts(survivor, other)


def test_a_survivor_that_is_touched_later_tells_its_speed_from_the_earliest_act() -> None:
    other = handed_off(contact=902)
    survivor = Story(900, agreement=other.agreement).scored(grade="D4").at(monday(10)).merged_with(other)
    assert survivor.at(monday(11)).activity().only(AttemptRecorded).since_ready_working_s == 2 * 3600
    assert survivor.only(ClockMet).took_s == 2 * 3600


def test_rejected_leads_say_so_to_marketing_with_a_reason() -> None:
    story = handed_off(**OWED).after(MINUTE).accept().reject("bad_data")
    assert story.only(LeadRejected).reason == "bad_data"
    assert story.lead.state is State.RETURNED
