"""What of the agreement matters for counting: its definitions, and the words that may be labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import product
from typing import Final, Protocol
from zoneinfo import ZoneInfo

from services.kpi.domain.commitments import OUTCOMES
from services.kpi.domain.tallies import (
    ATTEMPTS,
    ATTEMPTS_CORRECTED,
    BUCKETS,
    CLOCKS_CORRECTED,
    CLOCKS_ENDED,
    CLOCKS_OPEN,
    CLOCKS_OVERDUE,
    CLOCKS_PAUSED,
    COMMITMENTS_CORRECTED,
    COMMITMENTS_ENDED,
    ENDS,
    ESCALATIONS,
    HANDOFFS,
    REASSIGNMENTS,
    REJECTIONS,
    RETURNS,
    STAGE_ENTRIES,
    Labels,
)
from shared.agreement import Agreement
from shared.agreement.conditions import Subject
from shared.agreement.follow_up import NOT_ACCEPTED
from shared.agreement.goals import SOURCES, UNKNOWN
from shared.agreement.handoff import NORMAL
from shared.agreement.model import by_version
from shared.events import Channel, ClockKind, Outcome

OTHER: Final = "other"
STAGES: Final = ("lead", "mql", "sql", "opportunity", "customer")
# What Sales owes, and what the agreement's kpis call it; reply_wait is the lead's own time.
PROMISED: Final = {
    "accept": ClockKind.ACCEPT,
    "first_touch": ClockKind.FIRST_TOUCH,
    "cadence": ClockKind.NEXT_ATTEMPT,
    "decision": ClockKind.DECISION,
}
BY_HAND: Final = "by_hand"  # the trigger of a hand-off that a person made
# Why a lead changes hands.
OWNER_CHANGES: Final = (BY_HAND, NOT_ACCEPTED, "escalated", "crm", OTHER)
# How a CRM changes its mind about an attempt: the disposition of a call and the end of a meeting come
# later, and so does the news that an email did not arrive. Others are counted as well, when they are met.
CORRECTIONS: Final = (
    *(
        (Channel.PHONE, Outcome.UNKNOWN, outcome)
        for outcome in (
            *(Outcome.CONNECTED, Outcome.NO_ANSWER, Outcome.VOICEMAIL),
            *(Outcome.LIVE_MESSAGE, Outcome.BUSY, Outcome.WRONG_NUMBER),
        )
    ),
    *((Channel.EMAIL, Outcome.SENT, outcome) for outcome in (Outcome.BOUNCED, Outcome.FAILED)),
    *((Channel.MEETING, Outcome.BOOKED, outcome) for outcome in (Outcome.HELD, Outcome.NO_SHOW, Outcome.CANCELLED)),
)


class Holds(Protocol):
    """A condition of the agreement."""

    def holds(self, subject: Subject) -> bool: ...


@dataclass(frozen=True, kw_only=True)
class Terms:
    """The agreement as kpi needs it."""

    lead: Holds | None = None
    mql: Holds | None = None
    teams: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()
    priorities: tuple[str, ...] = (NORMAL,)
    reasons: tuple[str, ...] = ()
    tracks: tuple[str, ...] = ("",)
    escalations: int = 0
    targets: Mapping[Labels, float] = field(default_factory=dict)  # by tenant, kpi, and of what
    zone: str = "UTC"
    commitments: tuple[Labels, ...] = ()  # tenant, goal, stage

    @classmethod
    def of(cls, agreement: Agreement) -> Terms:
        handoff, follow_up = agreement.handoff, agreement.follow_up
        reasons = [*follow_up.reasons, *(rule.reason for rule in follow_up.return_when)]
        if follow_up.if_not_accepted == "return":
            reasons.append(NOT_ACCEPTED)
        return cls(
            lead=agreement.definitions.get("lead"),
            mql=agreement.definitions.get("mql"),
            teams=tuple(handoff.teams),
            triggers=_distinct([*(trigger.name for trigger in handoff.triggers), BY_HAND]),
            priorities=handoff.priorities,
            reasons=_distinct([*reasons, OTHER]),
            tracks=_distinct(["", *agreement.nurture.tracks]),
            escalations=len(follow_up.escalation),
            targets=dict(_targets(agreement)),
            zone=agreement.timezone,
            commitments=tuple(
                dict.fromkeys(
                    (agreement.tenant or "", goal.name, owed.stage)
                    for goal in agreement.goals
                    for owed in goal.marketing_owes
                )
            ),
        )

    def reason(self, said: str) -> str:
        """The reason as a label: a person may say what the agreement does not list."""
        return said if said in self.reasons else OTHER

    def track(self, said: str) -> str:
        return said if said in self.tracks else OTHER

    def day_of(self, at: datetime) -> date:
        """The day that it is then, in the agreement's time zone."""
        return at.astimezone(ZoneInfo(self.zone)).date()

    def combinations(self, metric: str) -> list[Labels]:
        """Every combination of labels that can be foreseen; each is shown as 0 from the start.

        A counter that is first seen at 1 has no increase, and a label never seen is no data, not 0.
        """
        if metric == ATTEMPTS_CORRECTED:
            return [(team, *map(str, correction)) for team in self.teams for correction in CORRECTIONS]
        if metric in (COMMITMENTS_ENDED, COMMITMENTS_CORRECTED):
            outcomes = [(outcome,) for outcome in OUTCOMES] if metric == COMMITMENTS_ENDED else [()]
            return [(*owed, *outcome) for owed in self.commitments for outcome in outcomes]
        owed, whose = list(PROMISED.values()), (self.teams, self.priorities)
        axes: dict[str, tuple[Iterable[str], ...]] = {
            STAGE_ENTRIES: (STAGES, SOURCES),
            HANDOFFS: (self.triggers, self.teams),
            ATTEMPTS: (self.teams, list(Channel), list(Outcome)),
            CLOCKS_ENDED: (list(ClockKind), *whose, ENDS),
            CLOCKS_CORRECTED: (owed, *whose),
            ESCALATIONS: (owed, self.teams, [str(n + 1) for n in range(self.escalations)]),
            REASSIGNMENTS: (OWNER_CHANGES, self.teams),
            RETURNS: (self.reasons, self.tracks),
            REJECTIONS: (self.reasons, self.teams),
            **dict.fromkeys((CLOCKS_OPEN, CLOCKS_PAUSED, CLOCKS_OVERDUE), (list(ClockKind), *whose)),
            **dict.fromkeys(BUCKETS, whose),
        }
        return [tuple(str(value) for value in values) for values in product(*axes[metric])]


terms_of: Final = by_version(Terms.of)


def _targets(agreement: Agreement) -> Iterator[tuple[Labels, float]]:
    """The ratios that both sides hold each other to."""
    tenant, kpis = agreement.tenant or "", agreement.kpis
    for promise, share in kpis.sla_compliance.items():
        yield (tenant, "sla_compliance", promise), share
    for step, share in kpis.conversion:
        if isinstance(share, float):
            yield (tenant, "conversion", step), share
    if kpis.attempts.connect_rate is not None:
        yield (tenant, "connect_rate", ""), kpis.attempts.connect_rate


def source_of(said: str | None) -> str:
    """The value of hs_analytics_source as a label."""
    return said if said in SOURCES else UNKNOWN


def owner_change(said: str) -> str:
    """Why a lead changed hands, as a label."""
    return said if said in OWNER_CHANGES else OTHER


def _distinct(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words))
