"""Part 6, follow_up: what Sales promised to do with a lead, by when, and the ways back."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    WithJsonSchema,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from shared.agreement.handoff import TEAM
from shared.agreement.hours import KEY, SCHEMA, WEEKDAYS, Hours, Placed, openings, placed
from shared.agreement.hours import read as read_hours
from shared.agreement.hours import write as write_hours
from shared.agreement.nurture import BY_JOURNEY
from shared.agreement.values import (
    DEFAULT,
    SLUG,
    SPAN,
    WRITTEN,
    ContactProperty,
    Duration,
    Name,
    OrAlone,
    Part,
    Share,
    Slug,
    Targets,
    Working,
    in_file,
    listed,
    working,
    wrong,
)
from shared.calendars import Calendar, Span
from shared.events import Channel, ClockKind

ALWAYS_OPEN: Final = "always"  # the calendar that every agreement has
NOT_ACCEPTED: Final = "not_accepted"  # the reason of a lead that goes back because nobody took it on


class WorkingHours(Part):
    """When people work: hours by weekday, public holidays of a country (or DE-BY), and days that differ."""

    week: dict[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], Hours]
    timezone: str | None = None
    holidays: tuple[str, ...] = ()
    exceptions: dict[date, Hours] = Field(default={}, alias="except")

    @model_validator(mode="before")
    @classmethod
    def _as_written(cls, value: Any) -> Any:
        return value if isinstance(value, WorkingHours) else read_hours(value)

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return dict(SCHEMA)

    @model_serializer(mode="wrap")
    def _written(self, plain: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        """As the file has it: the days beside the rest; in the agreement's notation days in a row as one."""
        parts: dict[str, Any] = plain(self)
        if info.context == WRITTEN:
            return write_hours({str(day): hours for day, hours in self.week.items()}, self.exceptions, parts)
        return {**parts.pop("week"), **parts}

    def calendar(self, timezone: str) -> Calendar:
        """The calendar, in its own time zone or else in `timezone`."""
        return Calendar.of(
            zone=self.timezone or timezone,
            week={WEEKDAYS.index(day): openings(hours) for day, hours in self.week.items()},
            exceptions={day: openings(hours) for day, hours in self.exceptions.items()},
            holidays=self.holidays,
        )


class Step(Part):
    """One attempt; `after` is the working time since the attempt before it."""

    channel: Channel
    """How."""
    after: Working = Span(amount=0, unit="s")
    """The latest time since the attempt before; the first has first_touch."""


class ReturnRule(Part):
    """The way back to Marketing for a reason; `attempts: exhausted` goes there by itself."""

    attempts: Literal["exhausted"] | None = None
    """exhausted: by itself, when all attempts were made and nobody answered."""
    reason: Slug
    """For which reason; one of reasons."""
    track: str = BY_JOURNEY
    """Into which track of nurture; by_journey, or none."""
    cool_down: Duration = timedelta(0)
    """How long the lead is left alone, unless it asks for Sales itself."""


ALONE: Final = ("accepted", "qualified", "opportunity", "customer")
WITH_REASON: Final = ("returned", "disqualified")


def _meaning(value: Any) -> Any:
    """{returned: not_now} is returned:not_now."""
    said = ":".join(map(str, next(iter(value.items())))) if isinstance(value, Mapping) and len(value) == 1 else value
    state, _, reason = said.partition(":") if isinstance(said, str) else ("", "", "")
    if said in ALONE or (state in WITH_REASON and re.fullmatch(SLUG, reason)):
        return said
    words = ", ".join(ALONE)
    raise wrong(f"must be one of {words}, or with a reason {{returned: not_now}} or {{disqualified: other}}")


_MEANINGS: Final = {
    "anyOf": [
        {"enum": list(ALONE)},
        {"type": "string", "pattern": f"^({'|'.join(WITH_REASON)}):[a-z][a-z0-9_-]*$"},
        *(
            {
                "type": "object",
                "properties": {state: {"type": "string", "description": "For which reason."}},
                "required": [state],
                "additionalProperties": False,
            }
            for state in WITH_REASON
        ),
    ]
}
# What a value in the CRM says of a lead: its state, and why.
Meaning = Annotated[str, BeforeValidator(_meaning), WithJsonSchema(_MEANINGS)]


def state_and_reason(meaning: str) -> tuple[str, str]:
    """The state that it means, and the reason, "" where it needs none."""
    state, _, reason = meaning.partition(":")
    return state, reason


def _since_breach(value: Any) -> Any:
    if isinstance(value, Span):
        return value
    match = re.fullmatch(r"breach(?:\s*\+\s*(.+))?", str(value).strip())
    if match is None:
        raise wrong("must be breach, or breach and a duration, as breach + 2h")
    return working(match[1] or "0s")


Owed = Literal["accept", "first_touch", "next_attempt", "decision"]
OWED: Final = get_args(Owed)


def _in_order(value: tuple[Owed, ...]) -> tuple[Owed, ...]:
    """In whatever order they are named, they mean the same."""
    return tuple(sorted(set(value), key=OWED.index))


class Escalation(Part):
    """What follows a breach that nobody mends: `at` is in working time from the due time on."""

    at: Annotated[
        Span,
        BeforeValidator(_since_breach),
        PlainSerializer(lambda span: f"breach + {span}" if span else "breach"),
        in_file(rf"\s*breach(\s*\+\s*{SPAN})?\s*", "From the due time on, in working time.", "breach", "breach + 2h"),
    ]
    """When, as long as it is still owed."""
    on: Annotated[
        tuple[Owed, ...], BeforeValidator(listed), AfterValidator(_in_order), Field(min_length=1), OrAlone()
    ] = OWED
    """What is owed; all of it when left out."""
    to: Annotated[tuple[Name, ...], BeforeValidator(listed), OrAlone()] = ()
    """Who is told: manager, or anybody by name."""
    reassign: Literal["team"] | None = None
    """team: a colleague gets the lead."""

    @model_validator(mode="after")
    def _does_something(self) -> Escalation:
        if not self.to and not self.reassign:
            raise wrong("must have to or reassign")
        return self


class FollowUp(Part):
    """What Sales promised, in working time."""

    calendars: dict[Slug, WorkingHours] = {}
    """When people work, by name."""
    calendar: Slug = ALWAYS_OPEN
    """Everybody's who has no other; always is day and night."""
    accept_within: Targets = {}
    """To take the lead on: one time for all, or by priority, team, fit grade, default."""
    if_not_accepted: Literal["nothing", "accept", "reassign", "return"] = "nothing"
    """What silence past that time means."""
    first_touch: Targets
    """To the first attempt: one time for all, or by priority, team, fit grade, default."""
    cadence: tuple[Step, ...] = Field(min_length=1)
    """The attempts that are owed, in their order."""
    wait_for_reply: Working
    """After the last attempt; then the lead goes back."""
    decide_within: Targets = {}
    """From the hand-off, to qualify the lead or give it back."""
    colleagues: Literal["count", "ignore"] = "count"
    """Whether a colleague's attempt counts as the owner's."""
    off_cadence: Literal["count", "ignore"] = "count"
    """Whether an attempt by another channel counts as the next."""
    sequences: Literal["count", "ignore"] = "ignore"
    """Whether what a sequence of the CRM sends counts as an attempt."""
    warn_at: tuple[Share, ...] = ()
    """At which shares of the time somebody is warned."""
    escalation: tuple[Escalation, ...] = ()
    """What follows a breach that nobody mends."""
    return_when: tuple[ReturnRule, ...] = ()
    """Where leads go that come back, by reason."""
    reasons: tuple[Slug, ...] = Field(min_length=1)
    """Why a lead did not progress: what people can choose from."""
    in_the_crm: dict[ContactProperty, dict[Name, Meaning]] = {}
    """What values of a contact's properties in the CRM say of a lead: its state, and where needed the reason."""
    pause_reasons: tuple[Slug, ...] = ("asked_to_wait", "away", "other")
    """Why a lead rests: what people can choose from."""

    def allowed(self, kind: ClockKind, n: int, *, priority: str, fit_grade: str, team: str) -> Span | None:
        """The time that a clock of this kind gives; None when there is no such promise, as one of no time."""
        match kind:
            case ClockKind.NEXT_ATTEMPT:
                span = self.cadence[n - 1].after if n <= len(self.cadence) else None
            case ClockKind.REPLY_WAIT:
                span = self.wait_for_reply
            case _:
                targets = {
                    ClockKind.ACCEPT: self.accept_within,
                    ClockKind.FIRST_TOUCH: self.first_touch,
                    ClockKind.DECISION: self.decide_within,
                }[kind]
                span = _target(targets, priority=priority, fit_grade=fit_grade, team=team)
        return span or None

    @model_validator(mode="after")
    def _fits_together(self) -> FollowUp:
        if problems := [*self._cadence_misfits(), *self._misfits()]:
            raise placed(problems)
        return self

    def _cadence_misfits(self) -> Iterator[Placed]:
        if self.cadence[0].after:
            yield ("cadence", 0, "after"), "does not belong to the first step; its time is first_touch"
        for n, step in enumerate(self.cadence):
            if n and not step.after:
                yield ("cadence", n), "must have after, the time since the attempt before it, as 1d"

    def _misfits(self) -> Iterator[Placed]:
        if not self.wait_for_reply:
            yield ("wait_for_reply",), "must be longer than nothing: who is tried last must have time to answer"
        if DEFAULT not in self.first_touch:
            yield ("first_touch",), "must have a time for everybody else, as default: 1d"
        for n, share in enumerate(self.warn_at):
            if not 0 < share < 1:
                yield ("warn_at", n), "must be between 0% and 100%"
            if share in self.warn_at[:n]:
                yield ("warn_at", n), "stands twice; nobody is warned twice at once"
        exhausted = [n for n, rule in enumerate(self.return_when) if rule.attempts]
        for n in exhausted[1:]:
            yield ("return_when", n, "attempts"), "is a second way back for exhausted attempts; there can be one"
        if ALWAYS_OPEN in self.calendars:
            yield ("calendars", ALWAYS_OPEN, KEY), "means day and night already; give yours another name"
        if self.if_not_accepted != "nothing" and not self.accept_within:
            yield ("if_not_accepted",), f"{self.if_not_accepted} needs accept_within, the time that is given"


def _target(targets: Mapping[str, Span], *, priority: str, fit_grade: str, team: str) -> Span | None:
    """By the priority, or else the team, or else the fit grade, or else the default."""
    for key in (priority, f"{TEAM}{team}", fit_grade, DEFAULT):
        if key in targets:
            return targets[key]
    return None
