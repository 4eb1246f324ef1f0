"""The state machine: its table is whole, and the README draws it."""

from __future__ import annotations

from pathlib import Path

import pytest

import services.handoff
from services.handoff.domain.machine import COMMANDS, TRANSITIONS, Cause, Impossible, allows, mermaid, step
from services.handoff.worker import HANDLERS, IGNORED
from shared.events import MESSAGES, State, Topic


def test_every_state_has_its_row_and_every_cause_is_used() -> None:
    assert set(TRANSITIONS) == set(State)
    assert {cause for causes in TRANSITIONS.values() for cause in causes} == set(Cause)


def test_the_readme_draws_the_machine_as_it_is() -> None:
    readme = (Path(services.handoff.__file__).parent / "README.md").read_text("utf-8")
    assert f"```mermaid\n{mermaid()}\n```" in readme


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_either_done_or_refused_with_what_is_possible(state: State, command: Cause) -> None:
    if allows(state, command):
        assert step(state, command) in State
        return
    with pytest.raises(Impossible) as refused:
        step(state, command)
    assert refused.value.possible == tuple(str(one) for one in COMMANDS if allows(state, one))


def test_every_message_of_its_topics_is_handled_or_ignored() -> None:
    read = {*MESSAGES[Topic.CRM_EVENTS], *MESSAGES[Topic.LEAD_SCORES]}
    assert set(HANDLERS) | IGNORED == read
    assert not set(HANDLERS) & IGNORED
