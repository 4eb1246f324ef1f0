"""The checker: what the simulated CRM's ledger says, against what Leadpact made of it.

Each function returns the differences in words, so that a test asserts that the list is empty.
What was acknowledged must have its effect, once; what failed or is unknown may have it; nothing else may be there.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from services.scoring import store as scoring_store
from shared import events
from shared.bus import Bus
from shared.crm.simulator.ledger import VOLATILE, Account, Answer, Event, Ledger
from shared.events import (
    ActivityLogged,
    AttemptRecorded,
    ClockBreached,
    ClockCancelled,
    ClockCorrected,
    ClockMessage,
    ClockMet,
    ClockMoved,
    ClockResumed,
    ClockSettled,
    ClockStarted,
    ClockWarned,
    ContactChanged,
    DeadLetter,
    DealChanged,
    DealLost,
    DealWon,
    FormSubmitted,
    HandoffMessage,
    LeadDisqualified,
    LeadErased,
    LeadEscalated,
    LeadHandedOff,
    LeadQualified,
    LeadRejected,
    LeadReplied,
    LeadReturned,
    LeadScored,
    Message,
    OpportunityOpened,
    PageVisited,
    RecordTouched,
    Topic,
)

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

Lead = str
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
GRACE: Final = timedelta(seconds=30)  # a killed service may be so late that the lead went back before it heard
BOTTOM_FORMS: Final = ("demo-request", "assessment", "consultation")
CRM_OWN: Final = frozenset({"createdate", "lastmodifieddate", "hs_createdate", "hs_lastmodifieddate", "hs_object_id"})
ENGAGEMENTS: Final = {"0-48": "call", "0-49": "email", "0-47": "meeting", "0-18": "communication"}
SURE_ATTEMPTS: Final = ("call", "email", "communication")  # a booked meeting may count, too
CLOSED_BY: Final = (
    LeadReturned, LeadRejected, LeadDisqualified, LeadQualified, LeadErased, LeadReplied, OpportunityOpened, DealWon,
    DealLost,
)  # fmt: skip
OUR_SOURCE: Final = "INTEGRATION"
MOST_SHOWN: Final = 20


def to_ms(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(milliseconds=1)


# --- both sides, as they are compared ---


@dataclass
class Seen:
    """Every distinct message on the topics, in the order of the topics."""

    crm: list[Message] = field(default_factory=list)
    scores: list[LeadScored] = field(default_factory=list)
    handoffs: list[HandoffMessage] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)

    def add(self, message: Message) -> None:
        match message:
            case LeadScored():
                self.scores.append(message)
            case HandoffMessage():
                self.handoffs.append(message)
            case DeadLetter():
                self.dead.append(message)
            case _:
                self.crm.append(message)

    def of(self, kind: type[Any]) -> list[Any]:
        """The messages of one type."""
        return [m for m in (*self.crm, *self.scores, *self.handoffs, *self.dead) if isinstance(m, kind)]


async def read_topics(bus: Bus) -> Seen:
    """All that is on the topics, each message once however often it was published."""
    seen, known = Seen(), set[str]()
    for topic in Topic:
        async for record in bus.scan(topic):
            message = events.decode(topic, record.value)
            if message.id not in known:
                known.add(message.id)
                seen.add(message)
    return seen


@dataclass
class Truth:
    """What the ledger says, put in the order of the questions."""

    account: Account
    portal: int

    def lead(self, contact: int) -> Lead:
        return f"hubspot:{self.portal}:{contact}"

    @cached_property
    def acknowledged(self) -> list[Event]:
        return list(self.account.events(Answer.OK))

    @cached_property
    def contacts(self) -> set[int]:
        return {f["id"] for f in self.account.of("created") if f["type"] == "contact"}

    @cached_property
    def told_contacts(self) -> set[int]:
        """Contacts whose creation was acknowledged: their properties had to be fetched."""
        return {e["objectId"] for e in self.acknowledged if e["subscriptionType"] == "contact.creation"}

    @cached_property
    def histories(self) -> dict[tuple[Lead, str], dict[int, str]]:
        """For each property of each lead: what it was set to, by time in ms."""
        histories: dict[tuple[Lead, str], dict[int, str]] = defaultdict(dict)
        for fact in self.account.of("property"):
            if fact["type"] == "contact":
                histories[self.lead(fact["id"]), fact["name"]][fact["at"]] = fact["value"]
            elif fact["type"] == "company":  # what is known of a company counts from when it was the contact's
                for lead, since in self.employed.get(str(fact["id"]), ()):
                    histories[lead, f"company.{fact['name']}"][max(fact["at"], since)] = fact["value"]
        return histories

    @cached_property
    def employed(self) -> dict[str, list[tuple[Lead, int]]]:
        """For each company who is with it, and since when; a simulated contact changes it never."""
        employed: dict[str, list[tuple[Lead, int]]] = defaultdict(list)
        for fact in self.account.of("property"):
            if fact["name"] == "associatedcompanyid":
                employed[fact["value"]].append((self.lead(fact["id"]), fact["at"]))
        return employed

    @cached_property
    def told_values(self) -> dict[tuple[Lead, str], set[int]]:
        """The times of the changes that were acknowledged one by one."""
        told: dict[tuple[Lead, str], set[int]] = defaultdict(set)
        for event in self.acknowledged:
            if event["subscriptionType"] == "contact.propertyChange" and event["changeSource"] != OUR_SOURCE:
                told[self.lead(event["objectId"]), event["propertyName"]].add(event["occurredAt"])
        return told

    def visits(self, kind: str) -> set[tuple[Lead, str, int]]:
        """Forms (`form`) or pages (`page`) of the leads, with their times."""
        name = {"form": "form", "page": "url"}[kind]
        return {(self.lead(f["contact"]), f[name], f["at"]) for f in self.account.of(kind)}

    @cached_property
    def associated(self) -> set[tuple[str, Lead]]:
        """Records as call:7001 with their leads."""
        return {(f"{f['type']}:{f['id']}", self.lead(f["contact"])) for f in self.account.of("associated")}

    @cached_property
    def told_records(self) -> set[str]:
        """Engagements and deals of which at least one event that names them first was acknowledged."""
        told = set[str]()
        for event in self.acknowledged:
            kind = event["subscriptionType"]
            object_type = event.get("objectTypeId") or event.get("fromObjectTypeId", "")
            number = event.get("objectId") or event.get("fromObjectId")
            if kind.startswith("object.") and object_type in ENGAGEMENTS:
                told.add(f"{ENGAGEMENTS[object_type]}:{number}")
            elif kind.startswith("deal."):
                told.add(f"deal:{number}")
        return told

    @cached_property
    def activities(self) -> dict[tuple[str, Lead], Event]:
        return {(f["activity"], self.lead(f["contact"])): f for f in self.account.of("activity")}

    @cached_property
    def stages(self) -> dict[str, dict[int, str]]:
        """For each deal its stages, by time in ms."""
        stages: dict[str, dict[int, str]] = defaultdict(dict)
        for fact in self.account.of("property"):
            if fact["type"] == "deal" and fact["name"] == "dealstage":
                stages[str(fact["id"])][fact["at"]] = fact["value"]
        return stages


# --- crm.events ---


def lost(truth: Truth, seen: Seen) -> Iterator[str]:
    """Acknowledged, and nowhere on crm.events."""
    values = _values(seen)
    created = {m.lead for m in seen.of(ContactChanged) if m.created}
    for contact in sorted(truth.told_contacts):
        if truth.lead(contact) not in created:
            yield f"lost: the creation of {truth.lead(contact)}"
    for (lead, name), moments in truth.told_values.items():
        for at in moments:
            if (lead, name, truth.histories[lead, name][at], at) not in values:
                yield f"lost: {name} of {lead}, set at {at}"
    yield from _lost_in_fetching(truth, values)
    yield from _lost_visits(truth, seen)
    yield from _lost_records(truth, seen)


def _lost_in_fetching(truth: Truth, values: set[tuple[Lead, str, str, int]]) -> Iterator[str]:
    """A property that is fetched for one contact is fetched for all."""
    known = {(lead, name) for lead, name, _, _ in values}
    silent = _told_by_fetching_only(truth) & {name for _, name in known}
    for contact in sorted(truth.told_contacts):
        for name in sorted(silent):
            if (truth.lead(contact), name) in truth.histories and (truth.lead(contact), name) not in known:
                yield f"lost: {name} of {truth.lead(contact)} was never fetched"


def _told_by_fetching_only(truth: Truth) -> set[str]:
    return {name for _, name in truth.histories} - {name for _, name in truth.told_values}


def _lost_visits(truth: Truth, seen: Seen) -> Iterator[str]:
    for kind, name, told in (
        ("form", "recent_conversion_event_name", _forms(seen)),
        ("page", "hs_analytics_last_url", _pages(seen)),
    ):
        for lead, what, at in sorted(truth.visits(kind)):
            if at in truth.told_values.get((lead, name), ()) and (lead, what, at) not in told:
                yield f"lost: the {kind} {what} of {lead} at {at}"


def _lost_records(truth: Truth, seen: Seen) -> Iterator[str]:
    logged = {(m.activity, m.lead) for m in seen.of(ActivityLogged)}
    logged |= {(f"deal:{_id_of(m.deal)}", m.lead) for m in seen.of(DealChanged)}
    for record, lead in sorted(truth.associated):
        if record in truth.told_records and (record, lead) not in logged:
            yield f"lost: {record} of {lead}"


def invented(truth: Truth, seen: Seen) -> Iterator[str]:
    """On crm.events, and never so in the CRM."""
    for lead, name, value, at in _values(seen):
        if name not in CRM_OWN and truth.histories.get((lead, name), {}).get(at) != value:
            yield f"invented: {name} of {lead} at {at}"
    for kind, told in (("form", _forms(seen)), ("page", _pages(seen))):
        for lead, what, at in told - truth.visits(kind):
            yield f"invented: the {kind} {what} of {lead} at {at}"
    for message in seen.crm:
        if (why := _never_so(truth, message)) is not None:
            yield f"invented: {type(message).__name__} {message.key}: {why}"


def _never_so(truth: Truth, message: Message) -> str | None:
    match message:
        case ContactChanged() if int(message.lead.rpartition(":")[2]) not in truth.contacts:
            return "no such contact"
        case RecordTouched() if message.record == "contact" and int(message.record_id) not in truth.contacts:
            return "no such contact"
        case ActivityLogged() if (message.activity, message.lead) not in truth.associated:
            return f"{message.activity} is not this lead's"
        case ActivityLogged():
            return _told_wrongly(truth.activities.get((message.activity, message.lead)), message)
        case DealChanged() if (f"deal:{_id_of(message.deal)}", message.lead) not in truth.associated:
            return f"deal {message.deal} is not this lead's"
        case DealChanged() if message.stage not in truth.stages[_id_of(message.deal)].values():
            return f"deal {message.deal} never was in {message.stage}"
        case events.ContactsMerged() | events.ContactErased():
            return "the simulator never does that"
    return None


def _told_wrongly(fact: Event | None, message: ActivityLogged) -> str | None:
    if fact is None:
        return None  # made through the API, not by a rep
    said: dict[str, Any] = {
        "channel": str(message.channel),
        "direction": str(message.direction),
        "at": to_ms(message.at),
    }
    if fact["channel"] == "meeting":
        del said["at"]  # a meeting's time is when it is held
    elif fact["direction"] == "outbound":
        said["outcome"] = str(message.outcome)
    wrong = [f"{name} {value}, not {fact[name]}" for name, value in said.items() if fact[name] != value]
    return f"{message.activity} has {' and '.join(wrong)}" if wrong else None


def _values(seen: Seen) -> set[tuple[Lead, str, str, int]]:
    return {(m.lead, v.name, v.value or "", to_ms(v.at)) for m in seen.of(ContactChanged) for v in m.values}


def _forms(seen: Seen) -> set[tuple[Lead, str, int]]:
    return {(m.lead, m.form, to_ms(m.at)) for m in seen.of(FormSubmitted)}


def _pages(seen: Seen) -> set[tuple[Lead, str, int]]:
    return {(m.lead, m.url, to_ms(m.at)) for m in seen.of(PageVisited)}


def _id_of(deal: str) -> str:
    return deal.rpartition(":")[2]


# --- lead.scores ---


def properties_differ(truth: Truth, known: Mapping[Lead, Mapping[str, str]]) -> Iterator[str]:
    """Scoring's properties (lead → name → value) against the CRM's last word on each."""
    for lead, properties in known.items():
        for name, value in properties.items():
            allowed = _allowed(truth, lead, name)
            if allowed and value not in allowed:
                yield f"scoring has another {name} of {lead} than the CRM"
    names = {name for properties in known.values() for name in properties}
    for (lead, name), moments in truth.told_values.items():
        if moments and name in names and name not in known.get(lead, {}):
            yield f"scoring does not know {name} of {lead}"


def _allowed(truth: Truth, lead: Lead, name: str) -> set[str]:
    """The newest value that was acknowledged, and any newer one."""
    history = truth.histories.get((lead, name), {})
    if not history:
        return set()
    told = truth.told_values.get((lead, name)) or {min(history)}
    return {value for at, value in history.items() if at >= max(told)}


def forms_differ(truth: Truth, seen: Seen) -> Iterator[str]:
    """The forms that the last score of each lead carries, against the ledger."""
    told = truth.told_values
    submitted: dict[Lead, set[tuple[str, int]]] = defaultdict(set)
    for lead, form, at in truth.visits("form"):
        submitted[lead].add((form, at))
    for lead, score in _last_scores(seen).items():
        carried = {(form.form, to_ms(form.at)) for form in score.forms}
        all_forms = submitted[lead]
        due = {(f, at) for f, at in all_forms if at in told.get((lead, "recent_conversion_event_name"), ())}
        yield from (f"the score of {lead} lacks the form {form}" for form, _ in sorted(due - carried))
        yield from (f"the score of {lead} has the form {form} of its own" for form, _ in sorted(carried - all_forms))
        if len(carried) != len(score.forms):
            yield f"the score of {lead} has a form twice"


def _last_scores(seen: Seen) -> dict[Lead, LeadScored]:
    last: dict[Lead, LeadScored] = {}
    for score in seen.scores:
        if score.lead not in last or score.version > last[score.lead].version:
            last[score.lead] = score
    return last


# --- lead.handoffs ---


def versions_have_holes(messages: Iterable[LeadScored | HandoffMessage], topic: str) -> Iterator[str]:
    """Each lead's versions are 1..n, in the order of the topic."""
    versions: dict[Lead, list[int]] = defaultdict(list)
    for message in messages:
        versions[message.lead].append(message.version)
    for lead, found in versions.items():
        if found != list(range(1, len(found) + 1)):
            yield f"versions of {lead} on {topic}: {found[:MOST_SHOWN]}"


def handoffs_differ(seen: Seen) -> Iterator[str]:
    """Who asked for Sales and fits was handed off; every episode has one hand-off."""
    episodes: dict[Lead, list[int]] = defaultdict(list)
    for message in seen.of(LeadHandedOff):
        episodes[message.lead].append(message.episode)
    for lead, numbers in episodes.items():
        if numbers != list(range(1, len(numbers) + 1)):
            yield f"hand-offs of {lead}: episodes {numbers}"
    for lead, score in _last_scores(seen).items():
        if _asked_for_sales(score) and lead not in episodes:
            yield f"{lead} asked for Sales with fit {score.fit_grade} and was not handed off"


def _asked_for_sales(score: LeadScored) -> bool:
    forms = {form.form.rpartition(": ")[2].lower() for form in score.forms}
    return score.fit_grade != "D" and not score.disqualified and bool(forms & set(BOTTOM_FORMS))


def attempts_differ(truth: Truth, seen: Seen, grace: timedelta = GRACE) -> Iterator[str]:
    """Attempts counted once each, numbered without holes, and just those that reps made in an episode.

    One that was heard less than `grace` before a clock sent the lead back may have come too late.
    """
    began = {(m.lead, m.episode): m.at for m in seen.of(LeadHandedOff)}
    counted: dict[tuple[str, Lead], AttemptRecorded] = {}
    numbers: dict[tuple[Lead, int], list[int]] = defaultdict(list)
    for attempt in seen.of(AttemptRecorded):
        key = attempt.activity, attempt.lead
        if key in counted:
            yield f"{attempt.activity} of {attempt.lead} counted twice"
        counted[key] = attempt
        numbers[attempt.lead, attempt.episode].append(attempt.number)
        if (attempt.lead, attempt.episode) not in began or attempt.at < began[attempt.lead, attempt.episode]:
            yield f"{attempt.activity} of {attempt.lead} counted in an episode that had not begun"
        if _is_record(attempt.activity) and key not in truth.associated:
            yield f"the attempt {attempt.activity} of {attempt.lead} was never made"
        elif key in truth.activities and truth.activities[key]["direction"] != "outbound":
            yield f"{attempt.activity} of {attempt.lead} was the lead's own act and counted as an attempt"
    for (lead, episode), found in numbers.items():
        if sorted(found) != list(range(1, len(found) + 1)):
            yield f"attempts of {lead} in episode {episode}: numbers {found}"
    yield from _missed_attempts(truth, seen, counted.keys(), grace)


def _is_record(activity: str) -> bool:
    return activity.partition(":")[0] in {*ENGAGEMENTS.values()}


def _missed_attempts(truth: Truth, seen: Seen, counted: Iterable[tuple[str, Lead]], grace: timedelta) -> Iterator[str]:
    episodes, done = _episodes(seen), set(counted)
    heard: dict[tuple[str, Lead], tuple[int, ActivityLogged]] = {}
    for place, message in enumerate(seen.crm):
        if isinstance(message, ActivityLogged):
            heard.setdefault((message.activity, message.lead), (place, message))
    for (activity, lead), fact in truth.activities.items():
        if (activity, lead) in done or (activity, lead) not in heard or fact["direction"] != "outbound":
            continue
        sure = activity.partition(":")[0] in SURE_ATTEMPTS
        if sure and any(e.surely_has(*heard[activity, lead], grace) for e in episodes.get(lead, ())):
            yield f"the attempt {activity} of {lead} was not counted"


@dataclass
class Episode:
    """The time in which a lead is with Sales and is pursued."""

    began: datetime
    ended: datetime | None = None
    ended_by: int | None = None  # the place on crm.events of what ended it; None for a clock or a person

    def surely_has(self, place: int, activity: ActivityLogged, grace: timedelta) -> bool:
        """Made in it, and heard before what ended it: of one lead, crm.events keeps the order."""
        if activity.at < self.began:
            return False
        if self.ended is None:
            return True
        if self.ended_by is not None:
            return place < self.ended_by
        return max(activity.at, activity.seen_at) + grace < self.ended


def _episodes(seen: Seen) -> dict[Lead, list[Episode]]:
    places = {message.id: place for place, message in enumerate(seen.crm)}
    episodes: dict[Lead, list[Episode]] = defaultdict(list)
    for message in seen.handoffs:
        mine = episodes[message.lead]
        if isinstance(message, LeadHandedOff):
            mine.append(Episode(began=message.at))
        elif isinstance(message, CLOSED_BY) and mine and mine[-1].ended is None:
            mine[-1].ended, mine[-1].ended_by = message.at, places.get(message.cause)
    return episodes


def clocks_differ(seen: Seen) -> Iterator[str]:
    """Each clock starts once and ends at most once; only a breached one is settled, escalated or taken back, once."""
    lives: dict[str, list[ClockMessage]] = defaultdict(list)
    for message in seen.of(ClockMessage):
        lives[message.clock_id].append(message)
    for life in lives.values():
        told = Counter(type(message) for message in life)
        ends = told[ClockMet] + told[ClockBreached] + told[ClockCancelled]
        name = f"the {life[0].clock} clock of {life[0].lead}"
        if told[ClockStarted] != 1 or not isinstance(life[0], ClockStarted):
            yield f"{name} started {told[ClockStarted]} times, first heard of as {type(life[0]).__name__}"
        if ends > 1:
            yield f"{name} ended {ends} times"
        if told[ClockSettled] > told[ClockBreached]:
            yield f"{name} was settled without a breach"
        if told[ClockCorrected] > told[ClockBreached]:
            yield f"{name} was corrected without a breach"
        if told[LeadEscalated] and not told[ClockBreached]:
            yield f"{name} was escalated without a breach"
        if told[ClockBreached] and any(m.at < m.due_at for m in life if isinstance(m, ClockBreached)):
            yield f"{name} was breached before it was due"
        if ends and isinstance(life[-1], ClockWarned):
            yield f"{name} warned after its end"


# --- kpi ---

Tallies = dict[tuple[str, tuple[str, ...]], float]
ENDED: Final[dict[type[ClockMessage], str]] = {ClockMet: "met", ClockBreached: "breached", ClockCancelled: "excused"}


def recount(messages: Sequence[HandoffMessage]) -> Tallies:
    """What kpi should have counted of the distinct messages of lead.handoffs."""
    tallies: Counter[tuple[str, tuple[str, ...]]] = Counter()
    labels_of = _Labels()
    for message in messages:
        match message:
            case LeadHandedOff():
                tallies["leadpact_handoffs_total", (message.trigger, message.team)] += 1
            case AttemptRecorded():
                labels = message.team, str(message.channel), str(message.outcome)
                tallies["leadpact_contact_attempts_total", labels] += 1
            case LeadReturned():
                tallies["leadpact_returns_total", ()] += 1
            case LeadRejected():
                tallies["leadpact_rejections_total", ()] += 1
            case ClockMessage():
                for key, amount in labels_of.counts(message):
                    tallies[key] += amount
    return {key: float(amount) for key, amount in tallies.items() if amount}


class _Labels:
    """The labels of each clock as they are while it runs: it may move to another priority or team, until it ends."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, str, str]] = {}
        self._settled: set[str] = set()

    def counts(self, message: ClockMessage) -> Iterator[tuple[tuple[str, Any], int]]:
        own = (str(message.clock), message.team, message.priority)
        labels = self._known.setdefault(message.clock_id, own)
        opened, overdue = ("leadpact_clocks_open", labels), ("leadpact_clocks_overdue", labels)
        if isinstance(message, ClockStarted):
            yield opened, 1
        elif isinstance(message, ClockMoved | ClockResumed):
            yield opened, -1
            yield ("leadpact_clocks_open", own), 1
            self._known[message.clock_id] = own
        elif isinstance(message, ClockSettled):
            self._settled.add(message.clock_id)
            yield overdue, -1
        elif isinstance(message, ClockCorrected):
            yield ("leadpact_clocks_corrected_total", labels), 1
            if message.clock_id not in self._settled:
                yield overdue, -1
        elif type(message) in ENDED:
            yield ("leadpact_clocks_ended_total", (*labels, ENDED[type(message)])), 1
            yield opened, -1
            if isinstance(message, ClockBreached):
                yield overdue, 1


def tallies_differ(seen: Seen, kept: Tallies) -> Iterator[str]:
    """kpi's tallies against a recount. It may sum up rare reasons as another: only the sum over reasons counts."""
    expected = recount(seen.handoffs)
    found: Counter[tuple[str, tuple[str, ...]]] = Counter()
    for (metric, labels), value in kept.items():
        summed = metric in ("leadpact_returns_total", "leadpact_rejections_total")
        found[metric, () if summed else labels] += value  # type: ignore[assignment]
    metrics = {
        "leadpact_handoffs_total", "leadpact_contact_attempts_total", "leadpact_returns_total",
        "leadpact_rejections_total", "leadpact_clocks_ended_total", "leadpact_clocks_open", "leadpact_clocks_overdue",
        "leadpact_clocks_corrected_total",
    }  # fmt: skip
    for key in sorted(expected.keys() | {key for key in found if key[0] in metrics}):
        if expected.get(key, 0) != found.get(key, 0):
            yield f"{key[0]}{list(key[1])}: kpi has {found.get(key, 0):g}, a recount {expected.get(key, 0):g}"


# --- dead.letters ---


def dead_letters_differ(truth: Truth, seen: Seen) -> Iterator[str]:
    """The bad events that were acknowledged are all in dead.letters, and nothing but bad events is."""
    found = set[str]()
    for letter in seen.dead:
        if letter.source != "webhooks/hubspot":
            yield f"{letter.service} refused a record of {letter.source}: {letter.reason}: {letter.detail}"
        else:
            found.add(_plain(json.loads(letter.original)))
    due, sent = ({_plain(one) for one in truth.account.bad(*answers)} for answers in ((Answer.OK,), ()))
    yield from (f"no dead letter of the bad event {one[:80]}" for one in sorted(due - found))
    yield from (f"a dead letter of what was no bad event: {one[:80]}" for one in sorted(found - sent))


def _plain(element: Any) -> str:
    if isinstance(element, dict):
        element = {name: value for name, value in element.items() if name not in VOLATILE}
    return json.dumps(element, sort_keys=True)


# --- all of it ---


async def read_tallies(engine: AsyncEngine) -> Tallies:
    """kpi's tallies as they stand in its database."""
    async with engine.connect() as conn:
        rows = await conn.execute(sa.text("SELECT metric, labels, value FROM kpi.tallies"))
        return {(row.metric, tuple(json.loads(row.labels))): row.value for row in rows}


async def read_properties(engine: AsyncEngine) -> dict[Lead, dict[str, str]]:
    """What scoring holds each lead's properties to be."""
    async with engine.connect() as conn:
        rows = await conn.execute(sa.text("SELECT lead FROM scoring.leads WHERE state IS NOT NULL"))
        leads = await scoring_store.load(conn, [row.lead for row in rows.all()])
    return {
        lead: {name: value.value for name, value in known.properties.items() if name not in CRM_OWN}
        for lead, known in leads.items()
    }


def differences_in(
    truth: Truth, seen: Seen, known: Mapping[Lead, Mapping[str, str]], kept: Tallies, *, grace: timedelta = GRACE
) -> list[str]:
    """Everything that does not agree, in words; empty when all does."""
    return [
        *lost(truth, seen),
        *invented(truth, seen),
        *properties_differ(truth, known),
        *forms_differ(truth, seen),
        *versions_have_holes(seen.scores, "lead.scores"),
        *versions_have_holes(seen.handoffs, "lead.handoffs"),
        *handoffs_differ(seen),
        *attempts_differ(truth, seen, grace),
        *clocks_differ(seen),
        *tallies_differ(seen, kept),
        *dead_letters_differ(truth, seen),
    ]


async def differences(
    ledger: Path, *, bus: Bus, engine: AsyncEngine, portal: int, grace: timedelta = GRACE
) -> list[str]:
    """Compare the ledger at `ledger` with the topics and the databases. Call it when all is quiet."""
    truth = Truth(Ledger.read(ledger), portal)
    seen = await read_topics(bus)
    known = await read_properties(engine)
    return differences_in(truth, seen, known, await read_tallies(engine), grace=grace)
