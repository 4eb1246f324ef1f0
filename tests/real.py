"""The real parts that tests run on: PostgreSQL, Apache Kafka, free ports.

A conftest takes the fixtures it wants: `from tests.real import kafka, new_database, postgres`.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from shared.database import make_engine, start_embedded

REPO = Path(__file__).resolve().parents[1]


def _load_script() -> Any:
    """deploy/dev/kafka.py, which is a script and in no package."""
    name = "leadpact_dev_kafka"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, REPO / "deploy" / "dev" / "kafka.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


_script = _load_script()
free_port = _script.free_port


class KafkaServer(_script.KafkaServer):  # type: ignore[misc]  # of a script
    """Lives for minutes, in which it would not earn back what Java's second compiler costs."""

    java_options = (*_script.JAVA_OPTIONS, "-XX:TieredStopAtLevel=1")


def need_kafka() -> None:
    """Skip without the artifacts of Kafka; in CI, fail."""
    if not _script.prepared():
        reason = "Kafka is not here: run deploy/dev/kafka.py prepare"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


def need_program(*names: str) -> str:
    """The path of the first of these programs that is installed; skip without any, in CI fail."""
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        reason = f"none of {', '.join(names)} is installed"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A running KafkaServer, shared: use a topic prefix of your own, and start your own to hurt it."""
    need_kafka()
    server = KafkaServer(tmp_path_factory.mktemp("kafka"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a running PostgreSQL, shared; it stops when the tests end."""
    return start_embedded(tmp_path_factory.mktemp("postgres"))


@pytest.fixture
def new_database(postgres: str) -> Callable[[], str]:
    """Call it for the address of a fresh, empty database on the shared server."""

    def make() -> str:
        import asyncio
        import threading

        name = f"test_{uuid4().hex[:12]}"
        # in a thread of its own, for callers inside a running loop
        thread = threading.Thread(target=lambda: asyncio.run(_create_database(postgres, name)))
        thread.start()
        thread.join()
        return sa.make_url(postgres).set(database=name).render_as_string(hide_password=False)

    return make


async def _create_database(uri: str, name: str) -> None:
    engine = make_engine(uri, pool_size=1)
    async with engine.connect() as conn:
        await (await conn.execution_options(isolation_level="AUTOCOMMIT")).execute(sa.text(f"CREATE DATABASE {name}"))
    await engine.dispose()
