"""What Pillarbox can do: so many mails published at once, until the scheduler knows that each was delivered."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import uvloop

from bench import calibration
from bench import mails as our_mail
from bench.arrivals import Arrivals
from bench.case import Run
from bench.pipeline import Pipeline, Place, Settings, new_place, relay_to
from bench.processes import Meter
from bench.results import RATE, Calibration, Failed, Measurement, Plan
from bench.sink import Counting, Sink
from shared.broker import Message, Properties
from shared.topology import SUBMIT

Numbered = Callable[[int], Message]  # makes the submission of a number


def id_of(number: int) -> str:
    """Of a submission."""
    return f"bench-{number}"


def finished(content: bytes, recipient: Callable[[int], str] = our_mail.recipient, batch: str = "") -> Numbered:
    """Submissions of a finished message, each with an envelope of its own."""
    labels = {"batch": batch} if batch else {}

    def message(number: int) -> Message:
        headers = {"mail-from": our_mail.SENDER, "rcpt-to": recipient(number), **labels}
        properties = Properties(message_id=id_of(number), content_type="message/rfc822", headers=headers)
        return Message(SUBMIT, "", content, properties)

    return message


def relaying(message: Numbered, **groups: Any) -> Run:
    """All to one sink; `groups` of settings beside that."""

    def run(plan: Plan) -> Measurement:
        with Sink() as sink:
            return measure(plan, sink, message, relay_to(sink.port, **groups))

    return run


def measure(plan: Plan, sink: Counting, message: Numbered, settings: Settings) -> Measurement:
    """Let it deliver the plan's mails to the sink. Raises Failed, NodeFailed or CommandFailed."""
    with new_place() as place:
        return uvloop.run(_measure(place, plan, sink, message, settings))


async def calibrated(place: Place, plan: Plan, body: bytes) -> Calibration | None:
    """The loop that is measured beside it, where the plan asks for it."""
    return await calibration.measure(place.node.amqp_url, plan.mails, body) if plan.calibrated else None


async def _measure(place: Place, plan: Plan, sink: Counting, message: Numbered, settings: Settings) -> Measurement:
    loop = await calibrated(place, plan, message(0).body)
    async with Pipeline(place, settings, plan.senders) as pipeline:
        await pipeline.deliver(_numbered(message, range(plan.warm_up)))
        messages, sunk = _numbered(message, range(plan.warm_up, plan.warm_up + plan.mails)), sink.count
        meter = Meter(pipeline.label)
        started = time.monotonic()
        with Arrivals(lambda: sink.count) as arrivals:
            await pipeline.deliver(messages)
        seconds = time.monotonic() - started
        others = meter.others()
        await pipeline.rest()
        if sink.count - sunk != plan.mails:
            raise Failed(f"Pillarbox delivered {plan.mails} mails, and the sink has counted {sink.count - sunk}")
        return Measurement(
            figures={RATE: plan.mails / seconds},
            others=others,
            costs=meter.costs(plan.mails),
            arrivals=arrivals.each,
            versions=pipeline.versions(),
            calibration=loop,
        )


def _numbered(message: Numbered, numbers: Sequence[int]) -> list[Message]:
    return [message(number) for number in numbers]
