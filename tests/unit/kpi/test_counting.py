"""What counts, when, and only once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from services.kpi.domain import counting
from services.kpi.domain.leads import LeadState
from services.kpi.domain.tallies import (
    ATTEMPTS,
    BUCKET,
    CLOCKS_ENDED,
    CLOCKS_OPEN,
    CLOCKS_OVERDUE,
    HANDOFFS,
    RETURNS,
    STAGE_ENTRIES,
    SUM,
)
from services.kpi.domain.terms import Terms
from shared import events
from shared.agreement.conditions import Subject

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
LEAD = "hubspot:1:7"
GATE: dict[str, Any] = {"version": 1, "episode": 1, "agreement": "a" * 12, "cause": "", "team": "inbound"}
CLOCK: dict[str, Any] = {"clock_id": "c1", "clock": events.ClockKind.FIRST_TOUCH, "due_at": NOW + timedelta(hours=1)}


@dataclass(frozen=True)
class GradeIs:
    grade: str

    def holds(self, subject: Subject) -> bool:
        return subject.grade == self.grade


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
    assert [metric for metric, _, _ in second.tallies] == [HANDOFFS]


def test_a_deal_won_passes_the_stages_that_nobody_told_so_that_no_conversion_exceeds_one() -> None:
    counted = counting.deal_won(LeadState(), about(events.DealWon, deal="deal:1"), TERMS)
    assert [stage for stage, _ in stages(counted)] == ["lead", "mql", "sql", "opportunity", "customer"]


def test_the_first_attempt_is_measured_from_when_the_lead_was_ready() -> None:
    state = counting.handed_off(LeadState(), handed_off(), TERMS).state
    counted = counting.attempt_recorded(state, attempt(after=timedelta(minutes=4)), TERMS)
    assert (SUM, ("inbound", "urgent"), 240.0) in counted.tallies
    assert (BUCKET, ("inbound", "urgent", "300.0"), 1.0) in counted.tallies


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
    assert settled.state.empty


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
    message = about(events.ContactsMerged, lead="hubspot:1:8", merged=(LEAD,))
    counted = counting.merged(LeadState(), message, {LEAD: one})
    assert counted.tallies == ()
    assert counted.state.stages == one.stages
    assert counted.state.source == "OFFLINE"
    assert counted.others[LEAD] == LeadState(gone=True)


def test_an_erased_contact_is_forgotten_and_its_clocks_wait_for_hand_off_to_end_them() -> None:
    started = counting.clock_started(LeadState(source="OFFLINE"), about(events.ClockStarted), TERMS)
    forgotten = counting.contact_erased(started.state)
    assert forgotten.state == LeadState(clocks=started.state.clocks, gone=True)
    gone = counting.lead_erased(forgotten.state)
    assert gone.tallies == ((CLOCKS_OPEN, ("first_touch", "inbound", "urgent"), -1.0),)
    assert gone.state == LeadState(gone=True)


def test_what_is_heard_of_an_erased_lead_afterwards_from_another_topic_is_not_counted_again() -> None:
    lead = counting.contact_changed(LeadState(), contact(email="x"), TERMS).state
    for gone in (counting.contact_erased(lead), counting.lead_erased(lead)):
        assert not stages(counting.lead_scored(gone.state, scored("A1"), TERMS))
        assert counting.contact_changed(gone.state, contact(hs_analytics_source="OFFLINE"), TERMS).state is gone.state


def test_what_is_heard_of_a_merged_lead_afterwards_from_another_topic_is_not_counted_again() -> None:
    lead = counting.contact_changed(LeadState(), contact(email="x"), TERMS).state
    gone = counting.merged(LeadState(), merge(), {LEAD: lead}).others[LEAD]
    assert [metric for metric, _, _ in counting.handed_off(gone, handed_off(), TERMS).tallies] == [HANDOFFS]


def test_a_survivor_that_was_never_handed_off_goes_on_with_the_first_touch_of_the_merged_lead() -> None:
    waits = counting.handed_off(LeadState(), handed_off(), TERMS).state
    touched = counting.attempt_recorded(waits, attempt(), TERMS).state
    assert counting.merged(LeadState(), merge(), {LEAD: waits}).state.untouched == waits.untouched
    assert counting.merged(touched, merge(), {LEAD: waits}).state.untouched is None


def merge() -> events.ContactsMerged:
    return about(events.ContactsMerged, lead="hubspot:1:8", merged=(LEAD,))
