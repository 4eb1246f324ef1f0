"""The leadpact command: the one place that knows all four services.

Exit status: 0 ok, 1 found something, 2 cannot run. What each command does is in services/commands/,
loaded only when it is called.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from shared.errors import Broken, LeadpactError

if TYPE_CHECKING:
    from shared.bus import Bus

FOUND: Final = 1
CANNOT: Final = 2
# Which setting to look at when something outside is away.
SETTING_OF: Final = {"bus_away": "LEADPACT_BUS", "topic_missing": "LEADPACT_BUS", "database_away": "LEADPACT_DATABASE"}

app = typer.Typer(
    name="leadpact",
    help="Keeps the agreement between Marketing and Sales about leads.",
    epilog="Example: leadpact run",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
agreements = typer.Typer(help="The agreement's file.", epilog="Example: leadpact agreement check", no_args_is_help=True)
events = typer.Typer(
    help="The recorded events.", epilog="Example: leadpact events export crm.events", no_args_is_help=True
)
letters = typer.Typer(
    help="What could not be used.", epilog="Example: leadpact dead-letters list", no_args_is_help=True
)
scores = typer.Typer(help="The score.", epilog="Example: leadpact scoring evaluate", no_args_is_help=True)
app.add_typer(agreements, name="agreement")
app.add_typer(scores, name="scoring")
app.add_typer(events, name="events")
app.add_typer(letters, name="dead-letters")


class ServiceName(StrEnum):
    INGEST = "ingest"
    SCORING = "scoring"
    HANDOFF = "handoff"
    KPI = "kpi"


class Mode(StrEnum):
    LIVE = "live"
    BURST = "burst"


class Stage(StrEnum):
    SQL = "sql"
    OPPORTUNITY = "opportunity"
    CUSTOMER = "customer"


Host = Annotated[str, typer.Option(help="Where to listen; other than loopback only with secrets of your own.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Where to listen; 0: any free port.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Reason = Annotated[str | None, typer.Option(help="Only those with this reason.")]


@app.callback()
def settings_for_all(context: typer.Context) -> None:
    """Keeps the agreement between Marketing and Sales about leads."""
    from services.commands.environment import read_environ

    context.obj = context.obj if context.obj is not None else read_environ(os.environ, Path.cwd())


@app.command(epilog="Example: leadpact run --speed 3600")
def run(
    context: typer.Context,
    *,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    simulate: Annotated[bool, typer.Option(help="Whether simulated leads and sales people make traffic.")] = True,
    speed: Annotated[float, typer.Option(min=1, max=100_000, help="How much faster business time runs.")] = 1,
    data: Annotated[Path | None, typer.Option(help="Folder for all data; else LEADPACT_DATA.")] = None,
    agreement: Annotated[Path | None, typer.Option(help="The agreement's file; else LEADPACT_AGREEMENT.")] = None,
) -> None:
    """All four services in one process.

    With a live view, where there is a terminal. Ctrl-C stops it; the next run goes on from there.
    """
    began = time.monotonic()
    said = {"LEADPACT_DATA": data, "LEADPACT_AGREEMENT": agreement}
    environ = {**context.obj, **{key: str(path) for key, path in said.items() if path is not None}}
    with _stop_is_no_failure():
        typer.echo("Leadpact starts ...")
        from services.commands.running import RunOptions
        from services.commands.running import run as run_all
        from services.commands.wiring import run_until_stopped

        options = RunOptions(
            host=host,
            port=port,
            simulate=simulate,
            speed=speed,
            terminal=sys.stdout.isatty(),
            say=typer.echo,
            began=began,
        )
        run_until_stopped(run_all(options, environ))


@app.command(epilog="Example: leadpact serve ingest --host 0.0.0.0 --port 8000")
def serve(
    context: typer.Context,
    service: Annotated[ServiceName, typer.Argument(help="Which.", show_default=False)],
    *,
    host: Host = "127.0.0.1",
    port: Port = 8000,
) -> None:
    """One service, beside the others.

    Any number of each, on one database and bus; leadpact migrate comes first.
    """
    with _stop_is_no_failure():
        from services.commands.running import serve as serve_one
        from services.commands.wiring import run_until_stopped

        run_until_stopped(serve_one(service, host=host, port=port, environ=context.obj, say=typer.echo))


@app.command(epilog="Example: LEADPACT_DATABASE=postgresql://db/leadpact leadpact migrate")
def migrate(context: typer.Context) -> None:
    """Bring schemas and topics up to date.

    Safe to do again, and by several at once.
    """
    from services.commands import wiring
    from shared import log
    from shared.settings import CommonSettings

    log.configure(level="CRITICAL")  # what goes wrong is told in a line
    settings = CommonSettings.read(context.obj)
    uri = wiring.database_uri(settings)
    wiring.migrate_all(uri)
    typer.echo(f"schemas up to date: {', '.join(wiring.SERVICES)}")
    asyncio.run(wiring.create_topics(settings, uri))
    typer.echo("topics are there")


@app.command(epilog="Example: leadpact simulate --mode burst --leads 500 --duplicates 0.2 --ledger ledger.jsonl")
def simulate(
    context: typer.Context,
    *,
    target: Annotated[str, typer.Option(help="Where the webhooks go.")] = "http://127.0.0.1:8000/webhooks/hubspot",
    host: Annotated[str, typer.Option(help="Where the CRM's API and /notifications listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The same; 0: any free port.")] = 0,
    mode: Annotated[Mode, typer.Option(help="live: for ever, at the clock's pace; burst: so many leads.")] = Mode.LIVE,
    leads: Annotated[int, typer.Option(min=0, help="Of a burst.")] = 100,
    seed: Annotated[int, typer.Option(help="The same seed gives the same stories.")] = 1,
    rate: Annotated[float, typer.Option(min=0.001, help="New leads in an hour of the stories, when live.")] = 12.0,
    duplicates: Annotated[float, typer.Option(min=0, max=1, help="Share of events sent twice.")] = 0.05,
    disorder: Annotated[float, typer.Option(min=0, max=1, help="Share held back, and of batches shuffled.")] = 0.05,
    bad: Annotated[float, typer.Option(min=0, max=1, help="Share of requests with a malformed event.")] = 0.0,
    lost: Annotated[float, typer.Option(min=0, max=1, help="Share of events never sent.")] = 0.0,
    failures: Annotated[float, typer.Option(min=0, max=1, help="Share of API requests answered 5xx.")] = 0.0,
    rate_limit: Annotated[int, typer.Option(min=1, help="API requests in ten seconds before a 429.")] = 190,
    hour_s: Annotated[float | None, typer.Option(min=0, help="Seconds of a story's hour.")] = None,
    business_hours: Annotated[bool | None, typer.Option(help="Whether people act by day only.")] = None,
    spread_s: Annotated[float, typer.Option(min=0, help="Over how long a burst's leads arrive at least.")] = 0.0,
    hold_s: Annotated[float, typer.Option(min=0, help="How long an event is held back at most.")] = 1.0,
    retry_s: Annotated[float, typer.Option(min=0, help="Before the first retry of a webhook; it doubles.")] = 0.5,
    max_attempts: Annotated[int, typer.Option(min=1, help="Then a webhook is given up.")] = 11,
    quiet_s: Annotated[float, typer.Option(min=0, help="A burst is settled after so long without a word.")] = 5.0,
    ledger: Annotated[Path | None, typer.Option(help="Where to write all that was said.")] = None,
    state: Annotated[Path | None, typer.Option(help="Remembers record ids, so that they do not repeat.")] = None,
    portal: Annotated[int | None, typer.Option(min=1, help="The HubSpot account; else that of the secret.")] = None,
    stay: Annotated[bool, typer.Option(help="Serve the API on after a burst.")] = False,
    api_only: Annotated[bool, typer.Option(help="No leads of its own.")] = False,
    speed: Annotated[float, typer.Option(min=1, max=100_000, help="How much faster its clock runs.")] = 1,
) -> None:
    """A HubSpot to try with.

    It sends webhooks, serves the API, and has sales people who follow up well, late or never.
    """
    given = {name: value for name, value in locals().items() if name not in ("context", "speed")}
    with _stop_is_no_failure():
        from services.commands import simulating
        from services.commands.wiring import run_until_stopped
        from shared import log
        from shared.crm.simulator import SimulatorOptions

        log.configure()
        told = simulating.told_by(context.obj)
        options = SimulatorOptions(**{**told, **given, "portal": portal or told["portal"]})
        run_until_stopped(simulating.simulate(options, speed=speed, say=typer.echo))


@agreements.command("check", epilog="Example: leadpact agreement check deploy/agreement.yaml")
def check(
    context: typer.Context,
    files: Annotated[list[Path] | None, typer.Argument(help="Else LEADPACT_AGREEMENT.", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """Tell everything that is wrong with it.

    As file:line:column: key: what would be right. A warning is what can be used and is hardly meant.
    With LEADPACT_HUBSPOT_TOKEN set, the CRM is asked for its properties and owners. Exit status 1 when
    there is anything.
    """
    import dataclasses

    from services.commands import checking
    from shared import log
    from shared.settings import CommonSettings

    log.configure(level="CRITICAL")  # what goes wrong is told in a line
    paths = files or [CommonSettings.read(context.obj).agreement]
    problems = asyncio.run(checking.check(paths, context.obj, say=lambda text: typer.echo(text, err=True)))
    if as_json:
        _print_json([dataclasses.asdict(problem) for problem in problems])
    else:
        for text in [*map(str, problems)] or [f"{path}: nothing wrong" for path in paths]:
            typer.echo(text)
    raise typer.Exit(FOUND if problems else 0)


@agreements.command("diff", epilog="Example: leadpact agreement diff old.yaml new.yaml --markdown")
def diff(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(metavar="[OLD] NEW", help="Without OLD: that of LEADPACT_AGREEMENT.")],
    as_json: Json = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown, as for a pull request.")] = False,
) -> None:
    """Tell what a new agreement would change.

    In the words of the agreement, by its parts. Exit status 1 when there is anything.
    """
    from services.commands import differing
    from shared.settings import CommonSettings

    if len(files) > 2 or (as_json and as_markdown):
        raise typer.BadParameter("name one or two files, and not both --json and --markdown")
    old, new = files if len(files) == 2 else (CommonSettings.read(context.obj).agreement, *files)
    if problems := differing.problems_of(old, new):
        typer.echo("\n".join(problems), err=True)
        raise typer.Exit(CANNOT)
    found = differing.Difference.of(old, new)
    if as_json:
        _print_json(found.as_json())
    else:
        typer.echo("\n".join(found.markdown() if as_markdown else found.lines()))
    raise typer.Exit(FOUND if found.changes else 0)


@agreements.command(epilog="Example: leadpact agreement versions --json")
def versions(
    context: typer.Context,
    version: Annotated[str | None, typer.Argument(help="Show what it said.", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """Every version that the services acted under.

    A line each: version, tenant, since when, which services; the latest first. In UTC.
    """
    from services.commands import versions as recorded
    from shared import log

    log.configure(level="CRITICAL")  # what goes wrong is told in a line
    if version:
        typer.echo(asyncio.run(recorded.content(context.obj, version)))
        return
    found = asyncio.run(recorded.listed(context.obj))
    if as_json:
        _print_json([one.as_json() for one in found])
    else:
        for one in found:
            typer.echo(one.line())


@app.command(epilog="Example: leadpact goals --tenant hubspot:62515")
def goals(
    context: typer.Context,
    tenant: Annotated[str, typer.Option(help="Whose agreement; else that of all others.")] = "",
    as_json: Json = False,
) -> None:
    """What the goals need by when, and whether they are on pace.

    By stage, method and week, what Marketing owes, and what the target needs at the conversions really
    measured. Where nothing ever ran, the plan alone.
    """
    import msgspec

    from services.commands import goals as held
    from shared import log

    log.configure(level="CRITICAL")  # what goes wrong is told in a line
    found = asyncio.run(held.read(context.obj, tenant))
    if as_json:
        _print_json(msgspec.to_builtins(found))
        return
    from rich.console import Console

    width = None if sys.stdout.isatty() else held.WIDTH
    Console(markup=False, highlight=False, width=width).print(held.shown(found))


@agreements.command(epilog="Example: leadpact agreement backtest new.yaml --since 30d --html backtest.html")
def backtest(
    context: typer.Context,
    new: Annotated[Path, typer.Argument(help="The agreement to try.")],
    *,
    against: Annotated[Path | None, typer.Option(help="The old one; else LEADPACT_AGREEMENT.")] = None,
    events_file: Annotated[
        Path | None, typer.Option("--events", help="What events export wrote of crm.events; else the bus.")
    ] = None,
    since: Annotated[str, typer.Option(help="Count from then on: a date, or 30d before the last event.")] = "",
    until: Annotated[str, typer.Option(help="Leave out what came from then on: a date or time.")] = "",
    leads: Annotated[Path | None, typer.Option(help="Write every lead that differs, a line of JSON each.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with charts.")] = None,
    as_json: Json = False,
) -> None:
    """What it would have done with the recorded events.

    The events go through the services' own rules under both agreements: MQLs, hand-offs, grades and why they
    change, returns, and a prediction of late first touches. Exit status 1 when anything differs.
    """
    from services.commands.backtest.calling import Call, call
    from shared.settings import CommonSettings

    given = Call(
        new=new,
        old=against or CommonSettings.read(context.obj).agreement,
        events=events_file,
        since=since,
        until=until,
        leads=leads,
        html=html,
        as_json=as_json,
    )
    with _stop_is_failure():
        found = call(given, lambda: _bus(context.obj))
    raise typer.Exit(FOUND if found else 0)


@agreements.command("schema", epilog="Example: leadpact agreement schema > agreement.schema.json")
def schema() -> None:
    """Print the JSON Schema of the file.

    For editors: they complete and check by it. Its address goes into the first line of the file, as
    # yaml-language-server: $schema=agreement.schema.json
    """
    from shared.agreement.schema import text

    typer.echo(text(), nl=False)


@app.command(epilog="Example: leadpact settings --json")
def settings(context: typer.Context, as_json: Json = False) -> None:
    """Every setting, as it is now.

    Its value (secrets masked), what it means, and who reads it. Exit status 1 when one is missing or wrong.
    """
    from services.commands import listing

    listed = list(listing.settings(context.obj))
    if as_json:
        _print_json([one.as_json() for one in listed])
    else:
        for one in listed:
            typer.echo(one.line())
    raise typer.Exit(FOUND if any(one.setting.problem for one in listed) else 0)


@scores.command(epilog="Example: leadpact scoring evaluate --csv leads.csv --mapping columns.yaml --html score.html")
def evaluate(
    context: typer.Context,
    *,
    to: Annotated[Stage, typer.Option(help="What counts as converted.")] = Stage.SQL,
    agreement: Annotated[Path | None, typer.Option(help="The agreement to judge; else LEADPACT_AGREEMENT.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Past leads in a file; else those of the bus.")] = None,
    mapping: Annotated[Path | None, typer.Option(help="Which column of it holds what (YAML).")] = None,
    window: Annotated[str, typer.Option(help="In which a lead converts, as 90d; else the agreement's.")] = "",
    until: Annotated[str, typer.Option(help="Where the record ends: a date or time; else its last.")] = "",
    suggest: Annotated[Path | None, typer.Option(help="Write the agreement with the suggested points.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with charts.")] = None,
    as_json: Json = False,
) -> None:
    """Does the score tell the truth?

    How well it told, at the hand-off, which leads would convert; which rules earn their points and which
    contradict the history; which fields are only known after the fact; and points that were learned from the
    earlier leads and judged on the later ones. Nothing is changed. With --csv no database is needed.
    Exit status 1 when a rule contradicts the history, or asks about a field that is only known afterwards.
    """
    from services.commands.evaluating import history
    from services.commands.evaluating.calling import Call, call
    from shared.settings import CommonSettings

    given = Call(
        agreement=agreement or CommonSettings.read(context.obj).agreement,
        to=history.Stage(to),
        csv=csv,
        mapping=mapping,
        window=window,
        until=until,
        suggest=suggest,
        html=html,
        as_json=as_json,
    )
    raise typer.Exit(FOUND if asyncio.run(call(given, lambda: _bus(context.obj))) else 0)


@app.command(epilog="Example: leadpact reconcile --since 2d")
def reconcile(
    context: typer.Context,
    since: Annotated[str, typer.Option(help="What was changed from then on: a date or time, or 2d ago.")] = "2d",
    tenant: Annotated[str, typer.Option(help="Whose, as hubspot:62515; else of every token.")] = "",
    as_json: Json = False,
) -> None:
    """Ask the CRM what changed, for what webhooks missed.

    What was changed is looked up by ingest, when there is time: contacts with what they did since then and whom they
    were merged with, companies, deals, calls, emails, meetings, messages. Which contacts were deleted is told at once.
    What is known already changes nothing, so it may be done again at any time. Exit status 1 when a kind of record
    could not be asked for.
    """
    from services.commands import reconciling

    given = reconciling.Call(since=since, tenant=tenant)
    with _stop_is_failure():
        done = asyncio.run(reconciling.call(given, context.obj, lambda: _bus(context.obj)))
    if as_json:
        _print_json([reconciling.as_json(one) for one in done])
    else:
        for one in done:
            typer.echo("\n".join(reconciling.lines(one)))
    raise typer.Exit(FOUND if any(one.left_out for one in done) else 0)


@events.command("export", epilog="Example: leadpact events export crm.events --out events.jsonl.gz")
def export(
    context: typer.Context,
    topic: Annotated[
        str, typer.Argument(help="crm.events, crm.lookups, crm.imports, lead.scores, lead.handoffs or dead.letters.")
    ],
    out: Annotated[str, typer.Option(help="A file, packed when its name ends in .gz; -: standard output.")] = "-",
    since: Annotated[str, typer.Option(help="Only what happened from then on: a date or time, or 30d ago.")] = "",
    until: Annotated[str, typer.Option(help="Only what happened before: the same.")] = "",
) -> None:
    """Write what a topic holds as JSON Lines.

    It is personal data.
    """
    from services.commands import recorded
    from shared.events import Topic

    if topic not in list(Topic):
        raise typer.BadParameter(f"{topic} is none of {', '.join(Topic)}")
    stretch = recorded.stretch(since, until)

    async def go() -> int:
        async with _bus(context.obj) as bus:
            return await recorded.export(bus, topic, out, stretch)

    typer.echo(f"{asyncio.run(go())} records", err=True)


@events.command("import", epilog="Example: leadpact events import events.jsonl.gz")
def put_back(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="What events export wrote, packed when its name ends in .gz.")],
) -> None:
    """Put exported records back on their topics.

    In the file's order. The services take them for news, but for what they heard in the last 14 days: that
    counts once. A broken line is told by its number, and nothing is imported then.
    """
    from services.commands import recorded

    async def go() -> int:
        async with _bus(context.obj) as bus:
            return await recorded.put_back(bus, file)

    typer.echo(f"{asyncio.run(go())} records", err=True)


@letters.command("list", epilog="Example: leadpact dead-letters list --reason undecodable")
def list_letters(context: typer.Context, reason: Reason = None, as_json: Json = False) -> None:
    """One line each.

    Id, time, service, source, reason, detail. Exit status 1 when there are any.
    """
    from services.commands import letters as dead

    found = asyncio.run(_letters(context.obj, dead.Wanted(reason=reason)))
    if as_json:
        _print_json([dead.described(letter) for letter in found])
    else:
        for letter in found:
            typer.echo(dead.line(letter))
    raise typer.Exit(FOUND if found else 0)


@letters.command(epilog="Example: leadpact dead-letters show 8d3c0f6f5a1e4b7f9c2d1a0b3e4f5a6b")
def show(context: typer.Context, id: Annotated[str, typer.Argument()], as_json: Json = False) -> None:
    """All of one letter.

    Its original too, which is personal data.
    """
    from services.commands import letters as dead

    (letter,) = asyncio.run(_letters(context.obj, dead.Wanted(ids=[id])))
    if as_json:
        _print_json(dead.shown(letter))
    else:
        for name, value in dead.shown(letter).items():
            typer.echo(f"{name}: {value}")


@letters.command(epilog="Example: leadpact dead-letters replay --reason undecodable")
def replay(
    context: typer.Context,
    ids: Annotated[list[str] | None, typer.Argument(help="Which; else --all or --reason.", show_default=False)] = None,
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    reason: Reason = None,
    as_json: Json = False,
) -> None:
    """Send letters on their way again.

    Doing it twice is harmless. Exit status 1 when some were refused again.
    """
    from datetime import UTC, datetime

    from services.commands import letters as dead
    from services.ingest.settings import EventsSettings

    if not (ids or everything or reason):
        raise typer.BadParameter("name some ids, or say --all or --reason")

    async def go() -> dead.Replayed:
        async with _bus(context.obj) as bus:
            found = await dead.find(bus, dead.Wanted(ids=ids or (), reason=reason))
            rules = EventsSettings.read(context.obj).events.rules
            return await dead.replay(bus, found, now=datetime.now(UTC), rules=rules)

    done = asyncio.run(go())
    if as_json:
        refused = [{"id": letter.id, "why": why} for letter, why in done.refused]
        _print_json({"went": done.went, "records": len(done.records), "refused": refused})
    else:
        for letter, why in done.refused:
            typer.echo(f"{letter.id}  refused again: {why}")
        typer.echo(f"{done.went} went again as {len(done.records)} records, {len(done.refused)} refused again")
    raise typer.Exit(FOUND if done.refused else 0)


async def _letters(environ: Mapping[str, str], wanted: Any) -> list[Any]:
    from services.commands import letters as dead

    async with _bus(environ) as bus:
        return await dead.find(bus, wanted)


@contextlib.asynccontextmanager
async def _bus(environ: Mapping[str, str]) -> AsyncIterator[Bus]:
    """The bus of the settings, for a look."""
    from services.commands import wiring
    from shared import log
    from shared.bus.open import open_bus
    from shared.settings import CommonSettings

    log.configure(level="CRITICAL")  # what goes wrong is told in a line
    settings = CommonSettings.read(environ)
    uri = wiring.existing_database_uri(settings) if settings.bus == wiring.EMBEDDED else ""
    bus = open_bus(settings, uri)
    try:
        yield bus
    finally:
        await bus.close()


@contextlib.contextmanager
def _stop_is_no_failure() -> Iterator[None]:
    """SIGINT and SIGTERM end the block, also before a loop runs that handles them."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _stop_is_failure() -> Iterator[None]:
    """SIGINT and SIGTERM end the block, which cleans up. Raises Broken then: there is no result."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        raise Broken("stopped", "stopped before it was done") from None
    finally:
        signal.signal(signal.SIGTERM, before)


def _print_json(data: object) -> None:
    typer.echo(json.dumps(data, indent=2, ensure_ascii=False))


def main() -> None:
    """The script `leadpact`, and `python -m services`."""
    try:
        app(prog_name="leadpact")
    except LeadpactError as error:
        setting = SETTING_OF.get(error.code)
        typer.echo(f"leadpact: {setting + ': ' if setting else ''}{error.message}", err=True)
        raise SystemExit(CANNOT) from error


if __name__ == "__main__":
    main()
