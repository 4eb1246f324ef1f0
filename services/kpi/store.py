"""kpi's tables and every query on them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from services.kpi.domain.leads import LeadState
from services.kpi.domain.tallies import Tallies, Tally

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(LeadState)


async def load(conn: AsyncConnection, leads: Sequence[str]) -> dict[str, LeadState]:
    """The leads that are known, locked; of the others the rows are made and so locked too.

    The three topics of one lead may be read by three instances: without a row to wait at, two of
    them would each begin the lead anew. Two that meet may deadlock; the database ends that with an
    error which the loop takes for Later.
    """
    found = await _lock(conn, leads)
    missing = sorted(set(leads) - found.keys())
    taken = await _claim(conn, missing) if missing else set()
    if late := [lead for lead in missing if lead not in taken]:
        found |= await _lock(conn, late)
    return {lead: _decoder.decode(state) for lead, state in found.items() if state is not None}


async def _lock(conn: AsyncConnection, leads: Sequence[str]) -> dict[str, bytes | None]:
    """Rows of these leads, locked in the order of their keys (leads_pkey)."""
    sql = "SELECT lead, state FROM kpi.leads WHERE lead = ANY(CAST(:leads AS text[])) ORDER BY lead FOR UPDATE"
    rows = await conn.execute(sa.text(sql), {"leads": list(leads)})
    return {row.lead: row.state for row in rows}


async def _claim(conn: AsyncConnection, leads: Sequence[str]) -> set[str]:
    """Make empty rows; which of them were ours to make (leads_pkey)."""
    sql = """
        INSERT INTO kpi.leads (lead) SELECT lead FROM unnest(CAST(:leads AS text[])) AS t(lead) ORDER BY lead
        ON CONFLICT DO NOTHING RETURNING lead
    """
    return {row.lead for row in await conn.execute(sa.text(sql), {"leads": list(leads)})}


async def save_leads(conn: AsyncConnection, states: Mapping[str, LeadState]) -> None:
    """Write what is known, and remove the leads of which nothing is (leads_pkey)."""
    kept = {lead: _encoder.encode(state) for lead, state in states.items() if not state.empty}
    if kept:
        sql = """
            UPDATE kpi.leads SET state = t.state
            FROM unnest(CAST(:leads AS text[]), CAST(:states AS bytea[])) AS t(lead, state)
            WHERE leads.lead = t.lead
        """
        await conn.execute(sa.text(sql), {"leads": list(kept), "states": list(kept.values())})
    if gone := [lead for lead in states if lead not in kept]:
        await conn.execute(sa.text("DELETE FROM kpi.leads WHERE lead = ANY(CAST(:leads AS text[]))"), {"leads": gone})


async def add_tallies(conn: AsyncConnection, tallies: Iterable[Tally]) -> None:
    """Add up, in the order of the keys so that two instances never hold each other's row (tallies_pkey).

    The last thing in a transaction: every instance waits at these rows.
    """
    sums = summed(tallies)
    if not sums:
        return
    sql = """
        INSERT INTO kpi.tallies (metric, labels, value)
        SELECT metric, labels, value
        FROM unnest(CAST(:metrics AS text[]), CAST(:labels AS text[]), CAST(:amounts AS double precision[]))
             AS t(metric, labels, value)
        ON CONFLICT (metric, labels) DO UPDATE SET value = tallies.value + excluded.value
    """
    rows = sorted((metric, json.dumps(labels, ensure_ascii=False), value) for (metric, labels), value in sums.items())
    metrics, labels, amounts = zip(*rows, strict=True)
    await conn.execute(sa.text(sql), {"metrics": list(metrics), "labels": list(labels), "amounts": list(amounts)})


def summed(tallies: Iterable[Tally]) -> Tallies:
    """One amount for each metric and labels; those that come to nothing are left out."""
    sums: Tallies = {}
    for metric, labels, amount in tallies:
        sums[metric, labels] = sums.get((metric, labels), 0.0) + amount
    return {key: amount for key, amount in sums.items() if amount}


async def read_tallies(conn: AsyncConnection) -> Tallies:
    """All of them, as of one moment: some hundreds of rows."""
    rows = await conn.execute(sa.text("SELECT metric, labels, value FROM kpi.tallies"))
    return {(row.metric, tuple(json.loads(row.labels))): row.value for row in rows}
