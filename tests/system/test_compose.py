"""docker-compose.yml without containers: the commands and environments that it names, run as processes.

Read from docker-compose.yml, .env.example and Dockerfile, and translated only where a container is not a
process: names of hosts and ports become addresses on loopback, volumes become folders, the database's
address its socket. Kafka and Prometheus run with the settings that the file gives them, too.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from shared.crm.hubspot import sign_v3
from shared.database import make_engine
from tests.house import compose
from tests.real import REPO, KafkaServer, free_port, need_kafka, need_program, postgres
from tests.system.fleet import PORTAL, SERVICES, Process, get, wait_for

__all__ = ["postgres"]

pytestmark = [pytest.mark.kafka, pytest.mark.prometheus]

PATIENCE_S = 90.0
DATA = compose.image_environment()["LEADPACT_DATA"]
SECRET, TOKEN = "compose-test-secret", "compose-test-token"
PUBLIC_URL = "https://leads.example.com"
CONTACT = 901
LEAD = f"hubspot:{PORTAL}:{CONTACT}"
FILLED_IN = {
    "POSTGRES_PASSWORD": "composetestpassword",
    "GRAFANA_PASSWORD": "composetestpassword",
    "LEADPACT_HUBSPOT_SECRETS": SECRET,
    "LEADPACT_PUBLIC_URL": PUBLIC_URL,
    "LEADPACT_TOKENS": f"{hashlib.sha256(TOKEN.encode()).hexdigest()}:admin:tester",
}
WHO_ASKS_FOR_A_DEMO = {
    "email": "ada@brightforge.example",
    "jobtitle": "CEO",
    "country": "RO",
    "recent_conversion_event_name": "demo-request",
}


@dataclass
class Host:
    """One machine in place of the containers."""

    folder: Path
    ports: dict[str, int] = field(default_factory=dict)  # by "service:port" inside the containers

    def port(self, inside: str) -> int:
        return self.ports.setdefault(inside, free_port())

    def translated(self, text: str, paths: Mapping[str, str]) -> str:
        """`text` with every address of a container, and every path that is mounted in one, as it is here."""
        for inside in sorted(self.ports, key=len, reverse=True):
            text = text.replace(inside, f"127.0.0.1:{self.ports[inside]}")
        targets = "|".join(re.escape(target) for target in sorted(paths, key=len, reverse=True))
        return re.sub(rf"(?<![^=])({targets})(?=/|$)", lambda m: paths[m[1]], text) if targets else text

    def paths(self, service: Mapping[str, Any]) -> dict[str, str]:
        """Where here is what the service finds at its mounts: a volume's folder, or the repository's."""
        found = {}
        for mount in compose.mounts(service):
            here = mount.path or self.folder / "volumes" / mount.source
            if mount.path is None:
                here.mkdir(parents=True, exist_ok=True)
            found[mount.target] = str(here)
        return {DATA: str(self.untouched)} | found

    @property
    def untouched(self) -> Path:
        """What stands for the data folder where none is mounted: there, a container can only read."""
        return self.folder / "read-only"


class KafkaOfCompose(KafkaServer):  # type: ignore[misc, valid-type]
    """Kafka with the settings of docker-compose.yml, by the rule of Apache's image: KAFKA_NODE_ID is node.id."""

    def _properties(self) -> str:
        environment = compose.services()["kafka"]["environment"]
        lines = {key.removeprefix("KAFKA_").lower().replace("_", "."): value for key, value in environment.items()}
        (volume,) = compose.mounts(compose.services()["kafka"])
        assert lines["log.dirs"] == volume.target
        lines["log.dirs"] = str(self.folder / "data")
        text = "".join(f"{key}={value}\n" for key, value in lines.items())
        for inside, here in {"9092": self.port, "9093": self.controller_port}.items():
            text = text.replace(f"kafka:{inside}", f"127.0.0.1:{here}").replace(f"//:{inside}", f"//127.0.0.1:{here}")
        return text


@contextmanager
def kafka_of_compose(host: Host) -> Iterator[None]:
    server = KafkaOfCompose(host.folder / "kafka", port=host.port("kafka:9092"))
    server.start()
    try:
        yield
    finally:
        server.stop()


async def make_database(server: str, url: sa.URL) -> None:
    """The user and the database that the image of PostgreSQL makes when it first starts."""
    engine = make_engine(server, pool_size=1)
    async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as conn:
        await conn.execute(sa.text(f"CREATE ROLE {url.username} LOGIN PASSWORD '{url.password}'"))
        await conn.execute(sa.text(f"CREATE DATABASE {url.database} OWNER {url.username}"))
    await engine.dispose()


def database_of_compose(server: str) -> Callable[[str], str]:
    """Turns the address of compose's database into that of a database of that name on `server`, made for it."""
    service = compose.services()["postgres"]["environment"]
    values = {key: compose.interpolated(value, FILLED_IN) for key, value in service.items()}
    url = sa.URL.create(
        "postgresql", values["POSTGRES_USER"], values["POSTGRES_PASSWORD"], None, None, values["POSTGRES_DB"]
    )
    asyncio.run(make_database(server, url))
    here = url.set(query=sa.make_url(server).query).render_as_string(hide_password=False)

    def translated(address: str) -> str:
        asked = sa.make_url(address)
        assert (asked.username, asked.password, asked.database) == (url.username, url.password, url.database)
        assert (asked.host, asked.port) == ("postgres", 5432)
        return here

    return translated


def environment(service: Mapping[str, Any], host: Host, database: Callable[[str], str]) -> dict[str, str]:
    """What the service's container would have: the image's, then .env, then its own; nothing of this machine."""
    asked, _ = compose.variables()
    assert asked.keys() == FILLED_IN.keys()
    assert service["env_file"] == ".env"
    own = {key: compose.interpolated(value, FILLED_IN) for key, value in service["environment"].items()}
    own["LEADPACT_DATABASE"] = database(own["LEADPACT_DATABASE"])
    image = {key: value for key, value in compose.image_environment().items() if key != "PATH"}
    nothing = dict.fromkeys(compose.settings(), "")  # so that no .env of a developer's joins in
    paths = host.paths(service)
    told = {key: host.translated(value, paths) for key, value in {**image, **FILLED_IN, **own}.items()}
    return {"PATH": os.environ["PATH"], "HOME": str(host.folder)} | nothing | told


def process(name: str, host: Host, database: Callable[[str], str]) -> Process:
    """The service's process, its address on loopback in place of all interfaces of its container."""
    service = compose.services()[name]
    assert compose.entrypoint() == ["leadpact"]  # python -m services, here
    args = [{"0.0.0.0": "127.0.0.1"}.get(word, word) for word in service["command"]]
    port = 0
    if "--port" in args:
        place = args.index("--port") + 1
        port = host.port(f"{name}:{args[place]}")
        args[place] = str(port)
    return Process(name=name, args=args, env=environment(service, host, database), logs=host.folder, port=port)


def is_healthy(one: Process) -> bool:
    """What Docker asks inside the container, asked here."""
    assert one.popen is not None
    assert one.popen.poll() is None, f"{one.name} stopped by itself: {one.tail()}"
    check = compose.services()[one.name]["healthcheck"]["test"]
    command = [word.replace("127.0.0.1:8000", f"127.0.0.1:{one.port}") for word in check[1:]]
    assert command != check[1:]
    return subprocess.run(command, env=dict(one.env), capture_output=True, check=False, timeout=20).returncode == 0


def monitor(name: str, program: str, host: Host, config: Path, *more: str) -> subprocess.Popen[bytes]:
    """Prometheus or Alertmanager with the arguments of docker-compose.yml, `config` in place of what is mounted."""
    service = compose.services()[name]
    (inside,) = (port.rpartition(":")[2] for port in service["ports"])
    paths = host.paths(service) | {f"/etc/{name}": str(config)}
    command = [program, *(host.translated(word, paths) for word in service["command"]), *more]
    command.append(f"--web.listen-address=127.0.0.1:{host.port(f'{name}:{inside}')}")
    with (host.folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log)


def translated_copy(source: Path, host: Host) -> Path:
    """A folder of deploy/ with the addresses that its services have here, in a hurry to scrape."""
    copy = host.folder / source.name
    shutil.copytree(source, copy)
    for file in copy.glob("*.yml"):
        text = host.translated(file.read_text(), {})
        file.write_text(text.replace("_interval: 10s", "_interval: 1s"))
    return copy


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.fixture
def fleet(host: Host, postgres: str) -> Iterator[dict[str, Process]]:
    """The four services, healthy, in the order in which Compose would start them."""
    need_kafka()
    with ExitStack() as stack:
        stack.enter_context(kafka_of_compose(host))
        database = database_of_compose(postgres)
        migrate = process("migrate", host, database)
        migrate.start()
        assert migrate.popen is not None
        assert migrate.popen.wait(PATIENCE_S) == 0, migrate.tail()
        found = {name: process(name, host, database) for name in SERVICES}
        for one in found.values():
            stack.callback(one.stop)
            one.start()
        for one in found.values():
            wait_for(f"{one.name} to be healthy", lambda one=one: is_healthy(one), within_s=PATIENCE_S)
        yield found


@pytest.fixture
def prometheus(host: Host, fleet: dict[str, Process]) -> Iterator[int]:
    """Prometheus and Alertmanager as Compose would start them; the port of Prometheus."""
    alerts = need_program("prometheus-alertmanager", "alertmanager")
    port, other = host.port("prometheus:9090"), host.port("alertmanager:9093")
    config = translated_copy(REPO / "deploy/prometheus", host)
    started = {
        other: monitor("alertmanager", alerts, host, REPO / "deploy/alertmanager", "--cluster.listen-address="),
        port: monitor("prometheus", need_program("prometheus"), host, config),
    }

    def ready() -> bool:
        assert all(running.poll() is None for running in started.values()), f"see the logs in {host.folder}"
        return all(get(one, "/-/ready")[0] == 200 for one in started)

    try:
        wait_for("Prometheus and Alertmanager to be ready", ready, within_s=PATIENCE_S)
        yield port
    finally:
        for running in started.values():
            running.terminate()
        for running in started.values():
            running.wait(30)


def webhook(port: int, properties: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
    """One request as HubSpot would send it to the public address; the proxy brings it to `port`."""
    now_ms = int(time.time() * 1000)
    events = [
        {
            "eventId": number,
            "subscriptionId": 1,
            "portalId": PORTAL,
            "appId": 1,
            "occurredAt": now_ms,
            "subscriptionType": "contact.propertyChange",
            "attemptNumber": 0,
            "objectId": CONTACT,
            "changeSource": "CRM",
            "propertyName": name,
            "propertyValue": value,
        }
        for number, (name, value) in enumerate(properties.items(), start=1)
    ]
    body, path = json.dumps(events).encode(), "/webhooks/hubspot"
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data=body, method="POST")
    request.add_header("Content-Type", "application/json")
    request.add_header("X-HubSpot-Request-Timestamp", str(now_ms))
    request.add_header("X-HubSpot-Signature-v3", sign_v3(SECRET, "POST", PUBLIC_URL + path, body, now_ms))
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.status, json.loads(answer.read())


def asked(port: int, path: str) -> dict[str, Any]:
    """GET with the token, as JSON; empty when the answer is not 200."""
    status, body = get(port, path, token=TOKEN)
    answer: dict[str, Any] = json.loads(body) if status == 200 else {}
    return answer


def test_a_signed_webhook_becomes_a_handoff_that_prometheus_shows_and_all_services_stop_when_told(
    host: Host, fleet: dict[str, Process], prometheus: int
) -> None:
    sent = len(WHO_ASKS_FOR_A_DEMO)
    assert webhook(fleet["ingest"].port, WHO_ASKS_FOR_A_DEMO) == (202, {"accepted": sent, "rejected": 0})

    score, lead = f"/leads/{LEAD}/score", f"/leads/{LEAD}"
    wait_for("the score", lambda: asked(fleet["scoring"].port, score).get("grade") == "B1", within_s=PATIENCE_S)
    wait_for(
        "the hand-off",
        lambda: asked(fleet["handoff"].port, lead).get("state") == "handed_off",
        within_s=PATIENCE_S,
    )
    assert asked(fleet["handoff"].port, lead)["priority"] == "urgent"

    def up() -> dict[str, str]:
        targets = asked(prometheus, "/api/v1/targets").get("data", {}).get("activeTargets", [])
        return {target["labels"]["job"]: target["health"] for target in targets}

    wait_for("all four jobs to be up", lambda: up() == dict.fromkeys(SERVICES, "up"), within_s=PATIENCE_S)
    counted = "/api/v1/query?query=leadpact_handoffs_total%20%3E%200"
    wait_for("the hand-off to be counted", lambda: asked(prometheus, counted)["data"]["result"], within_s=PATIENCE_S)
    managers = asked(prometheus, "/api/v1/alertmanagers")["data"]
    assert managers["activeAlertmanagers"]
    assert not managers["droppedAlertmanagers"]

    assert {name: one.stop() for name, one in fleet.items()} == dict.fromkeys(SERVICES, 0)
    assert all(compose.services()[name]["read_only"] for name in fleet)
    assert not host.untouched.exists()
