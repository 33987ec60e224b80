"""`pillarbox watch`: what waits where, and how fast it moves."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.live import Live

from cli.client import Client, with_client
from cli.home import Home
from cli.options import DEFAULT_HOME, HomeOption, JsonOption, duration
from cli.output import print_json_line, screen, show_time, table
from shared.stages import STAGES, Sample, look, with_rates

_STATS_TIME = timedelta(seconds=2)


def watch(
    every: Annotated[
        timedelta, typer.Option("--every", parser=duration, metavar="TIME", help="Time between two looks.")
    ] = timedelta(seconds=1),
    count: Annotated[int | None, typer.Option("--count", min=1, help="Stop after so many looks.")] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Show counts and rates per stage, live, until Ctrl-C. With --json one line of JSON per look."""
    try:
        with_client(Home(home), lambda client: _watch(client, every, count, as_json), _STATS_TIME)
    except KeyboardInterrupt:
        return


async def _watch(client: Client, every: timedelta, count: int | None, as_json: bool) -> None:
    if as_json:
        async for sample in _samples(client, every, count):
            print_json_line(sample)
        return
    with Live(console=screen(), auto_refresh=False) as live:
        async for sample in _samples(client, every, count):
            live.update(drawn(sample), refresh=True)


async def _samples(client: Client, every: timedelta, count: int | None) -> AsyncIterator[Sample]:
    before: Sample | None = None
    for looked in itertools.count(1):
        started = time.monotonic()
        before = with_rates(await look(client.broker, client.commander, before), before)
        yield before
        if looked == count:
            return
        await asyncio.sleep(max(0.0, every.total_seconds() - (time.monotonic() - started)))


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
    return Group(queues, states, totals, f"settings revision {sample.revision}, {show_time(sample.time)}")


def _sum(lengths: list[int | None]) -> str:
    known = [length for length in lengths if length is not None]
    return f"{sum(known):,}" if len(known) == len(lengths) else "no such queue"
