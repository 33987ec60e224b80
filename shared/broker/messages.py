"""What travels over the broker, and how it is put into AMQP's terms and taken out of them."""

import struct
from collections.abc import Mapping
from typing import Any

import msgspec
import pika
import pika.data
import pika.exceptions


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
    returns: int = 0  # how often it went back to its queue because whoever had it did not acknowledge it


# The content type of a message whose properties can not be read: nobody takes it, so it becomes a dead letter.
UNREADABLE_PROPERTIES = "unreadable/properties"

# What pika raises over a message that AMQP has no form for, before it writes anything.
NOT_ENCODABLE = (
    pika.exceptions.ShortStringTooLong,
    pika.exceptions.UnsupportedAMQPFieldException,
    struct.error,  # a number of more than 64 bits
    UnicodeEncodeError,
    AssertionError,
    TypeError,
    RecursionError,
)
_MOST_SHORT = 255  # octets of a short string, AMQP 0-9-1 section 4.2.5.3
# Properties travel in one frame; a larger one costs the connection, and again after each reconnect.
_MOST_HEADERS = 131_072 - 4096  # octets; the usual frame_max, less the other properties


def fits_in_headers(headers: Mapping[str, Any]) -> bool:
    """Whether AMQP has a form for these headers, and a frame has room."""
    pieces: list[bytes] = []
    try:
        return int(pika.data.encode_table(pieces, dict(headers))) <= _MOST_HEADERS
    except NOT_ENCODABLE:
        return False


def encode(properties: Properties) -> Any:
    """Our properties as pika's, of a message that is kept on disk."""
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


def delivered(method: Any, properties: Any, body: bytes, generation: int) -> Delivery:
    """What pika hands over, in plain types."""
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
        _returns(headers) if method.redelivered else 0,  # of a first delivery the header may be a client's
    )


def _returns(headers: Mapping[str, Any]) -> int:
    count = headers.get("x-delivery-count")
    return count if isinstance(count, int) else 0


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
