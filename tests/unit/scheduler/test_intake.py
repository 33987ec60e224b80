"""The intake's judgement of one submission: nothing it could be takes the worker down."""

from datetime import UTC, datetime

from services.scheduler import intake
from services.scheduler.composed import Draft
from services.scheduler.intake import judge
from shared.broker import Delivery, Properties
from shared.refusals import Invalid
from shared.settings import Settings

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def judged(body: bytes) -> Draft | Invalid:
    return judge(Delivery(body, 1, 1, False, Properties(message_id="order-1")), Settings(), 1, NOW)


def test_a_good_submission_becomes_a_draft():
    draft = judged(b'{"from": "a@x.example", "to": "b@y.example"}')
    assert isinstance(draft, Draft)
    assert draft.id == "order-1"


def test_a_bad_one_is_refused():
    refused = judged(b"{}")
    assert isinstance(refused, Invalid)
    assert refused.field == "from"


def test_one_that_nobody_has_planned_for_is_refused_as_well(monkeypatch):
    def fails(*_: object) -> Draft:
        raise IndexError("list index out of range")

    monkeypatch.setattr(intake, "admit", fails)
    assert str(judged(b"{}")) == "it could not be judged: IndexError"
