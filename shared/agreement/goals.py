"""Part 1, goals: what both want, over which period, and where it is to come from."""

from __future__ import annotations

from pydantic import model_validator

from shared.agreement.values import Amount, Days, Duration, Name, Part, Share, wrong


class Target(Part):
    revenue: Amount


class Conversions(Part):
    """Shares of one stage that reach the next."""

    visitor_to_lead: Share | None = None
    lead_to_mql: Share | None = None
    mql_to_sql: Share | None = None
    sql_to_customer: Share | None = None


class Lags(Part):
    """How long one stage takes to reach the next."""

    lead_to_mql: Duration | None = None
    mql_to_sql: Duration | None = None
    sql_to_customer: Duration | None = None


class Goal(Part):
    """A shared goal: a target over a period. Data to be shown; nothing is derived from it yet."""

    name: Name
    target: Target
    period: Days
    average_deal: Amount
    expected: Conversions = Conversions()
    lag: Lags = Lags()
    methods: dict[str, Share] = {}

    @model_validator(mode="after")
    def _methods_share_one_whole(self) -> Goal:
        if sum(self.methods.values()) > 1.000001:
            raise wrong("has methods that add up to more than 100%")
        return self
