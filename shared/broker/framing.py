"""A message in frames, as it is published and as it is delivered (AMQP 0-9-1 section 4.2).

What pika would write and read, in less time (`python -m bench.hop`): it makes six objects for each message.
"""

import struct
from functools import lru_cache
from typing import Any

import msgspec
from pika.exceptions import ShortStringTooLong
from pika.spec import FRAME_BODY, FRAME_END, FRAME_HEADER, FRAME_METHOD, Basic, BasicProperties

from shared.broker.messages import Message, Properties, encode

_HEAD = struct.Struct(">BHI")  # type, channel, size
_CONTENT = struct.Struct(">HHQ")  # class, weight, size of the body
_END = bytes((FRAME_END,))
_DELIVERY = struct.Struct(">QB")  # number of the delivery, whether it comes again
_DELIVER = struct.pack(">I", Basic.Deliver.INDEX)
_PUBLISH = struct.pack(">IH", Basic.Publish.INDEX, 0)
_MANDATORY, _OPTIONAL = b"\1", b"\0"
_LONGEST = 255  # octets of a short string
_SHORT = 40  # octets of properties without an id of the message: those are all different


def framed(message: Message, channel: int, most: int) -> bytes:
    """The frames that publish a message; `most` octets of body go into one.

    Raises what pika does over what AMQP has no form for.
    """
    body = message.body
    flags = _MANDATORY if message.mandatory else _OPTIONAL
    method = b"".join((_PUBLISH, _short(message.exchange), _short(message.key), flags))
    properties = _properties(message.properties)
    head = _HEAD.pack(FRAME_HEADER, channel, _CONTENT.size + len(properties))
    content = _CONTENT.pack(BasicProperties.INDEX, 0, len(body))
    pieces = [_HEAD.pack(FRAME_METHOD, channel, len(method)), method, _END, head, content, properties, _END]
    for start in range(0, len(body), most):
        fragment = body[start : start + most]
        pieces += (_HEAD.pack(FRAME_BODY, channel, len(fragment)), fragment, _END)
    return b"".join(pieces)


def _short(text: str) -> bytes:
    octets = text.encode()
    if len(octets) > _LONGEST:
        raise ShortStringTooLong(text)
    return bytes((len(octets),)) + octets


def _properties(properties: Properties) -> bytes:
    if _says_its_type_alone(properties):
        return _of_type(properties.content_type)
    return b"".join(encode(properties).encode())


def _says_its_type_alone(properties: Properties) -> bool:
    return not (
        properties.headers
        or properties.message_id
        or properties.correlation_id
        or properties.reply_to
        or properties.user_id
    )


@lru_cache(maxsize=100)
def _of_type(content_type: str | None) -> bytes:
    return b"".join(encode(Properties(content_type=content_type)).encode())


# ---------------------------------------------------------------------------------------------------------


class Whole(msgspec.Struct, frozen=True):
    """A delivery whose frames are all there."""

    channel: int
    subscription: str
    tag: int
    redelivered: bool
    properties: Any  # pika's
    body: bytes
    end: int  # of its last frame


def whole_delivery(data: bytes, start: int) -> Whole | None:
    """The delivery whose frames begin there: Basic.Deliver, properties, and no more than one frame of body.

    None for anything else, for what is not all there, and for what is not as it should be: that is pika's affair.
    """
    method_at = start + _HEAD.size
    if data[method_at : method_at + len(_DELIVER)] != _DELIVER:
        return None
    try:
        kind, channel, size = _HEAD.unpack_from(data, start)
        content_at = method_at + size + len(_END)
        content_kind, _, content_size = _HEAD.unpack_from(data, content_at)
        _, _, length = _CONTENT.unpack_from(data, content_at + _HEAD.size)
        ends = [content_at, content_at + _HEAD.size + content_size + len(_END)]
        if length:
            body_kind, _, body_size = _HEAD.unpack_from(data, ends[1])
            if body_kind != FRAME_BODY or body_size != length:
                return None
            ends.append(ends[1] + _HEAD.size + length + len(_END))
        if (kind, content_kind) != (FRAME_METHOD, FRAME_HEADER) or any(data[end - 1] != FRAME_END for end in ends):
            return None
        name_at = method_at + len(_DELIVER) + 1
        name_end = name_at + data[name_at - 1]
        tag, redelivered = _DELIVERY.unpack_from(data, name_end)
        return Whole(
            channel,
            data[name_at:name_end].decode(),
            tag,
            bool(redelivered & 1),
            _read_properties(data[content_at + _HEAD.size + _CONTENT.size : ends[1] - 1]),
            data[ends[1] + _HEAD.size : ends[-1] - 1] if length else b"",
            ends[-1],
        )
    except Exception:  # whatever is wrong with it, pika says it better
        return None


def _read_properties(octets: bytes) -> BasicProperties:
    """Workers give each other few different ones, and short ones; nobody changes them."""
    return _remembered(octets) if len(octets) <= _SHORT else _decoded(octets)


@lru_cache(maxsize=100)
def _remembered(octets: bytes) -> BasicProperties:
    return _decoded(octets)


def _decoded(octets: bytes) -> BasicProperties:
    properties = BasicProperties()
    properties.decode(octets)
    return properties
