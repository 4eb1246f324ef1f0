"""The state machine: which cause leads from which state to which. The README draws it from this table."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from shared.errors import Refused
from shared.events import State


class Cause(StrEnum):
    """What moves a lead. Those before TRIGGER are commands as the API names them."""

    ACCEPT = "accept"
    REJECT = "reject"
    ATTEMPT = "attempts"
    QUALIFY = "qualify"
    RETURN = "return"
    DISQUALIFY = "disqualify"
    NURTURE = "nurture"
    PAUSE = "pause"
    RESUME = "resume"
    REASSIGN = "reassign"
    HAND_OFF = "handoff"  # by hand
    TRIGGER = "trigger"
    NOT_ACCEPTED = "not_accepted"
    EXHAUSTED = "exhausted"
    UNFIT = "unfit"  # a score disqualifies it
    FIT_AGAIN = "fit_again"  # a newer score no longer does, or the CRM says otherwise of who was
    CRM_QUALIFIED = "crm_qualified"  # said in the CRM of a lead that is with Marketing
    CRM_DISQUALIFIED = "crm_disqualified"
    DEAL_OPENED = "deal_opened"
    DEAL_WON = "deal_won"
    DEAL_LOST = "deal_lost"


COMMANDS: Final = (
    Cause.ACCEPT,
    Cause.REJECT,
    Cause.ATTEMPT,
    Cause.QUALIFY,
    Cause.RETURN,
    Cause.DISQUALIFY,
    Cause.NURTURE,
    Cause.PAUSE,
    Cause.RESUME,
    Cause.REASSIGN,
    Cause.HAND_OFF,
)
STAYS: Final = frozenset({Cause.NURTURE, Cause.PAUSE, Cause.RESUME, Cause.REASSIGN})  # the state does not change

_DEALS: Final = {Cause.DEAL_OPENED: State.OPPORTUNITY, Cause.DEAL_WON: State.CUSTOMER}
_WITH_SALES: Final = {
    **_DEALS,
    Cause.DEAL_LOST: State.LOST,
    Cause.RETURN: State.RETURNED,
    Cause.DISQUALIFY: State.DISQUALIFIED,
}
_CHASED: Final = {**_WITH_SALES, Cause.ATTEMPT: State.WORKING, Cause.QUALIFY: State.QUALIFIED}
_WITH_MARKETING: Final = {
    **_DEALS,
    Cause.TRIGGER: State.HANDED_OFF,
    Cause.HAND_OFF: State.HANDED_OFF,
    Cause.UNFIT: State.DISQUALIFIED,
    Cause.CRM_QUALIFIED: State.QUALIFIED,
    Cause.CRM_DISQUALIFIED: State.DISQUALIFIED,
}

MOVES: Final[Mapping[State, Mapping[Cause, State]]] = {
    State.MARKETING: _WITH_MARKETING,
    State.HANDED_OFF: {
        **_CHASED,
        Cause.ACCEPT: State.ACCEPTED,
        Cause.REJECT: State.RETURNED,
        Cause.NOT_ACCEPTED: State.RETURNED,
    },
    State.ACCEPTED: {**_CHASED, Cause.REJECT: State.RETURNED},
    State.WORKING: {**_CHASED, Cause.EXHAUSTED: State.RETURNED},
    State.QUALIFIED: _WITH_SALES,
    State.OPPORTUNITY: _WITH_SALES,
    State.CUSTOMER: _DEALS | {Cause.DEAL_OPENED: State.CUSTOMER},
    State.LOST: _WITH_MARKETING,
    State.RETURNED: _WITH_MARKETING,
    State.DISQUALIFIED: {**_DEALS, Cause.FIT_AGAIN: State.MARKETING, Cause.CRM_DISQUALIFIED: State.DISQUALIFIED},
}
_STAYS_IN: Final[Mapping[State, frozenset[Cause]]] = {
    State.MARKETING: frozenset({Cause.NURTURE}),
    State.HANDED_OFF: STAYS,
    State.ACCEPTED: STAYS,
    State.WORKING: STAYS,
    State.QUALIFIED: frozenset({Cause.NURTURE, Cause.REASSIGN}),
    State.OPPORTUNITY: frozenset({Cause.NURTURE, Cause.REASSIGN}),
    State.LOST: frozenset({Cause.NURTURE}),
    State.RETURNED: frozenset({Cause.NURTURE}),
}
TRANSITIONS: Final[Mapping[State, Mapping[Cause, State]]] = {
    state: {**causes, **dict.fromkeys(sorted(_STAYS_IN.get(state, ())), state)} for state, causes in MOVES.items()
}


class Impossible(Refused):
    """The command does not fit the state; `possible` are those that do."""

    def __init__(self, state: State, cause: Cause, *, paused: bool) -> None:
        self.possible = possible(state, paused=paused)
        where = f"{state} and paused" if paused else str(state)
        able = ", ".join(self.possible) or "nothing"
        super().__init__("impossible", f"{cause} is not possible in state {where}; possible now: {able}")


def possible(state: State, *, paused: bool) -> tuple[str, ...]:
    """The commands that fit, as the API names them."""
    return tuple(str(command) for command in COMMANDS if allows(state, command, paused=paused))


def allows(state: State, cause: Cause, *, paused: bool = False) -> bool:
    """Whether `cause` leads anywhere. Only who is not paused can be paused, and the other way round."""
    if cause in (Cause.PAUSE, Cause.RESUME) and paused is (cause is Cause.PAUSE):
        return False
    return cause in TRANSITIONS[state]


def step(state: State, cause: Cause, *, paused: bool = False) -> State:
    """Where `cause` leads from `state`. Raises Impossible."""
    if not allows(state, cause, paused=paused):
        raise Impossible(state, cause, paused=paused)
    return TRANSITIONS[state][cause]


def mermaid() -> str:
    """The moves as a diagram; causes that go the same way share an arrow. What changes no state is left out."""
    lines = ["stateDiagram-v2", "    [*] --> marketing"]
    for state, causes in MOVES.items():
        for target in State:
            if going := [str(cause) for cause, to in causes.items() if to is target]:
                lines.append(f"    {state} --> {target}: {', '.join(going)}")
    return "\n".join(lines)
