"""The demo's verdict: yes only when everything is as it must be."""

from datetime import UTC, datetime, timedelta

import pytest

from cli.demo_story import Arrival, Cast, cast_of, correction, held_messages, verdict
from shared.contracts.answers import RetractResult
from shared.contracts.events import DeliveredEvent, RetractedEvent

CAST = Cast(batch="demo", held=("1", "2", "3", "4"), retracted="2", replaced="3", urgent="5")
NOW = datetime(2026, 3, 1, tzinfo=UTC)
ANSWERS = {"2": RetractResult.RETRACTED, "5": RetractResult.TOO_LATE}
ARRIVALS = [
    Arrival("1", "The first version"),
    Arrival("3", "The corrected version"),
    Arrival("4", "x"),
    Arrival("5", "x"),
]


def delivered(mail: str) -> DeliveredEvent:
    return DeliveredEvent(
        mail=mail,
        batch="demo",
        time=NOW,
        revision=0,
        recipient="r",
        attempt=1,
        host="h",
        code=250,
        enhanced="",
        reply="",
    )


EVENTS = [
    *(delivered(mail) for mail in ("1", "3", "4", "5")),
    RetractedEvent(mail="2", batch="demo", time=NOW, revision=0, recipient="r"),
]


def test_a_run_without_fault_is_right_in_everything():
    assert all(check.right for check in verdict(CAST, ARRIVALS, EVENTS, ANSWERS))


@pytest.mark.parametrize(
    ("arrivals", "events", "answers", "wrong"),
    [
        (ARRIVALS[1:], EVENTS, ANSWERS, ["4 mails are in the inbox"]),
        ([*ARRIVALS, ARRIVALS[0]], EVENTS, ANSWERS, ["each exactly once"]),
        ([*ARRIVALS, Arrival("9", "x")], EVENTS, ANSWERS, ["each exactly once"]),
        (ARRIVALS, EVENTS[1:], ANSWERS, ["each with a `delivered` event"]),
        (ARRIVALS, [*EVENTS, EVENTS[0]], ANSWERS, ["each with a `delivered` event"]),
        ([*ARRIVALS, Arrival("2", "x")], EVENTS, ANSWERS, ["the one retracted in time never arrives"]),
        (ARRIVALS, EVENTS[:-1], ANSWERS, ["the one retracted in time never arrives"]),
        (ARRIVALS, EVENTS, {**ANSWERS, "2": RetractResult.IN_FLIGHT}, ["the one retracted in time never arrives"]),
        (
            [ARRIVALS[0], Arrival("3", "The first version"), *ARRIVALS[2:]], EVENTS, ANSWERS,
            ["the one replaced arrives with its new content"],
        ),
        (
            ARRIVALS, EVENTS, {**ANSWERS, "5": RetractResult.RETRACTED},
            ["the one retracted too late arrives, and the answer says so"],
        ),
    ],
)  # fmt: skip
def test_each_fault_is_found(arrivals, events, answers, wrong):
    assert [check.what for check in verdict(CAST, arrivals, events, answers) if not check.right] == wrong


def test_the_cast_is_as_large_as_asked_and_everybody_is_somebody_else():
    cast = cast_of(4)
    assert len({*cast.held, cast.urgent}) == 5
    assert cast.retracted != cast.replaced
    assert len(cast.expected) == 4
    messages = held_messages(cast, timedelta(seconds=10))
    assert [message.properties.message_id for message in messages] == list(cast.held)
    assert correction(cast, timedelta(seconds=10)).to == ["reader4@example.net"]
