"""What each message adds to the tallies and to what is known of its lead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from services.kpi.domain.counts import DealEnd, StageDay
from services.kpi.domain.leads import ClockLabels, LeadState, RunningClock, Unsourced, Untouched
from services.kpi.domain.tallies import (
    ATTEMPTS,
    ATTEMPTS_CORRECTED,
    BREACHED,
    CLOCKS_CORRECTED,
    CLOCKS_ENDED,
    CLOCKS_OPEN,
    CLOCKS_OVERDUE,
    CLOCKS_PAUSED,
    ESCALATIONS,
    EXCUSED,
    FIRST_TOUCH,
    FIRST_TOUCH_WORKING,
    HANDOFF_DELAY,
    HANDOFF_DELAY_WORKING,
    HANDOFFS,
    MET,
    REASSIGNMENTS,
    REJECTIONS,
    RESPONSE,
    RESPONSE_WORKING,
    RETURNS,
    STAGE_ENTRIES,
    Labels,
    Tally,
    observed,
)
from services.kpi.domain.terms import STAGES, Terms, owner_change, source_of
from shared.agreement.conditions import Subject
from shared.agreement.goals import UNKNOWN
from shared.events import (
    AttemptCorrected,
    AttemptRecorded,
    ClockBreached,
    ClockCancelled,
    ClockCorrected,
    ClockMessage,
    ClockMet,
    ClockMoved,
    ClockPaused,
    ClockResumed,
    ClockSettled,
    ClockStarted,
    ContactChanged,
    DealLost,
    DealWon,
    FormSubmitted,
    LeadAssigned,
    LeadEscalated,
    LeadHandedOff,
    LeadQualified,
    LeadRejected,
    LeadReturned,
    LeadScored,
    LeadsMerged,
    OpportunityOpened,
    State,
)

SOURCE_PROPERTY: Final = "hs_analytics_source"
EMAIL_PROPERTY: Final = "email"
COMES_FROM: Final = {"mql": "lead", "sql": "mql", "customer": "sql"}  # the stages between which goals convert
WAITING: Final = (State.HANDED_OFF, State.ACCEPTED)  # for a first touch
MOST: Final = Decimal(10) ** 15  # what is worth more is no amount


@dataclass(frozen=True, kw_only=True)
class Counted:
    """What came of a message. `state` is the very same object when nothing about the lead changed."""

    state: LeadState
    tallies: tuple[Tally, ...] = ()
    days: tuple[StageDay, ...] = ()
    deals: tuple[DealEnd, ...] = ()
    others: Mapping[str, LeadState] = field(default_factory=dict)


# --- the funnel ---


def reach(state: LeadState, stage: str, at: datetime, terms: Terms, *, grade: str = "") -> Counted:
    """The lead is at `stage`, and therefore past those before it: each counts the first time only.

    So no conversion exceeds 1, also when Sales opens a deal without a word about the stages between.
    It counts on the day of `at`, an MQL with its `grade`; on the day of the stage that it came from, as one
    of those that moved on.
    """
    if state.gone(at):
        return Counted(state=state)
    passed = STAGES[: STAGES.index(stage) + 1]
    new = {one: at for one in passed if one not in state.stages}
    if not new:
        return Counted(state=state)
    entered = [(one, terms.day_of(at), grade if one == "mql" else "") for one in new]
    unsourced = (*state.unsourced, *entered) if state.source == UNKNOWN else ()
    after = replace(state, stages=state.stages | new, unsourced=unsourced)
    return Counted(
        state=after,
        tallies=tuple((STAGE_ENTRIES, (one, state.source), 1.0) for one in new),
        days=(*_entries(entered, state.source, 1), *_moved_on(after, new, terms)),
    )


def _entries(entered: Iterable[Unsourced], source: str, entries: int) -> Iterable[StageDay]:
    for stage, day, grade in entered:
        yield StageDay(day=day, stage=stage, source=source, grade=grade, entries=entries)


def _moved_on(state: LeadState, new: Mapping[str, datetime], terms: Terms) -> Iterable[StageDay]:
    for stage in new:
        if former := COMES_FROM.get(stage):
            yield StageDay(day=terms.day_of(state.stages[former]), stage=former, source=state.source, moved_on=1)


def contact_changed(state: LeadState, message: ContactChanged, terms: Terms) -> Counted:
    values = {value.name: value.value or "" for value in message.values}
    sourced = _sourced(state, source_of(values.get(SOURCE_PROPERTY)), message.at)
    if not _is_lead(terms, Subject(properties=values), otherwise=bool(values.get(EMAIL_PROPERTY))):
        return sourced
    reached = reach(sourced.state, "lead", message.at, terms)
    return replace(reached, days=(*sourced.days, *reached.days))


def _sourced(state: LeadState, source: str, at: datetime) -> Counted:
    """Its source is known at last: what counted by day without one counts under it. The first source stays."""
    if state.gone(at) or source == UNKNOWN or state.source not in (UNKNOWN, source):
        return Counted(state=state)
    moved = (*_entries(state.unsourced, UNKNOWN, -1), *_entries(state.unsourced, source, 1))
    after = state if state.source == source and not moved else replace(state, source=source, unsourced=())
    return Counted(state=after, days=moved)


def form_submitted(state: LeadState, message: FormSubmitted, terms: Terms) -> Counted:
    if _is_lead(terms, Subject(properties={}, forms=frozenset({message.form})), otherwise=True):
        return reach(state, "lead", message.at, terms)
    return Counted(state=state)


def lead_scored(state: LeadState, message: LeadScored, terms: Terms) -> Counted:
    """The score carries what the definitions ask about, so both are judged by it."""
    subject = Subject(
        properties=message.profile,
        grade=message.grade,
        fit_grade=message.fit_grade,
        interest_level=message.interest_level,
        journey=message.journey,
        forms=frozenset(submission.form for submission in message.forms),
    )
    if not message.disqualified and terms.mql is not None and terms.mql.holds(subject):
        return reach(state, "mql", message.at, terms, grade=message.grade)
    if _is_lead(terms, subject, otherwise=bool(message.forms)):
        return reach(state, "lead", message.at, terms)
    return Counted(state=state)


def _is_lead(terms: Terms, subject: Subject, *, otherwise: bool) -> bool:
    return otherwise if terms.lead is None else terms.lead.holds(subject)


def lead_qualified(state: LeadState, message: LeadQualified, terms: Terms) -> Counted:
    return reach(state, "sql", message.at, terms)


def opportunity_opened(state: LeadState, message: OpportunityOpened, terms: Terms) -> Counted:
    return reach(state, "opportunity", message.at, terms)


def deal_won(state: LeadState, message: DealWon, terms: Terms) -> Counted:
    return replace(reach(state, "customer", message.at, terms), deals=(_deal(message, terms, won=True),))


def deal_lost(state: LeadState, message: DealLost, terms: Terms) -> Counted:
    """The lead stays the customer that it was; the money of a deal that had been won is not there."""
    return Counted(state=state, deals=(_deal(message, terms, won=False),))


def _deal(message: DealWon | DealLost, terms: Terms, *, won: bool) -> DealEnd:
    amount, currency = (message.amount, message.currency) if isinstance(message, DealWon) else (None, None)
    return DealEnd(
        deal=message.deal,
        at=message.at,
        day=terms.day_of(message.at),
        won=won,
        amount=_amount(amount),
        currency=(currency or "").strip().upper(),
    )


def _amount(said: str | None) -> Decimal | None:
    """What a deal is worth; None when the CRM says nothing, or no number."""
    try:
        amount = Decimal(said or "")
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and abs(amount) < MOST else None


# --- between the two teams ---


def handed_off(state: LeadState, message: LeadHandedOff, terms: Terms, *, merged_away: bool = False) -> Counted:
    """`merged_away`: of a lead that is part of this one now, and was heard of before: what it waits for is its own."""
    counted = reach(state, "mql", message.at, terms, grade=message.grade)
    untouched = Untouched(ready_at=message.ready_at, team=message.team, priority=message.priority)
    labels, delay_s = (message.team, message.priority), (message.at - message.ready_at).total_seconds()
    after = replace(counted.state, episode=message.episode, untouched=untouched, settled={})
    if merged_away:
        after = counted.state if state.episode else replace(counted.state, untouched=state.untouched or untouched)
    return replace(
        counted,
        state=after,
        tallies=(
            *counted.tallies,
            (HANDOFFS, (message.trigger, message.team), 1.0),
            *observed(HANDOFF_DELAY, labels, delay_s),
            *_observed_if_told(HANDOFF_DELAY_WORKING, labels, message.delay_working_s),
        ),
    )


def assigned(state: LeadState, message: LeadAssigned, terms: Terms) -> Counted:
    """Counts when the lead changed hands; at the hand-off itself there is no reason."""
    if not message.former_owner or not message.reason:
        return Counted(state=state)
    return Counted(state=state, tallies=((REASSIGNMENTS, (owner_change(message.reason), message.team), 1.0),))


def attempt_recorded(state: LeadState, message: AttemptRecorded, terms: Terms) -> Counted:
    """The first one of the episode is what the lead waited for; a merge may have brought others before."""
    attempt: Tally = (ATTEMPTS, (message.team, str(message.channel), str(message.outcome)), 1.0)
    tallies = (attempt, *_response(message))
    if message.number > 1 and message.since_ready_working_s is None:
        return Counted(state=state, tallies=tallies)
    return Counted(state=_no_longer_waiting(state), tallies=(*tallies, *_first_touch(state.untouched, message)))


def _first_touch(waited: Untouched | None, message: AttemptRecorded) -> tuple[Tally, ...]:
    """What the lead waited, under the team and priority that it was handed off to and with."""
    labels = (waited.team, waited.priority) if waited else (message.team, message.priority)
    elapsed_s = (message.at - waited.ready_at).total_seconds() if waited else None
    return (
        *_observed_if_told(FIRST_TOUCH, labels, elapsed_s),
        *_observed_if_told(FIRST_TOUCH_WORKING, labels, message.since_ready_working_s),
    )


def _response(message: AttemptRecorded) -> tuple[Tally, ...]:
    """What people took of it, under the team and priority that the lead had when it was touched."""
    labels = message.team, message.priority
    return (
        *_observed_if_told(RESPONSE, labels, message.since_assigned_s),
        *_observed_if_told(RESPONSE_WORKING, labels, message.since_assigned_working_s),
    )


def _observed_if_told(histogram: str, labels: Labels, seconds: float | None) -> tuple[Tally, ...]:
    return () if seconds is None else observed(histogram, labels, seconds)


def attempt_corrected(state: LeadState, message: AttemptCorrected, terms: Terms) -> Counted:
    """Another outcome of an attempt that was counted already, and stays counted as it was."""
    labels = message.team, str(message.channel), str(message.former_outcome), str(message.outcome)
    return Counted(state=state, tallies=((ATTEMPTS_CORRECTED, labels, 1.0),))


def returned(state: LeadState, message: LeadReturned, terms: Terms) -> Counted:
    labels = terms.reason(message.reason), terms.track(message.track)
    return Counted(state=_no_longer_waiting(state), tallies=((RETURNS, labels, 1.0),))


def rejected(state: LeadState, message: LeadRejected, terms: Terms) -> Counted:
    labels = terms.reason(message.reason), message.team
    return Counted(state=_no_longer_waiting(state), tallies=((REJECTIONS, labels, 1.0),))


def _no_longer_waiting(state: LeadState) -> LeadState:
    return state if state.untouched is None else replace(state, untouched=None)


# --- clocks ---


def clock_started(state: LeadState, message: ClockStarted, terms: Terms) -> Counted:
    if message.clock_id in state.clocks:
        return Counted(state=state)
    clock = RunningClock(clock=str(message.clock), team=message.team, priority=message.priority, due_at=message.due_at)
    return Counted(state=_with(state, message.clock_id, clock), tallies=_gauges(None, clock))


def clock_met(state: LeadState, message: ClockMet, terms: Terms) -> Counted:
    return _ended(state, message, MET)


def clock_cancelled(state: LeadState, message: ClockCancelled, terms: Terms) -> Counted:
    return _ended(state, message, EXCUSED)


def clock_paused(state: LeadState, message: ClockPaused, terms: Terms) -> Counted:
    return _changed(state, message, paused=True)


def clock_resumed(state: LeadState, message: ClockResumed, terms: Terms) -> Counted:
    """It runs by what holds now: while it stood still, its priority may have been raised."""
    return _changed(state, message, paused=False, team=message.team, priority=message.priority, due_at=message.due_at)


def clock_moved(state: LeadState, message: ClockMoved, terms: Terms) -> Counted:
    """It is another team's now, or of another priority, as far as that changed: the gauges follow it."""
    return _changed(state, message, team=message.team, priority=message.priority, due_at=message.due_at)


def _changed(state: LeadState, message: ClockMessage, **fields: Any) -> Counted:
    """An open clock changes; one that is breached stays what it was, and what never started is not begun."""
    before = state.clocks.get(message.clock_id)
    if before is None or before.overdue:
        return Counted(state=state)
    after = replace(before, **fields)
    return Counted(state=_with(state, message.clock_id, after), tallies=_gauges(before, after))


def clock_breached(state: LeadState, message: ClockBreached, terms: Terms) -> Counted:
    """Ended, and overdue from now on; also when its start was never heard.

    What was told of a lead that was merged into this one is counted there.
    """
    before = state.clocks.get(message.clock_id)
    after = RunningClock(
        clock=str(message.clock),
        team=before.team if before else message.team,
        priority=before.priority if before else message.priority,
        due_at=message.due_at,
        overdue=True,
    )
    ended: Iterable[Tally] = () if message.told_as else ((CLOCKS_ENDED, (*after.labels, BREACHED), 1.0),)
    return Counted(state=_with(state, message.clock_id, after), tallies=(*ended, *_gauges(before, after)))


def clock_settled(state: LeadState, message: ClockSettled, terms: Terms) -> Counted:
    """Done late or no longer asked for. A touch in its time may still be logged: its labels are kept for that."""
    before = state.clocks.get(message.clock_id)
    if before is None:
        return Counted(state=state)
    after = replace(_without(state, message.clock_id), settled=state.settled | {message.clock_id: before.labels})
    return Counted(state=after, tallies=_gauges(before, None))


def clock_corrected(state: LeadState, message: ClockCorrected, terms: Terms) -> Counted:
    """A breach is taken back, under the labels that it was counted under. The breach stays counted."""
    before = state.clocks.get(message.clock_id)
    labels = before.labels if before else state.settled.get(message.clock_id, _labels(message))
    settled = {key: value for key, value in state.settled.items() if key != message.clock_id}
    after = replace(_without(state, message.clock_id), settled=settled)
    return Counted(state=after, tallies=((CLOCKS_CORRECTED, labels, 1.0), *_gauges(before, None)))


def escalated(state: LeadState, message: LeadEscalated, terms: Terms) -> Counted:
    before = state.clocks.get(message.clock_id)
    clock, team, _ = before.labels if before else _labels(message)
    return Counted(state=state, tallies=((ESCALATIONS, (clock, team, str(message.step)), 1.0),))


def _ended(state: LeadState, message: ClockMessage, outcome: str) -> Counted:
    before = state.clocks.get(message.clock_id)
    labels = before.labels if before else _labels(message)
    ended: Tally = (CLOCKS_ENDED, (*labels, outcome), 1.0)
    return Counted(state=_without(state, message.clock_id), tallies=(ended, *_gauges(before, None)))


def _labels(message: ClockMessage) -> ClockLabels:
    """Of a clock whose start was never heard."""
    return str(message.clock), message.team, message.priority


def _gauges(before: RunningClock | None, after: RunningClock | None) -> tuple[Tally, ...]:
    """What the gauges lose and gain when a clock goes from one to the other."""
    return (*_shown(before, -1.0), *_shown(after, 1.0))


def _shown(clock: RunningClock | None, amount: float) -> Iterable[Tally]:
    if clock is None:
        return
    yield CLOCKS_OVERDUE if clock.overdue else CLOCKS_OPEN, clock.labels, amount
    if clock.paused:
        yield CLOCKS_PAUSED, clock.labels, amount


def _with(state: LeadState, clock_id: str, clock: RunningClock) -> LeadState:
    return replace(state, clocks=state.clocks | {clock_id: clock})


def _without(state: LeadState, clock_id: str) -> LeadState:
    if clock_id not in state.clocks:
        return state
    return replace(state, clocks={key: clock for key, clock in state.clocks.items() if key != clock_id})


# --- leads that become one, or none ---


def merged(state: LeadState, survivor: str, others: Mapping[str, LeadState], at: datetime) -> Counted:
    """The lead of the key `survivor` has reached what any of them had, so that nothing counts again.

    What was counted stays counted. Running clocks go along until hand-off ends them. Who was never handed
    off goes on with the hand-off of another, and so with its first touch. Who is erased under one key is so
    under all.
    """
    parted = {lead: LeadState(erased=other.erased, merged_into=survivor) for lead, other in others.items()}
    all_of_them = (state, *others.values())
    one = replace(
        state,
        clocks={key: clock for lead in all_of_them for key, clock in lead.clocks.items()},
        settled={key: labels for lead in all_of_them for key, labels in lead.settled.items()},
    )
    if any(lead.erased for lead in all_of_them):
        return replace(contact_erased(one, at, privacy=True), others=parted)
    stages, source, unsourced = dict(state.stages), state.source, state.unsourced
    untouched = [other.untouched for other in others.values() if other.untouched and not state.episode]
    for other in others.values():
        source = other.source if source == UNKNOWN else source
        unsourced = (*unsourced, *other.unsourced)
        for stage, reached in other.stages.items():
            stages[stage] = min(reached, stages.get(stage, reached))
    one = replace(one, stages=stages, unsourced=unsourced, untouched=state.untouched or next(iter(untouched), None))
    return replace(_sourced(one, source, at), others=parted)


def leads_merged(state: LeadState, message: LeadsMerged, terms: Terms) -> Counted:
    """What hand-off made of a merge: who is untouched waits since the earliest act, and is touched first once."""
    if message.attempts or message.ready_at is None or message.state not in WAITING:
        return Counted(state=state)
    waited = state.untouched or Untouched(ready_at=message.ready_at, team=message.team, priority=message.priority)
    untouched = replace(waited, ready_at=min(waited.ready_at, message.ready_at))
    return Counted(state=replace(state, episode=message.episode, untouched=untouched))


def contact_erased(state: LeadState, at: datetime, *, privacy: bool) -> Counted:
    """No more is counted of it until it is restored; a privacy deletion forgets it. Hand-off still ends its clocks.

    What was counted names nobody and stays. With a merge the CRM deletes the old record: its survivor has been
    where it was.
    """
    if privacy:
        return Counted(state=LeadState(clocks=state.clocks, settled=state.settled, erased=True))
    return Counted(state=state.deleted(at))


def lead_erased(state: LeadState) -> Counted:
    """Hand-off has ended with it: a clock that nobody ended is no longer shown. When it was deleted the CRM tells."""
    tallies = tuple(tally for clock in state.clocks.values() for tally in _gauges(clock, None))
    return Counted(state=replace(state, clocks={}, settled={}), tallies=tallies)
