"""The code as the rules of the house look at it: files, trees, and the places of things."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
PACKAGES = ("services", "shared")
SERVICES = sorted(path.name for path in (ROOT / "services").iterdir() if (path / "domain").is_dir())
# Alembic runs these two itself: the first is a script, the others have no names that can be imported.
RUN_BY_ALEMBIC = ("migrations/env.py", "migrations/versions/")


def python_files(*folders: str) -> list[Path]:
    """Every Python file under these folders of the repository."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    """A file's path in the repository, as a failure shows it."""
    return path.relative_to(ROOT).as_posix()


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), filename=str(path))


def module_of(path: Path) -> str:
    """The name by which a file of services or shared is imported."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def modules() -> list[str]:
    """Every module of services and shared that can be imported."""
    files = [path for path in python_files(*PACKAGES) if not any(part in name_of(path) for part in RUN_BY_ALEMBIC)]
    return [module_of(path) for path in files]


def imported(name: str) -> ModuleType:
    return importlib.import_module(name)


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def imports(tree: ast.AST) -> Iterator[tuple[str, str, int]]:
    """What a file imports, as (module, name or "", line)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "", node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name, node.lineno) for alias in node.names)


def texts(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Every string in a file that is no docstring, as (text, line); what an f-string fills in is left out."""
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(v.value) if isinstance(v, ast.Constant) else "{}" for v in node.values), node.lineno
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and not {id(node)} & (said | inside):
            yield node.value, node.lineno


def dotted(node: ast.AST) -> str:
    """`a.b.c` as it is written; "" for anything else."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""
