"""What scoring reads and what each message does: see the table at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

from msgspec import structs
from sqlalchemy.ext.asyncio import AsyncConnection

from services.scoring import store
from services.scoring.domain import history
from services.scoring.domain import lead as leads
from services.scoring.domain.acts import engagement
from services.scoring.domain.history import Entry, Happened
from services.scoring.domain.lead import Lead
from services.scoring.domain.score import scorer_of
from services.scoring.metrics import Faded, Heard, Rescored, ScoringMetrics
from shared import events
from shared.events import (
    ActivityLogged,
    ContactChanged,
    ContactErased,
    ContactsMerged,
    FormSubmitted,
    LeadMessage,
    LeadScored,
    Message,
    PageVisited,
    Topic,
)
from shared.work import Changes, Decision, Facts, Handler, Worker

RECONCILED: Final = (ContactChanged, FormSubmitted, PageVisited, ContactsMerged, ContactErased)
LATE: Final = timedelta(hours=1)  # a webhook that comes after it is taken for missed; retries go on for a day


def _changed(lead: Lead, message: ContactChanged, facts: Facts[Lead]) -> Decision[Lead]:
    if lead.closed:
        return Decision(state=lead)
    after = leads.with_values(_seen(lead, message), message.values)
    followed = scorer_of(facts.agreement).followed
    if followed:
        after = leads.with_changes(after, message.id, message.values, followed)
    return _conclude(lead, after, message, facts)


def _form(lead: Lead, message: FormSubmitted, facts: Facts[Lead]) -> Decision[Lead]:
    if lead.closed:
        return Decision(state=lead)
    at = leads.seconds(message.at)
    after = leads.with_form(_seen(lead, message), message.id, at, message.form, message.page)
    return _conclude(lead, after, message, facts)


def _page(lead: Lead, message: PageVisited, facts: Facts[Lead]) -> Decision[Lead]:
    if lead.closed:
        return Decision(state=lead)
    after = leads.with_page(_seen(lead, message), message.id, leads.seconds(message.at), message.url)
    return _conclude(lead, after, message, facts)


def _activity(lead: Lead, message: ActivityLogged, facts: Facts[Lead]) -> Decision[Lead]:
    """What the lead did by an email or a meeting; what Sales does is no interest of it."""
    found = engagement(message)
    if lead.closed or found is None:
        return Decision(state=lead)
    heard = leads.seen(lead, min(found.at, found.seen_at))  # a meeting may be still to come
    return _conclude(lead, leads.with_engagement(heard, found), message, facts)


def _merged(lead: Lead, message: ContactsMerged, facts: Facts[Lead]) -> Decision[Lead]:
    """The survivor takes over what the others did; of them nothing stays but where they went."""
    after = lead if lead.closed else _seen(lead, message)
    for other in facts.others.values():
        after = leads.united(after, other)
    others = {key: leads.merged_into(other, facts.key) for key, other in facts.others.items()}
    return structs.replace(_conclude(lead, after, message, facts), others=others)


def _erased(lead: Lead, message: ContactErased, facts: Facts[Lead]) -> Decision[Lead]:
    """A deletion that the lead had outlived when it is heard of tells its score again: hand-off heard of it too."""
    if message.privacy:
        return Decision(state=leads.erased(lead))
    return _conclude(lead, leads.deleted(lead, leads.seconds(message.at)), message, facts)


def _passes_on(lead: Lead, message: Message) -> str:
    """Whoever became part of another is meant by its old key, too. But with a merge the CRM deletes the old record."""
    deleted = isinstance(message, ContactErased) and not message.privacy
    return "" if deleted else lead.merged_into


def _seen(lead: Lead, message: LeadMessage) -> Lead:
    return leads.seen(lead, leads.seconds(message.at))


def _conclude(before: Lead, after: Lead, message: LeadMessage, facts: Facts[Lead]) -> Decision[Lead]:
    said = message if message.lead == facts.key else structs.replace(message, lead=facts.key)
    scorer = scorer_of(facts.agreement)
    state, scored = scorer.conclude(before, after, said, facts.now)
    missed = _was_missed(before, after, message, facts)
    if scored is None:
        return Heard(state=state, missed=True) if missed else Decision(state=state)
    happened = history.happened(before, state, message, scorer.asked)
    return Heard(state=state, messages=(scored,), happened=happened, missed=missed)


def _was_missed(before: Lead, after: Lead, message: LeadMessage, facts: Facts[Lead]) -> bool:
    """Whether a reconcile told something new that a webhook should have told by now."""
    if not isinstance(message, RECONCILED) or not message.reconciled or message.at > facts.now - LATE:
        return False
    if isinstance(message, ContactsMerged):
        return any(not one.closed and one.last_seen is not None for one in facts.others.values())
    return _known(before) != _known(after)


def _known(lead: Lead) -> tuple[object, ...]:
    """What webhooks tell of a lead, whatever messages told it. That one is gone of whom nobody heard is no news."""
    acts = [(act.at, act.form, act.page) for act in (*lead.forms, *lead.pages)]
    return lead.properties, acts, lead.gone and lead.last_seen is not None


def rejudged(lead: Lead, facts: Facts[Lead]) -> Rescored:
    """A stored lead by the agreement in force, which may be another than the one that judged it last."""
    state, scored = scorer_of(facts.agreement).rejudge(lead, facts.key, facts.now)
    return Rescored(state=state, messages=(scored,) if scored else ())


def faded(lead: Lead, facts: Facts[Lead]) -> Faded:
    """A lead whose level or stage falls by waiting alone, at its time or after it."""
    state, scored = scorer_of(facts.agreement).fade(lead, facts.key, facts.now)
    return Faded(state=state, messages=(scored,) if scored else ())


def _keys(message: Message) -> Sequence[str]:
    if isinstance(message, ContactsMerged):
        return tuple(dict.fromkeys((message.lead, *message.merged)))
    return (message.key,)


def _entries(changes: Changes[Lead]) -> list[tuple[str, Entry]]:
    """What the history gets, in the order of the decisions."""
    return [
        (message.lead, history.entry(message, _happened(decision, message)))
        for _, decision in changes.decisions
        for message in decision.messages
        if isinstance(message, LeadScored)
    ]


def _happened(decision: Decision[Lead], scored: LeadScored) -> Happened:
    happened = decision.happened if isinstance(decision, Heard) else None
    return happened or history.without_a_fact(scored)


def worker(metrics: ScoringMetrics) -> Worker[Lead]:
    """scoring's part in the one loop."""

    async def save(conn: AsyncConnection, changes: Changes[Lead]) -> None:
        scores = {
            message.lead: message
            for _, decision in changes.decisions
            for message in decision.messages
            if isinstance(message, LeadScored)
        }
        await store.save(conn, changes.states, scores, changes.now)
        await store.keep_history(conn, _entries(changes), changes.before, changes.states)

    return Worker(
        service="scoring",
        topics=(Topic.CRM_EVENTS,),
        handlers=HANDLERS,
        ignored=IGNORED,
        new=lambda _: Lead(),
        load=store.load,
        save=save,
        committed=metrics.committed,
        keys=_keys,
        passes_on=_passes_on,
    )


HANDLERS: Final[Mapping[type[Message], Handler[Lead]]] = {
    events.ContactChanged: _changed,
    events.FormSubmitted: _form,
    events.PageVisited: _page,
    events.ActivityLogged: _activity,
    events.ContactsMerged: _merged,
    events.ContactErased: _erased,
}
IGNORED: Final[frozenset[type[Message]]] = frozenset(
    {
        events.DealChanged,
    }
)
