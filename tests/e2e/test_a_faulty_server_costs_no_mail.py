"""A relay with the faults of smtp-sink: what it did not refuse for good is delivered once it is mended."""

import itertools
from typing import Any

import pytest

from tests.support.pipeline import Pipeline, a_mail
from tests.support.postfix import SmtpSink
from tests.support.sinks import RecordingSink

_MAILS = 5
_numbers = itertools.count(1)


def _submit(pipeline: Pipeline, sink: SmtpSink, **settings: Any) -> list[str]:
    """Some mails for a relay that is such a sink, which nobody is to be told of."""
    pipeline.change(relay={"port": sink.port}, retry={"schedule": ["1h"]}, **settings)
    ids = [f"faulty-{next(_numbers)}" for _ in range(_MAILS)]
    return [pipeline.submit(a_mail(id, return_path="", batch="faulty"), id) for id in ids]


@pytest.mark.parametrize(
    "options",
    [
        "-q CONNECT",
        pytest.param("-q MAIL", marks=pytest.mark.checklist(73)),
        pytest.param("-q .", marks=pytest.mark.checklist(75)),
        pytest.param("-Q RCPT", marks=pytest.mark.checklist(72)),
        pytest.param("-r .", marks=pytest.mark.checklist(69)),
        "-r RCPT,RSET",
    ],
)
def test_what_it_does_not_take_is_deferred_and_arrives_later(pipeline: Pipeline, inbox: RecordingSink, options: str):
    with SmtpSink(*options.split()) as sink:
        ids = _submit(pipeline, sink)
        pipeline.wait_for_event("deferred")
        assert not inbox.mails
        pipeline.change(relay={"port": inbox.port})
        pipeline.client.wait_until(lambda: _release_until_delivered(pipeline), "all are delivered", 30)
    pipeline.wait_for_each_once(inbox, ids)

    assert not pipeline.events("bounced")
    assert len({mail.message["Message-ID"] for mail in inbox.mails}) == _MAILS


@pytest.mark.parametrize(
    "options",
    [
        pytest.param("-f MAIL", marks=pytest.mark.checklist(68)),
        "-f RCPT",
        pytest.param("-f .", marks=pytest.mark.checklist(69)),
        pytest.param("-f CONNECT", marks=pytest.mark.checklist(36)),
    ],
)
def test_what_it_refuses_for_good_bounces_with_its_words(pipeline: Pipeline, options: str):
    with SmtpSink(*options.split()) as sink:
        ids = _submit(pipeline, sink)
        bounced = pipeline.wait_for_events(_MAILS, "bounced")

    assert sorted(event["mail"] for event in bounced) == sorted(ids)
    assert {(event["reply"], event["attempt"]) for event in bounced} == {("Error: command failed", 1)}


@pytest.mark.parametrize(
    ("options", "limit"),
    [
        pytest.param("-p -W MAIL:20", "mail", marks=pytest.mark.checklist(81, 89)),
        pytest.param("-p -W .:20", "final_dot", marks=pytest.mark.checklist(75, 85, 89)),
        pytest.param(
            "-H 20", "final_dot", marks=pytest.mark.checklist(75, 85, 89)
        ),  # all of a small mail is out by then
    ],
)
def test_what_it_answers_too_late_is_deferred_and_arrives_later(
    pipeline: Pipeline, inbox: RecordingSink, options: str, limit: str
):
    with SmtpSink(*options.split()) as sink:
        ids = _submit(pipeline, sink, timeouts={limit: "1s"})
        deferred = pipeline.wait_for_event("deferred")
        assert (deferred["code"], deferred["enhanced"]) == (451, "4.4.2")
        assert deferred.get("in_doubt", False) is (limit == "final_dot")
        pipeline.change(relay={"port": inbox.port}, timeouts={limit: "5m"})
        pipeline.client.wait_until(lambda: _release_until_delivered(pipeline), "all are delivered", 60)
    pipeline.wait_for_each_once(inbox, ids)

    assert not pipeline.events("bounced")


@pytest.mark.parametrize("delay", [0, 1])
@pytest.mark.checklist(69, 75)
def test_what_it_breaks_off_bounces_with_its_words_or_is_in_doubt(pipeline: Pipeline, inbox: RecordingSink, delay: int):
    """It reads nothing of a mail, refuses it and closes: the refusal may get lost on its way, and is never made up."""
    with SmtpSink("-A", str(delay)) as sink:
        ids = _submit(pipeline, sink)
        pipeline.client.wait_until(lambda: _told_of(pipeline) == set(ids), "each is told of", 60)
        pipeline.change(relay={"port": inbox.port})
        pipeline.client.wait_until(lambda: _release_until_final(pipeline), "each is final", 30)
    bounced = pipeline.events("bounced")
    refused = {event["mail"] for event in bounced}

    pipeline.wait_for_each_once(inbox, [id for id in ids if id not in refused])
    assert {(event["code"], event["reply"]) for event in bounced} <= {(550, "This violates SMTP")}
    assert bounced or any(event.get("in_doubt") for event in pipeline.events("deferred"))


@pytest.mark.parametrize(
    "options",
    [
        pytest.param("-f EHLO", marks=pytest.mark.checklist(37)),
        pytest.param("-q QUIT", marks=pytest.mark.checklist(77)),
        pytest.param("-p", marks=pytest.mark.checklist(98)),
        pytest.param("-8", marks=pytest.mark.checklist(110)),
        pytest.param("-e", marks=pytest.mark.checklist(39)),
        pytest.param("-N", marks=pytest.mark.checklist(118)),
        "-p -8 -e -N",
        "-p -W .:1",
        "-H 1",
    ],
)
def test_what_it_takes_is_delivered_at_the_first_attempt(pipeline: Pipeline, options: str):
    with SmtpSink(*options.split()) as sink:
        ids = _submit(pipeline, sink)
        delivered = pipeline.wait_for_events(_MAILS, "delivered")

    assert sorted(event["mail"] for event in delivered) == sorted(ids)
    assert {(event["code"], event["attempt"]) for event in delivered} == {(250, 1)}


@pytest.mark.parametrize("options", ["-8", "-e"])
@pytest.mark.checklist(109)
def test_eight_bit_mail_that_it_can_not_take_bounces(pipeline: Pipeline, options: str):
    content = "From: robot@sender.example\r\nTo: b@mx.example\r\n\r\nGrüße\r\n".encode()
    with SmtpSink(*options.split()) as sink:
        pipeline.change(relay={"port": sink.port})
        headers = {"mail-from": "", "rcpt-to": "b@mx.example"}
        bounced = pipeline.wait_for_event("bounced", pipeline.submit(content, headers=headers))

    assert (bounced["code"], bounced["enhanced"], bounced["attempt"]) == (554, "5.6.3", 1)


def _told_of(pipeline: Pipeline) -> set[str]:
    """The mails whose first attempt has come to something."""
    return {event["mail"] for kind in ("bounced", "deferred") for event in pipeline.events(kind)}


def _release_until_final(pipeline: Pipeline) -> bool:
    done = len(pipeline.events("bounced")) + len(pipeline.events("delivered")) >= _MAILS
    if not done:
        pipeline.control("release", batch="faulty")
    return done


def _release_until_delivered(pipeline: Pipeline) -> bool:
    """Some wait for another attempt, others for a site that was left alone; some are still on their way to the sink."""
    done = len(pipeline.events("delivered")) >= _MAILS
    if not done:
        pipeline.control("release", batch="faulty")
    return done
