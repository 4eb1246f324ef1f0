"""What kpi reads and what each message does: see the table at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from services.kpi import store
from services.kpi.domain import counting
from services.kpi.domain.counting import Counted
from services.kpi.domain.counts import DealEnd, StageDay
from services.kpi.domain.leads import LeadState
from services.kpi.domain.tallies import Tally
from services.kpi.domain.terms import Terms, terms_of
from shared import events
from shared.events import ContactErased, ContactsMerged, LeadErased, LeadHandedOff, Message, Topic, tenant_of
from shared.work import Changes, Decision, Facts, Handler, Worker


class KpiDecision(Decision[LeadState], frozen=True, kw_only=True):
    """A decision with what it adds to the tallies and the days, and the deals that it ends."""

    tallies: tuple[Tally, ...] = ()
    days: tuple[StageDay, ...] = ()
    deals: tuple[DealEnd, ...] = ()


def _decision(counted: Counted) -> KpiDecision:
    return KpiDecision(
        state=counted.state,
        others=counted.others,
        tallies=counted.tallies,
        days=counted.days,
        deals=counted.deals,
    )


def _by_terms(count: Callable[[LeadState, Any, Terms], Counted]) -> Handler[LeadState]:
    def handle(state: LeadState, message: Any, facts: Facts[LeadState]) -> KpiDecision:
        return _decision(count(state, message, terms_of(facts.agreement)))

    return handle


def _handed_off(state: LeadState, message: LeadHandedOff, facts: Facts[LeadState]) -> KpiDecision:
    merged_away = message.lead != facts.key
    return _decision(counting.handed_off(state, message, terms_of(facts.agreement), merged_away=merged_away))


def _merged(state: LeadState, message: ContactsMerged, facts: Facts[LeadState]) -> KpiDecision:
    return _decision(counting.merged(state, facts.key, facts.others, message.at))


def _contact_erased(state: LeadState, message: ContactErased, facts: Facts[LeadState]) -> KpiDecision:
    return _decision(counting.contact_erased(state, message.at, privacy=message.privacy))


def _lead_erased(state: LeadState, message: LeadErased, facts: Facts[LeadState]) -> KpiDecision:
    return _decision(counting.lead_erased(state))


def _keys(message: Message) -> Sequence[str]:
    if isinstance(message, ContactsMerged):
        return tuple(dict.fromkeys((message.lead, *message.merged)))
    return (message.key,)


def _passes_on(state: LeadState, message: Message) -> str:
    """Whoever became part of another is counted there. Its own end, which comes with a merge, ends nobody else."""
    ended = isinstance(message, LeadErased) or (isinstance(message, ContactErased) and not message.privacy)
    return "" if ended else state.merged_into


async def _save(conn: AsyncConnection, changes: Changes[LeadState]) -> None:
    await store.save_leads(conn, changes.states)
    told = [(tenant_of(key), one) for key, one in changes.decisions if isinstance(one, KpiDecision)]
    await store.save_deals(conn, [(tenant, deal) for tenant, one in told for deal in one.deals])
    await store.add_stage_days(conn, [(tenant, day) for tenant, one in told for day in one.days])
    await store.add_tallies(conn, [tally for _, one in told for tally in one.tallies])


def worker() -> Worker[LeadState]:
    """kpi's part in the one loop."""
    return Worker(
        service="kpi",
        topics=(Topic.CRM_EVENTS, Topic.LEAD_SCORES, Topic.LEAD_HANDOFFS),
        handlers=HANDLERS,
        ignored=IGNORED,
        new=lambda lead: LeadState(),
        load=store.load,
        save=_save,
        keys=_keys,
        passes_on=_passes_on,
    )


HANDLERS: Final[Mapping[type[Message], Handler[LeadState]]] = {
    events.ContactChanged: _by_terms(counting.contact_changed),
    events.FormSubmitted: _by_terms(counting.form_submitted),
    events.ContactsMerged: _merged,
    events.ContactErased: _contact_erased,
    events.LeadScored: _by_terms(counting.lead_scored),
    events.LeadHandedOff: _handed_off,
    events.LeadAssigned: _by_terms(counting.assigned),
    events.LeadRejected: _by_terms(counting.rejected),
    events.AttemptRecorded: _by_terms(counting.attempt_recorded),
    events.AttemptCorrected: _by_terms(counting.attempt_corrected),
    events.ClockStarted: _by_terms(counting.clock_started),
    events.ClockPaused: _by_terms(counting.clock_paused),
    events.ClockResumed: _by_terms(counting.clock_resumed),
    events.ClockMoved: _by_terms(counting.clock_moved),
    events.ClockMet: _by_terms(counting.clock_met),
    events.ClockBreached: _by_terms(counting.clock_breached),
    events.ClockCancelled: _by_terms(counting.clock_cancelled),
    events.ClockSettled: _by_terms(counting.clock_settled),
    events.ClockCorrected: _by_terms(counting.clock_corrected),
    events.LeadEscalated: _by_terms(counting.escalated),
    events.LeadReturned: _by_terms(counting.returned),
    events.LeadQualified: _by_terms(counting.lead_qualified),
    events.OpportunityOpened: _by_terms(counting.opportunity_opened),
    events.DealWon: _by_terms(counting.deal_won),
    events.DealLost: _by_terms(counting.deal_lost),
    events.LeadsMerged: _by_terms(counting.leads_merged),
    events.LeadErased: _lead_erased,
}
IGNORED: Final[frozenset[type[Message]]] = frozenset(
    {
        events.PageVisited,
        events.ActivityLogged,  # what counts of it comes back as AttemptRecorded
        events.DealChanged,  # what counts of it comes back as OpportunityOpened, DealWon, DealLost
        events.PriorityRaised,  # what changes by it comes as ClockMoved, ClockResumed
        events.LeadAskedAgain,
        events.LeadAccepted,
        events.LeadReplied,
        events.ClockWarned,
        events.NurtureStarted,
        events.LeadDisqualified,
        events.LeadReadmitted,
    }
)
