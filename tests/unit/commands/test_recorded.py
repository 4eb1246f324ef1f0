"""A record as a line of JSON, and back; and what a time is."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from services.commands.recorded import line, moment, read, stretch
from shared.bus import Record
from shared.errors import Broken


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


# --- in again ---


def test_what_was_written_is_read_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl.gz"
    values = [b'{"a":1.10}', b"\xff", b"", b'"x"']
    path.write_bytes(gzip.compress(b"".join(line(record(value)) for value in values)))
    assert [one.value for one in read(path)] == values
    assert {(one.topic, one.key, one.headers) for one in read(path)} == {("crm.events", "k", (("ce_id", "a"),))}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"{", "is no line of `leadpact events export`: Input data was truncated"),
        (b'{"key":"k","value":1}', "is no line of `leadpact events export`: Object missing required field `topic`"),
        (b'{"topic":"t","key":"ada@example.test","value":1}', "there is no topic of that name; topics are crm.events"),
        (b'{"topic":"crm.events","key":"k"}', "has neither value nor value_base64"),
        (b'{"topic":"crm.events","key":"k","value_base64":"!"}', "value_base64 is no base64"),
        (b"\xff", "is no line of `leadpact events export`"),
    ],
)
def test_a_broken_line_is_told_by_its_number_and_without_what_it_says(tmp_path: Path, text: bytes, said: str) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(line(record(b"1")) + text + b"\n" + line(record(b"1")))
    with pytest.raises(Broken) as broken:
        list(read(path))
    assert broken.value.message.startswith(f"{path}:2: {said}")
    assert "ada@" not in broken.value.message


def test_a_packed_file_that_is_cut_off_is_told(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl.gz"
    path.write_bytes(gzip.compress(line(record(b"1")))[:-12])
    with pytest.raises(Broken, match="cut off, or no gzip"):
        list(read(path))


def test_a_packing_that_is_not_known_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Broken, match=r"files are packed as \.gz, or not at all"):
        list(read(tmp_path / "events.jsonl.zst"))


# --- when ---

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("30d", NOW - timedelta(days=30)),
        ("2w", NOW - timedelta(days=14)),
        ("12h", NOW - timedelta(hours=12)),
        ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
        ("2026-03-01T10:00+02:00", datetime(2026, 3, 1, 8, tzinfo=UTC)),
    ],
)
def test_a_time_is_a_date_or_so_long_before_the_end(text: str, at: datetime) -> None:
    assert moment(text, NOW) == at


def test_what_is_no_time_says_what_would_be_one() -> None:
    with pytest.raises(Broken, match="--since: 'yesterday' must be a duration, as 30d, or a date or time"):
        stretch("yesterday", "")
