"""Child processes that end with their parent, even when the parent is killed with -9.

A guard, a shell of a few lines, stands between the two. It holds the reading end of a pipe whose other end only the
parent has; when that end closes, the parent wants the child to end or is gone, and the guard signals the child.
"""

import os
import pwd
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

_GUARD = """
exec 3<&0
"$@" </dev/null 3<&- &
child=$!
(read -r _ <&3; kill -{signal} "$child") 2>/dev/null &
watch=$!
exec 3<&-
wait "$child"
status=$?
kill "$watch" 2>/dev/null
exit "$status"
"""


class GuardedProcess:
    """A child that is signalled when `stop` is called or this process ends, whichever way."""

    def __init__(
        self,
        arguments: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        output: IO[Any] | int = subprocess.DEVNULL,
        stop_signal: signal.Signals = signal.SIGTERM,
        user: str | None = None,
    ) -> None:
        """Start it, in a session of its own: Ctrl-C at the terminal reaches the parent alone."""
        guard = _GUARD.format(signal=stop_signal.name.removeprefix("SIG"))
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", guard, "guard", *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=cwd,
            user=user,
            group=pwd.getpwnam(user).pw_gid if user else None,
            extra_groups=[] if user else None,
            umask=0o077,
            start_new_session=True,
        )

    @property
    def group(self) -> int:
        """The process group in which the child and all it started run."""
        return self._guard.pid

    @property
    def exit_code(self) -> int | None:
        """None as long as it runs."""
        return self._guard.poll()

    def stop(self, patience_s: float = 30) -> None:
        """Signal it and wait; what is still there after `patience_s` is killed. Does nothing when it has ended."""
        assert self._guard.stdin is not None
        with suppress(OSError):
            self._guard.stdin.close()
        try:
            self._guard.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """`kill -9` of the child and all it started, and wait for it."""
        with suppress(ProcessLookupError):
            os.killpg(self.group, signal.SIGKILL)
        self._guard.wait()
        assert self._guard.stdin is not None
        with suppress(OSError):
            self._guard.stdin.close()
