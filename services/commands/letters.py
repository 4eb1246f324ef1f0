"""The dead letters: which there are, what they say, and sending them on their way again."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from services.ingest.domain import door, forms, mapped, segment, workflow
from services.ingest.domain.heard import Normalised
from services.ingest.domain.mapped import Rule
from shared import events
from shared.bus import Bus, NewRecord
from shared.errors import Broken, Refused
from shared.events import DeadLetter, Topic
from shared.work import to_record

PUBLISH_RECORDS: Final = 500
DETAIL_CHARS: Final = 100


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which letters; without ids and reason all of them."""

    ids: Sequence[str] = ()
    reason: str | None = None

    def has(self, letter: DeadLetter) -> bool:
        return (not self.ids or letter.id in self.ids) and self.reason in (None, letter.reason)


async def find(bus: Bus, wanted: Wanted) -> list[DeadLetter]:
    """The letters that are wanted, the oldest first, each once. Raises Broken for an id that is not there."""
    found: dict[str, DeadLetter] = {}
    async for record in bus.scan(Topic.DEAD_LETTERS):
        try:
            letter = events.decode(Topic.DEAD_LETTERS, record.value)
        except Refused:
            continue  # not ours: nobody writes here but us
        if isinstance(letter, DeadLetter) and wanted.has(letter):
            found[letter.id] = letter
    if unknown := [wanted_id for wanted_id in wanted.ids if wanted_id not in found]:
        raise Broken("unknown_letter", f"there is no dead letter {', '.join(unknown)}")
    return sorted(found.values(), key=lambda letter: (letter.at, letter.id))


def described(letter: DeadLetter) -> dict[str, Any]:
    """All but the original, which is personal."""
    at = letter.at.isoformat(timespec="seconds")
    named = {name: getattr(letter, name) for name in ("service", "source", "reason", "detail", "tenant")}
    return {"id": letter.id, "at": at, **named}


def shown(letter: DeadLetter) -> dict[str, Any]:
    """All, the original as text where it is text."""
    return {**described(letter), "original_key": letter.original_key, **_original(letter.original)}


def _original(original: bytes) -> dict[str, str]:
    try:
        return {"original": original.decode()}
    except UnicodeDecodeError:
        return {"original_base64": base64.b64encode(original).decode()}


def line(letter: DeadLetter) -> str:
    said = described(letter)
    columns = (said["id"], said["at"], said["service"], said["source"], said["reason"], said["detail"][:DETAIL_CHARS])
    return "  ".join(columns)


# --- replay ---


@dataclass(kw_only=True)
class Replayed:
    """What became of letters: the records they make, and those that would only be refused again, with why."""

    records: list[NewRecord] = field(default_factory=list)
    went: int = 0
    refused: list[tuple[DeadLetter, str]] = field(default_factory=list)


async def replay(bus: Bus, letters: Iterable[DeadLetter], *, now: datetime, rules: Sequence[Rule] = ()) -> Replayed:
    """Publish again what the letters hold, events of others by `rules`. Whoever did take it already knows the fact."""
    done = Replayed()
    for letter in _distinct(letters):
        try:
            done.records += again(letter, now=now, rules=rules)
            done.went += 1
        except Refused as error:
            done.refused.append((letter, error.message))
    for start in range(0, len(done.records), PUBLISH_RECORDS):
        await bus.publish(done.records[start : start + PUBLISH_RECORDS])
    return done


def _distinct(letters: Iterable[DeadLetter]) -> Iterator[DeadLetter]:
    """One for each original: a record that three services refused is published once."""
    seen: set[tuple[str, str, bytes]] = set()
    for letter in letters:
        what = (letter.source, letter.original_key, letter.original)
        if what not in seen:
            seen.add(what)
            yield letter


def again(letter: DeadLetter, *, now: datetime, rules: Sequence[Rule] = ()) -> list[NewRecord]:
    """The records that a letter makes. Raises Refused when it would be a dead letter once more."""
    if letter.source == mapped.SOURCE:
        return _records(mapped.normalise(letter.original, rules=rules, tenant=letter.tenant, received_at=letter.at))
    if letter.source in DOORS:
        return _through_the_door(letter, now)
    if letter.source not in events.MESSAGES:
        raise Refused("unknown_source", f"this version does not know the source {letter.source}")
    events.decode(letter.source, letter.original)
    return [NewRecord(topic=letter.source, key=letter.original_key, value=letter.original, headers=JSON)]


def _through_the_door(letter: DeadLetter, now: datetime) -> list[NewRecord]:
    """The original is one event of an array, or one of another door's bodies; its times are by when it came."""
    return _records(DOORS[letter.source](letter, now))


def _records(found: Normalised) -> list[NewRecord]:
    for message in found.messages:
        if isinstance(message, DeadLetter):
            raise Refused(message.reason, message.detail)
    return [to_record(message, source="ingest") for message in found.messages]


DOORS: Final[Mapping[str, Callable[[DeadLetter, datetime], Normalised]]] = {
    door.SOURCE: lambda letter, now: door.normalise(b"[" + letter.original + b"]", received_at=now),
    workflow.SOURCE: lambda letter, _: workflow.normalise(letter.original, wanted=None, received_at=letter.at),
    segment.SOURCE: lambda letter, _: segment.normalise(letter.original, tenant=letter.tenant, received_at=letter.at),
    forms.SOURCE: lambda letter, _: forms.normalise(letter.original, tenant=letter.tenant, received_at=letter.at),
}
JSON: Final = (("content-type", "application/json"),)
