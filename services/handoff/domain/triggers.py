"""When Marketing hands a lead over: the first trigger of the agreement that holds, once per episode.

Only a newer score can fire one: it carries the forms and the profile, so that both are judged
together. A form counts for an episode when it was submitted after the last one ended. During the
cool-down only a trigger that such a form makes hold can fire.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from services.handoff.domain import clocks, routing
from services.handoff.domain.draft import Draft, HandoffDecision
from services.handoff.domain.lead import WITH_MARKETING, Lead, Score
from services.handoff.domain.machine import Cause, allows
from services.handoff.domain.returns import exhausted
from shared.agreement import Agreement
from shared.agreement.conditions import Subject
from shared.agreement.model import Trigger
from shared.events import (
    ClockKind,
    LeadAssigned,
    LeadDisqualified,
    LeadHandedOff,
    LeadScored,
    Reason,
    State,
    Submission,
)


@dataclass(frozen=True, kw_only=True)
class Fired:
    """The trigger that holds, and since when the lead was ready by it."""

    trigger: Trigger
    ready_at: datetime


def scored(lead: Lead, message: LeadScored, agreement: Agreement, now: datetime) -> HandoffDecision:
    """Keep the newest score, and hand the lead over when a trigger holds. A stale score changes nothing."""
    if lead.gone or (lead.score is not None and message.version <= lead.score.version):
        return HandoffDecision(state=lead)
    draft = Draft(lead=lead, agreement=agreement, cause=message.id)
    clocks.lapse(draft, min(message.at, now), exhausted=exhausted)
    draft.change(score=_kept(message))
    if draft.lead.state in WITH_MARKETING:
        _judge_fitness(draft, message, now)
        if fired := find(draft.lead, agreement, now):
            hand_over(draft, fired, message, now)
    return draft.decision()


def _kept(message: LeadScored) -> Score:
    return Score(
        version=message.version,
        at=message.at,
        grade=message.grade,
        fit_grade=message.fit_grade,
        interest_level=message.interest_level,
        journey=message.journey,
        disqualified=message.disqualified,
        forms=message.forms,
        profile=message.profile,
    )


def _judge_fitness(draft: Draft, message: LeadScored, now: datetime) -> None:
    """A score disqualifies only who is with Marketing, and only until a newer one does not; Sales' own word stays."""
    if message.disqualified and allows(draft.lead.state, Cause.UNFIT):
        draft.move(Cause.UNFIT)
        draft.change(unfit=True)
        draft.tell(LeadDisqualified, at=now, reason=message.disqualified)
    elif draft.lead.unfit and not message.disqualified and draft.lead.state is State.DISQUALIFIED:
        draft.move(Cause.FIT_AGAIN)
        draft.change(unfit=False)


def subject(lead: Lead, score: Score, forms: Iterable[Submission] = ()) -> Subject:
    """What the agreement's conditions ask about this lead."""
    return Subject(
        properties=score.profile,
        grade=score.grade,
        fit_grade=score.fit_grade,
        interest_level=score.interest_level,
        journey=score.journey,
        forms=frozenset(submission.form for submission in forms),
        state=str(lead.state),
    )


def find(lead: Lead, agreement: Agreement, now: datetime) -> Fired | None:
    """The first trigger in the agreement's order that may fire now."""
    score = lead.score
    if score is None or score.disqualified or not allows(lead.state, Cause.TRIGGER):
        return None
    fresh = [form for form in score.forms if lead.ended_at is None or form.at > lead.ended_at]
    cooling = lead.cool_down_until is not None and now < lead.cool_down_until
    for trigger in agreement.handoff.triggers:
        if not _holds(trigger, subject(lead, score, fresh)):
            continue
        by_form = not trigger.when.holds(subject(lead, score))
        if by_form or not cooling:
            ready_at = _made_ready(lead, score, fresh, trigger) if by_form else score.at
            return Fired(trigger=trigger, ready_at=min(ready_at, now))
    return None


def _holds(trigger: Trigger, about: Subject) -> bool:
    return trigger.when.holds(about) and not (trigger.unless is not None and trigger.unless.holds(about))


def _made_ready(lead: Lead, score: Score, fresh: Iterable[Submission], trigger: Trigger) -> datetime:
    """The first fresh form with which the trigger holds."""
    until: list[Submission] = []
    for form in sorted(fresh, key=lambda one: one.at):
        until.append(form)
        if trigger.when.holds(subject(lead, score, until)):
            return form.at
    return score.at


def hand_over(draft: Draft, fired: Fired, message: LeadScored, now: datetime) -> None:
    """Begin an episode: the lead goes to a team and a person, and the clock to the first touch runs."""
    lead, agreement, trigger = draft.lead, draft.agreement, fired.trigger
    assert lead.score is not None  # a trigger fires on a score only
    team = routing.team_for(agreement, subject(lead, lead.score, lead.score.forms))
    episode = lead.episode + 1
    draft.move(Cause.TRIGGER)
    draft.change(
        episode=episode,
        team=team,
        owner=routing.owner_for(agreement.handoff.teams[team].members, lead.lead, episode),
        priority=trigger.priority,
        handed_off_at=now,
        ended_at=None,
        cool_down_until=None,
        replied=False,
        attempts=(),
    )
    draft.tell(
        LeadHandedOff,
        at=now,
        trigger=trigger.name,
        grade=message.grade,
        ready_at=fired.ready_at,
        reasons=_reasons(message),
        information=_information(agreement, message),
    )
    draft.tell(LeadAssigned, at=now)
    time = agreement.follow_up.first_touch_for(priority=trigger.priority, fit_grade=message.fit_grade)
    if time.total_seconds() > 0:
        clocks.start(draft, ClockKind.FIRST_TOUCH, 1, at=now, due_at=now + time)


def _reasons(message: LeadScored) -> tuple[Reason, ...]:
    return (*message.fit_reasons, *message.interest_reasons)


def _information(agreement: Agreement, message: LeadScored) -> dict[str, str]:
    """What the agreement says goes with the lead, of any stage, as far as it is known. PERSONAL."""
    names = dict.fromkeys(name for stage in agreement.handoff.information.values() for name in stage)
    return {name: message.profile[name] for name in names if message.profile.get(name)}
