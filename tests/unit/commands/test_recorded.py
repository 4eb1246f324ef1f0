"""A record as a line of JSON."""

from __future__ import annotations

import json

import pytest

from services.commands.recorded import line
from shared.bus import Record


def record(value: bytes, *, key: str = "k") -> Record:
    return Record(topic="crm.events", partition=2, offset=5, key=key, value=value, packed=(("ce_id", "a"),))


def test_a_line_has_everything_of_a_record() -> None:
    assert json.loads(line(record(b'{"type":"X"}'))) == {
        "topic": "crm.events",
        "partition": 2,
        "offset": 5,
        "key": "k",
        "headers": {"ce_id": "a"},
        "value": {"type": "X"},
    }


def test_numbers_stand_as_they_were() -> None:
    assert b'"value":{"a":1.10,"b":123456789012345678901234567890}' in line(
        record(b'{"a": 1.10,\n "b": 123456789012345678901234567890}')
    )


def test_json_over_several_lines_is_one_line() -> None:
    assert line(record(b'{\n"a": "b\\nc"\n}')).count(b"\n") == 1


@pytest.mark.parametrize("value", [b"", b"{", b"\xff\xfe", b"NaN", b"[" * 5000])
def test_what_is_no_json_is_base64(value: bytes) -> None:
    import base64

    assert base64.b64decode(json.loads(line(record(value)))["value_base64"]) == value


def test_a_key_that_is_no_text_does_not_stop_the_export() -> None:
    assert json.loads(line(record(b"1", key="a\udc80")))["key"] == "a?"
