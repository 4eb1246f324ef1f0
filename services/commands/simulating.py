"""The simulated CRM: by itself, or beside the services of `leadpact run`."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from services.commands.folder import Folder
from services.commands.wiring import read_agreements
from services.handoff.settings import HandoffSettings
from services.ingest.settings import IngestSettings
from shared.agreement import Agreements
from shared.clock import Clock, SpedClock, SystemClock
from shared.crm.simulator import SimulatorOptions
from shared.crm.simulator.market import market_of
from shared.crm.simulator.run import Simulation
from shared.crm.simulator.schedule import in_business_hours
from shared.errors import Refused, WrongSetting
from shared.settings import CommonSettings

API: Final = "LEADPACT_HUBSPOT_API"
NOTIFY_URL: Final = "LEADPACT_NOTIFY_URL"
DOOR: Final = "/webhooks/hubspot"
PORTAL: Final = 62515
LIVELY_HOUR_S: Final = 15.0  # so that a newcomer sees a hand-off within a minute


def first_moment(wall: Clock) -> datetime:
    """When simulated people are at work: a newcomer by night waits for no morning until the first lead arrives."""
    return in_business_hours(wall.now())


def told_by(environ: Mapping[str, str]) -> dict[str, Any]:
    """What the settings say of a simulation. Raises WrongSetting for what they lack."""
    ingest, handoff = IngestSettings.read(environ), HandoffSettings.read(environ)
    portal, secret = ingest.secrets[0]
    tokens = [token for known, token in ingest.tokens if portal is None or known in (None, portal)]
    if not tokens:
        raise WrongSetting("LEADPACT_HUBSPOT_TOKEN", "is not set; the simulated CRM's API wants it")
    if not handoff.notify_secret:
        raise WrongSetting("LEADPACT_NOTIFY_SECRET", "is not set; the simulated reps check notifications by it")
    return {
        "secret": secret,
        "token": tokens[0],
        "notify_secret": handoff.notify_secret,
        "public_url": ingest.public_url,
        "portal": portal or PORTAL,
    }


async def simulate(options: SimulatorOptions, *, speed: float, say: Callable[[str], None]) -> None:
    """Be the CRM until a burst is settled or somebody stops it; then tell what was done."""
    wall = SystemClock()
    clock = wall if speed == 1 else SpedClock(speed=speed, start=wall.now())
    simulation = Simulation(options, clock)
    async with simulation.serving() as port:
        say(f"Simulated HubSpot at http://{options.host}:{port}, sends to {options.target}")
        try:
            await simulation.run()
        finally:
            for line in simulation.summary().lines():
                say(line)


# --- beside the services ---


def refuse_another_crm(environ: Mapping[str, str]) -> None:
    """Raise WrongSetting when there is a CRM, or somebody to notify, already."""
    for key in (API, NOTIFY_URL):
        if environ.get(key, "").strip():
            raise WrongSetting(
                key, "is set, so there is no place for simulated traffic: use --no-simulate, or unset it"
            )


@dataclass(frozen=True, kw_only=True)
class Beside:
    """The simulated CRM, serving already; `environ` points the services at it."""

    simulation: Simulation
    environ: Mapping[str, str]
    url: str


@contextlib.asynccontextmanager
async def beside(environ: Mapping[str, str], clock: Clock, *, target: str, speed: float) -> AsyncIterator[Beside]:
    """The CRM for services that will listen at `target`: it has an address at once, and no traffic before `run`."""
    said, settings = told_by(environ), CommonSettings.read(environ)
    agreements = read_agreements(settings)
    portal = _portal(agreements, said["portal"])
    options = SimulatorOptions(
        **{**said, "portal": portal},
        market=market_of(agreements.for_tenant(f"hubspot:{portal}")),
        target=target + DOOR,
        state=Folder(settings.data).simulator,
        hour_s=LIVELY_HOUR_S if speed == 1 else None,
        business_hours=speed != 1,
    )
    simulation = Simulation(options, clock)
    async with simulation.serving() as port:
        url = f"http://127.0.0.1:{port}"
        yield Beside(simulation=simulation, environ={**environ, **_pointing_at(url)}, url=url)


def _pointing_at(url: str) -> dict[str, str]:
    return {API: url, NOTIFY_URL: f"{url}/notifications"}


def _portal(agreements: Agreements, portal: int) -> int:
    """The portal, or one that the agreements are for: any other would be refused."""
    try:
        agreements.for_tenant(f"hubspot:{portal}")
    except Refused:
        tenants = list(agreements.now.by_tenant)
        for crm, _, account in (tenant.partition(":") for tenant in tenants):
            if crm == "hubspot" and account.isdigit():
                return int(account)
        why = f"is for {' and '.join(tenants)} alone, which cannot be simulated"
        raise WrongSetting("LEADPACT_AGREEMENT", why) from None
    return portal
