"""Whether the lanes have room: what is due waits in the store, and not at the end of a queue.

There it stands in the order of its times and behind no other's mail, and a full lane refuses nothing of it: what is
refused is released once more ten seconds later, a million mails again and again.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable

from shared.broker import BrokerRefused
from shared.topology import LANE_LENGTH, LANES, lane_queue

# Messages, of one to fifty mails each: seconds of the senders' work. What leaves when it is admitted has these before
# it, and the rest of the lane for itself.
_ENOUGH = LANE_LENGTH // 5
_LOOK_EVERY_S = 0.25


class LaneRoom:
    """Looks into the lanes while there is much to release."""

    def __init__(self, count: Callable[[str], Awaitable[int]]) -> None:
        """`count`: how many messages wait in a queue. Raises BrokerRefused where it does not exist."""
        self._count = count
        self._looked_at = -math.inf  # monotonic

    async def wait(self) -> None:
        """Wait while every lane has enough; not at all where one had room a moment ago.

        One that is full, of a slow site's mail, holds up no mail of the others.
        """
        if time.monotonic() - self._looked_at < _LOOK_EVERY_S:
            return
        while not await self._some_lane_has_room():  # noqa: ASYNC110 - a queue does not tell when it gets shorter
            await asyncio.sleep(_LOOK_EVERY_S)
        self._looked_at = time.monotonic()

    async def _some_lane_has_room(self) -> bool:
        for lane in range(LANES):
            try:
                waiting = await self._count(lane_queue(lane))
            except BrokerRefused:
                return True  # the resolvers, who publish there, hear of it and say so
            if waiting < _ENOUGH:
                return True
        return False
