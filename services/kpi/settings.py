"""What kpi needs to know beyond what every service does: nothing yet."""

from __future__ import annotations

import dataclasses

from shared.settings import Settings


@dataclasses.dataclass(frozen=True, kw_only=True)
class KpiSettings(Settings):
    """kpi counts by the agreement; what there is to set stands there."""
