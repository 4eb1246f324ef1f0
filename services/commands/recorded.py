"""The records of a topic as JSON Lines: written, read, and put back on their topics."""

from __future__ import annotations

import base64
import binascii
import contextlib
import gzip
import os
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import IO, Any, BinaryIO, Final, cast

import msgspec

from shared import events
from shared.bus import Bus, NewRecord, Record
from shared.calendars import SECONDS, Span
from shared.errors import Broken, Later, Refused
from shared.events import ActivityLogged, Message, Topic

STDOUT: Final = "-"
PACKED: Final = ".gz"
UNKNOWN_PACKINGS: Final = (".zst", ".bz2", ".xz", ".zip")
PUBLISH_RECORDS: Final = 500


# --- when ---


def heard_at(message: Message) -> datetime:
    """When the CRM told it: what people did may be logged later than it was done, a meeting before it is held."""
    if isinstance(message, ActivityLogged) and message.seen_at.tzinfo is not None:
        return message.seen_at
    return message.at


def moment(text: str, end: datetime) -> datetime:
    """A date, a time, or a duration as 30d, counted back from `end`. UTC where no zone is said. Raises ValueError."""
    try:
        span = Span.parse(text)
    except ValueError:
        pass
    else:
        return datetime.fromtimestamp(end.timestamp() - span.amount * SECONDS[span.unit], UTC)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        example = f"{date(2026, 3, 1)} or {date(2026, 3, 1)}T09:00+02:00"
        raise ValueError(f"{text!r} must be a duration, as 30d, or a date or time, as {example}") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """From when on, and until when (not at it); None: no end to it."""

    since: datetime | None = None
    until: datetime | None = None

    def has(self, at: datetime) -> bool:
        return (self.since is None or at >= self.since) and (self.until is None or at < self.until)


WHOLE: Final = Stretch()


def stretch(since: str, until: str) -> Stretch:
    """As a person says it; durations count back from now. Raises Broken."""
    now, found = datetime.now(UTC), dict[str, datetime]()
    for name, text in (("since", since), ("until", until)):
        try:
            if text:
                found[name] = moment(text, now)
        except ValueError as error:
            raise Broken("wrong_time", f"--{name}: {error}") from error
    return Stretch(**found) if found else WHOLE


# --- out ---


async def export(bus: Bus, topic: str, out: str, stretch: Stretch = WHOLE) -> int:
    """Write every record that the topic holds, a line each; how many. Of a stretch, those that tell their time."""
    count = 0
    with _writing(out) as file:
        async for record in bus.scan(topic):
            if stretch is WHOLE or _is_within(record, stretch):
                file.write(line(record))
                count += 1
    return count


def _is_within(record: Record, stretch: Stretch) -> bool:
    try:
        return stretch.has(heard_at(events.decode(record.topic, record.value)))
    except Refused:
        return False


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
    _check_packing("--out", out)
    try:
        handle = os.open(Path(out), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise Broken("cannot_write", f"--out {out} cannot be written: {error.strerror}") from error
    with os.fdopen(handle, "wb") as plain:
        if out.endswith(PACKED):
            with gzip.open(plain, "wb") as packed:
                yield cast(BinaryIO, packed)
        else:
            yield plain


def _check_packing(what: str, name: str) -> None:
    if name.endswith(UNKNOWN_PACKINGS):
        raise Broken("unknown_packing", f"{what} {name}: files are packed as {PACKED}, or not at all")


# --- in ---


class _Line(msgspec.Struct, gc=False):
    topic: str
    key: str
    headers: dict[str, str] = {}
    value: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    value_base64: str | None = None


_decode_line: Final = msgspec.json.Decoder(_Line).decode


def read(path: Path) -> Iterator[NewRecord]:
    """The records of a file that `export` wrote, in its order. Raises Broken, with its number, at a broken line."""
    with _reading(path) as file:
        done = 0
        try:
            for text in file:
                if text.strip():
                    yield _record(text)
                done += 1
        except (msgspec.MsgspecError, ValueError, EOFError, OSError, zlib.error, RecursionError) as error:
            raise Broken("broken_line", f"{path}:{done + 1}: {_in_words(error)}") from error


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[IO[bytes]]:
    _check_packing("the file", str(path))
    try:
        plain = path.open("rb")
    except OSError as error:
        raise Broken("cannot_read", f"{path} cannot be read: {error.strerror}") from error
    with plain:
        if path.name.endswith(PACKED):
            with gzip.open(plain, "rb") as unpacked:
                yield cast(IO[bytes], unpacked)
        else:
            yield plain


def _record(text: bytes) -> NewRecord:
    said = _decode_line(text)
    if said.topic not in events.MESSAGES:
        raise ValueError(f"there is no topic of that name; topics are {', '.join(Topic)}")
    if said.value_base64 is not None:
        value = base64.b64decode(said.value_base64, validate=True)
    elif isinstance(said.value, msgspec.Raw):
        value = bytes(said.value)
    else:
        raise ValueError("has neither value nor value_base64")
    return NewRecord(topic=said.topic, key=said.key, value=value, headers=tuple(said.headers.items()))


def _in_words(error: Exception) -> str:
    """Without what the line says: it is personal data."""
    if isinstance(error, EOFError | OSError | zlib.error):
        return "cannot be unpacked: the file is cut off, or no gzip"
    if isinstance(error, binascii.Error | UnicodeDecodeError):
        return "value_base64 is no base64" if isinstance(error, binascii.Error) else "is no UTF-8"
    if isinstance(error, msgspec.MsgspecError | RecursionError):
        return f"is no line of `leadpact events export`: {error}"
    return str(error)


async def put_back(bus: Bus, path: Path) -> int:
    """Publish the records of a file on their topics, in its order; how many.

    A broken line is found before anything is published. Doing it again is harmless: whoever knows a fact
    leaves out what comes twice. Raises Broken when the bus goes away meanwhile, with how many went.
    """
    whole, went = sum(1 for _ in read(path)), 0
    waiting: list[NewRecord] = []
    try:
        for record in read(path):
            waiting.append(record)
            if len(waiting) == PUBLISH_RECORDS:
                went += await _publish(bus, waiting)
        return went + await _publish(bus, waiting)
    except Later as error:
        why = f"{went} of {whole} records went, then: {error.message}; import the whole file again"
        raise Broken("import_stopped", f"{why}, what comes twice counts once") from error


async def _publish(bus: Bus, waiting: list[NewRecord]) -> int:
    if waiting:
        await bus.publish(waiting)
    count = len(waiting)
    waiting.clear()
    return count
