"""The CRM's API as documented: records (one, in batches, listed, searched, deleted, merged), associations, owners.

With its refusals: 401, 429, 5xx.
"""

from __future__ import annotations

import math
import operator
import random
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from shared.clock import Clock
from shared.crm.simulator.world import (
    INTEGRATION,
    OBJECT_TYPE,
    OWNERS,
    PLURAL,
    TO_CONTACT,
    Owner,
    Record,
    World,
    to_ms,
    to_text,
)
from shared.events import RecordType

Handler = Callable[[Request], Awaitable[Response]]

WINDOW_S: Final = 10.0
MAX_INPUTS: Final = 100
MAX_INPUTS_WITH_HISTORY: Final = 50
MAX_PAGE, MAX_FOUND = 200, 10_000  # records of a page of a search, and of all its pages
MAX_LISTED: Final = 100  # records of a page of a listing
SEARCHES_A_SECOND: Final = 5
DISPOSITIONS: Final = {
    "Busy": "9d9162e7-6cf3-4944-bf63-4dff82258764",
    "Connected": "f240bbac-87c9-4f6e-bf70-924b57d47db7",
    "Left live message": "a4c4c377-d246-4b32-a13b-75a56a4cd0ff",
    "Left voicemail": "b2cf5968-551e-4856-9783-52b3da59a7d0",
    "No answer": "73a0d17f-1163-4015-bdd5-ec830791da20",
    "Wrong number": "17b47fee-58de-441e-a44c-c6300d46f273",
}
DEFAULTS: Final[dict[RecordType, tuple[str, ...]]] = {
    RecordType.CONTACT: ("createdate", "email", "firstname", "hs_object_id", "lastmodifieddate", "lastname"),
    RecordType.COMPANY: ("createdate", "domain", "hs_lastmodifieddate", "hs_object_id", "name"),
    RecordType.DEAL: (
        "amount",
        "createdate",
        "dealname",
        "dealstage",
        "hs_lastmodifieddate",
        "hs_object_id",
        "pipeline",
    ),
}
# What HubSpot gives every account, as far as anybody here speaks of it.
KNOWN: Final[dict[RecordType, tuple[str, ...]]] = {
    RecordType.CONTACT: (
        *("address", "annualrevenue", "city", "company", "country", "email", "fax", "firstname", "gender"),
        *("hs_analytics_last_url", "hs_analytics_source", "hs_buying_role", "hs_language", "hs_lead_status"),
        *("hs_persona", "hs_seniority", "hubspot_owner_id", "industry", "jobtitle", "lastname", "lifecyclestage"),
        *("associatedcompanyid", "message", "mobilephone", "numemployees", "phone", "recent_conversion_date"),
        *("recent_conversion_event_name", "salutation", "state", "website", "work_email", "zip"),
    ),
    RecordType.COMPANY: (
        *("address", "annualrevenue", "city", "country", "description", "founded_year", "hubspot_owner_id"),
        *("industry", "is_public", "lifecyclestage", "numberofemployees", "phone", "state", "timezone", "type"),
        *("website", "zip"),
    ),
}
OWN: Final = ("hs_createdate", "hs_lastmodifieddate", "hs_object_id")

KINDS: Final[dict[str, RecordType]] = {
    name: kind for kind in RecordType for name in (str(kind), PLURAL[kind], OBJECT_TYPE[kind])
}


@dataclass(frozen=True, kw_only=True)
class ApiOptions:
    """How the API behaves: `failures` is the share of requests that get a 5xx."""

    token: str
    rate_limit: int = 190  # requests in ten seconds
    searches_a_second: int = SEARCHES_A_SECOND
    failures: float = 0.0


class ApiError(Exception):
    """An answer in HubSpot's error format."""

    def __init__(self, status: int, category: str, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"status": "error", "message": message, "correlationId": str(uuid.uuid4()), **more}
        if category:
            self.body["category"] = category

    def response(self) -> Response:
        return JSONResponse(self.body, status_code=self.status)


class Api:
    """The routes of the CRM's API over one world."""

    def __init__(self, world: World, options: ApiOptions, clock: Clock, *, seed: int) -> None:
        self._world = world
        self._options = options
        self._clock = clock
        self._rng = random.Random(f"{seed}:api")
        self._asked: deque[float] = deque()
        self._searched: deque[float] = deque()
        self.requests = 0
        self.limited = 0

    def routes(self) -> list[Route]:
        """What the app serves under /crm, /marketing, /calling and /account-info."""
        objects, one = "/crm/v3/objects/{kind}", "/crm/v3/objects/{kind}/{record_id}"
        table: tuple[tuple[str, str, Handler], ...] = (
            (f"{objects}/batch/read", "POST", self._batch_read),
            (f"{objects}/batch/update", "POST", self._batch_update),
            (f"{objects}/search", "POST", self._search),
            (f"{objects}/merge", "POST", self._merge),
            (objects, "POST", self._create),
            (objects, "GET", self._list),
            (one, "GET", self._read),
            (one, "PATCH", self._update),
            (one, "DELETE", self._delete),
            ("/crm/v4/associations/{from_kind}/{to_kind}/batch/read", "POST", self._associations),
            ("/crm/v3/properties/{kind}", "GET", self._properties),
            ("/crm/v3/owners", "GET", self._owners),
            ("/crm/v3/owners/{owner_id}", "GET", self._owner),
            ("/marketing/v3/forms/{guid}", "GET", self._form),
            ("/calling/v1/dispositions", "GET", self._dispositions),
            ("/account-info/v3/details", "GET", self._account),
        )
        return [Route(path, self._guarded(handler), methods=[method]) for path, method, handler in table]

    def _guarded(self, handler: Handler) -> Handler:
        async def guarded(request: Request) -> Response:
            self.requests += 1
            try:
                self._let_in(request)
                return await handler(request)
            except ApiError as error:
                return error.response()

        return guarded

    def _let_in(self, request: Request) -> None:
        if request.headers.get("authorization") != f"Bearer {self._options.token}":
            raise ApiError(401, "INVALID_AUTHENTICATION", "Authentication credentials not found.")
        self._count()
        if self._rng.random() < self._options.failures:
            raise ApiError(self._rng.choice((500, 502, 503)), "", "internal error")

    def _count(self) -> None:
        self._limit(self._asked, WINDOW_S, self._options.rate_limit, "TEN_SECONDLY_ROLLING")

    def _limit(self, asked: deque[float], window_s: float, most: int, policy: str) -> None:
        now = time.monotonic()  # a limit of the network: real time
        while asked and asked[0] <= now - window_s:
            asked.popleft()
        if len(asked) >= most:
            self.limited += 1
            message = f"You have reached your {policy.lower()} limit."
            raise ApiError(429, "RATE_LIMITS", message, errorType="RATE_LIMIT", policyName=policy)
        asked.append(now)

    # --- records ---

    async def _batch_read(self, request: Request) -> Response:
        kind, asked = _kind(request.path_params["kind"]), await _body(request)
        with_history = _names(asked, "propertiesWithHistory")
        names = _names(asked, "properties") + with_history
        ids = _inputs(asked, MAX_INPUTS_WITH_HISTORY if with_history else MAX_INPUTS)
        by = asked.get("idProperty") or ""
        found = [(i, self._found(kind, i, by)) for i in dict.fromkeys(one["id"] for one in ids)]
        results = [_shown(record, names, with_history) for _, record in found if record is not None]
        missing = [str(i) for i, record in found if record is None]
        errors = [_error("OBJECT_NOT_FOUND", "Could not get some objects, they may be deleted", ids=missing)]
        return self._batch(results, errors if missing else [])

    def _found(self, kind: RecordType, wanted: Any, by: str) -> Record | None:
        """By its id, or by a property that is unique."""
        if not by:
            return self._world.find(kind, _number(wanted))
        same = str(wanted).lower()
        return next((r for r in self._world.of_kind(kind) if (r.get(by) or "").lower() == same), None)

    async def _batch_update(self, request: Request) -> Response:
        kind, asked = _kind(request.path_params["kind"]), await _body(request)
        results, missing = [], []
        for one in _inputs(asked, MAX_INPUTS):
            record = self._world.find(kind, _number(one["id"]))
            if record is None:
                missing.append(str(one["id"]))
                continue
            self._world.update(record, _properties(one), INTEGRATION)
            results.append(_shown(record, (), ()))
        errors = [_error("OBJECT_NOT_FOUND", "Could not update some objects", ids=missing)]
        return self._batch(results, errors if missing else [])

    async def _create(self, request: Request) -> Response:
        kind, asked = _kind(request.path_params["kind"]), await _body(request)
        associations = asked.get("associations") or []
        contacts = [_number(association["to"]["id"]) for association in associations]
        for contact in contacts:
            if self._world.find(RecordType.CONTACT, contact) is None:
                raise ApiError(400, "VALIDATION_ERROR", f"No CONTACT with ID {contact} exists.")
        record = self._world.create(kind, _properties(asked), INTEGRATION, contacts=contacts)
        return JSONResponse(_shown(record, (), ()), status_code=201)

    async def _read(self, request: Request) -> Response:
        names, with_history = (
            tuple(request.query_params.get(key, "").split(",")) for key in ("properties", "propertiesWithHistory")
        )
        history = tuple(filter(None, with_history))
        return JSONResponse(_shown(self._record(request), tuple(filter(None, names)) + history, history))

    async def _update(self, request: Request) -> Response:
        record = self._record(request)
        self._world.update(record, _properties(await _body(request)), INTEGRATION)
        return JSONResponse(_shown(record, (), ()))

    async def _delete(self, request: Request) -> Response:
        self._world.delete(self._record(request), INTEGRATION)
        return Response(status_code=204)

    async def _merge(self, request: Request) -> Response:
        kind, asked = _kind(request.path_params["kind"]), await _body(request)
        primary, other = (self._there(kind, asked.get(name)) for name in ("primaryObjectId", "objectIdToMerge"))
        if primary is other:
            raise ApiError(400, "VALIDATION_ERROR", "Cannot merge an object with itself")
        return JSONResponse(_shown(self._world.merge(primary, other, INTEGRATION), (), ()))

    async def _list(self, request: Request) -> Response:
        """By rising ids; `after` is the id that the next page begins with."""
        kind, asked = _kind(request.path_params["kind"]), request.query_params
        limit, after = int(asked.get("limit") or 10), _number(asked.get("after") or 0)
        if limit > MAX_LISTED:
            raise ApiError(400, "VALIDATION_ERROR", f"limit must be at most {MAX_LISTED}")
        of_kind = self._world.archived_of_kind if asked.get("archived") == "true" else self._world.of_kind
        found = sorted((record for record in of_kind(kind) if record.id >= after), key=lambda record: record.id)
        names = tuple(filter(None, asked.get("properties", "").split(",")))
        body: dict[str, Any] = {"results": [_shown(record, names, ()) for record in found[:limit]]}
        if len(found) > limit:
            body["paging"] = {"next": {"after": str(found[limit].id)}}
        return JSONResponse(body)

    def _record(self, request: Request) -> Record:
        return self._there(_kind(request.path_params["kind"]), request.path_params["record_id"])

    def _there(self, kind: RecordType, record_id: Any) -> Record:
        record = self._world.find(kind, _number(record_id))
        if record is None:
            raise ApiError(404, "OBJECT_NOT_FOUND", "Object not found.  objectId are usually numeric.")
        return record

    # --- search ---

    async def _search(self, request: Request) -> Response:
        self._limit(self._searched, 1.0, self._options.searches_a_second, "SECONDLY")
        kind, asked = _kind(request.path_params["kind"]), await _body(request)
        limit, start = int(asked.get("limit") or 10), int(asked.get("after") or 0)
        if limit > MAX_PAGE:
            raise ApiError(400, "VALIDATION_ERROR", f"limit must be at most {MAX_PAGE}")
        if start + limit > MAX_FOUND:
            raise ApiError(400, "VALIDATION_ERROR", f"a search finds at most {MAX_FOUND} records")
        groups = [group.get("filters") or [] for group in asked.get("filterGroups") or []]
        known = ((record, record.properties()) for record in self._world.of_kind(kind))
        found = [
            record
            for record, properties in known
            if not groups or any(all(_meets(properties, one) for one in group) for group in groups)
        ]
        for sort in asked.get("sorts") or []:
            by, falls = str(sort["propertyName"]), sort.get("direction") == "DESCENDING"
            found.sort(key=lambda record: _in_order(record.properties().get(by)), reverse=falls)
        names = _names(asked, "properties")
        results = [_shown(record, names, ()) for record in found[start : start + limit]]
        body: dict[str, Any] = {"total": len(found), "results": results}
        if start + limit < len(found):
            body["paging"] = {"next": {"after": str(start + limit)}}
        return JSONResponse(body)

    # --- properties, associations, owners, dispositions ---

    async def _properties(self, request: Request) -> Response:
        kind = _kind(request.path_params["kind"])
        names = sorted({*KNOWN.get(kind, ()), *DEFAULTS.get(kind, ()), *OWN})
        shown = [{"name": name, "label": name, "type": "string", "fieldType": "text"} for name in names]
        return JSONResponse({"results": shown})

    async def _associations(self, request: Request) -> Response:
        from_kind, to_kind = (_kind(request.path_params[end]) for end in ("from_kind", "to_kind"))
        results, errors = [], []
        for one in _inputs(await _body(request), MAX_INPUTS * 10):
            from_id = _number(one["id"])
            others = self._associated(from_kind, from_id, to_kind)
            if others:
                results.append({"from": {"id": str(from_id)}, "to": [_end(from_kind, to_kind, i) for i in others]})
            else:
                sub = {"subCategory": "crm.associations.NO_ASSOCIATIONS_FOUND"}
                message = f"No {to_kind} is associated with {from_kind} {from_id}."
                errors.append(_error("OBJECT_NOT_FOUND", message, fromObjectId=[str(from_id)]) | sub)
        return self._batch(results, errors)

    def _associated(self, from_kind: RecordType, from_id: int, to_kind: RecordType) -> Sequence[int]:
        if to_kind is RecordType.CONTACT:
            record = self._world.find(from_kind, from_id)
            return record.contacts if record else ()
        if from_kind is RecordType.CONTACT:
            return [record.id for record in self._world.of_contact(from_id, to_kind)]
        return ()

    async def _owners(self, request: Request) -> Response:
        wanted = request.query_params.get("email")
        return JSONResponse({"results": [_owner(o) for o in OWNERS if wanted in (None, o.email)]})

    async def _owner(self, request: Request) -> Response:
        for owner in OWNERS:
            if str(owner.id) == request.path_params["owner_id"]:
                return JSONResponse(_owner(owner))
        raise ApiError(404, "OBJECT_NOT_FOUND", "No owner exists with this id.")

    async def _form(self, request: Request) -> Response:
        guid = str(request.path_params["guid"])
        if guid not in self._world.forms:
            raise ApiError(404, "OBJECT_NOT_FOUND", "No form exists with this id.")
        return JSONResponse({"id": guid, "name": self._world.forms[guid], "formType": "hubspot", "archived": False})

    async def _account(self, request: Request) -> Response:
        return JSONResponse({"portalId": self._world.portal, "accountType": "STANDARD", "timeZone": "UTC"})

    async def _dispositions(self, request: Request) -> Response:
        return JSONResponse([{"label": label, "id": guid, "deleted": False} for label, guid in DISPOSITIONS.items()])

    def _batch(self, results: Sequence[Any], errors: Sequence[Any]) -> Response:
        now = to_text(to_ms(self._clock.now()))
        body: dict[str, Any] = {"status": "COMPLETE", "results": results, "startedAt": now, "completedAt": now}
        if errors:
            body |= {"numErrors": len(errors), "errors": errors}
        return Response(msgspec.json.encode(body), status_code=207 if errors else 200, media_type="application/json")


def _shown(record: Record, names: Iterable[str], with_history: Iterable[str]) -> dict[str, Any]:
    known = record.properties()
    wanted = [*(tuple(names) or DEFAULTS.get(record.type, ())), *(n for n in OWN if n in known)]
    shown = {
        "id": str(record.id),
        "properties": {name: known.get(name) for name in dict.fromkeys(wanted)},
        "createdAt": to_text(record.created_ms),
        "updatedAt": to_text(record.changed_ms),
        "archived": record.archived_ms is not None,
    }
    if record.archived_ms is not None:
        shown["archivedAt"] = to_text(record.archived_ms)
    if histories := {name: _history(record, name) for name in with_history}:
        shown["propertiesWithHistory"] = histories
    return shown


def _in_order(value: str | None) -> float:
    """Numbers and times are found and sorted as what they are; what is neither comes first."""
    text = value or ""
    if text.lstrip("-").replace(".", "", 1).isdigit():
        return float(text)
    try:
        return datetime.fromisoformat(text).timestamp() * 1000
    except ValueError:
        return -math.inf


_COMPARISONS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "GT": operator.gt,
    "GTE": operator.ge,
    "LT": operator.lt,
    "LTE": operator.le,
}


def _meets(properties: Mapping[str, str], asked: Mapping[str, Any]) -> bool:
    name, wanted = str(asked.get("propertyName")), str(asked.get("value") or "")
    value, how = properties.get(name), str(asked.get("operator"))
    if how == "EQ":
        return (value or "").lower() == wanted.lower()
    if how == "HAS_PROPERTY":
        return bool(value)
    if how not in _COMPARISONS:
        raise ApiError(400, "VALIDATION_ERROR", f"operator {how} is not supported")
    return bool(value) and _COMPARISONS[how](_in_order(value), _in_order(wanted))


def _history(record: Record, name: str) -> list[dict[str, str]]:
    """The newest first, as the CRM tells it."""
    return [
        {"value": v.value, "timestamp": to_text(v.ms), "sourceType": v.source.kind, "sourceId": v.source.id}
        for v in reversed(record.history.get(name, ()))
    ]


def _end(from_kind: RecordType, to_kind: RecordType, record_id: int) -> dict[str, Any]:
    type_id = TO_CONTACT[from_kind] if to_kind is RecordType.CONTACT else TO_CONTACT[to_kind] - 1
    return {
        "toObjectId": record_id,
        "associationTypes": [{"category": "HUBSPOT_DEFINED", "typeId": type_id, "label": None}],
    }


def _owner(owner: Owner) -> dict[str, Any]:
    return {
        "id": str(owner.id),
        "email": owner.email,
        "type": "PERSON",
        "firstName": owner.first_name,
        "lastName": owner.last_name,
        "userId": owner.id + 1000,
        "archived": False,
    }


def _error(category: str, message: str, **context: Any) -> dict[str, Any]:
    return {"status": "error", "category": category, "message": message, "context": context}


def _kind(name: str) -> RecordType:
    if name not in KINDS:
        raise ApiError(400, "VALIDATION_ERROR", f"Unable to infer object type from: {name}")
    return KINDS[name]


def _number(text: Any) -> int:
    try:
        return int(text)
    except (TypeError, ValueError):
        raise ApiError(400, "VALIDATION_ERROR", "an id must be a number") from None


async def _body(request: Request) -> dict[str, Any]:
    try:
        return msgspec.json.decode(await request.body(), type=dict[str, Any])
    except msgspec.MsgspecError:
        raise ApiError(400, "VALIDATION_ERROR", "Invalid input JSON") from None


def _inputs(asked: Mapping[str, Any], most: int) -> list[Mapping[str, Any]]:
    inputs = asked.get("inputs")
    if not isinstance(inputs, list) or not all(isinstance(one, dict) and "id" in one for one in inputs):
        raise ApiError(400, "VALIDATION_ERROR", "inputs must be a list of objects with an id")
    if len(inputs) > most:
        raise ApiError(400, "VALIDATION_ERROR", f"The maximum number of inputs supported in a batch is {most}")
    return inputs


def _names(asked: Mapping[str, Any], key: str) -> tuple[str, ...]:
    return tuple(asked.get(key) or ())


def _properties(asked: Mapping[str, Any]) -> dict[str, str]:
    given = asked.get("properties")
    if not isinstance(given, dict):
        raise ApiError(400, "VALIDATION_ERROR", "properties must be an object")
    return {str(name): "" if value is None else str(value) for name, value in given.items()}
