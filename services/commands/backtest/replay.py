"""Scoring, hand-off and kpi as they are, in memory: what they decide about some leads under one agreement.

Their own handlers decide, out of the tables that the one loop reads; nothing of a rule stands here.
Time is the record's: a message is heard when the CRM told it, never before what was heard of the
same lead earlier, and whatever fell due until then is told first, as hand-off's clocks and scoring's
fading do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

from prometheus_client import CollectorRegistry

from services.commands.backtest import parts
from services.commands.recorded import heard_at
from services.handoff import worker as handoff
from services.handoff.domain.lead import Lead as HandoffLead
from services.kpi import worker as kpi
from services.kpi.domain.leads import LeadState
from services.scoring import worker as scoring
from services.scoring.domain.lead import Lead as ScoringLead
from services.scoring.metrics import ScoringMetrics
from shared import events
from shared.agreement import Agreements
from shared.clock import SystemClock
from shared.errors import Broken, Later, Refused
from shared.events import ContactsMerged, LeadMessage, Message, Topic, tenant_of
from shared.work import Decision, Facts, Worker

S = TypeVar("S")

Hear = Callable[[Message, datetime], None]
"""Told of every message of any topic and the moment at which it was heard."""
FAILED: Final = "handler_failed"
FACTS, MERGES = 0, 1


class Service(Generic[S]):
    """One worker on states in memory; each fact counts once, and a refused one changes nothing, as in the one loop."""

    def __init__(self, worker: Worker[S], agreements: Agreements, refused: Counter[str]) -> None:
        self.states: dict[str, S] = {}
        self._worker = worker
        self._agreements = agreements
        self._refused = refused
        self._known: set[str] = set()

    def hear(self, message: Message, now: datetime) -> Decision[S] | None:
        """None: it is not this service's, was heard before, or is refused."""
        kind = type(message)
        if kind not in self._worker.handlers:
            if kind not in self._worker.ignored:
                raise Broken("unlisted", f"{self._worker.service} neither handles nor ignores {kind.__name__}")
            return None
        if message.id in self._known:
            return None
        decision = self._judged(lambda: self._decide(message, now))
        if decision is not None:
            self._known.add(message.id)
        return decision

    def _decide(self, message: Message, now: datetime) -> tuple[str, Decision[S]]:
        key, *others = self.about(message)
        facts = Facts(
            now=now,
            agreement=self._agreements.for_tenant(message.tenant),
            key=key,
            others={other: self._state(other) for other in others},
        )
        return key, self._worker.handlers[type(message)](self._state(key), message, facts)

    def about(self, message: Message) -> tuple[str, ...]:
        """What the message is decided on: a lead that was merged away passes it on."""
        return self._worker.about(message, self.states)

    def decide(self, key: str, now: datetime, judge: Callable[[S, Facts[S]], Decision[S]]) -> Decision[S] | None:
        """A decision without a message. None: it is refused."""
        return self._judged(
            lambda: (
                key,
                judge(self.states[key], Facts(now=now, agreement=self._agreements.for_tenant(tenant_of(key)), key=key)),
            )
        )

    def _state(self, key: str) -> S:
        return self.states[key] if key in self.states else self._worker.new(key)

    def _judged(self, decide: Callable[[], tuple[str, Decision[S]]]) -> Decision[S] | None:
        try:
            key, decision = decide()
        except Exception as error:
            if isinstance(error, Later | Broken):
                raise
            self._refused[error.code if isinstance(error, Refused) else FAILED] += 1
            return None
        self.states[key] = decision.state
        self.states.update(decision.others)
        return decision


class House:
    """The three services under one agreement. What they publish is told to `hear`, in order."""

    def __init__(self, agreements: Agreements, hear: Hear) -> None:
        self.refused: Counter[str] = Counter()
        self._hear = hear
        self._scoring = Service(scoring.worker(ScoringMetrics(CollectorRegistry())), agreements, self.refused)
        self._handoff = Service(handoff.worker(wall=SystemClock(), notify=False), agreements, self.refused)
        self._kpi = Service(kpi.worker(), agreements, self.refused)
        self.counted: Callable[[Decision[LeadState], Message], None] = lambda decision, message: None

    @property
    def scored(self) -> Mapping[str, ScoringLead]:
        return self._scoring.states

    @property
    def handed(self) -> Mapping[str, HandoffLead]:
        return self._handoff.states

    def hears(self, message: LeadMessage, now: datetime) -> None:
        """Let time pass for the leads that it is about, and everything follow from it."""
        for lead in dict.fromkeys((*self._handoff.about(message), *self._scoring.about(message))):
            self.waits(lead, now)
        self._tell(message, now)
        self._publish(self._handoff.hear(message, now), now)
        self._score(self._scoring.hear(message, now), now)

    def waits(self, lead: str, now: datetime) -> None:
        """What fell due for the lead until then is told: clocks, and interest that faded, each at its moment."""
        while (moment := self._fades_at(lead)) is not None and moment <= now:
            self._rings(lead, moment)
            faded = self._scoring.decide(lead, moment, scoring.faded)
            if faded is None:
                break
            self._score(faded, moment)
        self._rings(lead, now)

    def _fades_at(self, lead: str) -> datetime | None:
        state = self._scoring.states.get(lead)
        return None if state is None else state.fades_at

    def _score(self, decision: Decision[ScoringLead] | None, now: datetime) -> None:
        for told in decision.messages if decision else ():
            self._tell(told, now)
            self._publish(self._handoff.hear(told, now), now)

    def _rings(self, lead: str, now: datetime) -> None:
        state = self._handoff.states.get(lead)
        if state is not None and any(clock.next_at is not None and clock.next_at <= now for clock in state.clocks):
            self._publish(self._handoff.decide(lead, now, lambda lead, facts: handoff.due(lead, facts)[0]), now)

    def _publish(self, decision: Decision[HandoffLead] | None, now: datetime) -> None:
        for message in decision.messages if decision else ():
            self._tell(message, now)

    def _tell(self, message: Message, now: datetime) -> None:
        self._hear(message, now)
        counted = self._kpi.hear(message, now)
        if counted is not None:
            self.counted(counted, message)


# --- in order ---


def in_order(raws: Iterable[parts.Raw]) -> list[tuple[datetime, LeadMessage]]:
    """The messages of a part with the moments at which they were heard, in the order of these.

    Of each lead in the order of the record. At the same moment merges come last, and leads in the order
    of their keys: so it does not matter how the record mixes its leads.
    """
    places: dict[str, tuple[datetime, int]] = {}
    found: list[tuple[datetime, int, str, LeadMessage]] = []
    for lead, value in raws:
        message: Any = events.decode(Topic.CRM_EVENTS, value)
        place = heard_at(message), MERGES if isinstance(message, ContactsMerged) else FACTS
        places[lead] = place = max(place, places.get(lead, place))  # never before what came earlier
        found.append((*place, lead, message))
    found.sort(key=lambda one: one[:3])  # stable: of one lead and moment in the order of the record
    return [(at, message) for at, _, _, message in found]


def live_through(houses: Iterable[House], told: Iterable[tuple[datetime, LeadMessage]], end: datetime) -> None:
    """Each house hears all of it in one pass, and what falls due until `end`."""
    all_of_them = list(houses)
    for now, message in told:
        for house in all_of_them:
            house.hears(message, now)
    for house in all_of_them:
        for lead in sorted({*house.scored, *house.handed}):
            house.waits(lead, end)
