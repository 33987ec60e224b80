"""The case `scaling`: more senders, before a receiver that takes 50 ms for each mail."""

from collections.abc import Sequence

from msgspec.structs import replace

from bench import pillarbox
from bench.case import Case, Contender, Run
from bench.mails import message
from bench.noting_sink import NotingSink
from bench.pipeline import relay_to
from bench.results import Goal, Measurement, Plan

PAUSE_S = 0.05
_MESSAGE = pillarbox.finished(message(4096))


def name_of(senders: int) -> str:
    """A contender's."""
    return "1 sender" if senders == 1 else f"{senders} senders"


def _with(senders: int) -> Run:
    def run(plan: Plan) -> Measurement:
        with NotingSink(pause_s=PAUSE_S) as sink:
            return pillarbox.measure(replace(plan, senders=senders), sink, _MESSAGE, relay_to(sink.port))

    return run


def _contenders(plan: Plan) -> Sequence[Contender]:
    """One sender, and twice as many each time, as far as the plan goes."""
    numbers = [1 << power for power in range(plan.senders.bit_length())]
    return [
        Contender(
            name=name_of(senders),
            run=_with(senders),
            beside=() if senders == 1 else (name_of(1),),
            senders=senders,
        )
        for senders in numbers
    ]


CASE = Case(
    name="scaling",
    what=(
        f"4 KB mails as in relay-4k, to a relay that takes {PAUSE_S * 1000:.0f} ms for each mail of a connection; a "
        "sender has four connections"
    ),
    usual=Plan(mails=2_000, rounds=2, senders=4, warm_up=200),
    goals={"4 senders / 1 sender": Goal("≥", 3.5)},
    contenders=_contenders,
)
