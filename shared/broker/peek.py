"""Looking at some messages of a queue without consuming it."""

import asyncio
from typing import Any

import pika.spec
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.channel import Channel

from shared.broker.channel import open_channel
from shared.broker.errors import BrokerRefused, in_words
from shared.broker.messages import Delivery, delivered


class Peek:
    """Some messages of a queue, held for as long as this is open."""

    def __init__(self, channel: Channel, deliveries: list[Delivery]) -> None:
        self._channel = channel
        self.deliveries = deliveries

    @classmethod
    async def open(cls, connection: AsyncioConnection, queue_name: str, limit: int) -> "Peek":
        channel = await open_channel(connection)
        deliveries: list[Delivery] = []
        while len(deliveries) < limit:
            delivery = await _get(channel, queue_name)
            if delivery is None:
                break
            deliveries.append(delivery)
        return cls(channel, deliveries)

    def ack(self, delivery: Delivery) -> None:
        """Take it off the queue for good."""
        self._channel.basic_ack(delivery.tag)

    async def close(self) -> None:
        """Give back what was not acked."""
        if self._channel.is_open:
            # A nack, not a close: up to 4.2 both count as a failed delivery, from 4.3 a nack is free.
            self._channel.basic_nack(0, multiple=True, requeue=True)
            closed = asyncio.Event()
            self._channel.add_on_close_callback(lambda *_: closed.set())
            self._channel.close()
            await asyncio.wait_for(closed.wait(), 5)


async def _get(channel: Channel, queue_name: str) -> Delivery | None:
    answer: asyncio.Future[Delivery | None] = asyncio.get_running_loop().create_future()

    def on_message(_channel: Channel, method: Any, properties: Any, body: bytes) -> None:
        if not answer.done():
            answer.set_result(delivered(method, properties, body, 0))

    def on_empty(_frame: Any) -> None:
        if not answer.done():
            answer.set_result(None)

    def on_closed(_channel: Channel, reason: BaseException) -> None:
        if not answer.done():
            answer.set_exception(BrokerRefused(in_words(reason)))

    channel.add_callback(on_empty, [pika.spec.Basic.GetEmpty])
    channel.add_on_close_callback(on_closed)
    channel.basic_get(queue_name, on_message)
    return await answer
