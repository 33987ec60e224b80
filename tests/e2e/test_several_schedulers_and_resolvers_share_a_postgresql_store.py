"""With PostgreSQL as the store, every role can run several times: no work is done twice, and the dead leave none."""

from collections import Counter

import msgspec
import pika

from shared.contracts.work import RouteRequests
from shared.mail_store.states import State
from shared.topology import RESOLVE
from tests.e2e.conftest import StartPipeline
from tests.support.pipeline import relay_to
from tests.support.sinks import RecordingSink


def test_two_of_each_release_no_mail_twice_and_one_takes_over_from_the_killed_other(
    start_pipeline: StartPipeline, sink: RecordingSink, amqp_url: str, postgres_url: str
):
    pipeline = start_pipeline(relay_to(sink), store_url=postgres_url, schedulers=2, resolvers=2, senders=2)
    with ReleaseSpy(amqp_url) as spy:
        held = pipeline.submit_many(200, hold="2s")
        with pipeline.load(rate=100) as load:
            sink.wait_for(100, timeout=60)
        pipeline.wait_for_each_once(sink, [*held, *load.ids])
        assert spy.releases() == Counter(dict.fromkeys([*held, *load.ids], 1))
        by_each = [len(worker.logged("admitted")) for worker in pipeline.of("scheduler")]
        assert all(by_each), f"one scheduler has done all the work: {by_each}"

        held_then = pipeline.submit_many(200, hold="3s")
        with pipeline.load(rate=100) as load_then:
            sink.wait_for(len(sink.mails) + 50, timeout=30)
            pipeline.kill(pipeline.of("scheduler")[0], pipeline.of("resolver")[0])
            sink.wait_for(len(sink.mails) + 50, timeout=30)
        # The living scheduler releases all that is held; the lease of 30 s is for what the dead one had in hand.
        pipeline.client.wait_until(lambda: pipeline.count(State.HELD) == 0, "the held ones leave", timeout=10)
        pipeline.let_lease_run_out(State.RELEASING)
        pipeline.wait_for_each_once(sink, [*held, *load.ids, *held_then, *load_then.ids])


class ReleaseSpy:
    """Sees what the schedulers publish for the resolvers."""

    def __init__(self, url: str) -> None:
        self._parameters = pika.URLParameters(url)
        self._parameters.heartbeat = 0  # nothing reads the connection between two looks
        self._decoder = msgspec.msgpack.Decoder(RouteRequests)

    def __enter__(self) -> "ReleaseSpy":
        self._connection = pika.BlockingConnection(self._parameters)
        self._channel = self._connection.channel()
        self._queue = self._channel.queue_declare("", exclusive=True).method.queue
        self._channel.queue_bind(self._queue, RESOLVE)
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def releases(self) -> Counter[str]:
        """How often each mail was released so far."""
        found: Counter[str] = Counter()
        while True:
            method, _properties, body = self._channel.basic_get(self._queue, auto_ack=True)
            if method is None:
                return found
            found.update(request.envelope.mail for request in self._decoder.decode(body).requests)
