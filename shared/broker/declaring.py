"""Declarations of exchanges, queues and bindings: values, so that a table of them can be read."""

from collections.abc import Awaitable, Callable
from typing import Any

from pika.channel import Channel

from shared.broker.channel import call

Declaration = Callable[[Channel], Awaitable[Any]]


def exchange(name: str, kind: str) -> Declaration:
    """A durable exchange, for `Broker.declare`."""
    return lambda channel: call(channel, channel.exchange_declare, exchange=name, exchange_type=kind, durable=True)


def queue(name: str, arguments: dict[str, Any]) -> Declaration:
    """A durable queue, for `Broker.declare`."""
    return lambda channel: call(channel, channel.queue_declare, queue=name, durable=True, arguments=arguments)


def binding(queue_name: str, exchange_name: str, key: str) -> Declaration:
    """A queue's binding to an exchange, for `Broker.declare`."""
    return lambda channel: call(channel, channel.queue_bind, queue=queue_name, exchange=exchange_name, routing_key=key)
