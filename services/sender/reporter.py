"""Outcomes leave a sender here: gathered, published, confirmed; then the work is taken off its lane."""

import asyncio
from collections.abc import Callable, Sequence

import msgspec
import structlog
import tenacity

from services.sender.claims import ClaimDesk
from services.sender.journal import Journal
from services.sender.work import Work
from shared import metrics
from shared.broker import Message, Publisher
from shared.contracts.work import OutcomeReport, RecipientOutcome
from shared.outcomes import Parked
from shared.topology import OUTCOME
from shared.trouble import Trouble

log = structlog.get_logger()

# The broker's cost is per message, so outcomes travel together. Nobody waits for them but whoever looks, and the window
# of a lane: the next message of work comes when an earlier one is acknowledged.
_GATHER_S = 0.010
_PER_MESSAGE = 200
# Longer, and whoever stops us takes to `kill -9`.
_FLUSHED_WITHIN_S = 10.0

_TRY_AGAIN = tenacity.wait_exponential(multiplier=0.1, max=5)

_encoder = msgspec.msgpack.Encoder()


class Reporter:
    """Reports what became of claimed work."""

    def __init__(
        self, worker: str, publisher: Publisher, desk: ClaimDesk, journal: Journal, revision: Callable[[], int]
    ) -> None:
        self._worker = worker
        self._publisher = publisher
        self._desk = desk
        self._journal = journal
        self._revision = revision
        self._waiting: list[tuple[Work, Sequence[RecipientOutcome]]] = []
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def report(self, work: Work, outcomes: Sequence[RecipientOutcome]) -> None:
        """Send these on their way; the work is acknowledged when the broker has them."""
        self._waiting.append((work, outcomes))
        self._idle.clear()
        self._arrived.set()

    async def loop(self) -> None:
        """Publish reports, for ever."""
        while True:
            await self._arrived.wait()
            await asyncio.sleep(_GATHER_S)
            self._arrived.clear()
            waiting, self._waiting = self._waiting, []
            outcomes = [outcome for _, some in waiting for outcome in some]
            await self._publish(outcomes)
            self._journal.confirmed(outcomes)
            metrics.TRIED.inc(sum(not isinstance(outcome.outcome, Parked) for outcome in outcomes))
            # Confirm before ack: a crash between the two repeats the work message, and its claim fails.
            for work, _ in waiting:
                work.done()
            self._desk.give_up(outcome.recipient for outcome in outcomes)
            if not self._waiting:
                self._idle.set()

    async def flushed(self) -> None:
        """Wait until everything reported so far is with the broker; at a stop without a broker, not for ever."""
        try:
            await asyncio.wait_for(self._idle.wait(), _FLUSHED_WITHIN_S)
        except TimeoutError:
            count = sum(len(outcomes) for _, outcomes in self._waiting)
            log.error("outcomes_not_reported", at_least=count, next="in_doubt_unless_the_journal_is_found_in_time")

    async def _publish(self, outcomes: Sequence[RecipientOutcome]) -> None:
        parts = [outcomes[start : start + _PER_MESSAGE] for start in range(0, len(outcomes), _PER_MESSAGE)]
        reports = [OutcomeReport(self._worker, self._revision(), tuple(part)) for part in parts]
        await publish_outcomes(self._publisher, reports)


async def publish_outcomes(publisher: Publisher, reports: Sequence[OutcomeReport]) -> None:
    """Publish reports and wait until the broker has them; refused ones are published until they are not."""
    messages = [Message(OUTCOME, "", _encoder.encode(report)) for report in reports]
    refused = await publisher.publish(messages)
    if not refused:
        return
    trouble = Trouble("outcomes_refused")

    async def again() -> bool:
        trouble.seen(refused[0].reason, next="try_again; no lane moves meanwhile")
        return bool(await publisher.publish(messages))

    await tenacity.AsyncRetrying(wait=_TRY_AGAIN, retry=tenacity.retry_if_result(bool))(again)
    trouble.over()
