"""The scheduler's one alarm clock: whoever stores something that becomes due sets it."""

import asyncio
import contextlib
from datetime import UTC, datetime


class Alarm:
    """Wakes the release loop at the earliest time that anybody asked for."""

    def __init__(self) -> None:
        self._earlier = asyncio.Event()
        self._planned: datetime | None = None

    def set_for(self, wake: datetime) -> None:
        """Something will be due at this time."""
        if self._planned is None or wake < self._planned:
            self._earlier.set()

    def clear(self) -> None:
        """Forget what was asked for: the store is about to be looked at."""
        self._earlier.clear()

    async def sleep_until(self, planned: datetime) -> None:
        """Sleep until this time, or until somebody asks for an earlier one."""
        self._planned = planned
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._earlier.wait(), (planned - datetime.now(UTC)).total_seconds())
        self._planned = None
