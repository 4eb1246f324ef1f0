"""Mistakes of all kinds at once: a value that cannot be read hides hardly a misspelt name, and makes none up."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from shared.agreement.load import check

SHIPPED = Path(__file__).resolve().parents[3] / "deploy" / "agreement.yaml"
NONSENSE = "what is this"
DATA = YAML(typ="safe", pure=True).load(SHIPPED)


def leaves(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield from leaves(part, (*at, key))
    if not parts:
        yield at


def changed(*changes: tuple[tuple[Any, ...], Any]) -> Any:
    made = copy.deepcopy(DATA)
    for at, value in changes:
        inside = made
        for part in at[:-1]:
            inside = inside[part]
        inside[at[-1]] = value
    return made


def told(tmp_path: Path, said: Any) -> list[str]:
    path = tmp_path / "agreement.yaml"
    path.write_text(json.dumps(said, default=str), "utf-8")  # JSON is YAML, and much quicker to write
    return [f"{problem.key}: {problem.text}" for problem in check(path) if problem.severity == "error"]


LEAVES = [at for at in leaves(DATA) if at[:2] != ("signed_by", "marketing")]
TO_WHOM = ("handoff", "route", 1, "to")


WANTED = "handoff.route[1].to: dahc is none of the teams; did you mean dach?"


def test_most_values_that_cannot_be_read_let_a_misspelt_name_be_seen_and_none_makes_one_up(tmp_path: Path) -> None:
    """Most: not those that the agreement cannot be without, or that give the names themselves."""
    hidden = 0
    for at in (at for at in LEAVES if at != TO_WHOM):
        said = told(tmp_path, changed((at, NONSENSE), (TO_WHOM, "team:dahc")))
        names = [one for one in said if "none of the" in one and NONSENSE not in one]
        assert names in ([], [WANTED]), at
        hidden += not names
    assert hidden < len(LEAVES) / 6


def test_a_place_in_a_list_is_the_one_in_the_file_also_behind_an_element_that_cannot_be_read(tmp_path: Path) -> None:
    said = changed((("handoff", "route", 0), NONSENSE), (TO_WHOM, "team:dahc"))
    assert WANTED in told(tmp_path, said)
