"""An agreement as a file again: the same meaning in the agreement's own notation, without the comments."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from shared.agreement.model import Agreement
from shared.agreement.values import WRITTEN

ONE_LINE: Final = 90  # what fits into so many characters stands in braces
PLAIN: Final = (":str", ":int", ":float", ":bool", ":timestamp")  # not null, nor what = and << are to YAML
_MAP: Final = "tag:yaml.org,2002:map"
_LIST: Final = "tag:yaml.org,2002:seq"
_TEXT: Final = "tag:yaml.org,2002:str"


def dump(agreement: Agreement) -> str:
    """The text of a file that loads as an equal agreement of the same version."""
    said = agreement.model_dump(mode="json", by_alias=True, exclude_defaults=True, context=WRITTEN)
    if "matrix" in said["qualification"]:  # which its content keeps by the alphabet
        rows: dict[str, dict[str, str]] = {}
        for fit, level, grade in agreement.qualification.cells:
            rows.setdefault(fit, {})[level] = grade
        said["qualification"]["matrix"] = rows
    yaml = YAML(typ="rt", pure=True)
    yaml.width = 10_000  # a long line is better than a value on two
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.brace_single_entry_mapping_in_flow_sequence = True
    out = io.StringIO()
    yaml.serialize(_node(said, yaml, top=True), out)
    return out.getvalue()


def _node(said: Any, yaml: YAML, *, top: bool = False) -> Node:
    if isinstance(said, Mapping):
        flow = not top and len(str(said)) <= ONE_LINE
        pairs = [(_scalar(str(key), yaml), _node(value, yaml)) for key, value in said.items()]
        return MappingNode(_MAP, pairs, flow_style=flow)
    if isinstance(said, list | tuple):
        flow = len(str(said)) <= ONE_LINE or not any(isinstance(one, Mapping | list) for one in said)
        return SequenceNode(_LIST, [_node(one, yaml) for one in said], flow_style=flow)
    return _scalar(_text(said), yaml)


def _text(value: str | float) -> str:
    """40.0 is written 40."""
    return f"{value:.0f}" if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else str(value)


def _scalar(text: str, yaml: YAML) -> ScalarNode:
    """Without quotes wherever it is read as the same text: our reader takes 50 and NO as they are written."""
    tag = str(yaml.resolver.resolve(ScalarNode, text, (True, False)))
    quoted = "'" if text.startswith("?") else None  # ruamel writes it without, and cannot read that within braces
    return ScalarNode(tag if tag.endswith(PLAIN) else _TEXT, text, style=quoted)
