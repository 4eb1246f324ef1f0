"""Who receives a lead: the team of the first route that holds, and one of its people by weight."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

from shared.agreement import Agreement
from shared.agreement.conditions import Subject
from shared.errors import Refused
from shared.events import identity


def team_for(agreement: Agreement, subject: Subject) -> str:
    """Raises Refused (`no_route`) when no route holds: the agreement lacks one without a condition."""
    for route in agreement.handoff.route:
        if route.when is None or route.when.holds(subject):
            return route.team
    raise Refused("no_route", "no route of the agreement holds for this lead; end the list with one that always does")


def owner_for(members: Mapping[str, int], lead: str, episode: int) -> str:
    """Always the same for the same lead, episode and team; over many leads shared out by weight. "" for nobody."""
    willing = sorted((person, weight) for person, weight in members.items() if weight > 0)
    if not willing:
        return ""
    point = int(identity("owner", lead, episode), 16) % sum(weight for _, weight in willing)
    people = (person for person, weight in willing for _ in range(weight))
    return next(islice(people, point, None))
