"""What hand-off makes of scores that no act of the lead brought: scoring was rebuilt, or the agreement changed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from shared import events
from shared.agreement import Agreement
from shared.agreement.handoff import Trigger
from shared.bus import NewRecord, Record
from shared.clock import ManualClock
from shared.database import migrate
from shared.events import ContactChanged, LeadMessage, PropertyValue
from tests.agreements import in_force, with_parts, with_points
from tests.contract.handoff_desk import Desk as HandoffDesk
from tests.contract.scoring_desk import AGREEMENT, DAY, NOW, about, form, name, person
from tests.contract.scoring_desk import Desk as ScoringDesk

FORMER = with_points(decision_maker=0, demo=0)  # by which the lead was never ready


class House:
    """Scoring and hand-off on one bus, each heard to its end."""

    def __init__(self, bus: Any, scoring: ScoringDesk, handoff: HandoffDesk) -> None:
        self.bus, self.scoring, self.handoff = bus, scoring, handoff

    async def hears(self, *messages: LeadMessage) -> None:
        """Of the CRM: on the topic, and from there."""
        await self.bus.publish(
            [NewRecord(topic="crm.events", key=one.key, value=events.encode(one)) for one in messages]
        )
        await self.scoring.hears(*messages)
        await self._tell()

    async def rebuild(self) -> None:
        """Empty scoring, and read what the topic holds, by the agreement of today."""
        await self.scoring.empty()
        self.scoring.clock.advance(DAY)
        recorded: list[Record] = [record async for record in self.bus.scan("crm.events")]
        for record in recorded:  # one by one, so that every score on the way is told
            await self.scoring.work.handle([record])
        await self._tell()

    async def agree(self, agreement: Agreement) -> None:
        """Another agreement, and every stored lead judged again by it."""
        for desk in (self.scoring, self.handoff):
            desk.parts.agreements.swap(in_force(agreement))
        while await self.scoring.rescoring.step():
            pass
        await self._tell()

    async def _tell(self) -> None:
        told = await self.scoring.rows("DELETE FROM scoring.outbox RETURNING seq, value")
        for row in sorted(told, key=lambda one: one.seq):
            await self.handoff.hears(events.decode("lead.scores", row.value))

    async def state(self) -> tuple[str, int]:
        ((state, document),) = await self.handoff.rows(
            "SELECT state, document FROM handoff.leads WHERE lead = :lead", lead=name(1)
        )
        return state, json.loads(document).get("episode", 0)


@pytest.fixture(scope="module")
def uri(postgres: str) -> str:
    migrate(postgres, "scoring")
    migrate(postgres, "handoff")
    return postgres


@pytest.fixture
async def house(bus: Any, uri: str) -> AsyncIterator[House]:
    scoring = ScoringDesk(uri, ManualClock(NOW + DAY), agreement=FORMER)
    handoff = HandoffDesk(uri, scoring.clock)
    await scoring.empty()
    await handoff.empty()
    yield House(bus, scoring, handoff)
    await scoring.close()
    await handoff.close()


def email(value: str, after: timedelta) -> ContactChanged:
    at = NOW + after
    return about(ContactChanged, 1, at, values=(PropertyValue(name="email", value=value, at=at),))  # type: ignore[no-any-return]


async def test_a_rebuilt_scoring_hands_nobody_over_by_a_score_that_is_past(house: House) -> None:
    await house.hears(person(1), form(1, "ebook"), email("ada@rival.example", DAY / 2))
    assert await house.state() == ("disqualified", 0)
    house.scoring.parts.agreements.swap(in_force(AGREEMENT))
    await house.rebuild()
    assert await house.state() == ("disqualified", 0)
    await house.hears(email("ada@x.example", DAY), form(1, at=NOW + DAY))
    assert await house.state() == ("handed_off", 1)


async def test_where_only_the_triggers_changed_who_is_ready_by_them_is_handed_over_once(house: House) -> None:
    await house.hears(person(1))
    assert await house.state() == ("marketing", 0)
    soon = Trigger.model_validate({"name": "Fits us", "when": {"fit": "A"}})
    handoff = AGREEMENT.handoff.model_copy(update={"triggers": (*AGREEMENT.handoff.triggers, soon)})
    await house.agree(AGREEMENT)
    assert await house.state() == ("marketing", 0)
    await house.agree(with_parts(AGREEMENT, handoff=handoff))
    assert await house.state() == ("handed_off", 1)
    await house.agree(AGREEMENT)
    await house.agree(with_parts(AGREEMENT, handoff=handoff))
    assert await house.state() == ("handed_off", 1)
