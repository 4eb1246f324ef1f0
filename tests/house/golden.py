"""The messages as they were promised: their schemas and one example each, in tests/house/golden/.

    python -m tests.house.golden

writes what is new: a new message, a new field with a default, a new value of an enumeration. It
refuses what would break those who read or wrote before: a break in meaning is a new type
(shared/events.py). An example that was recorded once stays for ever; what grew gets another one.
"""

from __future__ import annotations

import enum
import functools
import json
import operator
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect

from shared.events import MESSAGES, Message, Topic, encode

FOLDER = Path(__file__).parent / "golden"
MOMENT = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
# Words about the message, which may change.
PROSE = frozenset({"description", "title"})

Schema = dict[str, Any]


# --- what is promised ---


def schemas_of(topic: Topic) -> Schema:
    """Today's schemas of a topic's messages and of what they are made of, by name, without prose."""
    _, components = msgspec.json.schema_components(MESSAGES[topic])
    plain: Schema = msgspec.json.decode(msgspec.json.encode(components))
    schemas = {name: _without_prose(schema) for name, schema in sorted(plain.items())}
    for kind in inspect.multi_type_info(MESSAGES[topic]):
        _name_times(kind, {}, schemas)
    return schemas


def _without_prose(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_without_prose(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: _without_prose(value) for key, value in schema.items() if key not in PROSE}
    if "properties" in schema:  # a field may well be called as prose is
        kept["properties"] = {name: _without_prose(one) for name, one in schema["properties"].items()}
    return kept


def _name_times(kind: inspect.Type, schema: Schema, schemas: Schema) -> None:
    """Put down which strings are times: msgspec's schema does not tell."""
    match kind:
        case inspect.StructType():
            for field in kind.fields:
                _name_times(field.type, schemas[kind.cls.__name__]["properties"][field.encode_name], schemas)
        case inspect.VarTupleType():
            _name_times(kind.item_type, schema["items"], schemas)
        case inspect.DictType():
            _name_times(kind.value_type, schema["additionalProperties"], schemas)
        case inspect.UnionType():
            some = [one for one in schema["anyOf"] if one != {"type": "null"}]
            for one in kind.types:
                if not isinstance(one, inspect.NoneType):
                    _name_times(one, some[0], schemas)
        case inspect.DateTimeType():
            schema["format"] = "date-time"


def breaks(old: Schema, new: Schema) -> Iterator[str]:
    """What of `new` those who go by `old` could not read, or could not have written."""
    for name, was in old.items():
        now = new.get(name)
        if now is None:
            yield f"{name} is gone"
        elif "enum" in was:
            yield from (f"{name} lost the value {value}" for value in was["enum"] if value not in now.get("enum", ()))
        else:
            yield from (f"{name}.{fault}" for fault in _broken_fields(was, now))


def _broken_fields(was: Schema, now: Schema) -> Iterator[str]:
    for field, kind in was["properties"].items():
        if field not in now["properties"]:
            yield f"{field} is gone"
        elif _type(now["properties"][field]) != _type(kind):
            yield f"{field} was {_type(kind)} and is {_type(now['properties'][field])}"
    for field in now["required"]:
        if field not in was["required"]:
            yield f"{field} is asked for: older messages do not have it"


def _type(schema: Schema) -> Schema:
    return {key: value for key, value in schema.items() if key != "default"}


# --- examples ---


def example_of(kind: type[Message]) -> dict[str, Any]:
    """A message of this type with every field filled, as JSON."""
    message: dict[str, Any] = json.loads(encode(filled(kind)))
    return message


def filled(kind: Any) -> Any:
    """A message, or a part of one, that has something in every field."""
    return kind(**{field.name: _filling(field.name, field.type) for field in inspect.type_info(kind).fields})


def _filling(name: str, kind: inspect.Type) -> Any:
    match kind:
        case inspect.StrType():
            return "0123456789abcdef" * 2 if name == "id" else f"a {name}"
        case inspect.IntType():
            return 3
        case inspect.FloatType():
            return 1.5
        case inspect.BoolType():
            return True
        case inspect.BytesType():
            return b"bytes"
        case inspect.DateTimeType():
            return MOMENT
        case inspect.EnumType():
            return next(iter(kind.cls))
        case inspect.StructType():
            return filled(kind.cls)
        case inspect.VarTupleType():
            return (_filling(name, kind.item_type),)
        case inspect.DictType():
            return {"a key": _filling(name, kind.value_type)}
        case inspect.UnionType():
            return _filling(name, next(one for one in kind.types if not isinstance(one, inspect.NoneType)))
    raise NotImplementedError(f"{name}: messages had no {kind} until now")


# --- a reader who knows the promise and nothing newer ---


def readers_of(promised: Schema) -> dict[str, type[msgspec.Struct]]:
    """For each message a type made from the promise alone: how a program of that day reads."""
    made: dict[str, Any] = {}
    for name in promised:
        _make(name, promised, made)
    return {name: made[name] for name in promised if "type" in promised[name].get("properties", {})}


def _make(name: str, promised: Schema, made: dict[str, Any]) -> Any:
    if name not in made:
        schema = promised[name]
        made[name] = (
            enum.StrEnum(name, {value: value for value in schema["enum"]})
            if "enum" in schema
            else _struct(name, schema, promised, made)
        )
    return made[name]


def _struct(name: str, schema: Schema, promised: Schema, made: dict[str, Any]) -> Any:
    properties: Mapping[str, Schema] = schema["properties"]
    tag = name if "type" in properties and properties["type"] == {"enum": [name]} else None
    fields: list[Any] = []
    for field, kind in properties.items():
        if tag and field == "type":
            continue
        known = _read(kind, promised, made)
        fields.append((field, known) if field in schema["required"] else (field, known | None, None))
    return msgspec.defstruct(name, fields, kw_only=True, frozen=True, tag=tag)


def _read(kind: Schema, promised: Schema, made: dict[str, Any]) -> Any:
    if "$ref" in kind:
        return _make(kind["$ref"].rpartition("/")[2], promised, made)
    if "anyOf" in kind:
        return functools.reduce(operator.or_, [_read(one, promised, made) for one in kind["anyOf"]])
    if kind["type"] == "array":
        return list[_read(kind["items"], promised, made)]  # type: ignore[misc]
    if kind["type"] == "object":
        return dict[str, _read(kind["additionalProperties"], promised, made)]  # type: ignore[misc]
    if kind["type"] == "string":
        return datetime if "format" in kind else bytes if "contentEncoding" in kind else str
    return {"integer": int, "number": float, "boolean": bool, "null": type(None)}[kind["type"]]


# --- the files ---


def recorded(topic: Topic) -> tuple[Schema, dict[str, list[dict[str, Any]]]]:
    """The promised schemas of a topic, and the examples of each message, the oldest first."""
    file = FOLDER / f"{topic}.json"
    if not file.exists():
        return {}, {}
    content = json.loads(file.read_text("utf-8"))
    return content["schemas"], content["examples"]


def main() -> int:
    """Write what is new; exit status 1 and nothing written where something would break."""
    faults = [fault for topic in Topic for fault in breaks(recorded(topic)[0], schemas_of(topic))]
    for fault in faults:
        print(f"breaks what was promised: {fault}", file=sys.stderr)
    if faults:
        print("A message is never renamed, retyped or thinned out: make a new type.", file=sys.stderr)
        return 1
    FOLDER.mkdir(exist_ok=True)
    for topic in Topic:
        _write(topic)
    return 0


def _write(topic: Topic) -> None:
    schemas, examples = schemas_of(topic), recorded(topic)[1]
    for kind in MESSAGES[topic]:
        kept = examples.setdefault(kind.__name__, [])
        if example_of(kind) not in kept:
            kept.append(example_of(kind))
    text = json.dumps({"schemas": schemas, "examples": examples}, indent=1, ensure_ascii=False)
    (FOLDER / f"{topic}.json").write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
