"""A worker as a child process: its log in a file, its word that it is ready, its end.

Workers are single processes, so the kernel itself can end them with their parent; cli/guarded.py is for programs that
start others.
"""

import asyncio
import ctypes
import os
import re
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

import msgspec

_POLL_S = 0.05
_PR_SET_PDEATHSIG = 1  # prctl(2)
_LARGEST_LOG = 20 * 1024 * 1024  # octets; then the log begins anew and the former one is kept beside it
_READY = re.compile(rb"^.*\bevent=ready\b.*\n", re.MULTILINE)
_METRICS_PORT = re.compile(rb"\bmetrics_port=(\d+)")


def python_path() -> str:
    """PYTHONPATH for a Python that is to find our modules, also where they are not installed."""
    checkout = Path(__file__).resolve().parent.parent
    return os.pathsep.join(part for part in (str(checkout), os.environ.get("PYTHONPATH", "")) if part)


class Ready(msgspec.Struct, frozen=True):
    """What a worker says when it is up."""

    metrics_port: int | None


class Child:
    """One run of a worker."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path, offset: int) -> None:
        self._process = process
        self._log = log
        self._offset = offset

    @classmethod
    async def start(
        cls, command: Sequence[str], env: Mapping[str, str], log: Path, pass_fds: Sequence[int] = ()
    ) -> "Child":
        """Start it in a session of its own, so that Ctrl-C reaches the supervisor alone."""
        prctl = ctypes.CDLL(None).prctl
        parent = os.getpid()

        def end_with_parent() -> None:
            prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:  # gone before the line above
                os.kill(os.getpid(), signal.SIGTERM)

        with _open_log(log) as output:
            offset = output.tell()  # before the child writes: they share the place in the file
            process = await asyncio.create_subprocess_exec(
                *command,
                env=dict(env),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=end_with_parent,
                pass_fds=pass_fds,
            )
            return cls(process, log, offset)

    @property
    def pid(self) -> int:
        """Of the worker itself."""
        return self._process.pid

    async def wait(self) -> int:
        """Wait for its end; the exit code, negative for a signal."""
        return await self._process.wait()

    async def ready(self) -> Ready:
        """Wait until it says so in its log."""
        while True:
            if found := self.has_been_ready():
                return found
            await asyncio.sleep(_POLL_S)

    def has_been_ready(self) -> Ready | None:
        """What it has said of it in this run, if it has."""
        return ready_line(self._said())

    def last_line(self) -> str:
        """The last it said in this run."""
        lines = self._said().decode(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "it said nothing")

    def _said(self) -> bytes:
        with self._log.open("rb") as file:
            file.seek(self._offset)
            return file.read()

    async def stop(self, patience_s: float) -> None:
        """Ask it to end, and kill it when it has not after `patience_s`."""
        self._signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self.wait(), patience_s)
        except TimeoutError:
            self.kill()
            await self.wait()

    def kill(self) -> None:
        """`kill -9`."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            self._process.send_signal(number)


def ready_line(said: bytes) -> Ready | None:
    """The `event=ready` line of a log, if it is there as a whole."""
    line = _READY.search(said)
    if line is None:
        return None
    port = _METRICS_PORT.search(line.group())
    return Ready(int(port.group(1)) if port else None)


def _open_log(log: Path) -> IO[bytes]:
    if log.exists() and log.stat().st_size > _LARGEST_LOG:
        log.replace(log.with_suffix(".log.1"))
    return open(log, "ab", opener=_private)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
