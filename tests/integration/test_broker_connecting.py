"""Connections to a real RabbitMQ, what they may do, and that nothing confirmed is lost with them."""

import asyncio
import itertools
import select
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pika
import pytest

from cli.node import PrivateNode
from shared import topology
from shared.broker import (
    Broker,
    BrokerRefused,
    BrokerUnreachable,
    Message,
    binding,
    exchange,
    queue,
)
from shared.broker.errors import may_pass
from shared.broker.mended_pika import MendedServices
from tests.support.broker import (
    QUORUM,
    numbered,
    opened,
    run,
    to_queue,
    until,
)
from tests.support.ports import free_port
from tests.support.rabbitmq import evaluate, sync_queue_registry

_numbers = itertools.count(1)


@pytest.mark.each_rabbitmq
def test_the_topology_can_be_declared_twice_and_takes_mail_at_every_hop(amqp_url):
    async def scene() -> None:
        async with opened(amqp_url) as broker:
            for _ in range(2):
                await topology.declare(broker)
            keys = {topology.SEND: "0", topology.EVENTS: "delivered.y.example"}
            messages = [Message(name, keys.get(name, ""), b"x") for name in topology.EXCHANGES]
            assert await broker.publisher.publish(messages) == []

    run(scene())


@pytest.mark.each_rabbitmq
@pytest.mark.parametrize(
    ("before", "after", "names"),
    [
        ([queue("q", QUORUM)], queue("q", {**QUORUM, "x-max-length": 5}), "'q'"),
        ([queue("q", {"x-queue-type": "classic"})], queue("q", QUORUM), "'q'"),
        ([exchange("e", "fanout")], exchange("e", "topic"), "'e'"),
    ],
)
def test_what_exists_with_other_arguments_is_refused_by_its_name(amqp_url, before, after, names):
    async def scene() -> None:
        async with opened(amqp_url, *before) as broker:
            with pytest.raises(BrokerRefused, match=f"declaring the topology: .*inequivalent arg.*{names}"):
                await broker.declare([after])
            assert await broker.publisher.publish([Message("", "nowhere", b"")]) != []  # it goes on working

    run(scene())


@contextmanager
def user(node: PrivateNode, url: str, *, configure: str, write: str = ".*", read: str = ".*") -> Iterator[str]:
    """The URL of a user of the virtual host with these permissions."""
    name, vhost = f"user{next(_numbers)}", url.rpartition("/")[2]
    evaluate(
        node,
        f'N = <<"{name}">>, V = <<"{vhost}">>, ok = rabbit_auth_backend_internal:add_user(N, <<"secret">>, N), '
        f"ok = rabbit_auth_backend_internal:set_permissions(N, V, "
        f'<<"{configure}">>, <<"{write}">>, <<"{read}">>, N)',
    )
    yield f"amqp://{name}:secret@{url.rpartition('@')[2]}"
    evaluate(node, f'rabbit_auth_backend_internal:delete_user(<<"{name}">>, <<"{name}">>)')


@pytest.mark.each_rabbitmq
def test_a_worker_that_may_not_configure_works_with_the_topology_that_is_there(rabbitmq, amqp_url):
    async def scene(poor_url: str) -> None:
        async with opened(amqp_url) as rich:
            await topology.declare(rich)
        async with opened(poor_url) as poor:
            await topology.declare(poor)
            assert await poor.publisher.publish([Message(topology.SUBMIT, "", b"x")]) == []
            assert (await poor.consume(topology.SUBMIT, 1).batch(1))[0].body == b"x"

    with user(rabbitmq, amqp_url, configure="^$") as url:
        run(scene(url))


def test_without_topology_or_permission_a_publisher_is_told(rabbitmq, amqp_url):
    async def scene(poor_url: str) -> None:
        async with opened(poor_url) as poor:
            await topology.declare(poor)
            [refusal] = await poor.publisher.publish([Message(topology.SUBMIT, "", b"x")])
            assert "no exchange" in refusal.reason

    with user(rabbitmq, amqp_url, configure="^$") as url:
        run(scene(url))


@pytest.mark.each_rabbitmq
def test_an_exchange_one_may_not_write_to_refuses(rabbitmq, amqp_url):
    async def scene(poor_url: str) -> None:
        bound = (exchange("e", "fanout"), queue("q", QUORUM), binding("q", "e", ""))
        async with opened(amqp_url, *bound), opened(poor_url) as poor:
            [refusal] = await poor.publisher.publish([Message("e", "", b"x")])
            assert "403" in refusal.reason

    with user(rabbitmq, amqp_url, configure="^$", write="^$") as url:
        run(scene(url))


# ---------------------------------------------------------------------------------------------------------
# Connecting


async def start_and_close(url: str, patience_s: float = 5) -> None:
    broker = Broker(url, "test", patience_s=patience_s)
    try:
        await broker.start()
    finally:
        await broker.close()


@pytest.mark.each_rabbitmq
@pytest.mark.parametrize(
    "change",
    [
        lambda url: url.replace("amqp://pillarbox:", "amqp://pillarbox:not"),
        lambda url: url.replace("amqp://pillarbox:", "amqp://somebody:"),
        lambda url: f"{url}-that-is-not-there",
    ],
    ids=["password", "user", "virtual host"],
)
def test_a_broker_that_does_not_let_us_in_is_not_asked_twice(amqp_url, change):
    with pytest.raises(BrokerRefused, match="does not let us in"):
        run(start_and_close(change(amqp_url), patience_s=3600))


@pytest.mark.parametrize("url", ["", " , ", "http://h/", "h:5672", "amqp://[::1", "amqp://h:port/", "amqp:/h"])
def test_a_url_that_is_none_is_refused(url):
    with pytest.raises(BrokerRefused, match="PILLARBOX_AMQP_URL: takes amqp://"):
        run(start_and_close(url))


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
def test_a_broker_that_does_not_answer_is_unreachable_when_patience_ends(host):
    with pytest.raises(BrokerUnreachable, match=f"no broker at {host}"):
        run(start_and_close(f"amqp://u:p@{host}:{free_port()}/", patience_s=0.5))


def test_a_peer_that_speaks_something_else_is_unreachable():
    async def scene() -> None:
        async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"220 mx.example ESMTP\r\n")
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(greet, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(BrokerUnreachable):
                await start_and_close(f"amqp://u:p@127.0.0.1:{port}/", patience_s=0.5)

    run(scene())


def reset_by_its_peer() -> socket.socket:
    """A socket that was connected."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        theirs.close()
    select.select([ours], [], [], 5)
    return ours


def test_a_broker_that_hangs_up_as_soon_as_it_has_taken_the_connection_counts_as_one_that_failed():
    class Receiver(asyncio.Protocol):
        """In the place of pika's, which has nobody that listens before the connection is handed over."""

        def connection_lost(self, error: BaseException | None) -> None:
            assert made.done()
            ended.set_result(error)

    ended: asyncio.Future[BaseException | None]
    made: asyncio.Future[object]

    async def scene() -> None:
        nonlocal ended, made
        loop = asyncio.get_running_loop()
        for _ in range(100):  # the end comes before, after or with the connection
            ended, made = loop.create_future(), loop.create_future()
            MendedServices(loop).create_streaming_connection(Receiver, reset_by_its_peer(), made.set_result)
            error = result if isinstance(result := await made, BaseException) else await ended
            assert error is not None
            assert may_pass(error)

    run(scene())


@asynccontextmanager
async def hangs_up_once_open(times: int, node_url: str) -> AsyncIterator[str]:
    """A broker that agrees to everything and hangs up, so many times; from then on the way to the real one.

    Every other time it says so, in the same segment.
    """
    real = pika.URLParameters(node_url)
    answers = [
        pika.spec.Connection.Start(mechanisms="PLAIN", locales="en_US", server_properties={}),
        pika.spec.Connection.Tune(channel_max=10, frame_max=131_072, heartbeat=0),
        pika.spec.Connection.OpenOk(),
    ]

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal times
        if times:
            times -= 1
            for answer in answers:
                await reader.read(65_536)
                ends = times % 2 and answer is answers[-1]
                said = [answer, pika.spec.Connection.Close(320, "shutting down", 0, 0)] if ends else [answer]
                writer.write(b"".join(pika.frame.Method(0, method).marshal() for method in said))
            writer.close()
        else:
            there, back = await asyncio.open_connection(real.host, real.port)
            await asyncio.gather(pipe(reader, back), pipe(there, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield node_url.replace(f":{real.port}/", f":{port}/")


def test_a_connection_lost_the_moment_it_opens_is_opened_again(amqp_url):
    async def scene() -> None:
        async with hangs_up_once_open(6, amqp_url) as url, opened(url, queue("q", QUORUM)) as broker:
            assert await broker.publisher.publish(to_queue("q", b"x")) == []
            assert (await broker.consume("q", 1).batch(1))[0].body == b"x"

    run(scene())


def test_of_several_nodes_one_that_answers_is_enough(amqp_url):
    async def scene() -> None:
        down = f"amqp://u:p@127.0.0.1:{free_port()}/"
        async with opened(f"{down}, {amqp_url}", queue("q", QUORUM)) as broker:
            assert await broker.publisher.publish(to_queue("q", b"x")) == []

    run(scene())


@pytest.mark.each_rabbitmq
def test_nothing_confirmed_is_lost_when_the_node_is_killed_with_publishes_in_flight(own_node, own_url):
    """The consumer resumes by itself, and every call of publish comes back."""

    async def scene() -> None:
        confirmed: list[bytes] = []
        consumed: set[bytes] = set()
        async with opened(own_url, queue("q", QUORUM)) as broker:
            await asyncio.to_thread(sync_queue_registry, own_node)

            async def publish(start: int) -> None:
                for body in range(start, start + 20_000, 50):
                    bodies = numbered(50, body)
                    assert await broker.publisher.publish(to_queue("q", *bodies)) == []
                    confirmed.extend(bodies)

            async def consume() -> None:
                consumer = broker.consume("q", 200)
                while True:
                    deliveries = await consumer.batch(50, linger_s=0.001)
                    consumed.update(delivery.body for delivery in deliveries)
                    await asyncio.sleep(0.001)  # long enough for the link to break between the two
                    consumer.ack(deliveries)

            consuming = asyncio.create_task(consume())
            publishing = [asyncio.create_task(publish(start)) for start in (0, 100_000, 200_000)]
            await until(lambda: len(confirmed) > 1000)
            await asyncio.to_thread(own_node.kill)
            at_the_kill = len(confirmed)
            await asyncio.to_thread(own_node.start)
            await until(lambda: len(confirmed) > at_the_kill + 1000)
            for task in publishing:
                task.cancel()
            await asyncio.gather(*publishing, return_exceptions=True)
            await until(lambda: consumed.issuperset(confirmed))
            consuming.cancel()

    run(scene())


def test_a_worker_may_start_before_its_broker_and_close_while_it_is_away(own_node, own_url):
    async def scene() -> None:
        await asyncio.to_thread(own_node.stop)
        broker = Broker(own_url, "early")
        starting = asyncio.create_task(broker.start())
        await asyncio.to_thread(own_node.start)
        await starting
        await broker.declare([queue("q", QUORUM)])
        consumer = broker.consume("q", 10)
        await consumer.subscribed()
        await asyncio.to_thread(own_node.kill)
        publishing = asyncio.create_task(broker.publisher.publish(to_queue("q", b"never")))
        await asyncio.wait_for(broker.close(), 20)
        publishing.cancel()

    run(scene())
