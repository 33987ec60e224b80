"""A worker that one message kills, and who starts it again: `python -m tests.support.mortal_worker URL QUEUE`.

It acknowledges what it takes, in batches as the scheduler does; `poison` ends it like `kill -9`.
"""

import asyncio
import os
import signal
import sys

from shared.broker import Broker

POISON = b"poison"
PREFETCH = 40


async def _work(url: str, queue: str) -> None:
    broker = Broker(url, "mortal", patience_s=20)
    await broker.start()
    consumer = broker.consume_warily(queue, PREFETCH)
    while True:
        deliveries = await consumer.batch(PREFETCH, 0.002)
        if any(delivery.body == POISON for delivery in deliveries):
            os.kill(os.getpid(), signal.SIGKILL)
        consumer.ack(deliveries)


def _keep_running(url: str, queue: str) -> None:
    while True:
        child = os.fork()  # everything is imported by now
        if not child:
            asyncio.run(_work(url, queue))
        os.waitpid(child, 0)


if __name__ == "__main__":
    _keep_running(*sys.argv[1:])
