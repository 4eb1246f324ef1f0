"""What of the agreement matters for counting: its definitions, and the words that may be labels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import Final, Protocol

from services.kpi.domain.tallies import (
    ATTEMPTS,
    CLOCKS_ENDED,
    CLOCKS_OPEN,
    CLOCKS_OVERDUE,
    ENDS,
    FIRST_TOUCH,
    HANDOFFS,
    REJECTIONS,
    RETURNS,
    STAGE_ENTRIES,
    Labels,
)
from shared.agreement import Agreement
from shared.agreement.conditions import Subject
from shared.events import Channel, ClockKind, Outcome

UNKNOWN: Final = "unknown"
OTHER: Final = "other"
# What HubSpot's hs_analytics_source can say; anything else is "unknown", so that no free text becomes a label.
SOURCES: Final = (
    "PAID_SEARCH",
    "PAID_SOCIAL",
    "ORGANIC_SEARCH",
    "EMAIL_MARKETING",
    "REFERRALS",
    "DIRECT_TRAFFIC",
    "SOCIAL_MEDIA",
    "AI_REFERRALS",
    "OFFLINE",
    "OTHER_CAMPAIGNS",
    UNKNOWN,
)
STAGES: Final = ("lead", "mql", "sql", "opportunity", "customer")
NORMAL: Final = "normal"


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

    @classmethod
    def of(cls, agreement: Agreement) -> Terms:
        handoff, follow_up = agreement.handoff, agreement.follow_up
        reasons = [*follow_up.reasons, *(rule.reason for rule in follow_up.return_when)]
        return cls(
            lead=agreement.definitions.get("lead"),
            mql=agreement.definitions.get("mql"),
            teams=tuple(handoff.teams),
            triggers=tuple(trigger.name for trigger in handoff.triggers),
            priorities=_distinct([NORMAL, *(trigger.priority for trigger in handoff.triggers)]),
            reasons=_distinct([*reasons, OTHER]),
            tracks=_distinct(["", *agreement.nurture.tracks]),
        )

    def reason(self, said: str) -> str:
        """The reason as a label: a person may say what the agreement does not list."""
        return said if said in self.reasons else OTHER

    def track(self, said: str) -> str:
        return said if said in self.tracks else OTHER

    def combinations(self, metric: str) -> list[Labels]:
        """Every combination of labels that can be foreseen; each is shown as 0 from the start.

        A counter that is first seen at 1 has no increase, and a label never seen is no data, not 0.
        """
        clocks, outcomes = list(ClockKind), list(Outcome)
        axes: dict[str, tuple[Iterable[str], ...]] = {
            STAGE_ENTRIES: (STAGES, SOURCES),
            HANDOFFS: (self.triggers, self.teams),
            ATTEMPTS: (self.teams, list(Channel), outcomes),
            CLOCKS_ENDED: (clocks, self.teams, self.priorities, ENDS),
            RETURNS: (self.reasons, self.tracks),
            REJECTIONS: (self.reasons, self.teams),
            CLOCKS_OPEN: (clocks, self.teams, self.priorities),
            CLOCKS_OVERDUE: (clocks, self.teams, self.priorities),
            FIRST_TOUCH: (self.teams, self.priorities),
        }
        return [tuple(str(value) for value in values) for values in product(*axes[metric])]


def source_of(said: str | None) -> str:
    """The value of hs_analytics_source as a label."""
    return said if said in SOURCES else UNKNOWN


def _distinct(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words))
