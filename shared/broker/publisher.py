"""Publishing with confirms: many in flight, and again what was unconfirmed when the connection broke.

After a refusal the channel is replaced, as soon as nothing is in flight over it. In a cluster of RabbitMQ 3.10.8 a
channel that was opened just after a node went, and meets a queue whose leader that node had, refuses whatever is for
that queue as long as it lives; any other channel is served by the queue's next leader.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pika.exceptions
import pika.spec
import structlog
from pika.channel import Channel

from shared import metrics
from shared.broker.channel import ChannelKeeper, call
from shared.broker.errors import in_words
from shared.broker.link import Link
from shared.broker.messages import NOT_ENCODABLE, Message, Refused, fits_in_headers

log = structlog.get_logger()

# In flight between publish and confirm. The prototype gained up to about a thousand and nothing beyond.
CONFIRM_WINDOW = 1000
# A queue that loses its leader may lose a confirm with it. After so long without one the messages go out again, over
# another channel; a broker that is only slow gets them twice, which every hop bears.
CONFIRM_WITHIN_S = 20.0
# A refused confirm says no more than that.
FULL = "the queue is full or the broker could not store it"
# The broker closes the channel with these when a message itself is at fault; repeating it would go on for ever.
_OUR_FAULT = {403, 404, 406}


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


class Publisher(ChannelKeeper):
    """Publishes with confirms, many in flight; what is unconfirmed when the link breaks is published again."""

    def __init__(self, link: Link) -> None:
        super().__init__(link, "publish")
        self._pending: dict[int, tuple[Message, _Batch]] = {}  # by publish number, ascending
        self._returned: dict[int, str] = {}
        self._last = 0
        self._lowest = 1
        self._worn = False  # something was refused over this channel: nothing more goes over it
        self._room = asyncio.Event()
        self._watch: asyncio.Task[None] | None = None

    def start(self) -> None:
        super().start()
        self._watch = asyncio.create_task(self._watch_confirms())

    async def close(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        await super().close()

    async def _watch_confirms(self) -> None:
        waiting, since = self._longest_waiting, time.monotonic()
        while True:
            await asyncio.sleep(CONFIRM_WITHIN_S / 10)
            now = time.monotonic()
            if waiting is None or waiting != self._longest_waiting or self._blocked:
                waiting, since = self._longest_waiting, now
            elif now - since >= CONFIRM_WITHIN_S:
                log.warning("confirms_missing", messages=len(self._pending), next="publish_again")
                since = now
                if self._channel is not None and self._channel.is_open:
                    self._channel.close()

    @property
    def _longest_waiting(self) -> tuple[int, int] | None:
        """Channel and number of the message that was published first of those in flight."""
        return (self.generation, next(iter(self._pending))) if self._pending else None

    async def publish(self, messages: Sequence[Message]) -> list[Refused]:
        """Publish all and wait until the broker has answered for each; returns those it did not take.

        Everything else is safe: written and synced by the queues it was routed to.
        """
        if not messages:
            return []
        batch, begun = _Batch(len(messages)), time.perf_counter()
        try:
            for message in messages:
                while len(self._pending) >= CONFIRM_WINDOW or self._worn or not self._ready.is_set() or self._blocked:
                    await self._wait_for_room()
                self._put(message, batch)
            await batch.done
        except asyncio.CancelledError:
            self._withdraw(batch)
            raise
        metrics.BROKER_CONFIRM.observe(time.perf_counter() - begun)
        for refusal in batch.refused:
            metrics.BROKER_REFUSED.labels(refusal.message.exchange).inc()
        return batch.refused

    def _withdraw(self, batch: _Batch) -> None:
        """Nobody waits for it any more, and others may have been told so: it does not go out after a reconnect."""
        for number in [number for number, (_, waiting) in self._pending.items() if waiting is batch]:
            del self._pending[number]
        self._make_room()

    @property
    def blocked_by(self) -> str:
        """What the broker says it is short of, so that it takes nothing now; "" while it does."""
        return self._link.blocked_by

    @property
    def _blocked(self) -> bool:
        return not self._link.unblocked.is_set()

    async def _wait_for_room(self) -> None:
        await self._ready.wait()
        await self._link.unblocked.wait()
        if self._worn or len(self._pending) >= CONFIRM_WINDOW:
            self._room.clear()
            await self._room.wait()

    def _put(self, message: Message, batch: _Batch) -> None:
        channel = self._channel
        assert channel is not None
        if message.properties.headers and not fits_in_headers(message.properties.headers):
            batch.settle(Refused(message, "its headers can not be encoded, or not in one frame"))
            return
        try:
            if channel.is_open:  # else it is going, and the next one publishes what is pending
                channel.connection.publish(message, channel.channel_number)
        except NOT_ENCODABLE as error:
            # Nothing was written, so the broker has not counted it either.
            batch.settle(Refused(message, f"it can not be encoded: {in_words(error)}"))
            return
        self._last += 1
        self._pending[self._last] = (message, batch)

    async def _set_up(self, channel: Channel) -> None:
        await call(channel, channel.confirm_delivery, self._on_confirm)
        channel.add_on_return_callback(self._on_return)
        unconfirmed, self._pending = self._pending, {}
        self._last, self._lowest, self._worn = 0, 1, False
        self._returned.clear()
        for message, batch in unconfirmed.values():
            self._put(message, batch)
        self._room.set()

    def _on_confirm(self, frame: Any) -> None:
        tag, nacked = frame.method.delivery_tag, isinstance(frame.method, pika.spec.Basic.Nack)
        if frame.method.multiple:
            for number in range(self._lowest, tag + 1):
                self._settle(number, nacked)
            self._lowest = tag + 1
        else:
            self._settle(tag, nacked)
        self._worn = self._worn or nacked
        self._make_room()

    def _make_room(self) -> None:
        if not self._worn:
            self._room.set()
        elif not self._pending and self._channel is not None and self._channel.is_open:
            self._channel.close()

    def _settle(self, number: int, nacked: bool) -> None:
        entry = self._pending.pop(number, None)
        if entry is None:
            return
        message, batch = entry
        returned = self._returned.pop(number, None) if self._returned else None
        if returned is not None:
            batch.settle(Refused(message, returned))
        elif nacked:
            batch.settle(Refused(message, FULL))
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
                batch.settle(Refused(message, in_words(reason)))
        self._room.set()
