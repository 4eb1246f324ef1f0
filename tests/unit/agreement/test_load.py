"""The agreement's file: the shipped one is right, and what is wrong in another is told with place and remedy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from shared.agreement import Agreement, Agreements, check, load
from shared.errors import Refused

SHIPPED = Path(__file__).parents[3] / "deploy" / "agreement.yaml"
TEXT = SHIPPED.read_text("utf-8")
VERSION = load(SHIPPED).version

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file; where it is."""

    def write(text: str) -> Path:
        path = tmp_path / "agreement.yaml"
        path.write_text(text, "utf-8")
        return path

    return write


def changed(old: str, new: str, text: str = TEXT) -> str:
    assert old in text, old
    return text.replace(old, new, 1)


# --- the shipped agreement ---


def test_the_shipped_agreement_has_no_problems() -> None:
    assert check(SHIPPED) == []


def test_the_shipped_agreement_says_what_its_file_says() -> None:
    agreement = load(SHIPPED)
    first_touch = agreement.follow_up.first_touch
    assert {key: str(time) for key, time in first_touch.items()} == {
        "urgent": "5m",
        "A": "1h",
        "B": "4h",
        "default": "1d",
    }
    assert [str(step.at) for step in agreement.follow_up.escalation] == ["2h", "1d"]
    assert agreement.handoff.teams["inbound"].members["ioana@example.com"].weight == 2
    assert agreement.kpis.sla_compliance["first_touch"] == 0.9
    assert agreement.goals[0].target.revenue.amount == 1_000_000
    assert [route.team for route in agreement.handoff.route] == ["enterprise", "dach", "inbound"]


def test_its_seven_parts_stand_in_the_order_in_which_they_are_explained() -> None:
    keys = list(YAML(typ="safe").load(TEXT))
    assert keys[-7:] == ["goals", "definitions", "qualification", "handoff", "nurture", "follow_up", "kpis"]


def test_hand_off_is_told_what_its_conditions_and_its_information_need() -> None:
    assert {"company.numberofemployees", "country", "email", "jobtitle", "hs_analytics_source"} <= load(SHIPPED).profile


def test_norway_stays_norway(write: Write) -> None:
    agreement = load(write(changed("country: {country_in: [Germany, Austria, Switzerland]}", "country: NO")))
    assert agreement.handoff.route[1].when is not None
    assert agreement.handoff.route[1].when.source == {"country": "NO"}


HOURS = "{mon-fri: 08:00-18:00}"
OFFICE = "follow_up.calendars.office"

# --- mistakes beside those of broken/: what is written, at which key, where exactly (at the mark ^), what is said ---

MISTAKES: dict[str, tuple[str, str, str, str]] = {
    "a duration that is a slip": (
        "wait_for_reply: 3d", "wait_for_reply: ^999999w", "follow_up.wait_for_reply", "must not be longer than 3660d",
    ),
    "a word in the CRM without its reason": (
        "UNQUALIFIED: {disqualified: other}", "UNQUALIFIED: ^disqualified",
        "follow_up.in_the_crm.hs_lead_status.UNQUALIFIED", "with a reason",
    ),
    "a word in the CRM for a reason that is not agreed": (
        "BAD_TIMING: {returned: not_now}", "BAD_TIMING: ^{returned: too_early}",
        "follow_up.in_the_crm.hs_lead_status.BAD_TIMING", "too_early is none of the reasons",
    ),
    "a word in the CRM that no state is": (
        "CONNECTED: accepted", "CONNECTED: ^reached", "follow_up.in_the_crm.hs_lead_status.CONNECTED",
        "must be one of accepted, qualified",
    ),
    "no time to answer": (
        "wait_for_reply: 3d", "wait_for_reply: ^0m", "follow_up.wait_for_reply", "must be longer than nothing",
    ),
    "a key that does not belong there": (
        "{workflow: 1001}", "{workflow: 1001, ^colour: red}", "nurture.awareness.colour",
        "is not known; here can stand workflow",
    ),
    "a period that no calendar has": (
        "period: every quarter", "period: ^every fortnight", "goals[0].period",
        "must be every month, every quarter, every year",
    ),
    "a period of another century": (
        "period: every quarter", "period: ^1526-01-01..1526-03-31", "goals[0].period", "must be in the years from 1911",
    ),
    "a period without a working day": (
        "period: every quarter", "period: ^2027-01-02..2027-01-03", "goals[0].period", "no working time of office",
    ),
    "a deal in another currency": (
        "average_deal: 20_000 USD", "average_deal: ^20_000 EUR", "goals[0].average_deal",
        "is in EUR, and the target in USD",
    ),
    "a source that is not spelt right": (
        "[organic search, direct", "[^organc search, direct", "goals[0].methods.organic.from[0]",
        "did you mean organic search?",
    ),
    "a source of two methods": (
        "from: [paid search, paid social]", "from: [paid search, ^direct traffic]", "goals[0].methods.paid.from[1]",
        "direct traffic belongs to organic already",
    ),
    "a conversion that leads nowhere": (
        "{visitor_to_lead: 3%, lead_to_mql: 30%", "{visitor_to_lead: 3%, ^lead_to_mql: 30%",
        "goals[0].expected.lead_to_mql", "leads nowhere without mql_to_sql",
    ),
    "a conversion that nothing passes": (
        "sql_to_customer: 25%}", "sql_to_customer: ^0%}", "goals[0].expected.sql_to_customer", "must be more than 0%",
    ),
    "a lag of what nobody expects": (
        "lag: {lead_to_mql: 10d", "lag: {^visitor_to_lead: 1d, lead_to_mql: 10d", "goals[0].lag.visitor_to_lead",
        "is of no use without an expected visitor_to_lead",
    ),
    "lags of more than two years": (
        "lag: {lead_to_mql: 10d", "lag: ^{lead_to_mql: 700d", "goals[0].lag",
        "take 737 days together; from lead to customer it is 730 at most",
    ),
    "a commitment of nothing": (
        "- {mqls: needed, every: week}", "- ^{every: week}", "goals[0].marketing_owes[0]",
        "must say how many leads or how many mqls",
    ),
    "a commitment without a number": (
        "{mqls: needed, every: week}", "{mqls: ^many, every: week}", "goals[0].marketing_owes[0].mqls",
        "must be a number of them, as 40, or needed",
    ),
    "a commitment to what is not defined": (
        "{mqls: needed, every: week}", "{^mlqs: needed, every: week}", "goals[0].marketing_owes[0].mlqs",
        "did you mean mqls?",
    ),
    "a quality that there is not": (
        "grade: [A1, A2, B1], every", "grade: [A1, ^A9, B1], every", "goals[0].marketing_owes[1].grade[1]",
        "A9 is none of the grades; there are A1",
    ),
    "a quality of what has none yet": (
        "{mqls: 60, grade: [A1", "{leads: 60, ^grade: [A1", "goals[0].marketing_owes[1].grade", "is known of mqls only",
    ),
    "a commitment to what does not follow": (
        "- {mqls: needed, every: week}", "- ^{leads: needed, every: week}", "goals[0].marketing_owes[0]",
        "how many leads are needed does not follow",
    ),
    "a commitment twice": (
        "      - {mqls: 60", "      - ^{mqls: needed, every: week}\n      - {mqls: 60",
        "goals[0].marketing_owes[1]", "stands here twice",
    ),
    "two goals of one name": (
        "\n# 2.", "  - {name: ^New sales, target: {revenue: 9 EUR}, period: every year, average_deal: 1 EUR}\n# 2.",
        "goals[1].name", "each goal needs a name of its own",
    ),
    # calendars
    "a weekday written out": (HOURS, "{^Monday: 09:00-18:00}", f"{OFFICE}.Monday", "did you mean mon?"),
    "a key of a calendar that is not spelt right": (
        HOURS, "{mon-fri: 09:00-18:00, ^holiday: RO}", f"{OFFICE}.holiday", "did you mean holidays?",
    ),
    "a key that no calendar has": (
        HOURS, "{mon-fri: 09:00-18:00, ^colour: red}", f"{OFFICE}.colour", "here can stand mon, tue, wed",
    ),
    "what only the model calls so": (HOURS, "{^week: {mon: 09:00-18:00}}", f"{OFFICE}.week", "is not known"),
    "a calendar that is hours alone": (HOURS, "^09:00-18:00", OFFICE, "must be a calendar, as {mon-fri: 09:00-18:00}"),
    "a calendar that says nothing": (f"office: {HOURS}", "^office:", OFFICE, "must be a calendar"),
    "hours that overlap": (
        HOURS, "{mon-fri: ^[09:00-13:00, 12:00-18:00]}", f"{OFFICE}.mon-fri",
        "09:00-13:00 and 12:00-18:00 overlap",
    ),
    "hours as a mapping": (
        HOURS, "{mon-fri: ^{from: 09:00, to: 18:00}}", f"{OFFICE}.mon-fri", "must be hours, as 09:00-18:00",
    ),
    "a day that is said twice": (
        HOURS, "{mon-fri: 09:00-18:00, ^thu-sat: 09:00-12:00}", f"{OFFICE}.thu-sat",
        "says again when people work on thu, fri",
    ),
    "a calendar without open time": (
        f"office: {HOURS}", "^office: {mon-sun: closed}", OFFICE, "has no open time in its week",
    ),
    "a part that a country does not have": (
        HOURS, "{mon-fri: 09:00-18:00, holidays: [RO, ^DE-BA]}", f"{OFFICE}.holidays[1]", "a part BA of DE: BB, BE",
    ),
    "a calendar's time zone that is not spelt right": (
        HOURS, "{mon-fri: 09:00-18:00, timezone: ^Europe/Bukarest}", f"{OFFICE}.timezone",
        "did you mean Europe/Bucharest?",
    ),
    "a day that no year has": (
        HOURS, "{mon-fri: 09:00-18:00, except: {^2027-13-01: closed}}", f"{OFFICE}.except.2027-13-01",
        "must be a day, as 2027-12-24",
    ),
    "an exception without its hours": (
        HOURS, "{mon-fri: 09:00-18:00, except: ^[2027-12-24]}", f"{OFFICE}.except", "must be days and their hours",
    ),
    "an exception with wrong hours": (
        HOURS, "{mon-fri: 09:00-18:00, except: {2027-12-24: ^shut}}", f"{OFFICE}.except.2027-12-24", "must be hours",
    ),
    "a holiday that ends before it begins": (
        HOURS, "{mon-fri: 09:00-18:00, except: {^2027-12-31..2027-12-24: closed}}",
        f"{OFFICE}.except.2027-12-31..2027-12-24", "must have the first day before the last",
    ),
    "an exception that is said twice": (
        HOURS, "{mon-fri: 09:00-18:00, except: {2027-12-24..2027-12-31: closed, ^2027-12-27: 09:00-12:00}}",
        f"{OFFICE}.except.2027-12-27", "says again what 2027-12-27 is like",
    ),
    "a calendar's name in capitals": (
        f"office: {HOURS}", f"^Office: {HOURS}", "follow_up.calendars.Office", "must be a name in small letters",
    ),
    "a calendar of a name that is taken": (
        f"office: {HOURS}", f"office: {HOURS}\n    ^always: {HOURS}", "follow_up.calendars.always",
        "means day and night already",
    ),
    "a team's calendar that there is not": (
        "inbound:    {", "inbound:    {calendar: ^nights, ", "handoff.teams.inbound.calendar",
        "nights is none of the calendars; there are always, office",
    ),
    "a member's calendar that there is not": (
        "ioana@example.com: 2", "ioana@example.com: {weight: 2, calendar: ^ofice}",
        "handoff.teams.inbound.members.ioana@example.com.calendar", "did you mean office?",
    ),
    # people
    "a key of a member that is not spelt right": (
        "ioana@example.com: 2", "ioana@example.com: {^wieght: 2}",
        "handoff.teams.inbound.members.ioana@example.com.wieght", "did you mean weight?",
    ),
    "a weight in words": (
        "ioana@example.com: 2", "ioana@example.com: ^two", "handoff.teams.inbound.members.ioana@example.com",
        "must be a whole number",
    ),
    "a team of nobody who gets leads": (
        "enterprise: {manager: radu@example.com, members: {elena@example.com: 1}}",
        "enterprise: ^{members: {elena@example.com: 0}}", "handoff.teams.enterprise", "a weight of 1 or more",
    ),
    "two people who are one in the CRM": (
        "ioana@example.com: 2, dan@example.com: 1",
        "ioana@example.com: {crm_owner: 71}, dan@example.com: {crm_owner: ^71}",
        "handoff.teams.inbound.members.dan@example.com.crm_owner", "71 is ioana@example.com already",
    ),
    # promises
    "one time for all that is none": (
        "accept_within: {urgent: 5m, default: 1h}", "accept_within: ^soon", "follow_up.accept_within",
        "must be a duration",
    ),
    "a target of a team that there is not": (
        "first_touch: {urgent: 5m", "first_touch: {^team:inbond: 5m", "follow_up.first_touch.team:inbond",
        "did you mean team:inbound?",
    ),
    "silence that nobody waits for": (
        "if_not_accepted: nothing", "if_not_accepted: ^accept", "follow_up.if_not_accepted",
        "accept needs accept_within",
    ),
    "a meaning of silence that there is not": (
        "if_not_accepted: nothing", "if_not_accepted: ^retrun", "follow_up.if_not_accepted", "or 'return'",
    ),
    "a return for a reason that is not agreed": (
        "if_not_accepted: nothing", "if_not_accepted: ^return", "follow_up.if_not_accepted",
        "return needs not_accepted among the reasons",
    ),
    "a later step without its time": (
        "{channel: email, after: 4h}", "^{channel: email}", "follow_up.cadence[1]", "must have after",
    ),
    "a cadence too long for some": (
        "decide_within: 20d", "decide_within: {default: 20d, team:dach: ^9d}", "follow_up.decide_within.team:dach",
        "takes 94h",
    ),
    "a promise that takes longer than anybody lives": (
        "first_touch: {urgent: 5m", "first_touch: {urgent: ^4000h", "follow_up.first_touch.urgent",
        "4000h of the working time of office are not over in 60 years",
    ),
    "a warning at the end": ("[50%, 80%]", "[50%, ^100%]", "follow_up.warn_at[1]", "must be between 0% and 100%"),
    "a warning twice": ("[50%, 80%]", "[50%, ^50%]", "follow_up.warn_at[1]", "nobody is warned twice at once"),
    "an escalation after no time": (
        "at: breach + 2h", "at: ^breach + soon", "follow_up.escalation[0].at", "must be a duration",
    ),
    "an escalation of what nobody owes": (
        "on: [accept, first_touch]", "on: [^acept, first_touch]", "follow_up.escalation[0].on[0]", "must be 'accept'",
    ),
    "an escalation to nobody": (
        "{at: breach + 2h, on: [accept, first_touch], to: manager}", "^{at: breach + 2h}", "follow_up.escalation[0]",
        "must have to or reassign",
    ),
    "an escalation to somebody misspelt": (
        "first_touch], to: manager", "first_touch], to: ^manger", "follow_up.escalation[0].to",
        "did you mean manager?",
    ),
    "two ways back of the exhausted": (
        "- {reason: not_now,", "- {attempts: ^exhausted, reason: not_now,", "follow_up.return_when[1].attempts",
        "is a second way back",
    ),
}  # fmt: skip
ALSO = {  # what else has to be changed to make the mistake
    "a period without a working day": ("    lag: {lead_to_mql: 10d, mql_to_sql: 7d, sql_to_customer: 30d}\n", ""),
    "a lag of what nobody expects": ("{visitor_to_lead: 3%, ", "{"),
    "a conversion that leads nowhere": ("mql_to_sql: 40%, sql_to_customer: 25%}", "sql_to_customer: 25%}"),
    "a commitment to what does not follow": ("lead_to_mql: 30%, ", ""),
    "silence that nobody waits for": ("  accept_within: {urgent: 5m, default: 1h}", "  "),
    "a promise that takes longer than anybody lives": (HOURS, "{mon: 09:00-10:00}"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_by_file_line_column_key_and_remedy(write: Write, mistake: str) -> None:
    old, new, key, said = MISTAKES[mistake]
    text = changed(*ALSO.get(mistake, ("", "")), text=TEXT)
    before, _, after = changed(old, new, text).partition("^")
    path = write(before + after)
    found = [problem for problem in check(path) if problem.key == key and said in problem.text]
    assert len(found) == 1, [str(problem) for problem in check(path)]
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    assert (found[0].line, found[0].column) == (line, column)
    said_of_it = f"{'warning: ' if found[0].severity == 'warning' else ''}{key}"
    assert str(found[0]).startswith(f"{path}:{line}:{column}: {said_of_it}")


def test_every_mistake_is_told_at_once_in_the_order_of_the_file(write: Write) -> None:
    text = changed("half_life: 14d", "half_life: long", changed("timezone: UTC", "timezone: Bucharest"))
    path = write(text)
    assert [problem.key for problem in check(path)] == ["timezone", "qualification.interest.half_life"]
    with pytest.raises(Refused, match="timezone") as refused:
        load(path)
    assert refused.value.code == "agreement_invalid"
    assert len(refused.value.message.splitlines()) == 2


def test_every_mistake_of_a_calendar_is_told_at_once(write: Write) -> None:
    wrong = "{mon-fry: 09:00-18:00, sat: 9-12, holidays: [ROM], except: {2027-13-01: shut}}"
    found = [problem.key.removeprefix(f"{OFFICE}.") for problem in check(write(changed(HOURS, wrong)))]
    assert found == ["mon-fry", "sat", "holidays[0]", "except.2027-13-01", "except.2027-13-01"]


def test_a_misspelt_calendar_is_one_mistake_and_not_two(write: Write) -> None:
    assert len(check(write(changed("calendar: office", "calendar: ofice")))) == 1


def test_a_cadence_may_take_all_the_time_there_is_to_decide(write: Write) -> None:
    assert check(write(changed("decide_within: 20d", "decide_within: 94h"))) == []


def test_the_wait_for_a_reply_takes_no_time_to_decide_when_nothing_goes_back_after_it(write: Write) -> None:
    exhausted = "    - {attempts: exhausted, reason: unreachable, track: by_journey, cool_down: 30d}\n"
    text = changed("decide_within: 20d", "decide_within: 64h", changed(exhausted, ""))
    assert check(write(text)) == []


def test_the_cadence_is_counted_by_the_calendar_of_each_who_has_leads(write: Write) -> None:
    """20 days of anybody are enough; 180 hours are enough in the office, but not where a day has 24."""
    text = changed("decide_within: 20d", "decide_within: 180h")
    assert check(write(text)) == []
    (problem,) = check(write(changed("jonas@example.com: 1", "jonas@example.com: {calendar: always}", text)))
    assert problem.text == "is 180h of always, and the cadence with its waits takes 220h"


def test_one_person_in_two_teams_is_one_in_the_crm(write: Write) -> None:
    text = changed("elena@example.com: 1", "elena@example.com: {crm_owner: 71}")
    assert check(write(changed("greta@example.com: 1", "elena@example.com: {crm_owner: 71}", text))) == []


@pytest.mark.parametrize("part", ["definitions", "qualification", "handoff", "follow_up"])
def test_a_part_that_is_missing_is_named(write: Write, part: str) -> None:
    data = YAML(typ="rt").load(TEXT)
    del data[part]
    found = check(write(dumped(data)))
    assert (part, "is missing") in [(problem.key, problem.text) for problem in found]


@pytest.mark.parametrize("text", ["", "[]", "hello", "a: &a [*a]", "agreement: " + "[" * 300 + "]" * 300])
def test_a_file_that_is_no_agreement_at_all_is_refused_in_words(write: Write, text: str) -> None:
    path = write(text)
    assert check(path)
    with pytest.raises(Refused) as refused:
        load(path)
    assert refused.value.message.startswith(f"{path}:")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    (problem,) = check(tmp_path / "nothing.yaml")
    assert "cannot be read" in problem.text


# --- the version ---


def dumped(data: Any) -> str:
    import io

    out = io.StringIO()
    yaml = YAML(typ="rt")
    yaml.width = 10_000
    yaml.dump(data, out)
    return out.getvalue()


def shuffled(value: Any, random: Random) -> Any:
    """The same with the keys of every mapping in another order; lists keep theirs."""
    if isinstance(value, dict):
        keys = list(value)
        random.shuffle(keys)
        return {key: shuffled(value[key], random) for key in keys}
    if isinstance(value, list):
        return [shuffled(one, random) for one in value]
    return value


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_any_order_of_keys_gives_the_same_version(write: Write, seed: int) -> None:
    data = YAML(typ="rt").load(TEXT)
    text = dumped(shuffled(data, Random(seed)))
    assert load(write(text)).version == VERSION


def test_comments_and_formatting_do_not_change_the_version(write: Write) -> None:
    text = "\n".join(line.partition(" #")[0].rstrip() for line in TEXT.splitlines() if not line.startswith("#"))
    text = changed("timezone: UTC", "timezone:   'UTC'   # where we are\n", text)
    text = changed("on: [accept, first_touch]", "on: [accept,\n   first_touch]", text)
    assert load(write(text)).version == VERSION


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("points: 25}", "points: 26}"),
        ("half_life: 14d", "half_life: 15d"),
        ("first_touch: 90%", "first_touch: 91%"),
        ("{between: [50, 1000]}", "{between: [50, 1001]}"),
        ("urgent: 5m", "urgent: 6m"),
        ("track: by_journey", "track: none"),
        ("[A1, A2, A3", "[A2, A1, A3"),
        ("mon-fri: 08:00-18:00", "mon-sat: 08:00-18:00"),
        ("mon-fri: 08:00-18:00", "mon-fri: [08:00-12:00, 12:01-18:00]"),
        (HOURS, "{mon-fri: 08:00-18:00, holidays: RO}"),
        (HOURS, "{mon-fri: 08:00-18:00, timezone: Europe/Bucharest}"),
        (HOURS, "{mon-fri: 08:00-18:00, except: {2027-12-31: closed}}"),
        ("at: breach + 2h", "at: breach + 3h"),
        ("on: [accept, first_touch]", "on: [accept]"),
        ("ioana@example.com: 2", "ioana@example.com: {weight: 2, crm_owner: 71}"),
        ("if_not_accepted: nothing", "if_not_accepted: reassign"),
        ("1_000_000 USD", "2_000_000 USD"),
        ("mqls: 60", "mqls: 61"),
        ("from: offline", "from: social media"),
        ("every quarter", "every year"),
    ],
)
def test_another_content_is_another_version(write: Write, old: str, new: str) -> None:
    assert load(write(changed(old, new))).version != VERSION


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("half_life: 14d", "half_life: 36h"),
        ("first_touch: 90%", "first_touch: 99.5%"),
        (HOURS, "{mon-fri: [22:00-06:00], holidays: [RO], timezone: Europe/Bucharest, except: {2027-12-31: closed}}"),
        ("ioana@example.com: 2", "ioana@example.com: {weight: 2, crm_owner: 71}"),
        ('agreement: "Default"', r'agreement: "Default \0 \U0001F600"'),
    ],
)
def test_from_its_content_an_agreement_comes_back_whole(write: Write, old: str, new: str) -> None:
    for agreement in (load(SHIPPED), load(write(changed(old, new)))):
        again = Agreement.from_content(agreement.content)
        assert (again, again.version) == (agreement, agreement.version)
        assert agreement.content.isascii()


SPLIT = "{mon-fri: [09:00-13:00, 14:00-18:00], holidays: [DE-BY, RO], except: {2027-12-24..2027-12-25: closed}}"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (HOURS, "{" + ", ".join(f"{day}: 08:00-18:00" for day in ("fri", "mon", "wed", "tue", "thu")) + "}"),
        (HOURS, "{mon-wed: 08:00-18:00, thu-fri: 8:00 – 18:00, sat-sun: closed}"),
        (HOURS, "{mon-fri: [12:00-18:00, 08:00-12:00]}"),
        (SPLIT, SPLIT.replace("[09:00-13:00, 14:00-18:00]", "'14:00-18:00, 09:00-13:00'")),
        (SPLIT, SPLIT.replace("[DE-BY, RO]", "[RO, DE-BY, RO]")),
        (SPLIT, SPLIT.replace("2027-12-24..2027-12-25: closed", "2027-12-25: closed, 2027-12-24: closed")),
        ("{mon-fri: 22:00-24:00}", "{mon-fri: 22:00-00:00}"),
        ("decide_within: 20d", "decide_within: {default: 20d}"),
        ("[organic search, direct traffic", "[ORGANIC_SEARCH, Direct Traffic"),
        ("from: offline", "from: [offline]"),
        ("mqls: needed", "grade: [], mqls: needed"),
        ("ioana@example.com: 2", "ioana@example.com: {weight: 2}"),
        ("jonas@example.com: 1", "jonas@example.com: {}"),
        ("on: [accept, first_touch]", "on: [first_touch, accept]"),
        ("at: breach + 1d, to: manager", "at: breach+1 d, to: [manager]"),
        ("breach + 1d, to: manager", "breach + 1d, to: manager, on: [decision, next_attempt, accept, first_touch]"),
        ("    office: {mon-fri: 08:00-18:00}", "    office:\n      mon-fri: 08:00-12:00, 12:00-18:00"),
        ("  decide_within: 20d", "  colleagues: count\n  off_cadence: count\n  decide_within: 20d"),
    ],
)  # fmt: skip
def test_what_means_the_same_has_the_same_version(write: Write, one: str, other: str) -> None:
    before = TEXT if one in TEXT else changed(HOURS, one)
    assert load(write(changed(one, other, before))).version == load(write(before)).version


def test_hours_that_follow_each_other_for_longer_than_a_day_stay_what_they_are(write: Write) -> None:
    hours = load(write(changed(HOURS, "{mon: [00:00-12:00, 12:00-06:00]}"))).follow_up.calendars["office"]
    assert hours.week == {"mon": ("00:00-12:00", "12:00-06:00")}


def test_a_version_is_twelve_hex_digits() -> None:
    assert len(VERSION) == 12
    assert set(VERSION) <= set("0123456789abcdef")


# --- whose it is ---


def agreement_of(tenant: str | None) -> Agreement:
    return load(SHIPPED).model_copy(update={"tenant": tenant})


def test_an_agreement_that_names_nobody_is_everybodys() -> None:
    agreement = agreement_of(None)
    assert Agreements(agreement).for_tenant("hubspot:1") is agreement


def test_an_agreement_that_names_a_tenant_is_refused_to_others() -> None:
    agreement = agreement_of("hubspot:1")
    assert Agreements(agreement).for_tenant("hubspot:1") is agreement
    with pytest.raises(Refused) as refused:
        Agreements(agreement).for_tenant("hubspot:2")
    assert refused.value.code == "no_agreement"
