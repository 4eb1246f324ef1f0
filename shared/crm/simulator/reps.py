"""Sales people: told of hand-offs by Leadpact's notifications, they follow up well, late, or never."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import msgspec
from standardwebhooks import Webhook, WebhookVerificationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from shared.crm.simulator import truth
from shared.crm.simulator.api import DISPOSITIONS
from shared.crm.simulator.ledger import Ledger
from shared.crm.simulator.personas import OF_COMPANY, SOFTWARE, Market
from shared.crm.simulator.schedule import Schedule, in_business_hours
from shared.crm.simulator.world import OWNERS, Owner, Record, Source, World, to_ms, to_text, user
from shared.events import Channel, Direction, Outcome, RecordType, identity

HANDED_OFF: Final = "LeadHandedOff"
BREACHED: Final = "ClockBreached"
OVER: Final = frozenset({"LeadReturned", "LeadRejected", "LeadDisqualified", "LeadErased"})
SEEN_MOST: Final = 100_000

# (the CRM's word, ours, how many of a hundred calls)
CALLS: Final = (
    ("No answer", Outcome.NO_ANSWER, 40),
    ("Left voicemail", Outcome.VOICEMAIL, 22),
    ("Connected", Outcome.CONNECTED, 25),
    ("Left live message", Outcome.LIVE_MESSAGE, 6),
    ("Busy", Outcome.BUSY, 5),
    ("Wrong number", Outcome.WRONG_NUMBER, 2),
)
WOKEN: Final = 0.33  # share of breaches that make an idle rep act
REPLIES: Final = 0.15  # share of emails and messages that the lead answers
CADENCE: Final = (Channel.PHONE, Channel.EMAIL, Channel.PHONE, Channel.LINKEDIN, Channel.EMAIL, Channel.SMS)
MESSAGES: Final = {Channel.LINKEDIN: "LINKEDIN_MESSAGE", Channel.WHATSAPP: "WHATS_APP", Channel.SMS: "SMS"}


class Habit(StrEnum):
    """How a hand-off is followed up. On the same lead a rep is always the same."""

    WELL = "well"
    LATE = "late"
    NEVER = "never"


@dataclass(frozen=True, kw_only=True)
class RepOptions:
    """`hour_s` is how many seconds of the clock an hour of the reps lasts."""

    secret: str
    hour_s: float = 3600.0
    business_hours: bool = True
    market: Market = SOFTWARE


@dataclass(kw_only=True)
class Pursuit:
    """One rep after one lead, in one episode."""

    contact: Record
    owner: Owner
    rng: random.Random
    habit: Habit
    attempts_left: int
    gap_h: tuple[float, float]
    channels: Any = field(default_factory=lambda: itertools.cycle(CADENCE))
    over: bool = False


class Reps:
    """Receives the notifications and does what sales people do, in the CRM."""

    def __init__(self, world: World, schedule: Schedule, ledger: Ledger, options: RepOptions, *, seed: int) -> None:
        self._world = world
        self._schedule = schedule
        self._ledger = ledger
        self._options = options
        self._seed = seed
        self._webhook = Webhook(options.secret)
        self._seen: dict[str, None] = {}
        self._pursuits: dict[tuple[str, int], Pursuit] = {}
        self.notified = 0
        self.repeated = 0

    def routes(self) -> list[Route]:
        return [Route("/notifications", self.receive, methods=["POST"])]

    async def receive(self, request: Request) -> Response:
        """A notification of Leadpact's: 401 without a good signature; the same id a second time does nothing."""
        body = await request.body()
        try:
            self._webhook.verify(body, dict(request.headers), json_parse=False)
        except WebhookVerificationError:
            return JSONResponse({"error": "the signature does not fit"}, status_code=401)
        if self._is_new(request.headers["webhook-id"]):
            self.told(msgspec.json.decode(body))
        return Response(status_code=204)

    def told(self, notification: Mapping[str, Any]) -> None:
        """Act on a notification `{type, data: {lead, episode, owner, …}}`, or on the message itself."""
        said = notification.get("data")
        message: Mapping[str, Any] = said if isinstance(said, dict) else notification
        kind = str(message.get("type") or notification.get("type"))
        lead, episode = str(message.get("lead", "")), int(message.get("episode") or 1)
        self._ledger.fact("notified", type=kind, lead=lead, episode=episode)
        pursuit = self._pursuits.get((lead, episode))
        if kind == HANDED_OFF and pursuit is None:
            self._take_on(lead, episode, str(message.get("owner", "")))
        elif kind == BREACHED and pursuit is not None:
            self._remind(pursuit)
        elif kind in OVER and pursuit is not None:
            pursuit.over = True

    def _is_new(self, webhook_id: str) -> bool:
        self.notified += 1
        if webhook_id in self._seen:
            self.repeated += 1
            return False
        self._seen[webhook_id] = None
        if len(self._seen) > SEEN_MOST:
            del self._seen[next(iter(self._seen))]
        return True

    # --- following up ---

    def _take_on(self, lead: str, episode: int, owner: str) -> None:
        contact = self._contact(lead)
        if contact is None:
            return
        rng = random.Random(f"{self._seed}:rep:{contact.id}:{episode}")
        habit = rng.choices(list(Habit), weights=(65, 20, 15))[0]
        self._ledger.fact("habit", lead=lead, episode=episode, habit=str(habit))
        well = habit is Habit.WELL
        pursuit = Pursuit(
            contact=contact,
            owner=_owner(owner, lead),
            rng=rng,
            habit=habit,
            attempts_left={Habit.WELL: 6, Habit.LATE: rng.randint(1, 3), Habit.NEVER: 0}[habit],
            gap_h=(3.0, 30.0) if well else (24.0, 96.0),
        )
        self._pursuits[lead, episode] = pursuit
        first_h = rng.uniform(0.05, 0.8) if well else rng.uniform(5.0, 60.0)
        if habit is not Habit.NEVER:
            self._in_hours(first_h, lambda: self._attempt(pursuit))

    def _remind(self, pursuit: Pursuit) -> None:
        """A breach wakes one in three of those who never do anything, for one attempt."""
        if pursuit.habit is Habit.NEVER and pursuit.rng.random() < WOKEN:
            pursuit.habit, pursuit.attempts_left = Habit.LATE, 1
            self._in_hours(pursuit.rng.uniform(0.5, 4), lambda: self._attempt(pursuit))

    def _contact(self, lead: str) -> Record | None:
        account, _, number = lead.rpartition(":")
        if account != f"hubspot:{self._world.portal}" or not number.isdigit():
            return None
        return self._world.find(RecordType.CONTACT, int(number))

    def _attempt(self, pursuit: Pursuit) -> None:
        if pursuit.over or pursuit.attempts_left <= 0:
            return
        pursuit.attempts_left -= 1
        channel = next(pursuit.channels)
        reached = self._call(pursuit) if channel is Channel.PHONE else self._write(pursuit, channel)
        if not reached and pursuit.attempts_left:
            self._in_hours(pursuit.rng.uniform(*pursuit.gap_h), lambda: self._attempt(pursuit))

    def _call(self, pursuit: Pursuit) -> bool:
        word, outcome, _ = pursuit.rng.choices(CALLS, weights=[weight for _, _, weight in CALLS])[0]
        seconds = pursuit.rng.randint(60, 1500) if outcome is Outcome.CONNECTED else pursuit.rng.randint(5, 50)
        said = {
            "hs_call_title": "Call",
            "hs_call_direction": "OUTBOUND",
            "hs_call_disposition": DISPOSITIONS[word],
            "hs_call_duration": str(seconds * 1000),
            "hs_call_status": "COMPLETED",
        }
        self._log(pursuit, RecordType.CALL, said, Channel.PHONE, outcome)
        if outcome is Outcome.CONNECTED:
            self._in_hours(0.1, lambda: self._talked(pursuit))
            return True
        return False

    def _write(self, pursuit: Pursuit, channel: Channel) -> bool:
        if channel is Channel.EMAIL:
            outcome = Outcome.BOUNCED if pursuit.rng.random() < 0.05 else Outcome.SENT
            said = {
                "hs_email_direction": "EMAIL",
                "hs_email_status": str(outcome).upper(),
                "hs_email_subject": "Your question",
            }
            self._log(pursuit, RecordType.EMAIL, said, Channel.EMAIL, outcome)
        else:
            outcome = Outcome.SENT
            said = {"hs_communication_channel_type": MESSAGES[channel], "hs_communication_logged_from": "CRM"}
            self._log(pursuit, RecordType.COMMUNICATION, said, channel, outcome)
        if outcome is Outcome.SENT and pursuit.rng.random() < REPLIES:
            self._in_hours(pursuit.rng.uniform(0.5, 10), lambda: self._reply(pursuit))
            return True
        return False

    def _reply(self, pursuit: Pursuit) -> None:
        said = {"hs_email_direction": "INCOMING_EMAIL", "hs_email_status": "SENT", "hs_email_subject": "Re: question"}
        self._log(pursuit, RecordType.EMAIL, said, Channel.EMAIL, Outcome.REPLIED, direction=Direction.INBOUND)
        self._in_hours(0.5, lambda: self._talked(pursuit))

    # --- selling ---

    def _talked(self, pursuit: Pursuit) -> None:
        if pursuit.over or pursuit.rng.random() >= truth.chance(truth.BOOKS, self._about(pursuit.contact)):
            return
        starts = self._schedule.clock.now() + timedelta(seconds=24 * self._options.hour_s)
        said = {
            "hs_meeting_title": "Demo",
            "hs_meeting_outcome": "SCHEDULED",
            "hs_meeting_start_time": to_text(to_ms(starts)),
            "hs_meeting_end_time": to_text(to_ms(starts + timedelta(minutes=30))),
        }
        meeting = self._log(pursuit, RecordType.MEETING, said, Channel.MEETING, Outcome.BOOKED)
        self._in_hours(25, lambda: self._met(pursuit, meeting))

    def _met(self, pursuit: Pursuit, meeting: Record) -> None:
        held = pursuit.rng.random() < 0.8
        outcome = "COMPLETED" if held else "NO_SHOW"
        self._world.update(meeting, {"hs_meeting_outcome": outcome}, self._source(pursuit))
        if not held:
            return
        said = {
            "dealname": pursuit.contact.get("company") or "Deal",
            "pipeline": "default",
            "dealstage": "appointmentscheduled",
            "amount": str(pursuit.rng.randrange(5, 100) * 1000),
            "deal_currency_code": "USD",
            "hubspot_owner_id": str(pursuit.owner.id),
        }
        source, contacts = self._source(pursuit), [pursuit.contact.id]
        deal = self._world.create(RecordType.DEAL, said, source, contacts=contacts)
        market = self._options.market
        won = pursuit.rng.random() < truth.chance(truth.BUYS, self._about(pursuit.contact))
        last = market.won if won else "closedlost"
        self._in_hours(48, lambda: self._move(pursuit, deal, market.offered))
        self._in_hours(240, lambda: self._move(pursuit, deal, last))

    def _move(self, pursuit: Pursuit, deal: Record, stage: str) -> None:
        self._world.update(deal, {"dealstage": stage}, self._source(pursuit))

    def _about(self, contact: Record) -> truth.Lead:
        """What decides whether it buys, as of now."""
        forms, urls = (
            [value.value for value in contact.history.get(name, ())]
            for name in ("recent_conversion_event_name", "hs_analytics_last_url")
        )
        company = self._world.company_of(contact)
        of_company = {OF_COMPANY + name: value for name, value in (company.properties() if company else {}).items()}
        return truth.lead(contact.properties() | of_company, forms, urls)

    # --- doing ---

    def _log(
        self,
        pursuit: Pursuit,
        kind: RecordType,
        said: Mapping[str, str],
        channel: Channel,
        outcome: Outcome,
        *,
        direction: Direction = Direction.OUTBOUND,
    ) -> Record:
        now = to_ms(self._schedule.clock.now())
        own = {"hs_timestamp": to_text(now), "hubspot_owner_id": str(pursuit.owner.id)}
        contact = pursuit.contact.id
        record = self._world.create(kind, {**said, **own}, self._source(pursuit), contacts=[contact])
        self._ledger.fact(
            "activity",
            activity=f"{kind}:{record.id}",
            contact=contact,
            channel=str(channel),
            direction=str(direction),
            outcome=str(outcome),
            by=str(pursuit.owner.id),
            at=now,
        )
        return record

    def _source(self, pursuit: Pursuit) -> Source:
        return user(pursuit.owner.id)

    def _in_hours(self, hours: float, call: Callable[[], None]) -> None:
        moment = self._schedule.clock.now() + timedelta(seconds=hours * self._options.hour_s)
        self._schedule.at(self._opening(moment), call)

    def _opening(self, moment: datetime) -> datetime:
        return in_business_hours(moment) if self._options.business_hours else moment


def _owner(name: str, lead: str) -> Owner:
    """The CRM's owner of that name, email or id; somebody, always the same for the lead, when it knows none."""
    for owner in OWNERS:
        if name.lower() in (str(owner.id), owner.email, owner.first_name.lower()):
            return owner
    return OWNERS[int(identity("owner", name or lead)[:8], 16) % len(OWNERS)]
