"""What is said of a score to a person, in their language: why it is what it is, and what last changed it.

The names of rules are the agreement's own words and stay as they are; what we add to them is translated.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from services.scoring.domain.history import AGREEMENT_CHANGED, INTEREST_FADED, Entry, Happened
from services.scoring.domain.score import Score
from shared.agreement import Agreement
from shared.agreement.conditions import in_words
from shared.agreement.phrases import at_stake, stage
from shared.agreement.qualification import TOLD_BY, Signal
from shared.events import Reason, ToFindOut
from shared.languages import ENGLISH, Language

MOST_NAMES: Final = 4  # in a sentence
MOST_TO_FIND_OUT: Final = 3

# How a rule is called whose name is ours, as `fit` and `interest` make them.
_ROLE: Final = re.compile(r"Role: (?P<name>.*)\Z", re.DOTALL)
_CAP: Final = re.compile(r"No more than (?P<cap>\S+) for (?P<family>knowledge|consideration|urgency)\Z")

_EMAILS: Final = {name: on for on, names in TOLD_BY.items() for name in names}


class Wording:
    """Says what is to be said of the scores under one agreement in one language."""

    def __init__(self, agreement: Agreement, language: Language) -> None:
        self._language = language
        self._zone = agreement.timezone
        families = agreement.qualification.interest.families.values()
        unnamed = [signal for family in families for signal in family.signals if not signal.name]
        self._signals = {signal.label: self._signal(signal) for signal in unnamed}

    def score(self, score: Score) -> str:
        """The score in one sentence."""
        say, count = self._language.say, self._language.count
        if score.fit.disqualified:
            return say("Not a lead for us: {reason}.", reason=score.fit.disqualified)
        fits, wants = score.fit, score.interest
        return say(
            "Grade {grade}: fit {fit} with {fit_points}{fit_rules}, interest {interest} with"
            " {interest_points}{interest_rules}, in the {stage} stage.",
            grade=score.grade,
            fit=fits.grade,
            fit_points=count("{number} point", "{number} points", fits.points),
            fit_rules=self._because(reason for reason in fits.reasons if reason.points),
            interest=wants.level,
            interest_points=count("{number} point", "{number} points", wants.points),
            interest_rules=self._because(reason for reason in wants.reasons if reason.points > 0),
            stage=stage(wants.journey, self._language),
        )

    def to_find_out(self, score: Score) -> str:
        """What is not known of it, with the points at stake, in one sentence; "" when that is nothing."""
        asked = score.fit.to_find_out
        if score.fit.disqualified or not asked:
            return ""
        told = [self._at_stake(one) for one in asked[:MOST_TO_FIND_OUT]]
        if more := len(asked) - len(told):
            told.append(self._language.count("{number} more", "{number} more", more))
        return self._language.say("To find out: {what}.", what="; ".join(told))

    def _at_stake(self, one: ToFindOut) -> str:
        what, rule = self._language.together(one.properties), self.rule(one.rule)
        out = self._language.say("may rule it out") if one.disqualify else ""
        return f"{what} ({rule}: {', '.join(filter(None, (at_stake(one.points, self._language), out)))})"

    def since_then(self, score: Score, entry: Entry, agreement: str) -> str:
        """Why the grade is another by now than the newest told score has; "" when it is not."""
        former, grade = entry.grade, score.grade
        if former == grade:
            return ""
        if entry.agreement != agreement:
            return self._language.say("The agreement that took effect since makes {grade} of it.", grade=grade)
        return self._language.say("Since then the interest has faded, and with it the grade to {grade}.", grade=grade)

    def last_change(self, entry: Entry, before: Entry | None) -> str:
        """What made the newest told score, in one sentence."""
        say = self._language.say
        moment, cause = self._moment(entry.at), self.happened(entry.happened)
        if before is None or entry.disqualified or before.disqualified:  # who is no lead has a grade that says nothing
            return say("Last changed on {moment}: {cause}.", moment=moment, cause=cause)
        if before.grade == entry.grade:
            return say(
                "Last changed on {moment}, still {grade}: {cause}.", moment=moment, grade=entry.grade, cause=cause
            )
        return say(
            "Last changed on {moment}, from {former} to {grade}: {cause}.",
            moment=moment,
            former=before.grade,
            grade=entry.grade,
            cause=cause,
        )

    def happened(self, happened: Happened) -> str:
        """What made a score, as a part of a sentence."""
        say, names = self._language.say, happened.names
        match happened.type:
            case "FormSubmitted" if names:
                return say("the form {values} was submitted", values=names[0])
            case "PageVisited" if names:
                return say("the page {page} was visited", page=names[0])
            case "ContactChanged" if names and set(names) <= _EMAILS.keys():
                return self._email({_EMAILS[name] for name in names})
            case "ContactChanged" if names:
                return self._language.count("{names} changed", "{names} changed", len(names), names=self._some(names))
            case "ContactChanged" if happened.came == "created":
                return say("the contact was created in the CRM")
            case "ContactChanged" if happened.came == "restored":
                return say("the contact was restored in the CRM")
            case "ContactChanged" if happened.came == "first":
                return say("it was heard of for the first time")
            case "ContactsMerged":
                return self._language.count(
                    "another contact was merged into it", "{number} other contacts were merged into it", len(names)
                )
            case "ActivityLogged" if names:
                return self._activity(names)
            case "ContactErased":
                return say("it became known that the contact had been deleted in between")
            case _ if happened.type == AGREEMENT_CHANGED:
                return say("another agreement took effect")
            case _ if happened.type == INTEREST_FADED:
                return say("time has passed, and the interest faded")
        return say("the CRM told something of it")

    def _email(self, did: set[str]) -> str:
        """What the lead did with an email, told by the properties that say when; the most of it."""
        if "email_replied" in did:
            return self._language.say("an email was answered")
        if "email_clicked" in did:
            return self._language.say("a link in an email was clicked")
        return self._language.say("an email was opened")

    def _activity(self, names: tuple[str, ...]) -> str:
        """What came of an email or a meeting with the lead."""
        match names:
            case ("meeting", "booked"):
                return self._language.say("a meeting was booked")
            case ("meeting", "held"):
                return self._language.say("a meeting was held")
            case ("meeting", *_):
                return self._language.say("a meeting did not take place")
        return self._language.say("an email of the lead came in")

    def rule(self, name: str) -> str:
        """What a rule is called."""
        if self._language is ENGLISH:
            return name
        if name in self._signals:
            return self._signals[name]
        if found := _ROLE.match(name):
            return self._language.say("Role: {name}", name=found["name"])
        if found := _CAP.match(name):
            cap, family = self._language.number(float(found["cap"])), self._family(found["family"])
            return self._language.say("No more than {cap} for {family}", cap=cap, family=family)
        return name

    def _signal(self, signal: Signal) -> str:
        """One that the agreement gives no name."""
        act = self._act(signal.on)
        return f"{act}: {in_words(signal.when.node, self._language)}" if signal.when else act

    def _act(self, on: str) -> str:
        match on:
            case "page_visited":
                return self._language.say("Page visited")
            case "form_submitted":
                return self._language.say("Form submitted")
            case "email_opened":
                return self._language.say("Email opened")
            case "email_clicked":
                return self._language.say("Email clicked")
            case "email_replied":
                return self._language.say("Email replied")
            case "meeting_booked":
                return self._language.say("Meeting booked")
            case "meeting_held":
                return self._language.say("Meeting held")
        return self._language.say("Property changed")

    def _family(self, name: str) -> str:
        match name:
            case "knowledge":
                return self._language.say("knowledge")
            case "consideration":
                return self._language.say("consideration")
        return self._language.say("urgency")

    def _because(self, reasons: Iterable[Reason]) -> str:
        rules = [self._told(reason) for reason in reasons]
        return f" ({'; '.join(rules)})" if rules else ""

    def _told(self, reason: Reason) -> str:
        name = self.rule(reason.rule)
        return name if reason.points > 0 else self._language.say("minus {rule}", rule=name)

    def _some(self, names: tuple[str, ...]) -> str:
        """The first of them, and how many more."""
        if len(names) <= MOST_NAMES:
            return self._language.together(names)
        more = self._language.count("{number} more", "{number} more", len(names) - MOST_NAMES + 1)
        return self._language.together([*names[: MOST_NAMES - 1], more])

    def _moment(self, at: datetime) -> str:
        """Where the agreement lives."""
        there = self._language.moment(at.astimezone(ZoneInfo(self._zone)))
        return f"{there} {self._zone}" if self._zone == "UTC" else f"{there} ({self._zone})"
