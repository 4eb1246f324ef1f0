"""Leadpact as its users run it: real processes on one machine, on either engine, to be killed at will.

Pauses: between two looks at another process, which has no event to wait on.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.real import free_port

REPO = Path(__file__).resolve().parents[2]
SECRET = "system-test-secret"
PORTAL = 62515
TOKEN = "system-test-token"
CRM_TOKEN = "system-test-crm-token"
NOTIFY_SECRET = "whsec_c3lzdGVtLXRlc3Qtc2VjcmV0LXN5c3RlbQ=="
SERVICES = ("ingest", "scoring", "handoff", "kpi")
DEADLINE_S = 600.0
PENDING = ("leadpact_spool_bytes", "leadpact_outbox_pending", "leadpact_consumer_lag")
SERVICES_COMMAND = ("-m", "services")
# The same, but a member that was killed is missed by its group after {seconds} instead of 10 or 15.
IMPATIENT_COMMAND = """
import functools, runpy
from shared.bus import embedded, kafka
for bus, name in (embedded.EmbeddedBus, "lease_s"), (kafka.KafkaBus, "session_s"):
    bus.__init__ = functools.partialmethod(bus.__init__, **{{name: {seconds}}})
runpy.run_module("services", run_name="__main__")
"""


def wait_for(what: str, condition: Callable[[], object], *, within_s: float = DEADLINE_S) -> None:
    """Return once `condition()` is true; fail with `what` when it never is."""
    deadline = time.monotonic() + within_s
    pause = iter_pauses()
    while not condition():
        assert time.monotonic() < deadline, f"waited {within_s:.0f} s in vain for {what}"
        next(pause)


def iter_pauses() -> Iterator[None]:
    """Pauses between two looks at another process, which has no event we could wait on."""
    import select

    while True:
        select.select([], [], [], 0.1)
        yield


def get(port: int, path: str, *, token: str | None = None) -> tuple[int, bytes]:
    """GET from a process on loopback: status and body; status 0 when nobody answers."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError:
        return 0, b""


@dataclass
class Process:
    """One process of the fleet, started again under the same name, port and environment."""

    name: str
    args: list[str]
    env: Mapping[str, str]
    logs: Path
    port: int = 0
    python: Sequence[str] = SERVICES_COMMAND  # what the interpreter is to run
    popen: subprocess.Popen[bytes] | None = None
    kills: int = 0

    def start(self) -> None:
        with (self.logs / f"{self.name}.log").open("ab") as log:
            self.popen = subprocess.Popen(
                [sys.executable, *self.python, *self.args], env=dict(self.env), stdout=log, stderr=log, cwd=REPO
            )

    def kill(self) -> None:
        """SIGKILL, with no chance to clean up."""
        assert self.popen is not None
        assert self.popen.poll() is None, f"{self.name} had stopped by itself: {self.tail()}"
        self.popen.kill()
        self.popen.wait()
        self.kills += 1

    def stop(self) -> int:
        """Ask it to stop; its exit status."""
        if self.popen is None:
            return 0
        self.popen.send_signal(signal.SIGTERM)
        try:
            return self.popen.wait(30)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            return self.popen.wait()

    def alive(self) -> bool:
        """It answers; whether it can do its work is another question."""
        return get(self.port, "/healthz")[0] == 200

    def ready(self) -> bool:
        return get(self.port, "/readyz")[0] == 200

    def tail(self) -> str:
        return (self.logs / f"{self.name}.log").read_text(errors="replace")[-3000:]


@dataclass
class Fleet:
    """All of Leadpact and the simulated CRM, on one engine."""

    folder: Path
    env: dict[str, str]
    processes: list[Process]
    simulator_port: int
    ledger: Path
    door: int
    extra: list[Process] = field(default_factory=list)

    def process(self, name: str) -> Process:
        return next(p for p in self.processes if p.name == name)

    def ports(self) -> dict[str, int]:
        return {p.name: p.port for p in self.processes}

    def simulator(self, *args: str) -> Process:
        """The CRM with its traffic, reps and ledger, not yet started."""
        process = Process(
            name="simulate",
            args=["simulate", *args],
            env=self.env,
            logs=self.folder,
            port=self.simulator_port,
        )
        self.extra.append(process)
        return process

    def metric(self, service: str, *names: str) -> float:
        """The sum of metrics over their labels, -1 when the service does not answer."""
        status, body = get(self.process(service).port if len(self.processes) > 1 else self.door, "/metrics")
        if status != 200:
            return -1
        starts = tuple(name + end for name in names for end in "{ ")
        lines = [line for line in body.decode().splitlines() if line.startswith(starts)]
        if len(self.processes) == 1:
            lines = [line for line in lines if f'service="{service}"' in line or "service=" not in line]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    def quiet(self) -> bool:
        """Nothing is under way: no spool, no lag, no outbox, in any service."""
        return all(self.metric(service, *PENDING) == 0 for service in SERVICES)

    def wait_until_ready(self) -> None:
        for process in self.processes:
            wait_for(f"{process.name} to be ready\n{process.tail()}", process.ready, within_s=90)

    def wait_until_quiet(self, *, looks: int = 30) -> None:
        """Quiet for `looks` looks in a row, longer than the watchers take to show anew."""
        run = 0

        def settled() -> bool:
            nonlocal run
            run = run + 1 if self.quiet() else 0
            return run >= looks

        wait_for("everything to be handled", settled)

    def stop(self) -> None:
        for process in [*self.extra, *self.processes]:
            process.stop()


def environment(folder: Path, **more: str) -> dict[str, str]:
    """The settings that all share."""
    digest = __import__("hashlib").sha256(TOKEN.encode()).hexdigest()
    base = {k: v for k, v in os.environ.items() if not k.startswith("LEADPACT_")}
    return base | {
        "LEADPACT_DATA": str(folder / "data"),
        "LEADPACT_HUBSPOT_SECRETS": SECRET,
        "LEADPACT_TOKENS": f"{digest}:admin:tester",
        "LEADPACT_HUBSPOT_TOKEN": CRM_TOKEN,
        "LEADPACT_NOTIFY_SECRET": NOTIFY_SECRET,
        **more,
    }


@contextmanager
def fleet(
    folder: Path,
    *,
    agreement: Path,
    bus: str = "embedded",
    database: str = "embedded",
    missed_after_s: float | None = None,
) -> Iterator[Fleet]:
    """Start everything but the simulator; stop it all at the end.

    `missed_after_s`: when the others of its group miss a member that was killed, if not as the product has it.
    """
    simulator_port, door = free_port(), free_port()
    crm = f"http://127.0.0.1:{simulator_port}"
    env = environment(
        folder,
        LEADPACT_BUS=bus,
        LEADPACT_DATABASE=database,
        LEADPACT_AGREEMENT=str(agreement),
        LEADPACT_HUBSPOT_API=crm,
        LEADPACT_NOTIFY_URL=f"{crm}/notifications",
    )
    python = ("-c", IMPATIENT_COMMAND.format(seconds=missed_after_s)) if missed_after_s else SERVICES_COMMAND
    if bus == "embedded":
        args = ["run", "--no-simulate", "--port", str(door)]
        processes = [Process(name="run", args=args, env=env, logs=folder, port=door, python=python)]
    else:
        subprocess.run([sys.executable, "-m", "services", "migrate"], env=env, cwd=REPO, check=True, timeout=120)
        ports = {name: door if name == "ingest" else free_port() for name in SERVICES}
        processes = [
            Process(
                name=name, args=["serve", name, "--port", str(port)], env=env, logs=folder, port=port, python=python
            )
            for name, port in ports.items()
        ]
    made = Fleet(
        folder=folder,
        env=env,
        processes=processes,
        simulator_port=simulator_port,
        ledger=folder / "ledger.jsonl",
        door=door,
    )
    try:
        for process in processes:
            process.start()
        made.wait_until_ready()
        yield made
    finally:
        made.stop()


def api(made: Fleet, path: str) -> dict[str, object]:
    """GET from the hand-off's API, as JSON."""
    port = made.door if len(made.processes) == 1 else made.process("handoff").port
    status, body = get(port, path, token=TOKEN)
    assert status == 200, f"{path} answered {status}: {body[:300]!r}"
    answer: dict[str, object] = json.loads(body)
    return answer
