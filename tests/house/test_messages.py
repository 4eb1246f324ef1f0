"""Every message has its readers, and stays readable: new code reads what is old, old code what is new."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from shared.events import MESSAGES, TOPIC_OF, Message, Topic, decode, encode
from tests.house.code import ROOT, SERVICES, dotted, imported, tree_of
from tests.house.golden import breaks, filled, readers_of, recorded, schemas_of

REGENERATE = "run python -m tests.house.golden, and commit what it writes"
WORKERS = {service: ROOT / "services" / service / "worker.py" for service in SERVICES}
ALL = [message for messages in MESSAGES.values() for message in messages]
UNKNOWN = {"a field of tomorrow": {"with": ["something", None]}}


# --- who reads what ---


def all_messages() -> Iterator[type[Message]]:
    """Every message that shared.events defines: those that are no mere base of others."""
    waiting = [Message]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if not kind.__subclasses__() and kind.__module__ == "shared.events":
            yield kind


def topics_of(service: str) -> list[Topic]:
    """The topics that a worker reads: `topics=` of its Worker."""
    tree = tree_of(WORKERS[service])
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and dotted(node.func) == "Worker"]
    given = [word.value for call in calls for word in call.keywords if word.arg == "topics"]
    assert len(given) == 1, f"{service}: one Worker(topics=…) was expected"
    return [Topic[node.attr] for node in ast.walk(given[0]) if isinstance(node, ast.Attribute)]


def test_every_message_is_on_exactly_one_topic() -> None:
    assert sorted(kind.__name__ for kind in ALL) == sorted(kind.__name__ for kind in all_messages())
    assert len(TOPIC_OF) == len(ALL)


@pytest.mark.parametrize("service", SERVICES)
def test_a_worker_handles_or_ignores_each_message_of_its_topics(service: str) -> None:
    worker = imported(f"services.{service}.worker")
    read = {message for topic in topics_of(service) for message in MESSAGES[topic]}
    handled, ignored = set(worker.HANDLERS), set(worker.IGNORED)
    assert not {kind.__name__ for kind in read - handled - ignored}, "neither handled nor ignored"
    assert not {kind.__name__ for kind in handled & ignored}, "handled and ignored"
    assert not {kind.__name__ for kind in (handled | ignored) - read}, "not on the topics that it reads"


@pytest.mark.parametrize("service", SERVICES)
def test_a_worker_ends_in_its_two_tables(service: str) -> None:
    last = tree_of(WORKERS[service]).body[-2:]
    assert [dotted(node.target) for node in last if isinstance(node, ast.AnnAssign)] == ["HANDLERS", "IGNORED"]


@pytest.mark.parametrize("topic", [topic for topic in Topic if topic is not Topic.DEAD_LETTERS])
def test_every_topic_has_a_reader(topic: Topic) -> None:
    assert [service for service in SERVICES if topic in topics_of(service)]


# --- what was promised ---


@pytest.mark.parametrize("topic", Topic)
def test_nothing_breaks_what_was_promised(topic: Topic) -> None:
    faults = list(breaks(recorded(topic)[0], schemas_of(topic)))
    assert not faults, "a message is never renamed, retyped or thinned out: make a new type"


@pytest.mark.parametrize("topic", Topic)
def test_the_golden_schemas_are_those_of_today(topic: Topic) -> None:
    golden, today = recorded(topic)[0], schemas_of(topic)
    assert not [name for name in golden | today if golden.get(name) != today.get(name)], REGENERATE


@pytest.mark.parametrize("message", ALL, ids=lambda kind: kind.__name__)
def test_every_message_ever_written_says_the_same_today(message: type[Message]) -> None:
    topic = TOPIC_OF[message]
    examples = recorded(topic)[1].get(message.__name__)
    assert examples, REGENERATE
    for example in examples:
        read = decode(topic, json.dumps(example).encode())
        assert type(read) is message
        assert holds(json.loads(encode(read)), example)


def holds(new: Any, old: Any) -> bool:
    """Whether `new` says all that `old` says; it may say more."""
    if isinstance(old, dict):
        return isinstance(new, dict) and all(name in new and holds(new[name], value) for name, value in old.items())
    if isinstance(old, list):
        return isinstance(new, list) and len(new) == len(old) and all(map(holds, new, old))
    return bool(new == old)


@pytest.mark.parametrize("message", ALL, ids=lambda kind: kind.__name__)
def test_a_reader_of_the_day_of_the_promise_reads_what_is_written_today(message: type[Message]) -> None:
    readers = readers_of(recorded(TOPIC_OF[message])[0])
    assert message.__name__ in readers, REGENERATE
    written = json.loads(encode(filled(message))) | UNKNOWN
    read = msgspec.json.decode(json.dumps(written), type=readers[message.__name__])
    assert read.id == written["id"]


@pytest.mark.parametrize("message", ALL, ids=lambda kind: kind.__name__)
def test_a_message_with_fields_of_tomorrow_is_read(message: type[Message]) -> None:
    told = filled(message)
    assert decode(TOPIC_OF[message], json.dumps(json.loads(encode(told)) | UNKNOWN).encode()) == told


# --- that the check itself sees ---


TEXT = {"type": "string"}
ID, OWNER = {"id": TEXT}, {"owner": TEXT | {"default": ""}}


def told(fields: dict[str, Any]) -> dict[str, Any]:
    required = [name for name, kind in fields.items() if "default" not in kind]
    return {"Told": {"properties": fields, "required": required}}


@pytest.mark.parametrize(
    ("now", "fault"),
    [
        (told(ID | OWNER), None),
        (told(ID | OWNER | {"note": TEXT | {"default": ""}}), None),
        (told(ID | OWNER | {"note": TEXT}), "note is asked for"),
        (told(ID), "owner is gone"),
        (told(ID | {"owner": {"type": "integer", "default": 0}}), "owner was"),
        (told(ID | {"holder": TEXT | {"default": ""}}), "owner is gone"),
        ({}, "Told is gone"),
    ],
)
def test_only_what_adds_is_no_break(now: dict[str, Any], fault: str | None) -> None:
    found = list(breaks(told(ID | OWNER), now))
    assert [fault in one for one in found] == [True] if fault else not found


def test_a_value_of_an_enumeration_may_come_and_never_go() -> None:
    few, more = {"Channel": {"enum": ["email"]}}, {"Channel": {"enum": ["email", "fax"]}}
    assert not list(breaks(few, more))
    assert list(breaks(more, few)) == ["Channel lost the value fax"]
