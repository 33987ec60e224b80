"""What a server has called useless for good gets no more mail, the others in the mail get theirs; a mail can insist."""

from tests.e2e.conftest import StartPipeline, StartSink
from tests.support.pipeline import a_mail, relay_to


def test_after_a_refusal_the_address_is_not_tried_unless_the_mail_says_so(
    start_pipeline: StartPipeline, start_sink: StartSink
):
    inbox = start_sink()
    inbox.answer("RCPT", "gone@mx.example", "550 5.1.1 moved away", times=1)
    pipeline = start_pipeline(relay_to(inbox, suppression={"automatic": True}))
    refused = pipeline.submit(a_mail("first", to=["gone@mx.example"]))
    assert pipeline.wait_for_event("bounced", refused)["bounce_class"] == "bad_mailbox"

    mail = pipeline.submit(a_mail("second", to=["Gone@mx.example", "here@mx.example"]))
    bounced = pipeline.wait_for_event("bounced", mail)
    pipeline.wait_for_event("delivered", mail)
    alone = pipeline.submit(a_mail("third", to=["gone@mx.example"]))
    pipeline.wait_for_event("bounced", alone)
    insisting = pipeline.submit(a_mail("fourth", to=["gone@mx.example"], ignore_suppression=True))
    pipeline.wait_for_event("delivered", insisting)

    assert (bounced["recipient"], bounced["bounce_class"]) == ("Gone@mx.example", "suppressed")
    assert (bounced["attempt"], bounced["code"], bounced["enhanced"], bounced["host"]) == (0, 550, "5.7.1", "")
    assert bounced["reply"].startswith("on the suppression list since ")
    assert " (bad_mailbox: 550 5.1.1 moved away); remove it" in bounced["reply"]
    arrived = [(mail.message["Subject"], mail.recipients) for mail in inbox.mails]
    assert arrived == [("second", ("here@mx.example",)), ("fourth", ("gone@mx.example",))]
    assert not pipeline.events("rejected")
