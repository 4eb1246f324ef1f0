"""The .env file, and the environment over it."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.commands.environment import parse, read_environ
from shared.errors import WrongSetting


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("LEADPACT_BUS=kafka://file:9092\nLEADPACT_DATA=there\n")
    found = read_environ({"LEADPACT_BUS": "embedded"}, tmp_path)
    assert found == {"LEADPACT_BUS": "embedded", "LEADPACT_DATA": "there"}


def test_without_a_file_there_is_the_environment_alone(tmp_path: Path) -> None:
    assert read_environ({"A": "b"}, tmp_path) == {"A": "b"}


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("KEY=plain", "plain"),
        ("  export KEY = spaced out  ", "spaced out"),
        ("KEY='single # quoted'", "single # quoted"),
        ('KEY="double"  # why', "double"),
        ("KEY=value # why", "value"),
        ("KEY=whsec_a#b==", "whsec_a#b=="),
        ("KEY=# nothing", ""),
        ("KEY=", ""),
        ("KEY='open", "'open"),
    ],
)
def test_a_line_gives_its_value(line: str, value: str) -> None:
    assert parse(f"# comment\n\n{line}\n") == {"KEY": value}


@pytest.mark.parametrize("line", ["no equals sign", "=value", "two words=x"])
def test_a_line_that_says_nothing_is_refused_by_its_number(line: str) -> None:
    with pytest.raises(WrongSetting, match="line 2 must be KEY=value"):
        parse(f"A=b\n{line}\n")
