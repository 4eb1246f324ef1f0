"""What a backtest found, as the figures that JSON, the screen and the page all show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from services.commands.backtest.comparing import LeadDifference
from services.commands.backtest.findings import Findings
from services.commands.backtest.running import Result
from services.commands.backtest.staffing import ASSUMPTIONS, ENOUGH_OF_ALL, Late
from services.kpi.domain.tallies import HANDOFFS, REJECTIONS, RETURNS, STAGE_ENTRIES
from shared.agreement import Agreement

DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
HOURS: Final = 24
NOT_IN_IT: Final = (
    "What people did through Leadpact's own API and links (accept, reject, qualify, return, pause, reassign) is not "
    "in this record: both sides go on without it.",
    "What Sales did is what it really did. A lead that only the new agreement hands over has no attempts in the "
    "record, so returns and outcomes of it say little.",
)


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """A count under the old and the new agreement."""

    old: int
    new: int


class Touches(msgspec.Struct, frozen=True, kw_only=True):
    """First touches that were due, and those of them that came too late."""

    due: int
    late: int

    @property
    def share(self) -> float | None:
        return self.late / self.due if self.due else None


class Which(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    version: str


class RecordRead(msgspec.Struct, frozen=True, kw_only=True):
    """What was read. Counted is what happened from `since` on; what came before was lived through."""

    events: int
    leads: int
    first: datetime
    last: datetime
    since: datetime | None
    begin_unknown: int
    unreadable: int


class Refusals(msgspec.Struct, frozen=True, kw_only=True):
    """Messages that the services would have put into dead.letters, by reason."""

    old: dict[str, int]
    new: dict[str, int]


class HandedOff(msgspec.Struct, frozen=True, kw_only=True):
    """`hours` has a row a weekday, Monday first, and a number an hour, in `timezone`."""

    total: Pair
    leads_by_both: int
    leads_by_old_only: int
    leads_by_new_only: int
    by_trigger: dict[str, Pair]
    by_team: dict[str, Pair]
    timezone: str
    hours_old: list[list[int]]
    hours_new: list[list[int]]


class Move(msgspec.Struct, frozen=True, kw_only=True):
    old: str
    new: str
    leads: int


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule behind changed grades: in how many leads it gives other points, and how many in all."""

    rule: str
    leads: int
    points: float


class Grades(msgspec.Struct, frozen=True, kw_only=True):
    changed: int
    moves: list[Move]
    rules: list[Rule]


class TeamTouches(msgspec.Struct, frozen=True, kw_only=True):
    """`recorded`: as they came out under the old agreement; the other two are the model's."""

    recorded: Touches
    predicted_old: Touches | None
    predicted_new: Touches | None


class FirstTouches(msgspec.Struct, frozen=True, kw_only=True):
    """`same_*`: of the hand-offs that both make at the same moment, as people really acted."""

    answered: int
    enough: bool
    all: TeamTouches
    by_team: dict[str, TeamTouches]
    same_old: Touches
    same_new: Touches
    assumptions: list[str]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All of it."""

    old: Which
    new: Which
    record: RecordRead
    refused: Refusals
    mqls: Pair
    handoffs: HandedOff
    grades: Grades
    returns: dict[str, Pair]
    rejections: dict[str, Pair]
    first_touches: FirstTouches
    leads_that_differ: int
    leads: list[LeadDifference]
    left_out: list[str]

    @property
    def found(self) -> bool:
        """Whether the new agreement would have made any difference that was counted."""
        pairs = (*self.handoffs.by_trigger.values(), *self.handoffs.by_team.values(), self.mqls, self.handoffs.total)
        touches = self.first_touches
        return (
            self.leads_that_differ > 0
            or any(pair.old != pair.new for pair in (*pairs, *self.returns.values(), *self.rejections.values()))
            or self.handoffs.hours_old != self.handoffs.hours_new
            or touches.same_old != touches.same_new
            or touches.all.predicted_old != touches.all.predicted_new
            or self.refused.old != self.refused.new
        )


def report(result: Result) -> Report:
    """The figures of a result."""
    old, new, comparison, heard = result.old_findings, result.new_findings, result.comparison, result.heard
    assert heard.first is not None
    assert heard.last is not None  # of an empty record there is no result
    return Report(
        old=_which(result.old),
        new=_which(result.new),
        record=RecordRead(
            events=heard.events,
            leads=comparison.leads,
            first=heard.first,
            last=heard.last,
            since=result.since,
            begin_unknown=comparison.begin_unknown,
            unreadable=heard.unreadable,
        ),
        refused=Refusals(old=dict(sorted(old.refused.items())), new=dict(sorted(new.refused.items()))),
        mqls=Pair(old=_mqls(old), new=_mqls(new)),
        handoffs=_handed_off(result),
        grades=_grades(result),
        returns=_pairs(old.by(RETURNS, 0), new.by(RETURNS, 0)),
        rejections=_pairs(old.by(REJECTIONS, 0), new.by(REJECTIONS, 0)),
        first_touches=_first_touches(result),
        leads_that_differ=comparison.different,
        leads=comparison.shown,
        left_out=list(NOT_IN_IT),
    )


def as_json(found: Report) -> Any:
    """As plain data."""
    return msgspec.to_builtins(found)


def _which(agreements: Sequence[Agreement]) -> Which:
    """Of a folder all of them."""
    names, versions = (one.name for one in agreements), (one.version for one in agreements)
    return Which(name=", ".join(names), version=", ".join(versions))


def _mqls(findings: Findings) -> int:
    return findings.by(STAGE_ENTRIES, 0)["mql"]


def _pairs(old: Mapping[str, int], new: Mapping[str, int]) -> dict[str, Pair]:
    names = sorted(old.keys() | new.keys(), key=lambda name: (-max(old.get(name, 0), new.get(name, 0)), name))
    return {name: Pair(old=old.get(name, 0), new=new.get(name, 0)) for name in names}


def _handed_off(result: Result) -> HandedOff:
    old, new, comparison = result.old_findings, result.new_findings, result.comparison
    return HandedOff(
        total=Pair(old=old.hours.total(), new=new.hours.total()),
        leads_by_both=comparison.handed_by_both,
        leads_by_old_only=comparison.handed_by_old,
        leads_by_new_only=comparison.handed_by_new,
        by_trigger=_pairs(old.by(HANDOFFS, 0), new.by(HANDOFFS, 0)),
        by_team=_pairs(old.by(HANDOFFS, 1), new.by(HANDOFFS, 1)),
        timezone=result.timezone,
        hours_old=_week(old),
        hours_new=_week(new),
    )


def _week(findings: Findings) -> list[list[int]]:
    return [[findings.hours[day, hour] for hour in range(HOURS)] for day in range(len(DAYS))]


def _grades(result: Result) -> Grades:
    comparison = result.comparison
    moves = sorted(comparison.moves.items(), key=lambda one: (-one[1], one[0]))
    rules = sorted(comparison.rule_leads.items(), key=lambda one: (-one[1], one[0]))
    return Grades(
        changed=comparison.moves.total(),
        moves=[Move(old=old, new=new, leads=leads) for (old, new), leads in moves],
        rules=[Rule(rule=name, leads=leads, points=comparison.rule_tenths[name] / 10) for name, leads in rules],
    )


def _first_touches(result: Result) -> FirstTouches:
    was = result.recorded
    before, after = result.predicted or ({}, {})
    known = result.predicted is not None
    teams = sorted({*was, *before, *after})
    return FirstTouches(
        answered=result.pace.answered,
        enough=known,
        all=_touches(_sum(was), _sum(before) if known else None, _sum(after) if known else None),
        by_team={
            team: _touches(
                was.get(team, Late()),
                before.get(team, Late()) if known else None,
                after.get(team, Late()) if known else None,
            )
            for team in teams
        },
        same_old=_touched(result.comparison.common_old),
        same_new=_touched(result.comparison.common_new),
        assumptions=list(ASSUMPTIONS) if known else [_too_little(result)],
    )


def _too_little(result: Result) -> str:
    return (
        f"The record is too short to say how people would keep up: {result.pace.answered} hand-offs were touched or "
        f"late under the old agreement, and {ENOUGH_OF_ALL} are needed."
    )


def _touches(recorded: Late, old: Late | None, new: Late | None) -> TeamTouches:
    return TeamTouches(
        recorded=_touched(recorded),
        predicted_old=None if old is None else _touched(old),
        predicted_new=None if new is None else _touched(new),
    )


def _touched(late: Late) -> Touches:
    return Touches(due=late.due, late=late.late)


def _sum(by_team: Mapping[str, Late]) -> Late:
    whole = Late()
    for late in by_team.values():
        whole.add(late)
    return whole
