"""What people say of a lead in the CRM itself, by its properties: followed as the agreement's `in_the_crm` says.

A word counts when it was set after the hand-off, or with Marketing after the last end; a deal's word
always does, as deals do. A word that says what is so already does nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from services.handoff.domain import clocks, returns, taking
from services.handoff.domain.draft import SYSTEM, Draft
from services.handoff.domain.lead import CHASED, WITH_MARKETING, WITH_SALES, Lead, Score
from services.handoff.domain.machine import Cause
from shared.agreement import Agreement
from shared.agreement.follow_up import state_and_reason
from shared.events import DealWon, LeadReadmitted, OpportunityOpened, State

ACTOR: Final = "crm"
NO_DEAL: Final = ""  # a stage that was set by hand names none


def words(agreement: Agreement, former: Score | None, score: Score) -> list[tuple[datetime, str]]:
    """The words of `score` that are newer than those of the one before, in their order."""
    return sorted(_words(agreement, former, score), key=lambda one: one[0])


def _words(agreement: Agreement, former: Score | None, score: Score) -> Iterator[tuple[datetime, str]]:
    for name, meanings in agreement.follow_up.in_the_crm.items():
        at, meaning = score.set_at.get(name), meanings.get(score.profile.get(name, ""))
        before = former.set_at.get(name) if former else None
        if at is not None and meaning is not None and (before is None or at > before):
            yield at, meaning


def follow(draft: Draft, meaning: str, at: datetime) -> None:
    """Do what a person said in the CRM at `at`, if it still fits the state."""
    draft.actor = ACTOR
    state, reason = state_and_reason(meaning)
    if state in (State.OPPORTUNITY, State.CUSTOMER):
        _as_a_deal_does(draft, State(state), max(at, draft.lead.handed_off_at or at))
    elif not _is_past(draft.lead, at):
        _by_word(draft, state, reason, at)
    draft.actor = SYSTEM


def _is_past(lead: Lead, at: datetime) -> bool:
    return any(moment is not None and at < moment for moment in (lead.handed_off_at, lead.ended_at))


def _by_word(draft: Draft, said: str, reason: str, at: datetime) -> None:
    state = draft.lead.state
    rests = state in WITH_MARKETING and state is not State.DISQUALIFIED
    match said:
        case State.ACCEPTED if state is State.HANDED_OFF:
            taking.accepted(draft, at)
        case State.ACCEPTED if state is State.DISQUALIFIED and not draft.lead.unfit:
            draft.move(Cause.FIT_AGAIN)
            draft.tell(LeadReadmitted, at=at)
        case State.QUALIFIED if state in CHASED or rests:
            taking.qualified(draft, at, cause=Cause.CRM_QUALIFIED if rests else Cause.QUALIFY)
        case State.RETURNED if state in WITH_SALES:
            returns.returned(draft, at, reason, None)
        case State.DISQUALIFIED if state in WITH_SALES:
            returns.disqualified(draft, at, reason)
        case State.DISQUALIFIED if rests or (state is State.DISQUALIFIED and draft.lead.unfit):
            returns.disqualified(draft, at, reason, cause=Cause.CRM_DISQUALIFIED)


def _as_a_deal_does(draft: Draft, stage: State, at: datetime) -> None:
    """A deal that the CRM has may tell the same: then the lead is there already."""
    if draft.lead.state in (stage, State.CUSTOMER):
        return
    won = stage is State.CUSTOMER
    draft.move(Cause.DEAL_WON if won else Cause.DEAL_OPENED)
    clocks.end_all(draft, at, "won" if won else "opportunity")
    draft.tell(DealWon if won else OpportunityOpened, at=at, deal=NO_DEAL)
