"""What `leadpact run` keeps in LEADPACT_DATA, beside the database and the spool."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from shared.errors import WrongSetting


class Folder:
    """The files by their names."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.secrets = path / "secrets.json"
        self.business_time = path / "business-time"
        self.simulator = path / "simulator.json"
        self.log = path / "leadpact.log"

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Make the folder, and have it alone while the block lasts. Raises WrongSetting."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = (self.path / "run.lock").open("w")
        except OSError as error:
            raise WrongSetting("LEADPACT_DATA", f"{self.path} cannot be used: {error.strerror}") from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise WrongSetting("LEADPACT_DATA", f"another leadpact run is at work in {self.path}") from error
            yield


def write_whole(path: Path, text: str) -> None:
    """Replace the file by one that only its owner may read; a crash leaves the old or the new one, whole."""
    fresh = path.with_name(f"{path.name}.new")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
