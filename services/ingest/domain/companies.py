"""What is known of a contact's company, as properties of the lead: each with the time from which on it is so.

A property of the company counts for the lead from when it was set, or from when the company became the
contact's, whichever came later. So the newest wins here as everywhere, and what is known of a former
company gives way to the next one, or to nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from shared.agreement.conditions import OF_COMPANY
from shared.crm.hubspot import Record
from shared.events import PropertyValue

PRIMARY_COMPANY: Final = "associatedcompanyid"  # a contact's property: which company is its primary one


class Belongs(NamedTuple):
    """A contact's primary company ("": none any more), and since when."""

    company: str
    since: datetime


def company_of(contact: Record) -> Belongs | None:
    """None for a contact that never had one, as far as is known. Without a history, since the contact was made."""
    if past := contact.properties_with_history.get(PRIMARY_COMPANY):
        return Belongs(past[0].value or "", past[0].timestamp)
    company = contact.properties.get(PRIMARY_COMPANY)
    return Belongs(company, contact.created_at or contact.updated_at) if company else None


def values_of(contact: Record, companies: Mapping[str, Record], names: Sequence[str]) -> Iterator[PropertyValue]:
    """The properties `names` of its company; one that the company does not have, or nobody knows, is cleared."""
    belongs = company_of(contact)
    if belongs is None:
        return
    company = companies.get(belongs.company)
    for name in names:
        past = company.properties_with_history.get(name) if company else None
        value, at = (past[0].value, max(past[0].timestamp, belongs.since)) if past else (None, belongs.since)
        yield PropertyValue(name=OF_COMPANY + name, value=value, at=at)
