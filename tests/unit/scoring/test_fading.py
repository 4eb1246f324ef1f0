"""When interest falls by waiting alone: never looked for too late, told at its second, once, without a sweep."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from services.scoring.domain.lead import Lead
from services.scoring.domain.score import Score, scorer_of
from services.scoring.worker import faded
from shared.events import FADED, Channel, LeadMessage, LeadScored, Outcome
from shared.work import Facts
from tests.agreements import with_follow_up, with_points, with_signals
from tests.unit.scoring.test_order import AGREEMENT as EVERY_SIGNAL
from tests.unit.scoring.test_order import after, histories
from tests.unit.scoring.test_signals import logs, one
from tests.unit.scoring.test_stories import AGREEMENT, CEO, DAY, LEAD, START, Story

SECOND = timedelta(seconds=1)


class Waiting(Story):
    """A story in which the task that tells what faded does its work."""

    wakes = 0

    def waits(self, time: timedelta) -> Waiting:
        """Wake at each moment that is known, as the task does, until `time` has passed."""
        until = self.now + time
        while (moment := self.lead.fades_at) is not None and moment <= until:
            self.now = max(self.now, moment)
            self.fades()
            self.wakes += 1
        self.now = until
        return self

    def fades(self) -> Waiting:
        decision = faded(self.lead, Facts(now=self.now, agreement=self.agreement, key=LEAD))
        self.lead = decision.state
        self.told += [message for message in decision.messages if isinstance(message, LeadScored)]
        return self


def levels(story: Story) -> list[tuple[str, str]]:
    return [(scored.grade, scored.journey) for scored in story.told]


def standing(found: Score) -> tuple[str, str]:
    return found.interest.level, found.interest.journey


# --- stories ---


def test_who_asked_for_a_demo_and_does_nothing_more_falls_level_by_level_to_rest() -> None:
    story = Waiting()
    story.has(**CEO).submits("demo-request")
    story.waits(60 * DAY)
    assert story.wakes == 4
    assert levels(story)[1:] == [
        ("A1", "decision"),
        ("A2", "decision"),
        ("A3", "awareness"),
        ("A4", "awareness"),
    ]
    assert story.lead.fades_at is None
    assert [scored.version for scored in story.told] == [1, 2, 3, 4, 5]


def test_a_fall_is_told_as_of_its_second_and_says_that_nothing_but_time_caused_it() -> None:
    story = Waiting()
    story.submits("demo-request").waits(3 * DAY)
    fell = story.last
    assert (fell.cause, fell.is_fading, fell.is_rescore, fell.former_agreement) == (FADED, True, False, "")
    score = scorer_of(AGREEMENT).score
    assert score(story.lead, fell.at).interest.level == "2"
    assert score(story.lead, fell.at - SECOND).interest.level == "1"


def test_who_never_showed_interest_or_has_none_left_waits_for_nothing() -> None:
    assert Story().has(**CEO).lead.fades_at is None
    assert Story().visits("https://x.example/jobs").lead.fades_at is None
    assert Story().submits("ebook", ago=400 * DAY).lead.fades_at is None
    story = Story()
    story.agreement = one(on="form_submitted", points=5, within="60d")
    assert story.submits("x").lead.fades_at is None


def test_the_end_of_a_window_is_a_fall_of_its_own() -> None:
    story = Waiting()
    story.agreement = one(on="form_submitted", points=15, within="2d")
    story.submits("x")
    assert story.lead.fades_at == START + 2 * DAY
    story.waits(10 * DAY)
    assert levels(story) == [("D3", "awareness"), ("D4", "awareness")]


def test_many_small_acts_fall_together_where_their_rounding_does() -> None:
    """Eleven of one point: each is told as 0.9 while all together are still worth 10."""
    story = Waiting()
    small = [{"on": "form_submitted", "when": {"form": f"f{n}"}, "points": 1, "name": f"f{n}"} for n in range(11)]
    story.agreement = with_signals(urgency=small)
    for n in range(11):
        story.submits(f"f{n}")
    score = scorer_of(story.agreement).score
    assert story.lead.fades_at is not None
    assert score(story.lead, story.lead.fades_at - SECOND).interest.level == "3"
    story.waits(DAY)
    assert score(story.lead, story.last.at - SECOND).interest.level == "3"
    assert (story.last.interest_level, story.last.interest) == ("4", 9.9)


def test_a_meeting_still_to_come_fades_from_its_own_time_on() -> None:
    story = Waiting()
    logs(story, "meeting:1", Channel.MEETING, Outcome.BOOKED, at=START + 30 * DAY)
    assert story.last.journey == "decision"
    story.waits(30 * DAY)
    assert story.lead.fades_at is not None
    assert START + 30 * DAY < story.lead.fades_at < START + 40 * DAY
    assert len(story.told) == 1


def test_another_act_puts_the_fall_off_and_what_shows_none_leaves_it() -> None:
    story = Story().submits("demo-request")
    first = story.lead.fades_at
    assert first is not None
    assert story.after(DAY).has(city="Bonn").has(**CEO).lead.fades_at == first
    later = story.visits("https://x.example/pricing").lead.fades_at
    assert later is not None
    assert later > first


def test_after_an_outage_two_falls_are_told_as_the_one_that_they_come_to() -> None:
    story = Waiting()
    story.submits("demo-request").after(40 * DAY)
    story.fades()
    assert [scored.grade for scored in story.told] == ["D1", "D4"]
    assert story.fades().told[2:] == []


def test_a_fact_that_comes_first_tells_the_fall_and_time_does_not_tell_it_again() -> None:
    story = Waiting()
    story.submits("demo-request").after(3 * DAY).has(**CEO)
    assert [scored.grade for scored in story.told] == ["D1", "A2"]
    assert not story.last.is_fading
    assert len(story.fades().told) == 2
    assert story.lead.fades_at is not None
    assert story.lead.fades_at > story.now


def test_a_new_agreement_says_anew_when_a_lead_falls() -> None:
    story = Story().submits("demo-request")
    later = story.judged_again(with_points(AGREEMENT, demo=59)).lead.fades_at
    assert later is not None
    assert later < Story().submits("demo-request").lead.fades_at  # type: ignore[operator]


def test_a_lead_that_another_agreement_judged_last_falls_by_the_one_in_force_as_a_re_score() -> None:
    story = Waiting()
    story.submits("demo-request").after(3 * DAY)
    story.agreement = with_points(AGREEMENT, demo=10)
    story.fades()
    assert (story.last.grade, story.last.is_fading, story.last.is_rescore) == ("D4", False, True)
    assert story.lead.judged_by == story.agreement.version


def test_the_same_agreement_in_other_words_on_follow_up_keeps_the_moment() -> None:
    story = Story().submits("demo-request")
    known = story.lead.fades_at
    assert story.judged_again(with_follow_up(AGREEMENT, wait_for_reply="9d")).lead.fades_at == known


def test_who_is_gone_waits_for_nothing_and_who_comes_back_does_again() -> None:
    story = Waiting()
    story.submits("demo-request").after(DAY).is_deleted()
    assert story.lead.fades_at is None
    assert story.fades().told[1:] == []
    story.after(DAY).has(city="Bonn")
    assert story.lead.fades_at is not None
    story.is_deleted(privacy=True)
    assert story.lead.fades_at is None


def test_a_merge_gives_the_survivor_the_moment_of_both_histories() -> None:
    story = Story().has(**CEO).absorbs(Story().submits("demo-request"))
    assert story.lead.fades_at == Story().submits("demo-request").lead.fades_at


def test_what_was_stored_before_moments_were_known_is_due_to_be_found_out() -> None:
    story = Waiting()
    story.submits("demo-request").fades()
    known, told = story.lead.fades_at, story.lead.told
    assert told is not None
    story.lead = replace(story.lead, told=replace(told, fades_at=0.0))
    assert story.lead.fades_at == datetime(1970, 1, 1, tzinfo=UTC)
    assert len(story.fades().told) == 1
    assert story.lead.fades_at == known


def test_an_act_that_never_fades_for_us_waits_for_nothing() -> None:
    """A clock that is ahead by seventy years."""
    forever = with_signals(urgency=[{"on": "email_clicked", "points": 60, "name": "It"}])
    story = Waiting()
    story.agreement = forever
    far = datetime(2099, 1, 1, tzinfo=UTC)
    story.has(hs_email_last_click_date=str(int(far.timestamp() * 1000)))
    story.waits(30 * DAY)
    assert story.lead.fades_at is not None
    assert story.lead.fades_at > far


# --- whatever a lead did ---


@settings(max_examples=150, deadline=None)
@given(history=histories, minutes=st.integers(0, 60 * 24 * 40))
def test_nothing_that_is_told_changes_before_its_moment_and_something_does_then(
    history: list[LeadMessage], minutes: int
) -> None:
    lead, now = after(history), START + timedelta(minutes=minutes)
    scorer = scorer_of(EVERY_SIGNAL)
    falls_at = scorer._falls_at(lead, now)
    assert scorer.score(lead, now).interest.stands_until <= falls_at
    stands = standing(scorer.score(lead, now))
    if standing(scorer.score(lead, now)) == standing(scorer.score(Lead(), now)):
        assert scorer.score(lead, now).interest.stands_until == float("inf")
    if falls_at == float("inf"):
        assert stands == standing(scorer.score(lead, now + 4000 * DAY)) == standing(scorer.score(Lead(), now))
        return
    moment = datetime.fromtimestamp(falls_at, UTC)
    assert moment > now
    assert standing(scorer.score(lead, moment)) != stands
    assert standing(scorer.score(lead, max(now, moment - SECOND))) == stands
    assert standing(scorer.score(lead, now + (moment - now) / 2 - SECOND / 2)) == stands


@settings(max_examples=100, deadline=None)
@given(history=histories)
def test_whoever_wakes_at_each_moment_tells_each_fall_once_and_comes_to_rest(history: list[LeadMessage]) -> None:
    story = Waiting()
    story.agreement, story.lead, story.now = EVERY_SIGNAL, after(history), START + 30 * DAY
    story.waits(4000 * DAY)
    assert story.lead.fades_at is None
    found = levels(story)
    assert len(found) == len(set(found)) <= 6
    assert story.wakes <= len(found) + 1
    assert [level[1] for level, _ in found] == sorted(level[1] for level, _ in found)
    if not story.lead.gone and story.lead.told:
        rest = scorer_of(EVERY_SIGNAL).score(story.lead, story.now)
        assert standing(rest) == standing(scorer_of(EVERY_SIGNAL).score(Lead(), story.now))
