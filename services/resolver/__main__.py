"""`python -m services.resolver`: finds the routes."""

import asyncio

from services.resolver.worker import ResolverWorker
from shared.broker import Broker
from shared.environment import Environment
from shared.settings_feed import SettingsFeed
from shared.topology import RESOLVE
from shared.tracing import tracer_of
from shared.worker import run, run_until

# Messages under way at once; each carries up to fifty requests, and some wait for slow name servers.
_PREFETCH = 40


async def serve(environment: Environment, broker: Broker, stop: asyncio.Event) -> None:
    """Route until asked to stop; what is under way then is delivered again to another."""
    feed = SettingsFeed(broker)
    feed.subscribe()

    async def after_settings() -> None:
        await feed.first()
        consumer = broker.consume_warily(RESOLVE, _PREFETCH)
        tracer = tracer_of("resolver", environment.worker, environment.traces)
        worker = ResolverWorker(environment.worker, broker.publisher, consumer, lambda: feed.now, tracer)
        feed.watch(worker.on_change)
        await worker.loop()

    await run_until(stop, feed.follow(), after_settings())


if __name__ == "__main__":
    run("resolver", serve)
