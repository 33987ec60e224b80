"""The message id is the idempotency key: who is not sure whether a mail was taken publishes it again."""

from tests.support.pipeline import Pipeline, a_mail
from tests.support.sinks import RecordingSink


def test_the_first_submission_of_an_id_stands(pipeline: Pipeline, inbox: RecordingSink):
    pipeline.change(events=["accepted", "delivered"])

    pipeline.submit(a_mail("first"), "order-17")
    pipeline.submit(a_mail("again"), "order-17")
    accepted = pipeline.wait_for_events(2, "accepted", "order-17")
    pipeline.wait_for_event("delivered", "order-17")
    pipeline.submit(a_mail("after the delivery"), "order-17")
    accepted = pipeline.wait_for_events(3, "accepted", "order-17")

    assert [event.get("duplicate", False) for event in accepted] == [False, True, True]
    pipeline.wait_for_each_once(inbox, ["first"])


def test_twins_in_one_batch_are_one_mail(pipeline: Pipeline, inbox: RecordingSink):
    for number in range(50):
        for _ in range(3):
            pipeline.submit(a_mail(f"triplet {number}"), f"triplet-{number}")

    pipeline.wait_for_each_once(inbox, [f"triplet {number}" for number in range(50)])


def test_without_an_id_each_submission_is_a_mail_of_its_own(pipeline: Pipeline, inbox: RecordingSink):
    for _ in range(3):
        pipeline.submit(a_mail("no id"), "")

    events = pipeline.wait_for_events(3, "delivered")
    assert len({event["mail"] for event in events}) == 3
    assert len(inbox.mails) == 3
