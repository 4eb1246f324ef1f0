"""The table of roles and commands: whole, as agreed, and shown in the README."""

from __future__ import annotations

from pathlib import Path

import services.handoff
from services.handoff.api.roles import MAY, markdown, roles_for
from services.handoff.domain.machine import COMMANDS, Cause
from shared.web import ROLES


def test_every_role_has_its_place_and_every_command_somebody_to_give_it() -> None:
    assert set(MAY) == set(ROLES)
    assert all(roles_for(command) for command in COMMANDS)


def test_marketing_begins_and_sales_and_ops_do_the_rest() -> None:
    assert MAY["marketing"] == {Cause.NURTURE, Cause.HAND_OFF}
    assert MAY["sales"] == MAY["ops"] == MAY["admin"] == set(COMMANDS)


def test_the_readme_shows_the_table_as_it_is() -> None:
    readme = (Path(services.handoff.__file__).parent / "README.md").read_text("utf-8")
    assert f"\n{markdown()}\n" in readme
