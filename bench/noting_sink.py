"""A sink that notes when each mail came: bench/noting_server.py, as a child."""

import socket
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple, Self

from bench.noting_server import LINE
from bench.results import Failed
from cli.guarded import GuardedProcess
from tests.support.ports import free_port, wait_for_port

_CHECKOUT = Path(__file__).resolve().parent.parent
_STARTS_WITHIN_S = 30.0
_ANSWERS_WITHIN_S = 30.0


class Arrival(NamedTuple):
    """One mail."""

    time: float  # of its 250, by time.monotonic(), which is the same in all processes
    recipient: str


class NotingSink:
    """The child; a context manager."""

    def __init__(
        self, *addresses: str, pause_s: float = 0.0, round_trip_s: float = 0.0, port: int | None = None
    ) -> None:
        """`addresses` with their moods; without any, 127.0.0.1. `port`: where, if not on a free one."""
        self.port = port or free_port()
        self._addresses = addresses or ("127.0.0.1",)
        self._delays = ["--pause", str(pause_s), "--round-trip", str(round_trip_s)]
        self._folder = tempfile.TemporaryDirectory(prefix="pillarbox-bench-")
        self._record = Path(self._folder.name) / "record"
        self._log = Path(self._folder.name) / "log"
        self._process: GuardedProcess | None = None

    def __enter__(self) -> Self:
        self._record.touch()
        options = ["--port", str(self.port), "--record", str(self._record), *self._delays]
        command = [sys.executable, "-m", "bench.noting_server", *options, *self._addresses]
        try:
            with self._log.open("wb") as output:
                self._process = GuardedProcess(command, cwd=_CHECKOUT, output=output)
            self._wait()
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
        return self._record.stat().st_size // LINE

    @property
    def arrivals(self) -> list[Arrival]:
        """Each mail it has taken so far, in their order."""
        lines = (line.split() for line in self._record.read_text(encoding="utf-8").splitlines())
        return [Arrival(float(when), recipient) for when, recipient in lines]

    @property
    def _first_address(self) -> str:
        return self._addresses[0].partition("=")[0]

    def refuse(self) -> None:
        """Refuse for now (451) every recipient."""
        self._command(b"XREFUSE\r\n")

    def take(self) -> None:
        """Take every recipient again."""
        self._command(b"XTAKE\r\n")

    def _wait(self) -> None:
        try:
            wait_for_port(self.port, _STARTS_WITHIN_S, self._first_address)
        except TimeoutError as error:
            raise Failed(f"the sink does not start: {self._log.read_text(errors='replace')}") from error

    def _command(self, line: bytes) -> None:
        with (
            socket.create_connection((self._first_address, self.port), _ANSWERS_WITHIN_S) as connection,
            connection.makefile("rb") as answers,
        ):
            connection.sendall(line)
            answers.readline()  # the greeting
            if not (answer := answers.readline()).startswith(b"250"):
                raise Failed(f"the sink says {answer!r}")
