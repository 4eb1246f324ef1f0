"""The state machine: which cause leads from which state to which. The README draws it from this table."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from shared.errors import Refused
from shared.events import State


class Cause(StrEnum):
    """What moves a lead. The first six are commands as the API names them."""

    ACCEPT = "accept"
    REJECT = "reject"
    ATTEMPT = "attempts"
    QUALIFY = "qualify"
    RETURN = "return"
    DISQUALIFY = "disqualify"
    TRIGGER = "trigger"
    EXHAUSTED = "exhausted"
    UNFIT = "unfit"  # a score disqualifies it
    FIT_AGAIN = "fit_again"  # a newer score no longer does
    DEAL_OPENED = "deal_opened"
    DEAL_WON = "deal_won"
    DEAL_LOST = "deal_lost"


COMMANDS: Final = (Cause.ACCEPT, Cause.REJECT, Cause.ATTEMPT, Cause.QUALIFY, Cause.RETURN, Cause.DISQUALIFY)

_DEALS: Final = {Cause.DEAL_OPENED: State.OPPORTUNITY, Cause.DEAL_WON: State.CUSTOMER}
_WITH_SALES: Final = {
    **_DEALS,
    Cause.DEAL_LOST: State.LOST,
    Cause.RETURN: State.RETURNED,
    Cause.DISQUALIFY: State.DISQUALIFIED,
}
_CHASED: Final = {**_WITH_SALES, Cause.ATTEMPT: State.WORKING, Cause.QUALIFY: State.QUALIFIED}
_WITH_MARKETING: Final = {**_DEALS, Cause.TRIGGER: State.HANDED_OFF, Cause.UNFIT: State.DISQUALIFIED}

TRANSITIONS: Final[Mapping[State, Mapping[Cause, State]]] = {
    State.MARKETING: _WITH_MARKETING,
    State.HANDED_OFF: {**_CHASED, Cause.ACCEPT: State.ACCEPTED, Cause.REJECT: State.RETURNED},
    State.ACCEPTED: {**_CHASED, Cause.REJECT: State.RETURNED},
    State.WORKING: {**_CHASED, Cause.EXHAUSTED: State.RETURNED},
    State.QUALIFIED: _WITH_SALES,
    State.OPPORTUNITY: _WITH_SALES,
    State.CUSTOMER: _DEALS | {Cause.DEAL_OPENED: State.CUSTOMER},
    State.LOST: _WITH_MARKETING,
    State.RETURNED: _WITH_MARKETING,
    State.DISQUALIFIED: {**_DEALS, Cause.FIT_AGAIN: State.MARKETING},
}


class Impossible(Refused):
    """The command does not fit the state; `possible` are those that do."""

    def __init__(self, state: State, cause: Cause) -> None:
        self.possible = tuple(str(command) for command in COMMANDS if allows(state, command))
        able = ", ".join(self.possible) or "nothing"
        super().__init__("impossible", f"{cause} is not possible in state {state}; possible now: {able}")


def allows(state: State, cause: Cause) -> bool:
    return cause in TRANSITIONS[state]


def step(state: State, cause: Cause) -> State:
    """Where `cause` leads from `state`. Raises Impossible."""
    if not allows(state, cause):
        raise Impossible(state, cause)
    return TRANSITIONS[state][cause]


def mermaid() -> str:
    """The table as a diagram; causes that go the same way share an arrow."""
    lines = ["stateDiagram-v2", "    [*] --> marketing"]
    for state, causes in TRANSITIONS.items():
        for target in State:
            if going := [str(cause) for cause, to in causes.items() if to is target]:
                lines.append(f"    {state} --> {target}: {', '.join(going)}")
    return "\n".join(lines)
