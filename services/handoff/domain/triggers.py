"""When Marketing hands a lead over: the first trigger of the agreement that holds, once per episode.

Only a newer score can fire one: it carries the forms and the profile, so that both are judged
together. A form counts for an episode when it was submitted after the last one ended, or after its
last attempt and became known too late to stop that end. During the cool-down only a trigger that
such a form makes hold can fire. While Sales has the lead nothing is handed over again: a form that
makes an earlier trigger of the list hold raises the priority, and one that makes any trigger hold
stops the wait for a reply.

A re-score, of which the changed agreement is the only cause, hands over who never was, and moves
nothing else: the lead did nothing, so what Sales has or had of it stays until it does. A score that fell
by waiting alone hands over nobody and takes nobody back: it is kept, for what comes next. But its stage of
the journey does not fall while Sales has the lead: whoever cannot be reached goes back as far on as they came.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from msgspec import structs

from services.handoff.domain import assigning, cadence, clocks, ends, in_crm, passing, routing
from services.handoff.domain.draft import Draft, HandoffDecision
from services.handoff.domain.lead import CHASED, WITH_MARKETING, WITH_SALES, Lead, Score
from services.handoff.domain.machine import Cause, allows
from shared.agreement import Agreement
from shared.agreement.conditions import Subject
from shared.agreement.handoff import Trigger
from shared.agreement.qualification import JOURNEY
from shared.events import (
    ClockKind,
    LeadAssigned,
    LeadDisqualified,
    LeadHandedOff,
    LeadReadmitted,
    LeadScored,
    PriorityRaised,
    Reason,
    State,
    Submission,
)

CRM_OWNER: Final = "hubspot_owner_id"
RAISED: Final = "priority"
_NOTHING_YET: Final[Mapping[str, object]] = {
    "accepted_at": None,
    "ended_at": None,
    "cool_down_until": None,
    "replied": False,
    "asked_at": None,
    "unfit": False,
    "attempts": (),
    "breaches": (),
    "stood": (),
}


@dataclass(frozen=True, kw_only=True)
class Fired:
    """The trigger that holds, and since when the lead was ready by it."""

    trigger: Trigger
    ready_at: datetime


def scored(lead: Lead, message: LeadScored, agreement: Agreement, now: datetime) -> HandoffDecision:
    """Keep the newest score, and hand the lead over when a trigger holds. A stale score changes nothing."""
    if ends.is_back(lead, message.seen_at):
        lead = ends.begun_anew(lead)
    known = lead.score
    if lead.gone or ends.is_past(lead, message.seen_at) or (known is not None and not _is_news(message, known)):
        return HandoffDecision(state=lead)
    former, score = lead.score, _kept(message)
    if former and lead.state in WITH_SALES:
        score = structs.replace(score, journey=min(former.journey, score.journey, key=JOURNEY.index))
    said = [] if message.is_rescore else in_crm.words(agreement, former, score)
    until = min(message.at, now, *(at for at, _ in said))  # what was said in time is in time
    draft = passing.begin(lead, agreement, message.id, now=now, until=until, inclusive=not said)
    draft.change(score=score)
    for at, meaning in said:
        in_crm.follow(draft, meaning, min(at, now))
    if draft.lead.state in WITH_MARKETING:
        _judge_fitness(draft, former, message, now)
        fired = find(draft.lead, agreement, now, known=former.forms if former else None)
        if fired and not message.is_fading and not (message.is_rescore and draft.lead.episode):
            hand_over(draft, _handing(fired, message, now), now)
    elif draft.lead.state in WITH_SALES and not (message.is_rescore or message.is_fading):
        _follow_owner(draft, former, now)
        _raise_priority(draft, now)
        _ask_again(draft, now)
    ends.hear(draft, now)
    return draft.decision()


def _is_news(message: LeadScored, known: Score) -> bool:
    """Whether the score is newer, and knows all that the one before knew.

    A scoring that was emptied reads the lead's facts again, the oldest first, and judges it after each: what it
    says of a time of which we know more is past.
    """
    if not message.is_newer_than(known.version, known.counted_since):
        return False
    counted_anew = known.counted_since is not None and message.counted_since != known.counted_since
    if not counted_anew or known.seen_at is None or message.seen_at is None:
        return True
    return message.seen_at >= min(known.seen_at, known.at)  # a fact of the future holds up nothing


def _follow_owner(draft: Draft, former: Score | None, now: datetime) -> None:
    """The contact got another owner in the CRM, and the agreement knows who that is."""
    assert draft.lead.score is not None  # it has just come
    owner = draft.lead.score.profile.get(CRM_OWNER, "")
    if former is None or owner == former.profile.get(CRM_OWNER, ""):
        return
    if found := assigning.owner_in_crm(draft.agreement, draft.lead, owner):
        team, person = found
        passing.lapse(draft, now)  # what fell due until then was the former owner's
        if draft.lead.state in WITH_SALES:
            assigning.reassign(draft, now, team=team, owner=person, reason=assigning.IN_THE_CRM)


def _raise_priority(draft: Draft, now: datetime) -> None:
    """The lead itself asked again, for more than it was handed over for."""
    lead, score = draft.lead, draft.lead.score
    if lead.state not in CHASED or lead.replied or score is None or lead.handed_off_at is None:
        return
    fresh = [form for form in score.forms if form.at > lead.handed_off_at]
    for trigger in draft.agreement.handoff.triggers:
        if trigger.name == lead.trigger:
            return
        if trigger.holds(subject(lead, score, fresh)) and not trigger.when.holds(subject(lead, score)):
            draft.change(priority=trigger.priority, trigger=trigger.name)
            draft.tell(PriorityRaised, at=now, former_priority=lead.priority, trigger=trigger.name)
            clocks.hurry(draft, now, RAISED)
            return


def _ask_again(draft: Draft, now: datetime) -> None:
    """A form since the latest attempt makes a trigger hold, whichever: who asks is not sent back."""
    lead, score = draft.lead, draft.lead.score
    if lead.state not in CHASED or lead.replied or score is None or lead.touched_at is None:
        return
    fresh = [form for form in score.forms if form.at > lead.touched_at]
    for trigger in draft.agreement.handoff.triggers:
        if trigger.holds(subject(lead, score, fresh)) and not trigger.when.holds(subject(lead, score)):
            asked_at = min(now, max(form.at for form in fresh))
            cadence.asked(draft, now, asked_at=asked_at, trigger=trigger.name)
            return


def _kept(message: LeadScored) -> Score:
    return Score(
        version=message.version,
        counted_since=message.counted_since,
        at=message.at,
        grade=message.grade,
        fit_grade=message.fit_grade,
        interest_level=message.interest_level,
        journey=message.journey,
        disqualified=message.disqualified,
        set_at=message.set_at,
        seen_at=message.seen_at,
        forms=message.forms,
        profile=message.profile,
        to_find_out=message.to_find_out,
    )


def _judge_fitness(draft: Draft, former: Score | None, message: LeadScored, now: datetime) -> None:
    """A score disqualifies only who is with Marketing, and only until a newer one does not; Sales' own word stays."""
    if message.disqualified and allows(draft.lead.state, Cause.UNFIT):
        draft.move(Cause.UNFIT)
        draft.change(unfit=True)
        draft.tell(LeadDisqualified, at=now, reason=message.disqualified)
    elif draft.lead.unfit and not message.disqualified and draft.lead.state is State.DISQUALIFIED:
        draft.move(Cause.FIT_AGAIN)
        draft.change(unfit=False)
        draft.tell(LeadReadmitted, at=now, reason=former.disqualified if former else "")


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


def find(
    lead: Lead, agreement: Agreement, now: datetime, *, known: Collection[Submission] | None = None
) -> Fired | None:
    """The first trigger in the agreement's order that may fire now. `known`: the forms of the score before."""
    score = lead.score
    if score is None or score.disqualified or not allows(lead.state, Cause.TRIGGER):
        return None
    fresh = [form for form in score.forms if _is_fresh(form, lead, known)]
    cooling = lead.cool_down_until is not None and now < lead.cool_down_until
    for trigger in agreement.handoff.triggers:
        if not trigger.holds(subject(lead, score, fresh)):
            continue
        by_form = not trigger.when.holds(subject(lead, score))
        if by_form or not cooling:
            ready_at = _made_ready(lead, score, fresh, trigger) if by_form else score.at
            return Fired(trigger=trigger, ready_at=min(ready_at, now))
    return None


def _is_fresh(form: Submission, lead: Lead, known: Collection[Submission] | None) -> bool:
    """Nobody in Sales has had it: it came after the last end, or after the last attempt and was heard of too late."""
    if lead.ended_at is None or form.at > lead.ended_at:
        return True
    missed = known is not None and form not in known
    return missed and lead.touched_at is not None and form.at > lead.touched_at


def _made_ready(lead: Lead, score: Score, fresh: Iterable[Submission], trigger: Trigger) -> datetime:
    """The first fresh form with which the trigger holds."""
    until: list[Submission] = []
    for form in sorted(fresh, key=lambda one: one.at):
        until.append(form)
        if trigger.when.holds(subject(lead, score, until)):
            return form.at
    return score.at


@dataclass(frozen=True, kw_only=True)
class Handing:
    """A hand-off as it is to be: why, how urgent, and, where a person chose, to whom."""

    trigger: str
    priority: str
    ready_at: datetime
    reasons: tuple[Reason, ...] = ()
    former_agreement: str = ""  # of a re-score
    team: str | None = None
    owner: str | None = None


def _handing(fired: Fired, message: LeadScored, now: datetime) -> Handing:
    """Of a re-score the lead is ready since it was judged again: when its form was sent, that made nobody ready."""
    trigger = fired.trigger
    return Handing(
        trigger=trigger.name,
        priority=trigger.priority,
        ready_at=min(message.at, now) if message.is_rescore else fired.ready_at,
        reasons=_reasons(message),
        former_agreement=message.former_agreement if message.is_rescore else "",
    )


def hand_over(draft: Draft, handing: Handing, now: datetime, *, cause: Cause = Cause.TRIGGER) -> None:
    """Begin an episode: the lead goes to a team and a person, and the clocks run."""
    score, agreement = draft.lead.score, draft.agreement
    draft.move(cause)
    episode = draft.lead.episode + 1
    team, owner = _receiver(draft.lead, agreement, handing, episode)
    draft.change(
        episode=episode,
        team=team,
        owner=owner,
        owners=(owner,),
        turn=0,
        priority=handing.priority,
        trigger=handing.trigger,
        fit_grade=score.fit_grade if score else "",
        ready_at=handing.ready_at,
        handed_off_at=now,
        assigned_at=now,
        **_NOTHING_YET,
    )
    draft.tell(
        LeadHandedOff,
        at=now,
        trigger=handing.trigger,
        grade=score.grade if score else "",
        ready_at=handing.ready_at,
        delay_working_s=draft.calendar.between(handing.ready_at, now).total_seconds(),
        reasons=handing.reasons,
        information=_information(agreement, score.profile if score else {}),
        former_agreement=handing.former_agreement,
    )
    draft.tell(LeadAssigned, at=now)
    _start_clocks(draft, now)


def _start_clocks(draft: Draft, now: datetime) -> None:
    for kind in (ClockKind.ACCEPT, ClockKind.FIRST_TOUCH, ClockKind.DECISION):
        clocks.start(draft, kind, 1, at=now)


def _receiver(lead: Lead, agreement: Agreement, handing: Handing, episode: int) -> tuple[str, str]:
    """Who was chosen, or else who the agreement's routes and weights say. Raises Refused (`no_route` or as `place`)."""
    if handing.team or handing.owner:
        return assigning.place(agreement, lead, team=handing.team, owner=handing.owner)
    about = subject(lead, lead.score, lead.score.forms) if lead.score else Subject(properties={}, state=str(lead.state))
    team = routing.team_for(agreement, about)
    return team, routing.owner_for(agreement.handoff.teams[team].weights, lead.lead, episode)


def _reasons(message: LeadScored) -> tuple[Reason, ...]:
    return (*message.fit_reasons, *message.interest_reasons)


def _information(agreement: Agreement, profile: Mapping[str, str]) -> dict[str, str]:
    """What the agreement says goes with the lead, of any stage, as far as it is known. PERSONAL."""
    names = dict.fromkeys(name for stage in agreement.handoff.information.values() for name in stage)
    return {name: profile[name] for name in names if profile.get(name)}
