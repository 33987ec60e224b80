"""SIGTERM of a sender that can not say what became of a mail: it ends all the same, and the mail is in doubt."""

from cli.node import PrivateNode
from shared.mail_store import State
from tests.e2e.conftest import StartPipeline
from tests.support.pipeline import relay_to, subjects
from tests.support.rabbitmq import sync_queue_registry
from tests.support.sinks import RecordingSink


def test_it_does_not_wait_for_the_broker_for_ever(
    start_pipeline: StartPipeline, own_node: PrivateNode, sink: RecordingSink
):
    pipeline = start_pipeline(relay_to(sink), amqp_url=own_node.amqp_url)
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

    own_node.start()
    pipeline.start(sender=1)
    assert pipeline.let_lease_run_out(State.CLAIMED, sender) == 1
    assert pipeline.wait_for_event("deferred", mail)["in_doubt"]
    pipeline.wait_for_all([sink], [mail])
    assert subjects(sink.mails) == {mail: 2}
