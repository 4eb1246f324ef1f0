"""The JSON Schema of the file, so that editors complete and check it: made from the model, as people write it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from shared.agreement.conditions import REFERRED, schemas
from shared.agreement.grades import USUAL_FIT, USUAL_LEVELS, joined
from shared.agreement.model import Agreement
from shared.agreement.properties import VALUE_SCHEMA, one_or_several

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
CONDITION: Final = "#/$defs/Condition"
# What editors offer for a word of a condition; an agreement may have names of its own.
USUAL: Final = {
    "grade": [cell.grade for cell in joined(USUAL_FIT, USUAL_LEVELS)],
    "fit": list(USUAL_FIT),
    "interest": list(USUAL_LEVELS),
}
NOISE: Final = ("title", "default")  # what pydantic tells of Python, not of the file


def schema() -> dict[str, Any]:
    """Draft 2020-12. What it cannot see, `leadpact agreement check` does: names that point at nothing, and sense."""
    made = _as_written(Agreement.model_json_schema())
    made["$defs"]["Condition"] = _offering(schemas(CONDITION))
    return {"$schema": DRAFT, "title": "Agreement between Marketing and Sales", **made}


def text() -> str:
    """The schema as the text of a file."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


def _offering(condition: dict[str, Any]) -> dict[str, Any]:
    words = dict(condition["properties"])
    for word, usual in USUAL.items():
        words[word] = words[word] | one_or_several({**VALUE_SCHEMA, "examples": usual})
    return {**condition, "properties": words}


def _as_written(said: Any) -> Any:
    if isinstance(said, list):
        return [_as_written(one) for one in said]
    if not isinstance(said, Mapping):
        return said
    if said.items() >= REFERRED.items():
        return {**{key: value for key, value in said.items() if key not in REFERRED}, "$ref": CONDITION}
    made = {key: _as_written(value) for key, value in said.items() if key not in NOISE}
    if "properties" in said:  # a key of ours may be called as noise is
        made["properties"] = {name: _as_written(one) for name, one in said["properties"].items()}
    if made.get("type") == "string" and not made.keys() & {"pattern", "enum", "const", "format"}:
        made |= VALUE_SCHEMA  # a name may be 1001 or NO: it is read as it is written
    return made
