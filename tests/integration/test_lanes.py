"""Releasing waits while every lane has enough, and what a lane has refused until that has room."""

import asyncio
import random
from collections.abc import Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.scheduler import lanes
from services.scheduler import store as transactions
from services.scheduler.alarm import Alarm
from services.scheduler.lanes import LaneDesk, refused_since
from services.scheduler.outcome_desk import apply_reports
from shared.broker import BrokerRefused
from shared.contracts import OutcomeReport, RecipientOutcome
from shared.mail_store import State, StoreThread
from shared.outcomes import Parked
from shared.settings import Retry
from shared.topology import LANE_LENGTH, LANE_QUEUES, LANES
from tests.support.store import OpenStore, a_draft

FULL = LANE_LENGTH
MUCH = lanes._LOOK_AFTER
SECOND = timedelta(seconds=1)


class Queues:
    """How many messages wait in each lane, and how often that was asked."""

    def __init__(self, *waiting: int) -> None:
        self.waiting = dict(zip(LANE_QUEUES, waiting, strict=True))
        self.asked = 0

    async def count(self, queue: str) -> int:
        self.asked += 1
        return self.waiting[queue]

    async def missing(self, queue: str) -> int:
        raise BrokerRefused(f"NOT_FOUND - no queue '{queue}'")


@pytest.fixture
def thread(store: OpenStore) -> Iterator[StoreThread]:
    opened = StoreThread(store.url)
    yield opened
    opened.close()


def a_moment() -> datetime:
    """Now, as the store keeps it."""
    return datetime.now(UTC).replace(microsecond=0)


def run(scene: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scene, 30))


# ---------------------------------------------------------------------------------------------------------
# Releasing


@pytest.mark.parametrize(
    ("waiting", "goes_on"),
    [
        ((FULL, FULL, FULL, FULL), False),
        ((FULL, FULL, FULL, 0), True),  # a slow site's mail fills one lane, and holds up no other
        ((0, FULL, FULL, FULL), True),
        ((0, 0, 0, 0), True),
    ],
)
def test_it_waits_while_every_lane_has_enough(thread, waiting, goes_on):
    desk = LaneDesk(thread, Queues(*waiting).count, Alarm())
    desk.took(MUCH)

    async def scene() -> None:
        waits = asyncio.create_task(desk.wait_for_room())
        done, _ = await asyncio.wait({waits}, timeout=10 if goes_on else 0.1)
        waits.cancel()
        assert bool(done) is goes_on

    run(scene())


def test_it_goes_on_when_a_lane_has_room_again(thread, monkeypatch):
    monkeypatch.setattr(lanes, "_LOOK_EVERY_S", 0.001)
    queues = Queues(FULL, FULL, FULL, FULL)
    desk = LaneDesk(thread, queues.count, Alarm())
    desk.took(MUCH)

    async def scene() -> None:
        waits = asyncio.create_task(desk.wait_for_room())
        while queues.asked < 3 * LANES:
            await asyncio.sleep(0.001)
        queues.waiting[LANE_QUEUES[2]] = 0
        await waits

    run(scene())


def test_the_lanes_are_asked_when_much_has_been_released_since(thread):
    queues = Queues(0, 0, 0, 0)
    desk = LaneDesk(thread, queues.count, Alarm())
    asked = []

    async def scene() -> None:
        for count in (0, MUCH - 1, 1, MUCH - 1, MUCH):
            desk.took(count)
            await desk.wait_for_room()
            asked.append(queues.asked)

    run(scene())
    assert asked == [0, 0, 1, 1, 2]


def test_lanes_that_are_not_there_hold_nothing_up(thread):
    desk = LaneDesk(thread, Queues(FULL, FULL, FULL, FULL).missing, Alarm())
    desk.took(MUCH)
    run(desk.wait_for_room())


# ---------------------------------------------------------------------------------------------------------
# What was refused


def refuse(store: OpenStore, id: str, lane: int, now: datetime) -> None:
    """Admit a mail, and have a lane refuse it."""
    [number] = store.admit_released(a_draft(id, hold=timedelta(0), at=now))
    refuse_again(store, number, lane, now)


def refuse_again(store: OpenStore, number: int, lane: int, now: datetime) -> None:
    said = OutcomeReport("resolver-1", 1, (RecipientOutcome(number, 1, Parked("it is full", lane=lane)),))
    store.run(apply_reports, [said], now, Retry(), random.Random(1))


def taken(store: OpenStore, now: datetime) -> list[str]:
    return [leaving.request.envelope.mail for leaving in store.run(transactions.take_due, now, 100).leaving]


def test_it_waits_until_its_own_lane_has_room(store, thread):
    now, queues = a_moment(), Queues(FULL, FULL, 0, 0)
    for id, lane in (("m0", 0), ("m1", 1), ("m2", 2)):
        refuse(store, id, lane, now)
    assert taken(store, now + 60 * SECOND) == []
    desk = LaneDesk(thread, queues.count, Alarm())

    run(desk._let_out(now))
    assert taken(store, now) == ["m2"]
    queues.waiting[LANE_QUEUES[0]] = 0
    run(desk._let_out(now))
    assert taken(store, now) == ["m0"]
    assert store.states("m1") == [State.DEFERRED]


def test_those_that_came_first_go_first_and_no_others_until_they_are_taken(store, thread, monkeypatch):
    monkeypatch.setattr(lanes, "_MOST_LET_OUT", 2)
    now = a_moment()
    for number in range(5):
        refuse(store, f"m{number}", 1, now)
    desk = LaneDesk(thread, Queues(0, 0, 0, 0).count, Alarm())
    run(desk._let_out(now))
    run(desk._let_out(now))
    assert taken(store, now) == ["m0", "m1"]
    run(desk._let_out(now))
    assert taken(store, now) == ["m2", "m3"]


def test_a_lane_that_is_short_and_full_is_not_asked_again_for_some_seconds(store, thread):
    now = a_moment()
    refuse(store, "m0", 3, now)
    [row] = store.rows("m0")
    desk = LaneDesk(thread, Queues(0, 0, 0, 0).count, Alarm())
    run(desk._let_out(now))
    assert taken(store, now) == ["m0"]
    refuse_again(store, row.no, 3, now + SECOND)
    run(desk._let_out(now + 2 * SECOND))
    assert taken(store, now + 2 * SECOND) == []
    run(desk._let_out(now + 11 * SECOND))
    assert taken(store, now + 11 * SECOND) == ["m0"]


def test_who_lets_it_out_wakes_who_releases(store, thread):
    now, alarm = a_moment(), Alarm()
    refuse(store, "m0", 0, now)

    async def scene() -> None:
        sleeps = asyncio.create_task(alarm.sleep_until(now + timedelta(days=1)))
        lets_out = asyncio.create_task(LaneDesk(thread, Queues(0, 0, 0, 0).count, alarm).loop())
        await sleeps
        lets_out.cancel()

    run(scene())
    assert store.run(refused_since, datetime.now(UTC)) == {}
