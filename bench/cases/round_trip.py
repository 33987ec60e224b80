"""The case `round-trip`: one connection to a receiver that is far away."""

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from bench import pillarbox, postfix
from bench.case import Case, Contender, Run
from bench.mails import message
from bench.noting_sink import NotingSink
from bench.pipeline import relay_to
from bench.results import RATE, Goal, Measurement, Plan

_CONTENT = message(4096)
_NEAR_MS, _FAR_MS = 50, 200
_ONE_CONNECTION = {"sites": {"127.0.0.1": {"connections": 1}}}
_POSTFIX_SETTINGS = {
    **postfix.SETTINGS,
    "smtp_destination_concurrency_limit": "1",
    "smtp_connection_cache_on_demand": "yes",  # its default: a mail goes over the connection of the one before
}


def _pillarbox(plan: Plan, sink: NotingSink) -> Measurement:
    settings = relay_to(sink.port, limits=_ONE_CONNECTION)
    return pillarbox.measure(plan, sink, pillarbox.finished(_CONTENT), settings)


def _postfix(plan: Plan, sink: NotingSink) -> Measurement:
    return postfix.measure(plan, sink, _CONTENT, to_port=sink.port, settings=_POSTFIX_SETTINGS)


def _far(measure: Callable[[Plan, NotingSink], Measurement], round_trip_ms: int) -> Run:
    def run(plan: Plan) -> Measurement:
        with NotingSink(round_trip_s=round_trip_ms / 1000) as sink:
            return _with_round_trips(measure(_fewer(plan, round_trip_ms), sink), round_trip_ms)

    return run


def _fewer(plan: Plan, round_trip_ms: int) -> Plan:
    """The farther the fewer, so that each distance takes as long."""
    mails, warm_up = (max(count * _NEAR_MS // round_trip_ms, 1) for count in (plan.mails, plan.warm_up))
    return replace(plan, mails=mails, warm_up=warm_up)


def _with_round_trips(measured: Measurement, round_trip_ms: int) -> Measurement:
    trips = 1000 / round_trip_ms / measured.rate
    return replace(measured, figures={RATE: measured.rate, "round trips a mail": trips})


def _contenders(_plan: Plan) -> Sequence[Contender]:
    return [each for round_trip_ms in (_NEAR_MS, _FAR_MS) for each in _at(round_trip_ms)]


def _at(round_trip_ms: int) -> list[Contender]:
    peer = f"Postfix, {round_trip_ms} ms"
    return [
        Contender(name=f"Pillarbox, {round_trip_ms} ms", run=_far(_pillarbox, round_trip_ms), beside=(peer,)),
        Contender(
            name=peer,
            run=_far(_postfix, round_trip_ms),
            peer=True,
            missing=postfix.missing,
            settings=_POSTFIX_SETTINGS,
        ),
    ]


CASE = Case(
    name="round-trip",
    what=(
        f"4 KB mails as in relay-4k, over one connection to a relay {_NEAR_MS} ms away, and a quarter as many to one "
        f"{_FAR_MS} ms away: the sink looks at whatever comes so much later"
    ),
    usual=Plan(mails=240, rounds=1, senders=1, warm_up=20),
    goals={"Pillarbox, 50 ms: mails/s": Goal("≥", 18)},
    contenders=_contenders,
)
