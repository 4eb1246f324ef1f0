"""Form submissions as they are posted: who submitted what and when, and what is wrong with those that are not taken."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from services.ingest.domain import forms, visitors
from services.ingest.domain.heard import MAX_EVENT_BYTES, MAX_EVENTS, Normalised
from shared.errors import Refused
from shared.events import DeadLetter, VisitorIdentified, VisitorSeen

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
AT_MS = 1_795_521_600_000
TENANT = "hubspot:62515"


def submission(**more: Any) -> dict[str, Any]:
    """A submission as HubSpot's forms API tells it, with the form's name; None leaves a field out."""
    said = {
        "conversionId": "c-1",
        "submittedAt": AT_MS,
        "formName": "demo-request",
        "pageUrl": "https://x.example/demo",
        "values": [{"name": "firstname", "value": "Ada"}, {"name": "email", "value": "Ada@Example.com"}],
    }
    return {name: value for name, value in (said | more).items() if value is not None}


def heard(said: Any) -> Normalised:
    return forms.normalise(msgspec.json.encode(said), tenant=TENANT, received_at=NOW)


def test_a_submission_is_an_act_of_whoever_has_this_email() -> None:
    seen, who = heard(submission()).messages
    assert isinstance(seen, VisitorSeen)
    assert isinstance(who, VisitorIdentified)
    assert (seen.form, seen.url) == ("demo-request", "https://x.example/demo")
    assert seen.at == datetime.fromtimestamp(AT_MS / 1000, UTC)
    assert seen.visitor == who.visitor == visitors.by_email(TENANT, "ada@example.com")
    assert who.email == "ada@example.com"


def test_a_conversion_that_is_told_twice_is_one_whatever_else_is_said_of_it() -> None:
    first, again = heard(submission()), heard(submission(pageUrl="https://x.example/demo?again"))
    assert [m.id for m in first.messages] == [m.id for m in again.messages]
    assert heard(submission(conversionId="c-2")).messages[0].id != first.messages[0].id


def test_the_guid_stands_for_a_form_without_a_name() -> None:
    (seen, _) = heard(submission(formName=None, formGuid="319478e5")).messages
    assert isinstance(seen, VisitorSeen)
    assert seen.form == "319478e5"


@pytest.mark.parametrize(
    "bad",
    [
        submission(conversionId=""),
        submission(conversionId=None),
        submission(submittedAt="yesterday"),
        submission(submittedAt=5),
        submission(formName=None),
        submission(values=[]),
        submission(values=[{"name": "email", "value": "nobody"}]),
        submission(values="none"),
        "no submission",
    ],
    ids=str,
)
def test_a_bad_submission_is_a_dead_letter_that_the_door_would_take_again_and_its_neighbours_are_taken(
    bad: Any,
) -> None:
    found = heard([submission(conversionId="1"), bad, submission(conversionId="2")])
    assert (found.accepted, found.rejected) == (2, 1)
    (letter,) = [m for m in found.messages if isinstance(m, DeadLetter)]
    assert msgspec.json.decode(letter.original) == bad
    assert (letter.source, letter.tenant, letter.reason) == ("webhooks/forms", TENANT, "bad_event")
    assert "nobody" not in letter.detail


@pytest.mark.parametrize("body", [b"", b"null", b"{", b"[{]", b"7", b"\xff"], ids=str)
def test_what_is_no_json_is_refused_whole(body: bytes) -> None:
    with pytest.raises(Refused) as refused:
        forms.normalise(body, tenant=TENANT, received_at=NOW)
    assert refused.value.code == "malformed"


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ([submission()] * (MAX_EVENTS + 1), "too_many"),
        (submission(pageUrl="x" * MAX_EVENT_BYTES), "event_too_large"),
    ],
)
def test_too_much_at_once_is_refused_whole(said: Any, code: str) -> None:
    with pytest.raises(Refused) as refused:
        heard(said)
    assert refused.value.code == code
