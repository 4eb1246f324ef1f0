"""What a form submission says: HubSpot's record of it, posted by whoever hears of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from services.ingest.domain import visitors
from services.ingest.domain.heard import (
    ACCEPTED,
    EARLIEST_MS,
    LATEST_MS,
    REJECTED,
    Normalised,
    dead,
    elements,
    fault_of,
)
from shared.events import Message, identity

SOURCE: Final = "webhooks/forms"
MAX_NAME: Final = 300
EMAIL: Final = "email"


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """What was put into one field. PERSONAL: value."""

    name: str
    value: Any = None


class Submission(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """As HubSpot's forms API tells it, with the form's name or guid, which there stand in the question.

    `submitted_at` is in milliseconds since 1970.
    """

    conversion_id: str
    submitted_at: int
    values: list[Field]
    form_name: str = ""
    form_guid: str = ""
    page_url: str = ""


_piece: Final = msgspec.json.Decoder(Submission)


def normalise(body: bytes, *, tenant: str, received_at: datetime) -> Normalised:
    """The messages in a body: a submission, or an array of them; each bad one is a dead letter.

    Raises Refused: `malformed`, `too_many`, `event_too_large`.
    """
    found = Normalised()
    for original in elements(body):
        try:
            submission = _piece.decode(original)
            fault = _fault(submission, received_at)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            fault = fault_of(error)
        if fault:
            found.messages.append(dead(SOURCE, original, fault, received_at=received_at, tenant=tenant))
        else:
            found.messages.extend(messages_of(submission, tenant))
        found.outcomes[REJECTED if fault else ACCEPTED] += 1
    return found


def _fault(submission: Submission, received_at: datetime) -> str:
    """What a submission lacks; "" when nothing."""
    if not submission.conversion_id:
        return "conversionId is empty"
    if not EARLIEST_MS <= submission.submitted_at < LATEST_MS:
        return "submittedAt must be a time in milliseconds since 1970"
    if not (submission.form_name or submission.form_guid):
        return "formName or formGuid is missing"
    return "" if _email(submission) else "there is no email among `values`"


def _email(submission: Submission) -> str:
    return next((visitors.email_of(field.value) for field in submission.values if field.name == EMAIL), "")


def messages_of(submission: Submission, tenant: str) -> list[Message]:
    """That the person with this email submitted it: who that is in the CRM has to be found out."""
    email = _email(submission)
    visitor = visitors.by_email(tenant, email)
    at = datetime.fromtimestamp(submission.submitted_at / 1000, UTC)
    form = (submission.form_name or submission.form_guid)[:MAX_NAME]
    fact = identity("conversion", tenant, submission.conversion_id)
    act = visitors.Act(at.timestamp(), fact, form, submission.page_url[: visitors.MAX_URL])
    return [visitors.seen(visitor, act, at), visitors.is_(visitor, at, fact, email=email)]
