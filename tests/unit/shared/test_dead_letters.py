"""Dead letters: where they came from, why they died, how they go back."""

from datetime import UTC, datetime

import pytest

from shared.broker import Delivery, Message, Properties
from shared.dead_letters import is_chosen, origin, read_letter, reason_of, redriven
from shared.topology import SEND, SUBMIT

DIED = datetime(2026, 3, 1, tzinfo=UTC)
BY_THE_BROKER = {
    "x-death": [
        {"reason": "rejected", "queue": "later", "exchange": "later", "routing-keys": ["later"]},
        {
            "reason": "delivery_limit", "queue": "pillarbox.send.2", "exchange": SEND, "routing-keys": ["2"],
            "count": 1, "time": DIED,
        },
    ],
    "x-first-death-exchange": SEND,
    "x-first-death-queue": "pillarbox.send.2",
    "x-delivery-count": 50,
}  # fmt: skip
BY_A_WORKER = {"x-pillarbox-reason": "from: is missing", "x-pillarbox-from": SUBMIT, "rcpt-to": ["b@y.example"]}


def delivery(headers: dict, body: bytes = b"{}", message_id: str = "m1") -> Delivery:
    return Delivery(
        body, 1, 1, False, Properties(message_id=message_id, content_type="application/json", headers=headers)
    )


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (BY_A_WORKER, (SUBMIT, "")),
        (BY_THE_BROKER, (SEND, "2")),
        ({"x-pillarbox-from": SEND}, (SEND, "0")),  # any lane will do
        ({"x-first-death-exchange": SUBMIT}, (SUBMIT, "")),
        ({}, ("", "")),
        ({"x-death": "nonsense", "x-pillarbox-from": 7}, ("", "")),
    ],
)
def test_a_letter_goes_back_where_it_was_published(headers, expected):
    assert origin(headers) == expected


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        (BY_A_WORKER, "from: is missing"),
        (BY_THE_BROKER, "every worker that had it failed, until its delivery limit (pillarbox.send.2)"),
        ({"x-death": [{"reason": "novelty"}]}, "novelty"),
        ({}, "unknown"),
    ],
)
def test_the_reason_is_told_in_words(headers, reason):
    assert reason_of(headers) == reason


@pytest.mark.parametrize(("headers", "left"), [(BY_A_WORKER, {"rcpt-to": ["b@y.example"]}), (BY_THE_BROKER, {})])
def test_a_redriven_letter_is_as_it_was_first_published(headers, left):
    found = delivery(headers)
    letter = read_letter(1, found)
    assert redriven(letter, found) == Message(
        letter.exchange, letter.key, b"{}", Properties(message_id="m1", content_type="application/json", headers=left)
    )


def test_a_letter_is_named_by_its_place_its_mark_or_its_message_id():
    letter = read_letter(3, delivery(BY_A_WORKER))
    assert letter.died is None
    assert is_chosen(letter, [])
    assert is_chosen(letter, ["3"])
    assert is_chosen(letter, ["other", letter.mark])
    assert is_chosen(letter, ["m1"])
    assert not is_chosen(letter, ["4", "m2"])


def test_the_mark_stays_when_the_place_changes():
    marks = {read_letter(number, delivery(BY_A_WORKER)).mark for number in (1, 2)}
    assert len(marks) == 1
    assert read_letter(1, delivery(BY_A_WORKER, body=b"other")).mark not in marks
    assert read_letter(1, delivery(BY_THE_BROKER)).died == DIED
