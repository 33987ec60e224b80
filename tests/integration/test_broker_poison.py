"""A message that kills whoever takes it ends as a dead letter, alone: what was in the same hands is delivered."""

import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from cli.guarded import GuardedProcess
from shared.broker import SUSPECT_AFTER, Broker, Consumer, Delivery, binding, exchange, queue
from shared.topology import DELIVERY_LIMIT
from tests.support.broker import QUORUM, drained, numbered, opened, run, to_queue, until, until_counted
from tests.support.mortal_worker import POISON
from tests.support.rabbitmq import drop_connections

pytestmark = pytest.mark.each_rabbitmq

_ROOT = Path(__file__).parents[2]
_DECLARATIONS = [
    exchange("dead", "fanout"),
    queue("dead", {"x-queue-type": "quorum", "x-delivery-limit": 1000}),
    binding("dead", "dead", ""),
    queue(
        "q",
        {
            "x-queue-type": "quorum",
            "x-delivery-limit": DELIVERY_LIMIT,
            "x-dead-letter-exchange": "dead",
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        },
    ),
]


@contextmanager
def _kept_running(url: str, workers: int) -> Iterator[None]:
    """Mortal workers, each started again whenever it has died."""
    command = [sys.executable, "-m", "tests.support.mortal_worker", url, "q"]
    keepers = [GuardedProcess(command, cwd=_ROOT) for _ in range(workers)]
    try:
        yield
    finally:
        for keeper in keepers:
            keeper.kill()


def test_a_message_that_kills_its_workers_takes_nothing_with_it_to_the_dead_letters(amqp_url):
    async def scene() -> None:
        async with opened(amqp_url, *_DECLARATIONS) as broker:
            innocents = numbered(60)
            await broker.publisher.publish(to_queue("q", *innocents[:15], POISON, *innocents[15:]))
            with _kept_running(amqp_url, 3):
                while not await broker.count("dead"):
                    await asyncio.sleep(0.02)
                await until_counted(broker, "q", 0)
            assert await drained(broker, "dead", await broker.count("dead")) == [POISON]

    run(scene())


async def _sent_back(broker: Broker, count: int) -> None:
    """Take what lies in the queue and give it back, as often as makes suspects of it."""
    for _ in range(SUSPECT_AFTER):
        await (await broker.get("q", count)).close()
        await until_counted(broker, "q", count)


def test_what_has_gone_back_again_and_again_comes_one_at_a_time_and_the_rest_in_a_window(amqp_url):
    async def scene() -> None:
        async with opened(amqp_url, queue("q", QUORUM)) as broker:
            await broker.publisher.publish(to_queue("q", *numbered(3)))
            await _sent_back(broker, 3)
            await broker.publisher.publish(to_queue("q", *numbered(20, start=3)))
            consumer = broker.consume_warily("q", 10)
            for number in range(3):
                [suspect] = await consumer.batch(10)
                assert (suspect.body, suspect.returns) == (b"%d" % number, SUSPECT_AFTER)
                assert await broker.count("q") == 22 - number
                consumer.ack([suspect])
            await until(lambda: consumer.waiting == 10)
            rest: list[Delivery] = []
            while len(rest) < 20:
                batch = await consumer.batch(10)
                rest += batch
                consumer.ack(batch)
            assert [delivery.body for delivery in rest] == numbered(20, start=3)
            assert not any(delivery.redelivered for delivery in rest)

    run(scene())


async def _suspect_among_others(broker: Broker) -> tuple[Consumer, list[Delivery]]:
    """Who has five others in hand, and is about to get the suspect."""
    await broker.publisher.publish(to_queue("q", b"suspect"))
    await _sent_back(broker, 1)
    held = await broker.get("q", 1)
    await broker.publisher.publish(to_queue("q", *numbered(5)))
    consumer = broker.consume_warily("q", 1000)
    others: list[Delivery] = []
    while len(others) < 5:
        others += await consumer.batch(10)
    await held.close()
    return consumer, others


def test_a_suspect_that_comes_among_others_is_kept_until_they_are_done_and_comes_alone(amqp_url):
    async def scene() -> None:
        async with opened(amqp_url, queue("q", QUORUM)) as broker:
            consumer, others = await _suspect_among_others(broker)
            while not await broker.count("q"):  # it takes more until it has ended its subscription
                await broker.publisher.publish(to_queue("q", b"more"))
            while consumer.waiting:
                others += await consumer.batch(10)
            assert {delivery.body for delivery in others} == {*numbered(5), b"more"}
            consumer.ack(others[3:])
            consumer.ack(others[:3])
            [suspect] = await consumer.batch(10)
            assert suspect.body == b"suspect"
            consumer.ack([suspect])
            [more] = await consumer.batch(1)
            assert more.body == b"more"

    run(scene())


def test_a_suspect_comes_alone_when_the_broker_has_heard_that_the_others_are_done(rabbitmq, amqp_url, monkeypatch):
    monkeypatch.setattr("shared.broker.consumer.ACK_GATHER_S", 0.5)  # longer than the subscription takes to end

    async def scene() -> None:
        async with opened(amqp_url, queue("q", QUORUM)) as broker:
            consumer, others = await _suspect_among_others(broker)
            consumer.ack(others)
            [suspect] = await consumer.batch(10)
            assert suspect.body == b"suspect"
            await asyncio.to_thread(drop_connections, rabbitmq)  # as if it had killed the worker
            [again] = await consumer.batch(10)
            assert again.body == b"suspect"
            consumer.ack([again])
            await consumer.close()
            await until_counted(broker, "q", 0)

    run(scene())


def test_a_window_that_changes_while_nothing_is_in_hand_costs_its_channel_and_not_the_connection(amqp_url):
    async def scene() -> None:
        async with opened(amqp_url, queue("q", QUORUM)) as broker:
            consumer = broker.consume_warily("q", 10, most_octets=1000)
            await broker.publisher.publish(to_queue("q", *numbered(10)))
            await until(lambda: consumer.waiting == 10)  # two subscriptions stand
            consumer.ack(await consumer.batch(10))
            await broker.publisher.publish(to_queue("q", b"x" * 2000))
            consumer.ack(await consumer.batch(1))
            time.sleep(0.1)  # busy, while the broker tells that both have ended
            await broker.publisher.publish(to_queue("q", b"last"))
            [last] = await consumer.batch(1)
            assert last.body == b"last"

    with capture_logs() as logs:
        run(scene())
    assert not [line for line in logs if line["event"] == "broker_connection_lost"]


def test_a_header_of_the_clients_own_makes_no_suspect(amqp_url):
    async def scene() -> None:
        async with opened(amqp_url, queue("q", QUORUM)) as broker:
            consumer = broker.consume_warily("q", 10)
            for count in (99, "many"):
                await broker.publisher.publish(to_queue("q", b"x", headers={"x-delivery-count": count}))
                [delivery] = await consumer.batch(10)
                assert delivery.returns == 0

    run(scene())
