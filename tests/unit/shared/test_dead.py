"""A dead letter keeps what it was, and can always be published: else it would kill its worker again and again."""

from datetime import UTC, datetime
from typing import Any

import pytest

from shared.broker import Delivery, Properties, fits_in_headers
from shared.dead import CAME_FROM, REASON, dead_letter
from shared.topology import DEAD

OURS = {REASON: "subject: is missing", CAME_FROM: "pillarbox.submit"}


def headers_of(headers: dict[str, Any], reason: str = "subject: is missing") -> dict[str, Any]:
    delivery = Delivery(b"body", 1, 1, False, Properties(message_id="order-1", headers=headers))
    message = dead_letter(delivery, "pillarbox.submit", reason)
    assert (message.exchange, message.body, message.properties.message_id) == (DEAD, b"body", "order-1")
    assert message.mandatory
    assert fits_in_headers(message.properties.headers)
    return dict(message.properties.headers)


@pytest.mark.parametrize(
    "theirs",
    [
        {},
        {"mail-from": "a@x.example", "rcpt-to": ["b@y.example", "c@y.example"], "hold": 90},
        {"x-death": [{"queue": "q", "count": 3, "time": datetime(2026, 1, 1, tzinfo=UTC)}], "flag": True},
        {"octets": b"\xff", "nothing": None, "large": 2**62},
    ],
)
def test_the_original_headers_stay_so_that_a_redrive_is_the_same_message(theirs):
    assert headers_of(theirs) == {**theirs, **OURS}


@pytest.mark.parametrize(
    "value",
    [
        1.5,  # pika writes no floating-point numbers
        10**30,
        [1, [2, 10**30]],
        {"k" * 300: 1},
        "\ud800",
        object(),
    ],
)
def test_a_header_that_can_not_be_written_again_is_left_out_alone(value):
    assert headers_of({"bad": value, "rcpt-to": ["b@y.example"]}) == {"rcpt-to": ["b@y.example"], **OURS}


def test_headers_that_fill_the_frame_make_way_for_the_reason():
    assert headers_of({"rcpt-to": ["b" * 200] * 620}) == OURS


def test_a_long_reason_is_cut():
    assert len(headers_of({}, "x" * 10_000)[REASON]) == 500


def test_an_earlier_reason_is_replaced():
    assert headers_of({REASON: "earlier", CAME_FROM: "elsewhere"}) == OURS
