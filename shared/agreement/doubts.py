"""What can be used, but is hardly what was meant: told as warnings, and only where it is proved.

A running system never refuses a file for any of it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, product
from typing import Final

from shared.agreement.conditions import OF_COMPANY, Condition
from shared.agreement.countries import country
from shared.agreement.follow_up import ALWAYS_OPEN
from shared.agreement.handoff import Trigger
from shared.agreement.hours import KEY
from shared.agreement.model import Agreement
from shared.agreement.nurture import BY_JOURNEY
from shared.agreement.qualification import Qualification, Signal
from shared.agreement.reach import any_points, out_of_reach, world_of
from shared.agreement.references import and_, calendars_named, members_of, within
from shared.agreement.solver import FALSE, NOT_TRUE, TRUE, May, Way, World, possible
from shared.agreement.solver import Literal as Comes
from shared.agreement.tree import FORMS, PROPERTY, All, Any_, Leaf, Node, Path, Reference, in_words, leaves

Doubt = tuple[Path, str]

Wanted = tuple[Node, May]

COUNTRY: Final = "country"
MOST_BEFORE: Final = 10  # triggers that are looked at together


def doubts(agreement: Agreement) -> Iterator[Doubt]:
    """Each with where it stands."""
    yield from out_of_reach(agreement.qualification)
    yield from _worse(agreement.qualification)
    yield from _conditions(agreement)
    yield from _countries(agreement)
    yield from _triggers(agreement)
    yield from _routes(agreement)
    yield from _unused(agreement)
    yield from _returns(agreement)
    yield from _notices(agreement)
    yield from _calendars(agreement)
    yield from _speeds(agreement)


# --- grades the wrong way round ---


def _worse(qualification: Qualification) -> Iterator[Doubt]:
    """Cells of a matrix with a worse grade than their neighbours of less fit or less interest."""
    ranks, matrix = qualification.ranks, qualification.matrix
    fit, levels = ([name for name, _ in part.limits] for part in (qualification.fit, qualification.interest))
    for one, level in product(fit, levels) if matrix else ():
        below = [(less, level) for less in fit[fit.index(one) + 1 :][:1]]
        beside = [(one, less) for less in levels[levels.index(level) + 1 :][:1]]
        for worse_fit, worse_level in (*below, *beside):
            its, others = matrix[one][level], matrix[worse_fit][worse_level]
            if ranks[its] < ranks[others]:
                said = f"{its} is worse than {others}, which {worse_fit} with {worse_level} gets"
                yield ("qualification", "matrix", one, level), said


# --- conditions that nobody meets, or everybody ---


def _conditions(agreement: Agreement) -> Iterator[Doubt]:
    world, beyond = world_of(agreement.qualification), any_points(agreement.qualification)
    for path, condition in agreement.conditions():
        signal = _signal_at(agreement, path)
        page = _PAGE if signal and signal.on != "property_changed" else ()
        never = _never(condition.node, world, beyond, page or _known(signal))
        for at, text in chain(never, _always(condition.node, world, page)):
            yield (*path, *within(path, at)), text


_PATH: Final = Condition.parse({"path": {"starts": "/"}}).node
assert isinstance(_PATH, Leaf)
_PAGE: Final[Way] = (Comes(_PATH, frozenset({True, None})),)  # the path of a page begins with a slash


def _known(changed: Signal | None) -> Way:
    """A property that changed has a value: what is cleared is no act."""
    if changed is None:
        return ()
    (name,) = changed.followed
    known = Condition.parse({"property": {name: {"exists": True}}}).node
    assert isinstance(known, Leaf)
    return (Comes(known, frozenset({True})),)


def _signal_at(agreement: Agreement, path: Path) -> Signal | None:
    """The signal of whose condition this is the path."""
    if path[:2] != ("qualification", "interest"):
        return None
    family, number = str(path[2]), path[4]
    assert isinstance(number, int)  # qualification.interest.knowledge.signals.0.when
    return agreement.qualification.interest.families[family].signals[number]


def _never(node: Node, world: World, beyond: World, given: Way) -> list[Doubt]:
    """The smallest parts that can never hold; what a definition never is, is told where it stands."""
    parts = node.parts if isinstance(node, All | Any_) else ()
    if found := [one for part in parts for one in _never(part, world, beyond, given)]:
        return found
    if isinstance(node, Reference) or possible([(node, TRUE)], world, given):
        return []
    if possible([(node, TRUE)], beyond, given):
        return [(node.at, f"is beyond everybody's reach with the points on offer: {in_words(node)}")]
    return [(node.at, f"can never hold: {in_words(node)}")]


def _always(node: Node, world: World, given: Way) -> list[Doubt]:
    """What does not ask anything: it cannot be false of anybody of whom it is known."""
    if isinstance(node, All):
        return [one for part in node.parts for one in _always(part, world, given)]
    if isinstance(node, Reference) or possible([(node, FALSE)], world, given):
        return []
    known = possible([(node, NOT_TRUE)], world, given)
    return [(node.at, f"holds of everybody{' of whom it is known' if known else ''}: {in_words(node)}")]


# --- countries by two of their names ---


def _countries(agreement: Agreement) -> Iterator[Doubt]:
    """Who lists one country twice means it by any name, and there are more."""
    for at, leaf in _asked_of_contacts(agreement):
        found = [code for code in map(country, leaf.wanted) if code]
        if leaf.op == "in" and (twice := [value for value in leaf.wanted if found.count(country(value)) > 1]):
            yield at, f"names one country as {and_(twice[:2])}; {leaf.name}: {{country_in: …}} knows it by any name"


# --- triggers and routes that come too late ---


def _triggers(agreement: Agreement) -> Iterator[Doubt]:
    world, triggers = world_of(agreement.qualification), agreement.handoff.triggers
    for n, trigger in enumerate(triggers):
        fires = _fires(trigger)
        before = [one for one in triggers[:n] if _comes_first(one, trigger)][:MOST_BEFORE]
        if not possible([(trigger.when.node, TRUE)], world):
            continue  # told of its condition
        if not possible(fires, world):
            yield ("handoff", "triggers", n, "unless"), "is always so when the trigger holds, which so never fires"
        elif not any(possible([*fires, *silent], world) for silent in product(*map(_silences, before))):
            yield ("handoff", "triggers", n, "name"), "never fires: whenever it holds, one before it holds first"


def _fires(trigger: Trigger) -> list[Wanted]:
    unless = [] if trigger.unless is None else [(trigger.unless.node, NOT_TRUE)]
    return [(trigger.when.node, TRUE), *unless]


def _silences(trigger: Trigger) -> list[Wanted]:
    """The ways in which it does not hold."""
    unless = [] if trigger.unless is None else [(trigger.unless.node, TRUE)]
    return [(trigger.when.node, NOT_TRUE), *unless]


def _comes_first(one: Trigger, other: Trigger) -> bool:
    """While a lead cools down only forms fire, so that an earlier trigger without one makes way for one with."""
    return _needs_a_form(one.when.node) or not _asks_for_a_form(other)


def _needs_a_form(node: Node) -> bool:
    return not possible([(node, TRUE), (_A_FORM, FALSE)])


_A_FORM: Final = Condition.parse({"form_submitted": "any"}).node


def _asks_for_a_form(trigger: Trigger) -> bool:
    nodes = [trigger.when.node, *([trigger.unless.node] if trigger.unless else [])]
    return any(leaf.about == FORMS for node in nodes for leaf in leaves(node))


def _routes(agreement: Agreement) -> Iterator[Doubt]:
    world, routes = world_of(agreement.qualification), agreement.handoff.route
    for n, route in enumerate(routes):
        own = [] if route.when is None else [(route.when.node, TRUE)]
        before = [(one.when.node, NOT_TRUE) for one in routes[:n] if one.when is not None]
        taken = any(one.when is None for one in routes[:n])
        if taken or (possible(own, world) and not possible([*before, *own], world)):
            yield ("handoff", "route", n), "is never reached: those before it take every lead that it is for"


# --- what nobody uses ---


def _unused(agreement: Agreement) -> Iterator[Doubt]:
    routed = {route.team for route in agreement.handoff.route}
    for team in agreement.handoff.teams:
        if team not in routed:
            yield ("handoff", "teams", team, KEY), "gets no lead by any route"
    used = {name for _, name in calendars_named(agreement)}
    for name in agreement.follow_up.calendars:
        if name not in used:
            at: Path = ("follow_up", "calendars", name, KEY)
            yield at, "is nobody's; name it as the calendar of all, a team or a member"
    rules = agreement.follow_up.return_when
    tracks = {rule.track for rule in rules}
    if BY_JOURNEY in tracks or not any(rule.attempts for rule in rules):  # who has no rule goes by the journey, too
        tracks |= world_of(agreement.qualification).journey
    for track in agreement.nurture.tracks:
        if track not in tracks:
            yield ("nurture", track, KEY), "is where no lead goes back to by any rule of return_when"


def _returns(agreement: Agreement) -> Iterator[Doubt]:
    rules = agreement.follow_up.return_when
    for n, rule in enumerate(rules):
        at: Path = ("follow_up", "return_when", n)
        if not rule.attempts and rule.reason in [one.reason for one in rules[:n]]:
            yield (*at, "reason"), f"is never used: a rule for {rule.reason} stands before it"
        lacking = sorted(world_of(agreement.qualification).journey - set(agreement.nurture.tracks))
        if rule.track == BY_JOURNEY and lacking:
            yield at, f"leaves who is in {and_(lacking)} without a track"


def _notices(agreement: Agreement) -> Iterator[Doubt]:
    told = {event for one in agreement.handoff.notify for event in one.on}
    follow_up = agreement.follow_up
    if follow_up.warn_at and "warned" not in told:
        yield ("follow_up", "warn_at"), "is told to nobody: handoff.notify lacks warned"
    if any(step.to for step in follow_up.escalation) and "escalated" not in told:
        yield ("follow_up", "escalation"), "is told to nobody: handoff.notify lacks escalated"


def _calendars(agreement: Agreement) -> Iterator[Doubt]:
    """Nobody said that they work day and night."""
    if "calendar" in agreement.follow_up.model_fields_set:
        return
    for at, _, member in members_of(agreement):
        if not member.calendar and not agreement.handoff.teams[str(at[2])].calendar:
            said = f"has no calendar, so promises count day and night; name one, or say calendar: {ALWAYS_OPEN}"
            yield (*at, KEY), said


def _speeds(agreement: Agreement) -> Iterator[Doubt]:
    """Nine of ten leads cannot be faster than half of them."""
    speed = agreement.kpis.speed_to_lead
    calendar = agreement.calendars.get(agreement.follow_up.calendar)
    if calendar and speed.p50 and speed.p90 and calendar.time_of(speed.p50) > calendar.time_of(speed.p90):
        yield ("kpis", "speed_to_lead", "p50"), f"is slower than p90, {speed.p90}, which holds for more leads"


# --- what the CRM does not know ---


@dataclass(frozen=True, kw_only=True)
class InCrm:
    """What the CRM has: the internal names of a contact's and a company's properties, and its owners as email → id.

    `companies` None: it may not be asked for them.
    """

    properties: frozenset[str]
    owners: dict[str, str]
    companies: frozenset[str] | None = None


def unknown_in_crm(agreement: Agreement, crm: InCrm) -> Iterator[Doubt]:
    """Properties that the CRM does not have, and people who are not (or no longer) its owners."""
    for at, name in _properties(agreement):
        own = name.removeprefix(OF_COMPANY)
        whose, known = ("contacts", crm.properties) if own == name else ("companies", crm.companies)
        if known is not None and own not in known:
            near = [name.removesuffix(own) + one for one in difflib.get_close_matches(own, sorted(known), n=1)]
            yield at, f"{name} is no property of {whose} in the CRM{f'; did you mean {near[0]}?' if near else ''}"
    for at, person, member in members_of(agreement):
        if member.crm_owner and member.crm_owner not in crm.owners.values():
            yield (*at, "crm_owner"), f"{member.crm_owner} is nobody's in the CRM, or not any more"
        elif not member.crm_owner and "@" in person and person.casefold() not in crm.owners:
            yield (*at, KEY), "is no owner in the CRM, or not any more"


def _properties(agreement: Agreement) -> Iterator[tuple[Path, str]]:
    """Every use of a property of the contact or its company, but for those that each lead is asked for anyway."""
    yield from ((at, leaf.name) for at, leaf in _asked_of_contacts(agreement))
    for name, told in agreement.handoff.information.items():
        yield from ((("handoff", "information", str(name), n), one) for n, one in enumerate(told))


def _asked_of_contacts(agreement: Agreement) -> Iterator[tuple[Path, Leaf]]:
    """Every test of such a property, and where it stands."""
    for path, condition in agreement.conditions():
        signal = _signal_at(agreement, path)
        if signal is None or signal.on == "property_changed":  # others ask about a page
            for leaf in leaves(condition.node):
                if leaf.about == PROPERTY:
                    yield (*path, *within(path, leaf.at)), leaf
