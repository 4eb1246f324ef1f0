"""Who asks for which command, under which key, and about which version of the lead."""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import Depends, Header, Request

from services.handoff.api.roles import MAY, roles_for
from services.handoff.domain.machine import Cause
from shared.events import identity
from shared.log import Log
from shared.web import Caller, Problem, Tokens, caller

log = Log("leadpact.handoff")

ANY_VERSION: Final = "*"
_etag: Final = re.compile(r'"(\d{1,18})"\Z').match


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A command as it was asked for. With a key that was heard before it is not done again.

    A key is that of one person for one command on one lead, or on one list of them: what others or
    other commands call by the same name is something else. `said` is the body, of which a key names
    one alone. `version`: the only one to do it on.
    """

    command: Cause
    path: str
    by: Caller
    key: str
    said: str
    version: int | None = None

    def id(self, *lead: str) -> str:
        """The command's own identity; of a bulk command, for each lead one that follows from it."""
        return identity("command", self.path, self.by.person, self.key, *lead)

    def said_id(self, *lead: str) -> str:
        """The identity of the command with what it says."""
        return identity("said", self.id(*lead), self.said)


def asks(tokens: Tokens, command: Cause) -> Any:
    """A FastAPI dependency: the command, asked for by somebody whose role may give it."""

    async def asked(
        request: Request,
        by: Caller = caller(tokens, scoped=True),
        key: Annotated[
            str | None,
            Header(
                alias="Idempotency-Key",
                max_length=200,
                description="names this request: sent again, it is not done again",
            ),
        ] = None,
        match: Annotated[
            str | None,
            Header(alias="If-Match", description="the ETag of the lead as it was read; not for bulk commands"),
        ] = None,
    ) -> Asked:
        _check_role(by, command)
        path: str = request.scope["path"]
        return Asked(
            command=command,
            path=path,
            by=by,
            key=key or secrets.token_hex(16),
            said=_said(await request.body()),
            version=version_of(match),
        )

    return Depends(asked)


def _check_role(by: Caller, command: Cause) -> None:
    if command not in MAY[by.role]:
        log.info("command_refused", code="forbidden", command=command, role=by.role, leads=1)
        raise Problem(403, "forbidden", f"{command} needs one of the roles {', '.join(roles_for(command))}")


def _said(body: bytes) -> str:
    """What a body says, however it is written; of many leads without their names: each has a command of its own."""
    try:
        data = json.loads(body or b"{}")
    except ValueError:
        return ""  # refused for that
    if isinstance(data, dict):
        data.pop("leads", None)
    return json.dumps(data, sort_keys=True)


def version_of(match: str | None) -> int | None:
    """The version that `If-Match` asks for; None for any. Raises Problem."""
    if match is None or match.strip() == ANY_VERSION:
        return None
    found = _etag(match.strip())
    if found is None:
        raise Problem(422, "invalid", 'If-Match must be a lead\'s ETag, as "12", or *')
    return int(found[1])
