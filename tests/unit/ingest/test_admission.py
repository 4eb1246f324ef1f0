"""Who is let in: versions of the signature, age, several secrets, portals, addresses behind a proxy."""

from __future__ import annotations

from typing import Any

import pytest

from services.ingest.domain.admission import Door, Knock, Secret
from shared.crm.hubspot import Signature, sign_v1, sign_v2, sign_v3
from shared.errors import Refused

NOW_MS = 1_795_521_600_000
MINUTE_MS = 60_000
BODY = b'[{"portalId": 1}]'
URI = "https://leads.example.com/webhooks/hubspot"


def knock(*, path: str = "/webhooks/hubspot", query: str = "", scheme: str = "https", **headers: str) -> Knock:
    said = {name.replace("_", "-"): value for name, value in headers.items()}
    return Knock(
        method="POST", scheme=scheme, path=path, query=query, headers={"host": "leads.example.com"} | said, body=BODY
    )


def v3(secret: str = "s1", *, uri: str = URI, at_ms: int = NOW_MS, **more: Any) -> Knock:
    signature = sign_v3(secret, "POST", uri, BODY, at_ms)
    return knock(x_hubspot_signature_v3=signature, x_hubspot_request_timestamp=str(at_ms), **more)


def old(version: str, signature: str, **more: Any) -> Knock:
    return knock(x_hubspot_signature=signature, x_hubspot_signature_version=version, **more)


def door(**more: Any) -> Door:
    secrets = [Secret(portal=None, value="s1"), Secret(portal=None, value="s2"), Secret(portal=7, value="s7")]
    return Door(**{"secrets": secrets, "signatures": (Signature.V3,), **more})


def refusal(of: Door, one: Knock) -> str:
    with pytest.raises(Refused) as refused:
        of.admit(one, now_ms=NOW_MS)
    return refused.value.code


def test_a_signed_request_is_let_in_by_any_of_the_secrets() -> None:
    assert [door().admit(v3(s), now_ms=NOW_MS).value for s in ("s1", "s2", "s7")] == ["s1", "s2", "s7"]


def test_the_known_answer_of_v3() -> None:
    # made with openssl: printf 'POSThttps://a.example/x[]1000' | openssl dgst -sha256 -hmac secret -binary | base64
    assert sign_v3("secret", "POST", "https://a.example/x", b"[]", 1000) == KNOWN


KNOWN = "tpsg8bW56z06uM7EQ4mBh4MV0wDWEw4iwxyj/bGq2tA="


@pytest.mark.parametrize(
    "change", [{"uri": URI + "x"}, {"secret": "s3"}, {"scheme": "http"}, {"path": "/webhooks/other"}, {"query": "a=1"}]
)
def test_another_secret_or_address_is_refused(change: dict[str, Any]) -> None:
    assert refusal(door(), v3(change.pop("secret", "s1"), **change)) == "bad_signature"


@pytest.mark.parametrize(
    ("age_ms", "code"),
    [(5 * MINUTE_MS + 1, "stale"), (-MINUTE_MS - 1, "stale"), (10**12, "stale")],
)
def test_an_old_request_or_one_from_the_future_is_refused(age_ms: int, code: str) -> None:
    assert refusal(door(), v3(at_ms=NOW_MS - age_ms)) == code


@pytest.mark.parametrize("age_ms", [5 * MINUTE_MS, -MINUTE_MS])
def test_the_very_bounds_are_let_in(age_ms: int) -> None:
    assert door().admit(v3(at_ms=NOW_MS - age_ms), now_ms=NOW_MS)


@pytest.mark.parametrize("stamp", ["", "yesterday", "-1", "٣", "9" * 40])
def test_a_strange_time_is_refused(stamp: str) -> None:
    one = knock(x_hubspot_signature_v3="x", x_hubspot_request_timestamp=stamp)
    assert refusal(door(), one) == "bad_signature"


def test_without_a_signature_nobody_is_let_in() -> None:
    assert refusal(door(), knock()) == "bad_signature"


@pytest.mark.parametrize(
    ("version", "signature"), [("v1", sign_v1("s1", BODY)), ("v2", sign_v2("s1", "POST", URI, BODY))]
)
def test_older_signatures_are_let_in_only_where_they_are_switched_on(version: str, signature: str) -> None:
    assert refusal(door(), old(version, signature)) == "bad_signature"
    assert door(signatures=(Signature(version),)).admit(old(version, signature), now_ms=NOW_MS)


def test_a_right_v1_does_not_make_a_wrong_v3_good() -> None:
    both = knock(
        x_hubspot_signature_v3="wrong",
        x_hubspot_request_timestamp=str(NOW_MS),
        x_hubspot_signature=sign_v1("s1", BODY),
        x_hubspot_signature_version="v1",
    )
    assert refusal(door(signatures=tuple(Signature)), both) == "bad_signature"


def test_some_escapes_of_the_address_are_decoded_before_it_is_signed_and_no_others() -> None:
    sent = knock(path="/webhooks/hubspot", query="a=%3A%2f%20%2B")
    signature = sign_v3("s1", "POST", URI + "?a=:/%20%2B", BODY, NOW_MS)
    headers = {"x-hubspot-signature-v3": signature, "x-hubspot-request-timestamp": str(NOW_MS)}
    one = Knock(
        method="POST", scheme="https", path=sent.path, query=sent.query, headers={**sent.headers, **headers}, body=BODY
    )
    assert door().admit(one, now_ms=NOW_MS)


def test_behind_a_proxy_the_public_address_is_what_was_signed() -> None:
    inside = v3(scheme="http", host="10.0.0.7:8000")
    assert refusal(door(), inside) == "bad_signature"
    assert door(public_url="https://leads.example.com").admit(inside, now_ms=NOW_MS)


def test_proxy_headers_are_believed_only_when_told() -> None:
    forwarded = v3(
        scheme="http",
        host="10.0.0.7:8000",
        x_forwarded_proto="https",
        x_forwarded_host="leads.example.com, inner.example.com",
    )
    assert refusal(door(), forwarded) == "bad_signature"
    assert door(trust_proxy=True).admit(forwarded, now_ms=NOW_MS)


def test_a_portal_s_own_secret_speaks_for_that_portal_alone() -> None:
    own = door().admit(v3("s7"), now_ms=NOW_MS)
    door().check_portals(own, {7})
    with pytest.raises(Refused) as refused:
        door().check_portals(own, {7, 8})
    assert refused.value.code == "wrong_portal"
