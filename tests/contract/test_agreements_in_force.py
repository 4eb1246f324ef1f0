"""Changed agreements, with real files, a real PostgreSQL and both engines: every decision is by one, and names it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy.ext.asyncio import AsyncConnection

from services.handoff import worker as handoff
from services.scoring import worker as scoring
from services.scoring.app import build as build_scoring
from services.scoring.metrics import ScoringMetrics
from shared import events, versions
from shared.agreement import Agreement
from shared.agreement.following import LOOK_EVERY, Following
from shared.bus import Bus
from shared.bus.embedded import EmbeddedBus
from shared.clock import ManualClock
from shared.database import make_engine, migrate
from shared.events import (
    ClockKind,
    ClockStarted,
    ContactChanged,
    FormSubmitted,
    LeadHandedOff,
    LeadScored,
    Message,
    PropertyValue,
    identity,
)
from shared.metrics import CommonMetrics
from shared.versions import Recorded
from shared.web import Parts, Service, Supervisor, Tokens, create_app
from shared.work import Decision, Facts, Work, to_record
from tests.agreements import SHIPPED, SHIPPED_FILE, in_force, with_follow_up, with_parts
from tests.contract.conftest import Engine
from tests.contract.work_shop import (
    AGREEMENT,
    BUG,
    NOW,
    PATIENCE_S,
    STRANGER,
    TENANT,
    Hooks,
    Shop,
    Tally,
    form,
    make_schema,
    name,
    records,
    until,
)

OTHER: Final = with_follow_up(AGREEMENT, wait_for_reply="9d")
LATER: Final = timedelta(minutes=1)


@pytest.fixture
async def desk(postgres: str) -> AsyncIterator[Shop]:
    """An instance of a service."""
    desk = Shop(postgres, EmbeddedBus(postgres), await make_schema(postgres))
    yield desk
    await desk.bus.close()
    await desk.close()


def swap(shop: Shop, *agreements: Agreement) -> None:
    """These are in force from a minute later on."""
    shop.clock.advance(LATER)
    shop.agreements.swap(in_force(*agreements, at=shop.clock.now()))
    shop.clock.advance(LATER)


async def recorded(shop: Shop) -> list[Recorded]:
    async with shop.engine.connect() as conn:
        return await versions.recorded(conn, shop.schema)


async def named(shop: Shop) -> list[str]:
    """The versions that messages name, in the order in which they are to be published."""
    rows = await shop.rows("SELECT value FROM OUR.outbox WHERE topic = 'lead.scores' ORDER BY seq")
    messages = [events.decode("lead.scores", row.value) for row in rows]
    return [message.agreement for message in messages if isinstance(message, LeadScored)]


# --- what a service acted under is written down ---


async def test_a_version_is_written_with_the_first_decision_under_it_and_comes_back_whole(desk: Shop) -> None:
    assert await recorded(desk) == []
    await desk.work.handle(records(form(1, "a")))
    (row,) = await recorded(desk)
    assert (row.tenant, row.version, row.since, row.again_at) == (TENANT, AGREEMENT.version, NOW, None)
    async with desk.engine.connect() as conn:
        content = await versions.recall(conn, desk.schema, row.version)
    assert content is not None
    assert Agreement.from_content(content) == AGREEMENT


async def test_what_decides_nothing_writes_no_version(desk: Shop) -> None:
    await desk.work.handle(records(form(1, "a", tenant=STRANGER)))
    assert await recorded(desk) == []


async def test_a_decision_that_is_not_committed_leaves_no_version_and_the_next_writes_it(desk: Shop) -> None:
    async def die(conn: AsyncConnection) -> None:
        raise RuntimeError("the process died")

    desk.hooks.saved = die
    with pytest.raises(RuntimeError):
        await desk.work.handle(records(form(1, "a")))
    assert await recorded(desk) == []
    desk.hooks.saved = Hooks().saved
    await desk.work.handle(records(form(1, "a")))
    assert [row.version for row in await recorded(desk)] == [AGREEMENT.version]


async def test_a_message_that_fails_beside_others_keeps_no_version_from_being_written(desk: Shop) -> None:
    await desk.work.handle(records(form(1, "a"), form(2, BUG)))
    assert [row.version for row in await recorded(desk)] == [AGREEMENT.version]


async def test_commands_and_sweeps_write_the_version_that_they_decide_by(desk: Shop) -> None:
    await desk.work.handle(records(form(1, "a")))
    swap(desk, OTHER)

    def nothing_new(tally: Tally, facts: Facts[Tally]) -> Decision[Tally]:
        return Decision(state=tally)

    await desk.work.command(name(1), nothing_new, tenant=TENANT, command_id=identity("command", desk.schema))
    assert {row.version for row in await recorded(desk)} == {AGREEMENT.version, OTHER.version}
    third = with_follow_up(AGREEMENT, wait_for_reply="8d")
    swap(desk, third)
    await desk.work.sweep(desk.claim, nothing_new, tenant_of=lambda key: key.rpartition(":")[0])
    assert {row.version for row in await recorded(desk)} == {AGREEMENT.version, OTHER.version, third.version}


async def test_instances_that_begin_at_once_write_a_version_once(desk: Shop) -> None:
    shops = [desk.again() for _ in range(4)]
    await asyncio.gather(*(shop.work.handle(records(form(n, "a"))) for n, shop in enumerate(shops)))
    assert [row.version for row in await recorded(desk)] == [AGREEMENT.version]
    assert len(await named(desk)) == len(shops)
    for shop in shops:
        await shop.close()


async def test_a_version_that_comes_back_is_in_force_again_from_then_on(desk: Shop) -> None:
    for n, agreement in enumerate((AGREEMENT, OTHER, AGREEMENT)):
        swap(desk, agreement)
        await desk.work.handle(records(form(n, "a")))
    latest, former = await recorded(desk)
    assert (latest.version, former.version) == (AGREEMENT.version, OTHER.version)
    assert (latest.since, latest.again_at) == (NOW + 2 * LATER, NOW + 5 * LATER)
    assert (former.since, former.again_at) == (NOW + 4 * LATER, None)


async def test_a_restart_on_the_same_agreement_changes_nothing_that_is_written(desk: Shop) -> None:
    await desk.work.handle(records(form(1, "a")))
    before = await recorded(desk)
    after = desk.again()
    swap(after, AGREEMENT)
    await after.work.handle(records(form(2, "a")))
    assert await recorded(desk) == before
    await after.close()


# --- one turn, one agreement ---


async def test_a_swap_in_the_middle_of_a_turn_changes_nothing_in_that_turn(desk: Shop) -> None:
    async def swapped() -> None:
        swap(desk, OTHER)

    desk.hooks.loading = swapped
    await desk.work.handle(records(form(1, "a"), form(2, "a")))
    assert await named(desk) == [AGREEMENT.version] * 2
    assert [row.version for row in await recorded(desk)] == [AGREEMENT.version]
    await desk.work.handle(records(form(1, "b")))
    assert (await named(desk))[2:] == [OTHER.version]


async def test_each_tenant_of_a_turn_is_judged_by_its_own(desk: Shop) -> None:
    swap(desk, AGREEMENT, with_parts(OTHER, tenant=None))
    await desk.work.handle(records(form(1, "a"), form(2, "a", tenant=STRANGER), form(3, "a")))
    rest = with_parts(OTHER, tenant=None).version
    assert await named(desk) == [AGREEMENT.version, rest, AGREEMENT.version]
    assert {(row.tenant, row.version) for row in await recorded(desk)} == {(TENANT, AGREEMENT.version), ("", rest)}


async def test_what_was_refused_for_want_of_an_agreement_is_heard_once_a_file_brings_one(
    postgres: str, tmp_path: Path
) -> None:
    write(tmp_path / "ours.yaml", text(FIRST, TENANT))
    wall = ManualClock(NOW)
    following = Following(tmp_path, clock=wall, wall=wall, metrics=CommonMetrics(CollectorRegistry()))
    desk = Shop(postgres, EmbeddedBus(postgres), await make_schema(postgres))
    swap(desk, *following.agreements.now.agreements)
    letter = records(form(1, "a", tenant=STRANGER))
    await desk.work.handle(letter)
    assert (await desk.stored())["leads"] == 0
    write(tmp_path / "strangers.yaml", text(SECOND, STRANGER))
    await following.look()
    await following.look()
    swap(desk, *following.agreements.now.agreements)
    await desk.work.handle(letter)
    assert await named(desk) == [following.agreements.for_tenant(STRANGER).version]
    await desk.bus.close()
    await desk.close()


# --- files that change while events flow ---

# Two agreements that differ in what a chief is worth, in what a demo is called, and in how soon it is followed up.
FIRST: Final = {"agreement": "First", "points": 40, "trigger": "Asked for a demo", "first_touch": "5m"}
SECOND: Final = {"agreement": "Second", "points": 35, "trigger": "Wants a demo", "first_touch": "7m"}
FIT: Final = {FIRST["agreement"]: 80.0, SECOND["agreement"]: 75.0}
CHIEF: Final = {"jobtitle": "CEO", "country": "RO", "company.numberofemployees": "80", "email": "ada@example.test"}
LEADS, SWAPS = 12, 6


def text(said: dict[str, Any], tenant: str = "") -> str:
    """The shipped agreement with these things agreed otherwise."""
    whose = f"\ntenant: {tenant}" if tenant else ""
    made = SHIPPED_FILE.read_text("utf-8")
    for old, new in (
        ('agreement: "Default"', f"agreement: {said['agreement']}{whose}"),
        ("head]}}, points: 40", f"head]}}}}, points: {said['points']}"),
        ("name: Asked for a demo", f"name: {said['trigger']}"),
        ("first_touch: {urgent: 5m", f"first_touch: {{urgent: {said['first_touch']}"),
    ):
        assert old in made
        made = made.replace(old, new, 1)
    return made


def write(path: Path, written: str) -> None:
    path.write_text(written, "utf-8")


class Process:
    """Scoring and hand-off in one process, which follows the file by itself."""

    def __init__(self, uri: str, bus: Bus, place: Path) -> None:
        self.bus = bus
        self.clock = ManualClock(NOW)
        self.engine = make_engine(uri, pool_size=8)
        self.registry = CollectorRegistry()
        self.metrics = CommonMetrics(self.registry)
        self.following = Following(place, clock=self.clock, wall=self.clock, metrics=self.metrics)
        self.supervisor = Supervisor(self.metrics)
        for worker in (
            scoring.worker(ScoringMetrics(CollectorRegistry())),
            handoff.worker(wall=self.clock, notify=False),
        ):
            work: Work[Any] = Work(
                worker,
                engine=self.engine,
                bus=bus,
                clock=self.clock,
                agreements=self.following.agreements,
                metrics=self.metrics,
            )
            for task in ("consume", "relay"):
                self.supervisor.start(worker.service, task, work.tasks()[task])

    async def looks(self) -> None:
        for _ in range(2):
            await self.following.look()

    async def close(self) -> None:
        await self.supervisor.stop()
        await self.engine.dispose()


def wants_a_demo(contact: int) -> Sequence[Message]:
    """A chief, and then the chief's wish."""
    about = {"tenant": TENANT, "lead": name(contact), "at": NOW}
    values = tuple(PropertyValue(name=said, value=value, at=NOW) for said, value in CHIEF.items())
    return (
        ContactChanged(id=identity("person", contact), values=values, **about),
        FormSubmitted(id=identity("demo", contact), form="demo-request", **about),
    )


async def said_on(bus: Bus, topic: str) -> list[Any]:
    return [events.decode(topic, record.value) async for record in bus.scan(topic)]


async def write_in_two(path: Path, whole: str, processes: Sequence[Process]) -> None:
    """In place, as some editors do; in between it is an agreement, too, only not the one that is meant."""
    write(path, whole[: whole.index("kpis:")])
    for process in processes:
        await process.following.look()
    write(path, whole)


async def test_a_file_that_changes_under_traffic_judges_each_lead_by_the_version_that_is_named(
    engine: Engine, bus: Bus, new_database: Any, tmp_path: Path
) -> None:
    uri = new_database()
    await asyncio.to_thread(migrate, uri, "scoring")
    await asyncio.to_thread(migrate, uri, "handoff")
    path, texts = tmp_path / "agreement.yaml", [text(FIRST), text(SECOND)]
    write(path, texts[0])
    processes = [Process(uri, bus, path), Process(uri, engine.open(), path)]
    known = {one.version: one for one in processes[0].following.agreements.now.agreements}
    contacts = iter(range(1, LEADS * SWAPS * 3 + 1))

    async def some_come() -> list[int]:
        came = [next(contacts) for _ in range(LEADS)]
        await bus.publish([to_record(fact, source="ingest") for one in came for fact in wants_a_demo(one)])
        return came

    try:
        for n in range(SWAPS):
            await some_come()
            await write_in_two(path, texts[(n + 1) % 2], processes)
            await processes[0].looks()
            await some_come()  # the two differ now
            await processes[1].looks()
            last = await some_come()
            await until(lambda last=last: _has_scored(bus, last))
            known |= {one.version: one for process in processes for one in process.following.agreements.now.agreements}
        everybody = {name(contact) for contact in range(1, LEADS * SWAPS * 3 + 1)}
        await until(lambda: _has_handed_over(bus, everybody))
    finally:
        for process in processes:
            await process.close()
    assert {one.name for one in known.values()} == set(FIT)
    _check_scores(await said_on(bus, "lead.scores"), known)
    _check_handoffs(await said_on(bus, "lead.handoffs"), known)
    for service in ("scoring", "handoff"):
        async with make_engine(uri).connect() as conn:
            assert {one.version for one in await versions.recorded(conn, service)} == set(known)


async def _has_scored(bus: Bus, contacts: Sequence[int]) -> bool:
    return {name(one) for one in contacts} <= {one.lead for one in await said_on(bus, "lead.scores")}


async def _has_handed_over(bus: Bus, leads: set[str]) -> bool:
    return leads <= {one.lead for one in await said_on(bus, "lead.handoffs") if isinstance(one, LeadHandedOff)}


def _check_scores(scores: Sequence[LeadScored], known: dict[str, Agreement]) -> None:
    assert {one.agreement for one in scores} == set(known)
    for one in scores:
        assert one.fit == FIT[known[one.agreement].name]
        assert sum(reason.points for reason in one.fit_reasons) == one.fit
    _none_lost_none_double(scores)


def _check_handoffs(told: Sequence[Any], known: dict[str, Agreement]) -> None:
    assert {one.agreement for one in told} == set(known)
    for one in told:
        agreement = known[one.agreement]
        if isinstance(one, LeadHandedOff):
            assert one.trigger == agreement.handoff.triggers[0].name
        if isinstance(one, ClockStarted) and one.clock is ClockKind.FIRST_TOUCH:
            assert str(int((one.due_at - one.at).total_seconds() // 60)) + "m" == str(
                agreement.follow_up.first_touch["urgent"]
            )
    assert max(Counter(one.lead for one in told if isinstance(one, LeadHandedOff)).values()) == 1
    _none_lost_none_double(told)


def _none_lost_none_double(told: Sequence[Any]) -> None:
    lives: dict[str, list[int]] = {}
    for one in told:
        lives.setdefault(one.lead, []).append(one.version)
    assert len(lives) == LEADS * SWAPS * 3
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in lives.values())


# --- what people see of it ---


@pytest.fixture
async def process(postgres: str, tmp_path: Path) -> AsyncIterator[Parts]:
    """What scoring is built from, following a file."""
    await asyncio.to_thread(migrate, postgres, "scoring")
    write(tmp_path / "agreement.yaml", text(FIRST))
    engine, registry, clock = make_engine(postgres), CollectorRegistry(), ManualClock(datetime.now(UTC))
    bus = EmbeddedBus(postgres, prefix="seen.")
    await bus.create_topics(partitions=1, replication=1)
    metrics = CommonMetrics(registry)
    following = Following(tmp_path / "agreement.yaml", clock=clock, wall=clock, metrics=metrics)
    yield Parts(
        environ={},
        clock=clock,
        bus=bus,
        engine=engine,
        agreements=following.agreements,
        registry=registry,
        metrics=metrics,
        tokens=Tokens([Tokens.entry("secret", role="ops", person="a person")]),
        following=following,
    )
    await bus.close()
    await engine.dispose()


@pytest.fixture
async def api(process: Parts) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app([build_scoring(process)], process))
    headers = {"Authorization": "Bearer secret"}
    async with httpx.AsyncClient(transport=transport, base_url="http://scoring", headers=headers) as client:
        yield client


async def says(process: Parts, tmp_path: Path, written: str) -> None:
    """The file says this, and the process has seen it."""
    assert process.following is not None
    write(tmp_path / "agreement.yaml", written)
    await process.following.look()
    await process.following.look()


async def test_a_refused_file_is_told_of_and_the_process_stays_ready(
    process: Parts, api: httpx.AsyncClient, tmp_path: Path
) -> None:
    await says(process, tmp_path, "agreement: nothing else")
    ready = await api.get("/readyz")
    assert (ready.status_code, ready.json()["ready"]) == (200, True)
    (lack,) = ready.json()["lacks"]
    assert "agreement.yaml is not taken up: " in lack
    (refused,) = (await api.get("/agreements")).json()["refused"]
    assert refused["why"] == "invalid"
    assert "leadpact_agreement_refused 1.0" in (await api.get("/metrics")).text
    await says(process, tmp_path, text(SECOND))
    assert (await api.get("/readyz")).json()["lacks"] == []


async def test_a_process_follows_its_files_as_long_as_it_runs(process: Parts, tmp_path: Path) -> None:
    assert isinstance(process.clock, ManualClock)
    app, swapped = create_app([Service(name="scoring")], process), asyncio.Event()
    process.agreements.after_swap(swapped.set)
    async with app.router.lifespan_context(app), asyncio.timeout(PATIENCE_S):
        write(tmp_path / "agreement.yaml", text(SECOND))
        while not swapped.is_set():
            process.clock.advance(LOOK_EVERY)
            await asyncio.sleep(0)
    assert process.agreements.for_tenant(TENANT).name == "Second"


async def test_what_is_in_force_and_what_was_before_can_be_asked_for(
    process: Parts, api: httpx.AsyncClient, tmp_path: Path
) -> None:
    first = process.agreements.for_tenant(TENANT)
    async with process.engine.begin() as conn:
        await versions.record(conn, "scoring", [process.agreements.now.of(TENANT)], process.clock.now())
    await says(process, tmp_path, text(SECOND))
    second = process.agreements.for_tenant(TENANT)
    answer = (await api.get("/agreements")).json()
    assert [(one["tenant"], one["version"], one["agreement"]) for one in answer["in_force"]] == [
        ("", second.version, "Second")
    ]
    assert ("scoring", first.version) in [(one["service"], one["version"]) for one in answer["recorded"]]
    for one in (first, second):
        assert (await api.get(f"/agreements/{one.version}")).json()["agreement"] == one.name
    assert (await api.get("/agreements/000000000000")).status_code == 404
    assert (await api.get("/agreements", headers={"Authorization": "Bearer x"})).status_code == 401


def test_the_two_agreements_of_these_tests_differ_from_the_shipped_one_and_are_right(tmp_path: Path) -> None:
    from shared.agreement import load

    for n, said in enumerate((FIRST, SECOND)):
        write(tmp_path / f"{n}.yaml", text(said))
        assert load(tmp_path / f"{n}.yaml").version != SHIPPED.version
