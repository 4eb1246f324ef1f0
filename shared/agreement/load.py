"""From a file to an agreement: YAML 1.2 by ruamel, and every error at once, with file, line and column."""

from __future__ import annotations

import difflib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path as FilePath
from typing import Any, Final, get_args

from pydantic import BaseModel, RootModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from shared.agreement.conditions import PROBLEMS, Condition, Path
from shared.agreement.hours import KEY, PLACED
from shared.agreement.model import (
    BY_JOURNEY,
    DEFAULT,
    FIT_GRADES,
    MANAGER,
    NO_TRACK,
    NOT_ACCEPTED,
    SLUG,
    TEAM,
    Agreement,
    Member,
)
from shared.calendars import HORIZON_YEARS, Calendar, Span
from shared.errors import Refused

MAX_BYTES: Final = 1_000_000
MAX_NODES: Final = 20_000
MAX_DEPTH: Final = 50
ANY_MOMENT: Final = datetime(2026, 1, 1, tzinfo=UTC)  # from which to try whether a promise can be kept at all
# What a later version will enforce. Until then a file that says it would promise what nobody keeps.
NOT_YET: Final = ("capacity", "keep_owner", "mode", "manual", "tell_sales", "who", "review")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is wrong, and where; `text` says what would be right."""

    file: str
    line: int
    column: int
    key: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.key + ': ' if self.key else ''}{self.text}"


class Agreements:
    """The agreement that holds for each tenant. One default now; more come with a folder of files."""

    def __init__(self, default: Agreement) -> None:
        self._default = default

    def for_tenant(self, tenant: str) -> Agreement:
        """Raises Refused (`no_agreement`) for a tenant that the only agreement does not name."""
        if self._default.tenant and tenant and tenant != self._default.tenant:
            raise Refused("no_agreement", f"the agreement is for {self._default.tenant} alone")
        return self._default


def load(path: FilePath | str) -> Agreement:
    """The agreement in the file. Raises Refused (`agreement_invalid`) with every problem, a line each."""
    agreement, problems = _read(FilePath(path))
    if agreement is None or problems:
        raise Refused("agreement_invalid", "\n".join(map(str, problems)))
    return agreement


def check(path: FilePath | str) -> list[Problem]:
    """Everything that is wrong with the file; empty when it can be used."""
    return _read(FilePath(path))[1]


def _read(path: FilePath) -> tuple[Agreement | None, list[Problem]]:
    source = _Source(file=str(path))
    try:
        text = path.read_bytes()[: MAX_BYTES + 1].decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        return None, [source.problem((), f"cannot be read: {type(error).__name__}")]
    if len(text) > MAX_BYTES:
        return None, [source.problem((), f"must not be larger than {MAX_BYTES} bytes")]
    data = source.parse(text)
    if source.problems and data is None:
        return None, source.problems
    agreement = _validate(data, source)
    if agreement is not None:
        source.problems.extend(source.problem(*found) for found in cross_references(agreement))
    source.problems.sort(key=lambda problem: (problem.line, problem.column))
    return agreement, source.problems


# --- YAML ---


@dataclass(slots=True)
class _Source:
    """The file as nodes: where each key and value stands, and what is wrong so far."""

    file: str
    keys: dict[Path, tuple[int, int]] = field(default_factory=dict)
    values: dict[Path, tuple[int, int]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    nodes: int = 0

    def parse(self, text: str) -> Any:
        try:
            node = YAML(typ="rt", pure=True).compose(io.StringIO(text))
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            self.problems.append(
                Problem(file=self.file, line=line, column=column, key="", text=f"is not YAML: {error.problem}")
            )
            return None
        except (YAMLError, RecursionError, ValueError) as error:
            self.problems.append(self.problem((), f"is not YAML: {type(error).__name__}"))
            return None
        if not isinstance(node, MappingNode):
            self.problems.append(self.problem((), "must be a mapping that starts with agreement: and its name"))
            return None
        try:
            return self._plain(node, ())
        except Refused as error:
            self.problems.append(self.problem((), error.message))
            return None

    def _plain(self, node: Node, at: Path) -> Any:
        """Scalars stay text as it was written: NO is Norway, 1.10 is 1.10; only null is none."""
        self.nodes += 1
        if self.nodes > MAX_NODES or len(at) > MAX_DEPTH:
            raise Refused("agreement_invalid", "is too large or too deep (aliases in a circle?)")
        self.values.setdefault(at, (node.start_mark.line + 1, node.start_mark.column + 1))
        if isinstance(node, MappingNode):
            return self._mapping(node, at)
        if isinstance(node, SequenceNode):
            return [self._plain(one, (*at, n)) for n, one in enumerate(node.value)]
        assert isinstance(node, ScalarNode)
        return None if str(node.tag).endswith(":null") else node.value

    def _mapping(self, node: MappingNode, at: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            place = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            key = key_node.value if isinstance(key_node, ScalarNode) else None
            if key is None or key == "<<":
                self.problems.append(self._at(place, at, "must have plain words as keys"))
            elif key in found:
                first = self.keys[(*at, key)][0]
                self.problems.append(self._at(place, (*at, key), f"stands here twice; the first is on line {first}"))
            else:
                self.keys[(*at, key)] = place
                if value_node.start_mark.index == value_node.end_mark.index:
                    self.values[(*at, key)] = place  # nothing stands there; its own mark is behind that
                found[key] = self._plain(value_node, (*at, key))
        return found

    def problem(self, at: Path, text: str, *, on_key: bool = False) -> Problem:
        """A problem with what the file says, at the nearest place; `at` may end in KEY, for a key itself."""
        near = tuple(part for part in at if part != KEY)
        on_key = on_key or KEY in at
        while near and near not in self.values:
            near = near[:-1]
        return self._at((self.keys.get(near) if on_key else None) or self._value(near), near, text)

    def missing(self, at: Path) -> Problem:
        """A problem with what the file does not say, at what should hold it."""
        return self._at(self._value(at[:-1]), at, "is missing")

    def _value(self, at: Path) -> tuple[int, int]:
        return self.values.get(at, (1, 1))

    def _at(self, place: tuple[int, int], at: Path, text: str) -> Problem:
        return Problem(file=self.file, line=place[0], column=place[1], key=_dotted(at), text=text)


def _dotted(path: Path) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


# --- the model ---


def _validate(data: Any, source: _Source) -> Agreement | None:
    try:
        return Agreement.model_validate(data)
    except ValidationError as error:
        for one in error.errors(include_url=False, include_input=False):
            source.problems.extend(_problems(one, source))
        return None


def _problems(error: Any, source: _Source) -> Iterator[Problem]:
    kind, at = error["type"], error["loc"]
    if kind in (PROBLEMS, PLACED):
        for path, text in error["ctx"]["problems"]:
            yield source.problem((*at, *path), text, on_key=kind == PROBLEMS)
    elif kind == "extra_forbidden":
        yield source.problem(at, _unknown_key(at), on_key=True)
    elif kind == "missing":
        yield source.missing(at)
    else:
        yield source.problem(at, _in_words(error))


def _in_words(error: Any) -> str:
    if error["type"] == "string_pattern_mismatch" and error["ctx"]["pattern"] == SLUG:
        return "must be a name in small letters, digits, - and _, that starts with a letter"
    if error["type"] in ("int_parsing", "int_from_float"):
        return "must be a whole number"
    message = str(error["msg"])
    for said, ours in (("Input should be", "must be"), ("String should", "should"), ("Value should", "should")):
        message = message.replace(said, ours)
    return message[:1].lower() + message[1:]


def _unknown_key(at: Path) -> str:
    key, known = str(at[-1]), _known_keys(at[:-1])
    if key in NOT_YET:
        return "is not enforced by this version, so it cannot be agreed on yet"
    near = difflib.get_close_matches(key, known, n=1)
    if near:
        return f"is not known; did you mean {near[0]}?"
    return f"is not known; here can stand {', '.join(known)}" if known else "is not known"


def _known_keys(at: Path) -> list[str]:
    kind: Any = Agreement
    for part in at:
        kind = _inner(kind, part)
    model = _model_in(kind)
    return [field_.alias or name for name, field_ in model.model_fields.items()] if model else []


def _inner(kind: Any, part: str | int) -> Any:
    """The type of a part of a type: of a field, or of a list's element or a mapping's value."""
    if isinstance(kind, type) and issubclass(kind, RootModel):
        kind = kind.model_fields["root"].annotation
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {f.alias or name: f.annotation for name, f in kind.model_fields.items()}.get(str(part))
    return _model_in(kind)


def _model_in(kind: Any) -> type[BaseModel] | None:
    """The first model within a type such as tuple[Goal, ...] or dict[str, Track]."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind
    models = (_model_in(one) for one in get_args(kind))
    return next((model for model in models if model is not None), None)


# --- what one part says of another ---


def cross_references(agreement: Agreement) -> Iterator[tuple[Path, str]]:
    """Names that point at nothing, and definitions that ask what nobody can know at that stage."""
    yield from _definitions(agreement)
    yield from _words(agreement)
    yield from _teams(agreement)
    yield from _returns(agreement)
    yield from _priorities(agreement)
    yield from _calendars(agreement)
    yield from _managers(agreement)
    yield from _crm_owners(agreement)
    yield from _beyond_all_time(agreement)
    yield from _cadence(agreement)


def _definitions(agreement: Agreement) -> Iterator[tuple[Path, str]]:
    names = [str(name) for name in agreement.definitions]
    for path, condition in agreement.conditions():
        for reference in condition.references:
            if reference.name not in names:
                yield (*path, *_within(path, reference.path)), _none_of(reference.name, "definitions", names)
    for name, condition in agreement.definitions.items():
        yield from _definition(str(name), condition)
    for wanted in ("lead", "mql", "opportunity", "customer"):
        if wanted not in names:
            yield ("definitions",), f"must define {wanted}"


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
                yield (*path, *_within(path, reference.path)), f"{reference.name} comes only after a hand-off"


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
    for n, fit_rule in enumerate(agreement.qualification.fit.rules):
        if fit_rule.disqualify and fit_rule.disqualify not in reasons:
            at: Path = ("qualification", "fit", "rules", n, "disqualify")
            yield at, _none_of(fit_rule.disqualify, "reasons", reasons)


def _priorities(agreement: Agreement) -> Iterator[tuple[Path, str]]:
    teams = [f"{TEAM}{team}" for team in agreement.handoff.teams]
    known = [*sorted(agreement.handoff.priorities), *FIT_GRADES, *teams, DEFAULT]
    for name in ("accept_within", "first_touch", "decide_within"):
        for key in getattr(agreement.follow_up, name):
            if key not in known:
                yield ("follow_up", name, key, KEY), _none_of(key, "priorities, teams and fit grades", known)
    names = [trigger.name for trigger in agreement.handoff.triggers]
    for n, name in enumerate(names):
        if name in names[:n]:
            yield ("handoff", "triggers", n, "name"), "stands twice; each trigger needs a name of its own"


def _calendars(agreement: Agreement) -> Iterator[tuple[Path, str]]:
    known, named = list(agreement.calendars), list(_calendars_named(agreement))
    for at, name in named:
        if name not in known:
            yield at, _none_of(name, "calendars", known)
    used = {name for _, name in named}
    for name in agreement.follow_up.calendars:
        if name not in used and used <= set(known):  # else it may be the one that is meant
            yield (
                ("follow_up", "calendars", name, KEY),
                "is nobody's; name it as the calendar of all, a team or a member",
            )


def _calendars_named(agreement: Agreement) -> Iterator[tuple[Path, str]]:
    yield ("follow_up", "calendar"), agreement.follow_up.calendar
    for name, team in agreement.handoff.teams.items():
        if team.calendar:
            yield ("handoff", "teams", name, "calendar"), team.calendar
    for at, _, member in _members(agreement):
        if member.calendar:
            yield (*at, "calendar"), member.calendar


def _members(agreement: Agreement) -> Iterator[tuple[Path, str, Member]]:
    for name, team in agreement.handoff.teams.items():
        for person, member in team.members.items():
            yield ("handoff", "teams", name, "members", person), person, member


def _managers(agreement: Agreement) -> Iterator[tuple[Path, str]]:
    alone = [name for name, team in agreement.handoff.teams.items() if not team.manager]
    for n, step in enumerate(agreement.follow_up.escalation):
        if MANAGER in step.to and alone:
            yield ("follow_up", "escalation", n, "to"), f"needs a manager in every team; there is none in {_and(alone)}"


def _crm_owners(agreement: Agreement) -> Iterator[tuple[Path, str]]:
    """Who is in several teams is one person in the CRM all the same."""
    whose: dict[str, str] = {}
    for at, person, member in _members(agreement):
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


def _and(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _within(path: Path, inner: Path) -> Path:
    """A definition's own paths start with `when`, which its path already has."""
    return inner[1:] if path[0] == "definitions" and inner[:1] == ("when",) else inner


def _none_of(name: str, what: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
    return f"{name} is none of the {what}; {hint}"
