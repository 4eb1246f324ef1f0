"""An evaluation reads the topics of either engine."""

from __future__ import annotations

from services.commands.evaluating import from_topics
from services.commands.evaluating.history import Stage
from shared.bus import Bus
from shared.work import to_record
from tests.unit.commands.past_month import WINDOW, month, topics


async def test_the_topics_of_an_engine_give_the_history_that_was_published(bus: Bus) -> None:
    leads = month(40)
    told = topics(leads)
    await bus.publish([to_record(message, source="test") for some in told.messages.values() for message in some])
    found = await from_topics.read(bus, "", Stage.SQL, WINDOW, None)
    assert found == await from_topics.read(told, "", Stage.SQL, WINDOW, None)  # type: ignore[arg-type]
    assert {lead.key: lead.converted for lead in found.leads} == {lead.key: lead.converted for lead in leads}
