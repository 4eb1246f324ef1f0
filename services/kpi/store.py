"""kpi's tables and every query on them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from services.kpi.domain.counts import Counts, DealEnd, Judged, StageDay, Won
from services.kpi.domain.leads import LeadState
from services.kpi.domain.tallies import Tallies, Tally

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(LeadState)


async def load(conn: AsyncConnection, leads: Sequence[str]) -> dict[str, LeadState]:
    """The leads that are known, locked; of the others empty rows are made and so locked too (leads_pkey).

    The three topics of one lead may be read by three instances: without a row to wait at, two of
    them would each begin the lead anew. Rows are made before any is locked, both in the order of the
    keys, so that two who do this never wait for each other.
    """
    make = """
        INSERT INTO kpi.leads (lead) SELECT t.lead FROM unnest(CAST(:leads AS text[])) AS t(lead)
        WHERE NOT EXISTS (SELECT FROM kpi.leads l WHERE l.lead = t.lead) ORDER BY t.lead
        ON CONFLICT DO NOTHING
    """
    await conn.execute(sa.text(make), {"leads": list(leads)})
    sql = "SELECT lead, state FROM kpi.leads WHERE lead = ANY(CAST(:leads AS text[])) ORDER BY lead FOR UPDATE"
    rows = await conn.execute(sa.text(sql), {"leads": list(leads)})
    return {row.lead: _decoder.decode(row.state) for row in rows if row.state is not None}


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


# --- what goals are held against ---


async def add_stage_days(conn: AsyncConnection, days: Iterable[tuple[str, StageDay]]) -> None:
    """Add up, each with its tenant, in the order of the keys as tallies are (stage_days_pkey)."""
    sums: dict[tuple[str, date, str, str, str], tuple[int, int]] = {}
    for tenant, one in days:
        key = tenant, one.day, one.stage, one.source, one.grade
        entries, moved_on = sums.get(key, (0, 0))
        sums[key] = entries + one.entries, moved_on + one.moved_on
    if not sums:
        return
    sql = """
        INSERT INTO kpi.stage_days (tenant, day, stage, source, grade, entries, moved_on)
        SELECT tenant, day, stage, source, grade, entries, moved_on
        FROM unnest(CAST(:tenants AS text[]), CAST(:days AS date[]), CAST(:stages AS text[]),
                    CAST(:sources AS text[]), CAST(:grades AS text[]), CAST(:entries AS bigint[]),
                    CAST(:moved_on AS bigint[]))
             AS t(tenant, day, stage, source, grade, entries, moved_on)
        ON CONFLICT (tenant, day, stage, source, grade) DO UPDATE
        SET entries = stage_days.entries + excluded.entries, moved_on = stage_days.moved_on + excluded.moved_on
    """
    rows = [(*key, *amounts) for key, amounts in sorted(sums.items())]
    names = ("tenants", "days", "stages", "sources", "grades", "entries", "moved_on")
    await conn.execute(sa.text(sql), dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))


async def save_deals(conn: AsyncConnection, deals: Iterable[tuple[str, DealEnd]]) -> None:
    """How each deal ended, by its newest word: those of several contacts tell of one deal (deals_pkey)."""
    newest: dict[tuple[str, str], DealEnd] = {}
    for tenant, deal in deals:
        known = newest.get((tenant, deal.deal))
        if known is None or known.at <= deal.at:
            newest[tenant, deal.deal] = deal
    if not newest:
        return
    sql = """
        INSERT INTO kpi.deals (tenant, deal, at, day, won, amount, currency)
        VALUES (:tenant, :deal, :at, :day, :won, :amount, :currency)
        ON CONFLICT (tenant, deal) DO UPDATE
        SET at = excluded.at, day = excluded.day, won = excluded.won, amount = excluded.amount,
            currency = excluded.currency
        WHERE deals.at <= excluded.at
    """
    rows = [{"tenant": tenant, **dataclasses.asdict(deal)} for (tenant, _), deal in sorted(newest.items(), key=_key)]
    await conn.execute(sa.text(sql), rows)


def _key(item: tuple[tuple[str, str], DealEnd]) -> tuple[str, str]:
    return item[0]


async def tenants(conn: AsyncConnection) -> list[str]:
    """Those of whom anything was counted by day: one step of the index for each (stage_days_pkey)."""
    sql = """
        WITH RECURSIVE found AS (
            (SELECT tenant FROM kpi.stage_days ORDER BY tenant LIMIT 1)
            UNION ALL
            SELECT (SELECT s.tenant FROM kpi.stage_days s WHERE s.tenant > found.tenant ORDER BY s.tenant LIMIT 1)
            FROM found WHERE found.tenant IS NOT NULL
        )
        SELECT tenant FROM found WHERE tenant IS NOT NULL
    """
    return list((await conn.scalars(sa.text(sql))).all())


async def read_counts(conn: AsyncConnection, holder: str, tenants: Sequence[str], first: date) -> Counts:
    """What was counted of these tenants since `first`, and of the very first day; what `holder`'s agreement was
    judged by since then.
    """
    return Counts(
        days=await _stage_days(conn, tenants, first),
        won=await _won(conn, tenants, first),
        judged=await _judged(conn, holder, first),
    )


async def _stage_days(conn: AsyncConnection, tenants: Sequence[str], first: date) -> list[StageDay]:
    """Summed over the tenants; the day on which counting began is always among them (stage_days_pkey)."""
    sql = """
        SELECT day, stage, source, grade, CAST(sum(entries) AS bigint) AS entries,
               CAST(sum(moved_on) AS bigint) AS moved_on
        FROM kpi.stage_days
        WHERE tenant = ANY(CAST(:tenants AS text[])) AND (day >= :first OR day = (
            SELECT min(day) FROM kpi.stage_days WHERE tenant = ANY(CAST(:tenants AS text[])) AND entries > 0
        ))
        GROUP BY day, stage, source, grade
    """
    rows = await conn.execute(sa.text(sql), {"tenants": list(tenants), "first": first})
    return [StageDay(**row._mapping) for row in rows]


async def _won(conn: AsyncConnection, tenants: Sequence[str], first: date) -> list[Won]:
    """Deals that are won, by day and currency (deals_won)."""
    sql = """
        SELECT day, currency, count(*) AS deals, count(*) FILTER (WHERE amount IS NULL) AS unpriced,
               coalesce(sum(amount), 0) AS amount
        FROM kpi.deals
        WHERE won AND tenant = ANY(CAST(:tenants AS text[])) AND day >= :first
        GROUP BY day, currency
    """
    rows = await conn.execute(sa.text(sql), {"tenants": list(tenants), "first": first})
    return [Won(**row._mapping) for row in rows]


async def _judged(conn: AsyncConnection, holder: str, first: date) -> list[Judged]:
    """In the order of the days (commitments_pkey)."""
    sql = """
        SELECT goal, commitment, stage, grades, first, last, owed, counted, outcome, agreement, corrected_at
        FROM kpi.commitments WHERE tenant = :holder AND first >= :first ORDER BY first, goal, commitment
    """
    rows = await conn.execute(sa.text(sql), {"holder": holder, "first": first})
    return [Judged(**{**row._mapping, "grades": tuple(row.grades)}) for row in rows]


async def judged_until(conn: AsyncConnection, holder: str, now: datetime) -> datetime:
    """Up to when the commitments of an agreement are judged, locked; at first that is now (judged_until_pkey)."""
    made = "INSERT INTO kpi.judged_until (tenant, until) VALUES (:holder, :now) ON CONFLICT DO NOTHING"
    await conn.execute(sa.text(made), {"holder": holder, "now": now})
    sql = "SELECT until FROM kpi.judged_until WHERE tenant = :holder FOR UPDATE"
    until: datetime = (await conn.execute(sa.text(sql), {"holder": holder})).scalar_one()
    return until


async def save_judged(conn: AsyncConnection, holder: str, judged: Sequence[Judged], now: datetime) -> None:
    """Keep how commitments ended, once and for all (commitments_pkey), and that all is judged until `now`."""
    sql = """
        INSERT INTO kpi.commitments (tenant, goal, commitment, first, last, stage, grades, owed, counted, outcome,
                                     agreement, judged_at)
        VALUES (:holder, :goal, :commitment, :first, :last, :stage, CAST(:grades AS text[]), :owed, :counted, :outcome,
                :agreement, :now)
        ON CONFLICT DO NOTHING
    """
    rows = [{"holder": holder, "now": now, **dataclasses.asdict(one), "grades": list(one.grades)} for one in judged]
    if rows:
        await conn.execute(sa.text(sql), rows)
    until = "UPDATE kpi.judged_until SET until = :now WHERE tenant = :holder"
    await conn.execute(sa.text(until), {"holder": holder, "now": now})


async def save_corrected(conn: AsyncConnection, holder: str, corrected: Sequence[Judged], now: datetime) -> None:
    """Keep that these were met after all (commitments_pkey)."""
    sql = """
        UPDATE kpi.commitments SET corrected_at = :now
        WHERE tenant = :holder AND goal = :goal AND commitment = :commitment AND first = :first AND last = :last
    """
    names = ("goal", "commitment", "first", "last")
    rows = [{"holder": holder, "now": now, **{name: getattr(one, name) for name in names}} for one in corrected]
    if rows:
        await conn.execute(sa.text(sql), rows)
