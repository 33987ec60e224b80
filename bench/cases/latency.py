"""The case `latency`: how long a mail takes when the pipeline is a fifth busy."""

import asyncio
import time
from collections.abc import Sequence
from statistics import median

import uvloop

from bench import pillarbox
from bench.case import Case, Contender
from bench.mails import message, recipient
from bench.noting_sink import NotingSink
from bench.pipeline import Pipeline, Place, new_place, relay_to
from bench.processes import Meter
from bench.results import Goal, Measurement, Plan, percentile

_MESSAGE = pillarbox.finished(message(4096))
_SHARE = 0.2  # of the capacity


def _run(plan: Plan) -> Measurement:
    with NotingSink() as sink, new_place() as place:
        return uvloop.run(_measure(plan, sink, place))


async def _measure(plan: Plan, sink: NotingSink, place: Place) -> Measurement:
    async with Pipeline(place, relay_to(sink.port), plan.senders) as pipeline:
        await pipeline.deliver([_MESSAGE(number) for number in range(plan.warm_up)])
        capacity = await _capacity(pipeline, range(plan.warm_up, plan.warm_up + plan.mails))
        await pipeline.rest()
        meter = Meter(pipeline.label)
        paced = range(plan.warm_up + plan.mails, plan.warm_up + 2 * plan.mails)
        started = time.monotonic()
        submitted = await pipeline.while_all_live(_submit(pipeline, paced, capacity * _SHARE))
        seconds, others = time.monotonic() - started, meter.others()
        await pipeline.while_all_live(pipeline.reach("delivered", paced.stop))
        arrived = {arrival.recipient: arrival.time for arrival in sink.arrivals}
        waits_ms = [(arrived[to] - when) * 1000 for to, when in submitted.items()]
        return Measurement(
            figures={
                "capacity, mails/s": capacity,
                "submitted, mails/s": len(paced) / seconds,
                "median, ms": median(waits_ms),
                "99th percentile, ms": percentile(waits_ms, 0.99),
                "longest, ms": max(waits_ms),
            },
            others=others,
            costs=meter.costs(plan.mails),
            versions=pipeline.versions(),
        )


async def _capacity(pipeline: Pipeline, numbers: range) -> float:
    """Mails a second, all at once."""
    messages = [_MESSAGE(number) for number in numbers]
    started = time.monotonic()
    await pipeline.deliver(messages)
    return len(messages) / (time.monotonic() - started)


async def _submit(pipeline: Pipeline, numbers: range, rate: float) -> dict[str, float]:
    """Submit one mail after another, evenly spread over the time; when each was, by recipient."""
    submitted, publishing = {}, []
    started = time.monotonic()
    for position, number in enumerate(numbers):
        await asyncio.sleep(max(0.0, started + position / rate - time.monotonic()))
        submitted[recipient(number)] = time.monotonic()
        publishing.append(asyncio.create_task(pipeline.publish([_MESSAGE(number)])))
    await asyncio.gather(*publishing)
    return submitted


def _contenders(_plan: Plan) -> Sequence[Contender]:
    return [Contender(name="Pillarbox", run=_run)]


CASE = Case(
    name="latency",
    what=(
        "4 KB mails as in relay-4k, one after another at a fifth of the capacity (measured before with as many "
        "mails at once): from the publish to the 250 of the sink"
    ),
    usual=Plan(mails=5_000, rounds=3, senders=2),
    goals={"Pillarbox: median, ms": Goal("≤", 15), "Pillarbox: 99th percentile, ms": Goal("≤", 60)},
    contenders=_contenders,
)
