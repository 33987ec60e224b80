"""`python -m bench.hop`: what a message costs over one hop, ours and the broker's share, beside a loop of plain pika.

A quorum queue, confirms, acknowledgements gathered; first all messages are published, then all consumed.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import pika
import uvloop
from pika.adapters.asyncio_connection import AsyncioConnection

from bench.processes import Process, family
from cli.node import PrivateNode
from shared.broker import Broker, Message, queue

_MESSAGES = 5_000
AT_ONCE = 100  # published before the confirms are waited for, and acknowledged together
_PREFETCH = 1_000
_ROUNDS = 5
_SIZES = (300, 4_096)
_QUORUM = {"x-queue-type": "quorum"}


class Hop(msgspec.Struct, frozen=True):
    """Microseconds of processor time for a message."""

    publish: float
    consume: float
    broker: float
    rate: float  # messages a second, over both steps


_COSTS = ("publish", "consume", "broker")


def main() -> None:
    """Measure in turn, print the medians."""
    with tempfile.TemporaryDirectory() as folder:
        node = PrivateNode(Path(folder) / "broker")
        node.start()
        try:
            print("| octets | | publish, µs | consume, µs | broker, µs |\n|---:|---|---:|---:|---:|")
            for size in _SIZES:
                rounds = [
                    [uvloop.run(measured(way, node.amqp_url, b"x" * size, _MESSAGES)) for way in (_ours, plain)]
                    for _ in range(_ROUNDS)
                ]
                for name, hops in zip(("Pillarbox", "plain pika"), zip(*rounds, strict=True), strict=True):
                    figures = (median(getattr(hop, part) for hop in hops) for part in _COSTS)
                    print(f"| {size:,} | {name} | " + " | ".join(f"{figure:.0f}" for figure in figures) + " |")
        finally:
            node.stop()


Steps = tuple[Callable[[], Awaitable[None]], Callable[[], Awaitable[None]], Callable[[], Awaitable[None]]]
Way = Callable[[str, bytes, int], Awaitable[Steps]]


async def measured(way: Way, url: str, body: bytes, messages: int) -> Hop:
    """Publish and consume so many messages, a multiple of `AT_ONCE`, one way."""
    publish, consume, close = await way(url, body, messages)
    broker_before, costs, started = _broker_s(), [], time.monotonic()
    for step in (publish, consume):
        before = time.process_time()
        await step()
        costs.append(time.process_time() - before)
    seconds, spent = time.monotonic() - started, _broker_s() - broker_before
    await close()
    publish_us, consume_us, broker_us = (each / messages * 1e6 for each in (*costs, spent))
    return Hop(publish_us, consume_us, broker_us, messages / seconds)


def _broker_s() -> float:
    return sum(process.cpu_s for process in family() if _is_broker(process))


def _is_broker(process: Process) -> bool:
    return process.pid != os.getpid()


async def _ours(url: str, body: bytes, messages: int) -> Steps:
    broker = Broker(url, "bench", patience_s=30)
    await broker.start()
    await broker.declare([queue("bench.hop", _QUORUM)])
    some = [Message("", "bench.hop", body) for _ in range(AT_ONCE)]

    async def publish() -> None:
        for _ in range(messages // AT_ONCE):
            await broker.publisher.publish(some)

    async def consume() -> None:
        consumer, left = broker.consume("bench.hop", _PREFETCH), messages
        while left:
            deliveries = await consumer.batch(AT_ONCE)
            consumer.ack(deliveries)
            left -= len(deliveries)
        await consumer.close()

    return publish, consume, broker.close


async def plain(url: str, body: bytes, messages: int) -> Steps:
    """A loop of plain pika."""
    loop = asyncio.get_running_loop()
    opened: asyncio.Future[Any] = loop.create_future()
    closed, confirmed, last = asyncio.Event(), asyncio.Semaphore(0), 0
    AsyncioConnection(
        pika.URLParameters(url),
        on_open_callback=opened.set_result,
        on_open_error_callback=lambda _, error: opened.set_exception(error),
        on_close_callback=lambda *_: closed.set(),
        custom_ioloop=loop,
    )
    connection = await opened
    channels = [await _channel(connection) for _ in range(2)]
    properties = pika.BasicProperties(content_type="application/msgpack", delivery_mode=2)

    def on_confirm(frame: Any) -> None:
        nonlocal last
        for _ in range(frame.method.delivery_tag - last if frame.method.multiple else 1):
            confirmed.release()
        last = max(last, frame.method.delivery_tag)

    await _called(channels[0].queue_declare, "bench.hop", durable=True, arguments=_QUORUM)
    await _called(lambda callback: channels[0].confirm_delivery(on_confirm, callback=callback))
    await _called(channels[1].basic_qos, prefetch_count=_PREFETCH)

    async def publish() -> None:
        for _ in range(messages // AT_ONCE):
            for _ in range(AT_ONCE):
                channels[0].basic_publish("", "bench.hop", body, properties, mandatory=True)
            for _ in range(AT_ONCE):
                await confirmed.acquire()

    async def consume() -> None:
        done = asyncio.Event()

        def on_message(channel: Any, method: Any, _properties: Any, _body: bytes) -> None:
            if method.delivery_tag % AT_ONCE == 0:
                channel.basic_ack(method.delivery_tag, multiple=True)
            if method.delivery_tag == messages:
                done.set()

        channels[1].basic_consume("bench.hop", on_message)
        await done.wait()

    async def close() -> None:
        connection.close()
        await closed.wait()

    return publish, consume, close


async def _channel(connection: Any) -> Any:
    opened: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    connection.channel(on_open_callback=opened.set_result)
    return await opened


async def _called(method: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    answered = asyncio.Event()
    method(*args, callback=lambda _: answered.set(), **kwargs)
    await answered.wait()


if __name__ == "__main__":
    main()
