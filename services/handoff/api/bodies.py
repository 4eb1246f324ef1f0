"""What a command is told, for one lead and for many; each body knows the decision that it asks for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from services.handoff.domain import commands
from services.handoff.domain.commands import NewAttempt
from services.handoff.domain.draft import HandoffDecision
from shared.agreement.handoff import NORMAL
from shared.events import Channel, Direction, Outcome

Decide = Callable[..., HandoffDecision]

MOST_LEADS: Final = 500  # of one bulk command


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("must be a time that UTC has") from error


def _each_once(leads: list[str]) -> list[str]:
    first: dict[str, int] = {}
    for place, lead in enumerate(leads, start=1):
        if lead in first:
            raise ValueError(f"must name each lead once: number {place} is number {first[lead]} again")
        first[lead] = place
    return leads


Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]
Name = Annotated[str, Field(max_length=200)]
Leads = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=500)]],
    Field(min_length=1, max_length=MOST_LEADS, description="each once"),
    AfterValidator(_each_once),
]


class Body(BaseModel, ABC):
    model_config = ConfigDict(extra="forbid")

    @abstractmethod
    def decide(self) -> Decide: ...


class AcceptIn(Body):
    def decide(self) -> Decide:
        return commands.accept


class QualifyIn(Body):
    def decide(self) -> Decide:
        return commands.qualify


class ResumeIn(Body):
    def decide(self) -> Decide:
        return commands.resume


class AttemptIn(Body):
    """A contact attempt that was made, or with `direction` inbound what the lead did itself, which is no touch."""

    channel: Channel
    direction: Direction = Direction.OUTBOUND
    outcome: Outcome = Outcome.UNKNOWN
    at: Moment | None = Field(default=None, description="when it was made; now, when it is not said")
    note: str = Field(default="", max_length=10_000)
    duration_s: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    activity: Name = Field(default="", description="names it where it stands, so that it counts once")

    def decide(self) -> Decide:
        said = {name: getattr(self, name) for name in AttemptIn.model_fields}
        return commands.attempt(NewAttempt(**said))


class RejectIn(Body):
    reason: Name = Field(description="one of the agreement's reasons")

    def decide(self) -> Decide:
        return commands.reject(self.reason)


class ReturnIn(Body):
    reason: Name = Field(description="one of the agreement's reasons")
    track: Name | None = Field(
        default=None, description="overrules the agreement's: a nurture track, by_journey, or none"
    )

    def decide(self) -> Decide:
        return commands.send_back(self.reason, self.track)


class DisqualifyIn(Body):
    reason: Name = Field(description="one of the agreement's reasons")

    def decide(self) -> Decide:
        return commands.disqualify(self.reason)


class NurtureIn(Body):
    track: Name = Field(description="a nurture track of the agreement, or by_journey")

    def decide(self) -> Decide:
        return commands.nurture(self.track)


class PauseIn(Body):
    reason: Name = Field(min_length=1, description="one of the agreement's pause_reasons")
    until: Moment | None = Field(default=None, description="it ends by itself then")

    def decide(self) -> Decide:
        return commands.pause(self.reason, self.until)


class ReassignIn(Body):
    """At least one of the two. Without an owner the team's weights choose one."""

    team: Name | None = None
    owner: Name | None = None

    def decide(self) -> Decide:
        return commands.reassign(self.team, self.owner)


class HandOffIn(Body):
    """Without team and owner the agreement's routes and weights choose."""

    priority: Name = Field(default=NORMAL, description="one that the agreement knows")
    team: Name | None = None
    owner: Name | None = None

    def decide(self) -> Decide:
        return commands.hand_off(self.priority, self.team, self.owner)


# --- the same for many ---


class AcceptMany(AcceptIn):
    leads: Leads


class QualifyMany(QualifyIn):
    leads: Leads


class ResumeMany(ResumeIn):
    leads: Leads


class AttemptMany(AttemptIn):
    """The same attempt with each of them, as a mailing by hand."""

    leads: Leads


class RejectMany(RejectIn):
    leads: Leads


class ReturnMany(ReturnIn):
    leads: Leads


class DisqualifyMany(DisqualifyIn):
    leads: Leads


class NurtureMany(NurtureIn):
    leads: Leads


class PauseMany(PauseIn):
    leads: Leads


class ReassignMany(ReassignIn):
    leads: Leads


class HandOffMany(HandOffIn):
    leads: Leads
