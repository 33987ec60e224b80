"""The receiver of a soak knows each octet of what it should get."""

import pytest

from soak.content import content_of, is_content_of

WIRE = content_of("m7").replace(b"\r\n.", b"\r\n..")
TRACE = b"Received: by robot.example (Pillarbox) with AMQP id m7;\r\n Tue, 24 Nov 2026 03:30:16 +0000\r\n"


@pytest.mark.parametrize(
    ("received", "same"),
    [
        (WIRE, True),
        (TRACE + WIRE, True),
        (content_of("m7"), False),  # no dot is doubled: the receiver would lose a dot, or the rest
        (content_of("m8").replace(b"\r\n.", b"\r\n.."), False),
        (b"Good morning.\r\n" + WIRE, False),
        (WIRE[:-2], False),
        (WIRE[1:], False),
        (WIRE.replace(b"night", b"nacht", 1), False),
        (WIRE + TRACE, False),
        (b"", False),
    ],
)
def test_each_octet_counts_but_trace_lines_in_front(received: bytes, same: bool):
    assert is_content_of("m7", received) == same
