"""`pillarbox watch`: what waits where, and how fast it moves."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Annotated

import msgspec
import typer
from rich.console import Group, RenderableType
from rich.live import Live

from cli.client import Client, with_client
from cli.home import Home
from cli.options import DEFAULT_HOME, HomeOption, JsonOption, duration
from cli.output import print_json_line, screen, show_time, table
from cli.worker_counts import STAGES as STAGES_OF_WORKERS
from cli.worker_counts import Counts, stage_rates, worker_counts
from shared.stages import STAGES, Sample, look, with_rates

_OF_STAGE = {"routed": "recipients", "claimed": "mails", "tried": "recipients"}
_STATS_TIME = timedelta(seconds=2)


class Look(Sample, frozen=True, kw_only=True):
    """One look at everything, the workers of this home among it."""

    workers: Counts  # since each worker's start, where it serves metrics
    stages: dict[str, float]  # the workers' counts, together, per second since the look before


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
        async for seen in _looks(client, home, every, count):
            print_json_line(seen)
        return
    with Live(console=screen(), auto_refresh=False) as live:
        async for seen in _looks(client, home, every, count):
            live.update(drawn(seen), refresh=True)


async def _looks(client: Client, home: Home, every: timedelta, count: int | None) -> AsyncIterator[Look]:
    before: Look | None = None
    for looked in itertools.count(1):
        started = time.monotonic()
        before = await _look(client, home, before)
        yield before
        if looked == count:
            return
        await asyncio.sleep(max(0.0, every.total_seconds() - (time.monotonic() - started)))


async def _look(client: Client, home: Home, before: Look | None) -> Look:
    sample = with_rates(await look(client.broker, client.commander, before), before)
    workers = await worker_counts(home.running())
    seconds = (sample.time - before.time).total_seconds() if before else 0.0
    stages = stage_rates(workers, before.workers, seconds) if before and seconds > 0 else {}
    return Look(**msgspec.structs.asdict(sample), workers=workers, stages=stages)


def drawn(seen: Look) -> RenderableType:
    """The look as tables."""
    rows = [[words, _sum([seen.queues[queue] for queue in names])] for words, names in STAGES]
    queues = table(["in the broker", "messages"], rows, right=["messages"])
    if not seen.scheduler:
        return Group(queues, "no answer from the scheduler")
    states = table(
        ["in the mail store", "recipients"],
        [[name, f"{count:,}"] for name, count in seen.states.items()],
        right=["recipients"],
    )
    totals = table(
        ["since the scheduler's start", "count", "per second"],
        [
            [name, f"{count:,}", f"{seen.rates[name]:,.1f}" if name in seen.rates else ""]
            for name, count in seen.totals.items()
        ],
        right=["count", "per second"],
    )
    return Group(queues, states, totals, *_stages(seen), f"settings revision {seen.revision}, {show_time(seen.time)}")


def _stages(seen: Look) -> list[RenderableType]:
    if not seen.workers:
        return []
    counts = {stage: sum(of.get(stage, 0) for of in seen.workers.values()) for stage in STAGES_OF_WORKERS}
    rows = [
        [f"{_OF_STAGE[stage]} {stage}", f"{count:,}", f"{seen.stages[stage]:,.1f}" if stage in seen.stages else ""]
        for stage, count in counts.items()
    ]
    return [table(["since the workers' start", "count", "per second"], rows, right=["count", "per second"])]


def _sum(lengths: list[int | None]) -> str:
    known = [length for length in lengths if length is not None]
    return f"{sum(known):,}" if len(known) == len(lengths) else "no such queue"
