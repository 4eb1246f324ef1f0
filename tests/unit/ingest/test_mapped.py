"""Events of others: what the declared file makes of them, and what is wrong with it or with them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.ingest import mapping
from services.ingest.domain import mapped, visitors
from services.ingest.domain.heard import Normalised
from shared.events import (
    ActivityLogged,
    Channel,
    ContactChanged,
    DeadLetter,
    Direction,
    FormSubmitted,
    Message,
    Outcome,
    PageVisited,
    VisitorIdentified,
    VisitorSeen,
)

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
AT = datetime(2026, 11, 24, 10, tzinfo=UTC)
TENANT = "hubspot:62515"
FILE = """
events:
  - name: Webinar attended
    when: {$.type: webinar, $.data.live: "true"}
    id: $.id
    at: $.at
    email: $.data.people[0].email
    form: $.data.title
    visit: $.data.url
  - name: Trial used
    when: {$.type: trial}
    id: $.id
    at: $.at
    contact: $.contact
    properties: {trial_days: $.days, trial_used: "yes"}
  - name: Call made
    when: {$.type: call}
    contact: $.contact
    activity: {channel: phone, direction: outbound, outcome: $.outcome, by: $.by}
  - name: Docs read
    when: {$.type: docs}
    contact: $.contact
    visit: $.url
"""
WEBINAR: dict[str, Any] = {
    "id": "e-1",
    "type": "webinar",
    "at": "2026-11-24T10:00:00Z",
    "data": {"live": True, "people": [{"email": "Ada@example.com"}], "title": "Pricing", "url": "https://x.example/w"},
}
TRIAL: dict[str, Any] = {"id": "e-2", "type": "trial", "at": 1_795_514_400, "contact": 901, "days": 14}
CALL: dict[str, Any] = {"type": "call", "contact": "901", "outcome": "connected", "by": "501"}


@pytest.fixture
def rules(tmp_path: Path) -> tuple[mapped.Rule, ...]:
    return written(tmp_path, FILE)


def written(folder: Path, text: str) -> tuple[mapped.Rule, ...]:
    (folder / "events.yaml").write_text(text)
    return mapping.load(folder / "events.yaml")


def heard(rules: Any, *events: Any) -> Normalised:
    body = msgspec.json.encode(list(events))
    return mapped.normalise(body, rules=rules, tenant=TENANT, received_at=NOW)


def said(rules: Any, event: Any) -> list[Message]:
    return heard(rules, event).messages


def test_a_form_by_an_email_is_an_act_of_whoever_has_it(rules: Any) -> None:
    seen, who = said(rules, WEBINAR)
    assert isinstance(seen, VisitorSeen)
    assert isinstance(who, VisitorIdentified)
    assert (seen.form, seen.url, seen.at) == ("Pricing", "https://x.example/w", AT)
    assert (who.visitor, who.email) == (visitors.by_email(TENANT, "ada@example.com"), "ada@example.com")


def test_properties_are_a_change_of_the_contact(rules: Any) -> None:
    (changed,) = said(rules, TRIAL)
    assert isinstance(changed, ContactChanged)
    assert (changed.lead, changed.at) == (f"{TENANT}:901", AT)
    assert {v.name: v.value for v in changed.values} == {"trial_days": "14", "trial_used": "yes"}
    assert said(rules, TRIAL | {"at": 1_795_514_400_000}) == [changed]


def test_a_property_of_which_an_event_says_nothing_stays_and_null_clears_it(rules: Any) -> None:
    (changed,) = said(rules, {name: value for name, value in TRIAL.items() if name != "days"})
    assert isinstance(changed, ContactChanged)
    assert [value.name for value in changed.values] == ["trial_used"]
    (cleared,) = said(rules, TRIAL | {"days": None})
    assert isinstance(cleared, ContactChanged)
    assert {value.name: value.value for value in cleared.values}["trial_days"] == ""


def test_an_event_that_says_nothing_of_any_property_is_ignored(tmp_path: Path) -> None:
    rules = written(
        tmp_path,
        "events: [{name: Trial, when: {$.type: trial}, contact: $.contact, properties: {plan: $.plan.name}}]",
    )
    found = heard(rules, {"type": "trial", "contact": 901, "plan": "free"})
    assert (found.messages, found.outcomes["ignored"]) == ([], 1)


def test_an_activity_and_a_visit_are_told_of_the_contact(rules: Any) -> None:
    (call,) = said(rules, CALL)
    assert isinstance(call, ActivityLogged)
    assert (call.channel, call.direction, call.outcome) == (Channel.PHONE, Direction.OUTBOUND, Outcome.CONNECTED)
    assert (call.lead, call.by, call.at) == (f"{TENANT}:901", "501", NOW)
    (visit,) = said(rules, {"type": "docs", "contact": 901, "url": "https://x.example/docs"})
    assert isinstance(visit, PageVisited)
    assert not isinstance(visit, FormSubmitted)


def test_an_event_that_comes_again_is_the_same_by_its_id_or_else_by_its_bytes(rules: Any) -> None:
    ids = [m.id for m in said(rules, WEBINAR)]
    assert [m.id for m in said(rules, WEBINAR | {"sent": "again"})] == ids
    assert [m.id for m in said(rules, WEBINAR | {"id": "e-9"})] != ids
    assert said(rules, CALL)[0].id == said(rules, CALL)[0].id != said(rules, CALL | {"note": 1})[0].id


@pytest.mark.parametrize("event", [{"type": "other"}, WEBINAR | {"data": {"live": False}}, {}], ids=str)
def test_what_no_rule_is_about_is_ignored(rules: Any, event: Any) -> None:
    found = heard(rules, event)
    assert (found.messages, found.outcomes["ignored"]) == ([], 1)


@pytest.mark.parametrize(
    ("bad", "names"),
    [
        (TRIAL | {"contact": "ada"}, "Trial used: contact"),
        (TRIAL | {"contact": None}, "contact"),
        (TRIAL | {"at": "noon"}, "at"),
        (TRIAL | {"at": 7}, "at"),
        (TRIAL | {"days": [14]}, "$.days"),
        (TRIAL | {"id": None}, "id"),
        (WEBINAR | {"data": {"live": True, "title": "x"}}, "email"),
        (WEBINAR | {"data": {"live": True, "people": [{"email": "x"}], "title": "x"}}, "email"),
        (CALL | {"outcome": "nice"}, "activity"),
        ({"type": "docs", "contact": 901}, "visit"),
    ],
    ids=str,
)
def test_a_bad_event_is_a_dead_letter_that_says_what_is_missing_where(rules: Any, bad: Any, names: str) -> None:
    found = heard(rules, TRIAL, bad, CALL)
    (letter,) = [m for m in found.messages if isinstance(m, DeadLetter)]
    assert (found.accepted, found.rejected) == (2, 1)
    assert names in letter.detail
    assert (msgspec.json.decode(letter.original), letter.tenant) == (bad, TENANT)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("events: []", "1:9: events"),
        ("- one", ":1:1: must be a mapping that starts with events:"),
        ("events:\n  - {", ":"),
        (FILE.replace("form: $", "shape: $"), "8:5: events[0].shape: is not known"),
        (FILE.replace("    when: {$.type: trial}\n", ""), "events[1].when: is missing"),
        (FILE.replace("$.days", "$days"), "events[1].properties.trial_days: must be a path"),
        (FILE.replace("{$.type: docs}", "{type: docs}"), "21:12: events[3].when.type: must be a path"),
        (FILE.replace("    contact: $.contact\n    visit: $.url", "    visit: $.url"), "must say whose it is"),
        (FILE.replace("    visit: $.url", "    id: $.url"), "must make one fact"),
        (FILE.replace("    contact: $.contact\n    activity", "    email: $.e\n    activity"), "need a contact"),
    ],
)
def test_what_is_wrong_in_the_file_is_told_with_its_place(tmp_path: Path, text: str, where: str) -> None:
    with pytest.raises(ValueError, match="cannot be used") as wrong:
        written(tmp_path, text)
    assert where in str(wrong.value)
