"""`sending.max_per_connection`: so many mails, then QUIT, and another connection for the next ones."""

from collections import Counter

import pytest

from shared.topology import LANES
from tests.e2e.conftest import StartPipeline
from tests.support.pipeline import Pipeline, relay_to
from tests.support.sinks import Connection, RecordingSink


def _send_at_once(pipeline: Pipeline, sink: RecordingSink, count: int) -> list[Connection]:
    """Hold mails and release them together, so that no connection lacks supply; the connections they took."""
    before = len(sink.connections)
    ids = pipeline.submit_many(count, batch=f"batch {before}", hold="10m")
    pipeline.wait_for_events(count, "held")
    pipeline.client.events.clear()
    pipeline.control("release", batch=f"batch {before}")
    pipeline.client.wait_until(lambda: not pipeline.open_recipients(), "all final", 60)
    sink.wait_until_idle()
    used = sink.connections[before:]
    arrived = Counter(mail.message["Subject"] for mail in sink.mails if mail.connection > before)
    assert arrived == Counter(ids)
    assert all(one.said_quit for one in used)
    return used


def _goes(pipeline: Pipeline) -> int:
    """In how many goes the mail went: where a busy machine makes the sink look slow, some is given back for a while."""
    [scheduler] = pipeline.of("scheduler")
    return 1 + len({line.partition(" next=")[2] for line in scheduler.logged("parked")})


def _assert_full(connections: list[Connection], limit: int, pipeline: Pipeline) -> None:
    """All are full but the last one of each lane of each sender in each go, which had nothing more to take."""
    assert max(one.mails for one in connections) == limit
    partly = sum(one.mails < limit for one in connections)
    assert partly <= LANES * len(pipeline.of("sender")) * _goes(pipeline)


@pytest.mark.checklist(76)
def test_each_connection_takes_exactly_as_many_and_a_change_counts_at_once(
    start_pipeline: StartPipeline, sink: RecordingSink
):
    pipeline = start_pipeline(relay_to(sink, sending={"max_per_connection": 10}))

    _assert_full(_send_at_once(pipeline, sink, 250), 10, pipeline)
    pipeline.change(sending={"max_per_connection": 25})
    _assert_full(_send_at_once(pipeline, sink, 250), 25, pipeline)
    pipeline.change(sending={"max_per_connection": 1})
    assert {one.mails for one in _send_at_once(pipeline, sink, 20)} == {1}


def test_with_two_senders_it_counts_for_each_connection(start_pipeline: StartPipeline, sink: RecordingSink):
    pipeline = start_pipeline(relay_to(sink, sending={"max_per_connection": 10}), senders=2)

    _assert_full(_send_at_once(pipeline, sink, 250), 10, pipeline)


def test_a_change_under_load_loses_nothing_and_no_connection_takes_more_than_either(
    start_pipeline: StartPipeline, sink: RecordingSink
):
    pipeline = start_pipeline(relay_to(sink, sending={"max_per_connection": 20}))

    with pipeline.load(rate=100) as load:
        for limit in (3, 40, 7):
            sink.wait_for(len(sink.mails) + 50, timeout=30)
            pipeline.change(sending={"max_per_connection": limit})
        opened_before = len(sink.connections)
        sink.wait_for(len(sink.mails) + 50, timeout=30)

    pipeline.wait_for_each_once(sink, load.ids)
    assert max(one.mails for one in sink.connections) <= 40
    assert max(one.mails for one in sink.connections[opened_before:]) == 7
