"""A mail server beside Pillarbox: fed by Postfix's smtp-source, it relays to the same sink."""

import tempfile
import time
from pathlib import Path
from typing import Protocol

from bench import mails as our_mail
from bench.arrivals import Arrivals
from bench.machine import program
from bench.processes import Meter, Process
from bench.results import RATE, Failed, Measurement, Plan
from bench.sink import Counting, wait_for
from cli.guarded import GuardedProcess
from tests.support.ports import wait_until

CONNECTIONS = 20  # from smtp-source, each for many mails

_FEEDER = "smtp-source"
_AT_REST_WITHIN_S = 60.0


class Peer(Protocol):
    """A server that runs."""

    port: int

    def label(self, process: Process) -> str | None:
        """The name under which one of its processes is counted."""

    def versions(self) -> dict[str, str]:
        """Its own."""

    def has_removed(self, mails: int) -> bool:
        """Whether so many mails have left its queue."""


def measure(plan: Plan, peer: Peer, sink: Counting, content: bytes) -> Measurement:
    """Let it relay the plan's mails to the sink. Raises Failed."""
    with tempfile.TemporaryDirectory(prefix="pillarbox-bench-") as name:
        message = Path(name) / "message"
        message.write_bytes(content.replace(b"\r\n", b"\n"))  # smtp-source makes CRLF of it
        _relay(peer, sink, message, plan.warm_up)
        wait_for_rest(peer, plan.warm_up)
        meter = Meter(lambda process: label_of(peer, process))
        started = time.monotonic()
        with Arrivals(lambda: sink.count) as arrivals:
            _relay(peer, sink, message, plan.mails)
        seconds = time.monotonic() - started
        others = meter.others()
        wait_for_rest(peer, plan.warm_up + plan.mails)
        return Measurement(
            figures={RATE: plan.mails / seconds},
            others=others,
            costs=meter.costs(plan.mails),
            arrivals=arrivals.each,
            versions=peer.versions(),
        )


def label_of(peer: Peer, process: Process) -> str | None:
    """Its own processes, and what feeds it."""
    # What smtp-source has spent is counted here when it has ended: for this process.
    return "client" if process.name == _FEEDER else peer.label(process)


def wait_for_rest(peer: Peer, mails: int) -> None:
    """Wait until its queue is empty. Raises TimeoutError."""
    wait_until(lambda: peer.has_removed(mails), f"{mails} mails removed from the queue", _AT_REST_WITHIN_S)


def _relay(peer: Peer, sink: Counting, message: Path, mails: int) -> None:
    """Feed it and wait until the sink has everything."""
    target = sink.count + mails
    # -d: many mails over a connection; -N: every recipient is another one.
    arguments = ["-d", "-N", "-s", min(CONNECTIONS, mails), "-m", mails, "-f", our_mail.SENDER, "-F", message]
    recipient = ["-t", f"reader@{our_mail.RECIPIENT_DOMAIN}", f"127.0.0.1:{peer.port}"]
    output_file = message.with_name("feeder.out")
    with output_file.open("wb") as output:
        feeder = GuardedProcess([program(_FEEDER), *map(str, arguments), *recipient], output=output)
    try:
        wait_for(sink, target)
        wait_until(lambda: feeder.exit_code is not None, f"the end of {_FEEDER}")
        if feeder.exit_code:
            raise Failed(f"{_FEEDER}: {output_file.read_text(errors='replace')}")
    finally:
        feeder.stop()
