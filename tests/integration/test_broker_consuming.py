"""Consuming from a real RabbitMQ: what was not acknowledged comes again, and nothing else does."""

import asyncio
import random
import struct
from collections import Counter
from datetime import UTC, datetime

import pika
import pytest
from structlog.testing import capture_logs

from shared.broker import (
    UNREADABLE_PROPERTIES,
    Broker,
    BrokerRefused,
    Delivery,
    Message,
    Properties,
    binding,
    exchange,
    queue,
)
from shared.dead import dead_letter
from tests.support.broker import (
    QUORUM,
    RawHeaders,
    drained,
    numbered,
    opened,
    run,
    to_queue,
    until,
    until_counted,
)
from tests.support.rabbitmq import drop_connections


@pytest.mark.each_rabbitmq
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


@pytest.mark.each_rabbitmq
def test_no_more_than_the_prefetch_is_delivered_before_an_ack(amqp_url):
    async def scene() -> None:
        async with opened(amqp_url, queue("q", QUORUM)) as broker:
            await broker.publisher.publish(to_queue("q", *numbered(9)))
            consumer = broker.consume("q", 3)
            await until(lambda: consumer.waiting == 3)
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


@pytest.mark.each_rabbitmq
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


@pytest.mark.each_rabbitmq
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


@pytest.mark.each_rabbitmq
def test_a_consumer_waits_for_its_queue_and_comes_back_to_it(amqp_url):
    async def scene() -> None:
        async with opened(amqp_url) as broker:
            consumer = broker.consume("q", 10)
            for body in numbered(2):
                with capture_logs() as said:
                    # RabbitMQ 3.10 tells nobody of a quorum queue that is there again by the time it would.
                    await until(lambda said=said: any("no queue" in each.get("reason", "") for each in said))
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


async def answer_each(broker: Broker, name: str) -> None:
    """Answer every question in a queue by its own words, and a word of somebody else's besides."""
    consumer = broker.consume(name, 10)
    while True:
        for delivery in await consumer.batch(10):
            asked = delivery.properties
            answers = [(b"not for you", "another"), (b"re: " + delivery.body, asked.correlation_id)]
            await broker.publisher.publish(
                [Message("", asked.reply_to, body, Properties(correlation_id=id), False) for body, id in answers]
            )
            consumer.ack([delivery])


@pytest.mark.each_rabbitmq
def test_answers_come_back_to_who_has_asked_without_a_queue(amqp_url):
    async def scene() -> None:
        to_it = (exchange("e", "fanout"), queue("q", QUORUM), binding("q", "e", ""))
        async with opened(amqp_url, *to_it) as broker, opened(amqp_url) as other:
            answering = asyncio.create_task(answer_each(other, "q"))
            caller = broker.caller()
            answers = await asyncio.gather(*(caller.ask("e", body, "text/plain") for body in numbered(20)))
            assert [answer.body for answer in answers] == [b"re: " + body for body in numbered(20)]
            answering.cancel()

    run(scene())


@pytest.mark.each_rabbitmq
def test_questions_are_answered_again_after_a_lost_connection(rabbitmq, amqp_url):
    async def scene() -> None:
        to_it = (exchange("e", "fanout"), queue("q", QUORUM), binding("q", "e", ""))
        async with opened(amqp_url, *to_it) as broker:
            answering = asyncio.create_task(answer_each(broker, "q"))
            caller = broker.caller()
            assert (await caller.ask("e", b"1", "text/plain")).body == b"re: 1"
            await asyncio.to_thread(drop_connections, rabbitmq)
            assert (await caller.ask("e", b"2", "text/plain")).body == b"re: 2"
            answering.cancel()

    run(scene())


def test_a_question_that_nobody_takes_comes_back_as_refused(amqp_url):
    async def scene() -> None:
        async with opened(amqp_url, exchange("e", "fanout")) as broker:
            refused = await broker.caller().ask("e", b"anybody?", "text/plain")
            assert "no queue takes it" in refused.reason

    run(scene())


@pytest.mark.each_rabbitmq
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


@pytest.mark.each_rabbitmq
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


@pytest.mark.each_rabbitmq
def test_a_look_into_a_queue_that_is_not_there_is_refused(amqp_url):
    async def scene() -> None:
        async with opened(amqp_url, queue("q", QUORUM)) as broker:
            for look in (broker.get("missing", 1), broker.count("missing")):
                with pytest.raises(BrokerRefused, match="missing"):
                    await look
            await until_counted(broker, "q", 0)  # nothing else suffered

    run(scene())


def test_large_messages_come_few_at_a_time_and_small_ones_many_again(amqp_url):
    large, small = 1_000_000, 100
    bodies = [bytes([number]) * large for number in range(40)] + [b"%d" % number * 10 for number in range(100, 400)]

    async def scene() -> None:
        async with opened(amqp_url, queue("q", QUORUM)) as broker:
            for start in range(0, len(bodies), 10):
                assert await broker.publisher.publish(to_queue("q", *bodies[start : start + 10])) == []
            consumer = broker.consume("q", 200, most_octets=4 * large)
            taken: Counter[bytes] = Counter()
            most_at_once = 0
            with capture_logs() as said:
                while len(taken) < len(bodies):
                    deliveries = await consumer.batch(200, enough=2 * large, linger_s=0.02)
                    octets = sum(len(delivery.body) for delivery in deliveries)
                    assert octets <= 2 * large + small
                    most_at_once = max(most_at_once, len(deliveries))
                    consumer.ack(deliveries)
                    taken.update(delivery.body for delivery in deliveries)
            # A broker that is slow may not have noted every acknowledgement when its channel goes: then it comes again.
            assert set(taken) == set(bodies)
            assert said == []
            assert most_at_once > 50, "the small ones came many at a time"
            await until_counted(broker, "q", 0)

    run(scene())


def test_what_is_in_hand_is_bounded_however_long_it_takes(amqp_url):
    large = 1_000_000

    async def scene() -> None:
        async with opened(amqp_url, queue("q", QUORUM)) as broker:
            for start in range(4):
                bodies = [bytes([start * 10 + number]) * large for number in range(10)]
                assert await broker.publisher.publish(to_queue("q", *bodies)) == []
            consumer = broker.consume("q", 200, most_octets=4 * large)
            await until(lambda: consumer.waiting == 5)  # the fifth exceeds it
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await until(lambda: consumer.waiting > 5)
            taken: Counter[bytes] = Counter()
            while len(taken) < 40:
                deliveries = await consumer.batch(200)
                assert len(deliveries) <= 5
                consumer.ack(deliveries)
                taken.update(delivery.body for delivery in deliveries)
            assert set(taken.values()) == {1}
            await until_counted(broker, "q", 0)

    run(scene())
