"""scoring's metrics: every grade that an agreement in force knows is shown, also where nobody has it."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry

from services.scoring.app import build
from shared.agreement import Agreements, load
from shared.bus.embedded import EmbeddedBus
from shared.clock import SystemClock
from shared.database import make_engine
from shared.metrics import CommonMetrics
from shared.web import Parts, Tokens
from tests.agreements import SHIPPED, in_force, own_grades

NOWHERE = "postgresql+asyncpg://nobody@127.0.0.1:1/nothing"  # never connected to


def shown(registry: CollectorRegistry) -> set[str]:
    return {
        sample.labels["grade"]
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name == "leadpact_leads_scored_total"
    }


def test_grades_are_shown_from_the_start_and_those_of_another_agreement_as_soon_as_it_is_in_force(
    tmp_path: Path,
) -> None:
    registry, agreements = CollectorRegistry(), Agreements(SHIPPED)
    build(
        Parts(
            environ={},
            clock=SystemClock(),
            bus=EmbeddedBus(NOWHERE, prefix=""),
            engine=make_engine(NOWHERE, pool_size=1),
            agreements=agreements,
            registry=registry,
            metrics=CommonMetrics(registry),
            tokens=Tokens([]),
        )
    )
    usual = set(SHIPPED.qualification.grade_names)
    assert shown(registry) == usual
    agreements.swap(in_force(load(own_grades(tmp_path))))
    assert shown(registry) == usual | {"call now", "call today", "warm up", "leave"}
