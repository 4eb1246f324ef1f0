"""The score: fit and interest together, and when there is something new to tell."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import blake2b
from typing import Final, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from services.scoring.domain import fit
from services.scoring.domain.acts import acts_of
from services.scoring.domain.interest import InterestScore, Judge
from services.scoring.domain.lead import Act, Lead, Told, submissions
from shared.agreement import Agreement
from shared.agreement.conditions import Subject
from shared.agreement.model import by_version
from shared.events import FADED, LeadMessage, LeadScored, State, Submission, ToFindOut, identity, tenant_of

NEAR_S: Final = 3_600.0  # a fall that may come within it is computed to the second; any other when it may come
TOLD_FORMS: Final = 20
TOLD_TO_FIND_OUT: Final = 10  # rules; nobody asks a lead for more


class Score(Struct, frozen=True, kw_only=True, gc=False):
    """A lead's worth at one moment."""

    fit: fit.FitScore
    interest: InterestScore
    grade: str


class _Known(NamedTuple):
    """What is told of a lead besides its score: what hand-off needs of its properties, and its newest forms.

    `set_at`: when that was set which says where the lead stands. PERSONAL: profile, forms.
    """

    profile: dict[str, str]
    set_at: dict[str, datetime]
    forms: tuple[Act, ...]


class Cause(NamedTuple):
    """What made us judge a lead: a message about it, the agreement of that version, or FADED."""

    tenant: str
    lead: str
    id: str


class Scorer:
    """One agreement, made ready to score many leads."""

    def __init__(self, agreement: Agreement) -> None:
        self.version = agreement.version
        self._fit = fit.Judge(agreement.qualification.fit)
        self._interest = Judge(agreement.qualification.interest, agreement.timezone)
        self.followed = agreement.qualification.interest.followed
        self._several = bool(agreement.qualification.matrix)  # combinations may have the same grade
        self._grades = {(cell.fit, cell.level): cell.grade for cell in agreement.qualification.cells}
        self._told = tuple(sorted(agreement.profile))
        self._triggers = agreement.handoff.triggers
        self._stands = tuple(sorted(agreement.follow_up.in_the_crm))
        self.asked = self.followed.union(self._told, self._fit.properties)

    def score(self, lead: Lead, now: datetime) -> Score:
        """What the lead is worth at `now`, by all that is known of it."""
        fits, wants = self._fit.judge(_subject(lead)), self._judge_interest(lead, now)
        return Score(fit=fits, interest=wants, grade=self._grades[fits.grade, wants.level])

    def explain(self, lead: Lead) -> tuple[fit.Asked, ...]:
        """What every rule of fit came to, also those that did not hold. PERSONAL."""
        return self._fit.explain(_subject(lead))

    def conclude(
        self, before: Lead, after: Lead, message: LeadMessage, now: datetime
    ) -> tuple[Lead, LeadScored | None]:
        """The lead as it is to be kept, and its new score when there is something to tell.

        That is: a change of grades, fit points, journey, disqualification, forms, profile or what is to
        be found out since it was last told, or of whether a trigger holds, a signal of interest that this message
        moved by 0.1 or more, its return after a deletion, or a deletion that is heard of after its return.
        Fading alone tells nothing until a grade or the journey changes with it, which `fade` tells.
        """
        if after is before or after.gone:
            return after, None
        still = self._stands_still(before, after, now)
        if still and before.deleted_at == after.deleted_at and self._is_asked_the_same(before, after):
            return after, None
        score, known = self.score(after, now), self._known(after)
        digest = self._digest(score, known)
        same = after.told is not None and after.told.digest == digest and not before.gone
        same = same and before.deleted_at == after.deleted_at
        fades_at = after.told.fades_at if still and after.told else self._stands_until(after, score.interest, now)
        if same and not self._moved(before, after, score, now):
            return self._judged(after, fades_at), None
        cause = Cause(message.tenant, message.lead, message.id)
        told = self._next(after.told, digest, now, fades_at)
        return replace(after, told=told), self._message(after, score, known, cause=cause, now=now, told=told)

    def rejudge(self, lead: Lead, key: str, now: datetime) -> tuple[Lead, LeadScored | None]:
        """A stored lead, judged again because another agreement is in force; always another object.

        Told as above, but not for points of interest alone: nobody acts on them unless a grade changes,
        and they fade all the time. The next fact that moves them tells them.
        """
        return self._again(lead, key, self.version, now)

    def fade(self, lead: Lead, key: str, now: datetime) -> tuple[Lead, LeadScored | None]:
        """A stored lead, judged again because its time to fade has come; always another object.

        Where another agreement judged it last, that is what may change it.
        """
        return self._again(lead, key, FADED if lead.judged_by == self.version else self.version, now)

    def _again(self, lead: Lead, key: str, cause: str, now: datetime) -> tuple[Lead, LeadScored | None]:
        if lead.gone:
            return replace(lead), None
        score, known = self.score(lead, now), self._known(lead)
        digest = self._digest(score, known)
        fades_at = self._falls_at(lead, now) if cause == FADED else self._stands_until(lead, score.interest, now)
        if lead.told is not None and lead.told.digest == digest:
            return replace(lead, told=replace(lead.told, agreement=self.version, fades_at=fades_at)), None
        told = self._next(lead.told, digest, now, fades_at)
        why = Cause(tenant_of(key), key, cause)
        return replace(lead, told=told), self._message(lead, score, known, cause=why, now=now, told=told)

    def _stands_still(self, before: Lead, after: Lead, now: datetime) -> bool:
        """Whether its level and stage are as they were told: it did nothing, and nothing can have faded."""
        told = after.told
        known = told is not None and told.agreement == self.version and told.fades_at > now.timestamp()
        return known and not before.gone and _did_nothing(before, after)

    def _is_asked_the_same(self, before: Lead, after: Lead) -> bool:
        """Whether no property that it is judged by was set."""
        old, new = before.properties, after.properties
        return old is new or all(old.get(name) is new.get(name) for name in self.asked)

    def _judged(self, lead: Lead, fades_at: float) -> Lead:
        told = lead.told
        if told is None or (told.agreement, told.fades_at) == (self.version, fades_at):
            return lead
        return replace(lead, told=replace(told, agreement=self.version, fades_at=fades_at))

    def _next(self, told: Told | None, digest: str, now: datetime, fades_at: float) -> Told:
        """The next of the lead's numbers."""
        version, since = (1, now) if told is None else (told.version + 1, told.since)
        return Told(version=version, digest=digest, agreement=self.version, since=since, fades_at=fades_at)

    def _stands_until(self, lead: Lead, wants: InterestScore, now: datetime) -> float:
        """A moment until which it does not fall; the very second, which is dear to find, when that may be near."""
        far = wants.stands_until > now.timestamp() + NEAR_S
        return wants.stands_until if far else self._falls_at(lead, now)

    def _falls_at(self, lead: Lead, now: datetime) -> float:
        return self._interest.falls_at(acts_of(lead, self.followed), now.timestamp())

    def _known(self, lead: Lead) -> _Known:
        known = lead.properties
        return _Known(
            profile={name: known[name].value for name in self._told if name in known and known[name].value},
            set_at={name: datetime.fromtimestamp(known[name].at, UTC) for name in self._stands if name in known},
            forms=submissions(lead)[-TOLD_FORMS:],
        )

    def _judge_interest(self, lead: Lead, now: datetime) -> InterestScore:
        return self._interest.judge(acts_of(lead, self.followed), now.timestamp())

    def _moved(self, before: Lead, after: Lead, score: Score, now: datetime) -> bool:
        """Whether its acts are worth something else than before, be it that a cap takes it again."""
        if _did_nothing(before, after):
            return False
        return _worth(self._judge_interest(before, now)) != _worth(score.interest)

    def _digest(self, score: Score, known: _Known) -> str:
        forms = [(act.at, act.form) for act in known.forms]
        judged = (score.grade, score.fit.points, score.fit.disqualified, score.interest.journey)
        halves = (score.fit.grade, score.interest.level) if self._several else ()
        more = (known.set_at, halves, self._is_ready(score, known), _to_find_out(score))
        said = (judged, forms, known.profile, *(one for one in more if one))
        return blake2b(repr(said).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()

    def _is_ready(self, score: Score, known: _Known) -> bool:
        """Whether a trigger holds by what is told: where the triggers alone changed, hand-off hears of whom it does."""
        about = Subject(
            properties=known.profile,
            grade=score.grade,
            fit_grade=score.fit.grade,
            interest_level=score.interest.level,
            journey=score.interest.journey,
            forms=frozenset([act.form for act in known.forms]),
            state=str(State.MARKETING),
        )
        return not score.fit.disqualified and any(trigger.holds(about) for trigger in self._triggers)

    def _message(
        self, lead: Lead, score: Score, known: _Known, *, cause: Cause, now: datetime, told: Told
    ) -> LeadScored:
        return LeadScored(
            id=identity("score", cause.lead, told.version, told.since or ""),
            tenant=cause.tenant,
            lead=cause.lead,
            at=now,
            version=told.version,
            counted_since=told.since,
            fit=score.fit.points,
            interest=score.interest.points,
            fit_grade=score.fit.grade,
            interest_level=score.interest.level,
            grade=score.grade,
            journey=score.interest.journey,
            disqualified=score.fit.disqualified,
            fit_reasons=score.fit.reasons,
            interest_reasons=score.interest.reasons,
            forms=tuple(Submission(form=act.form, at=datetime.fromtimestamp(act.at, UTC)) for act in known.forms),
            profile=known.profile,
            set_at=known.set_at,
            seen_at=None if lead.last_seen is None else datetime.fromtimestamp(lead.last_seen, UTC),
            agreement=self.version,
            cause=cause.id,
            former_agreement=_former(lead, self.version),
            to_find_out=_to_find_out(score),
        )


def _worth(interest: InterestScore) -> list[tuple[str, float]]:
    return [(reason.rule, reason.points) for reason in interest.reasons]


def _did_nothing(before: Lead, after: Lead) -> bool:
    """Between the one and the other."""
    parts = (before.forms, after.forms), (before.pages, after.pages), (before.changes, after.changes)
    return all(one is other for one, other in (*parts, (before.engagements, after.engagements)))


def _to_find_out(score: Score) -> tuple[ToFindOut, ...]:
    return score.fit.to_find_out[:TOLD_TO_FIND_OUT]


def _former(lead: Lead, version: str) -> str:
    """By what it was judged before, when that was another agreement."""
    return lead.told.agreement if lead.told is not None and lead.told.agreement != version else ""


def _subject(lead: Lead) -> Subject:
    return Subject(properties={name: known.value for name, known in lead.properties.items()})


scorer_of: Final = by_version(Scorer)  # an agreement's Scorer, made once
