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
from shared.contracts.work import OutcomeReport, RecipientOutcome
from shared.mail_store.states import State
from shared.mail_store.thread import StoreThread
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
    ("waiting", "room"),
    [
        ((FULL, FULL, FULL, FULL), False),
        ((FULL, FULL, FULL, 0), True),
        ((0, FULL, FULL, FULL), True),
        ((0, 0, 0, 0), True),
    ],
)
def test_there_is_room_while_one_lane_has_some(thread, waiting, room):
    desk = LaneDesk(thread, Queues(*waiting).count, Alarm())

    async def scene() -> None:
        await desk._look({})
        assert await desk.room_within(0.05) is room

    run(scene())


def test_the_lanes_are_asked_when_much_has_gone_there_and_then_until_one_has_room(thread, monkeypatch):
    monkeypatch.setattr(lanes, "_LOOK_EVERY_S", 0.001)
    queues = Queues(FULL, FULL, FULL, FULL)
    desk = LaneDesk(thread, queues.count, Alarm())

    async def scene() -> None:
        looks = asyncio.create_task(desk.loop())
        desk.sent(MUCH - 1)
        await asyncio.sleep(0.05)
        assert (queues.asked, desk.full) == (0, False)
        desk.sent(1)
        while queues.asked < 3 * LANES:
            await asyncio.sleep(0.001)
        assert not await desk.room_within(0)
        queues.waiting[LANE_QUEUES[2]] = 0
        assert await desk.room_within(20)
        looks.cancel()

    run(scene())


def test_lanes_that_are_not_there_hold_nothing_up(thread):
    desk = LaneDesk(thread, Queues(FULL, FULL, FULL, FULL).missing, Alarm())

    async def scene() -> None:
        await desk._look({})
        assert await desk.room_within(0)

    run(scene())


# ---------------------------------------------------------------------------------------------------------
# What was refused


def refuse(store: OpenStore, id: str, lane: int, now: datetime) -> None:
    """Admit a mail, and have a lane refuse it."""
    [number] = store.admit_released(a_draft(id, hold=timedelta(0), at=now))
    said = OutcomeReport("resolver-1", 1, (RecipientOutcome(number, 1, Parked("it is full", lane=lane)),))
    store.run(apply_reports, [said], now, Retry(), random.Random(1))


def taken(store: OpenStore, now: datetime) -> list[str]:
    return [leaving.request.envelope.mail for leaving in store.run(transactions.take_due, now, 100).leaving]


async def look(store: OpenStore, desk: LaneDesk, now: datetime) -> None:
    """What its loop does at this time."""
    await desk._look(store.run(refused_since, now))


def test_it_waits_until_its_own_lane_has_room(store, thread):
    now, queues = a_moment(), Queues(FULL, FULL, 0, 0)
    desk = LaneDesk(thread, queues.count, Alarm())
    desk._let_out_at = dict.fromkeys(LANE_QUEUES, now + SECOND)
    for id, lane in (("m0", 0), ("m1", 1), ("m2", 2)):
        refuse(store, id, lane, now)
    assert taken(store, now + 60 * SECOND) == []

    run(look(store, desk, now))
    assert taken(store, now) == ["m2"]
    queues.waiting[LANE_QUEUES[0]] = 0
    run(look(store, desk, now))
    assert taken(store, now) == ["m0"]
    assert store.states("m1") == [State.DEFERRED]


def test_those_that_came_first_go_first_and_no_others_until_they_are_taken(store, thread, monkeypatch):
    monkeypatch.setattr(lanes, "_MOST_LET_OUT", 2)
    now = a_moment()
    for number in range(5):
        refuse(store, f"m{number}", 1, now)
    desk = LaneDesk(thread, Queues(0, 0, 0, 0).count, Alarm())
    run(look(store, desk, now))
    run(look(store, desk, now))
    assert taken(store, now) == ["m0", "m1"]
    run(look(store, desk, now))
    assert taken(store, now) == ["m2", "m3"]


def test_what_is_let_out_has_the_place_of_when_it_was_refused(store, thread):
    now = a_moment()
    refuse(store, "refused", 1, now - 3 * SECOND)
    store.admit(a_draft("due since", at=now - 2 * SECOND, hold=SECOND))
    run(look(store, LaneDesk(thread, Queues(0, 0, 0, 0).count, Alarm()), now))
    assert taken(store, now) == ["refused", "due since"]


@pytest.mark.parametrize(
    ("waiting", "goes"),
    [
        (0, ["m0", "m1", "m2"]),  # short and full all the same: of large messages, or by a policy
        (FULL, ["m0", "m1"]),  # never short: of mail that leaves when it is admitted
    ],
)
def test_what_came_back_goes_again_some_seconds_later(store, thread, monkeypatch, waiting, goes):
    monkeypatch.setattr(lanes, "_SOME", 2)
    desk = LaneDesk(thread, Queues(waiting, waiting, waiting, waiting).count, Alarm())
    now = a_moment()
    for id in ("m0", "m1", "m2"):
        refuse(store, id, 3, now)
    desk._let_out_at = {LANE_QUEUES[3]: now - SECOND}
    run(look(store, desk, now))
    assert taken(store, now) == []
    desk._let_out_at = {LANE_QUEUES[3]: now - 11 * SECOND}
    run(look(store, desk, now))
    assert taken(store, now) == goes


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
