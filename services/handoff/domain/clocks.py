"""Clocks: how they start, move, stand still and end. Each ends once; what happens carries the moment by the rule.

Time here is working time, by the calendar of who has the lead. A running clock follows its lead:
when the priority, the team, the owner, the calendar or the agreement changes, it is set anew
(`gauge`), and nobody's time is cut shorter than the new promise counted from that moment.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Final

from msgspec.structs import replace

from services.handoff.domain.draft import Draft
from services.handoff.domain.lead import Alarm, Breach, Clock, Escalation, Lead, Pause
from shared.calendars import Calendar
from shared.events import (
    ClockBreached,
    ClockCancelled,
    ClockCorrected,
    ClockKind,
    ClockMessage,
    ClockMet,
    ClockMoved,
    ClockPaused,
    ClockResumed,
    ClockSettled,
    ClockStarted,
    ClockWarned,
    identity,
)

TOUCHED: Final = "touched"
NOT_PROMISED: Final = "not_promised"  # what is agreed now knows no such clock
ANSWERS: Final = (ClockKind.ACCEPT, ClockKind.DECISION)  # what Sales says of a lead ends them well
ATTEMPTS: Final = (ClockKind.ACCEPT, ClockKind.FIRST_TOUCH, ClockKind.NEXT_ATTEMPT)  # an attempt ends them


def start(draft: Draft, kind: ClockKind, n: int, *, at: datetime, hurried: bool = False) -> None:
    """Start the clock that waits for attempt `n`, unless the agreement promises no such time."""
    lead = draft.lead
    hurried = hurried or (kind is ClockKind.NEXT_ATTEMPT and lead.waits)
    allowed = _allowed(draft, kind, n, hurried=hurried)
    if allowed is None:
        return
    due_at, stood = _due(draft, at, allowed)
    clock = Clock(
        id=_own_id(lead),
        kind=kind,
        n=n,
        started_at=at,
        due_at=due_at,
        allowed_s=allowed.total_seconds(),
        stood=stood,
        hurried=hurried,
    )
    begin(draft, _warned_of(draft, clock, since=at, shares=draft.agreement.follow_up.warn_at))


def _due(draft: Draft, at: datetime, allowed: timedelta) -> tuple[datetime, tuple[Pause, ...]]:
    """When a clock that starts at `at` is due, and the pauses that are over in which it stood still.

    What starts it may be logged late: then pauses lie behind us that it would have stood still in.
    """
    calendar = draft.calendar
    due_at, stood = calendar.add(at, allowed), list[Pause]()
    for pause in draft.lead.stood:
        if pause.until and at < pause.until and pause.at < due_at:
            since = max(at, pause.at)
            left = calendar.between(since, due_at)
            stood.append(replace(pause, at=since))
            due_at = calendar.add(pause.until, left)
    return due_at, tuple(stood)


def adopt(draft: Draft, clock: Clock) -> None:
    """Go on with the clock of another lead as this one's own, due when it was. What was told is not told again."""
    own = replace(clock, id=_own_id(draft.lead), pause=None)
    begin(draft, own)
    if own.overdue:
        tell(draft, ClockBreached, own, at=own.due_at, told_as=clock.id)


def _own_id(lead: Lead) -> str:
    """Of the clock that the lead's next message starts."""
    return identity("clock", lead.lead, lead.version + 1)


def begin(draft: Draft, clock: Clock) -> None:
    """A new clock runs; while the lead is paused it stands still from the first, or from where it last went on."""
    draft.change(clocks=(*draft.lead.clocks, clock), agreement=draft.agreement.version)
    tell(draft, ClockStarted, clock, at=clock.started_at)
    if (held := draft.lead.pause) and not clock.overdue:
        since = max(clock.started_at, held.at, *(pause.until for pause in clock.stood if pause.until))
        if since < clock.due_at and (held.until is None or since < held.until):
            _hold(draft, clock, since)


def _allowed(draft: Draft, kind: ClockKind, n: int, *, hurried: bool) -> timedelta | None:
    """A hurried attempt is owed as a first touch, also when the cadence knows it not."""
    promised = [_promised(draft, one, n) for one in (kind, *([ClockKind.FIRST_TOUCH] if hurried else []))]
    return min((time for time in promised if time), default=None)


def _promised(draft: Draft, kind: ClockKind, n: int) -> timedelta | None:
    lead, follow_up = draft.lead, draft.agreement.follow_up
    span = follow_up.allowed(kind, n, priority=lead.priority, fit_grade=lead.fit_grade, team=lead.team)
    return draft.calendar.time_of(span) if span else None


def _warned_of(draft: Draft, clock: Clock, *, since: datetime, shares: Iterable[float]) -> Clock:
    """The clock with the warnings that lie ahead of `since`; the wait for a reply warns nobody."""
    if clock.kind is ClockKind.REPLY_WAIT:
        return clock
    calendar, allowed = draft.calendar, timedelta(seconds=clock.allowed_s)
    left = calendar.between(since, clock.due_at)
    ahead = [(share, left - allowed * (1 - share)) for share in sorted(shares)]
    alarms = tuple(Alarm(share=share, at=calendar.add(since, wait)) for share, wait in ahead if wait > timedelta(0))
    return replace(clock, alarms=alarms)


def running(lead: Lead, *kinds: ClockKind) -> tuple[Clock, ...]:
    """The clocks of these kinds, overdue ones too."""
    return tuple(clock for clock in lead.clocks if clock.kind in kinds)


# --- how they end ---


def touch(draft: Draft, clock: Clock, at: datetime, *, activity: str = "") -> None:
    """What it waited for happened at `at`: met, at the very due time too; after a breach, settled.

    A breach that was told although the thing was done in time, and only logged late, is taken back.
    """
    _drop(draft, clock)
    if clock.overdue and at > clock.due_at:
        _settle(draft, clock, at, TOUCHED)
    elif clock.overdue:
        tell(draft, ClockCorrected, clock, at=at, activity=activity, **_took(draft.calendar, clock.started_at, at))
    else:
        tell(draft, ClockMet, clock, at=at, **_took(draft.calendar, clock.started_at, at))


def cancel(draft: Draft, clock: Clock, at: datetime, reason: str) -> None:
    """No longer asked for; after a breach that settles it."""
    _drop(draft, clock)
    if clock.overdue:
        _settle(draft, clock, at, reason)
    else:
        tell(draft, ClockCancelled, clock, at=at, reason=reason)


def end_all(draft: Draft, at: datetime, reason: str) -> None:
    """Sales spoke, or the agreement for it: the clocks that waited for that are met, the others cancelled.

    Nothing stands still any longer.
    """
    draft.change(pause=None)
    for clock in draft.lead.clocks:
        if clock.kind in ANSWERS:
            touch(draft, clock, at)
        else:
            cancel(draft, clock, at, reason)


def cancel_all(draft: Draft, at: datetime, reason: str) -> None:
    for clock in draft.lead.clocks:
        cancel(draft, clock, at, reason)


def take_back(draft: Draft, at: datetime, activity: str, *kinds: ClockKind) -> None:
    """A touch at `at` was logged late: what was breached and settled, and was touched in time, is met."""
    for breach in draft.lead.breaches:
        if breach.kind in kinds and breach.started_at <= at <= breach.due_at:
            draft.change(breaches=tuple(one for one in draft.lead.breaches if one is not breach))
            draft.tell(
                ClockCorrected,
                at=at,
                clock_id=breach.clock_id,
                clock=breach.kind,
                due_at=breach.due_at,
                activity=activity,
                **_took(draft.calendar, breach.started_at, at),
            )


def settled(clock: Clock) -> Breach:
    return Breach(clock_id=clock.id, kind=clock.kind, started_at=clock.started_at, due_at=clock.due_at)


def _settle(draft: Draft, clock: Clock, at: datetime, reason: str) -> None:
    draft.change(breaches=(*draft.lead.breaches, settled(clock)))
    late = max(timedelta(0), at - clock.due_at)
    working = draft.calendar.between(clock.due_at, clock.due_at + late)
    tell(
        draft,
        ClockSettled,
        clock,
        at=at,
        reason=reason,
        late_s=late.total_seconds(),
        late_working_s=working.total_seconds(),
    )


def _took(calendar: Calendar, start: datetime, at: datetime) -> dict[str, float]:
    end = max(start, at)
    return {"took_s": (end - start).total_seconds(), "took_working_s": calendar.between(start, end).total_seconds()}


# --- how they warn and breach ---


def warn(draft: Draft, clock: Clock, moment: datetime) -> None:
    alarm, *left = clock.alarms
    keep(draft, replace(clock, alarms=tuple(left)))
    tell(draft, ClockWarned, clock, at=moment, share=alarm.share)


def breach(draft: Draft, clock: Clock) -> None:
    """Its time is over; what the agreement's escalation has in store begins to run."""
    keep(draft, replace(clock, overdue=True, alarms=(), escalations=_escalations(draft, clock)))
    tell(draft, ClockBreached, clock, at=clock.due_at)


def _escalations(draft: Draft, clock: Clock) -> tuple[Escalation, ...]:
    calendar = draft.calendar
    steps = [
        Escalation(
            step=n,
            at=calendar.add(clock.due_at, calendar.time_of(rule.at)),
            to=rule.to,
            reassign=rule.reassign is not None,
        )
        for n, rule in enumerate(draft.agreement.follow_up.escalation, start=1)
        if clock.kind in rule.on
    ]
    return tuple(sorted(steps, key=attrgetter("at")))  # of one moment, in the order of the agreement


# --- how they stand still and move ---


def pause(draft: Draft, at: datetime, reason: str, until: datetime | None) -> None:
    """Every clock of the lead stands still; one that is overdue stays overdue."""
    draft.change(pause=Pause(at=at, reason=reason, until=until))
    for clock in draft.lead.clocks:
        if not clock.overdue:
            _hold(draft, clock, at)


def _hold(draft: Draft, clock: Clock, at: datetime) -> None:
    assert draft.lead.pause is not None  # who is asked to hold is paused
    held = replace(draft.lead.pause, at=at)
    left = draft.calendar.between(at, clock.due_at)
    keep(draft, replace(clock, pause=held, left_s=left.total_seconds()))
    tell(draft, ClockPaused, clock, at=at, reason=held.reason, until=held.until)


def resume(draft: Draft, at: datetime) -> None:
    """The pause is over, and every clock of the lead goes on with what it had left."""
    if pause := draft.lead.pause:
        draft.change(pause=None, stood=(*draft.lead.stood, replace(pause, until=at)))
    for clock in draft.lead.clocks:
        if clock.pause:
            _go_on(draft, clock, clock.pause, at)


def _go_on(draft: Draft, clock: Clock, held: Pause, at: datetime) -> None:
    due_at = draft.calendar.add(at, timedelta(seconds=clock.left_s))
    stood = (*clock.stood, replace(held, until=at))
    after = replace(clock, pause=None, left_s=0.0, stood=stood, due_at=due_at)
    after = _warned_of(draft, after, since=at, shares=[alarm.share for alarm in clock.alarms])
    keep(draft, after)
    tell(draft, ClockResumed, after, at=at)


def gauge(draft: Draft, now: datetime, reason: str, *, later: bool = True) -> None:
    """Set the lead's open clocks by what holds now; what fell due before stays due. `later`: they may get more time."""
    for clock in draft.lead.clocks:
        if not clock.overdue and (clock.pause or clock.due_at > now):
            _gauge(draft, clock, now, reason, later=later)
    draft.change(agreement=draft.agreement.version)


def _gauge(draft: Draft, clock: Clock, now: datetime, reason: str, *, later: bool) -> None:
    allowed = _allowed(draft, clock.kind, clock.n, hurried=clock.hurried)
    if allowed is not None and not later:
        allowed = min(allowed, timedelta(seconds=clock.allowed_s))
    if allowed is None:
        cancel(draft, clock, now, NOT_PROMISED)
    elif clock.pause:
        left = _left(draft.calendar, clock, clock.pause.at, allowed)
        due_at = draft.calendar.add(clock.pause.at, left)
        keep(draft, replace(clock, allowed_s=allowed.total_seconds(), left_s=left.total_seconds(), due_at=due_at))
    else:
        _move(draft, clock, now, allowed, reason)


def _move(draft: Draft, clock: Clock, now: datetime, allowed: timedelta, reason: str) -> None:
    """To where it would be had it always run so; a shorter time counts from now, and never makes it longer."""
    due_at = draft.calendar.add(clock.started_at, allowed + _stood(draft.calendar, clock))
    if due_at < clock.due_at:
        due_at = min(clock.due_at, draft.calendar.add(now, allowed))
    after = replace(clock, due_at=due_at, allowed_s=allowed.total_seconds())
    if due_at != clock.due_at:
        after = _warned_of(draft, after, since=now, shares=[alarm.share for alarm in clock.alarms])
        tell(draft, ClockMoved, after, at=now, former_due_at=clock.due_at, reason=reason)
    keep(draft, after)


def _left(calendar: Calendar, clock: Clock, since: datetime, allowed: timedelta) -> timedelta:
    """What it would have had left at `since` had it always run so; of a shorter time what it has, or the whole."""
    due_at = calendar.add(clock.started_at, allowed + _stood(calendar, clock))
    return max(calendar.between(since, max(since, due_at)), min(timedelta(seconds=clock.left_s), allowed))


def _stood(calendar: Calendar, clock: Clock) -> timedelta:
    """How long it stood still by the hours of now: those of then may count more of a pause, or less."""
    times = (calendar.between(pause.at, pause.until) for pause in clock.stood if pause.until)
    return sum(times, timedelta(0))


def hurry(draft: Draft, now: datetime, reason: str) -> None:
    """The lead itself asked again: the next attempt is due like a first touch, and nothing later than it was."""
    for clock in running(draft.lead, ClockKind.NEXT_ATTEMPT):
        if not clock.overdue:
            keep(draft, replace(clock, hurried=True))
    gauge(draft, now, reason, later=False)


# --- the parts of all this ---


def tell(draft: Draft, kind: type[ClockMessage], clock: Clock, *, at: datetime, **more: object) -> None:
    """Say what happened to the clock."""
    draft.tell(kind, at=at, clock_id=clock.id, clock=clock.kind, due_at=clock.due_at, **more)


def _drop(draft: Draft, clock: Clock) -> None:
    draft.change(clocks=tuple(one for one in draft.lead.clocks if one.id != clock.id))


def keep(draft: Draft, clock: Clock) -> None:
    """Put the clock in the place of what it was."""
    draft.change(clocks=tuple(clock if one.id == clock.id else one for one in draft.lead.clocks))
