"""A message in frames: octet for octet what pika would write."""

import pika.frame
import pika.spec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pika.exceptions import ShortStringTooLong

from shared.broker.framing import framed
from shared.broker.messages import Message, Properties, encode

SHORT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
MAYBE = st.none() | SHORT.filter(bool)


@st.composite
def messages(draw: st.DrawFn) -> Message:
    properties = Properties(
        message_id=draw(MAYBE),
        content_type=draw(MAYBE),
        correlation_id=draw(MAYBE),
        reply_to=draw(MAYBE),
        user_id=draw(MAYBE),
        headers=draw(st.dictionaries(SHORT, st.integers(-(2**31), 2**31) | SHORT | st.booleans(), max_size=3)),
    )
    return Message(draw(SHORT), draw(SHORT), draw(st.binary(max_size=50)), properties, draw(st.booleans()))


def as_pika_writes_it(message: Message, channel: int, most: int) -> bytes:
    publish = pika.spec.Basic.Publish(exchange=message.exchange, routing_key=message.key, mandatory=message.mandatory)
    frames = [
        pika.frame.Method(channel, publish),
        pika.frame.Header(channel, len(message.body), encode(message.properties)),
        *(pika.frame.Body(channel, message.body[at : at + most]) for at in range(0, len(message.body), most)),
    ]
    return b"".join(frame.marshal() for frame in frames)


@given(messages(), st.integers(1, 65_535), st.integers(1, 60))
def test_it_is_what_pika_would_write(message: Message, channel: int, most: int):
    assert framed(message, channel, most) == as_pika_writes_it(message, channel, most)


@pytest.mark.parametrize("field", ["exchange", "key"])
def test_a_name_that_is_too_long_is_refused(field: str):
    with pytest.raises(ShortStringTooLong):
        framed(Message(**{"exchange": "", "key": "", "body": b"", field: "é" * 128}), 1, 100)
