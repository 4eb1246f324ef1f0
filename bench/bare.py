"""The ceilings: the least code that does the same outside work, with none of the promises' bookkeeping."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import os
import time
from typing import Any

import asyncpg
import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from bench.load import PARTITIONS, SECRET

EVENTS, HANDOFFS = "bare.events", "bare.handoffs"
MAX_AGE_MS = 300_000

_decoder = msgspec.json.Decoder(list[dict[str, Any]])


class BareDoor:
    """A bare ASGI door: the v3 signature, JSON, one record per event with acks=all, 202."""

    def __init__(self) -> None:
        self._producer: AIOKafkaProducer | None = None

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        body = b""
        while True:
            part = await receive()
            body += part.get("body", b"")
            if not part.get("more_body"):
                break
        status = 202 if _signed(scope, body) else 401
        if status == 202:
            await self._produce(_decoder.decode(body))
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"{}"})

    async def _live(self, receive: Any, send: Any) -> None:
        await receive()
        self._producer = await start_producer(os.environ["BENCH_KAFKA"])
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._producer.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def _produce(self, events: list[dict[str, Any]]) -> None:
        assert self._producer is not None
        sent = [
            await self._producer.send(EVENTS, msgspec.json.encode(event), key=str(event["objectId"]).encode())
            for event in events
        ]
        await asyncio.gather(*sent)


app = BareDoor()


def _signed(scope: dict[str, Any], body: bytes) -> bool:
    headers = dict(scope["headers"])
    uri = b"http://" + headers[b"host"] + scope["raw_path"]
    stamp = headers[b"x-hubspot-request-timestamp"]
    if abs(time.time() * 1000 - int(stamp)) > MAX_AGE_MS:
        return False
    digest = hmac.new(SECRET.encode(), b"POST" + uri + body + stamp, hashlib.sha256).digest()
    return hmac.compare_digest(base64.b64encode(digest), headers[b"x-hubspot-signature-v3"])


async def start_producer(kafka: str) -> AIOKafkaProducer:
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka, acks="all", enable_idempotence=True, linger_ms=5, max_batch_size=512 * 1024
    )
    await producer.start()
    return producer


async def pipeline(kafka: str, database: str, *, topic: str, events: int) -> float:
    """Consume `events` records of `topic`, upsert each lead, produce one record a lead; events a second."""
    connection = await asyncpg.connect(database)
    await connection.execute("DROP TABLE IF EXISTS bare")
    await connection.execute("CREATE TABLE bare (lead text PRIMARY KEY, value jsonb)")
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, auto_offset_reset="earliest", enable_auto_commit=False)
    producer = await start_producer(kafka)
    await consumer.start()
    consumer.assign([TopicPartition(topic, partition) for partition in range(PARTITIONS)])
    await consumer.seek_to_beginning()
    try:
        return await _pump(consumer, connection, producer, events)
    finally:
        await consumer.stop()
        await producer.stop()
        await connection.close()


async def _pump(consumer: Any, connection: Any, producer: Any, events: int) -> float:
    done, started = 0, time.perf_counter()
    while done < events:
        records = [r for rs in (await consumer.getmany(timeout_ms=500, max_records=500)).values() for r in rs]
        leads = {record.key.decode(): record.value.decode() for record in records}
        await connection.execute(
            "INSERT INTO bare SELECT * FROM unnest($1::text[], $2::jsonb[]) ON CONFLICT (lead) "
            "DO UPDATE SET value = excluded.value",
            list(leads),
            list(leads.values()),
        )
        sent = [await producer.send(HANDOFFS, msgspec.json.encode({"lead": lead}), key=lead.encode()) for lead in leads]
        await asyncio.gather(*sent)
        done += len(records)
    return done / (time.perf_counter() - started)
