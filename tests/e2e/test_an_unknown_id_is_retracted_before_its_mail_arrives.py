"""A retract may overtake its mail: the id is remembered, and the mail is not sent when it comes."""

from tests.support.pipeline import Pipeline, a_mail, subjects
from tests.support.sinks import RecordingSink


def test_a_mail_that_comes_after_its_retract_is_never_sent(pipeline: Pipeline, inbox: RecordingSink):
    answer = pipeline.control("retract", id="not-there-yet")

    pipeline.submit(a_mail("not-there-yet"), "not-there-yet")
    retracted = pipeline.wait_for_event("retracted", "not-there-yet")
    after = pipeline.submit(a_mail("after"))
    pipeline.wait_for_event("delivered", after)

    assert answer["counts"] == {"unknown": 1}
    assert "will not be sent" in answer["mails"][0]["detail"]
    assert retracted["recipient"] == "b@mx.example"
    assert pipeline.open_recipients() == 0
    assert subjects(inbox.mails) == {"after": 1}
