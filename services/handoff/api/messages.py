"""The messages of a timeline as OpenAPI shows them, each type with its own fields: made of `shared/events.py`."""

from __future__ import annotations

from functools import cache, reduce
from operator import or_
from types import UnionType
from typing import Annotated, Any, Final, Literal, get_args, get_origin

import msgspec
from pydantic import BaseModel, Field, create_model

from shared.events import HANDOFF_MESSAGES

_SAID: Final = {  # of what each of them has
    "at": "when it happened by the rule",
    "version": "the lead's own number, from 1 without holes",
    "episode": "counts its hand-offs",
    "agreement": "the version that it was decided by",
    "cause": "id of the message, clock or command behind it",
    "actor": "who acted: system, crm, crm:{owner}, lead, or a person",
}


def described(message: type[msgspec.Struct]) -> type[BaseModel]:
    """A message with its tag. What has a default may be missing in what an older version wrote."""
    return _described(message, type=(Literal[message.__name__], ...))


def _described(struct: type[msgspec.Struct], **more: Any) -> type[BaseModel]:
    fields: dict[str, Any] = {one.name: (_as_json(one.type), _said(one)) for one in msgspec.structs.fields(struct)}
    model: type[BaseModel] = create_model(struct.__name__, __doc__=struct.__doc__, **(more | fields))
    return model


_part: Final = cache(_described)  # of several messages it is one shape


def _said(field: msgspec.structs.FieldInfo) -> Any:
    said: dict[str, Any] = {"description": _SAID.get(field.name)}
    if field.default_factory is not msgspec.NODEFAULT:
        return Field(default_factory=field.default_factory, **said)
    return Field(**said) if field.required else Field(default=field.default, **said)


def _as_json(annotation: Any) -> Any:
    """What a field's type becomes in JSON."""
    if isinstance(annotation, UnionType):
        return reduce(or_, (_as_json(one) for one in get_args(annotation)))
    if get_origin(annotation) is tuple:
        return list[_as_json(get_args(annotation)[0])]  # type: ignore[misc]
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return _part(annotation)
    return annotation


# A union of thirty types, told apart by one field.
MESSAGE: Final[Any] = Annotated[reduce(or_, map(described, HANDOFF_MESSAGES)), Field(discriminator="type")]
