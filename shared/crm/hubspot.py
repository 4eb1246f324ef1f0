"""HubSpot: how it signs its requests, what its webhooks say, and its API as far as Leadpact asks it.

Sources: HubSpot's documentation of request signatures, of the Webhooks API and of the CRM API (v3,
associations v4); where real traffic is known to differ, the comment says so.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from itertools import islice
from typing import Any, Final, TypeVar

import httpx
import msgspec
import stamina

from shared.errors import Later, Refused
from shared.events import RecordType
from shared.http import NO_ANSWER

T = TypeVar("T")

# --- signatures ---

MAX_AGE_MS: Final = 5 * 60 * 1000
MAX_AHEAD_MS: Final = 60 * 1000  # how much HubSpot's clock may be ahead of ours
# Of the URI these escapes are decoded before it is signed, and nothing else.
_DECODED: Final = {
    "%3A": ":", "%2F": "/", "%3F": "?", "%40": "@", "%21": "!", "%24": "$", "%27": "'", "%28": "(", "%29": ")",
    "%2A": "*", "%2C": ",", "%3B": ";",
}  # fmt: skip
_ESCAPES: Final = re.compile("|".join(_DECODED), re.IGNORECASE)


class Signature(StrEnum):
    """The versions of HubSpot's signature; only v3 is made with a time, and so cannot be used again later."""

    V3 = "v3"
    V2 = "v2"
    V1 = "v1"


def sign_v3(secret: str, method: str, uri: str, body: bytes, at_ms: int) -> str:
    """base64 of HMAC-SHA256 over method, URI, body and time."""
    signed_uri = _ESCAPES.sub(lambda found: _DECODED[found.group().upper()], uri) if "%" in uri else uri
    said = b"%b%b%b%d" % (method.encode(), signed_uri.encode(), body, at_ms)
    return base64.b64encode(hmac.digest(secret.encode(), said, "sha256")).decode()


def sign_v2(secret: str, method: str, uri: str, body: bytes) -> str:
    """Hex of SHA-256 over secret, method, URI and body."""
    return hashlib.sha256(secret.encode() + method.encode() + uri.encode() + body).hexdigest()


def sign_v1(secret: str, body: bytes) -> str:
    """Hex of SHA-256 over secret and body."""
    return hashlib.sha256(secret.encode() + body).hexdigest()


# --- what webhooks say ---

OBJECT_TYPES: Final[Mapping[str, RecordType]] = {
    "0-1": RecordType.CONTACT,
    "0-2": RecordType.COMPANY,
    "0-3": RecordType.DEAL,
    "0-18": RecordType.COMMUNICATION,
    "0-47": RecordType.MEETING,
    "0-48": RecordType.CALL,
    "0-49": RecordType.EMAIL,
}


class Event(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One subscription event of a webhook, as it comes; what Leadpact has no use for is left out.

    `occurred_at` is in milliseconds since 1970. Events of associations have no `object_id`.
    """

    portal_id: int
    occurred_at: int
    app_id: Any = None  # these three only tell who made the change: whatever they are, the event is good
    change_source: Any = None
    source_id: Any = None  # of an INTEGRATION the app that made the change
    subscription_type: str = ""
    event_type: str = ""  # what older documentation calls subscription_type
    event_id: int | None = None
    object_id: int | None = None
    object_type_id: str = ""
    property_name: str | None = None
    property_value: str | int | float | bool | None = None
    primary_object_id: int | None = None
    merged_object_ids: list[int] = []
    new_object_id: int | None = None
    from_object_id: int | None = None
    to_object_id: int | None = None
    from_object_type_id: str = ""
    to_object_type_id: str = ""
    association_type: str = ""

    @property
    def is_import(self) -> bool:
        """An import made the change, as one of many."""
        return bool(self.change_source == "IMPORT")

    def is_own_write(self, apps: Collection[str] = ()) -> bool:
        """The app that is told made the change itself, through the API, or another of ours did."""
        if self.change_source != "INTEGRATION" or self.source_id is None:
            return False
        made_by = str(self.source_id)
        return made_by in apps or (self.app_id is not None and made_by == str(self.app_id))


_pieces: Final = msgspec.json.Decoder(list[msgspec.Raw])
_lenient: Final = json.JSONDecoder(strict=False)
_SPACE: Final = " \t\r\n"


def pieces(body: bytes) -> list[bytes]:
    """The bytes of each element of a JSON array. Raises ValueError, RecursionError.

    Also where an element is not quite JSON, such as a text cut in the middle of an emoji: that is no
    fault of its neighbours.
    """
    try:
        return [bytes(piece) for piece in _pieces.decode(body)]
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _split(body.decode("utf-8", "surrogateescape"))


def _split(text: str) -> list[bytes]:
    found: list[bytes] = []
    at, mark = _skip(text, 0), "["
    while text[at : at + 1] == mark:
        start = _skip(text, at + 1)
        _, end = _lenient.raw_decode(text, start)
        found.append(text[start:end].encode("utf-8", "surrogateescape"))
        at, mark = _skip(text, end), ","
    if text[at : at + 1] != "]" or _skip(text, at + 1) != len(text):
        raise ValueError("not an array")
    return found


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at


# --- the API ---

MAX_READ: Final = 100  # records of one batch
MAX_READ_WITH_HISTORY: Final = 50
MAX_FOUND: Final = 200  # records of one page of a search
MAX_LISTED: Final = 100  # records of one page of a listing
SEARCHES_PER_S: Final = 4.0  # of a whole account: HubSpot's limit was 4 and is 5 now
WINDOW_S: Final = 10.0
SECOND_S: Final = 1.0
TIMEOUT_S: Final = 15.0
TRIES: Final = 4
REFUSED_AGAIN_S: Final = 30.0  # a token does not mend itself
DAILY_AGAIN_S: Final = 900.0
DAILY, SECONDLY = "DAILY", "SECONDLY"  # how the names of policies begin
RECORD_ID: Final = "hs_object_id"
# When a record was last changed. Contacts have the other name too, and nothing is found by it.
CHANGED_AT: Final = "hs_lastmodifieddate"
CONTACT_CHANGED_AT: Final = "lastmodifieddate"
EMAIL: Final = "email"  # a contact's first address, and a key of its own
FURTHER_EMAILS: Final = "hs_additional_emails"  # parted by semicolons
BAD_REQUEST: Final = "crm_bad_request"
BUSY: Final = "crm_busy"
CRM_REFUSED: Final = "crm_refused"
CRM_MISSING: Final = "crm_missing"  # it answered 404
MISSING_SCOPE: Final = "crm_missing_scope"
_PLURALS: Final[Mapping[RecordType, str]] = {RecordType.COMPANY: "companies"}


class Past(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A value that a property had from `timestamp` on, and what kind of thing set it. PERSONAL: value."""

    value: str | None
    timestamp: datetime
    source_type: str | None = None

    @property
    def is_merge(self) -> bool:
        """The merge of two records set it again: MERGE_CONTACTS, MERGE_OBJECTS."""
        return (self.source_type or "").startswith("MERGE")


class Record(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A record as the API tells it. PERSONAL: properties, properties_with_history (newest first)."""

    id: str
    updated_at: datetime
    created_at: datetime | None = None
    archived_at: datetime | None = None  # of one that was deleted
    properties: dict[str, str | None] = {}
    properties_with_history: dict[str, list[Past]] = {}


class _Records(msgspec.Struct, frozen=True):
    results: list[Record] = []


class _Account(msgspec.Struct, frozen=True, rename="camel"):
    portal_id: int


class _End(msgspec.Struct, frozen=True, rename="camel"):
    to_object_id: int | str  # a number in real traffic, a text in the reference


class _From(msgspec.Struct, frozen=True):
    id: str


class _Next(msgspec.Struct, frozen=True):
    after: str = ""


class _Paging(msgspec.Struct, frozen=True):
    next: _Next | None = None


class _Paged(msgspec.Struct, frozen=True, kw_only=True):
    paging: _Paging | None = None

    @property
    def after(self) -> str:
        """Where the next page begins; "" when this is the last."""
        return self.paging.next.after if self.paging and self.paging.next else ""


class _Page(_Paged, frozen=True):
    results: list[Record] = []


class _Association(_Paged, frozen=True, rename={"from_": "from"}):
    from_: _From
    to: list[_End] = []


class _Associations(msgspec.Struct, frozen=True):
    results: list[_Association] = []


class _Property(msgspec.Struct, frozen=True):
    name: str


class _Properties(msgspec.Struct, frozen=True):
    results: list[_Property] = []


class _Form(msgspec.Struct, frozen=True):
    name: str


class _Owner(msgspec.Struct, frozen=True):
    id: str
    email: str | None = None


class _Owners(_Paged, frozen=True):
    results: list[_Owner] = []


class _Problem(msgspec.Struct, frozen=True, rename="camel"):
    category: str = ""
    policy_name: str = ""


class _Again(Exception):
    """The API answered with a passing fault, or not at all."""


class HubSpot:
    """The CRM's API with one token: within its rate, patient with passing faults.

    Every method raises Later when the CRM is away, busy, out of its daily share, or refuses the token:
    none of that is the fault of what was asked for. Raises Refused when asking again is of no use:
    `crm_bad_request` (something among it; asked for in smaller batches, the rest is found), or
    `crm_missing_scope` (the token may not read records of this kind, emails have a scope of their own).
    """

    def __init__(
        self,
        base_url: str,
        token: str,
        *,
        rate: int,
        http: httpx.AsyncClient | None = None,
        searches_per_s: float = SEARCHES_PER_S,
    ) -> None:
        """`rate`: requests in ten seconds at most; HubSpot allows 100 to 250 by plan."""
        self._http = http or httpx.AsyncClient(timeout=TIMEOUT_S)
        self._base_url = base_url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._rate = rate
        self._asked: deque[float] = deque()
        self._turn = asyncio.Lock()
        self._search_every_s = 1 / searches_per_s
        self._searched = 0.0

    async def read(
        self, kind: RecordType, ids: Iterable[str], *, properties: Sequence[str], history: bool = False
    ) -> list[Record]:
        """The records that exist of `ids`; with `history`, each value with its own time."""
        names = {"properties": list(properties)} | ({"propertiesWithHistory": list(properties)} if history else {})
        found: list[Record] = []
        for some in _batches(ids, MAX_READ_WITH_HISTORY if history else MAX_READ):
            asked = names | {"inputs": [{"id": one} for one in some]}
            answer = await self._post(f"/crm/v3/objects/{plural(kind)}/batch/read", asked)
            found += _decoded(answer, _Records).results
        return found

    async def contacts_by_email(self, emails: Iterable[str]) -> dict[str, str]:
        """The contact of each email (in small letters) that has one, be it its further address; no others."""
        names = [EMAIL, FURTHER_EMAILS]
        found: dict[str, str] = {}
        for some in _batches(emails, MAX_READ):
            asked = {"idProperty": EMAIL, "properties": names, "inputs": [{"id": one} for one in some]}
            answer = await self._post(f"/crm/v3/objects/{plural(RecordType.CONTACT)}/batch/read", asked)
            for record in _decoded(answer, _Records).results:
                said = ";".join(record.properties.get(name) or "" for name in names)
                found |= {one.strip().lower(): record.id for one in said.split(";") if one.strip()}
        return found

    async def contacts_of(self, kind: RecordType, ids: Iterable[str]) -> dict[str, list[str]]:
        """For each record of `kind` the contacts that it is associated with; those without are left out."""
        found: dict[str, list[str]] = {}
        for some in _batches(ids, MAX_READ):
            inputs = [{"id": one} for one in some]
            while inputs:  # a record with many contacts tells them in pages, of a hundred or so
                path = f"/crm/v4/associations/{plural(kind)}/contacts/batch/read"
                pages = _decoded(await self._post(path, {"inputs": inputs}), _Associations).results
                for page in pages:
                    found.setdefault(page.from_.id, []).extend(str(end.to_object_id) for end in page.to)
                asked = {one["id"]: one.get("after", "") for one in inputs}
                more = [page for page in pages if page.after not in ("", asked.get(page.from_.id))]
                inputs = [{"id": page.from_.id, "after": page.after} for page in more]
        return {one: list(dict.fromkeys(contacts)) for one, contacts in found.items()}

    async def changed(self, kind: RecordType, since: datetime, *, above: int = 0) -> AsyncIterator[list[Record]]:
        """Every record of `kind` that was changed since then and is still there, in pages, by rising ids.

        `above`: only those with a greater id, to go on after a page. A search finds 10,000 records at most,
        and a bulk change gives any number of them one time; so each page asks for what comes after the last
        id, and none is asked for by its place. What is changed meanwhile stays in its place. A change is
        found some moments after it was made.
        """
        changed_at = CONTACT_CHANGED_AT if kind is RecordType.CONTACT else CHANGED_AT
        from_ms = str(int(since.timestamp() * 1000))
        while True:
            filters = [
                {"propertyName": changed_at, "operator": "GTE", "value": from_ms},
                {"propertyName": RECORD_ID, "operator": "GT", "value": str(above)},
            ]
            asked = {
                "filterGroups": [{"filters": filters}],
                "sorts": [{"propertyName": RECORD_ID, "direction": "ASCENDING"}],
                "properties": [changed_at],
                "limit": MAX_FOUND,
            }
            await self._wait_to_search()
            answer = _decoded(await self._post(f"/crm/v3/objects/{plural(kind)}/search", asked), _Page)
            page = [record for record in answer.results if int(record.id) > above]
            if page:
                yield page
                above = max(int(record.id) for record in page)
            if not page or answer.paging is None:
                return

    async def archived(self, kind: RecordType, *, after: str = "") -> tuple[list[Record], str]:
        """A page of the records of `kind` that were deleted and may be restored; where the next begins, "": nowhere.

        HubSpot keeps them for 90 days. A search finds none of them, and no listing is sorted or filtered by time.
        """
        path = f"/crm/v3/objects/{plural(kind)}?archived=true&limit={MAX_LISTED}&properties={RECORD_ID}"
        page = _decoded(await self._send("GET", path + (f"&after={after}" if after else "")), _Page)
        return page.results, page.after if page.after != after else ""

    async def form_name(self, guid: str) -> str:
        """What people call a form. Raises Later CRM_MISSING where there is none of this guid."""
        return _decoded(await self._send("GET", f"/marketing/v3/forms/{guid}"), _Form).name

    async def portal(self) -> int:
        """The number of the account that the token is for."""
        return _decoded(await self._send("GET", "/account-info/v3/details"), _Account).portal_id

    async def properties(self, kind: RecordType) -> frozenset[str]:
        """The internal names of all properties that records of `kind` have."""
        answer = await self._send("GET", f"/crm/v3/properties/{plural(kind)}")
        return frozenset(one.name for one in _decoded(answer, _Properties).results)

    async def owners(self) -> dict[str, str]:
        """The people who work in the CRM now: email in small letters → id."""
        found: dict[str, str] = {}
        after = ""
        while True:
            path = f"/crm/v3/owners?limit={MAX_READ}" + (f"&after={after}" if after else "")
            page = _decoded(await self._send("GET", path), _Owners)
            found |= {one.email.casefold(): one.id for one in page.results if one.email}
            before, after = after, page.after
            if after in ("", before):
                return found

    async def close(self) -> None:
        await self._http.aclose()

    async def _post(self, path: str, asked: Mapping[str, Any]) -> bytes:
        return await self._send("POST", path, msgspec.json.encode(asked))

    async def _send(self, method: str, path: str, body: bytes | None = None) -> bytes:
        try:
            async for attempt in stamina.retry_context(on=_Again, attempts=TRIES, timeout=None):
                with attempt:
                    return await self._try(method, path, body)
        except _Again as error:
            raise Later("crm_away", str(error), after_s=5.0) from error
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _try(self, method: str, path: str, body: bytes | None) -> bytes:
        await self._wait_for_turn()
        try:
            answer = await self._http.request(method, self._base_url + path, content=body, headers=self._headers)
        except NO_ANSWER as error:
            raise _Again(f"the CRM did not answer: {type(error).__name__}") from error
        if answer.status_code in (200, 207):  # 207: some of what was asked for is not there
            return answer.content
        if answer.status_code == 429:
            raise _too_many(answer)
        if answer.status_code >= 500:
            raise _Again(f"the CRM answered {answer.status_code}")
        if answer.status_code == 400:
            raise Refused(BAD_REQUEST, f"the CRM answered 400 to {path}")
        if answer.status_code == 403 and _problem(answer).category == "MISSING_SCOPES":
            raise Refused(MISSING_SCOPE, f"LEADPACT_HUBSPOT_TOKEN lacks the scope for {path}")
        if answer.status_code in (401, 403):
            why = "the CRM refuses the token or its scopes: see LEADPACT_HUBSPOT_TOKEN"
            raise Later(CRM_REFUSED, why, after_s=REFUSED_AGAIN_S)
        code = CRM_MISSING if answer.status_code == 404 else CRM_REFUSED
        raise Later(code, f"the CRM answered {answer.status_code} to {path}", after_s=REFUSED_AGAIN_S)

    async def _wait_to_search(self) -> None:
        """Searches have a limit of their own. One task searches at a time."""
        await asyncio.sleep(max(0.0, self._searched + self._search_every_s - time.monotonic()))
        self._searched = time.monotonic()

    async def _wait_for_turn(self) -> None:
        """Keep to `rate` in any ten seconds. Real time: it is a limit of the network."""
        async with self._turn:
            while self._asked and len(self._asked) >= self._rate:
                await asyncio.sleep(max(0.0, self._asked[0] + WINDOW_S - time.monotonic()))
                while self._asked and self._asked[0] <= time.monotonic() - WINDOW_S:
                    self._asked.popleft()
            self._asked.append(time.monotonic())


def plural(kind: RecordType) -> str:
    """The kind as it stands in the API's paths."""
    return _PLURALS.get(kind, f"{kind}s")


def _problem(answer: httpx.Response) -> _Problem:
    try:
        return msgspec.json.decode(answer.content, type=_Problem)
    except msgspec.MsgspecError:
        return _Problem()


def _too_many(answer: httpx.Response) -> Later:
    """HubSpot names the policy that was hit; it documents no Retry-After there, but one is honoured."""
    policy = _problem(answer).policy_name
    if policy.startswith(DAILY):
        return Later("crm_daily_limit", "the CRM's daily limit is used up", after_s=DAILY_AGAIN_S)
    said = answer.headers.get("retry-after", "")
    usual = SECOND_S if policy.startswith(SECONDLY) else WINDOW_S
    return Later(BUSY, "the CRM asks to wait", after_s=float(said) if said.isdigit() else usual)


def _decoded(answer: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(answer, type=kind)
    except msgspec.MsgspecError as error:
        raise Later("crm_strange", "the CRM's answer is not what its documentation says", after_s=5.0) from error


def _batches(ids: Iterable[str], size: int) -> Iterable[list[str]]:
    rest = iter(dict.fromkeys(ids))
    while some := list(islice(rest, size)):
        yield some
