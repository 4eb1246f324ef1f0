"""A backtest over many recorded events, against a bare loop that decodes the same lines; and the memory of both sizes.

The record is made up, always the same: people who read, take an ebook, ask for a demo, are called and
written to, get a deal, are merged or erased, over ninety days.
"""

# ruff: noqa: S603  (it runs our own command)

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
import psutil

from services.commands.recorded import line
from shared import events
from shared.bus import Record
from shared.events import (
    ActivityLogged,
    Channel,
    ContactChanged,
    ContactErased,
    ContactsMerged,
    DealChanged,
    Direction,
    FormSubmitted,
    LeadMessage,
    Outcome,
    PageVisited,
    PropertyValue,
    Topic,
    identity,
)

REPO: Final = Path(__file__).resolve().parents[1]
AGREEMENT: Final = REPO / "deploy" / "agreement.yaml"
TENANT: Final = "hubspot:62515"
START: Final = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
DAYS: Final = 90
SIZES: Final = (100_000, 1_000_000)
LOOK_S: Final = 0.05
JOBS: Final = ("CEO", "VP Sales", "Marketing Manager", "Student", "Head of IT", "Specialist", "Owner", "Clerk")
COUNTRIES: Final = ("RO", "DE", "FR", "US", "NO", "AT", "BR")
PAGES: Final = ("/blog/one", "/blog/two", "/pricing", "/customers/acme", "/about", "/careers")
FORMS: Final = ("ebook", "newsletter", "webinar", "demo-request", "consultation")


# --- the record ---


def lives(seed: int) -> Iterator[LeadMessage]:
    """One lead after the other, for ever; of each its events in order."""
    chance, contact = random.Random(seed), 0
    while True:
        contact += 1
        yield from _Life(chance, contact).events()


class _Life:
    def __init__(self, chance: random.Random, contact: int) -> None:
        self.chance, self.contact, self.number = chance, contact, 0
        self.at = START + timedelta(seconds=chance.random() * DAYS * 86_400)

    def events(self) -> Iterator[LeadMessage]:
        pick = self.chance.choice
        values = {
            "email": f"p{self.contact}@example.test",
            "jobtitle": pick(JOBS),
            "country": pick(COUNTRIES),
            "company.numberofemployees": str(pick((5, 40, 80, 300, 700, 5000))),
            "company.industry": pick(("INTERNET", "BANKING", "COMPUTER_SOFTWARE")),
        }
        yield self._changed(values, created=True)
        for _ in range(self.chance.randrange(4, 16)):
            yield PageVisited(**self._about(6), url=f"https://www.example.test{pick(PAGES)}?utm=a{self.number}")
            if self.chance.random() < 0.15:
                yield self._changed({"lastname": f"Name {self.number}"})
        if self.chance.random() < 0.5:
            yield FormSubmitted(**self._about(3), form=pick(FORMS), page="https://www.example.test/form")
            yield from self._followed_up()
        if self.chance.random() < 0.01 and self.contact > 1:
            yield ContactsMerged(**self._about(1), merged=(f"{TENANT}:{self.contact - 1}",))
        if self.chance.random() < 0.01:
            yield ContactErased(**self._about(1), privacy=True)

    def _followed_up(self) -> Iterator[LeadMessage]:
        for attempt in range(self.chance.randrange(0, 7)):
            about = self._about(0.5 if attempt == 0 else 40)
            yield ActivityLogged(
                **about,
                activity=f"call:{self.contact}-{attempt}",
                channel=self.chance.choice((Channel.PHONE, Channel.EMAIL)),
                direction=Direction.OUTBOUND,
                outcome=self.chance.choice((Outcome.NO_ANSWER, Outcome.SENT, Outcome.CONNECTED)),
                by="77",
                seen_at=about["at"],
            )
        if self.chance.random() < 0.2:
            for stage in ("qualifiedtobuy", self.chance.choice(("closedwon", "closedlost"))):
                yield DealChanged(**self._about(60), deal=f"deal:{self.contact}", stage=stage)

    def _changed(self, values: dict[str, str], *, created: bool = False) -> ContactChanged:
        about = self._about(1)
        said = tuple(PropertyValue(name=name, value=value, at=about["at"]) for name, value in values.items())
        return ContactChanged(**about, values=said, created=created)

    def _about(self, hours: float) -> dict[str, Any]:
        self.number += 1
        self.at += timedelta(milliseconds=int(self.chance.expovariate(1 / hours) * 3_600_000))
        lead = f"{TENANT}:{self.contact}"
        return {"id": identity("bench", lead, self.number), "tenant": TENANT, "lead": lead, "at": self.at}


def write_record(path: Path, many: int, *, seed: int = 1) -> None:
    """So many events as `leadpact events export` writes them, the leads mixed as they come."""
    waiting: list[tuple[datetime, int, LeadMessage]] = []
    with path.open("wb") as out:
        for number, message in enumerate(lives(seed)):
            waiting.append((message.at, number, message))
            if number + 1 == many or len(waiting) == 200_000:
                for offset, (_, _, one) in enumerate(sorted(waiting)):
                    out.write(line(_record(one, offset)))
                waiting.clear()
            if number + 1 == many:
                return


def _record(message: LeadMessage, offset: int) -> Record:
    return Record(topic=Topic.CRM_EVENTS, partition=0, offset=offset, key=message.lead, value=events.encode(message))


def write_new_agreement(path: Path) -> None:
    """The shipped one with another point here, another limit there, and a shorter promise."""
    text = AGREEMENT.read_text("utf-8")
    for was, becomes in (
        ("Norway]}}, points: 15}", "Norway]}}, points: 5}"),
        ("grades: {A: 70, B: 45", "grades: {A: 70, B: 40"),
        ("default: 1d}\n  cadence", "default: 4h}\n  cadence"),
        ("half_life: 14d", "half_life: 7d"),
    ):
        if was not in text:
            raise RuntimeError(f"the shipped agreement has no {was!r} any more")
        text = text.replace(was, becomes)
    path.write_text(text, "utf-8")


# --- the figures ---


@dataclass(frozen=True)
class Figures:
    """Of one size of the record."""

    events: int
    ours: float  # events a second, both agreements
    bare: float
    peak_mb: float  # of the largest process

    @property
    def ratio(self) -> float:
        return self.ours / self.bare


def measure(folder: Path, many: int) -> Figures:
    """Raises RuntimeError when the backtest fails."""
    record, new = folder / f"{many}.jsonl", folder / "new.yaml"
    write_record(record, many)
    write_new_agreement(new)
    seconds, peak = _backtest(record, new)
    bare = min(_decode(record) for _ in range(3))
    return Figures(events=many, ours=many / seconds, bare=many / bare, peak_mb=peak / 1e6)


def _decode(record: Path) -> float:
    """The bare loop: each line from JSON, and the event in it."""
    decode, started = msgspec.json.Decoder(dict[str, Any]).decode, time.perf_counter()
    with record.open("rb") as lines:
        for text in lines:
            decode(text)
    return time.perf_counter() - started


def _backtest(record: Path, new: Path) -> tuple[float, float]:
    """Seconds of the whole command, and the most that one of its processes had resident."""
    call = [sys.executable, "-m", "services", "agreement", "backtest", str(new), "--events", str(record), "--json"]
    environ = os.environ | {"LEADPACT_AGREEMENT": str(AGREEMENT)}
    started = time.perf_counter()
    process = subprocess.Popen(call, env=environ, cwd=REPO, stdout=subprocess.PIPE)
    peak = _Peak(process.pid)
    peak.start()
    said, _ = process.communicate()
    seconds = time.perf_counter() - started
    peak.join()
    if process.returncode != 1 or not said:
        raise RuntimeError(f"the backtest ended with {process.returncode}")
    return seconds, peak.bytes


class _Peak(threading.Thread):
    """Looks at a process and its children until it is gone."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid, self.bytes = pid, 0.0

    def run(self) -> None:
        try:
            process = psutil.Process(self._pid)
            while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                for one in (process, *process.children(recursive=True)):
                    self.bytes = max(self.bytes, one.memory_info().rss)
                time.sleep(LOOK_S)
        except psutil.Error:
            return
