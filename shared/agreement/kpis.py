"""Part 7, kpis: what both hold each other to."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from shared.agreement.goals import Conversions
from shared.agreement.values import Duration, Part, Share, Working

Promise = Literal["accept", "first_touch", "cadence", "decision"]


class SpeedToLead(Part):
    """From the lead's own act to the first attempt, in working time."""

    p50: Working | None = None
    """Half of all leads are touched within."""
    p90: Working | None = None
    """Nine of ten leads are touched within."""


class AttemptTargets(Part):
    per_lead: float | None = Field(default=None, gt=0)
    """How many on average."""
    connect_rate: Share | None = None
    """How many of them reach somebody."""


class ConversionTargets(Conversions):
    window: Duration | None = None
    """How long a lead has to get from one stage to the next."""


class Kpis(Part):
    """Targets that the kpi service shows beside what is."""

    sla_compliance: dict[Promise, Share] = {}
    """How many of the promises are kept, by promise."""
    speed_to_lead: SpeedToLead = SpeedToLead()
    """How fast leads are touched."""
    attempts: AttemptTargets = AttemptTargets()
    """How hard Sales tries."""
    conversion: ConversionTargets = ConversionTargets()
    """How many get from one stage to the next."""
