"""What waits is counted for the metrics: in the store, on SQLite and on PostgreSQL, and in the broker's queues."""

import asyncio
from datetime import timedelta

from services.scheduler import store as transactions
from services.scheduler.census import COUNTED, count_what_waits, take_census
from shared import metrics, topology
from shared.broker import Message
from shared.mail_store.thread import StoreThread
from shared.topology import RESOLVE
from tests.support.broker import opened, run, until
from tests.support.store import HOLD, NOW, OpenStore, a_draft

SECOND = timedelta(seconds=1)


def test_what_is_held_is_not_overdue_until_its_time_has_come(store: OpenStore):
    store.admit(a_draft("a"), a_draft("b", hold=2 * HOLD))
    store.admit_released(a_draft("c", hold=timedelta(0)))
    before = store.run(take_census, NOW)
    assert (before.states["held"], before.states["released"], before.overdue, before.lag) == (2, 1, {}, timedelta(0))
    after = store.run(take_census, NOW + HOLD + 90 * SECOND)
    assert (after.states["held"], after.overdue, after.lag) == (2, {"held": 1}, 90 * SECOND)


def test_what_was_released_in_time_is_not_overdue(store: OpenStore):
    store.admit(a_draft("a"))
    store.run(transactions.take_due, NOW + HOLD, 10)
    later = store.run(take_census, NOW + HOLD + 10 * SECOND)
    assert (later.states["releasing"], later.overdue) == (1, {})


def test_the_metrics_show_the_store_and_the_queues(amqp_url, tmp_path):
    url = f"sqlite:///{tmp_path}/mail.db"
    OpenStore(url).admit(a_draft("a", "b@y.example", "c@y.example"))  # whose hold was over long ago

    async def scene() -> None:
        thread = StoreThread(url)
        async with opened(amqp_url) as broker:
            await topology.declare(broker)
            await broker.publisher.publish([Message(RESOLVE, "", b"x")] * 3)
            counting = asyncio.create_task(count_what_waits(thread, broker, 9100))
            await until(lambda: metrics.QUEUE_MESSAGES.labels(COUNTED[-1])._value.get() == 0)
            await until(lambda: metrics.QUEUE_MESSAGES.labels(RESOLVE)._value.get() == 3)
            counting.cancel()
        thread.close()

    run(scene())
    assert metrics.WAITING.labels("held")._value.get() == 2
    assert metrics.OVERDUE._value.get() == 2
    assert metrics.RELEASE_LAG._value.get() > 0


def test_nothing_is_counted_where_nobody_reads_it(amqp_url, tmp_path):
    async def scene() -> None:
        async with opened(amqp_url) as broker:
            thread = StoreThread(f"sqlite:///{tmp_path}/none.db")  # without tables
            await count_what_waits(thread, broker, None)
            thread.close()

    run(scene())
