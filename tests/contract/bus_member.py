"""A member of a group in a process of its own, to be killed: says what it is given and commits none of it."""

from __future__ import annotations

import asyncio
import json
import sys

from tests.contract.conftest import open_engine


async def main(engine: str, group: str, topic: str) -> None:
    bus = open_engine(*json.loads(engine))
    async with bus.consumer(group, [topic]) as member:
        while True:
            for record in await member.poll(max_records=100, wait_s=0.2):
                print(record.value.decode(), flush=True)


asyncio.run(main(*sys.argv[1:]))
