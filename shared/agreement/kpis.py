"""Part 7, kpis: what both hold each other to."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from shared.agreement.goals import Conversions
from shared.agreement.values import Duration, Part, Share, Working


class SpeedToLead(Part):
    """From the lead's own act to the first attempt, in working time."""

    p50: Working | None = None
    p90: Working | None = None


class AttemptTargets(Part):
    per_lead: float | None = Field(default=None, gt=0)
    connect_rate: Share | None = None


class ConversionTargets(Conversions):
    window: Duration | None = None


class Kpis(Part):
    """Targets that the kpi service shows beside what is."""

    sla_compliance: dict[Literal["accept", "first_touch", "cadence", "decision"], Share] = {}
    speed_to_lead: SpeedToLead = SpeedToLead()
    attempts: AttemptTargets = AttemptTargets()
    conversion: ConversionTargets = ConversionTargets()
