"""scoring's table and every query on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from services.scoring.domain.lead import Lead
from shared.events import LeadScored

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Lead)

_LOCK = sa.text(
    "SELECT lead, state FROM scoring.leads WHERE lead = ANY(CAST(:leads AS text[])) ORDER BY lead FOR UPDATE"
)
_CLAIM = sa.text("""
    INSERT INTO scoring.leads (lead, updated_at)
    SELECT lead, now() FROM unnest(CAST(:leads AS text[])) AS t(lead) ORDER BY lead
    ON CONFLICT DO NOTHING RETURNING lead
""")
_SAVE = sa.text("""
    UPDATE scoring.leads SET state = t.state, updated_at = :now
    FROM unnest(CAST(:leads AS text[]), CAST(:states AS bytea[])) AS t(lead, state)
    WHERE leads.lead = t.lead
""")
_SAVE_SCORED = sa.text("""
    UPDATE scoring.leads
    SET state = t.state, updated_at = :now, grade = t.grade, fit = t.fit, interest = t.interest,
        version = t.version, agreement = t.agreement
    FROM unnest(CAST(:leads AS text[]), CAST(:states AS bytea[]), CAST(:grades AS text[]),
                CAST(:fits AS double precision[]), CAST(:interests AS double precision[]),
                CAST(:versions AS bigint[]), CAST(:agreements AS text[]))
         AS t(lead, state, grade, fit, interest, version, agreement)
    WHERE leads.lead = t.lead
""")
_FORGET_SCORE = sa.text("""
    UPDATE scoring.leads SET grade = NULL, fit = NULL, interest = NULL, agreement = NULL
    WHERE lead = ANY(CAST(:leads AS text[]))
""")
_READ = sa.text("SELECT state FROM scoring.leads WHERE lead = :lead AND state IS NOT NULL")


async def load(conn: AsyncConnection, leads: Sequence[str]) -> dict[str, Lead]:
    """The leads that are known, locked; of the others the rows are made and so locked too (leads_pkey).

    A merge touches leads of other partitions, which another instance may be at: without a row to
    wait at, both would begin the same lead anew.
    """
    found = await _lock(conn, leads)
    missing = sorted(set(leads) - found.keys())
    taken = await _claim(conn, missing) if missing else set()
    if late := [lead for lead in missing if lead not in taken]:
        found |= await _lock(conn, late)
    return {lead: _decoder.decode(state) for lead, state in found.items() if state is not None}


async def _lock(conn: AsyncConnection, leads: Sequence[str]) -> dict[str, bytes | None]:
    """Rows of these leads, locked in the order of their keys (leads_pkey)."""
    rows = await conn.execute(_LOCK, {"leads": list(leads)})
    return {row.lead: row.state for row in rows}


async def _claim(conn: AsyncConnection, leads: Sequence[str]) -> set[str]:
    """Make empty rows; which of them were ours to make (leads_pkey)."""
    return {row.lead for row in await conn.execute(_CLAIM, {"leads": list(leads)})}


async def save(
    conn: AsyncConnection, states: Mapping[str, Lead], scores: Mapping[str, LeadScored], now: datetime
) -> None:
    """Write the states, with the new score of those that have one; rows are there since `load` (leads_pkey)."""
    quiet = [lead for lead in states if lead not in scores]
    told = [lead for lead in states if lead in scores]
    if quiet:
        await conn.execute(_SAVE, {"leads": quiet, "states": _encoded(states, quiet), "now": now})
    if told:
        news = [scores[lead] for lead in told]
        columns = {
            "leads": told,
            "states": _encoded(states, told),
            "grades": [score.grade for score in news],
            "fits": [score.fit for score in news],
            "interests": [score.interest for score in news],
            "versions": [score.version for score in news],
            "agreements": [score.agreement for score in news],
        }
        await conn.execute(_SAVE_SCORED, columns | {"now": now})
    if gone := [lead for lead, state in states.items() if state.closed]:
        await conn.execute(_FORGET_SCORE, {"leads": gone})


def _encoded(states: Mapping[str, Lead], leads: Sequence[str]) -> list[bytes]:
    return [_encoder.encode(states[lead]) for lead in leads]


async def read(conn: AsyncConnection, lead: str) -> Lead | None:
    """One lead as it is now (leads_pkey)."""
    state = await conn.scalar(_READ, {"lead": lead})
    return None if state is None else _decoder.decode(state)
