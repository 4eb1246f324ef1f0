"""What a looked-up record says, as messages: a contact's properties, an engagement, a deal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from shared.crm.hubspot import Record
from shared.events import (
    ActivityLogged,
    Channel,
    ContactChanged,
    DealChanged,
    Direction,
    Message,
    Outcome,
    PropertyValue,
    RecordType,
    identity,
)

OWNER: Final = "hubspot_owner_id"
ACT_TIME: Final = "hs_timestamp"
SEQUENCE: Final = "hs_sequence_id"  # of an email that a sequence sent in its owner's name
# What is asked for of each kind that is not a contact.
PROPERTIES: Final[Mapping[RecordType, tuple[str, ...]]] = {
    RecordType.CALL: (
        *(ACT_TIME, OWNER, "hs_call_direction"),
        *("hs_call_disposition", "hs_call_duration", "hs_call_status"),
    ),
    RecordType.EMAIL: (ACT_TIME, OWNER, "hs_email_direction", "hs_email_status", SEQUENCE),
    RecordType.MEETING: (ACT_TIME, OWNER, "hs_meeting_outcome", "hs_meeting_start_time", "hs_meeting_end_time"),
    RecordType.COMMUNICATION: (ACT_TIME, OWNER, "hs_communication_channel_type"),
    RecordType.DEAL: ("dealstage", "pipeline", "amount", "deal_currency_code"),
}
# HubSpot's stock dispositions; an account's own ones have other ids and say nothing to us yet.
DISPOSITIONS: Final[Mapping[str, Outcome]] = {
    "9d9162e7-6cf3-4944-bf63-4dff82258764": Outcome.BUSY,
    "f240bbac-87c9-4f6e-bf70-924b57d47db7": Outcome.CONNECTED,
    "a4c4c377-d246-4b32-a13b-75a56a4cd0ff": Outcome.LIVE_MESSAGE,
    "b2cf5968-551e-4856-9783-52b3da59a7d0": Outcome.VOICEMAIL,
    "73a0d17f-1163-4015-bdd5-ec830791da20": Outcome.NO_ANSWER,
    "17b47fee-58de-441e-a44c-c6300d46f273": Outcome.WRONG_NUMBER,
}
CALL_STATUSES: Final[Mapping[str, Outcome]] = {
    "BUSY": Outcome.BUSY,
    "NO_ANSWER": Outcome.NO_ANSWER,
    "FAILED": Outcome.FAILED,
    "CANCELED": Outcome.CANCELLED,
}
EMAIL_STATUSES: Final[Mapping[str, Outcome]] = {
    "SENT": Outcome.SENT,
    "BOUNCED": Outcome.BOUNCED,
    "FAILED": Outcome.FAILED,
}
MEETING_OUTCOMES: Final[Mapping[str, Outcome]] = {
    "SCHEDULED": Outcome.BOOKED,
    "RESCHEDULED": Outcome.BOOKED,
    "COMPLETED": Outcome.HELD,
    "NO_SHOW": Outcome.NO_SHOW,
    "CANCELED": Outcome.CANCELLED,
}
CHANNELS: Final[Mapping[str, Channel]] = {
    "WHATS_APP": Channel.WHATSAPP,
    "LINKEDIN_MESSAGE": Channel.LINKEDIN,
    "SMS": Channel.SMS,
}
# A call that was placed and never made, or is still to be made, is no act yet.
NOT_YET: Final = frozenset({"CALLING_CRM_USER", "CONNECTING", "IN_PROGRESS", "QUEUED", "RINGING"})


@dataclass(frozen=True, kw_only=True)
class Act:
    """An engagement in our words, but for whose it is."""

    channel: Channel
    direction: Direction
    outcome: Outcome
    duration_s: float | None = None
    sequence: str = ""


def messages_of(kind: RecordType, tenant: str, record: Record, contacts: Iterable[str]) -> tuple[Message, ...]:
    """What a deal or an engagement says now, to each lead that it is associated with; nothing while it is no use."""
    leads = [f"{tenant}:{contact}" for contact in contacts]
    if kind is RecordType.DEAL:
        return tuple(deal for lead in leads if (deal := _deal(tenant, lead, record)))
    read = _ACTS.get(kind)
    act = read(record.properties) if read else None
    if act is None:
        return ()
    return tuple(_activity(kind, tenant, lead, record, act) for lead in leads)


def contact_of(
    tenant: str, record: Record, names: Iterable[str], more: Iterable[PropertyValue] = (), *, reconciled: bool = False
) -> tuple[Message, ...]:
    """Each of the properties with the time at which it was set, so that it cannot overwrite a newer webhook."""
    newest = {name: past[0] for name in names if (past := record.properties_with_history.get(name))}
    own = [PropertyValue(name=name, value=last.value, at=last.timestamp) for name, last in sorted(newest.items())]
    values = (*own, *more)
    if not values:
        return ()
    lead = f"{tenant}:{record.id}"
    said = [part for value in values for part in (value.name, value.value, value.at.timestamp())]
    at = max(value.at for value in values)
    fact = identity("ContactChanged", lead, "looked up", *said)
    return (ContactChanged(id=fact, tenant=tenant, lead=lead, at=at, values=values, reconciled=reconciled),)


def _deal(tenant: str, lead: str, record: Record) -> DealChanged | None:
    stage = record.properties.get("dealstage")
    if not stage:
        return None
    said = record.properties
    pipeline, amount = said.get("pipeline") or "", said.get("amount")
    return DealChanged(
        id=identity("DealChanged", lead, record.id, stage, pipeline, amount, record.updated_at.timestamp()),
        tenant=tenant,
        lead=lead,
        at=record.updated_at,
        deal=record.id,
        stage=stage,
        pipeline=pipeline,
        amount=amount,
        currency=said.get("deal_currency_code") or None,
    )


def _activity(kind: RecordType, tenant: str, lead: str, record: Record, act: Act) -> ActivityLogged:
    at = _time(record.properties.get(ACT_TIME)) or record.updated_at
    by, activity = record.properties.get(OWNER) or "", f"{kind}:{record.id}"
    said = act.channel, act.direction, act.outcome, by, act.duration_s, at.timestamp(), record.updated_at.timestamp()
    more = (act.sequence,) if act.sequence else ()
    return ActivityLogged(
        id=identity("ActivityLogged", lead, activity, *said, *more),
        tenant=tenant,
        lead=lead,
        at=at,
        activity=activity,
        channel=act.channel,
        direction=act.direction,
        outcome=act.outcome,
        by=by,
        duration_s=act.duration_s,
        sequence=act.sequence,
        seen_at=record.updated_at,
    )


def _call(said: Mapping[str, str | None]) -> Act | None:
    status = said.get("hs_call_status") or ""
    if status in NOT_YET:
        return None
    outcome = DISPOSITIONS.get(said.get("hs_call_disposition") or "") or CALL_STATUSES.get(status, Outcome.UNKNOWN)
    inbound = said.get("hs_call_direction") == "INBOUND"
    return Act(
        channel=Channel.PHONE,
        direction=Direction.INBOUND if inbound else Direction.OUTBOUND,
        outcome=outcome,
        duration_s=_seconds(said.get("hs_call_duration")),
    )


def _email(said: Mapping[str, str | None]) -> Act | None:
    """A forwarded email says neither who wrote it nor to whom; one that is not sent yet is no act."""
    match said.get("hs_email_direction"):
        case "INCOMING_EMAIL":
            return Act(channel=Channel.EMAIL, direction=Direction.INBOUND, outcome=Outcome.REPLIED)
        case "EMAIL":
            if outcome := EMAIL_STATUSES.get(said.get("hs_email_status") or "SENT"):
                sequence = said.get(SEQUENCE) or ""
                return Act(channel=Channel.EMAIL, direction=Direction.OUTBOUND, outcome=outcome, sequence=sequence)
    return None


def _meeting(said: Mapping[str, str | None]) -> Act:
    outcome = MEETING_OUTCOMES.get(said.get("hs_meeting_outcome") or "SCHEDULED", Outcome.UNKNOWN)
    return Act(channel=Channel.MEETING, direction=Direction.OUTBOUND, outcome=outcome)


def _communication(said: Mapping[str, str | None]) -> Act:
    channel = CHANNELS.get(said.get("hs_communication_channel_type") or "", Channel.OTHER)
    return Act(channel=channel, direction=Direction.OUTBOUND, outcome=Outcome.SENT)


_ACTS: Final[Mapping[RecordType, Callable[[Mapping[str, str | None]], Act | None]]] = {
    RecordType.CALL: _call,
    RecordType.EMAIL: _email,
    RecordType.MEETING: _meeting,
    RecordType.COMMUNICATION: _communication,
}


def _time(text: str | None) -> datetime | None:
    """HubSpot writes times as ISO 8601, older records as milliseconds since 1970."""
    if not text:
        return None
    try:
        if text.isdigit():
            return datetime.fromtimestamp(int(text) / 1000, tz=UTC)
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _seconds(milliseconds: str | None) -> float | None:
    return int(milliseconds) / 1000 if milliseconds and milliseconds.isdigit() else None
