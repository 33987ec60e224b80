"""Consuming a queue: deliveries in batches, acks gathered into few frames."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pika.exceptions
import structlog
from pika.channel import Channel

from shared.broker.channel import ChannelKeeper, call
from shared.broker.errors import in_words
from shared.broker.link import Link
from shared.broker.messages import Delivery, delivered
from shared.broker.window import Window

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
        most_octets: int | None,
    ) -> None:
        super().__init__(link, f"consume {queue_name}")
        self._queue = queue_name
        self._window = Window(prefetch, most_octets)
        self._arguments = arguments
        self._deliveries: deque[Delivery] = deque()
        self._arrived = asyncio.Event()
        self._settled: set[int] = set()  # done, above the lowest outstanding one
        self._unsent: list[int] = []  # done, not yet told to the broker
        self._lowest = 1
        self._flush: asyncio.TimerHandle | None = None
        self._ended = False  # the subscription is: what is in hand is finished, then the channel is opened anew

    async def batch(self, limit: int, linger_s: float = 0.0, enough: int | None = None) -> list[Delivery]:
        """Wait for at least one delivery, then take what there is, up to `limit`.

        `linger_s`: how long to wait for more when fewer than `limit` are there. `enough`: octets of bodies after which
        no more are taken.
        """
        await self._some()
        if linger_s and len(self._deliveries) < limit:
            await asyncio.sleep(linger_s)
            await self._some()  # a channel that was lost meanwhile has taken its deliveries with it
        taken = self._deliveries
        if enough is not None and self._window.octets > enough:
            return _up_to(taken, limit, enough)
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

    def has(self, delivery: Delivery) -> bool:
        """Whether a delivery can still be acknowledged; one of a channel that was lost comes again."""
        return delivery.generation == self.generation

    def ack(self, deliveries: Sequence[Delivery]) -> None:
        """These are done. The broker hears of it within ACK_GATHER_S."""
        for delivery in deliveries:
            if self.has(delivery):
                self._unsent.append(delivery.tag)
                self._window.done(len(delivery.body))
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
        self._settle(unsent)
        # The tag of a cumulative ack must itself be outstanding, or the broker closes the channel (406).
        below = [tag for tag in unsent if tag < self._lowest]
        if below:
            channel.basic_ack(max(below), multiple=True)
        for tag in unsent:
            if tag >= self._lowest:  # an earlier one is still under way: it may not hold this one's place
                channel.basic_ack(tag)
        self._subscribe_anew()

    def _settle(self, tags: Iterable[int]) -> None:
        self._settled.update(tags)
        while self._lowest in self._settled:
            self._settled.remove(self._lowest)
            self._lowest += 1

    async def _set_up(self, channel: Channel) -> None:
        self._deliveries.clear()
        self._unsent.clear()
        self._settled.clear()
        self._lowest = 1
        self._ended = False
        # The broker cancels a consumer when its queue is deleted or moves: treat it as a lost channel.
        channel.add_on_cancel_callback(lambda _frame: channel.close() if channel.is_open else None)
        await call(channel, channel.basic_qos, prefetch_count=self._first_prefetch())
        await call(channel, channel.basic_consume, self._queue, self._receiver(), arguments=self._arguments())

    def _first_prefetch(self) -> int:
        return self._window.opened()

    def _receiver(self) -> Callable[[Channel, Any, Any, bytes], None]:
        generation = self.generation

        def on_message(channel: Channel, method: Any, properties: Any, body: bytes) -> None:
            self._on_delivery(channel, delivered(method, properties, body, generation))

        return on_message

    def _on_delivery(self, channel: Channel, delivery: Delivery) -> None:
        self._deliveries.append(delivery)
        self._arrived.set()
        if not self._window.came(len(delivery.body)):
            self._end_subscription(channel)

    def _end_subscription(self, channel: Channel) -> None:
        """Another prefetch is due. The broker takes none for a subscription that stands, so a new one follows.

        What is on its way goes back to the queue; what is in hand is finished before the channel goes.
        """

        def ended(_frame: Any) -> None:
            if self._channel is channel:
                self._ended = True
                self._subscribe_anew()

        for tag in channel.consumer_tags:
            channel.basic_cancel(tag, callback=ended)

    def _subscribe_anew(self) -> None:
        # Over a new channel: RabbitMQ 3.10.8 can fail when the same one consumes again (rabbitmq-server #5927). Of two
        # subscriptions, the second one's end may come while the channel is closing.
        channel = self._channel
        if self._ended and self._window.empty and not self._unsent and channel is not None and channel.is_open:
            channel.close()

    def _on_lost(self, reason: BaseException) -> None:
        # What was delivered and not taken comes again over the next channel.
        self._deliveries.clear()
        if isinstance(reason, pika.exceptions.ChannelClosedByBroker):
            log.warning("consumer_lost", queue=self._queue, reason=in_words(reason), next="subscribe_again")


def _up_to(waiting: deque[Delivery], limit: int, enough: int) -> list[Delivery]:
    """The first of those that wait: one at the least."""
    taken: list[Delivery] = []
    octets = 0
    while waiting and len(taken) < limit and octets < enough:
        taken.append(waiting.popleft())
        octets += len(taken[-1].body)
    return taken
