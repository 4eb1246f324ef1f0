"""Takes up changed agreements without a restart: looks at their files, checks them, and swaps what is in force.

A look is cheap while nothing changes. What changed is judged once two looks in a row found the same,
so that a file is never taken up while it is being written. What cannot be used is refused loudly, and
the agreement that it stood for stays in force; so does that of a file that is gone. Why:
docs/decisions/0007-agreements-are-followed.md.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from shared.agreement.in_force import ALL_OTHERS, Agreements, InForce, Refusal, TakenUp
from shared.agreement.load import bytes_of, read
from shared.agreement.model import Agreement
from shared.agreement.source import Problem
from shared.clock import Clock
from shared.errors import Refused
from shared.log import Log
from shared.metrics import CommonMetrics

log = Log("leadpact.agreement")

LOOK_EVERY: Final = timedelta(seconds=1)
SUFFIXES: Final = (".yaml", ".yml")

Contents = Mapping[Path, bytes | str]  # as bytes_of found them
Stamp = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A file with what it says; without an agreement it must not be used, and `problems` say why."""

    content: bytes | str
    agreement: Agreement | None
    problems: Sequence[Problem]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Which agreement holds for each file, and which files are refused, with their problems in full."""

    held: Mapping[Path, Agreement]
    refused: Sequence[Refusal] = ()
    problems: Sequence[Problem] = ()


# --- files ---


def files_of(place: Path) -> list[Path]:
    """The file itself, or the agreements of a folder: what ends in .yaml or .yml and is not hidden, in order."""
    try:
        if not place.is_dir():
            return [place] if place.exists() else []
        return sorted(path for path in place.iterdir() if _may_be_agreement(path))
    except OSError:
        return [place]  # to read it says why


def _may_be_agreement(path: Path) -> bool:
    return path.suffix in SUFFIXES and not path.name.startswith(".") and not path.is_dir()


def _stamp(path: Path) -> Stamp | None:
    """What changes whenever the file does, also when it is replaced or its old times are set again."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _contents(files: Sequence[Path]) -> Contents:
    return {path: bytes_of(path) for path in files}


# --- judging: nothing but what the files say counts ---


def written(path: Path, content: bytes | str) -> Written:
    """What a file says, checked. Never raises: what nobody foresaw is a problem of this file alone."""
    try:
        agreement, problems = read(content, str(path))
        if agreement is not None:
            agreement.version  # noqa: B018  # made here, beside the work of the loop
    except Exception as error:
        log.error("agreement_unreadable", error=error)
        what = f"cannot be read: {type(error).__name__}"
        agreement, problems = None, [Problem(file=str(path), line=1, column=1, key="", text=what)]
    return Written(content=content, agreement=None if problems else agreement, problems=problems)


def judged(files: Mapping[Path, Written], held: Mapping[Path, Agreement]) -> Judged:
    """What is in force for each file now that they say this and these agreements were held.

    A file that cannot be used, or is gone, keeps what was held for it, unless another speaks for that
    tenant. Two files for one tenant are both refused: nobody can know which is meant.
    """
    whose = Counter(_tenant(one.agreement) for one in files.values() if one.agreement)
    good = {path: one.agreement for path, one in files.items() if one.agreement and whose[_tenant(one.agreement)] == 1}
    refused = [_invalid(path, one) for path, one in files.items() if one.agreement is None]
    problems = [problem for one in files.values() for problem in one.problems]
    for path, one in files.items():
        if one.agreement and path not in good:
            refusal, problem = _ambiguous(path, files)
            refused.append(refusal)
            problems.append(problem)
    spoken_for = {_tenant(agreement) for agreement in good.values()}
    kept = {path: old for path, old in held.items() if path not in good and _tenant(old) not in spoken_for}
    refused += [_gone(path) for path in kept if path not in files]
    return Judged(held={**kept, **good}, refused=refused, problems=problems)


def _tenant(agreement: Agreement) -> str:
    return agreement.tenant or ALL_OTHERS


def _invalid(path: Path, one: Written) -> Refusal:
    first, many = one.problems[0], len(one.problems)
    said = "one problem" if many == 1 else f"{many} problems, the first"
    detail = f"{said} in line {first.line}, column {first.column}; leadpact agreement check tells all"
    return Refusal(file=str(path), why="invalid", detail=detail, problems=many)


def _ambiguous(path: Path, files: Mapping[Path, Written]) -> tuple[Refusal, Problem]:
    own = files[path].agreement
    assert own is not None
    others = [str(other) for other, one in files.items() if other != path and _is_for(one, _tenant(own))]
    whose = f"is for {own.tenant}" if own.tenant else "names no tenant, so it is for all others"
    detail = f"{whose}, and so {'does' if not own.tenant else 'is'} {' and '.join(others)}"
    problem = Problem(file=str(path), line=1, column=1, key="tenant", text=detail)
    return Refusal(file=str(path), why="ambiguous", detail=detail), problem


def _is_for(one: Written, tenant: str) -> bool:
    return one.agreement is not None and _tenant(one.agreement) == tenant


def _gone(path: Path) -> Refusal:
    return Refusal(file=str(path), why="gone", detail="it is gone; what it said stays in force until the next start")


def check(place: Path) -> list[Problem]:
    """Everything that is wrong with a file, or a folder of them; empty when it can be used."""
    files = {path: written(path, content) for path, content in _contents(files_of(place)).items()}
    return _problems(place, judged(files, {}))


def read_all(place: Path) -> Agreements:
    """The agreements of a file, or a folder of them, once. Raises Refused (`agreement_invalid`) with every problem."""
    files = {path: written(path, content) for path, content in _contents(files_of(place)).items()}
    found = judged(files, {})
    _insist(place, found)
    return Agreements(*found.held.values())


def _insist(place: Path, found: Judged) -> None:
    if problems := _problems(place, found):
        raise Refused("agreement_invalid", "\n".join(map(str, problems)))


def _problems(place: Path, found: Judged) -> list[Problem]:
    if found.held or found.problems:
        return list(found.problems)
    why = "has no file that ends in .yaml" if place.is_dir() else "is not there"
    return [Problem(file=str(place), line=1, column=1, key="", text=why)]


# --- following ---


class Following:
    """Keeps `agreements` to what the files at `place` say, as long as they can be used."""

    def __init__(self, place: Path, *, clock: Clock, wall: Clock, metrics: CommonMetrics) -> None:
        """Takes up what is there. Raises Refused (`agreement_invalid`) with every problem, a line each."""
        self._place = place
        self._clock = clock
        self._wall = wall
        self._metrics = metrics
        self._known: dict[Path, Written] = {}
        self._held: Mapping[Path, Agreement] = {}
        self._seen: tuple[Mapping[Path, Stamp | None], Contents] | None = None
        self._judged: Mapping[Path, Stamp | None] = {}
        self.agreements = Agreements()
        self._start()

    def _start(self) -> None:
        stamps = self._stamps()
        found = self._judge(_contents(list(stamps)))
        _insist(self._place, found)
        self._judged = stamps
        self._take_up(found)

    async def run(self) -> None:
        """Look now and then, for ever."""
        while True:
            await self._wall.sleep_until(self._wall.now() + LOOK_EVERY)
            await self.look()

    async def look(self) -> None:
        """Look once. What changed is taken up, or refused, when it is as it was at the look before."""
        found = await asyncio.to_thread(self._look)
        if found is not None:
            self._take_up(found)

    def _look(self) -> Judged | None:
        """What to take up: nothing while the files are as they were, or not yet as they will be."""
        stamps = self._stamps()
        if stamps == self._judged:
            self._seen = None
            return None
        seen = stamps, _contents(list(stamps))
        if seen != self._seen:
            self._seen = seen
            return None
        found = self._judge(seen[1])
        self._judged, self._seen = stamps, None
        return found

    def _stamps(self) -> dict[Path, Stamp | None]:
        return {path: _stamp(path) for path in files_of(self._place)}

    def _judge(self, contents: Contents) -> Judged:
        self._known = {path: self._written(path, content) for path, content in contents.items()}
        return judged(self._known, self._held)

    def _written(self, path: Path, content: bytes | str) -> Written:
        """A file that says what it said is not read again."""
        known = self._known.get(path)
        return known if known is not None and known.content == content else written(path, content)

    # --- in the loop's own thread, without a pause between ---

    def _take_up(self, found: Judged) -> None:
        before, now = self.agreements.now, self._clock.now()
        after = {_tenant(one): _taken_up(one, before, now) for one in found.held.values()}
        self._held = found.held
        self._tell(before, after, found.refused)
        self.agreements.refused = found.refused
        if after != before.by_tenant:
            self.agreements.swap(InForce(by_tenant=after))
        self._show()

    def _tell(self, before: InForce, after: Mapping[str, TakenUp], refused: Sequence[Refusal]) -> None:
        for tenant, taken in after.items():
            old = before.by_tenant.get(tenant)
            if taken is not old:
                was = old.agreement.version if old else ""
                log.info("agreement_taken_up", tenant=tenant, version=taken.agreement.version, was=was)
        for tenant in before.by_tenant.keys() - after.keys():
            log.info("agreement_given_up", tenant=tenant, version=before.by_tenant[tenant].agreement.version)
        for one in refused:
            if one not in self.agreements.refused:
                log.error("agreement_refused", file=one.file, why=one.why, problems=one.problems, detail=one.detail)

    def _show(self) -> None:
        self._metrics.agreement_refused.set(len(self.agreements.refused))
        self._metrics.agreement_info.clear()
        for tenant, taken in self.agreements.now.by_tenant.items():
            self._metrics.agreement_info.labels(tenant, taken.agreement.version).set(1)


def _taken_up(agreement: Agreement, before: InForce, now: datetime) -> TakenUp:
    """The same thing as before when it says the same."""
    old = before.by_tenant.get(_tenant(agreement))
    if old is not None and old.agreement.version == agreement.version:
        return old
    return TakenUp(agreement=agreement, at=now)
