"""How every worker starts, runs and stops."""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import structlog
import uvloop

from shared import topology
from shared.broker import Broker, BrokerRefused
from shared.environment import Environment, InvalidEnvironment, read_environment, without_password
from shared.mail_log import start_log
from shared.metrics import serve_metrics

log = structlog.get_logger()

Serve = Callable[[Environment, Broker, asyncio.Event], Awaitable[None]]


def run(role: str, serve: Serve) -> None:
    """Run a worker until SIGTERM or SIGINT. `serve` gets a connected broker, and the event that asks it to stop.

    Exits with 2 when the environment or the broker says that starting again would not help.
    """
    try:
        environment = read_environment(role)
    except InvalidEnvironment as error:
        sys.exit(f"pillarbox {role}: {error}")
    start_log(environment.worker, environment.log_level)
    uvloop.run(_run(environment, serve))


async def _run(environment: Environment, serve: Serve) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    log.info(
        "starting", amqp_url=without_password(environment.amqp_url), store_url=without_password(environment.store_url)
    )
    broker = Broker(environment.amqp_url, environment.worker)
    try:
        if not await _unless_stopped(broker.start(), stop):
            return
        await topology.declare(broker)
    except BrokerRefused as refused:
        log.error("refused", reason=str(refused), next="exit")
        sys.exit(2)
    metrics_port = serve_metrics(environment.metrics_port)
    try:
        log.info("ready", metrics_port=metrics_port)
        await serve(environment, broker, stop)
    finally:
        await broker.close()
        log.info("stopped")


async def _unless_stopped(starting: Coroutine[Any, Any, None], stop: asyncio.Event) -> bool:
    start, stopped = asyncio.create_task(starting), asyncio.create_task(stop.wait())
    await asyncio.wait((start, stopped), return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not start.done():
        start.cancel()
        return False
    await start
    return True


async def run_until(stop: asyncio.Event, *parts: Coroutine[Any, Any, None]) -> None:
    """Run the parts of a worker side by side until `stop` is set.

    One that fails takes the worker down: whoever watches it starts it anew, and the broker delivers again what it had.
    """
    running = {asyncio.create_task(part) for part in parts}
    waiting = asyncio.create_task(stop.wait())
    try:
        while not waiting.done():
            done, _ = await asyncio.wait({*running, waiting}, return_when=asyncio.FIRST_COMPLETED)
            for task in done - {waiting}:
                running.discard(task)
                await task
    finally:
        for task in (*running, waiting):
            task.cancel()
        await asyncio.gather(*running, waiting, return_exceptions=True)
