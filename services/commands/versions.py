"""`leadpact agreement versions`: what every service acted under, and since when."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from services.commands.wiring import SERVICES, existing_database_uri
from shared import versions
from shared.database import database_errors_are_later, make_engine, missing_schemas
from shared.errors import Refused
from shared.settings import CommonSettings
from shared.versions import Recorded


@dataclass(frozen=True, kw_only=True)
class Version:
    """A version of one tenant's agreement, with all services that acted under it."""

    tenant: str
    version: str
    services: Sequence[Recorded]

    @property
    def since(self) -> datetime:
        """The first decision of any."""
        return min(one.since for one in self.services)

    @property
    def last_from(self) -> datetime:
        """From when on it was in force the last time: since its first decision, or since it came back."""
        return max((one.again_at for one in self.services if one.again_at), default=self.since)

    def as_json(self) -> dict[str, object]:
        services = {
            one.service: {"since": one.since.isoformat(), "again_at": one.again_at and one.again_at.isoformat()}
            for one in self.services
        }
        return {"tenant": self.tenant, "version": self.version, "since": self.since.isoformat(), "services": services}

    def line(self) -> str:
        again = f", again from {self.last_from:%Y-%m-%d %H:%M:%S}" if self.last_from != self.since else ""
        who = ", ".join(one.service for one in self.services)
        return f"{self.version}  {self.tenant or 'all others'}  since {self.since:%Y-%m-%d %H:%M:%S}{again}  [{who}]"


async def listed(environ: Mapping[str, str]) -> list[Version]:
    """Each version once, the one that came into force last first. Raises Later."""
    async with _recording(environ) as (conn, services):
        found = [one for service in services for one in await versions.recorded(conn, service)]
    by_version: dict[tuple[str, str], list[Recorded]] = {}
    for one in found:
        by_version.setdefault((one.tenant, one.version), []).append(one)
    made = [Version(tenant=tenant, version=version, services=rows) for (tenant, version), rows in by_version.items()]
    return sorted(made, key=lambda one: one.last_from, reverse=True)


async def content(environ: Mapping[str, str], version: str) -> str:
    """What a version said, as JSON. Raises Refused (`unknown`) for one that nobody acted under, or Later."""
    async with _recording(environ) as (conn, services):
        for service in services:
            if found := await versions.recall(conn, service, version):
                return json.dumps(json.loads(found), indent=2, ensure_ascii=False)
    raise Refused("unknown", f"no service acted under a version {version}: leadpact agreement versions lists them")


@contextlib.asynccontextmanager
async def _recording(environ: Mapping[str, str]) -> AsyncIterator[tuple[AsyncConnection, Sequence[str]]]:
    """The database, and the services that keep their versions there."""
    engine = make_engine(existing_database_uri(CommonSettings.read(environ)), pool_size=1)
    try:
        with database_errors_are_later():
            async with engine.connect() as conn:
                missing = await missing_schemas(conn, SERVICES)
                yield conn, [service for service in SERVICES if service not in missing]
    finally:
        await engine.dispose()
