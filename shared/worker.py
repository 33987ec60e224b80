"""How every worker starts, runs and stops."""

import asyncio
import ctypes
import gc
import resource
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Set
from typing import Any, TypeVar

import structlog
import uvloop

from shared import topology
from shared.broker import Broker, BrokerRefused
from shared.environment import Environment, InvalidEnvironment, read_environment, without_password
from shared.mail_log import start_log
from shared.metrics import serve_metrics
from shared.store_trouble import StoreUnusable

log = structlog.get_logger()

T = TypeVar("T")

# A stop waits so long for a step that is under way. Longer only where the broker or the store does not answer.
_FINISH_WITHIN_S = 5.0

_M_MMAP_THRESHOLD = -3  # malloc.h
_LARGE = 1024 * 1024  # octets

Serve = Callable[[Environment, Broker, asyncio.Event], Awaitable[None]]


def run(role: str, serve: Serve) -> None:
    """Run a worker until SIGTERM or SIGINT. `serve` gets a connected broker, and the event that asks it to stop.

    Exits with 1 when a variable is wrong, with 2 when the broker or the store says that starting again would not help,
    or the port for metrics is taken.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold passwords and mail
    try:
        environment = read_environment(role)
    except InvalidEnvironment as error:
        sys.exit(f"pillarbox {role}: {error}")
    start_log(environment.worker, environment.log_level)
    _return_large_memory()
    uvloop.run(_run(role, environment, serve))


def _return_large_memory() -> None:
    """Let the memory of large mails go back to the system as soon as it is free.

    Once glibc has seen a piece of up to 32 MiB freed, it takes the next ones from its heap, which keeps what was once
    in use: mallopt(3).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE)


def _collect_seldom() -> None:
    """Look for garbage after some thousand objects, not after some hundred, and not among what was loaded at the start.

    A mail makes some fifty objects, hardly any of them in circles.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


async def _run(role: str, environment: Environment, serve: Serve) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    store = without_password(environment.store_url)
    log.info("starting", amqp_url=without_password(environment.amqp_url), store_url=store or None)
    try:
        broker = Broker(environment.amqp_url, environment.worker)
        if not await unless_stopped(broker.start(), stop):
            return
        await topology.declare(broker)
        # Not before: to be asked for them is how others find out that the broker is there.
        metrics_port = serve_metrics(environment.metrics_port, role, environment.worker)
    except (BrokerRefused, InvalidEnvironment) as refused:
        log.error("refused", reason=str(refused), next="exit")
        sys.exit(2)
    unusable: list[StoreUnusable] = []
    try:
        _collect_seldom()
        log.info("ready", metrics_port=metrics_port)
        await serve(environment, broker, stop)
    except* StoreUnusable as group:
        unusable += _leaves(group)
    finally:
        await broker.close()
        log.info("stopped")
    if unusable:
        log.error("store_unusable", store=store, reason=str(unusable[0]), do=unusable[0].cure, next="exit")
        sys.exit(2)


def _leaves(group: ExceptionGroup[StoreUnusable]) -> Iterator[StoreUnusable]:
    for error in group.exceptions:
        if isinstance(error, ExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


async def unless_stopped(starting: Coroutine[Any, Any, None], stop: asyncio.Event) -> bool:
    """Wait for what a worker can not begin without; False when it is asked to stop before that is there."""
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
        await _all_ended({*running, waiting})


async def finish(step: Coroutine[Any, Any, T]) -> T:
    """Carry out a step that a stop should not cut in two: cancelled meanwhile, it is finished first, within limits.

    A crash may cut it all the same; then a lease or the broker repairs it, only later.
    """
    task = asyncio.create_task(step)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await _all_ended({task}, _FINISH_WITHIN_S)
        task.cancel()
        raise


async def _all_ended(tasks: Set[asyncio.Task[Any]], limit_s: float | None = None) -> None:
    """Wait for tasks, even when cancelled meanwhile: what they finish needs what the caller is about to close."""
    waiting = asyncio.create_task(asyncio.wait(tasks, timeout=limit_s))
    cancelled = False
    while not waiting.done():
        try:
            await asyncio.shield(waiting)
        except asyncio.CancelledError:
            cancelled = True
    for task in tasks:
        if task.done() and not task.cancelled():
            task.exception()  # it is known by now, or the worker is going down for another reason
    if cancelled:
        raise asyncio.CancelledError
