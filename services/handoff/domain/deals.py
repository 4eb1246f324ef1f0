"""Deals, as the CRM has them: followed in every state, each told once."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal

from msgspec.structs import replace

from services.handoff.domain import clocks, passing
from services.handoff.domain.draft import Draft, HandoffDecision
from services.handoff.domain.lead import WITH_SALES, Deal, Lead
from services.handoff.domain.machine import Cause
from services.handoff.domain.returns import end_episode, way_for
from shared.agreement import Agreement
from shared.agreement.conditions import Subject
from shared.events import DealChanged, DealLost, DealWon, OpportunityOpened, State

CLOSED_LOST: Final = "closedlost"
WON: Final = "won"
LOST: Final = "lost"


def changed(lead: Lead, message: DealChanged, agreement: Agreement, now: datetime) -> HandoffDecision:
    """A deal's newest stage wins; a stale one changes nothing."""
    before = lead.deals.get(message.deal)
    if lead.gone:
        return HandoffDecision(state=lead.having_heard(message))
    if before is not None and message.at < before.at:
        return HandoffDecision(state=lead)
    at = min(message.at, now)
    draft = passing.begin(lead, agreement, message.id, now=now, until=at, inclusive=False)
    deal = replace(before or Deal(stage="", at=message.at), stage=message.stage, at=message.at)
    _keep(draft, message, deal)
    about = Subject(properties={}, deal_stage=message.stage)
    if _holds(agreement, "customer", about):
        _won(draft, message, deal, at)
    elif message.stage.lower() == CLOSED_LOST:
        _lost(draft, message, deal, at)
    elif _holds(agreement, "opportunity", about):
        _opened(draft, message, deal, at)
    return draft.decision()


def _holds(agreement: Agreement, definition: Literal["customer", "opportunity"], about: Subject) -> bool:
    condition = agreement.definitions.get(definition)
    return condition is not None and condition.holds(about)


def _keep(draft: Draft, message: DealChanged, deal: Deal) -> None:
    draft.change(deals={**draft.lead.deals, message.deal: deal})


def _opened(draft: Draft, message: DealChanged, deal: Deal, at: datetime) -> None:
    _keep(draft, message, replace(deal, opened=True, closed=""))
    before = draft.lead.state
    draft.move(Cause.DEAL_OPENED)
    clocks.end_all(draft, _in_episode(draft, at), "opportunity")
    if not deal.opened or deal.closed or draft.lead.state is not before:
        draft.tell(OpportunityOpened, at=at, deal=message.deal)


def _won(draft: Draft, message: DealChanged, deal: Deal, at: datetime) -> None:
    if deal.closed == WON:
        return
    _keep(draft, message, replace(deal, closed=WON))
    draft.move(Cause.DEAL_WON)
    clocks.end_all(draft, _in_episode(draft, at), "won")
    draft.tell(DealWon, at=at, deal=message.deal, amount=message.amount, currency=message.currency)


def _lost(draft: Draft, message: DealChanged, deal: Deal, at: datetime) -> None:
    """The lead is lost with its last open deal, when it is with Sales; told once for each deal."""
    if deal.closed == LOST:
        return
    _keep(draft, message, replace(deal, closed=LOST))
    others_open = any(one.opened and not one.closed for one in draft.lead.deals.values())
    if draft.lead.state in WITH_SALES and not others_open:
        draft.move(Cause.DEAL_LOST)
        clocks.end_all(draft, _in_episode(draft, at), "lost")
        end_episode(draft, _in_episode(draft, at), way_for(draft.agreement, "", "").cool_down)
    if draft.lead.state is not State.MARKETING:
        draft.tell(DealLost, at=at, deal=message.deal)


def _in_episode(draft: Draft, at: datetime) -> datetime:
    """What happened before the hand-off ends nothing of it before it began."""
    return max(at, draft.lead.handed_off_at or at)
