"""The case `storm`: a receiver that refuses everything for now, and very many mails for it at once."""

import time
from collections.abc import Sequence

import uvloop

from bench import held, pillarbox
from bench.arrivals import Arrivals
from bench.case import Case, Contender
from bench.mails import message
from bench.noting_sink import NotingSink
from bench.pipeline import Pipeline, Place, new_place, relay_to
from bench.processes import Meter
from bench.results import Failed, Measurement, Plan

_CONTENT = message(4096)
_NOT_BY_ITSELF = {"schedule": ["1d"]}


def _run(plan: Plan) -> Measurement:
    with NotingSink() as sink, new_place() as place:
        return uvloop.run(_measure(plan, sink, place))


async def _measure(plan: Plan, sink: NotingSink, place: Place) -> Measurement:
    loop = await pillarbox.calibrated(place, plan, _CONTENT)
    settings = relay_to(sink.port, sending=held.HOLD, retry=_NOT_BY_ITSELF)
    async with Pipeline(place, settings, plan.senders) as pipeline:
        await _admit(pipeline, "warm-up", range(plan.warm_up))
        await held.release(pipeline, "warm-up", "delivered", plan.warm_up)
        await _admit(pipeline, "storm", range(plan.warm_up, plan.warm_up + plan.mails))
        sink.refuse()
        meter, started = Meter(pipeline.label), time.monotonic()
        await held.release(pipeline, "storm", "deferred", plan.mails, unwanted=("bounced",))
        settled_s, others, costs = time.monotonic() - started, meter.others(), meter.costs(plan.mails)
        sink.take()
        started = time.monotonic()
        with Arrivals(lambda: sink.count) as arrivals:
            await held.release(pipeline, "storm", "delivered", plan.mails, unwanted=("bounced",))
        sent_s = time.monotonic() - started
        if sink.count != plan.warm_up + plan.mails:
            raise Failed(f"{plan.warm_up + plan.mails} mails were delivered, and the sink has {sink.count}")
        return Measurement(
            figures={"deferred, mails/s": plan.mails / settled_s, "sent afterwards, mails/s": plan.mails / sent_s},
            others=others,
            costs=costs,
            arrivals=arrivals.each,
            versions=pipeline.versions(),
            calibration=loop,
        )


async def _admit(pipeline: Pipeline, batch: str, numbers: range) -> None:
    await held.admit(pipeline, pillarbox.finished(_CONTENT, batch=batch), numbers)


def _contenders(_plan: Plan) -> Sequence[Contender]:
    return [Contender(name="Pillarbox", run=_run)]


CASE = Case(
    name="storm",
    what=(
        "4 KB mails, held and then released all at once, to a relay that refuses each for now (451): until the "
        "scheduler has deferred the last; then it takes them, and they are released once more until the last is "
        "delivered. Processor time is that of the deferrals"
    ),
    usual=Plan(mails=10_000, rounds=3, senders=2),
    quick=Plan(mails=3_000, rounds=1, senders=2, warm_up=200, calibrated=True),
    contenders=_contenders,
)
