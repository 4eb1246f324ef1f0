"""What an agreement says: seven parts, each a frozen model. A key that nothing enforces is refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from functools import cached_property
from typing import Any, Final, Literal, TypeVar

from pydantic import BaseModel, Field, model_validator

from shared.agreement.conditions import OF_COMPANY, Condition, Path
from shared.agreement.follow_up import ALWAYS_OPEN, FollowUp
from shared.agreement.goals import Goal
from shared.agreement.handoff import Handoff
from shared.agreement.kpis import Kpis
from shared.agreement.nurture import Nurture
from shared.agreement.qualification import Qualification
from shared.agreement.values import TENANT, Definition, Name, Part, Timezone
from shared.calendars import ALWAYS, Calendar

T = TypeVar("T")

# What hand-off and people need to know of anyone, besides what the agreement names.
BASIC_PROPERTIES: Final = frozenset(
    (
        *("firstname", "lastname", "email", "phone", "company", "jobtitle", "country"),
        *("hs_analytics_source", "hubspot_owner_id"),
    )
)
VERSIONS_KEPT: Final = 1000  # of what is made of agreements: one for each tenant


class SignedBy(Part):
    marketing: tuple[str, ...] = ()
    """Who signed for Marketing."""
    sales: tuple[str, ...] = ()
    """Who signed for Sales."""


class Agreement(Part):
    """What Marketing and Sales promised each other."""

    name: Name = Field(alias="agreement")
    """What this agreement is called."""
    tenant: str | None = Field(default=None, pattern=TENANT)
    """The only account of the CRM that it is for, as hubspot:62515; else it is everybody's."""
    effective: date | None = None
    """The day from which it was meant to hold: shown, not enforced."""
    signed_by: SignedBy = SignedBy()
    """Who signed it."""
    timezone: Timezone = "UTC"
    """The time zone of days, and of calendars that have none of their own."""

    goals: tuple[Goal, ...] = ()
    """1. What both want: targets over a period, and where they are to come from."""
    definitions: dict[Literal["lead", "mql", "sql", "opportunity", "customer"], Definition]
    """2. What the words mean: lead, mql, sql, opportunity, customer, each by a condition."""
    qualification: Qualification
    """3. Who fits us, and who is interested: the two make a grade."""
    handoff: Handoff
    """4. When a lead goes to Sales, what goes with it, who gets it, who is told."""
    nurture: Nurture = Nurture({})
    """5. The tracks with Marketing, by name."""
    follow_up: FollowUp
    """6. What Sales does with a lead, by when, and the ways back."""
    kpis: Kpis = Kpis()
    """7. What both hold each other to."""

    @model_validator(mode="after")
    def _bind_definitions(self) -> Agreement:
        for _, condition in self.conditions():
            condition.bind(self.definitions)  # type: ignore[arg-type]
        return self

    @cached_property
    def content(self) -> str:
        """What it says, as JSON in ASCII: the same whatever the comments, formatting and order of keys."""
        content = self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        return json.dumps(content, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_content(cls, content: str) -> Agreement:
        """The agreement of which this is the `content`. Raises pydantic's ValidationError."""
        return cls.model_validate(json.loads(content))

    @cached_property
    def version(self) -> str:
        """12 hex digits of the content."""
        return hashlib.sha256(self.content.encode()).hexdigest()[:12]

    @cached_property
    def calendars(self) -> dict[str, Calendar]:
        """Every calendar by name, `always` among them."""
        named = self.follow_up.calendars.items()
        return {ALWAYS_OPEN: ALWAYS, **{name: hours.calendar(self.timezone) for name, hours in named}}

    def calendar_for(self, team: str, person: str) -> Calendar:
        """By whose working time this person of this team is judged: their own, the team's, or everybody's."""
        return self.calendars[self.calendar_named(team, person)]

    def calendar_named(self, team: str, person: str) -> str:
        """The name of that calendar."""
        its = self.handoff.teams.get(team)
        member = its.members.get(person) if its else None
        return (member and member.calendar) or (its and its.calendar) or self.follow_up.calendar

    def conditions(self) -> Iterator[tuple[Path, Condition]]:
        """Every condition, with where it stands in the file."""
        for name, definition in self.definitions.items():
            yield ("definitions", name, "when"), definition
        yield from _conditions(self.qualification, ("qualification",))
        yield from _conditions(self.handoff, ("handoff",))

    @cached_property
    def profile(self) -> frozenset[str]:
        """The properties that hand-off and people need: for its conditions, as information, and to know who it is."""
        asked = [c.properties for path, c in self.conditions() if path[0] in ("handoff", "definitions")]
        told = [name for names in self.handoff.information.values() for name in names]
        return BASIC_PROPERTIES.union(told, self.follow_up.in_the_crm, *asked)

    @cached_property
    def contact_properties(self) -> frozenset[str]:
        """Every property of a contact that anybody here asks about or is told."""
        return frozenset(name for name in self._properties if not name.startswith(OF_COMPANY))

    @cached_property
    def company_properties(self) -> frozenset[str]:
        """The same of the contact's company, as the CRM calls them."""
        return frozenset(name.removeprefix(OF_COMPANY) for name in self._properties if name.startswith(OF_COMPANY))

    @cached_property
    def _properties(self) -> frozenset[str]:
        fit = [c.properties for path, c in self.conditions() if path[:2] == ("qualification", "fit")]
        return self.profile.union(self.qualification.interest.followed, *fit)


def _conditions(value: Any, at: Path) -> Iterator[tuple[Path, Condition]]:
    if isinstance(value, Condition):
        yield at, value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _conditions(getattr(value, name), (*at, name))
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from _conditions(one, (*at, key))
    elif isinstance(value, tuple):
        for n, one in enumerate(value):
            yield from _conditions(one, (*at, n))


def by_version(make: Callable[[Agreement], T]) -> Callable[[Agreement], T]:
    """`make`, called once for each version of an agreement: what it says is what makes it the same."""
    made: dict[str, T] = {}

    def once(agreement: Agreement) -> T:
        if agreement.version not in made:
            if len(made) >= VERSIONS_KEPT:
                made.clear()
            made[agreement.version] = make(agreement)
        return made[agreement.version]

    return once
