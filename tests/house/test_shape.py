"""Who knows one service knows all four: the same files, the same page, the same places for SQL and commits."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.code import (
    ROOT,
    SERVICES,
    dotted,
    functions,
    imports,
    name_of,
    python_files,
    texts,
    tree_of,
)

FILES = (
    *("README.md", "__init__.py", "app.py", "metrics.py", "settings.py", "store.py", "worker.py"),
    *("domain/__init__.py", "migrations/__init__.py", "migrations/env.py", "migrations/versions/0001_first.py"),
)
HEADINGS = ["Owns", "In", "Out", "Promises", "What can go wrong", "Start reading at"]
CODE = python_files("services", "shared")
OUTSIDE_THE_PRODUCT = python_files("bench", "deploy", "tests")

LONGEST_LINES = 60
LONG_LINES = 40
# Longer than that, each with its reason.
LONG: dict[str, str] = {
    "services/__main__.py simulate": "its signature: an option of the command a line",
    "shared/metrics.py __init__": "one literal after the other: every metric with its meaning",
    "services/scoring/metrics.py __init__": "the same",
}

# Who commits (promise 4): the one loop, and what no decision stands behind, each with its reason.
COMMITS = {
    "shared/work.py": "the one loop",
    "shared/bus/embedded.py": "a broker's own storage: records, offsets, members",
    "shared/database.py": "migrations, a service each in one transaction",
    "services/kpi/ticking.py": "how commitments ended: about no lead, so without a message and a key",
    "services/ingest/reconciling.py": "whose turn it is to reconcile: about no record, and none is held meanwhile",
    "services/handoff/notifying.py": "what became of a notification: no decision, and between the two no lock is held",
}
TRANSACTION = re.compile(r"(^|\.)(begin|begin_nested|begin_transaction|commit|rollback)$")
# SQL besides stores and migrations: what belongs to no service.
SQL_FILES = {"shared/work.py", "shared/versions.py", "shared/bus/embedded.py", "shared/database.py"}
SQL = re.compile(
    r"\b(SELECT\s.+\sFROM|SELECT\s+\w+\(|INSERT\s+INTO|UPDATE\s+\S+\s+SET|DELETE\s+FROM|TRUNCATE\s|LOCK\s+TABLE"
    r"|(CREATE|ALTER|DROP)\s+(TABLE|INDEX|SCHEMA|TYPE|FUNCTION|SEQUENCE|VIEW))",
    re.S,
)
SCHEMAS = (*SERVICES, "bus", "public")


# --- the same files ---


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_the_files_that_all_have(service: str) -> None:
    folder = ROOT / "services" / service
    assert not [file for file in FILES if not (folder / file).is_file()]
    assert [path for path in (folder / "domain").glob("*.py") if path.name != "__init__.py"]


@pytest.mark.parametrize("service", SERVICES)
def test_a_services_page_has_the_six_headings(service: str) -> None:
    page = (ROOT / "services" / service / "README.md").read_text("utf-8")
    assert page.startswith(f"# {service}\n")
    assert re.findall(r"^## (.+)$", page, re.M) == HEADINGS
    assert not re.findall(r"^## .+\n+(?=## |\Z)", page, re.M), "a heading with nothing under it"


def test_alembic_is_entered_by_the_same_script_in_every_service() -> None:
    assert len({(ROOT / f"services/{service}/migrations/env.py").read_text() for service in SERVICES}) == 1


# --- in words, and short ---


@pytest.mark.parametrize("path", [*CODE, *OUTSIDE_THE_PRODUCT], ids=name_of)
def test_a_module_says_in_a_sentence_what_it_is(path: Path) -> None:
    said = ast.get_docstring(tree_of(path))
    assert said, f"{name_of(path)} has no docstring"
    assert re.search(r"[.:…]$", said.split("\n\n")[0].strip()), f"{name_of(path)}: no sentence: {said}"


def long_functions() -> Iterator[tuple[str, int]]:
    for path in [*CODE, *python_files("bench", "deploy")]:
        for function in functions(tree_of(path)):
            assert function.end_lineno
            if (lines := function.end_lineno - function.lineno + 1) > LONG_LINES:
                yield f"{name_of(path)} {function.name}", lines


def test_no_function_is_long() -> None:
    found = dict(long_functions())
    listing = "\n".join(f"  {lines} {where}" for where, lines in sorted(found.items(), key=lambda f: -f[1]))
    strange = [where for where, lines in found.items() if lines > LONGEST_LINES or where not in LONG]
    assert not strange, f"longer than {LONG_LINES} lines:\n{listing}"
    assert set(LONG) <= set(found), "LONG names what is short by now"


# --- who commits, and who knows SQL ---


def transactions(path: Path) -> Iterator[int]:
    """Where a file begins or ends a transaction. A consumer's `commit` takes offsets and is none."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call) and TRANSACTION.search(dotted(node.func) or _last(node.func)):
            if not node.args:
                yield node.lineno
        elif isinstance(node, ast.Constant) and node.value == "AUTOCOMMIT":
            yield node.lineno


def _last(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else ""


def test_only_the_one_loop_commits() -> None:
    found = {name_of(path): list(transactions(path)) for path in CODE}
    committing = {name: lines for name, lines in found.items() if lines}
    assert not {name: lines for name, lines in committing.items() if name not in COMMITS}
    assert set(COMMITS) <= set(committing), "COMMITS names what commits no more"


def may_know_sql(path: Path) -> bool:
    name = name_of(path)
    return bool(re.fullmatch(r"services/\w+/(store\.py|migrations/versions/\w+\.py)", name)) or name in SQL_FILES


def test_sql_stands_in_stores_and_migrations() -> None:
    strange = [
        f"{name_of(path)}:{line} {text.split()[0]}"
        for path in CODE
        if not may_know_sql(path)
        for text, line in texts(tree_of(path))
        if SQL.search(text)
    ]
    strange += [
        f"{name_of(path)}:{line} {module}"
        for path in CODE
        if not may_know_sql(path)
        for module, name, line in imports(tree_of(path))
        if module == "sqlalchemy" or (module.startswith("sqlalchemy") and not module.endswith((".asyncio", ".exc")))
    ]
    assert not strange


def test_the_search_for_sql_finds_sql() -> None:
    found = {name_of(path) for path in CODE for text, _ in texts(tree_of(path)) if SQL.search(text)}
    assert found >= SQL_FILES | {
        f"services/{service}/migrations/versions/0001_first.py" for service in ("kpi", "handoff")
    }


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_speaks_only_of_its_own_tables(service: str) -> None:
    others = "|".join(schema for schema in SCHEMAS if schema != service)
    speaks = re.compile(rf"\b(?:FROM|JOIN|INTO|UPDATE|TABLE|ON|DELETE FROM|TRUNCATE)\s+(?:{others})\.\w+")
    folder = ROOT / "services" / service
    files = [folder / "store.py", *sorted((folder / "migrations/versions").glob("*.py"))]
    assert not [
        f"{name_of(path)}:{line} {found.group()}"
        for path in files
        for text, line in texts(tree_of(path))
        for found in speaks.finditer(text)
    ]


@pytest.mark.parametrize("service", SERVICES)
def test_a_migration_uses_none_of_todays_code(service: str) -> None:
    """It is frozen: import-linter cannot see these files, which no name can import."""
    allowed = {"__future__", "alembic", "sqlalchemy", "shared.database"}
    for path in (ROOT / "services" / service / "migrations/versions").glob("*.py"):
        assert {module for module, _, _ in imports(tree_of(path))} <= allowed, name_of(path)
