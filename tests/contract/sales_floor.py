"""Scoring, hand-off and kpi at work on one PostgreSQL and one bus, with the time in the test's hands."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from prometheus_client import CollectorRegistry
from sqlalchemy.ext.asyncio import AsyncConnection

from services.handoff import store
from services.handoff import worker as handoff
from services.handoff.domain.commands import Command
from services.handoff.metrics import HandoffMetrics
from services.handoff.ticking import Ticking
from services.kpi import store as kpi_store
from services.kpi import worker as kpi
from services.kpi.domain.report import report
from services.kpi.domain.tallies import CLOCKS_CORRECTED, CLOCKS_ENDED, CLOCKS_OPEN, CLOCKS_OVERDUE
from services.scoring import store as scoring_store
from services.scoring import worker as scoring
from services.scoring.fading import Fading
from services.scoring.metrics import ScoringMetrics
from shared import events
from shared.agreement import Agreement, Agreements
from shared.bus import Bus, NewRecord
from shared.clock import ManualClock
from shared.database import make_engine
from shared.events import (
    ActivityLogged,
    Channel,
    ClockBreached,
    ContactChanged,
    ContactsMerged,
    DealChanged,
    Direction,
    FormSubmitted,
    HandoffMessage,
    Message,
    Outcome,
    PropertyValue,
    Topic,
    identity,
)
from shared.metrics import CommonMetrics
from shared.web import Supervisor
from shared.work import Changes, Work, Worker, to_record
from tests.agreements import SHIPPED, with_follow_up
from tests.contract.work_shop import PATIENCE_S, WatchedBus, until

TENANT = "hubspot:62515"
BUCHAREST = ZoneInfo("Europe/Bucharest")
START = datetime(2026, 3, 2, 9, 0, tzinfo=BUCHAREST)  # a Monday
TABLES = {
    "scoring": ("leads",),
    "handoff": ("leads", "clocks", "timeline", "notifications"),
    "kpi": ("leads", "tallies"),
}
# As shipped, for people in Bucharest: nine hours from Monday to Friday, and their public holidays.
AGREEMENT = with_follow_up(
    SHIPPED, calendars={"office": {"mon-fri": "09:00-18:00", "timezone": "Europe/Bucharest", "holidays": "RO"}}
)
CHIEF = {"jobtitle": "CEO", "country": "RO", "company.numberofemployees": "80", "email": "ada@example.test"}
CONTACTS = count(901)  # of all floors, which may share a database


def local(day: int, hour: int, minute: int = 0, *, month: int = 3) -> datetime:
    """A time of 2026 in Bucharest."""
    return datetime(2026, month, day, hour, minute, tzinfo=BUCHAREST).astimezone(UTC)


class Wire(WatchedBus):
    """The bus of one instance, which can die when all but the last of what it was given is published."""

    async def publish(self, given: Sequence[NewRecord]) -> None:
        await super().publish(given[:-1] if self.dies_after else given)


class Service:
    """One service as one process would run it."""

    def __init__(self, floor: Floor, worker: Worker[Any], agreement: Agreement) -> None:
        self.floor = floor
        self.agreements = Agreements(agreement)
        self.metrics = CommonMetrics(CollectorRegistry())
        self.wire = Wire(floor.bus)
        self.worker = worker
        self.awaited = set[UUID]()  # messages
        self.looked_at = 0  # how many of those that were heard
        self.work = self.work_of(worker)
        self.supervisor = Supervisor(self.metrics)
        for task in ("consume", "relay"):
            self.supervisor.start(worker.service, task, self.work.tasks()[task])

    def work_of(self, worker: Worker[Any]) -> Work[Any]:
        return Work(
            worker,
            engine=self.floor.engine,
            bus=self.wire,
            clock=self.floor.clock,
            agreements=self.agreements,
            metrics=self.metrics,
        )

    def ticking(self, work: Work[Any]) -> Ticking:
        return Ticking(
            work,
            engine=self.floor.engine,
            clock=self.floor.clock,
            agreements=self.agreements,
            metrics=HandoffMetrics(CollectorRegistry()),
        )

    def wants(self, topic: str, message: Message) -> bool:
        return topic in self.worker.topics and type(message) in self.worker.handlers


class Floor:
    """The three services, what a CRM says to them, what people do, and what came of it."""

    def __init__(self, uri: str, bus: Bus) -> None:
        self.engine = make_engine(uri, pool_size=12)
        self.bus = WatchedBus(bus)
        self.clock = ManualClock(START.astimezone(UTC))
        self.services: dict[str, Service] = {}
        self.tag = uuid4().hex
        self._heard: list[tuple[str, Message]] = []
        self._number = 0

    def open(self, agreement: Agreement = AGREEMENT) -> None:
        service = Service(self, scoring.worker(ScoringMetrics(CollectorRegistry())), agreement)
        self.services["scoring"] = service
        self.fading = Fading(service.work, engine=self.engine, clock=self.clock, agreements=service.agreements)
        self.services["kpi"] = Service(self, kpi.worker(), agreement)
        self._open_handoff(agreement)

    def _open_handoff(self, agreement: Agreement) -> None:
        service = self.services["handoff"] = Service(self, handoff.worker(wall=self.clock, notify=True), agreement)
        self.ticking = service.ticking(service.work)

    async def close(self) -> None:
        for service in self.services.values():
            await service.supervisor.stop()
        await self.bus.close()
        await self.engine.dispose()

    async def begin_anew(self) -> None:
        """Forget all leads but what was heard, so that nothing that comes again begins one; it is that Monday again."""
        if "handoff" not in self.services or self.services["handoff"].agreements.for_tenant("") is not AGREEMENT:
            await self.goes_down()
            self._open_handoff(AGREEMENT)
        names = [f"{schema}.{table}" for schema, tables in TABLES.items() for table in tables]
        async with self.engine.begin() as conn:
            await conn.execute(sa.text(f"TRUNCATE {', '.join(names)}"))
        self.bus.published.clear()
        self._heard.clear()
        for service in self.services.values():
            service.awaited.clear()
            service.looked_at = 0
        self.clock.advance(START - self.clock.now())

    def somebody(self) -> int:
        """A contact that nobody heard of yet."""
        return next(CONTACTS)

    # --- time ---

    async def at(self, moment: datetime) -> None:
        """Time goes on until then; what hand-off's clocks and fading interest had to say on the way is said."""
        while (fades_at := await self._next_fading()) is not None and fades_at <= moment:
            await self._ticks(max(fades_at, self.clock.now()))
            await self.fading.sweep()
            await self.quiet()
        await self._ticks(moment)

    async def _next_fading(self) -> datetime | None:
        if "scoring" not in self.services:
            return None
        async with self.engine.connect() as conn:
            return await scoring_store.next_fading(conn)

    async def _ticks(self, moment: datetime) -> None:
        self.clock.advance(moment - self.clock.now())
        if "handoff" in self.services:
            while await self.ticking.sweep():
                pass
        await self.quiet()

    async def goes_down(self) -> None:
        """Hand-off stops."""
        if service := self.services.pop("handoff", None):
            await service.supervisor.stop()

    async def dies_deciding(self, moment: datetime) -> None:
        """Time goes on until then, and hand-off dies before what it decided is committed."""
        service = self.services["handoff"]

        async def save(conn: AsyncConnection, changes: Changes[Any]) -> None:
            await service.worker.save(conn, changes)
            raise RuntimeError("the process died")

        self.clock.advance(moment - self.clock.now())
        with pytest.raises(RuntimeError, match="the process died"):
            await service.ticking(service.work_of(replace(service.worker, save=save))).sweep()
        await self.goes_down()

    async def dies_telling(self) -> None:
        """Hand-off starts again, and dies when all it had to tell but the last is published, and noted nowhere."""
        self._open_handoff(AGREEMENT)
        wire = self.services["handoff"].wire
        wire.dies_after = True
        await self.ticking.sweep()
        async with asyncio.timeout(PATIENCE_S):
            await wire.has_died.wait()
        await self.goes_down()

    async def comes_back(self, agreement: Agreement = AGREEMENT) -> None:
        """Hand-off starts again, maybe with another agreement: first its open clocks follow it, then it looks."""
        self._open_handoff(agreement)
        async with asyncio.timeout(PATIENCE_S):
            while await self.ticking.follow_agreement():
                pass
        await self.at(self.clock.now())

    # --- what the CRM says ---

    async def says(self, *messages: Message) -> None:
        """It is published, and everything that follows from it has come about."""
        await self.bus.publish([to_record(message, source="ingest") for message in messages])
        await self.quiet()

    def person(self, contact: int, **values: str) -> ContactChanged:
        said = tuple(PropertyValue(name=name, value=value, at=self.clock.now()) for name, value in values.items())
        return ContactChanged(**self._about(contact), values=said)

    def form(self, contact: int, form: str = "demo-request") -> FormSubmitted:
        return FormSubmitted(**self._about(contact), form=form)

    def touch(
        self,
        contact: int,
        outcome: Outcome = Outcome.NO_ANSWER,
        *,
        channel: Channel = Channel.PHONE,
        at: datetime | None = None,
        by: str = "77",
    ) -> ActivityLogged:
        """What a person did, or, by nobody, what the lead did itself."""
        about = self._about(contact)
        return ActivityLogged(
            **{**about, "at": at or self.clock.now()},
            activity=about["id"],
            channel=channel,
            direction=Direction.OUTBOUND if by else Direction.INBOUND,
            outcome=outcome,
            by=by,
            seen_at=self.clock.now(),
        )

    def deal(self, contact: int, stage: str) -> DealChanged:
        return DealChanged(**self._about(contact), deal=f"deal:{contact}", stage=stage)

    def merge(self, survivor: int, other: int) -> ContactsMerged:
        return ContactsMerged(**self._about(survivor), merged=(name(other),))

    def _about(self, contact: int) -> dict[str, Any]:
        self._number += 1
        number = identity("floor", self.tag, contact, self._number)
        return {"id": number, "tenant": TENANT, "lead": name(contact), "at": self.clock.now()}

    # --- what people do ---

    async def does(self, contact: int, do: Callable[..., Any]) -> None:
        """A command, as the API gives it."""
        self._number += 1
        command = Command(id=identity("command", self.tag, self._number), person="ioana@example.com")
        decide = handoff.decided(do)
        await self.services["handoff"].work.command(
            name(contact),
            lambda lead, facts: decide(lead, command, facts),
            tenant=TENANT,
            command_id=command.id,
        )
        await self.quiet()

    # --- what came of it ---

    async def quiet(self) -> None:
        """Return once everything that was published is handled, and everything that it caused is published."""

        async def settled() -> bool:
            heard = len(self._listen())
            for service in self.services.values():
                if not await self._has_handled(service):
                    return False
                if await self._rows(f"SELECT 1 FROM {service.worker.service}.outbox LIMIT 1"):
                    return False
            return len(self.bus.published) == heard

        await until(settled)

    async def _has_handled(self, service: Service) -> bool:
        """Whether all that was heard and that it wants is in its inbox; what once was is not looked for again."""
        for topic, message in self._heard[service.looked_at :]:
            if service.wants(topic, message):
                service.awaited.add(UUID(message.id))
        service.looked_at = len(self._heard)
        if service.awaited:
            sql = f"SELECT id FROM {service.worker.service}.inbox WHERE id = ANY(:awaited)"
            service.awaited -= {row.id for row in await self._rows(sql, awaited=list(service.awaited))}
        return not service.awaited

    def _listen(self) -> Sequence[tuple[str, Message]]:
        for record in self.bus.published[len(self._heard) :]:
            self._heard.append((record.topic, events.decode(record.topic, record.value)))
        return list(self._heard)

    async def _rows(self, sql: str, **given: Any) -> list[Any]:
        async with self.engine.connect() as conn:
            return list((await conn.execute(sa.text(sql), given)).all())

    def told(self, contact: int, *kinds: type[HandoffMessage]) -> list[Any]:
        """What was published of the lead's life, in order and without holes, once each; of these kinds only."""
        said = self._lives().get(name(contact), [])
        assert [message.version for message in said] == list(range(1, len(said) + 1))
        return [message for message in said if not kinds or isinstance(message, kinds)]

    def _lives(self) -> dict[str, list[HandoffMessage]]:
        """By leads. What is published again is the same by its id, as the inbox of everybody who reads it knows."""
        lives: dict[str, list[HandoffMessage]] = {}
        for message in {message.id: message for _, message in self._listen()}.values():
            if isinstance(message, HandoffMessage):
                lives.setdefault(message.lead, []).append(message)
        return lives

    def published_again(self) -> int:
        """How many records the bus carries that it had before."""
        return len(self._listen()) - len({message.id for _, message in self._listen()})

    async def state(self, contact: int) -> str:
        """Where the lead stands, as the list of leads shows it."""
        ((state,),) = await self._rows("SELECT state FROM handoff.leads WHERE lead = :lead", lead=name(contact))
        return str(state)

    async def running(self, contact: int) -> dict[str, datetime]:
        """When the lead's clocks have something to say next, by their kinds."""
        sql = "SELECT kind, next_at FROM handoff.clocks WHERE lead = :lead AND next_at IS NOT NULL"
        return {row.kind: row.next_at for row in await self._rows(sql, lead=name(contact))}

    async def outcomes(self, contact: int) -> dict[str, str | None]:
        """How the lead's clocks ended, by their kinds; None: it runs. Of the same kind the latest."""
        sql = "SELECT kind, outcome FROM handoff.clocks WHERE lead = :lead ORDER BY started_at"
        return {row.kind: row.outcome for row in await self._rows(sql, lead=name(contact))}

    async def timeline(self, contact: int) -> list[str]:
        """What happened to the lead, as its page shows it."""
        async with self.engine.connect() as conn:
            return [entry["type"] for entry in await store.timeline(conn, name(contact), after=0, limit=500)]

    async def noticed(self, contact: int, *kinds: str) -> list[dict[str, Any]]:
        """The notifications about the lead, of these kinds only, in the order of what they tell."""
        rows = await self._rows("SELECT kind, body FROM handoff.notifications WHERE lead = :lead", lead=name(contact))
        bodies = [json.loads(row.body) for row in rows if row.kind in kinds]
        return sorted(bodies, key=lambda body: int(body["version"]))

    async def tallied(self, metric: str) -> dict[tuple[str, ...], float]:
        """What kpi counted, but for what is nothing."""
        async with self.engine.connect() as conn:
            tallies = await kpi_store.read_tallies(conn)
        return {labels: value for (name_, labels), value in tallies.items() if name_ == metric and value}

    async def kpis(self) -> dict[str, Any]:
        """What kpi shows of how the agreement is doing."""
        async with self.engine.connect() as conn:
            return report(await kpi_store.read_tallies(conn))

    # --- what holds after every story ---

    async def agrees_with_itself(self) -> None:
        """Nothing is dead; the timeline is what was published; kpi counted the clocks that hand-off has."""
        assert not [message for topic, message in self._listen() if topic == Topic.DEAD_LETTERS]
        kept = await self._rows("SELECT lead, version, type FROM handoff.timeline")
        lives = self._lives()
        published = [(lead, m.version, type(m).__name__) for lead in sorted(lives) for m in lives[lead]]
        assert sorted(tuple(row) for row in kept) == published
        assert await self._clocks_of_kpi() == await self._clocks_of_handoff()

    async def _clocks_of_handoff(self) -> Mapping[tuple[str, str], float]:
        """Of a breach that went on in a survivor what became of it there."""
        told = [message for life in self._lives().values() for message in life]
        gone_on = {message.told_as for message in told if isinstance(message, ClockBreached)}
        sql = """
            SELECT id, kind, CASE outcome WHEN 'cancelled' THEN 'excused' ELSE coalesce(outcome, 'open') END AS outcome,
                   outcome = 'breached' AND settled_at IS NULL AS overdue FROM handoff.clocks
        """
        found: Counter[tuple[str, str]] = Counter()
        for row in await self._rows(sql):
            if row.id in gone_on:
                continue
            found[row.kind, row.outcome] += 1
            found[row.kind, "overdue"] += bool(row.overdue)
        return +found

    async def _clocks_of_kpi(self) -> Mapping[tuple[str, str], float]:
        found: Counter[tuple[str, str]] = Counter()
        for (kind, *_, outcome), value in (await self.tallied(CLOCKS_ENDED)).items():
            found[kind, outcome] += int(value)
        for metric, outcome in ((CLOCKS_OPEN, "open"), (CLOCKS_OVERDUE, "overdue"), (CLOCKS_CORRECTED, "met")):
            for (kind, *_), value in (await self.tallied(metric)).items():
                found[kind, outcome] += int(value)
                found[kind, "breached"] -= int(value) if metric == CLOCKS_CORRECTED else 0
        return +found


def name(contact: int) -> str:
    return f"{TENANT}:{contact}"
