"""A sender says that it runs, for operators to see."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from prometheus_client import Counter, Gauge

from shared import metrics
from shared.contracts.answers import SenderLine
from shared.mail_store.thread import StoreThread
from shared.presence import SAY_EVERY, say_gone, say_present
from shared.topology import LANES

# A store that is away hears of no end; a minute later it counts as one all the same.
_END_WITHIN_S = 2.0


class Presence:
    """Tells the mail store of this sender."""

    def __init__(
        self, thread: StoreThread, worker: str, revision: Callable[[], int], greetings: Callable[[], Mapping[str, str]]
    ) -> None:
        """`revision`: of the settings in force; `greetings`: what it says in EHLO, by its address."""
        self._thread = thread
        self._worker = worker
        self._revision = revision
        self._greetings = greetings
        self._started = datetime.now(UTC)

    async def loop(self) -> None:
        """Say so now and again, and at the end that it is one."""
        try:
            while True:
                await self._thread.run(say_present, self._line())
                await asyncio.sleep(SAY_EVERY.total_seconds())
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_END_WITHIN_S):
                    await self._thread.run(say_gone, self._worker)

    def _line(self) -> SenderLine:
        return SenderLine(
            name=self._worker,
            machine=socket.gethostname(),
            started=self._started,
            seen=datetime.now(UTC),
            revision=self._revision(),
            lanes=LANES,
            connections=_value(metrics.CONNECTIONS),
            claimed=_value(metrics.CLAIMED),
            helo=dict(self._greetings()),
        )


def _value(metric: Counter | Gauge) -> int:
    return int(next(iter(metric.collect())).samples[0].value)
