"""Contents wait for room, in the order in which they are asked for; what is not waited for any more takes none."""

import asyncio
from collections import deque

import pytest

from services.sender.room import LARGE, Room, Rooms
from services.sender.work import Work, first_of, work_of
from shared.broker import Delivery, Properties
from shared.contracts.work import Envelope, Host, Recipient, Route, SendRequest, SendRequests, TlsMode

LONG, SHORT = 60.0, 0.001


async def turn() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def ask(room: Room, octets: int) -> "asyncio.Task[bool]":
    return asyncio.create_task(room.take(octets, LONG))


def test_who_asks_first_is_first():
    async def scene() -> None:
        room = Room(100)
        assert await room.take(70, LONG)
        large, small = ask(room, 60), ask(room, 10)  # the small one would fit, and may not starve the large one
        await turn()
        assert not large.done()
        assert not small.done()
        room.give(70)
        assert await large
        assert await small

    asyncio.run(scene())


def test_what_is_larger_than_the_room_has_it_alone():
    async def scene() -> None:
        room = Room(100)
        assert await room.take(500, LONG)
        other = ask(room, 1)
        await turn()
        assert not other.done()
        room.give(500)
        assert await other

    asyncio.run(scene())


@pytest.mark.parametrize("how", ["in vain", "stopped"])
def test_who_waits_no_more_holds_up_nobody(how):
    async def scene() -> None:
        room = Room(100)
        assert await room.take(90, LONG)
        first = asyncio.create_task(room.take(50, SHORT if how == "in vain" else LONG))
        second = ask(room, 10)
        await turn()
        if how == "in vain":
            assert not await first
        else:
            first.cancel()
            await asyncio.wait({first})
        assert await second
        room.give(100)
        assert await room.take(100, LONG), "nothing is left taken"

    asyncio.run(scene())


def test_room_that_was_given_to_one_who_is_stopped_comes_back():
    async def scene() -> None:
        room = Room(100)
        assert await room.take(100, LONG)
        waiting = ask(room, 100)
        await turn()
        room.give(100)
        waiting.cancel()
        await asyncio.wait({waiting})
        assert waiting.cancelled()
        assert await room.take(100, LONG)

    asyncio.run(scene())


def test_small_mails_do_not_wait_for_large_ones():
    async def scene() -> None:
        rooms = Rooms(2 * LARGE)
        assert await rooms.take([3 * LARGE], LONG)
        assert not await rooms.take([3 * LARGE], SHORT)
        assert await rooms.take([LARGE, LARGE], SHORT)
        rooms.give(3 * LARGE)
        assert await rooms.take([3 * LARGE], SHORT)

    asyncio.run(scene())


def work(size: int, alone: bool = False) -> Work:
    envelope = Envelope("m", "a@x.example", (Recipient(1, "b@y.example"),), size, False, False, alone=alone)
    requests = SendRequests(Route("mx:y", (Host("y", 25, ()),), TlsMode.NONE, None, 1), (SendRequest(envelope, 1),))
    [work] = work_of(requests, Delivery(b"", 1, 1, False, Properties()), None)  # type: ignore[arg-type]  # nobody acks it
    return work


@pytest.mark.parametrize(
    ("sizes", "most", "taken"),
    [
        ([], 5, 0),
        ([1, 1, 1], 5, 3),
        ([1, 1, 1], 2, 2),
        ([1, 1, 1], 0, 0),
        ([60, 60, 60], 5, 2),  # enough is 100
        ([LARGE + 1, 1], 5, 1),  # a large one goes alone
        ([1, LARGE + 1], 5, 1),
        ([LARGE], 5, 1),
    ],
)
def test_small_mails_are_claimed_together_and_a_large_one_alone(sizes, most, taken):
    waiting = deque(work(size) for size in sizes)
    assert first_of(waiting, most, 100) == list(waiting)[:taken]


@pytest.mark.parametrize(("alone", "taken"), [([True, False], 1), ([False, True, False], 1), ([True, True], 1)])
def test_a_mail_that_senders_died_with_is_claimed_by_itself(alone, taken):
    waiting = deque(work(1, each) for each in alone)
    assert first_of(waiting, 5, 100) == list(waiting)[:taken]
