"""The case `relay-4k`: mails of 4 KB, no hold, all to one relay."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from bench import pillarbox, postfix
from bench.results import Finding, Plan, Round, medians_of
from bench.sink import Sink

NAME = "relay-4k"
WHAT = (
    "4 KB mails (message/rfc822), hold 0, to one relay, Postfix's smtp-sink on loopback; Pillarbox from the first "
    "publish until the scheduler knows that the last was delivered, Postfix from the first connection until the sink "
    "has the last"
)
_SIZE = 4096
_WARM_UP = 500  # mails before the measured ones: connections are open, statements compiled, processes started


def run(plan: Plan, tell: Callable[[str], None]) -> Finding:
    """Measure both systems in turn. Raises Failed."""
    postfix.check()
    rounds = [_round(plan, number, tell) for number in range(1, plan.rounds + 1)]
    return Finding(
        case=NAME,
        what=WHAT,
        plan=plan,
        rounds=rounds,
        medians=medians_of(rounds),
        postfix_settings=postfix.SETTINGS,
    )


def _round(plan: Plan, number: int, tell: Callable[[str], None]) -> Round:
    with tempfile.TemporaryDirectory(prefix="pillarbox-bench-") as folder, Sink(Path(folder)) as sink:
        tell(f"{NAME}: round {number} of {plan.rounds}: Pillarbox")
        ours = pillarbox.measure(sink, plan.mails, _WARM_UP, _SIZE, plan.senders)
        tell(f"{NAME}: round {number} of {plan.rounds}: {ours.rate:,.0f} mails/s; Postfix")
        theirs = postfix.measure(sink, plan.mails, _WARM_UP, _SIZE)
        measured = Round(ours, theirs)
        tell(f"{NAME}: round {number} of {plan.rounds}: {theirs.rate:,.0f} mails/s; ratio {measured.ratio:.2f}")
        return measured
