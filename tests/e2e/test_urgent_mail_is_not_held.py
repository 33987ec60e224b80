"""The hold is for ordinary mail: urgent mail leaves at once, unless it asks for a hold of its own."""

from tests.support.pipeline import Pipeline, a_mail
from tests.support.sinks import RecordingSink


def test_urgent_mail_overtakes_what_is_held(pipeline: Pipeline, inbox: RecordingSink):
    pipeline.change(sending={"hold": "10m"})
    ordinary = pipeline.submit(a_mail("ordinary"))
    own_hold = pipeline.submit(a_mail("urgent with a hold", priority="urgent", hold="10m"))
    urgent = pipeline.submit(a_mail("urgent", priority="urgent"))
    finished = pipeline.submit(
        b"From: a@sender.example\r\nSubject: finished\r\n\r\nbody\r\n",
        headers={"rcpt-to": "b@mx.example", "priority": "urgent"},
    )

    pipeline.wait_for_event("delivered", urgent)
    pipeline.wait_for_event("delivered", finished)

    assert {mail.message["Subject"] for mail in inbox.mails} == {"urgent", "finished"}
    assert {event["mail"] for event in pipeline.wait_for_events(2, "held")} == {ordinary, own_hold}
