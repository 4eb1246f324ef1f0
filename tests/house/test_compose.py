"""docker-compose.yml is what Compose accepts, and says nothing that the code, the image and .env.example do not."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from typing import Any

import pytest
import typer
from ruamel.yaml import YAML

from services.__main__ import app
from shared.settings import _REQUIRED
from tests.house import compose
from tests.house.code import ROOT

SERVICES = compose.services()
LONG_RUNNING = {name: service for name, service in SERVICES.items() if service["restart"] == "unless-stopped"}
# A version of at least two numbers, and what it is built on.
EXACT = re.compile(r"v?\d+\.\d+(\.\d+)?(-[a-z]+)*")
DURATION = re.compile(r"(\d+(ms|s|m|h))+")
SECRET = re.compile(r"PASSWORD|SECRET|TOKEN")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_file_fits_the_schema_of_compose() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", compose.COMPOSE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


# --- images ---


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_is_pinned_to_an_exact_tag(name: str) -> None:
    _, _, tag = SERVICES[name]["image"].rpartition(":")
    assert EXACT.fullmatch(tag), f"{name}: {tag}"


def test_our_image_has_the_projects_version() -> None:
    assert {service["image"] for service in compose.ours().values()} == {f"leadpact:{PROJECT['version']}"}


def test_the_image_is_built_on_exact_tags_and_does_not_run_as_root() -> None:
    told = list(compose.instructions())
    bases = [rest.split()[0] for word, rest in told if word == "FROM"]
    assert bases
    assert all(EXACT.fullmatch(base.rpartition(":")[2]) for base in bases)
    assert [rest for word, rest in told if word == "USER"][-1] not in ("root", "0")


def test_what_the_image_copies_is_there_and_sent_to_the_builder() -> None:
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    kept = [line[1:] for line in ignore if line.startswith("!")]
    copied = [rest.split()[:-1] for word, rest in compose.instructions() if word == "COPY" and "--from" not in rest]
    for source in [one for sources in copied for one in sources]:
        assert (ROOT / source).exists(), source
        assert any(fnmatch(source, one) for one in kept), f".dockerignore keeps {source} away"
    assert ignore[0] == "*", ".env and all else that is not named stays away"


def test_the_image_runs_the_projects_command() -> None:
    assert compose.entrypoint() == ["leadpact"]
    assert "leadpact" in PROJECT["scripts"]


@pytest.mark.parametrize("name", compose.ours())
def test_what_we_are_told_to_run_is_a_command_with_options_that_it_has(name: str) -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    command, *arguments = SERVICES[name]["command"]
    assert command in commands
    commands[command].make_context(command, arguments)  # raises for what it does not know


# --- variables ---


def test_every_variable_that_compose_sets_for_us_is_a_setting() -> None:
    named = {key for service in compose.ours().values() for key in service["environment"]}
    assert named <= compose.settings().keys()
    assert {key for key in compose.image_environment() if key.startswith("LEADPACT_")} <= compose.settings().keys()


def test_env_example_and_compose_together_name_every_setting_and_nothing_else() -> None:
    asked, shown = compose.variables()
    in_compose = {key for service in compose.ours().values() for key in service["environment"]}
    filled_in = set(compose.IN_BRACES.findall(compose.COMPOSE.read_text()))
    known = compose.settings().keys()
    assert asked.keys() | shown.keys() | in_compose == known | {key for key, _ in filled_in}
    assert not (asked.keys() | shown.keys()) & in_compose, "compose would overrule .env"


def test_env_example_asks_for_all_that_has_no_default_and_gives_no_secret_away() -> None:
    asked, shown = compose.variables()
    without = {key for key, field in compose.settings().items() if field.metadata["default"] is _REQUIRED}
    assert without <= asked.keys()
    assert not any(asked.values())
    assert not any(value for key, value in shown.items() if SECRET.search(key))


@pytest.mark.parametrize("key", compose.variables()[1])
def test_a_default_that_env_example_shows_is_the_default(key: str) -> None:
    value, field = compose.variables()[1][key], compose.settings()[key]
    assert (field.metadata["parse"](value) if value else value) == (field.metadata["default"] if value else "")


@pytest.mark.parametrize("name", SERVICES)
def test_compose_holds_no_secret_and_stops_when_one_is_not_given(name: str) -> None:
    for key, value in SERVICES[name].get("environment", {}).items():
        if SECRET.search(key) or "@" in value.partition("//")[2]:
            assert all(why for _, why in compose.IN_BRACES.findall(value)), key
            assert compose.IN_BRACES.search(value), key


def test_git_does_not_take_the_filled_in_file() -> None:
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()


# --- how they go together ---


@pytest.mark.parametrize("name", SERVICES)
def test_what_is_mounted_is_there(name: str) -> None:
    volumes = compose.loaded()["volumes"]
    for mount in compose.mounts(SERVICES[name]):
        if mount.path is None:
            assert mount.source in volumes
        else:
            assert mount.path.exists(), mount.source
            assert mount.read_only, f"{mount.source} can be written from inside {name}"


def test_every_volume_is_used() -> None:
    used = {mount.source for service in SERVICES.values() for mount in compose.mounts(service)}
    assert compose.loaded()["volumes"].keys() == {source for source in used if not source.startswith("./")}


@pytest.mark.parametrize("name", SERVICES)
def test_a_path_that_a_service_is_told_is_inside_something_mounted(name: str) -> None:
    service = SERVICES[name]
    told = [value for value in service.get("environment", {}).values() if value.startswith("/")]
    told += [word.partition("=")[2] for word in service.get("command", ()) if "=/" in word]
    targets = [mount.target for mount in compose.mounts(service)]
    for path in told:
        assert any(path == target or path.startswith(target + "/") for target in targets), path


def test_ingests_spool_is_on_a_volume() -> None:
    (mount,) = [mount for mount in compose.mounts(SERVICES["ingest"]) if mount.path is None]
    assert SERVICES["ingest"]["environment"]["LEADPACT_DATA"] == mount.target


@pytest.mark.parametrize("name", LONG_RUNNING)
def test_what_runs_for_long_has_a_health_check(name: str) -> None:
    check = LONG_RUNNING[name]["healthcheck"]
    assert check["test"][0] == "CMD"
    for key in ("interval", "timeout", "start_period", "start_interval"):
        assert DURATION.fullmatch(check[key]), key


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_waits_for_can_come(name: str) -> None:
    for other, how in SERVICES[name].get("depends_on", {}).items():
        if how["condition"] == "service_healthy":
            assert "test" in SERVICES[other]["healthcheck"]
        else:
            assert how["condition"] == "service_completed_successfully"
            assert other not in LONG_RUNNING


def test_ports_are_published_on_loopback_alone_and_each_once() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", ())]
    addresses = [port.rpartition(":")[0] for port in published]
    assert all(address.startswith("127.0.0.1:") for address in addresses)
    assert len(addresses) == len(set(addresses))


def served() -> dict[str, str]:
    """Where the services answer to each other: `serve`'s port, and the port of each published one."""
    found = {name: service["ports"][0].rpartition(":")[2] for name, service in SERVICES.items() if "ports" in service}
    for name, service in compose.ours().items():
        if service["command"][0] == "serve":
            assert service["command"][service["command"].index("--port") + 1] == found[name]
    return found


def test_each_service_is_served_under_its_own_name() -> None:
    serving = {name: service["command"][1] for name, service in compose.ours().items() if "serve" in service["command"]}
    assert serving == {name: name for name in compose.SERVICES}


def test_prometheus_and_grafana_look_where_the_services_answer() -> None:
    prometheus: dict[str, Any] = YAML(typ="safe").load(ROOT / "deploy/prometheus/prometheus.yml")
    found = [one for job in prometheus["scrape_configs"] for one in job["static_configs"]]
    found += [one for manager in prometheus["alerting"]["alertmanagers"] for one in manager["static_configs"]]
    answers = served()
    targets = {target for one in found for target in one["targets"]}
    assert targets == {f"{name}:{answers[name]}" for name in (*compose.SERVICES, "alertmanager")}
    source = YAML(typ="safe").load(ROOT / "deploy/grafana/provisioning/datasources/prometheus.yml")["datasources"][0]
    assert source["url"] == f"http://prometheus:{answers['prometheus']}"


def test_grafana_finds_the_dashboards_where_they_are_mounted() -> None:
    provider = YAML(typ="safe").load(ROOT / "deploy/grafana/provisioning/dashboards/leadpact.yml")["providers"][0]
    (mount,) = [m for m in compose.mounts(SERVICES["grafana"]) if m.target == provider["options"]["path"]]
    assert mount.path == ROOT / "deploy/grafana/dashboards"
