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

from shared.agreement.conditions import Condition
from shared.agreement.values import WRITTEN, Name, Part, PropertyName, Slug, listed, wrong

MANAGER: Final = "manager"
TEAM: Final = "team:"  # before the name of a team, where other things can stand too
NORMAL: Final = "normal"  # the priority that every agreement has


class Trigger(Part):
    """When Marketing hands over; the first in the file's order that holds."""

    name: Name
    when: Condition
    unless: Condition | None = None
    priority: Slug = NORMAL


def _team(value: Any) -> Any:
    if re.fullmatch(r"team:[a-z][a-z0-9_-]*", str(value)):
        return value
    raise wrong("must be team: and the name of a team, as team:inbound")


class Route(Part):
    when: Condition | None = None
    to: Annotated[str, BeforeValidator(_team)] = Field(pattern=r"^team:[a-z][a-z0-9_-]*$")

    @property
    def team(self) -> str:
        return self.to.removeprefix(TEAM)


def _member(value: Any) -> Any:
    """A weight alone is all that most members need."""
    return value if isinstance(value, Mapping | Member) else {"weight": value}


class Member(Part):
    """`weight`: how large a share of the team's leads. `crm_owner`: the id that this person has in the CRM."""

    weight: int = Field(default=1, ge=0, le=1000)
    calendar: Slug | None = None
    crm_owner: str = ""

    @model_serializer(mode="wrap")
    def _as_written(self, plain: SerializerFunctionWrapHandler, info: SerializationInfo) -> Any:
        alone = info.context == WRITTEN and self == Member(weight=self.weight)
        return self.weight if alone else plain(self)


class Team(Part):
    """Who receives leads, by whose calendar, and who is told when a promise is broken."""

    members: dict[Name, Annotated[Member, BeforeValidator(_member)]] = Field(min_length=1)
    calendar: Slug | None = None
    manager: str = ""

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

    on: Annotated[tuple[Event, ...], BeforeValidator(listed), Field(min_length=1)]
    by: Annotated[tuple[Literal["webhook"], ...], BeforeValidator(listed), Field(min_length=1)]


class Handoff(Part):
    triggers: tuple[Trigger, ...] = Field(min_length=1)
    information: dict[Literal["mql"], tuple[PropertyName, ...]] = {}
    route: tuple[Route, ...] = Field(min_length=1)
    teams: dict[Slug, Team] = Field(min_length=1)
    notify: tuple[Notify, ...] = ()

    @property
    def priorities(self) -> tuple[str, ...]:
        """Every priority that a lead can have, each once."""
        return tuple(dict.fromkeys((NORMAL, *(trigger.priority for trigger in self.triggers))))

    @model_validator(mode="after")
    def _somebody_gets_every_lead(self) -> Handoff:
        if self.route[-1].when is not None:
            raise wrong("must end its route with one that has no `when`, for every other lead")
        return self
