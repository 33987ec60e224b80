"""The limits of how quickly mail goes, in the mail store, on SQLite and on PostgreSQL."""

from datetime import timedelta

from shared.contracts.work import Pace
from shared.paces import take
from tests.support.store import NOW, OpenStore

SLOW = Pace("mx.example", "600/h")
SECOND = timedelta(seconds=1)


def test_senders_share_a_pace(store: OpenStore):
    assert store.run(take, SLOW, 2, NOW).now == 1
    assert store.run(take, SLOW, 2, NOW + SECOND).now == 0
    assert store.run(take, SLOW, 2, NOW + 6 * SECOND).now == 1


def test_mail_that_waits_gets_times_of_its_own_whoever_asks(store: OpenStore):
    first, second = store.run(take, SLOW, 3, NOW), store.run(take, SLOW, 2, NOW)
    assert [wait / SECOND for wait in (*first.waits, *second.waits)] == [6, 12, 18, 24]


def test_each_name_has_its_own_pace(store: OpenStore):
    assert store.run(take, SLOW, 1, NOW).now == 1
    assert store.run(take, Pace("mx.other.example", "600/h"), 1, NOW).now == 1


def test_another_rate_begins_anew(store: OpenStore):
    assert store.run(take, Pace("mx.example", "1/d"), 1, NOW).now == 1
    assert store.run(take, SLOW, 1, NOW).now == 1
