"""Reps hear of hand-offs by signed notifications, and follow up well, late or never."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from standardwebhooks import Webhook
from starlette.applications import Starlette

from shared.clock import ManualClock
from shared.crm.simulator.ledger import Account, Event, Ledger
from shared.crm.simulator.reps import RepOptions, Reps
from shared.crm.simulator.schedule import Schedule
from shared.crm.simulator.world import FORM, Ids, World
from shared.events import RecordType

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
SECRET = "whsec_c2ltdWxhdG9yLXRlc3Qtc2VjcmV0LXNpbXU="


@dataclass
class Office:
    world: World
    reps: Reps
    schedule: Schedule
    clock: ManualClock
    ledger: Path
    told: list[Event]

    def lead(self) -> str:
        contact = self.world.create(RecordType.CONTACT, {"company": "Cobalt Foods"}, FORM)
        return f"hubspot:62515:{contact.id}"

    def hand_off(self, lead: str, *, episode: int = 1) -> None:
        self.reps.told({"type": "LeadHandedOff", "data": {"lead": lead, "episode": episode, "owner": "ana"}})

    def pass_days(self, days: int) -> None:
        for _ in range(days * 24):
            self.clock.advance(timedelta(hours=1))
            while self.schedule.run_due():
                pass

    def account(self) -> Account:
        return Ledger.read(self.ledger)

    def activities(self) -> list[Event]:
        return self.account().of("activity")


def an_office(tmp_path: Path, *, seed: int = 1) -> Office:
    clock, told = ManualClock(NOON), list[Event]()
    ledger = Ledger(tmp_path / f"ledger-{seed}.jsonl")
    world = World(clock=clock, ledger=ledger, ids=Ids(None, 901), portal=62515, listener=told.append)
    schedule = Schedule(clock)
    reps = Reps(world, schedule, ledger, RepOptions(secret=SECRET), seed=seed)
    return Office(world, reps, schedule, clock, tmp_path / f"ledger-{seed}.jsonl", told)


async def notify(office: Office, body: Mapping[str, Any], *, webhook_id: str, secret: str = SECRET) -> int:
    data, now = json.dumps(body), datetime.now(UTC)
    headers = {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(webhook_id, now, data),
    }
    app = Starlette(routes=office.reps.routes())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://crm.example") as http:
        return (await http.post("/notifications", content=data, headers=headers)).status_code


async def test_a_signed_notification_is_taken_and_its_repetition_does_nothing(tmp_path: Path) -> None:
    office = an_office(tmp_path)
    body = {"type": "LeadHandedOff", "data": {"lead": office.lead(), "episode": 1}}
    assert [await notify(office, body, webhook_id="m1") for _ in range(3)] == [204, 204, 204]
    assert office.reps.repeated == 2
    assert len(office.account().of("notified")) == 1


async def test_a_notification_signed_by_somebody_else_is_refused(tmp_path: Path) -> None:
    office = an_office(tmp_path)
    other = "whsec_b3RoZXItdGVzdC1zZWNyZXQtb3RoZXItdGVz"
    assert await notify(office, {"type": "LeadHandedOff"}, webhook_id="m1", secret=other) == 401
    assert office.account().facts == []


def test_reps_follow_up_well_late_or_never(tmp_path: Path) -> None:
    office = an_office(tmp_path)
    leads = [office.lead() for _ in range(60)]
    for lead in leads:
        office.hand_off(lead)
    office.pass_days(30)
    habits = {fact["lead"]: fact["habit"] for fact in office.account().of("habit")}
    first: dict[str, int] = {}
    for activity in office.activities():
        first.setdefault(f"hubspot:62515:{activity['contact']}", activity["at"])
    soon = int((NOON + timedelta(hours=2)).timestamp() * 1000)
    assert set(habits.values()) == {"well", "late", "never"}
    assert all(first[lead] < soon for lead in leads if habits[lead] == "well")
    assert all(first[lead] > soon for lead in leads if habits[lead] == "late")
    assert all(lead not in first for lead in leads if habits[lead] == "never")


def test_leads_answer_and_some_deals_are_won_and_some_lost(tmp_path: Path) -> None:
    office = an_office(tmp_path)
    for lead in [office.lead() for _ in range(150)]:
        office.hand_off(lead)
    office.pass_days(60)
    directions = Counter(activity["direction"] for activity in office.activities())
    stages = Counter(f["value"] for f in office.account().of("property") if f["name"] == "dealstage")
    assert directions["inbound"] > 0
    assert stages["closedwon"] > 0
    assert stages["closedlost"] > 0


def test_what_reps_do_is_told_by_webhooks(tmp_path: Path) -> None:
    office = an_office(tmp_path)
    for lead in [office.lead() for _ in range(20)]:
        office.hand_off(lead)
    office.pass_days(10)
    created = [e["objectId"] for e in office.told if e["subscriptionType"] == "object.creation"]
    assert [f"{a['activity']}" for a in office.activities()]
    assert {int(a["activity"].split(":")[1]) for a in office.activities()} == set(created)


def test_a_lead_that_went_back_is_left_alone(tmp_path: Path) -> None:
    office = an_office(tmp_path)
    leads = [office.lead() for _ in range(30)]
    for lead in leads:
        office.hand_off(lead)
        office.reps.told({"type": "LeadReturned", "data": {"lead": lead, "episode": 1}})
    office.pass_days(10)
    assert office.activities() == []


def test_a_second_notice_of_one_episode_starts_nothing_anew(tmp_path: Path) -> None:
    once, twice = an_office(tmp_path, seed=1), an_office(tmp_path / "other", seed=1)
    for office, times in ((once, 1), (twice, 2)):
        leads = [office.lead() for _ in range(10)]
        for lead in leads * times:
            office.hand_off(lead)
        office.pass_days(10)
    assert [(a["contact"], a["channel"]) for a in once.activities()] == [
        (a["contact"], a["channel"]) for a in twice.activities()
    ]
