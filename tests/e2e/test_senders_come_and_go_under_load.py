"""Senders are added and stopped while mail flows: every mail arrives once."""

import pytest

from tests.e2e.conftest import StartPipeline
from tests.support.pipeline import relay_to
from tests.support.sinks import RecordingSink


@pytest.mark.parametrize("store", ["sqlite_url", "postgres_url"])
def test_one_is_added_to_three_and_one_is_stopped(
    request: pytest.FixtureRequest, start_pipeline: StartPipeline, sink: RecordingSink, store: str
):
    pipeline = start_pipeline(relay_to(sink), senders=3, store_url=request.getfixturevalue(store))

    with pipeline.load(rate=100) as load:
        sink.wait_for(50, timeout=30)
        [added] = pipeline.start(sender=1)
        sink.wait_for(len(sink.mails) + 50, timeout=30)
        stopped = pipeline.of("sender")[0]
        pipeline.stop(stopped)
        sink.wait_for(len(sink.mails) + 50, timeout=30)

    pipeline.wait_for_each_once(sink, load.ids)
    workers = {mail["recipients"][0]["worker"] for mail in pipeline.control("list", limit=1000)["mails"]}
    assert {added.name, stopped.name} <= workers


def test_the_last_sender_stops_and_mail_waits_for_the_next_one(start_pipeline: StartPipeline, sink: RecordingSink):
    pipeline = start_pipeline(relay_to(sink))

    with pipeline.load(rate=100) as load:
        sink.wait_for(50, timeout=30)
        pipeline.stop(*pipeline.of("sender"))
        before = len(sink.mails)
        pipeline.client.wait_until(lambda: len(load.ids) > before + 50, "mail piles up")
        assert len(sink.mails) == before
        pipeline.start(sender=1)
        sink.wait_for(before + 50, timeout=30)

    pipeline.wait_for_each_once(sink, load.ids)
