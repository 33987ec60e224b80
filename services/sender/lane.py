"""One lane of one sender: work comes in the order of the queue and is handed to the queue of its site."""

import asyncio
import time
from collections.abc import Callable, Sequence

import msgspec
import structlog

from services.sender.reporter import Reporter
from services.sender.site import SiteQueue
from services.sender.work import work_of
from shared.broker import Broker, Consumer, Delivery
from shared.contracts.work import SendRequests
from shared.dead import put_aside
from shared.refusals import UNREADABLE
from shared.topology import SEND, lane_queue

log = structlog.get_logger()

# A site that has taken nothing for this long is slow: it may not hold the lane for the others.
_SLOW_S = 5.0
_SLOW_PAUSE_S = 30.0
_SHARE = 4  # slow sites together keep one in so many places of the window
_LOOK_UP_S = 0.5  # how often an idle lane looks whether the settings have changed or it is to stop
_LONGEST_LOOK_S = 2 * _LOOK_UP_S  # after more than that it was this process that slept, and not the sites

_decoder = msgspec.msgpack.Decoder(SendRequests)


class Lane:
    """Consumes one lane with a window of `max_per_connection` deliveries."""

    def __init__(
        self,
        number: int,
        broker: Broker,
        reporter: Reporter,
        max_per_connection: Callable[[], int],
        new_site: Callable[[], SiteQueue],
    ) -> None:
        self._queue = lane_queue(number)
        self._broker = broker
        self._reporter = reporter
        self._max_per_connection = max_per_connection
        self._new_site = new_site
        self._sites: dict[str, SiteQueue] = {}
        self._looked_at = time.monotonic()

    async def run(self, stop: asyncio.Event) -> None:
        """Consume until asked to stop; then what is under way is finished and reported."""
        window = self._max_per_connection()
        consumer = self._broker.consume(self._queue, window)
        async with asyncio.TaskGroup() as tasks:
            while not stop.is_set():
                if window != self._max_per_connection():
                    # A new window means a new channel. What the old one held comes again over it; if it is sent from
                    # here meanwhile, the second copy finds nothing to claim.
                    await consumer.close()
                    window = self._max_per_connection()
                    consumer = self._broker.consume(self._queue, window)
                deliveries = await _some(consumer, window)
                # What came while the window changed, or it is time to stop, goes back with the channel.
                if window == self._max_per_connection() and not stop.is_set():
                    await self._hand_over(deliveries, consumer, tasks)
                    self._pass_time()
                    self._park_surplus(window)
            for site in self._sites.values():
                site.stop()
        # The site tasks have ended. What they reported is acknowledged before the channel goes.
        await self._reporter.flushed()
        await consumer.close()

    async def _hand_over(self, deliveries: Sequence[Delivery], consumer: Consumer, tasks: asyncio.TaskGroup) -> None:
        for delivery in deliveries:
            await self._hand_over_one(delivery, consumer, tasks)

    async def _hand_over_one(self, delivery: Delivery, consumer: Consumer, tasks: asyncio.TaskGroup) -> None:
        try:
            requests = _decoder.decode(delivery.body)
        except UNREADABLE as error:
            log.error("work_not_understood", reason=str(error), next="dead_letter")
            await put_aside(self._broker.publisher, delivery, SEND, str(error))
            consumer.ack([delivery])
            return
        name = requests.route.site
        site = self._sites.get(name)
        if site is None:
            site = self._sites[name] = self._new_site()
            tasks.create_task(self._serve(name, site))
        site.put(work_of(requests, delivery, consumer))

    async def _serve(self, name: str, site: SiteQueue) -> None:
        try:
            await site.run()
        finally:
            del self._sites[name]

    def _pass_time(self) -> None:
        before, self._looked_at = self._looked_at, time.monotonic()
        for site in self._sites.values():
            site.pass_time(min(self._looked_at - before, _LONGEST_LOOK_S))

    def _park_surplus(self, window: int) -> None:
        if sum(site.load for site in self._sites.values()) < window * 3 // 4:
            return
        slow = {name: site for name, site in self._sites.items() if site.stalled_s > _SLOW_S}
        for name, site in slow.items():
            keep = max(1, window // (_SHARE * len(slow)))
            site.park(keep, f"{name} is slow and other mail waits behind it", _SLOW_PAUSE_S)


async def _some(consumer: Consumer, most: int) -> list[Delivery]:
    try:
        async with asyncio.timeout(_LOOK_UP_S):
            return await consumer.batch(most)
    except TimeoutError:
        return []
