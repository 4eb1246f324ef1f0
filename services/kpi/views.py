"""What `GET /kpis` answers, as a front-end is told: the shape of `domain/report.py` beside the targets."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.agreement.kpis import Promise
from shared.events import ClockKind

Ratio = float | None  # null where there is nothing to divide by


class View(BaseModel):
    """It says all that there is."""

    model_config = ConfigDict(extra="forbid")


class Funnel(View):
    """How many leads have reached each stage, or one behind it."""

    lead: int
    mql: int
    sql: int
    opportunity: int
    customer: int


class Conversion(View):
    """Of those that reached a stage, the share that reached the next."""

    lead_to_mql: Ratio
    mql_to_sql: Ratio
    sql_to_opportunity: Ratio
    opportunity_to_customer: Ratio


class AttemptsCounted(View):
    """Contact attempts of people."""

    total: int
    per_handoff: Ratio
    connected: int = Field(description="reached the lead, by what is now known of them")
    connect_rate: Ratio


class Compliance(View):
    """How one promise was kept: met, breached and excused are all clocks that ended."""

    met: int
    breached: int
    excused: int = Field(description="cancelled, with a reason")
    corrected: int = Field(description="of those met, whose breach had been told before and was taken back")
    ratio: Ratio = Field(description="met, of met and breached")


class ComplianceOfAll(Compliance):
    """The same of all teams together and of each."""

    by_team: dict[str, Compliance]


class Kept(View):
    """Each promise of the agreement."""

    accept: ComplianceOfAll
    first_touch: ComplianceOfAll
    cadence: ComplianceOfAll
    decision: ComplianceOfAll


class Time(View):
    """How long it took, in seconds."""

    leads: int
    mean_s: float | None
    p50_s: float | None
    p90_s: float | None


class TimeOf(View):
    """Of the leads of a team with a priority."""

    team: str
    priority: str
    elapsed: Time
    working: Time


class Times(View):
    """Of all leads, and by team and priority; by the clock on the wall and in working time."""

    elapsed: Time
    working: Time
    by_team_and_priority: list[TimeOf]


class ClocksOf(View):
    """How many leads such a clock runs for."""

    clock: ClockKind
    team: str
    priority: str
    leads: int


class Clocks(View):
    """What is owed now. `overdue`: breached, and still owed."""

    open: list[ClocksOf]
    paused: list[ClocksOf] = Field(description="of the open ones, those that stand still")
    overdue: list[ClocksOf]


class SpeedTargets(View):
    """Working time, as 4h or 1d."""

    p50: str | None
    p90: str | None


class AttemptsWanted(View):
    """How hard Sales is to try."""

    per_lead: float | None
    connect_rate: float | None


class ConversionWanted(View):
    """Shares, from 0 to 1, reached within the window (elapsed time, as 90d)."""

    visitor_to_lead: float | None
    lead_to_mql: float | None
    mql_to_sql: float | None
    sql_to_customer: float | None
    window: str | None


class Targets(View):
    """What an agreement holds both to."""

    sla_compliance: dict[Promise, float] = Field(description="shares, from 0 to 1, of the promises that have one")
    speed_to_lead: SpeedTargets
    attempts: AttemptsWanted
    conversion: ConversionWanted


class TargetsOf(View):
    """Of one agreement in force."""

    tenant: str = Field(description="whose agreement it is; empty: that of all others")
    agreement: str = Field(description="its version")
    targets: Targets


class KpisReport(View):
    """How the agreement is doing: everything counted since the beginning, of all tenants together."""

    as_of: datetime
    agreement: str = Field(description="the version of the first of `agreements`, whose `targets` stand here too")
    period: Literal["all"]
    funnel: Funnel
    conversion: Conversion
    handoffs: int
    returns: int
    reassignments: int
    escalations: int
    attempts: AttemptsCounted
    sla_compliance: Kept
    speed_to_lead: Times = Field(description="from the lead's own act to the first attempt")
    handoff_delay: Times = Field(description="the system's part: from the lead's own act to the hand-off")
    response: Times = Field(description="the person's part: from the assignment to the first attempt")
    clocks: Clocks
    targets: Targets
    agreements: list[TargetsOf]
