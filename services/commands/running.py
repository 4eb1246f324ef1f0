"""`leadpact run`, all four services in one process, and `leadpact serve`, one of them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fastapi import FastAPI

from services.commands import secrets, simulating
from services.commands.business_time import BusinessTime
from services.commands.folder import Folder
from services.commands.live import EVERY_S, PLAIN_EVERY_S, Watch, line
from services.commands.wiring import (
    EMBEDDED,
    SERVICES,
    Server,
    address,
    bind,
    build,
    create_topics,
    database_uri,
    migrate_all,
    opened,
    read_agreements,
)
from services.handoff.settings import HandoffSettings
from services.ingest.settings import IngestSettings
from shared import log
from shared.clock import Clock, SystemClock
from shared.errors import WrongSetting
from shared.settings import CommonSettings
from shared.web import Parts, create_app

WALL: Final = SystemClock()
Beside = Callable[[], Coroutine[Any, Any, object]]


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How `leadpact run` was called, and when. `terminal`: a person looks on; `say` tells a line."""

    host: str
    port: int
    simulate: bool
    speed: float
    terminal: bool
    say: Callable[[str], None]
    began: float


async def run(options: RunOptions, environ: Mapping[str, str]) -> None:
    """Set up, serve until stopped, and give all up in order. Raises Broken for what cannot work."""
    settings = CommonSettings.read(environ)
    keys = _check(options, environ, settings)
    folder = Folder(settings.data)
    with folder.taken(), contextlib.closing(bind(options.host, options.port)) as bound:
        log.configure(file=folder.log if options.terminal else None)
        made = secrets.make(keys, folder.secrets)
        environ = {**environ, **made.environ()}
        IngestSettings.read(environ), HandoffSettings.read(environ)  # what is wrong stops it before the slow part
        uri = await _set_up(options, settings)
        at_first = simulating.first_moment(WALL) if options.simulate and options.speed != 1 else None
        business = BusinessTime(folder.business_time, speed=options.speed, wall=WALL, at_first=at_first)
        async with business.kept() as clock, _assembled(options, environ, uri, clock, bound) as (app, parts, beside):
            ready = _announcing(options, made, folder, address(bound))
            watch = _watching(options, Watch(parts, app.state.supervisor), address(bound))
            await Server(app, beside=[ready, *beside, watch]).serve_at(bound)
    options.say(f"Stopped. All is kept in {settings.data}; the next run goes on from here.")


def _check(options: RunOptions, environ: Mapping[str, str], settings: CommonSettings) -> tuple[str, ...]:
    """What can be known to be wrong before anything is touched; the secrets that have to be made."""
    read_agreements(settings)
    keys = secrets.missing(environ, simulate=options.simulate)
    secrets.insist_on_own(options.host, keys)
    if options.simulate:
        simulating.refuse_another_crm(environ)
    return keys


async def _set_up(options: RunOptions, settings: CommonSettings) -> str:
    """The database's address, once schemas and topics are there; a line for each step."""
    if settings.database == EMBEDDED:
        options.say(f"Starting PostgreSQL in {settings.data} (the first time takes a few seconds) ...")
    uri = await asyncio.to_thread(database_uri, settings)
    options.say("Bringing the schemas up to date ...")
    await asyncio.to_thread(migrate_all, uri)
    options.say("Making the topics that are missing ...")
    await create_topics(settings, uri)
    return uri


@contextlib.asynccontextmanager
async def _assembled(
    options: RunOptions, environ: Mapping[str, str], uri: str, clock: Clock, bound: socket.socket
) -> AsyncIterator[tuple[FastAPI, Parts, list[Beside]]]:
    """All four services as one application, and what has to run beside it."""
    options.say(f"Starting {', '.join(SERVICES)} ...")
    beside: list[Beside] = []
    async with contextlib.AsyncExitStack() as stack:
        if options.simulate:
            crm = await stack.enter_async_context(
                simulating.beside(environ, clock, target=address(bound), speed=options.speed)
            )
            environ = crm.environ
            beside.append(crm.simulation.run)
            options.say(f"Simulated HubSpot, leads and sales people at {crm.url}")
        parts = await stack.enter_async_context(opened(environ, uri, clock, WALL))
        yield create_app([build(name, parts) for name in SERVICES], parts), parts, beside


def _announcing(options: RunOptions, made: secrets.Made, folder: Folder, url: str) -> Beside:
    """What a person has to know, once all answers."""

    async def announce() -> None:
        for text in made.lines():
            options.say(text)
        if options.terminal:
            options.say(f"Logs go to {folder.log}")
        options.say(f"Ready after {time.monotonic() - options.began:.1f} s: {url}/docs, {url}/metrics")

    return announce


def _watching(options: RunOptions, watch: Watch, url: str) -> Beside:
    """The live view, where there is a terminal; else a line now and then."""
    if not options.terminal:
        return lambda: watch.show(lambda numbers: options.say(line(numbers)), every_s=PLAIN_EVERY_S)

    async def show() -> None:
        from rich.console import Console
        from rich.live import Live

        from services.commands.screen import view

        addresses = (f"{url}/docs", f"{url}/metrics")
        with Live(console=Console(markup=False, highlight=False), auto_refresh=False) as live:
            await watch.show(
                lambda numbers: live.update(view(numbers, addresses=addresses, speed=options.speed), refresh=True),
                every_s=EVERY_S,
            )

    return show


# --- one service ---


async def serve(name: str, *, host: str, port: int, environ: Mapping[str, str], say: Callable[[str], None]) -> None:
    """One service until stopped, on a database that others use too. Raises Broken for what cannot work."""
    settings = CommonSettings.read(environ)
    if settings.database == EMBEDDED:
        why = "must be a postgresql:// address for leadpact serve: its processes share one (leadpact run has its own)"
        raise WrongSetting("LEADPACT_DATABASE", why)
    if not settings.tokens and not secrets.is_loopback(host):
        raise WrongSetting("LEADPACT_TOKENS", f"must be set to listen on {host}")
    log.configure()
    with contextlib.closing(bind(host, port)) as bound:
        async with opened(environ, settings.database, WALL, WALL) as parts:
            app = create_app([build(name, parts)], parts)
            say(f"{name} at {address(bound)}")
            await Server(app).serve_at(bound)
