"""What counts as interest, for how long and how often: emails, meetings, properties that changed, windows, once."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from services.scoring.domain.lead import MAX_CHANGES, MAX_ENGAGEMENTS
from shared.agreement import Agreement
from shared.events import ActivityLogged, Channel, Direction, Outcome
from tests.agreements import SHIPPED, with_parts, with_signals
from tests.unit.scoring.test_stories import DAY, START, Story

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
SIGNALS = [
    {"name": "Opened", "on": "email_opened", "points": 1},
    {"name": "Clicked", "on": "email_clicked", "points": 3},
    {"name": "Replied", "on": "email_replied", "points": 5},
    {"name": "Booked", "on": "meeting_booked", "points": 8},
    {"name": "Met", "on": "meeting_held", "points": 12},
    {"name": "Has a budget", "on": "property_changed", "when": {"budget": {"exists": True}}, "points": 6},
    {
        "name": "Compares",
        "on": "property_changed",
        "when": {"buying_stage": {"in": ["comparing", "buying"]}},
        "points": 7,
    },
]
ALL_SIGNALS = with_signals(with_parts(), urgency=SIGNALS)


def story(agreement: Agreement = ALL_SIGNALS) -> Story:
    made = Story()
    made.agreement = agreement
    return made


def one(**said: Any) -> Agreement:
    """The shipped agreement with one more signal, worth 10."""
    return with_signals(urgency=[{"name": "It", "points": 10, **said}])


def logs(
    told: Story,
    activity: str,
    channel: Channel,
    outcome: Outcome,
    *,
    direction: Direction = Direction.OUTBOUND,
    at: datetime | None = None,
    seen_at: datetime | None = None,
) -> Story:
    said = {"activity": activity, "channel": channel, "direction": direction, "outcome": outcome}
    return told._hear(ActivityLogged, at or told.now, seen_at=seen_at or told.now, **said)


def millis(at: datetime) -> str:
    return str(int(at.timestamp() * 1000))


def points(told: Story) -> dict[str, float]:
    """Of the signals that this page adds."""
    names = {str(signal["name"]) for signal in SIGNALS} | {"It"}
    return {rule: points for rule, points in told.points().items() if rule in names}


# --- emails ---


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("hs_email_last_open_date", {"Opened": 1}),
        ("hs_email_last_click_date", {"Clicked": 3}),
        ("hs_email_last_reply_date", {"Replied": 5}),
        ("hs_sales_email_last_opened", {"Opened": 1}),
        ("hs_sales_email_last_clicked", {"Clicked": 3}),
    ],
)
def test_what_a_lead_did_with_an_email_is_told_by_a_property_of_the_crm(name: str, rule: dict[str, float]) -> None:
    assert points(story().has(**{name: millis(START)})) == rule


def test_a_click_counts_from_when_it_was_and_not_from_when_the_crm_wrote_it_down() -> None:
    told = story().after(5 * DAY).has(hs_email_last_click_date=millis(START))
    assert points(told) == {"Clicked": 1.5}


def test_two_clicks_are_two_and_one_that_a_look_up_tells_again_in_its_own_notation_is_one() -> None:
    told = story().has(hs_email_last_click_date=millis(START)).after(HOUR)
    told.has(hs_email_last_click_date=millis(told.now))
    again = points(told)
    told.has(hs_email_last_click_date=told.now.isoformat(), ago=timedelta(milliseconds=5))
    assert again == points(told) == {"Clicked": 6}


def test_what_is_clicked_twice_within_a_minute_is_clicked_once() -> None:
    told = story().has(hs_email_last_click_date=millis(START)).after(MINUTE / 2)
    assert points(told.has(hs_email_last_click_date=millis(told.now))) == {"Clicked": 3}


def test_a_value_that_is_no_time_counts_from_when_it_was_set() -> None:
    told = story().has(hs_email_last_click_date="yes", ago=5 * DAY).has(hs_email_last_open_date="9" * 400)
    assert points(told) == {"Clicked": 1.5, "Opened": 1}


def test_an_email_of_the_lead_counts_and_one_of_sales_does_not() -> None:
    told = logs(story(), "email:1", Channel.EMAIL, Outcome.SENT)
    logs(told, "call:1", Channel.PHONE, Outcome.CONNECTED)
    assert (told.told, told.lead.last_seen) == ([], None)
    logs(told, "email:2", Channel.EMAIL, Outcome.REPLIED, direction=Direction.INBOUND)
    assert points(told) == {"Replied": 5}
    assert told.last.cause == told.last.interest_reasons[-1].cause


# --- meetings ---


def test_a_meeting_counts_as_booked_and_then_as_booked_and_held() -> None:
    told = logs(story(), "meeting:1", Channel.MEETING, Outcome.BOOKED)
    assert points(told) == {"Booked": 8}
    logs(told, "meeting:1", Channel.MEETING, Outcome.HELD, seen_at=START + HOUR)
    assert points(told) == {"Booked": 8, "Met": 12}


def test_a_meeting_that_is_still_to_come_counts_whole_until_then() -> None:
    told = logs(story(), "meeting:1", Channel.MEETING, Outcome.BOOKED, at=START + 10 * DAY)
    assert points(told.after(10 * DAY)) == {"Booked": 8}
    assert points(told.after(5 * DAY)) == {"Booked": 4}
    told.is_deleted()
    assert told.lead.gone


@pytest.mark.parametrize("outcome", [Outcome.CANCELLED, Outcome.NO_SHOW])
def test_a_meeting_that_came_to_nothing_counts_nothing_whatever_is_heard_first(outcome: Outcome) -> None:
    told = logs(story(), "meeting:1", Channel.MEETING, outcome, seen_at=START + HOUR)
    logs(told, "meeting:1", Channel.MEETING, Outcome.BOOKED)
    assert points(told) == {}


# --- properties ---


def test_a_property_that_changed_counts_from_when_it_was_set_and_stays_an_act_when_it_changes_again() -> None:
    told = story().has(buying_stage="comparing").after(5 * DAY).has(buying_stage="over")
    assert points(told) == {"Compares": 3.5}
    assert points(told.has(buying_stage="buying")) == {"Compares": 10.5}


def test_what_is_set_to_what_it_was_is_no_change_and_what_is_cleared_is_none() -> None:
    told = story().has(budget="10").after(HOUR).has(budget="10").after(HOUR).has(budget="")
    assert points(told) == {"Has a budget": 5.9}  # two hours old
    assert points(told.after(HOUR).has(budget="10")) == {"Has a budget": 11.9}


def test_a_property_that_a_new_agreement_follows_counts_by_its_newest_value() -> None:
    told = story(SHIPPED).has(budget="10").after(DAY).has(budget="20").after(4 * DAY).judged_again(ALL_SIGNALS)
    assert points(told) == {"Has a budget": round(6 * 0.5 ** (4 / 5), 1)}
    assert points(told.has(budget="30")) == {"Has a budget": 6}


def test_of_a_property_that_nobody_follows_only_the_newest_value_is_kept() -> None:
    told = story(SHIPPED).has(budget="10").after(DAY).has(budget="20")
    assert told.lead.changes == {}


def test_the_properties_that_signals_need_are_asked_of_the_crm() -> None:
    needed = {"hs_email_last_open_date", "hs_sales_email_last_clicked", "budget", "buying_stage"}
    assert needed <= ALL_SIGNALS.contact_properties
    assert not {"hs_email_last_open_date", "budget"} & SHIPPED.contact_properties


# --- for how long ---


def test_an_act_counts_nothing_from_the_end_of_its_window_on() -> None:
    told = story(one(on="form_submitted", within="2d")).submits("x").after(2 * DAY - timedelta(seconds=1))
    assert points(told) == {"It": 7.6}
    assert points(told.after(timedelta(seconds=1))) == {}


def test_a_late_act_that_is_older_than_its_window_counts_nothing() -> None:
    assert points(story(one(on="form_submitted", within="2d")).submits("x", ago=3 * DAY)) == {}


# --- how often ---


def test_what_counts_once_of_a_lead_counts_by_its_newest_act_in_whatever_order_they_come() -> None:
    agreement = one(on="form_submitted", once="per_lead")
    for ago in ((5 * DAY, timedelta(0)), (timedelta(0), 5 * DAY)):
        told = story(agreement).after(5 * DAY)
        for time in ago:
            told.submits("x", ago=time)
        assert points(told) == {"It": 10}


def test_what_counts_once_a_day_counts_by_the_newest_of_each_day_of_the_agreement_s_own_zone() -> None:
    """22:30 UTC is half past midnight in Bucharest."""
    agreement = with_parts(one(on="form_submitted", once="per_day"), timezone="Europe/Bucharest")
    told = story(agreement).after(12 * HOUR).submits("a").after(30 * MINUTE).submits("b")
    assert points(told) == {"It": 10}
    told.after(HOUR).submits("c")
    assert points(told) == {"It": round(10 + 10 * 0.5 ** (1 / 24 / 5), 1)}


def test_a_new_day_by_itself_changes_nothing_but_by_fading() -> None:
    told = story(one(on="form_submitted", once="per_day")).after(14 * HOUR + 59 * MINUTE).submits("a")
    before = points(told)
    assert points(told.after(2 * MINUTE)) == before


# --- memory ---


def test_of_each_property_and_of_engagements_only_so_many_of_the_newest_are_kept() -> None:
    told = story()
    for n in range(MAX_CHANGES + 5):
        told.after(MINUTE).has(budget=str(n)).has(buying_stage="comparing" if n else "old")
    for n in range(MAX_ENGAGEMENTS + 5):
        logs(told.after(MINUTE), f"meeting:{n}", Channel.MEETING, Outcome.BOOKED)
    assert len(told.lead.changes["budget"]) == MAX_CHANGES
    assert told.lead.changes["budget"][0].value == "5"
    assert [one.activity for one in told.lead.engagements] == [f"meeting:{n}" for n in range(5, MAX_ENGAGEMENTS + 5)]


def test_a_privacy_deletion_leaves_no_act() -> None:
    told = logs(story().has(budget="10"), "meeting:1", Channel.MEETING, Outcome.BOOKED).is_deleted(privacy=True)
    assert (told.lead.changes, told.lead.engagements) == ({}, ())
    logs(told, "meeting:2", Channel.MEETING, Outcome.BOOKED)
    assert told.lead.engagements == ()
