"""The command as it is called: help, arguments, exit status, and one line on what is wrong."""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from services import __main__ as command
from services.commands import listing
from services.commands.folder import Folder
from shared.crm.simulator import SimulatorOptions
from shared.errors import WrongSetting

REPO = Path(__file__).resolve().parents[3]
AGREEMENT = REPO / "deploy" / "agreement.yaml"
HEAVY = ("fastapi", "sqlalchemy", "alembic", "aiokafka", "uvicorn", "rich", "pydantic", "httpx")


def commands(group: Any = None, path: str = "leadpact") -> Iterator[tuple[str, Any]]:
    """Every command with the words that call it."""
    group = group or typer.main.get_command(command.app)
    for name, one in group.commands.items():
        if hasattr(one, "commands"):
            yield from commands(one, f"{path} {name}")
        else:
            yield f"{path} {name}", one


def called(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, folder: Path, *args: str, **environ: str
) -> tuple[int, str, str]:
    """The command in this process, in an empty folder: exit status, standard output, standard error."""
    monkeypatch.chdir(folder)
    for key in [key for key in os.environ if key.startswith("LEADPACT_")]:
        monkeypatch.delenv(key)
    for key, value in {"LEADPACT_AGREEMENT": str(AGREEMENT), **environ}.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr(sys, "argv", ["leadpact", *args])
    with pytest.raises(SystemExit) as stopped:
        command.main()
    out, err = capsys.readouterr()
    return int(stopped.value.code or 0), out, err


def invoke(*args: str, **environ: str) -> Any:
    return CliRunner().invoke(command.app, list(args), obj=environ)


# --- help ---


@pytest.mark.parametrize(("path", "one"), list(commands()))
def test_the_help_of_every_command_has_an_example_of_it(path: str, one: Any) -> None:
    assert one.help
    assert re.match(rf"Example: ([A-Z_]+=\S+ )?{path}\b", one.epilog or "")


@pytest.mark.parametrize(("path", "one"), list(commands()))
def test_every_option_says_what_it_is(path: str, one: Any) -> None:
    for parameter in one.params:
        assert parameter.name in ("help", "id") or getattr(parameter, "help", ""), f"{path} {parameter.name}"


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys; sys.argv = ['leadpact', '--help']\n"
        "from services.__main__ import main\n"
        "try: main()\n"
        f"except SystemExit: print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=REPO, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_simulate_can_set_every_option_of_the_simulator_but_the_secrets() -> None:
    fields = {field.name for field in dataclasses.fields(SimulatorOptions)}
    options = set(inspect.signature(command.simulate).parameters) - {"context", "speed"}
    assert fields - options == {"secret", "token", "notify_secret", "public_url", "market"}
    assert options <= fields


def test_simulate_has_the_defaults_of_the_simulator() -> None:
    defaults = {f.name: f.default for f in dataclasses.fields(SimulatorOptions)}
    for name, parameter in inspect.signature(command.simulate).parameters.items():
        if name not in ("context", "speed", "portal"):
            assert parameter.default == defaults[name], name


# --- what cannot run says why in one line ---

LOOPBACK_ONLY = "LEADPACT_HUBSPOT_SECRETS and LEADPACT_TOKENS: must be set to listen on 0.0.0.0"


@pytest.mark.parametrize(
    ("args", "environ", "says"),
    [
        (["run", "--host", "0.0.0.0"], {}, LOOPBACK_ONLY),
        (["run", "--host", "0.0.0.0"], {"LEADPACT_TOKENS": "x"}, "LEADPACT_HUBSPOT_SECRETS: must be set"),
        (["run"], {"LEADPACT_HUBSPOT_API": "http://crm.example"}, "LEADPACT_HUBSPOT_API: is set"),
        (["run"], {"LEADPACT_NOTIFY_URL": "http://us.example"}, "LEADPACT_NOTIFY_URL: is set"),
        (["run"], {"LEADPACT_BUS": "nats://x"}, "LEADPACT_BUS: must be"),
        (["run"], {"LEADPACT_TOKENS": "x"}, "LEADPACT_TOKENS: entry 1 must be"),
        (["run"], {"LEADPACT_HUBSPOT_RATE": "0"}, "LEADPACT_HUBSPOT_RATE: must be"),
        (["run", "--no-simulate"], {"LEADPACT_NOTIFY_URL": "http://us.example"}, "LEADPACT_NOTIFY_SECRET: is needed"),
        (["run", "--agreement", "none.yaml"], {}, "LEADPACT_AGREEMENT: none.yaml cannot be used"),
        (["run", "--data", "/dev/null/data"], {}, "LEADPACT_DATA: /dev/null/data cannot be used"),
        (["serve", "ingest"], {}, "LEADPACT_DATABASE: must be a postgresql:// address"),
        (
            ["serve", "kpi", "--host", "0.0.0.0"],
            {"LEADPACT_DATABASE": "postgresql://127.0.0.1:1/x"},
            "LEADPACT_TOKENS: must be set to listen on 0.0.0.0",
        ),
        (["migrate"], {"LEADPACT_DATABASE": "postgresql://127.0.0.1:1/x"}, "LEADPACT_DATABASE: the database did not"),
        (["simulate"], {}, "LEADPACT_HUBSPOT_SECRETS: is not set"),
        (["simulate"], {"LEADPACT_HUBSPOT_SECRETS": "s"}, "LEADPACT_HUBSPOT_TOKEN: is not set"),
        (["events", "export", "crm.events"], {}, "LEADPACT_DATA: there is no database in .leadpact yet"),
        (["dead-letters", "list"], {}, "LEADPACT_DATA: there is no database in .leadpact yet"),
    ],
)
def test_what_is_wrong_is_one_line_that_names_the_setting(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    args: list[str],
    environ: dict[str, str],
    says: str,
) -> None:
    status, _, err = called(capsys, monkeypatch, tmp_path, *args, **environ)
    first, *more = [line for line in err.splitlines() if not line.startswith("{")]
    assert status == 2
    assert first.startswith(f"leadpact: {says}")
    assert not more or "LEADPACT_AGREEMENT" in first  # whose problems are a line each


def test_a_port_that_is_taken_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        status, _, err = called(capsys, monkeypatch, tmp_path, "run", "--port", port)
    assert status == 2
    assert err.startswith(f"leadpact: --port {port} ")
    assert not (tmp_path / ".leadpact" / "postgres").exists()


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    first = pytest.raises(WrongSetting, match="another leadpact run")
    with Folder(tmp_path).taken(), first, Folder(tmp_path).taken():
        pass
    with Folder(tmp_path).taken():
        pass


@pytest.mark.parametrize(
    "args",
    [
        ["run", "--speed", "0.5"],
        ["run", "--port", "70000"],
        ["serve", "billing"],
        ["dead-letters", "replay"],
        ["events", "export", "x"],
    ],
)
def test_wrong_arguments_are_status_2(args: list[str]) -> None:
    assert invoke(*args).exit_code == 2


# --- agreement check ---


def test_of_a_folder_all_files_are_checked_and_who_has_two_is_told(tmp_path: Path) -> None:
    for name in ("one.yaml", "two.yaml"):
        (tmp_path / name).write_text(AGREEMENT.read_text("utf-8"), "utf-8")
    (tmp_path / "three.yaml").write_text("agreement: three", "utf-8")
    done = invoke("agreement", "check", LEADPACT_AGREEMENT=str(tmp_path))
    assert done.exit_code == 1
    assert "three.yaml:1:1: definitions: is missing" in done.stdout
    (one,) = [line for line in done.stdout.splitlines() if line.startswith(f"{tmp_path / 'one.yaml'}:")]
    assert "two.yaml" in one


def test_a_good_agreement_is_status_0() -> None:
    done = invoke("agreement", "check", LEADPACT_AGREEMENT=str(AGREEMENT))
    assert (done.exit_code, done.stdout) == (0, f"{AGREEMENT}: nothing wrong\n")


def test_each_problem_is_told_with_its_place(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(AGREEMENT.read_text().replace("timezone: UTC", "timezone: Mars"))
    done = invoke("agreement", "check", str(AGREEMENT), str(wrong))
    assert done.exit_code == 1
    assert re.fullmatch(rf"{re.escape(str(wrong))}:\d+:\d+: timezone: .+\n", done.stdout)


def test_a_calendar_that_is_wrong_is_told_where_it_is_written(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(AGREEMENT.read_text().replace("mon-fri: 08:00-18:00", "mon-fri: 08:00-25:00"))
    done = invoke("agreement", "check", str(wrong))
    line = next(n for n, text in enumerate(wrong.read_text().splitlines(), start=1) if "25:00" in text)
    place = f"{wrong}:{line}:23: follow_up.calendars.office.mon-fri"
    assert (done.exit_code, done.stdout) == (1, f"{place}: 08:00-25:00: a day's times go from 00:00 to 24:00\n")


def test_problems_can_be_had_as_json(tmp_path: Path) -> None:
    done = invoke("agreement", "check", str(tmp_path / "none.yaml"), "--json")
    (problem,) = json.loads(done.stdout)
    assert (done.exit_code, problem["line"], problem["key"]) == (1, 1, "")


# --- settings ---


def test_settings_masks_secrets_and_says_who_reads_what() -> None:
    done = invoke("settings", "--json", LEADPACT_HUBSPOT_SECRETS="top-secret", LEADPACT_BUS="kafka://b:9092")
    found = {one["key"]: one for one in json.loads(done.stdout)}
    assert done.exit_code == 0
    assert "top-secret" not in done.stdout
    assert found["LEADPACT_HUBSPOT_SECRETS"]["value"] == "(set)"
    assert found["LEADPACT_BUS"]["value"] == "kafka://b:9092"
    assert found["LEADPACT_BUS"]["services"] == ["ingest", "scoring", "handoff", "kpi"]
    assert found["LEADPACT_NOTIFY_URL"]["services"] == ["handoff"]
    assert found["LEADPACT_PUBLIC_URL"]["services"] == ["ingest", "handoff"]
    assert found["LEADPACT_DATABASE"]["value"] == "embedded"


def test_settings_lists_what_is_missing_or_wrong_among_the_others() -> None:
    done = invoke("settings", LEADPACT_HUBSPOT_RATE="many")
    assert done.exit_code == 1
    assert "LEADPACT_HUBSPOT_SECRETS=! is not set" in done.stdout
    assert "LEADPACT_HUBSPOT_RATE=! must be a whole number" in done.stdout
    assert "LEADPACT_AGREEMENT=deploy/agreement.yaml" in done.stdout


def test_no_setting_is_listed_twice() -> None:
    keys = [one.setting.key for one in listing.settings({})]
    assert len(keys) == len(set(keys))
