"""SIGTERM for every worker while mails are under way, then a new start: each mail arrives exactly once."""

from tests.e2e.conftest import StartPipeline
from tests.support.pipeline import relay_to
from tests.support.sinks import RecordingSink


def test_each_mail_arrives_once_over_three_restarts(start_pipeline: StartPipeline, sink: RecordingSink):
    pipeline = start_pipeline(relay_to(sink), senders=2)

    with pipeline.load(rate=100) as load:
        for _ in range(3):
            sink.wait_for(len(sink.mails) + 50, timeout=30)
            pipeline.stop(*pipeline.workers)
            pipeline.start(scheduler=1, resolver=1, sender=2)
        sink.wait_for(len(sink.mails) + 50, timeout=30)

    pipeline.wait_for_each_once(sink, load.ids)


def test_a_mail_that_is_being_taken_is_finished_before_the_sender_ends(
    start_pipeline: StartPipeline, sink: RecordingSink
):
    pipeline = start_pipeline(relay_to(sink))
    pause = sink.pause(".")
    ids = pipeline.submit_many(20)
    pause.wait(30)

    [sender] = pipeline.of("sender")
    ending = pipeline.stop_later(sender)
    pause.release()
    ending.result()
    pipeline.start(sender=1)

    pipeline.wait_for_each_once(sink, ids)
    assert not pipeline.events("deferred")
