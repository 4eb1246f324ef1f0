"""Part 5, nurture: the tracks that a lead can be in with Marketing."""

from __future__ import annotations

from typing import Final

from pydantic import ConfigDict, RootModel

from shared.agreement.values import Name, Part, Slug

BY_JOURNEY: Final = "by_journey"
NO_TRACK: Final = "none"


class Track(Part):
    workflow: Name
    """The workflow of the CRM that it enrols in."""


class Nurture(RootModel[dict[Slug, Track]]):
    """The tracks a lead can go into, by name."""

    model_config = ConfigDict(frozen=True)

    @property
    def tracks(self) -> dict[str, Track]:
        return self.root
