"""A mail that is refused comes back to its reverse-path as a report: once, and never as a report on a report."""

from email.message import EmailMessage

import pytest

from shared.mail_store.states import State
from tests.support.pipeline import Pipeline, a_mail
from tests.support.sink_memory import SunkMail
from tests.support.sinks import RecordingSink

SETTINGS = {"bounces": "dsn"}


def fields(report: SunkMail) -> list[EmailMessage]:
    """The groups of fields of a report, the message's first."""
    part = report.message.get_payload(1)
    assert isinstance(part, EmailMessage)
    groups = part.get_payload()
    assert isinstance(groups, list)
    return groups


@pytest.mark.checklist(151, 153, 154, 155)
def test_the_report_arrives_and_names_who_refused_whom(pipeline: Pipeline, inbox: RecordingSink):
    inbox.answer("RCPT", "gone@mx.example", "550 5.1.1 moved away")

    mail = pipeline.submit(a_mail("an offer", to=["good@mx.example", "gone@mx.example"]))
    inbox.wait_for(2)
    offer, report = sorted(inbox.mails, key=lambda mail: mail.sender, reverse=True)

    assert (offer.sender, offer.recipients) == ("robot@sender.example", ("good@mx.example",))
    assert (report.sender, report.recipients) == ("", ("robot@sender.example",))
    assert report.message.get_content_type() == "multipart/report"
    message, recipient = fields(report)
    assert (message["Reporting-MTA"], message["Original-Envelope-Id"]) == ("dns; robot.example", mail)
    assert recipient["Final-Recipient"] == "rfc822; gone@mx.example"
    assert recipient["Diagnostic-Code"] == "smtp; 550 5.1.1 moved away"
    assert recipient["Remote-MTA"] == "dns; [127.0.0.1]"
    assert "Subject: an offer" in str(report.message.get_payload(2))

    story = pipeline.control("show", id=mail)["mail"]
    pipeline.wait_for_event("delivered", story["reports"][0])
    told = pipeline.control("show", id=story["reports"][0])["mail"]
    assert (told["about"], told["sender"], told["recipients"][0]["state"]) == (mail, "", "delivered")


@pytest.mark.checklist(151, 152, 157)
def test_nobody_is_told_of_a_report_or_of_what_comes_from_nobody(pipeline: Pipeline, inbox: RecordingSink):
    inbox.answer("RCPT", "gone@mx.example", "550 5.1.1 moved away")
    inbox.answer("RCPT", "robot@sender.example", "550 5.1.1 nobody")

    from_nobody = pipeline.submit(a_mail("from nobody", to=["gone@mx.example"], return_path=""))
    not_asked = pipeline.submit(a_mail("not asked", to=["gone@mx.example"], notify="never"))
    usual = pipeline.submit(a_mail("usual", to=["gone@mx.example"]))
    bounced = {event["mail"] for event in pipeline.wait_for_events(4, "bounced")}
    pipeline.client.wait_until(lambda: not pipeline.open_recipients(), "all final")

    [report] = pipeline.control("show", id=usual)["mail"]["reports"]
    assert bounced == {from_nobody, not_asked, usual, report}
    assert len(pipeline.events("bounced")) == 4
    assert not inbox.mails


@pytest.mark.checklist(151)
def test_each_is_told_once_though_the_scheduler_is_killed_meanwhile(pipeline: Pipeline, inbox: RecordingSink):
    inbox.answer("RCPT", "gone@mx.example", "550 5.1.1 moved away")

    mails: list[str] = []
    for reports in (20, 90):
        mails += pipeline.submit_many(100, to=["gone@mx.example"])
        inbox.wait_for(reports)
        pipeline.kill(*pipeline.of("scheduler"))
        pipeline.start(scheduler=1)
    pipeline.wait_for_events(150, "bounced")  # those that were not announced yet are lost with their scheduler
    # What was on its way to a resolver waits for its lease.
    pipeline.client.wait_until(lambda: pipeline.count(State.HELD) == 0, "all are released")
    pipeline.let_lease_run_out(State.RELEASING)
    inbox.wait_for(200, timeout=60)
    pipeline.client.wait_until(lambda: not pipeline.open_recipients(), "all final", 60)

    assert sorted(fields(report)[0]["Original-Envelope-Id"] for report in inbox.mails) == sorted(mails)


@pytest.mark.checklist(157)
def test_who_set_it_so_is_told_once_of_a_delay(pipeline: Pipeline, inbox: RecordingSink):
    pipeline.change(delay_notice="1s")
    inbox.answer("RCPT", "full@mx.example", "450 4.2.2 mailbox full", times=4)

    mail = pipeline.submit(a_mail("slow", to=["full@mx.example"]))
    pipeline.wait_for_event("delivered", mail)
    pipeline.client.wait_until(lambda: not pipeline.open_recipients(), "all final")

    [notice] = [each for each in inbox.mails if not each.sender]
    assert fields(notice)[1]["Action"] == "delayed"
    assert fields(notice)[1]["Status"] == "4.2.2"
