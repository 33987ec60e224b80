"""A relay with the faults of smtp-sink: what it did not refuse for good is delivered once it is mended."""

import itertools

import pytest

from tests.support.pipeline import Pipeline, a_mail
from tests.support.postfix import SmtpSink
from tests.support.sinks import RecordingSink

_MAILS = 5
_numbers = itertools.count(1)


def _submit(pipeline: Pipeline, sink: SmtpSink) -> list[str]:
    """Some mails for a relay that is such a sink, which nobody is to be told of."""
    pipeline.change(relay={"port": sink.port}, retry={"schedule": ["1h"]})
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
    "options",
    [
        pytest.param("-f EHLO", marks=pytest.mark.checklist(37)),
        pytest.param("-q QUIT", marks=pytest.mark.checklist(77)),
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


def _release_until_delivered(pipeline: Pipeline) -> bool:
    """Some wait for another attempt, others for a site that was left alone; some are still on their way to the sink."""
    done = len(pipeline.events("delivered")) >= _MAILS
    if not done:
        pipeline.control("release", batch="faulty")
    return done
