"""What the history keeps of a score, and how two scores differ: rules that came, went, changed, or faded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from services.scoring.domain.history import (
    MAX_NAMES,
    Entry,
    Happened,
    Points,
    changes,
    entry,
    happened,
    without_a_fact,
)
from services.scoring.domain.lead import Lead, with_values
from shared.events import ContactChanged, LeadScored, PropertyValue

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
rules = st.sampled_from(["Right size", "Our markets", "Asked for us", "No more than 60 for urgency"])
reasons = st.lists(st.tuples(rules, st.sampled_from([-20.0, -0.5, 0.5, 15.0, 60.0])), max_size=5)


def scored(*, agreement: str = "v1", **said: Any) -> Entry:
    known: dict[str, Any] = {
        "version": 1,
        "since": NOW,
        "at": NOW,
        "grade": "A1",
        "fit": 0.0,
        "interest": 0.0,
        "fit_grade": "A",
        "interest_level": "1",
        "journey": "decision",
        "disqualified": "",
        "fit_reasons": (),
        "interest_reasons": (),
        "former_agreement": "",
        "cause": "c",
        "happened": Happened("PageVisited", NOW, ("x.example/",)),
    }
    return Entry(agreement=agreement, **(known | said))


def asked_us(points: float) -> dict[str, Any]:
    return {"interest_reasons": (("Asked for us", points),)}


def differing(before: Entry | None, after: Entry) -> list[tuple[str, float | None, float | None, bool]]:
    return [(one.rule, one.before, one.after, one.faded) for one in changes(before, after)]


def test_of_the_first_score_all_rules_came() -> None:
    assert differing(None, scored(fit_reasons=(("Right size", 25.0),), **asked_us(60.0))) == [
        ("Right size", None, 25.0, False),
        ("Asked for us", None, 60.0, False),
    ]


def test_points_of_interest_that_fell_have_faded_and_those_that_rose_were_earned() -> None:
    assert differing(scored(**asked_us(60.0)), scored(**asked_us(30.0))) == [("Asked for us", 60.0, 30.0, True)]
    assert differing(scored(**asked_us(30.0)), scored(**asked_us(90.0))) == [("Asked for us", 30.0, 90.0, False)]
    assert differing(scored(**asked_us(0.1)), scored()) == [("Asked for us", 0.1, None, True)]


def test_points_that_another_agreement_took_have_not_faded() -> None:
    assert differing(scored(**asked_us(60.0)), scored(agreement="v2", **asked_us(10.0)))[0][-1] is False


def test_points_of_fit_never_fade() -> None:
    before, after = scored(fit_reasons=(("Right size", 25.0),)), scored()
    assert differing(before, after) == [("Right size", 25.0, None, False)]


def test_what_a_cap_takes_is_no_fading() -> None:
    before = scored(interest_reasons=(("No more than 60 for urgency", -5.0),))
    after = scored(interest_reasons=(("No more than 60 for urgency", -20.0),))
    assert [one[-1] for one in differing(before, after)] == [False]


@given(before=reasons, after=reasons)
def test_the_changes_lead_from_the_one_score_to_the_other(before: list[Points], after: list[Points]) -> None:
    found = changes(scored(interest_reasons=tuple(before)), scored(interest_reasons=tuple(after)))
    moved = sum((one.after or 0) - (one.before or 0) for one in found)
    assert round(moved, 1) == round(sum(p for _, p in after) - sum(p for _, p in before), 1)
    assert len({one.rule for one in found}) == len(found)
    assert all(one.before != one.after for one in found)


def changed(values: dict[str, str]) -> ContactChanged:
    said = tuple(PropertyValue(name=name, value=value, at=NOW) for name, value in values.items())
    return ContactChanged(id="x", tenant="hubspot:1", lead="hubspot:1:7", at=NOW, values=said)


def names_of(before: Lead, values: dict[str, str], asked: frozenset[str]) -> tuple[str, ...]:
    message = changed(values)
    return happened(before, with_values(before, message.values), message, asked).names


def test_of_a_change_those_properties_are_named_that_are_others_now_and_asked_for() -> None:
    before = with_values(Lead(), changed({"country": "DE", "city": "Bonn"}).values)
    values = {"country": "DE", "jobtitle": "CEO", "city": "Kiel"}
    assert names_of(before, values, frozenset({"country", "jobtitle"})) == ("jobtitle",)


def test_a_property_that_was_set_again_to_the_same_is_named_when_no_other_changed() -> None:
    before = with_values(Lead(), changed({"country": "DE", "city": "Bonn"}).values)
    later = tuple(structs.replace(one, at=NOW + timedelta(hours=1)) for one in changed({"country": "DE"}).values)
    message = structs.replace(changed({}), values=later)
    assert happened(before, with_values(before, later), message, frozenset({"country", "city"})).names == ("country",)


def test_so_many_names_and_no_more_are_kept() -> None:
    values = {f"p{n:03}": "x" for n in range(50)}
    assert len(names_of(Lead(), values, frozenset(values))) == MAX_NAMES


def test_a_contact_of_which_nothing_else_is_told_was_created_or_restored() -> None:
    before = with_values(Lead(), changed({"country": "DE"}).values)
    deleted = structs.replace(before, last_seen=1.0, deleted_at=2.0)
    created = structs.replace(changed({}), created=True)
    assert happened(Lead(), Lead(), created, frozenset()).came == "created"
    assert happened(deleted, before, changed({}), frozenset()).came == "restored"
    assert happened(Lead(), Lead(), changed({}), frozenset()).came == "first"
    seen = structs.replace(before, first_seen=1.0)
    assert happened(seen, seen, changed({}), frozenset()).came == ""
    moved = changed({"country": "US"})
    assert happened(deleted, with_values(before, moved.values), moved, frozenset({"country"})).came == ""


def test_nothing_that_was_typed_in_about_a_person_is_kept() -> None:
    message = changed({"jobtitle": "CEO of Ada Ltd"})
    made = happened(Lead(), with_values(Lead(), message.values), message, frozenset({"jobtitle"}))
    told = message_of("v1", "x")
    kept = entry(structs.replace(told, profile={"jobtitle": "CEO of Ada Ltd"}), made)
    assert b"Ada" not in msgspec.msgpack.encode(kept)


def message_of(agreement: str, cause: str) -> LeadScored:
    known = {"fit_grade": "A", "interest_level": "1", "grade": "A1", "journey": "decision"}
    said: dict[str, Any] = {"version": 1, "fit": 0.0, "interest": 0.0, **known}
    return LeadScored(id="1", tenant="hubspot:1", lead="hubspot:1:7", at=NOW, agreement=agreement, cause=cause, **said)


@pytest.mark.parametrize(("cause", "type_"), [("v1", "AgreementChanged"), ("due:1", "InterestFaded")])
def test_what_nobody_did_is_told_by_what_it_was(cause: str, type_: str) -> None:
    assert without_a_fact(message_of("v1", cause)).type == type_


def test_what_is_kept_is_read_back_as_it_was() -> None:
    kept = scored(**asked_us(60.0), fit_reasons=(("Right size", 25.0),))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(kept), type=Entry) == kept
