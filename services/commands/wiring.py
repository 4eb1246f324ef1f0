"""From settings to services: the parts, all four services from them, and a server around one application."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any, Final

import uvicorn
from alembic.util import CommandError
from fastapi import FastAPI
from prometheus_client import CollectorRegistry, ProcessCollector

from shared.agreement import Agreements
from shared.agreement.following import Following, read_all
from shared.bus.open import open_bus
from shared.clock import Clock
from shared.database import database_errors_are_later, make_engine, migrate, start_embedded
from shared.errors import Broken, Refused, WrongSetting
from shared.metrics import CommonMetrics
from shared.settings import CommonSettings
from shared.web import Parts, Service, Supervisor, Tokens

SERVICES: Final = ("ingest", "scoring", "handoff", "kpi")
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
EMBEDDED: Final = "embedded"
PATIENCE_S: Final = 5  # with requests under way, when the process is asked to stop
GARBAGE_OBJECTS: Final = 10_000  # made since the last search, before the next: the default of 700 is one request


def build(name: str, parts: Parts) -> Service:
    """The service of that name."""
    service: Service = importlib.import_module(f"services.{name}.app").build(parts)
    return service


def read_agreements(settings: CommonSettings) -> Agreements:
    """As the files say now. Raises WrongSetting with every problem of them."""
    with _agreement_refused(settings):
        return read_all(settings.agreement)


@contextlib.contextmanager
def _agreement_refused(settings: CommonSettings) -> Iterator[None]:
    try:
        yield
    except Refused as error:
        raise WrongSetting("LEADPACT_AGREEMENT", f"{settings.agreement} cannot be used:\n{error.message}") from error


def database_uri(settings: CommonSettings) -> str:
    """The database's address; the embedded one is started or joined. Blocking. Raises Broken."""
    return start_embedded(settings.data) if settings.database == EMBEDDED else settings.database


def existing_database_uri(settings: CommonSettings) -> str:
    """The same for who only looks: where nothing ever ran nothing is made."""
    if settings.database == EMBEDDED and not (settings.data / "postgres").exists():
        raise WrongSetting("LEADPACT_DATA", f"there is no database in {settings.data} yet: leadpact run makes it")
    return database_uri(settings)


@contextlib.asynccontextmanager
async def opened(environ: Mapping[str, str], uri: str, clock: Clock, wall: Clock) -> AsyncIterator[Parts]:
    """What every service is built from; given up in order at the end. Raises WrongSetting."""
    settings = CommonSettings.read(environ)
    tokens = Tokens(settings.tokens)
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    metrics = CommonMetrics(registry)
    with _agreement_refused(settings):
        following = Following(settings.agreement, clock=clock, wall=wall, metrics=metrics)
    async with contextlib.AsyncExitStack() as stack:
        engine = make_engine(uri)
        stack.push_async_callback(engine.dispose)
        bus = open_bus(settings, uri)
        stack.push_async_callback(bus.close)
        yield Parts(
            environ=environ,
            clock=clock,
            wall=wall,
            bus=bus,
            engine=engine,
            agreements=following.agreements,
            registry=registry,
            metrics=metrics,
            tokens=tokens,
            following=following,
        )


def migrate_all(uri: str) -> None:
    """The schemas of all services. Blocking. Raises Later when the database is away, or Broken."""
    for service in SERVICES:
        try:
            with database_errors_are_later():
                migrate(uri, service)
        except CommandError as error:  # such as a schema of a later version
            why = f"the schema of {service} cannot be brought up to date: {error}"
            raise Broken("migration_failed", why) from error


async def create_topics(settings: CommonSettings, uri: str) -> None:
    """The topics that are not there yet. Raises Later when the bus is away."""
    bus = open_bus(settings, uri)
    try:
        await bus.create_topics(partitions=settings.partitions, replication=settings.replication)
    finally:
        await bus.close()


# --- serving ---


def bind(host: str, port: int) -> socket.socket:
    """The address, not yet listened at, so that nobody waits at a closed door. Raises Broken."""
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except (OSError, OverflowError) as error:
        bound.close()
        raise _cannot_listen(host, port, error) from error
    return bound


def _cannot_listen(host: str, port: int, error: Exception) -> Broken:
    why = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return Broken("cannot_listen", f"--port {port} on --host {host} cannot be listened at: {why}")


def address(bound: socket.socket) -> str:
    """Where a program on this machine finds it."""
    host, port = bound.getsockname()[:2]
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # compared, not bound
    return f"http://{f'[{here}]' if ':' in here else here}:{port}"


class Server(uvicorn.Server):
    """One application at one address, until SIGINT or SIGTERM, and what runs beside it.

    What runs beside it is started once the address answers, and ended while it still does; when one
    of them fails, the server ends too.
    """

    def __init__(self, app: FastAPI, *, beside: Sequence[Callable[[], Coroutine[Any, Any, object]]] = ()) -> None:
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            lifespan="on",
            timeout_graceful_shutdown=PATIENCE_S,
        )
        super().__init__(config)
        self._beside = beside
        self._tasks: list[asyncio.Task[object]] = []
        self._supervisor: Supervisor = app.state.supervisor

    async def serve_at(self, bound: socket.socket) -> None:
        """Serve until told to stop. Raises Broken when it cannot start, or what broke."""
        host, port = bound.getsockname()[:2]
        try:
            await self.serve(sockets=[bound])
        except SystemExit as stop:  # uvicorn's answer to a failed start
            raise self._supervisor.broken or Broken("start_failed", "the services did not start") from stop
        except OSError as error:
            raise _cannot_listen(host, port, error) from error
        if self._supervisor.broken:
            raise self._supervisor.broken
        for task in self._tasks:
            if task.done() and not task.cancelled():
                task.result()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            _spare_what_stays()
            self._tasks = [asyncio.create_task(work()) for work in self._beside]
            for task in self._tasks:
                task.add_done_callback(self._one_ended)

    def _one_ended(self, task: asyncio.Task[object]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=PATIENCE_S)
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn would raise them again at the end; but to be stopped is no failure."""
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


def _spare_what_stays() -> None:
    """Python's search for circles need not walk again and again through all that was loaded at the start."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_OBJECTS)


def run_until_stopped(work: Coroutine[Any, Any, None]) -> None:
    """Run `work` to its end; until it handles SIGINT and SIGTERM itself they cancel it, which is no failure."""
    with asyncio.Runner(loop_factory=_new_loop) as runner:
        runner.run(_cancelled_by_signals(work))


async def _cancelled_by_signals(work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.create_task(work)
    for number in SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _new_loop() -> asyncio.AbstractEventLoop:
    """uvloop's, where there is one."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
