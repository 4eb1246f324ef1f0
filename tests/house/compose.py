"""docker-compose.yml, Dockerfile and .env.example as programs see them."""

from __future__ import annotations

import importlib
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, fields
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from shared.settings import CommonSettings, Settings
from tests.house.code import ROOT, SERVICES

COMPOSE = ROOT / "docker-compose.yml"
DOCKERFILE = ROOT / "Dockerfile"
EXAMPLE = ROOT / ".env.example"
IN_BRACES = re.compile(r"\$\{(\w+)(?::\?([^}]*))?\}")


def loaded() -> dict[str, Any]:
    """The whole file, its merges resolved."""
    content: dict[str, Any] = YAML(typ="safe").load(COMPOSE)
    return content


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = loaded()["services"]
    return found


def ours() -> dict[str, dict[str, Any]]:
    """The services that run Leadpact's own image."""
    return {name: service for name, service in services().items() if service["image"].startswith("leadpact:")}


def interpolated(text: str, values: Mapping[str, str]) -> str:
    """`text` as Compose reads it with `values` in .env; KeyError where one is missing."""
    return IN_BRACES.sub(lambda found: values[found.group(1)], text)


@dataclass(frozen=True, kw_only=True)
class Mount:
    """One entry of `volumes`."""

    source: str  # a folder or file of the repository that starts with ./, or a volume's name
    target: str
    read_only: bool

    @property
    def path(self) -> Path | None:
        """What of the repository is mounted; None for a volume."""
        return ROOT / self.source if self.source.startswith("./") else None


def mounts(service: Mapping[str, Any]) -> list[Mount]:
    parts = [entry.split(":") for entry in service.get("volumes", ())]
    return [Mount(source=part[0], target=part[1], read_only=part[2:] == ["ro"]) for part in parts]


def variables(path: Path = EXAMPLE) -> tuple[dict[str, str], dict[str, str]]:
    """What .env.example asks for, and what it shows behind a # as defaults."""
    lines = path.read_text("utf-8").splitlines()
    asked = (re.fullmatch(r"([A-Z_]+)=(.*)", line) for line in lines)
    shown = (re.fullmatch(r"# ([A-Z_]+)=(.*)", line) for line in lines)
    return dict(m.groups() for m in asked if m), dict(m.groups() for m in shown if m)  # type: ignore[misc]


def settings_classes() -> list[type[Settings]]:
    """Every settings class of the product."""
    modules = [importlib.import_module(f"services.{name}.settings") for name in SERVICES]
    found = [
        thing
        for module in modules
        for thing in vars(module).values()
        if isinstance(thing, type) and issubclass(thing, Settings) and thing.__module__ == module.__name__
    ]
    return [CommonSettings, *found]


def settings() -> dict[str, Field[Any]]:
    """Every setting by its key."""
    return {field.metadata["key"]: field for one in settings_classes() for field in fields(one)}


def instructions() -> Iterator[tuple[str, str]]:
    """The Dockerfile's instructions and what they are told."""
    text = DOCKERFILE.read_text("utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            word, _, rest = line.strip().partition(" ")
            yield word, rest.strip()


def entrypoint() -> list[str]:
    """The first words of whatever the image runs."""
    (found,) = [rest for word, rest in instructions() if word == "ENTRYPOINT"]
    words: list[str] = json.loads(found)
    return words


def image_environment() -> dict[str, str]:
    """What the image's last stage sets."""
    found: dict[str, str] = {}
    for word, rest in instructions():
        if word == "FROM":
            found.clear()
        elif word == "ENV":
            found |= dict(pair.split("=", 1) for pair in shlex.split(rest))  # type: ignore[misc]
    return found
