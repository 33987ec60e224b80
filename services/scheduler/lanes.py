"""Whether the lanes have room: what is due waits in the store, and not at the end of a queue.

There it can be found and taken back, and stands in the order of its times. What a full lane has refused waits until
that lane has room, as mail waits for its site: in its row stands the name of the queue. Let out after a time, a million
of them would be refused and come back again and again.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from services.scheduler.alarm import Alarm
from services.scheduler.sites import let_out
from shared.broker import BrokerRefused
from shared.mail_store.states import State
from shared.mail_store.tables import recipients
from shared.mail_store.thread import StoreThread
from shared.topology import LANE_LENGTH, LANE_QUEUES
from shared.worker import finish

_ENOUGH = LANE_LENGTH // 5  # messages, of one to fifty mails each: seconds of the senders' work
_LOOK_AFTER = 2000  # recipients that went to the resolvers
_LOOK_EVERY_S = 0.25  # while there is no room, or mail waits for it
_NOBODY_WAITS_S = 1.0
_MOST_LET_OUT = 1000  # recipients of one lane in one transaction
# A lane may be short and full all the same, of large messages or by a policy: then what was let out comes back. And
# where it is never short, mail that leaves when it is admitted takes each place: some others have to have theirs.
_AGAIN_AFTER = timedelta(seconds=10)
_SOME = 100


class LaneDesk:
    """Looks into the lanes when much has gone there, or mail waits for room in one."""

    def __init__(self, thread: StoreThread, count: Callable[[str], Awaitable[int]], alarm: Alarm) -> None:
        """`count`: how many messages wait in a queue. Raises BrokerRefused where it does not exist."""
        self._thread = thread
        self._count = count
        self._alarm = alarm
        self._went = 0  # recipients, since it was last looked
        self._much_went = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._let_out_at: dict[str, datetime] = {}  # by queue

    @property
    def full(self) -> bool:
        """Whether every lane has enough."""
        return not self._room.is_set()

    def sent(self, recipients: int) -> None:
        """So many have gone to the resolvers."""
        self._went += recipients
        if self._went >= _LOOK_AFTER:
            self._much_went.set()

    async def room_within(self, seconds: float) -> bool:
        """Wait so long for a lane with room; whether there is one."""
        if self.full:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._room.wait(), seconds)
        return not self.full

    async def loop(self) -> None:
        """Keep up to date whether there is room, and let mail out whose lane has some again, for ever."""
        while True:
            waiting = await self._thread.read(refused_since, datetime.now(UTC))
            if waiting or self.full or self._much_went.is_set():
                await self._look(waiting)
            with contextlib.suppress(TimeoutError):
                within_s = _LOOK_EVERY_S if waiting or self.full else _NOBODY_WAITS_S
                await asyncio.wait_for(self._much_went.wait(), within_s)

    async def _look(self, waiting: dict[str, datetime]) -> None:
        self._went = 0
        self._much_went.clear()
        with_room = [queue for queue in LANE_QUEUES if await self._has_room(queue)]
        (self._room.set if with_room else self._room.clear)()
        now = datetime.now(UTC)
        for queue, since in waiting.items():
            last, most = self._let_out_at.get(queue), _MOST_LET_OUT if queue in with_room else _SOME
            none_came_back = last is not None and since <= last
            if (queue in with_room and none_came_back) or last is None or last <= now - _AGAIN_AFTER:
                await finish(self._let_out(queue, now, most))

    async def _let_out(self, queue: str, now: datetime, most: int) -> None:
        await self._thread.run(let_out, queue, now, most, recipients.c.since)
        self._let_out_at[queue] = now
        self._alarm.set_for(now)

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
