"""An agreement written back says the same: what a person would write, and nothing is lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from shared.agreement import Agreement, load
from shared.agreement.dump import dump
from tests.agreements import SHIPPED, with_parts
from tests.any_agreement import agreements


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(agreement=agreements)
def test_what_is_written_is_read_again_as_the_same(tmp_path: Path, agreement: Agreement) -> None:
    path = tmp_path / "agreement.yaml"
    path.write_text(dump(agreement), "utf-8")
    again = load(path)
    assert again == agreement
    assert again.version == agreement.version


@pytest.mark.parametrize(
    "line",
    [
        "  - name: New sales",
        "    target: {revenue: 1_000_000 USD}",
        "    period: every quarter",
        "    lag: {lead_to_mql: 10d, mql_to_sql: 7d, sql_to_customer: 30d}",
        "      organic: {share: 45%, from: [ORGANIC_SEARCH, DIRECT_TRAFFIC, AI_REFERRALS]}",
        "  lead: {when: {any: [{form_submitted: any}, {email: {exists: true}}]}}",
        "    grades: {A: 70, B: 45, C: 20, D: -inf}",
        "    inbound: {members: {ioana@example.com: 2, dan@example.com: 1}, manager: radu@example.com}",
        "  calendars: {office: {mon-fri: 08:00-18:00}}",
        "  first_touch: {urgent: 5m, A: 1h, B: 4h, default: 1d}",
        "  warn_at: [50%, 80%]",
        "    - {at: breach + 2h, on: [accept, first_touch], to: [manager]}",
    ],
)
def test_it_is_written_as_a_person_writes(line: str) -> None:
    assert line in dump(SHIPPED).splitlines()


@pytest.mark.parametrize(
    "name", ["?x", "- x", "a: b", "null", "=", "~", "'", '"', "#1", "{", " x ", "x:", "&a", "*a", "%", "é\u2028b"]
)
def test_a_name_of_any_marks_is_read_again_as_it_is(tmp_path: Path, name: str) -> None:
    handoff = SHIPPED.handoff.model_dump(mode="json")
    handoff["teams"] = {key: {"members": {name: 1}, "manager": name} for key in handoff["teams"]}
    path = tmp_path / "agreement.yaml"
    path.write_text(dump(with_parts(handoff=handoff)), "utf-8")
    assert load(path).handoff.teams["dach"].members.keys() == {name}
    assert load(path).handoff.teams["dach"].manager == name


def test_norway_needs_no_quotes() -> None:
    handoff = SHIPPED.handoff.model_dump(mode="json")
    handoff["route"][1]["when"] = {"country": {"country_in": ["DE", "NO"]}}
    assert "[DE, NO]" in dump(with_parts(handoff=handoff))
