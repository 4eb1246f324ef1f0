"""No personal data in logs, metrics and the reasons of dead letters, whatever fails on it (promise 9)."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from prometheus_client import CollectorRegistry, generate_latest
from sqlalchemy.exc import DBAPIError

from shared.bus import NewRecord
from shared.clock import ManualClock
from shared.database import make_engine, migrate
from shared.events import DeadLetter, LeadScored, Topic, decode
from shared.log import JsonLines, Log, configure
from shared.metrics import CommonMetrics
from shared.web import Supervisor
from shared.work import Work, to_record
from tests.contract.handoff_desk import EMAIL, NOW, Desk, demo
from tests.real import new_database, postgres

__all__ = ["new_database", "postgres"]

PATIENCE_S = 30.0
NOT_STORABLE = f"{EMAIL}\0"  # PostgreSQL keeps no NUL in a text, and says in its error what it was given
NO_MESSAGE = json.dumps({"type": "LeadScored", "lead": EMAIL, "version": EMAIL}).encode()
NO_JSON = EMAIL.encode()


class Asked(Exception):
    """What a library may raise: its message quotes what it was given."""


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What the process writes, with the logs set up as the command line does, and nothing held back."""
    root, written = logging.getLogger(), io.StringIO()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setattr(sys, "stderr", written)
    configure(level="DEBUG")
    yield written
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(logged: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in logged.getvalue().splitlines()]


# --- one line ---


def raised() -> Asked:
    try:
        try:
            raise ValueError(EMAIL)
        except ValueError as error:
            raise Asked(f"cannot use {EMAIL}") from error
    except Asked as error:
        return error


def test_a_line_tells_type_and_place_of_an_error_and_never_its_message(logged: io.StringIO) -> None:
    Log("leadpact.test").error("it_failed", error=raised(), messages=3)
    (line,) = lines(logged)
    assert (line["event"], line["level"], line["messages"], line["error"]) == ("it_failed", "ERROR", 3, "Asked")
    assert line["at"][-1].endswith(" raised")
    assert EMAIL not in logged.getvalue()


def test_an_error_that_a_library_logs_loses_its_message_too(logged: io.StringIO) -> None:
    try:
        raise Asked(EMAIL)
    except Asked:
        logging.getLogger("some.library").exception("Task exception was never retrieved")
    assert [line["error"] for line in lines(logged)] == ["Asked"]
    assert EMAIL not in logged.getvalue()


def test_a_line_is_one_line_of_json_whatever_is_in_it() -> None:
    record = logging.LogRecord("x", logging.INFO, "x.py", 1, "told", (), None)
    record.fields = {"at": NOW, "what": "two\nlines", "who": object()}
    assert "\n" not in JsonLines().format(record)


# --- the database ---


async def test_an_error_of_the_database_does_not_quote_what_it_was_given(postgres: str) -> None:
    engine = make_engine(postgres, pool_size=1)
    with pytest.raises(DBAPIError) as raised:
        async with engine.connect() as conn:
            await conn.execute(sa.text("SELECT CAST(:asked AS text)"), {"asked": NOT_STORABLE})
    await engine.dispose()
    assert EMAIL not in str(raised.value)


# --- the loop ---


@pytest.fixture
def uri(new_database: Callable[[], str]) -> str:
    address = new_database()
    migrate(address, "handoff")
    return address


def failing(desk: Desk) -> Work[Any]:
    """The desk's work, with a handler that fails on the second lead as a mistake of ours would."""
    score = desk.worker.handlers[LeadScored]

    def handle(state: Any, message: LeadScored, facts: Any) -> Any:
        if message.lead == demo(2).lead:
            raise Asked(f"cannot use {message.profile}")
        return score(state, message, facts)

    handlers = {**desk.worker.handlers, LeadScored: handle}
    return desk.work_of(dataclasses.replace(desk.worker, handlers=handlers))


def poison() -> list[NewRecord]:
    """Four ways to fail on a person, one by each border, and a lead that is well."""
    bad = msgspec.structs.replace(demo(3), lead=NOT_STORABLE)
    told = [to_record(message, source="test") for message in (demo(1), demo(2), bad)]
    raw = [NewRecord(topic=Topic.LEAD_SCORES, key="hubspot:62515:9", value=value) for value in (NO_MESSAGE, NO_JSON)]
    return [*told, *raw]


async def dead_letters(desk: Desk, count: int) -> list[DeadLetter]:
    found: list[DeadLetter] = []
    async with desk.parts.bus.consumer("reader", [Topic.DEAD_LETTERS]) as reader, asyncio.timeout(PATIENCE_S):
        while len(found) < count:
            for record in await reader.poll(max_records=10, wait_s=1.0):
                letter = decode(Topic.DEAD_LETTERS, record.value)
                assert isinstance(letter, DeadLetter)
                found.append(letter)
    return found


async def test_what_fails_on_a_person_leaves_no_trace_of_the_person(uri: str, logged: io.StringIO) -> None:
    desk = Desk(uri, ManualClock(NOW))
    await desk.parts.bus.create_topics(partitions=1, replication=1)
    desk.parts = dataclasses.replace(desk.parts, metrics=CommonMetrics(desk.registry))
    work = failing(desk)
    supervisor = Supervisor(desk.parts.metrics)
    for name, task in work.tasks().items():
        supervisor.start("handoff", name, task)
    try:
        await desk.parts.bus.publish(poison())
        letters = await dead_letters(desk, 4)
    finally:
        await supervisor.stop()
        await desk.close()
    assert sorted(letter.reason for letter in letters) == ["handler_failed", "undecodable", "undecodable", "unstorable"]
    assert all(EMAIL.encode() in letter.original for letter in letters)  # kept to be replayed, and only there
    assert not [letter.detail for letter in letters if "@" in letter.detail]
    assert {"handler_failed", "dead_letter"} <= {line["event"] for line in lines(logged)}
    assert "@" not in logged.getvalue() + generate_latest(desk.registry).decode()


async def test_a_task_that_fails_on_a_person_is_logged_and_counted_without_the_person(logged: io.StringIO) -> None:
    registry = CollectorRegistry()
    supervisor, failed = Supervisor(CommonMetrics(registry)), asyncio.Event()

    async def task() -> None:
        failed.set()
        raise Asked(EMAIL)

    supervisor.start("handoff", "task", task)
    await failed.wait()
    while not supervisor.failing():
        await asyncio.sleep(0)
    assert supervisor.failing() == ["handoff.task: Asked"]
    await supervisor.stop()
    assert [line["event"] for line in lines(logged) if line["level"] == "ERROR"] == ["task_failed"]
    assert EMAIL not in logged.getvalue() + generate_latest(registry).decode()
