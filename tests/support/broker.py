"""A broker for one test, and what tests put into its queues and look for."""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pika
import uvloop

from shared.broker import Broker, Message, Properties

QUORUM = {"x-queue-type": "quorum", "x-delivery-limit": 1000}
LIMIT_S = 60.0


def run(scene: Coroutine[Any, Any, None]) -> None:
    """Run a scene on the workers' kind of event loop, within a minute."""
    uvloop.run(asyncio.wait_for(scene, LIMIT_S))


@asynccontextmanager
async def opened(url: str, *declarations: Any, patience_s: float = 20) -> AsyncIterator[Broker]:
    """A connected broker that has these queues and exchanges; closed at the end."""
    broker = Broker(url, "test", patience_s=patience_s)
    await broker.start()
    try:
        await broker.declare(declarations)
        yield broker
    finally:
        await broker.close()


def to_queue(name: str, *bodies: bytes, **properties: Any) -> list[Message]:
    """Messages straight to a queue."""
    return [Message("", name, body, Properties(**properties)) for body in bodies]


def numbered(count: int, start: int = 0) -> list[bytes]:
    """Bodies that can be told apart."""
    return [b"%d" % number for number in range(start, start + count)]


async def until(condition: Callable[[], Any]) -> None:
    """Wait for what no event announces."""
    while not condition():
        await asyncio.sleep(0.02)


async def until_counted(broker: Broker, name: str, count: int) -> None:
    """Wait until so many messages are in a queue; what a closed channel had comes back to it a little later."""
    while await broker.count(name) != count:
        await asyncio.sleep(0.02)


async def drained(broker: Broker, name: str, count: int) -> list[bytes]:
    """Take everything off a queue that holds so many."""
    await until_counted(broker, name, count)
    bodies: list[bytes] = []
    consumer = broker.consume(name, 1000)
    while len(bodies) < count:
        deliveries = await consumer.batch(1000)
        consumer.ack(deliveries)
        bodies += [delivery.body for delivery in deliveries]
    await consumer.close()
    return bodies


class RawHeaders(pika.BasicProperties):
    """A table of headers in octets: what pika itself would not write."""

    def __init__(self, *fields: bytes) -> None:
        super().__init__()
        self._table = b"".join(fields)

    def encode(self) -> list[bytes]:
        """The flags of the property `headers` alone, and its table."""
        return [struct.pack(">H", 1 << 13), struct.pack(">I", len(self._table)), self._table]
