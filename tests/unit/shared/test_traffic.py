"""Work that lets the loop over the topics go first: when it may, and when it waits."""

from __future__ import annotations

import asyncio

import pytest

from shared.work import BATCH_RECORDS, Traffic

TURNS = 3


async def may_go(traffic: Traffic) -> bool:
    """Whether it goes without anything more happening."""
    going = asyncio.ensure_future(traffic.let_pass(TURNS))
    for _ in range(5):
        await asyncio.sleep(0)
    if not going.done():
        going.cancel()
    return going.done()


def turn(traffic: Traffic, records: int) -> None:
    traffic.came(records)
    if records:
        traffic.done()


async def test_without_a_loop_it_goes() -> None:
    assert await may_go(Traffic())


async def test_it_waits_while_records_are_in_hand_and_goes_once_they_are_handled() -> None:
    traffic = Traffic()
    traffic.came(1)
    going = asyncio.ensure_future(traffic.let_pass(TURNS))
    await asyncio.sleep(0)
    assert not going.done()
    traffic.done()
    await going


async def test_while_every_turn_leaves_more_it_goes_once_in_so_many() -> None:
    traffic = Traffic()
    went = []
    for _ in range(3 * TURNS):
        turn(traffic, BATCH_RECORDS)
        went.append(await may_go(traffic))
    assert went == [False, False, True] * 3


@pytest.mark.parametrize("records", [0, 1, BATCH_RECORDS - 1])
async def test_a_turn_that_took_all_there_was_lets_it_go(records: int) -> None:
    traffic = Traffic()
    turn(traffic, BATCH_RECORDS)
    assert not await may_go(traffic)
    turn(traffic, records)
    assert await may_go(traffic)


async def test_a_loop_that_stops_in_the_middle_holds_nothing_up() -> None:
    traffic = Traffic()
    traffic.came(BATCH_RECORDS)
    traffic.ended()
    assert await may_go(traffic)
