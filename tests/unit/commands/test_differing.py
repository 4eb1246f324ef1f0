"""`leadpact agreement diff`: what it prints, to whom, and its exit status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from services import __main__ as command
from services.commands.differing import Difference

AGREEMENT = Path(__file__).resolve().parents[3] / "deploy" / "agreement.yaml"


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    """The shipped agreement with one time changed."""
    path = tmp_path / "new.yaml"
    path.write_text(AGREEMENT.read_text("utf-8").replace("B: 4h", "B: 2h"), "utf-8")
    return path


def invoke(*args: Any) -> Any:
    environ = {"LEADPACT_AGREEMENT": str(AGREEMENT)}
    return CliRunner().invoke(command.app, ["agreement", "diff", *map(str, args)], obj=environ)


def test_a_difference_is_status_1_and_told_by_its_part(changed: Path) -> None:
    done = invoke(AGREEMENT, changed)
    found = Difference.of(AGREEMENT, changed)
    assert done.exit_code == 1
    assert done.stdout.splitlines() == [
        f"“Default” {found.old.agreement.version} → “Default” {found.new.agreement.version}: 1 change",
        "",
        "6. Follow-up",
        "  ~ First touch for B leads: 4 h → 2 h (Sales has less time)",
    ]


def test_the_same_meaning_is_status_0(tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(AGREEMENT.read_text("utf-8").replace("B: 4h", "B: 240m"), "utf-8")
    done = invoke(AGREEMENT, other)
    assert (done.exit_code, len(done.stdout.splitlines())) == (0, 1)
    assert done.stdout.endswith("no change, both mean the same\n")


def test_a_file_alone_is_compared_with_the_agreement_in_force(changed: Path) -> None:
    assert invoke(changed).stdout == invoke(AGREEMENT, changed).stdout


def test_of_a_folder_the_agreement_of_the_same_tenant_is_the_old_one(changed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "agreements"
    folder.mkdir()
    text = AGREEMENT.read_text("utf-8")
    (folder / "all.yaml").write_text(text, "utf-8")
    (folder / "own.yaml").write_text(f"tenant: hubspot:7\n{text}".replace("B: 4h", "B: 3h"), "utf-8")
    assert "First touch for B leads: 4 h → 2 h" in invoke(folder, changed).stdout
    changed.write_text(f"tenant: hubspot:7\n{changed.read_text('utf-8')}", "utf-8")
    assert "First touch for B leads: 3 h → 2 h" in invoke(folder, changed).stdout
    (folder / "all.yaml").write_text("agreement: half", "utf-8")
    assert invoke(folder, changed).exit_code == 2


def test_a_file_that_cannot_be_used_is_status_2_and_told_as_the_check_tells_it(changed: Path) -> None:
    changed.write_text(
        changed.read_text("utf-8").replace("B: 2h", "B: 2 hours").replace("half_life: 14d", "half_life: x")
    )
    done = invoke(changed)
    checked = CliRunner().invoke(command.app, ["agreement", "check", str(changed)], obj={})
    assert (done.exit_code, done.stdout, done.stderr) == (2, "", checked.stdout)
    assert len(done.stderr.splitlines()) == 2


@pytest.mark.parametrize("args", [(), ("a", "b", "c"), ("a", "--json", "--markdown")])
def test_wrong_arguments_are_status_2(args: tuple[str, ...]) -> None:
    assert invoke(*args).exit_code == 2


def test_a_program_gets_both_sides_and_each_change(changed: Path) -> None:
    found = json.loads(invoke(changed, "--json").stdout)
    assert (found["old"]["file"], found["new"]["file"]) == (str(AGREEMENT), str(changed))
    assert found["old"]["version"] != found["new"]["version"]
    assert found["changes"] == [
        {
            "path": "follow_up.first_touch.B",
            "part": "follow_up",
            "kind": "changed",
            "before": "4h",
            "after": "2h",
            "text": "First touch for B leads: 4 h → 2 h (Sales has less time)",
        }
    ]


def test_markdown_shows_names_as_they_are(tmp_path: Path) -> None:
    new = tmp_path / "new.yaml"
    new.write_text(AGREEMENT.read_text("utf-8").replace("name: Our markets", 'name: "*Our* <b>[x](y)"'), "utf-8")
    assert r"→ \*Our\* \<b\>\[x\](y)" in invoke(new, "--markdown").stdout
