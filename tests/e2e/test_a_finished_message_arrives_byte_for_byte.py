"""A `message/rfc822` mail is delivered as it came, behind one trace header."""

import pytest

from tests.support.pipeline import Pipeline
from tests.support.sinks import RecordingSink

_HEAD = (
    b"From: Robot <robot@sender.example>\r\n"
    b"To: Somebody <b@mx.example>\r\n"
    b"Date: Mon, 06 Jan 2025 10:00:00 +0000\r\n"
    b"Message-ID: <fixed@sender.example>\r\n"
)


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(_HEAD + b"Subject: plain\r\n\r\nGood morning.\r\n", id="plain"),
        pytest.param(_HEAD + b"X-Odd:   spaces \t and case\r\nsUbJeCt: x\r\n\r\nbody\r\n", id="odd headers"),
        pytest.param(_HEAD + b"Subject: a\r\n folded\r\n\tline\r\n\r\nbody\r\n", id="folded header"),
        pytest.param(_HEAD + b"\r\n.\r\n..\r\n.hidden\r\n", id="lines that begin with dots"),
        pytest.param(_HEAD + b"\r\n\r\n\r\n \r\n\r\n", id="empty lines at the end"),
        pytest.param(_HEAD + b"\r\n" + bytes(range(128, 256)) + b"\r\n", id="eight-bit octets"),
        pytest.param(_HEAD + b"\r\n" + b"x" * 998 + b"\r\n", id="the longest line"),
        pytest.param(_HEAD + b"\r\n" + b"0123456789abcdef\r\n" * 100_000, id="1.8 MB"),
    ],
)
def test_it_arrives_as_it_came_behind_one_trace_header(pipeline: Pipeline, inbox: RecordingSink, message: bytes):
    mail = pipeline.submit(message, headers={"mail-from": "bounces@sender.example", "rcpt-to": "b@mx.example"})
    pipeline.wait_for_event("delivered", mail)

    arrived = inbox.mails[-1]
    assert (arrived.sender, arrived.recipients) == ("bounces@sender.example", ("b@mx.example",))
    trace, _, rest = arrived.content.partition(message[:20])
    assert message[:20] + rest == message
    assert trace.startswith(b"Received: ")
    assert mail.encode() in trace
    assert trace.count(b"\r\n") == len([line for line in trace.split(b"\r\n")[1:-1] if line.startswith(b" ")]) + 1
