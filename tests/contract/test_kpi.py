"""kpi on a real PostgreSQL: each fact once, restarts, several instances, erasure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import sqlalchemy as sa
from prometheus_client import CollectorRegistry
from sqlalchemy.ext.asyncio import AsyncEngine

from services.kpi import store
from services.kpi.app import build
from services.kpi.domain.leads import LeadState
from services.kpi.domain.tallies import (
    CLOCKS_CORRECTED,
    CLOCKS_ENDED,
    CLOCKS_OPEN,
    CLOCKS_OVERDUE,
    CLOCKS_PAUSED,
    HANDOFFS,
    STAGE_ENTRIES,
    Tallies,
)
from services.kpi.worker import worker
from shared import events
from shared.agreement import Agreements, load
from shared.bus import Record
from shared.bus.embedded import EmbeddedBus
from shared.clock import ManualClock
from shared.database import make_engine, migrate, start_embedded
from shared.events import Message, identity
from shared.metrics import CommonMetrics
from shared.web import Parts, Tokens, create_app
from shared.work import Work
from tests.agreements import in_force, with_parts

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
TENANT = "hubspot:1"
AGREEMENT = Path(__file__).parents[2] / "deploy" / "agreement.yaml"
LABELS = ("first_touch", "inbound", "urgent")


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    address = start_embedded(tmp_path_factory.mktemp("kpi"))
    migrate(address, "kpi")
    return address


@pytest.fixture
async def engine(uri: str) -> AsyncIterator[AsyncEngine]:
    engine = make_engine(uri, pool_size=8)
    async with engine.begin() as conn:
        await conn.execute(sa.text("TRUNCATE kpi.leads, kpi.tallies, kpi.inbox, kpi.outbox"))
    yield engine
    await engine.dispose()


def parts_of(engine: AsyncEngine, *tokens: str) -> Parts:
    registry = CollectorRegistry()
    return Parts(
        environ={},
        clock=ManualClock(NOW),
        bus=EmbeddedBus(engine),
        engine=engine,
        agreements=Agreements(load(AGREEMENT)),
        registry=registry,
        metrics=CommonMetrics(registry),
        tokens=Tokens([Tokens.entry(token, role="ops", person="tester") for token in tokens]),
    )


def work_of(engine: AsyncEngine) -> Work[Any]:
    parts = parts_of(engine)
    return Work(
        worker(),
        engine=engine,
        bus=parts.bus,
        clock=parts.clock,
        agreements=parts.agreements,
        metrics=parts.metrics,
    )


def records(*messages: Message) -> list[Record]:
    return [
        Record(topic=events.TOPIC_OF[type(m)], partition=0, offset=n, key=m.key, value=events.encode(m))
        for n, m in enumerate(messages)
    ]


def about(kind: type[Any], contact: int = 7, **more: Any) -> Any:
    lead = f"{TENANT}:{contact}"
    said: dict[str, Any] = {"tenant": TENANT, "lead": lead, "at": NOW, "id": identity(kind.__name__, lead, more)}
    if issubclass(kind, events.HandoffMessage):
        said |= {"version": 1, "episode": 1, "agreement": "a", "cause": "", "team": "inbound", "priority": "urgent"}
    if issubclass(kind, events.ClockMessage):
        said |= {"clock_id": f"c{contact}", "clock": events.ClockKind.FIRST_TOUCH, "due_at": NOW + timedelta(hours=1)}
    return kind(**said | more)


def handed_off(contact: int = 7) -> events.LeadHandedOff:
    return about(events.LeadHandedOff, contact, trigger="Asked for a demo", grade="A1", ready_at=NOW)


def first_attempt(contact: int = 7) -> events.AttemptRecorded:
    said = {"activity": "call:1", "number": 1, "channel": events.Channel.PHONE, "outcome": events.Outcome.CONNECTED}
    delays = {"since_assigned_s": 300.0, "since_assigned_working_s": 120.0, "since_ready_working_s": 240.0}
    return about(events.AttemptRecorded, contact, **said, **delays)


def said_of(message: events.ClockMessage) -> dict[str, Any]:
    """What `about` does not say by itself of this message."""
    fields = {"priority", "reason", "former_due_at"} & set(message.__struct_fields__)
    return {name: getattr(message, name) for name in fields}


async def tallies(engine: AsyncEngine) -> Tallies:
    async with engine.connect() as conn:
        return await store.read_tallies(conn)


async def known(engine: AsyncEngine) -> list[LeadState]:
    """What is known of every lead, in the order of their keys."""
    async with engine.connect() as conn:
        states = await conn.scalars(sa.text("SELECT state FROM kpi.leads ORDER BY lead"))
    return [msgspec.json.decode(state, type=LeadState) for state in states]


async def test_a_fact_told_twice_counts_once(engine: AsyncEngine) -> None:
    work = work_of(engine)
    await work.handle(records(handed_off(), handed_off()))
    await work.handle(records(handed_off()))
    assert (await tallies(engine))[HANDOFFS, ("Asked for a demo", "inbound")] == 1


async def test_counting_goes_on_after_a_restart_where_it_stood(engine: AsyncEngine) -> None:
    await work_of(engine).handle(records(handed_off(1), about(events.ClockStarted, 1)))
    await work_of(engine).handle(records(handed_off(2), about(events.ClockBreached, 1)))
    now = await tallies(engine)
    assert now[HANDOFFS, ("Asked for a demo", "inbound")] == 2
    assert now[CLOCKS_OPEN, LABELS] == 0
    assert now[CLOCKS_OVERDUE, LABELS] == 1
    assert now[CLOCKS_ENDED, (*LABELS, "breached")] == 1


@pytest.mark.parametrize("settled", [True, False], ids=["settled", "overdue"])
async def test_a_breach_is_taken_back_once_from_whom_it_was_counted_for_however_often_it_is_told(
    engine: AsyncEngine, settled: bool
) -> None:
    breached = [handed_off(), about(events.ClockStarted), about(events.ClockBreached)]
    if settled:
        breached.append(about(events.ClockSettled, reason="touched", late_s=60.0))
    corrected = about(events.ClockCorrected, activity="call:1", took_s=30.0, team="dach")
    await work_of(engine).handle(records(*breached))
    for _ in range(2):
        await work_of(engine).handle(records(corrected, corrected))
    now = await tallies(engine)
    assert now[CLOCKS_ENDED, (*LABELS, "breached")] == 1
    assert now[CLOCKS_CORRECTED, LABELS] == 1
    assert now.get((CLOCKS_OVERDUE, LABELS), 0) == 0


async def test_a_clock_that_stands_still_and_moves_is_the_same_in_one_batch_as_over_restarts(
    engine: AsyncEngine,
) -> None:
    life = [
        about(events.ClockStarted, priority="normal"),
        about(events.ClockMoved, former_due_at=NOW, reason="priority"),
        about(events.ClockPaused, reason="holiday"),
    ]
    for message in life:
        await work_of(engine).handle(records(message, message))
    apart = await tallies(engine)
    await work_of(engine).handle(records(*(about(type(m), 8, **said_of(m)) for m in life)))
    both = await tallies(engine)
    assert apart[CLOCKS_OPEN, LABELS] == apart[CLOCKS_PAUSED, LABELS] == 1
    assert both[CLOCKS_OPEN, LABELS] == both[CLOCKS_PAUSED, LABELS] == 2
    await work_of(engine).handle(records(about(events.ClockResumed), about(events.ClockMet, took_s=5.0)))
    after = await tallies(engine)
    assert after[CLOCKS_OPEN, LABELS] == after[CLOCKS_PAUSED, LABELS] == 1


async def test_what_was_known_of_a_lead_before_clocks_could_stand_still_is_still_understood(
    engine: AsyncEngine,
) -> None:
    clock = {"clock": "first_touch", "team": "inbound", "priority": "urgent", "due_at": NOW, "overdue": False}
    async with engine.begin() as conn:
        sql = sa.text("INSERT INTO kpi.leads (lead, state) VALUES (:lead, :state)")
        await conn.execute(sql, {"lead": f"{TENANT}:7", "state": msgspec.json.encode({"clocks": {"c7": clock}})})
    await work_of(engine).handle(records(about(events.ClockPaused, reason="holiday")))
    assert (await tallies(engine))[CLOCKS_PAUSED, LABELS] == 1


async def test_two_instances_that_meet_a_new_lead_at_once_count_its_stage_once(engine: AsyncEngine) -> None:
    contacts = range(20)
    forms = records(*(about(events.FormSubmitted, n, form="Demo request") for n in contacts))
    handoffs = records(*(handed_off(n) for n in contacts))
    await asyncio.gather(work_of(engine).handle(forms), work_of(engine).handle(handoffs))
    now = await tallies(engine)
    assert now[STAGE_ENTRIES, ("lead", "unknown")] == 20
    assert now[STAGE_ENTRIES, ("mql", "unknown")] == 20


async def test_an_erased_lead_leaves_only_that_it_is_gone_and_its_counts_stay(engine: AsyncEngine) -> None:
    await work_of(engine).handle(records(handed_off(), about(events.ClockStarted)))
    await work_of(engine).handle(records(about(events.ContactErased, privacy=True), about(events.LeadErased)))
    now = await tallies(engine)
    assert await known(engine) == [LeadState(gone=True)]
    assert now[CLOCKS_OPEN, LABELS] == 0
    assert now[HANDOFFS, ("Asked for a demo", "inbound")] == 1


async def test_merged_contacts_are_one_lead_and_nothing_counts_again(engine: AsyncEngine) -> None:
    await work_of(engine).handle(records(handed_off(1), handed_off(2)))
    before = await tallies(engine)
    merge = about(events.ContactsMerged, 2, merged=(f"{TENANT}:1",))
    await work_of(engine).handle(records(merge, about(events.FormSubmitted, 2, form="Demo request")))
    late = about(events.ContactChanged, 1, values=(events.PropertyValue(name="email", value="x", at=NOW),))
    await work_of(engine).handle(records(late))
    assert await tallies(engine) == before
    assert [lead.gone for lead in await known(engine)] == [True, False]


async def test_the_numbers_are_told_to_those_with_a_token_only(engine: AsyncEngine) -> None:
    parts = parts_of(engine, "secret")
    await work_of(engine).handle(records(handed_off(), about(events.ClockStarted), first_attempt()))
    transport = httpx.ASGITransport(app=create_app([build(parts)], parts))
    async with httpx.AsyncClient(transport=transport, base_url="http://kpi") as client:
        assert (await client.get("/kpis")).status_code == 401
        answer = await client.get("/kpis", headers={"Authorization": "Bearer secret"})
    told = answer.json()
    assert told["funnel"]["mql"] == 1
    assert told["clocks"]["open"][0]["team"] == "inbound"
    assert told["targets"]["sla_compliance"].keys() <= told["sla_compliance"].keys()
    assert told["speed_to_lead"]["working"]["mean_s"] == 240.0
    assert told["response"]["working"]["mean_s"] == 120.0
    assert told["handoff_delay"]["elapsed"]["leads"] == 1


async def test_the_targets_are_those_of_the_agreements_in_force_and_each_names_its_version(
    engine: AsyncEngine,
) -> None:
    parts = parts_of(engine, "secret")
    default, own = load(AGREEMENT), with_parts(tenant=TENANT, kpis={"sla_compliance": {"first_touch": "95%"}})
    transport = httpx.ASGITransport(app=create_app([build(parts)], parts))
    headers = {"Authorization": "Bearer secret"}
    async with httpx.AsyncClient(transport=transport, base_url="http://kpi", headers=headers) as client:
        before = (await client.get("/kpis")).json()
        parts.agreements.swap(in_force(default, own))
        after, text = (await client.get("/kpis")).json(), (await client.get("/metrics")).text
    assert [(one["tenant"], one["agreement"]) for one in before["agreements"]] == [("", default.version)]
    assert [(one["tenant"], one["agreement"]) for one in after["agreements"]] == [
        ("", default.version),
        (TENANT, own.version),
    ]
    assert (after["agreement"], after["targets"]) == (default.version, before["targets"])
    assert after["agreements"][1]["targets"]["sla_compliance"] == {"first_touch": 0.95}
    shown = [line for line in text.splitlines() if line.startswith("leadpact_target_ratio") and "first_touch" in line]
    assert shown == [
        f'leadpact_target_ratio{{kpi="sla_compliance",of="first_touch",tenant="{tenant}"}} {share}'
        for tenant, share in (("", 0.9), (TENANT, 0.95))
    ]


async def test_labels_that_a_new_agreement_foresees_are_shown_from_zero_after_the_swap(engine: AsyncEngine) -> None:
    parts = parts_of(engine)
    routes = load(AGREEMENT).handoff
    transport = httpx.ASGITransport(app=create_app([build(parts)], parts))
    triggers = [trigger.model_copy(update={"name": f"New {n}"}) for n, trigger in enumerate(routes.triggers)]
    async with httpx.AsyncClient(transport=transport, base_url="http://kpi") as client:
        assert "New 0" not in (await client.get("/metrics")).text
        parts.agreements.swap(in_force(with_parts(handoff=routes.model_copy(update={"triggers": tuple(triggers)}))))
        assert 'leadpact_handoffs_total{team="inbound",trigger="New 0"} 0.0' in (await client.get("/metrics")).text


async def test_every_instance_shows_the_same_metrics(engine: AsyncEngine) -> None:
    await work_of(engine).handle(records(handed_off(), about(events.ClockStarted)))
    shown = []
    for parts in (parts_of(engine), parts_of(engine)):
        transport = httpx.ASGITransport(app=create_app([build(parts)], parts))
        async with httpx.AsyncClient(transport=transport, base_url="http://kpi") as client:
            text = (await client.get("/metrics")).text
        ours = ("leadpact_lead", "leadpact_handoff", "leadpact_clocks", "leadpact_first_touch", "leadpact_response")
        shown.append([line for line in text.splitlines() if line.startswith(ours)])
    assert shown[0] == shown[1]
    assert 'leadpact_clocks_open{clock="first_touch",priority="urgent",team="inbound"} 1.0' in shown[0]
    assert 'leadpact_clocks_overdue{clock="first_touch",priority="urgent",team="inbound"} 0.0' in shown[0]
