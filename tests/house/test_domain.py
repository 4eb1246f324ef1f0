"""A domain is pure: the same agreement, state, event and time give the same decision (promise 8).

import-linter forbids what does I/O. Here stands what a domain may know at all, and which names it may
take from the two modules of shared where plain types live beside what does the work.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.code import ROOT, dotted, imports, name_of, python_files, tree_of

DOMAINS = [path for path in python_files("services") if "domain" in path.relative_to(ROOT).parts]
STANDARD = frozenset(
    {
        "__future__", "base64", "binascii", "bisect", "collections", "collections.abc", "dataclasses", "datetime",
        "decimal", "enum", "fractions", "functools", "hashlib", "heapq", "hmac", "itertools", "json", "math",
        "operator", "re", "statistics", "string", "types", "typing", "unicodedata", "urllib.parse", "zoneinfo",
    }
)  # fmt: skip
# msgspec is the language of the messages: types and decoders, no I/O.
PLAIN = frozenset(
    {
        *("msgspec", "msgspec.structs", "shared.calendars", "shared.errors", "shared.events", "shared.languages"),
        *("shared.agreement.conditions", "shared.agreement.phrases"),
        *(
            f"shared.agreement.{part}"
            for part in ("follow_up", "goals", "handoff", "kpis", "model", "nurture", "qualification", "values")
        ),
    }
)
NAMES = {
    "shared": {"events", "errors"},
    "shared.agreement": {"Agreement"},
    "shared.work": {"Decision"},
    "shared.crm.hubspot": {
        "Event", "MAX_AGE_MS", "MAX_AHEAD_MS", "OBJECT_TYPES", "Past", "Record", "Signature",
        "pieces", "sign_v1", "sign_v2", "sign_v3",
    },
}  # fmt: skip
# What asks the machine: the time, a file, or an order that is another in each process.
ASKS_THE_MACHINE = frozenset(
    {"datetime.now", "datetime.utcnow", "datetime.today", "date.today", "open", "print", "input", "hash", "id"}
)


def is_allowed(module: str, name: str, domain: str) -> bool:
    if module == domain or module.startswith(f"{domain}."):
        return True
    return module in STANDARD | PLAIN or name in NAMES.get(module, ())


def calls(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """What is called where; but for `__hash__`, which never leaves the process."""
    if isinstance(tree, ast.FunctionDef) and tree.name == "__hash__":
        return
    if isinstance(tree, ast.Call):
        yield dotted(tree.func), tree.lineno
    for child in ast.iter_child_nodes(tree):
        yield from calls(child)


def asks(call: str) -> bool:
    return any(call == one or call.endswith(f".{one}") for one in ASKS_THE_MACHINE if "." in one) or (
        call in ASKS_THE_MACHINE
    )


def faults(path: Path) -> Iterator[str]:
    tree, domain = tree_of(path), ".".join(path.relative_to(ROOT).parts[:3])
    for module, name, line in imports(tree):
        if not is_allowed(module, name, domain):
            yield f"{name_of(path)}:{line} imports {module} {name}".rstrip()
    for call, line in calls(tree):
        if asks(call):
            yield f"{name_of(path)}:{line} calls {call}"


@pytest.mark.parametrize("path", DOMAINS, ids=name_of)
def test_a_domain_knows_only_plain_types_and_what_it_is_given(path: Path) -> None:
    assert not list(faults(path))


def test_what_counts_as_standard_is_the_standard_library() -> None:
    assert {module.partition(".")[0] for module in STANDARD} <= sys.stdlib_module_names


def test_every_service_has_a_domain_to_look_at() -> None:
    assert len({path.relative_to(ROOT).parts[1] for path in DOMAINS}) == 4
