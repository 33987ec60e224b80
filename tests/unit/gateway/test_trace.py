"""The Received header."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from services.gateway.trace import Passage, protocol, received_line

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PASSAGE = Passage(helo="client.example", address="192.0.2.1", extended=True, tls=False, signed_in=False, smtputf8=False)


def with_(**changes: Any) -> Passage:
    return msgspec.structs.replace(PASSAGE, **changes)


def test_it_says_who_came_by_which_way():
    assert received_line(PASSAGE, "gate.example", "m1", NOW) == (
        b"Received: from client.example ([192.0.2.1])\r\n by gate.example (Pillarbox) with ESMTP id m1;\r\n"
        b" Sun, 01 Mar 2026 12:00:00 +0000\r\n"
    )


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"helo": "[IPv6:2001:db8::1]"}, b"from [IPv6:2001:db8::1] ([192.0.2.1])"),
        ({"helo": "a\r\nBcc: b@y.example"}, b"from unknown ("),
        ({"helo": "x" * 300}, b"from unknown ("),
        ({"helo": "b\xfccher.example"}, b"from unknown ("),
        ({"address": "2001:db8::7"}, b"([IPv6:2001:db8::7])"),
        ({"address": "::ffff:192.0.2.1"}, b"([192.0.2.1])"),
    ],
)
def test_what_a_client_says_can_not_break_out(changes: dict[str, str], shown: bytes):
    assert shown in received_line(with_(**changes), "gate.example", "m1", NOW)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"extended": False}, "SMTP"),
        ({}, "ESMTP"),
        ({"tls": True}, "ESMTPS"),
        ({"signed_in": True}, "ESMTPA"),
        ({"tls": True, "signed_in": True}, "ESMTPSA"),
        ({"tls": True, "signed_in": True, "smtputf8": True}, "UTF8SMTPSA"),
    ],
)
def test_the_keyword_is_the_registered_one(changes: dict[str, bool], expected: str):
    assert protocol(with_(**changes)) == expected
