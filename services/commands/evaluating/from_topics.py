"""Past leads from the bus: who was handed off and what came of it, and the facts that were there before.

Memory holds what is known of the leads that were handed off; of the others only their keys.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from services.commands.evaluating.history import History, LeftOut, PastLead, Stage, settled
from services.commands.recorded import heard_at
from services.scoring.domain import lead as leads
from services.scoring.domain.acts import engagement
from services.scoring.domain.lead import Lead
from shared import events
from shared.bus import Bus
from shared.errors import Broken, Refused
from shared.events import (
    ActivityLogged,
    ContactChanged,
    ContactErased,
    ContactsMerged,
    DealWon,
    FormSubmitted,
    LeadHandedOff,
    LeadMessage,
    LeadQualified,
    Message,
    OpportunityOpened,
    PageVisited,
    Topic,
)

REACHES: Final[dict[Stage, tuple[type[Message], ...]]] = {
    Stage.SQL: (LeadQualified, OpportunityOpened, DealWon),
    Stage.OPPORTUNITY: (OpportunityOpened, DealWon),
    Stage.CUSTOMER: (DealWon,),
}
FACTS: Final = (ContactChanged, FormSubmitted, PageVisited, ActivityLogged)


@dataclass(kw_only=True)
class _Record:
    """What the topics say, as far as it matters here."""

    stage: Stage
    followed: frozenset[str]
    handed: dict[str, LeadHandedOff] = field(default_factory=dict)  # the first hand-off of each
    converted: dict[str, datetime] = field(default_factory=dict)
    scored: set[str] = field(default_factory=set)
    facts: dict[str, list[LeadMessage]] = field(default_factory=dict)
    merged: dict[str, str] = field(default_factory=dict)  # into whom
    merged_at: dict[str, datetime] = field(default_factory=dict)
    erased: set[str] = field(default_factory=set)  # the keys that were named, also after the end
    became: dict[str, str] = field(default_factory=dict)  # every merge, also after the end
    last: datetime | None = None

    def hear_handoff(self, message: LeadMessage) -> None:
        self.last = message.at if self.last is None else max(self.last, message.at)
        if isinstance(message, LeadHandedOff):
            known = self.handed.get(message.lead)
            if known is None or message.at < known.at:
                self.handed[message.lead] = message
        elif isinstance(message, REACHES[self.stage]):
            self.converted[message.lead] = min(message.at, self.converted.get(message.lead, message.at))

    def hear_merge(self, message: LeadMessage, until: datetime | None) -> None:
        if isinstance(message, ContactsMerged):
            others = [other for other in message.merged if other != message.lead]
            self.became |= dict.fromkeys(others, message.lead)
            if until is None or message.at <= until:
                self.merged |= dict.fromkeys(others, message.lead)
                self.merged_at |= dict.fromkeys(others, message.at)
        elif isinstance(message, ContactErased) and message.privacy:
            self.erased.add(message.lead)

    def hear_fact(self, message: LeadMessage, wanted: set[str]) -> None:
        if message.lead in wanted and isinstance(message, FACTS):
            self.facts.setdefault(message.lead, []).append(message)

    def survivor(self, lead: str) -> str:
        return _end(self.merged, lead)

    def forgotten(self) -> set[str]:
        """Everybody who was erased, under all keys that were or became theirs: a person is forgotten for good."""
        people = {_end(self.became, lead) for lead in self.erased}
        return people | {lead for lead in self.became if _end(self.became, lead) in people}


def _end(into: Mapping[str, str], lead: str) -> str:
    """Whom merges made of a lead, however many; an older version may have told a circle."""
    seen = {lead}
    while lead in into and into[lead] not in seen:
        lead = into[lead]
        seen.add(lead)
    return lead


async def read(
    bus: Bus,
    tenant: str,
    stage: Stage,
    window: timedelta,
    until: datetime | None,
    *,
    followed: frozenset[str] = frozenset(),
) -> History:
    """The history that the topics hold of a tenant ("": of all). `followed`: properties whose changes are acts.

    Raises Broken when nobody was handed off, Later when the bus is away. The record ends with what
    hand-off last told, or at `until`: its times are the system's own.
    """
    record, source = _Record(stage=stage, followed=followed), _Wanted(bus, tenant, until)
    async for message in source.messages(Topic.LEAD_HANDOFFS):
        record.hear_handoff(message)
    if record.last is None or not record.handed:
        raise Broken("no_history", "no lead was handed off yet, so nothing can be judged; try --csv with past leads")
    async for message in source.messages(Topic.LEAD_SCORES):
        record.scored.add(message.lead)
    async for message in source.all_messages(Topic.CRM_EVENTS):
        record.hear_merge(message, until)
    people = {record.survivor(lead) for lead in record.handed}
    wanted = people | {lead for lead in record.merged if record.survivor(lead) in people} | record.handed.keys()
    async for message in source.messages(Topic.CRM_EVENTS):
        record.hear_fact(message, wanted)
    return _history(record, window, until or record.last)


@dataclass(frozen=True)
class _Wanted:
    """What is read of a topic."""

    bus: Bus
    tenant: str
    until: datetime | None

    async def messages(self, topic: Topic) -> AsyncIterator[LeadMessage]:
        """What was before the end."""
        async for message in self.all_messages(topic):
            if self.until is None or message.at <= self.until:
                yield message

    async def all_messages(self, topic: Topic) -> AsyncIterator[LeadMessage]:
        """What is about leads. What cannot be read is in dead.letters anyway."""
        async for record in self.bus.scan(topic):
            try:
                message = events.decode(topic, record.value)
            except Refused:
                continue
            if not isinstance(message, LeadMessage) or self.tenant not in ("", message.tenant):
                continue
            yield message


def _history(record: _Record, window: timedelta, until: datetime) -> History:
    people: dict[str, list[str]] = {}
    for lead in {*record.handed, *record.merged, *record.converted}:
        people.setdefault(record.survivor(lead), []).append(lead)
    found, forgotten, unknown, erased = list[PastLead](), 0, 0, record.forgotten()
    for members in people.values():
        handed = [record.handed[lead] for lead in members if lead in record.handed]
        if not handed:
            continue
        if erased.intersection(members):
            forgotten += 1
            continue
        past = _past(record, min(handed, key=lambda one: (one.at, one.lead)), members)
        if past.known == Lead():
            unknown += 1
        else:
            found.append(past)
    others = {record.survivor(lead) for lead in record.scored} - {record.survivor(lead) for lead in record.handed}
    left_out = LeftOut(
        never_handed_off=len(others),
        converted_without_handoff=len(others & {record.survivor(lead) for lead in record.converted}),
        forgotten=forgotten,
        nothing_known=unknown,
    )
    return settled(found, source="the recorded events", window=window, until=until, left_out=left_out, late_values=True)


def _past(record: _Record, handed: LeadHandedOff, members: Iterable[str]) -> PastLead:
    """One person, under however many keys: what was known at the first hand-off, and what came of it."""
    facts = [fact for lead in members for fact in _known_of(record, lead, handed)]
    known, later = (as_of(facts, until, record.followed) for until in (handed.at, None))
    changed = {name for name, value in later.properties.items() if known.properties.get(name) != value and value.value}
    times = [record.converted[lead] for lead in members if lead in record.converted]
    return PastLead(
        key=handed.lead,
        at=handed.at,
        known=known,
        converted_at=min(times, default=None),
        converted=bool(times),
        changed=frozenset(name for name in changed if _text(known, name) != _text(later, name)),
        became_known=frozenset(name for name in changed if not _text(known, name)),
        recorded_grade=handed.grade,
    )


def _known_of(record: _Record, lead: str, handed: LeadHandedOff) -> list[LeadMessage]:
    """The facts of another contact belong to the lead only when the two were merged before it was handed off."""
    if lead != handed.lead:
        merged_at = [record.merged_at[one] for one in (lead, handed.lead) if one in record.merged_at]
        if not merged_at or max(merged_at) > handed.at:
            return []
    return record.facts.get(lead, [])


def _text(lead: Lead, name: str) -> str:
    value = lead.properties.get(name)
    return value.value if value else ""


def as_of(facts: Iterable[LeadMessage], until: datetime | None, followed: frozenset[str]) -> Lead:
    """What scoring knew of a lead at `until` (None: in the end), by the facts' own times.

    `followed` are the properties whose changes are acts. A meeting is known since it was heard of.
    """
    lead = Lead()
    for fact in facts:
        if until is not None and not isinstance(fact, ContactChanged) and heard_at(fact) > until:
            continue
        match fact:
            case ContactChanged():
                values = [value for value in fact.values if until is None or value.at <= until]
                lead = leads.with_changes(leads.with_values(lead, values), fact.id, values, followed)
            case FormSubmitted():
                lead = leads.with_form(lead, fact.id, leads.seconds(fact.at), fact.form, fact.page)
            case PageVisited():
                lead = leads.with_page(lead, fact.id, leads.seconds(fact.at), fact.url)
            case ActivityLogged():
                if found := engagement(fact):
                    lead = leads.with_engagement(lead, found)
    return lead
