"""A running `pillarbox up`, and the `pillarbox` command, as people run them."""

import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec

from cli.commands import build
from cli.guarded import GuardedProcess
from cli.home import Home, RunFile
from cli.running import run
from tests.support.ports import wait_until

_CHECKOUT = Path(__file__).resolve().parents[2]
_START_TIME = 90.0
_LOG_LINES = 15


class Said(msgspec.Struct, frozen=True):
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its output, decoded."""
        return msgspec.json.decode(self.out)


def pillarbox(*arguments: str | Path, env: Mapping[str, str], stdin: bytes = b"") -> Said:
    """Run a command to its end. `env` is added to this process's environment."""
    done = subprocess.run(
        [sys.executable, "-m", "cli", *map(str, arguments)],
        cwd=_CHECKOUT, env=environment(env), input=stdin, capture_output=True, timeout=100, check=False,
    )  # fmt: skip
    return Said(done.returncode, done.stdout.decode(), done.stderr.decode())


def in_this_process(*arguments: str | Path, env: Mapping[str, str], stdin: bytes = b"") -> Said:
    """The same without the half second in which Python loads the code."""
    streams = {name: io.TextIOWrapper(io.BytesIO(), "utf-8") for name in ("out", "err")}
    with (
        mock.patch.dict(os.environ, environment(env), clear=True),
        mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), "utf-8")),
        redirect_stdout(streams["out"]),
        redirect_stderr(streams["err"]),
    ):
        code = run(build(), [str(argument) for argument in arguments])
    return Said(code, *(_written(streams[name]) for name in ("out", "err")))


def _written(stream: io.TextIOWrapper) -> str:
    stream.flush()
    stream.seek(0)
    return stream.read()


def environment(added: Mapping[str, str]) -> dict[str, str]:
    """This process's, without settings of whoever runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PILLARBOX_")}
    return {**kept, **added}


class Up:
    """One `pillarbox up` in a home."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self.home = Home(folder)
        self.output = folder.with_name(f"{folder.name}.out")
        self._env = dict(env)
        self._process: GuardedProcess | None = None

    def start(self, *arguments: str) -> None:
        """Start it and wait until it is ready. Raises RuntimeError with what it said when it is not."""
        # Under the widest umask: what is to be its owner's alone has to see to that by itself.
        wide = ["/bin/sh", "-c", 'umask 0; exec "$@"', "sh"]
        command = [*wide, sys.executable, "-m", "cli", "up", "--home", str(self.home.path), *arguments]
        with self.output.open("wb") as output:
            self._process = GuardedProcess(command, cwd=_CHECKOUT, env=environment(self._env), output=output)
        wait_until(lambda: self.ended or self._is_ready(), "pillarbox up", _START_TIME)
        if self.ended:
            raise RuntimeError(f"it ended: {self.output.read_text()}")

    def stop(self) -> int | None:
        """Ask it to stop, and wait; its exit code."""
        assert self._process is not None
        self._process.stop(60)
        return self._process.exit_code

    def kill(self) -> None:
        """`kill -9` of `pillarbox up` alone."""
        os.kill(self.run.pid, 9)
        wait_until(lambda: self.ended, "the end of a killed process")

    @property
    def ended(self) -> bool:
        """Whether it has."""
        return self._process is None or self._process.exit_code is not None

    @property
    def run(self) -> RunFile:
        """What it says of itself."""
        run = self.home.running()
        assert run is not None
        return run

    def _is_ready(self) -> bool:
        run = self.home.running()
        return run is not None and run.ready

    def command(self, *arguments: str | Path, stdin: bytes = b"", **env: str) -> Said:
        """Run a command against it."""
        return in_this_process(*arguments, env={"PILLARBOX_HOME": str(self.home.path), **env}, stdin=stdin)

    def inbox(self) -> list[Path]:
        """The mails in its inbox, oldest first."""
        return sorted(self.home.inbox_folder.glob("*.eml"))

    def wait_for_mail(self, count: int = 1, timeout: float = 30) -> list[Path]:
        """Wait until so many mails are in the inbox."""
        try:
            wait_until(lambda: len(self.inbox()) >= count, f"{count} mails in the inbox", timeout)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.logs()}") from error
        return self.inbox()

    def logs(self) -> str:
        """The ends of all logs."""
        files = sorted(self.home.log_folder.glob("*.log"))
        return "\n".join(f"{file.name}:\n" + "\n".join(file.read_text().splitlines()[-_LOG_LINES:]) for file in files)

    def pids(self) -> list[int]:
        """Of its workers."""
        return [worker.pid for worker in self.run.workers.values()]


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


@contextmanager
def running_up(amqp_url: str | None, *arguments: str) -> Iterator[Up]:
    """A `pillarbox up` in a temporary home, on this broker or one of its own."""
    with tempfile.TemporaryDirectory(prefix="pillarbox-up-") as folder:
        up = Up(Path(folder) / "home", {"PILLARBOX_AMQP_URL": amqp_url} if amqp_url else {})
        try:
            up.start(*arguments)
            yield up
        finally:
            up.stop()
