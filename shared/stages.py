"""The stages a mail goes through, looked at from outside: what waits where, and how fast it moves."""

from datetime import UTC, datetime

import msgspec

from shared.broker import Broker, BrokerRefused
from shared.commander import Commander, NotAnswered, NotTaken
from shared.contracts.answers import StageTime, StatsAnswer
from shared.contracts.commands import Stats
from shared.topology import CONTROL, DEAD, LANES, OUTCOME, RESOLVE, SUBMIT, lane_queue

# (what a person calls it, its queues)
STAGES = (
    ("submitted, not yet admitted", [SUBMIT]),
    ("commands", [CONTROL]),
    ("to a resolver", [RESOLVE]),
    ("in the lanes, to senders", [lane_queue(lane) for lane in range(LANES)]),
    ("outcomes, to the scheduler", [OUTCOME]),
    ("dead letters", [DEAD]),
)


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One look at everything."""

    time: datetime
    queues: dict[str, int | None]  # None: there is no such queue
    states: dict[str, int]  # open recipients per state; empty when the scheduler did not answer
    overdue: dict[str, int] = {}  # of those held or deferred: their hold or wait is over
    totals: dict[str, int]  # since the scheduler's start
    revision: int | None
    rates: dict[str, float] = {}  # totals per second since the sample before
    times: list[StageTime] = []  # of the last minute
    scheduler: bool  # it has answered


async def look(broker: Broker, commander: Commander, before: Sample | None) -> Sample:
    """Count what waits in the broker, and ask the scheduler for the rest."""
    queues = {queue: await _count(broker, queue) for _, names in STAGES for queue in names}
    # Questions that nobody takes would pile up in the queue, one per look.
    silent = before is not None and not before.scheduler and bool(queues[CONTROL])
    stats = None if silent else await _stats(commander)
    if stats is None:
        return Sample(time=datetime.now(UTC), queues=queues, states={}, totals={}, revision=None, scheduler=False)
    return Sample(
        time=stats.time,
        queues=queues,
        states=stats.states,
        overdue=stats.overdue,
        totals=stats.totals,
        revision=stats.revision,
        times=stats.times,
        scheduler=True,
    )


async def _stats(commander: Commander) -> StatsAnswer | None:
    try:
        return await commander.ask(Stats(), StatsAnswer)
    except (NotAnswered, NotTaken):
        return None


async def _count(broker: Broker, queue: str) -> int | None:
    try:
        return await broker.count(queue)
    except BrokerRefused:
        return None


def with_rates(sample: Sample, before: Sample | None) -> Sample:
    """The sample with rates per second; none where the scheduler was started anew in between."""
    if before is None:
        return sample
    seconds = (sample.time - before.time).total_seconds()
    if seconds <= 0 or any(sample.totals.get(name, 0) < count for name, count in before.totals.items()):
        return sample
    rates = {
        name: (count - before.totals[name]) / seconds for name, count in sample.totals.items() if name in before.totals
    }
    return msgspec.structs.replace(sample, rates=rates)
