"""One mail, several recipients: one takes it, one never will, one later; only the last one is tried again."""

from tests.support.pipeline import Pipeline, a_mail
from tests.support.sinks import RecordingSink


def test_a_250_a_550_and_a_450_in_one_mail(pipeline: Pipeline, inbox: RecordingSink):
    inbox.answer("RCPT", "gone@mx.example", "550 5.1.1 moved away")
    inbox.answer("RCPT", "full@mx.example", "450 4.2.2 mailbox full", times=1)

    mail = pipeline.submit(a_mail("for three", to=["good@mx.example", "gone@mx.example"], bcc=["full@mx.example"]))
    delivered = pipeline.wait_for_events(2, "delivered", mail)
    bounced = pipeline.wait_for_event("bounced", mail)
    deferred = pipeline.wait_for_event("deferred", mail)

    assert [(one["recipient"], one["attempt"]) for one in delivered] == [("good@mx.example", 1), ("full@mx.example", 2)]
    assert (bounced["recipient"], bounced["code"], bounced["enhanced"]) == ("gone@mx.example", 550, "5.1.1")
    assert (deferred["recipient"], deferred["code"], deferred["attempt"]) == ("full@mx.example", 450, 1)
    assert [mail.recipients for mail in inbox.mails] == [("good@mx.example",), ("full@mx.example",)]
    # The same octets at every attempt; who was in Bcc is in no header.
    assert inbox.mails[0].content == inbox.mails[1].content
    assert b"full@mx.example" not in inbox.mails[0].content


def test_when_all_are_refused_no_content_is_sent(pipeline: Pipeline, inbox: RecordingSink):
    inbox.answer("RCPT", "*", "550 5.1.1 nobody")

    mail = pipeline.submit(a_mail(to=["a@mx.example", "b@mx.example"]))

    events = pipeline.wait_for_events(2, "bounced", mail)
    assert {event["recipient"] for event in events} == {"a@mx.example", "b@mx.example"}
    assert not inbox.mails


def test_one_mail_to_three_hundred_recipients_arrives_at_each_of_them_once(pipeline: Pipeline, inbox: RecordingSink):
    to = [f"r{number}@mx.example" for number in range(300)]

    mail = pipeline.submit(a_mail("to many", to="undisclosed@mx.example", bcc=to))

    pipeline.wait_for_events(301, "delivered", mail)
    arrived = [address for mail in inbox.mails for address in mail.recipients]
    assert sorted(arrived) == sorted([*to, "undisclosed@mx.example"])
