"""The bus that the settings ask for."""

from __future__ import annotations

from shared.bus import Bus
from shared.errors import WrongSetting
from shared.settings import CommonSettings


def open_bus(settings: CommonSettings, database_uri: str) -> Bus:
    """The engine named by LEADPACT_BUS; the embedded one on `database_uri`. Connects on first use."""
    if settings.bus == "embedded":
        from shared.bus.embedded import EmbeddedBus

        return EmbeddedBus(database_uri, prefix=settings.topic_prefix)
    from shared.bus.kafka import KafkaBus

    servers = [s.strip() for s in settings.bus.removeprefix("kafka://").rstrip("/").split(",") if s.strip()]
    if not servers:
        raise WrongSetting("LEADPACT_BUS", "must name at least one broker: kafka://host:9092")
    return KafkaBus(servers, prefix=settings.topic_prefix)
