"""The whole backtest: read once, cut into parts, live through each under both agreements, add up, predict."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import multiprocessing
import os
import signal
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from heapq import merge
from pathlib import Path
from typing import Any, Final

import msgspec

from services.commands import recorded
from services.commands.backtest import parts
from services.commands.backtest.comparing import (
    Comparison,
    LeadDifference,
    Side,
    as_recorded,
    compared,
    differences,
)
from services.commands.backtest.findings import Findings, HandOff, Watch
from services.commands.backtest.parts import Heard, Spool
from services.commands.backtest.replay import House, in_order, live_through
from services.commands.backtest.staffing import Late, Pace, predict
from services.scoring.domain.acts import engagement
from shared.agreement import Agreement, Agreements
from shared.agreement.following import read_all
from shared.bus import Bus
from shared.errors import Broken, Refused
from shared.events import ActivityLogged, ContactChanged, ContactErased, LeadMessage, Topic, tenant_of

SCORED_BY: Final = ("ContactChanged", "FormSubmitted", "PageVisited", "ContactsMerged")
READING, DECIDING = "reading", "deciding"
FILES_OPEN: Final = 100
GARBAGE_OBJECTS: Final = 50_000
TELL_EVERY: Final = 1_000  # records

Progress = Callable[[str, int, int], None]
"""Told what is done, how much of it, and of how much (0: nobody knows)."""
Fill = Callable[[Spool, Progress], None]
"""Gives the spool what was recorded."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is compared. `since` leaves what came before uncounted, but has it lived through."""

    old: Path
    new: Path
    since: str = ""
    until: datetime | None = None
    leads: Path | None = None  # a line for each lead that differs
    processes: int = 0  # 0: one for each core
    part_bytes: int = parts.PART_BYTES


@dataclass(kw_only=True)
class Result:
    """All that was found, as plain figures."""

    old: Sequence[Agreement]
    new: Sequence[Agreement]
    timezone: str
    heard: Heard
    since: datetime | None
    end: datetime
    old_findings: Findings
    new_findings: Findings
    comparison: Comparison
    pace: Pace
    recorded: dict[str, Late]
    predicted: tuple[dict[str, Late], dict[str, Late]] | None


def both_in(old: Path, new: Path) -> tuple[Agreements, Agreements]:
    """The agreements of two files or folders. Of a folder one file replaces the one of its tenant.

    Raises Broken with every problem of them.
    """
    was, becomes = _agreements_in(old), _agreements_in(new)
    if old.is_dir() and not new.is_dir():
        by_tenant = {one.tenant: one for one in (*was.now.agreements, *becomes.now.agreements)}
        becomes = Agreements(*by_tenant.values())
    return was, becomes


def _agreements_in(place: Path) -> Agreements:
    try:
        return read_all(place)
    except Refused as error:
        raise Broken("agreement_invalid", f"{place} cannot be used:\n{error.message}") from error


def backtest(asked: Asked, fill: Fill, progress: Progress) -> Result:
    """Over what `fill` gives to the spool. Raises Broken, or Later when the bus is away."""
    both = both_in(asked.old, asked.new)
    with _folder() as folder:
        spool = Spool(folder, until=asked.until)
        fill(spool, progress)
        return _decided(spool, folder, asked, both, progress)


def from_file(path: Path) -> Fill:
    """What `events export` wrote of crm.events."""

    def fill(spool: Spool, progress: Progress) -> None:
        for number, record in enumerate(recorded.read(path)):
            if record.topic != Topic.CRM_EVENTS:
                raise Broken("wrong_topic", f"{path} holds {record.topic}; a backtest is made of {Topic.CRM_EVENTS}")
            spool.take(record)
            if number % TELL_EVERY == 0:
                progress(READING, number, 0)

    return fill


def from_bus(open_bus: Callable[[], AbstractAsyncContextManager[Bus]]) -> Fill:
    """All that the bus holds of crm.events. It is given up before anything is decided."""

    async def scan(spool: Spool, progress: Progress) -> None:
        number = 0
        async with open_bus() as bus:
            async for record in bus.scan(Topic.CRM_EVENTS):
                spool.take(record)
                number += 1
                if number % TELL_EVERY == 0:
                    progress(READING, number, 0)

    return lambda spool, progress: asyncio.run(scan(spool, progress))


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """For its owner alone, and gone at the end: it holds what people said of themselves."""
    with tempfile.TemporaryDirectory(prefix="leadpact-backtest-") as name:
        yield Path(name)


def _decided(
    spool: Spool, folder: Path, asked: Asked, both: tuple[Agreements, Agreements], progress: Progress
) -> Result:
    heard = spool.heard
    end = heard.last
    if end is None:
        raise Broken("nothing_recorded", f"there is no event of {Topic.CRM_EVENTS} to test with")
    try:
        since = recorded.moment(asked.since, end) if asked.since else None
    except ValueError as error:
        raise Broken("wrong_time", f"--since: {error}") from error
    old, new = (one.now.agreements for one in both)
    files = spool.parts(asked.part_bytes)
    task = _Task(old=asked.old, new=asked.new, since=since, end=end, timezone=new[0].timezone)
    findings, comparison = (Findings(), Findings()), Comparison()
    progress(DECIDING, 0, len(files))
    for done, part in enumerate(_lived(files, task, asked.processes), start=1):
        findings[0].add(part.old)
        findings[1].add(part.new)
        comparison.add(part.comparison)
        progress(DECIDING, done, len(files))
    if asked.leads:
        _write_leads(asked.leads, files)
    pace = Pace.of(findings[0])
    return Result(
        old=old,
        new=new,
        timezone=task.timezone,
        heard=heard,
        since=since,
        end=end,
        old_findings=findings[0],
        new_findings=findings[1],
        comparison=comparison,
        pace=pace,
        recorded=as_recorded(_handoffs(files, OLD), end),
        predicted=_predicted(files, both, pace, end),
    )


def _predicted(
    files: Iterable[Path], both: tuple[Agreements, Agreements], pace: Pace, end: datetime
) -> tuple[dict[str, Late], dict[str, Late]] | None:
    """By team under the old and the new agreement. None: the record says too little of how people answer."""
    if not pace.is_enough:
        return None
    old, new = (
        predict(_handoffs(files, side), agreements, pace, end)
        for side, agreements in zip((OLD, NEW), both, strict=True)
    )
    return old, new


# --- one part ---


@dataclass(frozen=True, kw_only=True)
class _Task:
    """What every part is decided by, as another process can be told it."""

    old: Path
    new: Path
    since: datetime | None
    end: datetime
    timezone: str


@dataclass(frozen=True, kw_only=True)
class _Part:
    """What came of one."""

    old: Findings
    new: Findings
    comparison: Comparison


OLD, NEW, LEADS = "old", "new", "leads"


def _lived(files: list[Path], task: _Task, processes: int) -> Iterator[_Part]:
    """Each part, in this process or in one for each core."""
    wanted = min(processes or os.cpu_count() or 1, len(files))
    if wanted == 1:
        player = _Player(task)
        yield from map(player.play, files)
        return
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(wanted, context, initializer=_begin, initargs=(task,)) as pool:
            try:
                yield from pool.map(_play, files)
            finally:
                pool.shutdown(cancel_futures=True)  # when somebody stops us: those under way are done in a moment
    except BrokenProcessPool as error:
        raise Broken("process_died", "a process that decided on a part of the record died") from error


_players: list[Any] = []  # this process's own, when it is one of several


def _begin(task: _Task) -> None:
    """What was loaded stays, and circles are rare: Python need not search for them after every few objects.

    Whoever stops the command stops it, which then ends us.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()
    gc.set_threshold(GARBAGE_OBJECTS)
    _players[:] = [_Player(task)]


def _play(file: Path) -> _Part:
    part: _Part = _players[0].play(file)
    return part


class _Player:
    """Decides on parts under both agreements, which it reads once."""

    def __init__(self, task: _Task) -> None:
        self._task = task
        self._agreements = both_in(task.old, task.new)

    def play(self, file: Path) -> _Part:
        """Live through a part; beside it stay its hand-offs and the leads that differ, as files."""
        told = in_order(parts.read(file))
        watches = [Watch(since=self._task.since, timezone=self._task.timezone) for _ in self._agreements]
        houses = [House(one, watch.hear) for one, watch in zip(self._agreements, watches, strict=True)]
        for house, watch in zip(houses, watches, strict=True):
            house.counted = watch.counted
        live_through(houses, told, self._task.end)
        old, new = (self._side(*one) for one in zip(self._agreements, houses, watches, strict=True))
        found = list(differences(old, new, self._scored_at(told)))
        comparison = compared(old, new, found, self._task.end)
        comparison.leads, comparison.begin_unknown = _beginnings(message for _, message in told)
        for name, lines in ((OLD, old.handoffs), (NEW, new.handoffs), (LEADS, found)):
            _write(_beside(file, name), lines)
        return _Part(old=old.findings, new=new.findings, comparison=comparison)

    def _side(self, agreements: Agreements, house: House, watch: Watch) -> Side:
        findings = watch.findings(house.refused)
        tenants = {tenant_of(lead) for lead in house.scored}
        return Side(
            agreements={tenant: agreements.for_tenant(tenant) for tenant in tenants},
            scored=house.scored,
            handoffs=watch.handoffs,
            findings=findings,
        )

    def _scored_at(self, told: Iterable[tuple[datetime, LeadMessage]]) -> dict[str, datetime]:
        """When scoring last heard of each lead, of those that it heard of since."""
        found = {message.lead: now for now, message in told if _is_scored(message)}
        return {lead: at for lead, at in found.items() if self._task.since is None or at >= self._task.since}


def _is_scored(message: LeadMessage) -> bool:
    """Of activities those of the lead itself."""
    if isinstance(message, ActivityLogged):
        return engagement(message) is not None
    return type(message).__name__ in SCORED_BY


def _beginnings(told: Iterable[LeadMessage]) -> tuple[int, int]:
    """How many leads there are, and of how many the record has no creation."""
    seen: set[str] = set()
    begun: set[str] = set()
    for message in told:
        if isinstance(message, ContactChanged) and message.created:
            begun.add(message.lead)
        if not isinstance(message, ContactErased):
            seen.add(message.lead)
    return len(seen), len(seen - begun)


# --- what stays beside a part ---


def _beside(file: Path, name: str) -> Path:
    return file.with_name(f"{file.name}.{name}")


def _write(path: Path, lines: Iterable[Any]) -> None:
    with path.open("wb") as out:
        for line in lines:
            out.write(msgspec.json.encode(line) + b"\n")


def _lines(path: Path, kind: type[Any]) -> Iterator[Any]:
    decode = msgspec.json.Decoder(kind).decode
    with path.open("rb") as file:
        for line in file:
            yield decode(line)


def _handoffs(files: Iterable[Path], side: str) -> Iterator[HandOff]:
    """Of all parts, in the order of their times."""
    return _merged([_beside(file, side) for file in files], HandOff, lambda one: one.key)


def _write_leads(out: Path, files: Iterable[Path]) -> None:
    """Of all parts, in the order of their keys."""
    found = _merged([_beside(file, LEADS) for file in files], LeadDifference, lambda one: one.lead)
    try:
        _write(out, found)
    except OSError as error:
        raise Broken("cannot_write", f"--leads {out} cannot be written: {error.strerror}") from error


def _merged(paths: list[Path], kind: type[Any], key: Callable[[Any], Any]) -> Iterator[Any]:
    """The lines of files that are each in order, in order; of each one line is in memory, and so many are open."""
    while len(paths) > FILES_OPEN:
        some, rest = paths[:FILES_OPEN], paths[FILES_OPEN:]
        whole = some[0].with_name(f"{some[0].name}+")
        _write(whole, _merged(some, kind, key))
        paths = [*rest, whole]
    return merge(*(_lines(path, kind) for path in paths), key=key)
