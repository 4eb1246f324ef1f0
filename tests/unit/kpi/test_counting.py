"""What counts, when, and only once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from services.kpi.domain import counting
from services.kpi.domain.leads import LeadState
from services.kpi.domain.tallies import (
    ATTEMPTS,
    ATTEMPTS_CORRECTED,
    CLOCKS_CORRECTED,
    CLOCKS_ENDED,
    CLOCKS_OPEN,
    CLOCKS_OVERDUE,
    CLOCKS_PAUSED,
    ESCALATIONS,
    FIRST_TOUCH,
    FIRST_TOUCH_WORKING,
    HANDOFF_DELAY,
    HANDOFFS,
    REASSIGNMENTS,
    RESPONSE,
    RESPONSE_WORKING,
    RETURNS,
    STAGE_ENTRIES,
    Tallies,
    bucket,
    total,
)
from services.kpi.domain.terms import Terms
from services.kpi.store import summed
from services.kpi.worker import HANDLERS
from shared import events
from shared.agreement.conditions import Subject

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
LEAD = "hubspot:1:7"
SURVIVOR = "hubspot:1:8"
GATE: dict[str, Any] = {"version": 1, "episode": 1, "agreement": "a" * 12, "cause": "", "team": "inbound"}
FIRST: dict[str, Any] = {
    "since_assigned_s": 180.0,
    "since_assigned_working_s": 120.0,
    "since_ready_working_s": 150.0,
}
CLOCK: dict[str, Any] = {"clock_id": "c1", "clock": events.ClockKind.FIRST_TOUCH, "due_at": NOW + timedelta(hours=1)}


@dataclass(frozen=True)
class GradeIs:
    grade: str

    def holds(self, subject: Subject) -> bool:
        return subject.grade == self.grade


URGENT = ("first_touch", "inbound", "urgent")
DELAY = {bucket(HANDOFF_DELAY), total(HANDOFF_DELAY)}
# How a breach ends: done late, taken back at once, taken back when it was settled.
MENDED = [
    [events.ClockSettled],
    [events.ClockCorrected],
    [events.ClockSettled, events.ClockCorrected],
]
TERMS = Terms(mql=GradeIs("A1"), teams=("inbound",), reasons=("no answer", "other"), tracks=("", "awareness"))


def about(kind: type[Any], *, after: timedelta = timedelta(), **more: Any) -> Any:
    said: dict[str, Any] = {"id": "0" * 32, "tenant": "hubspot:1", "lead": LEAD, "at": NOW + after}
    if issubclass(kind, events.HandoffMessage):
        said |= GATE | {"priority": "urgent"}
    if issubclass(kind, events.ClockMessage):
        said |= CLOCK
    return kind(**said | more)


def contact(**values: str | None) -> events.ContactChanged:
    pairs = tuple(events.PropertyValue(name=name, value=value, at=NOW) for name, value in values.items())
    return about(events.ContactChanged, values=pairs)


def scored(grade: str, **more: Any) -> events.LeadScored:
    said = {"version": 1, "fit": 1, "interest": 1, "fit_grade": "A", "interest_level": "1", "journey": "decision"}
    return about(events.LeadScored, grade=grade, agreement="a", cause="", **said, **more)


def handed_off(**more: Any) -> events.LeadHandedOff:
    return about(events.LeadHandedOff, trigger="Asked for a demo", grade="A1", ready_at=NOW, **more)


def attempt(**more: Any) -> events.AttemptRecorded:
    said = {"activity": "call:1", "number": 1, "channel": events.Channel.PHONE, "outcome": events.Outcome.NO_ANSWER}
    return about(events.AttemptRecorded, **said | more)


# What a message about a clock says besides what all of them do.
SAID: dict[type[Any], dict[str, Any]] = {
    events.ClockPaused: {"reason": "holiday"},
    events.ClockMoved: {"former_due_at": NOW, "reason": "priority"},
    events.ClockMet: {"took_s": 5.0},
    events.ClockCancelled: {"reason": "replied"},
    events.ClockSettled: {"reason": "touched", "late_s": 5.0},
    events.ClockCorrected: {"activity": "call:1", "took_s": 5.0},
    events.LeadEscalated: {"step": 1},
}
COUNT: dict[type[Any], Any] = {
    events.ClockStarted: counting.clock_started,
    events.ClockPaused: counting.clock_paused,
    events.ClockResumed: counting.clock_resumed,
    events.ClockMoved: counting.clock_moved,
    events.ClockMet: counting.clock_met,
    events.ClockBreached: counting.clock_breached,
    events.ClockCancelled: counting.clock_cancelled,
    events.ClockSettled: counting.clock_settled,
    events.ClockCorrected: counting.clock_corrected,
    events.LeadEscalated: counting.escalated,
}


def clock(kind: type[Any], **more: Any) -> Any:
    return about(kind, **SAID.get(kind, {}) | more)


def told(*messages: Any, state: LeadState | None = None) -> tuple[LeadState, Tallies]:
    """What is known and counted after these messages about clocks, one after the other."""
    state, tallies = state or LeadState(), []
    for message in messages:
        counted = COUNT[type(message)](state, message, TERMS)
        state = counted.state
        tallies += counted.tallies
    return state, summed(tallies)


def stages(counted: counting.Counted) -> list[tuple[str, ...]]:
    return [labels for metric, labels, _ in counted.tallies if metric == STAGE_ENTRIES]


def test_a_contact_with_an_email_is_a_lead_of_its_source() -> None:
    counted = counting.contact_changed(LeadState(), contact(email="x", hs_analytics_source="REFERRALS"), TERMS)
    assert stages(counted) == [("lead", "REFERRALS")]


def test_a_contact_without_an_email_is_not_yet_a_lead() -> None:
    assert not counting.contact_changed(LeadState(), contact(city="Bern"), TERMS).tallies


def test_a_stage_counts_the_first_time_only() -> None:
    first = counting.contact_changed(LeadState(), contact(email="x"), TERMS)
    again = counting.form_submitted(first.state, about(events.FormSubmitted, form="Demo"), TERMS)
    assert not again.tallies
    assert again.state is first.state


def test_a_source_that_is_free_text_never_becomes_a_label() -> None:
    counted = counting.contact_changed(LeadState(), contact(email="x", hs_analytics_source="ann@example.com"), TERMS)
    assert stages(counted) == [("lead", "unknown")]


def test_a_grade_that_the_definition_names_makes_an_mql_and_any_other_does_not() -> None:
    assert not stages(counting.lead_scored(LeadState(), scored("C3"), TERMS))
    assert stages(counting.lead_scored(LeadState(), scored("A1"), TERMS)) == [("lead", "unknown"), ("mql", "unknown")]


def test_a_disqualified_lead_is_no_mql_whatever_its_grade() -> None:
    assert not stages(counting.lead_scored(LeadState(), scored("A1", disqualified="competitor"), TERMS))


def test_a_second_hand_off_counts_as_a_hand_off_and_not_as_a_new_mql() -> None:
    first = counting.handed_off(LeadState(), handed_off(), TERMS)
    second = counting.handed_off(first.state, handed_off(episode=2), TERMS)
    assert [metric for metric, _, _ in second.tallies if metric not in DELAY] == [HANDOFFS]


def test_a_deal_won_passes_the_stages_that_nobody_told_so_that_no_conversion_exceeds_one() -> None:
    counted = counting.deal_won(LeadState(), about(events.DealWon, deal="deal:1"), TERMS)
    assert [stage for stage, _ in stages(counted)] == ["lead", "mql", "sql", "opportunity", "customer"]


def test_the_first_attempt_is_measured_from_when_the_lead_was_ready() -> None:
    state = counting.handed_off(LeadState(), handed_off(), TERMS).state
    counted = counting.attempt_recorded(state, attempt(after=timedelta(minutes=4)), TERMS)
    assert (total(FIRST_TOUCH), ("inbound", "urgent"), 240.0) in counted.tallies
    assert (bucket(FIRST_TOUCH), ("inbound", "urgent", "300.0"), 1.0) in counted.tallies


def test_a_hand_off_tells_how_long_the_system_took_to_assign_the_lead() -> None:
    counted = counting.handed_off(LeadState(), handed_off(after=timedelta(seconds=0.2)), TERMS)
    assert (total(HANDOFF_DELAY), ("inbound", "urgent"), 0.2) in counted.tallies
    assert (bucket(HANDOFF_DELAY), ("inbound", "urgent", "0.25"), 1.0) in counted.tallies


def test_what_the_lead_waited_is_under_who_got_it_and_what_people_took_under_who_touched_it() -> None:
    state = counting.handed_off(LeadState(), handed_off(), TERMS).state
    first = attempt(after=timedelta(minutes=4), team="dach", priority="normal", **FIRST)
    counted = summed(counting.attempt_recorded(state, first, TERMS).tallies)
    assert counted[total(FIRST_TOUCH), ("inbound", "urgent")] == 240.0
    assert counted[total(FIRST_TOUCH_WORKING), ("inbound", "urgent")] == 150.0
    assert counted[total(RESPONSE), ("dach", "normal")] == 180.0
    assert counted[total(RESPONSE_WORKING), ("dach", "normal")] == 120.0


def test_a_first_attempt_that_tells_no_delay_is_not_taken_for_one_without_any() -> None:
    state = counting.handed_off(LeadState(), handed_off(), TERMS).state
    counted = counting.attempt_recorded(state, attempt(), TERMS)
    assert {metric for metric, _, _ in counted.tallies} == {ATTEMPTS, bucket(FIRST_TOUCH), total(FIRST_TOUCH)}


def test_a_first_touch_before_the_lead_was_assigned_took_nobody_any_time() -> None:
    counted = counting.attempt_recorded(LeadState(), attempt(since_assigned_s=-3.0), TERMS)
    assert (total(RESPONSE), ("inbound", "urgent"), 0.0) in counted.tallies


def test_another_outcome_of_a_counted_attempt_is_a_correction_and_not_an_attempt() -> None:
    more = {"outcome": events.Outcome.CONNECTED, "former_outcome": events.Outcome.UNKNOWN}
    message = about(events.AttemptCorrected, activity="call:1", number=1, channel=events.Channel.PHONE, **more)
    counted = counting.attempt_corrected(LeadState(), message, TERMS)
    assert counted.tallies == ((ATTEMPTS_CORRECTED, ("inbound", "phone", "unknown", "connected"), 1.0),)


@pytest.mark.parametrize(
    ("said", "label"),
    [("by_hand", "by_hand"), ("not_accepted", "not_accepted"), ("escalated", "escalated"), ("crm", "crm"),
     ("Ann is on leave", "other")],
)  # fmt: skip
def test_a_lead_that_changes_hands_counts_by_the_reason_and_never_by_free_text(said: str, label: str) -> None:
    message = about(events.LeadAssigned, former_owner="dan", reason=said)
    assert counting.assigned(LeadState(), message, TERMS).tallies == ((REASSIGNMENTS, (label, "inbound"), 1.0),)


def test_the_assignment_of_the_hand_off_itself_is_no_change_of_hands() -> None:
    assert not counting.assigned(LeadState(), about(events.LeadAssigned), TERMS).tallies


def test_a_second_attempt_counts_as_an_attempt_and_not_as_a_first_touch() -> None:
    state = counting.handed_off(LeadState(), handed_off(), TERMS).state
    state = counting.attempt_recorded(state, attempt(), TERMS).state
    counted = counting.attempt_recorded(state, attempt(number=2), TERMS)
    assert counted.tallies == ((ATTEMPTS, ("inbound", "phone", "no_answer"), 1.0),)


def test_a_lead_returned_untouched_leaves_no_first_touch_to_a_later_episode() -> None:
    state = counting.handed_off(LeadState(), handed_off(), TERMS).state
    back = about(events.LeadReturned, reason="no answer", track="awareness", attempts=0)
    assert counting.returned(state, back, TERMS).state.untouched is None


def test_a_reason_that_the_agreement_does_not_list_is_counted_as_other() -> None:
    back = about(events.LeadReturned, reason="call Ann on +41 79", track="Ann", attempts=5)
    assert counting.returned(LeadState(), back, TERMS).tallies == ((RETURNS, ("other", "other"), 1.0),)


def test_a_clock_is_open_then_overdue_then_gone() -> None:
    labels = ("first_touch", "inbound", "urgent")
    started = counting.clock_started(LeadState(), about(events.ClockStarted), TERMS)
    breached = counting.clock_breached(started.state, about(events.ClockBreached), TERMS)
    settled = counting.clock_settled(breached.state, about(events.ClockSettled, reason="touched", late_s=5), TERMS)
    assert started.tallies == ((CLOCKS_OPEN, labels, 1.0),)
    assert breached.tallies == (
        (CLOCKS_ENDED, (*labels, "breached"), 1.0),
        (CLOCKS_OPEN, labels, -1.0),
        (CLOCKS_OVERDUE, labels, 1.0),
    )
    assert settled.tallies == ((CLOCKS_OVERDUE, labels, -1.0),)
    assert not settled.state.clocks


def test_a_paused_clock_is_open_and_stands_still_until_it_is_resumed() -> None:
    state, now = told(clock(events.ClockStarted), clock(events.ClockPaused))
    assert now == {(CLOCKS_OPEN, URGENT): 1, (CLOCKS_PAUSED, URGENT): 1}
    later = NOW + timedelta(days=3)
    state, after = told(clock(events.ClockResumed, due_at=later), state=state)
    assert after == {(CLOCKS_PAUSED, URGENT): -1}
    assert state.clocks["c1"].due_at == later


@pytest.mark.parametrize("end", [events.ClockMet, events.ClockCancelled, events.ClockBreached])
def test_a_paused_clock_that_ends_stands_still_no_more(end: type[Any]) -> None:
    _, now = told(clock(events.ClockStarted), clock(events.ClockPaused), clock(end))
    assert (CLOCKS_PAUSED, URGENT) not in now
    assert (CLOCKS_OPEN, URGENT) not in now


@pytest.mark.parametrize("standing", [(), (events.ClockPaused,)])
def test_an_open_clock_that_is_moved_is_another_priority_s_and_another_team_s(standing: tuple[type[Any], ...]) -> None:
    before = [clock(kind, priority="normal") for kind in (events.ClockStarted, *standing)]
    due_at = NOW + timedelta(minutes=5)
    state, now = told(*before, clock(events.ClockMoved, team="dach", due_at=due_at))
    gauges = {CLOCKS_OPEN, CLOCKS_PAUSED} if standing else {CLOCKS_OPEN}
    assert now == {(gauge, ("first_touch", "dach", "urgent")): 1 for gauge in gauges}
    assert state.clocks["c1"].due_at == due_at


def test_a_priority_raised_while_the_clock_stood_still_is_the_clock_s_from_when_it_runs_again() -> None:
    paused = [clock(kind, priority="normal") for kind in (events.ClockStarted, events.ClockPaused)]
    _, now = told(*paused, clock(events.ClockResumed))
    assert now == {(CLOCKS_OPEN, URGENT): 1}


def test_a_breach_that_a_merge_took_along_is_shown_as_overdue_and_not_counted_again() -> None:
    _, now = told(clock(events.ClockStarted), clock(events.ClockBreached, told_as="c0"))
    assert now == {(CLOCKS_OVERDUE, URGENT): 1.0}


@pytest.mark.parametrize("kind", [events.ClockMoved, events.ClockPaused, events.ClockResumed])
def test_a_breached_clock_stays_what_it_was_breached_as(kind: type[Any]) -> None:
    breached, _ = told(clock(events.ClockStarted), clock(events.ClockBreached))
    state, now = told(clock(kind, team="dach", priority="normal"), state=breached)
    assert not now
    assert state is breached


def test_a_breach_taken_back_while_it_is_overdue_is_overdue_no_more() -> None:
    state, now = told(clock(events.ClockStarted), clock(events.ClockBreached), clock(events.ClockCorrected))
    assert now == {(CLOCKS_ENDED, (*URGENT, "breached")): 1, (CLOCKS_CORRECTED, URGENT): 1}
    assert state.empty


def test_a_settled_breach_is_taken_back_from_the_team_that_it_was_counted_for_whoever_has_the_lead_now() -> None:
    breached = [clock(kind) for kind in (events.ClockStarted, events.ClockBreached, events.ClockSettled)]
    state, now = told(*breached, clock(events.ClockCorrected, team="dach", priority="normal"))
    assert now == {(CLOCKS_ENDED, (*URGENT, "breached")): 1, (CLOCKS_CORRECTED, URGENT): 1}
    assert state.empty


def test_a_breach_that_was_never_heard_of_is_taken_back_as_the_message_says() -> None:
    assert told(clock(events.ClockCorrected))[1] == {(CLOCKS_CORRECTED, URGENT): 1}


def test_a_new_episode_forgets_what_could_be_taken_back_in_the_one_before() -> None:
    state, _ = told(clock(events.ClockStarted), clock(events.ClockBreached), clock(events.ClockSettled))
    assert state.settled
    assert not counting.handed_off(state, handed_off(episode=2), TERMS).state.settled


def test_an_escalation_counts_by_its_step_for_the_team_whose_breach_it_is() -> None:
    breached, _ = told(clock(events.ClockStarted), clock(events.ClockBreached))
    _, now = told(clock(events.LeadEscalated, step=2, team="dach"), state=breached)
    assert now == {(ESCALATIONS, ("first_touch", "inbound", "2")): 1}


LABELLED = st.fixed_dictionaries(
    {"team": st.sampled_from(["inbound", "dach"]), "priority": st.sampled_from(["a", "b"])}
)
OPEN_LIFE = st.lists(st.sampled_from([events.ClockStarted, events.ClockPaused, events.ClockResumed, events.ClockMoved]))
OVERDUE_LIFE = st.lists(st.sampled_from([events.ClockMoved, events.ClockPaused, events.LeadEscalated]))
ENDS = st.one_of(
    st.sampled_from([[events.ClockMet], [events.ClockCancelled]]),
    st.builds(lambda late, mended: [events.ClockBreached, *late, *mended], OVERDUE_LIFE, st.sampled_from(MENDED)),
)
LIVES = st.builds(lambda before, end: [events.ClockStarted, *before, *end], OPEN_LIFE, ENDS)


@given(st.data())
def test_whatever_a_clock_lives_through_no_gauge_falls_below_zero_and_all_come_back_to_it(data: st.DataObject) -> None:
    messages = [clock(kind, **data.draw(LABELLED)) for kind in data.draw(LIVES)]
    for n in range(1, len(messages)):
        _, now = told(*messages[:n])
        assert all(amount > 0 for amount in now.values())
        paused = {labels: amount for (metric, labels), amount in now.items() if metric == CLOCKS_PAUSED}
        assert all(amount <= now[CLOCKS_OPEN, labels] for labels, amount in paused.items())
    _, now = told(*messages)
    assert not {metric for metric, _ in now} & {CLOCKS_OPEN, CLOCKS_PAUSED, CLOCKS_OVERDUE}
    [ended] = [labels for metric, labels in now if metric == CLOCKS_ENDED]
    assert [labels for metric, labels in now if metric == CLOCKS_CORRECTED] in ([], [ended[:-1]])


def test_every_message_about_clocks_that_kpi_handles_is_told_in_these_tests() -> None:
    assert {kind for kind in HANDLERS if issubclass(kind, events.ClockMessage)} == COUNT.keys()


def test_a_clock_that_changes_its_team_on_the_way_leaves_no_trace_in_either_gauge() -> None:
    started = counting.clock_started(LeadState(), about(events.ClockStarted), TERMS)
    met = counting.clock_met(started.state, about(events.ClockMet, team="dach", took_s=5), TERMS)
    assert (CLOCKS_OPEN, ("first_touch", "inbound", "urgent"), -1.0) in met.tallies


def test_a_cancelled_clock_is_excused() -> None:
    started = counting.clock_started(LeadState(), about(events.ClockStarted), TERMS)
    counted = counting.clock_cancelled(started.state, about(events.ClockCancelled, reason="replied"), TERMS)
    assert (CLOCKS_ENDED, ("first_touch", "inbound", "urgent", "excused"), 1.0) in counted.tallies


def test_an_end_without_a_known_start_counts_and_leaves_the_gauges_alone() -> None:
    counted = counting.clock_met(LeadState(), about(events.ClockMet, took_s=5), TERMS)
    assert [metric for metric, _, _ in counted.tallies] == [CLOCKS_ENDED]


def test_a_merge_counts_nothing_and_keeps_every_milestone() -> None:
    one = counting.contact_changed(LeadState(), contact(email="x", hs_analytics_source="OFFLINE"), TERMS).state
    counted = counting.merged(LeadState(), SURVIVOR, {LEAD: one}, NOW)
    assert counted.tallies == ()
    assert counted.state.stages == one.stages
    assert counted.state.source == "OFFLINE"
    assert counted.others[LEAD] == LeadState(merged_into=SURVIVOR)


def test_an_erased_contact_is_forgotten_and_its_clocks_wait_for_hand_off_to_end_them() -> None:
    started = counting.clock_started(LeadState(source="OFFLINE"), about(events.ClockStarted), TERMS)
    forgotten = counting.contact_erased(started.state, NOW, privacy=True)
    assert forgotten.state == LeadState(clocks=started.state.clocks, erased=True)
    gone = counting.lead_erased(forgotten.state)
    assert gone.tallies == ((CLOCKS_OPEN, ("first_touch", "inbound", "urgent"), -1.0),)
    assert gone.state == LeadState(erased=True)


def test_a_deletion_that_the_crm_tells_with_a_merge_makes_nothing_count_again_whichever_is_heard_first() -> None:
    known = counting.contact_changed(LeadState(), contact(email="x"), TERMS).state
    deleted = counting.lead_erased(counting.contact_erased(known, NOW, privacy=False).state).state
    survivor = counting.merged(LeadState(), SURVIVOR, {LEAD: deleted}, NOW).state
    assert survivor == counting.merged(LeadState(), SURVIVOR, {LEAD: known}, NOW).state
    assert not stages(counting.contact_changed(survivor, contact(email="x"), TERMS))


def test_who_is_erased_under_one_key_is_forgotten_under_the_other() -> None:
    known = counting.contact_changed(LeadState(), contact(email="x"), TERMS).state
    erased = counting.contact_erased(known, NOW, privacy=True).state
    for survivor, other in ((known, erased), (erased, known)):
        assert counting.merged(survivor, SURVIVOR, {LEAD: other}, NOW).state == LeadState(erased=True)


def test_a_clock_of_a_merged_lead_ends_with_the_survivor() -> None:
    started = counting.clock_started(LeadState(), about(events.ClockStarted), TERMS).state
    survivor = counting.merged(LeadState(), SURVIVOR, {LEAD: started}, NOW).state
    ended = counting.clock_cancelled(survivor, about(events.ClockCancelled, reason="merged"), TERMS)
    assert (CLOCKS_OPEN, ("first_touch", "inbound", "urgent"), -1.0) in ended.tallies


@pytest.mark.parametrize("episode", [0, 1])
def test_a_hand_off_of_a_merged_lead_that_is_heard_of_late_is_waited_for_unless_the_survivor_has_its_own(
    episode: int,
) -> None:
    survivor = LeadState(episode=episode, settled={"c": ("first_touch", "inbound", "urgent")})
    counted = counting.handed_off(survivor, handed_off(episode=3), TERMS, merged_away=True)
    assert (counted.state.untouched is None, counted.state.episode) == (bool(episode), episode)
    assert counted.state.settled == survivor.settled
    assert HANDOFFS in [metric for metric, _, _ in counted.tallies]


def test_what_is_heard_of_an_erased_lead_afterwards_from_another_topic_is_not_counted_again() -> None:
    lead = counting.contact_changed(LeadState(), contact(email="x"), TERMS).state
    gone = counting.lead_erased(counting.contact_erased(lead, NOW, privacy=False).state).state
    assert not stages(counting.lead_scored(gone, scored("A1"), TERMS))
    assert counting.contact_changed(gone, contact(hs_analytics_source="OFFLINE"), TERMS).state is gone


def test_a_restored_lead_counts_what_it_had_not_reached_before_its_deletion() -> None:
    lead = counting.contact_changed(LeadState(), contact(email="x"), TERMS).state
    deleted = counting.lead_erased(counting.contact_erased(lead, NOW, privacy=False).state).state
    later = structs.replace(scored("A1"), at=NOW + timedelta(seconds=1))
    assert stages(counting.lead_scored(deleted, later, TERMS)) == [("mql", "unknown")]
    late = counting.contact_erased(deleted, NOW - timedelta(days=1), privacy=False).state
    assert not stages(counting.lead_scored(late, scored("A1"), TERMS))


def test_what_is_heard_of_a_merged_lead_afterwards_from_another_topic_is_not_counted_again() -> None:
    lead = counting.contact_changed(LeadState(), contact(email="x"), TERMS).state
    gone = counting.merged(LeadState(), SURVIVOR, {LEAD: lead}, NOW).others[LEAD]
    assert not stages(counting.handed_off(gone, handed_off(), TERMS))


def test_a_survivor_that_was_never_handed_off_goes_on_with_the_first_touch_of_the_merged_lead() -> None:
    waits = counting.handed_off(LeadState(), handed_off(), TERMS).state
    touched = counting.attempt_recorded(waits, attempt(), TERMS).state
    assert counting.merged(LeadState(), SURVIVOR, {LEAD: waits}, NOW).state.untouched == waits.untouched
    assert counting.merged(touched, SURVIVOR, {LEAD: waits}, NOW).state.untouched is None


# --- by day, for goals ---


def test_each_stage_counts_on_its_day_in_the_time_zone_of_the_agreement() -> None:
    night = events.FormSubmitted(id="0" * 32, tenant="hubspot:1", lead=LEAD, at=NOW.replace(hour=23), form="x")
    for zone, day in (("UTC", NOW.date()), ("Europe/Bucharest", NOW.date() + timedelta(days=1))):
        (entry,) = counting.form_submitted(LeadState(), night, Terms(zone=zone)).days
        assert (entry.day, entry.stage, entry.entries, entry.moved_on) == (day, "lead", 1, 0)


def test_an_mql_counts_with_the_grade_that_it_had_then_and_only_the_first_time() -> None:
    first = counting.lead_scored(LeadState(), scored("A1"), TERMS)
    assert {(one.stage, one.grade) for one in first.days if one.entries} == {("lead", ""), ("mql", "A1")}
    again = counting.handed_off(first.state, handed_off(), TERMS)
    assert again.days == ()


def test_who_is_handed_off_unscored_is_an_mql_of_the_grade_of_the_hand_off() -> None:
    entries = counting.handed_off(LeadState(), handed_off(), TERMS).days
    assert {(one.stage, one.grade) for one in entries if one.entries} == {("lead", ""), ("mql", "A1")}


def test_who_reaches_a_stage_has_moved_on_from_the_day_of_the_stage_before() -> None:
    lead = counting.form_submitted(LeadState(), about(events.FormSubmitted, form="x"), TERMS)
    later = about(events.LeadQualified, after=timedelta(days=9))
    moved = [one for one in counting.lead_qualified(lead.state, later, TERMS).days if one.moved_on]
    assert [(one.stage, one.day) for one in moved] == [
        ("lead", NOW.date()),
        ("mql", NOW.date() + timedelta(days=9)),
    ]


@given(st.lists(st.sampled_from(["form", "score", "handoff", "sql", "opportunity", "won"]), max_size=8))
def test_no_more_move_on_than_entered_and_each_stage_is_entered_once(steps: list[str]) -> None:
    story: dict[str, Any] = {
        "form": about(events.FormSubmitted, form="x"),
        "score": scored("A1"),
        "handoff": handed_off(),
        "sql": about(events.LeadQualified),
        "opportunity": about(events.OpportunityOpened, deal="1"),
        "won": about(events.DealWon, deal="1"),
    }
    state, entered, moved = LeadState(), dict[str, int](), dict[str, int]()
    handle: dict[str, Any] = {
        "form": counting.form_submitted, "score": counting.lead_scored, "handoff": counting.handed_off,
        "sql": counting.lead_qualified, "opportunity": counting.opportunity_opened, "won": counting.deal_won,
    }  # fmt: skip
    for step in steps:
        counted = handle[step](state, story[step], TERMS)
        state = counted.state
        for one in counted.days:
            entered[one.stage] = entered.get(one.stage, 0) + one.entries
            moved[one.stage] = moved.get(one.stage, 0) + one.moved_on
    assert set(entered.values()) <= {1}
    assert all(moved[stage] <= entered[stage] for stage in entered)


def test_who_is_gone_counts_on_no_day() -> None:
    assert counting.lead_scored(LeadState(erased=True), scored("A1"), TERMS).days == ()


@pytest.mark.parametrize(
    ("said", "amount"),
    [("15000", 15000), ("15000.50", Decimal("15000.50")), (None, None), ("", None), ("much", None), ("NaN", None),
     ("1e30", None)],
)  # fmt: skip
def test_a_deal_is_worth_what_the_crm_says_where_that_is_a_number(said: str | None, amount: Any) -> None:
    won = about(events.DealWon, deal="1", amount=said, currency="usd")
    (deal,) = counting.deal_won(LeadState(), won, TERMS).deals
    assert (deal.won, deal.amount, deal.currency) == (True, amount, "USD")


def test_a_deal_that_is_lost_in_the_end_is_no_revenue_but_the_customer_stays() -> None:
    before = counting.deal_won(LeadState(), about(events.DealWon, deal="1", amount="5"), TERMS).state
    counted = counting.deal_lost(before, about(events.DealLost, deal="1"), TERMS)
    assert counted.state is before
    assert [(deal.deal, deal.won) for deal in counted.deals] == [("1", False)]


def entries(*counted: counting.Counted) -> dict[tuple[str, str], int]:
    """How many entered, by stage and source."""
    found: dict[tuple[str, str], int] = {}
    for one in (day for each in counted for day in each.days):
        found[one.stage, one.source] = found.get((one.stage, one.source), 0) + one.entries
    return {key: many for key, many in found.items() if many}


def test_what_counted_by_day_without_a_source_counts_under_the_one_that_comes_later() -> None:
    first = counting.handed_off(LeadState(), handed_off(), TERMS)
    second = counting.contact_changed(first.state, contact(hs_analytics_source="OFFLINE"), TERMS)
    third = counting.contact_changed(second.state, contact(hs_analytics_source="PAID_SEARCH"), TERMS)
    assert entries(first, second, third) == {("lead", "OFFLINE"): 1, ("mql", "OFFLINE"): 1}
    assert {one.grade for one in second.days if one.stage == "mql"} == {"A1"}
    assert third.state.unsourced == ()


@pytest.mark.parametrize(("survivor", "other"), [("OFFLINE", ""), ("", "OFFLINE")])
def test_of_merged_contacts_what_counted_without_a_source_counts_under_the_one_that_is_known(
    survivor: str, other: str
) -> None:
    counted = []
    for source in (survivor, other):
        reached = counting.form_submitted(LeadState(), about(events.FormSubmitted, form="x"), TERMS)
        counted += [reached, counting.contact_changed(reached.state, contact(hs_analytics_source=source), TERMS)]
    merged = counting.merged(counted[1].state, LEAD, {SURVIVOR: counted[3].state}, NOW)
    assert entries(*counted, merged) == {("lead", "OFFLINE"): 2}
    again = counting.contact_changed(merged.state, contact(hs_analytics_source="OFFLINE"), TERMS)
    assert entries(again) == {}


def merged_at_sales(**more: Any) -> events.LeadsMerged:
    said = {
        "merged": SURVIVOR,
        "merged_episode": 1,
        "state": events.State.HANDED_OFF,
        "ready_at": NOW - timedelta(hours=1),
    }
    return about(events.LeadsMerged, **said | more)


def test_two_leads_at_sales_that_are_one_have_one_speed_to_lead_from_the_earliest_act() -> None:
    waiting = counting.handed_off(LeadState(), handed_off(), TERMS).state
    one = counting.leads_merged(waiting, merged_at_sales(), TERMS).state
    counted = summed(counting.attempt_recorded(one, attempt(**FIRST), TERMS).tallies)
    assert counted[total(FIRST_TOUCH), ("inbound", "urgent")] == 3600.0


def test_the_touch_under_the_other_key_was_the_first_whichever_topic_tells_first() -> None:
    waiting = counting.handed_off(LeadState(), handed_off(), TERMS).state
    one = counting.leads_merged(waiting, merged_at_sales(state=events.State.WORKING, attempts=1), TERMS).state
    late = counting.attempt_recorded(one, attempt(lead=SURVIVOR, **FIRST), TERMS)
    again = counting.attempt_recorded(late.state, attempt(number=2), TERMS)
    never = counting.attempt_recorded(one, attempt(number=2), TERMS)
    told = [[name for name, *_ in counted.tallies if name == total(FIRST_TOUCH)] for counted in (late, again, never)]
    assert [len(names) for names in told] == [1, 0, 0]


def test_who_goes_on_untouched_with_the_life_of_another_waits_since_that_ones_act() -> None:
    before = LeadState(episode=1)
    one = counting.leads_merged(before, merged_at_sales(episode=2), TERMS).state
    assert (one.episode, one.untouched and one.untouched.ready_at) == (2, NOW - timedelta(hours=1))
