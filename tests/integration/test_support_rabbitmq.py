"""The shared node of the tests, and what can be done to it."""

from concurrent.futures import ThreadPoolExecutor

import pika
import pika.exceptions
import pytest

from cli.node import PrivateNode
from tests.support.rabbitmq import alarm, drop_connections, evaluate, new_vhost


def test_every_test_gets_a_virtual_host_of_its_own(rabbitmq: PrivateNode, amqp_url: str):
    other = new_vhost(rabbitmq)
    assert other != amqp_url
    for url in (amqp_url, other):
        with pika.BlockingConnection(pika.URLParameters(url)) as connection:
            channel = connection.channel()
            with pytest.raises(pika.exceptions.ChannelClosedByBroker):
                channel.queue_declare("queue", passive=True)
            connection.channel().queue_declare("queue", durable=True, arguments={"x-queue-type": "quorum"})


def test_the_node_evaluates_erlang_and_says_what_is_wrong_with_it(rabbitmq: PrivateNode):
    assert evaluate(rabbitmq, "1 + 1") == "2"
    with pytest.raises(RuntimeError, match="badarith"):
        evaluate(rabbitmq, "1 / 0")


def test_the_node_evaluates_several_expressions_at_once(rabbitmq: PrivateNode):
    with ThreadPoolExecutor(4) as pool:
        results = pool.map(lambda number: evaluate(rabbitmq, f"timer:sleep(100), {number}"), range(12))
    assert list(results) == [str(number) for number in range(12)]


def test_connections_can_be_dropped_from_the_brokers_side(rabbitmq: PrivateNode, amqp_url: str):
    connection = pika.BlockingConnection(pika.URLParameters(amqp_url))
    drop_connections(rabbitmq)
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker):
        connection.sleep(10)


def test_an_alarm_blocks_who_publishes_and_ends_with_its_block(rabbitmq: PrivateNode, amqp_url: str):
    with pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
        heard: list[str] = []
        connection.add_on_connection_blocked_callback(lambda *_: heard.append("blocked"))
        connection.add_on_connection_unblocked_callback(lambda *_: heard.append("unblocked"))
        channel = connection.channel()
        with alarm(rabbitmq):
            while not heard:
                channel.basic_publish("", "nobody", b"")
                connection.process_data_events(time_limit=0.1)
        while len(heard) < 2:
            connection.process_data_events(time_limit=1)
    assert heard == ["blocked", "unblocked"]
