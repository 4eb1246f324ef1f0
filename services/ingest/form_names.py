"""What a form is called of which only the guid was told: asked of the CRM, and remembered for a while."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from services.ingest.metrics import IngestMetrics
from shared.crm.hubspot import CRM_MISSING, HubSpot
from shared.errors import Later, Refused

MAX_KEPT: Final = 1000  # of all tenants, the last that were asked for
AGAIN_S: Final = 3600.0  # then it may have another name
KIND: Final = "form"  # in the metric of look-ups
_is_guid: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE).fullmatch


class Form(NamedTuple):
    """A form of a tenant, by whatever was told of it."""

    tenant: str
    said: str


class FormNames:
    """The property by which HubSpot tells of a form has its name, so that its guid alone would be another form."""

    def __init__(
        self,
        crm_of: Callable[[str], HubSpot | None],
        metrics: IngestMetrics,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._crm_of = crm_of
        self._metrics = metrics
        self._monotonic = monotonic
        self._known: dict[Form, tuple[str, float]] = {}  # the name, "" for none, and when that was asked

    async def __call__(self, forms: Iterable[Form]) -> dict[Form, str]:
        """The names of those of which the guid was told, as far as the CRM tells them. Raises Later."""
        wanted = [form for form in dict.fromkeys(forms) if _is_guid(form.said)]
        names = await asyncio.gather(*(self._name(form) for form in wanted))
        return {form: name for form, name in zip(wanted, names, strict=True) if name}

    async def _name(self, form: Form) -> str:
        now = self._monotonic()
        name, asked = self._known.pop(form, ("", -AGAIN_S))
        if now - asked >= AGAIN_S:
            name, asked = await self._ask(form), now
        self._known[form] = name, asked
        while len(self._known) > MAX_KEPT:
            del self._known[next(iter(self._known))]
        return name

    async def _ask(self, form: Form) -> str:
        """ "" where nobody can be asked, there is no such form, or the token may not read forms."""
        count = self._metrics.lookups.labels
        crm = self._crm_of(form.tenant)
        if crm is None:
            count(KIND, "off").inc()
            return ""
        try:
            name = await crm.form_name(form.said)
        except Refused:
            count(KIND, "refused").inc()
            return ""
        except Later as error:
            count(KIND, "missing" if error.code == CRM_MISSING else "failed").inc()
            if error.code == CRM_MISSING:
                return ""
            raise
        count(KIND, "found").inc()
        return name
