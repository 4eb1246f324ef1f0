"""The history of a lead's scores: each one that was told, what made it, and what changed in its reasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from services.scoring.domain.lead import Lead
from shared.events import (
    ActivityLogged,
    ContactChanged,
    ContactsMerged,
    FormSubmitted,
    LeadMessage,
    LeadScored,
    PageVisited,
    Reason,
)

KEPT: Final = 200  # scores of a lead, the newest; a person reads back through dozens
CUT_EVERY: Final = 50  # versions: so many more than KEPT there may be until the oldest go
MAX_NAMES: Final = 20  # of properties that one fact changed
AGREEMENT_CHANGED: Final = "AgreementChanged"  # nobody did anything: another agreement judged the lead
INTEREST_FADED: Final = "InterestFaded"  # nobody did anything: the interest fell below a threshold


class Happened(Struct, frozen=True, array_like=True):
    """What made a score: the type of its message, when that happened, and the names in it.

    The names are those of the properties that changed, of all that the agreement asks for, the form, the
    page (host and path), the leads merged in, or an activity's channel and what came of it. `came` says of a
    contact of which nothing else was told that it was created, restored, or heard of for the first time.
    """

    type: str
    at: datetime | None = None
    names: tuple[str, ...] = ()
    came: Literal["", "created", "restored", "first"] = ""


Points: TypeAlias = tuple[str, float]  # a rule of a score, and what it gave or took


class Entry(Struct, frozen=True, kw_only=True, array_like=True):
    """One told score as it is kept. New fields come last, with a default: what is stored has no names."""

    version: int
    since: datetime | None  # from when the versions count
    at: datetime
    grade: str
    fit: float
    interest: float
    fit_grade: str
    interest_level: str
    journey: str
    disqualified: str
    fit_reasons: tuple[Points, ...]
    interest_reasons: tuple[Points, ...]
    agreement: str
    former_agreement: str
    cause: str
    happened: Happened


def entry(scored: LeadScored, happened: Happened) -> Entry:
    """What is kept of a score: nothing that says who the person is."""
    return Entry(
        version=scored.version,
        since=scored.counted_since,
        at=scored.at,
        grade=scored.grade,
        fit=scored.fit,
        interest=scored.interest,
        fit_grade=scored.fit_grade,
        interest_level=scored.interest_level,
        journey=scored.journey,
        disqualified=scored.disqualified,
        fit_reasons=_points(scored.fit_reasons),
        interest_reasons=_points(scored.interest_reasons),
        agreement=scored.agreement,
        former_agreement=scored.former_agreement,
        cause=scored.cause,
        happened=happened,
    )


def _points(reasons: Sequence[Reason]) -> tuple[Points, ...]:
    return tuple([(reason.rule, reason.points) for reason in reasons])


def without_a_fact(scored: LeadScored) -> Happened:
    """What made a score that no message about the lead did."""
    return Happened(AGREEMENT_CHANGED if scored.is_rescore else INTEREST_FADED)


def happened(before: Lead, after: Lead, message: LeadMessage, asked: frozenset[str]) -> Happened:
    """What a message did to a lead. `asked` are the properties that the agreement asks for."""
    match message:
        case ContactChanged():
            names = _changed(before, after, asked)
        case FormSubmitted():
            names = (message.form,)
        case PageVisited():
            names = _page(after, message.id)
        case ContactsMerged():
            names = message.merged
        case ActivityLogged():
            names = (message.channel, message.outcome)
        case _:
            names = ()
    return Happened(type(message).__name__, message.at, names[:MAX_NAMES], "" if names else _came(before, message))


def _came(before: Lead, message: LeadMessage) -> Literal["", "created", "restored", "first"]:
    if not isinstance(message, ContactChanged):
        return ""
    if before.gone:
        return "restored"
    return "created" if message.created else "first" if before.first_seen is None else ""


def _page(after: Lead, id_: str) -> tuple[str, ...]:
    """The page of a visit as it is kept; an old one among many newer is not."""
    page = next((act.page for act in reversed(after.pages) if act.id == id_), "")
    return (page,) if page else ()


def _changed(before: Lead, after: Lead, asked: frozenset[str]) -> tuple[str, ...]:
    """The properties that have another value now; or else those that were set again to the same."""
    old, new = before.properties, after.properties
    if old is new:
        return ()
    known = sorted(name for name in asked if name in new)
    others = tuple(name for name in known if (old[name].value if name in old else "") != new[name].value)
    return others or tuple(name for name in known if old.get(name) != new[name])


# --- what changed ---


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A rule whose points are others than before; None where it gave none. `faded`: by time alone."""

    part: Literal["fit", "interest"]
    rule: str
    before: float | None
    after: float | None
    faded: bool = False


def changes(before: Entry | None, after: Entry) -> tuple[Change, ...]:
    """The rules that came, went, or are worth something else, fit first, in the order of the agreement.

    By one agreement no act takes points of interest away: what fell there has faded.
    """
    found = [*_differing("fit", before.fit_reasons if before else (), after.fit_reasons, fades=False)]
    fades = before is not None and before.agreement == after.agreement
    found += _differing("interest", before.interest_reasons if before else (), after.interest_reasons, fades=fades)
    return tuple(found)


def _differing(
    part: Literal["fit", "interest"], before: Sequence[Points], after: Sequence[Points], *, fades: bool
) -> list[Change]:
    old, new = _sums(before), _sums(after)
    return [
        Change(
            part=part,
            rule=rule,
            before=old.get(rule),
            after=new.get(rule),
            faded=fades and old.get(rule, 0.0) > max(0.0, new.get(rule, 0.0)),
        )
        for rule in {**new, **old}
        if old.get(rule) != new.get(rule)
    ]


def _sums(reasons: Sequence[Points]) -> dict[str, float]:
    """By rule: two of an agreement may have one name."""
    sums: dict[str, float] = {}
    for rule, points in reasons:
        sums[rule] = round(sums.get(rule, 0.0) + points, 1)
    return sums
