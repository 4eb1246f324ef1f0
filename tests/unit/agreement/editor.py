"""What an editor makes of an agreement: it knows YAML 1.2 and the JSON Schema, and nothing of us."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

SCHEMA_FILE = Path(__file__).parents[3] / "deploy" / "agreement.schema.json"
_validator = Draft202012Validator(json.loads(SCHEMA_FILE.read_text("utf-8")))


def underlined(path: Path) -> list[str]:
    """Everything that the editor finds, as key: what."""
    try:
        content = _plain(YAML(typ="safe", pure=True).load(path.read_bytes()))
    except (YAMLError, UnicodeDecodeError) as error:
        return [f"no YAML: {type(error).__name__}"]
    return [f"{'.'.join(map(str, one.absolute_path))}: {one.message}" for one in _validator.iter_errors(content)]


def _plain(said: Any) -> Any:
    """As JSON has it: keys are text, and so are days."""
    if isinstance(said, dict):
        return {str(key): _plain(value) for key, value in said.items()}
    if isinstance(said, list):
        return [_plain(one) for one in said]
    return said.isoformat() if isinstance(said, datetime.date) else said
