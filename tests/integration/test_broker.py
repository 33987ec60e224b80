"""Publishing to a real RabbitMQ: whoever publishes is answered, for each message, whatever happens to it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from structlog.testing import capture_logs

from cli.node import PrivateNode
from shared import metrics
from shared.broker import (
    CONFIRM_WINDOW,
    Message,
    Properties,
    binding,
    exchange,
    publisher,
    queue,
)
from tests.support.broker import (
    QUORUM,
    drained,
    numbered,
    opened,
    run,
    to_queue,
    until,
    until_counted,
)
from tests.support.rabbitmq import alarm, drop_connections, evaluate

pytestmark = pytest.mark.each_rabbitmq


def test_what_is_published_is_confirmed_and_in_its_queue(amqp_url):
    async def scene() -> None:
        async with opened(amqp_url, queue("q", QUORUM)) as broker:
            assert await broker.publisher.publish([]) == []
            assert await broker.publisher.publish(to_queue("q", b"one", b"two")) == []
            await until_counted(broker, "q", 2)
            assert await drained(broker, "q", 2) == [b"one", b"two"]

    run(scene())


def test_a_queue_may_be_counted_again_and_again_and_nothing_of_it_is_kept(amqp_url):
    async def scene() -> None:
        async with opened(amqp_url, queue("q", QUORUM)) as broker:
            connection = await broker._publish_link.connection()
            before = connection.callbacks.pending(0, connection.ON_CONNECTION_CLOSED)
            assert [await broker.count("q") for _ in range(20)] == [0] * 20
            assert connection.callbacks.pending(0, connection.ON_CONNECTION_CLOSED) == before

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


def test_a_refusal_wears_its_channel_out_and_costs_nothing_else_that_is_in_flight(amqp_url):
    full = queue("full", {**QUORUM, "x-max-length": 1, "x-overflow": "reject-publish"})

    async def scene() -> None:
        async with opened(amqp_url, full, queue("q", QUORUM)) as broker:
            publisher = broker.publisher
            while not await publisher.publish(to_queue("full", b"x")):
                pass
            refusals = await asyncio.gather(
                *(publisher.publish(to_queue("q" if number % 10 else "full", b"x")) for number in range(500))
            )
            assert [bool(refused) for refused in refusals] == [not number % 10 for number in range(500)]
            assert publisher.generation > 1
            await drained(broker, "full", await broker.count("full"))
            assert await publisher.publish(to_queue("full", b"x")) == []
            await until_counted(broker, "q", 450)

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
            with alarm(rabbitmq):
                while not await asyncio.to_thread(is_blocked, rabbitmq):
                    assert not publishing.done()
                await until(lambda: metrics.BROKER_BLOCKED.labels("publish")._value.get() == 1)
                held_at = confirmed
                consumer = broker.consume("q", 10)
                consumer.ack(await consumer.batch(10))
                await consumer.close()
                peek = await broker.get("q", 1)
                assert peek.deliveries == [], "the ack has arrived"
                await peek.close()
                assert confirmed == held_at
            await until(lambda: confirmed > held_at + 10)
            assert metrics.BROKER_BLOCKED.labels("publish")._value.get() == 0
            publishing.cancel()

    run(scene())


@contextmanager
def suspended(node: PrivateNode, url: str, name: str) -> Iterator[None]:
    """A queue that does nothing, as one between two leaders."""
    vhost = url.rpartition("/")[2]
    server = (
        f'{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"{vhost}">>, queue, <<"{name}">>)), '
        "Server = amqqueue:get_pid(Q)"
    )
    evaluate(node, f"{server}, ok = sys:suspend(Server)")
    try:
        yield
    finally:
        evaluate(node, f"{server}, ok = sys:resume(Server)")


def test_messages_whose_confirms_do_not_come_are_published_again(rabbitmq, amqp_url, monkeypatch):
    monkeypatch.setattr(publisher, "CONFIRM_WITHIN_S", 0.2)

    async def scene() -> None:
        async with opened(amqp_url, queue("q", QUORUM)) as broker:
            await broker.publisher.publish(to_queue("q", b"0"))
            with capture_logs() as said:
                with suspended(rabbitmq, amqp_url, "q"):
                    publishing = asyncio.create_task(broker.publisher.publish(to_queue("q", b"1", b"2")))
                    await until(lambda: any(line["event"] == "confirms_missing" for line in said))
                assert await publishing == []
            consumer, there = broker.consume("q", 10), set()
            while len(there) < 3:
                deliveries = await consumer.batch(10)
                consumer.ack(deliveries)
                there |= {delivery.body for delivery in deliveries}
            await consumer.close()
            assert there == {b"0", b"1", b"2"}

    run(scene())


def test_what_nobody_waits_for_any_more_is_not_published_after_a_reconnect(rabbitmq, amqp_url):
    """The broker stops to read in the middle of a message; who published it gives up; the connection breaks."""

    async def scene() -> None:
        async with opened(amqp_url, queue("q", QUORUM)) as broker:
            taken: list[bytes] = []
            reconnects = metrics.BROKER_RECONNECTS.labels("publish")
            before = reconnects._value.get()
            with alarm(rabbitmq):
                for body in numbered(1000):
                    try:
                        async with asyncio.timeout(2):
                            await broker.publisher.publish(to_queue("q", body))
                    except TimeoutError:
                        break
                    taken.append(body)
                assert broker.publisher.blocked_by
                await asyncio.to_thread(drop_connections, rabbitmq)
            assert await broker.publisher.publish(to_queue("q", b"later")) == []
            assert reconnects._value.get() > before
            assert metrics.BROKER_CONNECTED.labels("publish")._value.get() == 1
            assert await drained(broker, "q", len(taken) + 1) == [*taken, b"later"]

    run(scene())
