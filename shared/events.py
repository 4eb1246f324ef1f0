"""Every message on every topic: frozen, typed, documented, versioned.

JSON objects, told apart by `type`; unknown fields are ignored, so a field may be added (with a
default) but never renamed, retyped or removed; a break in meaning is a new type. All times are
aware and in UTC. The key of a record is the lead (`{crm}:{account}:{contact}`), so that all there
is about one lead is in one partition, in order. Personal data is only in the fields marked
PERSONAL; nothing else may carry any.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import msgspec

from shared.errors import Refused


class Topic(StrEnum):
    """The topics, without the optional common prefix (LEADPACT_TOPIC_PREFIX)."""

    CRM_EVENTS = "crm.events"
    CRM_LOOKUPS = "crm.lookups"
    CRM_IMPORTS = "crm.imports"
    LEAD_SCORES = "lead.scores"
    LEAD_HANDOFFS = "lead.handoffs"
    DEAD_LETTERS = "dead.letters"


def identity(*parts: object) -> str:
    """The identity of a fact: 32 hex digits (128 bits of BLAKE2b) of what the fact says.

    HubSpot's `eventId` is not unique, so content is what makes two deliveries the same fact.
    """
    said = b""
    for part in parts:
        text = str(part).encode("utf-8", "surrogatepass")
        said += b"%d:%b" % (len(text), text)
    return hashlib.blake2b(said, digest_size=16).hexdigest()


def tenant_of(key: str) -> str:
    """The tenant of a lead: what stands before its last colon."""
    return key.rpartition(":")[0]


class State(StrEnum):
    """Where a lead stands between the two teams."""

    MARKETING = "marketing"
    HANDED_OFF = "handed_off"
    ACCEPTED = "accepted"
    WORKING = "working"
    QUALIFIED = "qualified"
    OPPORTUNITY = "opportunity"
    CUSTOMER = "customer"
    LOST = "lost"
    RETURNED = "returned"
    DISQUALIFIED = "disqualified"


class RecordType(StrEnum):
    """The kinds of CRM record that Leadpact reads."""

    CONTACT = "contact"
    COMPANY = "company"
    DEAL = "deal"
    CALL = "call"
    EMAIL = "email"
    MEETING = "meeting"
    COMMUNICATION = "communication"


class Channel(StrEnum):
    """How a contact attempt was made."""

    PHONE = "phone"
    EMAIL = "email"
    VIDEO = "video"
    MEETING = "meeting"
    SMS = "sms"
    WHATSAPP = "whatsapp"
    LINKEDIN = "linkedin"
    OTHER = "other"


class Direction(StrEnum):
    OUTBOUND = "outbound"
    INBOUND = "inbound"


class Outcome(StrEnum):
    """What came of a contact attempt (the CRM's disposition, in our words)."""

    CONNECTED = "connected"
    NO_ANSWER = "no_answer"
    VOICEMAIL = "voicemail"
    LIVE_MESSAGE = "live_message"
    BUSY = "busy"
    WRONG_NUMBER = "wrong_number"
    SENT = "sent"
    BOUNCED = "bounced"
    FAILED = "failed"
    REPLIED = "replied"
    BOOKED = "booked"
    HELD = "held"
    NO_SHOW = "no_show"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


class ClockKind(StrEnum):
    """What a clock waits for."""

    ACCEPT = "accept"  # Sales' answer to the hand-off: taken on, touched, or sent back
    FIRST_TOUCH = "first_touch"  # the first attempt after the hand-off
    NEXT_ATTEMPT = "next_attempt"  # the next step of the cadence
    REPLY_WAIT = "reply_wait"  # the lead's time to answer the last attempt before it goes back
    DECISION = "decision"  # Sales' word on the lead: qualified, returned, disqualified, or a deal


class Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag=True, gc=False):
    """What all messages have. `id` is derived from the content; `at` is when it happened.

    No message refers back to itself, so Python's search for circles can leave them out (`gc`).
    """

    id: str
    tenant: str  # {crm}:{account}, as hubspot:62515
    at: datetime

    @property
    def key(self) -> str:
        """What keeps order: records of equal key stay in order in one partition."""
        return self.id


class LeadMessage(Message, frozen=True, kw_only=True):
    """A message about one lead, `{tenant}:{contact}`."""

    lead: str

    @property
    def key(self) -> str:
        return self.lead


# --- crm.events: what the CRM and other doors say. Written by ingest. ---


class PropertyValue(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One property of a contact as it was set at `at`. PERSONAL: value. None or "" is cleared."""

    name: str
    value: str | None
    at: datetime


class ContactChanged(LeadMessage, frozen=True, kw_only=True):
    """A contact was created or some of its properties were set. Newest `at` wins, each for itself.

    `reconciled`: a reconcile told it, so what is news of it was missed by webhooks, or they are late.
    """

    values: tuple[PropertyValue, ...] = ()
    created: bool = False
    reconciled: bool = False


class FormSubmitted(LeadMessage, frozen=True, kw_only=True):
    """A visitor submitted a form; `form` is its name or id as the CRM tells it."""

    form: str
    page: str = ""
    reconciled: bool = False


class PageVisited(LeadMessage, frozen=True, kw_only=True):
    """A known contact saw a page; `url` whole, as the CRM tells it."""

    url: str
    reconciled: bool = False


class ActivityLogged(LeadMessage, frozen=True, kw_only=True):
    """A call, email, meeting or other communication with this contact, as the CRM has it now.

    Told again whenever the record changes: `activity` names the record, `seen_at` orders the versions.
    `at` is the time of the act, not of its logging. `by` is the CRM's owner id, "" when a machine did it.
    `sequence` is the CRM's id of the sequence that sent it in the name of `by`, "" when a person did.
    """

    activity: str  # {record}:{id}, as call:7001
    channel: Channel
    direction: Direction
    outcome: Outcome
    by: str = ""
    duration_s: float | None = None
    sequence: str = ""
    seen_at: datetime


class DealChanged(LeadMessage, frozen=True, kw_only=True):
    """A deal of this contact, as the CRM has it now. `at` is when it was last changed."""

    deal: str
    stage: str
    pipeline: str = ""
    amount: str | None = None
    currency: str | None = None  # of the amount, as USD; None: the CRM does not tell


class ContactsMerged(LeadMessage, frozen=True, kw_only=True):
    """`lead` now stands for itself and for `merged`, leads that are no more."""

    merged: tuple[str, ...]
    reconciled: bool = False


class ContactErased(LeadMessage, frozen=True, kw_only=True):
    """The contact was deleted; `privacy`: for good, and must be forgotten everywhere."""

    privacy: bool
    reconciled: bool = False


# --- crm.lookups: ingest's own to-do list: what has to be found out first. Written and read by ingest. ---


class RecordTouched(Message, frozen=True, kw_only=True):
    """A CRM record is new or changed and has to be looked up in the CRM."""

    record: RecordType
    record_id: str

    @property
    def key(self) -> str:
        return f"{self.tenant}:{self.record}:{self.record_id}"


class VisitorMessage(Message, frozen=True, kw_only=True):
    """A message about somebody whose contact in the CRM is still to be found out, `{tenant}:visitor:{digest}`."""

    visitor: str

    @property
    def key(self) -> str:
        return self.visitor


class VisitorSeen(VisitorMessage, frozen=True, kw_only=True):
    """A visitor submitted a form, or saw the page `url`. `act` is the identity of what they did, whoever they are."""

    act: str
    form: str = ""
    url: str = ""


class VisitorIdentified(VisitorMessage, frozen=True, kw_only=True):
    """A visitor is known by another key from `at` on, or is the contact with this email. PERSONAL: email.

    `asked` counts how often the CRM was asked in vain for the email.
    """

    known_as: str = ""
    email: str = ""
    asked: int = 0


class ContactReplaced(Message, frozen=True, kw_only=True):
    """Visitors known as the lead `former` are now known as `lead`; where that is empty they are forgotten."""

    former: str
    lead: str = ""

    @property
    def key(self) -> str:
        return self.former


# --- crm.imports: the same for what comes in bulk, so that nobody waits behind it. Written and read by ingest. ---


class ContactImported(Message, frozen=True, kw_only=True):
    """An import made a contact or set some of its properties: it has to be looked up in the CRM."""

    contact: str

    @property
    def key(self) -> str:
        return f"{self.tenant}:{RecordType.CONTACT}:{self.contact}"


class RecordQueued(Message, frozen=True, kw_only=True):
    """A record is to be looked up in the CRM when there is time. A company: each of its contacts then is.

    With `since` a reconcile found that it was changed: of a contact is told, too, what it did from then on,
    which webhooks may have missed.
    """

    record: RecordType
    record_id: str
    since: datetime | None = None

    @property
    def key(self) -> str:
        since = f":{self.since.isoformat()}" if self.since else ""
        return f"{self.tenant}:{self.record}:{self.record_id}{since}"


# --- lead.scores: what a lead is worth. Written by scoring. ---


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """One rule that gave or took points, in the agreement's words."""

    rule: str
    points: float
    cause: str = ""  # the id of the message that carried it, "" for a rule on properties


class ToFindOut(msgspec.Struct, frozen=True, kw_only=True):
    """A rule of fit of which it is not known whether it holds, and what knowing `properties` may change.

    `points` is what it would give or take (of a persona: above the best one that holds), `disqualify`
    the reason for which the lead would be none.
    """

    rule: str
    points: float
    properties: tuple[str, ...]
    disqualify: str = ""


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """A form and when it was submitted."""

    form: str
    at: datetime


FADED: Final = "faded"  # the cause of a score that fell by waiting alone


class LeadScored(LeadMessage, frozen=True, kw_only=True):
    """A lead's fit, interest and grade, whenever one of them changes, and why.

    `version` counts this lead's scores from 1 without holes, since `counted_since`: a scoring that was
    emptied and rebuilt counts anew, and the later count is the newer one. `forms` are the latest
    submissions, oldest first, so that hand-off judges a bottom-of-funnel conversion together with the fit.
    `profile` holds the properties that routing and the information for Sales need. `set_at` is when
    those of it were set that say where the lead stands (`follow_up.in_the_crm`), `seen_at` when the
    newest fact happened that it knows of. `to_find_out` is what of fit is not known, the most points
    first. PERSONAL: profile.
    """

    version: int
    fit: float
    interest: float
    fit_grade: str
    interest_level: str
    grade: str  # as A1
    journey: str  # awareness, consideration, decision
    disqualified: str = ""  # the reason, "" when not
    fit_reasons: tuple[Reason, ...] = ()
    interest_reasons: tuple[Reason, ...] = ()
    forms: tuple[Submission, ...] = ()
    profile: dict[str, str] = {}
    set_at: dict[str, datetime] = {}
    seen_at: datetime | None = None
    agreement: str  # the version it was judged by
    cause: str  # the id of the message that changed it; of a re-score the agreement's version; FADED
    former_agreement: str = ""  # by what the lead was last judged before, when that was another version
    counted_since: datetime | None = None  # of the lead's first score; None: not known
    to_find_out: tuple[ToFindOut, ...] = ()

    @property
    def is_rescore(self) -> bool:
        """Whether the agreement alone changed, and the lead did nothing."""
        return self.cause == self.agreement

    @property
    def is_fading(self) -> bool:
        """Whether time alone changed it: the lead did nothing, and its interest fell."""
        return self.cause == FADED

    def is_newer_than(self, version: int, counted_since: datetime | None) -> bool:
        """Whether it comes after that score of the same lead. One that does not know its count goes by the version."""
        if self.counted_since is None or self.counted_since == counted_since:
            return self.version > version
        return counted_since is None or self.counted_since > counted_since


# --- lead.handoffs: the life of a lead between the two teams. Written by handoff. ---


class HandoffMessage(LeadMessage, frozen=True, kw_only=True):
    """What all hand-off messages have.

    `version` is the lead's own number, from 1 without holes; `episode` counts its hand-offs.
    `cause` is the id of the message or command behind it, `actor` who acted: system, crm (somebody there),
    crm:{owner}, lead, or a person.
    """

    version: int
    episode: int
    agreement: str
    cause: str
    actor: str = "system"
    team: str = ""
    owner: str = ""
    priority: str = ""


class LeadHandedOff(HandoffMessage, frozen=True, kw_only=True):
    """Marketing handed the lead to Sales. PERSONAL: information."""

    trigger: str
    grade: str
    ready_at: datetime  # when the lead's own act or score made it ready
    delay_working_s: float | None = None  # the system's delay, `ready_at` to `at`, in the owner's working time
    reasons: tuple[Reason, ...] = ()
    information: dict[str, str] = {}
    former_agreement: str = ""  # the lead did nothing: it became ready when another agreement followed this one


class LeadAssigned(HandoffMessage, frozen=True, kw_only=True):
    """The lead has a (new) owner. `reason`: why it changed hands, "" at the hand-off itself."""

    former_owner: str = ""
    former_team: str = ""
    reason: str = ""


class PriorityRaised(HandoffMessage, frozen=True, kw_only=True):
    """While Sales has the lead, an act of its own made a trigger hold that goes before the one of its hand-off."""

    former_priority: str
    trigger: str


class LeadAskedAgain(HandoffMessage, frozen=True, kw_only=True):
    """In the wait for its reply the lead made a trigger hold once more: the wait ends, an attempt is owed."""

    trigger: str


class LeadAccepted(HandoffMessage, frozen=True, kw_only=True):
    """Sales took the lead on."""


class LeadRejected(HandoffMessage, frozen=True, kw_only=True):
    """Sales sent it back before any contact: not what was agreed."""

    reason: str


class AttemptRecorded(HandoffMessage, frozen=True, kw_only=True):
    """A contact attempt that counts; `number` in this episode from 1. `at` is the time of the act.

    `by` made it, the owner or a colleague. The first one of an episode also tells how long it took,
    from the assignment (the person's part) and, in working time, from the lead's own act.
    """

    activity: str
    number: int
    channel: Channel
    outcome: Outcome
    duration_s: float | None = None
    by: str = ""
    since_assigned_s: float | None = None
    since_assigned_working_s: float | None = None
    since_ready_working_s: float | None = None


class AttemptCorrected(HandoffMessage, frozen=True, kw_only=True):
    """The CRM changed its mind about an attempt that was counted: same attempt, another outcome."""

    activity: str
    number: int
    channel: Channel
    outcome: Outcome
    former_outcome: Outcome


class LeadReplied(HandoffMessage, frozen=True, kw_only=True):
    """The lead itself answered: the chase stops, the clocks that waited for us are cancelled."""

    activity: str
    channel: Channel


class ClockMessage(HandoffMessage, frozen=True, kw_only=True):
    """`clock_id` is unique for ever; `at` is when it happened by the rule, not when it was noticed."""

    clock_id: str
    clock: ClockKind
    due_at: datetime


class ClockStarted(ClockMessage, frozen=True, kw_only=True):
    """A clock runs from `at` to `due_at`."""


class ClockWarned(ClockMessage, frozen=True, kw_only=True):
    """The clock has used up `share` of its time."""

    share: float


class ClockPaused(ClockMessage, frozen=True, kw_only=True):
    """The clock stands still, with the reason, until ClockResumed; `until`: by itself at that time."""

    reason: str
    until: datetime | None = None


class ClockResumed(ClockMessage, frozen=True, kw_only=True):
    """The clock runs again, now to `due_at`."""


class ClockMoved(ClockMessage, frozen=True, kw_only=True):
    """The clock runs to another `due_at`: its priority, team, owner, calendar or agreement changed (`reason`)."""

    former_due_at: datetime
    reason: str


class ClockMet(ClockMessage, frozen=True, kw_only=True):
    """Ended: what it waited for happened at `at`, in time. For REPLY_WAIT: the time was given.

    `took_working_s` is all the working time from its start on, pauses too.
    """

    took_s: float
    took_working_s: float = 0.0


class ClockBreached(ClockMessage, frozen=True, kw_only=True):
    """Ended: `due_at` passed. What it waited for is overdue until ClockSettled.

    `told_as`: the clock of a lead that was merged into this one; the breach was told under it, and counts there.
    """

    told_as: str = ""


class ClockCancelled(ClockMessage, frozen=True, kw_only=True):
    """Ended: no longer asked for, with the reason."""

    reason: str


class ClockSettled(ClockMessage, frozen=True, kw_only=True):
    """After a breach: the thing was done late (`reason` touched) or is no longer asked for."""

    reason: str
    late_s: float
    late_working_s: float = 0.0


class ClockCorrected(ClockMessage, frozen=True, kw_only=True):
    """After a breach, settled or not: it was met at `at` after all, as was logged late. The breach is taken back."""

    activity: str
    took_s: float
    took_working_s: float = 0.0


class LeadEscalated(ClockMessage, frozen=True, kw_only=True):
    """A breach that nobody mended goes on to others: `step` of the agreement's escalation, from 1."""

    step: int
    to: tuple[str, ...] = ()


class LeadReturned(HandoffMessage, frozen=True, kw_only=True):
    """Back to Marketing: tried, and not now. `track` is the nurture track, "" for none."""

    reason: str
    track: str
    attempts: int
    cool_down_until: datetime | None = None


class NurtureStarted(HandoffMessage, frozen=True, kw_only=True):
    """The lead was enrolled in a nurture track."""

    track: str
    workflow: str


class LeadReadmitted(HandoffMessage, frozen=True, kw_only=True):
    """Back with Marketing: a newer score no longer gives the `reason` for which an earlier one disqualified it."""

    reason: str = ""


class LeadQualified(HandoffMessage, frozen=True, kw_only=True):
    """Sales says it is an SQL."""


class LeadDisqualified(HandoffMessage, frozen=True, kw_only=True):
    """Out for good, with the reason."""

    reason: str


class OpportunityOpened(HandoffMessage, frozen=True, kw_only=True):
    """A deal of this lead reached an opportunity stage, or is open again. `deal` "": the lead's own stage says so."""

    deal: str


class DealWon(HandoffMessage, frozen=True, kw_only=True):
    """The lead is a customer. `deal` "": the lead's own stage says so."""

    deal: str
    amount: str | None = None
    currency: str | None = None


class DealLost(HandoffMessage, frozen=True, kw_only=True):
    """The deal was lost."""

    deal: str


class LeadsMerged(HandoffMessage, frozen=True, kw_only=True):
    """The CRM made the lead `merged` part of this one, with what it was in its own `merged_episode`.

    What was told of that one counts there. `state` is what the lead has become by that; while Sales has it,
    `ready_at` is the earliest act of both, and `attempts` are those of both.
    """

    merged: str
    merged_episode: int
    state: State
    ready_at: datetime | None = None
    attempts: int = 0


class LeadErased(HandoffMessage, frozen=True, kw_only=True):
    """The lead was forgotten on the CRM's word. Restored after a deletion it begins anew, and its versions go on."""


# --- dead.letters: what could not be used, whole. Written by all. ---


class DeadLetter(Message, frozen=True, kw_only=True):
    """One record that could not be used, with the reason and the original bytes. PERSONAL: original."""

    service: str
    source: str  # the topic it was read from, or "webhooks/hubspot"
    reason: str  # a stable code
    detail: str  # for a person; no personal data
    original: bytes  # base64 in JSON
    original_key: str = ""

    @property
    def key(self) -> str:
        return self.id


CRM_MESSAGES: Final[tuple[type[Message], ...]] = (
    ContactChanged,
    FormSubmitted,
    PageVisited,
    ActivityLogged,
    DealChanged,
    ContactsMerged,
    ContactErased,
)
LOOKUP_MESSAGES: Final[tuple[type[Message], ...]] = (RecordTouched, VisitorSeen, VisitorIdentified, ContactReplaced)
IMPORT_MESSAGES: Final[tuple[type[Message], ...]] = (ContactImported, RecordQueued)
SCORE_MESSAGES: Final[tuple[type[Message], ...]] = (LeadScored,)
HANDOFF_MESSAGES: Final[tuple[type[Message], ...]] = (
    LeadHandedOff,
    LeadAssigned,
    PriorityRaised,
    LeadAskedAgain,
    LeadAccepted,
    LeadRejected,
    AttemptRecorded,
    AttemptCorrected,
    LeadReplied,
    ClockStarted,
    ClockWarned,
    ClockPaused,
    ClockResumed,
    ClockMoved,
    ClockMet,
    ClockBreached,
    ClockCancelled,
    ClockSettled,
    ClockCorrected,
    LeadEscalated,
    LeadReturned,
    NurtureStarted,
    LeadReadmitted,
    LeadQualified,
    LeadDisqualified,
    OpportunityOpened,
    DealWon,
    DealLost,
    LeadsMerged,
    LeadErased,
)
DEAD_MESSAGES: Final[tuple[type[Message], ...]] = (DeadLetter,)

MESSAGES: Final[dict[Topic, tuple[type[Message], ...]]] = {
    Topic.CRM_EVENTS: CRM_MESSAGES,
    Topic.CRM_LOOKUPS: LOOKUP_MESSAGES,
    Topic.CRM_IMPORTS: IMPORT_MESSAGES,
    Topic.LEAD_SCORES: SCORE_MESSAGES,
    Topic.LEAD_HANDOFFS: HANDOFF_MESSAGES,
    Topic.DEAD_LETTERS: DEAD_MESSAGES,
}
TOPIC_OF: Final[dict[type[Message], Topic]] = {
    message: topic for topic, messages in MESSAGES.items() for message in messages
}

_encoder = msgspec.json.Encoder()


def _union(types: Sequence[type[Message]]) -> Any:
    union: Any = types[0]
    for message in types[1:]:
        union = union | message
    return union


_decoders: Final[dict[str, msgspec.json.Decoder[Any]]] = {
    topic: msgspec.json.Decoder(_union(types)) for topic, types in MESSAGES.items()
}


def encode(message: Message) -> bytes:
    """The message as JSON, as it stands on its topic."""
    return _encoder.encode(message)


def decode(topic: str, value: bytes) -> Message:
    """The message in a record of `topic` (without prefix).

    Raises Refused (`undecodable`) for bytes that are no message of that topic, among them a type
    that this version does not know: it waits in dead.letters until a newer one replays it.
    """
    try:
        message: Message = _decoders[topic].decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        # msgspec's messages name the path and the expected type, never the value.
        raise Refused("undecodable", f"not a message of {topic}: {_safe(error)}") from error
    if message.at.tzinfo is None:
        raise Refused("undecodable", f"not a message of {topic}: a time without a zone in `at`")
    return message


def _safe(error: Exception) -> str:
    return str(error) if isinstance(error, msgspec.ValidationError) else type(error).__name__
