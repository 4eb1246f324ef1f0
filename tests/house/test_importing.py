"""Nothing happens at import: no connection, thread, process, file, setting or metric is made by it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.house.code import ROOT, modules

# What somebody might write at the top of a module one day, and what is then said.
HABITS = {
    "import socket; SOCKET = socket.socket()": "socket.",
    "import asyncio; LOOP = asyncio.new_event_loop()": "socket.",
    "import os; LEVEL = os.environ.get('LEADPACT_LEVEL')": "reads the environment: LEADPACT_LEVEL",
    "import os; LEVEL = os.getenv('LEADPACT_LEVEL')": "reads the environment: LEADPACT_LEVEL",
    "import os; ALL = dict(os.environ)": "reads the environment: all of it",
    "import subprocess; subprocess.run(['true'])": "subprocess.",
    "import threading; threading.Thread(target=int).start()": "a thread",
    "import tempfile; tempfile.mkstemp()": "open for writing",
    "import prometheus_client; COUNTER = prometheus_client.Counter('c', 'd')": "a metric in the default registry",
}


def watch(folder: Path) -> dict[str, Any]:
    """Import everything under `folder` in a fresh interpreter."""
    command = [sys.executable, "-m", "tests.house.importing", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_nothing_happens_at_import() -> None:
    found = watch(ROOT)
    assert not found["happened"]
    assert found["imported"] == len(modules()) > 60


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code in which every habit has got into a module."""
    folder = tmp_path_factory.mktemp("habits")
    for package in ("services", "shared"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    for number, habit in enumerate(HABITS):
        (folder / "shared" / f"habit_{number}.py").write_text(f'"""A habit."""\n{habit}\n')
    return folder


@pytest.fixture(scope="module")
def seen(tree: Path) -> list[str]:
    found = watch(tree)
    assert not found["from elsewhere"]
    return list(found["happened"])


@pytest.mark.parametrize("habit", HABITS)
def test_the_watch_sees(seen: list[str], habit: str) -> None:
    assert [one for one in seen if one.startswith(HABITS[habit])]
