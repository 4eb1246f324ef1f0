"""Who may do what: the table of roles and commands, and whose leads somebody sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from services.handoff.domain.lead import Lead
from services.handoff.domain.machine import COMMANDS, Cause
from services.handoff.store import TeamsSeen
from shared.agreement import Agreement, InForce
from shared.agreement.in_force import ALL_OTHERS
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
    teams: TeamsSeen | None = None

    def holds(self, lead: Lead) -> bool:
        if self.owner is not None and lead.owner != self.owner:
            return False
        return self.teams is None or lead.team in self.teams.of(lead.tenant)


EVERYTHING: Final = View()


def view_of(by: Caller, in_force: InForce) -> View:
    """By the caller's scope, and the teams in which the agreement of a lead's tenant lists the person."""
    if by.scope is Scope.OWN:
        return View(owner=by.person)
    if by.scope is Scope.TEAM:
        of = {tenant: _teams_of(by.person, taken.agreement) for tenant, taken in in_force.by_tenant.items()}
        return View(teams=TeamsSeen(others=of.pop(ALL_OTHERS, ()), own=of))
    return EVERYTHING


def _teams_of(person: str, agreement: Agreement) -> tuple[str, ...]:
    teams = agreement.handoff.teams.items()
    return tuple(name for name, team in teams if person in (team.manager, *team.members))
