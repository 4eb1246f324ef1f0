"""The market of an agreement: what it asks about comes up among the leads that are simulated."""

from __future__ import annotations

from pathlib import Path

from shared.agreement import load
from shared.agreement.conditions import Subject
from shared.crm.simulator.market import market_of
from shared.crm.simulator.personas import SOFTWARE, StepKind, make_life
from tests.agreements import SHIPPED, SHIPPED_FILE

GARAGE = load(Path(SHIPPED_FILE).parent / "agreements" / "service-auto.yaml")
MARKET = market_of(GARAGE)
LIVES = [make_life(1, number, MARKET) for number in range(200)]


def test_the_usual_leads_are_those_of_the_shipped_agreement() -> None:
    assert market_of(SHIPPED) == SOFTWARE


def test_another_trade_has_its_own_forms() -> None:
    forms = {step.name for life in LIVES for step in life.steps if step.kind is StepKind.FORM}
    assert forms == {"ghid-mentenanta", "calculator-costuri", "oferta-flota", "programare-service"}


def test_another_trade_has_its_own_properties_of_which_some_are_wanted() -> None:
    for rule in GARAGE.qualification.fit.rules[:5]:
        held = [rule.when.holds(Subject(properties=life.properties)) for life in LIVES]
        assert any(held), rule.name
        assert not all(held), rule.name


def test_another_trade_has_its_own_stages_of_a_deal() -> None:
    assert (MARKET.offered, MARKET.won) == ("constatare", "contract_semnat")


def test_the_same_seed_gives_the_same_lives_of_a_market() -> None:
    assert [make_life(1, number, MARKET) for number in range(200)] == LIVES
