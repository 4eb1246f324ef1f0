"""The task that sends notifications: signed, retried for a day, each under one id for ever.

At least once: a crash after the receiver's answer sends again, under the same `webhook-id`, by
which the receiver knows it. Times here are real ones: a receiver's day is not sped up.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import httpx
from sqlalchemy.ext.asyncio import AsyncEngine
from standardwebhooks import Webhook

from services.handoff import store
from services.handoff.metrics import HandoffMetrics
from services.handoff.settings import HandoffSettings
from services.handoff.store import Pending
from shared.clock import Clock, wait_for
from shared.database import database_errors_are_later
from shared.http import NO_ANSWER
from shared.log import Log

log = Log("leadpact.handoff")

AT_ONCE: Final = 20
TIMEOUT_S: Final = 10.0  # of each step: a receiver that drips its answer can take many
TRY_S: Final = 30.0  # of all steps together
LEASE: Final = timedelta(seconds=60)  # longer than a try can take
FIRST_RETRY: Final = timedelta(seconds=5)
LONGEST_RETRY: Final = timedelta(hours=1)
GIVE_UP_AFTER: Final = timedelta(hours=24)
KEEP: Final = timedelta(days=14)
HOUSEKEEPING: Final = timedelta(hours=1)
FALLBACK_S: Final = 5.0  # for those that an instance decided and did not live to send

DELIVERED, RETRIED, GONE, DEAD = "delivered", "retried", "gone", "dead"


class Notifying:
    """Sends what the decisions left in the table, beside any number of other instances."""

    def __init__(
        self,
        settings: HandoffSettings,
        *,
        engine: AsyncEngine,
        wall: Clock,
        metrics: HandoffMetrics,
        rng: random.Random | None = None,
    ) -> None:
        self._url = settings.notify_url
        self._webhook = Webhook(settings.notify_secret)
        self._engine = engine
        self._wall = wall
        self._metrics = metrics
        self._rng = rng or random.Random()
        self._changed = asyncio.Event()
        self._keep_house_at = wall.now()

    def wake(self) -> None:
        """Something may have to be sent."""
        self._changed.set()

    async def run(self) -> None:
        """For ever. Raises Later when the database is away, to be called again."""
        with database_errors_are_later():
            async with httpx.AsyncClient(timeout=TIMEOUT_S) as client:
                while True:
                    self._changed.clear()
                    while await self.send_some(client):
                        pass
                    await self._keep_house()
                    await self._wait()

    async def send_some(self, client: httpx.AsyncClient) -> int:
        """Try those that are due, at most some; how many."""
        async with self._engine.begin() as conn:
            found = await store.claim_notifications(conn, self._wall.now(), lease=LEASE, limit=AT_ONCE)
        outcomes = await asyncio.gather(*(self._try(client, pending) for pending in found))
        await self._write(list(zip(found, outcomes, strict=True)))
        return len(found)

    async def _try(self, client: httpx.AsyncClient, pending: Pending) -> str:
        try:
            async with asyncio.timeout(TRY_S):
                answer = await client.post(self._url, content=pending.body, headers=self._headers(pending))
        except (*NO_ANSWER, TimeoutError):
            status = 0
        else:
            status = answer.status_code
        if 200 <= status < 300:
            return DELIVERED
        if status == httpx.codes.GONE:
            return GONE
        late = self._wall.now() - pending.created_at >= GIVE_UP_AFTER
        log.warning("notification_failed", id=pending.id, status=status, tries=pending.attempts)
        return DEAD if late else RETRIED

    def _headers(self, pending: Pending) -> dict[str, str]:
        # The receiver compares the timestamp with its own clock, so it is the real one.
        now = self._wall.now()
        return {
            "content-type": "application/json",
            "webhook-id": pending.id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._webhook.sign(pending.id, now, pending.body.decode()),
        }

    async def _write(self, tried: Sequence[tuple[Pending, str]]) -> None:
        now = self._wall.now()
        async with self._engine.begin() as conn:
            for end in (DELIVERED, GONE, DEAD):
                if ids := [pending.id for pending, outcome in tried if outcome == end]:
                    await store.end_notifications(conn, ids, end, now)
            for pending, outcome in tried:
                if outcome == RETRIED:
                    await store.retry_notification(conn, pending, now + self.pause(pending.attempts))
        for pending, outcome in tried:
            self._metrics.notifications.labels(outcome).inc()
            if outcome in (GONE, DEAD):
                log.error("notification_given_up", id=pending.id, outcome=outcome, tries=pending.attempts)

    def pause(self, attempts: int) -> timedelta:
        """How long to wait after so many tries: doubling up to an hour, half of it by chance."""
        longest: timedelta = min(FIRST_RETRY * 2 ** min(attempts - 1, 20), LONGEST_RETRY)
        return longest * self._rng.uniform(0.5, 1.0)

    async def _keep_house(self) -> None:
        now = self._wall.now()
        if now >= self._keep_house_at:
            async with self._engine.begin() as conn:
                await store.forget_notifications(conn, now - KEEP)
            self._keep_house_at = now + HOUSEKEEPING

    async def _wait(self) -> None:
        async with self._engine.connect() as conn:
            moment = await store.next_notification(conn)
        await wait_for(self._changed, self._wall, moment, at_most_s=FALLBACK_S)
