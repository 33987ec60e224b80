"""How much waits where, counted for who asks, and now and then for the metrics where somebody reads them."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import msgspec
import sqlalchemy as sa
import structlog

from shared import metrics
from shared.broker import Broker, BrokerRefused
from shared.mail_store.states import State
from shared.mail_store.tables import recipients
from shared.mail_store.thread import StoreThread
from shared.topology import CONTROL, LANE_QUEUES, OUTCOME, RESOLVE, SUBMIT

log = structlog.get_logger()

_OPEN = ("held", "releasing", "released", "claimed", "deferred", "in_doubt")
COUNTED = (SUBMIT, CONTROL, RESOLVE, *LANE_QUEUES, OUTCOME)
_EVERY_S = 15.0
# A million held mails take a tenth of a second to count, in which the scheduler gets nothing else out of its store.
_TIMES_THE_COUNT = 200


class Census(msgspec.Struct, frozen=True):
    """What the store holds that is not final; what is final is not counted, there may be many millions of it."""

    states: dict[str, int]  # recipients
    overdue: dict[str, int]  # of those held or deferred, whose hold or wait is over, and who are not released
    lag: timedelta  # since the first of those should have been


def take_census(connection: sa.Connection, now: datetime) -> Census:
    """Count."""
    waits = recipients.c.state.in_([int(State.HELD), int(State.DEFERRED)])
    late = sa.case((sa.and_(recipients.c.wake <= now, waits), recipients.c.wake))
    # In one statement: two of PostgreSQL's may see different states.
    query = sa.select(recipients.c.state, sa.func.count(), sa.func.count(late), sa.func.min(late))
    query = query.where(recipients.c.wake.is_not(None)).group_by(recipients.c.state)
    rows = [(State(state).name.lower(), *counts) for state, *counts in connection.execute(query)]
    return Census(
        states=dict.fromkeys(_OPEN, 0) | {name: count for name, count, _, _ in rows},
        overdue={name: overdue for name, _, overdue, _ in rows if overdue},
        lag=max((now - first for _, _, _, first in rows if first is not None), default=timedelta(0)),
    )


async def count_what_waits(thread: StoreThread, broker: Broker, metrics_port: int | None) -> None:
    """Keep the metrics up to date, for ever; not at all where they are not served."""
    while metrics_port is not None:
        begun = time.perf_counter()
        _show(await thread.read(take_census, datetime.now(UTC)))
        took = time.perf_counter() - begun
        for queue in COUNTED:
            await _count(broker, queue)
        await asyncio.sleep(max(_EVERY_S, took * _TIMES_THE_COUNT))


def _show(census: Census) -> None:
    for state, count in census.states.items():
        metrics.WAITING.labels(state).set(count)
    metrics.OVERDUE.set(sum(census.overdue.values()))
    metrics.RELEASE_LAG.set(census.lag.total_seconds())


async def _count(broker: Broker, queue: str) -> None:
    try:
        metrics.QUEUE_MESSAGES.labels(queue).set(await broker.count(queue))
    except BrokerRefused as refused:
        # Whoever needs the queue complains; a figure from before would only look like one.
        metrics.QUEUE_MESSAGES.labels(queue).set(float("nan"))
        log.debug("queue_not_counted", queue=queue, reason=str(refused), next="try_again")
