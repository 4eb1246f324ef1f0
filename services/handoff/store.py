"""Hand-off's tables and every query on them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from services.handoff.domain.lead import Lead
from services.handoff.domain.notices import Notice
from shared.errors import Refused
from shared.events import (
    ClockBreached,
    ClockCancelled,
    ClockCorrected,
    ClockMessage,
    ClockMet,
    ClockSettled,
    ClockStarted,
    HandoffMessage,
    encode,
)

CHANNEL: Final = "leadpact_handoff_clocks"  # told when a clock was started, moved or ended
OUTCOMES: Final = {ClockMet: "met", ClockCorrected: "met", ClockBreached: "breached", ClockCancelled: "cancelled"}
_NUL: Final = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")  # not behind a backslash that is one itself

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Lead)


# --- leads ---


async def load(conn: AsyncConnection, leads: Sequence[str]) -> dict[str, Lead]:
    """The leads that are known, locked; of the others empty rows are made and so locked too (leads_pkey).

    The two topics of one lead may be read by two instances: without a row to wait at, both would
    begin the lead anew. Rows are made before any is locked, both in the order of the keys, so that
    two who do this never wait for each other. Raises Refused (`unreadable`).
    """
    await _make_rows(conn, leads)
    sql = "SELECT lead, document FROM handoff.leads WHERE lead = ANY(CAST(:leads AS text[])) ORDER BY lead FOR UPDATE"
    rows = await conn.execute(sa.text(sql), {"leads": list(leads)})
    return {lead: _decoded(document) for lead, document in rows if document is not None}


def _decoded(document: bytes) -> Lead:
    """Raises Refused (`unreadable`) for what another version wrote and this one does not understand."""
    lead = _readable(document)
    if lead is None:
        raise Refused("unreadable", "another version of Leadpact wrote this lead, and this one cannot read it")
    return lead


async def _make_rows(conn: AsyncConnection, leads: Sequence[str]) -> None:
    """Empty rows of those that have none (leads_pkey)."""
    sql = """
        INSERT INTO handoff.leads (lead) SELECT t.lead FROM unnest(CAST(:leads AS text[])) AS t(lead)
        WHERE NOT EXISTS (SELECT FROM handoff.leads l WHERE l.lead = t.lead) ORDER BY t.lead
        ON CONFLICT DO NOTHING
    """
    await conn.execute(sa.text(sql), {"leads": list(leads)})


async def save_leads(
    conn: AsyncConnection, before: Mapping[str, Lead], states: Mapping[str, Lead], now: datetime
) -> None:
    """Write the changed leads, whose rows are locked (leads_pkey). Of most only the document is another."""
    short: list[Lead] = []
    whole: list[Lead] = []
    for key, lead in states.items():
        listed_the_same = key in before and _listed(before[key]) == _listed(lead)
        (short if listed_the_same else whole).append(lead)
    if short:
        await _save_documents(conn, short, now)
    if whole:
        await _save_whole(conn, whole, now)


def _listed(lead: Lead) -> tuple[Any, ...]:
    """What lists and sweeps find a lead by: the columns beside its document and version."""
    agreement = lead.agreement if lead.clocks else ""
    return lead.state, lead.team, lead.owner, lead.priority, lead.gone, agreement, lead.next_due, lead.wakes_at


async def _save_documents(conn: AsyncConnection, leads: Sequence[Lead], now: datetime) -> None:
    sql = """
        UPDATE handoff.leads SET version = t.version, document = t.document, updated_at = :now
        FROM unnest(CAST(:leads AS text[]), CAST(:versions AS bigint[]), CAST(:documents AS bytea[]))
             AS t(lead, version, document)
        WHERE leads.lead = t.lead
    """
    columns = {
        "leads": [lead.lead for lead in leads],
        "versions": [lead.version for lead in leads],
        "documents": [_encoder.encode(lead) for lead in leads],
    }
    await conn.execute(sa.text(sql), {"now": now, **columns})


async def _save_whole(conn: AsyncConnection, found: Sequence[Lead], now: datetime) -> None:
    sql = """
        UPDATE handoff.leads SET tenant = t.tenant, state = t.state, team = t.team, owner = t.owner,
            priority = t.priority, version = t.version, due_at = t.due_at, gone = t.gone,
            wakes_at = t.wakes_at, agreement = t.agreement, document = t.document, updated_at = :now
        FROM unnest(CAST(:leads AS text[]), CAST(:tenants AS text[]), CAST(:states AS text[]),
                    CAST(:teams AS text[]), CAST(:owners AS text[]), CAST(:priorities AS text[]),
                    CAST(:versions AS bigint[]), CAST(:dues AS timestamptz[]), CAST(:gone AS boolean[]),
                    CAST(:wakes AS timestamptz[]), CAST(:agreements AS text[]), CAST(:documents AS bytea[]))
             AS t(lead, tenant, state, team, owner, priority, version, due_at, gone, wakes_at, agreement, document)
        WHERE leads.lead = t.lead
    """
    columns = {
        "leads": [lead.lead for lead in found],
        "tenants": [lead.tenant for lead in found],
        "states": [str(lead.state) for lead in found],
        "teams": [lead.team for lead in found],
        "owners": [lead.owner for lead in found],
        "priorities": [lead.priority for lead in found],
        "versions": [lead.version for lead in found],
        "dues": [lead.next_due for lead in found],
        "gone": [bool(lead.gone) for lead in found],
        "wakes": [lead.wakes_at for lead in found],
        "agreements": [lead.agreement if lead.clocks else "" for lead in found],
        "documents": [_encoder.encode(lead) for lead in found],
    }
    await conn.execute(sa.text(sql), {"now": now, **columns})


async def find(conn: AsyncConnection, lead: str) -> Lead | None:
    """One lead as it stands, unlocked (leads_pkey). None when it is not known or gone.

    Raises Refused (`unreadable`).
    """
    sql = "SELECT document FROM handoff.leads WHERE lead = :lead AND NOT gone"
    document = await conn.scalar(sa.text(sql), {"lead": lead})
    return _decoded(document) if document is not None else None


async def survivor(conn: AsyncConnection, lead: str) -> str:
    """The lead that this one is part of by now, however many merges lie between (leads_pkey); "" for none.

    Raises Refused (`unreadable`).
    """
    sql = "SELECT document FROM handoff.leads WHERE lead = :lead AND gone"
    into = ""
    while (document := await conn.scalar(sa.text(sql), {"lead": into or lead})) is not None:
        if not (further := _decoded(document).merged_into):
            return ""  # it was deleted since
        into = further
    return into


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a page ended: the lead, and when it was due where that is the order."""

    lead: str = ""
    due_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class TeamsSeen:
    """The teams that somebody sees: of each tenant with an agreement of its own, and of all other tenants."""

    others: Sequence[str]
    own: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def of(self, tenant: str) -> Sequence[str]:
        return self.own.get(tenant, self.others)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which leads to list; None does not matter. `mine` and `teams` are those that the caller may see.

    `by_due`: only what Sales owes something, the longest due first; else in the order of the keys.
    """

    state: str | None = None
    team: str | None = None
    owner: str | None = None
    due_before: datetime | None = None
    mine: str | None = None
    teams: TeamsSeen | None = None
    by_due: bool = False
    after: Place | None = None
    limit: int = 100


@dataclass(frozen=True, kw_only=True)
class Page:
    """Leads in their order; `next` is where the following page starts, None on the last one."""

    leads: Sequence[Lead]
    unreadable: frozenset[str]  # leads that another version wrote, left out
    next: Place | None


async def listed(conn: AsyncConnection, wanted: Wanted) -> Page:
    """A page of leads (leads_due by due time; else leads_owner, leads_team, leads_state or leads_pkey)."""
    clauses, given = _where(wanted)
    order = "due_at, lead" if wanted.by_due else "lead"
    sql = f"SELECT lead, due_at, document FROM handoff.leads WHERE {clauses} ORDER BY {order} LIMIT :limit"
    rows = (await conn.execute(sa.text(sql), {**given, "limit": wanted.limit})).all()
    found = {row.lead: _readable(row.document) for row in rows}
    last = rows[-1] if len(rows) == wanted.limit else None
    return Page(
        leads=[lead for lead in found.values() if lead is not None],
        unreadable=frozenset(key for key, lead in found.items() if lead is None),
        next=Place(lead=last.lead, due_at=last.due_at if wanted.by_due else None) if last else None,
    )


def _where(wanted: Wanted) -> tuple[str, dict[str, Any]]:
    """Its clauses and values. What partial indexes ask for is said in words: a plan is made before the values come."""
    asked: dict[str, dict[str, Any]] = {
        "document IS NOT NULL AND NOT gone": {},
        "state = :state" + _unlike("state", wanted.state, "marketing"): {"state": wanted.state},
        "team = :team" + _unlike("team", wanted.team, ""): {"team": wanted.team},
        "owner = :owner" + _unlike("owner", wanted.owner, ""): {"owner": wanted.owner},
        "owner = :mine" + _unlike("owner", wanted.mine, ""): {"mine": wanted.mine},
        **_in_teams(wanted.teams),
        "due_at < :due_before": {"due_before": wanted.due_before},
        **_after(wanted),
    }
    given = {clause: values for clause, values in asked.items() if None not in values.values()}
    return " AND ".join(given), {name: value for values in given.values() for name, value in values.items()}


def _unlike(column: str, value: str | None, left_out: str) -> str:
    return f" AND {column} <> '{left_out}'" if value != left_out else ""


def _in_teams(seen: TeamsSeen | None) -> dict[str, dict[str, Any]]:
    """Teams of one name in two agreements are two teams: which tenant's lead it is decides."""
    if seen is None:
        return {}
    names = sorted({*seen.others, *(team for teams in seen.own.values() for team in teams)})
    # Of one team the index has the leads in order; of several they have to be sorted.
    among = "= (CAST(:teams AS text[]))[1]" if len(names) == 1 else "= ANY(CAST(:teams AS text[]))"
    found: dict[str, dict[str, Any]] = {f"team {among} AND team <> ''": {"teams": names}}
    if seen.own:
        pairs = [(tenant, team) for tenant, teams in seen.own.items() for team in teams]
        clause = """(team = ANY(CAST(:others AS text[])) AND tenant <> ALL(CAST(:tenants AS text[]))
            OR (tenant, team) IN (SELECT * FROM unnest(CAST(:whose AS text[]), CAST(:which AS text[]))))"""
        found[clause] = {
            "others": list(seen.others),
            "tenants": list(seen.own),
            "whose": [tenant for tenant, _ in pairs],
            "which": [team for _, team in pairs],
        }
    return found


def _after(wanted: Wanted) -> dict[str, dict[str, Any]]:
    """From where on: by due time with the key besides, as many are due at the same time."""
    place = wanted.after
    if not wanted.by_due:
        return {"lead > :after": {"after": place.lead if place else ""}}
    further = {"(due_at, lead) > (:due_at, :after)": {"due_at": place.due_at, "after": place.lead}} if place else {}
    return {"due_at IS NOT NULL": {}, **further}


async def heard(conn: AsyncConnection, command_id: str) -> bool:
    """Whether a command was done already (inbox_pkey)."""
    sql = "SELECT EXISTS (SELECT FROM handoff.inbox WHERE id = CAST(:id AS uuid))"
    return bool(await conn.scalar(sa.text(sql), {"id": command_id}))


async def count_by_state(conn: AsyncConnection) -> dict[str, int]:
    """How many leads there are in each state: a scan, so at most every few seconds."""
    sql = "SELECT state, count(*) AS leads FROM handoff.leads WHERE document IS NOT NULL AND NOT gone GROUP BY state"
    return {row.state: row.leads for row in await conn.execute(sa.text(sql))}


# --- clocks ---


async def claim_due(
    conn: AsyncConnection, now: datetime, limit: int, *, without: Sequence[str] = ()
) -> dict[str, Lead | None]:
    """Leads with a clock that is due, longest first, then those whose pause is over; locked.

    What others hold is left to them (clocks_next, leads_wakes).

    Never waits, so it cannot deadlock with those who lock in the order of keys. The clock is locked with its
    lead, so that it is looked at again: what another has just fired is due no longer. None: it cannot be read.
    """
    sql = """
        SELECT l.lead, l.document FROM handoff.clocks c JOIN handoff.leads l ON l.lead = c.lead
        WHERE c.next_at <= :now AND c.lead <> ALL(CAST(:without AS text[]))
        ORDER BY c.next_at LIMIT :limit FOR UPDATE OF l, c SKIP LOCKED
    """
    rows = (await conn.execute(sa.text(sql), {"now": now, "limit": limit, "without": list(without)})).all()
    if len(rows) < limit:
        rows = [*rows, *await _waking(conn, now, limit - len(rows), without=without)]
    return {lead: _readable(document) for lead, document in rows}


async def _waking(conn: AsyncConnection, now: datetime, limit: int, *, without: Sequence[str]) -> Sequence[sa.Row[Any]]:
    sql = """
        SELECT lead, document FROM handoff.leads
        WHERE wakes_at <= :now AND lead <> ALL(CAST(:without AS text[]))
        ORDER BY wakes_at LIMIT :limit FOR UPDATE SKIP LOCKED
    """
    return (await conn.execute(sa.text(sql), {"now": now, "limit": limit, "without": list(without)})).all()


def _readable(document: bytes) -> Lead | None:
    """None for what another version wrote and this one does not understand: the clocks of all others go on."""
    try:
        return _decoder.decode(document)
    except msgspec.MsgspecError:
        return None


async def tenants_with_clocks(conn: AsyncConnection) -> list[str]:
    """Every tenant that has a lead with an open clock: a probe of leads_by_agreement for each."""
    sql = """
        WITH RECURSIVE found (tenant) AS (
            (SELECT tenant FROM handoff.leads WHERE agreement <> '' ORDER BY tenant LIMIT 1)
            UNION ALL
            SELECT (SELECT l.tenant FROM handoff.leads l WHERE l.agreement <> '' AND l.tenant > found.tenant
                    ORDER BY l.tenant LIMIT 1)
            FROM found WHERE found.tenant IS NOT NULL
        )
        SELECT tenant FROM found WHERE tenant IS NOT NULL
    """
    return list((await conn.scalars(sa.text(sql))).all())


async def claim_other_agreements(
    conn: AsyncConnection, tenant: str, version: str, limit: int, *, without: Sequence[str] = ()
) -> dict[str, Lead | None]:
    """Leads of a tenant whose open clocks another agreement set, locked as `claim_due` does (leads_by_agreement)."""
    sql = """
        SELECT lead, document FROM handoff.leads
        WHERE tenant = :tenant AND agreement <> '' AND (agreement < :version OR agreement > :version)
            AND lead <> ALL(CAST(:without AS text[]))
        ORDER BY agreement, lead LIMIT :limit FOR UPDATE SKIP LOCKED
    """
    given = {"tenant": tenant, "version": version, "limit": limit, "without": list(without)}
    rows = await conn.execute(sa.text(sql), given)
    return {lead: _readable(document) for lead, document in rows}


async def next_due(conn: AsyncConnection, *, without: Sequence[str] = ()) -> datetime | None:
    """When the next clock has something to say, or a pause ends: the first of clocks_next and of leads_wakes."""
    sql = """
        SELECT least(
            (SELECT next_at FROM handoff.clocks
             WHERE next_at IS NOT NULL AND lead <> ALL(CAST(:without AS text[])) ORDER BY next_at LIMIT 1),
            (SELECT wakes_at FROM handoff.leads
             WHERE wakes_at IS NOT NULL AND lead <> ALL(CAST(:without AS text[])) ORDER BY wakes_at LIMIT 1))
    """
    found: datetime | None = await conn.scalar(sa.text(sql), {"without": list(without)})
    return found


async def save_clocks(conn: AsyncConnection, states: Mapping[str, Lead], told: Sequence[HandoffMessage]) -> None:
    """Bring the rows of all clocks that `told` is about up to date, and wake who waits for the next (clocks_pkey)."""
    rows: dict[str, _ClockRow] = {}
    for message in told:
        if isinstance(message, ClockMessage):
            _note(rows, message)
    for state in states.values():
        for clock in state.clocks:
            if clock.id in rows:
                rows[clock.id].next_at = clock.next_at
    await _insert_clocks(conn, [row for row in rows.values() if row.started_at])
    await _update_clocks(conn, [row for row in rows.values() if not row.started_at])


class _ClockRow(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What messages say of one clock, by the names of its columns."""

    id: str
    due_at: datetime | None = None
    next_at: datetime | None = None
    outcome: str | None = None
    ended_at: datetime | None = None
    settled_at: datetime | None = None
    # Where its start is among them:
    started_at: datetime | None = None
    lead: str | None = None
    kind: str | None = None
    team: str | None = None
    priority: str | None = None


def _note(rows: dict[str, _ClockRow], message: ClockMessage) -> None:
    row = rows.setdefault(message.clock_id, _ClockRow(id=message.clock_id))
    row.due_at = message.due_at
    if isinstance(message, ClockStarted):
        row.started_at, row.lead, row.kind = message.at, message.lead, message.clock
        row.team, row.priority = message.team, message.priority
    elif isinstance(message, ClockSettled):
        row.settled_at = message.at
    elif type(message) in OUTCOMES:
        row.outcome, row.ended_at = OUTCOMES[type(message)], message.at


async def _insert_clocks(conn: AsyncConnection, rows: Sequence[_ClockRow]) -> None:
    """New clocks, some of which may have ended already (clocks_pkey)."""
    sql = """
        WITH started AS (
            INSERT INTO handoff.clocks
                (id, lead, kind, team, priority, started_at, due_at, next_at, outcome, ended_at, settled_at)
            SELECT id, lead, kind, team, priority, started_at, due_at, next_at, outcome, ended_at, settled_at
            FROM json_populate_recordset(CAST(NULL AS handoff.clocks), CAST(:rows AS json))
        )
        SELECT pg_notify(:channel, '')
    """
    await _write_clocks(conn, sql, rows)


async def _update_clocks(conn: AsyncConnection, rows: Sequence[_ClockRow]) -> None:
    """What became of clocks that were there before; a breach that is taken back is met (clocks_pkey)."""
    sql = """
        WITH changed AS (
            UPDATE handoff.clocks SET next_at = t.next_at, due_at = t.due_at,
                outcome = coalesce(t.outcome, clocks.outcome), ended_at = coalesce(t.ended_at, clocks.ended_at),
                settled_at = coalesce(t.settled_at, clocks.settled_at)
            FROM json_populate_recordset(CAST(NULL AS handoff.clocks), CAST(:rows AS json)) AS t
            WHERE clocks.id = t.id
        )
        SELECT pg_notify(:channel, '')
    """
    await _write_clocks(conn, sql, rows)


async def _write_clocks(conn: AsyncConnection, sql: str, rows: Sequence[_ClockRow]) -> None:
    """And wake whoever waits for the next that is due."""
    if rows:
        await conn.execute(sa.text(sql), {"rows": _encoder.encode(rows).decode(), "channel": CHANNEL})


# --- the timeline ---


async def add_to_timeline(conn: AsyncConnection, told: Sequence[HandoffMessage]) -> None:
    """Keep every message (timeline_pkey: a version given twice fails the transaction)."""
    sql = """
        INSERT INTO handoff.timeline (lead, version, at, type, body)
        SELECT lead, version, at, type, CAST(body AS json)
        FROM unnest(CAST(:leads AS text[]), CAST(:versions AS bigint[]), CAST(:ats AS timestamptz[]),
                    CAST(:types AS text[]), CAST(:bodies AS text[])) AS t(lead, version, at, type, body)
    """
    columns = {
        "leads": [m.lead for m in told],
        "versions": [m.version for m in told],
        "ats": [m.at for m in told],
        "types": [type(m).__name__ for m in told],
        "bodies": [_without_nul(encode(m).decode()) for m in told],
    }
    await conn.execute(sa.text(sql), columns)


def _without_nul(text: str) -> str:
    """JSON that PostgreSQL takes: it has no character 0, which a name that was imported may have in it."""
    return _NUL.sub(r"\1", text) if r"\u0000" in text else text


async def timeline(conn: AsyncConnection, lead: str, *, after: int, limit: int) -> list[dict[str, Any]]:
    """What happened to a lead, in the order of its versions (timeline_pkey)."""
    sql = """
        SELECT body FROM handoff.timeline WHERE lead = :lead AND version > :after ORDER BY version LIMIT :limit
    """
    rows = await conn.execute(sa.text(sql), {"lead": lead, "after": after, "limit": limit})
    return [dict(row.body) for row in rows]


@dataclass(frozen=True, kw_only=True)
class HandedOff:
    """A hand-off as the timeline has it."""

    lead: str
    at: datetime
    trigger: str
    grade: str
    team: str
    owner: str


async def latest_handoffs(conn: AsyncConnection, *, limit: int) -> list[HandedOff]:
    """The latest hand-offs, the newest first (timeline_handoffs)."""
    sql = """
        SELECT lead, at, body->>'trigger' AS trigger, body->>'grade' AS grade,
               coalesce(body->>'team', '') AS team, coalesce(body->>'owner', '') AS owner
        FROM handoff.timeline WHERE type = 'LeadHandedOff' ORDER BY at DESC LIMIT :limit
    """
    rows = await conn.execute(sa.text(sql), {"limit": limit})
    return [HandedOff(**row._mapping) for row in rows]


async def forget(conn: AsyncConnection, leads: Sequence[str]) -> None:
    """Remove what is personal from the timeline and the notifications (timeline_pkey, notifications_lead)."""
    if not leads:
        return
    given = {"leads": list(leads)}
    sql = """
        UPDATE handoff.timeline SET body = CAST(CAST(body AS jsonb) - 'information' AS json)
        WHERE lead = ANY(CAST(:leads AS text[])) AND CAST(body AS jsonb) ? 'information'
    """
    await conn.execute(sa.text(sql), given)
    await conn.execute(sa.text("DELETE FROM handoff.notifications WHERE lead = ANY(CAST(:leads AS text[]))"), given)


# --- notifications ---


@dataclass(frozen=True, kw_only=True)
class Pending:
    """A notification claimed for sending; `attempts` counts this one."""

    id: str
    body: bytes
    attempts: int
    created_at: datetime


async def add_notifications(conn: AsyncConnection, found: Sequence[Notice], now: datetime) -> None:
    """Have them sent, at once (notifications_pkey)."""
    if not found:
        return
    sql = """
        INSERT INTO handoff.notifications (id, lead, kind, body, created_at, next_try_at)
        SELECT id, lead, kind, body, :now, :now
        FROM unnest(CAST(:ids AS text[]), CAST(:leads AS text[]), CAST(:kinds AS text[]), CAST(:bodies AS bytea[]))
             AS t(id, lead, kind, body)
    """
    columns = {
        "ids": [notice.id for notice in found],
        "leads": [notice.lead for notice in found],
        "kinds": [notice.kind for notice in found],
        "bodies": [_encoder.encode(notice.body) for notice in found],
    }
    await conn.execute(sa.text(sql), {"now": now, **columns})


async def claim_notifications(conn: AsyncConnection, now: datetime, *, lease: timedelta, limit: int) -> list[Pending]:
    """Take some that are due; unless done, they are due again after `lease` (notifications_next)."""
    sql = """
        UPDATE handoff.notifications n SET next_try_at = :again, attempts = n.attempts + 1
        FROM (SELECT id FROM handoff.notifications WHERE next_try_at <= :now
              ORDER BY next_try_at LIMIT :limit FOR UPDATE SKIP LOCKED) AS due
        WHERE n.id = due.id RETURNING n.id, n.body, n.attempts, n.created_at
    """
    rows = await conn.execute(sa.text(sql), {"now": now, "again": now + lease, "limit": limit})
    found = [Pending(id=r.id, body=r.body, attempts=r.attempts, created_at=r.created_at) for r in rows]
    return sorted(found, key=lambda pending: (pending.created_at, pending.id))


async def retry_notification(conn: AsyncConnection, pending: Pending, at: datetime) -> None:
    """Try again at `at` (notifications_pkey)."""
    sql = "UPDATE handoff.notifications SET next_try_at = :at WHERE id = :id AND next_try_at IS NOT NULL"
    await conn.execute(sa.text(sql), {"id": pending.id, "at": at})


async def end_notifications(conn: AsyncConnection, ids: Iterable[str], outcome: str, now: datetime) -> None:
    """Never again, and what they said is forgotten (notifications_pkey)."""
    sql = """
        UPDATE handoff.notifications SET next_try_at = NULL, done_at = :now, outcome = :outcome, body = ''
        WHERE id = ANY(CAST(:ids AS text[]))
    """
    await conn.execute(sa.text(sql), {"ids": list(ids), "outcome": outcome, "now": now})


async def next_notification(conn: AsyncConnection) -> datetime | None:
    """When the next is to be sent: the first entry of notifications_next."""
    sql = "SELECT next_try_at FROM handoff.notifications WHERE next_try_at IS NOT NULL ORDER BY next_try_at LIMIT 1"
    found: datetime | None = await conn.scalar(sa.text(sql))
    return found


async def pending_notifications(conn: AsyncConnection) -> int:
    """How many are not done (notifications_next)."""
    sql = "SELECT count(*) FROM handoff.notifications WHERE next_try_at IS NOT NULL"
    return int(await conn.scalar(sa.text(sql)) or 0)


async def forget_notifications(conn: AsyncConnection, before: datetime) -> None:
    """Drop those done before `before` (a scan, once in a while)."""
    await conn.execute(sa.text("DELETE FROM handoff.notifications WHERE done_at < :before"), {"before": before})
