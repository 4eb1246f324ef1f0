"""The records of a topic as JSON Lines."""

from __future__ import annotations

import base64
import contextlib
import gzip
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import msgspec

from shared.bus import Bus, Record
from shared.errors import Broken

STDOUT: Final = "-"


async def export(bus: Bus, topic: str, out: str) -> int:
    """Write every record that the topic holds, a line each; how many."""
    count = 0
    with _writing(out) as file:
        async for record in bus.scan(topic):
            file.write(line(record))
            count += 1
    return count


def line(record: Record) -> bytes:
    """{topic, partition, offset, key, headers, value}; a value that is no JSON is `value_base64`."""
    said: dict[str, Any] = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "key": record.key.encode("utf-8", "replace").decode(),
        "headers": dict(record.headers),
    }
    return msgspec.json.encode(said | value_of(record.value)) + b"\n"


def value_of(value: bytes) -> dict[str, Any]:
    """The bytes as they are where they are JSON: no number is read and written again."""
    try:
        msgspec.json.decode(value)
        return {"value": msgspec.Raw(msgspec.json.format(value, indent=-1))}
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {"value_base64": base64.b64encode(value).decode()}


@contextlib.contextmanager
def _writing(out: str) -> Iterator[BinaryIO]:
    """Standard output, or a file that only its owner may read: it holds what people said of themselves."""
    if out == STDOUT:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        handle = os.open(Path(out), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise Broken("cannot_write", f"--out {out} cannot be written: {error.strerror}") from error
    with os.fdopen(handle, "wb") as plain:
        if out.endswith(".gz"):
            with gzip.open(plain, "wb") as packed:
                yield cast(BinaryIO, packed)
        else:
            yield plain
