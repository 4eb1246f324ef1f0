"""The agreement's file: the shipped one is right, and what is wrong in another is told with place and remedy."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from shared.agreement import Agreement, Agreements, check, load
from shared.errors import Refused

SHIPPED = Path(__file__).parents[3] / "deploy" / "agreement.yaml"
TEXT = SHIPPED.read_text("utf-8")
VERSION = load(SHIPPED).version

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file; where it is."""

    def write(text: str) -> Path:
        path = tmp_path / "agreement.yaml"
        path.write_text(text, "utf-8")
        return path

    return write


def changed(old: str, new: str, text: str = TEXT) -> str:
    assert old in text, old
    return text.replace(old, new, 1)


# --- the shipped agreement ---


def test_the_shipped_agreement_has_no_problems() -> None:
    assert check(SHIPPED) == []


def test_the_shipped_agreement_says_what_its_file_says() -> None:
    agreement = load(SHIPPED)
    assert agreement.follow_up.first_touch_for(priority="urgent", fit_grade="B") == timedelta(minutes=5)
    assert agreement.follow_up.first_touch_for(priority="normal", fit_grade="B") == timedelta(hours=4)
    assert agreement.follow_up.first_touch_for(priority="normal", fit_grade="D") == timedelta(days=1)
    assert agreement.kpis.sla_compliance["first_touch"] == 0.9
    assert agreement.goals[0].target.revenue.amount == 1_000_000
    assert [route.team for route in agreement.handoff.route] == ["enterprise", "dach", "inbound"]


def test_its_seven_parts_stand_in_the_order_in_which_they_are_explained() -> None:
    keys = list(YAML(typ="safe").load(TEXT))
    assert keys[-7:] == ["goals", "definitions", "qualification", "handoff", "nurture", "follow_up", "kpis"]


def test_hand_off_is_told_what_its_conditions_and_its_information_need() -> None:
    assert {"numberofemployees", "country", "email", "jobtitle", "hs_analytics_source"} <= load(SHIPPED).profile


def test_norway_stays_norway(write: Write) -> None:
    agreement = load(write(changed("country: {in: [Germany, Austria, Switzerland, DE, AT, CH]}", "country: NO")))
    assert agreement.handoff.route[1].when is not None
    assert agreement.handoff.route[1].when.source == {"country": "NO"}


# --- typical mistakes: what is written, at which key, where exactly (at the mark ^), and what is said ---

MISTAKES: dict[str, tuple[str, str, str, str]] = {
    "a duration that is a slip": (
        "wait_for_reply: 3d", "wait_for_reply: ^999999w", "follow_up.wait_for_reply", "must not be longer than 3660d",
    ),
    "a part that is not spelt right": (
        "follow_up:", "^folow_up:", "folow_up", "is not known; did you mean follow_up?",
    ),
    "a key that is not spelt right": (
        "points: 25}", "^point: 25}", "qualification.fit.rules[0].point", "is not known; did you mean points?",
    ),
    "a key that does not belong there": (
        "{workflow: 1001}", "{workflow: 1001, ^colour: red}", "nurture.awareness.colour",
        "is not known; here can stand workflow",
    ),
    "a promise that nobody keeps yet": (
        "  cadence:", "  ^calendar: office\n  cadence:", "follow_up.calendar", "is not enforced by this version",
    ),
    "a duration in words": (
        "half_life: 14d", "half_life: ^14 days", "qualification.interest.half_life",
        "must be a duration, as 30m, 4h, 1d or 2w",
    ),
    "a percentage without its sign": (
        "first_touch: 90%", "first_touch: ^90", "kpis.sla_compliance.first_touch", "must be a percentage",
    ),
    "an amount without its currency": (
        "1_000_000 USD", "^1_000_000", "goals[0].target.revenue", "must be an amount and a currency",
    ),
    "a period that ends before it begins": (
        "2026-01-01..2026-03-31", "^2026-03-31..2026-01-01", "goals[0].period", "must have the first day before",
    ),
    "shares of more than the whole": ("- name: New sales", "- ^name: New sales", "goals[0]", "more than 100%"),
    "a test that there is not": (
        "{between: [50, 1000]}", "{^betwen: [50, 1000]}", "qualification.fit.rules[0].when.numberofemployees.betwen",
        "is not a test; did you mean between?",
    ),
    "a list where a value is expected": (
        "{country: {in: [Germany, Austria, Switzerland, DE, AT, CH]}}", "{^country: [Germany, Austria, Switzerland, DE, AT, CH]}", "handoff.route[1].when.country",  # noqa: E501
        "for a list write {in: […]}",
    ),
    "a grade that there is not": (
        "{grade: [A1, A2", "{^grade: [A9, A2", "definitions.mql.when.grade", "A9 is none of A1",
    ),
    "a definition that there is not": (
        "when: {definition: mql}", "when: {definition: ^mlq}", "handoff.triggers[1].when.definition",
        "mlq is none of the definitions; did you mean mql?",
    ),
    "a team that there is not": (
        "to: team:dach", "to: ^team:dahc", "handoff.route[1].to", "dahc is none of the teams; did you mean dach?",
    ),
    "a track that there is not": (
        "track: consideration", "track: ^considration", "follow_up.return_when[1].track",
        "considration is none of the nurture tracks; did you mean consideration?",
    ),
    "a reason that there is not": (
        "disqualify: competitor", "disqualify: ^rival", "qualification.fit.rules[4].disqualify",
        "rival is none of the reasons",
    ),
    "a priority that there is not": (
        "{urgent: 5m", "{urgnt: ^5m", "follow_up.first_touch.urgnt", "did you mean urgent?",
    ),
    "grades that do not fall": (
        "grades: {A: 70, B: 45", "grades: ^{A: 40, B: 45", "qualification.fit.grades", "must fall from A to D",
    ),
    "a route that leaves leads to nobody": (
        "  triggers:", "  ^triggers:", "handoff", "must end its route with one that has no `when`",
    ),
    "a definition by what comes later": (
        "lead:        {when: ", "lead:        {when: ^", "definitions.lead.when", "lead cannot be told by grade",
    ),
    "the same key twice": (
        "  wait_for_reply: 3d", "  wait_for_reply: 3d\n  ^wait_for_reply: 4d", "follow_up.wait_for_reply",
        "stands here twice; the first is on line 100",
    ),
    "no YAML": ("timezone: UTC", "^\ttimezone: UTC", "", "is not YAML"),
}  # fmt: skip
ALSO = {  # what else has to be changed to make the mistake
    "shares of more than the whole": ("paid: 30%", "paid: 80%"),
    "a route that leaves leads to nobody": ("    - {to: team:inbound}\n", ""),
    "a definition by what comes later": ("{any: [{form_submitted: any}, ", "{any: [{grade: A1}, "),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_by_file_line_column_key_and_remedy(write: Write, mistake: str) -> None:
    old, new, key, said = MISTAKES[mistake]
    text = changed(*ALSO.get(mistake, ("", "")), text=TEXT)
    before, _, after = changed(old, new, text).partition("^")
    path = write(before + after)
    found = [problem for problem in check(path) if problem.key == key and said in problem.text]
    assert len(found) == 1, [str(problem) for problem in check(path)]
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    assert (found[0].line, found[0].column) == (line, column)
    assert str(found[0]).startswith(f"{path}:{line}:{column}: {key}")


def test_nobody_is_warned_twice_at_once(write: Write) -> None:
    (problem,) = check(write(changed("warn_at: [50%, 80%]", "warn_at: [50%, 50%]")))
    assert (problem.key, problem.text) == ("follow_up", "must warn at each share once")


def test_every_mistake_is_told_at_once_in_the_order_of_the_file(write: Write) -> None:
    text = changed("half_life: 14d", "half_life: long", changed("timezone: UTC", "timezone: Bucharest"))
    path = write(text)
    assert [problem.key for problem in check(path)] == ["timezone", "qualification.interest.half_life"]
    with pytest.raises(Refused, match="timezone") as refused:
        load(path)
    assert refused.value.code == "agreement_invalid"
    assert len(refused.value.message.splitlines()) == 2


@pytest.mark.parametrize("part", ["definitions", "qualification", "handoff", "follow_up"])
def test_a_part_that_is_missing_is_named(write: Write, part: str) -> None:
    data = YAML(typ="rt").load(TEXT)
    del data[part]
    found = check(write(dumped(data)))
    assert (part, "is missing") in [(problem.key, problem.text) for problem in found]


@pytest.mark.parametrize("text", ["", "[]", "hello", "a: &a [*a]", "agreement: " + "[" * 300 + "]" * 300])
def test_a_file_that_is_no_agreement_at_all_is_refused_in_words(write: Write, text: str) -> None:
    path = write(text)
    assert check(path)
    with pytest.raises(Refused) as refused:
        load(path)
    assert refused.value.message.startswith(f"{path}:")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    (problem,) = check(tmp_path / "nothing.yaml")
    assert "cannot be read" in problem.text


# --- the version ---


def dumped(data: Any) -> str:
    import io

    out = io.StringIO()
    yaml = YAML(typ="rt")
    yaml.width = 10_000
    yaml.dump(data, out)
    return out.getvalue()


def shuffled(value: Any, random: Random) -> Any:
    """The same with the keys of every mapping in another order; lists keep theirs."""
    if isinstance(value, dict):
        keys = list(value)
        random.shuffle(keys)
        return {key: shuffled(value[key], random) for key in keys}
    if isinstance(value, list):
        return [shuffled(one, random) for one in value]
    return value


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_any_order_of_keys_gives_the_same_version(write: Write, seed: int) -> None:
    data = YAML(typ="rt").load(TEXT)
    text = dumped(shuffled(data, Random(seed)))
    assert load(write(text)).version == VERSION


def test_comments_and_formatting_do_not_change_the_version(write: Write) -> None:
    text = "\n".join(line.partition(" #")[0].rstrip() for line in TEXT.splitlines() if not line.startswith("#"))
    text = changed("timezone: UTC", "timezone:   'UTC'   # where we are\n", text)
    text = changed(
        "on: [handed_off, warned, breached, returned]", "on: [handed_off, warned,\n   breached, returned]", text
    )
    assert load(write(text)).version == VERSION


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("points: 25}", "points: 26}"),
        ("half_life: 14d", "half_life: 15d"),
        ("first_touch: 90%", "first_touch: 91%"),
        ("{between: [50, 1000]}", "{between: [50, 1001]}"),
        ("urgent: 5m", "urgent: 6m"),
        ("track: by_journey", "track: none"),
        ("[A1, A2, A3", "[A2, A1, A3"),
        ("1_000_000 USD", "1_000_000 EUR"),
    ],
)
def test_another_content_is_another_version(write: Write, old: str, new: str) -> None:
    assert load(write(changed(old, new))).version != VERSION


def test_a_version_is_twelve_hex_digits() -> None:
    assert len(VERSION) == 12
    assert set(VERSION) <= set("0123456789abcdef")


# --- whose it is ---


def agreement_of(tenant: str | None) -> Agreement:
    return load(SHIPPED).model_copy(update={"tenant": tenant})


def test_an_agreement_that_names_nobody_is_everybodys() -> None:
    agreement = agreement_of(None)
    assert Agreements(agreement).for_tenant("hubspot:1") is agreement


def test_an_agreement_that_names_a_tenant_is_refused_to_others() -> None:
    agreement = agreement_of("hubspot:1")
    assert Agreements(agreement).for_tenant("hubspot:1") is agreement
    with pytest.raises(Refused) as refused:
        Agreements(agreement).for_tenant("hubspot:2")
    assert refused.value.code == "no_agreement"
