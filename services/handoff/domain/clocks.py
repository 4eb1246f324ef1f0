"""Clocks: how they start, warn, breach and end. Each ends once; what happens carries the moment by the rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from services.handoff.domain.draft import SYSTEM, Draft
from services.handoff.domain.lead import Clock, Lead
from shared.events import (
    ClockBreached,
    ClockCancelled,
    ClockKind,
    ClockMessage,
    ClockMet,
    ClockSettled,
    ClockStarted,
    ClockWarned,
    identity,
)


def start(draft: Draft, kind: ClockKind, n: int, *, at: datetime, due_at: datetime) -> None:
    """Start the clock that waits for attempt `n`; the wait for a reply warns nobody."""
    lead = draft.lead
    warn_at = () if kind is ClockKind.REPLY_WAIT else tuple(sorted(draft.agreement.follow_up.warn_at))
    clock = Clock(
        id=identity(lead.lead, lead.episode, kind, n),
        kind=kind,
        n=n,
        started_at=at,
        due_at=due_at,
        warn_at=warn_at,
    )
    draft.change(clocks=(*lead.clocks, clock))
    _tell(draft, ClockStarted, clock, at=at)


def running(lead: Lead, *kinds: ClockKind) -> tuple[Clock, ...]:
    """The clocks of these kinds, overdue ones too."""
    return tuple(clock for clock in lead.clocks if clock.kind in kinds)


def touch(draft: Draft, clock: Clock, at: datetime) -> None:
    """What it waited for happened at `at`: met, at the very due time too; after a breach, settled."""
    _drop(draft, clock)
    if clock.overdue:
        late_s = max(timedelta(0), at - clock.due_at).total_seconds()
        _tell(draft, ClockSettled, clock, at=at, reason="touched", late_s=late_s)
    else:
        took_s = max(timedelta(0), at - clock.started_at).total_seconds()
        _tell(draft, ClockMet, clock, at=at, took_s=took_s)


def cancel(draft: Draft, clock: Clock, at: datetime, reason: str) -> None:
    """No longer asked for; after a breach that settles it."""
    _drop(draft, clock)
    if clock.overdue:
        late_s = max(timedelta(0), at - clock.due_at).total_seconds()
        _tell(draft, ClockSettled, clock, at=at, reason=reason, late_s=late_s)
    else:
        _tell(draft, ClockCancelled, clock, at=at, reason=reason)


def cancel_all(draft: Draft, at: datetime, reason: str) -> None:
    for clock in draft.lead.clocks:
        cancel(draft, clock, at, reason)


def lapse(
    draft: Draft, until: datetime, *, exhausted: Callable[[Draft, datetime], None], inclusive: bool = True
) -> list[datetime]:
    """Let time pass: tell each warning and end up to `until` in the order of their moments, and which those were.

    Dues at exactly `until` only when `inclusive`: a touch at that very moment is in time.
    `exhausted` is called when the time for a reply is over.
    """
    moments: list[datetime] = []
    behind = draft.cause, draft.actor
    while clock := _next(draft.lead, until, inclusive=inclusive):
        moment = clock.next_at
        assert moment is not None  # _next found it by that
        moments.append(moment)
        draft.cause, draft.actor = clock.id, SYSTEM  # time did it, whoever made us look
        if clock.warn_at:
            _warn(draft, clock, moment)
        elif clock.kind is ClockKind.REPLY_WAIT:
            touch(draft, clock, moment)
            exhausted(draft, moment)
        else:
            _replace(draft, replace(clock, overdue=True))
            _tell(draft, ClockBreached, clock, at=clock.due_at)
    draft.cause, draft.actor = behind
    return moments


def _warn(draft: Draft, clock: Clock, moment: datetime) -> None:
    share, *left = clock.warn_at
    _replace(draft, replace(clock, warn_at=tuple(left)))
    _tell(draft, ClockWarned, clock, at=moment, share=share)


def _next(lead: Lead, until: datetime, *, inclusive: bool) -> Clock | None:
    due = [
        (moment, clock.id, clock)
        for clock in lead.clocks
        if (moment := clock.next_at) is not None
        and (moment < until or (moment == until and (inclusive or bool(clock.warn_at))))
    ]
    return min(due)[2] if due else None


def _tell(draft: Draft, kind: type[ClockMessage], clock: Clock, *, at: datetime, **more: object) -> None:
    draft.tell(kind, at=at, clock_id=clock.id, clock=clock.kind, due_at=clock.due_at, **more)


def _drop(draft: Draft, clock: Clock) -> None:
    draft.change(clocks=tuple(one for one in draft.lead.clocks if one.id != clock.id))


def _replace(draft: Draft, clock: Clock) -> None:
    draft.change(clocks=tuple(clock if one.id == clock.id else one for one in draft.lead.clocks))
