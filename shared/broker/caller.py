"""Asking: publishing, and hearing the answers over the channel that published."""

import asyncio
import uuid
from typing import Any

from pika.channel import Channel

from shared.broker.channel import call
from shared.broker.link import Link
from shared.broker.messages import Delivery, Message, Properties, Refused, delivered
from shared.broker.publisher import Publisher

# "Direct reply-to": the broker puts the channel's address in its place, and answers to that come back over the channel.
# It takes no queue, and so no right to configure or to read.
REPLY_TO = "amq.rabbitmq.reply-to"


class Caller(Publisher):
    """Publishes questions and hears their answers. One whose channel is lost meanwhile is not answered."""

    def __init__(self, link: Link) -> None:
        super().__init__(link)
        self._asked: dict[str, asyncio.Future[Delivery]] = {}

    async def ask(self, exchange: str, body: bytes, content_type: str) -> Delivery | Refused:
        """Publish a question and wait for its answer, however long."""
        number = str(uuid.uuid4())
        properties = Properties(content_type=content_type, message_id=number, correlation_id=number, reply_to=REPLY_TO)
        answer: asyncio.Future[Delivery] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        try:
            refused = await self.publish([Message(exchange, "", body, properties)])
            return refused[0] if refused else await answer
        finally:
            del self._asked[number]

    async def _set_up(self, channel: Channel) -> None:
        generation = self.generation

        def on_message(_channel: Channel, method: Any, properties: Any, body: bytes) -> None:
            answer = self._asked.get(properties.correlation_id)
            if answer is not None and not answer.done():
                answer.set_result(delivered(method, properties, body, generation))

        # Before the first question: the broker refuses one that comes over a channel without a consumer.
        await call(channel, channel.basic_consume, REPLY_TO, on_message, auto_ack=True)
        await super()._set_up(channel)
