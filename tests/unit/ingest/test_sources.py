"""The doors as the settings make them: each lets in what speaks for the right account, and nobody else."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from services.ingest import sources
from services.ingest.domain.admission import Knock
from services.ingest.settings import IngestSettings
from services.ingest.sources import Source
from shared.crm.hubspot import sign_v2
from shared.errors import Refused

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SETTINGS = {"LEADPACT_HUBSPOT_SECRETS": "7=s7,8=s8", "LEADPACT_PUBLIC_URL": "https://leads.example.com"}


def door(path: str, **settings: str) -> Source:
    made = sources.sources(
        IngestSettings.read(SETTINGS | settings), properties=lambda _: ("jobtitle",), of_companies=lambda _: ()
    )
    return next(one for one in made if one.path == path)


def knock(path: str, body: bytes, **headers: str) -> Knock:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return Knock(method="POST", scheme="http", path=path, query="", headers={"host": "x"} | given, body=body)


def test_a_portal_s_secret_lets_no_workflow_of_another_portal_in() -> None:
    path, body = sources.WORKFLOW, b'{"vid": 1, "portal-id": 7, "properties": {"jobtitle": {"value": "CEO"}}}'

    def signed(secret: str) -> Knock:
        signature = sign_v2(secret, "POST", f"https://leads.example.com{path}", body)
        return knock(path, body, x_hubspot_signature=signature, x_hubspot_signature_version="v2")

    assert door(path).read(signed("s7"), NOW).accepted == 1
    with pytest.raises(Refused) as refused:
        door(path).read(signed("s8"), NOW)
    assert refused.value.code == "wrong_portal"


@pytest.mark.parametrize("path", [sources.WORKFLOW, sources.FORMS, sources.SEGMENT, sources.EVENTS])
def test_a_door_for_which_no_secret_is_set_is_closed(path: str) -> None:
    with pytest.raises(Refused) as refused:
        door(path).read(knock(path, b"[]", authorization="Basic Og==", x_signature=""), NOW)
    assert refused.value.code == "bad_signature"


def test_a_key_speaks_for_its_own_account() -> None:
    body = b'{"type": "page", "anonymousId": "a", "messageId": "m", "properties": {"url": "https://x.example/"}}'
    made = door(sources.SEGMENT, LEADPACT_SEGMENT_KEYS="7=k7,8=k8")
    (message,) = made.read(knock(sources.SEGMENT, body, authorization="Basic azg6"), NOW).messages
    assert message.tenant == "hubspot:8"
