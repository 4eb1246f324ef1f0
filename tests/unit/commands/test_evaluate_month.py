"""A month whose true model is known: the evaluation finds what is true, and says nothing where nothing is."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Sequence
from datetime import timedelta
from functools import cache
from typing import Any

import pytest

from services.commands.evaluating import from_topics, learning
from services.commands.evaluating.history import History, Stage
from services.commands.evaluating.judging import rules_of
from services.commands.evaluating.leaks import Leak
from services.commands.evaluating.patching import patched, read
from services.commands.evaluating.report import Evaluation, Report, evaluate
from services.commands.evaluating.suggesting import Points
from services.commands.evaluating.verdicts import RuleFinding, Verdict
from shared.crm.simulator import truth
from shared.errors import Broken
from shared.events import ContactErased, ContactsMerged, DealWon, FormSubmitted, LeadMessage, Topic
from tests.agreements import SHIPPED, SHIPPED_FILE, own_text
from tests.unit.commands.past_month import TENANT, WINDOW, Lead, Topics, month, topics

LEADS = 3000
TEXT = SHIPPED_FILE.read_text("utf-8")
RIGHT_SIZE = "{between: [50, 1000]}}, points: "
# What the agreement's rules are in the true model.
TRUE = {
    "Role: decision maker": 1.4,
    "Role: influencer": 0.6,
    "Right size": 1.0,
    "Right industry": 0.0,
    "Our markets": 0.4,
    "Read a case study": -0.8,
    "Looked at prices": 0.5,
    "Asked for us": 1.2,
}


async def history(bus: Any, *, stage: Stage = Stage.SQL, window: timedelta = WINDOW, **said: Any) -> History:
    return await from_topics.read(bus, said.get("tenant", ""), stage, window, said.get("until"))


async def evaluated(bus: Topics, text: str = TEXT) -> Evaluation:
    return evaluate(await history(bus), Stage.SQL, read(text), text)


@cache
def the_month() -> Sequence[Lead]:
    return month(LEADS)


@cache
def the_history() -> History:
    return asyncio.run(history(topics(the_month())))


def under(text: str) -> Evaluation:
    """The month, judged by another agreement."""
    return evaluate(the_history(), Stage.SQL, read(text), text)


@pytest.fixture(scope="module")
def found() -> Evaluation:
    return under(TEXT)


def rule(report: Report, name: str) -> RuleFinding:
    return next(one for one in report.rules if one.rule == name)


def points(report: Report, name: str) -> Points:
    return next(one for one in report.suggestion.points if one.rule == name)


# --- what is true is found ---


def test_the_true_model_of_the_simulator_is_the_one_that_is_compared() -> None:
    assert sorted(TRUE.values()) == sorted(truth.model().values())


def test_the_score_separates_those_who_convert(found: Evaluation) -> None:
    separation = found.report.separation
    assert separation.points is not None
    assert separation.points.low > 0.65
    assert found.report.leads == LEADS
    assert found.report.converted == sum(lead.converted for lead in the_month())


def test_grades_tell_what_became_of_their_leads(found: Evaluation) -> None:
    grades = {row.grade: row for row in found.report.grades}
    assert sum(row.leads for row in grades.values()) == LEADS
    assert grades["A1"].share.low > grades["C3"].share.high
    assert all(row.share.low <= row.converted / row.leads <= row.share.high for row in grades.values())


def test_grades_of_ones_own_are_ordered_as_the_agreement_lists_them(found: Evaluation) -> None:
    under_own = under(own_text()).report
    assert [row.grade for row in under_own.grades] == ["call now", "call today", "warm up", "leave"]
    assert sum(row.leads for row in under_own.grades) == LEADS
    assert under_own.misplaced == ()
    assert under_own.separation.grade is not None
    assert under_own.separation.grade.value > 0.6


def test_rules_that_are_true_earn_their_points(found: Evaluation) -> None:
    for name in ("Role: decision maker", "Role: influencer", "Right size", "Asked for us", "Looked at prices"):
        assert rule(found.report, name).verdict is Verdict.EARNS, name


def test_a_rule_without_effect_says_nothing(found: Evaluation) -> None:
    assert rule(found.report, "Right industry").verdict is Verdict.SAYS_NOTHING


def test_a_rule_with_the_wrong_sign_contradicts_the_history(found: Evaluation) -> None:
    assert [one.rule for one in found.report.contradicting] == ["Read a case study"]
    assert found.report.found


def test_points_turned_upside_down_contradict_the_history() -> None:
    report = under(TEXT.replace(f"{RIGHT_SIZE}25}}", f"{RIGHT_SIZE}-25}}")).report
    assert rule(report, "Right size").verdict is Verdict.CONTRADICTS
    assert points(report, "Right size").suggested > 0


def test_a_rule_that_never_held_is_named(found: Evaluation) -> None:
    assert rule(found.report, "Free mailbox").verdict is Verdict.NEVER
    assert rule(found.report, "Competitor").verdict is Verdict.NO_POINTS


def test_a_rule_that_always_holds_cannot_be_judged(found: Evaluation) -> None:
    assert rule(found.report, "Took an ebook or a webinar").verdict is Verdict.TOO_FEW


def test_the_adjusted_odds_are_near_the_true_ones(found: Evaluation) -> None:
    for name, log_odds in TRUE.items():
        odds = rule(found.report, name).odds_ratio
        assert odds is not None
        assert odds.low <= math.exp(log_odds) <= odds.high, name


# --- what is learned ---


def test_learned_points_rank_the_rules_as_the_truth_does(found: Evaluation) -> None:
    rules = rules_of(SHIPPED)
    earlier, _ = learning.split(found.judged)
    learned = {one.rule.name: (one.low + one.high) / 2 for one in learning.learn(rules, earlier, frozenset()).learned}
    assert TRUE.keys() <= learned.keys()
    apart = [(a, b) for a in TRUE for b in TRUE if TRUE[a] - TRUE[b] >= 0.4]
    assert not [(a, b) for a, b in apart if learned[a] <= learned[b]]


def test_better_points_are_suggested_as_the_file_with_other_numbers() -> None:
    """Of an agreement that is far off; all else of the file stays, character by character."""
    wrong = TEXT.replace("points: 40}", "points: 1}").replace(f"{RIGHT_SIZE}25}}", f"{RIGHT_SIZE}-25}}")
    found = under(wrong)
    suggestion = found.report.suggestion
    assert suggestion.why_not == ""
    assert found.suggested is not None
    assert suggestion.better_by is not None
    assert suggestion.better_by.low > 0
    number = re.compile(r"points: -?\d+")
    head, body = found.suggested.text.split('agreement: "Default"')
    assert number.sub("", body) == number.sub("", wrong.split('agreement: "Default"')[1])
    assert "Nothing applies it" in head
    assert read(found.suggested.text).qualification.fit.role["decision_maker"].points > 30


def test_points_that_are_as_likely_as_any_stay(found: Evaluation) -> None:
    assert found.suggested is not None
    learned = [one for one in found.report.suggestion.points if one.low is not None and one.high is not None]
    likely = [one for one in learned if (one.low or 0) <= one.now <= (one.high or 0)]
    assert {one.rule for one in likely if one.learned != one.now} >= {"Our markets", "Looked at prices"}
    assert all(one.suggested == one.now for one in likely)
    assert all(one.suggested == one.learned for one in learned if one not in likely)


async def test_points_that_order_the_later_leads_worse_than_todays_are_not_suggested() -> None:
    """Only the role counted while there was something to learn; then all that the agreement says did."""
    leads = month(1500, chance=lambda lead: 0.7 if truth.DECISION_MAKERS & {lead.properties["jobtitle"]} else 0.1)
    border = len(leads) * 7 // 10
    found = await evaluated(topics([*leads[:border], *month(1500)[border:]]))
    suggestion = found.report.suggestion
    assert found.suggested is None
    assert suggestion.auc_suggested is not None
    assert suggestion.auc_suggested.low > 0.5
    assert "as well as" in suggestion.why_not


def test_the_later_leads_judge_and_were_not_learned_from(found: Evaluation) -> None:
    suggestion = found.report.suggestion
    assert suggestion.learned_from is not None
    assert suggestion.judged_on is not None
    assert suggestion.learned_from.last < suggestion.judged_on.first
    assert suggestion.learned_from.leads + suggestion.judged_on.leads == LEADS


async def test_of_random_conversions_nothing_is_told_or_suggested() -> None:
    found = await evaluated(topics(month(1500, chance=lambda lead: 0.3)))
    report = found.report
    assert report.separation.points is not None
    assert report.separation.points.low < 0.5 < report.separation.points.high
    assert not [one.rule for one in report.rules if one.verdict in (Verdict.EARNS, Verdict.CONTRADICTS)]
    assert found.suggested is None
    assert report.suggestion.why_not
    assert not report.found


async def test_what_held_only_early_is_not_suggested() -> None:
    """The model turns round after the time to learn: who learned from the later leads would not notice."""
    leads = month(1500)
    border = len(leads) * 7 // 10
    late = month(1500, chance=lambda lead: 1 - truth.chance(-2.4, lead))
    found = await evaluated(topics([*leads[:border], *late[border:]]))
    assert found.suggested is None
    assert "chance" in found.report.suggestion.why_not
    assert all(one.suggested == one.now for one in found.report.suggestion.points)


async def test_a_history_that_is_too_small_says_how_small() -> None:
    report = (await evaluated(topics(month(60)))).report
    assert re.search(r"too small: .* \d+ leads that converted .* 50 of each are needed", report.suggestion.why_not)


def test_without_the_extra_all_but_the_suggestion_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "is_installed", lambda: False)
    report = under(TEXT).report
    assert "pip install" in report.suggestion.why_not
    assert report.rules


# --- what is only known after the fact ---


def planted(leads: Sequence[Lead], name: str, *, after: timedelta) -> list[LeadMessage]:
    """A field that those who convert get, so long after (or before) the hand-off."""
    return [lead.properties(lead.at + after, **{name: "signed"}) for lead in leads if lead.converted]


async def test_a_field_that_sales_fills_in_after_the_hand_off_is_named() -> None:
    leads = the_month()[:600]
    report = (await evaluated(topics(leads, more=planted(leads, "contract", after=timedelta(days=3))))).report
    (leak,) = report.leaks
    assert (leak.field, leak.leak) == ("contract", Leak.BECAME_KNOWN)


async def test_a_field_that_tells_by_being_known_is_named_and_what_asks_about_it_is_not_learned() -> None:
    leads = the_month()[:900]
    asking = TEXT.replace(
        "    grades: {A: 70", "      - {name: Has a contract, when: {contract: signed}, points: 5}\n    grades: {A: 70"
    )
    bus = topics(leads, more=planted(leads, "contract", after=timedelta(hours=-2)))
    report = (await evaluated(bus, asking)).report
    (leak,) = report.leaks
    assert (leak.field, leak.leak, leak.rules) == ("contract", Leak.KNOWN, ("Has a contract",))
    assert report.found
    assert points(report, "Has a contract").learned is None
    assert "contract" in points(report, "Has a contract").why


async def test_a_field_whose_value_tells_all_but_perfectly_is_named() -> None:
    leads = the_month()[:600]
    more = [lead.properties(lead.at, status="x" if lead.converted else "y") for lead in leads]
    (leak,) = (await evaluated(topics(leads, more=more))).report.leaks
    assert (leak.field, leak.leak) == ("status", Leak.VALUE)


def test_honest_fields_are_no_leaks(found: Evaluation) -> None:
    assert found.report.leaks == ()


# --- what is judged ---


async def test_the_grade_is_that_of_the_hand_off_whatever_the_lead_did_later() -> None:
    leads = the_month()[:50]
    a_minute = timedelta(minutes=1)
    later = [
        FormSubmitted(id=f"late {n}", tenant=TENANT, lead=lead.key, at=lead.at + a_minute, form="demo-request")
        for n, lead in enumerate(leads)
    ]
    promoted = [lead.properties(lead.at + a_minute, jobtitle="CEO") for lead in leads]
    before, after = [await evaluated(topics(leads, more=more)) for more in ([], [*later, *promoted])]
    assert [one.grade for one in after.judged] == [one.grade for one in before.judged]


async def test_leads_whose_time_is_not_over_are_left_out_and_counted() -> None:
    leads = the_month()[:100]
    end = sorted(lead.at for lead in leads)[60] + WINDOW
    found = await history(topics(leads, until=end), until=end)
    assert len(found.leads) == 61
    assert found.left_out.too_young == sum(end - WINDOW < lead.at <= end for lead in leads)
    assert all(lead.at + WINDOW <= found.until for lead in found.leads)


async def test_a_conversion_after_the_window_counts_as_none() -> None:
    leads = [lead for lead in the_month()[:100] if lead.converted]
    assert not any(lead.converted for lead in (await history(topics(leads), window=timedelta(days=4))).leads)
    assert all(lead.converted for lead in (await history(topics(leads), window=timedelta(days=5))).leads)


async def test_an_sql_is_no_customer_and_a_customer_is_an_sql() -> None:
    bus = topics(the_month()[:100])
    one = the_month()[0]
    won = DealWon(
        id="won", tenant=TENANT, lead=one.key, at=one.at + timedelta(days=1), version=9, episode=1, agreement="x",
        cause="c", deal="7",
    )  # fmt: skip
    bus.messages[Topic.LEAD_HANDOFFS] = [*bus.messages[Topic.LEAD_HANDOFFS], won]
    assert [lead.key for lead in (await history(bus, stage=Stage.CUSTOMER)).leads if lead.converted] == [one.key]
    assert one.key in [lead.key for lead in (await history(bus)).leads if lead.converted]


async def test_an_erased_lead_is_left_out_and_counted() -> None:
    gone = the_month()[3]
    erased = ContactErased(id="e", tenant=TENANT, lead=gone.key, at=gone.at + timedelta(days=1), privacy=True)
    found = await history(topics(the_month()[:100], more=[erased]))
    assert found.left_out.forgotten == 1
    assert gone.key not in {lead.key for lead in found.leads}


@pytest.mark.parametrize("after", [False, True], ids=["before the end", "after the end"])
@pytest.mark.parametrize("erased", ["survivor", "merged"])
async def test_whoever_is_erased_under_one_key_of_a_merged_lead_is_judged_under_none(erased: str, after: bool) -> None:
    lead = the_month()[0]
    until, survivor = lead.at + WINDOW + timedelta(days=2), f"{TENANT}:77"  # one that was never handed off
    merged_at, gone = until if after else lead.at, survivor if erased == "survivor" else lead.key
    merge = ContactsMerged(id="m", tenant=TENANT, lead=survivor, at=merged_at + timedelta(hours=1), merged=(lead.key,))
    privacy = ContactErased(id="e", tenant=TENANT, lead=gone, at=until + timedelta(days=1), privacy=True)
    for told in ([merge, privacy], [privacy, merge]):
        found = await history(topics(the_month()[:3], more=told), until=until)
        assert lead.key not in {one.key for one in found.leads}
        assert found.left_out.forgotten == 1


async def test_a_merge_after_the_end_is_not_known_yet() -> None:
    first, second, *_ = sorted(the_month()[:3], key=lambda one: one.at)
    end = second.at + WINDOW + timedelta(days=1)
    merge = ContactsMerged(id="m", tenant=TENANT, lead=second.key, at=end + timedelta(hours=1), merged=(first.key,))
    alone, told = [topics([first, second], more=more) for more in ([], [merge])]
    assert await history(told, until=end) == await history(alone, until=end)


async def test_merged_leads_are_one_person_with_what_both_had_come_to() -> None:
    first, second = next((a, b) for a in the_month() for b in the_month() if b.converted and not a.converted)
    merge = ContactsMerged(
        id="m", tenant=TENANT, lead=second.key, at=max(first.at, second.at) + timedelta(days=1), merged=(first.key,)
    )
    found = await history(topics([first, second], more=[merge]))
    (one,) = found.leads
    assert one.converted
    assert one.at == min(first.at, second.at)


async def test_of_another_tenant_nothing_is_read() -> None:
    with pytest.raises(Broken, match="no lead was handed off"):
        await history(topics(the_month()[:10]), tenant="hubspot:1")


async def test_an_order_of_records_and_what_comes_twice_change_nothing() -> None:
    bus = topics(the_month()[:200])
    mixed = Topics({topic: [*reversed(some), *some] for topic, some in bus.messages.items()})
    assert (await evaluated(bus)).report == (await evaluated(mixed)).report


def test_two_rules_of_one_name_are_refused() -> None:
    twice = TEXT.replace("name: Our markets", "name: Right size")
    with pytest.raises(Broken, match="several rules are called Right size"):
        rules_of(read(twice))


def test_points_are_changed_where_they_stand_and_nowhere_else() -> None:
    path = ("qualification", "fit", "rules", 3, "points")
    other = ("qualification", "fit", "role", "influencer", "points")
    by_hand = TEXT.replace("{free_mailbox: true}}, points: -20}", "{free_mailbox: true}}, points: -7}")
    by_hand = by_hand.replace("consultant]}}]}, points: 20}", "consultant]}}]}, points: 8}")
    assert patched(TEXT, {path: -7, other: 8}, ["Said."]) == "# Said.\n" + by_hand
    with pytest.raises(Broken, match="no plain number"):
        patched(TEXT.replace("points: -20", "points: '-20'"), {path: 1})
