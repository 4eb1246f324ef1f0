"""What is known of a lead, and how each fact changes it: the same whatever the order and however often.

Every change is a join: the greater of two values, the union of two sets, the newest of many. So
facts commute, and hearing one twice changes nothing. A function returns the very same lead when
nothing changed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime
from itertools import takewhile
from math import inf
from operator import itemgetter
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from msgspec import Struct, field
from msgspec.structs import replace

from shared.errors import Refused
from shared.events import PropertyValue

MAX_FORMS: Final = 50
MAX_PAGES: Final = 100
MAX_CHANGES: Final = 20  # of one property
MAX_ENGAGEMENTS: Final = 50
MAX_VALUE: Final = 1000  # characters of a property's value or a form's name
MAX_URL: Final = 300
SAME_S: Final = 60.0  # one form submitted or one page visited again within that is told twice


class Value(NamedTuple):
    """A property's value and when it was set, in seconds. "" is cleared. The greatest one counts. PERSONAL."""

    at: float
    value: str


class Act(NamedTuple):
    """Something the lead did: a form submitted (on a page) or a page visited. `id` is its message's."""

    at: float
    id: str
    form: str
    page: str


class Change(NamedTuple):
    """A value that a property came to, "" when it was cleared; `id` is of the message that told it. PERSONAL: value."""

    at: float
    value: str
    id: str


class Engagement(NamedTuple):
    """An email or a meeting as the CRM had it at `seen_at`; `on` is what the lead did by it, "" for nothing.

    The greatest one counts of those of one `activity`: a meeting may be moved, held or cancelled.
    """

    seen_at: float
    activity: str
    on: str
    at: float
    id: str


class Told(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """What was last published of the lead: `digest` stands for all of it but the fading interest.

    `agreement` is the version by which it was last judged, also when that told nothing. `since` is when
    its first score was told: versions count from there. Before `fades_at` waiting alone
    changes nothing of what was told, inf: never; 0: that is not known yet, so that it is due to be found out.
    """

    version: int
    digest: str
    agreement: str
    since: datetime | None = None
    fades_at: float = 0.0


class Lead(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """All that scoring knows of one lead. PERSONAL: properties, forms, pages, changes.

    `changes` are of those properties alone whose changes the agreement takes for acts, the oldest first.
    """

    properties: dict[str, Value] = field(default_factory=dict)
    forms: tuple[Act, ...] = ()
    pages: tuple[Act, ...] = ()
    changes: dict[str, tuple[Change, ...]] = field(default_factory=dict)
    engagements: tuple[Engagement, ...] = ()
    first_seen: float | None = None
    last_seen: float | None = None
    deleted_at: float | None = None
    erased: bool = False
    merged_into: str = ""
    told: Told | None = None

    @property
    def gone(self) -> bool:
        """Nothing more is said of it: forgotten, part of another, or deleted and not seen since."""
        deleted = self.deleted_at is not None and (self.last_seen is None or self.last_seen <= self.deleted_at)
        return self.erased or bool(self.merged_into) or deleted

    @property
    def closed(self) -> bool:
        """Nothing can change it any more."""
        return self.erased or bool(self.merged_into)

    @property
    def fades_at(self) -> datetime | None:
        """When waiting alone may change what was told of it; None: never, or there is nothing to tell."""
        if self.gone or self.told is None or self.told.fades_at == inf:
            return None
        return datetime.fromtimestamp(self.told.fades_at, UTC)

    @property
    def judged_by(self) -> str | None:
        """The agreement by which it was last judged; None when there is nothing to judge, or never was."""
        return None if self.gone or self.told is None else self.told.agreement


def seconds(at: datetime) -> float:
    """A moment as seconds since 1970. Raises Refused for one without a zone."""
    if at.tzinfo is None:
        raise Refused("undecodable", "a time without a zone in `values`")
    return at.timestamp()


def with_values(lead: Lead, values: Iterable[PropertyValue]) -> Lead:
    """The newest value of each property wins; of two at the same moment the greater one."""
    properties = lead.properties
    for said in values:
        value = Value(seconds(said.at), (said.value or "")[:MAX_VALUE])
        known = properties.get(said.name)
        if known is None or value > known:
            if properties is lead.properties:
                properties = dict(properties)
            properties[said.name] = value
    return lead if properties is lead.properties else replace(lead, properties=properties)


def with_changes(lead: Lead, id_: str, values: Iterable[PropertyValue], followed: Collection[str]) -> Lead:
    """The newest MAX_CHANGES of each property that is followed are kept."""
    changes = lead.changes
    for said in values:
        if said.name in followed:
            change = Change(seconds(said.at), (said.value or "")[:MAX_VALUE], id_)
            changes = _with_changes(changes, said.name, (change,))
    return lead if changes is lead.changes else replace(lead, changes=changes)


def with_engagement(lead: Lead, engagement: Engagement) -> Lead:
    """The newest MAX_ENGAGEMENTS are kept, by when the CRM had them as they are: which these are no order changes."""
    engagements = _with_engagements(lead.engagements, (engagement,))
    return lead if engagements is lead.engagements else replace(lead, engagements=engagements)


def with_form(lead: Lead, id_: str, at: float, form: str, page: str) -> Lead:
    """The newest MAX_FORMS submissions are kept."""
    forms = _with(lead.forms, (Act(at, id_, form[:MAX_VALUE], _page(page)),), MAX_FORMS)
    return lead if forms is lead.forms else replace(lead, forms=forms)


def with_page(lead: Lead, id_: str, at: float, url: str) -> Lead:
    """The newest MAX_PAGES visits are kept."""
    pages = _with(lead.pages, (Act(at, id_, "", _page(url)),), MAX_PAGES)
    return lead if pages is lead.pages else replace(lead, pages=pages)


def submissions(lead: Lead) -> tuple[Act, ...]:
    """The forms, each once: two doors may tell of one submission, a moment apart and under two names.

    The CRM calls it "page: form" where the form itself says its name alone. Goes by what is known, so the
    order in which it came does not matter; of two the earlier one stays.
    """
    once: list[tuple[str, Act]] = []
    for act in lead.forms:  # the oldest first
        name = act.form.strip().casefold()
        recent = takewhile(lambda one: act.at - one[1].at < SAME_S, reversed(once))  # noqa: B023  # used at once
        if not any(_is_one_form(name, other) for other, _ in recent):
            once.append((name, act))
    return tuple([act for _, act in once])


def _is_one_form(name: str, other: str) -> bool:
    return name == other or name.endswith(f": {other}") or other.endswith(f": {name}")


def visits(lead: Lead) -> Iterator[Act]:
    """The pages, each once: two doors may tell of one visit, and who loads a page again is not more interested."""
    last: dict[str, float] = {}
    for act in lead.pages:  # the oldest first
        if act.at - last.get(act.page, -inf) >= SAME_S:
            last[act.page] = act.at
            yield act


def seen(lead: Lead, at: float) -> Lead:
    """It was heard of at this moment."""
    first = at if lead.first_seen is None else min(lead.first_seen, at)
    last = at if lead.last_seen is None else max(lead.last_seen, at)
    if first == lead.first_seen and last == lead.last_seen:
        return lead
    return replace(lead, first_seen=first, last_seen=last)


def deleted(lead: Lead, at: float) -> Lead:
    """Deleted in the CRM; a later fact brings it back."""
    if lead.closed or (lead.deleted_at is not None and lead.deleted_at >= at):
        return lead
    return replace(lead, deleted_at=at)


def erased(lead: Lead) -> Lead:
    """Forgotten for good: only that it was, and the number of its last score, stay."""
    return lead if lead.erased else Lead(erased=True, told=_without_digest(lead.told))


def united(lead: Lead, other: Lead) -> Lead:
    """The lead with the history of another that was merged into it. Its own numbers go on.

    Both are one person: forgotten under one key is forgotten.
    """
    if other.erased:
        return erased(lead)
    if lead.closed:
        return lead
    properties = dict(lead.properties)
    for name, value in other.properties.items():
        if name not in properties or value > properties[name]:
            properties[name] = value
    changes = lead.changes
    for name, theirs in other.changes.items():
        changes = _with_changes(changes, name, theirs)
    whole = replace(
        lead,
        properties=properties,
        changes=changes,
        engagements=_with_engagements(lead.engagements, other.engagements),
        forms=_with(lead.forms, other.forms, MAX_FORMS),
        pages=_with(lead.pages, other.pages, MAX_PAGES),
    )
    for at in (other.first_seen, other.last_seen):
        whole = whole if at is None else seen(whole, at)
    return whole


def merged_into(lead: Lead, survivor: str) -> Lead:
    """What is left of a lead that became part of another: whoever hears of it goes on there."""
    return lead if lead.closed else Lead(merged_into=survivor, told=_without_digest(lead.told))


def _without_digest(told: Told | None) -> Told | None:
    return None if told is None else replace(told, digest="")


def _with(acts: tuple[Act, ...], more: tuple[Act, ...], limit: int) -> tuple[Act, ...]:
    """Told twice of one moment it is one act, with the lesser id: a merged contact's are told by either key."""
    known = {act.id for act in acts}
    new = [act for act in more if act.id not in known]
    if not new:
        return acts
    at_once = len(new) > 1 or any(act.at == new[0].at for act in acts)
    newest = tuple(sorted(_once((*acts, *new)) if at_once else (*acts, *new), key=_by_time)[-limit:])
    return acts if newest == acts else newest


_by_time: Final = itemgetter(0, 2, 3)  # not by the id, of which a later word may tell a lesser


def _once(acts: Iterable[Act]) -> Iterator[Act]:
    ids: dict[tuple[float, str, str], str] = {}
    for act in acts:
        what = act.at, act.form, act.page
        ids[what] = min(ids.get(what, act.id), act.id)
    return (Act(at, id_, form, page) for (at, form, page), id_ in ids.items())


def _with_changes(
    changes: dict[str, tuple[Change, ...]], name: str, more: tuple[Change, ...]
) -> dict[str, tuple[Change, ...]]:
    """Told twice of one moment and value it is one change, with the lesser id."""
    known = changes.get(name, ())
    ids: dict[tuple[float, str], str] = {}
    for change in (*known, *more):
        at = change[:2]
        ids[at] = min(ids.get(at, change.id), change.id)
    newest = tuple(Change(*at, ids[at]) for at in sorted(ids)[-MAX_CHANGES:])
    return changes if newest == known else {**changes, name: newest}


def _with_engagements(known: tuple[Engagement, ...], more: tuple[Engagement, ...]) -> tuple[Engagement, ...]:
    latest: dict[str, Engagement] = {}
    for one in (*known, *more):
        latest[one.activity] = max(latest.get(one.activity, one), one)
    newest = tuple(sorted(latest.values())[-MAX_ENGAGEMENTS:])
    return known if newest == known else newest


def _page(url: str) -> str:
    """Host and path alone: what follows may name the person."""
    try:
        parts = urlsplit(url if "//" in url else f"//{url}")
    except ValueError:
        return ""
    return f"{parts.hostname or ''}{parts.path or '/'}"[:MAX_URL] if url else ""
