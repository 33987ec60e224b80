"""`release` ends the hold of a mail, a batch or a recipient, and the wait of what was deferred."""

from tests.support.pipeline import Pipeline, a_mail
from tests.support.sinks import RecordingSink


def test_a_release_sends_held_mail_at_once(pipeline: Pipeline, inbox: RecordingSink):
    mail = pipeline.submit(a_mail("let go", hold="10m"))
    other = pipeline.submit(a_mail("kept", hold="10m"))
    pipeline.wait_for_event("held", other)

    answer = pipeline.control("release", id=mail)

    assert answer["released"] == 1
    pipeline.wait_for_event("delivered", mail)
    assert [mail.message["Subject"] for mail in inbox.mails] == ["let go"]
    assert pipeline.control("stats")["states"]["held"] == 1


def test_a_release_sends_deferred_mail_at_once(pipeline: Pipeline, inbox: RecordingSink):
    pipeline.change(retry={"schedule": ["1h"]})
    inbox.answer("RCPT", "b@mx.example", "450 4.2.1 later", times=1)
    mail = pipeline.submit(a_mail())
    pipeline.wait_for_event("deferred", mail)

    assert pipeline.control("release", recipient="b@mx.example")["released"] == 1

    assert pipeline.wait_for_event("delivered", mail)["attempt"] == 2


def test_a_release_of_nothing_says_so(pipeline: Pipeline):
    answer = pipeline.control("release", id="nobody")

    assert answer["released"] == 0
    assert answer["mails"] == [{"id": "nobody", "released": 0, "detail": "no such mail"}]
