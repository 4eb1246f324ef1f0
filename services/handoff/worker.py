"""What hand-off reads and what each message does: see the table at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from datetime import datetime
from typing import Any, Final

from prometheus_client import CollectorRegistry
from sqlalchemy.ext.asyncio import AsyncConnection

from services.handoff import store
from services.handoff.domain import attempts, deals, ends, passing, triggers
from services.handoff.domain.draft import Draft, HandoffDecision
from services.handoff.domain.lead import Lead
from services.handoff.domain.notices import Notice, notices
from services.handoff.links import NO_LINKS, Links
from services.handoff.metrics import HandoffMetrics
from shared import events
from shared.agreement import Agreement
from shared.clock import Clock
from shared.events import ContactErased, ContactsMerged, HandoffMessage, LeadScored, Message, Topic
from shared.work import Changes, Decision, Facts, Handler, Worker


def moment(now: datetime) -> datetime:
    """`now` in whole milliseconds, as the CRM tells time: an act right after a hand-off must not seem before it."""
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def decided(
    decide: Callable[[Lead, Any, Agreement, datetime], HandoffDecision],
) -> Callable[[Lead, Any, Facts[Lead]], HandoffDecision]:
    """A decision of the domain as a handler of the loop."""

    def handle(lead: Lead, message: Any, facts: Facts[Lead]) -> HandoffDecision:
        return decide(lead, message, facts.agreement, moment(facts.now))

    return handle


def notices_of(decision: Decision[Lead]) -> tuple[Notice, ...]:
    """What follows from a decision for those who are to be notified."""
    if not isinstance(decision, HandoffDecision) or decision.agreement is None:
        return ()
    told = [message for message in decision.messages if isinstance(message, HandoffMessage)]
    return notices(told, decision.state, decision.agreement)


def _merged(lead: Lead, message: ContactsMerged, facts: Facts[Lead]) -> HandoffDecision:
    return ends.merged(lead, message, facts.others, facts.agreement, moment(facts.now))


def _passes_on(lead: Lead, message: Message) -> str:
    """Whoever became part of another is meant by its old key, too.

    But its own score is from before: scoring tells the survivor's. And with a merge the CRM deletes the old record.
    """
    deleted = isinstance(message, ContactErased) and not message.privacy
    return "" if deleted or isinstance(message, LeadScored) else lead.merged_into


def due(lead: Lead, facts: Facts[Lead]) -> tuple[HandoffDecision, list[datetime]]:
    """Tell what fell due until now, and when each thing was due."""
    draft = Draft(lead=lead, agreement=facts.agreement, cause="")  # each thing names its clock
    moments = passing.lapse(draft, facts.now)
    passing.follow(draft, facts.now)
    return draft.decision(), moments


def _keys(message: Message) -> Sequence[str]:
    if isinstance(message, ContactsMerged):
        return tuple(dict.fromkeys((message.lead, *message.merged)))
    return (message.key,)


def _saver(wall: Clock, *, notify: bool, links: Links) -> Callable[[AsyncConnection, Changes[Lead]], Any]:
    async def save(conn: AsyncConnection, changes: Changes[Lead]) -> None:
        told = [m for _, d in changes.decisions for m in d.messages if isinstance(m, HandoffMessage)]
        await store.save_leads(conn, changes.before, changes.states, changes.now)
        if told:
            await store.save_clocks(conn, changes.states, told)
            await store.add_to_timeline(conn, told)
        gone = {lead for lead, state in changes.states.items() if state.gone}
        await store.forget(conn, sorted(gone))
        if notify:
            found = [n for _, d in changes.decisions for n in notices_of(d) if _may_be_told(n, gone)]
            linked = [links.with_links(n, changes.states.get(n.lead), changes.now) for n in found]
            await store.add_notifications(conn, linked, wall.now())

    return save


def _may_be_told(notice: Notice, gone: Set[str]) -> bool:
    """Of a lead that is gone by the end of the transaction, only that it was erased."""
    return notice.lead not in gone or notice.kind == events.LeadErased.__name__


def worker(
    *, wall: Clock, notify: bool, links: Links = NO_LINKS, metrics: HandoffMetrics | None = None
) -> Worker[Lead]:
    """Hand-off's part in the one loop. `notify`: there is somebody to send notifications to, with `links`."""
    metrics = metrics or HandoffMetrics(CollectorRegistry())
    return Worker(
        service="handoff",
        topics=(Topic.CRM_EVENTS, Topic.LEAD_SCORES),
        handlers=HANDLERS,
        ignored=IGNORED,
        new=lambda lead: Lead(lead=lead),
        load=store.load,
        save=_saver(wall, notify=notify, links=links),
        keys=_keys,
        passes_on=_passes_on,
        committed=metrics.committed,
    )


HANDLERS: Final[Mapping[type[Message], Handler[Lead]]] = {
    events.LeadScored: decided(triggers.scored),
    events.ActivityLogged: decided(attempts.logged),
    events.DealChanged: decided(deals.changed),
    events.ContactsMerged: _merged,
    events.ContactErased: decided(ends.erased),
}
IGNORED: Final[frozenset[type[Message]]] = frozenset(
    {
        events.ContactChanged,  # what counts of these three comes with the score
        events.FormSubmitted,
        events.PageVisited,
    }
)
