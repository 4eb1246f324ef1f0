"""ingest's tables of visitors and of reconciles, and every query on them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from services.ingest.domain.visitors import Visitor, is_visitor

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Visitor)

_LOCK = sa.text("""
    SELECT visitor, known_as, state FROM ingest.visitors
    WHERE visitor = ANY(CAST(:visitors AS text[])) ORDER BY visitor FOR UPDATE
""")
_CLAIM = sa.text("""
    INSERT INTO ingest.visitors (visitor, due_at)
    SELECT visitor, now() FROM unnest(CAST(:visitors AS text[])) AS t(visitor) ORDER BY visitor
    ON CONFLICT DO NOTHING
""")
_SAVE = sa.text("""
    UPDATE ingest.visitors SET known_as = t.known_as, state = t.state, due_at = t.due_at
    FROM unnest(CAST(:visitors AS text[]), CAST(:known_as AS text[]), CAST(:states AS bytea[]),
                CAST(:due_at AS timestamptz[])) AS t(visitor, known_as, state, due_at)
    WHERE visitors.visitor = t.visitor
""")
_DROP = sa.text("DELETE FROM ingest.visitors WHERE visitor = ANY(CAST(:visitors AS text[]))")
_DUE = sa.text("""
    SELECT visitor, known_as, state FROM ingest.visitors
    WHERE due_at <= :now ORDER BY due_at LIMIT :limit FOR UPDATE SKIP LOCKED
""")
_RENAME = sa.text("UPDATE ingest.visitors SET known_as = :lead WHERE known_as = :former")
_FORGET = sa.text("""
    WITH RECURSIVE theirs AS (
        SELECT visitor FROM ingest.visitors WHERE known_as = :former
        UNION SELECT v.visitor FROM ingest.visitors v JOIN theirs ON v.known_as = theirs.visitor
    )
    DELETE FROM ingest.visitors WHERE visitor IN (SELECT visitor FROM theirs)
""")

_FIRST_SEEN = sa.text("""
    INSERT INTO ingest.reconciles (tenant, covered_until, claimed_at)
    VALUES (:tenant, :now, to_timestamp(0)) ON CONFLICT DO NOTHING
""")
_CLAIM_RECONCILE = sa.text("""
    UPDATE ingest.reconciles SET claimed_at = :now
    WHERE tenant = :tenant AND covered_until <= :covered AND claimed_at <= :free
    RETURNING covered_until
""")
_RECONCILED = sa.text("UPDATE ingest.reconciles SET covered_until = :until WHERE tenant = :tenant")


async def load(conn: AsyncConnection, keys: Sequence[str]) -> dict[str, Visitor | None]:
    """The visitors among `keys` that are known, locked; of the others the rows are made and so locked (visitors_pkey).

    A record to look up has no row: nothing is known of it, the CRM is asked each time.
    """
    visitors = sorted(filter(is_visitor, keys))
    if not visitors:
        return {}
    await conn.execute(_CLAIM, {"visitors": visitors})
    return dict(_read(await conn.execute(_LOCK, {"visitors": visitors})))


def _read(rows: Iterable[sa.Row[tuple[str, str, bytes | None]]]) -> dict[str, Visitor]:
    """`known_as` is a column of its own because leads change hands by it."""
    found = {}
    for row in rows:
        if row.state is not None:
            found[row.visitor] = dataclasses.replace(_decoder.decode(row.state), known_as=row.known_as)
    return found


async def save(conn: AsyncConnection, states: Mapping[str, Visitor | None], *, keep: timedelta) -> None:
    """Write the visitors; None: drop them. Each is due when the CRM is to be asked again, or `keep` is over."""
    if kept := {key: state for key, state in states.items() if state is not None}:
        columns = {
            "visitors": list(kept),
            "known_as": [state.known_as for state in kept.values()],
            "states": [_encoder.encode(state) for state in kept.values()],
            "due_at": [_due_at(state, keep) for state in kept.values()],
        }
        await conn.execute(_SAVE, columns)
    if dropped := [key for key, state in states.items() if state is None]:
        await conn.execute(_DROP, {"visitors": dropped})


def _due_at(visitor: Visitor, keep: timedelta) -> datetime:
    ends = datetime.fromtimestamp(visitor.heard, UTC) + keep
    return ends if visitor.ask_at is None else min(ends, datetime.fromtimestamp(visitor.ask_at, UTC))


async def claim_due(conn: AsyncConnection, now: datetime, limit: int) -> dict[str, Visitor | None]:
    """Visitors with something due, longest first, locked; what others hold is left to them (visitors_due)."""
    rows = (await conn.execute(_DUE, {"now": now, "limit": limit})).all()
    return {**{row.visitor: Visitor(key=row.visitor) for row in rows}, **_read(rows)}


async def rename(conn: AsyncConnection, former: str, lead: str) -> None:
    """Who was known as one lead is known as another (visitors_known_as)."""
    await conn.execute(_RENAME, {"former": former, "lead": lead})


async def forget(conn: AsyncConnection, former: str) -> None:
    """Drop who was known as a lead, by whatever chain of keys (visitors_known_as)."""
    await conn.execute(_FORGET, {"former": former})


async def claim_reconcile(
    conn: AsyncConnection, tenant: str, now: datetime, *, every: timedelta, lease: timedelta
) -> datetime | None:
    """Until when the tenant was reconciled, when the next is due and nobody began it within `lease` (reconciles_pkey).

    The first is due `every` after the tenant is first seen here.
    """
    await conn.execute(_FIRST_SEEN, {"tenant": tenant, "now": now})
    given = {"tenant": tenant, "now": now, "covered": now - every, "free": now - lease}
    covered: datetime | None = await conn.scalar(_CLAIM_RECONCILE, given)
    return covered


async def reconciled(conn: AsyncConnection, tenant: str, *, until: datetime) -> None:
    """All that was changed before was asked for (reconciles_pkey)."""
    await conn.execute(_RECONCILED, {"tenant": tenant, "until": until})
