"""No test sleeps, and none asserts how long something took: time is injected.

Where a test has to do with programs outside of us, which run in real time and have no event to wait
on, it may pause: in OUTSIDE only, in a file whose docstring has a paragraph that starts with "Pauses:"
and says why. A pause in plain figures is one between two looks, and short.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.code import ROOT, dotted, functions, name_of, python_files

TESTS = python_files("tests")
OUTSIDE = ("tests/system/", "tests/contract/test_bus.py")
LONGEST_PAUSE_S = 0.2
WATCHES = ("perf_counter", "perf_counter_ns", "process_time", "thread_time")


def pauses(tree: ast.AST) -> Iterator[tuple[int, float | None]]:
    """Where a file sleeps, and for how long; None: not said in figures. Giving way to others, sleep(0), is no pause."""
    names = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (argument := _pause(node, names)):
            seconds = argument.value if isinstance(argument, ast.Constant) else None
            if seconds != 0:
                yield node.lineno, float(seconds) if isinstance(seconds, int | float) else None


def _pause(call: ast.Call, names: dict[str, str]) -> ast.expr | None:
    """What says how long, in a call that sleeps."""
    called = names.get(dotted(call.func), dotted(call.func))
    if called in ("time.sleep", "asyncio.sleep", "anyio.sleep"):
        return call.args[0]
    if called == "select.select" and [ast.unparse(one) for one in call.args[:3]] == ["[]"] * 3:
        return call.args[3]  # nothing to wait for but the time: the same by another name
    return None


def timed_asserts(tree: ast.Module) -> Iterator[int]:
    """Asserts on what a stopwatch said, also by way of a variable of the same function."""
    for function in functions(tree):
        timed = {
            target.id
            for node in ast.walk(function)
            if isinstance(node, ast.Assign) and _stopwatch(node.value, set())
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        yield from (
            node.lineno for node in ast.walk(function) if isinstance(node, ast.Assert) and _stopwatch(node.test, timed)
        )


def _stopwatch(expression: ast.AST, timed: set[str]) -> bool:
    return any(
        dotted(node).rpartition(".")[2] in WATCHES or (isinstance(node, ast.Name) and node.id in timed)
        for node in ast.walk(expression)
        if isinstance(node, ast.Attribute | ast.Name)
    )


def says_why(tree: ast.Module) -> bool:
    return any(part.startswith("Pauses:") for part in (ast.get_docstring(tree) or "").split("\n\n"))


def faults(tree: ast.Module, *, may_pause: bool) -> list[int]:
    slept = [(line, seconds) for line, seconds in pauses(tree)]
    if may_pause and says_why(tree):
        slept = [(line, seconds) for line, seconds in slept if seconds and seconds > LONGEST_PAUSE_S]
    return sorted([line for line, _ in slept] + list(timed_asserts(tree)))


@pytest.mark.parametrize("path", TESTS, ids=name_of)
def test_no_test_sleeps_and_none_holds_a_stopwatch(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    found = faults(tree, may_pause=name_of(path).startswith(OUTSIDE))
    assert not [f"{name_of(path)}:{line}" for line in found]


def test_there_are_tests_to_look_at() -> None:
    assert {path.relative_to(ROOT).parts[1] for path in TESTS} >= {"unit", "contract", "system", "house"}


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("import time\ntime.sleep(1)", [2]),
        ("from time import sleep\nsleep(0.01)", [2]),
        ("from asyncio import sleep as nap\nnap(0.5)", [2]),
        ("import asyncio\nasyncio.sleep(PAUSE)", [2]),
        ("import select\nselect.select([], [], [], 0.1)", [2]),
        ("import select\nselect.select([terminal], [], [], 5)", []),
        ("import asyncio\nasyncio.sleep(0)", []),
        ("def test():\n    took = time.perf_counter() - start\n    assert took < 1", [3]),
        ("def test():\n    assert perf_counter() - start < 1", [2]),
        ("def test():\n    assert clock.now() == start", []),
    ],
)
def test_the_search_finds(code: str, lines: list[int]) -> None:
    assert faults(ast.parse(code), may_pause=False) == lines


@pytest.mark.parametrize(
    ("docstring", "seconds", "lines"),
    [
        ("Waits.\n\nPauses: the broker has no event.", "0.1", []),
        ("Waits.\n\nPauses: the broker has no event.", "AWAY_S", []),
        ("Waits.\n\nPauses: the broker has no event.", "5", [4]),
        ("Waits.", "0.1", [2]),
    ],
)
def test_a_short_pause_for_a_program_outside_is_allowed_where_it_is_explained(
    docstring: str, seconds: str, lines: list[int]
) -> None:
    code = f'"""{docstring}"""\nasyncio.sleep({seconds})'
    assert faults(ast.parse(code), may_pause=True) == lines
