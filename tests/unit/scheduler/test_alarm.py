"""The alarm clock of the release loop."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from services.scheduler.alarm import Alarm

FAR = timedelta(days=1)


def now() -> datetime:
    return datetime.now(UTC)


def test_a_time_that_is_past_does_not_sleep():
    asyncio.run(asyncio.wait_for(Alarm().sleep_until(now() - FAR), 5))


def test_somebody_with_an_earlier_time_ends_the_sleep():
    async def scene() -> None:
        alarm, planned = Alarm(), now() + FAR
        sleeping = asyncio.create_task(alarm.sleep_until(planned))
        await asyncio.sleep(0)
        alarm.set_for(planned - timedelta(seconds=1))
        await asyncio.wait_for(sleeping, 5)

    asyncio.run(scene())


@pytest.mark.parametrize("later", [timedelta(0), timedelta(hours=1)])
def test_a_later_time_does_not_end_it(later):
    async def scene() -> None:
        alarm, planned = Alarm(), now() + FAR
        sleeping = asyncio.create_task(alarm.sleep_until(planned))
        await asyncio.sleep(0)
        alarm.set_for(planned + later)
        for _ in range(10):
            await asyncio.sleep(0)
        assert not sleeping.done()
        sleeping.cancel()

    asyncio.run(scene())


def test_what_is_set_while_the_store_is_looked_at_is_not_missed():
    async def scene() -> None:
        alarm = Alarm()
        alarm.clear()
        alarm.set_for(now() + timedelta(hours=1))  # after the look, before the sleep: the look may have missed it
        await asyncio.wait_for(alarm.sleep_until(now() + FAR), 5)

    asyncio.run(scene())


def test_what_was_set_before_the_look_does_not_wake_twice():
    async def scene() -> None:
        alarm = Alarm()
        alarm.set_for(now())
        alarm.clear()
        sleeping = asyncio.create_task(alarm.sleep_until(now() + FAR))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not sleeping.done()
        sleeping.cancel()

    asyncio.run(scene())
