"""The real parts of the contract tests, and the bus on each engine."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest

from shared.bus import Bus
from shared.bus.embedded import EmbeddedBus
from shared.bus.kafka import KafkaBus
from tests.real import kafka, new_database, postgres

__all__ = ["kafka", "new_database", "postgres"]

DEATH_S = 2.0  # a silent member is dead after so long


def open_engine(engine: str, address: str, prefix: str) -> Bus:
    """A bus object as one process would have it."""
    if engine == "kafka":
        return KafkaBus(address, prefix=prefix, session_s=DEATH_S)
    return EmbeddedBus(address, prefix=prefix, lease_s=DEATH_S)


@dataclass
class Engine:
    """One of the two engines, with topics of its own; each `open` is another process's bus."""

    name: str
    address: str
    prefix: str = field(default_factory=lambda: f"t{uuid4().hex[:8]}.")
    opened: list[Bus] = field(default_factory=list)

    def open(self) -> Bus:
        bus = open_engine(self.name, self.address, self.prefix)
        self.opened.append(bus)
        return bus

    def as_json(self) -> str:
        return json.dumps([self.name, self.address, self.prefix])


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    address = (
        request.getfixturevalue("kafka").address if request.param == "kafka" else request.getfixturevalue("postgres")
    )
    made = Engine(request.param, address)
    yield made
    for bus in made.opened:
        await bus.close()


@pytest.fixture
async def bus(engine: Engine) -> Any:
    """A bus with topics of four partitions."""
    bus = engine.open()
    await bus.create_topics(partitions=4, replication=1)
    return bus
