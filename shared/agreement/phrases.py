"""What a test asks, told in a language. In English it is what the conditions say of themselves."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

from shared.languages import Language


def asked(about: str, name: str, op: str, wanted: Sequence[str], language: Language) -> str:
    """One test of one thing: `about` what, by its `name`, with `op` as the agreement writes it."""
    if about == "property":
        return _of_property(name, op, wanted, language)
    if about == "forms":
        if op == "any":
            return language.say("a form was submitted")
        return language.say("the form {values} was submitted", values=language.either(wanted))
    return _of_lead(about, wanted, language)


def at_stake(points: float, language: Language) -> str:
    """What knowing a rule of fit would give or take; "" for one without points."""
    said = language.count("{number} point", "{number} points", abs(points)) if points else ""
    return language.say("may cost {points}", points=said) if points < 0 else said


def _of_property(name: str, op: str, wanted: Sequence[str], language: Language) -> str:
    say, values = language.say, language.either(wanted)
    match op:
        case "words":
            return say("{name} has the word {values}", name=name, values=values)
        case "starts":
            return say("{name} starts with {values}", name=name, values=values)
        case "contains":
            return say("{name} contains {values}", name=name, values=values)
        case "between":
            low, high = (_figure(one, language) for one in wanted)
            return say("{name} is between {low} and {high}", name=name, low=low, high=high)
        case "at_least":
            return say("{name} is at least {low}", name=name, low=_figure(wanted[0], language))
        case "at_most":
            return say("{name} is at most {high}", name=name, high=_figure(wanted[0], language))
        case "domain_in":
            return say("{name} is at {values}", name=name, values=values)
        case "country_in":
            return say("{name} is {values} by any name", name=name, values=values)
        case "seniority":
            return say("{name} has the seniority {values}", name=name, values=values)
        case "free_mailbox" | "throwaway_mailbox" | "exists":
            return _yes_or_no(name, op, wanted[0].lower() == "true", language)
    return say("{name} is {values}", name=name, values=values)


def _yes_or_no(name: str, op: str, expected: bool, language: Language) -> str:
    match op, expected:
        case "free_mailbox", True:
            return language.say("{name} is a free mailbox", name=name)
        case "free_mailbox", False:
            return language.say("{name} is not a free mailbox", name=name)
        case "throwaway_mailbox", True:
            return language.say("{name} is a throw-away mailbox", name=name)
        case "throwaway_mailbox", False:
            return language.say("{name} is not a throw-away mailbox", name=name)
        case _, True:
            return language.say("{name} is known", name=name)
    return language.say("{name} is not known", name=name)


def _of_lead(about: str, wanted: Sequence[str], language: Language) -> str:
    say, values = language.say, language.either(wanted)
    match about:
        case "grade":
            return say("the grade is {values}", values=values)
        case "fit_grade":
            return say("the fit is {values}", values=values)
        case "interest_level":
            return say("the interest is {values}", values=values)
        case "journey":
            return say("the journey is {values}", values=language.either(stage(one, language) for one in wanted))
        case "deal_stage":
            return say("the deal's stage is {values}", values=values)
    return say("for Sales it is {values}", values=language.either(_state(one, language) for one in wanted))


def stage(name: str, language: Language) -> str:
    """A stage of the journey."""
    match name:
        case "awareness":
            return language.say("awareness")
        case "consideration":
            return language.say("consideration")
        case "decision":
            return language.say("decision")
    return name


def _state(name: str, language: Language) -> str:
    match name:
        case "accepted":
            return language.say("accepted")
        case "working":
            return language.say("working")
        case "qualified":
            return language.say("qualified")
    return name


def _figure(text: str, language: Language) -> str:
    """A number as the agreement writes it, as the language does."""
    try:
        return language.number(Decimal(text))
    except (InvalidOperation, ValueError):
        return text
