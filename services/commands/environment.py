"""The settings as a mapping: the environment, and a .env file of the working directory where that is silent."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from shared.errors import WrongSetting

FILE: Final = ".env"
QUOTES: Final = "\"'"


def read_environ(environ: Mapping[str, str], folder: Path) -> dict[str, str]:
    """`environ` over what `folder`/.env says. Raises WrongSetting for a line that says nothing."""
    path = folder / FILE
    try:
        text = path.read_text(encoding="utf-8-sig") if path.is_file() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise WrongSetting(FILE, f"cannot be read: {type(error).__name__}") from error
    return {**parse(text), **environ}


def parse(text: str) -> dict[str, str]:
    """`KEY=value` lines. Quotes around a value are taken off; # begins a comment, in a value after a space."""
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        said = line.strip().removeprefix("export ")
        if not said or said.startswith("#"):
            continue
        key, equals, value = said.partition("=")
        if not equals or not key.strip().isidentifier():
            raise WrongSetting(FILE, f"line {number} must be KEY=value")
        found[key.strip()] = _plain(value.strip())
    return found


def _plain(value: str) -> str:
    if value[:1] and value[0] in QUOTES:
        inside, closing, _ = value[1:].partition(value[0])
        return inside if closing else value
    return "" if value.startswith("#") else value.partition(" #")[0].rstrip()
