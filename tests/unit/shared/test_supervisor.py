"""Background tasks: started again when something is away, and the end of the process when it is broken."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from shared import web
from shared.errors import Later
from shared.metrics import CommonMetrics
from shared.web import Supervisor

ROOT = Path(__file__).parents[3]


class Task:
    """Fails as told, then runs until it is cancelled."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.runs = asyncio.Event()
        self.ended = False

    async def __call__(self) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.runs.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended = True


def restarts(registry: CollectorRegistry) -> float | None:
    return registry.get_sample_value("leadpact_task_restarts_total", {"service": "shop", "task": "work"})


@pytest.mark.parametrize("error", [Later("away", "the bus is away", after_s=0), RuntimeError("odd"), OSError("odd")])
async def test_a_task_that_fails_is_started_again_and_counted(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "RESTART_AFTER_S", 0)
    registry = CollectorRegistry()
    supervisor, task = Supervisor(CommonMetrics(registry)), Task(error, error)
    supervisor.start("shop", "work", task)
    await asyncio.wait_for(task.runs.wait(), 5)
    assert restarts(registry) == 2
    await supervisor.stop()


async def test_a_task_waits_as_long_as_later_says_and_is_told_as_failing_meanwhile() -> None:
    supervisor = Supervisor(CommonMetrics(CollectorRegistry()))
    task = Task(Later("away", "the bus is away", after_s=3600))
    supervisor.start("shop", "work", task)
    while not supervisor.failing():
        await asyncio.sleep(0)
    for _ in range(10):
        await asyncio.sleep(0)
    assert supervisor.failing() == ["shop.work: the bus is away"]
    assert not task.runs.is_set()
    await supervisor.stop()


async def test_an_unexpected_error_is_told_by_its_type_and_not_by_its_words() -> None:
    supervisor = Supervisor(CommonMetrics(CollectorRegistry()))
    supervisor.start("shop", "work", Task(KeyError("ana@example.test")))
    while not supervisor.failing():
        await asyncio.sleep(0)
    assert supervisor.failing() == ["shop.work: KeyError"]
    await supervisor.stop()


async def test_a_task_that_runs_again_for_a_while_is_not_failing_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "RESTART_AFTER_S", 0)
    supervisor = Supervisor(CommonMetrics(CollectorRegistry()))
    task = Task(Later("away", "the bus is away", after_s=0))
    supervisor.start("shop", "work", task)
    await asyncio.wait_for(task.runs.wait(), 5)
    async with asyncio.timeout(5):
        while supervisor.failing():
            await asyncio.sleep(0)
    await supervisor.stop()


async def test_one_failing_task_disturbs_no_other() -> None:
    supervisor = Supervisor(CommonMetrics(CollectorRegistry()))
    good = Task()
    supervisor.start("shop", "bad", Task(RuntimeError("odd")))
    supervisor.start("shop", "good", good)
    await asyncio.wait_for(good.runs.wait(), 5)
    await supervisor.stop()
    assert good.ended


BROKEN = """
import asyncio
from prometheus_client import CollectorRegistry
from shared.errors import Broken
from shared.metrics import CommonMetrics
from shared.web import Supervisor

async def main():
    async def work():
        raise Broken("unlisted", "nobody handles it")
    supervisor = Supervisor(CommonMetrics(CollectorRegistry()))
    supervisor.start("shop", "work", work)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def test_what_is_broken_ends_the_process_by_the_signal_that_ends_it_cleanly() -> None:
    done = subprocess.run([sys.executable, "-c", BROKEN], check=False, cwd=ROOT, capture_output=True, timeout=60)
    assert done.returncode == -signal.SIGTERM
