"""What one part says of another: names that point at nothing, and promises that no calendar can keep."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final

from shared.agreement.conditions import Condition, Path
from shared.agreement.follow_up import NOT_ACCEPTED, state_and_reason
from shared.agreement.goals import working_time
from shared.agreement.grades import USUAL_FIT, USUAL_LEVELS
from shared.agreement.handoff import MANAGER, TEAM, Member
from shared.agreement.hours import KEY
from shared.agreement.model import Agreement
from shared.agreement.nurture import BY_JOURNEY, NO_TRACK
from shared.agreement.qualification import Qualification
from shared.agreement.tree import leaves
from shared.agreement.values import DEFAULT, Period
from shared.calendars import HORIZON_YEARS, Calendar, Span
from shared.errors import Refused

MOST_LISTED: Final = 20  # of the names that there are; who reads more of them has the file at hand
ANY_MOMENT: Final = datetime(2026, 1, 1, tzinfo=UTC)  # from which to try whether a promise can be kept at all

SLIP: Final = 0.85  # how near a name is to another for being that one misspelt


def cross_references(agreement: Agreement) -> Iterator[tuple[Path, str]]:
    """Names that point at nothing, and definitions that ask what nobody can know at that stage."""
    yield from unknown_names(agreement)
    yield from _written_best_first(agreement)
    yield from _goals(agreement)
    yield from _definitions(agreement)
    yield from _words(agreement)
    yield from _managers(agreement)
    yield from _escalations(agreement)
    yield from _crm_owners(agreement)
    yield from _beyond_all_time(agreement)
    yield from _cadence(agreement)


def unknown_names(agreement: Agreement) -> Iterator[tuple[Path, str]]:
    """Names that point at nothing, and names that stand twice."""
    yield from _references(agreement)
    yield from _matrix(agreement.qualification)
    yield from _grades(agreement)
    yield from _teams(agreement)
    yield from _returns(agreement)
    yield from _priorities(agreement)
    yield from _calendars(agreement)


def _goals(agreement: Agreement) -> Iterator[tuple[Path, str]]:
    names = [goal.name for goal in agreement.goals]
    calendar = agreement.calendars.get(agreement.follow_up.calendar)
    for n, goal in enumerate(agreement.goals):
        if goal.name in names[:n]:
            yield ("goals", n, "name"), "stands twice; each goal needs a name of its own"
        if calendar and isinstance(goal.period, Period) and not working_time(goal.period, calendar, agreement.timezone):
            yield ("goals", n, "period"), f"has no working time of {agreement.follow_up.calendar}"


def _references(agreement: Agreement) -> Iterator[tuple[Path, str]]:
    names = [str(name) for name in agreement.definitions]
    for path, condition in agreement.conditions():
        for reference in condition.references:
            if reference.name not in names:
                yield (*path, *within(path, reference.at)), _none_of(reference.name, "definitions", names)


def _definitions(agreement: Agreement) -> Iterator[tuple[Path, str]]:
    names = [str(name) for name in agreement.definitions]
    for name, condition in agreement.definitions.items():
        yield from _definition(str(name), condition)
    for wanted in ("lead", "mql", "opportunity", "customer"):
        if wanted not in names:
            yield ("definitions",), f"must define {wanted}"


# --- grades by their own names ---


def _grades(agreement: Agreement) -> Iterator[tuple[Path, str]]:
    qualification = agreement.qualification
    known = {
        "grade": ("grades", qualification.grade_names),
        "fit_grade": ("fit grades", [name for name, _ in qualification.fit.limits]),
        "interest_level": ("interest levels", [name for name, _ in qualification.interest.limits]),
    }
    for path, condition in agreement.conditions():
        for leaf in leaves(condition.node):
            what, names = known.get(leaf.about, ("", ()))
            yield from _strangers(leaf.wanted if what else (), what, names, (*path, *within(path, leaf.at)))
    for n, goal in enumerate(agreement.goals):
        for m, commitment in enumerate(goal.marketing_owes):
            yield from _strangers(commitment.grade, *known["grade"], ("goals", n, "marketing_owes", m, "grade"))


def _matrix(qualification: Qualification) -> Iterator[tuple[Path, str]]:
    at: Path = ("qualification", "grades")
    for n, name in enumerate(qualification.grades):
        if name in qualification.grades[:n]:
            yield (*at, n), "stands here twice"
    if qualification.grades and not qualification.matrix:
        yield (*at, KEY), "are of no use without a matrix that says who gets which"
    if qualification.matrix and not qualification.grades:
        found = dict.fromkeys(cell.grade for cell in qualification.cells)
        said = f"needs its grades, from the best to the last, as grades: [{_list(found)}]"
        yield ("qualification", "matrix", KEY), said
    yield from _rows(qualification)


def _rows(qualification: Qualification) -> Iterator[tuple[Path, str]]:
    at, matrix = ("qualification", "matrix"), qualification.matrix
    fit, levels = ([name for name, _ in part.limits] for part in (qualification.fit, qualification.interest))
    yield from _unknown_keys(matrix, "fit grades", fit, at)
    if lacking := matrix and _lacking(matrix, fit):
        yield (*at, KEY), f"has no row for {and_(lacking)}"
    for name, row in matrix.items():
        yield from _unknown_keys(row, "interest levels", levels, (*at, name))
        if lacking := _lacking(row, levels):
            yield (*at, name, KEY), f"has no grade for {and_(lacking)}"
        for level, grade in row.items():
            if qualification.grades and grade not in qualification.grades:
                yield (*at, name, level), _none_of(grade, "grades", qualification.grades)


def _unknown_keys(said: Iterable[str], what: str, known: Sequence[str], at: Path) -> Iterator[tuple[Path, str]]:
    for name in said:
        if name not in known:
            yield (*at, name, KEY), _none_of(name, what, known)


def _lacking(said: Iterable[str], known: Sequence[str]) -> list[str]:
    """What is not said, nor misspelt."""
    meant = [near for name in said for near in difflib.get_close_matches(name, known, n=1)]
    return [name for name in known if name not in meant]


def _strangers(named: Sequence[str], what: str, known: Sequence[str], at: Path) -> Iterator[tuple[Path, str]]:
    for n, name in enumerate(named):
        if name not in known:
            yield (*at, n), _none_of(name, what, known)


def _written_best_first(agreement: Agreement) -> Iterator[tuple[Path, str]]:
    """Of A to D the names say which is better, of others only their order: points the other way round are a slip."""
    fit, interest = agreement.qualification.fit, agreement.qualification.interest
    parts: tuple[tuple[Path, Mapping[str, float], Sequence[str]], ...] = (
        (("qualification", "fit", "grades"), fit.grades, USUAL_FIT),
        (("qualification", "interest", "levels"), interest.levels, USUAL_LEVELS),
    )
    for at, bounds, usual in parts:
        for before, name in pairwise(bounds):
            if set(bounds) != set(usual) and bounds[name] > bounds[before]:
                yield (*at, name), f"needs more points than {before} before it; the best comes first"


# What the services know when they ask for each stage.
_STAGE_WORDS: Final = {
    "lead": {"form_submitted", "form"},
    "mql": {"grade", "fit", "interest", "journey", "form_submitted", "form"},
    "sql": {"sales"},
    "opportunity": {"deal_stage"},
    "customer": {"deal_stage"},
}


def _definition(name: str, condition: Condition) -> Iterator[tuple[Path, str]]:
    at: Path = ("definitions", name, "when")
    if strange := condition.words - _STAGE_WORDS[name]:
        yield at, f"{name} cannot be told by {', '.join(sorted(strange))}"
    if condition.properties and name in ("sql", "opportunity", "customer"):
        yield at, f"{name} cannot be told by properties: {', '.join(sorted(condition.properties))}"
    if name == "sql" and condition.source != {"sales": "qualified"}:
        yield at, "must be {sales: qualified}: Sales says so"


# What the services know when they ask elsewhere: fit is judged before there is a grade, a hand-off before Sales acts.
_PART_WORDS: Final[dict[Path, set[str]]] = {
    ("qualification", "fit"): set(),
    ("handoff", "triggers"): {*_STAGE_WORDS["mql"], "definition"},
    ("handoff", "route"): {*_STAGE_WORDS["mql"], "definition"},
}


def _words(agreement: Agreement) -> Iterator[tuple[Path, str]]:
    for path, condition in agreement.conditions():
        known = _PART_WORDS.get(path[:2])
        if known is not None and (strange := condition.words - known):
            yield path, f"cannot be told here by {', '.join(sorted(strange))}"
        for reference in condition.references:
            if reference.name in ("sql", "opportunity", "customer"):
                yield (*path, *within(path, reference.at)), f"{reference.name} comes only after a hand-off"


def _teams(agreement: Agreement) -> Iterator[tuple[Path, str]]:
    teams = list(agreement.handoff.teams)
    for n, route in enumerate(agreement.handoff.route):
        if route.team not in teams:
            yield ("handoff", "route", n, "to"), _none_of(route.team, "teams", teams)


def _returns(agreement: Agreement) -> Iterator[tuple[Path, str]]:
    follow_up, reasons = agreement.follow_up, list(agreement.follow_up.reasons)
    tracks = [*agreement.nurture.tracks, BY_JOURNEY, NO_TRACK]
    for n, rule in enumerate(follow_up.return_when):
        if rule.track not in tracks:
            yield ("follow_up", "return_when", n, "track"), _none_of(rule.track, "nurture tracks", tracks)
        if rule.reason not in reasons:
            yield ("follow_up", "return_when", n, "reason"), _none_of(rule.reason, "reasons", reasons)
    if follow_up.if_not_accepted == "return" and NOT_ACCEPTED not in reasons:
        yield ("follow_up", "if_not_accepted"), f"return needs {NOT_ACCEPTED} among the reasons"
    for name, meanings in follow_up.in_the_crm.items():
        for value, meaning in meanings.items():
            _, reason = state_and_reason(meaning)
            if reason and reason not in reasons:
                where: Path = ("follow_up", "in_the_crm", name, value)
                yield where, _none_of(reason, "reasons", reasons)
    for n, fit_rule in enumerate(agreement.qualification.fit.rules):
        if fit_rule.disqualify and fit_rule.disqualify not in reasons:
            at: Path = ("qualification", "fit", "rules", n, "disqualify")
            yield at, _none_of(fit_rule.disqualify, "reasons", reasons)


def _priorities(agreement: Agreement) -> Iterator[tuple[Path, str]]:
    teams = [f"{TEAM}{team}" for team in agreement.handoff.teams]
    grades = [name for name, _ in agreement.qualification.fit.limits]
    known = [*sorted(agreement.handoff.priorities), *grades, *teams, DEFAULT]
    for name in grades:
        if name in (*agreement.handoff.priorities, *teams, DEFAULT):
            at: Path = ("qualification", "fit", "grades", name, KEY)
            yield at, f"is a priority, a team or the default, too: a time for {name} could be meant for either"
    for name in ("accept_within", "first_touch", "decide_within"):
        for key in getattr(agreement.follow_up, name):
            if key not in known:
                yield ("follow_up", name, key, KEY), _none_of(key, "priorities, teams and fit grades", known)
    names = [trigger.name for trigger in agreement.handoff.triggers]
    for n, name in enumerate(names):
        if name in names[:n]:
            yield ("handoff", "triggers", n, "name"), "stands twice; each trigger needs a name of its own"


def _calendars(agreement: Agreement) -> Iterator[tuple[Path, str]]:
    known = list(agreement.calendars)
    for at, name in calendars_named(agreement):
        if name not in known:
            yield at, _none_of(name, "calendars", known)


def calendars_named(agreement: Agreement) -> Iterator[tuple[Path, str]]:
    """Every use of a calendar, with where it stands."""
    yield ("follow_up", "calendar"), agreement.follow_up.calendar
    for name, team in agreement.handoff.teams.items():
        if team.calendar:
            yield ("handoff", "teams", name, "calendar"), team.calendar
    for at, _, member in members_of(agreement):
        if member.calendar:
            yield (*at, "calendar"), member.calendar


def members_of(agreement: Agreement) -> Iterator[tuple[Path, str, Member]]:
    """Everybody in every team, with where they stand."""
    for name, team in agreement.handoff.teams.items():
        for person, member in team.members.items():
            yield ("handoff", "teams", name, "members", person), person, member


def _managers(agreement: Agreement) -> Iterator[tuple[Path, str]]:
    alone = [name for name, team in agreement.handoff.teams.items() if not team.manager]
    for n, step in enumerate(agreement.follow_up.escalation):
        if MANAGER in step.to and alone:
            yield ("follow_up", "escalation", n, "to"), f"needs a manager in every team; there is none in {and_(alone)}"


def _escalations(agreement: Agreement) -> Iterator[tuple[Path, str]]:
    """Any name is passed on to the receiver of notifications; one that is nearly a known one is a slip."""
    people = [person for _, person, _ in members_of(agreement)]
    managers = [team.manager for team in agreement.handoff.teams.values() if team.manager]
    known = list(dict.fromkeys([MANAGER, *people, *managers]))
    for n, step in enumerate(agreement.follow_up.escalation):
        for name in step.to:
            near = difflib.get_close_matches(name, known, n=1, cutoff=SLIP)
            if name not in known and near:
                yield ("follow_up", "escalation", n, "to"), f"nobody is called {name}; did you mean {near[0]}?"


def _crm_owners(agreement: Agreement) -> Iterator[tuple[Path, str]]:
    """Who is in several teams is one person in the CRM all the same."""
    whose: dict[str, str] = {}
    for at, person, member in members_of(agreement):
        if member.crm_owner and (other := whose.setdefault(member.crm_owner, person)) != person:
            yield (*at, "crm_owner"), f"{member.crm_owner} is {other} already; each person has an id of their own"


# --- what no calendar can give ---


def _judged_by(agreement: Agreement, only: str = "") -> dict[str, Calendar]:
    """The calendars by which people of all teams, or of one, are judged."""
    calendars, teams = agreement.calendars, agreement.handoff.teams
    named = [agreement.calendar_named(name, who) for name in teams if only in ("", name) for who in teams[name].members]
    return {name: calendars[name] for name in named if name in calendars}


def _team_of(target: str) -> str:
    """Whose alone a target is; "" for one by priority, fit or none of all."""
    return target.removeprefix(TEAM) if target.startswith(TEAM) else ""


def _promises(agreement: Agreement) -> Iterator[tuple[Path, Span, str]]:
    """Each time that somebody has, where it stands, and the only team that it is for."""
    follow_up = agreement.follow_up
    for name in ("accept_within", "first_touch", "decide_within"):
        for key, span in getattr(follow_up, name).items():
            yield (name, key), span, _team_of(key)
    for n, step in enumerate(follow_up.cadence):
        yield ("cadence", n, "after"), step.after, ""
    yield ("wait_for_reply",), follow_up.wait_for_reply, ""
    for n, escalation in enumerate(follow_up.escalation):
        yield ("escalation", n, "at"), escalation.at, ""


def _beyond_all_time(agreement: Agreement) -> Iterator[tuple[Path, str]]:
    for at, span, team in _promises(agreement):
        for name, calendar in _judged_by(agreement, team).items():
            try:
                calendar.add(ANY_MOMENT, calendar.time_of(span))
            except Refused:
                yield ("follow_up", *at), f"{span} of the working time of {name} are not over in {HORIZON_YEARS} years"
                break


def _cadence(agreement: Agreement) -> Iterator[tuple[Path, str]]:
    """Who makes each attempt when it is due, the first at once, must be able to decide in time."""
    follow_up = agreement.follow_up
    spans = [step.after for step in follow_up.cadence]
    if any(rule.attempts for rule in follow_up.return_when):
        spans.append(follow_up.wait_for_reply)
    for key, span in follow_up.decide_within.items():
        for name, calendar in _judged_by(agreement, _team_of(key)).items():
            needs, has = sum(map(calendar.time_of, spans), timedelta()), calendar.time_of(span)
            if span and needs > has:
                said = f"is {_in_hours(has)} of {name}, and the cadence with its waits takes {_in_hours(needs)}"
                yield ("follow_up", "decide_within", key), said
                break


def _in_hours(time: timedelta) -> str:
    return f"{time / timedelta(hours=1):g}h"


def _list(names: Iterable[str]) -> str:
    first, more = list(names)[:MOST_LISTED], list(names)[MOST_LISTED:]
    return ", ".join([*first, *(["…"] if more else [])])


def and_(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def within(path: Path, inner: Path) -> Path:
    """Where a part of a condition stands. A definition's own paths start with `when`, which its path already has."""
    return inner[1:] if path[0] == "definitions" and inner[:1] == ("when",) else inner


def _none_of(name: str, what: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {_list(known)}"
    return f"{name} is none of the {what}; {hint}"
