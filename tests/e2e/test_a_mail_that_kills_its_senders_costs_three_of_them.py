"""A mail that ends each sender which is about to send it: after the third it waits for an operator.

What the first two had claimed with it is in doubt, and sent again; the third has nothing else in its hands.
"""

import pika
import pytest

from shared.mail_store.states import State
from shared.topology import LANES, lane_queue
from tests.e2e.conftest import StartPipeline
from tests.support.pipeline import Pipeline, a_mail, relay_to, subjects
from tests.support.poisoned import SUBJECT
from tests.support.sinks import RecordingSink


@pytest.fixture
def pipeline(start_pipeline: StartPipeline, sink: RecordingSink) -> Pipeline:
    """One whose senders are mortal; none runs yet."""
    return start_pipeline(relay_to(sink), senders=0, programs={"sender": ("tests.support.poisoned", "sender")})


def _die(pipeline: Pipeline, sink: RecordingSink) -> int:
    """A sender takes all that waits in the lanes, and dies of it; then its claims lapse: how many it had left."""
    greeting = sink.pause("CONNECT")
    with pika.BlockingConnection(pika.URLParameters(pipeline.amqp_url)) as connection:
        channel = connection.channel()
        lanes = [lane_queue(lane) for lane in range(LANES)]

        def waiting() -> int:
            return sum(channel.queue_declare(lane, passive=True).method.message_count for lane in lanes)

        pipeline.client.wait_until(lambda: waiting() > 0, "work waits in the lanes")
        pipeline.client.wait_until(lambda: pipeline.count(State.DEFERRED) == 0, "all of it is released")
        [victim] = pipeline.start(sender=1)
        greeting.wait(30)
        pipeline.client.wait_until(lambda: waiting() == 0, "a sender has it in its hands")
    greeting.release()
    sink.forget_rules()
    pipeline.client.wait_until(lambda: not victim.running, f"{victim.name} dies")
    pipeline.kill(victim)
    _wait_for_its_outcomes(pipeline)
    return pipeline.let_lease_run_out(State.CLAIMED, victim)


def _wait_for_its_outcomes(pipeline: Pipeline) -> None:
    """What it had reported before it died may be on its way to the scheduler, and is not what it died with."""
    counts = [pipeline.count(State.CLAIMED)]

    def no_more_come() -> bool:
        counts.append(pipeline.count(State.CLAIMED))
        return len(counts) > 20 and len(set(counts[-20:])) == 1

    pipeline.client.wait_until(no_more_come, "all that it reported is written")


def test_its_neighbours_arrive_and_it_waits_for_an_operator(pipeline: Pipeline, sink: RecordingSink):
    poison = pipeline.submit(a_mail(SUBJECT))
    neighbours = pipeline.submit_many(40)

    first = _die(pipeline, sink)
    doubtful = pipeline.wait_for_events(first, "deferred")
    second = _die(pipeline, sink)
    doubtful = pipeline.wait_for_events(first + second, "deferred")
    assert first > 1, "it had company"
    assert second > 1, "it had company again"
    assert _die(pipeline, sink) == 1

    told = pipeline.wait_for_event("in_doubt", poison)
    assert told["reply"].startswith("3 senders in a row died with the mail in their hands")
    [told_of] = pipeline.control("show", id=poison)["mail"]["waits"]
    assert "3 senders in a row died with it in their hands" in told_of
    assert {line["id"] for line in pipeline.control("list", state="in_doubt")["mails"]} == {poison}

    pipeline.start(sender=1)
    pipeline.client.wait_until(lambda: not set(neighbours) - set(subjects(sink.mails)), "all others arrive")
    assert pipeline.control("close", id=poison)["closed"] == 1
    pipeline.wait_for_all([sink], neighbours)
    twice = {id for id, times in subjects(sink.mails).items() if times > 1}
    assert twice <= {event["mail"] for event in doubtful if event["in_doubt"]}
    assert SUBJECT not in subjects(sink.mails)
    assert pipeline.wait_for_event("delivered", poison)["in_doubt"]
