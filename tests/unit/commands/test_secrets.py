"""Secrets made for who has none: once, in a file of their own, for loopback only."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from services.commands import secrets
from services.handoff.settings import HandoffSettings
from services.ingest.settings import IngestSettings
from shared.errors import Broken, WrongSetting
from shared.web import Tokens

ALL = (secrets.HUBSPOT, secrets.TOKENS, secrets.CRM, secrets.NOTIFY)


def test_only_what_is_not_set_is_made() -> None:
    assert secrets.missing({}, simulate=True) == ALL
    assert secrets.missing({}, simulate=False) == (secrets.HUBSPOT, secrets.TOKENS)
    assert secrets.missing({secrets.TOKENS: "x", secrets.CRM: " "}, simulate=True) == (
        secrets.HUBSPOT,
        secrets.CRM,
        secrets.NOTIFY,
    )


def test_the_next_run_has_the_same(tmp_path: Path) -> None:
    first = secrets.make(ALL, tmp_path / "s.json")
    assert secrets.make(ALL, tmp_path / "s.json") == first
    assert len(set(first.values.values())) == len(ALL)


def test_a_secret_that_was_not_wanted_before_is_added_to_the_others(tmp_path: Path) -> None:
    first = secrets.make((secrets.TOKENS,), tmp_path / "s.json")
    both = secrets.make((secrets.TOKENS, secrets.CRM), tmp_path / "s.json")
    assert both.values[secrets.TOKENS] == first.values[secrets.TOKENS]
    assert secrets.make((secrets.CRM,), tmp_path / "s.json").values[secrets.CRM] == both.values[secrets.CRM]


def test_nobody_else_may_read_the_file(tmp_path: Path) -> None:
    secrets.make(ALL, tmp_path / "s.json")
    assert (tmp_path / "s.json").stat().st_mode & 0o777 == 0o600


def test_they_are_settings_that_services_take(tmp_path: Path) -> None:
    made = secrets.make(ALL, tmp_path / "s.json")
    environ = made.environ()
    assert IngestSettings.read(environ).secrets == ((None, made.values[secrets.HUBSPOT]),)
    HandoffSettings.read({**environ, "LEADPACT_NOTIFY_URL": "http://127.0.0.1"})
    found = Tokens([environ[secrets.TOKENS]]).find(made.values[secrets.TOKENS])
    assert found is not None
    assert found.role == "admin"


def test_only_what_was_made_is_told(tmp_path: Path) -> None:
    made = secrets.make((secrets.TOKENS,), tmp_path / "s.json")
    (line,) = made.lines()
    assert made.values[secrets.TOKENS] in line


def test_a_damaged_file_is_named_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text("{")
    with pytest.raises(Broken, match=r"s\.json"):
        secrets.make(ALL, tmp_path / "s.json")
    assert (tmp_path / "s.json").read_text() == "{"


def test_a_file_of_an_older_version_keeps_what_it_has(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text(json.dumps({"LEADPACT_FORMER": "x"}))
    secrets.make((secrets.TOKENS,), tmp_path / "s.json")
    assert json.loads((tmp_path / "s.json").read_text())["LEADPACT_FORMER"] == "x"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "localhost", "::1"])
def test_made_secrets_are_good_on_loopback(host: str) -> None:
    secrets.insist_on_own(host, ALL)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.com", ""])
def test_made_secrets_are_refused_elsewhere(host: str) -> None:
    with pytest.raises(WrongSetting, match="LEADPACT_HUBSPOT_SECRETS and LEADPACT_TOKENS"):
        secrets.insist_on_own(host, ALL)
    with pytest.raises(WrongSetting, match=r"^LEADPACT_TOKENS"):
        secrets.insist_on_own(host, (secrets.TOKENS,))


def test_secrets_of_ones_own_are_good_everywhere() -> None:
    secrets.insist_on_own("0.0.0.0", (secrets.CRM, secrets.NOTIFY))
