"""What the API answers: leads, pages, timelines, the results of commands, and problems."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import BaseModel, Field, GetJsonSchemaHandler, PlainSerializer, RootModel, TypeAdapter
from pydantic.json_schema import JsonSchemaValue

from services.handoff.api.messages import MESSAGE
from services.handoff.domain.lead import Attempt, Clock, Lead
from services.handoff.domain.machine import possible
from shared.events import Channel, ClockKind, Direction, Outcome, State, ToFindOut
from shared.web import ProblemView, described

When = Annotated[
    datetime,
    PlainSerializer(lambda moment: moment.isoformat(), return_type=str),
    Field(json_schema_extra={"format": "date-time"}),
]


class AttemptView(BaseModel):
    """A contact attempt that was counted."""

    number: int = Field(description="in this episode, from 1")
    at: When = Field(description="when it was made, not when it was logged")
    channel: Channel
    direction: Direction = Field(description="what the lead did itself is no attempt: always outbound")
    outcome: Outcome
    duration_s: float | None = Field(description="as far as it was told")
    by: str = Field(description="who made it: a person, or an owner's id in the CRM")
    activity: str = Field(description="names it where it stands, as call:7001")
    note: str


class ClockView(BaseModel):
    """A promise that is still open."""

    clock: ClockKind
    started_at: When
    due_at: When
    overdue: bool = Field(description="it was breached, and what it waits for is still owed")
    paused: bool = Field(description="it stands still")


class PauseView(BaseModel):
    """Nobody is held to a time."""

    at: When
    reason: str
    until: When | None = Field(description="it ends by itself then")


class ToFindOutView(BaseModel):
    """What nobody knows of the lead yet, and what it may be worth."""

    rule: str
    points: float = Field(description="what it would give or take in fit")
    disqualify: str = Field(description="the reason for which the lead would be none; empty for most rules")
    properties: list[str] = Field(description="what to ask for")


class LeadView(BaseModel):
    """Where a lead stands between the two teams."""

    lead: str = Field(description="{crm}:{account}:{contact}")
    state: State
    episode: int = Field(description="counts its hand-offs")
    version: int = Field(description="of the last message about it; as ETag it is what If-Match asks for")
    team: str
    owner: str
    priority: str
    trigger: str = Field(description="what handed it over")
    grade: str
    journey: str
    profile: dict[str, str] = Field(description="what routing and Sales need to know of the person")
    to_find_out: list[ToFindOutView] = Field(description="what is not known of its fit, the most points first")
    ready_at: When | None = Field(description="the lead's own act, of which speed to lead is counted")
    handed_off_at: When | None
    assigned_at: When | None
    ended_at: When | None = Field(description="when its last episode ended")
    cool_down_until: When | None
    due_at: When | None = Field(description="when Sales owes the next thing, also when that is past")
    replied: bool
    pause: PauseView | None
    attempts: list[AttemptView]
    clocks: list[ClockView]
    possible: list[str] = Field(description="the commands that fit its state")


class LeadPage(BaseModel):
    """Some leads, in order."""

    leads: list[LeadView]
    next: str | None = Field(description="the `after` of the next page; null on the last")


class TimelineMessage(RootModel[dict[str, Any]]):
    """One thing that happened, as it was told; `type` says which, and so what other fields it has."""

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Of any message that there is. An answer is not held to that: a newer version may have told it."""
        return {"title": cls.__name__, "description": cls.__doc__} | handler(TypeAdapter(MESSAGE).core_schema)


class Timeline(BaseModel):
    """What happened to a lead, in the order of its versions."""

    lead: str
    messages: list[TimelineMessage]
    next: int | None = Field(description="the `after` of the next page; null on the last")


class Result(BaseModel):
    """What became of one lead of many: its state and version, or the problem."""

    lead: str
    status: int = Field(description="as the command for this lead alone would have answered")
    state: State | None = None
    version: int | None = None
    replayed: bool = Field(default=False, description="it was done when the same key came before")
    problem: ProblemView | None = None


class Results(BaseModel):
    """What became of each lead, in the order asked for."""

    results: list[Result]
    done: int
    failed: int


def lead_view(lead: Lead) -> LeadView:
    score = lead.score
    return LeadView(
        lead=lead.lead,
        state=lead.state,
        episode=lead.episode,
        version=lead.version,
        team=lead.team,
        owner=lead.owner,
        priority=lead.priority,
        trigger=lead.trigger,
        grade=score.grade if score else "",
        journey=score.journey if score else "",
        profile=dict(score.profile) if score else {},
        to_find_out=[_to_find_out(one) for one in score.to_find_out] if score else [],
        ready_at=lead.ready_at,
        handed_off_at=lead.handed_off_at,
        assigned_at=lead.assigned_at,
        ended_at=lead.ended_at,
        cool_down_until=lead.cool_down_until,
        due_at=lead.next_due,
        replied=lead.replied,
        pause=PauseView(at=lead.pause.at, reason=lead.pause.reason, until=lead.pause.until) if lead.pause else None,
        attempts=[_attempt(one) for one in lead.attempts],
        clocks=[_clock(one) for one in lead.clocks],
        possible=list(possible(lead.state, paused=lead.pause is not None)),
    )


def receipt(lead: Lead) -> LeadView:
    """Of a lead that a command took out of the caller's sight: where it went, and no more of the person."""
    return lead_view(lead).model_copy(
        update={"profile": {}, "to_find_out": [], "attempts": [], "clocks": [], "possible": []}
    )


def _to_find_out(one: ToFindOut) -> ToFindOutView:
    return ToFindOutView(rule=one.rule, points=one.points, disqualify=one.disqualify, properties=list(one.properties))


def _attempt(attempt: Attempt) -> AttemptView:
    return AttemptView(
        number=attempt.number,
        at=attempt.at,
        channel=attempt.channel,
        direction=Direction.OUTBOUND,
        duration_s=attempt.duration_s,
        outcome=attempt.outcome,
        by=attempt.by,
        activity=attempt.activity,
        note=attempt.note,
    )


def _clock(clock: Clock) -> ClockView:
    return ClockView(
        clock=clock.kind,
        started_at=clock.started_at,
        due_at=clock.due_at,
        overdue=clock.overdue,
        paused=clock.pause is not None,
    )


# --- for OpenAPI ---

_SAID: Final = {
    401: "No token, or one that nobody has",
    403: "The token's role may not do this",
    404: "No such lead, or none that the token's scope holds; `merged_into` names the one that it is part of by now",
    409: "The command does not fit the lead's state; `possible` are those that do",
    412: "Somebody was faster: the lead has another version than If-Match says",
    422: "The request does not fit, or the agreement refuses what it asks for",
    500: "Another version wrote the lead, and this one cannot read it",
    503: "The database is away: try again after Retry-After",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route."""
    return described({status: _SAID[status] for status in statuses})


_ETAG: Final[dict[int | str, dict[str, Any]]] = {
    200: {"headers": {"ETag": {"description": "the version, for If-Match", "schema": {"type": "string"}}}}
}
READING: Final = problems(401, 404, 422, 500, 503)
READING_ONE: Final = READING | _ETAG
COMMANDING: Final = problems(401, 403, 404, 409, 412, 422, 500, 503) | _ETAG
MANY: Final = problems(401, 403, 422, 503)


def timeline_view(lead: str, messages: Sequence[dict[str, Any]], following: int | None) -> Timeline:
    return Timeline(lead=lead, messages=[TimelineMessage.model_validate(one) for one in messages], next=following)
