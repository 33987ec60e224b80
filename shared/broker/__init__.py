"""The broker behind a small awaitable interface; the only package that imports pika.

A worker has two connections, one to publish and one to consume: RabbitMQ stops reading a connection that publishes
while an alarm is on, and acks on it would stall too. Both are kept open: a lost one is opened again, unconfirmed
messages are published again (so every hop bears repeats), and unacked deliveries come back from the broker.
"""

from shared.broker.broker import Broker
from shared.broker.caller import REPLY_TO, Caller
from shared.broker.consumer import Consumer
from shared.broker.declaring import Declaration, binding, exchange, queue
from shared.broker.errors import BrokerRefused, BrokerUnreachable
from shared.broker.messages import UNREADABLE_PROPERTIES, Delivery, Message, Properties, Refused, fits_in_headers
from shared.broker.peek import Peek
from shared.broker.publisher import CONFIRM_WINDOW, FULL, Publisher
from shared.broker.wary import SUSPECT_AFTER

__all__ = [
    "CONFIRM_WINDOW",
    "FULL",
    "REPLY_TO",
    "SUSPECT_AFTER",
    "UNREADABLE_PROPERTIES",
    "Broker",
    "BrokerRefused",
    "BrokerUnreachable",
    "Caller",
    "Consumer",
    "Declaration",
    "Delivery",
    "Message",
    "Peek",
    "Properties",
    "Publisher",
    "Refused",
    "binding",
    "exchange",
    "fits_in_headers",
    "queue",
]
