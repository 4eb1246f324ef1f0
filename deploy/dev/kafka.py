"""A real Apache Kafka for development and tests, without a container: `prepare` fetches it, `run` starts one.

    python deploy/dev/kafka.py prepare
    python deploy/dev/kafka.py run --folder .cache/kafka-data --port 9092

Needs Java 17 or newer and Maven; installs nothing and fetches only into the cache folder
(LEADPACT_CACHE, or .cache/kafka in the repository). Uses the standard library alone.
"""

# ruff: noqa: S603, T201  (a script: it runs what it found on the PATH, and prints)

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
POM = HERE / "pom.xml"
JAVA_AT_LEAST = 17
UP_WITHIN_S = 60.0
HEAP_MB = 512
JAVA_OPTIONS = (f"-Xmx{HEAP_MB}m", f"-Xms{HEAP_MB}m", "-XX:+UseSerialGC")
CLUSTER_ID = "bGVhZHBhY3QtZGV2LWthZg"  # 16 bytes in base64, any


class Missing(Exception):
    """Something that must be installed by hand is not there."""


def cache() -> Path:
    """Where the artifacts are kept."""
    return Path(os.environ.get("LEADPACT_CACHE") or HERE.parents[1] / ".cache" / "kafka")


def prepared() -> bool:
    """Whether the artifacts of the present pom are all there."""
    mark = cache() / "prepared"
    return mark.is_file() and mark.read_text() == _fingerprint()


def prepare() -> Path:
    """Fetch the artifacts unless they are there; their folder. Raises Missing."""
    libs = cache() / "libs"
    _java()
    if prepared():
        return libs
    maven = shutil.which("mvn")
    if maven is None:
        raise Missing("Maven (mvn) is not on the PATH: install Maven 3.8 or newer")
    shutil.rmtree(libs, ignore_errors=True)
    libs.mkdir(parents=True)
    command = [maven, "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={libs}"]
    subprocess.run(command, check=True)
    (cache() / "prepared").write_text(_fingerprint())
    return libs


def _fingerprint() -> str:
    return hashlib.sha256(POM.read_bytes()).hexdigest()


def _java() -> str:
    java = shutil.which("java")
    if java is None:
        raise Missing(f"java is not on the PATH: install Java {JAVA_AT_LEAST} or newer")
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=True).stderr
    found = re.search(r'version "(\d+)', said)
    if not found or int(found.group(1)) < JAVA_AT_LEAST:
        raise Missing(f"Java {JAVA_AT_LEAST} or newer is needed; found: {said.splitlines()[0]}")
    return java


def free_port() -> int:
    """A port on loopback that is free now."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return int(door.getsockname()[1])


class KafkaServer:
    """One node, broker and controller in one, on loopback. Starts again on the same ports and data."""

    java_options = JAVA_OPTIONS

    def __init__(self, folder: Path, *, port: int | None = None, controller_port: int | None = None) -> None:
        self.folder = folder.resolve()
        self.port = port or free_port()
        self.controller_port = controller_port or free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._said_before = 0  # bytes of its log

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> KafkaServer:
        """Start it and wait until it answers. Raises RuntimeError with the end of its log otherwise."""
        self.folder.mkdir(parents=True, exist_ok=True)
        properties = self.folder / "server.properties"
        properties.write_text(self._properties())
        if not (self.folder / "data" / "meta.properties").exists():
            format_it = self._command("kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(properties))
            subprocess.run(format_it, check=True, capture_output=True)
        with (self.folder / "kafka.log").open("ab") as out:
            self._said_before = out.tell()
            command = self._command("kafka.Kafka", str(properties))
            self._process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
        self._wait_until_up()
        return self

    def _command(self, *arguments: str) -> list[str]:
        return [_java(), *self.java_options, "-cp", f"{prepare()}/*", *arguments]

    def _properties(self) -> str:
        lines = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@127.0.0.1:{self.controller_port}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self.controller_port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": self.folder / "data",
            "auto.create.topics.enable": "false",
            "offsets.topic.num.partitions": 4,
            "offsets.topic.replication.factor": 1,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "group.initial.rebalance.delay.ms": 0,
            "group.min.session.timeout.ms": 1000,
            "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
        }
        return "".join(f"{key}={value}\n" for key, value in lines.items())

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + UP_WITHIN_S
        while time.monotonic() < deadline and self.running():
            if self.answers():
                return
            time.sleep(0.1)
        tail = self._tail()
        self.kill()
        raise RuntimeError(f"Kafka did not start:\n{tail}")

    def answers(self) -> bool:
        """Whether it answers an ApiVersions request: it does once it is registered and ready for clients."""
        request = struct.pack(">hhih", 18, 0, 1, -1)
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1) as wire:
            wire.sendall(struct.pack(">i", len(request)) + request)
            return len(wire.recv(4)) > 0
        return False

    def _tail(self) -> str:
        """The end of what it has said since its last start."""
        return (self.folder / "kafka.log").read_bytes()[self._said_before :].decode(errors="replace")[-5000:]

    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """Ask it to stop, and wait; kill it when it does not."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """SIGKILL, with no chance to clean up."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def pause(self) -> None:
        """Freeze it: connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            raise RuntimeError("Kafka is not started")
        self._process.send_signal(number)


def main() -> int:
    """The command line; exit status 2 when something has to be installed first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("prepare", help="fetch Kafka into the cache folder")
    run = commands.add_parser("run", help="run one node until Ctrl-C")
    run.add_argument("--folder", type=Path, default=cache() / "data")
    run.add_argument("--port", type=int, default=9092)
    arguments = parser.parse_args()
    try:
        libs = prepare()
        if arguments.command == "prepare":
            print(f"Kafka is in {libs}")
            return 0
        return _run(KafkaServer(arguments.folder, port=arguments.port))
    except (Missing, subprocess.CalledProcessError, RuntimeError) as error:
        print(f"cannot run Kafka: {error}", file=sys.stderr)
        return 2


def _run(server: KafkaServer) -> int:
    server.start()
    print(f"Kafka answers at {server.address}; Ctrl-C stops it", flush=True)
    ends = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    with contextlib.suppress(KeyboardInterrupt):
        signal.sigwait(ends)
    server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
