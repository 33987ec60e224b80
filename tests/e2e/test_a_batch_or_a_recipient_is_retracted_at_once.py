"""Several mails are taken back with one command: by the client's batch label, by recipient, or by both."""

import pytest

from tests.support.pipeline import Pipeline, a_mail, subjects
from tests.support.sinks import RecordingSink


@pytest.mark.parametrize(
    ("selector", "kept"),
    [
        ({"batch": "news"}, {"ann, offers", "bob, offers"}),
        ({"recipient": "ann@mx.example"}, {"bob, news", "bob, offers"}),
        ({"batch": "news", "recipient": "ann@mx.example"}, {"bob, news", "ann, offers", "bob, offers"}),
        ({"batch": "nothing of this name"}, {"ann, news", "bob, news", "ann, offers", "bob, offers"}),
    ],
)
def test_all_that_match_every_part_of_the_selector_stay_here(
    pipeline: Pipeline, inbox: RecordingSink, selector: dict[str, str], kept: set[str]
):
    ids = {
        pipeline.submit(a_mail(f"{name}, {batch}", to=[f"{name}@mx.example"], batch=batch, hold="10m"))
        for batch in ("news", "offers")
        for name in ("ann", "bob")
    }
    pipeline.wait_for_events(4, "held")

    answer = pipeline.control("retract", **selector)
    for batch in ("news", "offers"):
        pipeline.control("release", batch=batch)

    retracted = {mail["id"] for mail in answer["mails"] if mail["result"] == "retracted"}
    assert len(retracted & ids) == 4 - len(kept)
    pipeline.wait_for_each_once(inbox, sorted(kept))


def test_one_recipient_of_a_mail_is_retracted_and_the_others_get_it(pipeline: Pipeline, inbox: RecordingSink):
    mail = pipeline.submit(a_mail("for two", to=["ann@mx.example", "bob@mx.example"], hold="10m"))
    pipeline.wait_for_event("held", mail)

    pipeline.control("retract", id=mail, recipient="ann@mx.example")
    pipeline.control("release", id=mail)

    pipeline.wait_for_each_once(inbox, ["for two"])
    assert inbox.mails[0].recipients == ("bob@mx.example",)
    assert pipeline.wait_for_event("retracted", mail)["recipient"] == "ann@mx.example"


def test_a_batch_of_three_hundred_is_retracted_with_one_command(pipeline: Pipeline, inbox: RecordingSink):
    pipeline.submit_many(300, batch="mistake", hold="10m")
    pipeline.wait_for_events(300, "held")

    answer = pipeline.control("retract", batch="mistake")

    assert answer["counts"] == {"retracted": 300}
    assert len(answer["mails"]) == 300
    pipeline.wait_for_events(300, "retracted")
    assert pipeline.open_recipients() == 0
    assert subjects(inbox.mails) == {}
