"""A message in frames: octet for octet what pika would write."""

import pika.frame
import pika.spec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pika.exceptions import ShortStringTooLong

from shared.broker.framing import framed, whole_delivery
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


def as_the_broker_delivers_it(message: Message, tag: int, redelivered: bool, most: int) -> list[pika.frame.Frame]:
    method = pika.spec.Basic.Deliver("ctag1", tag, redelivered, message.exchange, message.key)
    return [
        pika.frame.Method(7, method),
        pika.frame.Header(7, len(message.body), encode(message.properties)),
        *(pika.frame.Body(7, message.body[at : at + most]) for at in range(0, len(message.body), most)),
    ]


def octets(frames: list[pika.frame.Frame]) -> bytes:
    return b"".join(frame.marshal() for frame in frames)


@given(messages(), st.integers(1, 2**63), st.booleans(), st.binary(max_size=20), st.binary(max_size=20))
def test_a_delivery_is_read_as_pika_reads_it(
    message: Message, tag: int, redelivered: bool, before: bytes, behind: bytes
):
    there = octets(as_the_broker_delivers_it(message, tag, redelivered, 1000))
    found = whole_delivery(before + there + behind, len(before))
    assert found is not None
    assert (found.channel, found.subscription, found.tag, found.redelivered) == (7, "ctag1", tag, redelivered)
    assert (found.body, found.end) == (message.body, len(before) + len(there))
    assert found.properties == pika.frame.decode_frame(there[found_header(there) :])[1].properties


def found_header(there: bytes) -> int:
    """Where the frame of the properties begins."""
    return int(pika.frame.decode_frame(there)[0])


@given(messages(), st.data())
def test_what_is_not_all_there_or_damaged_is_left_to_pika(message: Message, data: st.DataObject):
    frames = as_the_broker_delivers_it(message, 1, False, 1000)
    there = octets(frames)
    assert whole_delivery(there[: data.draw(st.integers(0, len(there) - 1))], 0) is None
    end = data.draw(st.sampled_from([len(octets(frames[:count])) - 1 for count in range(1, len(frames) + 1)]))
    assert whole_delivery(there[:end] + b"x" + there[end + 1 :], 0) is None


@given(st.binary(max_size=60))
def test_nothing_else_is_a_delivery(there: bytes):
    assert whole_delivery(there, 0) is None


def test_a_body_of_several_frames_is_left_to_pika():
    message = Message("", "key", b"four octets and more")
    assert whole_delivery(octets(as_the_broker_delivers_it(message, 1, False, 4)), 0) is None
