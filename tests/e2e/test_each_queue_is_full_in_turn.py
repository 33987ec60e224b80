"""Queues between the workers are full: each waits, says so once, and goes on; every mail arrives once."""

import time

import msgspec
import pika
import pika.exceptions

from shared.contracts.work import OutcomeReport
from tests.support.pipeline import Pipeline, Worker, relay_to
from tests.support.rabbitmq import queues_limited

_PATIENCE_S = 60.0


def _submit_until(pipeline: Pipeline, worker: Worker, event: str) -> list[str]:
    """Mails until a worker logs this: what is in flight still goes into a queue that is full."""
    mails: list[str] = []
    deadline = time.monotonic() + _PATIENCE_S
    while not worker.logged(event):
        assert time.monotonic() < deadline, event
        mails += pipeline.submit_many(5)
    return mails


def _fill_outcomes(pipeline: Pipeline) -> None:
    """Reports of nothing, until the queue takes no more."""
    nothing = msgspec.msgpack.encode(OutcomeReport("nobody", 0, ()))
    try:
        for _ in range(1000):
            pipeline.client.publish("pillarbox.outcome", nothing, pika.BasicProperties(delivery_mode=2))
    except pika.exceptions.NackError:
        return
    raise AssertionError("it takes whatever comes")


def test_mail_waits_in_front_of_each_full_queue_and_none_is_lost(rabbitmq, amqp_url, start_pipeline, sink):
    pipeline = start_pipeline(relay_to(sink), resolvers=0, senders=0)
    scheduler = pipeline.of("scheduler")[0]

    with queues_limited(rabbitmq, amqp_url, "^pillarbox[.]resolve$", 1):
        mails = _submit_until(pipeline, scheduler, "release_refused")
    with queues_limited(rabbitmq, amqp_url, "^pillarbox[.]send[.]", 1):
        [resolver] = pipeline.start(resolver=1)
        mails += _submit_until(pipeline, resolver, "lane_full")
    scheduler.wait_for_log("release_refused_over")
    pipeline.stop(scheduler)
    with queues_limited(rabbitmq, amqp_url, "^pillarbox[.]outcome$", 1):
        _fill_outcomes(pipeline)
        [sender] = pipeline.start(sender=1)
        sender.wait_for_log("outcomes_refused")
    sender.wait_for_log("outcomes_refused_over")
    pipeline.start(scheduler=1)

    pipeline.wait_for_each_once(sink, mails)
    for worker, event, most in (
        (scheduler, "release_refused", 2),
        (resolver, "lane_full", 8),
        (sender, "outcomes_refused", 1),
    ):
        assert 1 <= len(worker.logged(event)) <= most, event
    pipeline.assert_no_crash()
