"""What another agreement would change: for the screen, for a pull request, for a program."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from shared.agreement import Agreement, load
from shared.agreement.diff import Change, diff
from shared.agreement.following import check as errors_of
from shared.agreement.following import read_all
from shared.agreement.in_force import ALL_OTHERS
from shared.agreement.wording import HEADINGS

MARKS: Final = {"added": "+", "removed": "−", "changed": "~", "moved": "↕"}


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two."""

    file: Path
    agreement: Agreement

    @property
    def title(self) -> str:
        return f"“{self.agreement.name}” {self.agreement.version}"

    def as_json(self) -> dict[str, str]:
        return {"file": str(self.file), "name": self.agreement.name, "version": self.agreement.version}


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Two agreements and what there is between them."""

    old: Side
    new: Side
    changes: Sequence[Change]

    @classmethod
    def of(cls, old: Path, new: Path) -> Difference:
        """Of a folder the agreement that holds for the tenant of `new` is the old one.

        Raises Refused (`agreement_invalid`, `no_agreement`) for what cannot be used, or is not there.
        """
        after = load(new)
        before = read_all(old).for_tenant(after.tenant or ALL_OTHERS) if old.is_dir() else load(old)
        changes = diff(before, after)
        return cls(old=Side(file=old, agreement=before), new=Side(file=new, agreement=after), changes=changes)

    @property
    def summary(self) -> str:
        n = len(self.changes)
        return f"{n} change{'s' if n > 1 else ''}" if n else "no change, both mean the same"

    def as_json(self) -> dict[str, Any]:
        changes = [dataclasses.asdict(change) for change in self.changes]
        return {"old": self.old.as_json(), "new": self.new.as_json(), "changes": changes}

    def lines(self) -> Iterator[str]:
        """For the screen."""
        yield f"{self.old.title} → {self.new.title}: {self.summary}"
        for heading, changes in self._by_part():
            yield ""
            yield heading
            yield from (f"  {MARKS[change.kind]} {change.text}" for change in changes)

    def markdown(self) -> Iterator[str]:
        """For a pull request."""
        yield f"### {_escaped(self.old.title)} → {_escaped(self.new.title)}: {self.summary}"
        for heading, changes in self._by_part():
            yield ""
            yield f"**{heading}**"
            yield ""
            yield from (f"- {_escaped(change.text)}" for change in changes)

    def _by_part(self) -> Iterator[tuple[str, list[Change]]]:
        for part, changes in groupby(self.changes, key=lambda change: change.part):
            yield HEADINGS[part], list(changes)


def problems_of(*files: Path) -> list[str]:
    """What keeps the files from use, as `agreement check` tells it; a file given twice is told once."""
    return [str(problem) for file in dict.fromkeys(files) for problem in errors_of(file)]


def _escaped(text: str) -> str:
    """Markdown shows it as it is."""
    return re.sub(r"(?<!\w)_|_(?!\w)|[\\`*<>\[\]|~#]", lambda found: "\\" + found[0], text)
