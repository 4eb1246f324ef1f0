"""What a condition costs: each of an agreement's, asked of simulated leads, against a bare loop over the same leads.

The bare loop looks one property up and compares it, once for each condition and lead: the least that
asking can be.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from shared.agreement import load
from shared.agreement.conditions import Condition, Subject
from shared.agreement.grades import Cell
from shared.agreement.model import Agreement
from shared.crm.simulator.market import market_of
from shared.crm.simulator.personas import Life, StepKind, make_life

DEPLOY: Final = Path(__file__).resolve().parents[1] / "deploy"
FILES: Final = {
    "the shipped agreement": DEPLOY / "agreement.yaml",
    "the garage's, with diacritics": DEPLOY / "agreements" / "service-auto.yaml",
}
LEADS: Final = 2_000
ROUNDS: Final = 7


@dataclass(frozen=True)
class Figures:
    """Seconds for one condition and lead."""

    what: str
    conditions: int
    ours: float
    bare: float


def measure() -> list[Figures]:
    return [_measure(what, load(path)) for what, path in FILES.items()]


def _measure(what: str, agreement: Agreement) -> Figures:
    market = market_of(agreement)
    cells = agreement.qualification.cells
    subjects = [_subject(make_life(1, number, market), cells[number % len(cells)]) for number in range(LEADS)]
    asked = [one for path, one in agreement.conditions() if path[1] != "interest"]
    turns = [(_ours(asked, subjects), _bare(asked, subjects)) for _ in range(ROUNDS)]
    each = len(asked) * len(subjects)
    ours, bare = (median(turn[n] for turn in turns) / each for n in range(2))
    return Figures(what=what, conditions=len(asked), ours=ours, bare=bare)


def _subject(life: Life, cell: Cell) -> Subject:
    """A lead as hand-off sees it, with a grade of any kind."""
    forms = frozenset(step.name for step in life.steps if step.kind is StepKind.FORM)
    return Subject(
        properties=life.properties,
        grade=cell.grade,
        fit_grade=cell.fit,
        interest_level=cell.level,
        journey=("awareness", "consideration", "decision")[life.number % 3],
        forms=forms,
    )


def _ours(asked: list[Condition], subjects: list[Subject]) -> float:
    began = time.process_time()
    for condition in asked:
        holds = condition.holds
        for subject in subjects:
            holds(subject)
    return time.process_time() - began


def _bare(asked: list[Condition], subjects: list[Subject]) -> float:
    began = time.process_time()
    for _ in asked:
        for subject in subjects:
            subject.properties.get("country") == "Germany"  # noqa: B015
    return time.process_time() - began
