"""The ledger outlives the simulator, and says of each request what can be known."""

from __future__ import annotations

from pathlib import Path

from shared.crm.simulator.ledger import Answer, Ledger, content_identity

EVENT = {"eventId": 1, "attemptNumber": 0, "objectId": 901, "subscriptionType": "contact.creation", "occurredAt": 5}


def test_what_was_acknowledged_is_told_apart_from_what_was_not(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ok = ledger.sent([EVENT], [], attempt=0)
    ledger.answered(ok, Answer.OK, 202)
    lost = ledger.sent([EVENT | {"objectId": 902}], ["bad"], attempt=0)
    ledger.answered(lost, Answer.FAILED, 503)
    account = Ledger.read(tmp_path / "ledger.jsonl")
    assert account.acknowledged() == {content_identity(EVENT)}
    assert len(account.sent()) == 2
    assert account.bad(Answer.OK) == []
    assert account.bad() == ["bad"]


def test_a_request_that_the_simulator_died_over_is_unknown(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    request = ledger.sent([EVENT], [], attempt=0)
    assert Ledger.read(tmp_path / "ledger.jsonl").answer(request) is Answer.UNKNOWN


def test_a_line_torn_by_a_kill_costs_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    Ledger(path).fact("form", contact=901, form="a", at=1)
    with path.open("ab") as file:
        file.write(b'{"line":"fact","kind":"for')
    Ledger(path).fact("form", contact=902, form="b", at=2)
    assert [fact["contact"] for fact in Ledger.read(path).of("form")] == [901, 902]


def test_a_second_run_adds_to_the_first(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    requests = {Ledger(path).sent([EVENT], [], attempt=0) for _ in range(2)}
    assert set(Ledger.read(path).requests) == requests


def test_it_is_settled_until_something_more_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger(path)
    ledger.settled()
    assert Ledger.read(path).is_settled
    ledger.sent([EVENT], [], attempt=0)
    assert not Ledger.read(path).is_settled
