"""Who may do what: the table of roles and commands, and whose leads somebody sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from services.handoff.domain.lead import Lead
from services.handoff.domain.machine import COMMANDS, Cause
from shared.agreement import Agreements
from shared.web import Caller, Scope

EVERY: Final = frozenset(COMMANDS)
# The README shows it.
MAY: Final[Mapping[str, frozenset[Cause]]] = {
    "sales": EVERY,
    "marketing": frozenset({Cause.NURTURE, Cause.HAND_OFF}),
    "ops": EVERY,
    "admin": EVERY,
}


def roles_for(command: Cause) -> tuple[str, ...]:
    return tuple(role for role, commands in MAY.items() if command in commands)


def markdown() -> str:
    """The table as the README has it."""
    lines = [f"| command | {' | '.join(MAY)} |", "|---|" + "---|" * len(MAY)]
    for command in COMMANDS:
        marks = ["yes" if command in commands else "" for commands in MAY.values()]
        lines.append(f"| `{command}` | {' | '.join(marks)} |")
    return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class View:
    """Which leads somebody may see and work on. Both None: all of them."""

    owner: str | None = None
    teams: tuple[str, ...] | None = None

    def holds(self, lead: Lead) -> bool:
        return (self.owner is None or lead.owner == self.owner) and (self.teams is None or lead.team in self.teams)


EVERYTHING: Final = View()


def view_of(by: Caller, agreements: Agreements, tenant: str = "") -> View:
    """By the caller's scope, and the teams that the agreement lists the person in. Raises Refused (`no_agreement`)."""
    if by.scope is Scope.OWN:
        return View(owner=by.person)
    if by.scope is Scope.TEAM:
        teams = agreements.for_tenant(tenant).handoff.teams
        return View(teams=tuple(name for name, team in teams.items() if by.person in (team.manager, *team.members)))
    return EVERYTHING
