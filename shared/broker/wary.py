"""Consuming a queue in which a message may lie that kills whoever takes it.

The broker counts a failed delivery for everything that a worker held when it died, and moves what has failed too often
to the dead letters. So that this finds the guilty one alone, what has gone back several times is taken one at a time:

    narrow ── something comes that has not gone back often ──▶ wide
      ▲                                                          │ something comes that has
      └─── a new channel, once the others are done and then ─────┘
           each suspect that came with them, one after another

Suspects are kept for that and not put back: the broker counts that, too, and where many workers are wide their
neighbours would reach the limit with the guilty one. They go in any order: half of them are done before its turn.
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

# Suspects come in shoals, as a crash sends them back. What is still on its way when a subscription ends is put back.
_GATHER_S = 0.05


class WaryConsumer(Consumer):
    """Begins with a prefetch of one, and keeps to it as long as suspects come."""

    def __init__(self, link: Link, queue_name: str, prefetch: int, most_octets: int | None) -> None:
        super().__init__(link, queue_name, prefetch, dict, most_octets)
        self._more = 0  # how much wider the window may be
        self._wide = False
        self._kept: list[Delivery] = []  # suspects that came among others
        self._chance = random.Random()  # noqa: S311 - spreads crashes, guards nothing

    def _first_prefetch(self) -> int:
        self._more, self._wide = super()._first_prefetch() - 1, False
        self._kept.clear()
        return 1

    def _on_delivery(self, channel: Channel, delivery: Delivery) -> None:
        suspect = delivery.returns >= SUSPECT_AFTER
        if suspect and self._wide:
            if not self._kept:
                asyncio.get_running_loop().call_later(_GATHER_S, self._narrow, channel)
            self._kept.append(delivery)
        elif suspect and delivery.tag == 1:
            log.warning("one_at_a_time", queue=self._queue, reason="what comes has gone back again and again")
            head_start = self._chance.uniform(0, _HEAD_START_S)
            asyncio.get_running_loop().call_later(head_start, self._hand_out, channel, delivery)
        else:
            super()._on_delivery(channel, delivery)
            if not (suspect or self._wide):
                self._widen(channel)

    def _narrow(self, channel: Channel) -> None:
        if channel.is_open:
            self._end_subscription(channel)

    def _subscribe_anew(self) -> None:
        if self._kept and self._channel is not None:
            if self._ended and self._window.empty and not self._unsent:
                suspect = self._kept.pop(self._chance.randrange(len(self._kept)))
                super()._on_delivery(self._channel, suspect)
        else:
            super()._subscribe_anew()

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
