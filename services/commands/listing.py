"""Every setting of every service, as it is now."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from services.commands.wiring import SERVICES
from services.handoff.settings import HandoffSettings
from services.ingest.settings import IngestSettings
from services.kpi.settings import KpiSettings
from services.scoring.settings import ScoringSettings
from shared.settings import CommonSettings, Described, Settings


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A setting with the services that read it."""

    setting: Described
    services: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        return {**dataclasses.asdict(self.setting), "services": self.services}

    def line(self) -> str:
        said = self.setting
        value = f"! {said.problem}" if said.problem else said.value
        who = "all" if self.services == SERVICES else ", ".join(self.services)
        return f"{said.key}={value}\n    {said.doc} [{who}]"


def settings(environ: Mapping[str, str]) -> Iterator[Listed]:
    """In the order of the way of an event, the common ones first; each once, with all who read it."""
    own: dict[str, type[Settings]] = {
        "ingest": IngestSettings,
        "scoring": ScoringSettings,
        "handoff": HandoffSettings,
        "kpi": KpiSettings,
    }
    found: dict[str, Listed] = {}
    for service, kind in own.items():
        for said in kind.described(environ):
            others = found[said.key].services if said.key in found else ()
            found[said.key] = Listed(setting=said, services=(*others, service))
    for said in CommonSettings.described(environ):
        yield Listed(setting=said, services=SERVICES)
    yield from found.values()
