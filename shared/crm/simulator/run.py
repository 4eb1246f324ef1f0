"""The simulator as a whole: its options, and the one coroutine that runs it."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final, Literal

import httpx
import uvicorn
from starlette.applications import Starlette

from shared.clock import Clock
from shared.crm.simulator import truth
from shared.crm.simulator.api import Api, ApiOptions
from shared.crm.simulator.ledger import Event, Ledger
from shared.crm.simulator.personas import SOFTWARE, Life, Market, Step, StepKind, make_life
from shared.crm.simulator.reps import RepOptions, Reps
from shared.crm.simulator.schedule import Schedule, in_business_hours
from shared.crm.simulator.traffic import TIMEOUT_S, Counts, Traffic, TrafficOptions
from shared.crm.simulator.world import BY_DOMAIN, FORM, Ids, Record, World, to_ms
from shared.events import RecordType
from shared.log import Log

log = Log("leadpact.simulator")

LIVE_HOUR_S: Final = 3600.0
BURST_HOUR_S: Final = 0.05
FIRST_ID: Final = 901
PENDING_MOST: Final = 3000  # a burst makes no new lead while so many events wait
PAUSE_S: Final = 0.05
RECORDS_KEPT_LIVE: Final = 50_000


@dataclass(frozen=True, kw_only=True)
class SimulatorOptions:
    """Everything about a simulation.

    `live` goes on for ever at the pace of the clock. `burst` plays `leads` stories as fast as the
    door takes them, the reps' acts included, and ends when all is sent and acknowledged.
    """

    target: str = "http://127.0.0.1:8000/webhooks/hubspot"  # where the webhooks go
    secret: str = field(repr=False)  # of the app whose webhooks these are: signs them
    token: str = field(repr=False)  # that the API wants
    notify_secret: str = field(repr=False)  # whsec_…: that signs Leadpact's notifications
    public_url: str = ""  # how the receiver is known outside, when not by `target`; it is what gets signed
    portal: int = 62515
    host: str = "127.0.0.1"
    port: int = 0  # of the API and of /notifications; 0: any free one, told by `on_ready`
    mode: Literal["live", "burst"] = "live"
    seed: int = 1
    market: Market = SOFTWARE  # what leads are like and do
    leads: int = 100  # of a burst
    rate: float = 12.0  # new leads in an hour of the stories, when live
    spread_s: float = 0.0  # the least time over which a burst's leads arrive
    hour_s: float | None = None  # seconds of the clock in an hour of a story: 3600 live, 0.05 in a burst
    business_hours: bool | None = None  # whether leads arrive and reps act by day only; None: when live
    duplicates: float = 0.05  # share of events that are sent twice
    disorder: float = 0.05  # share of events that are held back, and of batches that are shuffled
    bad: float = 0.0  # share of requests with a malformed element
    lost: float = 0.0  # share of events that are never sent
    hold_s: float = 1.0  # how long an event is held back at most, in real seconds
    retry_s: float = 0.5  # before the first retry, in real seconds; doubles up to 16 times that
    max_attempts: int = 11
    failures: float = 0.0  # share of API requests that get a 5xx
    rate_limit: int = 190  # API requests in ten seconds
    ledger: Path | None = None  # where to write what was said; None: nowhere
    state: Path | None = None  # remembers the record ids given, so that a restart gives new ones
    quiet_s: float = 5.0  # a burst is settled when nothing was asked or told for so long, in real seconds
    stay: bool = False  # serve the API on after a burst has settled, until cancelled
    api_only: bool = False  # no leads and no traffic of its own; changes by the API are still told

    @property
    def story_hour_s(self) -> float:
        if self.hour_s is not None:
            return self.hour_s
        return LIVE_HOUR_S if self.mode == "live" else BURST_HOUR_S

    @property
    def by_day_only(self) -> bool:
        return self.mode == "live" if self.business_hours is None else self.business_hours


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a simulation did."""

    leads: int
    records: int
    notifications: int
    traffic: Counts

    def lines(self) -> Iterator[str]:
        """The summary for a person."""
        t = self.traffic
        yield f"{self.leads} leads, {self.records} records, {self.notifications} notifications received"
        told = f"{t.duplicates} sent twice, {t.held_back} held back, {t.lost} lost, {t.bad} malformed ones added"
        yield f"{t.events} events: {told}"
        yield f"{t.requests} requests: {t.ok} ok, {t.failed} failed, {t.unknown} unknown; {t.gave_up} events given up"


async def simulate(
    options: SimulatorOptions, clock: Clock, *, on_ready: Callable[[int], None] | None = None
) -> Summary:
    """Be the CRM until cancelled or, in a burst, until all is settled.

    `on_ready` is told the port once the API answers.
    """
    simulation = Simulation(options, clock)
    async with simulation.serving() as port:
        if on_ready is not None:
            on_ready(port)
        return await simulation.run()


class Simulation:
    """One simulated CRM, put together."""

    def __init__(self, options: SimulatorOptions, clock: Clock) -> None:
        self.options = options
        self.clock = clock
        self.ledger = Ledger(options.ledger)
        self.ledger.fact("truth", books=truth.BOOKS, buys=truth.BUYS, effects=truth.model())
        self.schedule = Schedule(clock)
        self.client = httpx.AsyncClient(limits=httpx.Limits(max_connections=20), timeout=TIMEOUT_S)
        self.traffic = Traffic(_traffic_options(options), self.ledger, self.client, seed=options.seed)
        self.world = World(
            clock=clock,
            ledger=self.ledger,
            ids=Ids(options.state, _first_id(options, clock)),
            portal=options.portal,
            listener=self._tell,
            keep=RECORDS_KEPT_LIVE if options.mode == "live" else None,
        )
        api = ApiOptions(token=options.token, rate_limit=options.rate_limit, failures=options.failures)
        self.api = Api(self.world, api, clock, seed=options.seed)
        reps = RepOptions(
            secret=options.notify_secret,
            hour_s=options.story_hour_s,
            business_hours=options.by_day_only,
            market=options.market,
        )
        self.reps = Reps(self.world, self.schedule, self.ledger, reps, seed=options.seed)
        self.app = Starlette(routes=[*self.api.routes(), *self.reps.routes()])
        self.born = 0
        self._rng = random.Random(f"{options.seed}:arrivals")

    def _tell(self, event: Event) -> None:
        self.traffic.put(event)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[int]:
        """Serve the API beside the block; the port."""
        bound = socket.create_server((self.options.host, self.options.port))
        config = uvicorn.Config(self.app, log_config=None, access_log=False, lifespan="off")
        server = _Server(config)
        task = asyncio.create_task(server.serve(sockets=[bound]))
        try:
            yield int(bound.getsockname()[1])
        finally:
            server.should_exit = True
            await asyncio.gather(task, return_exceptions=True)
            await self.client.aclose()
            self.ledger.close()

    async def run(self) -> Summary:
        """Play the stories; returns when a burst has settled, else never."""
        if not self.options.api_only:
            self.schedule.after(0, self._arrive if self.options.mode == "live" else self._arrive_in_burst)
        work = [asyncio.create_task(self.schedule.run()), asyncio.create_task(self.traffic.run())]
        until = asyncio.create_task(self._until_over())
        try:
            done, _ = await asyncio.wait([*work, until], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            return self.summary()
        finally:
            for task in (*work, until):
                task.cancel()
            await asyncio.gather(*work, until, return_exceptions=True)

    def summary(self) -> Summary:
        return Summary(
            leads=self.born,
            records=len(self.world.records),
            notifications=self.reps.notified,
            traffic=self.traffic.counts,
        )

    # --- leads arrive and live ---

    def _arrive(self) -> None:
        self._begin(make_life(self.options.seed, self.world.next_number(), self.options.market))
        wait = self._rng.expovariate(self.options.rate) * self.options.story_hour_s
        moment = self.clock.now() + timedelta(seconds=wait)
        self.schedule.at(in_business_hours(moment) if self.options.by_day_only else moment, self._arrive)

    def _arrive_in_burst(self) -> None:
        if self.traffic.pending >= PENDING_MOST:
            return self.schedule.after(PAUSE_S, self._arrive_in_burst)
        self._begin(make_life(self.options.seed, self.born, self.options.market))
        if self.born < self.options.leads:
            self.schedule.after(self.options.spread_s / self.options.leads, self._arrive_in_burst)
        return None

    def _begin(self, life: Life) -> None:
        self.born += 1
        contact = self.world.create(RecordType.CONTACT, life.own, FORM)
        if life.of_company:
            company = self.world.company_at(life.domain, life.of_company, BY_DOMAIN)
            self.world.employ(contact, company, BY_DOMAIN)
        self.ledger.fact("life", contact=contact.id, number=life.number, intent=str(life.intent))
        self._next(contact, life, 0)

    def _next(self, contact: Record, life: Life, number: int) -> None:
        if number >= len(life.steps):
            return
        step = life.steps[number]

        def go() -> None:
            self._do(contact, step)
            self._next(contact, life, number + 1)

        moment = self.clock.now() + timedelta(seconds=step.after_h * self.options.story_hour_s)
        self.schedule.at(moment, go)

    def _do(self, contact: Record, step: Step) -> None:
        match step.kind:
            case StepKind.PAGE:
                self.world.visit_page(contact, step.name)
            case StepKind.FORM:
                self.world.submit_form(contact, step.name, contact.get("hs_analytics_last_url") or "")
            case StepKind.PROFILE:
                self.world.update(contact, {step.name: step.value}, FORM)

    # --- the end ---

    async def _until_over(self) -> None:
        if self.options.mode == "live" or self.options.api_only:
            await asyncio.Event().wait()
        while True:
            await self._settle()
            self.ledger.settled()
            log.info("settled", leads=self.born, events=self.traffic.counts.events)
            if not self.options.stay:
                return
            before = self._signs()
            while self._signs() == before:
                await asyncio.sleep(PAUSE_S)

    async def _settle(self) -> None:
        """Return once nothing is left to do, and nobody asked or told anything for `quiet_s`."""
        loop = asyncio.get_running_loop()
        before, since = self._signs(), loop.time()
        while True:
            now = self._signs()
            if now != before or self._is_busy():
                before, since = now, loop.time()
            elif loop.time() - since >= self.options.quiet_s:
                return
            await asyncio.sleep(PAUSE_S)

    def _signs(self) -> tuple[int, int, int]:
        return self.api.requests, self.reps.notified, self.traffic.counts.requests

    def _is_busy(self) -> bool:
        return self.born < self.options.leads or len(self.schedule) > 0 or self.traffic.pending > 0


class _Server(uvicorn.Server):
    """A server inside somebody else's process: signals are not its business."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _traffic_options(options: SimulatorOptions) -> TrafficOptions:
    return TrafficOptions(
        target=options.target,
        public_url=options.public_url,
        secret=options.secret,
        duplicates=options.duplicates,
        disorder=options.disorder,
        bad=options.bad,
        lost=options.lost,
        hold_s=options.hold_s,
        retry_s=options.retry_s,
        max_attempts=options.max_attempts,
    )


def _first_id(options: SimulatorOptions, clock: Clock) -> int:
    """Without a state file a live simulation counts on from its start time, so that a restart gives new ids."""
    return FIRST_ID if options.mode == "burst" else to_ms(clock.now())
