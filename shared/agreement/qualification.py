"""Part 3, qualification: who fits, who is interested, and the grade made of the two."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from shared.agreement.conditions import Condition
from shared.agreement.values import Duration, Name, Part, Points, Slug, wrong

FIT_GRADES: Final = ("A", "B", "C", "D")
INTEREST_LEVELS: Final = ("1", "2", "3", "4")
JOURNEY: Final = ("decision", "consideration", "awareness")  # from the nearest to a deal
FAMILIES: Final = ("knowledge", "consideration", "urgency")


class Persona(Part):
    when: Condition
    """Whom it is about."""
    points: Points
    """What it is worth; of several that hold the best counts."""


class FitRule(Part):
    """Gives or takes points, or says that the lead is nobody for us."""

    name: Name
    """As it is shown in reasons."""
    when: Condition
    """Of whom it holds."""
    points: Points = 0.0
    """What it gives, or with a minus takes."""
    disqualify: str = ""
    """The reason for which such a lead is none; one of follow_up.reasons."""

    @model_validator(mode="after")
    def _does_something(self) -> FitRule:
        if not self.points and not self.disqualify:
            raise wrong("must have points or disqualify")
        return self


def _thresholds(value: dict[str, float], names: tuple[str, ...]) -> dict[str, float]:
    """From the best name to the last, which takes whatever is left."""
    if set(value) != set(names):
        raise wrong(f"must have exactly {', '.join(names)}")
    bounds = [value[name] for name in names]
    if any(math.isnan(bound) for bound in bounds) or bounds != sorted(bounds, reverse=True):
        raise wrong(f"must fall from {names[0]} to {names[-1]}")
    if bounds[-1] != -math.inf:
        raise wrong(f"must have {names[-1]}: -inf, for whatever is left")
    return value


def _schema(names: tuple[str, ...]) -> WithJsonSchema:
    bounds = {name: {"type": "number", "description": f"The fewest points of {name}."} for name in names[:-1]}
    last = {names[-1]: {"const": "-inf", "description": "Whatever is left."}}
    properties = {**bounds, **last}
    return WithJsonSchema(
        {"type": "object", "properties": properties, "required": list(names), "additionalProperties": False}
    )


FitGrades = Annotated[
    dict[str, float], AfterValidator(lambda value: _thresholds(value, FIT_GRADES)), _schema(FIT_GRADES)
]
InterestLevels = Annotated[
    dict[str, float], AfterValidator(lambda value: _thresholds(value, INTEREST_LEVELS)), _schema(INTEREST_LEVELS)
]


class Fit(Part):
    """Does the person and the company match: the best persona's points and those of all rules that hold."""

    role: dict[Slug, Persona] = {}
    """Personas by name, as decision_maker."""
    rules: tuple[FitRule, ...] = ()
    """All that hold add up."""
    grades: FitGrades
    """The fewest points of each grade, from A down to D, which takes the rest."""


class Signal(Part):
    """An act of the lead that shows interest."""

    on: Literal["form_submitted", "page_visited"]
    """What the lead did."""
    when: Condition | None = None
    """Which form or page: form, path, host, url; left out, any."""
    points: float = Field(gt=0, allow_inf_nan=False)
    """What it is worth when it is fresh."""
    name: str = ""
    """As it is shown in reasons."""

    @property
    def label(self) -> str:
        """Its name, or what it says in words."""
        if self.name:
            return self.name
        act = "Page visited" if self.on == "page_visited" else "Form submitted"
        return f"{act}: {self.when.text}" if self.when else act

    @model_validator(mode="after")
    def _asks_what_it_can_know(self) -> Signal:
        known = {"url", "host", "path"}
        if self.when and (strange := (self.when.properties - known) | (self.when.words - {"form", "form_submitted"})):
            raise wrong(f"can ask about {', '.join(sorted(known))} and form, not {', '.join(sorted(strange))}")
        if self.when and self.when.words and self.on == "page_visited":
            raise wrong("is about a page and cannot ask for a form")
        return self


class Family(Part):
    """Signals of one kind, together worth at most `cap`; each loses half its points every `half_life`."""

    cap: float = Field(gt=0, allow_inf_nan=False)
    """What all signals together are worth at most."""
    half_life: Duration | None = None
    """After which half of the points is gone; else that of interest."""
    signals: tuple[Signal, ...]
    """Acts of the lead that count here."""


class Interest(Part):
    """How much the lead wants, from what it did; each act fades."""

    half_life: Duration
    """After which half of an act's points is gone."""
    knowledge: Family
    """Acts that show that the lead learns."""
    consideration: Family
    """Acts that show that it compares."""
    urgency: Family
    """Acts that show that it wants it soon."""
    levels: InterestLevels
    """The fewest points of each level, from 1 down to 4, which takes the rest."""
    journey: dict[Literal["decision", "consideration", "awareness"], dict[str, float]]
    """Points of families that each stage needs; the first that holds, from decision down."""

    @property
    def families(self) -> dict[str, Family]:
        return {"knowledge": self.knowledge, "consideration": self.consideration, "urgency": self.urgency}

    @model_validator(mode="after")
    def _fits_together(self) -> Interest:
        if not self.half_life or any(f.half_life == timedelta(0) for f in self.families.values()):
            raise wrong("must have half-lives longer than nothing")
        for stage, needed in self.journey.items():
            if strange := set(needed) - set(FAMILIES):
                raise wrong(f"has a journey stage {stage} that asks for {', '.join(sorted(strange))}")
        return self


class Qualification(Part):
    fit: Fit
    """Who matches us."""
    interest: Interest
    """Who wants something."""
