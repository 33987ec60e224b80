"""With PostgreSQL as the store, every role can run several times; one of each may be killed."""

from shared.mail_store import State
from tests.e2e.conftest import StartPipeline
from tests.support.pipeline import relay_to
from tests.support.sinks import RecordingSink


def test_two_of_each_role_deliver_every_mail_once(
    start_pipeline: StartPipeline, sink: RecordingSink, postgres_url: str
):
    pipeline = start_pipeline(relay_to(sink), store_url=postgres_url, schedulers=2, resolvers=2, senders=2)

    held = pipeline.submit_many(100, hold="2s")
    with pipeline.load(rate=100) as load:
        sink.wait_for(50, timeout=60)

    pipeline.wait_for_each_once(sink, [*held, *load.ids])


def test_one_of_two_schedulers_is_killed_under_load_and_every_mail_arrives_once(
    start_pipeline: StartPipeline, sink: RecordingSink, postgres_url: str
):
    pipeline = start_pipeline(relay_to(sink), store_url=postgres_url, schedulers=2, resolvers=2, senders=2)

    with pipeline.load(rate=100) as load:
        sink.wait_for(50, timeout=30)
        pipeline.kill(pipeline.of("scheduler")[0], pipeline.of("resolver")[0])
        sink.wait_for(len(sink.mails) + 50, timeout=30)
    pipeline.let_lease_run_out(State.RELEASING)

    pipeline.wait_for_each_once(sink, load.ids)
