"""ingest keeps no tables of its own beside the inbox and the outbox that every service has."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from shared.work import Changes


async def load(conn: AsyncConnection, keys: Sequence[str]) -> dict[str, None]:
    """Nothing is known of a record: the CRM is asked each time."""
    return {}


async def save(conn: AsyncConnection, changes: Changes[None]) -> None:
    """Nothing to keep: the messages go out by the outbox."""
