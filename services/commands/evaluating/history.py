"""Past leads: what was known of each when it was handed off, and what became of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from services.scoring.domain.lead import Lead


class Stage(StrEnum):
    """What counts as converted; whoever came further came that far too."""

    SQL = "sql"
    OPPORTUNITY = "opportunity"
    CUSTOMER = "customer"


@dataclass(frozen=True, slots=True, kw_only=True)
class PastLead:
    """A lead at its first hand-off (`at`): `known` until then, and the properties that changed after it.

    `became_known`: those of `changed` of which nothing was known before. PERSONAL: known.
    """

    key: str
    at: datetime
    known: Lead
    converted_at: datetime | None = None
    converted: bool = False  # also when nobody knows when
    changed: frozenset[str] = frozenset()
    became_known: frozenset[str] = frozenset()
    recorded_grade: str = ""  # that the hand-off itself told; "": nobody knows


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """Leads that are not judged, by why."""

    never_handed_off: int = 0
    converted_without_handoff: int = 0  # of those
    too_young: int = 0  # the time in which they could convert is not over
    converted_before: int = 0  # before they were handed off
    forgotten: int = 0  # erased, so that nothing is known of them
    nothing_known: int = 0  # handed off, but the record has nothing of them from before


@dataclass(frozen=True, kw_only=True)
class History:
    """What is judged. Leads in the order of their hand-offs; `converted` is within `window`."""

    source: str
    leads: tuple[PastLead, ...]
    window: timedelta
    until: datetime  # the record ends there
    left_out: LeftOut = LeftOut()
    late_values: bool = False  # whether it is known when properties changed


def settled(
    found: Iterable[PastLead], *, source: str, window: timedelta, until: datetime, left_out: LeftOut, late_values: bool
) -> History:
    """The history of those whose time is over: younger leads have not had theirs, converted or not."""
    judged, young, before = [], 0, 0
    for lead in found:
        if lead.converted_at is not None and lead.converted_at < lead.at:
            before += 1
        elif lead.at + window > until:
            young += 1
        else:
            in_time = lead.converted_at is None or lead.converted_at <= lead.at + window
            judged.append(replace(lead, converted=lead.converted and in_time))
    judged.sort(key=lambda lead: (lead.at, lead.key))
    return History(
        source=source,
        leads=tuple(judged),
        window=window,
        until=until,
        left_out=replace(left_out, too_young=young, converted_before=before),
        late_values=late_values,
    )
