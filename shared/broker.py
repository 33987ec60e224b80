"""The broker behind a small awaitable interface; the only file that imports pika.

A worker has two connections, one to publish and one to consume: RabbitMQ stops reading a connection that publishes
while an alarm is on, and acks on it would stall too. Both are kept open: a lost one is opened again, unconfirmed
messages are published again (so every hop bears repeats), and unacked deliveries come back from the broker.
"""

import asyncio
import ssl
import struct
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
import pika
import pika.data
import pika.exceptions
import pika.frame
import structlog
import tenacity
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.channel import Channel

log = structlog.get_logger()

# In flight between publish and confirm. The prototype gained up to about a thousand and nothing beyond.
CONFIRM_WINDOW = 1000
# Acks are gathered this long, so that one frame covers many.
ACK_GATHER_S = 0.002
HEARTBEAT_S = 60
# An alarm that lasts longer than this costs us the connection, and its message is said again in the log.
BLOCKED_TIMEOUT_S = 300
# The broker closes the channel with these when a message itself is at fault; repeating it would go on for ever.
_OUR_FAULT = {403, 404, 406}
_REOPEN = tenacity.wait_random_exponential(multiplier=0.05, max=5)


class Properties(msgspec.Struct, frozen=True, kw_only=True):
    """The AMQP properties this project uses; times and lengths as AMQP has them."""

    message_id: str | None = None
    content_type: str | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    user_id: str | None = None
    headers: Mapping[str, Any] = {}


class Message(msgspec.Struct, frozen=True):
    """One message to publish."""

    exchange: str
    key: str
    body: bytes
    properties: Properties = Properties(content_type="application/msgpack")
    mandatory: bool = True  # a message that no queue takes is refused, not confirmed


class Refused(msgspec.Struct, frozen=True):
    """A message that the broker did not take, and why."""

    message: Message
    reason: str


class Delivery(msgspec.Struct, frozen=True, eq=False):
    """One message as it came from a queue. Acknowledge it through the consumer that gave it."""

    body: bytes
    tag: int
    generation: int  # of the channel it came over: a tag means nothing on another one
    redelivered: bool
    properties: Properties
    offset: int = -1  # of a stream's message


class BrokerRefused(Exception):
    """The broker is there and does not let us in, or refuses what was declared; trying again would not help."""


class BrokerUnreachable(Exception):
    """No broker answered within the time given."""


class Broker:
    """A worker's two connections, and what runs over them."""

    def __init__(self, url: str, name: str, *, patience_s: float | None = None) -> None:
        """`url` may name several nodes, separated by commas. `patience_s`: how long the first connection may take.

        None waits for ever: a worker may start before its broker.
        """
        urls = [part.strip() for part in url.split(",") if part.strip()]
        if not urls:
            raise BrokerRefused(_URL_TAKES)
        self._publish_link = _Link(urls, f"{name}: publish", patience_s)
        self._consume_link = _Link(urls, f"{name}: consume", patience_s)
        self._consumers: list[Consumer] = []
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
        exclusive: bool = False,
    ) -> "Consumer":
        """Consume a queue over a channel of its own. `arguments` are asked for at every (re)subscription.

        `exclusive` declares the queue first, for this connection alone; it goes with it.
        """
        consumer = Consumer(self._consume_link, queue, prefetch, arguments, exclusive)
        consumer.start()
        self._consumers = [*(one for one in self._consumers if not one.closed), consumer]
        return consumer

    async def declare(self, declarations: Sequence["Declaration"]) -> None:
        """Declare exchanges, queues and bindings, in order; what exists stays as it is.

        A user without the permission to configure is no error: the topology may exist, and if it does not, the
        consumers say so. Raises BrokerRefused when something exists with other arguments. Waits for queues that exist
        and can not be reached yet, as a stream's just after the broker's start.
        """
        async for attempt in tenacity.AsyncRetrying(
            wait=_REOPEN, retry=tenacity.retry_if_exception(_link_was_lost), before_sleep=_say_not_declared
        ):
            with attempt:
                await self._declare(declarations)

    async def _declare(self, declarations: Sequence["Declaration"]) -> None:
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
        channel = await open_channel(await self._publish_link.connection())
        try:
            answer = await _call(channel, channel.queue_declare, queue=queue, passive=True)
        except pika.exceptions.ChannelClosedByBroker as closed:
            raise BrokerRefused(closed.reply_text) from closed
        channel.close()
        return int(answer.method.message_count)

    async def close(self) -> None:
        """Send the last acks and close both connections; what is unacked goes back to its queue."""
        for consumer in self._consumers:
            await consumer.close()
        await self.publisher.close()
        await asyncio.gather(self._publish_link.close(), self._consume_link.close())


Declaration = Callable[[Channel], Awaitable[Any]]


def exchange(name: str, kind: str) -> Declaration:
    """A durable exchange, for `Broker.declare`."""
    return lambda channel: _call(channel, channel.exchange_declare, exchange=name, exchange_type=kind, durable=True)


def queue(name: str, arguments: dict[str, Any]) -> Declaration:
    """A durable queue, for `Broker.declare`."""
    return lambda channel: _call(channel, channel.queue_declare, queue=name, durable=True, arguments=arguments)


def binding(queue_name: str, exchange_name: str, key: str) -> Declaration:
    """A queue's binding to an exchange, for `Broker.declare`."""
    return lambda channel: _call(channel, channel.queue_bind, queue=queue_name, exchange=exchange_name, routing_key=key)


# ---------------------------------------------------------------------------------------------------------


class _Link:
    """One connection, opened again whenever it is lost."""

    def __init__(self, urls: Sequence[str], name: str, patience_s: float | None) -> None:
        self._parameters = deque(_parameters(url, name) for url in urls)
        self._name = name
        self._patience_s = patience_s
        self._opened = asyncio.Event()
        self._lost = asyncio.Event()
        self._connection: AsyncioConnection | None = None
        self._keeper: asyncio.Task[None] | None = None
        self.unblocked = asyncio.Event()
        self.unblocked.set()

    async def start(self) -> None:
        self._adopt(await self._open_with_patience())
        self._keeper = asyncio.create_task(self._keep_open())

    async def connection(self) -> AsyncioConnection:
        """The open connection; waits while there is none."""
        while self._connection is None or not self._connection.is_open:
            self._opened.clear()
            await self._opened.wait()
        return self._connection

    async def close(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
        connection = self._connection
        if connection is not None and not connection.is_closed:
            if connection.is_open:
                connection.close()
            try:
                await asyncio.wait_for(self._lost.wait(), 5)
            except TimeoutError:
                log.warning("broker_close_timed_out", connection=self._name)

    async def _keep_open(self) -> None:
        while True:
            await self._lost.wait()
            async for attempt in tenacity.AsyncRetrying(
                wait=_REOPEN,
                retry=tenacity.retry_if_exception_type((OSError, pika.exceptions.AMQPError, TimeoutError)),
            ):
                with attempt:
                    self._adopt(await self._open())
            log.info("broker_reconnected", connection=self._name)

    async def _open_with_patience(self) -> AsyncioConnection:
        stop = tenacity.stop_never if self._patience_s is None else tenacity.stop_after_delay(self._patience_s)
        try:
            return await tenacity.AsyncRetrying(
                wait=_REOPEN,
                stop=stop,
                retry=tenacity.retry_if_exception(_may_pass),
                before_sleep=self._say_still_trying,
                reraise=True,
            )(self._open)
        except (OSError, pika.exceptions.AMQPError, TimeoutError) as error:
            if not _may_pass(error):
                raise BrokerRefused(f"{self._where()} does not let us in: {_words(error)}") from error
            raise BrokerUnreachable(f"no broker at {self._where()}: {_words(error)}") from error

    def _say_still_trying(self, state: tenacity.RetryCallState) -> None:
        if state.attempt_number in (3, 10) or state.attempt_number % 60 == 0:
            error = state.outcome.exception() if state.outcome else None
            log.warning("broker_unreachable", at=self._where(), error=_words(error), next="try_again")

    def _where(self) -> str:
        return ", ".join(f"{parameters.host}:{parameters.port}" for parameters in self._parameters)

    async def _open(self) -> AsyncioConnection:
        opened: asyncio.Future[AsyncioConnection] = asyncio.get_running_loop().create_future()
        parameters = self._parameters[0]
        self._parameters.rotate(-1)  # the next try goes to the next node

        def settle(connection: AsyncioConnection, error: BaseException | None = None) -> None:
            if opened.done():
                return
            if error is None:
                opened.set_result(connection)
            elif isinstance(error, OSError | pika.exceptions.AMQPError):
                opened.set_exception(error)
            else:  # a name that does not resolve, a peer that speaks something else: pika has an error of its own kind
                opened.set_exception(ConnectionError(_words(error)))

        _Connection(
            parameters,
            on_open_callback=settle,
            on_open_error_callback=settle,
            on_close_callback=self._on_closed,
            custom_ioloop=asyncio.get_running_loop(),
        )
        return await opened

    def _adopt(self, connection: AsyncioConnection) -> None:
        connection.add_on_connection_blocked_callback(self._on_blocked)
        connection.add_on_connection_unblocked_callback(self._on_unblocked)
        self.unblocked.set()
        self._lost.clear()
        self._connection = connection
        if connection.is_open:
            self._opened.set()
        else:  # lost again between its opening and here: nobody else will say so
            self._lost.set()

    def _on_closed(self, connection: AsyncioConnection, reason: BaseException) -> None:
        if connection is self._connection:
            if not isinstance(reason, pika.exceptions.ConnectionClosedByClient):
                log.warning("broker_connection_lost", connection=self._name, reason=_words(reason), next="reconnect")
            self._lost.set()

    def _on_blocked(self, _connection: AsyncioConnection, frame: Any) -> None:
        log.error("broker_blocked", reason=str(frame.method.reason), next="wait_for_the_alarm_to_clear")
        self.unblocked.clear()

    def _on_unblocked(self, _connection: AsyncioConnection, _frame: Any) -> None:
        log.info("broker_unblocked")
        self.unblocked.set()


class _Connection(AsyncioConnection):  # type: ignore[misc]  # pika types it as Any
    """pika's, but for properties that it can not read, such as a time in the year 36812, or tables in tables in tables.

    They would cost the connection, and again at each redelivery, until all that was delivered beside them became dead
    letters too. So the message comes with a content type that nobody takes.
    """

    def _read_frame(self) -> Any:
        try:
            return super()._read_frame()
        except (ValueError, OverflowError, OSError, RecursionError, struct.error, pika.exceptions.ProtocolSyntaxError):
            kind, channel, size = struct.unpack_from(">BHL", self._frame_buffer)
            if kind != pika.spec.FRAME_HEADER:
                raise
            (body_size,) = struct.unpack_from(">Q", self._frame_buffer, pika.spec.FRAME_HEADER_SIZE + 4)
            length = pika.spec.FRAME_HEADER_SIZE + size + pika.spec.FRAME_END_SIZE
            return length, pika.frame.Header(
                channel, body_size, pika.BasicProperties(content_type=UNREADABLE_PROPERTIES)
            )


UNREADABLE_PROPERTIES = "unreadable/properties"

_URL_TAKES = "PILLARBOX_AMQP_URL: takes amqp://user:password@host:port/vhost, or several with commas"


def _parameters(url: str, name: str) -> pika.URLParameters:
    if not url.startswith(("amqp://", "amqps://")):
        raise BrokerRefused(_URL_TAKES)
    try:
        parameters = pika.URLParameters(url)
    except (ValueError, TypeError) as error:
        raise BrokerRefused(f"{_URL_TAKES} ({error})") from error
    parameters.heartbeat = HEARTBEAT_S
    parameters.blocked_connection_timeout = BLOCKED_TIMEOUT_S
    parameters.connection_attempts = 1  # tenacity does the trying
    parameters.client_properties = {"connection_name": f"pillarbox {name}"}
    if parameters.ssl_options is not None and parameters.ssl_options.context.verify_mode is ssl.CERT_NONE:
        parameters.ssl_options.context.check_hostname = True
        parameters.ssl_options.context.verify_mode = ssl.CERT_REQUIRED
    return parameters


class _ChannelKeeper:
    """A channel of a link, opened again whenever it is lost."""

    def __init__(self, link: _Link, what: str) -> None:
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
            wait=_REOPEN,
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
            log.warning("channel_not_opened", channel=self._what, reason=_words(error), next="try_again")

    async def _set_up(self, channel: Channel) -> None:
        raise NotImplementedError

    def _on_lost(self, reason: BaseException) -> None:
        raise NotImplementedError


class _Batch:
    """Messages that one caller waits for together: one future for all of them."""

    __slots__ = ("done", "left", "refused")

    def __init__(self, left: int) -> None:
        self.left = left
        self.refused: list[Refused] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def settle(self, refused: Refused | None = None) -> None:
        if refused is not None:
            self.refused.append(refused)
        self.left -= 1
        if not self.left and not self.done.done():
            self.done.set_result(None)


class Publisher(_ChannelKeeper):
    """Publishes with confirms, many in flight; what is unconfirmed when the link breaks is published again."""

    def __init__(self, link: _Link) -> None:
        super().__init__(link, "publish")
        self._pending: dict[int, tuple[Message, _Batch]] = {}  # by publish number, ascending
        self._returned: dict[int, str] = {}
        self._last = 0
        self._lowest = 1
        self._room = asyncio.Event()

    async def publish(self, messages: Sequence[Message]) -> list[Refused]:
        """Publish all and wait until the broker has answered for each; returns those it did not take.

        Everything else is safe: written and synced by the queues it was routed to.
        """
        if not messages:
            return []
        batch = _Batch(len(messages))
        for message in messages:
            while len(self._pending) >= CONFIRM_WINDOW or not self._ready.is_set() or self._blocked:
                await self._wait_for_room()
            self._put(message, batch)
        await batch.done
        return batch.refused

    @property
    def _blocked(self) -> bool:
        return not self._link.unblocked.is_set()

    async def _wait_for_room(self) -> None:
        await self._ready.wait()
        await self._link.unblocked.wait()
        if len(self._pending) >= CONFIRM_WINDOW:
            self._room.clear()
            await self._room.wait()

    def _put(self, message: Message, batch: _Batch) -> None:
        channel = self._channel
        assert channel is not None
        if message.properties.headers and not fits_in_headers(message.properties.headers):
            batch.settle(Refused(message, "its headers can not be encoded, or not in one frame"))
            return
        try:
            channel.basic_publish(
                message.exchange, message.key, message.body, _encode(message.properties), message.mandatory
            )
        except _NOT_ENCODABLE as error:
            # Nothing was written, so the broker has not counted it either.
            batch.settle(Refused(message, f"it can not be encoded: {_words(error)}"))
            return
        except pika.exceptions.AMQPError:
            pass  # the channel is going; the next one publishes what is pending
        self._last += 1
        self._pending[self._last] = (message, batch)

    async def _set_up(self, channel: Channel) -> None:
        await _call(channel, channel.confirm_delivery, self._on_confirm)
        channel.add_on_return_callback(self._on_return)
        unconfirmed, self._pending = self._pending, {}
        self._last, self._lowest = 0, 1
        self._returned.clear()
        for message, batch in unconfirmed.values():
            self._put(message, batch)

    def _on_confirm(self, frame: Any) -> None:
        tag, nacked = frame.method.delivery_tag, isinstance(frame.method, pika.spec.Basic.Nack)
        if frame.method.multiple:
            for number in range(self._lowest, tag + 1):
                self._settle(number, nacked)
            self._lowest = tag + 1
        else:
            self._settle(tag, nacked)
        self._room.set()

    def _settle(self, number: int, nacked: bool) -> None:
        entry = self._pending.pop(number, None)
        if entry is None:
            return
        message, batch = entry
        returned = self._returned.pop(number, None) if self._returned else None
        if returned is not None:
            batch.settle(Refused(message, returned))
        elif nacked:
            batch.settle(Refused(message, "the queue is full or the broker could not store it"))
        else:
            batch.settle()

    def _on_return(self, _channel: Channel, method: Any, _properties: Any, body: bytes) -> None:
        # A return carries no number; it is rare, so a search among the few in flight is cheaper than a mark on each.
        for number, (message, _) in self._pending.items():
            if number not in self._returned and (message.exchange, message.key, message.body) == (
                method.exchange,
                method.routing_key,
                body,
            ):
                self._returned[number] = f"no queue takes it: {method.reply_text}"
                return

    def _on_lost(self, reason: BaseException) -> None:
        at_fault = isinstance(reason, pika.exceptions.ChannelClosedByBroker) and reason.reply_code in _OUR_FAULT
        if at_fault:
            unconfirmed, self._pending = self._pending, {}
            for message, batch in unconfirmed.values():
                batch.settle(Refused(message, _words(reason)))
        self._room.set()


class Consumer(_ChannelKeeper):
    """Deliveries of one queue, in batches, with gathered acks."""

    def __init__(
        self,
        link: _Link,
        queue_name: str,
        prefetch: int,
        arguments: Callable[[], dict[str, Any]],
        exclusive: bool,
    ) -> None:
        super().__init__(link, f"consume {queue_name}")
        self._queue = queue_name
        self._prefetch = prefetch
        self._arguments = arguments
        self._exclusive = exclusive
        self._deliveries: deque[Delivery] = deque()
        self._arrived = asyncio.Event()
        self._settled: set[int] = set()  # done, above the lowest outstanding one
        self._unsent: list[int] = []  # done, not yet told to the broker
        self._lowest = 1
        self._flush: asyncio.TimerHandle | None = None

    async def batch(self, limit: int, linger_s: float = 0.0) -> list[Delivery]:
        """Wait for at least one delivery, then take what there is, up to `limit`.

        `linger_s`: how long to wait for more when fewer than `limit` are there.
        """
        await self._some()
        if linger_s and len(self._deliveries) < limit:
            await asyncio.sleep(linger_s)
            await self._some()  # a channel that was lost meanwhile has taken its deliveries with it
        taken = self._deliveries
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

    def ack(self, deliveries: Sequence[Delivery]) -> None:
        """These are done. The broker hears of it within ACK_GATHER_S."""
        for delivery in deliveries:
            if delivery.generation == self.generation:
                self._unsent.append(delivery.tag)
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
        self._settled.update(unsent)
        while self._lowest in self._settled:
            self._settled.remove(self._lowest)
            self._lowest += 1
        # The tag of a cumulative ack must itself be outstanding, or the broker closes the channel (406).
        below = [tag for tag in unsent if tag < self._lowest]
        if below:
            channel.basic_ack(max(below), multiple=True)
        for tag in unsent:
            if tag >= self._lowest:  # an earlier one is still under way: it may not hold this one's place
                channel.basic_ack(tag)

    async def _set_up(self, channel: Channel) -> None:
        self._deliveries.clear()
        self._unsent.clear()
        self._settled.clear()
        self._lowest = 1
        if self._exclusive:
            await _call(channel, channel.queue_declare, queue=self._queue, exclusive=True, auto_delete=True)
        await _call(channel, channel.basic_qos, prefetch_count=self._prefetch)
        # The broker cancels a consumer when its queue is deleted or moves: treat it as a lost channel.
        channel.add_on_cancel_callback(lambda _frame: channel.close() if channel.is_open else None)
        generation = self.generation

        def on_message(_channel: Channel, method: Any, properties: Any, body: bytes) -> None:
            self._deliveries.append(_delivery(method, properties, body, generation))
            self._arrived.set()

        await _call(channel, channel.basic_consume, self._queue, on_message, arguments=self._arguments())

    def _on_lost(self, reason: BaseException) -> None:
        # What was delivered and not taken comes again over the next channel.
        self._deliveries.clear()
        if isinstance(reason, pika.exceptions.ChannelClosedByBroker):
            log.warning("consumer_lost", queue=self._queue, reason=_words(reason), next="subscribe_again")


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
            answer.set_result(_delivery(method, properties, body, 0))

    def on_empty(_frame: Any) -> None:
        if not answer.done():
            answer.set_result(None)

    def on_closed(_channel: Channel, reason: BaseException) -> None:
        if not answer.done():
            answer.set_exception(BrokerRefused(_words(reason)))

    channel.add_callback(on_empty, [pika.spec.Basic.GetEmpty])
    channel.add_on_close_callback(on_closed)
    channel.basic_get(queue_name, on_message)
    return await answer


async def open_channel(connection: AsyncioConnection) -> Channel:
    """Open a channel. Raises AMQPError when the connection goes meanwhile."""
    opened: asyncio.Future[Channel] = asyncio.get_running_loop().create_future()

    def on_open(channel: Channel) -> None:
        if not opened.done():
            opened.set_result(channel)

    def on_close(_connection: AsyncioConnection, reason: BaseException) -> None:
        if not opened.done():
            opened.set_exception(_as_error(reason))

    connection.add_on_close_callback(on_close)
    connection.channel(on_open_callback=on_open)
    return await opened


async def _call(channel: Channel, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a channel method that takes a callback, and wait for its answer.

    Raises the channel's close reason if it closes first.
    """
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def settle(frame: Any = None) -> None:
        if not answer.done():
            answer.set_result(frame)

    def on_closed(_channel: Channel, reason: BaseException) -> None:
        if not answer.done():
            answer.set_exception(_as_error(reason))

    channel.add_on_close_callback(on_closed)
    method(*args, callback=settle, **kwargs)
    return await answer


def _as_error(reason: BaseException) -> Exception:
    return reason if isinstance(reason, Exception) else pika.exceptions.AMQPConnectionError(str(reason))


def _link_was_lost(error: BaseException) -> bool:
    return isinstance(error, pika.exceptions.AMQPError)


def _say_not_declared(state: tenacity.RetryCallState) -> None:
    if state.attempt_number % 10 == 1:
        error = state.outcome.exception() if state.outcome else None
        log.warning("topology_not_declared", reason=_words(error), next="try_again")


def _may_pass(error: BaseException) -> bool:
    """Whether opening may succeed later. A broker that said no to user or virtual host will say it again.

    A connection that is cut while it is opened also counts as "probable" with pika; that happens while a broker starts.
    """
    if isinstance(error, pika.exceptions.ProbableAuthenticationError | pika.exceptions.ProbableAccessDeniedError):
        return "ConnectionClosedByBroker" not in str(error)
    known = isinstance(error, OSError | pika.exceptions.AMQPError | TimeoutError)
    return known and not isinstance(error, pika.exceptions.AuthenticationError)


def _words(error: BaseException | None) -> str:
    """An error in words: pika's say little until asked for their causes."""
    if isinstance(error, pika.exceptions.ChannelClosed | pika.exceptions.ConnectionClosed):
        return f"{error.reply_code} {error.reply_text}"
    causes = [*getattr(error, "exceptions", ()), getattr(error, "exception", None), *getattr(error, "args", ())]
    for cause in reversed(causes):
        if isinstance(cause, BaseException) and cause is not error:
            return _words(cause)
    return str(error) or type(error).__name__


# What pika raises over a message that AMQP has no form for, before it writes anything.
_NOT_ENCODABLE = (
    pika.exceptions.ShortStringTooLong,
    pika.exceptions.UnsupportedAMQPFieldException,
    struct.error,  # a number of more than 64 bits
    UnicodeEncodeError,
    AssertionError,
    TypeError,
    RecursionError,
)
# Properties travel in one frame; a larger one costs the connection, and again after each reconnect.
_MOST_SHORT = 255  # octets of a short string, AMQP 0-9-1 section 4.2.5.3
_MOST_HEADERS = 131_072 - 4096  # octets; the usual frame_max, less the other properties


def fits_in_headers(headers: Mapping[str, Any]) -> bool:
    """Whether AMQP has a form for these headers, and a frame has room."""
    pieces: list[bytes] = []
    try:
        return int(pika.data.encode_table(pieces, dict(headers))) <= _MOST_HEADERS
    except _NOT_ENCODABLE:
        return False


def _encode(properties: Properties) -> Any:
    headers = dict(properties.headers) or None
    return pika.BasicProperties(
        message_id=properties.message_id,
        content_type=properties.content_type,
        correlation_id=properties.correlation_id,
        reply_to=properties.reply_to,
        user_id=properties.user_id,
        headers=headers,
        delivery_mode=2,
    )


def _delivery(method: Any, properties: Any, body: bytes, generation: int) -> Delivery:
    try:
        headers: dict[str, Any] = _plain(properties.headers or {})
    except RecursionError:  # tables in tables: pika had just enough stack for them
        headers, properties = {}, pika.BasicProperties(content_type=UNREADABLE_PROPERTIES)
    return Delivery(
        body,
        method.delivery_tag,
        generation,
        method.redelivered,
        Properties(
            message_id=_text(properties.message_id),
            content_type=_text(properties.content_type),
            correlation_id=_text(properties.correlation_id),
            reply_to=_text(properties.reply_to),
            user_id=_text(properties.user_id),
            headers=headers,
        ),
        headers.get("x-stream-offset", -1),
    )


def _text(value: str | bytes | None) -> str | None:
    """A short string as text, and short again as such: pika leaves as octets what is not UTF-8."""
    if not isinstance(value, bytes):
        return value
    return value.decode("utf-8", "replace").encode()[:_MOST_SHORT].decode(errors="ignore")


def _plain(value: Any) -> Any:
    """A header's value in plain types: pika has a kind of integer of its own, which encoders do not know."""
    if isinstance(value, dict):
        return {_text(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else value
