"""Which events travel in one message."""

import json
from datetime import UTC, datetime

from services.scheduler.announce import together
from shared.contracts.events import Rejected, RetractedEvent

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def retracted(mail: str, to: str) -> RetractedEvent:
    return RetractedEvent(mail=mail, batch="", time=NOW, revision=1, recipient=to)


def test_events_of_one_key_travel_together_in_their_order():
    events = [
        retracted("1", "a@x.example"),
        retracted("2", "b@y.example"),
        Rejected(mail="3", time=NOW, field="to", reason="is empty"),
        retracted("4", "c@x.example"),
    ]
    told = {key: [json.loads(line)["mail"] for line in lines] for key, lines in together(events)}
    assert told == {"retracted.x.example": ["1", "4"], "retracted.y.example": ["2"], "rejected": ["3"]}


def test_a_line_holds_one_event_whatever_is_in_it():
    [(_, [line])] = together([Rejected(mail="1", time=NOW, field="subject", reason="got 'a\r\nb\x85c\u2028d'")])
    assert len(line.splitlines()) == 1
    assert json.loads(line)["reason"] == "got 'a\r\nb\x85c\u2028d'"


def test_a_message_is_no_longer_than_a_consumer_can_bear():
    events = [retracted(str(number), f"{number:0200}@x.example") for number in range(1000)]
    parts = [lines for _, lines in together(events)]
    assert [json.loads(line)["mail"] for lines in parts for line in lines] == [event.mail for event in events]
    assert len(parts) > 1
    assert all(sum(map(len, lines)) <= 64 * 1024 for lines in parts)


def test_an_event_that_is_too_long_travels_alone():
    events = [retracted("1", "a@x.example"), retracted("2" * 70_000, "a@x.example"), retracted("3", "a@x.example")]
    assert [len(lines) for _, lines in together(events)] == [1, 1, 1]
