"""The cluster of the tests, and that what we declare in one is on each of its three nodes."""

from shared import topology
from tests.support.pipeline import declare
from tests.support.rabbitmq_cluster import members, temporary_cluster, url_of


def test_each_queue_and_each_stream_has_a_member_on_each_of_three_nodes():
    with temporary_cluster() as nodes:
        declare(url_of(nodes))
        everywhere = {node.name for node in nodes}
        for node in nodes:
            assert members(node) == dict.fromkeys(topology.QUEUES, everywhere)
