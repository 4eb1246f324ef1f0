"""Business time that never goes back: where it begins, and how it is remembered between two runs."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from services.commands.folder import write_whole
from shared.clock import Clock, SpedClock
from shared.errors import Broken
from shared.log import Log

log = Log("leadpact.business_time")

EVERY_S: Final = 1.0
AHEAD_S: Final = 3.0  # of real time: what is on disk is always ahead of the clock, also when the process is killed


class BusinessTime:
    """A clock, and the file with a moment that it has not passed."""

    def __init__(self, path: Path, *, speed: float, wall: Clock, at_first: datetime | None = None) -> None:
        """Begins at real time, or where the last run may have come to when that is later; the very first at `at_first`.

        Raises Broken.
        """
        self._path = path
        self._writing = threading.Lock()
        now, start = wall.now(), latest(path, wall)
        if at_first is not None and not path.exists():
            start = max(start, at_first)
        if speed == 1 and start <= now:
            self.clock: Clock = wall
            self._ahead = timedelta(0)  # real time goes on by itself
        else:
            self.clock = SpedClock(speed=speed, start=start, real=wall)
            self._ahead = timedelta(seconds=AHEAD_S) * speed
        self._remember(self.clock.now() + self._ahead)

    @contextlib.asynccontextmanager
    async def kept(self) -> AsyncIterator[Clock]:
        """The clock. While the block lasts the file stays ahead of it; then the next run may begin right here."""
        keeping = asyncio.create_task(self._keep())
        try:
            yield self.clock
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
            self._remember(self.clock.now())

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                await asyncio.to_thread(self._remember, self.clock.now() + self._ahead)
            except OSError as error:
                log.error("business_time_not_kept", error=error)

    def _remember(self, moment: datetime) -> None:
        with self._writing:  # the thread of the one before may still be at it
            write_whole(self._path, moment.isoformat() + "\n")


def latest(path: Path, wall: Clock) -> datetime:
    """Business time for who only looks: real time, or where a run with this file may have come to. Raises Broken."""
    now, remembered = wall.now(), _read(path)
    return max(now, remembered or now)


def _read(path: Path) -> datetime | None:
    try:
        return datetime.fromisoformat(path.read_text().strip()).astimezone(UTC)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        why = f"{path} cannot be read ({type(error).__name__}): remove it to begin at real time"
        raise Broken("business_time_unreadable", why) from error
