"""`limits`: how many mails a site gets in how much time, and what becomes of the others."""

from tests.e2e.conftest import StartPipeline
from tests.support.pipeline import relay_to
from tests.support.sinks import RecordingSink


def test_one_goes_and_the_others_wait_and_say_why_until_the_limit_goes(
    start_pipeline: StartPipeline, sink: RecordingSink
):
    pipeline = start_pipeline(relay_to(sink), senders=2)
    pipeline.change(limits={"sites": {"127.0.0.1": {"rate": "1/d"}}})
    ids = pipeline.submit_many(10)
    sink.wait_for(1)
    pipeline.client.wait_until(lambda: len(waiting(pipeline)) == 9, "the others are given back")
    assert len(sink.mails) == 1
    [one, *_] = waiting(pipeline)
    assert "the limit of 127.0.0.1 is 1/d" in str(pipeline.control("show", id=one))

    pipeline.change(limits={"sites": {"127.0.0.1": {"rate": "100/s"}}})
    for id in ids:
        pipeline.control("release", id=id)
    pipeline.wait_for_each_once(sink, ids)
    assert {event["attempt"] for event in pipeline.wait_for_events(10, "delivered")} == {1}


def waiting(pipeline):
    return [line["id"] for line in pipeline.control("list", state="deferred")["mails"]]
