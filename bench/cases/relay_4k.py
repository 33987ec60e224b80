"""The case `relay-4k`: mails of 4 KB, no hold, all to one relay."""

from collections.abc import Sequence

from bench import haraka, pillarbox, postfix
from bench.case import Case, Contender
from bench.mails import message
from bench.pipeline import relay_to
from bench.results import Measurement, Plan
from bench.sink import Sink

_CONTENT = message(4096)


def _pillarbox(plan: Plan) -> Measurement:
    with Sink() as sink:
        return pillarbox.measure(plan, sink, pillarbox.finished(_CONTENT), relay_to(sink.port))


def _postfix(plan: Plan) -> Measurement:
    with Sink() as sink:
        return postfix.measure(plan, sink, _CONTENT, to_port=sink.port)


def _haraka(plan: Plan) -> Measurement:
    with Sink() as sink:
        return haraka.measure(plan, sink, _CONTENT, to_port=sink.port)


def _contenders(_plan: Plan) -> Sequence[Contender]:
    return [
        Contender(name="Pillarbox", run=_pillarbox, beside=("Postfix", "Haraka")),
        Contender(name="Postfix", run=_postfix, peer=True, missing=postfix.missing, settings=postfix.SETTINGS),
        Contender(name="Haraka", run=_haraka, peer=True, missing=haraka.missing, settings=haraka.SETTINGS),
    ]


CASE = Case(
    name="relay-4k",
    what=(
        "4 KB mails (message/rfc822), hold 0, to one relay, Postfix's smtp-sink on loopback; Pillarbox from the first "
        "publish until the scheduler knows that the last was delivered, the others from the first connection until the "
        "sink has the last"
    ),
    usual=Plan(mails=20_000, rounds=5, senders=2),
    quick=Plan(mails=3_000, rounds=3, senders=2, calibrated=True),
    contenders=_contenders,
)
