"""The broker, as a worker sees it."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pika.exceptions
import structlog
import tenacity

from shared.broker.caller import Caller
from shared.broker.channel import call, open_channel
from shared.broker.consumer import Consumer
from shared.broker.declaring import Declaration
from shared.broker.errors import BrokerRefused, in_words
from shared.broker.link import REOPEN, Link
from shared.broker.peek import Peek
from shared.broker.publisher import Publisher
from shared.broker.wary import WaryConsumer

log = structlog.get_logger()


class Broker:
    """A worker's two connections, and what runs over them."""

    def __init__(self, url: str, name: str, *, patience_s: float | None = None) -> None:
        """`url` may name several nodes, separated by commas. `patience_s`: how long the first connection may take.

        None waits for ever: a worker may start before its broker.
        """
        self._publish_link = Link(url, f"{name}: publish", patience_s)
        self._consume_link = Link(url, f"{name}: consume", patience_s)
        self._consumers: list[Consumer] = []
        self._callers: list[Caller] = []
        self.publisher = Publisher(self._publish_link)

    async def start(self) -> None:
        """Connect. Raises BrokerRefused or BrokerUnreachable."""
        try:
            await asyncio.gather(self._publish_link.start(), self._consume_link.start())
        except BaseException:
            await self.close()
            raise
        self.publisher.start()

    def consume(
        self,
        queue: str,
        prefetch: int,
        *,
        arguments: Callable[[], dict[str, Any]] = dict,
        most_octets: int | None = None,
    ) -> Consumer:
        """Consume a queue over a channel of its own. `arguments` are asked for at every (re)subscription.

        `most_octets`: of bodies in hand, about; a prefetch counts messages, so it is made smaller while they are large.
        """
        return self._started(Consumer(self._consume_link, queue, prefetch, arguments, most_octets))

    def consume_warily(self, queue: str, prefetch: int, *, most_octets: int | None = None) -> Consumer:
        """Consume a queue, and one message at a time where some have gone back to it again and again.

        Whoever crashes with a message counts as a failed delivery of all that it held; so the others are spared.
        """
        return self._started(WaryConsumer(self._consume_link, queue, prefetch, most_octets))

    def _started(self, consumer: Consumer) -> Consumer:
        consumer.start()
        self._consumers = [*(one for one in self._consumers if not one.closed), consumer]
        return consumer

    def caller(self) -> Caller:
        """Ask, and hear the answers, over a channel of its own."""
        caller = Caller(self._publish_link)
        caller.start()
        self._callers.append(caller)
        return caller

    async def declare(self, declarations: Sequence[Declaration]) -> None:
        """Declare exchanges, queues and bindings, in order; what exists stays as it is.

        A user without the permission to configure is no error: the topology may exist, and if it does not, the
        consumers say so. Raises BrokerRefused when something exists with other arguments. Waits for queues that exist
        and can not be reached yet, as a stream's just after the broker's start.
        """
        async for attempt in tenacity.AsyncRetrying(
            wait=REOPEN, retry=tenacity.retry_if_exception(_link_was_lost), before_sleep=_say_not_declared
        ):
            with attempt:
                await self._declare(declarations)

    async def _declare(self, declarations: Sequence[Declaration]) -> None:
        channel = await open_channel(await self._publish_link.connection())
        try:
            for declaration in declarations:
                await declaration(channel)
        except pika.exceptions.ChannelClosedByBroker as closed:
            if closed.reply_code == 404:  # declaring can not miss a queue: it is there, and its node is not up yet
                raise
            if closed.reply_code != 403:
                raise BrokerRefused(f"declaring the topology: {closed.reply_text}") from closed
            log.info("topology_not_declared", reason="no permission to configure; counting on `pillarbox setup`")
        finally:
            if channel.is_open:
                channel.close()

    async def get(self, queue: str, limit: int) -> "Peek":
        """Take up to `limit` messages off a queue without consuming it. Close the result: what is not acked stays."""
        return await Peek.open(await self._consume_link.connection(), queue, limit)

    async def count(self, queue: str) -> int:
        """How many messages wait in a queue. Raises BrokerRefused where it does not exist."""
        async for attempt in tenacity.AsyncRetrying(wait=REOPEN, retry=tenacity.retry_if_exception(_link_was_lost)):
            with attempt:
                waiting = await self._count(queue)
        return waiting

    async def _count(self, queue: str) -> int:
        channel = await open_channel(await self._publish_link.connection())
        try:
            answer = await call(channel, channel.queue_declare, queue=queue, passive=True)
        except pika.exceptions.ChannelClosedByBroker as closed:
            raise BrokerRefused(closed.reply_text) from closed
        channel.close()
        return int(answer.method.message_count)

    async def close(self) -> None:
        """Send the last acks and close both connections; what is unacked goes back to its queue."""
        for keeper in (*self._consumers, *self._callers, self.publisher):
            await keeper.close()
        await asyncio.gather(self._publish_link.close(), self._consume_link.close())


def _link_was_lost(error: BaseException) -> bool:
    return isinstance(error, pika.exceptions.AMQPError)


def _say_not_declared(state: tenacity.RetryCallState) -> None:
    if state.attempt_number % 10 == 1:
        error = state.outcome.exception() if state.outcome else None
        log.warning("topology_not_declared", reason=in_words(error), next="try_again")
