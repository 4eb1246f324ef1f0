"""The ledger: what the simulated CRM knows to be true, what it sent, and what was answered.

JSON Lines, appended and handed to the operating system a line at a time, so that a killed
simulator leaves at most one broken line, which the reader skips.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import msgspec

from shared.events import identity

Event = dict[str, Any]  # a subscription event, or a line of the ledger

VOLATILE: Final = frozenset({"eventId", "attemptNumber", "subscriptionId"})


class Answer(StrEnum):
    """What became of a request, as the sender can know it."""

    OK = "ok"  # a 2xx: everything in it must have its effect
    FAILED = "failed"  # another status, or no connection
    UNKNOWN = "unknown"  # a timeout or a broken connection: it may have had its effect


def content_identity(event: Mapping[str, Any]) -> str:
    """What makes two deliveries the same fact: all that an event says, but not how it was delivered."""
    said = sorted((name, str(value)) for name, value in event.items() if name not in VOLATILE)
    return identity("webhook", *(part for pair in said for part in pair))


class Ledger:
    """Appends to the file at `path`; without a path it keeps nothing."""

    def __init__(self, path: Path | None) -> None:
        self.run = secrets.token_hex(4)  # request ids of a restarted simulator must not repeat
        self._file = None if path is None else _open(path)
        self._requests = 0

    def fact(self, kind: str, **said: Any) -> None:
        """Something is true in the CRM from now on."""
        self._write({"line": "fact", "kind": kind, **said})

    def sent(self, events: Sequence[Event], bad: Sequence[Any], *, attempt: int) -> str:
        """A request is about to go out; its id. Written before the first byte leaves."""
        self._requests += 1
        request = f"{self.run}-{self._requests}"
        said = [{"identity": content_identity(event), **event} for event in events]
        self._write({"line": "sent", "request": request, "attempt": attempt, "events": said, "bad": list(bad)})
        return request

    def answered(self, request: str, answer: Answer, status: int) -> None:
        """The request was answered, or will never be."""
        self._write({"line": "answer", "request": request, "answer": str(answer), "status": status})

    def gave_up(self, request: str) -> None:
        """The last of the attempts failed: these events will not be sent again."""
        self._write({"line": "gave_up", "request": request})

    def settled(self) -> None:
        """All stories are over, and everything was acknowledged or given up."""
        self._write({"line": "settled"})

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    @staticmethod
    def read(path: Path) -> Account:
        """The account of all runs that wrote to `path`."""
        account = Account()
        for line in _lines(path):
            account.add(line)
        return account

    def _write(self, line: Mapping[str, Any]) -> None:
        if self._file is not None:
            os.write(self._file, msgspec.json.encode(line) + b"\n")


def _open(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    torn = path.exists() and path.stat().st_size > 0 and not path.read_bytes().endswith(b"\n")
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    if torn:
        os.write(file, b"\n")
    return file


def _lines(path: Path) -> Iterator[Event]:
    with path.open("rb") as file:
        for line in file:
            try:
                yield msgspec.json.decode(line)
            except msgspec.MsgspecError:
                continue  # torn by a kill


@dataclass
class Account:
    """A ledger as it was read."""

    facts: list[Event] = field(default_factory=list)
    requests: dict[str, Event] = field(default_factory=dict)
    answers: dict[str, Answer] = field(default_factory=dict)
    given_up: set[str] = field(default_factory=set)
    is_settled: bool = False

    def add(self, line: Event) -> None:
        match line["line"]:
            case "fact":
                self.facts.append(line)
            case "sent":
                self.requests[line["request"]] = line
                self.is_settled = False
            case "answer":
                self.answers[line["request"]] = Answer(line["answer"])
            case "gave_up":
                self.given_up.add(line["request"])
            case "settled":
                self.is_settled = True

    def answer(self, request: str) -> Answer:
        """A request that the simulator died over is as unknown as a timeout."""
        return self.answers.get(request, Answer.UNKNOWN)

    def of(self, kind: str) -> list[Event]:
        """The facts of one kind."""
        return [fact for fact in self.facts if fact["kind"] == kind]

    def events(self, *answers: Answer) -> Iterator[Event]:
        """Every event of the requests with one of `answers` (of all requests without)."""
        for request, line in self.requests.items():
            if not answers or self.answer(request) in answers:
                yield from line["events"]

    def acknowledged(self) -> set[str]:
        """The content identities of the events that a 2xx answered."""
        return {event["identity"] for event in self.events(Answer.OK)}

    def sent(self) -> set[str]:
        """The content identities of all events that ever were in a request."""
        return {event["identity"] for event in self.events()}

    def bad(self, *answers: Answer) -> list[Any]:
        """The malformed elements that were sent in requests with one of `answers`."""
        wanted = answers or tuple(Answer)
        return [one for r, line in self.requests.items() if self.answer(r) in wanted for one in line["bad"]]
