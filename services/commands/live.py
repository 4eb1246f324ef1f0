"""The numbers of `leadpact run`'s live view: what is shown, where it comes from, and how it reads as a line."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from prometheus_client import CollectorRegistry

from services.handoff import store as handoff_store
from services.handoff.store import HandedOff
from services.kpi import store as kpi_store
from services.kpi.domain.tallies import CLOCKS_OPEN, CLOCKS_OVERDUE, HANDOFFS, LABELS, Tallies
from shared.database import database_errors_are_later
from shared.errors import Later
from shared.events import State
from shared.web import Parts, Supervisor

EVERY_S: Final = 2.0
PLAIN_EVERY_S: Final = 10.0
EASE: Final = 20  # looking takes a twentieth of the time at most, however big the tables
WINDOW_S: Final = 60.0
HANDOFFS_SHOWN: Final = 8
EVENTS: Final = "leadpact_webhook_events"


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """What is shown, as of `at` in business time; the rates are of real minutes."""

    at: datetime
    states: Mapping[str, int] = field(default_factory=dict)
    clocks: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # by team: open, overdue
    handoffs: Sequence[HandedOff] = ()
    events_per_minute: float = 0.0
    handoffs_per_minute: float = 0.0
    lacks: Sequence[str] = ()

    @property
    def leads(self) -> int:
        return sum(self.states.values())

    @property
    def open(self) -> int:
        return sum(still for still, _ in self.clocks.values())

    @property
    def overdue(self) -> int:
        return sum(late for _, late in self.clocks.values())


class Rate:
    """How much a count rises in a minute, over the last one."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._seen: deque[tuple[float, float]] = deque()

    def per_minute(self, count: float) -> float:
        """With `count` as it is now."""
        now = self._now()
        self._seen.append((now, count))
        while len(self._seen) > 2 and self._seen[1][0] <= now - WINDOW_S:
            self._seen.popleft()
        since, first = self._seen[0]
        return (count - first) * 60 / (now - since) if now > since else 0.0


class Watch:
    """Looks at the services of this process, from outside."""

    def __init__(self, parts: Parts, supervisor: Supervisor) -> None:
        self._parts = parts
        self._supervisor = supervisor
        self._events, self._handoffs = Rate(), Rate()
        self._last = Numbers(at=parts.clock.now())

    async def look(self) -> Numbers:
        """The numbers now; while the database is away, the last ones, and that it is."""
        lacks = self._supervisor.failing()
        try:
            with database_errors_are_later():
                self._last = dataclasses.replace(await self._read(), lacks=lacks)
        except Later as error:
            self._last = dataclasses.replace(self._last, lacks=[*lacks, error.message])
        return self._last

    async def _read(self) -> Numbers:
        async with self._parts.engine.connect() as conn:
            states = await handoff_store.count_by_state(conn)
            handoffs = await handoff_store.latest_handoffs(conn, limit=HANDOFFS_SHOWN)
            tallies = await kpi_store.read_tallies(conn)
        return Numbers(
            at=self._parts.clock.now(),
            states={state: states[state] for state in State if state in states},
            clocks=clocks_by_team(tallies),
            handoffs=handoffs,
            events_per_minute=self._events.per_minute(counted(self._parts.registry, EVENTS)),
            handoffs_per_minute=self._handoffs.per_minute(
                sum(n for (name, _), n in tallies.items() if name == HANDOFFS)
            ),
        )

    async def show(self, show: Callable[[Numbers], None], *, every_s: float) -> None:
        """Look and show, for ever."""
        while True:
            started = time.monotonic()
            numbers = await self.look()
            took_s = time.monotonic() - started
            show(numbers)
            await asyncio.sleep(max(every_s, took_s * EASE))


def clocks_by_team(tallies: Tallies) -> dict[str, tuple[int, int]]:
    """How many clocks are open and how many overdue, for each team that has any."""
    found: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for (metric, labels), count in tallies.items():
        if metric in (CLOCKS_OPEN, CLOCKS_OVERDUE) and count:
            team = labels[LABELS[metric].index("team")]
            found[team][metric == CLOCKS_OVERDUE] += count
    return {team: (round(still), round(late)) for team, (still, late) in sorted(found.items())}


def counted(registry: CollectorRegistry, counter: str) -> float:
    """The sum of a counter over its labels."""
    families = registry.restricted_registry([f"{counter}_total"]).collect()
    return sum(sample.value for family in families for sample in family.samples)


def line(numbers: Numbers) -> str:
    """All of it in a line, for where no terminal is."""
    states = ", ".join(f"{count} {state}" for state, count in numbers.states.items())
    parts = [
        f"{numbers.at:%Y-%m-%d %H:%M:%S}Z",
        f"{numbers.leads} leads" + (f" ({states})" if states else ""),
        f"clocks {numbers.open} open, {numbers.overdue} overdue",
        f"{numbers.events_per_minute:.0f} events/min, {numbers.handoffs_per_minute:.1f} hand-offs/min",
    ]
    return "  ".join(parts) + "".join(f"  ! {lack}" for lack in numbers.lacks)
