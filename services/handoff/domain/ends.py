"""Leads that become one, or none: merged and erased contacts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from msgspec.structs import replace

from services.handoff.domain import attempts, clocks, deals, in_crm, joining, passing
from services.handoff.domain.draft import Draft, HandoffDecision
from services.handoff.domain.joining import FURTHER, MERGED
from services.handoff.domain.lead import CHASED, MAX_HEARD, WITH_MARKETING, Lead
from shared.agreement import Agreement
from shared.events import ActivityLogged, ContactErased, ContactsMerged, LeadAssigned, LeadErased, State

ERASED: Final = "erased"
DELETED: Final = "deleted"


def merged(
    lead: Lead, message: ContactsMerged, others: Mapping[str, Lead], agreement: Agreement, now: datetime
) -> HandoffDecision:
    """End the merged-away leads; the survivor goes on with their lives and its own as one.

    The CRM tells the deletion of the old records too, before or after: one that was deleted is as it was then,
    and what was heard of it since is heard now.
    A privacy deletion of one of them, before or after, is one of the person that they all are.
    """
    back = is_back(lead, message.at)
    survivor = Draft(lead=begun_anew(lead) if back else lead, agreement=agreement, cause=message.id, actor=in_crm.ACTOR)
    until = min(message.at, now)
    parting = [passing.begin(other, agreement, message.id, now=now, until=until) for other in others.values()]
    lives = [draft.lead.left or draft.lead for draft in parting]
    heard = tuple(one for draft in parting for one in draft.lead.heard)
    survivor.change(heard=(*survivor.lead.heard, *heard)[-MAX_HEARD:])
    if any(one.gone == ERASED for one in (lead, *others.values())):
        _forget(survivor, ERASED, now, at=message.at)
    elif left := survivor.lead.left:  # it was deleted, and may be merged into a third in turn
        was = Draft(lead=left, agreement=agreement, cause=message.id)
        _inherit(was, lives, now, until)
        survivor.change(left=replace(was.lead, score=None))
    elif not survivor.lead.gone:
        _inherit(survivor, lives, now, until)
        hear(survivor, now)
        survivor.change(merged_at=max(message.at, survivor.lead.merged_at or message.at))
    for draft in parting:
        clocks.cancel_all(draft, now, MERGED)
        why = ERASED if draft.lead.gone == ERASED else MERGED
        draft.change(**_forgotten(why), merged_into=lead.lead)
    return HandoffDecision(
        state=survivor.lead,
        messages=(*(m for draft in parting for m in draft.messages), *survivor.messages),
        others={draft.lead.lead: draft.lead for draft in parting},
        agreement=agreement,
    )


def _inherit(survivor: Draft, others: list[Lead], now: datetime, until: datetime) -> None:
    """Join the lives with Sales, the furthest first; where there are none, what ended for one ended for all."""
    _take_deals(survivor, others)
    living = sorted((other for other in others if other.state in FURTHER), key=lambda one: -FURTHER.index(one.state))
    for other in living:
        if survivor.lead.state not in WITH_MARKETING:
            joining.join(survivor, other, until=until, now=now)
        if survivor.lead.state in WITH_MARKETING:
            _adopt(survivor, other, now)
    if survivor.lead.state in WITH_MARKETING:
        _rest(survivor, others)
    for other in others:
        if other not in living and (survivor.lead.version or other.version):
            joining.tell(survivor, other, now)
    joining.take_breaches(survivor, others)


def hear(draft: Draft, now: datetime) -> None:
    """Decide on what was told while the lead was deleted, as on what comes late: each counts at its own time."""
    if not draft.lead.heard:
        return
    heard = sorted(draft.lead.heard, key=lambda one: one.at)
    draft.change(heard=())
    for message in heard:
        if isinstance(message, ActivityLogged):
            draft.take(attempts.logged(draft.lead, message, draft.agreement, now))
        else:
            draft.take(deals.changed(draft.lead, message, draft.agreement, now))


def _take_deals(survivor: Draft, others: list[Lead]) -> None:
    """Of a deal that several have, its newest word; the survivor's of two at the same moment."""
    deals = dict(survivor.lead.deals)
    for other in others:
        deals |= {name: deal for name, deal in other.deals.items() if name not in deals or deal.at > deals[name].at}
    if deals != survivor.lead.deals:
        survivor.change(deals=deals)


def _rest(survivor: Draft, others: list[Lead]) -> None:
    """What ended for one of them ended for the survivor: forms from before are spent, the longest cool-down goes on."""
    all_of_them = (survivor.lead, *others)
    if score := survivor.lead.score:  # forms that any of them was judged by are known
        forms = dict.fromkeys(form for one in all_of_them if one.score for form in one.score.forms)
        survivor.change(score=replace(score, forms=tuple(forms)))
    survivor.change(
        ended_at=max((one.ended_at for one in all_of_them if one.ended_at), default=None),
        cool_down_until=max((one.cool_down_until for one in all_of_them if one.cool_down_until), default=None),
    )


def _adopt(survivor: Draft, other: Lead, now: datetime) -> None:
    """Go on with `other`'s episode as the survivor's next; each clock stays due when it was.

    What was overdue there is overdue here: else nobody would owe it any longer.
    """
    joining.take_place(survivor, other)
    survivor.change(
        state=other.state,
        owners=other.owners,
        ready_at=other.ready_at,
        handed_off_at=other.handed_off_at,
        assigned_at=other.assigned_at,
        pause=other.pause,
        stood=other.stood,
        ended_at=None,
        cool_down_until=None,
        replied=other.replied,
        asked_at=other.asked_at,
        unfit=False,
        attempts=other.attempts,
        breaches=(),  # see take_breaches
        score=survivor.lead.score or (replace(other.score, version=0, counted_since=None) if other.score else None),
    )
    joining.tell(survivor, other, now)
    survivor.tell(LeadAssigned, at=now)
    for clock in other.clocks:
        clocks.adopt(survivor, clock)


def erased(lead: Lead, message: ContactErased, agreement: Agreement, now: datetime) -> HandoffDecision:
    """Forget the lead, on a deletion as on a privacy deletion; its row stays as a tombstone without a person.

    After a deletion the CRM may restore the contact: one that it tells of too late changes nothing. Where a merge
    into it alone tells of the restoring, what scores still say of before is past.
    """
    why = ERASED if message.privacy else DELETED
    restored = lead.score is not None and lead.score.seen_at is not None and lead.score.seen_at > message.at
    known = lead.gone_at is not None and message.at <= lead.gone_at  # a merge brought it back since, maybe
    if lead.gone == ERASED or (why == DELETED and (lead.gone or restored or known)):
        return HandoffDecision(state=lead)
    if why == DELETED and lead.merged_at and message.at < lead.merged_at:
        return HandoffDecision(state=replace(lead, gone_at=message.at))
    draft = Draft(lead=lead, agreement=agreement, cause=message.id)
    _forget(draft, why, now, at=message.at)
    return draft.decision()


def _forget(draft: Draft, why: str, now: datetime, *, at: datetime) -> None:
    lead = draft.lead
    clocks.cancel_all(draft, now, why)
    draft.change(**_spent(lead, now), **_forgotten(why), gone_at=at)
    if why == DELETED:
        draft.change(left=_left(lead))
    if not lead.gone:
        draft.tell(LeadErased, at=now)


def _left(lead: Lead) -> Lead:
    """Its life without the person: what people wrote and what is known of it stay behind."""
    return replace(lead, score=None, attempts=tuple(replace(attempt, note="") for attempt in lead.attempts))


def _spent(lead: Lead, now: datetime) -> dict[str, object]:
    """Who comes back is handed over again for what it asked, if Sales had not come to an end with that."""
    if lead.state in WITH_MARKETING:
        return {}
    return {"ended_at": None if lead.state in CHASED else now, "cool_down_until": None}


def is_back(lead: Lead, seen_at: datetime | None) -> bool:
    """Whether the CRM restored a lead that it had deleted: something happened to it since."""
    return lead.gone == DELETED and lead.gone_at is not None and not is_past(lead, seen_at)


def is_past(lead: Lead, seen_at: datetime | None) -> bool:
    """Whether this is from before the lead was last deleted: forgotten then, also of one that is back since.

    A merge brings it back without a score of its own, so that no version tells an old one from a newer one.
    """
    return lead.gone_at is not None and (seen_at is None or seen_at <= lead.gone_at)


def begun_anew(lead: Lead) -> Lead:
    """As if it had never been with Sales; its numbers go on, and so does a cool-down, and what is past stays so.

    What was heard since it was deleted is still to be heard.
    """
    return Lead(
        lead=lead.lead,
        version=lead.version,
        episode=lead.episode,
        ended_at=lead.ended_at,
        cool_down_until=lead.cool_down_until,
        gone_at=lead.gone_at,
        heard=tuple(one for one in lead.heard if not is_past(lead, one.at)),
    )


def _forgotten(why: str) -> dict[str, object]:
    return {
        "gone": why,
        "state": State.MARKETING,
        "score": None,
        "attempts": (),
        "breaches": (),
        "deals": {},
        "ready_at": None,
        "handed_off_at": None,
        "assigned_at": None,
        "accepted_at": None,
        "pause": None,
        "stood": (),
        "replied": False,
        "asked_at": None,
        "unfit": False,
        "left": None,
        "heard": (),
    }
