"""The evaluation as it is called: from where, and to screen, JSON, page and file."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec

from services.commands import recorded
from services.commands.evaluating import from_csv, from_topics, wording
from services.commands.evaluating.history import History, Stage
from services.commands.evaluating.report import Evaluation, evaluate
from shared.agreement import Agreement, load
from shared.bus import Bus
from shared.calendars import SECONDS, Span
from shared.errors import Broken

WINDOW: Final = timedelta(days=90)  # where neither the agreement nor the caller says
NARROW: Final = 100  # columns of a screen that nobody knows the width of


@dataclass(frozen=True, kw_only=True)
class Call:
    """What the command was given."""

    agreement: Path
    to: Stage = Stage.SQL
    csv: Path | None = None
    mapping: Path | None = None
    window: str = ""
    until: str = ""
    suggest: Path | None = None
    html: Path | None = None
    as_json: bool = False


async def call(given: Call, open_bus: Callable[[], AbstractAsyncContextManager[Bus]]) -> bool:
    """Evaluate and tell; whether a rule is wrong. Raises Broken or Refused, or Later when the bus is away."""
    if given.mapping and not given.csv:
        raise Broken("wrong_option", "--mapping goes with --csv")
    if given.agreement.is_dir():
        raise Broken(
            "wrong_option", f"{given.agreement} is a folder of agreements: say --agreement FILE, which of them"
        )
    agreement = load(given.agreement)
    history = await _history(given, agreement, open_bus)
    if not history.leads:
        raise Broken("no_history", _nobody(history))
    found = evaluate(history, given.to, agreement, given.agreement.read_text("utf-8-sig"))
    if given.html:
        from services.commands.evaluating.page import page

        _write("--html", given.html, page(found))
    if given.suggest and found.suggested:
        _write("--suggest", given.suggest, found.suggested.text)
    _tell(given, found)
    return found.report.found


async def _history(
    given: Call, agreement: Agreement, open_bus: Callable[[], AbstractAsyncContextManager[Bus]]
) -> History:
    window = _window(given.window) or agreement.kpis.conversion.window or WINDOW
    until = _until(given.until)
    if given.csv:
        return from_csv.read(given.csv, given.mapping, window, until)
    async with open_bus() as bus:
        followed = agreement.qualification.interest.followed
        return await from_topics.read(bus, agreement.tenant or "", given.to, window, until, followed=followed)


def _nobody(history: History) -> str:
    left = history.left_out
    others = left.converted_before + left.forgotten + left.nothing_known
    return (
        f"no lead of {history.source} can be judged: {left.too_young:,} were handed off less than "
        f"{wording.length(history.window)} before the end of the record, {history.until:%Y-%m-%d %H:%M} "
        f"(try a shorter --window), and {others:,} are left out for other reasons"
    )


def _window(text: str) -> timedelta | None:
    try:
        span = Span.parse(text) if text else None
    except ValueError as error:
        raise Broken("wrong_option", f"--window: {error}") from error
    if span is not None and not span:
        raise Broken("wrong_option", "--window: must be longer than nothing")
    return timedelta(seconds=span.amount * SECONDS[span.unit]) if span else None


def _until(text: str) -> datetime | None:
    try:
        return recorded.moment(text, datetime.now(UTC)) if text else None
    except ValueError as error:
        raise Broken("wrong_option", f"--until: {error}") from error


def _tell(given: Call, found: Evaluation) -> None:
    if given.as_json:
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(as_json(found)), indent=2) + b"\n")
        sys.stdout.flush()
        return
    from rich.console import Console

    from services.commands.evaluating.screen import view

    console = Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else NARROW)
    for part in view(found.report):
        console.print(part)
    if given.suggest:
        wrote = f"Written to {given.suggest}: read it with leadpact agreement diff {given.agreement} {given.suggest}"
        console.print(
            wrote if found.suggested else f"{given.suggest} is not written: nothing is suggested.", soft_wrap=True
        )


def as_json(found: Evaluation) -> dict[str, Any]:
    """The report as it is, times as ISO 8601."""
    return {**msgspec.to_builtins(found.report), "found": found.report.found}


def _write(option: str, path: Path, text: str) -> None:
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise Broken("cannot_write", f"{option} {path} cannot be written: {error.strerror}") from error
