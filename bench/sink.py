"""Postfix's smtp-sink, counting: it takes mail as fast as it comes and throws it away."""

import os
import re
import tempfile
import time
from pathlib import Path
from typing import Protocol, Self

from bench.machine import program
from bench.results import Failed
from cli.guarded import GuardedProcess
from tests.support.ports import free_port, wait_for_port

_COUNTED = re.compile(rb"mesg=(\d+)\r")
_TAIL = 4096  # octets of the output in which the last count is found
_POLL_S = 0.01
_STUCK_S = 60.0  # without a single mail


class Counting(Protocol):
    """A receiver that says how many mails it has taken so far."""

    @property
    def count(self) -> int:
        """So many."""


def wait_for(sink: Counting, count: int) -> None:
    """Wait until it has taken that many. Raises Failed when nothing comes any more."""
    seen, since = sink.count, time.monotonic()
    while seen < count:
        time.sleep(_POLL_S)
        if (now := sink.count) != seen:
            seen, since = now, time.monotonic()
        elif time.monotonic() - since > _STUCK_S:
            raise Failed(f"the sink has {seen} of {count} mails, and none came for {_STUCK_S:g} s")


class Sink:
    """One smtp-sink; a context manager."""

    def __init__(self) -> None:
        self.port = free_port()
        self._folder = tempfile.TemporaryDirectory(prefix="pillarbox-bench-")
        self._output = Path(self._folder.name) / "sink.out"
        self._process: GuardedProcess | None = None

    def __enter__(self) -> Self:
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        command = [program("smtp-sink"), *user, "-c", "-m", "1024", f"127.0.0.1:{self.port}", "1024"]
        with self._output.open("wb") as output:
            self._process = GuardedProcess(command, output=output)
        try:
            wait_for_port(self.port)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.stop()
        self._folder.cleanup()

    @property
    def count(self) -> int:
        """The mails it has taken so far."""
        with self._output.open("rb") as file:
            file.seek(max(0, self._output.stat().st_size - _TAIL))
            counts = _COUNTED.findall(file.read())
        return int(counts[-1]) if counts else 0
