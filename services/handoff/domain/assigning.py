"""Who has a lead, and how it changes hands: by hand, in the CRM, or because its owner kept silent."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from services.handoff.domain import cadence, clocks, routing
from services.handoff.domain.draft import Draft
from services.handoff.domain.lead import Lead
from shared.agreement import Agreement
from shared.errors import Refused
from shared.events import ClockKind, LeadAssigned

REASSIGNED: Final = "reassigned"
BY_HAND: Final = "by_hand"  # also what stands for the trigger of a hand-off that a person made
ESCALATED: Final = "escalated"
IN_THE_CRM: Final = "crm"


def reassign(draft: Draft, at: datetime, *, team: str, owner: str, reason: str) -> None:
    """Somebody else has the lead from now on; the same owner again changes nothing.

    What the former owner owed ends with them, a breach stays theirs. The new owner gets new clocks by
    their own calendar; speed to lead runs on from the lead's own act. What is the lead's own time and
    not one person's goes on, by the new calendar.
    """
    lead = draft.lead
    if (team, owner) == (lead.team, lead.owner):
        return
    owed = clocks.running(lead, *clocks.ATTEMPTS)
    for clock in owed:
        clocks.cancel(draft, clock, at, REASSIGNED)
    owners = (*lead.owners, owner)
    draft.change(team=team, owner=owner, owners=owners, turn=lead.turn + 1, assigned_at=at)
    draft.tell(LeadAssigned, at=at, former_owner=lead.owner, former_team=lead.team, reason=reason)
    for clock in owed:
        clocks.start(draft, clock.kind, clock.n, at=at, hurried=clock.hurried)
    if any(clock.kind is ClockKind.NEXT_ATTEMPT for clock in owed):
        cadence.go_on(draft, at)  # where the agreement knows no such attempt any more
    clocks.gauge(draft, at, REASSIGNED)


def to_colleague(draft: Draft, at: datetime, reason: str) -> None:
    """To one of the team who did not have it in this episode; when all had it, it stays where it is."""
    lead = draft.lead
    team = draft.agreement.handoff.teams.get(lead.team)
    if team is None:
        return
    others = {person: weight for person, weight in team.weights.items() if person not in lead.owners}
    if owner := routing.owner_for(others, lead.lead, lead.episode):
        reassign(draft, at, team=lead.team, owner=owner, reason=reason)


def place(agreement: Agreement, lead: Lead, *, team: str | None, owner: str | None) -> tuple[str, str]:
    """Team and owner, of whom a person named one at least. Raises Refused (`unknown_team`, `unknown_owner`)."""
    teams = agreement.handoff.teams
    if team is not None and team not in teams:
        raise Refused("unknown_team", f"the team must be one of: {', '.join(teams)}")
    if owner is None:
        chosen = team or lead.team
        weights = teams[chosen].weights if chosen in teams else {}
        return chosen, routing.owner_for(weights, lead.lead, lead.episode)
    wanted = [team] if team is not None else [lead.team, *teams]
    for name in wanted:
        if name in teams and owner in teams[name].members:
            return name, owner
    where = f"team {team}" if team is not None else "any team"
    raise Refused("unknown_owner", f"the owner must be a member of {where} in the agreement")


def owner_in_crm(agreement: Agreement, lead: Lead, crm_owner: str) -> tuple[str, str] | None:
    """Team and person of the CRM's owner id, their present team first. None for who is nobody in the agreement."""
    teams = agreement.handoff.teams
    for name in (lead.team, *teams):
        for person, member in teams[name].members.items() if name in teams else ():
            if crm_owner and member.crm_owner == crm_owner:
                return name, person
    return None


def is_owner(agreement: Agreement, lead: Lead, by: str) -> bool:
    """Whether `by`, a person or an id of the CRM, has the lead; also when the agreement cannot tell."""
    team = agreement.handoff.teams.get(lead.team)
    member = team.members.get(lead.owner) if team else None
    return member is None or not member.crm_owner or by in (lead.owner, member.crm_owner)
