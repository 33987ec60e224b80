"""One look at the pipeline serves everybody who looks at about the same time."""

import asyncio
import time
from datetime import timedelta

from services.console.desk import Desk, within
from shared.commander import Commander
from shared.stages import Sample, look, with_rates

_FRESH_S = 1.0
_COMPARABLE_S = 60.0  # a rate over a longer time says nothing of now
# Whether the scheduler answers at all is what people look for here: they are told of it before the broker is given up.
# One that is busy with a large command may answer later.
_ANSWER_TIME, _WITHIN = timedelta(seconds=4), timedelta(seconds=10)


class Looks:
    """Keeps the last look."""

    def __init__(self, desk: Desk) -> None:
        self._broker = desk.broker
        self._commander = Commander(desk.broker, _ANSWER_TIME)
        self._looking = asyncio.Lock()
        self._last: Sample | None = None
        self._at = float("-inf")

    async def latest(self) -> Sample:
        """What there is to see, at most a second old; with rates where somebody looked in the minute before.

        Raises Away.
        """
        async with self._looking:
            age = time.monotonic() - self._at
            if self._last is None or age > _FRESH_S:
                before = self._last if age < _COMPARABLE_S else None
                found = await within(_WITHIN, look(self._broker, self._commander, before))
                self._last, self._at = with_rates(found, before), time.monotonic()
            return self._last
