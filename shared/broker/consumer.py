"""Consuming a queue: deliveries in batches, acks gathered into few frames."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import pika.exceptions
import structlog
from pika.channel import Channel

from shared.broker.channel import ChannelKeeper, call
from shared.broker.errors import in_words
from shared.broker.link import Link
from shared.broker.messages import Delivery, delivered

log = structlog.get_logger()

# Acks are gathered this long, so that one frame covers many.
ACK_GATHER_S = 0.002


class Consumer(ChannelKeeper):
    """Deliveries of one queue, in batches, with gathered acks."""

    def __init__(
        self,
        link: Link,
        queue_name: str,
        prefetch: int,
        arguments: Callable[[], dict[str, Any]],
    ) -> None:
        super().__init__(link, f"consume {queue_name}")
        self._queue = queue_name
        self._prefetch = prefetch
        self._arguments = arguments
        self._deliveries: deque[Delivery] = deque()
        self._arrived = asyncio.Event()
        self._settled: set[int] = set()  # done, above the lowest outstanding one
        self._unsent: list[int] = []  # done, not yet told to the broker
        self._lowest = 1
        self._flush: asyncio.TimerHandle | None = None

    async def batch(self, limit: int, linger_s: float = 0.0) -> list[Delivery]:
        """Wait for at least one delivery, then take what there is, up to `limit`.

        `linger_s`: how long to wait for more when fewer than `limit` are there.
        """
        await self._some()
        if linger_s and len(self._deliveries) < limit:
            await asyncio.sleep(linger_s)
            await self._some()  # a channel that was lost meanwhile has taken its deliveries with it
        taken = self._deliveries
        if len(taken) <= limit:
            self._deliveries = deque()
            return list(taken)
        return [taken.popleft() for _ in range(limit)]

    async def _some(self) -> None:
        while not self._deliveries:
            self._arrived.clear()
            await self._arrived.wait()

    async def subscribed(self) -> None:
        """Wait until the broker has accepted the subscription."""
        await self._ready.wait()

    @property
    def waiting(self) -> int:
        """Deliveries that have arrived and were not taken."""
        return len(self._deliveries)

    def ack(self, deliveries: Sequence[Delivery]) -> None:
        """These are done. The broker hears of it within ACK_GATHER_S."""
        for delivery in deliveries:
            if delivery.generation == self.generation:
                self._unsent.append(delivery.tag)
        if self._unsent and self._flush is None:
            self._flush = asyncio.get_running_loop().call_later(ACK_GATHER_S, self._send_acks)

    async def close(self) -> None:
        """Stop consuming; what is unacked goes back to the queue."""
        self._send_acks()
        await super().close()

    def _send_acks(self) -> None:
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
        channel, unsent = self._channel, self._unsent
        self._unsent = []
        if channel is None or not channel.is_open or not unsent:
            return
        self._settled.update(unsent)
        while self._lowest in self._settled:
            self._settled.remove(self._lowest)
            self._lowest += 1
        # The tag of a cumulative ack must itself be outstanding, or the broker closes the channel (406).
        below = [tag for tag in unsent if tag < self._lowest]
        if below:
            channel.basic_ack(max(below), multiple=True)
        for tag in unsent:
            if tag >= self._lowest:  # an earlier one is still under way: it may not hold this one's place
                channel.basic_ack(tag)

    async def _set_up(self, channel: Channel) -> None:
        self._deliveries.clear()
        self._unsent.clear()
        self._settled.clear()
        self._lowest = 1
        await call(channel, channel.basic_qos, prefetch_count=self._prefetch)
        # The broker cancels a consumer when its queue is deleted or moves: treat it as a lost channel.
        channel.add_on_cancel_callback(lambda _frame: channel.close() if channel.is_open else None)
        generation = self.generation

        def on_message(_channel: Channel, method: Any, properties: Any, body: bytes) -> None:
            self._deliveries.append(delivered(method, properties, body, generation))
            self._arrived.set()

        await call(channel, channel.basic_consume, self._queue, on_message, arguments=self._arguments())

    def _on_lost(self, reason: BaseException) -> None:
        # What was delivered and not taken comes again over the next channel.
        self._deliveries.clear()
        if isinstance(reason, pika.exceptions.ChannelClosedByBroker):
            log.warning("consumer_lost", queue=self._queue, reason=in_words(reason), next="subscribe_again")
