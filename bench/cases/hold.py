"""The case `hold`: very many mails are held, asked for, taken back, and released together."""

import asyncio
import time
from collections.abc import Awaitable, Sequence
from statistics import median

import uvloop

from bench import held, pillarbox
from bench.arrivals import Arrivals
from bench.case import Case, Contender
from bench.mails import message
from bench.pipeline import Pipeline, Place, new_place, relay_to
from bench.processes import Meter
from bench.results import Failed, Goal, Measurement, Plan
from bench.sink import Sink
from shared.contracts.answers import ReleaseAnswer, RetractAnswer, RetractResult, ShowAnswer
from shared.contracts.commands import Release, Retract, Show

_CONTENT = message(4096)
_ASKED = 100  # shown, and as many retracted
_RELEASED_FIRST = 40_000  # the lanes have room for these; what follows is released as the senders take it


def _run(plan: Plan) -> Measurement:
    with Sink() as sink, new_place() as place:
        return uvloop.run(_measure(plan, sink, place))


async def _measure(plan: Plan, sink: Sink, place: Place) -> Measurement:
    loop = await pillarbox.calibrated(place, plan, _CONTENT)
    numbers = range(plan.warm_up, plan.warm_up + plan.mails)
    some = numbers[:: max(len(numbers) // _ASKED, 2)][:_ASKED]
    left = len(numbers) - len(some)
    async with Pipeline(place, relay_to(sink.port, sending=held.HOLD), plan.senders) as pipeline:
        await _admit(pipeline, "warm-up", range(plan.warm_up))
        await held.release(pipeline, "warm-up", "delivered", plan.warm_up)
        meter = Meter(pipeline.label)
        figures = {
            "admission, mails/s": len(numbers) / await _seconds(_admit(pipeline, "held", numbers)),
            **_times("show", [await _seconds(_show(pipeline, number)) for number in some]),
            **_times("retract", [await _seconds(_retract(pipeline, number)) for number in some]),
            "scheduler while all are held, MiB": pipeline.peak_mib("scheduler"),
        }
        with Arrivals(lambda: sink.count) as arrivals:
            figures |= await _let_go(pipeline, left)
        others = meter.others()
        await pipeline.rest()
        if sink.count != plan.warm_up + left:
            raise Failed(f"{plan.warm_up + left} mails were delivered, and the sink has counted {sink.count}")
        return Measurement(
            figures={**figures, "scheduler at the end, MiB": pipeline.peak_mib("scheduler")},
            others=others,
            costs=meter.costs(plan.mails),
            arrivals=arrivals.each,
            versions=pipeline.versions(),
            calibration=loop,
        )


async def _let_go(pipeline: Pipeline, mails: int) -> dict[str, float]:
    """Release the rest by one command, until the last is delivered."""
    before, first, started = await pipeline.totals(), min(mails, _RELEASED_FIRST), time.monotonic()
    answer = asyncio.ensure_future(pipeline.ask(Release(batch="held"), ReleaseAnswer))
    try:
        await pipeline.while_all_live(pipeline.reach("released", before["released"] + first))
        released_s = time.monotonic() - started
        await pipeline.while_all_live(pipeline.reach("delivered", before["delivered"] + mails))
        delivered_s = time.monotonic() - started
        await answer
    finally:
        answer.cancel()
    return {"release, mails/s": first / released_s, "released and delivered, mails/s": mails / delivered_s}


async def _admit(pipeline: Pipeline, batch: str, numbers: range) -> None:
    await held.admit(pipeline, pillarbox.finished(_CONTENT, batch=batch), numbers)


async def _show(pipeline: Pipeline, number: int) -> None:
    if (await pipeline.ask(Show(id=pillarbox.id_of(number)), ShowAnswer)).mail is None:
        raise Failed(f"the scheduler does not know {pillarbox.id_of(number)}, which it has admitted")


async def _retract(pipeline: Pipeline, number: int) -> None:
    answer = await pipeline.ask(Retract(id=pillarbox.id_of(number)), RetractAnswer)
    if answer.counts != {RetractResult.RETRACTED: 1}:
        raise Failed(f"a held mail could not be taken back: {answer.counts}")


async def _seconds(work: Awaitable[None]) -> float:
    """How long it takes."""
    started = time.monotonic()
    await work
    return time.monotonic() - started


def _times(what: str, each_s: Sequence[float]) -> dict[str, float]:
    return {f"one {what}, median, ms": median(each_s) * 1000, f"one {what}, longest, ms": max(each_s) * 1000}


def _contenders(_plan: Plan) -> Sequence[Contender]:
    return [Contender(name="Pillarbox", run=_run)]


CASE = Case(
    name="hold",
    what=(
        "4 KB mails that are held for a day: admitted, from the first publish until the scheduler has the last; then "
        f"{_ASKED} of them shown and as many taken back, one after another; then all others released by one command "
        f"(timed by the first {_RELEASED_FIRST:,}) and delivered to Postfix's smtp-sink"
    ),
    usual=Plan(mails=100_000, rounds=1, senders=2),
    quick=Plan(mails=5_000, rounds=1, senders=2, warm_up=200, calibrated=True),
    goals={
        "Pillarbox: release, mails/s": Goal("≥", 3000),
        "Pillarbox: scheduler while all are held, MiB": Goal("≤", 200),
        "Pillarbox: scheduler at the end, MiB": Goal("≤", 200),
        "Pillarbox: one show, median, ms": Goal("≤", 50),
        "Pillarbox: one retract, median, ms": Goal("≤", 50),
    },
    contenders=_contenders,
)
