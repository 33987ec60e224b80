"""What is released travels many to a message, within bounds, and is marked when its lease has little left."""

from datetime import UTC, datetime, timedelta

import pytest

from services.scheduler.release import Confirmed, due_for_mark, parts_of
from services.scheduler.store import Leaving
from shared.contracts.work import Envelope, Recipient, RouteRequest

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def leaving(recipients: int) -> Leaving:
    to = tuple(Recipient(number, "b@mx.example") for number in range(recipients))
    return Leaving(RouteRequest(Envelope("m", "a@x.example", to, 100, False, False), 1), "", NOW)


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


@pytest.mark.parametrize(
    ("left_s", "due"),
    [
        (30, False),  # just confirmed
        (16, False),
        (15, True),
        (-1, True),  # the broker took longer to confirm than the lease lasts
    ],
)
def test_what_the_broker_has_is_marked_when_half_of_its_lease_is_over(left_s, due):
    end = NOW + timedelta(seconds=left_s)
    confirmed = Confirmed([1], end, end + timedelta(minutes=1))  # the first of its leases decides
    assert due_for_mark([confirmed], NOW) == (([confirmed], []) if due else ([], [confirmed]))
