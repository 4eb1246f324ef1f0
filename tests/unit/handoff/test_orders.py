"""What is told of leads that become one comes in any order: what is promised of the end, whatever came first.

Promised, as long as no clock falls due and nobody decides in between: in whatever order the calls, deals,
scores, merges and the deletions that come with merges are heard, the survivor is in the end as far, was
touched as often and by the same calls, is as accepted and answered, has the same deals and owes the same
kinds of things as one lead of which all had been told in its order; each call and each won deal is told
once; the others are part of it. A call that is told of a lead while Marketing has it is no attempt, so
calls are made to leads that Sales has. What a lost deal ends, who has the lead, and when things are due
depend on what was known when: they are not promised.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from services.handoff.domain.lead import Lead
from services.handoff.worker import worker
from shared.clock import ManualClock
from shared.events import (
    ActivityLogged,
    AttemptRecorded,
    Channel,
    ContactErased,
    ContactsMerged,
    DealChanged,
    DealWon,
    Direction,
    LeadMessage,
    LeadScored,
    Message,
    Outcome,
    State,
    Submission,
    identity,
)
from shared.work import Facts
from tests.agreements import PLAIN, with_follow_up
from tests.unit.handoff.story import DEMO, START, TENANT

MINUTE: Final = timedelta(minutes=1)
LEADS: Final = tuple(f"{TENANT}:{contact}" for contact in (901, 902, 903))
FAR_AWAY: Final = with_follow_up(
    PLAIN,
    accept_within={"default": "60d"},
    first_touch={"default": "60d"},
    decide_within={"default": "60d"},
    cadence=[{"channel": "phone"}, {"channel": "phone", "after": "60d"}, {"channel": "phone", "after": "60d"}],
    wait_for_reply="60d",
)
MERGES: Final = (  # into the first of all, and in which order they happened
    ((0, 1),),
    ((0, 1), (0, 2)),
    ((1, 2), (0, 1)),
)


@dataclass
class Floor:
    """Hand-off's handlers on a few leads, with the loop's way of passing on."""

    leads: dict[str, Lead] = field(default_factory=lambda: {lead: Lead(lead=lead) for lead in LEADS})
    told: list[Message] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.worker = worker(wall=ManualClock(START), notify=False)
        self.now = START

    def hear(self, messages: Iterable[Message]) -> Floor:
        for message in messages:
            self.now = max(self.now, message.at) + timedelta(seconds=1)
            key, *others = self.worker.about(message, self.leads)
            facts = Facts(now=self.now, agreement=FAR_AWAY, key=key, others={one: self.leads[one] for one in others})
            decision = self.worker.handlers[type(message)](self.leads[key], message, facts)
            self.leads |= {key: decision.state, **decision.others}
            self.told.extend(decision.messages)
        return self


def about(contact: int, minute: int, *what: object) -> dict[str, Any]:
    at = START + minute * MINUTE
    return {"id": identity(contact, minute, *what), "tenant": TENANT, "lead": LEADS[contact], "at": at}


def scored(contact: int, minute: int, *, version: int, asks: bool) -> LeadScored:
    said = about(contact, minute, "score", version)
    forms = (Submission(form=DEMO, at=said["at"]),) if asks else ()
    grades = {"fit_grade": "B" if asks else "D", "interest_level": "4", "grade": "B4" if asks else "D4"}
    points = {"fit": 0.0, "interest": 0.0, "journey": "decision"}
    known = {"forms": forms, "seen_at": said["at"], "profile": {"country": "US"}}
    return LeadScored(**said, **grades, **points, **known, version=version, agreement="x", cause="y")


def called(contact: int, minute: int, outcome: Outcome) -> ActivityLogged:
    said = about(contact, minute, "call")
    return ActivityLogged(
        **said,
        activity=f"call:{said['id']}",
        channel=Channel.PHONE,
        direction=Direction.OUTBOUND,
        outcome=outcome,
        by="77",
        seen_at=said["at"],
    )


def deal(contact: int, minute: int, name: str, stage: str) -> DealChanged:
    return DealChanged(**about(contact, minute, name, stage), deal=name, stage=stage)


def merged(survivor: int, other: int, minute: int) -> ContactsMerged:
    return ContactsMerged(**about(survivor, minute, "merged", other), merged=(LEADS[other],))


def deleted(contact: int, minute: int) -> ContactErased:
    return ContactErased(**about(contact, minute, "deleted"), privacy=False)


# --- what happens ---

MINUTES = st.integers(60, 600)
OUTCOMES = st.sampled_from([Outcome.NO_ANSWER, Outcome.VOICEMAIL, Outcome.CONNECTED])
IN_ANY_ORDER: Final = settings(max_examples=200, deadline=None, derandomize=True)


@dataclass(frozen=True, kw_only=True)
class Happening:
    """`known` was heard before, in its order; the rest comes in any, of which `facts` a single lead could live."""

    known: tuple[LeadMessage, ...]
    facts: tuple[LeadMessage, ...]
    scores: tuple[LeadMessage, ...]
    ways: tuple[LeadMessage, ...]

    @property
    def told(self) -> tuple[LeadMessage, ...]:
        return (*self.facts, *self.scores, *self.ways)

    @property
    def leads(self) -> list[str]:
        """Those that there were, the survivor first."""
        return sorted({one.lead for one in self.known})


@st.composite
def happenings(draw: st.DrawFn, *, deals: bool) -> Happening:
    """Leads that Sales has or has not, what is done with them, and how they become one."""
    merges = draw(st.sampled_from(MERGES))
    who = sorted({contact for merge in merges for contact in merge})
    with_sales = sorted(draw(st.sets(st.sampled_from(who), min_size=0 if deals else 1)))
    again = draw(st.lists(st.tuples(st.sampled_from(who), MINUTES), max_size=2, unique_by=lambda one: one[0]))
    return Happening(
        known=tuple(scored(one, 10 * one, version=1, asks=one in with_sales) for one in who),
        facts=tuple(draw(some_deals(who) if deals else some_calls(with_sales))),
        scores=tuple(scored(*one, version=2, asks=False) for one in again),
        ways=tuple(draw(ways(merges))),
    )


def some_calls(who: Sequence[int]) -> st.SearchStrategy[list[ActivityLogged]]:
    made = st.tuples(st.sampled_from(who), MINUTES, OUTCOMES)
    return st.lists(made.map(lambda one: called(*one)), max_size=5, unique_by=lambda one: one.activity)


@st.composite
def some_deals(draw: st.DrawFn, who: Sequence[int]) -> list[DealChanged]:
    """Opened, and some of them won."""
    changes: list[DealChanged] = []
    for n, contact in enumerate(draw(st.lists(st.sampled_from(who), max_size=3))):
        opened, won = sorted(draw(st.lists(MINUTES, min_size=2, max_size=2, unique=True)))
        changes.append(deal(contact, opened, f"deal:{n}", "qualifiedtobuy"))
        changes += [deal(contact, won, f"deal:{n}", "closedwon")] if draw(st.booleans()) else []
    return changes


@st.composite
def ways(draw: st.DrawFn, merges: Iterable[tuple[int, int]]) -> list[LeadMessage]:
    """Merges, and with some of them the deletion of the old record."""
    told: list[LeadMessage] = []
    for n, (survivor, other) in enumerate(merges):
        minute = 700 + 100 * n
        told.append(merged(survivor, other, minute))
        told += [deleted(other, minute + draw(st.sampled_from([-1, 0, 1])))] if draw(st.booleans()) else []
    return told


# --- what is promised ---


def as_one(happening: Happening) -> Lead:
    """The same as one lead would have lived it, all told in its order."""
    began = [one for one in happening.known if isinstance(one, LeadScored) and one.forms] or happening.known
    life = [*began[:1], *sorted(happening.facts, key=lambda one: one.at)]
    return Floor().hear(replace(one, lead=LEADS[0]) for one in life).leads[LEADS[0]]


def promised(lead: Lead) -> dict[str, Any]:
    """What of a lead does not depend on what was heard first."""
    return {
        "state": lead.state,
        "touches": {(one.activity, one.at, one.outcome, one.by) for one in lead.attempts},
        "accepted": lead.accepted_at is not None,
        "replied": lead.replied,
        "deals": {name: (one.stage, one.at, one.closed) for name, one in lead.deals.items()},
        "since": (lead.ready_at, lead.handed_off_at),
        "owed": sorted(clock.kind for clock in lead.clocks),
        "is somebody's": bool(lead.owner),
        "gone": lead.gone,
    }


def told_once(floor: Floor) -> list[str]:
    """Calls and deals that must be told once each."""
    calls = [one.activity for one in floor.told if isinstance(one, AttemptRecorded)]
    return calls + [one.deal for one in floor.told if isinstance(one, DealWon)]


def check(happening: Happening, told: Sequence[LeadMessage]) -> None:
    floor = Floor().hear([*happening.known, *told])
    survivor, *others = (floor.leads[lead] for lead in happening.leads)
    assert promised(survivor) == promised(as_one(happening))
    assert {(other.gone, other.left, other.heard, other.clocks) for other in others} == {("merged", None, (), ())}
    assert max(Counter(told_once(floor)).values(), default=1) == 1
    own = [one for one in (*happening.known, *happening.scores) if one.lead == survivor.lead]
    assert survivor.score
    assert survivor.score.version == len(own), "its own newest score"


@IN_ANY_ORDER
@given(st.data())
def test_calls_merges_and_the_deletions_that_come_with_them_end_the_same_in_every_order(data: st.DataObject) -> None:
    happening = data.draw(happenings(deals=False))
    check(happening, data.draw(st.permutations(happening.told)))


@IN_ANY_ORDER
@given(st.data())
def test_deals_merges_and_the_deletions_that_come_with_them_end_the_same_in_every_order(data: st.DataObject) -> None:
    happening = data.draw(happenings(deals=True))
    check(happening, data.draw(st.permutations(happening.told)))


# --- who was deleted and is back ---


@st.composite
def returns(draw: st.DrawFn) -> tuple[LeadMessage, ...]:
    """What is told after the survivor was deleted: a score, or the merge alone, says that it is back."""
    told = [deleted(0, 30), merged(0, 1, 700)]
    told += [scored(0, 50, version=2, asks=False)] if draw(st.booleans()) else []
    told += [deleted(1, 701)] if draw(st.booleans()) else []
    told += draw(st.one_of(some_calls([1]), some_deals([0])))
    return tuple(told)


def deletion_before_deals(told: Sequence[LeadMessage]) -> list[LeadMessage]:
    """The topic keeps these in order: a deletion forgets the deals that were told before it."""
    deletion, rest = next(one for one in told if one.id == deleted(0, 30).id), list(told)
    first = min(n for n, one in enumerate(told) if one is deletion or isinstance(one, DealChanged))
    rest.remove(deletion)
    return [*rest[:first], deletion, *rest[first:]]


@IN_ANY_ORDER
@given(st.booleans(), st.data())
def test_a_survivor_that_was_deleted_and_is_back_is_forgotten_in_no_order(asked: bool, data: st.DataObject) -> None:
    """It goes on with the other's life, and has every deal since; whether its own from before goes on, too, depends."""
    told = data.draw(returns().flatmap(st.permutations).map(deletion_before_deals))
    floor = Floor().hear([scored(0, 0, version=1, asks=asked), scored(1, 10, version=1, asks=True), *told])
    survivor = floor.leads[LEADS[0]]
    calls = {one.activity for one in told if isinstance(one, ActivityLogged)}
    deals = {one.deal: one.stage for one in sorted(told, key=lambda one: one.at) if isinstance(one, DealChanged)}
    won, opened = "closedwon" in deals.values(), bool(deals)
    assert (survivor.gone, floor.leads[LEADS[1]].merged_into) == ("", survivor.lead)
    assert {one.activity for one in survivor.attempts} == calls
    assert {name: one.stage for name, one in survivor.deals.items()} == deals
    chased = State.WORKING if calls else State.HANDED_OFF
    assert survivor.state is (State.CUSTOMER if won else State.OPPORTUNITY if opened else chased)
    assert survivor.owner
    assert max(Counter(told_once(floor)).values(), default=1) == 1
