"""Past leads from a CSV file: a line each, its columns CRM properties, or named by a mapping."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Final, TypeVar

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from services.commands.evaluating.history import History, LeftOut, PastLead, settled
from services.scoring.domain import lead as leads
from services.scoring.domain.lead import Lead, Value
from shared.agreement.conditions import PROPERTY_NAME
from shared.errors import Broken

T = TypeVar("T")

LEAD, DATE, CONVERTED, FORMS, PAGES = "lead", "date", "converted", "forms", "pages"
OURS: Final = (LEAD, DATE, CONVERTED, FORMS, PAGES)
EXAMPLES: Final = {DATE: "Became MQL", CONVERTED: "Lifecycle Stage"}  # of what columns are called elsewhere
YES: Final = frozenset({"yes", "y", "true", "1"})
NO: Final = frozenset({"", "no", "n", "false", "0"})
SEPARATOR, AT = ";", "@"
DELIMITERS: Final = ",;\t"
MOST_PROBLEMS: Final = 20
LIKE_A_DATE: Final = re.compile(r"\s*\d{1,4}[-./]\d")
WHOLE_DAY: Final = timedelta(days=1) - timedelta(microseconds=1)


@dataclass(frozen=True, kw_only=True)
class Mapped:
    """Which column holds what, and how the file says it. `properties`: the CRM's name → the column."""

    columns: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, str] | None = None  # None: every other column is a property by its own name
    converted_when: frozenset[str] = frozenset()  # what means yes; else a date, yes or no
    date_format: str = ""  # as Python's strptime; else ISO


class _Wrong(Exception):
    """What is wrong with one cell, in words that do not repeat it: it is personal data."""


def read(path: Path, mapping: Path | None, window: timedelta, until: datetime | None) -> History:
    """The history in the file. Raises Broken with every problem, each with file, line and column."""
    text = _text(path)
    mapped = read_mapping(mapping) if mapping else Mapped()
    table = _Table(path, mapped, text)
    found, last = list[PastLead](), list[datetime]()
    for line, row in table.rows():
        lead = table.lead(line, row)
        if lead is not None:
            found.append(lead)
            last += [lead.at, *([lead.converted_at] if lead.converted_at else [])]
    if table.problems:
        more = len(table.problems) - MOST_PROBLEMS
        shown = [*table.problems[:MOST_PROBLEMS], *([f"and {more} more"] if more > 0 else [])]
        raise Broken("csv_invalid", "\n".join(shown))
    if not found:
        raise Broken("no_history", f"{path} has no line with a lead that was handed off")
    left_out = LeftOut(never_handed_off=len(table.aside), converted_without_handoff=sum(table.aside))
    return settled(
        found, source=str(path.name), window=window, until=until or max(last), left_out=left_out, late_values=False
    )


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise Broken("cannot_read", f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Broken("cannot_read", f"{path} is no UTF-8: save it as CSV UTF-8") from error


# --- the mapping ---


def read_mapping(path: Path) -> Mapped:
    """Raises Broken, naming the key."""
    try:
        said = YAML(typ="safe", pure=True).load(_text(path))
    except YAMLError as error:
        raise Broken("mapping_invalid", f"{path} is not YAML") from error
    if not isinstance(said, dict):
        raise Broken("mapping_invalid", f"{path}: must be a mapping, as date: Became MQL")
    known = (*OURS, "converted_when", "date_format", "properties")
    if strange := [str(key) for key in said if key not in known]:
        raise Broken("mapping_invalid", f"{path}: {strange[0]}: is not known; here can stand {', '.join(known)}")
    properties = said.get("properties", {})
    if not isinstance(properties, dict):
        raise Broken("mapping_invalid", f"{path}: properties: must be a mapping, as jobtitle: Job Title")
    for name in properties:
        if not PROPERTY_NAME.match(str(name)):
            raise Broken("mapping_invalid", f"{path}: properties.{name}: must be a property's internal name")
    when = said.get("converted_when", [])
    return Mapped(
        columns={key: str(said[key]) for key in OURS if key in said},
        properties={str(name): str(column) for name, column in properties.items()},
        converted_when=frozenset(str(one).strip().casefold() for one in (when if isinstance(when, list) else [when])),
        date_format=str(said.get("date_format", "")),
    )


# --- the table ---


class _Table:
    """The file as its mapping reads it, and what is wrong so far.

    `aside`: of each lead without a date, which was never handed off, whether it converted all the same.
    """

    def __init__(self, path: Path, mapped: Mapped, text: str) -> None:
        self.problems: list[str] = []
        self.aside: list[bool] = []
        self._path = path
        self._mapped = mapped
        first = text.partition("\n")[0]
        self._reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(DELIMITERS, key=first.count))
        self._header = [name.strip() for name in next(self._reader, [])]
        self._places: dict[str, int] = {}
        for number, name in enumerate(self._header):
            if name in self._places:
                self._wrong(1, number, "stands here twice")
            self._places.setdefault(name, number)
        self._columns = {key: self._place(key, mapped.columns.get(key, key), key in mapped.columns) for key in OURS}
        self._properties = dict(self._property_places())
        if self.problems:
            raise Broken("csv_invalid", "\n".join(self.problems))

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """With the number of the line on which each begins."""
        before = self._reader.line_num
        try:
            for row in self._reader:
                if any(cell.strip() for cell in row):
                    if len(row) != len(self._header):
                        self._wrong(before + 1, None, f"has {len(row)} cells, the header {len(self._header)}")
                    else:
                        yield before + 1, row
                before = self._reader.line_num
        except csv.Error as error:
            self._wrong(before + 1, None, f"is no CSV: {error}")

    def lead(self, line: int, row: Sequence[str]) -> PastLead | None:
        """None: it was never handed off, or something is wrong with it."""
        handed_off = bool(self._cell(DATE, row))
        at = self._read(line, DATE, row, self._moment) if handed_off else None
        converted = self._read(line, CONVERTED, row, self._converted)
        if converted and not handed_off:
            self.aside.append(converted[0])
        if at is None or converted is None:
            return None
        known = self._known(line, row, at)
        hit, when = converted
        key = self._cell(LEAD, row) or f"line {line}"
        return PastLead(key=key, at=at, known=known, converted=hit, converted_at=when)

    # --- its columns ---

    def _place(self, key: str, column: str, is_named: bool) -> int | None:
        if column in self._places:
            return self._places[column]
        if key in (DATE, CONVERTED) or is_named:
            hint = "" if is_named else f"; name it in --mapping, as {key}: {EXAMPLES[key]}"
            self._wrong(1, None, f"has no column {column}{hint}")
        return None

    def _property_places(self) -> Iterator[tuple[str, int]]:
        if self._mapped.properties is not None:
            for name, column in self._mapped.properties.items():
                if (place := self._place("", column, True)) is not None:
                    yield name, place
            return
        for place, name in enumerate(self._header):
            if name in OURS:
                continue
            if PROPERTY_NAME.match(name):
                yield name, place
            else:
                self._wrong(1, place, "is no CRM property's internal name: name it so, or what it is in --mapping")

    # --- its cells ---

    def _cell(self, key: str, row: Sequence[str]) -> str:
        place = self._columns[key]
        return "" if place is None else row[place].strip()

    def _read(self, line: int, key: str, row: Sequence[str], read: Callable[[str], T]) -> T | None:
        try:
            return read(self._cell(key, row))
        except _Wrong as error:
            self._wrong(line, self._columns[key], str(error))
            return None

    def _moment(self, text: str, *, end_of_day: bool = True) -> datetime:
        """A day alone is its end: what happened on it was known. UTC where no zone is said."""
        wanted = f"as {self._mapped.date_format}" if self._mapped.date_format else "as 2026-03-01 or 2026-03-01T09:30"
        try:
            found = self._as_the_file_writes_it(text)
        except ValueError:
            raise _Wrong(f"must be a date, {wanted}") from None
        is_day = end_of_day and found.time() == time() and (":" not in text)
        found = found if found.tzinfo else found.replace(tzinfo=UTC)
        return found + WHOLE_DAY if is_day else found

    def _as_the_file_writes_it(self, text: str) -> datetime:
        """ISO counts beside a format of the file's own: acts are mostly written by another hand than its dates."""
        if self._mapped.date_format:
            with suppress(ValueError):
                return datetime.strptime(text, self._mapped.date_format)  # noqa: DTZ007 the caller's default is UTC
        return datetime.fromisoformat(text)

    def _converted(self, text: str) -> tuple[bool, datetime | None]:
        folded = text.casefold()
        if self._mapped.converted_when:
            return folded in self._mapped.converted_when, None
        if folded in YES or folded in NO:
            return folded in YES, None
        try:
            return True, self._moment(text)
        except _Wrong as error:
            raise _Wrong(f"must be yes, no, empty, or the date on which it did: {error}") from None

    def _known(self, line: int, row: Sequence[str], at: datetime) -> Lead:
        seconds = leads.seconds(at)
        properties = {
            name: Value(seconds, row[place].strip()[: leads.MAX_VALUE])
            for name, place in self._properties.items()
            if row[place].strip()
        }
        lead = Lead(properties=properties)
        for number, (what, when) in enumerate(self._acts(line, FORMS, row, at)):
            lead = leads.with_form(lead, f"form {number}", leads.seconds(when), what, "")
        for number, (what, when) in enumerate(self._acts(line, PAGES, row, at)):
            lead = leads.with_page(lead, f"page {number}", leads.seconds(when), what)
        return lead

    def _acts(self, line: int, key: str, row: Sequence[str], at: datetime) -> Iterator[tuple[str, datetime]]:
        """Those before the lead's date; one without a time of its own counts as of then."""
        for part in self._cell(key, row).split(SEPARATOR):
            what, marked, when = part.strip().rpartition(AT)
            try:
                moment = self._moment(when.strip(), end_of_day=False) if marked else at
            except _Wrong as error:
                if LIKE_A_DATE.match(when):
                    self._wrong(line, self._columns[key], f"what follows an @ {error}")
                    continue
                what, moment = part.strip(), at  # the @ is part of a name
            what = what.strip() or part.strip()
            if what and moment <= at:
                yield what, moment

    def _wrong(self, line: int, place: int | None, text: str) -> None:
        column = "" if place is None else f"{place + 1}: {self._header[place]}: "
        self.problems.append(f"{self._path}:{line}:{column or ' '}{text}")
