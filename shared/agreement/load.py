"""From a file to an agreement: YAML 1.2 by ruamel, and every error at once, with file, line and column."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any, Final, get_args

from pydantic import BaseModel, RootModel, ValidationError

from shared.agreement.conditions import PROBLEMS, Path
from shared.agreement.doubts import InCrm, doubts, unknown_in_crm
from shared.agreement.hours import PLACED
from shared.agreement.model import Agreement
from shared.agreement.partial import without_what_is_wrong
from shared.agreement.references import cross_references, unknown_names
from shared.agreement.source import Problem, Source
from shared.agreement.values import CONTACT_NAME, INTERNAL_NAME, SLUG, TENANT
from shared.errors import Refused

MAX_BYTES: Final = 1_000_000
# What pydantic says in the words of a programmer.
IN_WORDS: Final = {
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "dict_type": "must be names, each with a colon and what it means, and no list",
    "model_type": "must be names, each with a colon and what it means",
    "tuple_type": "must be a list, each on a line of its own after a dash, or in brackets",
    "string_type": "must be a text",
    "date_parsing": "must be a day, as 2027-01-31",
    "date_from_datetime_parsing": "must be a day, as 2027-01-31",
    "date_from_datetime_inexact": "must be a day, as 2027-01-31",
    "too_short": "must name one at least",
}
PATTERNS: Final = {
    SLUG: "must be a name in small letters, digits, - and _, that starts with a letter",
    TENANT: "must be a CRM and an account in it, as hubspot:62515",
    CONTACT_NAME: "must be the internal name of a contact's property: small letters, digits and _",
    INTERNAL_NAME: "must be a property's internal name, small letters, digits and _; or company.NAME",
}
# What a later version will enforce. Until then a file that says it would promise what nobody keeps.
NOT_YET: Final = ("capacity", "keep_owner", "mode", "manual", "tell_sales", "who", "review")


def load(path: FilePath | str) -> Agreement:
    """The agreement in the file. Raises Refused (`agreement_invalid`) with every problem, a line each."""
    agreement, problems = read(bytes_of(FilePath(path)), str(path))
    if agreement is None or problems:
        raise Refused("agreement_invalid", "\n".join(map(str, problems)))
    return agreement


def check(path: FilePath | str, crm: InCrm | None = None) -> list[Problem]:
    """Everything that is wrong with the file, in its order. With nothing but warnings it can be used.

    `crm` is what the CRM knows, where it was asked.
    """
    source = Source(file=str(path))
    agreement = _read(bytes_of(FilePath(path)), source)
    if agreement is None or source.problems:
        return source.problems
    found = [*doubts(agreement), *(unknown_in_crm(agreement, crm) if crm else ())]
    warnings = [source.problem(at, text, severity="warning") for at, text in found]
    return sorted(warnings, key=lambda problem: (problem.line, problem.column))


def bytes_of(path: FilePath) -> bytes | str:
    """What is in the file, cut off where it is too large to be an agreement; or why that cannot be known, as text."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        return type(error).__name__


def read(content: bytes | str, file: str) -> tuple[Agreement | None, list[Problem]]:
    """What `bytes_of` found in `file` says, and every error in it: with any, do not use it."""
    source = Source(file=file)
    return _read(content, source), source.problems


def _read(content: bytes | str, source: Source) -> Agreement | None:
    text = _text_of(content, source)
    data = None if text is None else source.parse(text)
    if data is None:
        return None
    agreement = _validate(data, source)
    if agreement is not None:
        source.problems.extend(source.problem(*found) for found in cross_references(agreement))
    source.problems.sort(key=lambda problem: (problem.line, problem.column))
    return agreement


def _text_of(content: bytes | str, source: Source) -> str | None:
    """None where there is a problem already."""
    if isinstance(content, str):
        source.problems.append(source.problem((), f"cannot be read: {content}"))
    elif len(content) > MAX_BYTES:
        source.problems.append(source.problem((), f"must not be larger than {MAX_BYTES} bytes"))
    else:
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError:
            source.problems.append(source.problem((), "must be saved as UTF-8"))
    return None


# --- the model ---


def _validate(data: Any, source: Source) -> Agreement | None:
    try:
        return Agreement.model_validate(data)
    except ValidationError as error:
        for one in error.errors(include_url=False):
            source.problems.extend(_problems(one, source))
        if rest := without_what_is_wrong(data, error):
            found = unknown_names(rest.agreement)
            source.problems.extend(source.problem(rest.in_file(at), text) for at, text in found)
        return None


def _problems(error: Any, source: Source) -> Iterator[Problem]:
    kind, at = error["type"], error["loc"]
    if kind in (PROBLEMS, PLACED):
        for path, text in error["ctx"]["problems"]:
            yield source.problem((*at, *path), text, on_key=kind == PROBLEMS)
    elif kind == "extra_forbidden":
        yield source.problem(at, _unknown_key(at), on_key=True)
    elif kind == "missing":
        yield source.missing(at)
    else:
        yield source.problem(at, _in_words(error))


def _in_words(error: Any) -> str:
    kind = error["type"]
    if kind == "string_pattern_mismatch" and error["ctx"]["pattern"] in PATTERNS:
        return PATTERNS[error["ctx"]["pattern"]]
    if kind in ("literal_error", "enum"):
        return _one_of(error["ctx"]["expected"], error["input"])
    if kind in IN_WORDS:
        return IN_WORDS[kind]
    message = str(error["msg"])
    for said, ours in (("Input should be", "must be"), ("String should", "should"), ("Value should", "should")):
        message = message.replace(said, ours)
    return message[:1].lower() + message[1:]


def _one_of(expected: str, said: Any) -> str:
    near = difflib.get_close_matches(str(said), re.findall(r"'([^']*)'", expected), n=1, cutoff=0.7)
    return f"must be {expected}{f'; did you mean {near[0]}?' if near else ''}"


def _unknown_key(at: Path) -> str:
    key, known = str(at[-1]), _known_keys(at[:-1])
    if key in NOT_YET:
        return "is not enforced by this version, so it cannot be agreed on yet"
    near = difflib.get_close_matches(key, known, n=1)
    if near:
        return f"is not known; did you mean {near[0]}?"
    return f"is not known; here can stand {', '.join(known)}" if known else "is not known"


def _known_keys(at: Path) -> list[str]:
    kind: Any = Agreement
    for part in at:
        kind = _inner(kind, part)
    model = _model_in(kind)
    return [field_.alias or name for name, field_ in model.model_fields.items()] if model else []


def _inner(kind: Any, part: str | int) -> Any:
    """The type of a part of a type: of a field, or of a list's element or a mapping's value."""
    if isinstance(kind, type) and issubclass(kind, RootModel):
        kind = kind.model_fields["root"].annotation
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {f.alias or name: f.annotation for name, f in kind.model_fields.items()}.get(str(part))
    return _model_in(kind)


def _model_in(kind: Any) -> type[BaseModel] | None:
    """The first model within a type such as tuple[Goal, ...] or dict[str, Track]."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind
    models = (_model_in(one) for one in get_args(kind))
    return next((model for model in models if model is not None), None)
