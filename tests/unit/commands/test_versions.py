"""A version in a line: since when, and since when again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from services.commands.versions import Version
from shared.versions import Recorded

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def recorded(service: str, since: datetime, again_at: datetime | None = None) -> Recorded:
    return Recorded(service=service, tenant="", version="abc", since=since, again_at=again_at)


def test_a_version_is_in_force_since_the_first_decision_of_any_service() -> None:
    version = Version(tenant="", version="abc", services=[recorded("scoring", NOW + DAY), recorded("kpi", NOW)])
    assert version.line() == "abc  all others  since 2026-03-02 09:00:00  [scoring, kpi]"


def test_a_version_that_came_back_is_in_force_again_although_a_service_did_not_act_since() -> None:
    services = [recorded("ingest", NOW), recorded("scoring", NOW, NOW + 2 * DAY)]
    version = Version(tenant="hubspot:1", version="abc", services=services)
    assert version.last_from == NOW + 2 * DAY
    assert "hubspot:1  since 2026-03-02 09:00:00, again from 2026-03-04 09:00:00" in version.line()
