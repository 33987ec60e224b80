"""Claims that have lapsed, and the outcomes that may be on their way: the store is real, the queue is a number."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from services.scheduler import store as transactions
from services.scheduler.alarm import Alarm
from services.scheduler.outcome_desk import OutcomeDesk
from services.scheduler.recent import Recent
from shared.mail_store.states import CLAIM_LEASE, State
from shared.mail_store.thread import StoreThread
from shared.settings import Settings
from tests.support.store import OpenStore, a_draft

AT_ONCE = a_draft().admitted - a_draft().admitted


class Queue:
    """Of outcomes: how many messages wait."""

    def __init__(self, *waiting: int) -> None:
        self._waiting = iter(waiting)

    async def count(self) -> int:
        return next(self._waiting)


class Silent:
    """Announces nothing."""

    async def announce(self, events: Any) -> None: ...


@pytest.fixture
def thread(store: OpenStore) -> Iterator[StoreThread]:
    thread = StoreThread(store.url)
    yield thread
    thread.close()


def look(store: OpenStore, thread: StoreThread, queue: Queue, times: int) -> list[State]:
    """The state of a lapsed claim after each look at it."""

    async def looks() -> list[State]:
        feed: Any = SimpleNamespace(settings=Settings(), revision=1)
        announcer: Any = Silent()
        publisher: Any = None
        desk = OutcomeDesk(thread, publisher, feed, announcer, Alarm(), lambda _: None, queue.count, Recent())
        found = []
        for _ in range(times):
            lapsed = store.run(transactions.take_due, datetime.now(UTC) + CLAIM_LEASE, 10).lapsed
            await desk.take_lapsed(lapsed)
            found += store.states()
        return found

    return asyncio.run(looks())


def test_a_claim_lapses_when_no_outcome_waits(store: OpenStore, thread: StoreThread):
    store.admit_claimed(a_draft(hold=AT_ONCE, at=datetime.now(UTC)))
    assert look(store, thread, Queue(0), 1) == [State.DEFERRED]


def test_a_claim_does_not_lapse_while_its_outcome_may_be_among_those_that_wait(store: OpenStore, thread: StoreThread):
    store.admit_claimed(a_draft(hold=AT_ONCE, at=datetime.now(UTC)))
    assert look(store, thread, Queue(3, 1, 0), 3) == [State.CLAIMED, State.CLAIMED, State.DEFERRED]
