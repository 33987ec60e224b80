"""What a client is told of the broker's refusals."""

import pytest

from services.gateway.post import reply_to
from shared.broker import FULL, Message, Refused

TOO_LARGE = "406 PRECONDITION_FAILED - message size 30 is larger than configured max size 20"


@pytest.mark.parametrize(
    ("octets", "reason", "reply"),
    [
        (5, FULL, "451 4.3.0 the mail queue is full"),
        (5, "404 NOT_FOUND - no exchange 'pillarbox.submit' in vhost 'x'", "451 4.3.0 the mail queue did not take it"),
        (30, TOO_LARGE, "552 5.3.4 the broker takes mails of up to 20 octets"),
        (5, TOO_LARGE, "451 4.3.0 "),  # another mail's fault
    ],
)
def test_unknown_is_transient(octets: int, reason: str, reply: str):
    assert reply_to(Refused(Message("pillarbox.submit", "", b"x" * octets), reason)).startswith(reply)
