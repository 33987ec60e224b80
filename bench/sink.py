"""Postfix's smtp-sink, counting: it takes mail as fast as it comes and throws it away."""

import os
import re
import time
from pathlib import Path
from typing import Self

from bench.machine import program
from bench.results import Failed
from cli.guarded import GuardedProcess
from tests.support.ports import free_port, wait_for_port

_COUNTED = re.compile(rb"mesg=(\d+)\r")
_TAIL = 4096  # octets of the output in which the last count is found
_POLL_S = 0.01
_STUCK_S = 60.0  # without a single mail


class Sink:
    """One smtp-sink; a context manager."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._output = folder / "sink.out"
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

    @property
    def count(self) -> int:
        """The mails it has taken so far."""
        with self._output.open("rb") as file:
            file.seek(max(0, self._output.stat().st_size - _TAIL))
            counts = _COUNTED.findall(file.read())
        return int(counts[-1]) if counts else 0

    def wait_for(self, count: int) -> None:
        """Wait until it has taken that many. Raises Failed when nothing comes any more."""
        seen, since = self.count, time.monotonic()
        while seen < count:
            time.sleep(_POLL_S)
            if (now := self.count) != seen:
                seen, since = now, time.monotonic()
            elif time.monotonic() - since > _STUCK_S:
                raise Failed(f"the sink has {seen} of {count} mails, and none came for {_STUCK_S:g} s")
