"""One piece of work: a delivery from a lane, and the mail it asks for."""

import msgspec

from shared.broker import Consumer, Delivery
from shared.contracts import SendRequest


class Work(msgspec.Struct, frozen=True, eq=False):
    """What a lane hands to the worker of a site."""

    request: SendRequest
    delivery: Delivery
    consumer: Consumer  # that gave the delivery, and takes its ack

    @property
    def numbers(self) -> list[int]:
        """The recipients it is for."""
        return [recipient.no for recipient in self.request.envelope.recipients]

    def done(self) -> None:
        """Take it off the lane."""
        self.consumer.ack([self.delivery])
