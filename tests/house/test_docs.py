"""What the pages name exists, and what exists is named: settings, metrics, commands, routes, files, targets."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
import typer

from services.ingest.domain import door
from tests.house import compose
from tests.house.code import ROOT, SERVICES, dotted, functions, imported, name_of, python_files, texts, tree_of
from tests.house.test_monitoring import metrics_in_code, named_in, rules

# Pages that the project must have.
FIRST_PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", ".env.example")]
DOCS = sorted((ROOT / "docs").rglob("*.md"))
SERVICE_PAGES = [ROOT / "services" / service / "README.md" for service in SERVICES]
PAGES = [*FIRST_PAGES, *DOCS, *SERVICE_PAGES, *sorted((ROOT / "deploy/runbooks").glob("*.md"))]

SETTING = re.compile(r"\bLEADPACT_[A-Z0-9]+(?:_[A-Z0-9]+)*\b")
COMMAND = re.compile(r"(?<![\w./:=@-])(?:\.venv/bin/)?leadpact((?: +[^\s`#;)&>]+)+)")
ROUTE = re.compile(r"\b(?:GET|POST|PUT|PATCH|DELETE) (/[^\s`?\"')]*)")
TARGET = re.compile(r"(?:^|[\s(`])make ([a-z]+)\b", re.M)
FOLDERS = ("bench", "deploy", "docs", "services", "shared", "tests")
FILE = re.compile(
    rf"(?<![\w./:$}}-])((?:{'|'.join(FOLDERS)})/[\w./*<>{{}},-]*[\w*>}}/]"
    r"|[\w./*<>-]*[\w*>-]\.(?:py|md|ya?ml|toml|lock|json|sh|cfg|xml)\b|\.env\.example|Makefile|Dockerfile)"
)
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
OTHERS_FILES = frozenset({".env"})


# --- the pages ---


def text_of(page: Path) -> str:
    assert page.exists(), f"{name_of(page)} is not there"
    return page.read_text("utf-8")


def code_in(page: Path) -> str:
    """What a page shows as code: its fenced blocks and what stands in backticks; of .env.example everything."""
    text = text_of(page)
    if page.suffix != ".md":
        return text.replace("# ", "")
    blocks = [re.sub(r"(^|\s)# .*", "", one) for one in re.findall(r"^\s*```\w*\n(.*?)^\s*```", text, re.M | re.S)]
    rest = re.sub(r"^\s*```\w*\n.*?^\s*```", "", text, flags=re.M | re.S)
    return "\n".join([*blocks, *re.findall(r"`([^`]+)`", rest)]).replace("\\\n", " ")


def all_text(*pages: Path) -> str:
    return "\n".join(text_of(page) for page in pages)


def expanded(text: str) -> list[str]:
    """`a {b,c}` and `b|c` as each of what they stand for; `{lead}` stays."""
    parts = re.split(r"(\{[^{}]*,[^{}]*\})", text)
    choices = [part[1:-1].split(",") if part.startswith("{") and "," in part else [part] for part in parts]
    return ["".join(choice).strip() for choice in product(*choices)]


@pytest.mark.parametrize("page", FIRST_PAGES, ids=name_of)
def test_the_page_is_there(page: Path) -> None:
    assert text_of(page)


# --- settings ---


def settings() -> set[str]:
    """Every key that a class of settings reads."""
    return set(compose.settings())


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_setting_that_a_page_names_exists(page: Path) -> None:
    assert set(SETTING.findall(text_of(page))) <= settings()


def test_every_setting_is_documented() -> None:
    assert settings() <= set(SETTING.findall(all_text(ROOT / "README.md", ROOT / ".env.example", *DOCS)))


def test_every_setting_is_read_by_way_of_its_class() -> None:
    """A key that stands anywhere else in the code is one that `leadpact settings` does not list."""
    named = {(name_of(path), key) for path in python_files("services", "shared") for text, _ in texts(tree_of(path))
             for key in SETTING.findall(text)}  # fmt: skip
    assert not {(where, key) for where, key in named if key not in settings()}


# --- metrics ---


def metrics_of(*files: str) -> set[str]:
    return {name for file in files for name in re.findall(r'"(leadpact_[a-z0-9_]+)"', (ROOT / file).read_text())}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_metric_that_a_page_names_exists(page: Path) -> None:
    known = metrics_in_code() | {rule["record"] for rule in rules() if "record" in rule}
    assert {name for name in named_in(text_of(page)) if not name.endswith("_")} <= known


@pytest.mark.parametrize("service", SERVICES)
def test_every_metric_of_a_service_is_on_its_page(service: str) -> None:
    folder = f"services/{service}"
    files = [f"{folder}/metrics.py", *(["services/kpi/domain/tallies.py"] if service == "kpi" else [])]
    page = all_text(ROOT / folder / "README.md", ROOT / "docs/on-call.md")
    assert not {name for name in metrics_of(*files) if not re.search(rf"\b{name}(_total)?\b", page)}


def test_every_metric_that_all_services_have_is_told_to_those_on_call() -> None:
    page = text_of(ROOT / "docs/on-call.md")
    assert not {name for name in metrics_of("shared/metrics.py") if not re.search(rf"\b{name}(_total)?\b", page)}


# --- commands ---


def commands() -> dict[str, set[str]]:
    """Every command of `leadpact` by its words, with its options; "" is leadpact itself."""
    found: dict[str, set[str]] = {}
    waiting = [("", typer.main.get_command(imported("services.__main__").app))]
    while waiting:
        name, command = waiting.pop()
        options = {word for one in command.params for word in (*one.opts, *one.secondary_opts)}
        found[name] = options | {"--help"}
        waiting += [(f"{name} {word}".strip(), more) for word, more in getattr(command, "commands", {}).items()]
    return found


def named_commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """The commands that a text calls, as (words, options)."""
    known = commands()
    groups = {name.rpartition(" ")[0] for name in known if name}
    for said in COMMAND.findall(text):
        for one in expanded(said.replace("|", ",") if "{" in said else said):
            words, options, name = one.split(), [], ""
            while words and name in groups and not words[0].startswith(("-", "<", "[")):
                name = f"{name} {words.pop(0)}".strip()
            options = [word.partition("=")[0] for word in words if word.startswith("--")]
            yield name, options


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_that_a_page_names_exists(page: Path) -> None:
    known = commands()
    for name, options in named_commands(code_in(page)):
        assert name in known, f"leadpact {name}"
        assert set(options) <= known[name], f"leadpact {name}"


def test_every_command_is_told_of() -> None:
    told = {name for page in (ROOT / "README.md", *DOCS) for name, _ in named_commands(code_in(page))}
    groups = {name.rpartition(" ")[0] for name in commands() if name}
    assert not set(commands()) - groups - told


# --- routes ---


def routes_of(path: Path) -> set[str]:
    """The paths that a file answers: of its decorators, and written as a constant."""
    said = {
        str(call.args[0].value)
        for function in functions(tree_of(path))
        for call in function.decorator_list
        if isinstance(call, ast.Call) and call.args and isinstance(call.args[0], ast.Constant)
        if dotted(call.func).rpartition(".")[2] in ("get", "post", "put", "patch", "delete")
    }
    constants = {node.value for node in tree_of(path).body if isinstance(node, ast.AnnAssign)}
    return said | {
        str(one.value)
        for one in constants
        if isinstance(one, ast.Constant) and isinstance(one.value, str) and one.value.startswith("/")
    }


def test_every_route_that_a_page_names_exists() -> None:
    known = {route for path in python_files("services", "shared") for route in routes_of(path)} | {"/docs"}
    named = {
        (name_of(page), route) for page in PAGES for said in ROUTE.findall(code_in(page)) for route in expanded(said)
    }
    assert not {(where, route) for where, route in named if route not in known}


@pytest.mark.parametrize("service", SERVICES)
def test_every_route_of_a_service_is_on_its_page(service: str) -> None:
    page = {route for said in ROUTE.findall(code_in(ROOT / "services" / service / "README.md"))
            for route in expanded(said)}  # fmt: skip
    folder = ROOT / "services" / service
    files = [folder / "app.py", *folder.glob("door.py"), *folder.glob("api/*.py")]
    assert not {route for path in files for route in routes_of(path)} - page


# --- files and targets ---


def is_there(said: str, page: Path) -> bool:
    """From the page, from the top, or, for a bare name, anywhere. `<service>` and `*` stand for something."""
    pattern = re.sub(r"<\w+>", "*", said).rstrip("/")
    if "*" not in pattern:
        here = [(page.parent / pattern).exists(), (ROOT / pattern).exists()]
        return any(here) or ("/" not in pattern and pattern in FILE_NAMES)
    return any(ROOT.glob(pattern)) or any(page.parent.glob(pattern))


FILE_NAMES = {
    path.name
    for folder in (*(ROOT / name for name in FOLDERS), ROOT)
    for path in (folder.rglob("*") if folder != ROOT else folder.iterdir())
    if path.is_file()
}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    named = {one for said in FILE.findall(code_in(page)) for one in expanded(said)}
    named |= {link for link in LINK.findall(text_of(page)) if "://" not in link and not link.startswith("mailto:")}
    assert not {said for said in named - OTHERS_FILES if not is_there(said, page)}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_target_that_a_page_names_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", text_of(ROOT / "Makefile"), re.M))
    assert set(TARGET.findall(code_in(page))) <= targets


# --- that the search finds ---


# --- what the CRM is asked to tell ---


def test_who_installs_it_subscribes_to_all_that_is_understood_of_contacts() -> None:
    asked = text_of(ROOT / "README.md").partition("webhook subscriptions for")[2].partition("target URL")[0]
    assert [verb for verb in door.OF_CONTACTS if f"`contact.{verb}`" not in asked] == []


def test_the_search_finds_what_code_says(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "make haste, GET out of shared/ways\n`leadpact dead-letters {list,show} --json`\n"
        "```sh\nmake run\nleadpact serve \\\n  ingest --port 8000  # leadpact nothing\n```\n"
        "`POST /leads/{lead}/{accept,reject}` `shared/{work,web}.py` `services/<name>/app.py`\n"
    )
    code = code_in(page)
    assert list(named_commands(code)) == [
        ("serve", ["--port"]),
        ("dead-letters list", ["--json"]),
        ("dead-letters show", ["--json"]),
    ]
    assert TARGET.findall(code) == ["run"]
    assert [expanded(one) for one in ROUTE.findall(code)] == [["/leads/{lead}/accept", "/leads/{lead}/reject"]]
    assert [one for said in FILE.findall(code) for one in expanded(said)] == [
        *("shared/work.py", "shared/web.py", "services/<name>/app.py"),
    ]
    assert [is_there(one, page) for one in ("shared/work.py", "services/<name>/app.py", "shared/none.py")] == [
        *(True, True, False),
    ]
