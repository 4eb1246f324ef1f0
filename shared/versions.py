"""Every version of an agreement that a service acted under, and since when: a table in its own schema.

A version is written with the first decision under it, in that decision's transaction, once, whoever
comes first. It keeps what the agreement said, so that it can be shown and loaded again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.agreement.in_force import ALL_OTHERS, TakenUp


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A version that a service acted under, in business time.

    `since` is its first decision; `again_at` is when it last came back after another of that tenant.
    """

    service: str
    tenant: str  # empty: of all who have none of their own
    version: str
    since: datetime
    again_at: datetime | None


async def record(conn: AsyncConnection, service: str, used: Iterable[TakenUp], now: datetime) -> None:
    """Write down the versions that are not yet, and which came back (agreements_pkey).

    In one order, so that two who begin with the same ones do not wait for each other.
    """
    sql = f"""
        INSERT INTO {service}.agreements (version, tenant, since, content)
        SELECT version, tenant, :now, content
        FROM unnest(CAST(:versions AS text[]), CAST(:tenants AS text[]), CAST(:contents AS text[]))
             AS t(version, tenant, content)
        ORDER BY version
        ON CONFLICT (version) DO NOTHING
    """
    taken = sorted(used, key=lambda one: one.agreement.version)
    agreements = [one.agreement for one in taken]
    columns = {
        "versions": [agreement.version for agreement in agreements],
        "tenants": [agreement.tenant or ALL_OTHERS for agreement in agreements],
        "contents": [agreement.content for agreement in agreements],
    }
    await conn.execute(sa.text(sql), {**columns, "now": now})
    again = f"""
        UPDATE {service}.agreements ours SET again_at = t.at
        FROM unnest(CAST(:versions AS text[]), CAST(:moments AS timestamptz[])) AS t(version, at)
        WHERE ours.version = t.version AND EXISTS (
            SELECT FROM {service}.agreements other WHERE other.tenant = ours.tenant
            AND coalesce(other.again_at, other.since) > coalesce(ours.again_at, ours.since)
            AND coalesce(other.again_at, other.since) < t.at
        )
    """
    moments = [one.at for one in taken]
    await conn.execute(sa.text(again), {"versions": columns["versions"], "moments": moments})


async def recorded(conn: AsyncConnection, service: str) -> list[Recorded]:
    """All versions, the one that came into force last first: some dozens of rows."""
    sql = f"""
        SELECT tenant, version, since, again_at FROM {service}.agreements
        ORDER BY coalesce(again_at, since) DESC, version
    """
    rows = await conn.execute(sa.text(sql))
    return [Recorded(service=service, **row._mapping) for row in rows]


async def recall(conn: AsyncConnection, service: str, version: str) -> str | None:
    """What a version said, for `Agreement.from_content`, if the service acted under it (agreements_pkey)."""
    sql = f"SELECT content FROM {service}.agreements WHERE version = :version"
    content: str | None = await conn.scalar(sa.text(sql), {"version": version})
    return content
