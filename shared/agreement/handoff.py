"""Part 4, handoff: when a lead goes to Sales, what goes with it, who gets it, and who is told."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import (
    BeforeValidator,
    Field,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from shared.agreement.conditions import Condition, Subject
from shared.agreement.values import WRITTEN, Name, OrAlone, Part, PropertyName, Slug, in_file, listed, wrong

MANAGER: Final = "manager"
TEAM: Final = "team:"  # before the name of a team, where other things can stand too
TO_TEAM: Final = r"team:[a-z][a-z0-9_-]*"
NORMAL: Final = "normal"  # the priority that every agreement has


class Trigger(Part):
    """When Marketing hands over; the first in the file's order that holds."""

    name: Name
    """As it is shown with each hand-off."""
    when: Condition
    """When it fires."""
    unless: Condition | None = None
    """When it does not all the same."""
    priority: Slug = NORMAL
    """What the follow-up's times go by first; normal when left out."""

    def holds(self, about: Subject) -> bool:
        """Whether a lead is ready by it."""
        return self.when.holds(about) and not (self.unless is not None and self.unless.holds(about))


def _team(value: Any) -> Any:
    if re.fullmatch(TO_TEAM, str(value)):
        return value
    raise wrong("must be team: and the name of a team, as team:inbound")


class Route(Part):
    when: Condition | None = None
    """Which leads; the last route has none."""
    to: Annotated[str, BeforeValidator(_team), in_file(TO_TEAM, "team: and its name.", "team:inbound")]
    """Which team gets them."""

    @property
    def team(self) -> str:
        return self.to.removeprefix(TEAM)


def _member(value: Any) -> Any:
    """A weight alone is all that most members need."""
    return value if isinstance(value, Mapping | Member) else {"weight": value}


WEIGHT: Final = {"type": "integer", "minimum": 0, "maximum": 1000, "description": "The member's weight alone."}


class Member(Part):
    """`weight`: how large a share of the team's leads. `crm_owner`: the id that this person has in the CRM."""

    weight: int = Field(default=1, ge=0, le=1000)
    """How large a share of the team's leads; 2 is twice as many."""
    calendar: Slug | None = None
    """When this member works; else as the team."""
    crm_owner: str = ""
    """The member's id in the CRM, for one whose address is another there."""

    @model_serializer(mode="wrap")
    def _as_written(self, plain: SerializerFunctionWrapHandler, info: SerializationInfo) -> Any:
        alone = info.context == WRITTEN and self == Member(weight=self.weight)
        return self.weight if alone else plain(self)


class Team(Part):
    """Who receives leads, by whose calendar, and who is told when a promise is broken."""

    members: dict[Name, Annotated[Member, BeforeValidator(_member), OrAlone(WEIGHT)]] = Field(min_length=1)
    """Who gets the leads: each a weight, or more."""
    calendar: Slug | None = None
    """When its members work; else as everybody."""
    manager: str = ""
    """Who is told when a promise is broken."""

    @property
    def weights(self) -> dict[str, int]:
        """Person → weight."""
        return {person: member.weight for person, member in self.members.items()}

    @model_validator(mode="after")
    def _somebody_works(self) -> Team:
        if not any(self.weights.values()):
            raise wrong("must have a member with a weight of 1 or more")
        return self


Event = Literal[
    "handed_off",
    "assigned",
    "reassigned",
    "raised",
    "asked_again",
    "accepted",
    "warned",
    "breached",
    "corrected",
    "escalated",
    "paused",
    "resumed",
    "replied",
    "rejected",
    "returned",
    "qualified",
    "disqualified",
    "erased",
]


class Notify(Part):
    """What is told, and by which channel. Whom the program behind the webhook tells is its own affair."""

    on: Annotated[tuple[Event, ...], BeforeValidator(listed), OrAlone(), Field(min_length=1)]
    """What is told."""
    by: Annotated[tuple[Literal["webhook"], ...], BeforeValidator(listed), OrAlone(), Field(min_length=1)]
    """By which way."""


class Handoff(Part):
    triggers: tuple[Trigger, ...] = Field(min_length=1)
    """When a lead is handed over; the first that holds counts."""
    information: dict[Literal["mql"], tuple[PropertyName, ...]] = {}
    """What of the CRM goes with the lead, by stage."""
    route: tuple[Route, ...] = Field(min_length=1)
    """To which team; the first that holds counts."""
    teams: dict[Slug, Team] = Field(min_length=1)
    """The teams of Sales by name."""
    notify: tuple[Notify, ...] = ()
    """What is told to people, and how."""

    @property
    def priorities(self) -> tuple[str, ...]:
        """Every priority that a lead can have, each once."""
        return tuple(dict.fromkeys((NORMAL, *(trigger.priority for trigger in self.triggers))))

    @model_validator(mode="after")
    def _somebody_gets_every_lead(self) -> Handoff:
        if self.route[-1].when is not None:
            raise wrong("must end its route with one that has no `when`, for every other lead")
        return self
