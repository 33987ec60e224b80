"""`pillarbox watch`: what waits where, and how fast it moves."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
import typer
from rich.console import Group, RenderableType
from rich.live import Live

from cli.client import Client, with_client
from cli.failures import CommandFailed
from cli.home import Home
from cli.options import DEFAULT_HOME, HomeOption, JsonOption, duration
from cli.output import print_json_line, screen, show_time, table
from cli.worker_counts import STAGES as STAGES_OF_WORKERS
from cli.worker_counts import Counts, stage_rates, worker_counts
from shared.broker import BrokerRefused
from shared.contracts import Stats, StatsAnswer
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
_OF_STAGE = {"routed": "recipients", "claimed": "mails", "tried": "recipients"}
_STATS_TIME = timedelta(seconds=2)


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One look at everything."""

    time: datetime
    queues: dict[str, int | None]  # None: there is no such queue
    states: dict[str, int]  # open recipients per state; empty when the scheduler did not answer
    totals: dict[str, int]  # since the scheduler's start
    revision: int | None
    rates: dict[str, float] = {}  # totals per second since the sample before
    workers: Counts = {}  # since each worker's start, where it serves metrics
    stages: dict[str, float] = {}  # the workers' counts, together, per second since the sample before
    scheduler: bool  # it has answered


def watch(
    every: Annotated[
        timedelta, typer.Option("--every", parser=duration, metavar="TIME", help="Time between two looks.")
    ] = timedelta(seconds=1),
    count: Annotated[int | None, typer.Option("--count", min=1, help="Stop after so many looks.")] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Show counts and rates per stage, live, until Ctrl-C. With --json one line of JSON per look.

    What was routed, claimed and tried the workers know: it is shown where `pillarbox up --metrics` runs in the home.
    """
    try:
        place = Home(home)
        with_client(place, lambda client: _watch(client, place, every, count, as_json), _STATS_TIME)
    except KeyboardInterrupt:
        return


async def _watch(client: Client, home: Home, every: timedelta, count: int | None, as_json: bool) -> None:
    if as_json:
        async for sample in _samples(client, home, every, count):
            print_json_line(sample)
        return
    with Live(console=screen(), auto_refresh=False) as live:
        async for sample in _samples(client, home, every, count):
            live.update(drawn(sample), refresh=True)


async def _samples(client: Client, home: Home, every: timedelta, count: int | None) -> AsyncIterator[Sample]:
    before: Sample | None = None
    for looked in itertools.count(1):
        started = time.monotonic()
        before = with_rates(await _look(client, home, before), before)
        yield before
        if looked == count:
            return
        await asyncio.sleep(max(0.0, every.total_seconds() - (time.monotonic() - started)))


async def _look(client: Client, home: Home, before: Sample | None) -> Sample:
    queues = {queue: await _count(client, queue) for _, names in STAGES for queue in names}
    # Questions that nobody takes would pile up in the queue, one per look.
    silent = before is not None and not before.scheduler and bool(queues[CONTROL])
    stats = None if silent else await _stats(client)
    workers = await worker_counts(home.running())
    if stats is None:
        return Sample(
            time=datetime.now(UTC), queues=queues, states={}, totals={}, revision=None, workers=workers, scheduler=False
        )
    return Sample(
        time=stats.time,
        queues=queues,
        states=stats.states,
        totals=stats.totals,
        revision=stats.revision,
        workers=workers,
        scheduler=True,
    )


async def _stats(client: Client) -> StatsAnswer | None:
    try:
        return await client.ask(Stats(), StatsAnswer)
    except CommandFailed:
        return None


async def _count(client: Client, queue: str) -> int | None:
    try:
        return await client.broker.count(queue)
    except BrokerRefused:
        return None


def with_rates(sample: Sample, before: Sample | None) -> Sample:
    """The sample with rates per second; none where the scheduler was started anew in between."""
    if before is None:
        return sample
    seconds = (sample.time - before.time).total_seconds()
    if seconds <= 0:
        return sample
    sample = msgspec.structs.replace(sample, stages=stage_rates(sample.workers, before.workers, seconds))
    if any(sample.totals.get(name, 0) < count for name, count in before.totals.items()):
        return sample
    rates = {
        name: (count - before.totals[name]) / seconds for name, count in sample.totals.items() if name in before.totals
    }
    return msgspec.structs.replace(sample, rates=rates)


def drawn(sample: Sample) -> RenderableType:
    """The sample as tables."""
    rows = [[words, _sum([sample.queues[queue] for queue in names])] for words, names in STAGES]
    queues = table(["in the broker", "messages"], rows, right=["messages"])
    if not sample.scheduler:
        return Group(queues, "no answer from the scheduler")
    states = table(
        ["in the mail store", "recipients"],
        [[name, f"{count:,}"] for name, count in sample.states.items()],
        right=["recipients"],
    )
    totals = table(
        ["since the scheduler's start", "count", "per second"],
        [
            [name, f"{count:,}", f"{sample.rates[name]:,.1f}" if name in sample.rates else ""]
            for name, count in sample.totals.items()
        ],
        right=["count", "per second"],
    )
    return Group(
        queues, states, totals, *_stages(sample), f"settings revision {sample.revision}, {show_time(sample.time)}"
    )


def _stages(sample: Sample) -> list[RenderableType]:
    if not sample.workers:
        return []
    counts = {stage: sum(of.get(stage, 0) for of in sample.workers.values()) for stage in STAGES_OF_WORKERS}
    rows = [
        [f"{_OF_STAGE[stage]} {stage}", f"{count:,}", f"{sample.stages[stage]:,.1f}" if stage in sample.stages else ""]
        for stage, count in counts.items()
    ]
    return [table(["since the workers' start", "count", "per second"], rows, right=["count", "per second"])]


def _sum(lengths: list[int | None]) -> str:
    known = [length for length in lengths if length is not None]
    return f"{sum(known):,}" if len(known) == len(lengths) else "no such queue"
