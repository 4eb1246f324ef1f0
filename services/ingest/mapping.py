"""The file that says what events of others mean: read once at the start, every error with file, line and key."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from services.ingest.domain.mapped import Activity, Rule, Value
from shared.agreement.source import Problem, Source

MAX_BYTES: Final = 1_000_000
_PATH: Final = re.compile(r"\$((?:\.[\w-]+|\[\d+\])+)")
_PART: Final = re.compile(r"\.([\w-]+)|\[(\d+)\]")
FACTS: Final = ("form", "visit", "properties", "activity")


def value_of(said: Any) -> Value:
    """`$.a.b[0]` is where it stands in the event; anything else is the text itself. Raises ValueError."""
    if not isinstance(said, str) or not said:
        raise ValueError("must be a path such as $.data.email, or a text")
    if not said.startswith("$"):
        return Value(said=said)
    whole = _PATH.fullmatch(said)
    if not whole:
        raise ValueError("must be a path such as $.data.items[0].name")
    parts = (int(number) if number else name for name, number in _PART.findall(whole.group(1)))
    return Value(said=said, path=tuple(parts))


def path_of(said: Any) -> Value:
    """A value that is a path. Raises ValueError."""
    found = value_of(said)
    if found.path is None:
        raise ValueError("must be a path such as $.data.email")
    return found


AValue = Annotated[Any, BeforeValidator(value_of)]
APath = Annotated[Any, BeforeValidator(path_of)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Activity(_Model):
    channel: AValue
    direction: AValue
    outcome: AValue
    by: APath | None = None


class _Event(_Model):
    name: str
    when: dict[str, str] = Field(min_length=1)
    id: APath | None = None
    at: APath | None = None
    contact: APath | None = None
    email: APath | None = None
    form: AValue | None = None
    visit: APath | None = None
    properties: dict[str, AValue] = {}
    activity: _Activity | None = None

    @model_validator(mode="after")
    def _makes_one_fact_of_somebody(self) -> Self:
        made = [name for name in FACTS if getattr(self, name)]
        if len(made) != 1 and made != ["form", "visit"]:
            raise ValueError("must make one fact: form (with visit for its page), visit, properties or activity")
        if (self.contact is None) == (self.email is None):
            raise ValueError("must say whose it is: contact, or email")
        if self.email is not None and made[0] in ("properties", "activity"):
            raise ValueError(f"{made[0]} need a contact; by an email only a form or a visit can be told")
        return self

    def rule(self) -> Rule:
        said = {name: getattr(self, name) for name in ("name", "id", "at", "contact", "email", "form", "visit")}
        activity = Activity(**dict(self.activity)) if self.activity else None
        when = {path_of(path): text for path, text in self.when.items()}
        return Rule(when=when, properties=self.properties, activity=activity, **said)


class _Mapping(_Model):
    events: list[_Event] = Field(min_length=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """A file with what it says; without a file nothing is declared."""

    file: str = ""
    rules: tuple[Rule, ...] = ()

    def __str__(self) -> str:
        return self.file

    @classmethod
    def read(cls, file: str) -> Declared:
        """Raises ValueError with everything that is wrong."""
        return cls(file=file, rules=load(Path(file)))


def load(path: Path) -> tuple[Rule, ...]:
    """The rules in the file. Raises ValueError with every problem, a line each."""
    source = Source(file=str(path), begins="events:")
    data = source.parse(_read(path))
    events = _checked(data, source) if data is not None and not source.problems else ()
    if source.problems:
        raise ValueError(f"{path} cannot be used:\n" + "\n".join(map(str, source.problems)))
    return tuple(event.rule() for event in events)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        text = content.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {type(error).__name__}") from error
    if len(content) > MAX_BYTES:
        raise ValueError(f"{path} must not be larger than {MAX_BYTES} bytes")
    return text


def _checked(data: Mapping[str, Any], source: Source) -> Sequence[_Event]:
    """The events; what is wrong with them goes to the source's problems."""
    try:
        events = _Mapping.model_validate(data).events
    except ValidationError as error:
        source.problems.extend(_problems(error, source))
        return ()
    keys = [(n, key) for n, event in enumerate(events) for key in event.when]
    for n, key in keys:  # pydantic tells nothing of the place of a key
        try:
            path_of(key)
        except ValueError as error:
            source.problems.append(source.problem(("events", n, "when", key), str(error), on_key=True))
    return events


def _problems(error: ValidationError, source: Source) -> Iterator[Problem]:
    for one in error.errors(include_url=False, include_input=False):
        at, kind = one["loc"], one["type"]
        if kind == "missing":
            yield source.missing(at)
        elif kind == "extra_forbidden":
            yield source.problem(at, "is not known", on_key=True)
        else:
            text = one["msg"].removeprefix("Value error, ")
            yield source.problem(at, text[:1].lower() + text[1:])
