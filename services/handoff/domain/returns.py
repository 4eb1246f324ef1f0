"""The way back and out: exhausted, rejected, returned, disqualified; each ends the episode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from services.handoff.domain import clocks
from services.handoff.domain.draft import Draft
from services.handoff.domain.machine import Cause
from shared.agreement import Agreement
from shared.agreement.follow_up import NOT_ACCEPTED
from shared.errors import Refused
from shared.events import ClockKind, LeadDisqualified, LeadRejected, LeadReturned, NurtureStarted

EXHAUSTED: Final = "exhausted"
BY_JOURNEY: Final = "by_journey"
NO_TRACK: Final = "none"


@dataclass(frozen=True, kw_only=True)
class Way:
    """How a lead goes back: why, into which track ("" for none), and for how long it is left alone."""

    reason: str
    track: str
    cool_down: timedelta


def way_for(agreement: Agreement, reason: str, journey: str, track: str | None = None) -> Way:
    """By the agreement's rule for `reason`; without one as after an exhausted cadence. `track` overrules."""
    rules = agreement.follow_up.return_when
    fitting = [rule for rule in rules if rule.reason == reason] or [r for r in rules if r.attempts == EXHAUSTED]
    wanted = track or (fitting[0].track if fitting else BY_JOURNEY)
    cool_down = fitting[0].cool_down if fitting else timedelta(0)
    return Way(reason=reason, track=_track(agreement, wanted, journey), cool_down=cool_down)


def exhausted_way(agreement: Agreement, journey: str) -> Way | None:
    """None when the agreement keeps leads with Sales however often they were tried."""
    for rule in agreement.follow_up.return_when:
        if rule.attempts == EXHAUSTED:
            track = _track(agreement, rule.track, journey)
            return Way(reason=rule.reason, track=track, cool_down=rule.cool_down)
    return None


def _track(agreement: Agreement, wanted: str, journey: str) -> str:
    if wanted == NO_TRACK:
        return ""
    if wanted == BY_JOURNEY:
        return journey if journey in agreement.nurture.tracks else ""
    return wanted


def check_reason(known: Sequence[str], reason: str) -> None:
    """Raises Refused (`unknown_reason`)."""
    if reason not in known:
        raise Refused("unknown_reason", f"the reason must be one of the agreement's: {', '.join(known)}")


def check_track(agreement: Agreement, track: str | None) -> None:
    """Raises Refused (`unknown_track`)."""
    known = (*agreement.nurture.tracks, BY_JOURNEY, NO_TRACK)
    if track is not None and track not in known:
        raise Refused("unknown_track", f"the track must be one of: {', '.join(known)}")


def exhausted(draft: Draft, at: datetime) -> None:
    """All attempts made and the time to answer given."""
    way = exhausted_way(draft.agreement, _journey(draft))
    if way is not None:
        send_back(draft, Cause.EXHAUSTED, way, at)


def not_accepted(draft: Draft, at: datetime) -> None:
    """Nobody took it on in time, and the agreement takes it back for that. The breach stays one."""
    for clock in clocks.running(draft.lead, ClockKind.ACCEPT):
        clocks.cancel(draft, clock, at, "returned")
    send_back(draft, Cause.NOT_ACCEPTED, way_for(draft.agreement, NOT_ACCEPTED, _journey(draft)), at)


def returned(draft: Draft, at: datetime, reason: str, track: str | None) -> None:
    """Sales tried, and not now."""
    check_reason(draft.agreement.follow_up.reasons, reason)
    check_track(draft.agreement, track)
    send_back(draft, Cause.RETURN, way_for(draft.agreement, reason, _journey(draft), track), at)


def send_back(draft: Draft, cause: Cause, way: Way, at: datetime) -> None:
    draft.move(cause)
    clocks.end_all(draft, at, "returned")
    end_episode(draft, at, way.cool_down)
    draft.tell(
        LeadReturned,
        at=at,
        reason=way.reason,
        track=way.track,
        attempts=len(draft.lead.attempts),
        cool_down_until=draft.lead.cool_down_until,
    )
    _nurture(draft, at, way.track)


def rejected(draft: Draft, at: datetime, reason: str) -> None:
    """Not what was agreed, said before any contact: back to Marketing."""
    check_reason(draft.agreement.follow_up.reasons, reason)
    draft.move(Cause.REJECT)
    clocks.end_all(draft, at, "rejected")
    way = way_for(draft.agreement, reason, _journey(draft))
    end_episode(draft, at, way.cool_down)
    draft.tell(LeadRejected, at=at, reason=reason)
    _nurture(draft, at, way.track)


def disqualified(draft: Draft, at: datetime, reason: str, *, cause: Cause = Cause.DISQUALIFY) -> None:
    """Out for good, on Sales' word."""
    check_reason(draft.agreement.follow_up.reasons, reason)
    draft.move(cause)
    clocks.end_all(draft, at, "disqualified")
    end_episode(draft, at, timedelta(0))
    draft.change(unfit=False)
    draft.tell(LeadDisqualified, at=at, reason=reason)


def end_episode(draft: Draft, at: datetime, cool_down: timedelta) -> None:
    draft.change(ended_at=at, cool_down_until=at + cool_down if cool_down else None, pause=None)


def nurtured(draft: Draft, at: datetime, track: str) -> None:
    """A track begun by hand; the lead stays where it is. Raises Refused (`unknown_track`)."""
    check_track(draft.agreement, track)
    draft.move(Cause.NURTURE)
    chosen = _track(draft.agreement, track, _journey(draft))
    if not chosen:
        raise Refused("unknown_track", f"{track} leads into no track for this lead")
    _nurture(draft, at, chosen)


def _nurture(draft: Draft, at: datetime, track: str) -> None:
    if track:
        draft.tell(NurtureStarted, at=at, track=track, workflow=draft.agreement.nurture.tracks[track].workflow)


def _journey(draft: Draft) -> str:
    return draft.lead.score.journey if draft.lead.score else ""
