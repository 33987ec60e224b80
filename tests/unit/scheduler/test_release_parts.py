"""What is released travels many to a message, within bounds."""

import pytest

from services.scheduler.release import parts_of
from services.scheduler.store import Leaving
from shared.contracts import Envelope, Recipient, RouteRequest


def leaving(recipients: int) -> Leaving:
    to = tuple(Recipient(number, "b@mx.example") for number in range(recipients))
    return Leaving(RouteRequest(Envelope("m", "a@x.example", to, 100, False, False), 1), "")


@pytest.mark.parametrize(
    ("recipients", "expected"),
    [
        ([], []),
        ([1] * 50, [50]),
        ([1] * 120, [50, 50, 20]),
        ([1000, 1000, 1], [2, 1]),  # two thousand recipients in one
        ([10_000], [1]),  # but for one mail that has more
        ([1, 10_000, 1], [1, 1, 1]),
    ],
)
def test_a_message_has_fifty_mails_or_two_thousand_recipients(recipients, expected):
    all_of_them = [leaving(count) for count in recipients]
    parts = list(parts_of(all_of_them))
    assert [len(part) for part in parts] == expected
    assert [each for part in parts for each in part] == all_of_them
