"""The arrows of the code: the contracts in pyproject.toml hold, and each of them can be broken."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.house.code import ROOT

CONTRACTS = {
    contract["id"]: contract["name"]
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
}
# For each contract a line that somebody might write one day, and where.
VIOLATIONS = {
    "reverse": ("shared/errors.py", "import services.kpi.settings"),
    "independent": ("services/kpi/store.py", "from services.handoff.domain.lead import Lead"),
    "service": ("services/handoff/domain/lead.py", "from services.handoff import store"),
    "api": ("services/handoff/api/roles.py", "from services.handoff.api.doing import Doing"),
    "frozen": ("services/scoring/migrations/env.py", "from services.scoring.domain.lead import Lead"),
    "pure": ("services/kpi/domain/terms.py", "from shared.clock import SystemClock"),
    "web": ("services/scoring/settings.py", "from fastapi import Query"),
    "shared": ("shared/database.py", "from shared.work import Work"),
    "agreement": ("shared/agreement/conditions.py", "from shared.agreement.load import load"),
    "engines": ("services/ingest/store.py", "from shared.bus.kafka import KafkaBus"),
    "engine": ("shared/bus/embedded.py", "from shared.bus.kafka import KafkaBus"),
    "crm": ("shared/crm/hubspot.py", "from shared.crm.simulator.world import World"),
    "simulator": ("services/ingest/settings.py", "from shared.crm.simulator.world import World"),
}


def lint(folder: Path) -> tuple[int, str]:
    """Exit status and what was said, its line breaks taken out: names are wrapped."""
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def verdicts(said: str) -> dict[str, str]:
    """KEPT or BROKEN of each contract, by its id."""
    flat = " ".join(said.split())
    found = {key: re.search(re.escape(name) + r" (KEPT|BROKEN)", flat) for key, name in CONTRACTS.items()}
    return {key: match.group(1) if match else "not checked" for key, match in found.items()}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for package in ("services", "shared"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_arrows_point_one_way() -> None:
    status, said = lint(ROOT)
    assert status == 0, said
    assert verdicts(said) == dict.fromkeys(CONTRACTS, "KEPT")


def test_each_contract_breaks_when_it_is_violated(copy: Path) -> None:
    for file, line in VIOLATIONS.values():
        with (copy / file).open("a") as end:
            end.write(f"\n{line}\n")
    status, said = lint(copy)
    assert status == 1
    assert verdicts(said) == dict.fromkeys(CONTRACTS, "BROKEN")


def test_a_new_module_breaks_the_contract_until_it_has_its_place(copy: Path) -> None:
    for file in ("shared/helpers.py", "services/kpi/helpers.py", "services/helpers.py"):
        (copy / file).write_text('"""Something new."""\n')
    status, said = lint(copy)
    assert status == 1
    broken = {key for key, verdict in verdicts(said).items() if verdict == "BROKEN"}
    assert broken == {"shared", "service", "independent"}
