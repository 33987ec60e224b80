"""Releasing waits while every lane has enough."""

import asyncio

from services.scheduler import lane_room
from services.scheduler.lane_room import LaneRoom
from shared.broker import BrokerRefused
from shared.topology import LANE_LENGTH, LANES, lane_queue

FULL = LANE_LENGTH


class Lanes:
    """How many messages wait in each, and how often that was asked."""

    def __init__(self, *waiting: int) -> None:
        self.waiting = dict(zip(map(lane_queue, range(LANES)), waiting, strict=True))
        self.asked = 0

    async def count(self, queue: str) -> int:
        self.asked += 1
        return self.waiting[queue]

    async def missing(self, queue: str) -> int:
        raise BrokerRefused(f"NOT_FOUND - no queue '{queue}'")


def goes_on(room: LaneRoom) -> bool:
    async def scene() -> bool:
        waiting = asyncio.create_task(room.wait())
        done, _ = await asyncio.wait({waiting}, timeout=0.05)
        waiting.cancel()
        return bool(done)

    return asyncio.run(scene())


def test_it_waits_while_every_lane_has_enough():
    assert not goes_on(LaneRoom(Lanes(FULL, FULL, FULL, FULL).count))


def test_one_lane_with_room_is_enough():
    assert goes_on(LaneRoom(Lanes(FULL, FULL, FULL, 0).count))
    assert goes_on(LaneRoom(Lanes(0, FULL, FULL, FULL).count))


def test_it_goes_on_when_a_lane_has_room_again(monkeypatch):
    monkeypatch.setattr(lane_room, "_LOOK_EVERY_S", 0.001)
    lanes = Lanes(FULL, FULL, FULL, FULL)

    async def scene() -> None:
        waiting = asyncio.create_task(LaneRoom(lanes.count).wait())
        while lanes.asked < 3 * LANES:
            await asyncio.sleep(0.001)
        lanes.waiting[lane_queue(2)] = 0
        await asyncio.wait_for(waiting, 10)

    asyncio.run(scene())


def test_a_lane_that_had_room_a_moment_ago_is_not_asked_for_it_again():
    lanes = Lanes(0, 0, 0, 0)
    room = LaneRoom(lanes.count)
    assert goes_on(room)
    assert goes_on(room)
    assert lanes.asked == 1


def test_lanes_that_are_not_there_hold_nothing_up():
    assert goes_on(LaneRoom(Lanes(FULL, FULL, FULL, FULL).missing))
