"""One-click links: opening one shows what it would do, its button does it, once.

Programs that scan mail open every link, so opening one changes nothing. Whoever has the link is who
it was made for: there is no other token.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from pydantic import ValidationError

from services.handoff import store
from services.handoff.api import pages
from services.handoff.api.bodies import (
    AcceptIn,
    AttemptIn,
    Body,
    Decide,
    DisqualifyIn,
    QualifyIn,
    RejectIn,
    ResumeIn,
    ReturnIn,
)
from services.handoff.api.reading import read
from services.handoff.domain.commands import Command
from services.handoff.domain.draft import HandoffDecision
from services.handoff.domain.lead import Lead
from services.handoff.domain.machine import Cause, Impossible, allows
from services.handoff.links import Link, Links
from services.handoff.metrics import HandoffMetrics
from services.handoff.worker import decided
from shared.agreement import Agreement
from shared.errors import Later, Refused
from shared.events import Channel, Outcome, tenant_of
from shared.languages import Language
from shared.log import Log
from shared.web import InLanguage, Parts, Problem
from shared.work import Facts, Work

log = Log("leadpact.handoff")

LONGEST_FORM: Final = 10_000  # bytes
MOST_FIELDS: Final = 20
BODIES: Final[Mapping[Cause, type[Body]]] = {
    Cause.ACCEPT: AcceptIn,
    Cause.ATTEMPT: AttemptIn,
    Cause.QUALIFY: QualifyIn,
    Cause.REJECT: RejectIn,
    Cause.RETURN: ReturnIn,
    Cause.DISQUALIFY: DisqualifyIn,
    Cause.RESUME: ResumeIn,
}
WITH_REASON: Final = (Cause.REJECT, Cause.RETURN, Cause.DISQUALIFY)
# What somebody who just hung up says first.
OUTCOMES: Final = (
    *(Outcome.NO_ANSWER, Outcome.VOICEMAIL, Outcome.LIVE_MESSAGE, Outcome.BUSY, Outcome.CONNECTED, Outcome.BOOKED),
    *(Outcome.SENT, Outcome.REPLIED, Outcome.HELD, Outcome.NO_SHOW, Outcome.WRONG_NUMBER, Outcome.BOUNCED),
)
MOVED_ON: Final = "moved_on"


def pages_of_links(parts: Parts, work: Work[Lead], links: Links, metrics: HandoffMetrics) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/act/{token}")
    async def show(token: str, language: InLanguage) -> HTMLResponse:
        """What the link would do, and a button that does it."""
        return await Acting(parts, work, links, metrics, language).show(token)

    @router.post("/act/{token}")
    async def act(token: str, request: Request, language: InLanguage) -> HTMLResponse:
        """Do it, once."""
        return await Acting(parts, work, links, metrics, language).act(token, request)

    return router


class Acting:
    """Shows what a link would do, and does it, in one language."""

    def __init__(
        self, parts: Parts, work: Work[Lead], links: Links, metrics: HandoffMetrics, language: Language
    ) -> None:
        self._language = language
        self._parts = parts
        self._work = work
        self._links = links
        self._metrics = metrics

    async def show(self, token: str) -> HTMLResponse:
        try:
            link = self._links.read(token, self._parts.clock.now())
            return await self._shown(link)
        except Refused as error:
            return self._closed(error)
        except Later as error:
            return self._away(error)

    async def _shown(self, link: Link) -> HTMLResponse:
        lead = await self._lead(link)
        if await read(self._parts, store.heard, link.id):
            return self._repeated(link, lead)
        if lead is None or not link.still_fits(lead):
            return self._passed(link, lead)
        if not allows(lead.state, link.command, paused=lead.pause is not None):
            return self._passed(link, lead)
        self._metrics.links.labels("shown").inc()
        return self._asking(link, lead)

    async def act(self, token: str, request: Request) -> HTMLResponse:
        try:
            link = self._links.read(token, self._parts.clock.now())
            fields = await _fields(request)
            return await self._acted(link, fields)
        except Refused as error:
            return self._closed(error)
        except Later as error:
            return self._away(error)

    async def _acted(self, link: Link, fields: Mapping[str, str]) -> HTMLResponse:
        try:
            decision = await self._do(link, BODIES[link.command].model_validate(fields).decide())
        except ValidationError:
            return await self._wrong(link, self._language.say("Choose one of those that are there."))
        except Refused as error:
            log.info("command_refused", code=error.code, command=link.command, role="link", leads=1)
            if isinstance(error, Impossible) or error.code in (MOVED_ON, "unknown"):
                return self._passed(link, await self._lead(link))
            return await self._wrong(link, error.message)
        if decision is None:
            return self._repeated(link, await self._lead(link))
        self._metrics.links.labels("done").inc()
        return self._answer(200, self._words(link).done, self._facts(decision.state))

    async def _do(self, link: Link, decide: Decide) -> HandoffDecision | None:
        command = Command(id=link.id, person=link.person)

        def handle(state: Lead, facts: Facts[Lead]) -> HandoffDecision:
            if not link.still_fits(state):
                raise Refused(MOVED_ON, "the lead has moved on since the link was made")
            return decided(decide)(state, command, facts)

        tenant = tenant_of(link.lead)
        decision = await self._work.command(link.lead, handle, tenant=tenant, command_id=link.id)
        assert decision is None or isinstance(decision, HandoffDecision)
        return decision

    async def _lead(self, link: Link) -> Lead | None:
        found: Lead | None = await read(self._parts, store.find, link.lead)
        return found

    # --- pages ---

    def _asking(self, link: Link, lead: Lead, wrong: str = "") -> HTMLResponse:
        words = self._words(link)
        agreement = self._agreement(link)
        said = [pages.complaint(wrong)] if wrong else []
        return self._answer(
            422 if wrong else 200,
            words.heading,
            *said,
            pages.paragraph(words.means),
            self._facts(lead),
            pages.form(words.button, *self._choices(link.command, lead, agreement)),
            pages.small_print(
                self._language.say(
                    "In the name of {person}. Nothing happens until you press the button.", person=link.person
                )
            ),
        )

    async def _wrong(self, link: Link, why: str) -> HTMLResponse:
        """What was chosen does not fit: choose again."""
        lead = await self._lead(link)
        if lead is None:
            return self._passed(link, lead)
        self._metrics.links.labels("refused").inc()
        return self._asking(link, lead, why)

    def _repeated(self, link: Link, lead: Lead | None) -> HTMLResponse:
        self._metrics.links.labels("repeated").inc()
        done, heading = pages.paragraph(self._words(link).done), self._language.say("This was done already")
        return self._answer(200, heading, done, *([self._facts(lead)] if lead else []))

    def _passed(self, link: Link, lead: Lead | None) -> HTMLResponse:
        """It is too late for what the link would do, and why."""
        self._metrics.links.labels("passed").inc()
        language = self._language
        if lead is None:
            why = language.say("It was deleted or merged in the CRM.")
            return self._answer(404, language.say("This lead is no more"), pages.paragraph(why))
        if lead.episode == link.episode and lead.owner == link.person:
            state = pages.state(lead, language)
            why = language.say("The lead is {state} by now, where this is not possible.", state=state)
            return self._answer(409, self._moved_on(), pages.paragraph(why), self._facts(lead))
        why = (
            language.say("Somebody else has the lead by now.")
            if lead.episode == link.episode
            else language.say(
                "The lead was handed over anew since this link was made: use the link of the newest notification."
            )
        )
        return self._answer(409, self._moved_on(), pages.paragraph(why))

    def _moved_on(self) -> str:
        return self._language.say("The lead has moved on")

    def _closed(self, error: Refused) -> HTMLResponse:
        """Not one of our links, or one no more."""
        expired, language = error.code == "expired_link", self._language
        self._metrics.links.labels("expired" if expired else "bad").inc()
        if expired:
            why = language.say("Links live for some days only. The lead itself can still be worked on in the CRM.")
            return self._answer(403, language.say("This link has expired"), pages.paragraph(why))
        why = language.say("It may have been cut off: open it from the notification, whole.")
        return self._answer(403, language.say("This link does not work"), pages.paragraph(why))

    def _away(self, error: Later) -> HTMLResponse:
        why = self._language.say("Leadpact cannot reach its database just now.")
        answer = self._answer(503, self._language.say("Try again in a minute"), pages.paragraph(why))
        answer.headers["Retry-After"] = str(max(1, round(error.after_s)))
        return answer

    def _facts(self, lead: Lead) -> str:
        """What a person needs to know which lead it is, and what is next."""
        language = self._language
        profile = lead.score.profile if lead.score else {}
        name = " ".join(filter(None, (profile.get("firstname"), profile.get("lastname"))))
        timezone = self._parts.agreements.for_tenant(lead.tenant).timezone
        known = pages.facts(
            (
                (language.say("Lead"), lead.lead),
                (language.say("Who"), name),
                (language.say("Company"), profile.get("company", "")),
                (language.say("State"), pages.sentence(pages.state(lead, language))),
                (language.say("Next due"), pages.moment(lead.next_due, timezone, language)),
            )
        )
        return known + pages.to_find_out(lead.score.to_find_out if lead.score else (), language)

    def _agreement(self, link: Link) -> Agreement:
        return self._parts.agreements.for_tenant(tenant_of(link.lead))

    def _answer(self, status: int, heading: str, *parts: str) -> HTMLResponse:
        headers = {**pages.HEADERS, "Content-Language": self._language.code, "Vary": "Accept-Language"}
        text = pages.page(heading, *parts, language=self._language)
        return HTMLResponse(text, status_code=status, headers=headers)

    def _words(self, link: Link) -> pages.Words:
        return pages.words(link.command, self._language)

    def _choices(self, command: Cause, lead: Lead, agreement: Agreement) -> list[str]:
        """What has to be chosen besides."""
        language = self._language
        if command in WITH_REASON:  # in the words of the agreement
            return [pages.choice("reason", language.say("Why?"), agreement.follow_up.reasons, {})]
        if command is Cause.ATTEMPT:
            likely, said = _next_channel(lead, agreement), pages.ours(language)
            outcomes = pages.choice("outcome", language.say("What came of it?"), OUTCOMES, said)
            return [pages.menu("channel", language.say("How?"), list(Channel), likely, said), outcomes]
        return []


def _next_channel(lead: Lead, agreement: Agreement) -> Channel:
    """The one that the cadence has next."""
    cadence = agreement.follow_up.cadence
    made = sum(attempt.step for attempt in lead.attempts)
    return cadence[min(made, len(cadence) - 1)].channel


async def _fields(request: Request) -> dict[str, str]:
    """What the form says. Raises Problem for one that is longer than ours can be."""
    raw = b""
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > LONGEST_FORM:
            raise Problem(413, "too_large", f"a form of at most {LONGEST_FORM} bytes")
    try:
        return dict(parse_qsl(raw.decode("utf-8", "replace"), max_num_fields=MOST_FIELDS))
    except ValueError as error:
        raise Problem(422, "invalid", f"a form of at most {MOST_FIELDS} fields") from error
