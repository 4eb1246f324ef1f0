"""The file as text: YAML 1.2 by ruamel, with the place of every key and value."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from shared.agreement.conditions import Path
from shared.agreement.hours import KEY
from shared.errors import Refused

Severity: TypeAlias = Literal["error", "warning"]

# What people write that is not YAML, by what ruamel says of it.
NOT_YAML: Final = {
    "'\\t' that cannot start": "a tab; indent with spaces",
    "cannot start any token": "a sign that no text begins with; put the text into quotes",
    "mapping values are not allowed": "a colon and a space within a text; put the text into quotes",
    "expected <block end>, but found '<scalar>'": "a text behind a quote; put the whole into one pair of quotes",
    "expected <block end>": "a line that is indented otherwise than its neighbours",
    "expected '<document start>'": "a line that is indented otherwise than its neighbours",
    "could not find expected ':'": "a line without a colon before this",
    "sequence entries are not allowed": "a dash behind a colon; begin the list on a line of its own",
    "undefined alias": "a text that begins with *; put it into quotes",
    "expected chomping": "a text that begins with > or |; put it into quotes",
    "expected a comment or a line break": "a text that begins with > or |; put it into quotes",
    "unknown escape": "a backslash between double quotes; use single ones",
    "end of stream": "a quote is opened here and never closed",
    "expected ',' or ']'": "a bracket [ is not closed before this",
    "expected ',' or '}'": "a brace { is not closed before this",
}
MISPLACED: Final = "a key that does not follow from the lines before it: indent it as its neighbours"
MAX_NODES: Final = 20_000
MAX_DEPTH: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is wrong, and where; `text` says what would be right. With a warning the file can be used."""

    file: str
    line: int
    column: int
    key: str
    text: str
    severity: Severity = "error"

    def __str__(self) -> str:
        kind = "" if self.severity == "error" else f"{self.severity}: "
        return f"{self.file}:{self.line}:{self.column}: {kind}{self.key + ': ' if self.key else ''}{self.text}"


@dataclass(slots=True)
class Source:
    """The file as nodes: where each key and value stands, and what is wrong so far."""

    file: str
    keys: dict[Path, tuple[int, int]] = field(default_factory=dict)
    values: dict[Path, tuple[int, int]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    nodes: int = 0
    begins: str = "agreement: and its name"  # what such a file starts with

    def parse(self, text: str) -> Any:
        try:
            node = YAML(typ="rt", pure=True).compose(io.StringIO(text))
        except MarkedYAMLError as error:
            self.problems.append(self._not_yaml(error, text))
            return None
        except (YAMLError, RecursionError, ValueError) as error:
            self.problems.append(self.problem((), f"is not YAML: {type(error).__name__}"))
            return None
        if not isinstance(node, MappingNode):
            self.problems.append(self.problem((), f"must be a mapping that starts with {self.begins}"))
            return None
        try:
            return self._plain(node, ())
        except Refused as error:
            self.problems.append(self.problem((), error.message))
            return None

    def _not_yaml(self, error: MarkedYAMLError, source: str) -> Problem:
        said = str(error.problem)
        text = next((ours for theirs, ours in NOT_YAML.items() if theirs in said), said)
        begun = "end of stream" in said  # what is never closed is told where it was opened
        mark = (error.context_mark if begun else error.problem_mark) or error.problem_mark or error.context_mark
        place = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        if "mapping values" in said and mark and _begins_with_key(source.splitlines()[mark.line], mark.column):
            text = MISPLACED
        return self._at(place, (), f"is not YAML: {text}")

    def _plain(self, node: Node, at: Path) -> Any:
        """Scalars stay text as it was written: NO is Norway, 1.10 is 1.10; only null is none."""
        self.nodes += 1
        if self.nodes > MAX_NODES or len(at) > MAX_DEPTH:
            raise Refused("agreement_invalid", "is too large or too deep (aliases in a circle?)")
        self.values.setdefault(at, (node.start_mark.line + 1, node.start_mark.column + 1))
        if isinstance(node, MappingNode):
            return self._mapping(node, at)
        if isinstance(node, SequenceNode):
            return [self._plain(one, (*at, n)) for n, one in enumerate(node.value)]
        assert isinstance(node, ScalarNode)
        return None if str(node.tag).endswith(":null") else node.value

    def _mapping(self, node: MappingNode, at: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            place = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            key = key_node.value if isinstance(key_node, ScalarNode) else None
            if key is None or key == "<<":
                self.problems.append(self._at(place, at, "must have plain words as keys"))
            elif key in found:
                first = self.keys[(*at, key)][0]
                self.problems.append(self._at(place, (*at, key), f"stands here twice; the first is on line {first}"))
            else:
                self.keys[(*at, key)] = place
                if value_node.start_mark.index == value_node.end_mark.index:
                    self.values[(*at, key)] = place  # nothing stands there; its own mark is behind that
                found[key] = self._plain(value_node, (*at, key))
        return found

    def problem(self, at: Path, text: str, *, on_key: bool = False, severity: Severity = "error") -> Problem:
        """A problem with what the file says, at the nearest place; `at` may end in KEY, for a key itself."""
        near = tuple(part for part in at if part != KEY)
        on_key = on_key or KEY in at
        while near and near not in self.values:
            near = near[:-1]
        return self._at((self.keys.get(near) if on_key else None) or self._value(near), near, text, severity)

    def missing(self, at: Path) -> Problem:
        """A problem with what the file does not say, at what should hold it."""
        return self._at(self._value(at[:-1]), at, "is missing")

    def _value(self, at: Path) -> tuple[int, int]:
        return self.values.get(at, (1, 1))

    def _at(self, place: tuple[int, int], at: Path, text: str, severity: Severity = "error") -> Problem:
        line, column = place
        return Problem(file=self.file, line=line, column=column, key=dotted(at), text=text, severity=severity)


def _begins_with_key(line: str, colon: int) -> bool:
    """Whether nothing but a key stands before the colon: not a text with one in it."""
    return re.fullmatch(r"\s*[\w:-]+", line[:colon]) is not None


def dotted(path: Path) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text
