"""SIGTERM of a sender that can not say what became of a mail: it ends all the same, and its journal tells."""

from cli.node import PrivateNode
from tests.e2e.conftest import StartPipeline
from tests.support.pipeline import relay_to
from tests.support.rabbitmq import sync_queue_registry
from tests.support.sinks import RecordingSink


def test_it_does_not_wait_for_the_broker_for_ever(
    start_pipeline: StartPipeline, own_node: PrivateNode, own_url: str, sink: RecordingSink
):
    pipeline = start_pipeline(relay_to(sink), amqp_url=own_url)
    pause = sink.pause(".")
    [mail] = pipeline.submit_many(1)
    pause.wait(30)
    sync_queue_registry(own_node)
    [sender] = pipeline.of("sender")

    own_node.kill()
    pause.release()
    sink.wait_for(1)
    pipeline.stop(sender)
    assert sender.logged("outcomes_not_reported")
    assert sender.logged("journal_left", outcomes=1)

    own_node.start()
    pipeline.start(sender=1)
    pipeline.wait_for_each_once(sink, [mail])
    assert not pipeline.events("deferred")
