"""The peer: a private Postfix that takes mail from smtp-source and relays it to the same sink."""

import os
from collections.abc import Mapping

from bench import peer
from bench.case import Run
from bench.machine import postfix_version
from bench.processes import Process, label_of
from bench.results import Measurement, Plan
from bench.sink import Counting, Sink
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


def missing() -> str:
    """Why it can not run here."""
    return "" if os.geteuid() == 0 else "Postfix can be started by root alone: run the benchmarks as root"


def relaying(content: bytes) -> Run:
    """All to one sink."""

    def run(plan: Plan) -> Measurement:
        with Sink() as sink:
            return measure(plan, sink, content, to_port=sink.port)

    return run


def measure(
    plan: Plan,
    sink: Counting,
    content: bytes,
    *,
    to_port: int,
    settings: Mapping[str, str] = SETTINGS,
) -> Measurement:
    """Let it relay the plan's mails to `to_port`, behind which the sink is. Raises Failed."""
    with PrivatePostfix(deliver_by=f"smtp:[127.0.0.1]:{to_port}", parameters=settings) as server:
        return peer.measure(plan, Server(server), sink, content)


class Server:
    """Postfix as a peer."""

    def __init__(self, server: PrivatePostfix) -> None:
        self.port = server.port
        self._server = server

    def label(self, process: Process) -> str | None:
        """Its daemons have names of their own."""
        return label_of(process) or (None if process.name == "sh" else process.name)

    def versions(self) -> dict[str, str]:
        """Of Postfix."""
        return {"Postfix": postfix_version()}

    def has_removed(self, mails: int) -> bool:
        """Each mail that has left is logged as removed."""
        return sum(line.endswith(": removed") for line in self._server.log) >= mails
