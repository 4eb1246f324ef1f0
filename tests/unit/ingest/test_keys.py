"""Programs at the door: who signed, for which account, and when."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

import pytest
from standardwebhooks import Webhook

from services.ingest.domain.admission import Knock
from services.ingest.domain.keys import Key, Segment, Standard, sign_segment, sign_standard
from shared.errors import Refused

NOW_S = 1_795_521_600
SECRET = "whsec_" + base64.b64encode(b"a key of thirty bytes or so ...").decode()
OTHER = "whsec_" + base64.b64encode(b"another key of the same length.").decode()
BODY = '{"conversionId": "ä"}'.encode()
STANDARD = Standard(keys=[Key(tenant="hubspot:1", value=OTHER), Key(tenant="hubspot:62515", value=SECRET)])


def knock(body: bytes = BODY, **headers: str) -> Knock:
    said = {"webhook-id": "msg_1", "webhook-timestamp": str(NOW_S), "webhook-signature": signature(SECRET)}
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return Knock(method="POST", scheme="https", path="/webhooks/forms", query="", headers=said | given, body=body)


def signature(secret: str, *, at_s: int = NOW_S) -> str:
    return Webhook(secret).sign("msg_1", datetime.fromtimestamp(at_s, UTC), BODY.decode())


def test_who_signs_as_the_standard_s_own_library_does_speaks_for_their_account() -> None:
    assert STANDARD.admit(knock(), now_s=NOW_S) == "hubspot:62515"
    assert sign_standard(SECRET, "msg_1", NOW_S, BODY) == signature(SECRET)


def test_one_of_several_signatures_is_enough() -> None:
    """As while a secret is being replaced."""
    several = f"v1a,aaaa {signature('whsec_' + base64.b64encode(b'x' * 24).decode())} {signature(OTHER)}"
    assert STANDARD.admit(knock(webhook_signature=several), now_s=NOW_S) == "hubspot:1"


@pytest.mark.parametrize(
    "changed",
    [
        {"body": BODY + b" "},
        {"webhook_id": "msg_2"},
        {"webhook_timestamp": str(NOW_S + 1)},
        {"webhook_signature": ""},
        {"webhook_signature": "v1,"},
        {"webhook_timestamp": "now"},
        {"webhook_timestamp": "²"},
        {"webhook_id": ""},
    ],
    ids=str,
)
def test_what_was_not_signed_so_is_not_let_in(changed: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        STANDARD.admit(knock(**changed), now_s=NOW_S)
    assert refused.value.code == "bad_signature"


@pytest.mark.parametrize("late_s", [301, -301])
def test_what_was_signed_long_ago_or_is_from_the_future_is_stale(late_s: int) -> None:
    with pytest.raises(Refused) as refused:
        STANDARD.admit(knock(), now_s=NOW_S + late_s)
    assert refused.value.code == "stale"


def test_without_a_secret_nobody_is_let_in() -> None:
    with pytest.raises(Refused):
        Standard(keys=[]).admit(knock(), now_s=NOW_S)


SEGMENT = Segment(keys=[Key(tenant="hubspot:1", value="other"), Key(tenant="hubspot:62515", value="wk-ä")])


def basic(said: str) -> str:
    return "Basic " + base64.b64encode(said.encode()).decode()


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": basic("wk-ä:")},
        {"authorization": basic("wk-ä")},
        {"x_signature": sign_segment("wk-ä", BODY)},
        {"x_signature": sign_segment("wk-ä", BODY).upper()},
    ],
    ids=str,
)
def test_a_write_key_or_a_signature_speaks_for_its_account(headers: dict[str, str]) -> None:
    assert SEGMENT.admit(knock(**headers)) == "hubspot:62515"


def test_the_signature_is_the_one_of_segment_s_documentation() -> None:
    """HMAC-SHA1 in hex; RFC 2202's second case."""
    assert sign_segment("Jefe", b"what do ya want for nothing?") == "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": basic("wk:")},
        {"authorization": basic(":")},
        {"authorization": "Basic !"},
        {"authorization": "Bearer wk-ä"},
        {"x_signature": sign_segment("wk-ä", BODY + b" ")},
        {"x_signature": sign_segment("", BODY)},
    ],
    ids=str,
)
def test_without_the_right_key_segment_is_not_let_in(headers: dict[str, str]) -> None:
    with pytest.raises(Refused) as refused:
        SEGMENT.admit(knock(**headers))
    assert refused.value.code == "bad_signature"
