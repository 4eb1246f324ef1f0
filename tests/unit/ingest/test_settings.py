"""What ingest can be told, and what stops it."""

from __future__ import annotations

import pytest

from services.ingest.app import _crm_of
from services.ingest.settings import IngestSettings
from shared.crm.hubspot import HubSpot, Signature
from shared.errors import WrongSetting

SECRETS, TOKEN = "LEADPACT_HUBSPOT_SECRETS", "LEADPACT_HUBSPOT_TOKEN"


def read(**environ: str) -> IngestSettings:
    return IngestSettings.read({SECRETS: "s1", **environ})


def test_secrets_may_be_several_and_for_one_portal() -> None:
    assert read(**{SECRETS: "s1, 7=s7"}).secrets == ((None, "s1"), (7, "s7"))


def test_the_strongest_signature_comes_first() -> None:
    assert read(LEADPACT_HUBSPOT_SIGNATURES="v1,v3").signatures == (Signature.V3, Signature.V1)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (SECRETS, ""),
        (SECRETS, "acme=s7"),
        (SECRETS, "7="),
        ("LEADPACT_HUBSPOT_SIGNATURES", "v4"),
        ("LEADPACT_MAX_BODY", "big"),
        ("LEADPACT_EVENTS", "/nowhere/events.yaml"),
        ("LEADPACT_HUBSPOT_RATE", "1"),
        ("LEADPACT_PROGRAM_SECRETS", "whsec_bm8gcG9ydGFsIGlzIG5hbWVkIGhlcmU"),
        ("LEADPACT_PROGRAM_SECRETS", "62515=whsec_no base64!"),
        ("LEADPACT_PROGRAM_SECRETS", "62515=whsec_c2hvcnQ"),
        ("LEADPACT_VISITOR_DAYS", "0"),
        ("LEADPACT_VISITS_IGNORED", "203.0.113.0/99"),
        ("LEADPACT_PUBLIC_URL", "leads.example.com"),
    ],
)
def test_what_is_wrong_names_its_setting(key: str, value: str) -> None:
    with pytest.raises(WrongSetting) as wrong:
        read(**{key: value})
    assert wrong.value.key == key


def test_a_token_of_one_portal_never_answers_for_another() -> None:
    """Record 901 of one portal is another person in another portal."""
    with pytest.raises(WrongSetting) as wrong:
        read(**{SECRETS: "7=s7,8=s8", TOKEN: "bare"})
    assert wrong.value.key == TOKEN
    crms = {portal: HubSpot("http://crm.example", token, rate=1) for portal, token in ((7, "t7"), (8, "t8"))}
    crm_of = _crm_of(crms)
    assert (crm_of("hubspot:7"), crm_of("hubspot:8"), crm_of("hubspot:9")) == (crms[7], crms[8], None)


def test_a_token_that_names_no_portal_answers_for_the_only_one() -> None:
    crms = {None: HubSpot("http://crm.example", "t", rate=1)}
    assert _crm_of(crms)("hubspot:62515") is crms[None]
