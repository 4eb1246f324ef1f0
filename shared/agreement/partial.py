"""A file that does not read as a whole, without what is wrong in it: so that its names can be compared all the same."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from shared.agreement.conditions import Path
from shared.agreement.hours import PLACED
from shared.agreement.model import Agreement

ROUNDS: Final = 20  # of leaving out; each takes away what the one before left without its meaning
# Where names are given. When one of them is left out, nobody can say any more which names there are.
GIVEN: Final[tuple[Path, ...]] = (
    ("definitions",),
    ("qualification", "fit", "grades"),
    ("qualification", "interest", "levels"),
    ("qualification", "grades"),
    ("qualification", "matrix"),
    ("handoff", "teams"),
    ("nurture",),
    ("follow_up", "calendars"),
)
GIVEN_INSIDE: Final[tuple[Path, ...]] = (("handoff", "triggers"), ("follow_up", "reasons"))  # at any depth


@dataclass(frozen=True, kw_only=True)
class Rest:
    """What was left, and what was left out of lists on the way, in that order."""

    agreement: Agreement
    left_out: Sequence[tuple[Path, int]]

    def in_file(self, at: Path) -> Path:
        """Where it stands in the file, in whose lists nothing is left out."""
        for to, n in reversed(self.left_out):
            if at[: len(to)] == to and len(at) > len(to) and int(at[len(to)]) >= n:
                at = (*to, int(at[len(to)]) + 1, *at[len(to) + 1 :])
        return at


def without_what_is_wrong(data: Any, error: ValidationError) -> Rest | None:
    """None where too much would be missing, or a name might be that others speak of."""
    rest, left_out = copy.deepcopy(data), list[tuple[Path, int]]()
    for _ in range(ROUNDS):
        for place in _wrong_places(error):
            at = _there(rest, place)
            if not at or _gives_names(at):
                return None
            _leave_out(rest, at)
            if isinstance(at[-1], int):
                left_out.append((at[:-1], at[-1]))
        try:
            return Rest(agreement=Agreement.model_validate(rest), left_out=left_out)
        except ValidationError as again:
            error = again
    return None


def _wrong_places(error: ValidationError) -> list[Path]:
    """Later ones of a list first, so that those before keep their places."""
    found: set[Path] = set()
    for one in error.errors(include_url=False, include_input=False):
        if one["type"] == "missing":
            found.add(one["loc"][:-1])
        elif one["type"] == PLACED:
            found.update((*one["loc"], *inner) for inner, _ in one["ctx"]["problems"])
        else:
            found.add(one["loc"])
    return sorted(found, key=lambda path: [(isinstance(part, str), part) for part in path], reverse=True)


def _there(data: Any, path: Iterable[Any]) -> Path:
    """As much of the path as there is."""
    at: Path = ()
    for part in path:
        if (isinstance(data, dict) and part in data) or (isinstance(data, list) and part in range(len(data))):
            data, at = data[part], (*at, part)
        else:
            break
    return at


def _gives_names(at: Path) -> bool:
    whole = any(at[: len(given)] == given[: len(at)] and len(at) <= len(given) + 1 for given in GIVEN)
    return whole or any(at[: len(given)] == given[: len(at)] for given in GIVEN_INSIDE)


def _leave_out(data: Any, at: Path) -> None:
    *way, last = at
    for part in way:
        data = data[part]
    del data[last]
