"""`sending.hold` is changed while mails are held: new ones follow it, those already held keep their own time."""

from datetime import datetime, timedelta

from tests.support.pipeline import Pipeline
from tests.support.sinks import RecordingSink


def test_from_ten_minutes_to_nothing_new_mail_goes_at_once_and_a_release_sends_the_held(
    pipeline: Pipeline, inbox: RecordingSink
):
    pipeline.change(sending={"hold": "10m"})
    held = pipeline.submit_many(20, batch="before the change")
    until = {event["mail"]: _to_the_second(event["until"]) for event in pipeline.wait_for_events(20, "held")}
    pipeline.change(sending={"hold": 0})
    new = pipeline.submit_many(20)

    pipeline.client.wait_until(lambda: len(inbox.mails) >= 20, "the new mails")
    assert {mail.message["Subject"] for mail in inbox.mails} == set(new)
    listed = pipeline.control("list", batch="before the change", limit=1000)["mails"]
    assert {mail["id"]: _to_the_second(mail["recipients"][0]["next_try"]) for mail in listed} == until

    assert pipeline.control("release", batch="before the change")["released"] == 20
    pipeline.wait_for_each_once(inbox, held + new)


def _to_the_second(time: str) -> datetime:
    """The store keeps milliseconds."""
    return (datetime.fromisoformat(time) + timedelta(milliseconds=500)).replace(microsecond=0)


def test_from_nothing_to_ten_minutes_new_mail_is_held(pipeline: Pipeline, inbox: RecordingSink):
    before = pipeline.submit_many(5)
    pipeline.client.wait_until(lambda: len(inbox.mails) >= 5, "the first mails")
    pipeline.change(sending={"hold": "10m"})
    pipeline.submit_many(5)

    pipeline.wait_for_events(5, "held")
    assert pipeline.control("stats")["states"]["held"] == 5
    assert {mail.message["Subject"] for mail in inbox.mails} == set(before)
