"""A backtest: the same whatever the order, the cut and the processes; explained, honest about what it cannot know."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from bench import backtest as bench
from services import __main__ as command
from services.commands import recorded
from services.commands.backtest import parts
from services.commands.backtest.findings import EXCUSED, HandOff
from services.commands.backtest.page import page
from services.commands.backtest.parts import Kin, Spool
from services.commands.backtest.replay import in_order
from services.commands.backtest.report import Report, as_json, report
from services.commands.backtest.running import Asked, backtest, from_file
from services.commands.backtest.staffing import Pace, predict
from services.commands.backtest.table import head, notes
from shared import events
from shared.agreement import Agreement, Agreements
from shared.bus import NewRecord, Record
from shared.errors import Broken
from shared.events import (
    ActivityLogged,
    Channel,
    ContactChanged,
    ContactErased,
    ContactsMerged,
    Direction,
    FormSubmitted,
    LeadMessage,
    Outcome,
    PropertyValue,
    Topic,
    identity,
)
from tests.agreements import PLAIN, SHIPPED_FILE, own_grades, own_text, with_follow_up

TENANT = "hubspot:62515"
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)  # a Monday
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
CHIEF = {"jobtitle": "CEO", "country": "RO", "company.numberofemployees": "80", "email": "ada@example.test"}
SHIPPED_TEXT = SHIPPED_FILE.read_text("utf-8")


# --- the record ---


def lead(contact: int) -> str:
    return f"{TENANT}:{contact}"


def about(contact: int, at: datetime, *more: object) -> dict[str, Any]:
    return {"id": identity("test", contact, at, *more), "tenant": TENANT, "lead": lead(contact), "at": at}


def person(contact: int, at: datetime = NOW, *, created: bool = True, **values: str) -> ContactChanged:
    said = tuple(PropertyValue(name=name, value=value, at=at) for name, value in (values or CHIEF).items())
    return ContactChanged(**about(contact, at, "person"), values=said, created=created)


def form(contact: int, at: datetime = NOW + MINUTE, name: str = "demo-request") -> FormSubmitted:
    return FormSubmitted(**about(contact, at, name), form=name)


def call(contact: int, at: datetime, *, logged: datetime | None = None) -> ActivityLogged:
    return ActivityLogged(
        **about(contact, at, "call"),
        activity=f"call:{contact}-{at.timestamp()}",
        channel=Channel.PHONE,
        direction=Direction.OUTBOUND,
        outcome=Outcome.NO_ANSWER,
        by="77",
        seen_at=logged or at,
    )


def line(message: LeadMessage) -> bytes:
    value = events.encode(message)
    return recorded.line(Record(topic=Topic.CRM_EVENTS, partition=0, offset=0, key=message.lead, value=value))


def changed_agreement(folder: Path, *changes: tuple[str, str]) -> Path:
    text = SHIPPED_TEXT
    for was, becomes in changes:
        assert was in text
        text = text.replace(was, becomes)
    path = folder / f"{identity(text)[:8]}.yaml"
    path.write_text(text, "utf-8")
    return path


class Desk:
    """A folder with a record and two agreements."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record = folder / "record.jsonl"

    def has(self, messages: Iterable[LeadMessage]) -> None:
        self.record.write_bytes(b"".join(map(line, messages)))

    def tests(self, *changes: tuple[str, str], old: Path = SHIPPED_FILE, **asked: Any) -> Report:
        """The report of the shipped agreement with these changes, against `old`."""
        new = asked.pop("new", None) or changed_agreement(self.folder, *changes)
        wanted = Asked(**{"processes": 1, **asked, "old": old, "new": new})
        return report(backtest(wanted, from_file(self.record), lambda what, done, of: None))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def many(count: int = 1_000) -> list[LeadMessage]:
    return sorted(islice(bench.lives(1), count), key=lambda message: message.at)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Desk, Path, Report]:
    """The bench's record, the agreement that it tries, and what comes of it in one part."""
    desk = Desk(tmp_path_factory.mktemp("whole"))
    desk.has(many())
    new = desk.folder / "new.yaml"
    bench.write_new_agreement(new)
    return desk, new, desk.tests(new=new)


# --- the same, however it is done ---


def test_the_size_of_the_parts_changes_nothing(whole: tuple[Desk, Path, Report]) -> None:
    desk, new, once = whole
    assert desk.tests(new=new, part_bytes=20_000) == once


def test_several_processes_say_the_same_as_one(whole: tuple[Desk, Path, Report]) -> None:
    desk, new, once = whole
    assert desk.tests(new=new, part_bytes=150_000, processes=2) == once


def test_how_the_record_mixes_its_leads_changes_nothing(whole: tuple[Desk, Path, Report], tmp_path: Path) -> None:
    _, new, once = whole
    by_lead = Desk(tmp_path)
    by_lead.has(sorted(many(), key=lambda message: message.lead))  # stable: of each lead in order
    assert by_lead.tests(new=new, part_bytes=50_000) == once


def test_a_record_that_comes_twice_counts_once(whole: tuple[Desk, Path, Report], tmp_path: Path) -> None:
    _, new, once = whole
    twice = Desk(tmp_path)
    twice.has(one for message in many() for one in (message, message))
    found = twice.tests(new=new)
    assert msgspec.structs.replace(found, record=once.record) == once


def test_the_two_agreements_the_other_way_round_is_the_mirror_image(whole: tuple[Desk, Path, Report]) -> None:
    desk, new, once = whole
    mirrored = desk.tests(old=new, new=SHIPPED_FILE)
    assert (mirrored.mqls.old, mirrored.mqls.new) == (once.mqls.new, once.mqls.old)
    assert mirrored.handoffs.hours_old == once.handoffs.hours_new
    assert mirrored.handoffs.leads_by_old_only == once.handoffs.leads_by_new_only
    assert {(m.new, m.old, m.leads) for m in mirrored.grades.moves} == {
        (m.old, m.new, m.leads) for m in once.grades.moves
    }
    assert {rule.rule: -rule.points for rule in mirrored.grades.rules} == {r.rule: r.points for r in once.grades.rules}


def test_the_same_agreement_makes_no_difference(whole: tuple[Desk, Path, Report]) -> None:
    desk, _, once = whole
    same = desk.tests()
    assert not same.found
    assert once.found
    assert same.handoffs.total.old == same.handoffs.total.new > 0


@settings(max_examples=40, deadline=None)
@given(st.randoms(), st.lists(st.tuples(st.integers(1, 3), st.integers(0, 2), st.booleans()), max_size=12))
def test_the_order_of_hearing_depends_on_no_mixture_of_leads(chance: Any, told: list[tuple[int, int, bool]]) -> None:
    def message(n: int, contact: int, hours: int, merges: bool) -> LeadMessage:
        said = about(contact, NOW + hours * HOUR, n)
        return ContactsMerged(**said, merged=(lead(contact % 3 + 1),)) if merges else FormSubmitted(**said, form="x")

    record = [message(n, *one) for n, one in enumerate(told)]
    keys = sorted({one.lead for one in record})
    chance.shuffle(keys)
    by_lead = [one for key in keys for one in record if one.lead == key]
    orders = [in_order((one.lead, events.encode(one)) for one in way) for way in (record, by_lead)]
    assert orders[0] == orders[1]
    for key in keys:
        assert [one for _, one in orders[0] if one.lead == key] == [one for one in record if one.lead == key]


def test_what_was_told_of_a_lead_at_the_moment_of_its_merge_comes_before_it() -> None:
    merge = ContactsMerged(**about(1, NOW), merged=(lead(2),))
    record = [merge, form(2, NOW), person(3, NOW)]
    told = [one for _, one in in_order((one.lead, events.encode(one)) for one in record)]
    assert told == [form(2, NOW), person(3, NOW), merge]


# --- parts ---


@pytest.mark.parametrize("part_bytes", [2_000, 20_000, 1_000_000])
def test_no_part_is_larger_than_it_may_be_unless_it_is_one_familys(tmp_path: Path, part_bytes: int) -> None:
    spool, record = Spool(tmp_path), many(1_500)
    for message in record:
        spool.take(NewRecord(topic=Topic.CRM_EVENTS, key=message.lead, value=events.encode(message)))
    files = spool.parts(part_bytes)
    families: list[set[str]] = []
    for file in files:
        heads = {spool.heard.kin.head(name) for name, _ in parts.read(file)}
        assert file.stat().st_size <= part_bytes or len(heads) == 1
        families.append(heads)
    assert sum(map(len, families)) == len(set().union(*families))  # no family is in two
    held = [raw for file in files for raw in parts.read(file)]
    assert sorted(held) == sorted((message.lead, events.encode(message)) for message in record)


def test_of_each_lead_the_order_stays(tmp_path: Path) -> None:
    spool, record = Spool(tmp_path), many(1_500)
    for message in record:
        spool.take(NewRecord(topic=Topic.CRM_EVENTS, key=message.lead, value=events.encode(message)))
    found: dict[str, list[bytes]] = {}
    for file in spool.parts(2_000):
        for name, value in parts.read(file):
            found.setdefault(name, []).append(value)
    for name, values in found.items():
        assert values == [events.encode(message) for message in record if message.lead == name]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=3), max_size=12), st.randoms())
def test_leads_that_were_merged_are_one_family_in_whatever_order_it_is_heard(
    joins: list[list[int]], chance: Any
) -> None:
    def heads(order: Iterable[list[int]]) -> list[str]:
        kin = Kin()
        for join in order:
            kin.join(map(str, join))
        return [kin.head(str(n)) for n in range(13)]

    shuffled = chance.sample(joins, len(joins))
    assert heads(joins) == heads(shuffled)
    for join in joins:
        assert len({heads(joins)[n] for n in join}) == 1


# --- what happened ---


def test_a_lead_whom_nobody_touches_is_late_although_nothing_is_recorded_of_it_any_more(desk: Desk) -> None:
    desk.has([person(1), form(1), person(2, NOW + 9 * HOUR)])
    found = desk.tests()
    assert (found.first_touches.all.recorded.due, found.first_touches.all.recorded.late) == (1, 1)


def test_a_call_that_was_logged_late_is_in_time(desk: Desk) -> None:
    desk.has([person(1), form(1), call(1, NOW + 3 * MINUTE, logged=NOW + 3 * HOUR), person(2, NOW + 9 * HOUR)])
    found = desk.tests()
    assert (found.first_touches.all.recorded.due, found.first_touches.all.recorded.late) == (1, 0)


def test_a_merged_lead_goes_on_in_the_survivor_and_owes_nothing_itself(desk: Desk) -> None:
    merge = ContactsMerged(**about(2, NOW + 2 * MINUTE), merged=(lead(1),))
    desk.has([person(1), person(2, email="ada@example.test"), form(1), merge, person(3, NOW + 9 * HOUR)])
    found = desk.tests(part_bytes=10)
    assert (found.handoffs.total.old, found.first_touches.all.recorded.due) == (1, 0)
    assert found.record.leads == 3


def test_an_answer_that_is_told_twice_does_not_stop_the_chase_that_began_after_it(desk: Desk) -> None:
    """Before the first touch an answer changes nothing; only who knows that it was heard leaves it out later."""
    inbound = msgspec.structs.replace(call(1, NOW + 2 * MINUTE), direction=Direction.INBOUND, by="")
    calls = [call(1, NOW + n * HOUR) for n in range(1, 6)]
    desk.has([person(1), form(1), inbound, *calls, inbound, person(2, NOW + 20 * DAY)])
    assert desk.tests().returns["unreachable"].old == 1


def test_a_lead_that_asks_for_more_while_it_waits_is_due_earlier(desk: Desk) -> None:
    ready, asked = form(1, NOW + MINUTE, "ebook"), form(1, NOW + 10 * MINUTE)
    desk.has([person(1), ready, asked, person(2, NOW + 40 * MINUTE)])
    found = desk.tests(processes=1)
    assert (found.first_touches.all.recorded.due, found.first_touches.all.recorded.late) == (1, 1)


def test_an_erased_lead_is_not_named(desk: Desk) -> None:
    erased = ContactErased(**about(1, NOW + HOUR), privacy=True)
    desk.has([person(1), form(1, name="ebook"), person(2), form(2, name="ebook"), erased])
    found = desk.tests(
        (
            "company.numberofemployees: {between: [50, 1000]}}, points: 25",
            "company.numberofemployees: {between: [50, 1000]}}, points: -25",
        )
    )
    assert [one.lead for one in found.leads] == [lead(2)]


def test_since_counts_only_what_came_then_but_knows_what_came_before(desk: Desk) -> None:
    desk.has([person(1), form(1, NOW + MINUTE, "ebook"), person(2), form(2, NOW + 10 * DAY, "ebook")])
    everything = desk.tests()
    lately = desk.tests(since="5d")
    assert (everything.handoffs.total.old, lately.handoffs.total.old) == (2, 1)
    assert lately.mqls.old == 1
    assert lately.record.begin_unknown == 0
    assert lately.record.since == NOW + 5 * DAY


def test_what_came_from_until_on_is_left_out(desk: Desk) -> None:
    desk.has([person(1), form(1), person(2, NOW + DAY), form(2, NOW + DAY)])
    found = desk.tests(until=NOW + DAY)
    assert (found.record.events, found.handoffs.total.old) == (2, 1)


def test_leads_whose_creation_is_not_in_the_record_are_counted_and_told(desk: Desk) -> None:
    desk.has([person(1, created=False), person(2), form(3)])
    found = desk.tests()
    assert found.record.begin_unknown == 2
    assert any(note.startswith("Of 2 of 3 leads the record has no creation") for note in notes(found))


def test_hand_offs_stand_at_the_hour_of_the_new_agreements_time_zone(desk: Desk) -> None:
    desk.has([person(1), form(1)])
    found = desk.tests(("timezone: UTC", "timezone: Europe/Bucharest"))
    assert found.handoffs.hours_old[0][11] == found.handoffs.hours_new[0][11] == 1
    assert sum(map(sum, found.handoffs.hours_old)) == 1


# --- why ---


def test_a_changed_rule_is_named_with_its_points(desk: Desk) -> None:
    desk.has([person(1), form(1, name="ebook")])
    found = desk.tests(("Norway]}}, points: 15}", "Norway]}}, points: 1}"))
    (one,) = found.leads
    assert (one.old_grade, one.new_grade, one.rules) == ("A3", "B3", {"Our markets": -14.0})
    assert [(rule.rule, rule.leads, rule.points) for rule in found.grades.rules] == [("Our markets", 1, -14.0)]


def test_a_changed_limit_is_named_where_the_points_are_the_same(desk: Desk) -> None:
    desk.has([person(1), form(1, name="ebook")])
    found = desk.tests(("grades: {A: 70", "grades: {A: 90"))
    (one,) = found.leads
    assert (one.new_grade, one.rules) == ("B3", {"Limits of the fit grades": 0.0})


def test_a_cell_of_the_matrix_is_named_where_both_halves_are_the_same(desk: Desk, tmp_path: Path) -> None:
    desk.has([person(1), form(1, name="ebook")])
    new = own_grades(tmp_path, ("gold:   {hot: call now, warm: call now", "gold:   {hot: call now, warm: call today"))
    old = new.with_name("old.yaml")
    old.write_text(own_text(), "utf-8")
    (one,) = desk.tests(old=old, new=new).leads
    assert (one.old_grade, one.new_grade, one.rules) == ("call now", "call today", {"The matrix of the grades": 0.0})


def test_a_rule_of_the_half_that_did_not_change_is_not_blamed(desk: Desk) -> None:
    desk.has([person(1), form(1, name="ebook")])
    found = desk.tests(
        ("grades: {A: 70", "grades: {A: 90"),
        ("form: [ebook, webinar, newsletter]}, points: 20", "form: [ebook, webinar, newsletter]}, points: 21"),
    )
    assert found.leads[0].rules == {"Limits of the fit grades": 0.0}


def test_every_lead_that_differs_is_in_the_file_of_them_in_the_order_of_keys(whole: tuple[Desk, Path, Report]) -> None:
    desk, new, once = whole
    out = desk.folder / "leads.jsonl"
    desk.tests(new=new, leads=out, part_bytes=20_000)
    lines = [json.loads(text) for text in out.read_text().splitlines()]
    assert len(lines) == once.leads_that_differ
    assert [one["lead"] for one in lines] == sorted(one["lead"] for one in lines)


# --- the model of the people ---


def handed(
    n: int, at: datetime, *, priority: str = "normal", within: timedelta = HOUR, person: str = "dan@x"
) -> HandOff:
    return HandOff(at=at, lead=lead(n), episode=1, team="inbound", owner=person, priority=priority, due_at=at + within)


def pace(seconds: float, an_hour: int) -> Pace:
    """Everybody answers after so many seconds, and takes so many leads in an hour."""
    return Pace(times={(): (seconds,) * 30}, gaps={"dan@x": 3600 / an_hour})


def late(handoffs: Iterable[HandOff], known: Pace, agreement: Agreement = PLAIN) -> int:
    found = predict(handoffs, Agreements(agreement), known, NOW + 365 * DAY)
    return sum(one.late for one in found.values())


def test_who_has_time_is_late_only_by_how_long_they_take() -> None:
    handoffs = [handed(n, NOW + n * DAY) for n in range(10)]
    assert late(handoffs, pace(59 * 60, 1)) == 0
    assert late(handoffs, pace(60 * 60, 1)) == 0  # at the very due time is in time
    assert late(handoffs, pace(61 * 60, 1)) == 10


def test_who_gets_more_than_they_can_take_comes_late_to_the_last_ones() -> None:
    assert late([handed(n, NOW) for n in range(6)], pace(0, 3)) == 2  # after 0, 20, 40, 60, 80, 100 minutes


def test_the_urgent_goes_before_what_came_first() -> None:
    handoffs = [handed(n, NOW, within=3 * HOUR) for n in range(3)]
    urgent = handed(9, NOW + MINUTE, priority="urgent", within=HOUR)
    assert late([*handoffs, urgent], pace(0, 1)) == 0  # at 09:00, 10:00 the urgent one, 11:00, 12:00
    assert late([*handoffs, handed(9, NOW + MINUTE, within=HOUR)], pace(0, 1)) == 1


def test_two_people_take_twice_as_many() -> None:
    one_by_one = [handed(n, NOW, person=f"{'ab'[n % 2]}@x") for n in range(6)]
    assert late(one_by_one, pace(0, 3)) == 0


def test_a_night_is_no_working_time() -> None:
    office = with_follow_up(PLAIN, calendars={"office": {"mon-fri": "09:00-17:00"}}, calendar="office")
    evening = NOW.replace(hour=16, minute=30)
    assert late([handed(1, evening, within=17 * HOUR)], pace(3600, 1), office) == 0  # at 09:30
    assert late([handed(1, evening, within=16 * HOUR)], pace(3600, 1), office) == 1


def test_who_is_never_touched_is_late_and_takes_no_time() -> None:
    never = Pace(times={(): (float("inf"),) * 30}, gaps={"dan@x": 60.0})
    assert late([handed(n, NOW) for n in range(3)], never) == 3


def test_what_is_not_due_by_the_end_or_was_excused_is_not_counted() -> None:
    excused = msgspec.structs.replace(handed(1, NOW), outcome=EXCUSED)
    later = handed(2, NOW, within=366 * DAY)
    assert sum(one.due for one in predict([excused, later], Agreements(PLAIN), pace(0, 1), NOW + DAY).values()) == 0


def test_the_model_agrees_with_the_record_that_it_was_made_from(desk: Desk) -> None:
    desk.has(many(2_000))
    touches = desk.tests().first_touches
    assert touches.enough
    assert touches.all.predicted_old is not None
    assert abs((touches.all.predicted_old.share or 0) - (touches.all.recorded.share or 0)) < 0.1


def test_a_longer_promise_is_predicted_to_be_kept_more_often(whole: tuple[Desk, Path, Report]) -> None:
    was = "first_touch: {urgent: 5m, A: 1h, B: 4h, default: 1d}"
    touches = whole[0].tests((was, "first_touch: {default: 10d}")).first_touches.all
    assert touches.predicted_old is not None
    assert touches.predicted_new is not None
    assert touches.predicted_new.late < 0.7 * touches.predicted_old.late


def test_with_too_little_record_nothing_is_predicted_and_that_is_said(desk: Desk) -> None:
    desk.has([person(1), form(1), call(1, NOW + 3 * MINUTE)])
    found = desk.tests()
    assert (found.first_touches.enough, found.first_touches.all.predicted_new) == (False, None)
    assert any("too short to say" in note for note in notes(found))


# --- what is shown ---


def figures(data: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every number and word of a report's JSON."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield from figures(value, f"{path}.{key}")
            if path.endswith(("by_trigger", "by_team", "returns", "rejections", "rules")):
                yield path, key
    elif isinstance(data, list):
        for value in data:
            yield from figures(value, path)
    elif data is not None and not isinstance(data, bool):
        yield path, data


def on_page(path: str, value: Any) -> str:
    if isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\dT", value):
        return f"{datetime.fromisoformat(value):%d %b %Y %H:%M}"
    if isinstance(value, float):
        return f"{value:+,.1f}" if path.endswith("rules.points") or "grades" in path else f"{value:+g}"
    return f"{value:,}" if isinstance(value, int) else value or "none"


def test_the_page_has_every_figure_of_the_json(whole: tuple[Desk, Path, Report]) -> None:
    desk, new, _ = whole
    found = desk.tests(new=new, since="60d")
    text = html.unescape(re.sub(r"<style>.*</style>|<[^>]+>", " ", page(found), flags=re.S))
    for path, value in figures(as_json(found)):
        if path.startswith(".leads") and value == 0.0:
            continue  # a changed limit gives no points
        assert re.search(rf"(?<![\d,.]){re.escape(on_page(path, value))}(?![\d])", text), f"{path}: {value}"


def test_the_page_needs_nothing_else_and_runs_nothing(whole: tuple[Desk, Path, Report]) -> None:
    text = page(whole[2])
    assert not re.search(r"<script|<link|<img|https?:|url\(|@import", text)
    assert text.count("<svg") == text.count("</svg>") == text.count('aria-hidden="true"') > 5


def test_names_from_an_agreement_are_no_html(desk: Desk) -> None:
    desk.has([person(1), form(1)])
    found = desk.tests(
        ('agreement: "Default"', 'agreement: "<script>alert(1)</script>"'), ("Asked for a demo", "<b>Demo</b>")
    )
    assert "<script>" not in page(found)
    assert "<b>Demo" not in page(found)


def test_nothing_personal_is_shown(desk: Desk, tmp_path: Path) -> None:
    out = tmp_path / "leads.jsonl"
    desk.has([person(1, **CHIEF, lastname="Lovelace"), form(1)])
    found = desk.tests(("grades: {A: 70", "grades: {A: 90"), leads=out)
    shown = [json.dumps(as_json(found)), page(found), out.read_text(), *head(found), *notes(found)]
    assert found.leads
    assert not [text for text in shown if re.search(r"ada@|Lovelace|ioana|dan@", text)]


# --- what cannot be tested with ---


def test_what_is_no_event_is_counted_and_left_out(desk: Desk) -> None:
    poison = recorded.line(Record(topic=Topic.CRM_EVENTS, partition=0, offset=0, key="k", value=b"\xff"))
    desk.record.write_bytes(line(person(1)) + poison)
    found = desk.tests()
    assert (found.record.events, found.record.unreadable) == (1, 1)


def test_a_lead_of_another_account_is_refused_as_the_services_would(desk: Desk) -> None:
    desk.has([person(1), form(1)])
    found = desk.tests(('agreement: "Default"', 'agreement: "Default"\ntenant: hubspot:1'))
    assert found.refused.old == {}
    assert found.refused.new == {"no_agreement": 4}  # both events, by scoring and by kpi
    assert (found.handoffs.total.old, found.handoffs.total.new) == (1, 0)


def test_the_exit_status_says_whether_anything_differs(desk: Desk) -> None:
    desk.has([person(1), form(1)])
    new = changed_agreement(desk.folder, ("unless: {fit: D}", "unless: {fit: A}"))
    environ = {"LEADPACT_AGREEMENT": str(SHIPPED_FILE)}
    call = ["agreement", "backtest", "--events", str(desk.record)]
    differs = CliRunner().invoke(command.app, [*call, str(new), "--html", str(desk.folder / "page.html")], obj=environ)
    same = CliRunner().invoke(command.app, [*call, str(new), "--against", str(new), "--json"], obj=environ)
    assert (differs.exit_code, same.exit_code) == (1, 0)
    assert re.search(r"by trigger: Asked for a demo +1 +0 +-1\n", differs.stdout)
    assert json.loads(same.stdout)["handoffs"]["total"] == {"old": 1, "new": 1}
    assert (desk.folder / "page.html").read_text().startswith("<!doctype html>")
    assert differs.stderr == same.stderr == ""  # a bar is for terminals alone


def test_of_a_folder_one_file_replaces_that_of_its_tenant(desk: Desk, tmp_path: Path) -> None:
    folder = tmp_path / "agreements"
    folder.mkdir()
    (folder / "all.yaml").write_text(SHIPPED_TEXT)
    (folder / "own.yaml").write_text(
        SHIPPED_TEXT.replace('agreement: "Default"', 'agreement: "Own"\ntenant: hubspot:62515')
    )
    elsewhere = [
        msgspec.structs.replace(one, tenant="hubspot:1", lead="hubspot:1:1", id=identity(one.id))
        for one in (person(1), form(1))
    ]
    desk.has([person(1), form(1), *elsewhere])
    change = ("unless: {fit: D}", "unless: {fit: A}")
    found = desk.tests(('agreement: "Default"', 'agreement: "Own"\ntenant: hubspot:62515'), change, old=folder)
    assert found.new.name == "Default, Own"
    assert found.handoffs.by_trigger["Asked for a demo"].old == 2
    assert found.handoffs.by_trigger["Asked for a demo"].new == 1
    assert found.refused.new == {}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "there is no event of crm.events"),
        (b"{}\n", r"record.jsonl:1: is no line of `leadpact events export`"),
        (b'{"topic":"lead.scores","key":"k","value":{}}\n', "holds lead.scores; a backtest is made of crm.events"),
    ],
)
def test_what_is_no_record_is_told(desk: Desk, content: bytes, said: str) -> None:
    desk.record.write_bytes(content)
    with pytest.raises(Broken, match=said):
        desk.tests()


def test_an_agreement_that_cannot_be_used_is_told_before_anything_is_read(desk: Desk, tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("agreement: x\n")
    with pytest.raises(Broken, match=r"broken\.yaml cannot be used"):
        desk.tests(new=broken)
