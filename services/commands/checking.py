"""`leadpact agreement check`: the file by itself, and against what the CRM has, where it can be asked."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path

import httpx

from services.ingest.settings import IngestSettings
from shared.agreement import load
from shared.agreement.doubts import InCrm
from shared.agreement.following import check as errors_of
from shared.agreement.following import files_of
from shared.agreement.load import check as problems_of
from shared.agreement.source import Problem
from shared.crm.hubspot import HubSpot
from shared.errors import LeadpactError, Refused
from shared.events import RecordType

NOT_ASKED = "the CRM was not asked for its properties and owners"


async def check(
    places: Sequence[Path],
    environ: Mapping[str, str],
    *,
    say: Callable[[str], None],
    http: httpx.AsyncClient | None = None,
) -> list[Problem]:
    """Every problem of every file, or folder of them; `say` is told why the CRM was not asked. Raises WrongSetting."""
    settings = IngestSettings.read({"LEADPACT_HUBSPOT_SECRETS": "not needed to ask", **environ})
    if not settings.tokens:
        say(f"{NOT_ASKED}: LEADPACT_HUBSPOT_TOKEN is not set")
    found: list[Problem] = []
    known: dict[str, InCrm | None] = {"": None}
    for place in places:
        errors = errors_of(place)
        found += errors
        for path in _usable(files_of(place), errors):
            token = _token(settings, path)
            if token not in known:
                known[token] = await _asked(settings, token, say, http)
            found += problems_of(path, known[token])
    return found


def _usable(files: Sequence[Path], errors: Sequence[Problem]) -> list[Path]:
    """The files that can be used."""
    wrong = {problem.file for problem in errors}
    return [path for path in files if str(path) not in wrong]


def _token(settings: IngestSettings, path: Path) -> str:
    """That of the agreement's own account, or else the first; "" where no account can be known."""
    try:
        account = (load(path).tenant or "").removeprefix("hubspot:")
    except Refused:
        return ""
    tokens = [token for portal, token in settings.tokens if not account or portal is None or str(portal) == account]
    return tokens[0] if tokens else ""


async def _asked(
    settings: IngestSettings, token: str, say: Callable[[str], None], http: httpx.AsyncClient | None
) -> InCrm | None:
    async with _crm(settings, token, http) as crm:
        try:
            properties, owners = await crm.properties(RecordType.CONTACT), await crm.owners()
            return InCrm(properties=properties, owners=owners, companies=await _of_companies(crm, say))
        except LeadpactError as error:
            say(f"{NOT_ASKED}: {error.message}")
            return None


async def _of_companies(crm: HubSpot, say: Callable[[str], None]) -> frozenset[str] | None:
    try:
        return await crm.properties(RecordType.COMPANY)
    except Refused as error:  # many a token reads contacts alone
        say(f"the CRM was not asked for the properties of companies: {error.message}")
        return None


@contextlib.asynccontextmanager
async def _crm(settings: IngestSettings, token: str, http: httpx.AsyncClient | None) -> AsyncIterator[HubSpot]:
    crm = HubSpot(settings.api, token, rate=settings.rate, http=http)
    try:
        yield crm
    finally:
        await crm.close()
