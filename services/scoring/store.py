"""scoring's tables and every query on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from services.scoring.domain.history import CUT_EVERY, KEPT, Entry
from services.scoring.domain.lead import Lead
from shared.events import LeadScored

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Lead)
_entry_decoder = msgspec.msgpack.Decoder(Entry)

_MAKE = sa.text("""
    INSERT INTO scoring.leads (lead, updated_at, fades_at)
    SELECT t.lead, now(), NULL FROM unnest(CAST(:leads AS text[])) AS t(lead)
    WHERE NOT EXISTS (SELECT FROM scoring.leads l WHERE l.lead = t.lead) ORDER BY t.lead
    ON CONFLICT DO NOTHING
""")
_LOCK = sa.text(
    "SELECT lead, state FROM scoring.leads WHERE lead = ANY(CAST(:leads AS text[])) ORDER BY lead FOR UPDATE"
)
_SAVE = sa.text("""
    UPDATE scoring.leads SET state = t.state, updated_at = :now, agreement = t.agreement, fades_at = t.fades_at
    FROM unnest(CAST(:leads AS text[]), CAST(:states AS bytea[]), CAST(:agreements AS text[]),
                CAST(:fading AS timestamptz[]))
         AS t(lead, state, agreement, fades_at)
    WHERE leads.lead = t.lead
""")
_SAVE_SCORED = sa.text("""
    UPDATE scoring.leads
    SET state = t.state, updated_at = :now, grade = t.grade, fit = t.fit, interest = t.interest,
        version = t.version, agreement = t.agreement, fades_at = t.fades_at
    FROM unnest(CAST(:leads AS text[]), CAST(:states AS bytea[]), CAST(:grades AS text[]),
                CAST(:fits AS double precision[]), CAST(:interests AS double precision[]),
                CAST(:versions AS bigint[]), CAST(:agreements AS text[]), CAST(:fading AS timestamptz[]))
         AS t(lead, state, grade, fit, interest, version, agreement, fades_at)
    WHERE leads.lead = t.lead
""")
_FORGET_SCORE = sa.text("""
    UPDATE scoring.leads SET grade = NULL, fit = NULL, interest = NULL, agreement = NULL
    WHERE lead = ANY(CAST(:leads AS text[]))
""")
_READ = sa.text("SELECT state FROM scoring.leads WHERE lead = :lead AND state IS NOT NULL")


async def load(conn: AsyncConnection, leads: Sequence[str]) -> dict[str, Lead]:
    """The leads that are known, locked; of the others empty rows are made and so locked too (leads_pkey).

    A merge and what follows it touch leads of other partitions, which another instance may be at: without
    a row to wait at, both would begin the same lead anew. Rows are made before any is locked, both in the
    order of the keys, so that two who do this never wait for each other.
    """
    await conn.execute(_MAKE, {"leads": list(leads)})
    rows = await conn.execute(_LOCK, {"leads": list(leads)})
    return {row.lead: _decoder.decode(row.state) for row in rows if row.state is not None}


async def save(
    conn: AsyncConnection, states: Mapping[str, Lead], scores: Mapping[str, LeadScored], now: datetime
) -> None:
    """Write the states, with the new score of those that have one; rows are there since `load` (leads_pkey)."""
    quiet = [lead for lead in states if lead not in scores]
    told = [lead for lead in states if lead in scores]
    if quiet:
        await conn.execute(_SAVE, _columns(states, quiet) | {"now": now})
    if told:
        news = [scores[lead] for lead in told]
        columns = _columns(states, told) | {
            "grades": [score.grade for score in news],
            "fits": [score.fit for score in news],
            "interests": [score.interest for score in news],
            "versions": [score.version for score in news],
        }
        await conn.execute(_SAVE_SCORED, columns | {"now": now})
    if gone := [lead for lead, state in states.items() if state.closed]:
        await conn.execute(_FORGET_SCORE, {"leads": gone})


def _columns(states: Mapping[str, Lead], leads: Sequence[str]) -> dict[str, list[Any]]:
    """What is written of every lead."""
    return {
        "leads": list(leads),
        "states": [_encoder.encode(states[lead]) for lead in leads],
        "agreements": [states[lead].judged_by for lead in leads],
        "fading": [states[lead].fades_at for lead in leads],
    }


async def read(conn: AsyncConnection, lead: str) -> Lead | None:
    """One lead as it is now (leads_pkey)."""
    state = await conn.scalar(_READ, {"lead": lead})
    return None if state is None else _decoder.decode(state)


# --- the history ---

_KEEP = sa.text("""
    INSERT INTO scoring.history (lead, entry)
    SELECT lead, entry
    FROM unnest(CAST(:leads AS text[]), CAST(:entries AS bytea[])) WITH ORDINALITY AS t(lead, entry, n) ORDER BY n
""")
_JOIN = sa.text("""
    UPDATE scoring.history SET lead = t.survivor, former = coalesce(history.former, history.lead)
    FROM unnest(CAST(:leads AS text[]), CAST(:survivors AS text[])) AS t(lead, survivor)
    WHERE history.lead = t.lead
""")
_CUT = sa.text("""
    DELETE FROM scoring.history USING unnest(CAST(:leads AS text[])) AS t(lead)
    WHERE history.lead = t.lead AND seq <= (
        SELECT seq FROM scoring.history AS h WHERE h.lead = t.lead ORDER BY seq DESC OFFSET :kept LIMIT 1
    )
""")
_FORGET_HISTORY = sa.text("DELETE FROM scoring.history WHERE lead = ANY(CAST(:leads AS text[]))")
_HISTORY = sa.text("""
    SELECT seq, former, entry, before FROM (
        SELECT seq, former, entry, lag(entry) OVER (PARTITION BY former ORDER BY seq) AS before
        FROM scoring.history WHERE lead = :lead
    ) AS t
    WHERE seq < :below ORDER BY seq DESC LIMIT :limit
""")


async def keep_history(
    conn: AsyncConnection,
    entries: Sequence[tuple[str, Entry]],
    before: Mapping[str, Lead],
    states: Mapping[str, Lead],
) -> None:
    """Add the scores of one transaction; a merged lead's go to its survivor, an erased one's are deleted.

    `before` and `states` are of all leads that are locked, and of those that changed. All by history_pkey.
    """
    if entries:
        packed = [_encoder.encode(entry) for _, entry in entries]
        await conn.execute(_KEEP, {"leads": [lead for lead, _ in entries], "entries": packed})
    joined = {lead: state.merged_into for lead, state in states.items() if state.merged_into}
    if joined:
        await conn.execute(_JOIN, {"leads": list(joined), "survivors": list(joined.values())})
    grown = {lead for lead, entry in entries if entry.version % CUT_EVERY == 0} | set(joined.values())
    if grown:
        await conn.execute(_CUT, {"leads": sorted(grown), "kept": KEPT})
    known = {**before, **states}
    changed = states.keys() | set(joined.values())
    if erased := [lead for lead in changed if lead in known and known[lead].erased]:
        await conn.execute(_FORGET_HISTORY, {"leads": erased})


@dataclass(frozen=True, kw_only=True)
class Kept:
    """An entry of the history, the one `before` it of the same lead, and that lead's key when it was merged in."""

    seq: int
    former: str
    entry: Entry
    before: Entry | None


@dataclass(frozen=True, kw_only=True)
class HistoryPage:
    """Some entries, the newest first; `below` which the next ones are, None when these are the last."""

    kept: Sequence[Kept]
    below: int | None


async def history(conn: AsyncConnection, lead: str, *, below: int, limit: int) -> HistoryPage:
    """The newest entries of a lead below a place. Reads all of the lead, of which there are few (history_pkey)."""
    rows = (await conn.execute(_HISTORY, {"lead": lead, "below": below, "limit": limit + 1})).all()
    kept = [
        Kept(
            seq=row.seq,
            former=row.former or "",
            entry=_entry_decoder.decode(row.entry),
            before=None if row.before is None else _entry_decoder.decode(row.before),
        )
        for row in rows[:limit]
    ]
    return HistoryPage(kept=kept, below=kept[-1].seq if len(rows) > limit else None)


# --- leads that another agreement judged than the one in force ---


@dataclass(frozen=True, kw_only=True)
class Place:
    """A place in the order of leads_by_agreement: just behind that lead, in that agreement's part of it."""

    agreement: str = ""
    lead: str = ""


@dataclass(frozen=True, kw_only=True)
class Claimed:
    """Leads that are locked; None: its document cannot be read. `last` is where the next ones follow."""

    leads: Mapping[str, Lead | None]
    last: Place | None


async def tenants(conn: AsyncConnection) -> list[str]:
    """Every tenant that has a lead to judge: a probe of leads_by_agreement for each."""
    sql = """
        WITH RECURSIVE found (tenant) AS (
            (SELECT tenant FROM scoring.leads WHERE agreement IS NOT NULL ORDER BY tenant LIMIT 1)
            UNION ALL
            SELECT (SELECT l.tenant FROM scoring.leads l WHERE l.agreement IS NOT NULL AND l.tenant > found.tenant
                    ORDER BY l.tenant LIMIT 1)
            FROM found WHERE found.tenant IS NOT NULL
        )
        SELECT tenant FROM found WHERE tenant IS NOT NULL
    """
    return list((await conn.scalars(sa.text(sql))).all())


async def claim_other_agreements(
    conn: AsyncConnection, tenant: str, version: str, limit: int, *, after: Place, without: Sequence[str] = ()
) -> Claimed:
    """Leads of a tenant behind `after` that another agreement judged last, locked; others' are left to them.

    Those before `version` in the index and those behind it, each by a range of its own: the many that
    are judged by it stand between, and are not walked over (leads_by_agreement). Never waits, so it
    cannot deadlock with those who lock in the order of keys.
    """
    given = {"tenant": tenant, "version": version, "limit": limit, "without": list(without)}
    for part in ("agreement < :version", "agreement > :version"):
        sql = f"""
            SELECT lead, agreement, state FROM scoring.leads
            WHERE tenant = :tenant AND agreement IS NOT NULL AND {part}
                AND (agreement, lead) > (:agreement, :lead) AND lead <> ALL(CAST(:without AS text[]))
            ORDER BY agreement, lead LIMIT :limit FOR UPDATE SKIP LOCKED
        """
        rows = (await conn.execute(sa.text(sql), given | {"agreement": after.agreement, "lead": after.lead})).all()
        if rows:
            last = Place(agreement=rows[-1].agreement, lead=rows[-1].lead)
            return Claimed(leads={row.lead: _readable(row.state) for row in rows}, last=last)
    return Claimed(leads={}, last=None)


def _readable(state: bytes | None) -> Lead | None:
    """None for what another version wrote and this one does not understand: all others are judged."""
    try:
        return _decoder.decode(state or b"")
    except msgspec.MsgspecError:
        return None


async def count_other_agreements(conn: AsyncConnection, tenant: str, version: str) -> int:
    """How many leads of a tenant another agreement judged last: reads each of them in leads_by_agreement."""
    sql = """
        SELECT count(*) FROM scoring.leads
        WHERE tenant = :tenant AND agreement IS NOT NULL AND (agreement < :version OR agreement > :version)
    """
    return int(await conn.scalar(sa.text(sql), {"tenant": tenant, "version": version}) or 0)


# --- leads whose interest fades below a limit ---

_FADING = "fades_at IS NOT NULL AND agreement IS NOT NULL"  # what leads_by_fading holds; others have nothing to tell


async def next_fading(conn: AsyncConnection) -> datetime | None:
    """The earliest moment at which waiting alone changes what was told of a lead (leads_by_fading)."""
    found: datetime | None = await conn.scalar(sa.text(f"SELECT min(fades_at) FROM scoring.leads WHERE {_FADING}"))
    return found


async def claim_fading(conn: AsyncConnection, now: datetime, limit: int) -> dict[str, Lead | None]:
    """Leads whose moment has come, the earliest first, locked; None: its document cannot be read. Never waits.

    Others' are left to them (leads_by_fading).
    """
    sql = f"""
        SELECT lead, state FROM scoring.leads WHERE {_FADING} AND fades_at <= :now
        ORDER BY fades_at LIMIT :limit FOR UPDATE SKIP LOCKED
    """
    rows = await conn.execute(sa.text(sql), {"now": now, "limit": limit})
    return {row.lead: _readable(row.state) for row in rows}


async def put_off(conn: AsyncConnection, leads: Sequence[str], until: datetime) -> None:
    """Look at these again then (leads_pkey)."""
    sql = "UPDATE scoring.leads SET fades_at = :until WHERE lead = ANY(CAST(:leads AS text[]))"
    await conn.execute(sa.text(sql), {"leads": list(leads), "until": until})


async def waits_to_be_told(conn: AsyncConnection, many: int) -> bool:
    """Whether so many messages or more are not on the bus yet."""
    sql = "SELECT count(*) FROM (SELECT FROM scoring.outbox WHERE refused IS NULL LIMIT :many) AS t"
    return int(await conn.scalar(sa.text(sql), {"many": many}) or 0) >= many
