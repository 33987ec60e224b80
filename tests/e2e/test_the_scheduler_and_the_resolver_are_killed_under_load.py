"""`kill -9` of the scheduler or the resolver while mail flows: every mail arrives once."""

import pytest

from shared.mail_store.states import State
from tests.e2e.conftest import StartPipeline
from tests.support.pipeline import relay_to
from tests.support.sinks import RecordingSink


@pytest.mark.parametrize("victims", [["scheduler"], ["resolver"], ["scheduler", "resolver"]])
def test_every_mail_arrives_once_after_the_kill_of(
    start_pipeline: StartPipeline, sink: RecordingSink, victims: list[str]
):
    pipeline = start_pipeline(relay_to(sink), senders=2)
    held = pipeline.submit_many(100, hold="3s")

    with pipeline.load(rate=100) as load:
        for _ in range(3):
            sink.wait_for(len(sink.mails) + 50, timeout=30)
            pipeline.kill(*(worker for role in victims for worker in pipeline.of(role)))
            pipeline.start(**dict.fromkeys(victims, 1))
        sink.wait_for(len(sink.mails) + 50, timeout=30)
    # A scheduler that dies between its mark and the broker's confirm leaves the mail to its lease.
    pipeline.client.wait_until(lambda: pipeline.count(State.HELD) == 0, "the held ones leave")
    pipeline.let_lease_run_out(State.RELEASING)

    pipeline.wait_for_each_once(sink, [*held, *load.ids])
