"""The true model behind the simulated sales, as the ledger tells it."""

from __future__ import annotations

import math
from pathlib import Path

from shared.clock import ManualClock
from shared.crm.simulator import Ledger, truth
from shared.crm.simulator.run import Simulation, SimulatorOptions
from shared.crm.simulator.world import FORM
from shared.events import RecordType
from tests.unit.simulator.test_reps import NOON, an_office

STRANGER = truth.lead({}, (), ())
BEST = truth.lead(
    {"jobtitle": "CEO", "company.numberofemployees": "120", "country": "Germany"},
    ("Landing: demo-request",),
    ("https://www.example.com/pricing?v=1",),
)


def odds(chance: float) -> float:
    return chance / (1 - chance)


def test_a_lead_without_effects_has_the_base_chance() -> None:
    assert truth.chance(0.0, STRANGER) == 0.5


def test_effects_multiply_the_odds() -> None:
    expected = math.exp(1.4 + 1.0 + 0.4 + 1.2 + 0.5)
    assert math.isclose(odds(truth.chance(-1.0, BEST)) / odds(truth.chance(-1.0, STRANGER)), expected)


def test_an_industry_changes_nothing() -> None:
    assert truth.chance(0.0, truth.lead({"company.industry": "COMPUTER_SOFTWARE"}, (), ())) == 0.5


async def test_the_ledger_begins_with_the_truth(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    options = SimulatorOptions(secret="s", token="t", notify_secret="whsec_c2ltdWxhdG9y", ledger=path)
    simulation = Simulation(options, ManualClock(NOON))
    await simulation.client.aclose()
    simulation.ledger.close()
    (fact,) = Ledger.read(path).of("truth")
    assert fact["effects"] == truth.model()


def test_leads_that_are_better_in_truth_buy_more_often(tmp_path: Path) -> None:
    won: list[int] = []
    for properties in (dict[str, str](), dict(BEST.properties)):
        office = an_office(tmp_path / str(len(won)))
        for lead in [office.lead() for _ in range(200)]:
            contact = office.world.find(RecordType.CONTACT, int(lead.rpartition(":")[2]))
            assert contact is not None
            office.world.update(contact, properties, FORM)
            office.hand_off(lead)
        office.pass_days(40)
        won.append(sum(f["value"] == "closedwon" for f in office.account().of("property") if f["name"] == "dealstage"))
    assert won[1] > 2 * won[0]
