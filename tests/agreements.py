"""The shipped agreement, and the same with time that only goes by, for tests of other things than working time."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from shared.agreement import Agreement, InForce, load
from shared.agreement.follow_up import FollowUp
from shared.agreement.in_force import ALL_OTHERS, BEGINNING, TakenUp
from shared.agreement.qualification import Signal

SHIPPED_FILE = Path(__file__).parents[1] / "deploy" / "agreement.yaml"
SHIPPED = load(SHIPPED_FILE)
ELAPSED: dict[str, Any] = {
    "calendar": "always",
    "accept_within": {},
    "if_not_accepted": "nothing",
    "decide_within": {},
    "escalation": (),
}


def with_parts(agreement: Agreement = SHIPPED, **parts: Any) -> Agreement:
    """The agreement with other parts, under a version of its own."""
    said = {field.alias or name: getattr(agreement, name) for name, field in Agreement.model_fields.items()}
    return Agreement.model_validate({**said, **parts})


def with_follow_up(agreement: Agreement = SHIPPED, **promises: Any) -> Agreement:
    """The agreement with other promises in its follow-up, said as in the file."""
    said = {name: getattr(agreement.follow_up, name) for name in FollowUp.model_fields}
    return with_parts(agreement, follow_up=FollowUp.model_validate({**said, **promises}))


# Open day and night, with no other clocks than the first touch, the next attempt and the wait for a reply.
PLAIN = with_follow_up(**ELAPSED)


def in_force(*agreements: Agreement, at: datetime = BEGINNING) -> InForce:
    """These, taken up at that time."""
    return InForce(by_tenant={one.tenant or ALL_OTHERS: TakenUp(agreement=one, at=at) for one in agreements})


OWN_NAMES = (
    ("{A: 70, B: 45, C: 20, D: -inf}", "{gold: 70, silver: 45, rest: -inf}"),
    ("{1: 50, 2: 30, 3: 10, 4: -inf}", "{hot: 50, warm: 20, cold: -inf}"),
    ("unless: {fit: D}", "unless: {fit: rest}"),
    ("A: 1h, B: 4h", "gold: 1h, silver: 4h"),
)
MATRIX = """  grades: [call now, call today, warm up, leave]
  matrix:
    gold:   {hot: call now, warm: call now, cold: warm up}
    silver: {hot: call now, warm: call today, cold: warm up}
    rest:   {hot: call today, warm: warm up, cold: leave}
"""


def own_text(*changes: tuple[str, str], matrix: str = MATRIX) -> str:
    """What the shipped file says, by names of its own for fit, interest and grades, but for `changes`."""
    now, good = ("call now", "call now, call today") if matrix else ("gold hot", "gold hot, gold warm, silver hot")
    grades = (("[A1, A2, A3, B1, B2, C1]", f"[{good}]"), ("[A1, A2, B1]", f"[{now}]"))
    text = SHIPPED_FILE.read_text("utf-8")
    for old, new in (*OWN_NAMES, *grades, ("\n# 4. When", f"{matrix}\n# 4. When"), *changes):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def own_grades(folder: Path, *changes: tuple[str, str], matrix: str = MATRIX) -> Path:
    """The same in a file."""
    path = folder / "own.yaml"
    path.write_text(own_text(*changes, matrix=matrix), "utf-8")
    return path


def with_points(agreement: Agreement = SHIPPED, *, decision_maker: float = 40, demo: float = 60) -> Agreement:
    """The agreement with another worth of a decision maker, or of a demo that somebody asks for."""
    fit, interest = agreement.qualification.fit, agreement.qualification.interest
    chief = fit.role["decision_maker"].model_copy(update={"points": decision_maker})
    *others, asked = interest.urgency.signals
    signals = (*others, asked.model_copy(update={"points": demo}))
    urgency = interest.urgency.model_copy(update={"signals": signals})
    parts = {
        "fit": fit.model_copy(update={"role": {**fit.role, "decision_maker": chief}}),
        "interest": interest.model_copy(update={"urgency": urgency}),
    }
    return with_parts(agreement, qualification=agreement.qualification.model_copy(update=parts))


def with_signals(agreement: Agreement = SHIPPED, **signals: list[dict[str, Any]]) -> Agreement:
    """The agreement with further signals in its families, said as in the file."""
    interest = agreement.qualification.interest
    families = {
        name: interest.families[name].model_copy(
            update={"signals": (*interest.families[name].signals, *map(Signal.model_validate, more))}
        )
        for name, more in signals.items()
    }
    qualification = agreement.qualification.model_copy(update={"interest": interest.model_copy(update=families)})
    return with_parts(agreement, qualification=qualification)
