"""kpi on a real PostgreSQL: each fact once, restarts, several instances, erasure."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import sqlalchemy as sa
from jsonschema import Draft202012Validator
from prometheus_client import CollectorRegistry
from sqlalchemy.ext.asyncio import AsyncEngine

from services.commands import goals
from services.kpi import store
from services.kpi.app import build
from services.kpi.domain.counts import Counts
from services.kpi.domain.leads import LeadState
from services.kpi.domain.tallies import (
    CLOCKS_CORRECTED,
    CLOCKS_ENDED,
    CLOCKS_OPEN,
    CLOCKS_OVERDUE,
    CLOCKS_PAUSED,
    COMMITMENTS_CORRECTED,
    COMMITMENTS_ENDED,
    HANDOFFS,
    STAGE_ENTRIES,
    Tallies,
)
from services.kpi.ticking import Ticking
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
from tests.contract.test_migrations import downgrade

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
        await conn.execute(
            sa.text(
                "TRUNCATE kpi.leads, kpi.tallies, kpi.inbox, kpi.outbox, "
                "kpi.stage_days, kpi.deals, kpi.commitments, kpi.judged_until"
            )
        )
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
    assert await known(engine) == [LeadState(erased=True)]
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
    assert [bool(lead.merged_into) for lead in await known(engine)] == [True, False]


async def test_what_comes_late_of_a_merged_lead_counts_once_and_for_its_survivor(engine: AsyncEngine) -> None:
    for survivor, merged in ((3, 2), (2, 1)):
        await work_of(engine).handle(records(about(events.ContactsMerged, survivor, merged=(f"{TENANT}:{merged}",))))
    await work_of(engine).handle(records(handed_off(1), first_attempt(3), about(events.ClockStarted, 1)))
    await work_of(engine).handle(records(about(events.ClockCancelled, 1, reason="merged"), about(events.LeadErased, 1)))
    now = await tallies(engine)
    assert now[STAGE_ENTRIES, ("lead", "unknown")] == now[STAGE_ENTRIES, ("mql", "unknown")] == 1
    assert now[CLOCKS_OPEN, LABELS] == 0
    assert [(bool(lead.merged_into), "mql" in lead.stages, lead.clocks) for lead in await known(engine)] == [
        (True, False, {}),
        (True, False, {}),
        (False, True, {}),
    ]


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


async def test_the_numbers_are_as_the_description_says_to_the_last_field(engine: AsyncEngine) -> None:
    parts = parts_of(engine, "secret")
    breached = (about(events.ClockStarted), about(events.ClockBreached))
    transport = httpx.ASGITransport(app=create_app([build(parts)], parts))
    headers = {"Authorization": "Bearer secret"}
    async with httpx.AsyncClient(transport=transport, base_url="http://kpi", headers=headers) as client:
        spec = (await client.get("/openapi.json")).json()
        (said,) = spec["paths"]["/kpis"]["get"]["responses"]["200"]["content"].values()
        schema = Draft202012Validator(said["schema"] | {"components": spec["components"]})
        empty = (await client.get("/kpis")).json()
        await work_of(engine).handle(records(handed_off(), *breached, first_attempt(), won(2)))
        full = (await client.get("/kpis")).json()
    for answer in (empty, full):
        assert [error.message for error in schema.iter_errors(answer)] == []
    assert full["clocks"]["overdue"]
    assert full["response"]["by_team_and_priority"]
    assert list(schema.iter_errors(full | {"more": 1}))  # whatever is answered is described
    assert list(schema.iter_errors(full | {"funnel": {}}))


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


# --- goals ---


def form(contact: int, at: datetime = NOW) -> events.FormSubmitted:
    return about(events.FormSubmitted, contact, at=at, form="Newsletter")


def won(contact: int = 7, deal: str = "d1", **more: Any) -> events.DealWon:
    return about(events.DealWon, contact, deal=deal, **{"amount": "20000", "currency": "USD"} | more)


async def counts(engine: AsyncEngine, *tenants: str) -> Counts:
    async with engine.connect() as conn:
        return await store.read_counts(conn, "", tenants or (TENANT,), NOW.date() - timedelta(days=90))


def by_day(found: Counts) -> dict[tuple[date, str], tuple[int, int]]:
    """How many entered, and how many moved on, by day and stage."""
    sums: dict[tuple[date, str], tuple[int, int]] = {}
    for one in found.days:
        entries, moved_on = sums.get((one.day, one.stage), (0, 0))
        sums[one.day, one.stage] = entries + one.entries, moved_on + one.moved_on
    return sums


async def test_a_lead_counts_on_the_day_of_each_stage_once_however_often_it_is_told(engine: AsyncEngine) -> None:
    for _ in range(2):
        await work_of(engine).handle(records(form(7), form(7), handed_off(), won()))
    today = NOW.date()
    stages = ("lead", "mql", "sql", "opportunity", "customer")
    moved = {"lead": 1, "mql": 1, "sql": 1}
    assert by_day(await counts(engine)) == {(today, stage): (1, moved.get(stage, 0)) for stage in stages}


async def test_two_instances_that_meet_a_new_lead_at_once_count_its_day_once(engine: AsyncEngine) -> None:
    contacts = range(20)
    forms, handoffs = records(*map(form, contacts)), records(*map(handed_off, contacts))
    await asyncio.gather(work_of(engine).handle(forms), work_of(engine).handle(handoffs))
    found = by_day(await counts(engine))
    assert (found[NOW.date(), "lead"], found[NOW.date(), "mql"]) == ((20, 20), (20, 0))


async def test_merged_and_erased_leads_stay_counted_on_their_days_and_count_on_no_other(engine: AsyncEngine) -> None:
    await work_of(engine).handle(records(form(1), form(2)))
    merge, erase = (
        about(events.ContactsMerged, 2, merged=(f"{TENANT}:1",)),
        about(events.ContactErased, 2, privacy=True),
    )
    later = NOW + timedelta(days=3)
    await work_of(engine).handle(records(merge, form(1, later), erase, form(2, later)))
    assert by_day(await counts(engine)) == {(NOW.date(), "lead"): (2, 0)}


async def test_a_deal_of_two_contacts_is_one_deal_and_lost_in_the_end_it_is_none(engine: AsyncEngine) -> None:
    await work_of(engine).handle(records(won(1), won(2), won(3, "d2", currency="EUR"), won(4, "d3", amount=None)))
    found = {one.currency: (one.deals, one.unpriced, one.amount) for one in (await counts(engine)).won}
    assert found == {"USD": (2, 1, 20_000), "EUR": (1, 0, 20_000)}
    lost = about(events.DealLost, 2, deal="d1", at=NOW + timedelta(days=1))
    await work_of(engine).handle(records(lost))
    await work_of(engine).handle(records(won(5, "d1")))  # the word of another contact, older and read later
    assert {one.currency: one.deals for one in (await counts(engine)).won} == {"USD": 1, "EUR": 1}


async def test_the_days_of_leads_that_were_there_before_are_filled_in(new_database: Callable[[], str]) -> None:
    address = new_database()
    await asyncio.to_thread(migrate, address, "kpi")
    engine = make_engine(address, pool_size=2)
    await work_of(engine).handle(records(form(1), handed_off(2), won(3), about(events.ContactErased, 9, privacy=True)))
    before = by_day(await counts(engine))
    await asyncio.to_thread(downgrade, address, "kpi", "0002")
    await asyncio.to_thread(migrate, address, "kpi")
    assert by_day(await counts(engine)) == before
    await engine.dispose()


# --- what Marketing owes ---

MONDAY = datetime(2026, 3, 9, tzinfo=UTC)


def owing(mqls: int) -> Agreements:
    goal = {"name": "New sales", "target": {"revenue": "9 USD"}, "period": "2026-01-01..2026-12-31",
            "average_deal": "1 USD", "marketing_owes": [{"mqls": mqls, "every": "week"}]}  # fmt: skip
    return Agreements(with_parts(goals=[goal]))


def ticking_of(engine: AsyncEngine, agreements: Agreements, now: datetime) -> Ticking:
    return Ticking(engine=engine, clock=ManualClock(now), agreements=agreements)


async def judged(engine: AsyncEngine) -> list[tuple[date, int, str, bool]]:
    return [(one.first, one.counted, one.outcome, bool(one.corrected_at)) for one in (await counts(engine)).judged]


async def test_a_week_is_judged_once_when_it_is_over_by_however_many(engine: AsyncEngine) -> None:
    agreements, sunday = owing(2), MONDAY - timedelta(seconds=1)
    await work_of(engine).handle(records(handed_off(1)))
    assert await ticking_of(engine, agreements, sunday).judge() == 0
    assert await judged(engine) == []
    done = await asyncio.gather(*(ticking_of(engine, agreements, MONDAY).judge() for _ in range(3)))
    assert sorted(done) == [0, 0, 1]
    assert await judged(engine) == [(date(2026, 3, 2), 1, "missed", False)]
    assert (await tallies(engine))[COMMITMENTS_ENDED, ("", "New sales", "mql", "missed")] == 1


async def test_what_was_missed_is_taken_back_once_when_it_turns_out_to_have_been_met(engine: AsyncEngine) -> None:
    agreements = owing(2)
    await work_of(engine).handle(records(handed_off(1)))
    await ticking_of(engine, agreements, MONDAY - timedelta(hours=1)).judge()
    await ticking_of(engine, agreements, MONDAY).judge()
    await work_of(engine).handle(records(handed_off(2)))  # of the week before, read only now
    for _ in range(2):
        await ticking_of(engine, agreements, MONDAY + timedelta(hours=1)).judge()
    assert await judged(engine) == [(date(2026, 3, 2), 1, "missed", True)]
    now = await tallies(engine)
    assert now[COMMITMENTS_ENDED, ("", "New sales", "mql", "missed")] == 1
    assert now[COMMITMENTS_CORRECTED, ("", "New sales", "mql")] == 1


async def test_what_was_over_before_anybody_looked_is_not_judged_and_a_pause_of_the_service_is(
    engine: AsyncEngine,
) -> None:
    agreements = owing(1)
    await work_of(engine).handle(records(handed_off(1)))
    await ticking_of(engine, agreements, MONDAY).judge()
    assert await judged(engine) == []
    await ticking_of(engine, agreements, MONDAY + timedelta(days=15)).judge()
    assert [first for first, *_ in await judged(engine)] == [date(2026, 3, 9), date(2026, 3, 16)]


async def test_goals_are_told_to_those_with_a_token_only_with_what_is_reached(engine: AsyncEngine) -> None:
    later = ManualClock(NOW + timedelta(days=8))  # in the first week a pace is chance
    parts = dataclasses.replace(parts_of(engine, "secret"), clock=later)
    await work_of(engine).handle(records(*(form(n) for n in range(5)), handed_off(1), won(2)))
    transport = httpx.ASGITransport(app=create_app([build(parts)], parts))
    async with httpx.AsyncClient(transport=transport, base_url="http://kpi") as client:
        assert (await client.get("/goals")).status_code == 401
        answer = await client.get("/goals", headers={"Authorization": "Bearer secret"})
        metrics = (await client.get("/metrics")).text
        schema = (await client.get("/openapi.json")).json()
    told = answer.json()
    now, following = told["goals"]
    assert (now["first"], now["last"], following["first"]) == ("2026-01-01", "2026-03-31", "2026-04-01")
    assert told["counted_since"] == "2026-03-02"
    assert {one["stage"]: one["reached"] for one in now["stages"]}["customer"] == 1
    assert {one["stage"]: one["reached"] for one in following["stages"]}["lead"] == 5
    assert now["revenue"]["reached"] == "20000"
    assert 'leadpact_goal_pace_ratio{goal="New sales",stage="lead",tenant=""}' in metrics
    assert "GoalsReport" in json.dumps(schema["paths"]["/goals"])


async def test_before_anything_was_counted_the_goals_are_the_plan_alone(engine: AsyncEngine) -> None:
    parts = parts_of(engine, "secret")
    transport = httpx.ASGITransport(app=create_app([build(parts)], parts))
    async with httpx.AsyncClient(transport=transport, base_url="http://kpi") as client:
        told = (await client.get("/goals", headers={"Authorization": "Bearer secret"})).json()
    assert told["counted_since"] is None
    assert {one["reached"] for goal in told["goals"] for one in goal["stages"]} == {None}


async def test_all_tenants_of_one_agreement_count_together_and_others_not(engine: AsyncEngine) -> None:
    other = about(events.FormSubmitted, form="x", tenant="hubspot:2", lead="hubspot:2:1")
    await work_of(engine).handle(records(form(1), other))
    assert by_day(await counts(engine, TENANT, "hubspot:2"))[NOW.date(), "lead"] == (2, 0)
    assert by_day(await counts(engine))[NOW.date(), "lead"] == (1, 0)
    parts = dataclasses.replace(parts_of(engine, "secret"), agreements=Agreements(with_parts(tenant="hubspot:2")))
    transport = httpx.ASGITransport(app=create_app([build(parts)], parts))
    async with httpx.AsyncClient(transport=transport, base_url="http://kpi") as client:
        own, nobodys = [
            await client.get(f"/goals?tenant={tenant}", headers={"Authorization": "Bearer secret"})
            for tenant in ("hubspot:2", "hubspot:1")
        ]
    assert {one["stage"]: one["reached"] for one in own.json()["goals"][1]["stages"]}["lead"] == 1
    assert nobodys.json()["title"] == "no_agreement"


async def test_the_command_reads_from_the_database_what_the_service_tells(engine: AsyncEngine, uri: str) -> None:
    await work_of(engine).handle(records(form(1), form(2)))
    told = await goals.read({"LEADPACT_DATABASE": uri, "LEADPACT_AGREEMENT": str(AGREEMENT)}, "")
    assert told.counted_since == NOW.date()
    assert told.goals


async def test_the_command_shows_the_plan_alone_where_nobody_migrated_yet(new_database: Callable[[], str]) -> None:
    environ = {"LEADPACT_DATABASE": new_database(), "LEADPACT_AGREEMENT": str(AGREEMENT)}
    assert (await goals.read(environ, "")).counted_since is None
