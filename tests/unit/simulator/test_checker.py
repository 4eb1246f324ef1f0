"""The checker finds what was lost, doubled or invented, and nothing where all agrees."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from shared.clock import ManualClock
from shared.crm.simulator.ledger import Answer, Event, Ledger
from shared.crm.simulator.world import FORM, Ids, World, to_text, user
from shared.events import (
    ActivityLogged,
    AttemptRecorded,
    Channel,
    ClockKind,
    ClockMet,
    ClockStarted,
    ContactChanged,
    DeadLetter,
    DealChanged,
    Direction,
    FormSubmitted,
    LeadHandedOff,
    LeadReturned,
    LeadScored,
    Message,
    Outcome,
    PageVisited,
    PropertyValue,
    RecordType,
    Submission,
    identity,
)
from tests.system.ledger import Seen, Tallies, Truth, differences_in, recount

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
TENANT = "hubspot:62515"
LEAD = f"{TENANT}:901"
FORM_NAME = "Landing: demo-request"
PAGE = "https://www.example.com/demo?v=1"


def at(ms: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)


@dataclass
class Story:
    """A lead that asks for a demo and is called once, and a Leadpact that made no mistake about it."""

    path: Path
    answer: Answer = Answer.OK
    bad: list[object] = field(default_factory=lambda: [{"occurredAt": "yesterday"}])
    seen: Seen = field(default_factory=Seen)
    known: dict[str, dict[str, str]] = field(default_factory=dict)

    def tell(self) -> Story:
        told: list[Event] = []
        clock, ledger = ManualClock(NOON), Ledger(self.path)
        world = World(clock=clock, ledger=ledger, ids=Ids(None, 901), portal=62515, listener=told.append)
        contact = world.create(RecordType.CONTACT, {"email": "ada@example.com"}, FORM)
        world.visit_page(contact, PAGE)
        world.submit_form(contact, FORM_NAME, PAGE)
        clock.advance(timedelta(minutes=5))
        now = int(clock.now().timestamp() * 1000)
        call = world.create(RecordType.CALL, {"hs_timestamp": to_text(now)}, user(501), contacts=[contact.id])
        said = {"channel": "phone", "direction": "outbound", "outcome": "no_answer", "by": "501", "at": now}
        ledger.fact("activity", activity=f"call:{call.id}", contact=contact.id, **said)
        deal = world.create(RecordType.DEAL, {"dealstage": "closedwon"}, user(501), contacts=[contact.id])
        request = ledger.sent(told, self.bad, attempt=0)
        ledger.answered(request, self.answer, 202)
        self._understand(told, call.id, deal.id, now)
        return self

    def _understand(self, told: list[Event], call: int, deal: int, called_ms: int) -> None:
        for event in told:
            if event["subscriptionType"] == "contact.propertyChange":
                name, value, moment = event["propertyName"], event["propertyValue"], at(event["occurredAt"])
                values = (PropertyValue(name=name, value=value, at=moment),)
                self._add(ContactChanged(id=identity(name), tenant=TENANT, at=moment, lead=LEAD, values=values))
                self.known.setdefault(LEAD, {})[name] = value
                if name == "recent_conversion_event_name":
                    self._add(FormSubmitted(id=identity("f"), tenant=TENANT, at=moment, lead=LEAD, form=value))
                    self._judge(moment)
                if name == "hs_analytics_last_url":
                    self._add(PageVisited(id=identity("p"), tenant=TENANT, at=moment, lead=LEAD, url=value))
        email = (PropertyValue(name="email", value="ada@example.com", at=NOON),)
        self._add(ContactChanged(id="c", tenant=TENANT, at=NOON, lead=LEAD, created=True, values=email))
        self._follow_up(f"call:{call}", at(called_ms))
        self._add(DealChanged(id="d", tenant=TENANT, at=NOON, lead=LEAD, deal=str(deal), stage="closedwon"))
        original = json.dumps(self.bad[0]).encode()
        self._add(
            DeadLetter(
                id="x", tenant=TENANT, at=NOON, service="ingest", source="webhooks/hubspot", reason="bad", detail="",
                original=original,
            )
        )  # fmt: skip

    def _judge(self, moment: datetime) -> None:
        self._add(
            LeadScored(
                id="s", tenant=TENANT, at=moment, lead=LEAD, version=1, fit=50, interest=50, fit_grade="A",
                interest_level="1", grade="A1", journey="decision", agreement="v", cause="f",
                forms=(Submission(form=FORM_NAME, at=moment),),
            )
        )  # fmt: skip
        self._add(
            LeadHandedOff(
                id="h1", tenant=TENANT, at=moment, lead=LEAD, version=1, episode=1, agreement="v", cause="s",
                team="inbound", trigger="Asked for a demo", grade="A1", ready_at=moment,
            )
        )  # fmt: skip
        self._add(
            ClockStarted(
                id="h2", tenant=TENANT, at=moment, lead=LEAD, version=2, episode=1, agreement="v", cause="s",
                team="inbound", clock_id="k", clock=ClockKind.FIRST_TOUCH, due_at=moment + timedelta(hours=1),
            )
        )  # fmt: skip

    def _follow_up(self, activity: str, moment: datetime) -> None:
        self._add(
            ActivityLogged(
                id="a", tenant=TENANT, at=moment, lead=LEAD, activity=activity, channel=Channel.PHONE,
                direction=Direction.OUTBOUND, outcome=Outcome.NO_ANSWER, by="501", seen_at=moment,
            )
        )  # fmt: skip
        self._add(
            AttemptRecorded(
                id="h3", tenant=TENANT, at=moment, lead=LEAD, version=3, episode=1, agreement="v", cause="a",
                team="inbound", activity=activity, number=1, channel=Channel.PHONE, outcome=Outcome.NO_ANSWER,
            )
        )  # fmt: skip
        self._add(
            ClockMet(
                id="h4", tenant=TENANT, at=moment, lead=LEAD, version=4, episode=1, agreement="v", cause="a",
                team="inbound", clock_id="k", clock=ClockKind.FIRST_TOUCH, due_at=moment, took_s=60,
            )
        )  # fmt: skip

    def _add(self, message: Message) -> None:
        self.seen.add(message)

    def drop(self, kind: type[Message]) -> None:
        for messages in (self.seen.crm, self.seen.scores, self.seen.handoffs, self.seen.dead):
            messages[:] = [m for m in messages if not isinstance(m, kind)]  # type: ignore[index,assignment]

    def again(self, kind: type[Message], **changed: object) -> None:
        (message, *_) = self.seen.of(kind)
        self._add(msgspec.structs.replace(message, **changed))

    def differences(self, tallies: Tallies | None = None) -> list[str]:
        truth = Truth(Ledger.read(self.path), 62515)
        kept = recount(self.seen.handoffs) if tallies is None else tallies
        return differences_in(truth, self.seen, self.known, kept)


@pytest.fixture
def story(tmp_path: Path) -> Story:
    return Story(tmp_path / "ledger.jsonl").tell()


def test_where_all_agrees_there_is_no_difference(story: Story) -> None:
    assert story.differences() == []


MISTAKES: dict[str, tuple[Callable[[Story], None], str]] = {
    "a lost change": (lambda s: s.drop(ContactChanged), "lost: the creation"),
    "a lost form": (lambda s: s.drop(FormSubmitted), "lost: the form"),
    "a lost page": (lambda s: s.drop(PageVisited), "lost: the page"),
    "a lost activity": (lambda s: s.drop(ActivityLogged), "lost: call:"),
    "a lost deal": (lambda s: s.drop(DealChanged), "lost: deal:"),
    "an invented form": (lambda s: s.again(FormSubmitted, form="Blog: x"), "invented: the form Blog: x"),
    "an invented lead": (lambda s: s.again(ContactChanged, lead=f"{TENANT}:7", values=()), "no such contact"),
    "an invented stage": (lambda s: s.again(DealChanged, stage="closedlost"), "never was in closedlost"),
    "a wrong channel": (lambda s: s.again(ActivityLogged, channel=Channel.SMS), "has channel sms, not phone"),
    "an old property": (lambda s: s.known[LEAD].update(hs_analytics_last_url="/"), "another hs_analytics_last_url"),
    "a forgotten form": (lambda s: s.again(LeadScored, version=2, forms=()), "lacks the form"),
    "a hole": (lambda s: s.again(LeadScored, version=3), "versions of"),
    "a lead not handed off": (lambda s: s.drop(LeadHandedOff), "was not handed off"),
    "two hand-offs": (lambda s: s.again(LeadHandedOff, version=5), "episodes [1, 1]"),
    "an attempt counted twice": (lambda s: s.again(AttemptRecorded, version=5, number=2), "counted twice"),
    "an attempt not counted": (lambda s: s.drop(AttemptRecorded), "was not counted"),
    "an attempt never made": (lambda s: s.again(AttemptRecorded, version=5, activity="call:1"), "was never made"),
    "a clock that ended twice": (lambda s: s.again(ClockMet, version=5), "ended 2 times"),
    "a clock without a start": (lambda s: s.drop(ClockStarted), "started 0 times"),
    "a lost dead letter": (lambda s: s.drop(DeadLetter), "no dead letter"),
    "a refused record": (lambda s: s.again(DeadLetter, source="crm.events"), "refused a record of crm.events"),
    "a good event refused": (lambda s: s.again(DeadLetter, original=b'{"a":1}'), "of what was no bad event"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_it_finds(mistake: str, story: Story) -> None:
    make, words = MISTAKES[mistake]
    make(story)
    assert any(words in difference for difference in story.differences()), story.differences()


def test_it_finds_a_tally_that_a_recount_does_not_give(story: Story) -> None:
    tallies = recount(story.seen.handoffs)
    tallies["leadpact_handoffs_total", ("Asked for a demo", "inbound")] = 2.0
    assert len(story.differences(tallies)) == 1


def test_what_was_not_acknowledged_may_have_no_effect(tmp_path: Path) -> None:
    story = Story(tmp_path / "ledger.jsonl", answer=Answer.UNKNOWN).tell()
    story.seen, story.known = Seen(), {}
    assert story.differences() == []


def test_what_was_not_acknowledged_may_have_its_effect_all_the_same(tmp_path: Path) -> None:
    assert Story(tmp_path / "ledger.jsonl", answer=Answer.FAILED).tell().differences() == []


def test_an_attempt_heard_after_the_lead_went_back_need_not_count(story: Story) -> None:
    (started,) = story.seen.of(ClockStarted)
    story.drop(AttemptRecorded)
    story.drop(ClockMet)
    common = {"tenant": TENANT, "lead": LEAD, "episode": 1, "agreement": "v", "cause": "t"}
    back = LeadReturned(
        id="h5", at=started.at + timedelta(minutes=5, seconds=1), version=3, reason="x", track="", attempts=0, **common
    )
    story.seen.add(back)
    assert story.differences() == []
