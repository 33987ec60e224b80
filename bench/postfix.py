"""The peer: a private Postfix that takes mail from smtp-source and relays it to the same sink."""

import os
import tempfile
import time
from pathlib import Path

from bench import mails as our_mail
from bench.machine import postfix_version, program
from bench.processes import Meter, Process
from bench.results import Failed, Measurement
from bench.sink import Sink
from cli.guarded import GuardedProcess
from tests.support.ports import wait_until
from tests.support.postfix import PrivatePostfix

# What makes this relaying as fast as it goes without giving up that a mail taken is a mail on the disk. All else is
# Postfix's default, but that its log is a file of its own.
SETTINGS = {
    "in_flow_delay": "0",  # or the input waits whenever the output is slower
    # On loopback, with two cores, few connections out and a new one for each mail are the quickest that was found:
    # 969 mails/s; with 20 of them 895, and with the connection cache 700.
    "smtp_destination_concurrency_limit": "5",
    "smtp_connection_cache_on_demand": "no",
    "max_use": "100000",  # mails that one process takes before another is started in its place
    "local_header_rewrite_clients": "",
    "smtp_tls_security_level": "none",
}
CONNECTIONS = 20  # from smtp-source, each for many mails

_FEEDER = "smtp-source"
_AT_REST_WITHIN_S = 60.0


def check() -> None:
    """Raises Failed where it can not run."""
    if os.geteuid() != 0:
        raise Failed("Postfix can be started by root alone: run the benchmarks as root")


def measure(sink: Sink, mails: int, warm_up: int, size: int) -> Measurement:
    """Let it relay so many mails of `size` octets to the sink. Raises Failed."""
    relay = PrivatePostfix(deliver_by=f"smtp:[127.0.0.1]:{sink.port}", parameters=SETTINGS)
    with tempfile.TemporaryDirectory(prefix="pillarbox-bench-") as name, relay:
        message = Path(name) / "message"
        message.write_bytes(our_mail.message(size).replace(b"\r\n", b"\n"))  # smtp-source makes CRLF of it
        _relay(relay.port, sink, message, warm_up)
        _wait_for_rest(relay, warm_up)
        meter = Meter(_label)
        started = time.monotonic()
        _relay(relay.port, sink, message, mails)
        seconds = time.monotonic() - started
        others = meter.others()
        _wait_for_rest(relay, warm_up + mails)
        costs, versions = meter.costs(mails), {"Postfix": postfix_version()}
        return Measurement(mails=mails, seconds=seconds, costs=costs, others=others, versions=versions)


def _relay(port: int, sink: Sink, message: Path, mails: int) -> None:
    """Feed Postfix and wait until the sink has everything."""
    target = sink.count + mails
    # -d: many mails over a connection; -N: every recipient is another one.
    arguments = ["-d", "-N", "-s", CONNECTIONS, "-m", mails, "-f", our_mail.SENDER, "-F", message]
    recipient = ["-t", f"reader@{our_mail.RECIPIENT_DOMAIN}", f"127.0.0.1:{port}"]
    with (message.parent / "feeder.out").open("wb") as output:
        feeder = GuardedProcess([program(_FEEDER), *map(str, arguments), *recipient], output=output)
    try:
        sink.wait_for(target)
        wait_until(lambda: feeder.exit_code is not None, f"the end of {_FEEDER}")
        if feeder.exit_code:
            raise Failed(f"{_FEEDER}: {(message.parent / 'feeder.out').read_text(errors='replace')}")
    finally:
        feeder.stop()


def _wait_for_rest(relay: PrivatePostfix, mails: int) -> None:
    """Wait until the queue is empty: each mail that has left is logged as removed."""

    def removed() -> bool:
        return sum(line.endswith(": removed") for line in relay.log) >= mails

    wait_until(removed, f"{mails} mails removed from Postfix's queue", _AT_REST_WITHIN_S)


def _label(process: Process) -> str | None:
    if process.pid == os.getpid() or process.name == _FEEDER:
        return "client"  # this process: the feeder's time is counted here when it has ended
    if process.name == "smtp-sink":
        return "sink"
    return None if process.name == "sh" else process.name
