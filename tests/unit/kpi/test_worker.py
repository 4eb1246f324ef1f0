"""What kpi reads."""

from __future__ import annotations

from services.kpi.worker import HANDLERS, IGNORED, worker
from shared import events


def test_every_message_of_every_topic_is_either_handled_or_ignored() -> None:
    read = {kind for topic in worker().topics for kind in events.MESSAGES[topic]}
    assert HANDLERS.keys() | IGNORED == read
    assert not HANDLERS.keys() & IGNORED
