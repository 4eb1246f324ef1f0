"""What scoring needs to know beyond what every service does: nothing yet."""

from __future__ import annotations

import dataclasses

from shared.settings import Settings


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScoringSettings(Settings):
    """scoring judges by the agreement; what there is to set stands there."""
