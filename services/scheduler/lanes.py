"""Whether the lanes have room: what is due waits in the store, and not at the end of a queue.

There it can be found and taken back, and stands in the order of its times. What a full lane has refused waits until
that lane has room, as mail waits for its site: in its row stands the name of the queue. Let out after a time, a million
of them would be refused and come back again and again.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from services.scheduler.alarm import Alarm
from services.scheduler.sites import let_out
from shared.broker import BrokerRefused
from shared.mail_store import State, StoreThread, recipients
from shared.topology import LANE_LENGTH, LANE_QUEUES
from shared.worker import finish

# Messages, of one to fifty mails each: seconds of the senders' work. What leaves when it is admitted has these before
# it, and the rest of the lane for itself.
_ENOUGH = LANE_LENGTH // 5
_LOOK_AFTER = 2000  # recipients that were released
_LOOK_EVERY_S = 0.25  # while there is no room, or mail waits for it
_NOBODY_WAITS_S = 1.0
_MOST_LET_OUT = 1000  # recipients of one lane in one transaction
# A lane may be short and full all the same, of large messages or by a policy: then what is let out comes back.
_CAME_BACK = timedelta(seconds=10)


class LaneDesk:
    """Looks into the lanes where much is to be released, and for mail that one has refused."""

    def __init__(self, thread: StoreThread, count: Callable[[str], Awaitable[int]], alarm: Alarm) -> None:
        """`count`: how many messages wait in a queue. Raises BrokerRefused where it does not exist."""
        self._thread = thread
        self._count = count
        self._alarm = alarm
        self._taken = 0  # recipients since it was last looked
        self._let_out_at: dict[str, datetime] = {}  # by queue

    async def wait_for_room(self) -> None:
        """Wait while every lane has enough; not at all where few have been released since one had room."""
        if self._taken < _LOOK_AFTER:
            return
        while not await self._some_has_room():  # noqa: ASYNC110 - a queue does not tell when it gets shorter
            await asyncio.sleep(_LOOK_EVERY_S)
        self._taken = 0

    def took(self, count: int) -> None:
        """So many recipients have been released."""
        self._taken += count

    async def loop(self) -> None:
        """Let mail out whose lane has room again, for ever."""
        while True:
            some_wait = await finish(self._let_out(datetime.now(UTC)))
            await asyncio.sleep(_LOOK_EVERY_S if some_wait else _NOBODY_WAITS_S)

    async def _let_out(self, now: datetime) -> bool:
        waiting = await self._thread.read(refused_since, now)
        for queue, since in waiting.items():
            last = self._let_out_at.get(queue)
            if last is not None and since > last > now - _CAME_BACK:
                continue
            if await self._has_room(queue):
                await self._thread.run(let_out, queue, now, _MOST_LET_OUT)
                self._let_out_at[queue] = now
                self._alarm.set_for(now)
        return bool(waiting)

    async def _some_has_room(self) -> bool:
        for queue in LANE_QUEUES:
            if await self._has_room(queue):
                return True
        return False

    async def _has_room(self, queue: str) -> bool:
        try:
            return await self._count(queue) < _ENOUGH
        except BrokerRefused:
            return True  # the resolvers, who publish there, hear of it and say so


def refused_since(connection: sa.Connection, now: datetime) -> dict[str, datetime]:
    """The queues of lanes that mail waits for, each with the time at which the first of it was refused.

    Without those whose mail was let out and has still to be taken.
    """
    found = {queue: _first_of(connection, queue) for queue in LANE_QUEUES}
    return {queue: first.since for queue, first in found.items() if first is not None and first.wake > now}


def _first_of(connection: sa.Connection, queue: str) -> Any:
    waiting = sa.select(recipients.c.since, recipients.c.wake).where(
        recipients.c.site == queue, recipients.c.state == int(State.DEFERRED)
    )
    return connection.execute(waiting.order_by(recipients.c.no).limit(1)).first()
