"""Three RabbitMQ nodes are killed one after another under load, each started again: every mail arrives once."""

from collections.abc import Iterator, Sequence

import pytest

from cli.node import PrivateNode
from shared import topology
from tests.e2e.conftest import StartPipeline
from tests.support.pipeline import relay_to
from tests.support.rabbitmq import sync_queue_registry
from tests.support.rabbitmq_cluster import members, temporary_cluster, url_of
from tests.support.sinks import RecordingSink

pytestmark = pytest.mark.timeout(600)  # three nodes, each started twice, on processors that others use as well


@pytest.fixture
def cluster() -> Iterator[Sequence[PrivateNode]]:
    with temporary_cluster() as nodes:
        yield nodes


def test_every_mail_arrives_once_and_settings_reach_all_while_each_node_is_away(
    cluster: Sequence[PrivateNode], start_pipeline: StartPipeline, sink: RecordingSink
):
    pipeline = start_pipeline(relay_to(sink), amqp_url=url_of(cluster), senders=2)
    everywhere = {node.name for node in cluster}
    for node in cluster:
        found = members(node)
        assert {queue: found[queue] for queue in topology.QUEUES} == dict.fromkeys(topology.QUEUES, everywhere)
        sync_queue_registry(node)

    with pipeline.load(rate=100) as load:
        for number, node in enumerate(cluster, 1):
            sink.wait_for(len(sink.mails) + 50, timeout=60)
            node.kill()
            sink.wait_for(len(sink.mails) + 50, timeout=60)
            pipeline.change(sending={"max_per_connection": 50 + number})
            node.start()
        sink.wait_for(len(sink.mails) + 50, timeout=60)

    pipeline.wait_for_each_once(sink, load.ids)
