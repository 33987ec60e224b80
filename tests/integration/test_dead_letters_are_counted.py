"""Whoever reads the scheduler's metrics or its log hears of dead letters, and of the broker that does not tell."""

import asyncio

import pytest
from structlog.testing import capture_logs

from services.scheduler.dead_letters import count_dead_letters
from shared import metrics, topology
from shared.broker import Delivery, Properties
from shared.dead import put_aside
from shared.topology import RESOLVE
from tests.support.broker import opened, run, until

pytestmark = pytest.mark.each_rabbitmq


def test_what_lies_there_is_a_gauge_and_a_line_and_what_was_put_aside_a_counter(amqp_url):
    async def scene() -> None:
        metrics.DEAD_WAITING.set(0)
        before = metrics.DEAD.labels(RESOLVE)._value.get()
        async with opened(amqp_url) as broker:
            await topology.declare(broker)
            for number in range(3):
                await put_aside(broker.publisher, Delivery(b"x", number, 1, False, Properties()), RESOLVE, "nonsense")
            with capture_logs() as logs:
                counting = asyncio.create_task(count_dead_letters(broker))
                await until(lambda: metrics.DEAD_WAITING._value.get() == 3)
                counting.cancel()
        assert metrics.DEAD.labels(RESOLVE)._value.get() == before + 3
        [line] = [line for line in logs if line["event"] == "dead_letters"]
        assert (line["waiting"], line["next"]) == (3, "wait_for_an_operator")

    run(scene())


def test_without_the_queue_it_says_so_and_goes_on(amqp_url):
    async def scene() -> None:
        async with opened(amqp_url) as broker:
            with capture_logs() as logs:
                counting = asyncio.create_task(count_dead_letters(broker))
                await until(lambda: logs)
                assert not counting.done()
                counting.cancel()
        assert logs[0]["event"] == "dead_letters_not_counted"

    run(scene())
