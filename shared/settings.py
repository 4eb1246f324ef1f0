"""Settings: read once at the start from an injected mapping into frozen, typed objects.

A settings class is a frozen dataclass whose fields are made by `setting`. Whatever is missing or
wrong raises WrongSetting, which names the key. Secrets never echo.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

from shared.errors import WrongSetting

T = TypeVar("T")

_REQUIRED = object()


def setting(
    key: str,
    parse: Callable[[str], T],
    *,
    doc: str,
    default: T | object = _REQUIRED,
    secret: bool = False,
) -> Any:
    """A field read from environment variable `key`; `parse` raises ValueError with what would be right."""
    metadata = {"key": key, "parse": parse, "doc": doc, "secret": secret, "default": default}
    return dataclasses.field(metadata=metadata, repr=not secret)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Described:
    """A setting for a person: its value as it may be shown, and what is wrong with it, "" when nothing."""

    key: str
    value: str
    doc: str
    problem: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What every settings class is made of."""

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Self:
        """The settings in `environ`. Raises WrongSetting for the first that is missing or wrong."""
        return cls(**{f.name: _value(f.metadata, environ) for f in dataclasses.fields(cls)})

    @classmethod
    def described(cls, environ: Mapping[str, str]) -> Iterator[Described]:
        """Each setting as it is in `environ`, also those that are missing or wrong."""
        for field in dataclasses.fields(cls):
            yield _described(field.metadata, environ)


def _value(metadata: Mapping[str, Any], environ: Mapping[str, str]) -> Any:
    key, text = metadata["key"], environ.get(metadata["key"], "").strip()
    if not text:
        if metadata["default"] is _REQUIRED:
            raise WrongSetting(key, f"is not set; {metadata['doc']}")
        return metadata["default"]
    try:
        return metadata["parse"](text)
    except ValueError as error:
        raise WrongSetting(key, str(error)) from error


def _described(metadata: Mapping[str, Any], environ: Mapping[str, str]) -> Described:
    key, doc = metadata["key"], metadata["doc"]
    try:
        value = _value(metadata, environ)
    except WrongSetting as error:
        return Described(key=key, value="", doc=doc, problem=error.message.removeprefix(f"{key}: "))
    shown = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    masked = metadata["secret"] and value != metadata["default"]
    return Described(key=key, value="(set)" if masked else shown, doc=doc)


def integer(low: int, high: int) -> Callable[[str], int]:
    """A whole number from `low` to `high`."""

    def parse(text: str) -> int:
        if not text.lstrip("-").isdigit() or not low <= int(text) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(text)

    return parse


def boolean(text: str) -> bool:
    """true or false."""
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if text.lower() not in words:
        raise ValueError("must be true or false")
    return words[text.lower()]


def url(text: str) -> str:
    """An http(s) address, without a slash at its end."""
    if not text.startswith(("http://", "https://")):
        raise ValueError("must be an address that starts with http:// or https://")
    return text.rstrip("/")


def words(text: str) -> tuple[str, ...]:
    """Words parted by commas."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def public_url() -> Any:
    """The field of LEADPACT_PUBLIC_URL, which more than one service reads."""
    doc = (
        "how the world reaches us, as https://leads.example.com: HubSpot signs it, and links in notifications"
        " start with it; empty: webhooks as the request says, and no links"
    )
    return setting("LEADPACT_PUBLIC_URL", url, default="", doc=doc)


def database_url(text: str) -> str:
    """`embedded` or a postgresql:// address."""
    if text != "embedded" and not text.startswith(("postgresql://", "postgres://")):
        raise ValueError("must be embedded or an address that starts with postgresql://")
    return text


def bus_url(text: str) -> str:
    """`embedded` or kafka://host:port,host:port."""
    if text != "embedded" and not text.startswith("kafka://"):
        raise ValueError("must be embedded or an address that starts with kafka://")
    return text


@dataclasses.dataclass(frozen=True, kw_only=True)
class CommonSettings(Settings):
    """What every service needs to know."""

    bus: str = setting("LEADPACT_BUS", bus_url, default="embedded", doc="embedded, or kafka://host:9092,host:9092")
    database: str = setting(
        "LEADPACT_DATABASE",
        database_url,
        default="embedded",
        doc="embedded, or a postgresql:// address",
        secret=True,
    )
    data: Path = setting(
        "LEADPACT_DATA",
        Path,
        default=Path(".leadpact"),
        doc="folder of the embedded database and the spool",
    )
    agreement: Path = setting(
        "LEADPACT_AGREEMENT",
        Path,
        default=Path("deploy/agreement.yaml"),
        doc="the agreement's file, or a folder of them, one for each tenant and one for all others",
    )
    topic_prefix: str = setting("LEADPACT_TOPIC_PREFIX", str, default="", doc="put before every topic and group name")
    partitions: int = setting("LEADPACT_PARTITIONS", integer(1, 1000), default=6, doc="of each topic, when it is made")
    replication: int = setting("LEADPACT_REPLICATION", integer(1, 9), default=1, doc="of each topic, when it is made")
    tokens: tuple[str, ...] = setting(
        "LEADPACT_TOKENS",
        words,
        default=(),
        doc="who may use the API: sha256-of-token:role:person, parted by commas; role/own or role/team narrows it",
        secret=True,
    )
