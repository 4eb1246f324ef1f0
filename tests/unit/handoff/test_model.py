"""Whatever happens to leads, in whatever order: hand-off keeps its promises, by a model that shares no code with it.

The model hears what hand-off says and knows the agreement as plain minutes. It counts working time
by walking over the days, and says of each message whether it may come now and what it must hold.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from shared.agreement import Agreement
from shared.agreement.handoff import Handoff
from shared.errors import Refused
from shared.events import (
    AttemptRecorded,
    Channel,
    ClockBreached,
    ClockCancelled,
    ClockCorrected,
    ClockKind,
    ClockMessage,
    ClockMet,
    ClockMoved,
    ClockPaused,
    ClockResumed,
    ClockSettled,
    ClockStarted,
    ClockWarned,
    DealLost,
    DealWon,
    HandoffMessage,
    LeadAccepted,
    LeadAskedAgain,
    LeadAssigned,
    LeadDisqualified,
    LeadErased,
    LeadEscalated,
    LeadHandedOff,
    LeadQualified,
    LeadReadmitted,
    LeadRejected,
    LeadReplied,
    LeadReturned,
    LeadsMerged,
    OpportunityOpened,
    Outcome,
    PriorityRaised,
    State,
    Submission,
)
from tests.agreements import PLAIN, SHIPPED, with_follow_up, with_parts
from tests.unit.handoff.story import DEMO, Story

START = datetime(2026, 3, 5, 9, 0, tzinfo=UTC)  # a Thursday
MINUTE = timedelta(minutes=1)
ACCEPT, FIRST, NEXT = ClockKind.ACCEPT, ClockKind.FIRST_TOUCH, ClockKind.NEXT_ATTEMPT
WAIT, DECISION = ClockKind.REPLY_WAIT, ClockKind.DECISION
TOUCHABLE = (ACCEPT, FIRST, NEXT)
OWNERS = ("ana@example.test", "bea@example.test", "carl@example.test")
REPLIES = (Outcome.CONNECTED, Outcome.BOOKED)
COOL_DOWN = timedelta(days=2)
TRIGGERS = [trigger.name for trigger in SHIPPED.handoff.triggers]  # the first goes before the others

# --- what was agreed, in minutes ---


@dataclass(frozen=True, kw_only=True)
class Terms:
    """0: no such clock. `open`: from and until which hour on weekdays; None: always."""

    open: tuple[int, int] | None = None
    accept: int = 60
    silence: str = "nothing"
    urgent: int = 30
    first: int = 240
    cadence: tuple[int, ...] = (240, 600)  # after the first touch
    wait: int = 600
    decide: int = 3000
    shares: tuple[float, ...] = (0.5, 0.8)
    escalation: tuple[tuple[int, bool], ...] = ((120, False),)  # minutes after the breach; to a colleague?

    def gives(self, kind: ClockKind, n: int, priority: str, *, hurried: bool) -> int:
        first = self.urgent if priority == "urgent" else self.first
        own = self.cadence[n - 2] if kind is NEXT and n - 2 < len(self.cadence) else 0
        given = {ACCEPT: self.accept, FIRST: first, NEXT: own, WAIT: self.wait, DECISION: self.decide}[kind]
        return min(given or first, first) if hurried else given

    def after(self, at: datetime, minutes: float) -> datetime:
        """When so many open minutes have passed."""
        if self.open is None or not minutes:
            return at + minutes * MINUTE
        for start, end in self._openings(at):
            begin = max(at, start)
            if begin < end:
                if minutes <= (end - begin) / MINUTE:
                    return begin + minutes * MINUTE
                minutes -= (end - begin) / MINUTE
        raise AssertionError("there is always another day")

    def between(self, a: datetime, b: datetime) -> float:
        """The open minutes from `a` to `b`."""
        if self.open is None:
            return (b - a) / MINUTE
        total = 0.0
        for start, end in self._openings(a):
            if start >= b:
                return total
            total += max(0.0, (min(b, end) - max(a, start)) / MINUTE)
        return total

    def _openings(self, at: datetime) -> Iterator[tuple[datetime, datetime]]:
        day = at.replace(hour=0, minute=0, second=0, microsecond=0)
        assert self.open is not None
        while True:
            if day.weekday() < 5:
                yield day.replace(hour=self.open[0]), day.replace(hour=self.open[1])
            day += timedelta(days=1)


AGREED: Final = (
    Terms(),
    Terms(open=(8, 18), silence="return"),
    Terms(open=(8, 18), accept=30, urgent=60, first=480, silence="reassign", escalation=((0, False), (90, True))),
    Terms(open=(10, 16), silence="accept", cadence=(120,), decide=600, shares=(0.75,), escalation=()),
    Terms(accept=0, decide=0, cadence=(60, 60, 60), wait=300, shares=()),
)


def in_words(terms: Terms) -> Agreement:
    """The agreement that says so."""
    team = {"manager": "head@example.test", "members": dict.fromkeys(OWNERS, 1)}
    handoff = {"triggers": SHIPPED.handoff.triggers, "route": [{"to": "team:inbound"}], "teams": {"inbound": team}}
    hours = {"office": {"mon-fri": "{:02}:00-{:02}:00".format(*terms.open)}} if terms.open else {}
    steps = [
        {"at": f"breach + {after}m", "to": "manager"} | ({"reassign": "team"} if colleague else {})
        for after, colleague in terms.escalation
    ]
    return with_follow_up(
        with_parts(PLAIN, handoff=Handoff.model_validate(handoff)),
        calendars=hours,
        calendar="office" if terms.open else "always",
        accept_within={"default": f"{terms.accept}m"},
        if_not_accepted=terms.silence,
        first_touch={"urgent": f"{terms.urgent}m", "default": f"{terms.first}m"},
        cadence=[{"channel": "phone"}, *({"channel": "phone", "after": f"{after}m"} for after in terms.cadence)],
        wait_for_reply=f"{terms.wait}m",
        decide_within={"default": f"{terms.decide}m"},
        warn_at=[f"{share:.0%}" for share in terms.shares],
        escalation=steps,
        return_when=[{"attempts": "exhausted", "reason": "unreachable", "cool_down": "2d"}],
    )


AGREEMENTS: Final = tuple(map(in_words, AGREED))

# --- where a lead can go: written out, not read from the code ---

WITH_MARKETING = {State.MARKETING, State.RETURNED, State.LOST, State.DISQUALIFIED}
ENDS_OF_LIFE = {State.CUSTOMER, State.DISQUALIFIED}
RESTS = WITH_MARKETING - {State.DISQUALIFIED}
CHASED = {State.HANDED_OFF, State.ACCEPTED, State.WORKING}
WITH_SALES = {*CHASED, State.QUALIFIED, State.OPPORTUNITY}
FURTHER = (State.HANDED_OFF, State.ACCEPTED, State.WORKING, State.QUALIFIED, State.OPPORTUNITY, State.CUSTOMER)
MOVES: dict[type[HandoffMessage], tuple[set[State], State]] = {
    LeadHandedOff: ({State.MARKETING, State.RETURNED, State.LOST}, State.HANDED_OFF),
    LeadAccepted: ({State.HANDED_OFF}, State.ACCEPTED),
    AttemptRecorded: ({State.ACCEPTED, State.WORKING}, State.WORKING),
    LeadRejected: ({State.HANDED_OFF, State.ACCEPTED}, State.RETURNED),
    LeadReturned: (WITH_SALES, State.RETURNED),
    LeadQualified: ({State.ACCEPTED, State.WORKING, *RESTS}, State.QUALIFIED),
    LeadDisqualified: (WITH_SALES | WITH_MARKETING, State.DISQUALIFIED),
    LeadReadmitted: ({State.DISQUALIFIED}, State.MARKETING),
}
ALLOWED: dict[str, set[State]] = {
    "accept": {State.HANDED_OFF},
    "reject": {State.HANDED_OFF, State.ACCEPTED},
    "attempts": CHASED,
    "qualify": CHASED,
    "return": WITH_SALES,
    "disqualify": WITH_SALES,
    "pause": CHASED,
    "resume": CHASED,
    "reassign": WITH_SALES,
    "handoff": {State.MARKETING, State.RETURNED, State.LOST},
    "nurture": (set(State) - {State.CUSTOMER, State.DISQUALIFIED}),
}

# --- the model ---


@dataclass(kw_only=True)
class Running:
    """One clock as the model has it. `ended`: met, breached or cancelled; `open`: somebody still waits."""

    kind: ClockKind
    n: int
    started: datetime
    due: datetime
    given: int
    ended: str = ""
    open: bool = True
    corrected: bool = False
    was_breached: bool = False  # of a lead that is merged into this one
    stood: list[tuple[datetime, datetime]] = field(default_factory=list)
    paused: datetime | None = None
    until: datetime | None = None
    left: float = 0.0
    joined: bool = False  # it was the other's, before two whom Sales had were merged
    warnings: list[tuple[datetime, float]] = field(default_factory=list)
    steps: list[tuple[datetime, int]] = field(default_factory=list)

    @property
    def runs(self) -> bool:
        return self.open and not self.ended and self.paused is None


@dataclass(kw_only=True)
class Model:
    """One lead as it must be, by what was said of it."""

    state: State = State.MARKETING
    version: int = 0
    episode: int = 0
    owner: str = ""
    priority: str = ""
    trigger: str = ""
    ready: datetime | None = None
    handed_off: datetime | None = None
    accepted_at: datetime | None = None
    ended: datetime | None = None
    cool_down: datetime | None = None
    replied: bool = False
    asked: datetime | None = None  # its own last act, while it was followed up
    asking: datetime | None = None  # what the next score will tell of that
    known: set[datetime] = field(default_factory=set)  # the forms that a score has told of
    unfit: bool = False
    gone: bool = False
    deleted: datetime | None = None
    merged: bool = False  # away, into another
    waiting: list[tuple[datetime, str, str]] = field(default_factory=list)  # deals told since it was deleted
    wrote: list[datetime] = field(default_factory=list)  # the same for its own messages
    pause: tuple[datetime, datetime | None] | None = None
    pauses: list[tuple[datetime, datetime]] = field(default_factory=list)  # of this episode, those that are over
    touches: list[datetime] = field(default_factory=list)
    acts: set[str] = field(default_factory=set)
    deals: dict[str, dict[str, Any]] = field(default_factory=dict)
    clocks: dict[str, Running] = field(default_factory=dict)
    this_episode: set[str] = field(default_factory=set)
    hurried: set[int] = field(default_factory=set)  # the attempts that are due like a first touch
    set_by: str = ""  # the agreement that set the open clocks
    behind: bool = False  # it is another than the one that holds now
    must: dict[str, str] = field(default_factory=dict)  # how clocks have to end in this decision
    adopted: list[Running] = field(default_factory=list)
    becomes: State | None = None  # by a merge
    owed_anew: set[ClockKind] = field(default_factory=set)  # by the new owner
    just_breached: set[str] = field(default_factory=set)  # in this decision

    @property
    def touched_at(self) -> datetime | None:
        return max(self.touches, default=self.handed_off)

    @property
    def waits(self) -> bool:
        return self.asked is not None and max(self.touches, default=self.asked - MINUTE) < self.asked

    def has_asked(self, episode: int) -> None:
        if self.asking and self.state in CHASED and not self.replied and self.episode == episode:
            self.asks(self.asking)

    def asks(self, at: datetime) -> None:
        self.asked = max(at, self.asked or at)

    def open(self, *kinds: ClockKind) -> dict[str, Running]:
        return {key: clock for key, clock in self.clocks.items() if clock.open and (not kinds or clock.kind in kinds)}

    def hear(self, message: HandoffMessage, terms: Terms, now: datetime) -> None:
        """Check the next message, and follow it."""
        self.version += 1
        assert message.version == self.version, "versions have no holes"
        assert not self.gone or isinstance(message, LeadErased), "a lead that is gone is not spoken of"
        if type(message) in MOVES:
            before, after = MOVES[type(message)]
            assert self.state in before, f"{type(message).__name__} in {self.state}"
            self.state = after
        if isinstance(message, ClockMessage):
            self._clock(message, terms, now)
        else:
            HEARS.get(type(message), lambda *_: None)(self, message, terms)
        assert message.at <= now, "nothing is said of the future"
        told_by_the_crm = isinstance(message, OpportunityOpened | DealWon | DealLost)
        assert told_by_the_crm or not self.handed_off or message.at >= self.handed_off, "nothing precedes the hand-off"

    # --- the lead ---

    def handed(self, message: LeadHandedOff, terms: Terms) -> None:
        self.episode += 1
        assert message.episode == self.episode, "each hand-off is an episode of its own"
        assert not self.open(), "an episode begins with nothing left over"
        self.handed_off, self.ended, self.cool_down, self.unfit = message.at, None, None, False
        self.replied, self.touches, self.acts, self.priority = False, [], set(), message.priority
        self.asked, self.pauses, self.accepted_at = None, [], None
        self.owner, self.trigger, self.ready = message.owner, message.trigger, message.ready_at
        self.this_episode, self.hurried = set(), set()

    def assigned(self, message: LeadAssigned, terms: Terms) -> None:
        if not message.reason:
            return
        assert message.former_owner == self.owner != message.owner, "who already has it gets it not again"
        assert not self.open(*TOUCHABLE), "what the former owner owed ended with them"
        self.owner = message.owner
        self.set_anew(terms)
        self.behind = False

    def raised(self, message: PriorityRaised, terms: Terms) -> None:
        assert (message.former_priority, message.priority) == (self.priority, "urgent")
        self.priority, self.trigger = message.priority, message.trigger
        for clock in self.open(NEXT).values():
            if not clock.ended:
                self.hurried.add(clock.n)
        self.set_anew(terms)

    def asked_again(self, message: LeadAskedAgain, terms: Terms) -> None:
        assert self.asking
        self.asks(self.asking)
        assert self.open(WAIT), "only a wait for its reply is stopped by what it asks"

    def attempted(self, message: AttemptRecorded, terms: Terms) -> None:
        assert message.activity not in self.acts, "an activity counts once"
        self.touches.append(message.at)
        self.acts.add(message.activity)
        assert message.number == len(self.touches), "attempts are numbered from 1 without holes"
        self.touched(message.at, counted=True)

    def touched(self, at: datetime, *, counted: bool) -> None:
        """What has to become of the clocks that waited for it, and of those that had been given up on."""
        for key, clock in self.clocks.items():
            if clock.kind not in TOUCHABLE or key not in self.this_episode:
                continue
            in_time = clock.started <= at <= clock.due
            assert not (in_time and key in self.just_breached), "at the very due time it is in time"
            if clock.open and counted:
                assert clock.ended or clock.paused or at <= clock.due, "what was due before is told before"
                early = "settled" if clock.ended else "cancelled"
                done = "met" if not clock.ended else "corrected" if in_time else "settled"
                self.must[key] = early if at < clock.started else done
            elif not clock.open and clock.ended == "breached" and not clock.corrected and in_time:
                self.must[key] = "corrected"

    def answered(self, message: LeadReplied, terms: Terms) -> None:
        assert not self.replied
        self.replied = True

    def accepted(self, message: LeadAccepted, terms: Terms) -> None:
        if message.actor == "system":
            assert terms.silence == "accept"
            assert [clock.due for clock in self.open(ACCEPT).values()] == [message.at]
        self.accepted_at = message.at

    def joined(self, message: LeadsMerged, terms: Terms) -> None:
        assert message.state is self.becomes or self.becomes is None
        assert message.attempts == (len(self.touches) if message.state in FURTHER else 0)
        self.state, self.becomes = message.state, None

    def returned(self, message: LeadReturned, terms: Terms) -> None:
        if message.actor == "system":
            assert not self.replied, "nobody is returned by time while somebody talks to them"
            assert not self.waits, "nor who waits for an answer"
            assert message.reason in ("unreachable", "not_accepted")
        assert message.attempts == len(self.touches)
        self.ended, self.cool_down, self.pause = message.at, message.cool_down_until, None

    def rested(self, message: HandoffMessage, terms: Terms) -> None:
        if message.actor != "system":  # a score that disqualifies ends no episode
            self.ended, self.pause = message.at, None
        if isinstance(message, LeadDisqualified):
            self.unfit = message.actor == "system"
        else:
            self.cool_down = message.at + COOL_DOWN

    def readmitted(self, message: LeadReadmitted, terms: Terms) -> None:
        assert self.unfit is (message.actor == "system"), "a score lets in whom a score kept out"
        self.unfit = False

    def decided(self, message: HandoffMessage, terms: Terms) -> None:
        assert self.state is State.QUALIFIED
        assert message.actor == "crm" or self.handed_off, "only the CRM can say so of who was never handed off"
        self.pause = None

    def erased(self, message: LeadErased, terms: Terms) -> None:
        self.leave()

    def leave(self) -> None:
        self.gone, self.state, self.pause, self.handed_off = True, State.MARKETING, None, None

    def comes_back(self) -> None:
        assert self.deleted
        self.waiting = [one for one in self.waiting if one[0] > self.deleted]
        self.wrote = [at for at in self.wrote if at > self.deleted]
        self.gone, self.deleted, self.known, self.touches, self.clocks = False, None, set(), [], {}
        self.owner, self.deals, self.this_episode = "", {}, set()

    def hears_what_waited(self) -> bool:
        """Whether a deal did."""
        if self.gone:
            return False
        for at in self.wrote:
            if self.handed_off and at >= self.handed_off and self.state in CHASED and not self.touches:
                self.asks(at)
        waiting, self.waiting, self.wrote = self.waiting, [], []
        for at, stage, deal in sorted(waiting, key=lambda one: one[0]):
            deal_changed(self, stage, deal, at)
        return bool(waiting)

    def no_longer_paused(self, at: datetime) -> None:
        if self.pause:
            self.pauses.append((self.pause[0], at))
        self.pause = None

    def is_paused(self, now: datetime) -> bool:
        return self.pause is not None and (self.pause[1] is None or self.pause[1] > now)

    def promises(self, kind: ClockKind, terms: Terms) -> bool:
        return bool(terms.gives(kind, len(self.touches) + 1, self.priority, hurried=False))

    # --- its clocks ---

    def _clock(self, message: ClockMessage, terms: Terms, now: datetime) -> None:
        if isinstance(message, ClockStarted):
            assert message.clock_id not in self.clocks, "a clock starts once"
            self.clocks[message.clock_id] = self._begun(message, terms)
            self.this_episode.add(message.clock_id)
            return
        clock = self.clocks[message.clock_id]
        assert message.clock is clock.kind
        CLOCK_HEARS[type(message)](self, clock, message, terms, now)
        if not isinstance(message, ClockMoved | ClockResumed | ClockPaused):
            assert message.due_at == clock.due or clock.paused
        self._ends(message.clock_id, clock, message)

    def _ends(self, key: str, clock: Running, message: ClockMessage) -> None:
        end = ENDS.get(type(message))
        if end is None:
            return
        wanted = self.must.pop(key, None)
        assert wanted in (None, end), f"{clock.kind} is {end}, and must be {wanted}"
        assert wanted or end != "corrected" or clock.kind in (ACCEPT, DECISION), (
            "only a touch in time takes a breach back"
        )
        assert end != "corrected" or key not in self.just_breached, "nothing is told that is taken back at once"
        if getattr(message, "reason", "") == "reassigned":
            self.owed_anew.add(clock.kind)
        if getattr(message, "reason", "") == "not_promised" and clock.kind is NEXT:
            self.owed_anew.add(WAIT)

    def _begun(self, message: ClockStarted, terms: Terms) -> Running:
        kind, at = message.clock, message.at
        if self.adopted:
            clock = self.adopted.pop(0)
            assert (kind, at, message.due_at) == (clock.kind, clock.started, clock.due), "it goes on as it was"
            return clock
        assert self.state in CHASED
        assert not self.open(kind), "one clock of a kind at a time"
        n = len(self.touches) + 1 if kind is NEXT else len(self.touches) if kind is WAIT else 1
        self.owed_anew -= {kind, *((WAIT,) if kind is NEXT else ())}
        clock = Running(kind=kind, n=n, started=at, due=message.due_at, given=0)
        if kind is NEXT and self.waits:
            self.hurried.add(n)
        assert kind is not WAIT or not self.waits, "who asked is not waited for"
        clock.given = self._gives(clock, terms)
        assert clock.given, "what is not promised has no clock"
        clock.due = terms.after(at, clock.given)
        for since, until in self.pauses:
            if at < until and since < clock.due:  # it would have stood still, had it been known of
                left = terms.between(max(at, since), clock.due)
                clock.stood.append((max(at, since), until))
                clock.due = terms.after(until, left)
        assert message.due_at == clock.due
        self._warn_from(clock, terms, at, terms.shares)
        return clock

    def _warn_from(self, clock: Running, terms: Terms, at: datetime, shares: Any) -> None:
        """Of a share is warned when no more than the rest of the time is left."""
        waits = [(terms.between(at, clock.due) - clock.given * (1 - share), share) for share in sorted(shares)]
        kinds = clock.kind is not WAIT
        clock.warnings = [(terms.after(at, wait), share) for wait, share in waits if kinds and wait > 1e-6]

    def warned(self, clock: Running, message: ClockWarned, terms: Terms, now: datetime) -> None:
        assert clock.runs
        at, share = clock.warnings.pop(0)
        assert share == message.share
        assert abs(message.at - at) < timedelta(milliseconds=1)
        assert message.at < clock.due

    def breached(self, clock: Running, message: ClockBreached, terms: Terms, now: datetime) -> None:
        assert clock.runs, "a clock ends once, and not while it stands still"
        assert bool(message.told_as) is clock.was_breached, "a breach is told once, of whoever it is"
        if message.told_as:
            clock.ended = "breached"
            return
        assert message.at == clock.due, "a breach is at the due time, whenever it was noticed"
        assert clock.kind is not WAIT
        assert not (clock.kind is ACCEPT and terms.silence == "accept" and self.state is State.HANDED_OFF)
        assert not clock.warnings, "what is to be warned of is warned of first"
        clock.ended = "breached"
        self.just_breached.add(message.clock_id)
        steps = enumerate(terms.escalation, start=1)
        clock.steps = sorted((terms.after(clock.due, after), step) for step, (after, _) in steps)

    def met(self, clock: Running, message: ClockMet, terms: Terms, now: datetime) -> None:
        assert clock.open
        assert not clock.ended
        assert message.at <= clock.due or clock.paused, "what is done too late is not met"
        if clock.kind is WAIT:
            assert message.at == clock.due
        clock.ended, clock.open = "met", False
        assert message.took_s == max(0.0, (message.at - clock.started).total_seconds())

    def cancelled(self, clock: Running, message: ClockCancelled, terms: Terms, now: datetime) -> None:
        assert clock.open
        assert not clock.ended
        clock.ended, clock.open = "cancelled", False

    def settled(self, clock: Running, message: ClockSettled, terms: Terms, now: datetime) -> None:
        assert clock.open
        assert clock.ended == "breached"
        assert message.late_s == max(0.0, (message.at - clock.due).total_seconds())
        clock.open = False

    def put_right(self, clock: Running, message: ClockCorrected, terms: Terms, now: datetime) -> None:
        assert clock.ended == "breached"
        assert not clock.corrected
        assert clock.started <= message.at <= clock.due or clock.kind in (DECISION, ACCEPT)
        assert message.at <= clock.due
        clock.corrected, clock.open = True, False

    def held(self, clock: Running, message: ClockPaused, terms: Terms, now: datetime) -> None:
        assert clock.runs
        assert message.at < clock.due
        assert all(until <= message.at for _, until in clock.stood), "no moment of a pause is given twice"
        clock.given = clock.given if clock.joined else self._gives(clock, terms)
        clock.paused, clock.until = message.at, message.until
        clock.left = terms.between(message.at, clock.due)

    def went_on(self, clock: Running, message: ClockResumed, terms: Terms, now: datetime) -> None:
        assert clock.paused is not None
        assert clock.until is None or message.at <= clock.until, "it goes on by itself at its time"
        if self.behind and message.actor != "system":
            self._set_anew(clock, terms)  # a person resumes by what is agreed now
        assert message.due_at == terms.after(message.at, clock.left)
        clock.stood.append((clock.paused, message.at))
        clock.due, clock.paused, clock.until = message.due_at, None, None
        self._warn_from(clock, terms, message.at, [share for _, share in clock.warnings])
        self.no_longer_paused(message.at)

    def moved(self, clock: Running, message: ClockMoved, terms: Terms, now: datetime) -> None:
        assert clock.runs
        assert message.former_due_at == clock.due != message.due_at
        due, given = self.by_rule(clock, terms, message.at)
        assert message.due_at == due, "more time from its start, less from now, and never later for that"
        clock.due, clock.given = due, given
        self._warn_from(clock, terms, message.at, [share for _, share in clock.warnings])

    def escalated(self, clock: Running, message: LeadEscalated, terms: Terms, now: datetime) -> None:
        assert clock.open
        assert clock.ended == "breached"
        assert (message.at, message.step) == clock.steps.pop(0), "step by step, each at its time"

    def by_rule(self, clock: Running, terms: Terms, now: datetime) -> tuple[datetime, int]:
        """When a running clock has to be due, set anew at `now`."""
        given = self._gives(clock, terms)
        due = self._from_its_start(clock, given, terms)
        return (due if due >= clock.due else min(clock.due, terms.after(now, given))), given

    def _from_its_start(self, clock: Running, given: int, terms: Terms) -> datetime:
        return terms.after(clock.started, given + sum(terms.between(*pause) for pause in clock.stood))

    def _gives(self, clock: Running, terms: Terms) -> int:
        hurried = clock.kind is NEXT and clock.n in self.hurried
        return terms.gives(clock.kind, clock.n, self.priority, hurried=hurried)

    def set_anew(self, terms: Terms, stood: Mapping[str, datetime | None] | None = None) -> None:
        """By another agreement or priority, clocks that stand still have left what they would had they always run so.

        A shorter time leaves them what they have, or the whole of it.

        `stood`: since when they did before this decision; who stands still since then only was set by its terms.
        """
        for key, clock in self.open().items():
            if not clock.ended and (stood is None or stood.get(key, clock.paused) == clock.paused):
                self._set_anew(clock, terms)

    def _set_anew(self, clock: Running, terms: Terms) -> None:
        given = self._gives(clock, terms) or clock.given
        clock.given = given
        if clock.paused:
            by_rule = terms.between(clock.paused, max(clock.paused, self._from_its_start(clock, given, terms)))
            clock.left = max(by_rule, min(clock.left, given))
            clock.due = terms.after(clock.paused, clock.left)

    def taken_along(self, terms: Terms) -> None:
        """Clocks of the other that stand still with those of the survivor are set by what holds for it."""
        for clock in self.open().values():
            if clock.joined and clock.paused and not clock.ended:
                self._set_anew(clock, terms)
            clock.joined = False

    # --- after a decision ---

    def check(self, story: Story, terms: Terms) -> None:
        """What holds after every decision, whatever was decided."""
        lead = story.lead
        assert lead.state is self.state
        assert lead.version == self.version
        assert {clock.id: clock.overdue for clock in lead.clocks} == {
            key: bool(clock.ended) for key, clock in self.open().items()
        }
        for clock in lead.clocks:
            assert clock.due_at == self.clocks[clock.id].due
        assert not self.must, f"these had to end: {self.must}"
        assert not {kind for kind in self.owed_anew if self.promises(kind, terms)}, "who gets it gets new clocks"
        self.owed_anew, self.just_breached = set(), set()
        if self.state in WITH_MARKETING or self.gone:
            assert not lead.clocks, "with Marketing, Sales owes nothing"
        if self.replied:
            assert not self.open(NEXT, WAIT), "who answered is not chased"
        assert len(lead.attempts) == (0 if self.gone else len(self.touches))

    def check_swept(self, terms: Terms, now: datetime) -> None:
        """What holds when somebody has just looked for what is due."""
        for clock in self.open().values():
            if clock.paused:
                assert clock.until is None or clock.until > now
            elif clock.ended:
                assert not clock.steps or clock.steps[0][0] > now, "no step of an escalation remains untold"
            else:
                assert not self.is_paused(now), "all clocks of a paused lead stand still"
                assert clock.due > now, "nothing that is due remains untold"
                assert not clock.warnings or clock.warnings[0][0] > now, "no warning remains untold"
                by_rule, _ = self.by_rule(clock, terms, now)
                assert by_rule == clock.due, "a clock runs by what is agreed now"


HEARS: dict[type[Any], Callable[[Model, Any, Terms], None]] = {
    LeadHandedOff: Model.handed,
    LeadAssigned: Model.assigned,
    LeadAccepted: Model.accepted,
    PriorityRaised: Model.raised,
    LeadAskedAgain: Model.asked_again,
    AttemptRecorded: Model.attempted,
    LeadReplied: Model.answered,
    LeadReturned: Model.returned,
    LeadRejected: Model.rested,
    LeadDisqualified: Model.rested,
    LeadReadmitted: Model.readmitted,
    LeadQualified: Model.decided,
    LeadsMerged: Model.joined,
    LeadErased: Model.erased,
}
CLOCK_HEARS: dict[type[Any], Callable[[Model, Running, Any, Terms, datetime], None]] = {
    ClockWarned: Model.warned,
    ClockBreached: Model.breached,
    ClockMet: Model.met,
    ClockCancelled: Model.cancelled,
    ClockSettled: Model.settled,
    ClockCorrected: Model.put_right,
    ClockPaused: Model.held,
    ClockResumed: Model.went_on,
    ClockMoved: Model.moved,
    LeadEscalated: Model.escalated,
}
ENDS = {ClockMet: "met", ClockCancelled: "cancelled", ClockSettled: "settled", ClockCorrected: "corrected"}


# --- what may happen ---

LEADS = st.integers(0, 2)
LAGS = st.sampled_from([0, 0, 0, 1, 20, 45, 300])  # minutes after which one hears of a thing
OUTCOMES = st.sampled_from([Outcome.NO_ANSWER, Outcome.NO_ANSWER, Outcome.VOICEMAIL, *REPLIES])


class Lives(RuleBasedStateMachine):
    """Three leads between two teams."""

    @initialize(agreed=st.integers(0, len(AGREED) - 1), grades=st.tuples(*[st.sampled_from(["A1", "B3"])] * 2))
    def begin(self, agreed: int, grades: tuple[str, str]) -> None:
        self.now = START
        self.contacts, self.calls = count(901), count(1)
        self.stories = [Story(next(self.contacts)) for _ in range(3)]
        self.models = [Model() for _ in self.stories]
        self.agree(agreed)
        for which, grade in enumerate(grades):
            self._scored(which, asks=grade == "B3", grade=grade)

    @precondition(lambda self: any(model.state in ENDS_OF_LIFE or model.gone for model in self.models))
    @rule(asks=st.booleans())
    def somebody_new_comes(self, asks: bool) -> None:
        which = next(n for n, model in enumerate(self.models) if model.state in ENDS_OF_LIFE or model.gone)
        self.stories[which] = Story(next(self.contacts), agreement=self.stories[which].agreement)
        self.models[which] = Model()
        self._scored(which, asks=asks, grade="A1")

    def agree(self, agreed: int) -> None:
        self.terms = AGREED[agreed]
        for story in self.stories:
            story.agreement = AGREEMENTS[agreed]

    # --- time, agreements, looking ---

    @rule(minutes=st.sampled_from([1, 10, 30, 60, 240, 600]))
    def time_goes_by(self, minutes: int) -> None:
        self.now += minutes * MINUTE

    @rule(days=st.sampled_from([1, 3, 20]))
    def nobody_looks_for_long(self, days: int) -> None:
        self.now += timedelta(days=days)

    @rule(late=st.sampled_from([0, 0, 0, 1]))
    def until_the_next_is_due(self, late: int) -> None:
        ahead = [
            moment
            for model in self.models
            for clock in model.open().values()
            for moment in (clock.due, clock.until, *(at for at, _ in clock.warnings + clock.steps))
            if moment is not None and moment > self.now
        ]
        if ahead:
            self.now = min(ahead) + late * MINUTE

    @rule()
    def somebody_looks(self) -> None:
        for which in range(len(self.stories)):
            self._look(which)

    def _look(self, which: int) -> None:
        self._do(which, Story.clocks_fire, swept=True)
        self.models[which].check_swept(self.terms, self.now)
        assert (self.stories[which].lead.pause is not None) == self.models[which].is_paused(self.now)

    @rule(agreed=st.integers(0, len(AGREED) - 1))
    def another_agreement(self, agreed: int) -> None:
        self.agree(agreed)

    # --- what the CRM and the score say ---

    @rule(
        which=LEADS, asks=st.booleans(), grade=st.sampled_from(["A1", "A1", "B3", "D4"]), lag=LAGS, crash=st.booleans()
    )
    def scored(self, which: int, asks: bool, grade: str, lag: int, crash: bool) -> None:
        self._scored(which, asks=asks, grade=grade, lag=lag, crash=crash)

    @rule(which=LEADS)
    def scored_unfit(self, which: int) -> None:
        self._scored(which, asks=False, grade="D4", unfit=True)

    def _scored(
        self, which: int, *, asks: bool, grade: str, lag: int = 0, unfit: bool = False, crash: bool = False
    ) -> None:
        story, model, at = self.stories[which], self.models[which], self.now - lag * MINUTE
        out = "competitor" if unfit else ""
        if asks:
            story.forms.append(Submission(form=DEMO, at=at))
        told_anew = False
        if model.deleted and self.now > model.deleted:
            model.comes_back()
            told_anew = bool(story.set_at)  # what people said of it in the CRM is heard again
        let_in = model.unfit and not out and model.state is State.DISQUALIFIED
        rests, before = (let_in or model.state in RESTS) and not model.gone, model.episode
        touched = model.touched_at
        fresh = grade[0] != "D" and any(
            model.ended is None
            or form.at > model.ended
            or (form.at not in model.known and touched is not None and form.at > touched and story.lead.score)
            for form in story.forms
        )
        asking = [form.at for form in story.forms if touched is not None and form.at > touched]
        model.asking = max(asking) if asking and grade[0] != "D" else None
        cooling = model.cool_down is not None and self.now < model.cool_down
        said = {"grade": grade, "fit_grade": grade[0], "interest_level": grade[1], "disqualified": out, "at": at}
        self._do(which, lambda it: it.scored(**said), crash=crash, after=lambda: model.has_asked(before))
        if not model.gone:
            model.known = {form.at for form in story.forms}
        if rests and not told_anew:
            fires = not out and (fresh or (grade == "A1" and not cooling))
            assert (model.episode > before) is fires, "who is ready is handed over, once, and nobody else"

    @rule(which=LEADS)
    def an_old_score_comes_again(self, which: int) -> None:
        self._do(which, lambda it: it.scored(version=it._score, grade="A1", seen_at=START), quiet=True) if self.stories[
            which
        ]._score else None

    @rule(which=LEADS, outcome=OUTCOMES, lag=LAGS, at_due=st.booleans(), crash=st.booleans(), told=st.booleans())
    def attempted(self, which: int, outcome: Outcome, lag: int, at_due: bool, crash: bool, told: bool) -> None:
        model, at = self.models[which], self.now - lag * MINUTE
        dues = [clock.due for clock in model.clocks.values() if clock.kind in TOUCHABLE and clock.due <= self.now]
        at = max(dues) if at_due and dues else at
        if model.handed_off is None or at < model.handed_off:
            return
        self._attempt(which, outcome, at, told=told, crash=crash)

    def _attempt(self, which: int, outcome: Outcome, at: datetime, *, told: bool, crash: bool = False) -> None:
        model, name = self.models[which], f"call:{next(self.calls)}"
        if told:
            self._command(which, "attempts", lambda it: it.reports(outcome, at=at, activity=name), crash=crash)
        else:
            if model.state not in CHASED and not model.gone:
                model.touched(at, counted=False)
            self._do(which, lambda it: it.activity(outcome, at=at, activity=name), crash=crash)

    @rule(which=LEADS, told=st.booleans())
    def sales_tries_again(self, which: int, told: bool) -> None:
        if self.models[which].state in CHASED:
            self._attempt(which, Outcome.NO_ANSWER, self.now, told=told)

    @rule(which=LEADS, outcome=OUTCOMES, lag=LAGS)
    def an_attempt_is_told_again(self, which: int, outcome: Outcome, lag: int) -> None:
        story, model = self.stories[which], self.models[which]
        if story.lead.attempts:
            known = story.lead.attempts[-1]
            self._do(which, lambda it: it.activity(outcome, at=known.at, activity=known.activity))
            assert known.activity in model.acts or not model.acts

    @rule(which=LEADS, machine=st.booleans())
    def what_is_no_touch(self, which: int, machine: bool) -> None:
        model = self.models[which]
        before = model.touches[:]
        if machine:
            self._do(which, lambda it: it.activity(by="", channel=Channel.EMAIL))
        else:
            self._do(which, Story.lead_writes)
            if model.state in CHASED and not model.touches:
                model.asks(self.now)
            if model.deleted:
                model.wrote.append(self.now)
        assert self.models[which].touches in (before, []), "neither machines nor the lead itself touch"

    @rule(
        which=LEADS,
        stage=st.sampled_from(["qualifiedtobuy", "closedwon", "closedlost"]),
        deal=st.sampled_from("ab"),
        lag=LAGS,
        crash=st.booleans(),
    )
    def a_deal_changes(self, which: int, stage: str, deal: str, lag: int, crash: bool) -> None:
        model, at = self.models[which], self.now - lag * MINUTE
        if model.deleted:
            model.waiting.append((at, stage, deal))
        self._do(
            which,
            lambda it: it.deal(stage, deal=deal, at=at),
            crash=crash,
            after=lambda: deal_changed(model, stage, deal, at),
        )

    @rule(which=LEADS, other=LEADS, luck=st.integers(0, 2))
    def merged(self, which: int, other: int, luck: int) -> None:
        if which == other or luck:
            return
        survivor, parting = self.models[which], self.models[other]
        if survivor.merged or parting.merged or parting.deleted:
            return  # the loop takes such a one on to its survivor; a deletion that comes with the merge has its stories
        if survivor.deleted and self.now > survivor.deleted:
            survivor.comes_back()
        if not parting.gone:
            self._look(other)
        own: Sequence[datetime] = ()
        if not survivor.gone and not parting.gone:
            self._look(which)
            own = [] if survivor.state in WITH_MARKETING and parting.state in FURTHER else [*survivor.touches]
            inherit(survivor, parting, self.terms, self.now)
        was_gone, parting.merged = parting.gone, True
        story, other_story = self.stories[which].at(self.now), self.stories[other].at(self.now)
        story.merged_with(other_story)
        for told in other_story.told if not was_gone else []:
            parting.hear(told, self.terms, self.now)
        if not (was_gone or survivor.gone):
            gone_on = {told.told_as for told in story.told if isinstance(told, ClockBreached)}
            take_breaches(survivor, parting, gone_on, own)
        parting.leave()
        parting.check(other_story, self.terms)
        for told in story.told:
            survivor.hear(told, self.terms, self.now)
        survivor.taken_along(self.terms)
        survivor.hears_what_waited()
        if was_gone:  # erased, and so is the person that both are
            assert survivor.gone
            survivor.deleted, survivor.waiting, survivor.wrote = None, [], []
        survivor.check(story, self.terms)
        assert not survivor.adopted, "every clock is taken along"

    @rule(
        which=LEADS,
        word=st.sampled_from(["IN_PROGRESS", "BAD_TIMING", "UNQUALIFIED", "salesqualifiedlead"]),
        lag=LAGS,
        crash=st.booleans(),
    )
    def said_in_the_crm(self, which: int, word: str, lag: int, crash: bool) -> None:
        """By a score that hands nothing over: who reads the contact's words knows who is out and who is worked on."""
        model, at = self.models[which], self.now - lag * MINUTE
        if model.deleted and self.now > model.deleted:
            model.comes_back()
        name = "lifecyclestage" if word.islower() else "hs_lead_status"
        out, waited = {"grade": "D4", "fit_grade": "D", "interest_level": "4"}, bool(model.waiting)
        newer = at > self.stories[which].set_at.get(name, at - MINUTE)  # of one moment the CRM has one value
        self._do(which, lambda it: it.set_in_crm(name, word, at=at, **out), crash=crash)
        model.known |= {form.at for form in self.stories[which].forms} if not model.gone else set()
        follows = newer and lag == 0 and not (model.gone or waited)
        if word == "UNQUALIFIED" and follows and model.state is not State.CUSTOMER:
            assert model.state is State.DISQUALIFIED, "who is out in the CRM is out here"

    @rule(which=LEADS)
    def deleted(self, which: int) -> None:
        model = self.models[which]
        if not model.gone:
            if model.state not in WITH_MARKETING:
                model.ended, model.cool_down = None if model.state in CHASED else self.now, None
            self._do(which, Story.deleted)
            model.deleted = self.now

    @rule(which=LEADS, other=LEADS, luck=st.integers(0, 3), asked=st.booleans())
    def a_merge_brings_back_who_was_deleted(self, which: int, other: int, luck: int, asked: bool) -> None:
        if luck or which == other:
            return
        self.deleted(which)
        if asked:  # told by none but a score that is late
            self.stories[which].forms.append(Submission(form=DEMO, at=self.now))
        self.now += MINUTE
        self.merged(which, other, 0)
        self.an_old_score_comes_again(which)

    @rule(which=LEADS, luck=st.integers(0, 5))
    def erased(self, which: int, luck: int) -> None:
        if not luck:
            self._do(which, Story.erased)
            model = self.models[which]
            model.deleted, model.waiting, model.wrote = None, [], []

    # --- what people do ---

    @rule(
        which=LEADS,
        word=st.sampled_from(["accept", "reject", "qualify", "return", "disqualify", "nurture", "handoff"]),
        crash=st.booleans(),
    )
    def sales_speaks(self, which: int, word: str, crash: bool) -> None:
        do: dict[str, Callable[[Story], Story]] = {
            "accept": Story.accept,
            "reject": lambda it: it.reject("other"),
            "qualify": Story.qualify,
            "return": lambda it: it.send_back("not_now"),
            "disqualify": lambda it: it.disqualify("competitor"),
            "nurture": lambda it: it.nurture("decision"),
            "handoff": Story.hand_off,
        }
        self._command(which, word, do[word], crash=crash)

    @rule(which=LEADS, minutes=st.sampled_from([0, 0, 60, 600, 3000]))
    def paused(self, which: int, minutes: int) -> None:
        until = self.now + minutes * MINUTE if minutes else None
        model = self.models[which]

        def noted() -> None:
            model.pause = (self.now, until)

        self._command(which, "pause", lambda it: it.pause("away", until), after=noted)

    @rule(which=LEADS)
    def resumed(self, which: int) -> None:
        model = self.models[which]

        def noted() -> None:
            model.no_longer_paused(self.now)

        self._command(which, "resume", Story.resume, after=noted)

    @rule(which=LEADS, minutes=st.sampled_from([10, 60]))
    def paused_for_a_while(self, which: int, minutes: int) -> None:
        self.paused(which, 0)
        self.now += minutes * MINUTE
        self.resumed(which)

    @rule(which=LEADS, minutes=st.sampled_from([10, 60, 600]), agreed=st.integers(0, len(AGREED) - 1))
    def the_agreement_changes_in_a_pause(self, which: int, minutes: int, agreed: int) -> None:
        self.paused(which, 0)
        self.agree(agreed)
        self._look(which)
        self.now += minutes * MINUTE
        self.resumed(which)
        self._look(which)

    @rule(which=LEADS, owner=st.sampled_from(OWNERS))
    def reassigned(self, which: int, owner: str) -> None:
        self._command(which, "reassign", lambda it: it.reassign(owner))

    @rule(which=LEADS)
    def reassigned_to_who_has_it(self, which: int) -> None:
        self._look(which)
        if self.models[which].owner and self.models[which].state in WITH_SALES:
            self._do(which, lambda it: it.reassign(it.lead.owner), quiet=True)

    # --- doing it ---

    def _command(self, which: int, name: str, do: Callable[[Story], Story], **more: Any) -> bool:
        """Do it; what is refused must be impossible for who has looked at what is due."""
        model, why = self.models[which], ""
        try:
            self._do(which, do, **more)
        except Refused as refused:
            why = refused.code
        if why:
            self._look(which)
            held = model.is_paused(self.now)
            odd = (name == "pause" and held) or (name == "resume" and not held)
            assert why == ("unknown" if model.gone else "impossible")
            assert odd or model.gone or model.state not in ALLOWED[name], f"{name} is refused in {model.state}"
        return not why

    def _do(
        self,
        which: int,
        do: Callable[[Story], Story],
        *,
        crash: bool = False,
        swept: bool = False,
        quiet: bool = False,
        after: Callable[[], None] | None = None,
    ) -> None:
        """One decision, checked word by word; `crash`: it was made once before, and nothing of it was kept."""
        story, model = self.stories[which].at(self.now), self.models[which]
        lost = twin(story) if crash else None
        if lost:
            do(lost)
        was_gone = model.gone
        do(story)
        assert lost is None or lost.told == story.told, "the same event on the same lead gives the same again"
        assert not (quiet or (was_gone and not swept)) or not [t for t in story.told if not isinstance(t, LeadErased)]
        set_by, stood = story.agreement.version, {key: clock.paused for key, clock in model.clocks.items()}
        model.behind = model.set_by != set_by
        for told in story.told:
            model.hear(told, self.terms, self.now)
        if model.set_by != story.lead.agreement and story.lead.agreement == set_by:
            if model.behind:
                model.set_anew(self.terms, stood)
            model.set_by = set_by
        if model.pause and model.pause[1] and story.lead.pause is None and not model.is_paused(self.now):
            model.no_longer_paused(model.pause[1])
        if after and not was_gone:
            after()
        heard = model.hears_what_waited()
        kinds = [type(told) for told in story.told]
        if LeadHandedOff in kinds and not heard:
            promised = {kind for kind in (ACCEPT, FIRST, DECISION) if model.promises(kind, self.terms)}
            assert {clock.kind for clock in model.open().values()} == promised, "all that was promised runs"
        if kinds[-1:] != [LeadReplied] and AttemptRecorded in kinds and not model.replied:
            assert len(model.open(NEXT, WAIT)) == 1, "after an attempt comes the next, or the time to answer"
        if not model.gone or was_gone:
            model.check(story, self.terms)

    @invariant()
    def every_clock_ended_at_most_once(self) -> None:
        for model in getattr(self, "models", []):
            assert all(clock.ended or clock.open for clock in model.clocks.values())

    def teardown(self) -> None:
        if hasattr(self, "models"):
            self.now += timedelta(days=200)
            self.somebody_looks()
            for model in self.models:
                left = model.open().values()
                assert all(clock.ended == "breached" or clock.paused for clock in left), "every clock ends"


def twin(story: Story) -> Story:
    """The same story, told apart from now on."""
    other = copy.copy(story)
    other._numbers = copy.copy(story._numbers)
    other.messages, other.forms, other.notices = [*story.messages], [*story.forms], [*story.notices]
    other.said, other.set_at = {**story.said}, {**story.set_at}
    return other


def deal_changed(model: Model, stage: str, deal: str, at: datetime) -> None:
    """The newest stage of a deal wins; a lead is lost with its last open one."""
    known = model.deals.get(deal)
    if known and at < known["at"]:
        return
    entry = model.deals[deal] = {"opened": False, "closed": "", **(known or {}), "at": at}
    if stage == "closedwon" and entry["closed"] != "won":
        entry["closed"], model.state, model.pause = "won", State.CUSTOMER, None
    elif stage == "qualifiedtobuy":
        entry["opened"], entry["closed"], model.pause = True, "", None
        model.state = State.CUSTOMER if model.state is State.CUSTOMER else State.OPPORTUNITY
    elif stage == "closedlost" and entry["closed"] != "lost":
        entry["closed"] = "lost"
        others = [one for one in model.deals.values() if one["opened"] and not one["closed"]]
        if model.state in WITH_SALES and not others:
            model.state, model.pause = State.LOST, None
            model.ended = max(at, model.handed_off or at)
            model.cool_down = model.ended + COOL_DOWN


def inherit(survivor: Model, other: Model, terms: Terms, now: datetime) -> None:
    """Who is with Marketing goes on with the life of the other, if that has one; two whom Sales has are one."""
    for name, deal in copy.deepcopy(other.deals).items():
        if name not in survivor.deals or deal["at"] > survivor.deals[name]["at"]:
            survivor.deals[name] = deal
    if survivor.state not in WITH_MARKETING:
        if other.state in FURTHER:
            join(survivor, other, terms, now)
        return
    if other.state in FURTHER:
        survivor.state, survivor.owner, survivor.priority = other.state, other.owner, other.priority
        survivor.trigger, survivor.ready, survivor.accepted_at = other.trigger, other.ready, other.accepted_at
        survivor.handed_off, survivor.replied, survivor.pause = other.handed_off, other.replied, other.pause
        survivor.asked, survivor.pauses = other.asked, [*other.pauses]
        survivor.touches, survivor.acts, survivor.hurried = [*other.touches], {*other.acts}, {*other.hurried}
        survivor.episode, survivor.ended, survivor.cool_down, survivor.unfit = survivor.episode + 1, None, None, False
        survivor.this_episode, survivor.set_by = set(), other.set_by
        taken = [copy.deepcopy(clock) for clock in other.open().values()]
        survivor.adopted = [anew(clock) for clock in taken]
    else:
        survivor.ended = max((at for at in (survivor.ended, other.ended) if at), default=None)
        survivor.cool_down = max((at for at in (survivor.cool_down, other.cool_down) if at), default=None)


def join(survivor: Model, other: Model, terms: Terms, now: datetime) -> None:
    """Sales had both: what was done for either was done for the one, and each thing is owed once."""
    acts = [act for act in (survivor.ready, other.ready) if act]
    touches = sorted([*survivor.touches, *other.touches])
    asks = bool(touches and acts) and max(acts) > touches[-1] and not (survivor.replied or other.replied)
    survivor.becomes = max(survivor.state, other.state, key=FURTHER.index)
    chased = survivor.becomes in CHASED
    if survivor.state in CHASED:
        for key, clock in survivor.open(*TOUCHABLE).items():
            if end := done_for_it(clock, survivor, other, asks=asks):
                survivor.must[key] = end
        for key, clock in survivor.clocks.items():
            late = clock.ended == "breached" and not clock.open and not clock.corrected and clock.kind in TOUCHABLE
            if late and key in survivor.this_episode and any(clock.started <= at <= clock.due for at in other.touches):
                survivor.must[key] = "corrected"
    survivor.touches, survivor.acts = touches, survivor.acts | other.acts
    survivor.ready, survivor.handed_off = (
        earliest(survivor.ready, other.ready),
        earliest(survivor.handed_off, other.handed_off),
    )
    survivor.replied |= other.replied
    survivor.asked = max((at for at in (survivor.asked, other.asked) if at), default=None)
    if rank(other) < rank(survivor):
        survivor.trigger, survivor.priority = other.trigger, other.priority
    if not chased:
        survivor.pause = None
        return
    n, nexts = len(touches) + 1, [*survivor.open(NEXT).values()]
    hurried = any(clock.n in survivor.hurried for clock in left(survivor, NEXT).values() if not clock.ended)
    if survivor.owner == other.owner:
        hurried |= take_clocks(survivor, other, terms, now)
    for clock in (*nexts, *(one for one in survivor.adopted if one.kind is NEXT)):
        clock.n = n
    survivor.hurried = {n} if hurried else set()
    if asks:
        survivor.asks(max(acts))
        survivor.asking = max(acts)
        if not (left(survivor, FIRST) or any(clock.kind is FIRST for clock in survivor.adopted)):
            survivor.hurried = {n}
    survivor.set_anew(terms)
    if other.is_paused(now) and not survivor.is_paused(now):
        assert other.pause
        survivor.pause = (now, other.pause[1])


def take_breaches(survivor: Model, other: Model, gone_on: Set[str], own: Sequence[datetime]) -> None:
    """What the other was late with may still turn out to have been in time, also by a touch of the survivor's own."""
    for key in other.this_episode - gone_on:
        clock = other.clocks[key]
        if clock.ended == "breached" and not clock.open and not clock.corrected:
            survivor.clocks[key] = clock
            survivor.this_episode.add(key)
            if clock.kind in TOUCHABLE and any(clock.started <= at <= clock.due for at in own):
                survivor.must[key] = "corrected"


def done_for_it(clock: Running, survivor: Model, other: Model, *, asks: bool) -> str:
    """How a clock of the survivor has to end by what was done for the other; "" when it goes on."""
    done = [at for at in other.touches if at >= clock.started]
    if clock.kind is ACCEPT and other.accepted_at and other.accepted_at >= clock.started:
        done = sorted([*done, other.accepted_at])
    if done:
        return "met" if not clock.ended else "corrected" if done[0] <= clock.due else "settled"
    accepted = clock.kind is ACCEPT and other.accepted_at is not None
    given_up = accepted or (clock.kind is FIRST and bool(other.touches) and not asks)
    return ("settled" if clock.ended else "cancelled") if given_up else ""


def left(model: Model, *kinds: ClockKind) -> dict[str, Running]:
    """The clocks that what was done does not end."""
    return {key: clock for key, clock in model.open(*kinds).items() if key not in model.must}


def take_clocks(survivor: Model, other: Model, terms: Terms, now: datetime) -> bool:
    """The clocks of the other that go on, since the same person owes the same; whether an attempt is hurried."""
    theirs = {key: as_if_resumed(copy.deepcopy(clock), terms, now) for key, clock in other.open().items()}
    for kind in (ACCEPT, FIRST, DECISION):
        for key, own in left(survivor, kind).items():
            for clock in theirs.values():
                if clock.kind is kind and not own.ended and (clock.ended or clock.due < own.due):
                    survivor.must[key] = "cancelled"
                    survivor.adopted.append(anew(clock))
    first = left(survivor, FIRST) or any(clock.kind is FIRST for clock in survivor.adopted)
    waits = [
        clock for key, clock in left(survivor, WAIT).items() if not any(at >= clock.started for at in other.touches)
    ]
    hurried = False
    if not (survivor.replied or first or left(survivor, NEXT) or waits):
        for clock in theirs.values():
            if clock.kind in (NEXT, WAIT):
                hurried |= clock.kind is NEXT and clock.n in other.hurried and not clock.ended
                survivor.adopted.append(anew(clock))
    return hurried


def as_if_resumed(clock: Running, terms: Terms, now: datetime) -> Running:
    clock.joined = True
    if clock.paused:
        clock.stood.append((clock.paused, now))
        clock.due = terms.after(now, clock.left)
        shares = [share for _, share in clock.warnings]
        Model()._warn_from(clock, terms, now, shares)
    return clock


def earliest(*moments: datetime | None) -> datetime | None:
    return min((at for at in moments if at), default=None)


def rank(model: Model) -> int:
    return TRIGGERS.index(model.trigger) if model.trigger in TRIGGERS else len(TRIGGERS)


def anew(clock: Running) -> Running:
    clock.was_breached, clock.ended, clock.paused, clock.until = bool(clock.ended), "", None, None
    return clock


LIVES = settings(
    max_examples=400,
    stateful_step_count=40,
    derandomize=True,
    report_multiple_bugs=False,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestLives = pytest.mark.filterwarnings("error")(Lives.TestCase)
TestLives.settings = LIVES
