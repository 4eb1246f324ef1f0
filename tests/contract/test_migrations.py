"""Each service's migrations on a real PostgreSQL: from nothing, again, at once, apart from each other, and back."""

from __future__ import annotations

import asyncio
import multiprocessing
import re
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from importlib import resources
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from shared.database import make_engine, migrate

SERVICES = ("handoff", "ingest", "kpi", "scoring")
EVERY_SERVICES = {"inbox", "outbox", "agreements"}
ALEMBICS = {"alembic_version"}
PATIENCE_S = 60.0

Catalog = set[tuple[str, ...]]


def folder(service: str) -> Path:
    return Path(str(resources.files(f"services.{service}")))


def named_in_store(service: str) -> set[str]:
    """The tables that the service's queries speak of."""
    return set(re.findall(rf"\b{service}\.(\w+)", _without_imports((folder(service) / "store.py").read_text())))


def _without_imports(source: str) -> str:
    return "\n".join(line for line in source.splitlines() if not line.startswith(("from ", "import ")))


async def _rows(uri: str, sql: str) -> Catalog:
    engine = make_engine(uri, pool_size=1)
    async with engine.connect() as conn:
        found = {tuple(str(value) for value in row) for row in await conn.execute(sa.text(sql))}
    await engine.dispose()
    return found


def catalog(uri: str) -> Catalog:
    """Every column, index and comment that is not the server's own, with the schema first."""
    mine = "n.nspname NOT LIKE 'pg_%' AND n.nspname <> 'information_schema'"
    columns = f"""
        SELECT n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE {mine} AND a.attnum > 0 AND NOT a.attisdropped
    """
    indexes = "SELECT schemaname, indexname, indexdef FROM pg_indexes WHERE schemaname NOT LIKE 'pg_%'"
    return asyncio.run(_rows(uri, columns)) | asyncio.run(_rows(uri, indexes))


def tables(uri: str) -> dict[str, set[str]]:
    """The tables of each schema."""
    sql = "SELECT schemaname, tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
    found: dict[str, set[str]] = {}
    for schema, table in asyncio.run(_rows(uri, sql)):
        found.setdefault(schema, set()).add(table)
    return found


def downgrade(uri: str, service: str, to: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(folder(service) / "migrations"))
    config.attributes.update({"uri": uri, "service": service})
    command.downgrade(config, to)


@pytest.fixture
def uri(new_database: Callable[[], str]) -> str:
    return new_database()


@pytest.mark.parametrize("service", SERVICES)
def test_from_nothing_come_the_tables_that_the_store_speaks_of_and_no_others(uri: str, service: str) -> None:
    migrate(uri, service)
    assert tables(uri) == {service: named_in_store(service) | EVERY_SERVICES | ALEMBICS}


@pytest.mark.parametrize("service", SERVICES)
def test_a_second_time_changes_nothing(uri: str, service: str) -> None:
    migrate(uri, service)
    before = catalog(uri)
    migrate(uri, service)
    assert catalog(uri) == before


def test_processes_that_start_at_once_wait_for_each_other(uri: str) -> None:
    services = ["handoff", "handoff", "kpi", "kpi"]
    with ProcessPoolExecutor(len(services), mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(migrate, [uri] * len(services), services))
    assert set(tables(uri)) == set(services)


def in_threads(uri: str) -> None:
    both = [service for service in SERVICES for _ in range(2)]
    with ThreadPoolExecutor(len(both)) as pool:
        list(pool.map(migrate, [uri] * len(both), both))


def test_threads_of_one_process_wait_for_each_other(uri: str) -> None:
    """Alembic's context is global: two threads once took it from each other, and one waited for ever."""
    process = multiprocessing.get_context("spawn").Process(target=in_threads, args=(uri,))
    process.start()
    process.join(PATIENCE_S)
    process.kill()
    assert process.exitcode == 0
    assert set(tables(uri)) == set(SERVICES)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_leaves_the_schemas_of_the_others_alone(uri: str, service: str) -> None:
    for other in SERVICES:
        if other != service:
            migrate(uri, other)
    before = catalog(uri)
    migrate(uri, service)
    after = catalog(uri)
    assert {row for row in after if row[0] != service} == before
    downgrade(uri, service, "base")
    assert {row for row in catalog(uri) if row[0] != service} == before


@pytest.mark.parametrize("service", SERVICES)
def test_back_to_nothing_and_forth_again(uri: str, service: str) -> None:
    migrate(uri, service)
    there = catalog(uri)
    downgrade(uri, service, "base")
    assert tables(uri) == {service: ALEMBICS}
    migrate(uri, service)
    assert catalog(uri) == there


@pytest.mark.parametrize("service", SERVICES)
def test_the_revisions_are_one_line(service: str) -> None:
    scripts = ScriptDirectory(str(folder(service) / "migrations"))
    assert len(scripts.get_heads()) == 1
    files = sorted(path.name for path in (folder(service) / "migrations/versions").glob("*.py"))
    assert [f"{one.revision}_" for one in reversed(list(scripts.walk_revisions()))] == [name[:5] for name in files]


def test_a_migration_that_fails_leaves_nothing_behind(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables and the number of the version are one transaction."""
    from alembic.operations import Operations

    run = Operations.execute

    def failing(self: Operations, sql: str, *args: object) -> object:
        if "handoff.notifications" in sql:
            raise RuntimeError("the process died")
        return run(self, sql, *args)

    monkeypatch.setattr(Operations, "execute", failing)
    with pytest.raises(RuntimeError):
        migrate(uri, "handoff")
    assert not tables(uri)
    monkeypatch.undo()
    migrate(uri, "handoff")
    assert "notifications" in tables(uri)["handoff"]
