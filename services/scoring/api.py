"""What the API answers of a score and of its history, in the language asked for."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec
from pydantic import BaseModel, Field

from services.scoring.domain import fit
from services.scoring.domain.history import Entry, changes
from services.scoring.domain.lead import Lead
from services.scoring.domain.score import scorer_of
from services.scoring.domain.wording import Wording
from services.scoring.store import Kept
from shared import events
from shared.agreement import Agreement
from shared.events import Reason
from shared.languages import Language
from shared.web import Problem, described

LAST: Final = 2**63 - 1  # below it are all
_Seq = Annotated[int, msgspec.Meta(ge=0, le=LAST)]


class Points(BaseModel):
    """One rule, and what it gave or took."""

    rule: str = Field(description="as the agreement calls it; what we add to that is in the language asked for")
    points: float


class Asked(BaseModel):
    """One rule of fit, also of those that do not hold."""

    rule: str
    held: bool | None = Field(description="null: what it asks for is not known")
    why: str = Field(description="in the language asked for, with the values that decided")


class ToFindOut(BaseModel):
    """A rule of fit that is not known, and what knowing the properties may change."""

    rule: str
    points: float = Field(description="what it would give or take; of a persona: above the best one that holds")
    disqualify: str = Field(description="the reason for which the lead would be none; empty for most rules")
    properties: list[str] = Field(description="what the CRM does not know, or not clearly")


class Part(BaseModel):
    """Fit or interest: the reasons add up to the points, and the points make the grade."""

    points: float
    grade: str = Field(description="of fit as A, of interest as 1")
    reasons: list[Points]


class Cause(BaseModel):
    """What made a score."""

    type: str = Field(
        description="of the message: ContactChanged, FormSubmitted, PageVisited, ActivityLogged, ContactsMerged,"
        " ContactErased; or AgreementChanged, InterestFaded, which nobody did"
    )
    id: str = Field(description="of the message; of AgreementChanged the agreement's version")
    happened_at: datetime | None = Field(description="when it happened, which may be long before it was heard of")
    names: list[str] = Field(
        description="the properties that changed, the form, the page, the leads merged in,"
        " or an activity's channel and what came of it"
    )
    text: str = Field(description="for a person, in the language asked for")


class ChangedRule(BaseModel):
    """A rule that gives other points than in the score before."""

    part: Literal["fit", "interest"]
    rule: str
    before: float | None = Field(description="null: it gave and took nothing")
    after: float | None = Field(description="null: it gives and takes nothing any more")
    faded: bool = Field(description="no act took the points but time")


class PastScore(BaseModel):
    """A score that was told, what made it, and what changed with it."""

    lead: str = Field(description="as it was called then: another than now, if it was merged in since")
    version: int = Field(description="the lead's own number, from 1 without holes")
    counted_since: datetime | None = Field(description="from when its versions count")
    at: datetime = Field(description="when it was judged")
    grade: str
    former_grade: str | None = Field(description="of the score before; null: there is none here")
    journey: str
    disqualified: str
    fit: float
    fit_grade: str
    interest: float
    interest_level: str
    agreement: str = Field(description="the version that it was judged by")
    former_agreement: str = Field(description="the one that judged it before, if that was another")
    cause: Cause
    changes: list[ChangedRule] = Field(description="against the score before; all rules where there is none here")


class History(BaseModel):
    """The scores of a lead, the newest first; of a lead that others were merged into, theirs among them."""

    lead: str
    scores: list[PastScore]
    next: str | None = Field(description="the `after` of the next page; null on the last")


class ScoreAnswer(BaseModel):
    """What a lead is worth at `as_of`, and why."""

    lead: str
    as_of: datetime = Field(description="when it was judged: now")
    agreement: str = Field(description="the version that it was judged by")
    version: int = Field(description="of the score that was last told; since then interest may have faded")
    grade: str = Field(description="fit and interest together")
    journey: str = Field(description="awareness, consideration or decision: how far the lead is on its way to buy")
    disqualified: str = Field(description="the agreement's reason why it is no lead for us; empty: it is one")
    fit: Part
    interest: Part
    asked: list[Asked]
    to_find_out: list[ToFindOut] = Field(description="what is not known, the most points first")
    sentence: str = Field(
        description="for a person, in the language asked for: the score, what is to find out, the last change"
    )
    last_change: PastScore | None = Field(description="the score that was last told; null: it is not known any more")


PROBLEMS: Final = described(
    {
        404: "No such lead: never heard of, merged into another, deleted or erased",
        422: "The request does not fit, as an `after` that is no `next`; or no agreement is for the lead's tenant",
    }
)


# --- how they are made ---


def score_answer(
    lead: str, known: Lead, last: Kept | None, *, agreement: Agreement, language: Language, now: datetime
) -> ScoreAnswer:
    """The score at `now`. `last` is the newest of the history."""
    scorer, wording = scorer_of(agreement), Wording(agreement, language)
    found = scorer.score(known, now)
    sentences = [wording.score(found), wording.to_find_out(found)]
    if last:
        sentences += [
            wording.last_change(last.entry, last.before),
            wording.since_then(found, last.entry, scorer.version),
        ]
    return ScoreAnswer(
        lead=lead,
        as_of=now,
        agreement=scorer.version,
        version=known.told.version if known.told else 0,
        grade=found.grade,
        journey=found.interest.journey,
        disqualified=found.fit.disqualified,
        fit=_part(found.fit.points, found.fit.grade, found.fit.reasons, wording),
        interest=_part(found.interest.points, found.interest.level, found.interest.reasons, wording),
        asked=[_asked(one, wording, language) for one in scorer.explain(known)],
        to_find_out=[_to_find_out(one, wording) for one in found.fit.to_find_out],
        sentence=" ".join(filter(None, sentences)),
        last_change=past(lead, last, wording) if last else None,
    )


def _part(points: float, grade: str, reasons: tuple[Reason, ...], wording: Wording) -> Part:
    told = [Points(rule=wording.rule(one.rule), points=one.points) for one in reasons]
    return Part(points=points, grade=grade, reasons=told)


def _asked(one: fit.Asked, wording: Wording, language: Language) -> Asked:
    return Asked(rule=wording.rule(one.rule), held=one.held, why=one.why.told(language))


def _to_find_out(one: events.ToFindOut, wording: Wording) -> ToFindOut:
    return ToFindOut(
        rule=wording.rule(one.rule), points=one.points, disqualify=one.disqualify, properties=list(one.properties)
    )


def past(lead: str, kept: Kept, wording: Wording) -> PastScore:
    entry, before = kept.entry, kept.before
    return PastScore(
        lead=kept.former or lead,
        version=entry.version,
        counted_since=entry.since,
        at=entry.at,
        grade=entry.grade,
        former_grade=before.grade if before else None,
        journey=entry.journey,
        disqualified=entry.disqualified,
        fit=entry.fit,
        fit_grade=entry.fit_grade,
        interest=entry.interest,
        interest_level=entry.interest_level,
        agreement=entry.agreement,
        former_agreement=entry.former_agreement,
        cause=_cause(entry, wording),
        changes=[
            ChangedRule(part=one.part, rule=wording.rule(one.rule), before=one.before, after=one.after, faded=one.faded)
            for one in changes(before, entry)
        ],
    )


def _cause(entry: Entry, wording: Wording) -> Cause:
    happened = entry.happened
    return Cause(
        type=happened.type,
        id=entry.cause,
        happened_at=happened.at,
        names=list(happened.names),
        text=wording.happened(happened),
    )


def cursor(below: int | None) -> str | None:
    """Opaque to the caller: what it holds may change."""
    return None if below is None else base64.urlsafe_b64encode(msgspec.json.encode(below)).decode()


def place(cursor: str) -> int:
    """Below which the page is. Raises Problem for what is no `next`."""
    if not cursor:
        return LAST
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(cursor), type=_Seq)
    except (ValueError, binascii.Error, msgspec.MsgspecError) as error:
        raise Problem(422, "bad_cursor", "after must be the `next` of a page") from error
