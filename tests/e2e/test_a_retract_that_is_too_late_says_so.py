"""What has arrived can not be taken back: the answer gives the receiver's reply and its time."""

from datetime import datetime, timedelta

from tests.support.pipeline import Pipeline, a_mail
from tests.support.sinks import RecordingSink


def test_a_retract_after_the_delivery_tells_reply_and_time(pipeline: Pipeline, inbox: RecordingSink):
    mail = pipeline.submit(a_mail())
    pipeline.wait_for_event("delivered", mail)

    [answered] = pipeline.control("retract", id=mail)["mails"]

    assert answered["result"] == "too_late"
    [recipient] = answered["recipients"]
    assert recipient["state"] == "delivered"
    assert (recipient["code"], recipient["enhanced"], recipient["reply"]) == (250, "2.0.0", "taken as 1")
    assert abs(datetime.fromisoformat(recipient["since"]) - inbox.mails[0].time) < timedelta(seconds=5)
    assert "250 2.0.0 taken as 1" in answered["detail"]
    assert not pipeline.events("retracted")


def test_a_retract_while_a_sender_has_it_is_answered_in_flight_and_the_event_tells(
    pipeline: Pipeline, inbox: RecordingSink
):
    pause = inbox.pause(".")
    mail = pipeline.submit(a_mail())
    pause.wait(30)

    answer = pipeline.control("retract", id=mail)
    pause.release()

    assert answer["counts"] == {"in_flight": 1}
    assert pipeline.wait_for_event("delivered", mail)["code"] == 250
    assert not pipeline.events("retracted")


def test_a_retract_of_a_mail_that_bounced_is_too_late(pipeline: Pipeline, inbox: RecordingSink):
    inbox.answer("RCPT", "b@mx.example", "550 5.1.1 nobody here")
    mail = pipeline.submit(a_mail())
    pipeline.wait_for_event("bounced", mail)

    [answered] = pipeline.control("retract", id=mail)["mails"]

    assert answered["result"] == "too_late"
    assert "550 5.1.1 nobody here" in answered["detail"]


def test_a_retract_of_a_deferred_mail_is_in_time(pipeline: Pipeline, inbox: RecordingSink):
    pipeline.change(retry={"schedule": ["1h"]})
    inbox.answer("RCPT", "b@mx.example", "450 4.2.1 later")
    mail = pipeline.submit(a_mail())
    pipeline.wait_for_event("deferred", mail)

    assert pipeline.control("retract", id=mail)["counts"] == {"retracted": 1}
    assert pipeline.control("release", id=mail)["released"] == 0
    assert pipeline.open_recipients() == 0
