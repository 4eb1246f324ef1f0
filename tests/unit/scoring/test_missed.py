"""What a reconcile tells counts as missed when it is news, and once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.scoring.domain.lead import Lead
from services.scoring.metrics import Heard
from services.scoring.worker import HANDLERS
from shared.events import (
    ContactChanged,
    ContactErased,
    ContactsMerged,
    FormSubmitted,
    LeadMessage,
    PageVisited,
    PropertyValue,
    identity,
)
from shared.work import Facts
from tests.agreements import SHIPPED

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
DAY = timedelta(days=1)
LEAD, OTHER = "hubspot:1:7", "hubspot:1:8"
JOB = PropertyValue(name="jobtitle", value="CEO", at=NOW - DAY)


def told(kind: type[Any], at: datetime = NOW - DAY, *, by: str = LEAD, reconciled: bool = True, **said: Any) -> Any:
    """`by`: of whom the door that made its identity heard."""
    fact = identity(kind.__name__, by, at, sorted(said))
    return kind(id=fact, tenant="hubspot:1", lead=LEAD, at=at, reconciled=reconciled, **said)


class Listener:
    """One lead and who may be merged into it, and how many facts were missed so far."""

    def __init__(self) -> None:
        self.lead, self.others, self.missed = Lead(), {OTHER: Lead()}, 0

    def hears(self, *messages: LeadMessage, now: datetime = NOW) -> Listener:
        for message in messages:
            others = self.others if isinstance(message, ContactsMerged) else {}
            facts = Facts(now=now, agreement=SHIPPED, key=LEAD, others=others)
            decision = HANDLERS[type(message)](self.lead, message, facts)
            self.lead, self.others = decision.state, {**self.others, **decision.others}
            self.missed += isinstance(decision, Heard) and decision.missed
        return self


SEEN = told(ContactChanged, NOW - 2 * DAY, reconciled=False, values=(JOB,))
NEWS = [
    told(ContactChanged, values=(PropertyValue(name="country", value="DE", at=NOW - DAY),)),
    told(FormSubmitted, form="demo-request"),
    told(PageVisited, url="https://x.example/pricing"),
    told(ContactErased, privacy=False),
]


@pytest.mark.parametrize("news", NEWS, ids=lambda message: type(message).__name__)
def test_news_counts_once(news: LeadMessage) -> None:
    assert Listener().hears(SEEN, news, news).missed == 1


@pytest.mark.parametrize("news", NEWS, ids=lambda message: type(message).__name__)
def test_what_a_webhook_told_before_or_may_still_tell_is_not_missed(news: Any) -> None:
    heard = told(type(news), reconciled=False, **{name: getattr(news, name) for name in news.__struct_fields__[4:-1]})
    assert Listener().hears(SEEN, heard, news).missed == 0
    assert Listener().hears(SEEN, news, now=news.at + timedelta(minutes=59)).missed == 0


def test_a_merge_counts_when_who_it_absorbs_was_thought_to_be_there() -> None:
    merge = told(ContactsMerged, merged=(OTHER,))
    stranger, known = Listener(), Listener()
    known.others = {OTHER: Listener().hears(SEEN).lead}
    assert stranger.hears(merge).missed == 0
    assert known.hears(merge, merge, told(ContactsMerged, NOW - DAY / 2, merged=(OTHER,))).missed == 1


def test_a_deletion_of_somebody_whom_nobody_heard_of_is_no_news() -> None:
    assert Listener().hears(told(ContactErased, privacy=False)).missed == 0


def test_a_deletion_from_before_the_contact_was_restored_changes_nothing() -> None:
    restored = told(ContactChanged, NOW - DAY / 2, reconciled=False)
    listener = Listener().hears(SEEN, restored, told(ContactErased, privacy=False))
    assert (listener.lead.gone, listener.missed) == (False, 0)


def test_a_contact_that_is_there_again_was_restored_without_a_word() -> None:
    listener = Listener().hears(SEEN, told(ContactErased, reconciled=False, privacy=False))
    assert listener.hears(told(ContactChanged, NOW - DAY / 2)).missed == 1
    assert not listener.lead.gone


def test_an_act_that_is_told_by_the_key_of_before_a_merge_and_by_that_of_after_is_one() -> None:
    acts = [(FormSubmitted, {"form": "ebook"}), (PageVisited, {"url": "https://x.example/pricing"})]
    before, after = ([told(kind, by=key, **said) for kind, said in acts] for key in (OTHER, LEAD))
    one, other = Listener().hears(*before, *after), Listener().hears(*after, *before)
    assert (len(one.lead.forms), len(one.lead.pages), one.missed) == (1, 1, 2)
    assert (one.lead.forms, one.lead.pages) == (other.lead.forms, other.lead.pages)
