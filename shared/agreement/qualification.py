"""Part 3, qualification: who fits, who is interested, and the grade made of the two."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from functools import cached_property
from typing import Final, Literal, TypeAlias

from pydantic import Field, model_validator

from shared.agreement.conditions import Condition
from shared.agreement.grades import Cell, FitGrades, GradeName, InterestLevels, Limits, best_first, joined, name_at
from shared.agreement.values import Duration, Name, Part, Points, Slug, wrong

JOURNEY: Final = ("decision", "consideration", "awareness")  # from the nearest to a deal
FAMILIES: Final = ("knowledge", "consideration", "urgency")
On: TypeAlias = Literal[
    "form_submitted",
    "page_visited",
    "email_opened",
    "email_clicked",
    "email_replied",
    "meeting_booked",
    "meeting_held",
    "property_changed",
]
PAGE_WORDS: Final = frozenset({"url", "host", "path"})
FORM_WORDS: Final = frozenset({"form", "form_submitted"})
# The properties by which HubSpot tells when a contact last did something with an email: with one that Marketing
# sent, and with a tracked one of Sales. What it wrote to Sales is logged as an email of its own.
TOLD_BY: Final[Mapping[str, tuple[str, ...]]] = {
    "email_opened": ("hs_email_last_open_date", "hs_sales_email_last_opened"),
    "email_clicked": ("hs_email_last_click_date", "hs_sales_email_last_clicked"),
    "email_replied": ("hs_email_last_reply_date",),
}


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


class Fit(Part):
    """Does the person and the company match: the best persona's points and those of all rules that hold."""

    role: dict[Slug, Persona] = {}
    """Personas by name, as decision_maker."""
    rules: tuple[FitRule, ...] = ()
    """All that hold add up."""
    grades: FitGrades
    """The fewest points of each, from the best down to the last, which takes the rest: A to D, or names of your own."""

    @cached_property
    def limits(self) -> Limits:
        return best_first(self.grades)

    def grade_at(self, points: float) -> str:
        """The best that these points are enough for."""
        return name_at(self.limits, points)


class Signal(Part):
    """An act of the lead that shows interest."""

    on: On
    """What the lead did."""
    when: Condition | None = None
    """Which form or page (form, path, host, url; left out, any), or which change of which property."""
    points: float = Field(gt=0, allow_inf_nan=False)
    """What it is worth when it is fresh."""
    within: Duration | None = None
    """How long it counts; an older act is worth nothing."""
    once: Literal["per_lead", "per_day"] | None = None
    """Of all acts, or of those of a day, only the newest counts."""
    name: str = ""
    """As it is shown in reasons."""

    @property
    def label(self) -> str:
        """Its name, or what it says in words."""
        if self.name:
            return self.name
        act = self.on.replace("_", " ").capitalize()
        return f"{act}: {self.when.text}" if self.when else act

    @property
    def followed(self) -> frozenset[str]:
        """The properties of a contact whose changes are such acts."""
        if self.on == "property_changed" and self.when:
            return self.when.properties
        return frozenset(TOLD_BY.get(self.on, ()))

    @model_validator(mode="after")
    def _asks_what_it_can_know(self) -> Signal:
        if self.within == timedelta(0):
            raise wrong("must count within more than nothing")
        if self.on == "property_changed":
            if self.when is None or len(self.when.properties) != 1 or self.when.words:
                raise wrong("must say in when which property changed, and may ask about nothing but that one")
        elif self.on in ("form_submitted", "page_visited"):
            self._asks_about_a_page()
        elif self.when:
            raise wrong(f"can ask nothing about {self.on}: which one it was is not known")
        return self

    def _asks_about_a_page(self) -> None:
        if self.when and (strange := (self.when.properties - PAGE_WORDS) | (self.when.words - FORM_WORDS)):
            raise wrong(f"can ask about {', '.join(sorted(PAGE_WORDS))} and form, not {', '.join(sorted(strange))}")
        if self.when and self.when.words and self.on == "page_visited":
            raise wrong("is about a page and cannot ask for a form")


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
    """The fewest points of each, from the best down to the last, which takes the rest: 1 to 4, or names of your own."""
    journey: dict[Literal["decision", "consideration", "awareness"], dict[str, float]]
    """Points of families that each stage needs; the first that holds, from decision down."""

    @cached_property
    def limits(self) -> Limits:
        return best_first(self.levels)

    def level_at(self, points: float) -> str:
        """The best that these points are enough for."""
        return name_at(self.limits, points)

    @property
    def families(self) -> dict[str, Family]:
        return {"knowledge": self.knowledge, "consideration": self.consideration, "urgency": self.urgency}

    @property
    def followed(self) -> frozenset[str]:
        """The properties of a contact whose changes are acts of the lead."""
        return frozenset(name for f in self.families.values() for one in f.signals for name in one.followed)

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
    grades: tuple[GradeName, ...] = ()
    """The grades in a matrix of your own, from the best to the last."""
    matrix: dict[str, dict[str, str]] = {}
    """A row for each fit grade: which grade it makes with each interest level. Left out, the two are it, as A1."""

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """Every fit grade with every interest level, the best first, and the grade that they make."""
        fit, levels = ([name for name, _ in part.limits] for part in (self.fit, self.interest))
        if not self.matrix:
            return joined(fit, levels)
        rows = [(one, level, self.matrix.get(one, {})) for one in fit for level in levels]
        return tuple(Cell(one, level, row[level]) for one, level, row in rows if level in row)

    @cached_property
    def grade_names(self) -> tuple[str, ...]:
        """Every grade that there is, from the best to the last."""
        return (self.matrix and self.grades) or tuple(dict.fromkeys(cell.grade for cell in self.cells))

    @cached_property
    def ranks(self) -> Mapping[str, int]:
        """How good each grade is, the higher the better.

        As the matrix lists them; without one A1, then A2 and B1, then A3, B2 and C1, down to D4.
        """
        if self.matrix:
            return {name: -n for n, name in enumerate(self.grade_names)}
        fit, levels = ([name for name, _ in part.limits] for part in (self.fit, self.interest))
        return {cell.grade: -fit.index(cell.fit) - levels.index(cell.level) for cell in self.cells}
