"""The case `relay-4k`: mails of 4 KB, no hold, all to one relay."""

from collections.abc import Sequence

from msgspec.structs import replace

from bench import haraka, pillarbox, postfix
from bench.case import Case, Contender
from bench.mails import message
from bench.results import Goal, Measurement, Plan

_CONTENT = message(4096)


def _haraka(plan: Plan) -> Measurement:
    """A quarter of the mails: they take it several times as long, and tell its rate as well."""
    return haraka.relaying(_CONTENT)(replace(plan, mails=max(plan.mails // 4, 1)))


def _contenders(_plan: Plan) -> Sequence[Contender]:
    return [
        Contender(name="Pillarbox", run=pillarbox.relaying(pillarbox.finished(_CONTENT)), beside=("Postfix", "Haraka")),
        Contender(
            name="Postfix",
            run=postfix.relaying(_CONTENT),
            peer=True,
            missing=postfix.missing,
            settings=postfix.SETTINGS,
        ),
        Contender(name="Haraka", run=_haraka, peer=True, missing=haraka.missing, settings=haraka.SETTINGS),
    ]


CASE = Case(
    name="relay-4k",
    what=(
        "4 KB mails (message/rfc822), hold 0, to one relay, Postfix's smtp-sink on loopback; Pillarbox from the first "
        "publish until the scheduler knows that the last was delivered, the others from the first connection until the "
        "sink has the last; Haraka relays a quarter of the mails"
    ),
    usual=Plan(mails=20_000, rounds=5, senders=2),
    quick=Plan(mails=3_000, rounds=2, senders=2, calibrated=True),
    goals={
        "Pillarbox / Postfix": Goal("≥", 5),
        "Pillarbox: sender": Goal("≤", 80),
        "Pillarbox: resolver": Goal("≤", 60),
        "Pillarbox: scheduler": Goal("≤", 150),
    },
    contenders=_contenders,
)
