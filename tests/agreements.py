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
