"""A lead's story as a test tells it: each step at its time, through the domain only."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from services.handoff.domain import attempts, commands, deals, ends, triggers
from services.handoff.domain.commands import Command, NewAttempt
from services.handoff.domain.draft import HandoffDecision
from services.handoff.domain.lead import Lead
from services.handoff.worker import decided, due, notices_of
from shared.agreement import Agreement
from shared.events import (
    ActivityLogged,
    Channel,
    ContactErased,
    ContactsMerged,
    DealChanged,
    Direction,
    HandoffMessage,
    LeadScored,
    Outcome,
    Submission,
    identity,
)
from shared.work import Facts
from tests.agreements import PLAIN

AGREEMENT = PLAIN
TENANT = "hubspot:62515"
START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
DEMO = "demo-request"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


class Story:
    """One lead, told step by step. `messages` are all that hand-off said, `told` those of the last step."""

    def __init__(self, contact: int = 901, *, agreement: Agreement = AGREEMENT, start: datetime = START) -> None:
        self.lead = Lead(lead=f"{TENANT}:{contact}")
        self.agreement = agreement
        self.now = start
        self.messages: list[HandoffMessage] = []
        self.told: list[HandoffMessage] = []
        self.notices: list[Any] = []
        self.forms: list[Submission] = []
        self.said: dict[str, str] = {}
        self.set_at: dict[str, datetime] = {}
        self._numbers = count(1)
        self._score = 0

    # --- time ---

    def at(self, moment: datetime) -> Story:
        self.now = moment
        return self

    def after(self, by: timedelta) -> Story:
        return self.at(self.now + by)

    def clocks_fire(self) -> Story:
        decision, _ = due(self.lead, self.facts())
        return self._take(decision)

    # --- what happens ---

    def scored(self, *, form: str | None = None, version: int | None = None, **more: Any) -> Story:
        self._score = version or self._score + 1
        if form:
            self.forms.append(Submission(form=form, at=self.now))
        said: dict[str, Any] = {
            "fit": 10,
            "interest": 10,
            "fit_grade": "B",
            "interest_level": "3",
            "grade": "B3",
            "journey": "consideration",
            "forms": tuple(self.forms),
            "profile": {"email": "ada@example.test", "country": "US", **self.said},
            "set_at": dict(self.set_at),
            "seen_at": self.now,
        }
        message = LeadScored(
            **{**self._about("score"), **said, "version": self._score, "agreement": "x", "cause": "y"} | more
        )
        return self._decide(triggers.scored, message)

    def set_in_crm(self, name: str, value: str, *, at: datetime | None = None, **more: Any) -> Story:
        """A person sets a property of the contact; the score tells."""
        self.set_at = {**self.set_at, name: at or self.now}
        self.said = {**self.said, name: value}
        return self.scored(**more)

    def asks_for_a_demo(self, **more: Any) -> Story:
        return self.scored(form=DEMO, **more)

    def activity(
        self,
        outcome: Outcome = Outcome.NO_ANSWER,
        *,
        at: datetime | None = None,
        activity: str = "",
        by: str = "77",
        direction: Direction = Direction.OUTBOUND,
        channel: Channel = Channel.PHONE,
        sequence: str = "",
    ) -> Story:
        message = ActivityLogged(
            **{**self._about("activity"), "at": at or self.now},
            activity=activity or f"call:{next(self._numbers)}",
            channel=channel,
            direction=direction,
            outcome=outcome,
            by=by,
            sequence=sequence,
            seen_at=self.now,
        )
        return self._decide(attempts.logged, message)

    def lead_writes(self) -> Story:
        return self.activity(Outcome.REPLIED, direction=Direction.INBOUND, by="")

    def deal(self, stage: str, *, deal: str = "deal:1", at: datetime | None = None) -> Story:
        message = DealChanged(**{**self._about("deal"), "at": at or self.now}, deal=deal, stage=stage)
        return self._decide(deals.changed, message)

    def erased(self) -> Story:
        return self._decide(ends.erased, ContactErased(**self._about("erased"), privacy=True))

    def deleted(self, *, at: datetime | None = None) -> Story:
        return self._decide(
            ends.erased, ContactErased(**{**self._about("deleted"), "at": at or self.now}, privacy=False)
        )

    def merged_with(self, other: Story) -> Story:
        message = ContactsMerged(**self._about("merged"), merged=(other.lead.lead,))
        decision = ends.merged(self.lead, message, {other.lead.lead: other.lead}, self.agreement, self.now)
        others = [m for m in decision.messages if m.lead == other.lead.lead]
        left = decision.others.get(other.lead.lead, other.lead)
        other._take(HandoffDecision(state=left, messages=tuple(others), agreement=self.agreement))
        own = tuple(m for m in decision.messages if m.lead == self.lead.lead)
        return self._take(HandoffDecision(state=decision.state, messages=own, agreement=self.agreement))

    # --- what people do ---

    def accept(self) -> Story:
        return self._command(commands.accept)

    def qualify(self) -> Story:
        return self._command(commands.qualify)

    def reject(self, reason: str) -> Story:
        return self._command(commands.reject(reason))

    def send_back(self, reason: str, track: str | None = None) -> Story:
        return self._command(commands.send_back(reason, track))

    def disqualify(self, reason: str) -> Story:
        return self._command(commands.disqualify(reason))

    def pause(self, reason: str = "away", until: datetime | None = None) -> Story:
        return self._command(commands.pause(reason, until))

    def resume(self) -> Story:
        return self._command(commands.resume)

    def reassign(self, owner: str | None = None, team: str | None = None) -> Story:
        return self._command(commands.reassign(team, owner))

    def nurture(self, track: str) -> Story:
        return self._command(commands.nurture(track))

    def hand_off(self, priority: str = "normal", team: str | None = None, owner: str | None = None) -> Story:
        return self._command(commands.hand_off(priority, team, owner))

    def reports(self, outcome: Outcome = Outcome.NO_ANSWER, **more: Any) -> Story:
        return self._command(commands.attempt(NewAttempt(channel=Channel.PHONE, outcome=outcome, **more)))

    # --- what came of it ---

    @property
    def kinds(self) -> list[str]:
        """The types of what the last step said."""
        return [type(message).__name__ for message in self.told]

    def only(self, kind: type[Any]) -> Any:
        """The one message of this kind in the whole story."""
        (found,) = [message for message in self.messages if isinstance(message, kind)]
        return found

    def last(self, kind: type[Any]) -> Any:
        return [message for message in self.messages if isinstance(message, kind)][-1]

    def heard(self, kind: type[Any]) -> list[Any]:
        return [message for message in self.messages if isinstance(message, kind)]

    # --- inner ---

    def facts(self) -> Facts[Lead]:
        return Facts(now=self.now, agreement=self.agreement)

    def _about(self, *what: object) -> dict[str, Any]:
        number = identity(*what, self.lead.lead, next(self._numbers))
        return {"id": number, "tenant": TENANT, "lead": self.lead.lead, "at": self.now}

    def _decide(self, decide: Callable[..., HandoffDecision], message: Any) -> Story:
        return self._take(decided(decide)(self.lead, message, self.facts()))

    def _command(self, decide: Callable[..., HandoffDecision]) -> Story:
        command = Command(id=identity("command", next(self._numbers)), person="ana")
        return self._decide(decide, command)

    def _take(self, decision: HandoffDecision) -> Story:
        self.lead = decision.state
        self.told = [message for message in decision.messages if isinstance(message, HandoffMessage)]
        self.messages.extend(self.told)
        self.notices.extend(notices_of(decision))
        return self
