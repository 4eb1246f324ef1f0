"""The simulated CRM as the settings and `run` ask for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from services.commands import simulating
from shared.clock import ManualClock
from shared.crm.simulator import SimulatorOptions
from shared.crm.simulator.run import Simulation
from shared.errors import WrongSetting

AGREEMENT = Path(__file__).parents[3] / "deploy" / "agreement.yaml"
NIGHT = datetime(2026, 3, 2, 23, 0, tzinfo=UTC)
NOTIFY = "whsec_c2ltdWxhdG9yLXRlc3Qtc2VjcmV0LXNpbXU="
TOLD = {"secret": "s", "token": "t", "notify_secret": NOTIFY}


def environ(folder: Path, **more: str) -> dict[str, str]:
    return {
        "LEADPACT_DATA": str(folder),
        "LEADPACT_AGREEMENT": str(AGREEMENT),
        "LEADPACT_HUBSPOT_SECRETS": "first,second",
        "LEADPACT_HUBSPOT_TOKEN": "t",
        "LEADPACT_NOTIFY_SECRET": NOTIFY,
        **more,
    }


async def options(folder: Path, *, speed: float, **more: str) -> SimulatorOptions:
    """As `run` makes them."""
    made = simulating.beside(environ(folder, **more), ManualClock(NIGHT), target="http://127.0.0.1:8000", speed=speed)
    async with made as crm:
        return crm.simulation.options


async def test_the_first_secret_signs_for_its_portal(tmp_path: Path) -> None:
    several = {"LEADPACT_HUBSPOT_SECRETS": "7=seven,8=eight", "LEADPACT_HUBSPOT_TOKEN": "8=t8,7=t7"}
    told = simulating.told_by(environ(tmp_path, **several))
    assert (told["secret"], told["portal"], told["token"]) == ("seven", 7, "t7")


async def test_at_real_time_an_hour_of_the_stories_is_a_minute_at_most_by_day_and_by_night(tmp_path: Path) -> None:
    made = await options(tmp_path, speed=1)
    assert made.story_hour_s <= 60
    assert not made.by_day_only


async def test_at_speed_the_stories_go_by_the_clock_in_business_hours(tmp_path: Path) -> None:
    made = await options(tmp_path, speed=3600)
    assert (made.story_hour_s, made.by_day_only) == (3600.0, True)


async def test_services_are_pointed_at_it_and_webhooks_at_them(tmp_path: Path) -> None:
    made = simulating.beside(environ(tmp_path), ManualClock(NIGHT), target="http://127.0.0.1:8000", speed=1)
    async with made as crm:
        assert crm.simulation.options.target == "http://127.0.0.1:8000/webhooks/hubspot"
        assert crm.environ["LEADPACT_HUBSPOT_API"] == crm.url
        assert crm.environ["LEADPACT_NOTIFY_URL"] == f"{crm.url}/notifications"


def only_for(tenant: str, folder: Path, name: str = "agreement.yaml") -> str:
    path = folder / name
    path.write_text(AGREEMENT.read_text().replace('agreement: "Default"', f'agreement: "Default"\ntenant: "{tenant}"'))
    return str(path)


async def test_the_portal_is_that_of_the_agreement(tmp_path: Path) -> None:
    made = await options(tmp_path, speed=1, LEADPACT_AGREEMENT=only_for("hubspot:77", tmp_path))
    assert made.portal == 77


async def test_of_a_folder_for_several_tenants_the_portal_is_the_first_that_is_a_portal(tmp_path: Path) -> None:
    for name, tenant in (("a.yaml", "pipedrive:5"), ("b.yaml", "hubspot:77"), ("c.yaml", "hubspot:78")):
        only_for(tenant, tmp_path, name)
    made = await options(tmp_path, speed=1, LEADPACT_AGREEMENT=str(tmp_path))
    assert made.portal == 77


async def test_an_agreement_for_another_crm_alone_cannot_be_simulated(tmp_path: Path) -> None:
    with pytest.raises(WrongSetting, match="is for pipedrive:77 alone"):
        await options(tmp_path, speed=1, LEADPACT_AGREEMENT=only_for("pipedrive:77", tmp_path))


def night(**more: Any) -> list[datetime]:
    """When the things are planned that follow from a lead that arrives at night."""
    simulation = Simulation(SimulatorOptions(**TOLD, hour_s=0.01, **more), ManualClock(NIGHT))
    simulation._arrive()
    return [moment for moment, _, _ in simulation.schedule._heap]


async def test_by_day_only_the_next_lead_waits_for_the_morning() -> None:
    assert max(night()) >= NIGHT.replace(day=3, hour=8)


async def test_without_business_hours_leads_arrive_at_night() -> None:
    assert max(night(business_hours=False)) < NIGHT + timedelta(minutes=1)
