"""The broker goes and comes back while mail flows: workers reconnect by themselves, every mail arrives once."""

from collections.abc import Callable

import pytest

from cli.node import PrivateNode
from tests.e2e.conftest import StartPipeline
from tests.support.pipeline import relay_to
from tests.support.rabbitmq import drop_connections, sync_queue_registry
from tests.support.sinks import RecordingSink

pytestmark = pytest.mark.each_rabbitmq


def test_every_mail_arrives_once_when_the_broker_is_killed(
    own_node: PrivateNode, own_url: str, start_pipeline: StartPipeline, sink: RecordingSink
):
    assert_every_mail_arrives_once_after(PrivateNode.kill, own_node, own_url, start_pipeline, sink)


def test_every_mail_arrives_once_when_the_broker_is_stopped(
    own_node: PrivateNode, own_url: str, start_pipeline: StartPipeline, sink: RecordingSink
):
    assert_every_mail_arrives_once_after(PrivateNode.stop, own_node, own_url, start_pipeline, sink)


def assert_every_mail_arrives_once_after(
    end: Callable[[PrivateNode], None],
    node: PrivateNode,
    url: str,
    start_pipeline: StartPipeline,
    sink: RecordingSink,
) -> None:
    pipeline = start_pipeline(relay_to(sink), amqp_url=url, senders=2)
    pipeline.wait_for_event("rejected", pipeline.submit(b"{", content_type="application/json"))
    sync_queue_registry(node)

    with pipeline.load(rate=100) as load:
        sink.wait_for(50, timeout=30)
        end(node)
        before = len(sink.mails)
        node.start()
        sink.wait_for(before + 50, timeout=60)

    pipeline.wait_for_each_once(sink, load.ids)
    [(dead, reason)] = pipeline.client.dead_letters(1)
    assert dead == b"{"
    assert "not JSON" in reason
    for worker in pipeline.workers:
        worker.wait_for_log("broker_reconnected")


def test_every_mail_arrives_once_when_all_connections_are_dropped(
    own_node: PrivateNode, own_url: str, start_pipeline: StartPipeline, sink: RecordingSink
):
    pipeline = start_pipeline(relay_to(sink), amqp_url=own_url, senders=2)

    with pipeline.load(rate=100) as load:
        for _ in range(3):
            sink.wait_for(len(sink.mails) + 50, timeout=30)
            drop_connections(own_node)
        sink.wait_for(len(sink.mails) + 50, timeout=30)

    pipeline.wait_for_each_once(sink, load.ids)
