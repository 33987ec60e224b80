"""Consuming a queue in which a message may lie that kills whoever takes it.

The broker counts a failed delivery for everything that a worker held when it died, and moves what has failed too often
to the dead letters. So that this finds the guilty one alone, what has gone back several times is taken one at a time:

    narrow ── something comes that has not gone back often ──▶ wide
      ▲                                                          │ something comes that has
      └──── a new channel, once all that is in hand is done ─────┘
"""

import asyncio
import random
from typing import Any

import structlog
from pika.channel import Channel

from shared.broker.consumer import Consumer
from shared.broker.link import Link
from shared.broker.messages import Delivery

log = structlog.get_logger()

# A crash or a lost connection sends things back once; who was there at five of them may be the cause.
SUSPECT_AFTER = 5
# The first suspect waits up to so long: a worker consumes several queues, and what kills it in one of them would else
# be quicker, every time, than the first of each of the others.
_HEAD_START_S = 1.0


class WaryConsumer(Consumer):
    """Begins with a prefetch of one, and keeps to it as long as suspects come."""

    def __init__(self, link: Link, queue_name: str, prefetch: int, most_octets: int | None) -> None:
        super().__init__(link, queue_name, prefetch, dict, most_octets)
        self._more = 0  # how much wider the window may be
        self._wide = False
        self._chance = random.Random()  # noqa: S311 - spreads crashes, guards nothing

    def _first_prefetch(self) -> int:
        self._more, self._wide = super()._first_prefetch() - 1, False
        return 1

    def _on_delivery(self, channel: Channel, delivery: Delivery) -> None:
        suspect = delivery.returns >= SUSPECT_AFTER
        if suspect and self._wide:
            self._put_back(channel, delivery)
        elif suspect and delivery.tag == 1:
            log.warning("one_at_a_time", queue=self._queue, reason="what comes has gone back again and again")
            head_start = self._chance.uniform(0, _HEAD_START_S)
            asyncio.get_running_loop().call_later(head_start, self._hand_out, channel, delivery)
        else:
            super()._on_delivery(channel, delivery)
            if not (suspect or self._wide):
                self._widen(channel)

    def _put_back(self, channel: Channel, suspect: Delivery) -> None:
        """It comes again when it can be taken alone: over a channel that begins narrow."""
        self._end_subscription(channel)
        channel.basic_nack(suspect.tag, requeue=True)
        self._settle([suspect.tag])

    def _hand_out(self, channel: Channel, delivery: Delivery) -> None:
        if delivery.generation == self.generation and channel.is_open:
            super()._on_delivery(channel, delivery)

    def _widen(self, channel: Channel) -> None:
        """Consume a second time over the same channel: a prefetch holds for those who begin after it."""
        self._wide = True

        def consume(_frame: Any) -> None:
            if channel.is_open and channel.consumer_tags:  # the first one still stands
                channel.basic_consume(self._queue, self._receiver())

        if self._more:
            channel.basic_qos(prefetch_count=self._more, callback=consume)
