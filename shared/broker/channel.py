"""A channel of a connection, opened again whenever it is lost, and calls over it that can be awaited."""

import asyncio
from collections.abc import Callable
from typing import Any

import pika.exceptions
import structlog
import tenacity
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.channel import Channel

from shared.broker.errors import as_error, in_words
from shared.broker.link import REOPEN, Link

log = structlog.get_logger()


class ChannelKeeper:
    """A channel of a link, opened again whenever it is lost."""

    def __init__(self, link: Link, what: str) -> None:
        self._link = link
        self._what = what
        self._channel: Channel | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self.generation = 0
        self.closed = False

    def start(self) -> None:
        self._keeper = asyncio.create_task(self._keep_open())

    async def _keep_open(self) -> None:
        open_again = tenacity.AsyncRetrying(
            wait=REOPEN,
            retry=tenacity.retry_if_exception_type(pika.exceptions.AMQPError),
            before_sleep=self._say_still_trying,
        )
        while True:
            lost: asyncio.Event = await open_again(self._open)
            if not lost.is_set():
                self._ready.set()
            await lost.wait()

    async def _open(self) -> asyncio.Event:
        """Open and set up the channel; the event is set when it is lost."""
        channel = await open_channel(await self._link.connection())
        lost = asyncio.Event()
        self.generation += 1

        def on_closed(_channel: Channel, reason: BaseException) -> None:
            if self._channel is channel:
                self._ready.clear()
                self._channel = None
                self._on_lost(reason)
            lost.set()

        channel.add_on_close_callback(on_closed)
        self._channel = channel
        await self._set_up(channel)
        return lost

    async def close(self) -> None:
        self.closed = True
        if self._keeper is not None:
            self._keeper.cancel()
        channel, self._channel = self._channel, None
        if channel is not None and channel.is_open:
            closed = asyncio.Event()
            channel.add_on_close_callback(lambda *_: closed.set())
            channel.close()
            try:
                await asyncio.wait_for(closed.wait(), 5)
            except TimeoutError:
                log.warning("channel_close_timed_out", channel=self._what)

    def _say_still_trying(self, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if self._link.unblocked.is_set() and state.attempt_number % 10 == 1:
            log.warning("channel_not_opened", channel=self._what, reason=in_words(error), next="try_again")

    async def _set_up(self, channel: Channel) -> None:
        raise NotImplementedError

    def _on_lost(self, reason: BaseException) -> None:
        raise NotImplementedError


async def open_channel(connection: AsyncioConnection) -> Channel:
    """Open a channel. Raises AMQPError when the connection goes meanwhile."""
    opened: asyncio.Future[Channel] = asyncio.get_running_loop().create_future()

    def on_open(channel: Channel) -> None:
        if not opened.done():
            opened.set_result(channel)

    def on_close(_connection: AsyncioConnection, reason: BaseException) -> None:
        if not opened.done():
            opened.set_exception(as_error(reason))

    connection.add_on_close_callback(on_close)
    connection.channel(on_open_callback=on_open)
    try:
        return await opened
    finally:  # else the connection would keep it, and the channel with it, for as long as it lives
        connection.callbacks.remove(0, connection.ON_CONNECTION_CLOSED, on_close)


async def call(channel: Channel, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a channel method that takes a callback, and wait for its answer.

    Raises the channel's close reason if it closes first.
    """
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def settle(frame: Any = None) -> None:
        if not answer.done():
            answer.set_result(frame)

    def on_closed(_channel: Channel, reason: BaseException) -> None:
        if not answer.done():
            answer.set_exception(as_error(reason))

    channel.add_on_close_callback(on_closed)
    method(*args, callback=settle, **kwargs)
    return await answer
