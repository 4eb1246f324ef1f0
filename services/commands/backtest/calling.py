"""The backtest as it is called: from where, with a bar for who looks on, and to screen, JSON and page."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from services.commands import recorded
from services.commands.backtest.report import Report, as_json, report
from services.commands.backtest.running import Asked, Progress, backtest, from_bus, from_file
from shared.bus import Bus
from shared.errors import Broken


@dataclass(frozen=True, kw_only=True)
class Call:
    """What the command was given. `events`: a file instead of the bus."""

    new: Path
    old: Path
    events: Path | None = None
    since: str = ""
    until: str = ""
    leads: Path | None = None
    html: Path | None = None
    as_json: bool = False


def call(given: Call, open_bus: Callable[[], AbstractAsyncContextManager[Bus]]) -> bool:
    """Backtest and tell; whether there is any difference. Raises Broken, or Later when the bus is away."""
    asked = Asked(old=given.old, new=given.new, since=given.since, until=_until(given.until), leads=given.leads)
    fill = from_file(given.events) if given.events else from_bus(open_bus)
    with _bar() as progress:
        found = report(backtest(asked, fill, progress))
    if given.html:
        _write_page(found, given.html)
    if given.as_json:
        sys.stdout.write(json.dumps(as_json(found), indent=2, ensure_ascii=False) + "\n")
    else:
        from rich.console import Console

        from services.commands.backtest.table import show

        show(found, Console(markup=False, highlight=False))
    return found.found


def _until(text: str) -> datetime | None:
    try:
        return recorded.moment(text, datetime.now(UTC)) if text else None
    except ValueError as error:
        raise Broken("wrong_time", f"--until: {error}") from error


def _write_page(found: Report, out: Path) -> None:
    from services.commands.backtest.page import page

    try:
        out.write_text(page(found), "utf-8")
    except OSError as error:
        raise Broken("cannot_write", f"--html {out} cannot be written: {error.strerror}") from error


@contextlib.contextmanager
def _bar() -> Iterator[Progress]:
    """On a terminal a bar, that is gone at the end; else nothing."""
    if not sys.stderr.isatty():
        yield lambda what, done, of: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, object] = {}

        def tell(what: str, done: int, of: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=of or None)
            bar.update(tasks[what], completed=done, total=of or None)  # type: ignore[arg-type]

        yield tell
