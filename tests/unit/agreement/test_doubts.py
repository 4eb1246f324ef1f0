"""Warnings that would be wrong are not told, and their figures are right."""

from __future__ import annotations

from typing import Any

from shared.agreement.doubts import doubts
from tests.agreements import SHIPPED, with_parts

NO_FORM = {"name": "Best", "when": {"grade": "A1"}}
BY_FORM = {"name": "Best, and asked", "when": {"grade": "A1", "form_submitted": "demo-request"}}
OF_THE_BEST = {"name": "Best in decision", "when": {"grade": "A1", "journey": "decision"}}


def told(**parts: Any) -> dict[str, str]:
    return {".".join(map(str, at)): text for at, text in doubts(with_parts(**parts))}


def with_triggers(*triggers: Any) -> dict[str, str]:
    return told(handoff={**SHIPPED.handoff.model_dump(mode="json"), "triggers": list(triggers)})


def test_a_trigger_by_a_form_may_fire_in_a_cool_down_where_one_without_does_not() -> None:
    assert with_triggers(NO_FORM, BY_FORM) == {}


def test_a_trigger_without_a_form_never_fires_after_one_that_takes_all_it_takes() -> None:
    assert with_triggers(NO_FORM, OF_THE_BEST).keys() == {"handoff.triggers.1.name"}


def test_half_of_all_leads_are_hardly_to_be_touched_later_than_nine_of_ten() -> None:
    kpis = SHIPPED.kpis.model_dump(mode="json")
    slow = told(kpis=kpis | {"speed_to_lead": {"p50": "1d", "p90": "4h"}})
    assert slow == {"kpis.speed_to_lead.p50": "is slower than p90, 4h, which holds for more leads"}
    assert told(kpis=kpis | {"speed_to_lead": {"p50": "4h", "p90": "4h"}}) == {}


def test_of_several_personas_only_the_best_counts_towards_what_is_on_offer() -> None:
    fit = SHIPPED.qualification.fit.model_dump(mode="json") | {
        "rules": [],
        "grades": {"A": 70, "B": 40, "C": 10, "D": "-inf"},
    }
    found = told(qualification={**SHIPPED.qualification.model_dump(mode="json"), "fit": fit})
    assert found["qualification.fit.grades.A"] == "nobody gets A: the points on offer go from 0 to 40"


def test_who_lists_a_country_twice_is_told_of_the_test_that_knows_all_its_names() -> None:
    def with_route(when: Any) -> dict[str, str]:
        handoff = SHIPPED.handoff.model_dump(mode="json")
        handoff["route"][1]["when"] = when
        return told(handoff=handoff)

    assert with_route({"country": {"in": ["Germany", "AT"]}}) == {}
    assert with_route({"country": {"in": ["Germany", "AT", "DE"]}}) == {
        "handoff.route.1.when.country.in": "names one country as Germany and DE;"
        " country: {country_in: …} knows it by any name"
    }
