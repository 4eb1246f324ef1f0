"""Goals and what they are held against: which agreements are in force for whom, and their counts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from services.kpi import store
from services.kpi.domain.counts import Counts
from services.kpi.domain.goals import GoalsReport, first_day, paces, report
from services.kpi.domain.tallies import Labels
from shared.agreement import Agreement, InForce
from shared.errors import Refused


@dataclass(frozen=True, kw_only=True)
class Held:
    """An agreement with all tenants that live under it: they count together towards its goals."""

    agreement: Agreement
    tenants: tuple[str, ...]

    @property
    def holder(self) -> str:
        """Whose it is; "" for all others'."""
        return self.agreement.tenant or ""


def agreement_of(in_force: InForce, tenant: str) -> Agreement:
    """The tenant's; for "" that of all others, or the first. Raises Refused (`no_agreement`)."""
    return in_force.for_tenant(tenant) if tenant else in_force.agreements[0]


def held_by(in_force: InForce, tenants: Iterable[str]) -> list[Held]:
    """Every agreement in force with those of the tenants that live under it."""
    under: dict[str, list[str]] = {}
    for tenant in tenants:
        try:
            under.setdefault(in_force.for_tenant(tenant).tenant or "", []).append(tenant)
        except Refused:  # nobody promised this one anything
            continue
    return [Held(agreement=one, tenants=tuple(under.get(one.tenant or "", ()))) for one in in_force.agreements]


async def all_held(conn: AsyncConnection, in_force: InForce) -> list[Held]:
    """The same for the tenants of whom anything was counted."""
    return held_by(in_force, await store.tenants(conn))


async def counts_of(conn: AsyncConnection, held: Held, *, since: datetime, now: datetime) -> Counts:
    """What tells how the goals stand now, and how those stood that were under way since then."""
    return await store.read_counts(conn, held.holder, held.tenants, first_day(held.agreement, since=since, now=now))


async def read_report(conn: AsyncConnection, in_force: InForce, tenant: str, now: datetime) -> GoalsReport:
    """The goals of the agreement that holds for `tenant`. Raises Refused (`no_agreement`)."""
    agreement = agreement_of(in_force, tenant)
    (held,) = (one for one in await all_held(conn, in_force) if one.agreement is agreement)
    return report(agreement, await counts_of(conn, held, since=now, now=now), now)


async def read_paces(conn: AsyncConnection, in_force: InForce, now: datetime) -> dict[Labels, float]:
    """The pace of each stage that is needed now, by tenant (of the agreement), goal and stage."""
    found: dict[Labels, float] = {}
    for held in await all_held(conn, in_force):
        counts = await counts_of(conn, held, since=now, now=now)
        found |= {(held.holder, goal, stage): pace for goal, stage, pace in paces(held.agreement, counts, now)}
    return found
