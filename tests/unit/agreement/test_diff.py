"""What another agreement would change: nothing for the same meaning, everything else in words."""

from __future__ import annotations

import contextlib
import enum
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, RootModel

from services.commands.differing import Difference
from shared.agreement import Agreement, load
from shared.agreement.conditions import Condition
from shared.agreement.diff import Change, diff
from shared.agreement.meaning import ORDERS, found_in, is_set, meaning
from shared.agreement.values import Money, Period
from shared.agreement.wording import HEADINGS, notation
from shared.calendars import Span
from tests.agreements import SHIPPED, with_follow_up, with_parts

GOLDEN = Path(__file__).parent / "diff"
OLD, NEW = load(GOLDEN / "old.yaml"), load(GOLDEN / "new.yaml")
SEEDS = st.integers(0, 2**32).map(Random)
SLOWLY = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])


def told(old: Agreement, new: Agreement) -> list[str]:
    return [change.text for change in diff(old, new)]


def with_handoff(**said: Any) -> Agreement:
    return with_parts(handoff={**SHIPPED.handoff.model_dump(exclude_defaults=True), **said})


def with_fit(**said: Any) -> Agreement:
    qualification = SHIPPED.qualification.model_dump()
    return with_parts(qualification={**qualification, "fit": {**qualification["fit"], **said}})


# --- the edit of a whole agreement, as people see it ---


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("changes.txt", lambda found: "\n".join(found.lines())),
        ("changes.md", lambda found: "\n".join(found.markdown())),
        ("changes.json", lambda found: json.dumps(found.as_json(), indent=2, ensure_ascii=False)),
    ],
)
def test_an_edit_of_all_parts_reads_as_it_did(
    name: str, shown: Callable[[Difference], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """To write them anew: in that folder `leadpact agreement diff old.yaml new.yaml > changes.txt`, and so on."""
    monkeypatch.chdir(GOLDEN)
    found = shown(Difference.of(Path("old.yaml"), Path("new.yaml")))
    assert _unversioned(found) == _unversioned((GOLDEN / name).read_text("utf-8").rstrip("\n"))


def _unversioned(text: str) -> str:
    return re.sub(r"\b[0-9a-f]{12}\b", "version", text)


def test_the_edit_has_changes_in_all_parts_and_of_all_kinds() -> None:
    changes = diff(OLD, NEW)
    assert [part for part in HEADINGS if part in {change.part for change in changes}] == list(HEADINGS)
    assert {change.kind for change in changes} == {"added", "removed", "changed", "moved"}


def test_changes_stand_in_the_order_of_the_parts() -> None:
    parts = [list(HEADINGS).index(change.part) for change in diff(OLD, NEW)]
    assert parts == sorted(parts)


# --- what a change says ---


def test_a_time_is_told_for_whom_it_is_and_what_that_means_for_sales() -> None:
    new = with_follow_up(first_touch={"urgent": "5m", "A": "30m", "B": "4h", "default": "1d"})
    (change,) = diff(SHIPPED, new)
    assert change == Change(
        path="follow_up.first_touch.A",
        part="follow_up",
        kind="changed",
        before="1h",
        after="30m",
        text="First touch for A leads: 1 h → 30 min (Sales has less time)",
    )


def test_days_are_not_said_to_be_more_or_less_than_hours() -> None:
    new = with_follow_up(first_touch={"urgent": "5m", "A": "1h", "B": "4h", "default": "12h"})
    assert told(SHIPPED, new) == ["First touch by default: 1 working day → 12 h"]


def test_a_list_in_a_condition_is_told_by_what_came_and_went() -> None:
    routes = [route.model_dump() for route in SHIPPED.handoff.route]
    routes[1]["when"] = {"country": {"country_in": ["DE", "Austria", "Norway"]}}
    assert told(SHIPPED, with_handoff(route=routes)) == [
        "Route 2 (to team dach): country is … by any name: + Norway, − Switzerland"
    ]


def test_what_a_condition_asks_besides_or_no_longer_is_told() -> None:
    triggers = [trigger.model_dump() for trigger in SHIPPED.handoff.triggers]
    triggers[1]["when"] = {"grade": ["A1"], "country": "DE"}
    assert told(SHIPPED, with_handoff(triggers=triggers)) == [
        "Trigger “Ready by score”: no longer: it is an mql; also: the grade is A1; also: country is DE"
    ]


def test_an_inserted_step_is_one_change() -> None:
    steps = [step.model_dump() for step in SHIPPED.follow_up.cadence]
    steps.insert(2, {"channel": "sms", "after": "2h"})
    assert told(SHIPPED, with_follow_up(cadence=steps)) == ["New step 3 (sms): 2 h after the step before"]


def test_a_new_first_step_leaves_the_old_first_step_what_it_was() -> None:
    first, *others = [step.model_dump() for step in SHIPPED.follow_up.cadence]
    new = with_follow_up(cadence=[{"channel": "email"}, {**first, "after": "4h"}, *others])
    assert told(SHIPPED, new) == ["New step 1 (email)", "Step 2 (phone): now 4 h after the step before"]


def test_a_step_that_moved_is_told_as_one_move() -> None:
    triggers = [trigger.model_dump() for trigger in SHIPPED.handoff.triggers]
    (change,) = diff(SHIPPED, with_handoff(triggers=[triggers[1], triggers[0]]))
    assert (change.kind, {change.before, change.after}) == ("moved", {1, 2})
    assert change.text == "Trigger “Asked for a demo” now comes after trigger “Ready by score”"


def test_a_rule_of_another_name_is_no_other_rule() -> None:
    rules = [rule.model_dump() for rule in SHIPPED.qualification.fit.rules]
    rules[0]["name"] = "Size"
    assert told(SHIPPED, with_fit(rules=rules)) == ["Rule “Right size”, name: Right size → Size"]


def test_a_signal_without_a_name_is_called_by_what_it_says() -> None:
    agreements = []
    for points in (15, 20):
        qualification = SHIPPED.qualification.model_dump()
        signals = qualification["interest"]["urgency"]["signals"]
        signals[0].update({"name": "", "points": points})
        signals[1].update({"name": f"Wanted us {points}"})
        agreements.append(with_parts(qualification=qualification))
    assert told(*agreements) == [
        "Urgency, signal “Page visited: path starts with /pricing”: 15 → 20 points",
        "Urgency, signal “Wanted us 15”, name: Wanted us 15 → Wanted us 20",
    ]


def test_words_of_ours_are_told_without_their_underscores_and_one_point_as_one() -> None:
    old, new = SHIPPED.qualification.model_dump(), SHIPPED.qualification.model_dump()
    signal = new["interest"]["knowledge"]["signals"][1]
    signal.update({"on": "email_opened", "once": "per_lead", "points": 1})
    assert told(with_parts(qualification=old), with_parts(qualification=new)) == [
        "Knowledge, signal “Clicked in an email”, an act of the kind: email clicked → email opened",
        "Knowledge, signal “Clicked in an email”: 4 → 1 point",
        "Knowledge, signal “Clicked in an email”, counts once: per day → per lead",
    ]


def test_names_of_the_crm_and_of_the_agreement_are_told_as_they_are_written() -> None:
    new = with_follow_up(
        in_the_crm={"hs_lead_status": {"BAD_TIMING": {"returned": "not_now"}, "IN_PROGRESS": "accepted"}},
        accept_within={"urgent": "5m", "team:inbound": "1h", "default": "1h"},
    )
    old = with_follow_up(in_the_crm={"hs_lead_status": {"IN_PROGRESS": "qualified"}})
    assert told(old, new) == [
        "Time to accept for leads of team inbound: now 1 h",
        "In the CRM, hs_lead_status, BAD_TIMING: now returned (not_now)",
        "In the CRM, hs_lead_status, IN_PROGRESS: qualified → accepted",
    ]


def test_the_order_counts_among_rules_that_disqualify_and_not_among_those_that_give_points() -> None:
    bad = {"name": "Test address", "when": {"email": {"domain_in": ["test.example"]}}, "disqualify": "bad_data"}
    rules = [*(rule.model_dump() for rule in SHIPPED.qualification.fit.rules[:5]), bad]
    assert told(with_fit(rules=rules), with_fit(rules=[rules[2], *rules[:2], *rules[3:]])) == []
    assert told(with_fit(rules=rules), with_fit(rules=[*rules[:4], rules[5], rules[4]])) == [
        "Rule “Test address” now comes before rule “Competitor”"
    ]
    around = [rules[4], rules[0], rules[5]]
    assert told(with_fit(rules=around), with_fit(rules=around[::-1])) == [
        "Rule “Test address” now comes before rule “Competitor”"
    ]


def test_the_order_counts_among_ways_back_for_one_reason_only() -> None:
    ways = [way.model_dump() for way in SHIPPED.follow_up.return_when]
    second = {"reason": "not_now", "track": "decision"}
    before = with_follow_up(return_when=[*ways, second])
    assert told(before, with_follow_up(return_when=[ways[2], ways[1], second, ways[0]])) == []
    assert told(before, with_follow_up(return_when=[*ways[:1], second, *ways[1:]])) != []


def test_a_calendar_is_told_by_runs_of_days() -> None:
    calendars = {
        "office": {"mon-thu": "08:00-18:00", "fri": "08:00-14:00", "except": {"2027-12-27..2027-12-31": "closed"}}
    }
    assert told(SHIPPED, with_follow_up(calendars=calendars)) == [
        "Calendar office: Monday to Friday 08:00-18:00 → Monday to Thursday 08:00-18:00, Friday 08:00-14:00",
        "Calendar office, days that differ: + 2027-12-27..2027-12-31 closed",
    ]


def test_a_name_cannot_write_on_a_terminal_or_a_page() -> None:
    new = SHIPPED.model_copy(update={"name": "a\x1b[2J\n# b"})
    assert told(SHIPPED, new) == ["Name: Default → a [2J # b"]


# --- the same meaning ---


def rewritten(data: Any, random: Random, at: tuple[str, ...] = ()) -> Any:
    """The same, written otherwise: keys and lists without order shuffled, values in other units."""
    if isinstance(data, dict):
        pairs = [(key, rewritten(value, random, (*at, str(key)))) for key, value in data.items()]
        random.shuffle(pairs)
        return dict(pairs)
    if isinstance(data, list):
        items = [rewritten(value, random, (*at, "*")) for value in data]
        if at[-1] in WITHOUT_ORDER:
            random.shuffle(items)
        return items
    return otherwise(str(data), random, at) if isinstance(data, str | int | float) else data


WITHOUT_ORDER = {
    *("rules", "signals", "goals", "notify", "return_when", "reasons", "pause_reasons", "warn_at", "mql", "on", "to"),
    *("marketing", "sales", "holidays", "in", "words", "starts", "domain_in", "any", "all", "grade", "deal_stage"),
    *("form", "form_submitted", "marketing_owes", "from"),
}
ELAPSED = {"half_life", "cool_down", "window", "lead_to_mql", "mql_to_sql", "sql_to_customer"}


def otherwise(text: str, random: Random, at: tuple[str, ...]) -> str:
    if random.random() < 0.5:
        return text
    if match := re.fullmatch(r"(breach \+ )?(\d+)h", text):
        return f"{match[1] or ''}{int(match[2]) * 60}m"
    if match := re.fullmatch(r"(\d+)m", text):
        return f"{int(match[1]) * 60}s"
    if (match := re.fullmatch(r"(\d+)d", text)) and at[-1] in ELAPSED:
        return f"{int(match[1]) * 24}h"
    if match := re.fullmatch(r"(\d+)%", text):
        return f"{match[1]}.0%"
    if "when" in at and at[-2:] in (("in", "*"), ("words", "*")):
        return text.swapcase()
    return text


def other_conditions(data: Any, random: Random) -> Any:
    """Conditions with brackets around them, and a list of one for a value."""
    if isinstance(data, list):
        return [other_conditions(one, random) for one in data]
    if not isinstance(data, dict):
        return data
    found = {key: other_conditions(value, random) for key, value in data.items()}
    for key in ("when", "unless"):
        if found.get(key) and random.random() < 0.5:
            found[key] = random.choice([{"all": [found[key]]}, {"any": [found[key]]}, {"not": {"not": found[key]}}])
    if isinstance(found.get("grade"), str):
        found["grade"] = [found["grade"]]
    if "equals" in found:
        found["in"] = [found.pop("equals")]
    return found


def in_full(value: Any, kind: Any = None) -> Any:
    """An agreement as data, with all its defaults written out."""
    if isinstance(value, RootModel):
        return in_full(value.root)
    if isinstance(value, BaseModel) and not isinstance(value, Money | Period):
        hints, fields = get_type_hints(type(value), include_extras=True), type(value).model_fields
        found = {f.alias or name: in_full_of(getattr(value, name), name, hints[name]) for name, f in fields.items()}
        return {**found.pop("week", {}), **found}
    if isinstance(value, Mapping):
        return {str(key): in_full(one, inside(kind)) for key, one in value.items()}
    if isinstance(value, tuple):
        return [in_full(one, inside(kind)) for one in value]
    return str(written) if isinstance(written := notation(value, (), kind), int | float) else written


def in_full_of(value: Any, name: str, kind: Any) -> Any:
    if name == "definitions":
        return {key: {"when": one.source} for key, one in value.items()}
    if name == "at":
        return notation(value, ("at",))
    if name == "week":
        return {day: list(hours) for day, hours in value.items()}
    return in_full(value, kind)


def inside(kind: Any) -> Any:
    args = [one for one in get_args(kind) if one is not Ellipsis]
    return inside(args[0]) if get_origin(kind) is Annotated else args[-1] if args else None


def split_notify(data: dict[str, Any]) -> dict[str, Any]:
    rules = [{"on": on, "by": by} for rule in data["handoff"]["notify"] for on in rule["on"] for by in rule["by"]]
    return {**data, "handoff": {**data["handoff"], "notify": rules}}


@SLOWLY
@given(random=SEEDS, agreement=st.sampled_from([SHIPPED, OLD, NEW]))
def test_what_is_written_otherwise_and_means_the_same_is_no_change(random: Random, agreement: Agreement) -> None:
    data = in_full(agreement)
    if random.random() < 0.5:
        data = split_notify(data)
    other = Agreement.model_validate(rewritten(other_conditions(data, random), random))
    assert told(agreement, other) == []
    assert told(other, agreement) == []


def test_an_agreement_with_its_defaults_written_out_has_the_version_of_the_short_one() -> None:
    assert Agreement.model_validate(in_full(SHIPPED)).version == SHIPPED.version


def test_an_agreement_is_no_change_of_itself() -> None:
    assert diff(SHIPPED, SHIPPED) == diff(NEW, NEW) == ()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"country": "DE"}, {"country": {"equals": "de"}}),
        ({"country": {"country_in": ["DE", "Rumänien"]}}, {"country": {"country_in": ["Romania", "germany"]}}),
        ({"country": "DE"}, {"property": {"country": {"in": ["DE"]}}}),
        ({"any": [{"country": "DE"}, {"any": [{"city": "Bonn"}]}]}, {"any": [{"city": "Bonn"}, {"country": "DE"}]}),
        ({"all": [{"country": "DE"}, {"grade": "A1"}]}, {"grade": ["A1"], "country": "DE"}),
        ({"form": "Demo"}, {"form_submitted": {"in": ["demo"]}}),
        ({"employees": {"at_least": "50"}}, {"employees": {"at_least": "50.0"}}),
    ],
)
def test_conditions_of_one_meaning_are_equal(one: Any, other: Any) -> None:
    assert meaning(Condition.parse(one)) == meaning(Condition.parse(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"form_submitted": "any"}, {"form_submitted": {"in": ["any"]}}),
        ({"deal_stage": "won"}, {"deal_stage": "Won"}),
        ({"all": [{"a": "1"}, {"b": "2"}]}, {"any": [{"a": "1"}, {"b": "2"}]}),
        ({"form_submitted": "any"}, {"form_submitted": ["any"]}),
        ({"not": {"a": "1", "b": "2"}}, {"not": {"a": "1"}}),
        ({"not": {"a": "1"}}, {"a": "1"}),
        ({"email": {"exists": "true"}}, {"email": {"exists": "false"}}),
        ({"n": {"between": ["1", "2"]}}, {"n": {"between": ["1", "3"]}}),
        ({"email": {"contains": "a"}}, {"email": {"starts": "a"}}),
    ],
)
def test_conditions_of_two_meanings_are_not(one: Any, other: Any) -> None:
    assert meaning(Condition.parse(one)) != meaning(Condition.parse(other))


def test_a_day_is_no_24_hours_and_a_week_no_days() -> None:
    spans = [Span.parse(text) for text in ("1d", "24h", "1w", "5d", "7d")]
    assert len({meaning(span) for span in spans}) == 5
    assert meaning(Span.parse("60m")) == meaning(Span.parse("1h"))


# --- nothing is passed over ---


def sample(kind: Any, n: int) -> Any:
    """Something of this type, another for each n: of every field of the model, those of tomorrow too."""
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return sample(args[0], n)
    if origin in (Union, UnionType):
        return sample(next(one for one in args if one is not type(None)), n)
    if origin is Literal:
        return args[n % len(args)]
    if origin is tuple:
        return (sample(args[0], n),)
    if origin is dict:
        return {sample(args[0], 0): sample(args[1], n)}
    if issubclass(kind, enum.Enum):
        return list(kind)[n % len(kind)]
    if issubclass(kind, RootModel):
        return kind.model_construct(sample(kind.model_fields["root"].annotation, n))
    if issubclass(kind, BaseModel):
        return kind.model_construct(**{name: sample(one, n) for name, one in hints(kind).items()})
    return SCALARS[kind](n)


SCALARS: Mapping[type, Callable[[int], Any]] = {
    str: lambda n: f"word_{n}",
    int: lambda n: n + 1,
    bool: lambda n: bool(n % 2),
    float: lambda n: (n + 1) / 4,
    Decimal: lambda n: Decimal(n + 1),
    date: lambda n: date(2027, 3, n + 1),
    timedelta: lambda n: timedelta(hours=n + 1),
    Span: lambda n: Span(amount=n + 1, unit="h"),
    Condition: lambda n: Condition.parse({"country": f"C{n}"}),
}


def hints(model: type[BaseModel]) -> dict[str, Any]:
    own = get_type_hints(model, include_extras=True)
    return {name: own[name] for name in model.model_fields}


def changed_by_one(value: Any, other: Any) -> Iterator[tuple[str, Any]]:
    """The value with each of its leaves from the other, one at a time, and how it is reached."""
    if isinstance(value, RootModel):
        yield from ((at, value.model_copy(update={"root": one})) for at, one in changed_by_one(value.root, other.root))
    elif isinstance(value, BaseModel) and not isinstance(value, Money | Period):
        for name in type(value).model_fields:
            for at, one in changed_by_one(getattr(value, name), getattr(other, name)):
                yield f"{name}.{at}", value.model_copy(update={name: one})
    elif isinstance(value, Mapping) and value:
        for key in value:
            yield f"-{key}", {k: one for k, one in value.items() if k != key}
            for at, one in changed_by_one(value[key], other.get(key, next(iter(other.values()), None))):
                yield f"{key}.{at}", {**value, key: one}
    elif isinstance(value, tuple) and value:
        for n in range(len(value)):
            yield f"-{n}", value[:n] + value[n + 1 :]
            for at, one in changed_by_one(value[n], other[0]):
                yield f"{n}.{at}", (*value[:n], one, *value[n + 1 :])
    elif value != other:
        yield "", other


def turned(change: Change) -> tuple[Any, ...]:
    kind = {"added": "removed", "removed": "added"}.get(change.kind, change.kind)
    return (re.sub(r"\[\d+\]", "[]", change.path), change.part, kind, str(change.after), str(change.before))


def plain(change: Change) -> tuple[Any, ...]:
    path = re.sub(r"\[\d+\]", "[]", change.path)
    return (path, change.part, change.kind, str(change.before), str(change.after))


def is_mirrored(old: Agreement, new: Agreement) -> bool:
    return sorted(map(plain, diff(old, new))) == sorted(map(turned, diff(new, old)))


ONE, OTHER = sample(Agreement, 0), sample(Agreement, 5)
RAW = re.compile(
    r"^\W|timedelta|None|Decimal|datetime|Span|Condition|\(\)|\{|\}|\[|\]|<|=|(?<!\w)'|\"|\binf\b|\bnan\b|  |: :|:$|\*"
)


def is_plain(change: Change) -> bool:
    """Whether it reads as words: no trace of a program, nothing left empty."""
    told = change.text
    return not RAW.search(told) and told[:1] == told[:1].upper() and len(told) > 8 and "→ →" not in told


@pytest.mark.parametrize(
    ("at", "new"), list(changed_by_one(ONE, OTHER)), ids=lambda one: one if isinstance(one, str) else ""
)
def test_every_single_field_makes_a_difference_that_reads_well(at: str, new: Agreement) -> None:
    changes = (*diff(ONE, new), *diff(new, ONE))
    assert changes, at
    assert [change.text for change in changes if not is_plain(change)] == []
    assert is_mirrored(ONE, new)
    json.dumps([change.after for change in changes], allow_nan=False)


def test_every_leaf_of_the_shipped_agreement_makes_a_difference() -> None:
    """But for the last stage of the journey, which asks for nothing and is there without being named."""
    silent = [at for at, new in changed_by_one(SHIPPED, OTHER) if not diff(SHIPPED, new)]
    assert silent == ["qualification.interest.journey.-awareness"]


def test_all_fields_at_once_are_told_in_words() -> None:
    changes = (*diff(ONE, OTHER), *diff(SHIPPED, OTHER), *diff(ONE, SHIPPED), *diff(OLD, NEW), *diff(NEW, OLD))
    assert [change.text for change in changes if not is_plain(change)] == []


def lists_in(kind: Any, at: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Where the model has lists."""
    if get_origin(kind) is tuple:
        yield at
    elif isinstance(kind, type) and issubclass(kind, BaseModel) and kind not in (Money, Period):
        for name, one in hints(kind).items():
            yield from lists_in(one, at if name == "root" else (*at, name))
    inside_of = (*at, "*") if get_origin(kind) in (tuple, dict) else at
    for one in get_args(kind):
        yield from lists_in(one, inside_of)


def test_of_every_list_it_is_decided_whether_its_order_counts() -> None:
    counts = {at for at in lists_in(Agreement) if not is_set(at) and found_in(ORDERS, at) is None}
    assert {".".join(at) for at in counts} == {
        *("qualification.grades", "handoff.triggers", "handoff.route", "follow_up.cadence", "follow_up.escalation"),
        *("follow_up.calendars.*.week.*", "follow_up.calendars.*.exceptions.*"),  # hours, which the model sorts
    }


# --- both ways ---


def edited(data: Any, random: Random, other: Any) -> Any:
    """The same with some values, keys and items taken out, put in from the other, or moved."""
    if isinstance(data, dict) and isinstance(other, dict):
        keys = [key for key in {**data, **other} if random.random() < 0.97]
        pool = {key: random.choice([data, other]) for key in keys}
        return {
            key: edited(data[key], random, other[key]) if key in data and key in other else pool[key].get(key)
            for key in keys
            if key in pool[key] or (key in data and key in other)
        }
    if isinstance(data, list) and isinstance(other, list):
        items = [one for one in data if random.random() < 0.9] + [one for one in other if random.random() < 0.2]
        if random.random() < 0.5:
            random.shuffle(items)
        return items
    return random.choice([data, data, data, other])


def an_edit(random: Random) -> Agreement:
    """The old agreement with some of what makes the new one, in three of its parts."""
    found, other = in_full(OLD), in_full(NEW)
    for part in random.sample(sorted(found), 3):
        changed = {**found, part: edited(found[part], random, other[part])}
        with contextlib.suppress(ValueError):
            Agreement.model_validate(changed)
            found = changed
    return Agreement.model_validate(found)


def in_another_order(value: Any, random: Random) -> Any:
    """With some of its lists shuffled, whether their order means something or not."""
    if isinstance(value, BaseModel) and not isinstance(value, Money | Period):
        fields = ["root"] if isinstance(value, RootModel) else type(value).model_fields
        return value.model_copy(update={name: in_another_order(getattr(value, name), random) for name in fields})
    if isinstance(value, Mapping):
        return {key: in_another_order(one, random) for key, one in value.items()}
    if isinstance(value, tuple):
        items = [in_another_order(one, random) for one in value]
        return tuple(random.sample(items, len(items)) if random.random() < 0.1 else items)
    return value


@SLOWLY
@given(random=SEEDS)
def test_the_other_way_round_each_change_is_turned_round(random: Random) -> None:
    one, other = an_edit(random), an_edit(random)
    assert is_mirrored(one, other)


@SLOWLY
@given(random=SEEDS)
def test_there_is_no_change_where_and_only_where_both_mean_the_same(random: Random) -> None:
    one = random.choice([SHIPPED, OLD, NEW])
    for other in (in_another_order(one, random), an_edit(random)):
        assert (diff(one, other) == ()) == (meaning(one) == meaning(other))
        assert is_mirrored(one, other)


LETTERS = st.lists(st.sampled_from("ABCDEF"), min_size=1, max_size=7)


@SLOWLY
@given(before=LETTERS, after=LETTERS)
def test_a_list_in_order_can_be_made_from_the_other_by_what_is_told(before: list[str], after: list[str]) -> None:
    """Taking out what went, putting in what came, and moving what moved: so many steps and no more are told."""
    one, other = of_steps(before), of_steps(after)
    changes = diff(one, other)
    assert is_mirrored(one, other)
    assert (changes == ()) == (before == after)
    count = {
        kind: sum(change.kind == kind for change in changes if change.path.endswith("]"))
        for kind in ("added", "removed", "moved")
    }
    assert len(before) - count["removed"] == len(after) - count["added"]


def test_of_two_that_are_alike_the_one_that_leaves_the_others_in_place_is_gone() -> None:
    (change,) = diff(of_steps("CABA"), of_steps("CBA"))
    assert (change.kind, change.path) == ("removed", "follow_up.cadence[1]")


def test_a_condition_that_is_turned_round_is_told_whole() -> None:
    triggers = [trigger.model_dump() for trigger in SHIPPED.handoff.triggers]
    one, other = ({"not": {"country": country, "city": "Bonn"}} for country in ("DE", "FR"))
    before, after = ([triggers[0], {**triggers[1], "when": when}] for when in (one, other))
    assert told(with_handoff(triggers=before), with_handoff(triggers=after)) == [
        "Trigger “Ready by score”: not (country is DE and city is Bonn) → not (country is FR and city is Bonn)"
    ]


def test_of_several_tests_of_one_property_only_the_other_one_is_told() -> None:
    triggers = [trigger.model_dump() for trigger in SHIPPED.handoff.triggers]
    before, after = (
        [triggers[0], {**triggers[1], "when": {"property": {"country": {"equals": one, "starts": "D"}}}}]
        for one in ("DE", "DK")
    )
    assert told(with_handoff(triggers=before), with_handoff(triggers=after)) == [
        "Trigger “Ready by score”: country is …: + DK, − DE"
    ]


def of_steps(letters: Sequence[str]) -> Agreement:
    channels = dict(zip("ABCDEF", ("phone", "email", "video", "sms", "meeting", "linkedin"), strict=True))
    steps = [{"channel": channels[letter], **({"after": "1h"} if n else {})} for n, letter in enumerate(letters)]
    return with_follow_up(cadence=steps, decide_within={})


# --- for many hands ---


def test_infinity_is_told_as_what_is_left() -> None:
    grades = {"A": 70, "B": 45, "C": 20, "D": -math.inf}
    one = with_fit(grades=grades)
    fit = one.qualification.fit.model_copy(update={"grades": {**grades, "D": 0.0}})
    other = one.model_copy(update={"qualification": one.qualification.model_copy(update={"fit": fit})})
    assert told(one, other) == ["Fit grade D from: whatever is left → 0 points"]
