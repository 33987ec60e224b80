"""Whatever clients and operators publish, the scheduler refuses it and goes on: nothing brings it down or to a halt."""

import struct
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pika
import pytest

from tests.support.broker import RawHeaders
from tests.support.pipeline import Pipeline, a_mail, relay_to
from tests.support.sinks import RecordingSink

pytestmark = pytest.mark.each_rabbitmq

LONGEST_DOMAIN = ".".join(["d" * 62] * 4)  # with an event's kind it is longer than a routing key may be


def properties(**more: object) -> pika.BasicProperties:
    return pika.BasicProperties(delivery_mode=2, **more)


GOOD = b'{"from": "a@x.example", "to": "b@y.example"}'
FINISHED = b"From: a@x.example\r\nTo: b@y.example\r\nSubject: %s\r\n\r\n"
LARGE = b'{"from": "a@x.example", "to": "b@y.example", "text": "%s"}' % (b"a\\n" * 1_000_000)
REFUSED = [
    (b"", properties()),
    (b"\xff", properties(content_type=b"\xff\xfe")),
    (b"{}", properties(message_id=b"\xff\xfe")),
    (b"{}", properties(message_id="two words")),
    (GOOD, properties(message_id=b"\xff" * 255, content_type=b"\xff" * 255, reply_to=b"\xff" * 255)),
    (GOOD, properties(message_id=b"\xff" * 20, correlation_id=b"\xff" * 255)),
    (b'{"from": 3, <rubbish', properties()),
    (b'{"from": 3, "x": ' + b"[" * 100_000, properties()),
    (b'{"from": "a@x.example", "hold": 1' + b"0" * 400 + b"}", properties()),
    (b'{"from": "a@x.example", "to": "' + b"(" * 50_000 + b'"}', properties()),
    (msgspec.msgpack.encode({"from": msgspec.msgpack.Ext(5, b"x")}), properties(content_type="application/msgpack")),
    (b'{"from": "a@x.example", "to": "b@y.example", "batch": "\\u0000"}', properties()),
    (b"From: a@x.example\r\nSender:\r\n\r\n", properties(content_type="message/rfc822")),
    (FINISHED, properties(content_type="message/rfc822", headers={"hold": [2**62]})),
    (FINISHED, properties(content_type="message/rfc822", headers={"rcpt-to": [{"a": None}]})),
    (FINISHED, properties(content_type="message/rfc822", headers={"hold": "x" * 130_000})),  # no room for the reason
    (b"{}", RawHeaders(b"\x04hold" + b"d" + struct.pack(">d", 1e300))),  # comes as a number of a thousand bits
    (b"{}", RawHeaders(b"\x04hold" + b"T" + struct.pack(">Q", 2**40))),  # the year 36812
]
TAKEN = [
    (FINISHED % b"=?utf-8?b?A?=", properties(content_type="message/rfc822")),
    (FINISHED % b"=?utf-8?q?=00?=", properties(content_type="message/rfc822")),
    (FINISHED % b"=?utf-7?q?+2AA-?=", properties(content_type="message/rfc822")),
    (b'{"from": "a@x.example", "to": "b@%s"}' % LONGEST_DOMAIN.encode(), properties()),
    (b'{"from": "\xc3\xbc@\xea\x99\xae.example", "to": "b@y.example", "text": "\\u0000"}', properties()),
]
COMMANDS = [
    b"",
    b"{}",
    b'{"command": []}',
    b'{"command": "show", "id": 5, <rubbish',
    b'{"command": "show", "id": "\\u0000"}',
    b'{"command": "retract", "id": "\\u0000"}',
    b'{"command": "retract", "batch": "a\\u0000b"}',
    b'{"command": "list", "recipient": "a@y.example\\u0000"}',
    b'{"command": "list", "before": 99999999999999999999}',
    b'{"command": "settings", "revision": 99999999999}',
    b'{"command": "replace", "id": "x", "submission": {"from": "a@x.example", "hold": 1' + b"0" * 400 + b"}}",
    b"[" * 100_000,
]


@pytest.fixture
def scheduler(amqp_url: str, postgres_url: str, tmp_path: Path, sink: RecordingSink) -> Iterator[Pipeline]:
    """A scheduler alone, on the store that takes the least."""
    settings = relay_to(sink, sending={"hold": "1h"})
    with Pipeline(amqp_url, postgres_url, tmp_path, settings, resolvers=0, senders=0) as pipeline:
        yield pipeline


def test_the_scheduler_answers_all_of_it_and_goes_on(scheduler):
    for body, its_properties in [*REFUSED, *TAKEN]:
        scheduler.client.publish("pillarbox.submit", body, its_properties)
    answers = [scheduler.client.ask(command) for command in COMMANDS]
    assert [answer["answer"] for answer in answers] == ["refused"] * len(COMMANDS)
    scheduler.wait_for_events(len(REFUSED), "rejected")
    scheduler.wait_for_events(len(TAKEN), "held")
    assert len(scheduler.client.dead_letters(len(REFUSED))) == len(REFUSED)

    for garbage in (b"", b"\xff", b"\x91" * 100_000, b"\x93\xa1\xff\x00\x90"):
        scheduler.client.publish("pillarbox.outcome", garbage, properties())
    assert len(scheduler.client.dead_letters(4)) == 4

    scheduler.client.publish("pillarbox.submit", LARGE, properties(message_id="large"))
    mail = scheduler.submit(a_mail())
    scheduler.wait_for_event("held", mail)
    scheduler.wait_for_event("held", "large")
    scheduler.assert_no_crash()
