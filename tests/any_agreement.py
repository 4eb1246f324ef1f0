"""Any agreement that there can be, said as in the file: for properties that hold of all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from hypothesis import strategies as st

from shared.agreement import Agreement
from shared.agreement.handoff import NORMAL

Said = dict[str, Any]

FORMS = ("demo-request", "Landing: webinar", "ofertă")
PROPERTIES = ("jobtitle", "country", "company.numberofemployees", "judet", "grade")
REASONS = ("unreachable", "not_now", "not_accepted", "prea_scump")
TRACKS = ("awareness", "decision", "iarna")
TEAMS = ("inbound", "sud-est")
PRIORITIES = (NORMAL, "urgent", "vip")
FIT, LEVELS = "ABCD", "1234"
ACTS = ("email_opened", "email_clicked", "email_replied", "meeting_booked", "meeting_held")
STAGES = ("decision", "consideration", "awareness")
WEEK = ("mon-fri", "sat", "sun")
TIMES = ("09:00-13:00", "14:00-18:00", "22:00-06:00")
ACTIVITIES = ("phone", "email", "video", "meeting")

# What a person writes for a name; also what YAML has its own ideas about.
names = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=12) | st.sampled_from(
    [
        "Ready by score",
        "NO",
        "null",
        "yes",
        "12",
        "1e3",
        "a: b",
        "- x",
        "#1",
        "it's",
        "{x}",
        "Șef de vânzări",
        "2026-01-01",
    ]
)
durations = st.builds("{}{}".format, st.integers(1, 90), st.sampled_from("mhd"))
workings = st.builds("{}{}".format, st.integers(1, 9), st.sampled_from("mhd"))
shares = st.sampled_from(["0%", "5%", "12.5%", "33.3%", "50%", "100%"])
points = st.sampled_from([-20, 0.5, 1, 15, 40])


def days() -> st.SearchStrategy[date]:
    return st.dates(date(2026, 1, 1), date(2028, 12, 31))


def some(values: tuple[str, ...]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(values), min_size=1, unique=True)


def mapping(keys: Mapping[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Said]:
    """Some of the keys."""
    return st.fixed_dictionaries({}, optional=dict(keys))


# --- conditions ---

texts = st.sampled_from(["DE", "NO", "true", "12", "null", "Cluj-Napoca", "șef", "a, b"])
tests_of_text = st.one_of(
    texts,
    st.fixed_dictionaries({"in": st.lists(texts, min_size=1, max_size=3)}),
    st.fixed_dictionaries({"words": texts}),
    st.fixed_dictionaries({"starts": texts}),
    st.fixed_dictionaries({"contains": st.lists(texts, min_size=1, max_size=2)}),
    st.fixed_dictionaries({"exists": st.sampled_from([True, False])}),
    st.fixed_dictionaries({"domain_in": st.just(["rival.example"])}),
    st.fixed_dictionaries({"free_mailbox": st.booleans()}),
    st.fixed_dictionaries({"throwaway_mailbox": st.booleans()}),
    st.fixed_dictionaries({"country_in": st.sampled_from(["NO", ["România", "DE"], ["Côte d’Ivoire"]])}),
    st.fixed_dictionaries({"seniority": st.sampled_from(["owner", ["c_level", "vp"]])}),
)
tests_of_number = st.one_of(
    st.fixed_dictionaries({"between": st.sampled_from([[50, 1000], [0.5, 0.5], [-3, 12]])}),
    st.fixed_dictionaries({"at_least": st.integers(-5, 500)}),
    st.fixed_dictionaries({"at_least": st.integers(0, 5), "at_most": st.integers(6, 9)}),
)
one_property = st.builds(
    lambda name, test: {name: test}, st.sampled_from(PROPERTIES[:-1]), tests_of_text | tests_of_number
)
about_properties = one_property | st.builds(lambda test: {"property": {"grade": test}}, tests_of_text)
about_forms = st.builds(lambda forms: {"form_submitted": forms}, st.just("any") | some(FORMS))
about_grades = st.one_of(
    st.builds(lambda grades: {"grade": grades}, some(tuple(f + n for f in FIT for n in LEVELS))),
    st.builds(lambda fits: {"fit": fits}, some(tuple(FIT))),
    st.builds(lambda levels: {"interest": levels}, some(tuple(LEVELS))),
    st.builds(lambda stages: {"journey": stages}, some(STAGES)),
)


def conditions(leaves: st.SearchStrategy[Said]) -> st.SearchStrategy[Said]:
    """Any combination of the leaves."""
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.builds(lambda one: {"not": one}, inner),
            st.builds(lambda several: {"any": several}, st.lists(inner, min_size=1, max_size=3)),
            st.builds(lambda several: {"all": several}, st.lists(inner, min_size=1, max_size=3)),
        ),
        max_leaves=4,
    )


of_fit = conditions(about_properties)
of_handoff = conditions(about_properties | about_forms | about_grades | st.just({"definition": "mql"}))


# --- the seven parts ---


def shared_out() -> st.SearchStrategy[Said]:
    """Shares of one whole, with the sources by which they are known, or without."""
    known: Said = {"organic": {"share": "45%", "from": ["organic search"]}, "other": {"share": "55%", "from": "rest"}}
    return st.sampled_from([{}, {"organic": "66.7%", "paid": "33.3%"}, {"targuri": "100%"}, known])


def periods() -> st.SearchStrategy[str]:
    """A year or more of one's own, so that any lag fits, or one that comes again."""
    own = st.builds(lambda day, n: f"{day}..{day + timedelta(days=n)}", days(), st.integers(364, 700))
    return own | st.sampled_from(["every month", "every quarter", "every year"])


conversions = dict.fromkeys(("visitor_to_lead", "lead_to_mql", "mql_to_sql", "sql_to_customer"), shares)
owed = st.fixed_dictionaries(
    {"mqls": st.integers(1, 90), "every": st.sampled_from(["week", "month"])},
    optional={"grade": st.just("A1") | st.just(["A1", "B2"])},
)
goal = st.fixed_dictionaries(
    {
        "name": names,
        "target": st.just({"revenue": "1_000_000.50 RON"}),
        "period": periods(),
        "average_deal": st.sampled_from(["20000 RON", "0.50 RON"]),
    },
    optional={
        "expected": st.just({"mql_to_sql": "40%", "sql_to_customer": "12.5%"}),
        "lag": st.just({"mql_to_sql": "7d", "sql_to_customer": "36h"}),
        "methods": shared_out(),
        "marketing_owes": st.lists(owed, max_size=2, unique_by=str),
    },
).filter(lambda made: "lag" not in made or "expected" in made)


definitions = st.fixed_dictionaries(
    {
        "lead": st.builds(lambda when: {"when": when}, conditions(about_properties | about_forms)),
        "mql": st.builds(lambda when: {"when": when}, conditions(about_properties | about_forms | about_grades)),
        "opportunity": st.just({"when": {"deal_stage": ["qualifiedtobuy", "ofertă"]}}),
        "customer": st.just({"when": {"deal_stage": "closedwon"}}),
    },
    optional={"sql": st.just({"when": {"sales": "qualified"}})},
)

rule = st.fixed_dictionaries(
    {"name": names, "when": of_fit, "points": points}, optional={"disqualify": st.sampled_from(REASONS)}
)
fit = st.fixed_dictionaries(
    {"grades": st.sampled_from([{"A": 70, "B": 45.5, "C": 20, "D": "-inf"}, {"A": 3, "B": 2, "C": 1, "D": "-inf"}])},
    optional={
        "role": st.dictionaries(
            st.sampled_from(["decision_maker", "sef"]), st.fixed_dictionaries({"when": of_fit, "points": points})
        ),
        "rules": st.lists(rule, max_size=3),
    },
)
of_signals = {"name": names, "within": durations, "once": st.sampled_from(["per_lead", "per_day"])}
signal = st.one_of(
    st.fixed_dictionaries(
        {"on": st.just("page_visited"), "points": st.integers(1, 60)},
        optional={**of_signals, "when": st.just({"path": {"starts": "/blog"}})},
    ),
    st.fixed_dictionaries(
        {"on": st.just("form_submitted"), "points": st.integers(1, 60)},
        optional={**of_signals, "when": st.builds(lambda forms: {"form": forms}, some(FORMS))},
    ),
    st.fixed_dictionaries({"on": st.sampled_from(ACTS), "points": st.integers(1, 60)}, optional=of_signals),
    st.fixed_dictionaries(
        {"on": st.just("property_changed"), "points": st.integers(1, 60), "when": one_property}, optional=of_signals
    ),
)
family = st.fixed_dictionaries(
    {"cap": st.integers(1, 100), "signals": st.lists(signal, max_size=2)}, optional={"half_life": durations}
)
interest = st.fixed_dictionaries(
    {
        "half_life": durations,
        "knowledge": family,
        "consideration": family,
        "urgency": family,
        "levels": st.sampled_from([{"1": 50, "2": 30, "3": 10, "4": "-inf"}]),
        "journey": st.sampled_from([{}, {"decision": {"urgency": 30}, "consideration": {}, "awareness": {}}]),
    }
)

member = st.one_of(
    st.integers(1, 9),
    st.fixed_dictionaries({"weight": st.integers(1, 9)}, optional={"calendar": st.just("always")}),
    st.fixed_dictionaries({"crm_owner": st.just("71")}),
)


def teams() -> st.SearchStrategy[Said]:
    """Nobody is in two of them, so that ids in the CRM are each somebody's own."""
    return st.fixed_dictionaries(
        {
            name: st.fixed_dictionaries(
                {"members": st.builds(lambda one, n: {f"{n}@example.com": one}, member, st.just(n)), "manager": names},
                optional={"calendar": st.sampled_from(["office", "always"])},
            )
            for n, name in enumerate(TEAMS)
        }
    ).filter(lambda made: sum("crm_owner" in str(team) for team in made.values()) < 2)


trigger = st.fixed_dictionaries(
    {"name": names, "when": of_handoff},
    optional={"unless": of_handoff, "priority": st.sampled_from(PRIORITIES)},
)
handoff = st.fixed_dictionaries(
    {
        "triggers": st.lists(trigger, min_size=1, max_size=3, unique_by=lambda one: str(one["name"])),
        "route": st.builds(
            lambda some_, last: [*some_, last],
            st.lists(
                st.builds(lambda when, to: {"when": when, "to": f"team:{to}"}, of_handoff, st.sampled_from(TEAMS)),
                max_size=2,
            ),
            st.sampled_from([{"to": f"team:{name}"} for name in TEAMS]),
        ),
        "teams": teams(),
    },
    optional={
        "information": st.builds(lambda wanted: {"mql": wanted}, some(PROPERTIES)),
        "notify": st.just([{"on": ["handed_off", "breached"], "by": "webhook"}]),
    },
)

openings = st.one_of(
    st.sampled_from(TIMES), st.just(list(TIMES[:2])), st.just("09:00-13:00, 14:00-18:00"), st.just("closed")
)
calendar = st.builds(
    lambda weekdays, rest: {"mon-fri": "08:00-18:00", **weekdays, **rest},
    st.dictionaries(st.sampled_from(WEEK[1:]), openings),
    mapping(
        {
            "timezone": st.sampled_from(["Europe/Bucharest", "Asia/Kolkata"]),
            "holidays": st.sampled_from(["RO", ["DE-BY", "RO"]]),
            "except": st.dictionaries(days().map(str), openings, max_size=4)
            | st.builds(
                lambda day, n, hours: {f"{day}..{day + timedelta(days=n)}": hours},
                days(),
                st.integers(0, 300),
                openings,
            ),
        }
    ),
)


def targets(*, default: bool) -> st.SearchStrategy[Said]:
    keys = (NORMAL, "A", "team:inbound")
    known = {"default": workings} if default else {}
    return st.fixed_dictionaries(known, optional=dict.fromkeys(keys, workings))


follow_up = st.fixed_dictionaries(
    {
        "calendars": st.fixed_dictionaries({"office": calendar}),
        "calendar": st.just("office"),
        "first_touch": targets(default=True) | workings,
        "cadence": st.builds(
            lambda first, rest: [{"channel": first}, *rest],
            st.sampled_from(ACTIVITIES[:3]),
            st.lists(
                st.fixed_dictionaries({"channel": st.sampled_from(ACTIVITIES[:3]), "after": workings}), max_size=3
            ),
        ),
        "wait_for_reply": workings,
        "reasons": st.just(list(REASONS)),
    },
    optional={
        "accept_within": targets(default=False),
        "decide_within": st.just("400d"),
        "colleagues": st.sampled_from(["count", "ignore"]),
        "off_cadence": st.sampled_from(["count", "ignore"]),
        "warn_at": st.just(["12.5%", "80%"]),
        "escalation": st.lists(
            st.fixed_dictionaries(
                {
                    "at": st.sampled_from(["breach", "breach + 2h", "breach + 1d"]),
                    "to": st.sampled_from(["manager", ["ops"]]),
                },
                optional={"on": some(("accept", "first_touch", "decision")), "reassign": st.just("team")},
            ),
            max_size=2,
        ),
        "return_when": st.lists(
            st.fixed_dictionaries(
                {"reason": st.sampled_from(REASONS)},
                optional={"track": st.sampled_from([*TRACKS, "by_journey", "none"]), "cool_down": durations},
            ),
            max_size=3,
        ),
        "pause_reasons": st.just(["concediu"]),
    },
)

kpis = mapping(
    {
        "sla_compliance": mapping(dict.fromkeys(("accept", "first_touch", "cadence", "decision"), shares)),
        "speed_to_lead": mapping({"p50": workings, "p90": workings}),
        "attempts": mapping({"per_lead": st.sampled_from([1, 4.5]), "connect_rate": shares}),
        "conversion": mapping({**conversions, "window": durations}),
    }
)

# --- grades by names of one's own ---


def own_names(usual: Sequence[str]) -> st.SearchStrategy[dict[str, str]]:
    """Others for the usual ones; several may become one."""
    called = names.map(lambda name: f"{name}!")  # so that it is no priority
    return st.lists(called, min_size=2, max_size=9, unique=True).map(
        lambda own: {one: own[n % len(own)] for n, one in enumerate(usual)}
    )


def own_bounds(called: Mapping[str, str]) -> Said:
    *others, last = dict.fromkeys(called.values())
    return {**{name: 10.5 * (9 - n) for n, name in enumerate(others)}, last: "-inf"}


@st.composite
def with_own_grades(draw: st.DrawFn, made: Said) -> Said:
    """The same with other names for fit grades, levels and, where it has a matrix, grades."""
    fit, levels = draw(own_names(FIT)), draw(own_names(LEVELS))
    own = draw(st.lists(names, min_size=1, max_size=5, unique=True))
    grades = {f"{one}{level}": draw(st.sampled_from(own)) for one in FIT for level in LEVELS}
    matrix = {one: {level: draw(st.sampled_from(own)) for level in levels.values()} for one in fit.values()}
    if not draw(st.booleans()):
        matrix = {}
        both = " " if any(len(name) > 1 for name in (*fit.values(), *levels.values())) else ""
        grades = {f"{one}{level}": f"{fit[one]}{both}{levels[level]}" for one in FIT for level in LEVELS}
    made = _renamed(made, {"grade": grades, "fit": fit, "interest": levels})
    parts = made["qualification"]
    parts["fit"]["grades"], parts["interest"]["levels"] = own_bounds(fit), own_bounds(levels)
    made["qualification"] = {**parts, **({"grades": own, "matrix": matrix} if matrix else {})}
    for times in ("first_touch", "accept_within"):
        if isinstance(of := made["follow_up"].get(times), dict):
            made["follow_up"][times] = {fit.get(key, key): time for key, time in of.items()}
    return made


def _renamed(said: Any, called: Mapping[str, Mapping[str, str]]) -> Any:
    if isinstance(said, list):
        return [_renamed(one, called) for one in said]
    if not isinstance(said, dict):
        return said
    return {
        key: _called(one, called[key])
        if key in called and not isinstance(one, dict)
        else one
        if key == "property"
        else _renamed(one, called)
        for key, one in said.items()
    }


def _called(said: Any, names: Mapping[str, str]) -> Any:
    return names[said] if isinstance(said, str) else [names[one] for one in said]


usual: st.SearchStrategy[Said] = st.fixed_dictionaries(
    {
        "agreement": names,
        "definitions": definitions,
        "qualification": st.fixed_dictionaries({"fit": fit, "interest": interest}),
        "handoff": handoff,
        "nurture": st.just({name: {"workflow": "1001"} for name in TRACKS}),
        "follow_up": follow_up,
    },
    optional={
        "tenant": st.sampled_from(["hubspot:62515", "hubspot:1"]),
        "effective": days().map(str),
        "signed_by": st.just({"marketing": ["ana@example.com"], "sales": ["dan@example.com"]}),
        "timezone": st.sampled_from(["UTC", "Europe/Bucharest"]),
        "goals": st.lists(goal, max_size=2, unique_by=lambda one: str(one["name"])),
        "kpis": kpis,
    },
)
said: st.SearchStrategy[Said] = usual | usual.flatmap(with_own_grades)
"""An agreement as a person may write it."""

agreements: st.SearchStrategy[Agreement] = said.map(Agreement.model_validate)
"""The same, read."""
