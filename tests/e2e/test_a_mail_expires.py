"""What can not be delivered within the give-up time ends as `expired`, with the last reply."""

from tests.support.pipeline import Pipeline, a_mail
from tests.support.sinks import RecordingSink


def test_the_mails_own_time_ends_it_after_some_tries(pipeline: Pipeline, inbox: RecordingSink):
    inbox.answer("RCPT", "b@mx.example", "450 4.2.2 mailbox full")

    mail = pipeline.submit(a_mail(give_up_after="3s"))
    expired = pipeline.wait_for_event("expired", mail)

    deferred = pipeline.events("deferred", mail)
    assert 2 <= len(deferred) <= 4
    assert expired["attempt"] == len(deferred) + 1
    assert expired["enhanced"] == "4.4.7"
    assert "450 4.2.2 mailbox full" in expired["reply"]
    assert pipeline.open_recipients() == 0
    assert not inbox.mails
    assert pipeline.control("retract", id=mail)["counts"] == {"too_late": 1}


def test_the_setting_is_for_mails_without_a_time_of_their_own(pipeline: Pipeline, inbox: RecordingSink):
    pipeline.change(retry={"give_up": "1s"})
    inbox.answer("RCPT", "*", "450 4.2.2 mailbox full", times=4)

    patient = pipeline.submit(a_mail("patient", give_up_after="1h"))
    impatient = pipeline.submit(a_mail("impatient", to=["c@mx.example"]))

    pipeline.wait_for_event("expired", impatient)
    pipeline.wait_for_each_once(inbox, ["patient"])
    assert pipeline.wait_for_event("delivered", patient)["attempt"] > 1
