"""The broker's small interface against a real RabbitMQ: nothing confirmed is lost, and whoever waits is answered."""

import asyncio
import itertools
import random
import struct
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import Any

import pika
import pytest
import uvloop
from structlog.testing import capture_logs

from cli.node import PrivateNode
from shared import topology
from shared.broker import (
    CONFIRM_WINDOW,
    UNREADABLE_PROPERTIES,
    Broker,
    BrokerRefused,
    BrokerUnreachable,
    Delivery,
    Message,
    Properties,
    binding,
    exchange,
    queue,
)
from shared.dead import dead_letter
from tests.support.ports import free_port
from tests.support.rabbitmq import drop_connections, evaluate, memory_alarm, sync_queue_registry

QUORUM = {"x-queue-type": "quorum", "x-delivery-limit": 1000}
LIMIT_S = 60.0
_numbers = itertools.count(1)


def run(scene: Coroutine[Any, Any, None]) -> None:
    uvloop.run(asyncio.wait_for(scene, LIMIT_S))


@asynccontextmanager
async def opened(url: str, *declarations: Any, patience_s: float = 20) -> AsyncIterator[Broker]:
    broker = Broker(url, "test", patience_s=patience_s)
    await broker.start()
    try:
        await broker.declare(declarations)
        yield broker
    finally:
        await broker.close()


def to_queue(name: str, *bodies: bytes, **properties: Any) -> list[Message]:
    return [Message("", name, body, Properties(**properties)) for body in bodies]


def numbered(count: int, start: int = 0) -> list[bytes]:
    return [b"%d" % number for number in range(start, start + count)]


async def until(condition: Callable[[], Any], what: str) -> None:
    """Wait for what no event announces."""
    while not condition():
        await asyncio.sleep(0.02)


async def until_counted(broker: Broker, name: str, count: int) -> None:
    """Wait until so many messages are in a queue; what a closed channel had comes back to it a little later."""
    while await broker.count(name) != count:
        await asyncio.sleep(0.02)


async def drained(broker: Broker, name: str, count: int) -> list[bytes]:
    """Take everything off a queue that holds so many."""
    await until_counted(broker, name, count)
    bodies: list[bytes] = []
    consumer = broker.consume(name, 1000)
    while len(bodies) < count:
        deliveries = await consumer.batch(1000)
        consumer.ack(deliveries)
        bodies += [delivery.body for delivery in deliveries]
    await consumer.close()
    return bodies


# ---------------------------------------------------------------------------------------------------------
# Publishing


def test_what_is_published_is_confirmed_and_in_its_queue(amqp_url):
    async def scene() -> None:
        async with opened(amqp_url, queue("q", QUORUM)) as broker:
            assert await broker.publisher.publish([]) == []
            assert await broker.publisher.publish(to_queue("q", b"one", b"two")) == []
            await until_counted(broker, "q", 2)
            assert await drained(broker, "q", 2) == [b"one", b"two"]

    run(scene())


def test_many_callers_publish_more_than_the_window_and_each_hears_of_its_own(amqp_url):
    async def scene() -> None:
        async with opened(amqp_url, queue("q", QUORUM)) as broker:
            parts = [numbered(700, start) for start in range(0, 4 * 700, 700)]
            answers = await asyncio.gather(
                *(broker.publisher.publish([*to_queue("q", *part), *to_queue("nowhere", part[0])]) for part in parts)
            )
            assert sum(map(len, parts)) > 2 * CONFIRM_WINDOW
            assert [[refusal.message.body for refusal in answer] for answer in answers] == [[p[0]] for p in parts]
            bodies = await drained(broker, "q", 2800)
            assert sorted(bodies) == sorted(body for part in parts for body in part)
            for part in map(set, parts):
                mine = [int(body) for body in bodies if body in part]
                assert mine == sorted(mine), "the order of one caller is kept"

    run(scene())


def test_a_full_queue_refuses_and_what_it_refused_is_named(amqp_url):
    full = queue("full", {**QUORUM, "x-max-length": 3, "x-overflow": "reject-publish"})

    async def scene() -> None:
        async with opened(amqp_url, full) as broker:
            refusals = []
            for body in numbered(10):  # one by one: a quorum queue takes what is in flight beyond its length
                refusals += await broker.publisher.publish(to_queue("full", body))
            kept = await drained(broker, "full", 10 - len(refusals))
            assert [*kept, *(refusal.message.body for refusal in refusals)] == numbered(10)
            assert 3 <= len(kept) <= 5
            assert all("full" in refusal.reason for refusal in refusals)

    run(scene())


def test_only_the_messages_that_no_queue_takes_are_refused(amqp_url):
    async def scene() -> None:
        async with opened(amqp_url, exchange("e", "direct"), queue("q", QUORUM), binding("q", "e", "known")) as broker:
            keys = ["known", "unknown", "known", "unknown", "unknown", "known"]
            messages = [Message("e", key, b"same body") for key in keys]
            refusals = await broker.publisher.publish(messages)
            assert sorted(map(id, (refusal.message for refusal in refusals))) == sorted(
                id(message) for message in messages if message.key == "unknown"
            )
            assert "no queue takes it" in refusals[0].reason
            assert await broker.publisher.publish([Message("e", "unknown", b"", mandatory=False)]) == []
            await until_counted(broker, "q", 3)

    run(scene())


def test_a_missing_exchange_refuses_and_the_publisher_goes_on(amqp_url):
    async def scene() -> None:
        async with opened(amqp_url, queue("q", QUORUM)) as broker:
            for _ in range(3):
                [refusal] = await broker.publisher.publish([Message("missing", "", b"x")])
                assert "no exchange 'missing'" in refusal.reason
                assert await broker.publisher.publish(to_queue("q", b"y")) == []
            await until_counted(broker, "q", 3)

    run(scene())


def test_a_message_too_large_for_the_broker_is_refused(amqp_url):
    async def scene() -> None:
        async with opened(amqp_url, queue("q", QUORUM)) as broker:
            [refusal] = await broker.publisher.publish(to_queue("q", bytes(67_108_865)))
            assert "406" in refusal.reason
            assert await broker.publisher.publish(to_queue("q", b"small")) == []

    run(scene())


NOT_FOR_AMQP = [
    Message("", "k" * 256, b""),
    Message("e" * 256, "", b""),
    Message("", "\ud800", b""),
    Message("", "q", b"", Properties(message_id="i" * 256)),
    Message("", "q", b"", Properties(correlation_id="\ud800")),
    Message("", "q", b"", Properties(reply_to="r" * 300)),
    Message("", "q", b"", Properties(headers={"float": 1.5})),
    Message("", "q", b"", Properties(headers={"large": 10**30})),
    Message("", "q", b"", Properties(headers={"h" * 256: 1})),
    Message("", "q", b"", Properties(headers={"list": [{"nested": object()}]})),
    Message("", "q", b"", Properties(headers={"long": "x" * 131_072})),  # over the frame: costs the connection
]


def test_what_amqp_has_no_form_for_is_refused_and_the_count_of_confirms_stays_right(amqp_url):
    async def scene() -> None:
        async with opened(amqp_url, queue("q", QUORUM)) as broker:
            mixed = [
                message
                for bad, body in zip(NOT_FOR_AMQP, numbered(len(NOT_FOR_AMQP)), strict=True)
                for message in (bad, *to_queue("q", body))
            ]
            refusals = await broker.publisher.publish(mixed)
            assert [refusal.message for refusal in refusals] == NOT_FOR_AMQP
            assert all("encoded" in refusal.reason for refusal in refusals)
            assert await drained(broker, "q", len(NOT_FOR_AMQP)) == numbered(len(NOT_FOR_AMQP))
            [late] = await broker.publisher.publish(to_queue("nowhere", b"x") + to_queue("q", b"y"))
            assert late.message.key == "nowhere"

    run(scene())


def test_headers_up_to_the_frame_travel(amqp_url):
    async def scene() -> None:
        async with opened(amqp_url, queue("q", QUORUM)) as broker:
            headers = {"long": "x" * 120_000}
            assert await broker.publisher.publish(to_queue("q", b"", headers=headers)) == []
            peek = await broker.get("q", 1)
            assert peek.deliveries[0].properties.headers["long"] == headers["long"]
            await peek.close()

    run(scene())


def is_blocked(node: PrivateNode) -> bool:
    states = "[S || [{state, S}] <- rabbit_networking:connection_info_all([state])]"
    return evaluate(node, f"lists:member(blocked, {states})") == "true"


def test_an_alarm_holds_publishers_but_neither_deliveries_nor_acks(rabbitmq, amqp_url):
    async def scene() -> None:
        async with opened(amqp_url, queue("q", QUORUM), queue("other", QUORUM)) as broker:
            await broker.publisher.publish(to_queue("q", b"before"))
            confirmed = 0

            async def publish_for_ever() -> None:
                nonlocal confirmed
                while True:
                    assert await broker.publisher.publish(to_queue("other", b"x")) == []
                    confirmed += 1

            publishing = asyncio.create_task(publish_for_ever())
            with memory_alarm(rabbitmq):
                while not await asyncio.to_thread(is_blocked, rabbitmq):
                    assert not publishing.done()
                held_at = confirmed
                consumer = broker.consume("q", 10)
                consumer.ack(await consumer.batch(10))
                await consumer.close()
                peek = await broker.get("q", 1)
                assert peek.deliveries == [], "the ack has arrived"
                await peek.close()
                assert confirmed == held_at
            await until(lambda: confirmed > held_at + 10, "publishing goes on")
            publishing.cancel()

    run(scene())


# ---------------------------------------------------------------------------------------------------------
# Consuming


def test_deliveries_come_in_batches_and_are_gone_when_acknowledged(amqp_url):
    async def scene() -> None:
        async with opened(amqp_url, queue("q", QUORUM)) as broker:
            await broker.publisher.publish(to_queue("q", *numbered(10), content_type="text/plain"))
            consumer = broker.consume("q", 100)
            taken: list[Delivery] = []
            while len(taken) < 10:
                batch = await consumer.batch(4, linger_s=0.001)
                assert 1 <= len(batch) <= 4
                taken += batch
            assert [delivery.body for delivery in taken] == numbered(10)
            assert not any(delivery.redelivered for delivery in taken)
            consumer.ack(taken)
            await consumer.close()
            await until_counted(broker, "q", 0)

    run(scene())


def test_no_more_than_the_prefetch_is_delivered_before_an_ack(amqp_url):
    async def scene() -> None:
        async with opened(amqp_url, queue("q", QUORUM)) as broker:
            await broker.publisher.publish(to_queue("q", *numbered(9)))
            consumer = broker.consume("q", 3)
            await until(lambda: consumer.waiting == 3, "three deliveries")
            first = await consumer.batch(10)
            consumer.ack(first[:1])
            [fourth] = await consumer.batch(10)
            assert [each.body for each in (*first, fourth)] == numbered(4)

    run(scene())


@pytest.mark.parametrize("seed", range(12))
def test_acks_in_any_order_take_what_they_name_and_nothing_else(amqp_url, seed):
    chance = random.Random(seed)

    async def scene() -> None:
        async with opened(amqp_url, queue("q", QUORUM)) as broker:
            await broker.publisher.publish(to_queue("q", *numbered(40)))
            consumer = broker.consume("q", 40)
            deliveries: list[Delivery] = []
            while len(deliveries) < 40:
                deliveries += await consumer.batch(40)
            done = chance.sample(deliveries, chance.randint(1, 39))
            left = [delivery.body for delivery in deliveries if delivery not in done]
            while done:
                part = [done.pop() for _ in range(min(len(done), chance.randint(1, 9)))]
                consumer.ack(part)
                await asyncio.sleep(chance.choice([0, 0, 0.003]))  # some gathered, some alone
            await consumer.close()
            assert sorted(await drained(broker, "q", len(left))) == sorted(left)

    run(scene())


def test_what_is_taken_and_not_acknowledged_comes_again_after_a_close(amqp_url):
    async def scene() -> None:
        async with opened(amqp_url, queue("q", QUORUM)) as broker:
            await broker.publisher.publish(to_queue("q", b"one"))
            consumer = broker.consume("q", 10)
            await consumer.batch(10)
            await consumer.close()
            [again] = await broker.consume("q", 10).batch(10)
            assert (again.body, again.redelivered) == (b"one", True)

    run(scene())


def test_a_lost_connection_delivers_again_and_acks_of_before_are_dropped(rabbitmq, amqp_url):
    async def scene() -> None:
        async with opened(amqp_url, queue("q", QUORUM)) as broker:
            await broker.publisher.publish(to_queue("q", *numbered(5)))
            consumer = broker.consume("q", 10)
            before: list[Delivery] = []
            while len(before) < 5:
                before += await consumer.batch(10)
            await asyncio.to_thread(drop_connections, rabbitmq)
            after: list[Delivery] = []
            while len(after) < 5:
                after += await consumer.batch(10, linger_s=0.01)
            consumer.ack(before)  # their tags mean other deliveries now, or none
            assert [delivery.body for delivery in after] == numbered(5)
            assert all(delivery.redelivered for delivery in after)
            consumer.ack(after[:3])
            await consumer.close()
            await until_counted(broker, "q", 2)

    run(scene())


def test_a_consumer_waits_for_its_queue_and_comes_back_to_it(amqp_url):
    async def scene() -> None:
        async with opened(amqp_url) as broker:
            consumer = broker.consume("q", 10)
            for body in numbered(2):
                with capture_logs() as said:
                    # RabbitMQ 3.10 tells nobody of a quorum queue that is there again by the time it would.
                    await until(lambda said=said: any("no queue" in each.get("reason", "") for each in said), "a look")
                await broker.declare([queue("q", QUORUM)])
                await broker.publisher.publish(to_queue("q", body))
                [delivery] = await consumer.batch(10)
                assert delivery.body == body
                await _delete_queue(amqp_url, "q")

    run(scene())


async def _delete_queue(url: str, name: str) -> None:
    def delete() -> None:
        with pika.BlockingConnection(pika.URLParameters(url)) as connection:
            connection.channel().queue_delete(name)

    await asyncio.to_thread(delete)


def test_an_exclusive_queue_is_for_one_connection_and_goes_with_it(amqp_url):
    async def scene() -> None:
        async with opened(amqp_url) as other:
            async with opened(amqp_url) as broker:
                consumer = broker.consume("answers", 10, exclusive=True)
                await consumer.subscribed()
                assert await other.publisher.publish(to_queue("answers", b"an answer")) == []
                [delivery] = await consumer.batch(10)
                assert delivery.body == b"an answer"
            with pytest.raises(BrokerRefused, match="answers"):
                await other.count("answers")
            [refusal] = await other.publisher.publish(to_queue("answers", b"too late"))
            assert "no queue takes it" in refusal.reason

    run(scene())


def test_an_exclusive_queue_is_there_again_after_a_lost_connection(rabbitmq, amqp_url):
    async def scene() -> None:
        async with opened(amqp_url) as broker:
            consumer = broker.consume("answers", 10, exclusive=True)
            await consumer.subscribed()
            await asyncio.to_thread(drop_connections, rabbitmq)
            while await broker.publisher.publish(to_queue("answers", b"an answer")):
                await asyncio.sleep(0.02)
            assert (await consumer.batch(10))[0].body == b"an answer"

    run(scene())


def test_properties_come_as_plain_values_whatever_the_client_wrote(amqp_url):
    headers = {
        "large": 2**62,
        "list": [2**62, "x", {"inner": 2**62}],
        "time": datetime(2026, 1, 1, tzinfo=UTC),
        "octets": b"\xff",
        "flag": True,
        "nothing": None,
    }

    async def scene() -> None:
        async with opened(amqp_url, queue("q", QUORUM)) as broker:
            await broker.publisher.publish(
                to_queue(
                    "q", b"x", message_id="ü", content_type="c", correlation_id="co", reply_to="r", headers=headers
                )
            )
            [delivery] = await broker.consume("q", 1).batch(1)
            got = delivery.properties
            assert (got.message_id, got.content_type, got.correlation_id, got.reply_to) == ("ü", "c", "co", "r")
            assert {name: got.headers[name] for name in headers} == headers
            assert all(type(got.headers[name]) is int for name in ("large", "x-delivery-count") if name in got.headers)
            assert type(got.headers["list"][0]) is int
            assert type(got.headers["list"][2]["inner"]) is int

    run(scene())


def test_octets_that_are_no_utf8_in_properties_come_as_text(amqp_url):
    def publish_raw() -> None:
        with pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
            channel = connection.channel()
            properties = pika.BasicProperties(message_id=b"\xff\xfe", content_type=b"\xc3", headers={b"\xff": b"\xff"})
            channel.basic_publish("", "q", b"x", properties)

    async def scene() -> None:
        async with opened(amqp_url, queue("q", QUORUM)) as broker:
            await asyncio.to_thread(publish_raw)
            [delivery] = await broker.consume("q", 1).batch(1)
            got = delivery.properties
            assert (got.message_id, got.content_type) == ("\ufffd\ufffd", "\ufffd")
            assert all(isinstance(name, str) for name in got.headers)

    run(scene())


class RawHeaders(pika.BasicProperties):
    """A table of headers in octets: what pika itself would not write."""

    def __init__(self, *fields: bytes) -> None:
        super().__init__()
        self._table = b"".join(fields)

    def encode(self) -> list[bytes]:
        """The flags of the property `headers` alone, and its table."""
        return [struct.pack(">H", 1 << 13), struct.pack(">I", len(self._table)), self._table]


def nested(depth: int) -> bytes:
    """An array in an array in an array."""
    value = b"V"
    for _ in range(depth):
        value = b"A" + struct.pack(">I", len(value)) + value
    return value


@pytest.mark.parametrize(
    "value",
    [
        b"T" + struct.pack(">Q", 2**40),  # the year 36812
        b"T" + struct.pack(">Q", 2**63),
        nested(20_000),
        nested(450),  # within pika's stack, and not within ours
        nested(900),
    ],
    ids=["far future", "no time at all", "deep", "less deep", "somewhat deep"],
)
def test_properties_that_can_not_be_read_cost_neither_the_connection_nor_the_neighbours(amqp_url, value):
    def publish_raw() -> None:
        with pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            for properties in (None, RawHeaders(b"\x01h" + value), None):
                channel.basic_publish("", "q", b"body", properties)

    async def scene() -> None:
        async with opened(amqp_url, queue("q", QUORUM)) as broker:
            await asyncio.to_thread(publish_raw)
            consumer, deliveries = broker.consume("q", 10), []
            while len(deliveries) < 3:
                deliveries += await consumer.batch(10)
            assert [delivery.body for delivery in deliveries] == [b"body"] * 3
            assert not any(delivery.redelivered for delivery in deliveries)
            read = deliveries[1].properties
            assert read.content_type == UNREADABLE_PROPERTIES or "h" in read.headers
            letter = dead_letter(deliveries[1], "pillarbox.submit", "unknown content type")
            assert await broker.publisher.publish([letter]) != [], (
                "there is no such exchange here, but it could be sent"
            )
            consumer.ack(deliveries)
            await consumer.close()
            await until_counted(broker, "q", 0)

    run(scene())


# ---------------------------------------------------------------------------------------------------------
# Looking without consuming


def test_a_look_into_a_queue_takes_what_is_acknowledged_and_gives_the_rest_back(amqp_url):
    async def scene() -> None:
        async with opened(amqp_url, queue("q", QUORUM)) as broker:
            await broker.publisher.publish(to_queue("q", *numbered(5)))
            peek = await broker.get("q", 3)
            assert [delivery.body for delivery in peek.deliveries] == numbered(3)
            peek.ack(peek.deliveries[1])
            await peek.close()
            assert await drained(broker, "q", 4) == [b"0", b"2", b"3", b"4"]
            empty = await broker.get("q", 3)
            assert empty.deliveries == []
            await empty.close()

    run(scene())


def test_a_look_into_a_queue_that_is_not_there_is_refused(amqp_url):
    async def scene() -> None:
        async with opened(amqp_url, queue("q", QUORUM)) as broker:
            for look in (broker.get("missing", 1), broker.count("missing")):
                with pytest.raises(BrokerRefused, match="missing"):
                    await look
            await until_counted(broker, "q", 0)  # nothing else suffered

    run(scene())


# ---------------------------------------------------------------------------------------------------------
# Topology and permissions


def test_the_topology_can_be_declared_twice_and_takes_mail_at_every_hop(amqp_url):
    async def scene() -> None:
        async with opened(amqp_url) as broker:
            for _ in range(2):
                await topology.declare(broker)
            keys = {topology.SEND: "0", topology.EVENTS: "delivered.y.example"}
            messages = [Message(name, keys.get(name, ""), b"x") for name in topology.EXCHANGES]
            assert await broker.publisher.publish(messages) == []

    run(scene())


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


def test_nothing_confirmed_is_lost_when_the_node_is_killed_with_publishes_in_flight(own_node):
    """The consumer resumes by itself, and every call of publish comes back."""

    async def scene() -> None:
        confirmed: list[bytes] = []
        consumed: set[bytes] = set()
        async with opened(own_node.amqp_url, queue("q", QUORUM)) as broker:
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
            await until(lambda: len(confirmed) > 1000, "a thousand confirms")
            await asyncio.to_thread(own_node.kill)
            at_the_kill = len(confirmed)
            await asyncio.to_thread(own_node.start)
            await until(lambda: len(confirmed) > at_the_kill + 1000, "a thousand confirms after the kill")
            for task in publishing:
                task.cancel()
            await asyncio.gather(*publishing, return_exceptions=True)
            await until(lambda: consumed.issuperset(confirmed), "all that was confirmed")
            consuming.cancel()

    run(scene())


def test_a_worker_may_start_before_its_broker_and_close_while_it_is_away(own_node):
    async def scene() -> None:
        await asyncio.to_thread(own_node.stop)
        broker = Broker(own_node.amqp_url, "early")
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
